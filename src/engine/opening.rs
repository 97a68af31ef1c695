//! Whether a failure that a rule matched opens a case. Pure.

use super::evidence::{self, Tally};
use super::ledger::{CaseRow, View};
use super::settings::EngineSettings;
use crate::cases::{Gap, PushEvidence};
use crate::event::{
    CaseKind, CausedBy, Duration, JobEvent, Label, Outcome, Project, PushId, Reason, Subject, Timestamp, VerdictKind,
};

/// How long a hit explains further failures of the same subject: they are the same intermittent.
const HIT_EXPLAINS: Duration = Duration::from_secs(24 * 3600);

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
        let facts = &self.job.facts;
        let signature = match facts.signatures.as_deref() {
            Some([only]) => Some(only.clone()),
            _ => None,
        };
        let label = match (&signature, facts.series()) {
            (Some(_), Some(series)) => series,
            _ => self.label.clone(),
        };
        Subject {
            project: self.project.clone(),
            label,
            signature,
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

/// What the books around a failure say of opening a case about it.
#[derive(Debug, Clone, PartialEq)]
pub enum Opening {
    /// Nothing speaks against it.
    Open,
    /// An open case has the subject.
    Join(Box<CaseRow>),
    /// Something does.
    No(Reason),
}

/// A look at the pushes around a failure, kept for the explanation.
#[derive(Debug, Clone, PartialEq)]
pub struct Surroundings {
    /// The pushes.
    pub pushes: Vec<PushEvidence>,
    /// The gap before the failure; `None` for kinds that need none.
    pub gap: Option<Gap>,
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

/// Decides whether a failure opens a case of this kind.
pub fn consider(
    placed: &Placed<'_>,
    kind: CaseKind,
    view: &View,
    settings: &EngineSettings,
    now: Timestamp,
) -> (Opening, Surroundings) {
    let subject = placed.subject();
    let same = |case: &&CaseRow| case.params.kind() == kind && case.subject == subject;
    let tally = Tally::of(view, placed.label, subject.signature.as_ref(), settings, now);
    let pushes = evidence::pushes(view, &tally, &view.actions);
    let mut around = Surroundings { pushes, gap: None };
    if let Some(open) = view.open.iter().find(same) {
        return (Opening::Join(Box::new(open.clone())), around);
    }
    let opening = match kind {
        CaseKind::FindCulprit => find_culprit(placed, view, &mut around, same),
        CaseKind::UntilHit => until_hit(view, same, now),
    };
    (opening, around)
}

fn find_culprit(
    placed: &Placed<'_>,
    view: &View,
    around: &mut Surroundings,
    same: impl Fn(&&CaseRow) -> bool,
) -> Opening {
    let Some(seen_on) = around.pushes.iter().position(|push| push.push == placed.push) else {
        return Opening::No(Reason::FactsUnknown);
    };
    let gap = around.gap.insert(Gap::before(&around.pushes, seen_on));
    let push_at = |index: usize| around.pushes.get(index).map(|push| push.push);
    let Some(last_good) = gap.last_good.and_then(push_at) else {
        return Opening::No(Reason::NoLastGood);
    };
    // A case that looked at a failure after that green push has said what there is to say.
    if view.closed.iter().filter(same).any(|case| case.push > last_good) {
        return Opening::No(Reason::Explained);
    }
    if gap.missing.is_empty() {
        return Opening::No(if gap.in_flight > 0 {
            Reason::InFlight
        } else {
            Reason::NoGap
        });
    }
    let is_runnable = |index: &usize| around.pushes.get(*index).is_some_and(|push| push.runnable);
    if !gap.missing.iter().any(is_runnable) {
        return Opening::No(Reason::NotPossible);
    }
    Opening::Open
}

fn until_hit(view: &View, same: impl Fn(&&CaseRow) -> bool, now: Timestamp) -> Opening {
    let is_fresh_hit = |case: &CaseRow| {
        case.verdict
            .as_ref()
            .is_some_and(|verdict| verdict.kind == VerdictKind::Hit)
            && case.closed_at.is_some_and(|at| now.since(at) < HIT_EXPLAINS)
    };
    match view.closed.iter().filter(same).any(is_fresh_hit) {
        true => Opening::No(Reason::Explained),
        false => Opening::Open,
    }
}
