//! New tests are validated on every platform that runs them.

use sheriffd::event::{Label, PushId};
use sheriffd::sim::{NewTest, Plan};

use crate::desk::{Desk, plan};

const RULES: &str = "
version: 1
rules:
  - name: validate-new-tests
    on: push.created
    match: { project: autoland }
    open: { kind: validate, max_jobs: 400 }
    mode: live
  - name: look
    description: What ran is read of the oranges that a rule looks at.
    on: job.finished
    match: { outcome: failed }
    when: history.runs(event) < 0
    open: { kind: until-hit, max_jobs: 1 }
    mode: shadow
";

const LABELS: [&str; 4] = [
    "test-linux2404-64/opt-mochitest-plain",
    "test-windows11-64/opt-mochitest-plain",
    "test-macosx1470-64/opt-mochitest-plain",
    "test-linux2404-64/opt-xpcshell",
];

fn test(name: &str, rates: [f64; 3]) -> NewTest {
    NewTest {
        path: format!("dom/{name}/test_{name}.html"),
        group: format!("dom/{name}/mochitest.toml"),
        push: PushId(4),
        rates: LABELS.iter().map(|label| Label::from(*label)).zip(rates).collect(),
    }
}

async fn played(tests: Vec<NewTest>, rules: &str) -> Desk {
    let mut desk = Desk::new(plan(&LABELS, 8, 7), tests, rules);
    desk.play(None).await;
    desk
}

/// The verdict's word and sentence of the only validation.
async fn verdict(desk: &Desk) -> (String, String) {
    let cases = desk.cases().await;
    let mut ends = cases
        .iter()
        .filter(|case| case.cause.rule_name() == "validate-new-tests")
        .map(|case| {
            let verdict = case.verdict.as_ref().unwrap_or_else(|| panic!("{case:#?}"));
            (verdict.kind.to_string(), verdict.why.clone())
        });
    let only = ends.next().expect("a validation");
    assert_eq!(ends.next(), None);
    only
}

#[tokio::test]
async fn a_test_that_never_fails_is_stable_after_sixty_runs_on_all_platforms() {
    let desk = played(vec![test("good", [0.0; 3])], RULES).await;
    let (kind, why) = verdict(&desk).await;
    assert_eq!(kind, "stable", "{why}");
    for platform in ["linux2404-64", "windows11-64", "macosx1470-64"] {
        assert!(why.contains(platform), "{why}");
    }
    let (asked, _) = desk.ci.jobs();
    assert!((50..=75).contains(&asked), "{asked} jobs");
}

#[tokio::test]
async fn the_platforms_of_one_round_go_to_the_ci_with_one_call() {
    // Nothing of it is there to be run again: it is added to the push.
    let plan = Plan {
        skipped: 0.99,
        ..plan(&LABELS, 8, 7)
    };
    let mut desk = Desk::with_graphs(plan, vec![test("good", [0.0; 3])], rules_that_read_nothing());
    desk.play(None).await;
    let requests = desk.requests().await;
    let first: Vec<_> = requests
        .iter()
        .filter(|request| request["request"]["key"]["step"] == 1)
        .collect();
    assert_eq!(first.len(), 3, "one a platform: {first:#?}");
    assert!(first[0]["receipt"].is_string());
    assert!(
        first.iter().all(|request| request["receipt"] == first[0]["receipt"]),
        "{first:#?}"
    );
    let arrived: u64 = requests.iter().filter_map(|request| request["arrived"].as_u64()).sum();
    assert_eq!(arrived, desk.ci.jobs().0, "each job is counted for its own request");
}

#[tokio::test]
async fn a_test_that_is_flaky_on_one_platform_is_called_so_there() {
    let desk = played(vec![test("shaky", [0.0, 0.0, 0.4])], RULES).await;
    let (kind, why) = verdict(&desk).await;
    assert_eq!(kind, "flaky", "{why}");
    assert!(why.starts_with("on macosx1470-64: it failed"), "{why}");
}

#[tokio::test]
async fn a_test_that_always_fails_is_broken_everywhere_and_costs_few_runs() {
    let desk = played(vec![test("bad", [1.0; 3])], RULES).await;
    let (kind, why) = verdict(&desk).await;
    assert_eq!(kind, "broken", "{why}");
    let (asked, _) = desk.ci.jobs();
    assert!(asked <= 24, "{asked} jobs");
}

#[tokio::test]
async fn a_push_without_tests_opens_nothing() {
    let tests = vec![NewTest {
        push: PushId(100),
        ..test("later", [0.0; 3])
    }];
    let desk = played(tests, RULES).await;
    assert_eq!(desk.cases().await, []);
    assert_eq!(desk.ci.jobs().0, 0);
}

/// Nothing reads what ran: the history knows no groups.
fn rules_that_read_nothing() -> &'static str {
    RULES.split("  - name: look").next().unwrap()
}

#[tokio::test]
async fn where_the_history_does_not_know_who_runs_a_test_the_task_graph_of_the_push_says_it() {
    let tests = || vec![test("shaky", [0.0, 0.0, 0.4])];
    let mut blind = Desk::new(plan(&LABELS, 8, 7), tests(), rules_that_read_nothing());
    blind.play(None).await;
    assert_eq!(blind.cases().await, [], "neither history nor graph");
    let mut desk = Desk::with_graphs(plan(&LABELS, 8, 7), tests(), rules_that_read_nothing());
    desk.play(None).await;
    let (kind, why) = verdict(&desk).await;
    assert_eq!(kind, "flaky", "{why}");
    assert!(why.starts_with("on macosx1470-64: it failed"), "{why}");
    let requests = desk.requests().await;
    let labels = requests
        .iter()
        .map(|request| request["request"]["label"].as_str().unwrap());
    let mut labels: Vec<&str> = labels.collect();
    labels.sort_unstable();
    labels.dedup();
    assert!(labels.iter().all(|label| LABELS[..3].contains(label)), "{labels:?}");
}

#[tokio::test]
async fn failures_of_a_test_that_is_being_validated_are_not_searched_for_besides() {
    let rules = format!(
        "{RULES}  - name: backfill
    on: job.finished
    match: {{ outcome: failed }}
    open: {{ kind: find-culprit, max_depth: 25, parallel: 4, max_jobs: 60 }}
    mode: live
"
    );
    let (mut searches, mut failures) = (0, 0);
    for seed in 1..=3 {
        let plan = Plan {
            background: 0.0,
            skipped: 0.5,
            ..plan(&LABELS, 16, seed)
        };
        let mut desk = Desk::with_graphs(plan, vec![test("shaky", [0.0, 0.0, 0.5])], &rules);
        desk.play(None).await;
        let cases = desk.cases().await;
        searches += cases.iter().filter(|case| case.cause.rule_name() == "backfill").count();
        failures += usize::from(verdict(&desk).await.0 != "stable");
    }
    assert_eq!((searches, failures), (0, 3));
}
