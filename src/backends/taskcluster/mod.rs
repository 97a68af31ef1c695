//! Taskcluster: asks for jobs through the actions that a push's decision task offers.
//!
//! In: a [`JobRequest`]. Out: the action task that will create the jobs. Never: firing a hook twice for one call.
//!
//! The way of a request: the push's task group, known or found in the index; its `public/actions.json`; the action
//! that fits the job ([`ask`]); its input, checked against its schema ([`input`]); the hook's payload, rendered; the
//! hook, fired once. Until that last step nothing acts, and any trouble is `Busy`, `NotYet`, `NotPossible` or
//! `Refused`; from it on, whatever does not exclude that the CI acted is `InDoubt`, to be cleared up by [`find`].

pub mod actions;
pub mod ask;
mod find;
pub mod input;
mod labels;
mod render;
mod settings;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde_json::Value;

use super::outcome::{accepted, busy};
use super::{Apart, Backend, Finding, Found, Progress, Receipt, RequestError};
use crate::event::{BackendName, JobRequest, TaskId, Timestamp};
use crate::lru::Lru;
use crate::net::Clock;
use crate::net::ask::AskError;
use crate::net::taskcluster::Services;

use actions::ActionsFile;
use ask::{Call, Existing, Prepared};
use find::Sighting;
use labels::{LabelReader, Labels};
use settings::route;

pub use settings::{SettingsError, TaskclusterSettings};

/// What a push offers: an artifact of its decision task.
const ACTIONS: &str = "public/actions.json";

/// Where the labels of a push are written down, the smaller artifact first: it lists what runs on the push, the other
/// one everything that can.
const LABEL_LISTS: [&str; 2] = ["public/label-to-taskid.json", "public/full-task-graph.json"];

/// Jobs that are asked for with one call. gecko's `add-new-jobs` was recorded with 13 labels; it walks the task graph once for all,
/// and an action task that fails fails for every job in it.
const MOST_TOGETHER: usize = 50;

/// Label lists kept in memory: a large push has some 4 MB of labels.
const CACHED_LABEL_LISTS: usize = 8;

/// A Taskcluster deployment.
pub struct TaskclusterBackend {
    name: BackendName,
    settings: TaskclusterSettings,
    services: Services,
    clock: Clock,
    /// As bytes: read, a file takes ten times the memory, and reading it takes a millisecond.
    actions: Mutex<Lru<TaskId, Arc<[u8]>>>,
    labels: Mutex<Lru<(TaskId, &'static str), Arc<Labels>>>,
}

impl TaskclusterBackend {
    /// Makes ready to ask. Nothing is sent.
    pub fn new(name: BackendName, settings: TaskclusterSettings, clock: Clock) -> Result<Self, SettingsError> {
        settings.check()?;
        Ok(TaskclusterBackend {
            name,
            services: Services::new(settings.access(), clock.clone())?,
            clock,
            actions: Mutex::new(Lru::new(settings.cached_groups)),
            labels: Mutex::new(Lru::new(CACHED_LABEL_LISTS)),
            settings,
        })
    }

    /// The request made ready to be sent, its label known to exist. Asks, but does not act.
    async fn prepare(&self, request: &JobRequest) -> Result<Prepared, RequestError> {
        let (prepared, is_added) = self.shape(request).await?;
        if is_added {
            let unknown = self.unknown_labels(&prepared.group, &[request]).await?;
            if let Some(error) = unknown.into_iter().flatten().next() {
                return Err(error);
            }
        }
        Ok(prepared)
    }

    /// The request as it is sent, and whether it adds a job by its label alone, which then has to exist.
    async fn shape(&self, request: &JobRequest) -> Result<(Prepared, bool), RequestError> {
        let (group, file) = self.offer(request).await?;
        let existing = match &request.existing {
            Some(task) => self.existing(task, &group).await?,
            None => None,
        };
        let prepared = ask::prepare(&self.settings, &file, &group, request, existing.as_ref())
            .map_err(RequestError::NotPossible)?;
        let is_added = prepared.task.is_none() && existing.is_none();
        Ok((prepared, is_added))
    }

