//! The books as the engine sees them: what it reads, what it writes, inside one transaction.
//!
//! Two stores stand behind this trait's shape: SQLite in a file and SQLite in memory share one
//! implementation today, PostgreSQL is to be the second (docs/architecture.md). Everything here is
//! synchronous: a store runs on a thread of its own.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::storm::Span;
use crate::event::{
    ActionKey, CaseId, CaseKind, CaseParams, Cause, CausedBy, Duration, Event, Found, JobEvent, JobRequest, Label,
    Project, PushEvent, PushId, Reason, Revision, RunKey, RunState, Signature, Subject, Target, TaskGraph, TaskId,
    Timestamp, Unable, Verdict, VerdictKind,
};
pub use crate::rules::Mode;
use crate::rules::{Bug, Estimate, Rule};
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

/// A case as the books keep it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseRow {
    /// Its number.
    pub id: CaseId,
    /// Who opened it.
    pub cause: Cause,
    /// Whether it acts.
    pub mode: Mode,
    /// The budget its actions are charged to, by name.
    pub budget: Option<String>,
    /// What it is about.
    pub subject: Subject,
    /// The label to ask for: whole, with its chunk.
    pub label: Label,
    /// The job's platform, for limits; `unknown` where no message told.
    pub platform: Arc<str>,
    /// What it was given.
    pub params: CaseParams,
    /// The jobs it is about besides its label, for kinds that are about several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// What was asked for and cannot be done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unable: Vec<Unable>,
    /// The push on which the failure that opened it was seen.
    pub push: PushId,
    /// The run that opened it.
    pub opened_by: Option<RunKey>,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When to look at it again without a message.
    pub wake_at: Option<Timestamp>,
    /// How it ended; `None` while it is open.
    pub verdict: Option<Verdict>,
    /// When it ended.
    pub closed_at: Option<Timestamp>,
    /// What the last step was and why, for people.
    pub why: String,
    /// What the rule's throttle counts together; empty where it has none.
    pub throttle_key: String,
    /// What it has found so far, for kinds that are about numbers.
    #[serde(default, skip_serializing_if = "Found::is_empty")]
    pub found: Found,
    /// What the case is for, where a rule opens one for each element of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub each: Option<String>,
    /// Whether a person must approve it, and did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<CaseApproval>,
    /// The webhook that is told of its verdict, by name; `None`: the common one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Arc<str>>,
    /// For searches: between which pushes it broke, as far as was known when the case was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
    /// The case of the storm that it stands for or was closed with; its own number if it is that case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storm: Option<CaseId>,
}

/// That a person must approve a case before it asks for anything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseApproval {
    /// The group of people who may, as the rule names it.
    pub by: Arc<str>,
    /// When it is too late.
    pub expires: Timestamp,
    /// What the case may cost, as it was estimated when it was opened.
    pub estimate: Estimate,
    /// Who approved it, and when; `None` while nobody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<(Arc<str>, Timestamp)>,
}

/// An event that a rule holds back until events like it have stopped coming. The latest of them stands for all.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The rule.
    pub rule: String,
    /// What the rule's `debounce` holds together.
    pub key: String,
    /// When the first of them came.
    pub since: Timestamp,
    /// When the rule acts, unless another comes.
    pub due: Timestamp,
    /// How many have come.
    pub count: u32,
    /// The latest.
    pub event: Event,
}

impl CaseRow {
    /// Whether it was closed because another case looks into the same storm.
    pub fn was_closed_with_storm(&self) -> bool {
        let is_moot = self
            .verdict
            .as_ref()
            .is_some_and(|verdict| verdict.kind == VerdictKind::Superseded);
        is_moot && self.storm.is_some_and(|head| head != self.id)
    }

    /// Whether it only decides and asks for nothing.
    pub fn is_shadow(&self) -> bool {
        self.mode != Mode::Live
    }

    /// The approval that it waits for. In shadow it asks for nothing, so for no approval either.
    pub fn awaits_approval(&self) -> Option<&CaseApproval> {
        let waiting = |approval: &&CaseApproval| approval.approved.is_none();
        self.approval.as_ref().filter(waiting).filter(|_| !self.is_shadow())
    }
}

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
    /// Jobs of it that have been seen, in whatever state.
    pub arrived: u32,
    /// Whether the CI named the task that makes its jobs; without that, which jobs are its can only be inferred.
    pub has_receipt: bool,
    /// When it was decided.
    pub created_at: Timestamp,
    /// When it was sent.
    pub sent_at: Option<Timestamp>,
}

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

/// A label, with its platform where known.
pub type PlatformLabel = (Label, Option<Arc<str>>);

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

