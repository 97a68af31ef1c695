//! Intermittents are hunted where somebody opted in: by a list in the rule, or by a keyword of the bug that they are known
//! by.

use sheriffd::event::{Label, PushId};
use sheriffd::sim::NewTest;

use crate::desk::{Desk, plan};
use crate::tracker::Tracker;

const LABELS: [&str; 2] = [
    "test-linux2404-64/opt-mochitest-plain",
    "test-linux2404-64/opt-xpcshell",
];
const KEYWORD: &str = "sheriffd-hunt";

/// Tests that fail now and then from the third push on.
fn shaky(names: &[(&str, f64)]) -> Vec<NewTest> {
    names
        .iter()
        .map(|(name, rate)| NewTest {
            path: format!("dom/{name}/test_{name}.html"),
            group: format!("dom/{name}/mochitest.toml"),
            push: PushId(3),
            rates: vec![(Label::from(LABELS[0]), *rate)],
        })
        .collect()
}

fn rules(line: &str) -> String {
    format!(
        "
version: 1
lists:
  hunted: [\"test-linux2404-64/opt-*\"]
rules:
  - name: hunt
    description: Catch intermittents that somebody wants caught.
    on: job.finished
    {line}
    open: {{ kind: until-hit, rate: 0.05, max_jobs: 60, input: {{ env: {{ MOZ_LOG: \"all:5\" }} }} }}
    mode: live
"
    )
}

#[tokio::test]
async fn a_test_whose_bug_has_the_keyword_is_hunted_and_one_without_is_not() {
    let tracker = Tracker::start(&[
        (
            7,
            "Intermittent dom/a/test_a.html | single tracking bug",
            &["intermittent-failure", KEYWORD],
            "",
        ),
        (
            8,
            "Intermittent dom/b/test_b.html | single tracking bug",
            &["intermittent-failure"],
            "[sheriffd]",
        ),
    ])
    .await;
    let rules = rules("match: { outcome: failed }\n    when: event.bugs.exists(b, \"sheriffd-hunt\" in b.keywords)");
    let tests = shaky(&[("a", 0.3), ("b", 0.3)]);
    let mut desk = Desk::with_bugs(plan(&LABELS, 12, 3), tests, &rules, Some(&tracker.url()));
    desk.play(None).await;
    let cases = desk.cases().await;
    let hunted: Vec<&str> = cases
        .iter()
        .filter_map(|case| Some(&*case.subject.signature.as_ref()?.test))
        .collect();
    assert!(hunted.contains(&"dom/a/test_a.html"), "{hunted:?}");
    // A run in which both failed has both bugs, and is hunted for both; a run with the other test alone is not.
    let alone = cases.iter().filter(|case| case.subject.signature.is_none()).count();
    assert_eq!(alone, 0, "what failed is known");
    let first = &cases[0];
    assert_eq!(
        first.verdict.as_ref().map(|verdict| verdict.kind.as_str()),
        Some("hit"),
        "{first:#?}"
    );
    assert!(tracker.questions() <= 12, "{} questions", tracker.questions());
}

#[tokio::test]
async fn without_the_keyword_or_without_a_tracker_nothing_is_hunted() {
    let tracker = Tracker::start(&[(8, "Intermittent dom/b/test_b.html | single tracking bug", &[], "")]).await;
    let rules = rules("match: { outcome: failed }\n    when: event.bugs.exists(b, \"sheriffd-hunt\" in b.keywords)");
    for url in [Some(tracker.url()), None] {
        let mut desk = Desk::with_bugs(plan(&LABELS, 8, 3), shaky(&[("b", 0.5)]), &rules, url.as_deref());
        desk.play(None).await;
        assert_eq!(desk.cases().await, []);
    }
    assert!(tracker.questions() > 0);
}

#[tokio::test]
async fn a_whiteboard_opts_in_as_well() {
    let tracker = Tracker::start(&[(8, "Intermittent dom/b/test_b.html | x", &[], "[qa][sheriffd-hunt]")]).await;
    let rules =
        rules("match: { outcome: failed }\n    when: event.bugs.exists(b, b.whiteboard.contains(\"[sheriffd-hunt]\"))");
    let mut desk = Desk::with_bugs(plan(&LABELS, 8, 3), shaky(&[("b", 0.5)]), &rules, Some(&tracker.url()));
    desk.play(None).await;
    assert!(!desk.cases().await.is_empty());
}

#[tokio::test]
async fn the_first_hit_of_the_wanted_test_ends_the_hunt_and_cancels_what_is_pending() {
    let rules = rules("match: { outcome: failed, label: { list: hunted } }");
    let mut plan = plan(&LABELS, 6, 11);
    plan.background = 0.0;
    let mut desk = Desk::with_bugs(plan, shaky(&[("a", 0.5)]), &rules, None);
    desk.play(None).await;
    let cases = desk.cases().await;
    let hits: Vec<_> = cases
        .iter()
        .filter(|case| {
            case.verdict
                .as_ref()
                .is_some_and(|verdict| verdict.kind.as_str() == "hit")
        })
        .collect();
    assert!(!hits.is_empty(), "{cases:#?}");
    assert!(hits.iter().all(|case| case.subject.signature.is_some()));
    assert!(
        desk.ci.cancelled() > 0,
        "a batch has more than one job, and the first failure comes before the last"
    );
    for request in desk.requests().await {
        assert_eq!(
            request["request"]["input"]["env"]["MOZ_LOG"], "all:5",
            "the extra input goes along"
        );
    }
}
