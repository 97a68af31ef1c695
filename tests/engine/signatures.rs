//! One run, several failed tests: one case each, sharing the runs.

use sheriffd::engine::ledger::ActionRow;
use sheriffd::event::{CaseId, Duration};

use crate::tree::{BACKFILL, Tree, run};

const BOTH: [(&str, &str); 2] = [("a.ini", "a"), ("b.ini", "b")];

/// A green run of both groups on push 11, and a run on push 14 in which both tests fail.
fn two_fail() -> Tree {
    let mut tree = Tree::new(20, BACKFILL);
    tree.see([run("L").on(11).with_groups(&["a.ini", "b.ini"]).passed()]);
    tree.see([run("L").on(14).with_failures(&BOTH).failed()]);
    tree
}

fn subjects(tree: &mut Tree) -> Vec<String> {
    let mut subjects: Vec<String> = tree
        .cases()
        .iter()
        .map(|case| {
            case.subject
                .signature
                .as_ref()
                .map_or_else(|| "job".to_owned(), |it| it.test.to_string())
        })
        .collect();
    subjects.sort();
    subjects
}

#[test]
fn each_failed_test_of_a_run_gets_a_case_and_the_jobs_are_asked_for_once() {
    let mut tree = two_fail();
    assert_eq!(tree.decided(), ["opened", "opened"]);
    assert_eq!(subjects(&mut tree), ["a", "b"]);
    assert_eq!(
        tree.asked(),
        [(12, 1), (13, 1)],
        "the second case waits for what the first one asked for"
    );
}

#[test]
fn a_case_waits_for_the_runs_that_another_case_about_the_same_job_asks_for() {
    let mut tree = two_fail();
    tree.ci_accepts();
    tree.wait(Duration::from_secs(600));
    // `a` broke with push 13, `b` with push 12.
    tree.see([
        run("L")
            .on(12)
            .made_by("action-C1.1.1")
            .with_failures(&BOTH[1..])
            .with_more_groups(&["a.ini"])
            .failed(),
        run("L").on(13).made_by("action-C1.1.2").with_failures(&BOTH).failed(),
    ]);
    let cases = tree.cases();
    let [second, first] = cases.as_slice() else {
        panic!("{cases:#?}")
    };
    assert_eq!((first.id, second.id), (CaseId(1), CaseId(2)));
    let rounds = |actions: Vec<ActionRow>| actions.iter().map(|action| action.key.step).max();
    assert_eq!(rounds(tree.actions(first.id)), Some(2), "the first case goes on");
    // The other one knows the runs on 12 and 13 as well, and waits for what the first one asks for to be surer.
    assert_eq!(rounds(tree.actions(second.id)), None);
    assert!(second.why.starts_with("waits for"), "{}", second.why);
}

#[test]
fn a_run_in_which_many_tests_failed_is_broken_as_a_whole() {
    let mut tree = Tree::new(20, BACKFILL);
    tree.see([run("L").on(11).passed()]);
    let many: Vec<(String, String)> = (0..6).map(|n| (format!("{n}.ini"), format!("test{n}"))).collect();
    let many: Vec<(&str, &str)> = many
        .iter()
        .map(|(group, test)| (group.as_str(), test.as_str()))
        .collect();
    tree.see([run("L").on(14).with_failures(&many).failed()]);
    assert_eq!(subjects(&mut tree), ["job"]);
}

#[test]
fn a_second_run_with_one_of_the_tests_joins_that_case_only() {
    let mut tree = two_fail();
    tree.see([run("L").on(15).with_failures(&BOTH[..1]).failed()]);
    assert_eq!(tree.decided()[2..], ["joined"]);
}
