//! What is asked for an event that waits for facts.
//!
//! In: the event and what it lacks. Out: the event with that filled in, and events that are to be applied before it.
//! Never: the books; how long facts may take.

use std::sync::Arc;

use crate::engine::ledger::Lack;
use crate::engine::opening::PUSHES_FETCHED;
use crate::enrich::{BugQuery, FactError, FactSource, GraphQuery, PushQuery};
use crate::event::{
    BackendName, Event, JobEvent, PerfAlert, PushEvent, PushId, RequestEvent, RequestKind, Signature, TaskGraph, bug,
    test_path,
};
use crate::store::sqlite::Waiting;

/// Changesets of one push that are asked for what they add: a push with more merges others.
const CHANGESETS_ASKED: usize = 50;
/// Times that the task graph of a push is asked for before it is taken for one that has none: about two hours.
const DECISION_ATTEMPTS: u32 = 18;
/// Failing tests of one run whose bugs are asked for: as many as get a case of their own.
const SIGNATURES_ASKED: usize = crate::engine::opening::SIGNATURES_EACH;

/// Asks for what an event lacks, and fills it in. Returns events that are to be applied before it.
pub(super) async fn fetch(
    facts: &dyn FactSource,
    backend: &BackendName,
    waiting: &mut Waiting,
) -> Result<Vec<Event>, FactError> {
    let job = match &mut waiting.event {
        Event::Job(job) => job,
        Event::Request(_) | Event::Push(_) if waiting.lack == Lack::Graph => {
            let graph = fetch_graph(facts, &waiting.event, waiting.attempts).await?;
            waiting.graph = Some(Box::new(graph));
            return Ok(Vec::new());
        }
        Event::Request(request) => return fetch_for_request(facts, request, waiting.lack).await,
        Event::PerfAlert(alert) => return fetch_for_alert(facts, backend, alert, waiting.lack).await,
        Event::Push(push) => return fetch_for_push(facts, push, waiting.lack).await,
        Event::Timer(_) => return Ok(Vec::new()),
    };
    match waiting.lack {
        // The task graph is of use to requests and pushes only.
        Lack::Lineage | Lack::Tests | Lack::Graph => Ok(Vec::new()),
        Lack::Bugs => {
            let signatures = job.facts.signatures.as_deref().unwrap_or_default();
            let tests: Vec<Arc<str>> = signatures.iter().map(|signature| Arc::clone(&signature.test)).collect();
            let tests = tests.get(..SIGNATURES_ASKED.min(tests.len())).unwrap_or_default();
            let texts = tests.iter().map(|test| bug::bare(test).into()).collect();
            let found = facts.bugs(&BugQuery::About(texts)).await?;
            let about = |test: &Arc<str>| {
                let bugs = found.iter().filter(|bug| bug.is_about(test)).cloned().collect();
                (Arc::clone(test), bugs)
            };
            job.facts.bugs = Some(tests.iter().map(about).collect());
            Ok(Vec::new())
        }
        Lack::Push | Lack::Pushes => {
            let (Some(project), Some(revision)) = (&job.facts.project, &job.facts.revision) else {
                return Err(FactError::Absent(format!("revision of run {}", job.run)));
            };
            let query = match job.facts.push {
                None => PushQuery::Revision(revision.clone()),
                Some(to) => PushQuery::Range {
                    from: PushId(to.0.saturating_sub(PUSHES_FETCHED).max(1)),
                    to,
                },
            };
            let pushes = facts.pushes(project, &query).await?;
            Ok(pushes.into_iter().map(|push| Event::Push(Box::new(push))).collect())
        }
        Lack::Places => {
            // All that was lacking may have been told meanwhile, in the answer to another search.
            let (Some(project), Some(to), Some(from)) = (&job.facts.project, job.facts.push, waiting.untold) else {
                return Ok(Vec::new());
            };
            let pushes = facts.pushes(project, &PushQuery::Range { from, to }).await?;
            Ok(pushes.into_iter().map(|push| Event::Push(Box::new(push))).collect())
        }
        Lack::Task => {
            let found = facts.task(&job.run.backend, &job.run.task).await?;
            fill(job, &found);
            Ok(Vec::new())
        }
        Lack::Failures => {
            let found = match facts.failures(&job.run).await {
                Ok(found) => found,
                // No artifact names anything: that much is known now.
                Err(FactError::Absent(_) | FactError::NoSource(_)) => Default::default(),
                Err(error) => return Err(error),
            };
            job.facts.signatures = Some(found.signatures);
            job.facts.groups = (!found.groups.is_empty()).then_some(found.groups);
            Ok(Vec::new())
        }
        Lack::Values => {
            let found = match facts.values(&job.run).await {
                Ok(found) => found,
                // It measured nothing that anybody can read: that much is known now.
                Err(error @ (FactError::Absent(_) | FactError::NoSource(_) | FactError::Malformed(_))) => {
                    tracing::debug!(run = %job.run, %error, "a run has no results");
                    Vec::new()
                }
                Err(error) => return Err(error),
            };
            job.facts.values = Some(found);
            Ok(Vec::new())
        }
    }
}