/// Which numeric results are wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct ValuesQuery {
    /// The tree.
    pub project: Project,
    /// The jobs that measure, each by its whole label.
    pub labels: Vec<Label>,
    /// The series; `None`: every series that stands for a suite as a whole.
    pub series: Option<Arc<str>>,
    /// The window of pushes.
    pub from: PushId,
    /// Its last push.
    pub to: PushId,
    /// Values of older runs are not history.
    pub since: Timestamp,
}

/// One value in the books.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueRow {
    /// The job that measured it.
    pub label: Label,
    /// The push it ran for.
    pub push: PushId,
    /// The series.
    pub series: Arc<str>,
    /// The value.
    pub value: f64,
}

/// Numeric results, and what may hold more of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Values {
    /// Values of the window, and the newest before it, oldest push first.
    pub rows: Vec<ValueRow>,
    /// Runs of the window that passed and whose results were not read yet: events as they were.
    pub unread: Vec<JobEvent>,
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
    /// Which tests a push adds.
    Tests,
    /// The task graph of the push.
    Graph,
    /// The answer to a request of ours that is under way: the run may be its.
    Lineage,
}

impl Lack {
    /// All of them.
    pub const ALL: [Lack; 9] = [
        Lack::Task,
        Lack::Push,
        Lack::Failures,
        Lack::Bugs,
        Lack::Values,
        Lack::Pushes,
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
            Lack::Tests => "tests",
            Lack::Bugs => "bugs",
            Lack::Graph => "graph",
            Lack::Lineage => "lineage",
        }
    }
}

/// What a rule made of an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// When.
    pub at: Timestamp,
    /// The event's identity: `task/run` for jobs.
    pub event: String,
    /// The event's name in rules: `job.finished`.
    pub on: &'static str,
    /// The tree, when known.
    pub project: Option<Project>,
    /// The job's label, when known.
    pub label: Option<Label>,
    /// The push, when known.
    pub push: Option<PushId>,
    /// The rule.
    pub rule: String,
    /// `opened`, or the reason why not.
    pub result: DecisionResult,
    /// The case that was opened or joined.
    pub case: Option<CaseId>,
    /// Facts for people: the clauses with the values they saw, pushes looked at.
    pub detail: serde_json::Value,
}

impl Decision {
    /// A rule opened nothing on an event, for this reason.
    pub fn no(rule: &Rule, event: &Event, reason: Reason, at: Timestamp) -> Decision {
        Decision {
            at,
            event: event.id(),
            on: event.name(),
            project: event.project().cloned(),
            label: event.label().cloned(),
            push: event.push(),
            rule: rule.name.to_string(),
            result: DecisionResult::No(reason),
            case: None,
            detail: serde_json::Value::Null,
        }
    }

    /// What came of a person's request to open a case: the case that was opened or joined, or the reason why none was.
    pub fn by_hand(event: &Event, reason: Option<Reason>, case: Option<CaseId>, at: Timestamp) -> Decision {
        Decision {
            at,
            event: event.id(),
            on: event.name(),
            project: event.project().cloned(),
            label: event.label().cloned(),
            push: event.push(),
            rule: Cause::BY_HAND.to_owned(),
            result: reason.map_or(DecisionResult::Opened, DecisionResult::No),
            case,
            detail: serde_json::Value::Null,
        }
    }

    /// A rule that is no longer in force opened nothing on an event.
    pub fn of_rule_gone(rule: &str, event: &Event, at: Timestamp) -> Decision {
        Decision {
            rule: rule.to_owned(),
            ..Decision::by_hand(event, Some(Reason::RuleGone), None, at)
        }
    }

    /// The same for another reason.
    pub fn because(mut self, reason: Reason) -> Decision {
        self.result = DecisionResult::No(reason);
        self
    }
}

/// The result of one rule on one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecisionResult {
    /// A case was opened.
    Opened,
    /// None was, because.
    #[serde(untagged)]
    No(Reason),
}

impl DecisionResult {
    /// The word used in the store, commands and rule tests.
    pub fn as_str(self) -> &'static str {
        match self {
            DecisionResult::Opened => "opened",
            DecisionResult::No(reason) => reason.as_str(),
        }
    }
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

/// The books inside one transaction.
pub trait Ledger {
    /// Writes runs into the history: a later state replaces an earlier one, never the other way round; known
    /// facts are not forgotten. Events without project, label or push are not for this method.
    fn record_runs(&mut self, jobs: &[&JobEvent]) -> Result<(), LedgerError>;

    /// Writes a push that has a number.
    fn record_push(&mut self, push: &PushEvent) -> Result<(), LedgerError>;

