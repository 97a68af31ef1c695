//! Many labels that fail on one push are one storm.

use sheriffd::engine::settings::EngineSettings;
use sheriffd::event::{CaseId, Duration, Event};

use crate::tree::{BACKFILL, Tree, run};

const HOUR: Duration = Duration::from_secs(3_600);

fn tree(pushes: u64) -> Tree {
    let settings = EngineSettings {
        storm_labels: 4,
        ..EngineSettings::default()
    };
    Tree::with_settings(pushes, BACKFILL, settings)
}

/// A label of a platform was green on `good` and fails on `bad`.
fn breaks(label: &str, platform: &str, good: u64, bad: u64) -> [Event; 2] {
    let on = |push| run(label).on(push).platform(platform);
    [on(good).passed(), on(bad).failed()]
}

#[test]
fn many_labels_failing_newly_on_one_push_become_one_case_that_the_others_join() {
    let mut tree = tree(14);
    for label in ["A", "B", "C"] {
        tree.see(breaks(label, "linux", 10, 14));
    }
    assert_eq!(tree.decided(), ["opened"; 3]);
    // The smallest gap of all, and on another platform.
    tree.see(breaks("D", "mac", 12, 14));
    assert_eq!(
        tree.last_decision().as_str(),
        "opened",
        "it stands for the storm on its platform"
    );
    assert_eq!(tree.verdict(CaseId(1)), None, "so does the first");
    for closed in [2, 3] {
        assert_eq!(tree.verdict(CaseId(closed)), Some("superseded"), "C{closed}");
        let words: Vec<&str> = tree
            .actions(CaseId(closed))
            .iter()
            .map(|action| action.state.as_str())
            .collect();
        assert!(words.iter().all(|word| *word == "dropped"), "{words:?}");
    }
    for label in ["E", "F", "G"] {
        tree.see(breaks(label, "linux", 9, 14));
        assert_eq!(tree.last_decision().as_str(), "storm", "{label}");
    }
    tree.see(breaks("H", "windows", 9, 14));
    assert_eq!(tree.last_decision().as_str(), "opened", "a third platform");
    tree.see(breaks("I", "android", 9, 14));
    assert_eq!(tree.last_decision().as_str(), "storm", "three are enough");
    let why = tree.cases().into_iter().find(|case| case.id == CaseId(2)).unwrap().why;
    assert_eq!(why, "4 labels fail newly on push 14: C1 looks for the cause of all");
}

#[test]
fn when_the_storms_case_names_the_push_the_others_are_closed_with_it_and_later_ones_explained() {
    let mut tree = tree(14);
    for (label, platform) in [("A", "linux"), ("B", "mac"), ("C", "linux")] {
        tree.see(breaks(label, platform, 11, 14));
    }
    tree.see(breaks("D", "linux", 11, 14));
    assert_eq!(tree.last_decision().as_str(), "storm");
    tree.ci_accepts();
    tree.see([
        run("A").on(12).made_by("action-C1.1.1").passed(),
        run("A").on(13).made_by("action-C1.1.2").failed(),
    ]);
    for round in 2..9 {
        // Whatever it wants to have confirmed is confirmed.
        tree.ci_accepts();
        let wanted: Vec<_> = tree
            .actions(CaseId(1))
            .into_iter()
            .filter(|action| action.key.step == round)
            .collect();
        let mut events = Vec::new();
        for action in wanted {
            for time in 0..action.times {
                let again = run("A")
                    .on(action.push.0)
                    .made_by(&format!("action-{}", action.key))
                    .task(&format!("{}x{time}", action.key));
                events.push(if action.push.0 >= 13 {
                    again.failed()
                } else {
                    again.passed()
                });
            }
        }
        tree.see(events);
    }
    assert_eq!(tree.verdict(CaseId(1)), Some("culprit"));
    assert_eq!(tree.verdict(CaseId(2)), Some("superseded"));
    tree.see(breaks("E", "linux", 11, 14));
    assert_eq!(tree.last_decision().as_str(), "explained");
}

#[test]
fn labels_that_fail_on_different_pushes_or_long_after_one_another_are_no_storm() {
    let mut tree = tree(20);
    for (number, label) in (0..).zip(["A", "B", "C", "D", "E"]) {
        tree.see(breaks(label, "linux", 10, 13 + number));
    }
    assert_eq!(tree.decided(), ["opened"; 5]);
    let mut tree = self::tree(20);
    for label in ["A", "B", "C", "D", "E"] {
        tree.see(breaks(label, "linux", 10, 14));
        tree.wait(HOUR);
    }
    assert_eq!(tree.decided(), ["opened"; 5]);
}

#[test]
fn when_the_storms_case_ends_without_a_culprit_labels_open_cases_of_their_own_again() {
    let mut tree = tree(16);
    for label in ["A", "B", "C", "D"] {
        tree.see(breaks(label, "linux", 10, 14));
    }
    assert_eq!(tree.last_decision().as_str(), "storm");
    tree.withdraw(CaseId(1));
    tree.see([run("B").on(16).platform("linux").failed()]);
    assert_eq!(
        tree.last_decision().as_str(),
        "opened",
        "B was closed with the storm, not explained by it"
    );
}

#[test]
fn a_rule_can_do_without_the_guard() {
    let rules = BACKFILL.replace("    mode: live", "    guards: { storm: off }\n    mode: live");
    let settings = EngineSettings {
        storm_labels: 4,
        ..EngineSettings::default()
    };
    let mut tree = Tree::with_settings(14, &rules, settings);
    for label in ["A", "B", "C", "D", "E", "F"] {
        tree.see(breaks(label, "linux", 10, 14));
    }
    assert_eq!(tree.decided(), ["opened"; 6]);
}