    /// The push's task group and what it offers.
    async fn offer(&self, request: &JobRequest) -> Result<(TaskId, ActionsFile), RequestError> {
        // The group that messages named is the decision task's, unless a tree groups its tasks some other way: then
        // there are no actions, or not this push's, and the index knows better.
        if let Some(group) = &request.group
            && let Some(file) = self.actions(group).await?
            && !file.is_for_another(request.revision.as_str())
        {
            return Ok((group.clone(), file));
        }
        let group = self.decision_task(request).await?;
        let Some(file) = self.actions(&group).await? else {
            return Err(RequestError::NotPossible(format!(
                "decision task {group} of push {} of {} has no {ACTIONS}: it failed, or has expired",
                request.push, request.project
            )));
        };
        if file.is_for_another(request.revision.as_str()) {
            return Err(RequestError::NotPossible(format!(
                "decision task {group}, found for revision {}, is of revision {}",
                request.revision,
                file.revision().unwrap_or_default()
            )));
        }
        Ok((group, file))
    }

    /// The push's decision task, by the index.
    async fn decision_task(&self, request: &JobRequest) -> Result<TaskId, RequestError> {
        let mut looked = Vec::new();
        for template in &self.settings.decision_routes {
            let path = route(template, request);
            match self.services.find_task(&path).await {
                Ok(bytes) => {
                    let entry: Value = serde_json::from_slice(&bytes).unwrap_or_default();
                    return entry
                        .get("taskId")
                        .and_then(Value::as_str)
                        .map(TaskId::from)
                        .ok_or_else(|| RequestError::Busy {
                            retry_after: None,
                            detail: format!("index entry {path} names no task"),
                        });
                }
                Err(AskError::Absent { .. }) => looked.push(path),
                Err(error) => return Err(refusal(error)),
            }
        }
        Err(RequestError::NotYet(format!(
            "push {} of {} has no decision task in the index (looked at {})",
            request.push,
            request.project,
            looked.join(", ")
        )))
    }

    /// What a task group offers; `None` when its decision task has no such artifact.
    async fn actions(&self, group: &TaskId) -> Result<Option<ActionsFile>, RequestError> {
        // Poisoning is of no consequence: the map is sound between any two of its calls.
        let kept = self
            .actions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(group)
            .cloned();
        let bytes = match kept {
            Some(bytes) => bytes,
            None => {
                let max = self.settings.max_actions_bytes;
                let bytes: Arc<[u8]> = match self.services.artifact(group.as_str(), None, ACTIONS, max).await {
                    Ok(bytes) => bytes.into(),
                    Err(AskError::Absent { .. }) => return Ok(None),
                    Err(error) => return Err(refusal(error)),
                };
                self.actions
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(group.clone(), bytes.clone());
                bytes
            }
        };
        let file = ActionsFile::parse(&bytes);
        file.map(Some)
            .map_err(|error| RequestError::NotPossible(format!("task group {group}: {error}")))
    }

    /// The existing task, when it still exists and belongs to the group: a task that was pulled in from another push
    /// would be run again for that push.
    async fn existing(&self, task: &TaskId, group: &TaskId) -> Result<Option<Existing>, RequestError> {
        let bytes = match self.services.task(task.as_str()).await {
            Ok(bytes) => bytes,
            Err(AskError::Absent { .. }) => return Ok(None),
            Err(error) => return Err(refusal(error)),
        };
        let definition = serde_json::from_slice(&bytes)
            .map_err(|error| RequestError::NotPossible(format!("the definition of task {task} is no JSON: {error}")))?;
        let existing = Existing {
            task: task.clone(),
            definition,
        };
        Ok((existing.group() == Some(group.as_str())).then_some(existing))
    }

    /// Refuses labels that the push cannot run: one unknown label would fail the whole action, minutes later. For each
    /// request why it is refused, `None` for one that is sound. A push that has no list of its labels is asked anyway.
    async fn unknown_labels(
        &self,
        group: &TaskId,
        requests: &[&JobRequest],
    ) -> Result<Vec<Option<RequestError>>, RequestError> {
        let mut missing: Vec<&str> = requests.iter().map(|request| request.label.as_str()).collect();
        let mut known = None;
        for artifact in LABEL_LISTS {
            if let Some(labels) = self.labels(group, artifact).await? {
                missing.retain(|label| !labels.contains(label));
                known = Some((artifact, labels));
            }
            if missing.is_empty() {
                break;
            }
        }
        let mut refusals = Vec::with_capacity(requests.len());
        for request in requests {
            let label = request.label.as_str();
            refusals.push(match &known {
                // What runs on the push is no list of what can: without the full graph nothing is known to be unknown.
                Some((artifact, labels)) if *artifact == LABEL_LISTS[1] && missing.contains(&label) => {
                    Some(no_such_label(group, label, artifact, labels).await)
                }
                _ => None,
            });
        }
        Ok(refusals)
    }

