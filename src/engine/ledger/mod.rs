//! The books as the engine sees them: what it reads, what it writes, inside one transaction.
//!
//! Two stores stand behind this trait's shape: SQLite in a file and SQLite in memory share one
//! implementation today, PostgreSQL is to be the second (docs/architecture.md). Everything here is
//! synchronous: a store runs on a thread of its own.

mod actions;
mod cases;
mod facts;
mod labels;
mod memory;
mod numbers;
mod pushes;
mod runs;

pub use actions::{ActionRow, ActionState, Actions, MayBeOurs, NewAction};
pub use cases::{CaseApproval, CaseRow, Cases, Fate, Sharer};
pub use facts::{Facts, Lack};
pub use labels::{Groups, KnownLabel, Labels, PlatformLabel, Runner, TestFailure};
pub use memory::{Decision, DecisionResult, Held, Memory};
pub use numbers::{Numbers, ValueRow, Values, ValuesQuery};
pub use pushes::{GroupRow, PushRow, Pushes, TouchedRow};
pub use runs::{JobsOn, RunRow, Runs, View, ViewQuery};

pub use crate::rules::Mode;
pub use crate::stats::rates::Counts;

/// The books could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// Another process holds the store, or the disk is full: nothing was written; trying again may help.
    #[error("the store cannot be used now: {0}")]
    Busy(String),
    /// What was to be written is nothing that the store can hold, or a defect of ours ended the transaction: nothing
    /// was written; trying the same again cannot help, leaving it out can.
    #[error("the store does not take this: {0}")]
    Rejected(String),
    /// The store is damaged or of another version: nothing was written; a person has to act.
    #[error("the store is unusable: {0}")]
    Broken(String),
}

/// The books inside one transaction.
pub trait Ledger: Runs + Pushes + Labels + Cases + Actions + Numbers + Memory + Facts {}

impl<T: Runs + Pushes + Labels + Cases + Actions + Numbers + Memory + Facts> Ledger for T {}
