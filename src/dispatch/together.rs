//! Which requests go to the CI as one call. Pure.
//!
//! In: requests that may be sent now, in order. Out: bundles, each of which is one call. Never: fewer or other jobs than
//! were asked for: each request of a bundle keeps its own row, account, receipt and fate.
//!
//! A CI's action that adds jobs to a push takes many of them at once. So several labels of one case, on one push, as often
//! and with the same input, are one call. What has to be told apart goes alone: a retrigger acts on a task of its own, and
//! a request that came to nothing together with others is tried by itself, so that one bad label spoils only itself.

use crate::event::{JobRequest, Reason};
use crate::store::sqlite::Due;

/// Requests of one round, by the call that they go out with.
#[derive(Debug, Default)]
pub(super) struct Bundles {
    /// Requests in one call at most.
    most: usize,
    bundles: Vec<Bundle>,
}

/// The requests of one call.
#[derive(Debug)]
struct Bundle {
    /// Whether others may go along.
    is_open: bool,
    dues: Vec<Due>,
}

impl Bundles {
    /// None yet, of at most `most` requests each; 1 for a CI that takes no more.
    pub fn of(most: usize) -> Bundles {
        Bundles {
            most,
            bundles: Vec::new(),
        }
    }

    /// Whether a request would go along with one that is sent already.
    pub fn takes(&self, due: &Due) -> bool {
        may_go_along(due) && self.bundles.iter().any(|bundle| self.fits(bundle, due))
    }

    /// Adds a request; before it is marked as being sent, because how often it was tried decides how it goes. Returns
    /// whether that makes a further call.
    pub fn add(&mut self, due: Due, mark: impl FnOnce(&mut Due)) -> bool {
        let is_open = may_go_along(&due);
        let place = match is_open {
            true => self.bundles.iter().position(|bundle| self.fits(bundle, &due)),
            false => None,
        };
        let mut due = due;
        mark(&mut due);
        match place.and_then(|place| self.bundles.get_mut(place)) {
            Some(bundle) => {
                bundle.dues.push(due);
                false
            }
            None => {
                let dues = vec![due];
                self.bundles.push(Bundle { is_open, dues });
                true
            }
        }
    }

    /// The calls, in order.
    pub fn into_calls(self) -> Vec<Vec<Due>> {
        self.bundles.into_iter().map(|bundle| bundle.dues).collect()
    }

    /// How many calls there are.
    pub fn calls(&self) -> usize {
        self.bundles.len()
    }

    fn fits(&self, bundle: &Bundle, due: &Due) -> bool {
        let is_alike = |first: &Due| are_one_call(&first.request, &due.request);
        bundle.is_open && bundle.dues.len() < self.most && bundle.dues.first().is_some_and(is_alike)
    }
}

/// Whether a request may go out together with others: at its first try, and later only where what was in the way was
/// nothing about the jobs.
fn may_go_along(due: &Due) -> bool {
    let is_about_others = matches!(
        due.reason,
        Some(Reason::BackendBusy | Reason::BackendRefused | Reason::NotYet)
    );
    due.request.existing.is_none() && !due.is_repeat && (due.attempts == 0 || is_about_others)
}

/// Whether two requests of one case differ in nothing but their labels.
fn are_one_call(a: &JobRequest, b: &JobRequest) -> bool {
    a.key.case == b.key.case
        && a.push == b.push
        && a.project == b.project
        && a.revision == b.revision
        && a.times == b.times
        && a.input == b.input
}

