//! `baseline` from an uplift to the levels, on the simulated CI.

use sheriffd::engine::Note;
use sheriffd::event::{Level, PushId, Reason, VerdictKind};

use crate::tree::{SVGR, TP5O, Tree, meter, plan};

const RULES: &str = r#"
version: 1
rules:
  - name: baseline-after-uplift
    on: push.created
    when: event.is_uplift
    open: { kind: baseline, labels: ["test-*talos*"], precision: 0.01, parallel: 6, max_jobs: 80 }
    mode: live
"#;

/// An uplift with push 30 that changes every level.
fn tree(seed: u64, loud: f64, rules: &str) -> Tree {
    let meters = vec![
        meter(TP5O, "tp5o", 0.01, &[(30, 1.1)]),
        meter(SVGR, "svgr", loud, &[(30, 0.9)]),
        meter(SVGR, "svgr_scroll", 0.005, &[(30, 0.9)]),
    ];
    let mut world = plan(seed, meters);
    world.uplifts = vec![PushId(30)];
    Tree::new(world, rules)
}

fn established(notes: &[Note]) -> Vec<Level> {
    let levels = notes.iter().filter_map(|note| match note {
        Note::Established(_, levels) => Some(levels.clone()),
        _ => None,
    });
    levels.flatten().collect()
}

#[tokio::test]
async fn the_levels_after_an_uplift_are_established_each_told_as_it_is() {
    for seed in 1..=3 {
        let mut tree = tree(seed, 0.025, RULES);
        let case = tree.verdict().await;
        assert_eq!(case.push, PushId(30));
        let verdict = case.verdict.as_ref().expect("a verdict");
        assert_eq!(verdict.kind, VerdictKind::Established, "seed {seed}: {}", verdict.why);
        assert_eq!(case.found.levels.len(), 3);
        for (series, level) in [("tp5o", 275.0), ("svgr", 225.0), ("svgr_scroll", 225.0)] {
            let known = case
                .found
                .levels
                .iter()
                .find(|known| &*known.series == series)
                .expect(series);
            assert!((known.mean / level - 1.0).abs() < 0.02, "seed {seed}: {known}");
            assert!(
                known.half_width <= 0.01 * known.mean && known.n >= 8,
                "seed {seed}: {known}"
            );
        }
        // The quiet job was told of before the loud one was done.
        assert_eq!(established(&tree.notes)[0].series.as_ref(), "tp5o");
        let asked: u32 = tree.asked().iter().map(|request| request.times).sum();
        assert!(asked <= 80, "seed {seed}: {asked} jobs");
        assert!(tree.asked().iter().all(|request| request.push == PushId(30)));
    }
}

#[tokio::test]
async fn what_is_established_is_told_while_others_go_on_and_a_spent_budget_says_so() {
    let rules = RULES.replace("max_jobs: 80", "max_jobs: 30");
    let mut tree = tree(1, 0.2, &rules);
    tree.until(|notes| !established(notes).is_empty()).await;
    let now = sheriffd::event::Timestamp(i64::MAX / 2);
    let notices = tree
        .pipeline
        .store()
        .with(move |store| store.transact(|books| books.due_notices(now, 10)))
        .await
        .expect("the store");
    assert_eq!(notices.len(), 1);
    assert_eq!(notices[0].case.verdict, None);
    assert_eq!(notices[0].case.found.levels.len(), 1);
    // Told; then the verdict is told by itself.
    let id = notices[0].id;
    let store = tree.pipeline.store().clone();
    store
        .with(move |store| store.transact(|books| books.progress_told(id)))
        .await
        .expect("the store");
    let case = tree.verdict().await;
    let verdict = case.verdict.expect("a verdict");
    assert_eq!(verdict.kind, VerdictKind::Undecided, "{}", verdict.why);
    assert!(
        verdict.why.contains("tp5o of") && verdict.why.contains("not precise enough"),
        "{}",
        verdict.why
    );
    let notices = store
        .with(move |store| store.transact(|books| books.due_notices(now, 10)))
        .await
        .expect("the store");
    assert_eq!(notices.len(), 1);
    assert!(notices[0].case.verdict.is_some());
    let asked: u32 = tree.asked().iter().map(|request| request.times).sum();
    assert_eq!(asked, 30);
}

#[tokio::test]
async fn a_push_that_is_no_uplift_opens_nothing() {
    let mut world = plan(1, vec![meter(TP5O, "tp5o", 0.01, &[])]);
    world.pushes = 5;
    let mut tree = Tree::new(world, RULES);
    tree.rest().await;
    assert!(tree.opened().is_empty());
    assert_eq!(tree.said_no(Reason::ConditionFalse), 5);
}
