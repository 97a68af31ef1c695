//! What the books answer to a rule's questions about an event's history.

use super::evidence::{self, Tally};
use super::ledger::{Counts, View};
use super::opening::Placed;
use super::settings::EngineSettings;
use crate::cases::PushEvidence;
use crate::event::{Duration, Event, Outcome, RunState, Timestamp};
use crate::rules::{Bug, Estimate, Facts};

/// Answers from a view around the event.
pub struct HistoryFacts<'a> {
    view: &'a View,
    placed: Placed<'a>,
    pushes: Vec<PushEvidence>,
    now: Timestamp,
}

impl<'a> HistoryFacts<'a> {
    /// Answers for one event.
    pub fn new(placed: &Placed<'a>, view: &'a View, settings: &EngineSettings, now: Timestamp) -> HistoryFacts<'a> {
        let subject = placed.subject();
        let tally = Tally::of(view, placed.label, subject.signature.as_ref(), settings, now);
        HistoryFacts {
            view,
            placed: *placed,
            pushes: evidence::pushes(view, &tally, &view.actions),
            now,
        }
    }

    fn earlier(&self) -> Counts {
        self.pushes
            .iter()
            .filter(|push| push.push < self.placed.push)
            .fold(self.view.before, |sum, push| sum.plus(push.counts))
    }
}

impl Facts for HistoryFacts<'_> {
    fn passed_before(&self, _: &Event) -> Option<bool> {
        Some(self.earlier().passed > 0)
    }

    fn failed_before(&self, _: &Event) -> Option<bool> {
        Some(self.earlier().failed > 0)
    }

    fn failure_rate(&self, _: &Event, window: Duration) -> Option<f64> {
        let since = self.now.minus(window);
        let this = &self.placed.job.run;
        let inside = self
            .view
            .runs
            .iter()
            .filter(|run| run.label == *self.placed.label && run.at >= since && run.key != *this)
            .fold(self.view.before, |sum, run| match run.state {
                RunState::Finished(Outcome::Failed) => sum.plus(Counts::new(1, 0)),
                RunState::Finished(Outcome::Passed) => sum.plus(Counts::new(0, 1)),
                _ => sum,
            });
        (inside.total() > 0).then(|| f64::from(inside.failed) / f64::from(inside.total()))
    }

    fn runs(&self, _: &Event) -> Option<u64> {
        Some(
            self.pushes
                .iter()
                .fold(self.view.before, |sum, push| sum.plus(push.counts))
                .total()
                .into(),
        )
    }

    fn in_flight(&self, _: &Event) -> Option<u64> {
        Some(self.pushes.iter().map(|push| u64::from(push.pending)).sum())
    }

    fn bugs(&self, _: &Event) -> Option<&[Bug]> {
        None
    }

    fn estimate(&self) -> Option<Estimate> {
        None
    }
}