/// Requests in doubt that were sent with one call, as far as can be told: they are looked for together.
pub(super) fn sent_together(doubtful: Vec<Due>, most: usize) -> Vec<Vec<Due>> {
    let mut groups: Vec<Vec<Due>> = Vec::new();
    for due in doubtful {
        let is_mate = |first: &Due| {
            let is_added = due.request.existing.is_none() && first.request.existing.is_none();
            is_added && first.sent_at == due.sent_at && are_one_call(&first.request, &due.request)
        };
        let group = groups
            .iter_mut()
            .find(|group| group.len() < most && group.first().is_some_and(is_mate));
        match group {
            Some(group) => group.push(due),
            None => groups.push(vec![due]),
        }
    }
    groups
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::event::{ActionKey, CaseId, Label, Project, PushId, Revision, RunInput, TaskId, Timestamp};
    use proptest::prelude::*;

    /// A request that is due, of a label of its own.
    pub fn due(slot: u32, case: u64, push: u64, times: u32) -> Due {
        Due {
            request: JobRequest {
                key: ActionKey {
                    case: CaseId(case),
                    step: 1,
                    slot,
                },
                project: Project::from("try"),
                push: PushId(push),
                revision: Revision::from(format!("{push:040x}")),
                label: Label::from(format!("L{slot}")),
                times,
                existing: None,
                group: None,
                input: RunInput::default(),
                why: String::new(),
            },
            rule: "r".into(),
            budget: None,
            platform: "linux".into(),
            reason: None,
            created_at: Timestamp(0),
            sent_at: None,
            attempts: 0,
            max_jobs: 100,
            is_repeat: false,
        }
    }

    fn sizes(most: usize, dues: Vec<Due>) -> Vec<usize> {
        let mut bundles = Bundles::of(most);
        for due in dues {
            bundles.add(due, |due| due.attempts += 1);
        }
        bundles.into_calls().iter().map(Vec::len).collect()
    }

    #[test]
    fn labels_of_one_case_on_one_push_are_one_call_and_others_are_not() {
        let alike = vec![due(1, 1, 7, 1), due(2, 1, 7, 1), due(3, 1, 7, 1)];
        assert_eq!(sizes(10, alike.clone()), [3]);
        assert_eq!(sizes(2, alike.clone()), [2, 1], "a call has a largest size");
        assert_eq!(sizes(1, alike), [1, 1, 1], "a CI may take one job a call");
        let others = vec![due(1, 1, 7, 1), due(2, 2, 7, 1), due(3, 1, 8, 1), due(4, 1, 7, 2)];
        assert_eq!(sizes(10, others), [1; 4], "case, push and number of runs");
        let mut with_input = due(2, 1, 7, 1);
        with_input.request.input.action = Some("other".into());
        assert_eq!(sizes(10, vec![due(1, 1, 7, 1), with_input]), [1, 1]);
    }

    #[test]
    fn what_came_to_nothing_together_goes_alone() {
        let tried = |reason: Option<Reason>| Due {
            attempts: 1,
            reason,
            ..due(2, 1, 7, 1)
        };
        for (reason, expected) in [
            (Some(Reason::NotPossible), vec![1, 1]),
            (Some(Reason::InDoubt), vec![1, 1]),
            (Some(Reason::Limit), vec![1, 1]),
            (Some(Reason::BackendBusy), vec![2]),
            (Some(Reason::NotYet), vec![2]),
        ] {
            assert_eq!(sizes(10, vec![due(1, 1, 7, 1), tried(reason)]), expected, "{reason:?}");
        }
        let held = Due {
            reason: Some(Reason::Limit),
            ..due(2, 1, 7, 1)
        };
        assert_eq!(
            sizes(10, vec![due(1, 1, 7, 1), held]),
            [2],
            "held back before its first try"
        );
        let mut retrigger = due(2, 1, 7, 1);
        retrigger.request.existing = Some(TaskId::from("t"));
        let repeat = Due {
            is_repeat: true,
            ..due(3, 1, 7, 1)
        };
        assert_eq!(
            sizes(10, vec![due(1, 1, 7, 1), retrigger, repeat, due(4, 1, 7, 1)]),
            [2, 1, 1]
        );
    }

    proptest! {
        /// Law: every request is in exactly one call, in its order there; no call mixes cases, pushes or numbers of runs,
        /// nor is larger than the largest.
        #[test]
        fn every_request_is_in_one_call(
            most in 1usize..5,
            what in prop::collection::vec((1u64..3, 1u64..3, 1u32..3, 0u32..2), 0..30),
        ) {
            let dues: Vec<Due> = (1..)
                .zip(what)
                .map(|(slot, (case, push, times, attempts))| Due { attempts, ..due(slot, case, push, times) })
                .collect();
            let mut bundles = Bundles::of(most);
            let mut calls = 0;
            for due in dues.clone() {
                let goes_along = bundles.takes(&due);
                let is_further = bundles.add(due, |_| {});
                prop_assert_eq!(goes_along, !is_further);
                calls += usize::from(is_further);
            }
            prop_assert_eq!(bundles.calls(), calls);
            let calls = bundles.into_calls();
            let mut slots: Vec<u32> = calls.iter().flatten().map(|due| due.request.key.slot).collect();
            prop_assert!(calls.iter().all(|call| call.is_sorted_by_key(|due| due.request.key.slot)));
            slots.sort_unstable();
            prop_assert_eq!(slots, (1..=dues.len() as u32).collect::<Vec<_>>());
            for call in &calls {
                prop_assert!((1..=most).contains(&call.len()));
                prop_assert!(call.iter().all(|due| are_one_call(&due.request, &call[0].request)));
            }
        }
    }
}
