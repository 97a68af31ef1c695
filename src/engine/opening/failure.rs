//! A job failed: whether that is news, and whether there is something to look for.

use super::{Draft, Opening, Placed};
use crate::cases::{Gap, PushEvidence};
use crate::engine::evidence::{self, Tally};
use crate::engine::ledger::{CaseRow, View};
use crate::engine::settings::EngineSettings;
use crate::engine::storm::Span;
use crate::event::{CaseKind, CaseParams, Duration, Reason, Subject, Timestamp, VerdictKind};
use crate::rules::Guard;

/// How long a hit explains further failures of the same subject: they are the same intermittent.
const HIT_EXPLAINS: Duration = Duration::from_secs(24 * 3600);

/// A look at the pushes around a failure, kept for the explanation.
#[derive(Debug, Clone, PartialEq)]
pub struct Surroundings {
    /// The pushes.
    pub pushes: Vec<PushEvidence>,
    /// The gap before the failure; `None` for kinds that need none.
    pub gap: Option<Gap>,
}

impl Surroundings {
    /// Between which pushes it broke, where both are known.
    pub fn span(&self) -> Option<Span> {
        let gap = self.gap.as_ref()?;
        let push_at = |index: usize| self.pushes.get(index).map(|push| push.push);
        Some(Span {
            last_good: push_at(gap.last_good?)?,
            first_bad: push_at(gap.first_bad)?,
        })
    }
}

/// What is asked about a failure: a case with these parameters about this subject, with guards that the rule relaxes.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its kind and parameters.
    pub params: &'a CaseParams,
    /// What it would be about.
    pub subject: &'a Subject,
    /// Guards that do not count.
    pub relaxed: &'a [Guard],
}

/// Decides whether a failure opens a case.
pub fn consider(
    placed: &Placed<'_>,
    wanted: Wanted<'_>,
    view: &View,
    settings: &EngineSettings,
    now: Timestamp,
) -> (Opening, Surroundings) {
    let Wanted {
        params,
        subject,
        relaxed,
    } = wanted;
    let kind = params.kind();
    let same = |case: &&CaseRow| case.params.kind() == kind && case.subject == *subject;
    let tally = Tally::of(view, placed.label, subject.signature.as_ref(), settings, now);
    let pushes = evidence::pushes(view, &tally, &view.actions);
    let mut around = Surroundings { pushes, gap: None };
    let one_open_case = !relaxed.contains(&Guard::OneOpenCase);
    if let Some(open) = view.open.iter().find(same).filter(|_| one_open_case) {
        return (Opening::Join(open.id), around);
    }
    let objection = match kind {
        CaseKind::FindCulprit => find_culprit(placed, view, &mut around, same)
            .filter(|reason| *reason != Reason::InFlight || !relaxed.contains(&Guard::InFlight)),
        CaseKind::UntilHit => until_hit(view, same, now),
        _ => Some(Reason::NotPossible),
    };
    let opening = objection.map_or_else(
        || {
            Opening::Open(Box::new(Draft {
                platform: placed.job.facts.platform.clone().unwrap_or_else(|| "unknown".into()),
                opened_by: Some(placed.job.run.clone()),
                span: around.span(),
                ..Draft::about(params.clone(), subject.clone(), placed.label.clone(), placed.push)
            }))
        },
        Opening::No,
    );
    (opening, around)
}

fn find_culprit(
    placed: &Placed<'_>,
    view: &View,
    around: &mut Surroundings,
    same: impl Fn(&&CaseRow) -> bool,
) -> Option<Reason> {
    let Some(seen_on) = around.pushes.iter().position(|push| push.push == placed.push) else {
        return Some(Reason::FactsUnknown);
    };
    let gap = around.gap.insert(Gap::before(&around.pushes, seen_on));
    let push_at = |index: usize| around.pushes.get(index).map(|push| push.push);
    let Some(last_good) = gap.last_good.and_then(push_at) else {
        return Some(Reason::NoLastGood);
    };
    // A case that looked at a failure after that green push has said what there is to say; one that was closed with a
    // storm has not: that storm's case has, or nobody.
    let has_looked = |case: &CaseRow| case.push > last_good && !case.was_closed_with_storm();
    if view.closed.iter().filter(same).any(has_looked) {
        return Some(Reason::Explained);
    }
    // Another failure of the very same runs is searched for already: what it asked for tells of this one as well.
    let shares = |case: &CaseRow| {
        case.params.kind() == CaseKind::FindCulprit && case.label == *placed.label && case.subject.signature.is_some()
    };
    if gap.missing.is_empty() && gap.in_flight > 0 && view.open.iter().any(shares) {
        return None;
    }
    if gap.missing.is_empty() {
        return Some(if gap.in_flight > 0 {
            Reason::InFlight
        } else {
            Reason::NoGap
        });
    }
    let is_runnable = |index: &usize| around.pushes.get(*index).is_some_and(|push| push.runnable);
    if !gap.missing.iter().any(is_runnable) {
        return Some(Reason::NotPossible);
    }
    None
}

fn until_hit(view: &View, same: impl Fn(&&CaseRow) -> bool, now: Timestamp) -> Option<Reason> {
    let is_fresh_hit = |case: &CaseRow| {
        case.verdict
            .as_ref()
            .is_some_and(|verdict| verdict.kind == VerdictKind::Hit)
            && case.closed_at.is_some_and(|at| now.since(at) < HIT_EXPLAINS)
    };
    view.closed
        .iter()
        .filter(same)
        .any(is_fresh_hit)
        .then_some(Reason::Explained)
}
