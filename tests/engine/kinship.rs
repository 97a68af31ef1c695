//! One failure on several labels is one search, and its verdict is held against the runs of each.

use std::collections::BTreeSet;

use sheriffd::engine::ledger::{CaseRow, Fate};
use sheriffd::event::{ActionKey, CaseId, Duration, Event};

use crate::tree::{BACKFILL, Tree, run};

const GROUP: &str = "dom/test/mochitest.toml";
const TEST: &str = "dom/test/test_a.html";
const LABELS: [&str; 3] = ["A", "B", "C"];

fn failed(label: &str, push: u64) -> Event {
    run(label).on(push).with_failure(GROUP, TEST).failed()
}

fn passed(label: &str, push: u64) -> Event {
    run(label).on(push).with_groups(&[GROUP]).passed()
}

/// A label that ran the test well on `good`, and fails in it on `bad`.
fn breaks(label: &str, good: u64, bad: u64) -> [Event; 2] {
    [passed(label, good), failed(label, bad)]
}

/// The CI runs what is asked for until nothing more is: the test fails from push `from(label)` on.
fn until_nothing_is_asked(tree: &mut Tree, from: impl Fn(&str) -> u64) {
    let mut ran: BTreeSet<ActionKey> = BTreeSet::new();
    for _ in 0..20 {
        tree.ci_accepts();
        tree.wait(Duration::from_secs(1_800));
        let mut events = Vec::new();
        for case in tree.cases() {
            for action in tree.actions(case.id) {
                if !action.state.is_expected() || !ran.insert(action.key) {
                    continue;
                }
                for time in 0..action.times {
                    let again = run(action.label.as_str())
                        .on(action.push.0)
                        .made_by(&format!("action-{}", action.key))
                        .task(&format!("{}x{time}", action.key));
                    events.push(match action.push.0 >= from(action.label.as_str()) {
                        true => again.with_failure(GROUP, TEST).failed(),
                        false => again.with_groups(&[GROUP]).passed(),
                    });
                }
            }
        }
        if events.is_empty() {
            return;
        }
        tree.see(events);
        tree.wake();
    }
    panic!("it asks without end: {:?}", tree.asked());
}

fn case(tree: &mut Tree, number: u64) -> CaseRow {
    let cases = tree.cases();
    let found = cases.iter().find(|case| case.id == CaseId(number));
    found.unwrap_or_else(|| panic!("{cases:#?}")).clone()
}

/// The labels that share a case, with what its end means for them.
fn sharers(tree: &mut Tree, number: u64) -> Vec<(String, Fate)> {
    let shared_by = case(tree, number).shared_by;
    let one = |sharer: &sheriffd::engine::ledger::Sharer| (sharer.label.to_string(), sharer.fate);
    shared_by.iter().map(one).collect()
}

fn jobs(tree: &mut Tree) -> u32 {
    tree.asked().iter().map(|(_, times)| times).sum()
}

#[test]
fn three_labels_with_one_failure_are_one_search_for_a_third_of_the_jobs_and_its_verdict_covers_all() {
    let played = |rules: &str| {
        let mut tree = Tree::new(16, rules);
        for label in LABELS {
            tree.see(breaks(label, 10, 14));
        }
        let decided = tree.decided();
        until_nothing_is_asked(&mut tree, |_| 13);
        (tree, decided)
    };
    let (mut tree, decided) = played(BACKFILL);
    assert_eq!(decided, ["opened", "same-signature", "same-signature"]);
    let only = tree.only_case();
    let verdict = only.verdict.unwrap();
    assert_eq!((verdict.kind.as_str(), verdict.pushes[0].push.0), ("culprit", 13));
    assert_eq!(
        sharers(&mut tree, 1),
        [("B".to_owned(), Fate::Covered), ("C".to_owned(), Fate::Covered)]
    );
    // Each of the two was looked at again when the verdict was there.
    let explained = tree.decided().iter().filter(|word| **word == "explained").count();
    assert_eq!(explained, 2, "{:?}", tree.decided());
    let pooled = jobs(&mut tree);

    let each = BACKFILL.replace("    mode: live", "    guards: { same-signature: off }\n    mode: live");
    let (mut tree, decided) = played(&each);
    assert_eq!(decided, ["opened"; 3], "a rule can do without");
    assert_eq!(tree.cases().len(), 3);
    assert_eq!(jobs(&mut tree), 3 * pooled, "{pooled} jobs of the one search");
}

