//! Pushes, their task groups and task graphs.

use super::LedgerError;
use crate::event::{Project, PushEvent, PushId, Revision, TaskGraph, TaskId, Timestamp};

/// A push as the books know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushRow {
    /// Its number.
    pub push: PushId,
    /// Its head revision, when known.
    pub revision: Option<Revision>,
    /// When it landed.
    pub at: Option<Timestamp>,
    /// Its task group, when seen.
    pub group: Option<TaskId>,
    /// Hashes of changesets that this push backs out.
    pub backs_out: Vec<Revision>,
}

/// Where a push touches files, as the books know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TouchedRow {
    /// Its number.
    pub push: PushId,
    /// The folders, as [`PushEvent::folders_touched`] has them; `None` while nobody has told.
    pub folders: Option<Vec<String>>,
}

/// What a task group stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRow {
    /// The tree.
    pub project: Project,
    /// The push.
    pub push: Option<PushId>,
    /// Its head revision.
    pub revision: Option<Revision>,
}

/// The books inside one transaction: pushes, their task groups and task graphs.
pub trait Pushes {
    /// Writes a push that has a number. What is known of it is not forgotten where the event does not say it.
    fn record_push(&mut self, push: &PushEvent) -> Result<(), LedgerError>;

    /// The number of the push with this head revision.
    fn push_of(&mut self, project: &Project, revision: &Revision) -> Result<Option<PushId>, LedgerError>;

    /// What a task group stands for, when one of its tasks has told.
    fn group(&mut self, group: &TaskId) -> Result<Option<GroupRow>, LedgerError>;

    /// Remembers what a task group stands for.
    fn learn_group(&mut self, group: &TaskId, row: &GroupRow) -> Result<(), LedgerError>;

    /// Pushes around one, itself included, oldest first: so many before it and after it at most.
    fn pushes_around(
        &mut self,
        project: &Project,
        push: PushId,
        back: u32,
        forward: u32,
    ) -> Result<Vec<PushRow>, LedgerError>;

    /// Where the known pushes `first..=last` touch files, oldest first.
    fn touched_between(
        &mut self,
        project: &Project,
        first: PushId,
        last: PushId,
    ) -> Result<Vec<TouchedRow>, LedgerError>;

    /// What can run on a push, when its task graph was fetched.
    fn graph_of(&mut self, project: &Project, push: PushId) -> Result<Option<TaskGraph>, LedgerError>;

    /// Keeps what can run on a push; the oldest of many such are forgotten.
    fn record_graph(
        &mut self,
        project: &Project,
        push: PushId,
        graph: &TaskGraph,
        now: Timestamp,
    ) -> Result<(), LedgerError>;
}
