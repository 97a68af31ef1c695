//! When a failure opens a case, and when not.

use sheriffd::engine::settings::EngineSettings;
use sheriffd::event::{CaseId, Duration, Outcome, RunState};

use crate::tree::{BACKFILL, Tree, run};

#[test]
fn the_pushes_between_the_last_good_and_the_first_bad_one_are_asked_for_once_each() {
    let mut tree = Tree::new(14, BACKFILL);
    tree.see([run("L").on(11).passed(), run("L").on(14).failed()]);
    assert_eq!(tree.asked(), [(12, 1), (13, 1)]);
    assert_eq!(tree.decided(), ["opened"]);
}

#[test]
fn a_failure_without_a_gap_opens_nothing() {
    let mut tree = Tree::new(4, BACKFILL);
    tree.see([run("L").on(3).passed(), run("L").on(4).failed()]);
    assert_eq!(tree.decided(), ["no-gap"]);
    assert!(tree.cases().is_empty());
}

#[test]
fn a_failure_without_an_earlier_green_run_opens_nothing() {
    let mut tree = Tree::new(4, BACKFILL);
    tree.see([
        run("L").on(1).failed(),
        run("L").on(4).failed(),
        run("other").on(1).passed(),
    ]);
    assert_eq!(tree.decided(), ["no-last-good", "no-last-good"]);
}

#[test]
fn a_green_run_beyond_the_depth_of_the_rule_is_no_last_good() {
    let mut tree = Tree::new(30, BACKFILL);
    tree.see([run("L").on(5).passed(), run("L").on(29).failed()]);
    assert_eq!(tree.decided(), ["no-last-good"]);
}

#[test]
fn what_waits_or_runs_already_is_not_asked_for() {
    let mut tree = Tree::new(14, BACKFILL);
    tree.see([
        run("L").on(11).passed(),
        run("L").on(12).state(RunState::Pending),
        run("L").on(13).state(RunState::Running),
        run("L").on(14).failed(),
    ]);
    assert_eq!(tree.decided(), ["in-flight"]);
    let mut tree = Tree::new(14, BACKFILL);
    tree.see([
        run("L").on(11).passed(),
        run("L").on(12).state(RunState::Pending),
        run("L").on(14).failed(),
    ]);
    assert_eq!(tree.asked(), [(13, 1)]);
}

#[test]
fn infra_and_cancelled_runs_are_no_evidence_and_leave_the_push_missing() {
    let mut tree = Tree::new(14, BACKFILL);
    tree.see([
        run("L").on(11).passed(),
        run("L").on(12).ended(Outcome::Infra),
        run("L").on(13).ended(Outcome::Cancelled),
        run("L").on(14).failed(),
    ]);
    assert_eq!(tree.asked(), [(12, 1), (13, 1)]);
}

#[test]
fn the_second_orange_of_a_subject_joins_the_open_case() {
    let mut tree = Tree::new(15, BACKFILL);
    tree.see([
        run("L").on(11).passed(),
        run("L").on(14).failed(),
        run("L").on(15).failed(),
    ]);
    assert_eq!(tree.decided(), ["opened", "joined"]);
    assert_eq!(tree.asked(), [(12, 1), (13, 1)]);
}

#[test]
fn another_label_is_another_case() {
    let mut tree = Tree::new(14, BACKFILL);
    tree.see([run("L").on(11).passed(), run("M").on(12).passed()]);
    tree.see([run("L").on(14).failed(), run("M").on(14).failed()]);
    assert_eq!(tree.asked(), [(12, 1), (13, 1), (13, 1)]);
}

#[test]
fn a_message_that_comes_twice_changes_nothing() {
    let mut tree = Tree::new(14, BACKFILL);
    let events = || [run("L").on(11).passed(), run("L").on(14).failed()];
    tree.see_with(events(), sheriffd::engine::Patience::Fresh);
    tree.see_with(events(), sheriffd::engine::Patience::Fresh);
    assert_eq!(tree.decided(), ["opened"]);
    assert_eq!(tree.asked(), [(12, 1), (13, 1)]);
}

#[test]
fn an_older_state_never_replaces_a_later_one() {
    let mut tree = Tree::new(14, BACKFILL);
    tree.see([
        run("L").on(12).passed(),
        run("L").on(12).state(RunState::Running),
        run("L").on(12).state(RunState::Pending),
        run("L").on(14).failed(),
    ]);
    assert_eq!(tree.asked(), [(13, 1)], "push 12 is green, not running");
}

#[test]
fn the_order_in_which_history_came_does_not_matter() {
    let mut tree = Tree::new(14, BACKFILL);
    tree.see([
        run("L").on(13).passed(),
        run("L").on(10).failed(),
        run("L").on(11).passed(),
    ]);
    assert_eq!(
        tree.decided(),
        ["no-last-good"],
        "nothing was known before push 10 then"
    );
    tree.see([run("L").on(14).failed()]);
    assert_eq!(tree.decided(), ["no-last-good", "no-gap"]);
}

