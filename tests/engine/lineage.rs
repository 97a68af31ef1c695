//! Whose run it is decides what it may do.

use sheriffd::engine::Patience;
use sheriffd::engine::ledger::Lack;
use sheriffd::event::{CaseId, CausedBy, Duration, RunState};

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

/// A case that asked for jobs and ended before they came.
fn ended_too_soon() -> Tree {
    let mut tree = Tree::new(14, BACKFILL);
    tree.see([run("L").on(11).passed(), run("L").on(14).failed()]);
    tree.ci_accepts();
    tree.withdraw(CaseId(1));
    tree
}

#[test]
fn whose_a_run_is_is_found_out_after_the_case_that_asked_for_it_has_ended_too() {
    let mut tree = ended_too_soon();
    let late = || run("L").on(13).task("late");
    tree.see_fresh([late().of_unknown_cause().state(RunState::Pending)]);
    assert_eq!(tree.waits(), 1, "its definition is to be fetched");
    tree.see_with(
        [late().made_by("action-C1.1.2").state(RunState::Pending)],
        Patience::Fetched(Lack::Task),
    );
    let arrived: Vec<u32> = tree.actions(CaseId(1)).iter().map(|action| action.arrived).collect();
    assert_eq!(arrived, [0, 1]);
    tree.see_fresh([late().of_unknown_cause().passed()]);
    assert_eq!(tree.waits(), 1, "what is known is not fetched again");
    tree.see_fresh([run("other").on(13).of_unknown_cause().passed()]);
    assert_eq!(tree.waits(), 1, "nobody asked for this label");
}

#[test]
fn a_run_whose_definition_came_when_its_case_had_ended_is_ours_all_the_same() {
    let mut tree = ended_too_soon();
    let late = || run("L").on(13).task("late");
    tree.see([late().of_unknown_cause().passed()]);
    let arrived = |tree: &mut Tree| tree.actions(CaseId(1)).iter().map(|action| action.arrived).sum::<u32>();
    assert_eq!(arrived(&mut tree), 0, "the definition is not to be had, yet");
    tree.see_with(
        [late().made_by("action-C1.1.2").passed()],
        Patience::Fetched(Lack::Task),
    );
    assert_eq!(arrived(&mut tree), 1);
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

/// Rules that let people's runs open cases: the mark of whose a run is has to be sure.
fn for_people() -> String {
    BACKFILL.replace("    mode: live", "    caused_by: [push, person]\n    mode: live")
}

#[test]
fn the_action_task_of_our_own_request_opens_nothing_when_it_fails() {
    let mut tree = Tree::new(14, &for_people());
    tree.see([run("L").on(11).passed(), run("L").on(14).failed()]);
    tree.ci_accepts();
    let action = run("Action: Backfill").on(13).made_by("group-13").task("action-C1.1.2");
    tree.see([run("Action: Backfill").on(10).passed(), action.failed()]);
    assert_eq!(tree.last_decision().as_str(), "lineage");
}

#[test]
fn a_build_that_our_action_pulled_in_waits_for_the_answer_to_our_request() {
    let mut tree = Tree::new(14, &for_people());
    tree.see([
        run("L").on(11).passed(),
        run("build").on(11).passed(),
        run("L").on(14).failed(),
    ]);
    tree.ci_is_being_asked();
    tree.see_with([run("build").on(13).made_by("unheard-of").failed()], Patience::Fresh);
    assert_eq!((tree.waits(), tree.cases().len()), (1, 1));
    tree.see([run("build").on(13).made_by("unheard-of").failed()]);
    assert_eq!(
        tree.last_decision().as_str(),
        "lineage-unknown",
        "and if it never comes, it is not guessed"
    );
}

#[test]
fn a_run_marked_as_an_actions_whose_parent_is_the_pushs_own_task_is_nobodys() {
    let mut tree = Tree::new(14, &for_people());
    tree.see([run("L").on(11).passed(), run("L").on(14).made_by("group-14").failed()]);
    assert_eq!(tree.decided(), ["lineage-unknown"]);
}

#[test]
fn where_the_ci_names_no_task_a_run_that_may_be_ours_opens_nothing() {
    let mut tree = Tree::new(14, &for_people());
    tree.see([run("L").on(11).passed(), run("L").on(14).failed()]);
    tree.ci_accepts_without_a_name();
    tree.see([run("L").on(13).made_by("whose").failed()]);
    assert_eq!(tree.last_decision().as_str(), "lineage-unknown");
    tree.see([
        run("other").on(11).passed(),
        run("other").on(13).made_by("whose").failed(),
    ]);
    assert_eq!(
        tree.last_decision().as_str(),
        "opened",
        "nobody of us asked for this label"
    );
}
