//! The normalised vocabulary: what happened in the CI, in the words of the field and of nobody's
//! wire format.
//!
//! In: nothing (this module depends on no other). Out: the types every other module speaks.
//! Never: I/O, clocks, wire names. Values are made at the border by parsing and trusted inside.

mod action;
mod case;
mod delivery;
mod duration;
mod ids;
mod job;
mod push;
mod reason;
mod request;
mod time;

pub use action::{ActionKey, JobRequest};
pub use case::{
    CaseKind, CaseParams, Cause, FindCulpritParams, NamedPush, ParamsError, RunInput, Subject, UntilHitParams, Verdict,
    VerdictKind,
};
pub use delivery::Delivery;
pub use duration::{DurationError, format_duration, parse_duration};
pub use ids::{BackendName, CaseId, Label, Project, PushId, Revision, RuleName, RunKey, TaskId};
pub use job::{CausedBy, Chunk, JobEvent, JobFacts, Outcome, RunState, Signature, Worker};
pub use push::{Changeset, PushEvent};
pub use reason::Reason;
pub use request::{PerfAlert, RequestEvent, RequestKind};
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
}

impl Event {
    /// The event's name in rules: `job.pending`, `job.running`, `job.finished`, `push.created`,
    /// `request.received`, `perf.alert`.
    pub fn name(&self) -> &'static str {
        match self {
            Event::Job(job) => job.event_name(),
            Event::Push(_) => "push.created",
            Event::Request(_) => "request.received",
            Event::PerfAlert(_) => "perf.alert",
        }
    }

    /// When it happened, by its source's clock, when the message says so.
    pub fn at(&self) -> Option<Timestamp> {
        match self {
            Event::Job(job) => Some(job.at),
            Event::Push(push) => push.at,
            Event::Request(_) => None,
            Event::PerfAlert(alert) => alert.at,
        }
    }

    /// The project the event is about, when the message says so.
    pub fn project(&self) -> Option<&Project> {
        match self {
            Event::Job(job) => job.facts.project.as_ref(),
            Event::Push(push) => Some(&push.project),
            Event::Request(request) => Some(&request.project),
            Event::PerfAlert(alert) => Some(&alert.project),
        }
    }
}
