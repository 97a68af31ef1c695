//! Runs and what there is of labels on pushes.

use std::sync::Arc;

use super::{ActionRow, CaseRow, LedgerError, PushRow};
use crate::event::{
    ActionKey, CausedBy, Duration, JobEvent, Label, Project, PushId, RunKey, RunState, Signature, TaskId, Timestamp,
};
use crate::stats::rates::Counts;

/// A run as the books know it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    /// Which run.
    pub key: RunKey,
    /// Its label.
    pub label: Label,
    /// The push it ran for.
    pub push: PushId,
    /// Where it is in its life.
    pub state: RunState,
    /// Who caused it.
    pub caused_by: CausedBy,
    /// The action of ours that caused it.
    pub action: Option<ActionKey>,
    /// When it reached its state.
    pub at: Timestamp,
    /// What failed; `None`: not known.
    pub signatures: Option<Vec<Signature>>,
    /// What ran; `None`: not known.
    pub groups: Option<Vec<Arc<str>>>,
}

/// What there is of a label on a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobsOn {
    /// Runs that passed and failed.
    pub counts: Counts,
    /// Runs that wait or run.
    pub pending: u32,
    /// Jobs that cases have asked for and that have not appeared.
    pub asked: u32,
    /// Runs that somebody cancelled.
    pub cancelled: u32,
    /// Runs that the machinery lost.
    pub infra: u32,
    /// When the first of the runs came into the state that it is in.
    pub since: Option<Timestamp>,
}

impl JobsOn {
    /// Runs that will end: those that wait or run, and those that are asked for.
    pub fn coming(&self) -> u32 {
        self.pending.saturating_add(self.asked)
    }

    /// Whether there is anything that a further run would repeat. What the machinery lost is not there; what somebody
    /// cancelled was not wanted.
    pub fn is_there(&self) -> bool {
        self.counts.total() > 0 || self.coming() > 0 || self.cancelled > 0
    }
}

/// What to look at around a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewQuery {
    /// The tree.
    pub project: Project,
    /// The label, whole.
    pub label: Label,
    /// The label without its chunk: open and closed cases about it are shown too.
    pub series: Label,
    /// Whether runs of the whole series are wanted: for a subject with a signature, which moves between chunks.
    pub spans_series: bool,
    /// Further labels whose runs are wanted, each whole.
    pub also: Vec<Label>,
    /// The push in the middle.
    pub around: PushId,
    /// Pushes before it, at most.
    pub back: u32,
    /// Pushes after it, at most.
    pub forward: u32,
    /// Runs older than this are not counted into [`View::before`].
    pub since: Timestamp,
    /// Further moments: for each, the runs before the window that are not older are shown in [`View::earlier`].
    pub rates_since: Vec<Timestamp>,
    /// The signature whose failures are counted in [`View::earlier`]; `None`: all failures of the label.
    pub signature: Option<Signature>,
}

/// What the books say around a subject.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct View {
    /// The window of pushes, oldest first.
    pub pushes: Vec<PushRow>,
    /// The runs of the label, or of its series, in the window.
    pub runs: Vec<RunRow>,
    /// Runs of the label on pushes before the window.
    pub before: Counts,
    /// The same since each moment of [`ViewQuery::rates_since`]: how often the signature failed, how often the label
    /// passed.
    pub earlier: Vec<(Timestamp, Counts)>,
    /// Open cases about the label or its series.
    pub open: Vec<CaseRow>,
    /// Cases about them that closed last, newest first.
    pub closed: Vec<CaseRow>,
    /// What the open cases asked for.
    pub actions: Vec<ActionRow>,
}

/// The books inside one transaction: runs and what there is of labels on pushes.
pub trait Runs {
    /// Writes runs into the history: a later state replaces an earlier one, never the other way round; known
    /// facts are not forgotten. Events without project, label or push are not for this method.
    fn record_runs(&mut self, jobs: &[&JobEvent]) -> Result<(), LedgerError>;

    /// A recorded run.
    fn run(&mut self, key: &RunKey) -> Result<Option<RunRow>, LedgerError>;

    /// The label and push of a task that the history knows.
    fn job_of_task(&mut self, task: &TaskId) -> Result<Option<(Label, PushId)>, LedgerError>;

    /// How long the runs of a label take on a machine, in the mean; `None` while none has told.
    fn mean_duration(&mut self, project: &Project, label: &Label) -> Result<Option<Duration>, LedgerError>;

    /// What there is of each label on the pushes `first..=last`. Runs that wait since before `lost_before` are lost.
    fn jobs_between(
        &mut self,
        project: &Project,
        first: PushId,
        last: PushId,
        lost_before: Timestamp,
    ) -> Result<Vec<(Label, PushId, JobsOn)>, LedgerError>;

    /// The books around a subject.
    fn view(&mut self, query: &ViewQuery) -> Result<View, LedgerError>;
}