#[test]
fn a_try_push_is_not_bisected() {
    let mut tree = Tree::new(0, BACKFILL);
    for push in 1..=4 {
        tree.land(push, "try", "");
    }
    tree.see([run("L").of("try").on(1).passed(), run("L").of("try").on(4).failed()]);
    assert_eq!(tree.decided(), ["not-linear"]);
}

#[test]
fn a_project_that_is_not_watched_leaves_no_trace() {
    let settings = EngineSettings {
        watched: Some(sheriffd::engine::settings::globs(["mozilla-*"]).unwrap()),
        ..EngineSettings::default()
    };
    let mut tree = Tree::with_settings(4, BACKFILL, settings);
    tree.see([run("L").on(1).passed(), run("L").on(4).failed()]);
    assert!(tree.decided().is_empty());
}

#[test]
fn after_a_verdict_further_oranges_are_explained_until_it_was_green_again() {
    let mut tree = Tree::new(20, BACKFILL);
    tree.see([
        run("L").on(1).passed(),
        run("L").on(2).passed(),
        run("L").on(3).passed(),
    ]);
    tree.see([run("L").on(6).failed()]);
    tree.ci_accepts();
    tree.see([run("L").on(4).made_by("action-C1.1.1").passed()]);
    tree.see([run("L").on(5).made_by("action-C1.1.2").failed()]);
    // Whatever else it wants to be sure of, it gets.
    for round in 2..8 {
        tree.ci_accepts();
        for action in tree.actions(CaseId(1)) {
            if action.key.step == round {
                for copy in 0..action.times {
                    let again = run("L")
                        .on(action.push.0)
                        .made_by(&format!("action-{}", action.key))
                        .task(&format!("{}-{copy}", action.key));
                    tree.see([if action.push.0 >= 5 {
                        again.failed()
                    } else {
                        again.passed()
                    }]);
                }
            }
        }
    }
    assert_eq!(tree.verdict(CaseId(1)), Some("culprit"));
    let named: Vec<u64> = tree
        .only_case()
        .verdict
        .unwrap()
        .pushes
        .iter()
        .map(|named| named.push.0)
        .collect();
    assert_eq!(named, [5]);
    tree.see([run("L").on(9).failed()]);
    assert_eq!(tree.last_decision().as_str(), "explained");
    tree.see([run("L").on(12).passed(), run("L").on(15).failed()]);
    assert_eq!(tree.last_decision().as_str(), "opened");
}

#[test]
fn a_gap_wider_than_a_round_is_searched_not_filled() {
    let mut tree = Tree::new(20, BACKFILL);
    tree.see([run("L").on(1).passed(), run("L").on(20).failed()]);
    let asked: u32 = tree.asked().iter().map(|(_, times)| times).sum();
    assert!(
        (1..=8).contains(&asked),
        "{asked} jobs in the first round, at most 8 allowed"
    );
    assert!(tree.asked().iter().all(|(push, _)| (1..=20).contains(push)));
}

#[test]
fn a_rule_that_is_throttled_says_so() {
    let rules = BACKFILL.replace(
        "    mode: live",
        "    throttle: { max: 1, per: 1h, by: [event.project] }\n    mode: live",
    );
    let mut tree = Tree::new(14, &rules);
    tree.see([run("L").on(11).passed(), run("M").on(11).passed()]);
    tree.see([run("L").on(14).failed(), run("M").on(14).failed()]);
    assert_eq!(tree.decided(), ["opened", "throttled"]);
    tree.wait(Duration::from_secs(3_601));
    tree.see([run("M").on(14).task("again").failed()]);
    assert_eq!(tree.last_decision().as_str(), "opened");
}

#[test]
fn a_rule_in_shadow_mode_decides_and_asks_for_nothing() {
    let mut tree = Tree::new(14, &BACKFILL.replace("mode: live", "mode: shadow"));
    tree.see([run("L").on(11).passed(), run("L").on(14).failed()]);
    assert_eq!(tree.asked(), [(12, 1), (13, 1)], "what it would have asked for is kept");
    tree.ci_accepts();
    let states: Vec<&str> = tree
        .actions(CaseId(1))
        .iter()
        .map(|action| action.state.as_str())
        .collect();
    assert_eq!(states, ["shadow", "shadow"], "nothing was there to be sent");
    tree.wait(Duration::from_secs(25 * 3_600));
    tree.wake();
    assert_eq!(tree.verdict(CaseId(1)), Some("undecided"));
}

#[test]
fn a_condition_that_says_no_is_kept_with_the_values_it_saw() {
    let rules = BACKFILL.replace(
        "    open:",
        "    when: history.failure_rate(event, duration(\"24h\")) < 0.1\n    open:",
    );
    let mut tree = Tree::new(14, &rules);
    tree.see([
        run("L").on(10).task("a").failed(),
        run("L").on(11).passed(),
        run("L").on(14).failed(),
    ]);
    assert_eq!(tree.decided(), ["condition-unknown", "condition-false"]);
}
