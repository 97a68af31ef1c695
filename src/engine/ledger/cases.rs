//! Cases.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::LedgerError;
use crate::engine::storm::Span;
use crate::event::{
    CaseId, CaseKind, CaseParams, Cause, Found, Label, Project, PushId, RunKey, Signature, Subject, Target, Timestamp,
    Unable, Verdict, VerdictKind,
};
use crate::rules::{Estimate, Mode};

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
    /// Labels that fail in the same way, and for which no search of their own was opened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared_by: Vec<Sharer>,
}

/// A label that fails in the same way as that of a search, and shares it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sharer {
    /// The label; where it has chunks, without them.
    pub label: Label,
    /// The job's platform.
    pub platform: Arc<str>,
    /// The push on which its failure was seen last.
    pub push: PushId,
    /// The run that failed there.
    pub run: RunKey,
    /// The rule that would have opened a search about it.
    pub rule: String,
    /// What the search's end means for it.
    pub fate: Fate,
}

/// What the end of a search means for a label that shares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// The search is open.
    Waits,
    /// What the search found explains its failure too.
    Covered,
    /// The search did not explain it: the rule looked at its failure again, by itself.
    OnItsOwn,
    /// Nothing follows: its next failure is looked at as any other.
    LetGo,
}

impl Fate {
    /// The words used in commands and on pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Fate::Waits => "waits for it",
            Fate::Covered => "explained by it",
            Fate::OnItsOwn => "looked at on its own",
            Fate::LetGo => "let go",
        }
    }
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

/// The books inside one transaction: cases.
pub trait Cases {
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

    /// Project and label of everything that an open case is about: its subject and its targets.
    fn open_subjects(&mut self) -> Result<Vec<(Project, Label)>, LedgerError>;

    /// Open cases whose subject or one of whose targets is this label or its series, in the order of their numbers.
    fn open_about(&mut self, project: &Project, label: &Label, series: &Label) -> Result<Vec<CaseId>, LedgerError>;

    /// The searches for a culprit that were opened in a project since a moment, oldest first, at most `limit` of the
    /// newest.
    fn recent_searches(&mut self, project: &Project, since: Timestamp, limit: u32)
    -> Result<Vec<CaseRow>, LedgerError>;

    /// The searches for a culprit of this failure on whatever label of a project, and the validations of its test, oldest
    /// first, at most `limit` of the newest: those that are open, and those that ended after `since`.
    fn cases_of_failure(
        &mut self,
        project: &Project,
        signature: &Signature,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<CaseRow>, LedgerError>;

    /// From now on, runs of this label bear on an open case too.
    fn watch_label(&mut self, case: CaseId, project: &Project, label: &Label) -> Result<(), LedgerError>;

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

    /// Cases whose time to wake has come, the most overdue first, at most `limit`.
    fn waking(&mut self, now: Timestamp, limit: u32) -> Result<Vec<CaseId>, LedgerError>;

    /// Puts news of an open case on the list of what is to be told.
    fn tell_progress(&mut self, case: CaseId, now: Timestamp) -> Result<(), LedgerError>;
}
