//! Taskcluster queue messages, `exchange/taskcluster-queue/v1/task-…` (the published schema's version 1).
//!
//! In: the kind of message (the exchange's last part), its further routing keys, its body. Out: one
//! [`Event::Job`](sheriffd_event::Event) about the run the message names. Never: a `serde_json::Value`; this is the hot
//! path, parsed with borrowed text.
//!
//! The message names a run and its exchange a state; `status.runs[]` is the queue's own record of every run at the time
//! of sending. The named run's entry in that record is what counts: a late or repeated message about an old run
//! describes that run, not the task. Where exchange and entry differ, the later of the two states is the truth (the
//! entry was read after the transition that the exchange announces, or the announcement overtook the record), and of
//! two different ends the entry's.

use serde::Deserialize;

use super::json::{Text, error, optional_time, read_v1};
use super::place::Place;
use super::tags::Tags;
use super::{DecodeError, Decoded, Ignored, Unreadable, WireSettings};
use sheriffd_event::{Event, JobEvent, JobFacts, Outcome, RunKey, RunState, TaskId, Worker};

/// The message's body. Further fields are ignored.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    status: Status<'a>,
    #[serde(rename = "version")]
    version: u64,
    #[serde(rename = "runId")]
    run: Option<u32>,
    #[serde(borrow, rename = "workerGroup")]
    worker_group: Option<Text<'a>>,
    #[serde(borrow, rename = "workerId")]
    worker_id: Option<Text<'a>>,
    #[serde(borrow)]
    task: Option<Task<'a>>,
}

/// `task`: since 2019 the tags of the definition.
#[derive(Deserialize)]
struct Task<'a> {
    #[serde(borrow)]
    tags: Option<Tags<'a>>,
}

/// `status`: the queue's record of the task.
#[derive(Deserialize)]
struct Status<'a> {
    #[serde(borrow, rename = "taskId")]
    task: Text<'a>,
    #[serde(borrow, rename = "taskGroupId")]
    group: Option<Text<'a>>,
    #[serde(borrow, rename = "taskQueueId")]
    queue: Option<Text<'a>>,
    #[serde(borrow, rename = "provisionerId")]
    provisioner: Option<Text<'a>>,
    #[serde(borrow, rename = "workerType")]
    worker_type: Option<Text<'a>>,
    #[serde(borrow)]
    runs: Vec<Run<'a>>,
}

/// One entry of `status.runs[]`.
#[derive(Deserialize)]
struct Run<'a> {
    #[serde(rename = "runId")]
    run: u32,
    #[serde(borrow)]
    state: Text<'a>,
    #[serde(borrow, rename = "reasonResolved")]
    reason: Option<Text<'a>>,
    #[serde(borrow, rename = "workerGroup")]
    worker_group: Option<Text<'a>>,
    #[serde(borrow, rename = "workerId")]
    worker_id: Option<Text<'a>>,
    #[serde(borrow)]
    scheduled: Option<Text<'a>>,
    #[serde(borrow)]
    started: Option<Text<'a>>,
    #[serde(borrow)]
    resolved: Option<Text<'a>>,
}

/// What the exchange's name says of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Announced {
    Pending,
    Running,
    Completed,
    Failed,
    Exception,
}

impl Announced {
    fn of_kind(kind: &str) -> Option<Announced> {
        Some(match kind {
            "task-pending" => Announced::Pending,
            "task-running" => Announced::Running,
            "task-completed" => Announced::Completed,
            "task-failed" => Announced::Failed,
            "task-exception" => Announced::Exception,
            _ => return None,
        })
    }

    /// The state it means, given the reason of the run's entry.
    fn state(self, reason: Option<&str>) -> RunState {
        match self {
            Announced::Pending => RunState::Pending,
            Announced::Running => RunState::Running,
            Announced::Completed => RunState::Finished(Outcome::Passed),
            Announced::Failed => RunState::Finished(Outcome::Failed),
            // Whatever else the queue may come to call it, an exception says nothing of the test.
            Announced::Exception => RunState::Finished(match reason {
                Some("canceled" | "superseded") => Outcome::Cancelled,
                _ => Outcome::Infra,
            }),
        }
    }
}

/// Kinds of message of these exchanges that say nothing about a run.
const NOT_OF_INTEREST: [&str; 5] = [
    "task-defined",
    "artifact-created",
    "task-group-resolved",
    "task-group-sealed",
    "task-group-unsealed",
];

