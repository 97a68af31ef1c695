//! Requests to the CI.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::LedgerError;
use crate::event::{ActionKey, CaseId, JobRequest, Label, Project, PushId, Reason, TaskId, Timestamp};

/// Where a request to the CI is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActionState {
    /// Decided, waits to be sent.
    Queued,
    /// A dispatcher is on it: whether the CI has it is not known until the answer is.
    Sending,
    /// The CI took it.
    Accepted,
    /// Sent, the answer lost.
    InDoubt,
    /// The CI said no, for good.
    Refused,
    /// Decided in shadow mode: never sent.
    Shadow,
    /// Given up before it was sent: its case ended first.
    Dropped,
    /// Accepted or in doubt, but its jobs did not all appear: those that did not are not waited for.
    Overdue,
}

impl ActionState {
    /// The word used in the store, commands and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            ActionState::Queued => "queued",
            ActionState::Sending => "sending",
            ActionState::Accepted => "accepted",
            ActionState::InDoubt => "in-doubt",
            ActionState::Refused => "refused",
            ActionState::Shadow => "shadow",
            ActionState::Dropped => "dropped",
            ActionState::Overdue => "overdue",
        }
    }

    /// Whether its jobs may still come.
    pub fn is_expected(self) -> bool {
        matches!(
            self,
            ActionState::Queued
                | ActionState::Sending
                | ActionState::Accepted
                | ActionState::InDoubt
                | ActionState::Shadow
        )
    }
}

/// A request of a case, as the books keep it.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionRow {
    /// Its identity.
    pub key: ActionKey,
    /// Where it is in its life.
    pub state: ActionState,
    /// Why it is there, for states that need a reason.
    pub reason: Option<Reason>,
    /// What the CI said, for states that need a reason.
    pub detail: Option<String>,
    /// The push it is for.
    pub push: PushId,
    /// The label it asks for.
    pub label: Label,
    /// Jobs it asks for.
    pub times: u32,
    /// Builds that it needs and that were not there when it was sent: the CI makes them along.
    pub builds: u32,
    /// Jobs of it that have been seen, in whatever state; these builds are not among them.
    pub arrived: u32,
    /// Whether the CI named the task that makes its jobs; without that, which jobs are its can only be inferred.
    pub has_receipt: bool,
    /// When it was decided.
    pub created_at: Timestamp,
    /// When it was sent.
    pub sent_at: Option<Timestamp>,
}

/// A request that a case decided on.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAction {
    /// The request.
    pub request: JobRequest,
    /// Queued or shadow.
    pub state: ActionState,
    /// The rule's name, for limits.
    pub rule: String,
    /// The budget to charge.
    pub budget: Option<String>,
    /// The platform, for limits.
    pub platform: Arc<str>,
}

/// Whether a run whose parent is in no receipt may be ours all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MayBeOurs {
    /// No.
    No,
    /// A request of ours for its push is on its way: its answer will tell. An action makes builds too, so that the label
    /// says nothing.
    SoonKnown,
    /// We asked for the label on the push, and the CI did not name the task that makes the jobs.
    NeverKnown,
}

/// The books inside one transaction: requests to the CI.
pub trait Actions {
    /// What a case asked for, in the order of its steps.
    fn actions_of(&mut self, case: CaseId) -> Result<Vec<ActionRow>, LedgerError>;

    /// Puts a request into the outbox. Returns false, and does nothing, when the key is there already.
    fn add_action(&mut self, action: &NewAction, now: Timestamp) -> Result<bool, LedgerError>;

    /// Whether this task is the receipt of a request of ours: it makes the jobs of one request, or of several.
    fn is_receipt(&mut self, task: &TaskId) -> Result<bool, LedgerError>;

    /// Whether a run of this label on this push, made by an action that is in no receipt, may be ours.
    fn may_be_ours(&mut self, project: &Project, label: &Label, push: PushId) -> Result<MayBeOurs, LedgerError>;

    /// Whether a request for this label on this push went out, ever, or one for which it has to be built: what became of
    /// it does not matter.
    fn is_asked_for(&mut self, project: &Project, label: &Label, push: PushId) -> Result<bool, LedgerError>;

    /// Puts aside, to be cancelled at the CI, what a case has asked for and nobody needs any longer: its jobs that wait or
    /// run, and the tasks of the CI that have not made all of its jobs yet. Nothing that the case did not cause.
    fn cancel_rest(&mut self, case: CaseId, now: Timestamp) -> Result<u32, LedgerError>;

    /// Marks actions that were sent before `before`, are in doubt, and whose jobs did not all come as overdue. Those that
    /// were accepted are the dispatcher's: it looks for their jobs at the CI first.
    fn mark_overdue(&mut self, case: CaseId, before: Timestamp) -> Result<u32, LedgerError>;
}
