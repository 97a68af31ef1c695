//! `find-perf-culprit` from an alert to the push, on the simulated CI.

use serde_json::{Value, json};
use sheriffd::engine::{Discarded, Note};
use sheriffd::event::{CaseKind, PushId, Reason, VerdictKind};

use crate::tree::{TP5O, Tree, meter, plan};

const RULES: &str = "
version: 1
rules:
  - name: perf-regression
    on: perf.alert
    when: event.regression && event.magnitude > 0.02
    open: { kind: find-perf-culprit, max_jobs: 60, parallel: 3 }
    mode: live
";

/// The alert of a detector that saw the step between two measured pushes.
fn alert(id: u64, previous: u64, push: u64) -> Value {
    json!({
        "id": 900 + id, "repository": "autoland", "framework": 1, "created": "2026-06-02T08:00:00.123456",
        "push": push, "previous_push": previous,
        "alerts": [{
            "id": id, "status": 0, "is_regression": true, "amount_pct": 6.1, "prev_value": 250.0, "new_value": 265.3,
            "series_signature": {
                "id": 7, "signature_hash": "387af86a444be0b42bf1063359040942d8f59f21", "framework_id": 1,
                "machine_platform": "linux2404-64", "suite": "tp5o", "test": "", "extra_options": [],
                "lower_is_better": true,
            },
        }],
    })
}

#[tokio::test]
async fn the_push_that_made_a_series_step_is_found_and_its_neighbours_are_measured() {
    for seed in 1..=6 {
        let mut tree = Tree::new(plan(seed, vec![meter(TP5O, "tp5o", 0.01, &[(25, 1.06)])]), RULES);
        tree.rest().await;
        tree.alert(alert(1, 21, 29)).await;
        let case = tree.verdict().await;
        let verdict = case.verdict.as_ref().expect("a verdict");
        assert_eq!(verdict.kind, VerdictKind::Culprit, "seed {seed}: {}", verdict.why);
        assert_eq!(verdict.pushes[0].push, PushId(25), "seed {seed}: {}", verdict.why);
        assert!(verdict.probability.is_some_and(|p| p >= 0.95));
        let (low, high) = case.found.shift.expect("an interval");
        assert!(
            low < 0.06 && 0.06 < high + 0.01 && low > 0.0,
            "seed {seed}: {low} to {high}"
        );
        assert_eq!(case.label.as_str(), TP5O);
        assert_eq!(case.subject.series.as_deref(), Some("tp5o"));
        // Six runs on each of the pushes between would be 48.
        let asked: u32 = tree.asked().iter().map(|request| request.times).sum();
        assert!(asked <= 30, "seed {seed}: {asked} jobs");
    }
}

#[tokio::test]
async fn a_repeated_alert_is_one_case_and_one_that_is_set_aside_is_none() {
    let mut tree = Tree::new(plan(3, vec![meter(TP5O, "tp5o", 0.01, &[(25, 1.06)])]), RULES);
    tree.rest().await;
    tree.alert(alert(1, 21, 29)).await;
    tree.alert(alert(1, 21, 29)).await;
    assert!(tree.notes.contains(&Note::Discarded(Discarded::Duplicate)));
    // Another alert about the same series joins.
    tree.alert(alert(2, 21, 29)).await;
    tree.until(|_| true).await;
    assert_eq!(tree.opened().len(), 1);
    assert_eq!(tree.said_no(Reason::Joined), 1);
    let mut invalid = alert(3, 21, 29);
    invalid["alerts"][0]["status"] = json!(3);
    let before = tree.notes.len();
    tree.alert(invalid).await;
    assert_eq!(tree.notes.len(), before);
    // Once it is said which push it was, the same question on the same push is answered.
    tree.verdict().await;
    tree.alert(alert(4, 21, 29)).await;
    tree.until(|_| true).await;
    assert_eq!(tree.said_no(Reason::Explained), 1);
}

#[tokio::test]
async fn runs_that_the_machinery_loses_give_no_values_and_the_allowance_is_kept() {
    for seed in 1..=3 {
        let mut world = plan(seed, vec![meter(TP5O, "tp5o", 0.05, &[(25, 1.04)])]);
        world.infra = 0.4;
        let rules = RULES.replace("max_jobs: 60", "max_jobs: 9");
        let mut tree = Tree::new(world, &rules);
        tree.rest().await;
        tree.alert(alert(1, 21, 29)).await;
        let case = tree.verdict().await;
        assert_ne!(case.verdict.expect("a verdict").kind, VerdictKind::NotPossible);
        let asked: u32 = tree.asked().iter().map(|request| request.times).sum();
        assert!(asked <= 9, "seed {seed}: {asked} jobs");
        assert_eq!(tree.ci.jobs().0, u64::from(asked), "each is asked for once");
    }
}

#[tokio::test]
async fn a_level_that_did_not_step_is_no_change() {
    let mut tree = Tree::new(plan(2, vec![meter(TP5O, "tp5o", 0.01, &[])]), RULES);
    tree.rest().await;
    tree.alert(alert(1, 21, 29)).await;
    let verdict = tree.verdict().await.verdict.expect("a verdict");
    assert_eq!(verdict.kind, VerdictKind::NoChange, "{}", verdict.why);
}

#[tokio::test]
async fn an_improvement_is_left_alone_and_an_unknown_series_opens_nothing() {
    let mut tree = Tree::new(plan(2, vec![meter(TP5O, "tp5o", 0.01, &[])]), RULES);
    tree.rest().await;
    let mut better = alert(1, 21, 29);
    better["alerts"][0]["is_regression"] = json!(false);
    tree.alert(better).await;
    let mut unknown = alert(2, 21, 29);
    unknown["alerts"][0]["series_signature"]["suite"] = json!("kraken");
    tree.alert(unknown).await;
    tree.until(|_| true).await;
    assert_eq!(tree.said_no(Reason::ConditionFalse), 1);
    assert_eq!(tree.said_no(Reason::FactsUnknown), 1);
    assert!(tree.opened().is_empty());
}

#[tokio::test]
async fn series_of_one_job_share_its_runs() {
    let meters = vec![
        meter(TP5O, "tp5o", 0.01, &[(25, 1.06)]),
        meter(TP5O, "tp5o_scroll", 0.01, &[(25, 1.06)]),
    ];
    let mut tree = Tree::new(plan(4, meters), RULES);
    tree.rest().await;
    let mut second = alert(2, 21, 29);
    second["alerts"][0]["series_signature"]["suite"] = json!("tp5o_scroll");
    tree.alert(alert(1, 21, 29)).await;
    tree.alert(second).await;
    let closed = |notes: &[Note]| notes.iter().filter(|note| matches!(note, Note::Closed(_))).count();
    tree.until(|notes| closed(notes) == 2).await;
    assert_eq!(closed(&tree.notes), 2);
    let cases = tree.opened();
    assert!(cases.iter().all(|case| case.params.kind() == CaseKind::FindPerfCulprit));
    let asked_by = |index: usize| -> u32 {
        let id = cases[index].id;
        tree.asked()
            .iter()
            .filter(|request| request.key.case == id)
            .map(|request| request.times)
            .sum()
    };
    assert!(
        asked_by(1) < asked_by(0) || asked_by(0) == 0,
        "{} and {}",
        asked_by(0),
        asked_by(1)
    );
}