    async fn labels(&self, group: &TaskId, artifact: &'static str) -> Result<Option<Arc<Labels>>, RequestError> {
        let key = (group.clone(), artifact);
        if let Some(labels) = self.labels.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Some(labels.clone()));
        }
        let mut reader = LabelReader::new(self.settings.max_task_graph_bytes);
        match self
            .services
            .artifact_into(group.as_str(), None, artifact, &mut reader)
            .await
        {
            Ok(()) => {}
            Err(AskError::Absent { .. }) => return Ok(None),
            Err(error) => return Err(refusal(error)),
        }
        let Some(labels) = reader.finish() else {
            return Err(RequestError::NotPossible(format!(
                "{artifact} of task group {group} is no whole JSON object"
            )));
        };
        let labels = Arc::new(labels);
        self.labels
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, labels.clone());
        Ok(Some(labels))
    }

    /// Looks for a request; what was seen of its hook is left for the next one that was sent at the same moment.
    async fn find_once(
        &self,
        request: &JobRequest,
        sent_at: Timestamp,
        sighting: &mut Option<Sighting>,
    ) -> Result<Found, RequestError> {
        // Whether its label exists is no matter: one that does not was never sent, and is not found.
        match self.shape(request).await {
            Ok((prepared, _)) => self.look_for(request, &prepared, sent_at, sighting).await,
            // What can no longer be made ready can no longer be recognised.
            Err(RequestError::NotPossible(why) | RequestError::NotYet(why)) => Ok(Found::CannotTell(why)),
            Err(error) => Err(error),
        }
    }

    /// Sends the prepared request, once.
    async fn send(&self, prepared: &Prepared) -> Result<Receipt, RequestError> {
        let (who, outcome) = match &prepared.call {
            Call::Hook { group, id, payload } => (
                format!("hook {group}/{id}"),
                self.services.trigger_hook(group, id, payload).await,
            ),
            Call::Task { id, definition } => {
                let outcome = self.services.create_task(id.as_str(), definition).await;
                // The id is made from the request's key: a task that has it already is this request's own.
                if outcome.as_ref().is_ok_and(|answer| answer.status == 409) {
                    return Ok(self.receipt(id.clone()));
                }
                (format!("the queue, asked to create task {id},"), outcome)
            }
        };
        let answer = accepted(&who, outcome)?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let task = body
            .pointer("/status/taskId")
            .or_else(|| body.get("taskId"))
            .and_then(Value::as_str);
        match task {
            Some(task) if is_task_id(task) => Ok(self.receipt(TaskId::from(task))),
            _ => Err(RequestError::InDoubt(format!(
                "{who} answered HTTP {} without naming a task: {}",
                answer.status,
                answer.quote()
            ))),
        }
    }

    /// Whether our scopes let us fire hooks.
    async fn check_scopes(&self) -> Finding {
        let finding = |ok, detail| Finding {
            what: format!("scopes at {}", self.services.host()),
            ok,
            detail,
        };
        let bytes = match self.services.current_scopes().await {
            Ok(bytes) => bytes,
            Err(error) => return finding(false, error.to_string()),
        };
        let list: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let scopes = list
            .get("scopes")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        let hooks: Vec<&str> = scopes.filter(|scope| lets_fire_hooks(scope)).collect();
        if hooks.is_empty() {
            let needed = "`hooks:trigger-hook:<group>/<hook>`, or `in-tree:hook-action:<group>/<hook>` through a role";
            return finding(false, format!("none of our scopes lets us fire a hook: grant {needed}"));
        }
        finding(
            true,
            format!("hooks can be fired by {}", crate::net::http::quote(&hooks.join(", "))),
        )
    }

    fn check_credentials(&self) -> Finding {
        let finding = |ok, detail| Finding {
            what: format!("credentials for {}", self.services.host()),
            ok,
            detail,
        };
        let Some(client) = self.services.client_id() else {
            return finding(
                false,
                "there are none: every request would be refused; set `credentials`".to_owned(),
            );
        };
        match self.services.credentials_end() {
            Some(end) if end <= (self.clock)() => finding(
                false,
                format!("the temporary credentials of client `{client}` ended at {end}: renew them"),
            ),
            Some(end) => finding(true, format!("client `{client}`, temporary, until {end}")),
            None => finding(true, format!("client `{client}`")),
        }
    }
}

#[async_trait]
impl Backend for TaskclusterBackend {
    fn name(&self) -> &BackendName {
        &self.name
    }