/// Reads a message of the exchange `exchange/taskcluster-queue/v1/<kind>`.
///
/// # Errors
/// See [`Unreadable`]; the explanation names the field.
pub(super) fn decode<'a>(
    kind: &str,
    routes: impl Iterator<Item = &'a str>,
    body: &str,
    settings: &WireSettings,
) -> Result<Decoded, DecodeError> {
    let Some(announced) = Announced::of_kind(kind) else {
        return match NOT_OF_INTEREST.contains(&kind) {
            true => Ok(Decoded::Ignored(Ignored::NotOfInterest)),
            false => Err(error(
                Unreadable::UnknownExchange,
                format!("no format is known for messages of the kind {kind:?} of the Taskcluster queue"),
            )),
        };
    };
    let body: Body = read_v1(body)?;
    if body.version != 1 {
        return Err(super::json::version_error(&body.version.to_string()));
    }
    let runs = &body.status.runs;
    let index = match body.run {
        Some(run) => runs.iter().position(|entry| entry.run == run),
        None => runs.len().checked_sub(1),
    };
    let Some((index, entry)) = index.and_then(|index| Some((index, runs.get(index)?))) else {
        return match (body.run, announced) {
            // Its deadline passed before anything could run.
            (_, Announced::Exception) if runs.is_empty() => Ok(Decoded::Ignored(Ignored::NoRun)),
            (Some(run), _) => Err(error(
                Unreadable::WrongShape,
                format!("status.runs: has no entry for run {run}, which runId names"),
            )),
            (None, _) => Err(error(
                Unreadable::WrongShape,
                "status.runs: is empty, and there is no runId",
            )),
        };
    };
    let reason = entry.reason.as_deref();
    let state = settled(announced, entry, index)?;
    let field = |name: &str| format!("status.runs[{index}].{name}");
    let scheduled = optional_time(entry.scheduled.as_ref(), || field("scheduled"))?;
    let started = optional_time(entry.started.as_ref(), || field("started"))?;
    let resolved = optional_time(entry.resolved.as_ref(), || field("resolved"))?;
    let at = match state {
        RunState::Pending => scheduled,
        RunState::Running => started.or(scheduled),
        RunState::Finished(_) => resolved.or(started).or(scheduled),
    };
    let at = at.ok_or_else(|| {
        error(
            Unreadable::WrongShape,
            format!("status.runs[{index}]: has none of scheduled, started, resolved"),
        )
    })?;

    let worker_group = entry.worker_group.as_deref().or(body.worker_group.as_deref());
    let worker_id = entry.worker_id.as_deref().or(body.worker_id.as_deref());
    let worker = worker_group.zip(worker_id).map(|(group, id)| Worker {
        group: group.into(),
        id: id.into(),
    });
    let pool = match (&body.status.queue, &body.status.provisioner, &body.status.worker_type) {
        (Some(queue), ..) => Some(queue.0.as_ref().into()),
        (None, Some(provisioner), Some(worker_type)) => Some(format!("{}/{}", &**provisioner, &**worker_type).into()),
        _ => None,
    };
    let mut facts = JobFacts::default();
    if let Some(tags) = body.task.as_ref().and_then(|task| task.tags.as_ref()) {
        tags.fill(&mut facts);
    }
    if let Some(place) = Place::of_routes(routes) {
        place.fill(&mut facts);
    }
    Ok(Decoded::Events(vec![Event::Job(Box::new(JobEvent {
        run: RunKey {
            backend: settings.backend.clone(),
            task: TaskId::from(&*body.status.task),
            run: entry.run,
        },
        group: body.status.group.as_deref().map(TaskId::from),
        state,
        reason: state.outcome().and(reason).map(Into::into),
        latest: index + 1 == runs.len(),
        at,
        scheduled,
        started,
        resolved,
        worker,
        pool,
        facts,
    }))]))
}

/// The state of the run: the later of what the exchange announces and what the run's entry says.
fn settled(announced: Announced, entry: &Run<'_>, index: usize) -> Result<RunState, DecodeError> {
    let reason = entry.reason.as_deref();
    let recorded = match &*entry.state {
        "pending" => Announced::Pending,
        "running" => Announced::Running,
        "completed" => Announced::Completed,
        "failed" => Announced::Failed,
        "exception" => Announced::Exception,
        other => {
            return Err(error(
                Unreadable::UnknownState,
                format!("status.runs[{index}].state: {other:?} is not a state of a run that is known"),
            ));
        }
    };
    let (announced, recorded) = (announced.state(reason), recorded.state(reason));
    Ok(if announced.outcome().is_some() && recorded.outcome().is_some() {
        recorded
    } else {
        announced.max(recorded)
    })
}
