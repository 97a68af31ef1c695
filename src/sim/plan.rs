//! What a simulated world is made of: pushes, jobs, defects, new tests, and what is measured.

use crate::event::{Duration, Label, PushId, Timestamp};

/// What is wrong in the tree from some push on.
#[derive(Debug, Clone, PartialEq)]
pub struct Defect {
    /// The label that suffers.
    pub label: Label,
    /// The push that brought it.
    pub from: PushId,
    /// Its failure rate from then on: 1 for a permanent failure.
    pub rate: f64,
}

/// A test that a push adds, in a group that ran before.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTest {
    /// Its path.
    pub path: String,
    /// Its group (manifest), which the push touches.
    pub group: String,
    /// The push that adds it.
    pub push: PushId,
    /// The labels that run the group, each with the test's failure rate there.
    pub rates: Vec<(Label, f64)>,
}

/// A series that a label measures.
#[derive(Debug, Clone, PartialEq)]
pub struct Meter {
    /// The label that measures it.
    pub label: Label,
    /// The suite that it is the value of.
    pub suite: String,
    /// Its level before anything changes it.
    pub level: f64,
    /// The standard deviation of one value, as a fraction of the level.
    pub noise: f64,
    /// Pushes from which on the level is another, by this factor of the one before.
    pub steps: Vec<(PushId, f64)>,
}

impl Meter {
    /// Its level on a push.
    pub fn level_on(&self, push: PushId) -> f64 {
        let steps = self.steps.iter().filter(|(from, _)| push >= *from);
        steps.fold(self.level, |level, (_, factor)| level * factor)
    }
}

/// What the simulation is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The tree's name.
    pub project: String,
    /// When it begins.
    pub start: Timestamp,
    /// How many pushes land.
    pub pushes: u64,
    /// Mean time between two of them.
    pub between: Duration,
    /// The labels that may run on a push.
    pub labels: Vec<Label>,
    /// The share of labels that the CI skips on a push, to save machines.
    pub skipped: f64,
    /// The share of runs that fail without any defect.
    pub background: f64,
    /// The share of runs that the machinery loses.
    pub infra: f64,
    /// What is wrong.
    pub defects: Vec<Defect>,
    /// What is measured.
    pub meters: Vec<Meter>,
    /// Pushes that bring another tree's work: their messages say `uplift`.
    pub uplifts: Vec<PushId>,
    /// The seed of everything that is left to chance.
    pub seed: u64,
}