    /// The number of the push with this head revision.
    fn push_of(&mut self, project: &Project, revision: &Revision) -> Result<Option<PushId>, LedgerError>;

    /// What a task group stands for, when one of its tasks has told.
    fn group(&mut self, group: &TaskId) -> Result<Option<GroupRow>, LedgerError>;

    /// Remembers what a task group stands for.
    fn learn_group(&mut self, group: &TaskId, row: &GroupRow) -> Result<(), LedgerError>;

    /// A recorded run.
    fn run(&mut self, key: &RunKey) -> Result<Option<RunRow>, LedgerError>;

    /// The action whose receipt names this task.
    fn action_of(&mut self, receipt: &TaskId) -> Result<Option<ActionKey>, LedgerError>;

    /// Whether a run of this label on this push, made by an action that is in no receipt, may be ours.
    fn may_be_ours(&mut self, project: &Project, label: &Label, push: PushId) -> Result<MayBeOurs, LedgerError>;

    /// Project and label of everything that an open case is about: its subject and its targets.
    fn open_subjects(&mut self) -> Result<Vec<(Project, Label)>, LedgerError>;

    /// Open cases whose subject or one of whose targets is this label or its series, in the order of their numbers.
    fn open_about(&mut self, project: &Project, label: &Label, series: &Label) -> Result<Vec<CaseId>, LedgerError>;

    /// What a case asked for, in the order of its steps.
    fn actions_of(&mut self, case: CaseId) -> Result<Vec<ActionRow>, LedgerError>;

    /// The books around a subject.
    fn view(&mut self, query: &ViewQuery) -> Result<View, LedgerError>;

    /// One case.
    fn case(&mut self, id: CaseId) -> Result<Option<CaseRow>, LedgerError>;

    /// The newest case of this kind about this subject: on this push, open or closed, or, where no push is named, an open
    /// one.
    fn case_about(
        &mut self,
        kind: CaseKind,
        subject: &Subject,
        push: Option<PushId>,
    ) -> Result<Option<CaseId>, LedgerError>;

    /// Opens a case; gives it its number (the row's own is ignored).
    fn open_case(&mut self, case: &CaseRow) -> Result<CaseId, LedgerError>;

    /// Writes what changed in a case. One that got a verdict is closed: what it asked for and was not sent is
    /// dropped, and a notice of the verdict is due.
    fn save_case(&mut self, case: &CaseRow) -> Result<(), LedgerError>;

    /// The searches for a culprit that were opened in a project since a moment, oldest first, at most `limit` of the
    /// newest.
    fn recent_searches(&mut self, project: &Project, since: Timestamp, limit: u32)
    -> Result<Vec<CaseRow>, LedgerError>;

    /// Cases that a rule opened since a moment with this throttle key, at most `limit`.
    fn cases_opened(&mut self, rule: &str, key: &str, since: Timestamp, limit: u32) -> Result<u32, LedgerError>;

    /// When a rule last opened a case about this subject and, where it opens one for each element of a list, this
    /// element.
    fn last_opened(
        &mut self,
        rule: &str,
        subject: &Subject,
        each: Option<&str>,
    ) -> Result<Option<Timestamp>, LedgerError>;

    /// How long the runs of a label take on a machine, in the mean; `None` while none has told.
    fn mean_duration(&mut self, project: &Project, label: &Label) -> Result<Option<Duration>, LedgerError>;

    /// The bugs that a subject is known by. `None` where nobody was asked, as where its test is not known.
    fn bugs_of(&mut self, subject: &Subject) -> Result<Option<Vec<Bug>>, LedgerError>;

    /// Whether somebody was asked about the bugs of this test since a moment.
    fn has_bugs_of(&mut self, test: &str, since: Timestamp) -> Result<bool, LedgerError>;

    /// Remembers the bugs that a test is known by.
    fn record_bugs(&mut self, test: &str, bugs: &[Bug], now: Timestamp) -> Result<(), LedgerError>;

    /// Where this test failed since a moment, the newest pushes first, a bounded number.
    fn failures_of(&mut self, project: &Project, test: &str, since: Timestamp)
    -> Result<Vec<TestFailure>, LedgerError>;

    /// What a rule holds back under a key.
    fn held(&mut self, rule: &str, key: &str) -> Result<Option<Held>, LedgerError>;

    /// Holds an event back; replaces what is held under its rule and key.
    fn hold_event(&mut self, held: &Held) -> Result<(), LedgerError>;

    /// Takes out what is due, the most overdue first, at most `limit`.
    fn take_held(&mut self, now: Timestamp, limit: u32) -> Result<Vec<Held>, LedgerError>;

