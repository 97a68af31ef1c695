//! What rules may ask that an event does not carry.
//!
//! In: questions about an event's subject. Out: answers from history, bugs and estimates, or *not known yet*.
//! Never: fetching: the engine answers from what it has loaded.

use serde::{Deserialize, Serialize};

pub use sheriffd_event::Bug;
use sheriffd_event::{Duration, Event};

/// What a case is expected to cost, for `approve:`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Estimate {
    /// Jobs it may ask for.
    pub jobs: u32,
    /// Machine-hours of those jobs, from the mean duration of the label; not negative. `None` while no run of it has
    /// told how long it takes.
    pub hours: Option<f64>,
}

/// The answers of the engine. `None` everywhere means *not known yet*: a clause that needs it is unknown, never true.
///
/// All questions are about the event's subject (project, label or series, signature), and about what happened before
/// the event's push (`passed_before`, `failed_before`) or before the event itself (the others).
pub trait Facts {
    /// Whether a run of the subject passed on an earlier push of the project.
    fn passed_before(&self, event: &Event) -> Option<bool>;

    /// Whether a run of the subject failed on an earlier push of the project.
    fn failed_before(&self, event: &Event) -> Option<bool>;

    /// The share of failed among the passed and failed runs of the subject in the time `window` before the event,
    /// 0 to 1. `None` when there was no such run.
    fn failure_rate(&self, event: &Event, window: Duration) -> Option<f64>;

    /// How many runs of the subject passed or failed, over all the history that is kept.
    fn runs(&self, event: &Event) -> Option<u64>;

    /// How many runs of the subject are pending or running now, requests of ours that have not become jobs included.
    fn in_flight(&self, event: &Event) -> Option<u64>;

    /// The bugs that the event's failure is known by; empty: none.
    fn bugs(&self, event: &Event) -> Option<&[Bug]>;

    /// What the case that is about to be opened would cost. Only `approve:` asks.
    fn estimate(&self) -> Option<Estimate>;
}

/// Knows nothing: every question is answered with *not known yet*.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFacts;

impl Facts for NoFacts {
    fn passed_before(&self, _: &Event) -> Option<bool> {
        None
    }

    fn failed_before(&self, _: &Event) -> Option<bool> {
        None
    }

    fn failure_rate(&self, _: &Event, _: Duration) -> Option<f64> {
        None
    }

    fn runs(&self, _: &Event) -> Option<u64> {
        None
    }

    fn in_flight(&self, _: &Event) -> Option<u64> {
        None
    }

    fn bugs(&self, _: &Event) -> Option<&[Bug]> {
        None
    }

    fn estimate(&self) -> Option<Estimate> {
        None
    }
}
