//! Whether an event opens a case, and about what. Pure: one file for each kind of occasion.

pub mod add;
pub mod by_hand;
pub mod failure;
pub mod field;
pub mod fill;
pub mod numbers;
pub mod range;
pub mod validate;

use std::sync::Arc;

use super::ledger::{Lack, View};
use super::settings::EngineSettings;
use super::storm::Span;
use crate::event::{
    CaseId, CaseKind, CaseParams, CausedBy, JobEvent, Label, Outcome, Project, PushId, Reason, RunKey, Signature,
    Subject, Target, Unable,
};

/// Failing tests of one run that get a case each. A run in which more failed is broken as a whole, and one case about the
/// job says that better.
pub const SIGNATURES_EACH: usize = 5;

/// Pushes before an event's that a pushlog is asked for together: the deepest look back that the shipped rules make, and
/// more.
pub const PUSHES_FETCHED: u64 = 50;

/// A job event whose place is known.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
    /// The event.
    pub job: &'a JobEvent,
    /// The tree.
    pub project: &'a Project,
    /// The label, whole.
    pub label: &'a Label,
    /// The push.
    pub push: PushId,
}

impl<'a> Placed<'a> {
    /// The event with its place, when project, label and push are known.
    pub fn of(job: &'a JobEvent) -> Option<Placed<'a>> {
        let facts = &job.facts;
        Some(Placed {
            job,
            project: facts.project.as_ref()?,
            label: facts.label.as_ref()?,
            push: facts.push?,
        })
    }

    /// What a case about this failure would be about: the signature where exactly one is known, else the job.
    pub fn subject(&self) -> Subject {
        match self.job.facts.signatures.as_deref() {
            Some([only]) => self.subject_with(Some(only.clone())),
            _ => self.subject_with(None),
        }
    }

    /// What cases about this failure would be about: each of the few tests that failed, else the job.
    pub fn subjects(&self) -> Vec<Subject> {
        match self.job.facts.signatures.as_deref() {
            Some(several) if (1..=SIGNATURES_EACH).contains(&several.len()) => several
                .iter()
                .map(|signature| self.subject_with(Some(signature.clone())))
                .collect(),
            _ => vec![self.subject_with(None)],
        }
    }

    /// What a case about one of the things that failed would be about; `None`: the job.
    pub fn subject_with(&self, signature: Option<Signature>) -> Subject {
        let label = match (&signature, self.job.facts.series()) {
            (Some(_), Some(series)) => series,
            _ => self.label.clone(),
        };
        Subject {
            project: self.project.clone(),
            label,
            signature,
            series: None,
        }
    }
}

/// The guards that are on without being written in a rule. The first that objects is the reason.
pub fn guards(placed: &Placed<'_>, kind: CaseKind, allows_person: bool, settings: &EngineSettings) -> Option<Reason> {
    if !placed.job.latest && placed.job.outcome() != Some(Outcome::Failed) {
        return Some(Reason::NotLatest);
    }
    match placed.job.facts.caused_by {
        CausedBy::Sheriffd => return Some(Reason::Lineage),
        CausedBy::Unknown => return Some(Reason::LineageUnknown),
        CausedBy::Person if !allows_person => return Some(Reason::Person),
        CausedBy::Person | CausedBy::Push => {}
    }
    if kind == CaseKind::FindCulprit && !settings.is_linear(placed.project) {
        return Some(Reason::NotLinear);
    }
    None
}

/// What a case that is about to be opened is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Its kind and parameters.
    pub params: CaseParams,
    /// What it is about.
    pub subject: Subject,
    /// The label to ask for: whole, with its chunk.
    pub label: Label,
    /// The job's platform; `unknown` where nothing told.
    pub platform: Arc<str>,
    /// The push that it is about, or on which the failure was seen.
    pub push: PushId,
    /// The run that opens it.
    pub opened_by: Option<RunKey>,
    /// Further jobs it is about, builds before tests.
    pub targets: Vec<Target>,
    /// What was asked for and cannot be done.
    pub unable: Vec<Unable>,
    /// For searches: between which pushes it broke.
    pub span: Option<Span>,
    /// The case of the storm that it stands for.
    pub storm: Option<CaseId>,
}

impl Draft {
    /// A case about one label.
    pub fn about(params: CaseParams, subject: Subject, label: Label, push: PushId) -> Draft {
        Draft {
            params,
            subject,
            label,
            platform: "unknown".into(),
            push,
            opened_by: None,
            targets: Vec::new(),
            unable: Vec::new(),
            span: None,
            storm: None,
        }
    }
}

/// What comes of a rule that matched, or of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Opening {
    /// A case about this, unless there is one.
    Open(Box<Draft>),
    /// An open case has the subject.
    Join(CaseId),
    /// Something speaks against it.
    No(Reason),
    /// It cannot be said before this is known.
    Wait(Lack),
}

/// Whether push numbers are missing between the first push of a view and `to`, or nothing is known before `to`.
pub fn has_holes(view: &View, to: PushId) -> bool {
    let known = view
        .pushes
        .iter()
        .filter(|row| row.push <= to && row.revision.is_some())
        .count() as u64;
    match view.pushes.first() {
        Some(first) if first.push < to => to.0 - first.push.0 + 1 > known,
        _ => true,
    }
}