#[test]
fn a_label_whose_own_runs_contradict_the_verdict_gets_a_search_of_its_own() {
    let mut tree = Tree::new(16, BACKFILL);
    tree.see(breaks("A", 10, 14));
    // It broke before the push that broke A can have.
    tree.see(breaks("B", 8, 12));
    tree.see(breaks("C", 10, 14));
    assert_eq!(tree.decided(), ["opened", "same-signature", "same-signature"]);
    until_nothing_is_asked(&mut tree, |label| if label == "B" { 11 } else { 13 });
    assert_eq!(tree.verdict(CaseId(1)), Some("culprit"));
    assert_eq!(
        sharers(&mut tree, 1),
        [("B".to_owned(), Fate::OnItsOwn), ("C".to_owned(), Fate::Covered)]
    );
    let own = case(&mut tree, 2);
    assert_eq!(own.subject.label.as_str(), "B");
    let verdict = own.verdict.expect("its own search ends too");
    assert_eq!((verdict.kind.as_str(), verdict.pushes[0].push.0), ("culprit", 11));
    assert_eq!(tree.cases().len(), 2);
}

#[test]
fn a_label_that_passed_since_the_culprit_is_not_covered() {
    let mut tree = Tree::new(18, BACKFILL);
    for label in ["A", "B"] {
        tree.see(breaks(label, 10, 16));
    }
    // A slow machine tells late that B was green on it.
    tree.see([passed("B", 13)]);
    until_nothing_is_asked(&mut tree, |label| if label == "B" { 15 } else { 12 });
    assert_eq!(case(&mut tree, 1).verdict.unwrap().pushes[0].push.0, 12);
    assert_eq!(sharers(&mut tree, 1), [("B".to_owned(), Fate::OnItsOwn)]);
    let own = case(&mut tree, 2);
    assert_eq!(own.subject.label.as_str(), "B");
    assert_eq!(own.verdict.unwrap().pushes[0].push.0, 15);
}

#[test]
fn another_failure_another_range_or_another_tree_is_another_search() {
    let mut tree = Tree::new(20, BACKFILL);
    tree.see(breaks("A", 10, 14));
    tree.see([
        run("B").on(10).with_groups(&[GROUP]).passed(),
        run("B").on(14).with_failure(GROUP, "dom/test/test_b.html").failed(),
    ]);
    assert_eq!(tree.last_decision().as_str(), "opened", "another test");
    tree.see(breaks("C", 15, 18));
    assert_eq!(tree.last_decision().as_str(), "opened", "no push can have broken both");
    for push in 1..=16 {
        tree.land(push, "beta", "");
    }
    let on_beta = |event: Event| match event {
        Event::Job(mut job) => {
            job.facts.project = Some("beta".into());
            job.run.task = format!("beta-{}", job.run.task).into();
            job.group = Some("beta-group".into());
            Event::Job(job)
        }
        other => other,
    };
    for event in breaks("D", 10, 14) {
        tree.land(14, "beta", "");
        tree.see([on_beta(event)]);
    }
    assert_eq!(tree.cases().len(), 4, "another tree: {:?}", tree.decided());
}

#[test]
fn a_job_that_failed_as_a_whole_shares_nothing() {
    let mut tree = Tree::new(16, BACKFILL);
    for label in LABELS {
        tree.see([run(label).on(10).passed(), run(label).on(14).failed()]);
    }
    assert_eq!(tree.decided(), ["opened"; 3]);
}

#[test]
fn a_label_that_fails_after_the_verdict_is_explained_by_it_unless_its_own_runs_speak_against_it() {
    let mut tree = Tree::new(20, BACKFILL);
    tree.see(breaks("A", 10, 14));
    until_nothing_is_asked(&mut tree, |_| 13);
    assert_eq!(tree.verdict(CaseId(1)), Some("culprit"));
    tree.see(breaks("B", 9, 15));
    assert_eq!(tree.last_decision().as_str(), "explained");
    assert_eq!(sharers(&mut tree, 1), [("B".to_owned(), Fate::Covered)]);
    tree.see([passed("C", 15), passed("C", 16), failed("C", 19)]);
    assert_eq!(tree.last_decision().as_str(), "opened", "green twice since push 13");
    tree.wait(Duration::from_secs(4 * 24 * 3_600));
    tree.see(breaks("D", 9, 15));
    assert_eq!(
        tree.last_decision().as_str(),
        "opened",
        "days later nothing is taken for granted"
    );
}

