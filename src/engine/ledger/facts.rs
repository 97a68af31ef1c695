//! Events that lack facts, and what a bug tracker said.

use serde::{Deserialize, Serialize};

use super::LedgerError;
use crate::event::{Event, Subject, Timestamp};
use crate::rules::Bug;

/// What an event waits for, in the order in which it is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lack {
    /// The task's definition.
    Task,
    /// The number of the push with the event's revision.
    Push,
    /// What failed in the run, from its artifacts.
    Failures,
    /// The bugs that a failure is known by, or what a bug is about.
    Bugs,
    /// What the run measured, from its artifacts.
    Values,
    /// Pushes before the event's that no message told of.
    Pushes,
    /// Where pushes before the event's, and its own, touch files.
    Places,
    /// Which tests a push adds.
    Tests,
    /// The task graph of the push.
    Graph,
    /// The answer to a request of ours that is under way: the run may be its.
    Lineage,
}

impl Lack {
    /// All of them.
    pub const ALL: [Lack; 10] = [
        Lack::Task,
        Lack::Push,
        Lack::Failures,
        Lack::Bugs,
        Lack::Values,
        Lack::Pushes,
        Lack::Places,
        Lack::Tests,
        Lack::Graph,
        Lack::Lineage,
    ];

    /// The word used in the store and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Lack::Task => "task",
            Lack::Push => "push",
            Lack::Failures => "failures",
            Lack::Values => "values",
            Lack::Pushes => "pushes",
            Lack::Places => "places",
            Lack::Tests => "tests",
            Lack::Bugs => "bugs",
            Lack::Graph => "graph",
            Lack::Lineage => "lineage",
        }
    }
}

/// The books inside one transaction: events that lack facts, and what a bug tracker said.
pub trait Facts {
    /// Puts an event that lacks facts aside. A repeat of one that waits changes nothing.
    fn wait_for(&mut self, event: &Event, what: &str, lack: Lack, now: Timestamp) -> Result<(), LedgerError>;

    /// The bugs that a subject is known by. `None` where nobody was asked, as where its test is not known.
    fn bugs_of(&mut self, subject: &Subject) -> Result<Option<Vec<Bug>>, LedgerError>;

    /// Whether somebody was asked about the bugs of this test since a moment.
    fn has_bugs_of(&mut self, test: &str, since: Timestamp) -> Result<bool, LedgerError>;

    /// Remembers the bugs that a test is known by.
    fn record_bugs(&mut self, test: &str, bugs: &[Bug], now: Timestamp) -> Result<(), LedgerError>;
}
