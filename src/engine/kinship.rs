//! One failure on several labels: one search is enough to find what broke it.
//!
//! In: the cases about a failure (test and group) on other labels of a project, and a failure of it on a label that
//! would open another. Out: whether that label shares one of them. Never: I/O.
//!
//! Failure rates differ from label to label, so that a search rests on the runs of its own label alone; what it finds is
//! held against the runs of each label that shares it. A label joins an open search when the pushes that may have broken
//! the two overlap. When the search names a push, the label is explained by it unless its own runs speak against that
//! push: it failed before it, or passed since, more than chance allows. Then, and when the search ends with no answer,
//! its failure is looked at again by itself.
//!
//! A test that is being validated, or was found flaky or broken, needs no search either, as long as the runs of the label
//! agree that it began with the push that added it.

use super::ledger::{CaseRow, Fate};
use super::storm::Span;
use crate::cases::{self, Around};
use crate::event::{CaseId, CaseKind, Duration, FindCulpritParams, Label, PushId, VerdictKind};

/// Labels that may share one search; further ones have searches of their own.
pub const MOST: usize = 1_000;
/// How long after its end a search explains failures of further labels, and how old the failure of a label that shared
/// one may be to be looked at again: slow platforms fail hours later, and rare jobs run once in a day or two.
pub const REMEMBERED: Duration = Duration::from_secs(3 * 24 * 3600);
/// A label's own runs speak against a push when some other explanation accounts for them so many times better: at 3
/// evidence begins to be positive (R. E. Kass and A. E. Raftery, *Bayes Factors*, JASA 90, 1995).
pub const SPEAKS_AGAINST: f64 = 3.0;
/// The same for the push that added a test: before it there was nothing to fail, so the evidence has to be strong, which it
/// is from 20 on (ibid.).
pub const SPEAKS_STRONGLY_AGAINST: f64 = 20.0;

/// A failure that would open a search.
#[derive(Debug, Clone, Copy)]
pub struct Newcomer<'a> {
    /// Its label; where it has chunks, without them.
    pub label: &'a Label,
    /// The rule that would open it.
    pub rule: &'a str,
    /// Whether the search would only decide.
    pub is_shadow: bool,
    /// Between which pushes it broke.
    pub span: Option<Span>,
    /// The label's own runs.
    pub around: Around<'a>,
}

/// What the failure is to the searches on other labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kin {
    /// Nothing: it opens a search of its own.
    No,
    /// This open one looks for its cause.
    Shares(CaseId),
    /// This one has named the push that broke it, or validates the test that a push has added.
    Explained(CaseId),
}

/// Judges a failure by the cases about the same on other labels, oldest first.
pub fn kin(cases: &[CaseRow], new: &Newcomer<'_>, params: &FindCulpritParams) -> Kin {
    let others = || {
        let is_kin = |case: &&CaseRow| case.subject.label != *new.label && (new.is_shadow || !case.is_shadow());
        cases.iter().filter(is_kin)
    };
    let explains = |case: &&CaseRow| {
        let most = match case.params.kind() {
            CaseKind::Validate => SPEAKS_STRONGLY_AGAINST,
            _ => SPEAKS_AGAINST,
        };
        names(case).is_some_and(|culprits| is_explained(new, params, &culprits, most))
    };
    if let Some(case) = others().rev().find(explains) {
        return Kin::Explained(case.id);
    }
    let is_open_to_it = |case: &&CaseRow| {
        case.verdict.is_none()
            && case.params.kind() == CaseKind::FindCulprit
            && overlap(case.span, new.span)
            && (case.awaits_approval().is_none() || case.cause.rule_name() == new.rule)
            && (case.shared_by.len() < MOST || case.shared_by.iter().any(|sharer| sharer.label == *new.label))
    };
    others()
        .find(is_open_to_it)
        .map_or(Kin::No, |case| Kin::Shares(case.id))
}

/// The pushes that are behind the failure, as a case has it: those that a search has named, or the one that added a test
/// that is not known to be stable.
fn names(case: &CaseRow) -> Option<Vec<PushId>> {
    let kind = case.verdict.as_ref().map(|verdict| verdict.kind);
    match (case.params.kind(), &case.verdict, kind) {
        (CaseKind::FindCulprit, Some(verdict), Some(VerdictKind::Culprit)) => {
            Some(verdict.pushes.iter().map(|named| named.push).collect())
        }
        (CaseKind::Validate, _, None | Some(VerdictKind::Flaky | VerdictKind::Broken)) => Some(vec![case.push]),
        _ => None,
    }
}

