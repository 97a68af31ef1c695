//! Whose run it is decides what it may do.

use sheriffd::engine::Patience;
use sheriffd::event::{CaseId, CausedBy, Duration};

use crate::tree::{BACKFILL, Tree, run};

#[test]
fn a_run_of_ours_opens_nothing_and_is_evidence() {
    let mut tree = Tree::new(14, BACKFILL);
    tree.see([run("L").on(11).passed(), run("L").on(14).failed()]);
    tree.ci_accepts();
    tree.see([run("L").on(13).made_by("action-C1.1.2").failed()]);
    assert_eq!(tree.decided(), ["opened", "lineage"]);
    let arrived: Vec<u32> = tree.actions(CaseId(1)).iter().map(|action| action.arrived).collect();
    assert_eq!(arrived, [0, 1]);
}

#[test]
fn a_run_of_ours_opens_nothing_after_its_case_is_closed_either() {
    let mut tree = Tree::new(14, BACKFILL);
    tree.see([run("L").on(11).passed(), run("L").on(14).failed()]);
    tree.ci_accepts();
    tree.wait(Duration::from_secs(15 * 24 * 3_600));
    tree.wake();
    tree.wake();
    assert!(tree.verdict(CaseId(1)).is_some());
    tree.see([run("L").on(14).made_by("action-C1.1.2").task("late").failed()]);
    assert_eq!(tree.last_decision().as_str(), "lineage");
}

#[test]
fn a_persons_run_opens_a_case_only_where_the_rule_says_so() {
    let mut tree = Tree::new(14, BACKFILL);
    tree.see([
        run("L").on(11).passed(),
        run("L").on(14).made_by("somebodys-action").failed(),
    ]);
    assert_eq!(tree.decided(), ["person"]);
    let rules = BACKFILL.replace("    mode: live", "    caused_by: [push, person]\n    mode: live");
    let mut tree = Tree::new(14, &rules);
    tree.see([
        run("L").on(11).passed(),
        run("L").on(14).made_by("somebodys-action").failed(),
    ]);
    assert_eq!(tree.decided(), ["opened"]);
}

#[test]
fn a_run_of_unknown_cause_waits_and_opens_nothing() {
    let mut tree = Tree::new(14, BACKFILL);
    tree.see([run("L").on(11).passed()]);
    tree.see_with([run("L").on(14).of_unknown_cause().failed()], Patience::Fresh);
    assert_eq!(tree.waits(), 1);
    assert!(tree.decided().is_empty());
    tree.see([run("L").on(14).of_unknown_cause().failed()]);
    assert_eq!(tree.decided(), ["lineage-unknown"], "the facts are not to be had");
}

#[test]
fn a_run_that_may_be_ours_waits_for_the_answer_to_our_request() {
    let mut tree = Tree::new(14, BACKFILL);
    tree.see([run("L").on(11).passed(), run("L").on(14).failed()]);
    tree.ci_is_being_asked();
    tree.see_with([run("L").on(13).made_by("unheard-of").failed()], Patience::Fresh);
    assert_eq!(tree.waits(), 1);
    assert_eq!(tree.decided(), ["opened"], "it is nobody's yet, so it opens nothing");
}

#[test]
fn a_run_that_may_be_ours_at_a_ci_that_names_no_tasks_opens_nothing_for_anybody() {
    let rules = BACKFILL.replace("    mode: live", "    caused_by: [push, person]\n    mode: live");
    let mut tree = Tree::new(14, &rules);
    tree.see([run("L").on(11).passed(), run("L").on(14).failed()]);
    tree.ci_accepts_namelessly();
    tree.see_with([run("L").on(13).made_by("unheard-of").failed()], Patience::Fresh);
    assert_eq!(tree.waits(), 0, "nobody will ever tell whose it is");
    assert_eq!(tree.last_decision().as_str(), "lineage-unknown");
    tree.see_with([run("L").on(12).made_by("somebodys-action").failed()], Patience::Fresh);
    assert_eq!(tree.last_decision().as_str(), "lineage-unknown");
    tree.see_with([run("L").on(11).made_by("somebodys-action").failed()], Patience::Fresh);
    assert_eq!(tree.last_decision().as_str(), "joined", "nothing of ours was asked for there");
}

#[test]
fn pushes_scheduled_by_the_ci_itself_are_known_by_their_parent() {
    let mut tree = Tree::new(14, BACKFILL);
    let mut event = run("L").on(14).failed();
    if let sheriffd::event::Event::Job(job) = &mut event {
        assert_eq!(job.facts.caused_by, CausedBy::Push);
        job.facts.parent.clone_from(&job.group);
    }
    tree.see([run("L").on(11).passed(), event]);
    assert_eq!(tree.decided(), ["opened"]);
}
