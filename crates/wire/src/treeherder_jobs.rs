//! Jobs as submitted to Treeherder, `exchange/taskcluster-treeherder/v1/jobs`: the job schema of Treeherder, from its
//! first form (2015: `jobGuid`, `status`, `machine`) to today's (`taskId`, `state` and `result`, `buildMachine`).
//!
//! In: the body, in Pulse's envelope or without. Out: one [`Event::Job`](sheriffd_event::Event). Never: who caused it,
//! the task's group or pool, which this format does not carry.

use serde::Deserialize;

use super::json::{Text, error, optional_time, read_v1, version_error, without_envelope};
use super::{DecodeError, Decoded, Ignored, Unreadable, WireSettings, slug};
use sheriffd_event::{
    Chunk, Event, JobEvent, JobFacts, Label, Outcome, Project, PushId, Revision, RunKey, RunState, TaskId, Worker,
};

/// A job. The fields of both forms are optional here; which have to be there is checked by hand.
#[derive(Deserialize)]
struct Job<'a> {
    /// Forms before 2016 have none.
    version: Option<u64>,
    #[serde(borrow, rename = "taskId", alias = "jobGuid")]
    id: Text<'a>,
    #[serde(rename = "retryId")]
    retry: Option<u32>,
    #[serde(default, rename = "isRetried")]
    is_retried: bool,
    #[serde(borrow)]
    origin: Origin<'a>,
    #[serde(borrow)]
    display: Display<'a>,
    #[serde(borrow)]
    state: Option<Text<'a>>,
    #[serde(borrow)]
    result: Option<Text<'a>>,
    #[serde(borrow)]
    status: Option<Text<'a>>,
    #[serde(borrow, rename = "jobKind")]
    kind: Option<Text<'a>>,
    tier: Option<u8>,
    #[serde(borrow, default)]
    labels: Vec<Text<'a>>,
    #[serde(borrow, rename = "buildMachine")]
    build_machine: Option<Machine<'a>>,
    #[serde(borrow, rename = "runMachine")]
    run_machine: Option<Machine<'a>>,
    #[serde(borrow)]
    machine: Option<Machines<'a>>,
    #[serde(borrow, rename = "timeScheduled")]
    scheduled: Option<Text<'a>>,
    #[serde(borrow, rename = "timeStarted")]
    started: Option<Text<'a>>,
    #[serde(borrow, rename = "timeCompleted")]
    completed: Option<Text<'a>>,
}

/// `origin`: the push.
#[derive(Deserialize)]
struct Origin<'a> {
    #[serde(borrow)]
    owner: Option<Text<'a>>,
    #[serde(borrow)]
    project: Text<'a>,
    #[serde(borrow)]
    revision: Text<'a>,
    #[serde(rename = "pushLogID")]
    push: Option<u64>,
}

/// `display`.
#[derive(Deserialize)]
struct Display<'a> {
    #[serde(borrow, rename = "jobSymbol")]
    symbol: Option<Text<'a>>,
    #[serde(rename = "chunkId")]
    chunk: Option<u32>,
    #[serde(rename = "chunkCount")]
    chunks: Option<u32>,
    #[serde(borrow, rename = "groupSymbol")]
    group_symbol: Option<Text<'a>>,
    #[serde(borrow, rename = "jobName")]
    name: Option<Text<'a>>,
}

/// `machine` of the first form.
#[derive(Deserialize)]
struct Machines<'a> {
    #[serde(borrow)]
    build: Option<Machine<'a>>,
    #[serde(borrow)]
    test: Option<Machine<'a>>,
}

/// A machine, in either form's words.
#[derive(Deserialize)]
struct Machine<'a> {
    #[serde(borrow, alias = "machineName")]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    platform: Option<Text<'a>>,
}