    /// Asks for jobs through an action of the push. One call fires a hook, or creates a task, at most once.
    async fn request(&self, request: &JobRequest) -> Result<Receipt, RequestError> {
        let prepared = self.prepare(request).await?;
        self.send(&prepared).await
    }

    fn most_together(&self) -> usize {
        MOST_TOGETHER
    }

    /// Asks for several jobs of a push with one action. Labels that the push does not have are refused by name and left
    /// out; the rest goes out with one call. What the CI refuses as a whole it did not do: then each is asked for alone.
    async fn request_together(&self, requests: &[JobRequest]) -> Result<Vec<Result<Receipt, RequestError>>, Apart> {
        let Some(first) = requests.first() else {
            return Ok(Vec::new());
        };
        let all = |error: RequestError| Ok(vec![Err(error); requests.len()]);
        let (group, file) = match self.offer(first).await {
            Ok(offer) => offer,
            Err(error) => return all(error),
        };
        let unknown = match self.unknown_labels(&group, &requests.iter().collect::<Vec<_>>()).await {
            Ok(unknown) => unknown,
            Err(error) => return all(error),
        };
        let is_known = |(request, unknown): (_, &Option<RequestError>)| unknown.is_none().then_some(request);
        let known: Vec<&JobRequest> = requests.iter().zip(&unknown).filter_map(is_known).collect();
        let answer = match known.as_slice() {
            [] => None,
            known => {
                let prepared = ask::prepare_together(&self.settings, &file, &group, known).map_err(Apart)?;
                match self.send(&prepared).await {
                    Err(RequestError::NotPossible(why)) => return Err(Apart(why)),
                    answer => Some(answer),
                }
            }
        };
        let answers = unknown.into_iter().map(|unknown| match (unknown, &answer) {
            (Some(error), _) => Err(error),
            (None, Some(answer)) => answer.clone(),
            (None, None) => Err(RequestError::NotPossible("it was not asked for".to_owned())),
        });
        Ok(answers.collect())
    }

    /// Looks for the action task of a request that was sent. [`Found::Done`] names the only action task like it in the
    /// time window. Two requests of ours that ask for the same in the same minutes look alike: whoever keeps the books
    /// has to treat a receipt that another request holds already as [`Found::CannotTell`]. [`RequestError::Busy`] here
    /// means that the search has to be made again later; nothing follows from it.
    async fn find(&self, request: &JobRequest, sent_at: Timestamp) -> Result<Found, RequestError> {
        self.find_once(request, sent_at, &mut None).await
    }

    /// The lists of what a hook did are read once for all of them.
    async fn find_together(&self, requests: &[JobRequest], sent_at: Timestamp) -> Vec<Result<Found, RequestError>> {
        let mut sighting = None;
        let mut found = Vec::with_capacity(requests.len());
        for request in requests {
            found.push(self.find_once(request, sent_at, &mut sighting).await);
        }
        found
    }

    /// Needs the scope `queue:cancel-task:<schedulerId>/<taskGroupId>/<taskId>`, or `queue:cancel-task-in-project:<project>`.
    async fn cancel(&self, task: &TaskId) -> Result<(), RequestError> {
        let who = format!("the queue, asked to cancel task {task},");
        let outcome = self.services.cancel_task(task.as_str()).await;
        // A task that is gone, or past its deadline (409), runs no more.
        if outcome.as_ref().is_ok_and(|answer| matches!(answer.status, 404 | 409)) {
            return Ok(());
        }
        accepted(&who, outcome).map(drop)
    }

    async fn progress(&self, task: &TaskId) -> Result<Progress, RequestError> {
        match self.services.status(task.as_str()).await {
            Ok(bytes) => Ok(progress(&bytes)),
            // Refused credentials say nothing about the task: it is looked for again when they are mended.
            Err(error @ (AskError::Later { .. } | AskError::Refused { .. })) => Err(busy(error)),
            Err(AskError::Absent { .. }) => Ok(Progress::Failed("there is no such task".to_owned())),
            Err(error) => Ok(Progress::CannotTell(error.to_string())),
        }
    }

    async fn pending(&self, pool: &str) -> Result<Option<u64>, RequestError> {
        match self.services.pending_tasks(pool).await {
            Ok(bytes) => {
                let counts: Value = serde_json::from_slice(&bytes).unwrap_or_default();
                Ok(counts.get("pendingTasks").and_then(Value::as_u64))
            }
            // No service of that name: an older deployment still, or no such pool.
            Err(AskError::Absent { .. }) => Ok(None),
            Err(error) => Err(busy(error)),
        }
    }

