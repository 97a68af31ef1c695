//! The normalised vocabulary: what happened in the CI, in the words of the field and of nobody's
//! wire format.
//!
//! In: nothing (this module depends on no other). Out: the types every other module speaks.
//! Never: I/O, clocks, wire names. Values are made at the border by parsing and trusted inside.

mod action;
pub mod bug;
mod case;
mod delivery;
mod duration;
mod graph;
mod ids;
mod job;
mod neighbourhood;
mod params;
mod push;
mod reason;
mod request;
pub mod test_path;
mod time;

pub use action::{ActionKey, JobRequest};
pub use bug::Bug;
pub use case::{CaseKind, Cause, Found, Level, NamedPush, Subject, Target, Unable, Verdict, VerdictKind};
pub use delivery::Delivery;
pub use duration::{DurationError, format_duration, parse_duration};
pub use graph::{GraphJob, TaskGraph};
pub use ids::{BackendName, CaseId, Label, Project, PushId, Revision, RuleName, RunKey, TaskId};
pub use job::{CausedBy, Chunk, JobEvent, JobFacts, Measurement, Outcome, RunState, Signature, Worker, series_name};
pub use neighbourhood::Neighbourhood;
pub use params::{
    AddParams, BaselineParams, CaseParams, FillParams, FindCulpritParams, FindPerfCulpritParams, ParamsError,
    RangeParams, RunInput, UntilHitParams, ValidateParams,
};
pub use push::{Changeset, PushEvent};
pub use reason::Reason;
pub use request::{OpenRequest, PerfAlert, RequestEvent, RequestKind};
pub use time::{Duration, Timestamp};

/// One decoded, normalised message.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// A run changed its state (`job.pending`, `job.running`, `job.finished`).
    Job(Box<JobEvent>),
    /// A push landed (`push.created`).
    Push(Box<PushEvent>),
    /// A person asked for something (`request.received`).
    Request(Box<RequestEvent>),
    /// A performance alert was raised (`perf.alert`).
    PerfAlert(Box<PerfAlert>),
    /// A scheduled rule is due (`timer`): made by the engine, never by a message.
    Timer(Box<Tick>),
}

/// A minute that a scheduled rule names.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Tick {
    /// The rule.
    pub rule: RuleName,
    /// The minute.
    pub at: Timestamp,
}

impl Event {
    /// The event's name in rules: `job.pending`, `job.running`, `job.finished`, `push.created`,
    /// `request.received`, `perf.alert`, `timer`.
    pub fn name(&self) -> &'static str {
        match self {
            Event::Job(job) => job.event_name(),
            Event::Push(_) => "push.created",
            Event::Request(_) => "request.received",
            Event::PerfAlert(_) => "perf.alert",
            Event::Timer(_) => "timer",
        }
    }

    /// What the event is called in explanations: `task/run` for a job, `push/autoland/1234`, `request/try/567/add`,
    /// `alert/89`, `timer/fill-at-night/2026-06-01T10:00:00Z`. The same for every message about the same thing.
    pub fn id(&self) -> String {
        let on = |push: Option<PushId>, revision: Option<&Revision>| match (push, revision) {
            (Some(push), _) => push.to_string(),
            (None, Some(revision)) => revision.to_string(),
            (None, None) => "?".to_owned(),
        };
        match self {
            Event::Job(job) => job.run.to_string(),
            Event::Push(push) => format!("push/{}/{}", push.project, on(push.push, Some(&push.revision))),
            Event::Request(request) => format!(
                "request/{}/{}/{}",
                request.project,
                on(request.push, request.revision.as_ref()),
                request.kind.as_str()
            ),
            Event::PerfAlert(alert) => format!("alert/{}", alert.id),
            Event::Timer(tick) => format!("timer/{}/{}", tick.rule, tick.at),
        }
    }

    /// The push the event is about, when it has a number.
    pub fn push(&self) -> Option<PushId> {
        match self {
            Event::Job(job) => job.facts.push,
            Event::Push(push) => push.push,
            Event::Request(request) => request.push,
            Event::PerfAlert(alert) => alert.push,
            Event::Timer(_) => None,
        }
    }

    /// The label the event is about, when it is about one.
    pub fn label(&self) -> Option<&Label> {
        match self {
            Event::Job(job) => job.facts.label.as_ref(),
            Event::Request(request) => match &request.kind {
                RequestKind::Backfill { label, .. } => label.as_ref(),
                RequestKind::Open(open) => open.label.as_ref(),
                _ => None,
            },
            Event::PerfAlert(alert) => alert.label.as_ref(),
            Event::Push(_) | Event::Timer(_) => None,
        }
    }

    /// When it happened, by its source's clock, when the message says so.
    pub fn at(&self) -> Option<Timestamp> {
        match self {
            Event::Job(job) => Some(job.at),
            Event::Push(push) => push.at,
            Event::Request(_) => None,
            Event::PerfAlert(alert) => alert.at,
            Event::Timer(tick) => Some(tick.at),
        }
    }

    /// The project the event is about, when the message says so.
    pub fn project(&self) -> Option<&Project> {
        match self {
            Event::Job(job) => job.facts.project.as_ref(),
            Event::Push(push) => Some(&push.project),
            Event::Request(request) => Some(&request.project),
            Event::PerfAlert(alert) => Some(&alert.project),
            Event::Timer(_) => None,
        }
    }
}