/// Asks for what a push holds, where its message does not say, and for what its changesets add.
async fn fetch_for_push(facts: &dyn FactSource, push: &mut PushEvent, lack: Lack) -> Result<Vec<Event>, FactError> {
    if matches!(lack, Lack::Push | Lack::Tests) && push.changesets.is_empty() {
        let found = facts
            .pushes(&push.project, &PushQuery::Revision(push.revision.clone()))
            .await?;
        if let Some(found) = found.into_iter().find(|found| found.revision == push.revision) {
            push.changesets = found.changesets;
            push.push = push.push.or(found.push);
        }
    }
    if lack != Lack::Tests {
        return Ok(Vec::new());
    }
    let project = push.project.clone();
    for changeset in push.unknown_additions().take(CHANGESETS_ASKED) {
        changeset.added = Some(facts.added(&project, &changeset.node).await?);
    }
    Ok(Vec::new())
}

/// Asks for the task graph of an event's push, and which of its jobs run the groups of the tests that are to be
/// validated.
async fn fetch_graph(facts: &dyn FactSource, event: &Event, attempts: u32) -> Result<TaskGraph, FactError> {
    let (Some(project), Some(push)) = (event.project(), event.push()) else {
        return Err(FactError::Absent("push of an event".to_owned()));
    };
    let (revision, places): (_, Vec<String>) = match event {
        Event::Push(push) => {
            let added = push.tests_added().unwrap_or_default();
            let places = added.iter().flat_map(|path| test_path::places(path)).collect();
            (Some(&push.revision), places)
        }
        Event::Request(request) => {
            let signature = match &request.kind {
                RequestKind::Open(open) => open.signature.as_ref(),
                _ => None,
            };
            let near = signature.map(|signature| test_path::places(&signature.test));
            let named = signature.and_then(|signature| signature.group.as_deref());
            let places = near.into_iter().flatten().chain(named.map(str::to_owned));
            (request.revision.as_ref(), places.collect())
        }
        Event::Job(_) | Event::PerfAlert(_) | Event::Timer(_) => (None, Vec::new()),
    };
    let mut places: Vec<Arc<str>> = places.into_iter().map(Arc::from).collect();
    places.sort_unstable();
    places.dedup();
    let query = GraphQuery {
        push,
        revision: revision.cloned(),
        places,
    };
    match facts.graph(project, &query).await {
        // The push has only just landed: its decision task makes the graph.
        Err(FactError::Absent(detail)) if matches!(event, Event::Push(_)) && attempts < DECISION_ATTEMPTS => {
            Err(FactError::Later {
                retry_after: None,
                detail,
            })
        }
        answer => answer,
    }
}

/// Asks for what a request lacks. Returns events that are to be applied before it.
async fn fetch_for_request(
    facts: &dyn FactSource,
    request: &mut RequestEvent,
    lack: Lack,
) -> Result<Vec<Event>, FactError> {
    if let (Lack::Bugs, RequestKind::Open(open)) = (lack, &mut request.kind) {
        let Some(number) = open.bug else { return Ok(Vec::new()) };
        let found = facts.bugs(&BugQuery::Numbered(number)).await?;
        // A tracker that answers and does not know the bug, or a summary without a test, will say no more later.
        let test = found.iter().find(|bug| bug.id == number).and_then(|bug| bug.test());
        open.signature = test.map(|test| Signature {
            group: None,
            test: test.into(),
        });
        return Ok(Vec::new());
    }
    if let (
        Lack::Task,
        RequestKind::Backfill {
            job: Some(number),
            task,
            label,
        },
    ) = (lack, &mut request.kind)
    {
        let named = facts.job(&request.project, *number).await?;
        if task.is_none() {
            *task = named.task;
        }
        label.get_or_insert(named.label);
        if request.push.is_none() {
            request.revision.get_or_insert(named.revision);
        }
        return Ok(Vec::new());
    }
    let query = match (lack, &request.revision, request.push) {
        (Lack::Push, _, Some(push)) => PushQuery::Range { from: push, to: push },
        (Lack::Push, Some(revision), None) => PushQuery::Revision(revision.clone()),
        _ => return Ok(Vec::new()),
    };
    let pushes = facts.pushes(&request.project, &query).await?;
    Ok(pushes.into_iter().map(|push| Event::Push(Box::new(push))).collect())
}

/// Asks for what an alert lacks. Returns events that are to be applied before it.
async fn fetch_for_alert(
    facts: &dyn FactSource,
    backend: &BackendName,
    alert: &mut PerfAlert,
    lack: Lack,
) -> Result<Vec<Event>, FactError> {
    let query = match (lack, &alert.task, &alert.revision, alert.push) {
        (Lack::Task, Some(task), ..) => {
            alert.label = facts.task(backend, task).await?.label;
            return Ok(Vec::new());
        }
        (Lack::Push, _, Some(revision), _) => PushQuery::Revision(revision.clone()),
        (Lack::Pushes, _, _, Some(to)) => PushQuery::Range {
            from: PushId(to.0.saturating_sub(PUSHES_FETCHED).max(1)),
            to,
        },
        _ => return Ok(Vec::new()),
    };
    let pushes = facts.pushes(&alert.project, &query).await?;
    Ok(pushes.into_iter().map(|push| Event::Push(Box::new(push))).collect())
}

/// The definition knows the platform, tier and parent better than tags do; what the message said of the push stays.
fn fill(job: &mut JobEvent, definition: &crate::event::JobFacts) {
    let mut facts = definition.clone();
    facts.fill_from(&job.facts);
    facts.project = job.facts.project.clone().or(facts.project);
    facts.push = job.facts.push.or(facts.push);
    job.facts = facts;
}
