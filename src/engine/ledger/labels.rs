//! Labels that the history knows, and the tests that they run.

use std::sync::Arc;

use super::LedgerError;
use crate::event::{Label, Project, PushId, Signature, Timestamp};

/// A label that the history of a project knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownLabel {
    /// The label, whole.
    pub label: Label,
    /// Its platform, when a message told.
    pub platform: Option<Arc<str>>,
    /// `test`, `build`, or the task graph's kind, when a message told.
    pub kind: Option<Arc<str>>,
    /// The test suite, when a message told.
    pub suite: Option<Arc<str>>,
}

/// A label that is known to run a test group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    /// The label, whole.
    pub label: Label,
    /// The label without its chunk.
    pub series: Label,
    /// The platform; `unknown` where no message told.
    pub platform: Arc<str>,
    /// The group.
    pub group: Arc<str>,
    /// The newest push on which it ran it.
    pub push: PushId,
}

/// A failure of a test, as the books remember it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestFailure {
    /// The label, whole.
    pub label: Label,
    /// The label without its chunk.
    pub series: Label,
    /// The push.
    pub push: PushId,
    /// What failed, as results name it.
    pub signature: Signature,
}

/// Which test groups are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Groups<'a> {
    /// The group of this name.
    Named(&'a str),
    /// Every group whose manifest lies in this folder itself.
    In(&'a str),
}

/// A label, with its platform where known.
pub type PlatformLabel = (Label, Option<Arc<str>>);

/// The books inside one transaction: labels that the history knows, and the tests that they run.
pub trait Labels {
    /// Every label that a project's history knows, a bounded number, in order.
    fn labels_of(&mut self, project: &Project) -> Result<Vec<KnownLabel>, LedgerError>;

    /// The label without its chunk, as far as the history knows.
    fn unchunked(&mut self, project: &Project, label: &Label) -> Result<Option<Label>, LedgerError>;

    /// The labels that ran for this push or a later one, in order, with their platforms where known.
    fn labels_since(&mut self, project: &Project, push: PushId) -> Result<Vec<PlatformLabel>, LedgerError>;

    /// Labels that ran one of these groups since a moment, the newest pushes first, a bounded number.
    fn runners(&mut self, project: &Project, groups: Groups<'_>, since: Timestamp) -> Result<Vec<Runner>, LedgerError>;

    /// Where this test failed since a moment, the newest pushes first, a bounded number.
    fn failures_of(&mut self, project: &Project, test: &str, since: Timestamp)
    -> Result<Vec<TestFailure>, LedgerError>;
}
