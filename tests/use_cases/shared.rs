//! A push breaks one test on several platforms: one search finds it for all of them.

use sheriffd::engine::ledger::Fate;
use sheriffd::event::{Label, PushId};
use sheriffd::sim::{NewTest, Plan};

use crate::desk::{BACKFILL, Desk, plan};

const LABELS: [&str; 3] = [
    "test-linux2404-64/opt-mochitest-plain",
    "test-windows11-64/opt-mochitest-plain",
    "test-macosx1470-64/opt-mochitest-plain",
];

/// A tree that skips most jobs, and in which push 12 breaks a test on all platforms for good.
async fn played(rules: &str, seed: u64) -> Desk {
    let broken = NewTest {
        path: "dom/a/test_a.html".to_owned(),
        group: "dom/a/mochitest.toml".to_owned(),
        push: PushId(12),
        rates: LABELS.iter().map(|label| (Label::from(*label), 1.0)).collect(),
    };
    let plan = Plan {
        skipped: 0.7,
        background: 0.0,
        ..plan(&LABELS, 24, seed)
    };
    let mut desk = Desk::new(plan, vec![broken], rules);
    desk.play(None).await;
    desk
}

#[tokio::test]
async fn a_test_that_breaks_on_three_platforms_is_searched_for_on_one_and_found_for_all() {
    let each = BACKFILL.replace("    mode: live", "    guards: { same-signature: off }\n    mode: live");
    let (mut pooled, mut apart) = (0, 0);
    for seed in 1..=4 {
        let desk = played(BACKFILL, seed).await;
        let cases = desk.cases().await;
        let culprits: Vec<_> = cases
            .iter()
            .filter_map(|case| case.verdict.as_ref())
            .filter(|verdict| verdict.kind.as_str() == "culprit")
            .collect();
        let [only] = culprits.as_slice() else {
            panic!("seed {seed}: {cases:#?}")
        };
        assert_eq!(only.pushes[0].push, PushId(12), "seed {seed}");
        let search = cases.iter().find(|case| case.verdict.as_ref() == Some(*only)).unwrap();
        let mut covered: Vec<&str> = search
            .shared_by
            .iter()
            .filter(|sharer| sharer.fate == Fate::Covered)
            .map(|sharer| sharer.label.as_str())
            .chain([search.subject.label.as_str()])
            .collect();
        covered.sort_unstable();
        assert!(covered.len() >= 2, "seed {seed}: {covered:?}");
        pooled += desk.ci.jobs().0;
        apart += played(&each, seed).await.ci.jobs().0;
    }
    assert!(pooled * 2 < apart, "{pooled} jobs instead of {apart}");
}