    /// When a scheduled rule last ran, or was first seen.
    fn last_tick(&mut self, rule: &str) -> Result<Option<Timestamp>, LedgerError>;

    /// Remembers when a scheduled rule ran.
    fn set_last_tick(&mut self, rule: &str, at: Timestamp) -> Result<(), LedgerError>;

    /// Puts a request into the outbox. Returns false, and does nothing, when the key is there already.
    fn add_action(&mut self, action: &NewAction, now: Timestamp) -> Result<bool, LedgerError>;

    /// Puts aside, to be cancelled at the CI, what a case has asked for and nobody needs any longer: its jobs that wait or
    /// run, and the tasks of the CI that have not made all of its jobs yet. Nothing that the case did not cause.
    fn cancel_rest(&mut self, case: CaseId, now: Timestamp) -> Result<u32, LedgerError>;

    /// Marks actions that were sent before `before`, are in doubt, and whose jobs did not all come as overdue. Those that
    /// were accepted are the dispatcher's: it looks for their jobs at the CI first.
    fn mark_overdue(&mut self, case: CaseId, before: Timestamp) -> Result<u32, LedgerError>;

    /// Cases whose time to wake has come, the most overdue first, at most `limit`.
    fn waking(&mut self, now: Timestamp, limit: u32) -> Result<Vec<CaseId>, LedgerError>;

    /// Project and label of everything that an open case about numbers is about: the results of its runs are wanted.
    fn numeric_subjects(&mut self) -> Result<Vec<(Project, Label)>, LedgerError>;

    /// Numeric results of jobs, with the runs whose results were not read yet.
    fn values(&mut self, query: &ValuesQuery) -> Result<Values, LedgerError>;

    /// The labels that measure a series, the one that did last first.
    fn labels_measuring(&mut self, project: &Project, series: &str) -> Result<Vec<Label>, LedgerError>;

    /// The series that a label measures, those of a suite as a whole first.
    fn series_of(&mut self, project: &Project, label: &Label) -> Result<Vec<Arc<str>>, LedgerError>;

    /// The labels that ran for this push or a later one, in order, with their platforms where known.
    fn labels_since(&mut self, project: &Project, push: PushId) -> Result<Vec<PlatformLabel>, LedgerError>;

    /// The label of a task, when one of its runs was recorded.
    fn label_of_task(&mut self, task: &TaskId) -> Result<Option<Label>, LedgerError>;

    /// Puts news of an open case on the list of what is to be told.
    fn tell_progress(&mut self, case: CaseId, now: Timestamp) -> Result<(), LedgerError>;

    /// Puts an event that lacks facts aside. A repeat of one that waits changes nothing.
    fn wait_for(&mut self, event: &Event, what: &str, lack: Lack, now: Timestamp) -> Result<(), LedgerError>;

    /// Keeps an event that no rule looked at, for explanations.
    fn keep_sample(&mut self, event: &Event, now: Timestamp) -> Result<(), LedgerError>;

    /// Remembers what a rule made of an event.
    fn note_decision(&mut self, decision: &Decision) -> Result<(), LedgerError>;

    /// Labels that ran one of these groups since a moment, the newest pushes first, a bounded number.
    fn runners(&mut self, project: &Project, groups: Groups<'_>, since: Timestamp) -> Result<Vec<Runner>, LedgerError>;

    /// Remembers a person's request by its digest; false when the same came after `since` already.
    fn first_request(&mut self, digest: &[u8; 32], since: Timestamp, now: Timestamp) -> Result<bool, LedgerError>;

    /// Every label that a project's history knows, a bounded number, in order.
    fn labels_of(&mut self, project: &Project) -> Result<Vec<KnownLabel>, LedgerError>;

    /// What there is of each label on the pushes `first..=last`. Runs that wait since before `lost_before` are lost.
    fn jobs_between(
        &mut self,
        project: &Project,
        first: PushId,
        last: PushId,
        lost_before: Timestamp,
    ) -> Result<Vec<(Label, PushId, JobsOn)>, LedgerError>;

    /// Pushes around one, itself included, oldest first: so many before it and after it at most.
    fn pushes_around(
        &mut self,
        project: &Project,
        push: PushId,
        back: u32,
        forward: u32,
    ) -> Result<Vec<PushRow>, LedgerError>;

    /// The label and push of a task that the history knows.
    fn job_of_task(&mut self, task: &TaskId) -> Result<Option<(Label, PushId)>, LedgerError>;

    /// The label without its chunk, as far as the history knows.
    fn unchunked(&mut self, project: &Project, label: &Label) -> Result<Option<Label>, LedgerError>;

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
