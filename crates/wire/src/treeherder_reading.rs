//! What Treeherder makes of a task message: the same facts in Treeherder's words, to hold our reading against its own.
//!
//! In: a [`JobEvent`] and the task's definition. Out: a [`TreeherderReading`]. Never: a part in what the daemon
//! decides; artifacts and logs, which neither message nor definition names.

use serde::Serialize;

use super::json::{error, time};
use super::task::Definition;
use super::{DecodeError, Unreadable, slug};
use sheriffd_event::{JobEvent, Outcome, RunState, Timestamp};

/// Longest job name that Treeherder keeps, in characters.
const MAX_NAME: usize = 99;

/// Owners longer than this many characters are cut by Treeherder, to one less than this.
const MAX_OWNER: usize = 50;

/// A job as Treeherder stores it. Times are whole seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TreeherderReading {
    /// The task's UUID and the run: `037749f1-b0c8-4112-b31e-264184cd1ce5/0`.
    pub job_guid: String,
    /// The task.
    pub taskcluster_task_id: String,
    /// The run.
    pub taskcluster_retry_id: u32,
    /// The system that ran it.
    pub build_system_type: &'static str,
    /// The project, without an owner.
    pub project: String,
    /// The head revision.
    pub revision: String,
    /// The job's name, at most 99 characters.
    pub name: String,
    /// The job's symbol.
    pub job_symbol: String,
    /// The group's symbol, `?` for none.
    pub group_symbol: String,
    /// The group's name, `unknown` for none.
    pub group_name: String,
    /// The platform, of build and machine alike.
    pub platform: String,
    /// The platform's operating system, `-` when not said.
    pub os_name: String,
    /// The platform's architecture, `-` when not said.
    pub architecture: String,
    /// The build options, sorted.
    pub option_collection: Vec<String>,
    /// The tier.
    pub tier: u8,
    /// `pending`, `running` or `completed`.
    pub state: &'static str,
    /// `unknown` until completed; then `success`, `testfailed`, `busted`, `exception`, `usercancel`, `superseded`, or
    /// `retry` when another run took this one's place.
    pub result: &'static str,
    /// Why it was scheduled.
    pub reason: String,
    /// Whose push, as the definition says.
    pub who: String,
    /// The machine, `unknown` until one took it.
    pub machine: String,
    /// The product, `unknown` for none.
    pub product_name: String,
    /// When the task was created.
    pub submit_timestamp: i64,
    /// When the run started.
    pub start_timestamp: Option<i64>,
    /// When the run ended.
    pub end_timestamp: Option<i64>,
}

/// Says a run in Treeherder's words, given its task's definition (JSON). `Ok(None)` for a task that is not meant for
/// Treeherder: no route to it, several, or nothing about how to show it.
///
/// # Errors
/// The definition cannot be read, lacks the time of its creation, or the task's id is not a slug id.
pub fn treeherder_reading(event: &JobEvent, definition: &str) -> Result<Option<TreeherderReading>, DecodeError> {
    let definition = Definition::read(definition)?;
    let (Some(place), Some(treeherder)) = (definition.place(), &definition.extra.treeherder) else {
        return Ok(None);
    };
    let Some(symbol) = definition.symbol() else {
        return Ok(None);
    };
    let Some(uuid) = slug::to_uuid(event.run.task.as_str()) else {
        return Err(error(
            Unreadable::WrongShape,
            format!("the task's id {:?} is not a slug id", event.run.task),
        ));
    };
    let Some(created) = definition.created.as_deref() else {
        return Err(error(
            Unreadable::WrongShape,
            "created: the definition does not say when the task was created",
        ));
    };
    let created = time(created, || "created".into())?;
    let is_test = treeherder.job_kind.as_deref() == Some("test");
    let machine = treeherder.machine.as_ref();
    let owner = definition.metadata.owner.as_deref().unwrap_or("unknown");
    let owner_length = if owner.chars().count() > MAX_OWNER {
        MAX_OWNER - 1
    } else {
        MAX_OWNER
    };
    Ok(Some(TreeherderReading {
        job_guid: format!("{uuid}/{}", event.run.run),
        taskcluster_task_id: event.run.task.to_string(),
        taskcluster_retry_id: event.run.run,
        build_system_type: "taskcluster",
        project: place.project.rsplit('/').next().unwrap_or(place.project).to_owned(),
        revision: place.revision.to_owned(),
        name: definition.metadata.name.chars().take(MAX_NAME).collect(),
        job_symbol: symbol,
        group_symbol: definition.group_symbol().to_owned(),
        group_name: treeherder.group_name.as_deref().unwrap_or("unknown").to_owned(),
        platform: definition.platform().unwrap_or_default().to_owned(),
        os_name: machine.and_then(|m| m.os.as_deref()).unwrap_or("-").to_owned(),
        architecture: machine
            .and_then(|m| m.architecture.as_deref())
            .unwrap_or("-")
            .to_owned(),
        option_collection: definition.options().into_iter().map(str::to_owned).collect(),
        tier: definition.tier(),
        state: match event.state {
            RunState::Pending => "pending",
            RunState::Running => "running",
            RunState::Finished(_) => "completed",
        },
        result: result(event, is_test),
        reason: treeherder.reason.as_deref().unwrap_or("scheduled").to_owned(),
        who: owner.chars().take(owner_length).collect(),
        machine: event
            .worker
            .as_ref()
            .map_or_else(|| "unknown".to_owned(), |worker| worker.id.to_string()),
        product_name: treeherder.product_name.as_deref().unwrap_or("unknown").to_owned(),
        submit_timestamp: seconds(created),
        start_timestamp: event.started.map(seconds),
        end_timestamp: event.resolved.map(seconds),
    }))
}

/// Treeherder's word for the result. A failed build is `busted`, a failed test `testfailed`.
fn result(event: &JobEvent, is_test: bool) -> &'static str {
    match event.state {
        RunState::Pending | RunState::Running => "unknown",
        RunState::Finished(_) if !event.latest => "retry",
        RunState::Finished(Outcome::Passed) => "success",
        RunState::Finished(Outcome::Failed) if is_test => "testfailed",
        RunState::Finished(Outcome::Failed) => "busted",
        RunState::Finished(Outcome::Infra) => "exception",
        RunState::Finished(Outcome::Cancelled) if event.reason.as_deref() == Some("superseded") => "superseded",
        RunState::Finished(Outcome::Cancelled) => "usercancel",
    }
}

/// Whole seconds, cut as Treeherder cuts them.
fn seconds(at: Timestamp) -> i64 {
    at.0.div_euclid(1000)
}