/// Whether pushes that broke another label explain the failure: one of them is on the way to it, was not backed out
/// before it, and the label's own runs do not speak against them.
fn is_explained(new: &Newcomer<'_>, params: &FindCulpritParams, culprits: &[PushId], most: f64) -> bool {
    let Around { pushes, seen_on, .. } = new.around;
    let is_gone = |culprit: &PushId| {
        let known = pushes.iter().find(|push| push.push == *culprit);
        known.is_none_or(|push| push.backed_out_by.is_some_and(|later| later <= seen_on))
    };
    !culprits.iter().all(is_gone) && cases::odds_against(params, &new.around, culprits) < most
}

/// Whether one push can have broken both.
fn overlap(one: Option<Span>, other: Option<Span>) -> bool {
    let (Some(one), Some(other)) = (one, other) else {
        return false;
    };
    one.last_good.max(other.last_good) < one.first_bad.min(other.first_bad)
}

/// What the end of a search means for the labels that share it. Those that a named push may explain are looked at again
/// too: their own runs decide.
pub fn fate(case: &CaseRow) -> Fate {
    let Some(verdict) = &case.verdict else {
        return Fate::Waits;
    };
    match verdict.kind {
        // Decided in shadow, nothing was found out; and what a person has closed is not opened again by itself.
        _ if case.is_shadow() => Fate::LetGo,
        VerdictKind::Withdrawn => Fate::LetGo,
        // What broke it was backed out, and the search's label is green since.
        VerdictKind::Superseded if !case.was_closed_with_storm() => Fate::Covered,
        _ => Fate::OnItsOwn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::PushEvidence;
    use crate::stats::rates::Counts;

    const PUSHES: u64 = 30;

    /// The runs of a label on some of the pushes 1 to 30, as `(push, failed, passed)`.
    fn runs(of: &[(u64, u32, u32)]) -> Vec<PushEvidence> {
        let push = |number: u64| PushEvidence {
            push: PushId(number),
            runnable: true,
            counts: of
                .iter()
                .find(|(push, ..)| *push == number)
                .map_or_else(Counts::default, |(_, failed, passed)| Counts::new(*failed, *passed)),
            ..PushEvidence::default()
        };
        (1..=PUSHES).map(push).collect()
    }

    /// A search on label A that broke between two pushes, with a verdict that names these.
    fn search(last_good: u64, first_bad: u64, verdict: Option<(&str, &[u64])>) -> CaseRow {
        let named = |push: &u64| serde_json::json!({ "push": push, "revision": null, "probability": 0.97 });
        let verdict = verdict.map(|(kind, pushes)| {
            let pushes: Vec<serde_json::Value> = pushes.iter().map(named).collect();
            serde_json::json!({ "kind": kind, "pushes": pushes, "probability": 0.97, "why": "" })
        });
        serde_json::from_value(serde_json::json!({
            "id": 1, "cause": { "rule": { "name": "backfill", "version": "0" } }, "mode": "live", "budget": null,
            "subject": { "project": "autoland", "label": "A", "signature": { "group": "g", "test": "t" } },
            "label": "A", "platform": "linux", "params": { "kind": "find-culprit" }, "push": first_bad,
            "opened_by": null, "opened_at": "2026-06-01T10:00:00Z", "wake_at": null, "verdict": verdict,
            "closed_at": null, "why": "", "throttle_key": "",
            "span": { "last_good": last_good, "first_bad": first_bad },
        }))
        .unwrap()
    }

    /// What a failure of label B on a push is to a search, by B's runs and the pushes between which it broke.
    fn judged(search: CaseRow, seen_on: u64, span: (u64, u64), pushes: &[PushEvidence]) -> Kin {
        let new = Newcomer {
            label: &Label::from("B"),
            rule: "backfill",
            is_shadow: false,
            span: Some(Span {
                last_good: PushId(span.0),
                first_bad: PushId(span.1),
            }),
            around: Around {
                pushes,
                seen_on: usize::try_from(seen_on - 1).unwrap(),
                before: Counts::default(),
            },
        };
        kin(&[search], &new, &FindCulpritParams::default())
    }

    #[test]
    fn a_failure_shares_a_search_when_one_push_can_have_broken_both() {
        let joins = |span: (u64, u64)| {
            let pushes = runs(&[(span.0, 0, 1), (span.1, 1, 0)]);
            judged(search(10, 14, None), span.1, span, &pushes) == Kin::Shares(CaseId(1))
        };
        assert!([(10, 14), (8, 11), (13, 20), (2, 30)].into_iter().all(joins));
        assert!(![(8, 10), (14, 20), (20, 30)].into_iter().any(joins));
    }

    #[test]
    fn a_named_push_explains_a_failure_unless_the_labels_own_runs_speak_against_it() {
        let explains = |seen_on: u64, own: &[(u64, u32, u32)]| {
            let culprit = search(10, 14, Some(("culprit", &[13])));
            judged(culprit, seen_on, (10, seen_on), &runs(own)) == Kin::Explained(CaseId(1))
        };
        assert!(explains(14, &[(10, 0, 1), (14, 1, 0)]), "it says nothing against it");
        assert!(explains(20, &[(9, 0, 3), (15, 1, 0), (20, 2, 0)]));
        assert!(!explains(14, &[(10, 0, 1), (12, 1, 0), (14, 1, 0)]), "it failed before");
        assert!(!explains(14, &[(10, 0, 1), (13, 0, 1), (14, 1, 0)]), "it passed since");
        assert!(!explains(12, &[(10, 0, 1), (12, 1, 0)]), "it is seen before the push");
        assert!(
            !explains(14, &[(1, 1, 4), (3, 1, 3), (5, 1, 4), (8, 1, 2), (14, 1, 0)]),
            "it always failed now and then"
        );
    }

    #[test]
    fn only_a_culprit_explains_and_only_an_open_search_is_shared() {
        let own = runs(&[(10, 0, 1), (14, 1, 0)]);
        for kind in ["no-culprit", "undecided", "withdrawn", "superseded"] {
            let ended = search(10, 14, Some((kind, &[])));
            assert_eq!(judged(ended, 14, (10, 14), &own), Kin::No, "{kind}");
        }
        let shadow = CaseRow {
            mode: crate::rules::Mode::Shadow,
            ..search(10, 14, None)
        };
        assert_eq!(judged(shadow, 14, (10, 14), &own), Kin::No, "it finds out nothing");
        let own_search = CaseRow {
            subject: crate::event::Subject {
                label: Label::from("B"),
                ..search(10, 14, None).subject
            },
            ..search(10, 14, None)
        };
        assert_eq!(judged(own_search, 14, (10, 14), &own), Kin::No, "its own is no other's");
    }

    #[test]
    fn a_new_test_that_is_not_known_to_be_stable_explains_its_failures_since_the_push_that_added_it() {
        let validation = |verdict: Option<(&str, &[u64])>| CaseRow {
            params: crate::event::CaseParams::Validate(crate::event::ValidateParams::default()),
            push: PushId(13),
            ..search(10, 14, verdict)
        };
        let since = runs(&[(10, 0, 2), (13, 0, 1), (14, 1, 0), (16, 0, 1)]);
        for verdict in [None, Some("flaky"), Some("broken")] {
            let case = validation(verdict.map(|kind| (kind, [].as_slice())));
            assert_eq!(
                judged(case, 14, (10, 14), &since),
                Kin::Explained(CaseId(1)),
                "{verdict:?}"
            );
        }
        assert_eq!(judged(validation(Some(("stable", &[]))), 14, (10, 14), &since), Kin::No);
        let long_after = runs(&[(13, 0, 6), (15, 0, 4), (28, 2, 0)]);
        assert_eq!(
            judged(validation(None), 28, (15, 28), &long_after),
            Kin::No,
            "something else broke it"
        );
    }

    #[test]
    fn the_end_of_a_search_says_what_becomes_of_the_labels_that_share_it() {
        let after = |kind: &str| fate(&search(10, 14, Some((kind, &[13]))));
        assert_eq!(fate(&search(10, 14, None)), Fate::Waits);
        assert_eq!(after("culprit"), Fate::OnItsOwn, "until its own runs are looked at");
        assert_eq!(after("undecided"), Fate::OnItsOwn);
        assert_eq!(after("withdrawn"), Fate::LetGo);
        assert_eq!(after("superseded"), Fate::Covered, "what broke it was backed out");
        let with_storm = CaseRow {
            storm: Some(CaseId(9)),
            ..search(10, 14, Some(("superseded", &[])))
        };
        assert_eq!(fate(&with_storm), Fate::OnItsOwn, "the storm's case may be about it");
    }
}