#[test]
fn a_culprit_that_was_backed_out_explains_no_failure_after_that() {
    let mut tree = Tree::new(16, BACKFILL);
    tree.see(breaks("A", 10, 14));
    until_nothing_is_asked(&mut tree, |_| 13);
    let named = Tree::revision(13);
    tree.land(17, "autoland", &format!("Backed out changeset {named} for failures"));
    for push in 18..=20 {
        tree.land(push, "autoland", "");
    }
    tree.see(breaks("B", 10, 16));
    assert_eq!(
        tree.last_decision().as_str(),
        "explained",
        "it failed before the backout"
    );
    tree.see(breaks("C", 10, 20));
    assert_eq!(tree.last_decision().as_str(), "opened");
}

#[test]
fn when_the_search_ends_without_a_culprit_one_of_the_labels_goes_on_for_the_others() {
    let mut tree = Tree::new(16, BACKFILL);
    for label in LABELS {
        tree.see(breaks(label, 10, 14));
    }
    // A failed only once.
    until_nothing_is_asked(&mut tree, |label| if label == "A" { 100 } else { 13 });
    assert_eq!(tree.verdict(CaseId(1)), Some("undecided"));
    assert_eq!(
        sharers(&mut tree, 1),
        [("B".to_owned(), Fate::OnItsOwn), ("C".to_owned(), Fate::OnItsOwn)]
    );
    assert_eq!(case(&mut tree, 2).subject.label.as_str(), "B");
    assert_eq!(tree.verdict(CaseId(2)), Some("culprit"));
    assert_eq!(sharers(&mut tree, 2), [("C".to_owned(), Fate::Covered)]);
    assert_eq!(tree.cases().len(), 2);
}

#[test]
fn what_a_person_closes_is_closed_for_all_its_labels_until_they_fail_again() {
    let mut tree = Tree::new(16, BACKFILL);
    for label in ["A", "B"] {
        tree.see(breaks(label, 10, 14));
    }
    tree.withdraw(CaseId(1));
    tree.wake();
    assert_eq!(tree.cases().len(), 1);
    assert_eq!(sharers(&mut tree, 1), [("B".to_owned(), Fate::LetGo)]);
    tree.see([failed("B", 15)]);
    assert_eq!(tree.last_decision().as_str(), "opened");
}

#[test]
fn a_live_rule_does_not_share_a_search_that_only_decides() {
    let rules = "
version: 1
rules:
  - name: look-at-a
    on: job.finished
    match: { outcome: failed, label: A }
    open: { kind: find-culprit, max_depth: 20, parallel: 8, max_jobs: 40 }
  - name: backfill
    on: job.finished
    match: { outcome: failed, label: [B, C] }
    open: { kind: find-culprit, max_depth: 20, parallel: 8, max_jobs: 40 }
    mode: live
";
    let mut tree = Tree::new(16, rules);
    for label in LABELS {
        tree.see(breaks(label, 10, 14));
    }
    assert_eq!(tree.decided(), ["opened", "opened", "same-signature"]);
    assert_eq!(sharers(&mut tree, 2), [("C".to_owned(), Fate::Waits)]);
}

#[test]
fn a_label_that_fails_again_while_it_waits_is_noted_once_with_its_last_failure() {
    let mut tree = Tree::new(16, BACKFILL);
    for label in ["A", "B"] {
        tree.see(breaks(label, 10, 14));
    }
    tree.see([failed("B", 15)]);
    assert_eq!(tree.last_decision().as_str(), "same-signature");
    let shared_by = case(&mut tree, 1).shared_by;
    let [only] = shared_by.as_slice() else {
        panic!("{shared_by:#?}")
    };
    assert_eq!(only.push.0, 15);
}
