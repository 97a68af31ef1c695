//! What the books answer to a rule's questions about an event's history.

use super::evidence::{self, Tally};
use super::ledger::{Counts, View};
use super::opening::Placed;
use super::settings::EngineSettings;
use crate::cases::PushEvidence;
use crate::event::{Duration, Event, Timestamp};
use crate::rules::{Bug, Estimate, Facts};

/// Answers from a view around the event.
pub struct HistoryFacts<'a> {
    view: &'a View,
    placed: Placed<'a>,
    pushes: Vec<PushEvidence>,
    bugs: Option<Vec<Bug>>,
    now: Timestamp,
}

impl<'a> HistoryFacts<'a> {
    /// Answers for one event. `bugs`: those that its subject is known by, where the books know any.
    pub fn new(
        placed: &Placed<'a>,
        view: &'a View,
        bugs: Option<Vec<Bug>>,
        settings: &EngineSettings,
        now: Timestamp,
    ) -> HistoryFacts<'a> {
        let subject = placed.subject();
        let tally = Tally::of(view, placed.label, subject.signature.as_ref(), settings, now);
        HistoryFacts {
            view,
            placed: *placed,
            pushes: evidence::pushes(view, &tally, &view.actions),
            bugs,
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
        let signature = self.placed.subject().signature;
        let recent = evidence::counts_since(
            self.view,
            self.placed.label,
            signature.as_ref(),
            since,
            &self.placed.job.run,
        );
        let (_, earlier) = self.view.earlier.iter().find(|(moment, _)| *moment == since)?;
        let counts = recent.plus(*earlier);
        (counts.total() > 0).then(|| f64::from(counts.failed) / f64::from(counts.total()))
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
        self.bugs.as_deref()
    }

    fn estimate(&self) -> Option<Estimate> {
        None
    }
}

/// The same answers, and what the case that is about to be opened would cost.
pub struct Priced<'a> {
    /// The other answers.
    pub facts: &'a dyn Facts,
    /// The cost.
    pub estimate: Estimate,
}

impl Facts for Priced<'_> {
    fn passed_before(&self, event: &Event) -> Option<bool> {
        self.facts.passed_before(event)
    }

    fn failed_before(&self, event: &Event) -> Option<bool> {
        self.facts.failed_before(event)
    }

    fn failure_rate(&self, event: &Event, window: Duration) -> Option<f64> {
        self.facts.failure_rate(event, window)
    }

    fn runs(&self, event: &Event) -> Option<u64> {
        self.facts.runs(event)
    }

    fn in_flight(&self, event: &Event) -> Option<u64> {
        self.facts.in_flight(event)
    }

    fn bugs(&self, event: &Event) -> Option<&[Bug]> {
        self.facts.bugs(event)
    }

    fn estimate(&self) -> Option<Estimate> {
        Some(self.estimate)
    }
}