    async fn check(&self) -> Vec<Finding> {
        let what = format!("Taskcluster at {}", self.services.host());
        let mut findings = vec![match self.services.ping().await {
            Ok(_) => Finding {
                what,
                ok: true,
                detail: "it answers".to_owned(),
            },
            Err(error) => Finding {
                what,
                ok: false,
                detail: error.to_string(),
            },
        }];
        findings.push(self.check_credentials());
        if self.services.client_id().is_some() {
            findings.push(self.check_scopes().await);
        }
        findings
    }
}

/// The refusal of a label that is not in the push's graph, with those most like it.
async fn no_such_label(group: &TaskId, label: &str, artifact: &str, labels: &Arc<Labels>) -> RequestError {
    let (wanted, among) = (label.to_owned(), Arc::clone(labels));
    let search = tokio::task::spawn_blocking(move || {
        among
            .near(&wanted)
            .into_iter()
            .map(|near| format!("`{near}`"))
            .collect::<Vec<_>>()
            .join(", ")
    });
    let near = match search.await.unwrap_or_default() {
        near if near.is_empty() => "nothing like it is there".to_owned(),
        near => format!("near are {near}"),
    };
    let count = labels.len();
    RequestError::NotPossible(format!(
        "`{label}` is not among the {count} labels of {artifact} of task group {group}; {near}"
    ))
}

/// How far a task is, by the answer of `queue.status`.
fn progress(status: &[u8]) -> Progress {
    let status: Value = serde_json::from_slice(status).unwrap_or_default();
    match status.pointer("/status/state").and_then(Value::as_str) {
        Some("unscheduled" | "pending" | "running") => Progress::Working,
        Some("completed") => Progress::Ended,
        Some(state @ ("failed" | "exception")) => {
            let runs = status.pointer("/status/runs").and_then(Value::as_array);
            let last = runs.and_then(|runs| runs.last()?.get("reasonResolved")?.as_str());
            Progress::Failed(last.unwrap_or(state).to_owned())
        }
        _ => Progress::CannotTell("the queue's answer names no state that is known".to_owned()),
    }
}

/// What a failed question means for a request of which nothing was sent.
fn refusal(error: AskError) -> RequestError {
    match error {
        AskError::Later { .. } => busy(error),
        AskError::Refused { .. } => RequestError::Refused(error.to_string()),
        AskError::Absent { .. } | AskError::Wrong { .. } => RequestError::NotPossible(error.to_string()),
    }
}

/// Whether a text has the form of a task id: 22 characters of URL-safe base64.
fn is_task_id(text: &str) -> bool {
    text.len() == 22
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Whether a scope, which may end in a star for everything that begins like it, covers some hook's trigger.
fn lets_fire_hooks(scope: &str) -> bool {
    let trigger = "hooks:trigger-hook:";
    match scope.strip_suffix('*') {
        Some(start) => trigger.starts_with(start) || start.starts_with(trigger),
        None => scope.starts_with(trigger),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_failed_or_is_gone_makes_no_jobs_and_one_that_waits_may() {
        let of = |state: &str, reason: &str| {
            let runs = serde_json::json!([{"reasonResolved": "worker-shutdown"}, {"reasonResolved": reason}]);
            let answer = serde_json::json!({"status": {"state": state, "runs": runs}});
            progress(answer.to_string().as_bytes())
        };
        for state in ["unscheduled", "pending", "running"] {
            assert_eq!(of(state, ""), Progress::Working, "{state}");
        }
        assert_eq!(of("completed", "completed"), Progress::Ended);
        let failed = Progress::Failed("deadline-exceeded".to_owned());
        assert_eq!(of("exception", "deadline-exceeded"), failed);
        assert!(matches!(of("dreaming", ""), Progress::CannotTell(_)));
        assert!(matches!(progress(b"<html>"), Progress::CannotTell(_)));
    }

    #[test]
    fn a_scope_with_a_star_covers_what_begins_like_it() {
        for good in [
            "*",
            "hooks:*",
            "hooks:trigger-hook:*",
            "hooks:trigger-hook:project-gecko/in-tree-action-1-*",
        ] {
            assert!(lets_fire_hooks(good), "{good}");
        }
        for bad in [
            "hooks:list-hooks:*",
            "queue:*",
            "hooks:trigger",
            "in-tree:hook-action:x/*",
        ] {
            assert!(!lets_fire_hooks(bad), "{bad}");
        }
    }
}