/// Reads a job.
pub(super) fn decode(body: &str, settings: &WireSettings) -> Result<Decoded, DecodeError> {
    let job: Job = read_v1(without_envelope(body)?)?;
    if let Some(version) = job.version.filter(|version| *version != 1) {
        return Err(version_error(&version.to_string()));
    }
    let Some(state) = state(&job)? else {
        return Ok(Decoded::Ignored(Ignored::NoRun));
    };
    let scheduled = optional_time(job.scheduled.as_ref(), || "timeScheduled".into())?;
    let started = optional_time(job.started.as_ref(), || "timeStarted".into())?;
    let completed = optional_time(job.completed.as_ref(), || "timeCompleted".into())?;
    // Some senders fill in times that are still to come; a state takes only those that it has reached.
    let (started, completed) = match state {
        RunState::Pending => (None, None),
        RunState::Running => (started, None),
        RunState::Finished(_) => (started, completed),
    };
    let Some(at) = completed.or(started).or(scheduled) else {
        return Err(error(
            Unreadable::WrongShape,
            "the job has none of timeScheduled, timeStarted, timeCompleted",
        ));
    };
    let (id, run) = match job.id.rsplit_once('/') {
        Some((id, run)) => match run.parse() {
            Ok(run) => (id, Some(run)),
            Err(_) => {
                return Err(error(
                    Unreadable::WrongShape,
                    format!("taskId: the run {run:?} is not a number"),
                ));
            }
        },
        None => (&*job.id, None),
    };
    let machines = job
        .machine
        .as_ref()
        .map(|machines| (machines.build.as_ref(), machines.test.as_ref()));
    let (old_build, old_test) = machines.unwrap_or_default();
    let machine = job
        .build_machine
        .as_ref()
        .or(job.run_machine.as_ref())
        .or(old_build)
        .or(old_test);
    let name = machine
        .and_then(|machine| machine.name.as_deref())
        .filter(|name| *name != "unknown");
    Ok(Decoded::Events(vec![Event::Job(Box::new(JobEvent {
        run: RunKey {
            backend: settings.backend.clone(),
            task: slug::from_uuid(id).map_or_else(|| TaskId::from(id), TaskId::from),
            run: run.or(job.retry).unwrap_or(0),
        },
        group: None,
        state,
        reason: state
            .outcome()
            .and(job.result.as_deref().or(job.status.as_deref()))
            .map(Into::into),
        latest: !job.is_retried,
        at,
        scheduled,
        started,
        resolved: completed,
        worker: name.map(|name| Worker {
            group: "".into(),
            id: name.into(),
        }),
        pool: None,
        facts: facts(&job, machine),
    }))]))
}

/// The state in today's words; `None` for a job that is not scheduled yet.
fn state(job: &Job<'_>) -> Result<Option<RunState>, DecodeError> {
    let (state, result) = match (job.state.as_deref(), job.status.as_deref()) {
        (Some(state), _) => (state, job.result.as_deref()),
        // The first form has one word for both.
        (None, Some(status @ ("unscheduled" | "pending" | "running"))) => (status, None),
        (None, Some(status)) => ("completed", Some(status)),
        (None, None) => {
            return Err(error(
                Unreadable::WrongShape,
                "the job has neither `state` nor `status`",
            ));
        }
    };
    let outcome = match (state, result) {
        ("unscheduled", _) => return Ok(None),
        ("pending", _) => return Ok(Some(RunState::Pending)),
        ("running", _) => return Ok(Some(RunState::Running)),
        // Whatever its result: another run takes its place.
        ("completed", _) if job.is_retried => Outcome::Infra,
        ("completed", Some("success")) => Outcome::Passed,
        ("completed", Some("fail")) => Outcome::Failed,
        ("completed", Some("exception")) => Outcome::Infra,
        ("completed", Some("canceled" | "superseded")) => Outcome::Cancelled,
        (state, result) => {
            return Err(error(
                Unreadable::UnknownState,
                format!("state {state:?} with result {result:?} is not a state of a job that is known"),
            ));
        }
    };
    Ok(Some(RunState::Finished(outcome)))
}

fn facts(job: &Job<'_>, machine: Option<&Machine<'_>>) -> JobFacts {
    let project = match &job.origin.owner {
        Some(owner) if !owner.is_empty() => format!("{}/{}", &**owner, &*job.origin.project),
        _ => job.origin.project.to_string(),
    };
    let chunk = job.display.chunk;
    let symbol = job.display.symbol.as_deref().unwrap_or_default();
    let symbol = chunk.map_or_else(|| symbol.to_owned(), |chunk| format!("{symbol}{chunk}"));
    let mut options: Vec<&str> = job.labels.iter().map(|label| &**label).collect();
    options.sort_unstable();
    options.dedup();
    JobFacts {
        project: Some(Project::from(project)),
        revision: Some(Revision::from(&*job.origin.revision)),
        push: job.origin.push.map(PushId),
        label: job.display.name.as_deref().map(Label::from),
        platform: machine.and_then(|machine| machine.platform.as_deref()).map(Into::into),
        option: (!options.is_empty()).then(|| options.join(" ").into()),
        tier: Some(job.tier.unwrap_or(1)),
        kind: job.kind.as_deref().map(Into::into),
        chunk: chunk.map(|current| Chunk {
            current,
            total: job.display.chunks.unwrap_or(0),
        }),
        symbol: (!symbol.is_empty()).then(|| symbol.into()),
        group_symbol: Some(job.display.group_symbol.as_deref().unwrap_or("?").into()),
        ..JobFacts::default()
    }
}
