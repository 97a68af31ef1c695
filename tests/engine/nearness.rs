//! Pushes that touch files near a failing test are suspected first.

use sheriffd::engine::Patience;
use sheriffd::engine::ledger::Lack;
use sheriffd::engine::settings::EngineSettings;
use sheriffd::event::{CaseId, CaseParams, Event};

use crate::tree::{BACKFILL, Tree, run};

const TEST: &str = "dom/base/test/test_a.html";
const GROUP: &str = "dom/base/test/mochitest.toml";
/// The one push that touches files near the test.
const NEAR: u64 = 23;

/// One job a round, so that the first one shows whom the search suspects.
fn one_by_one() -> String {
    BACKFILL.replace("parallel: 8", "parallel: 1")
}

/// The same, with this probability that the culprit is near the test.
fn suspecting(near_prior: &str) -> String {
    one_by_one().replace("max_jobs: 40", &format!("max_jobs: 40, near_prior: {near_prior}"))
}

/// The same, with nobody looking at where pushes touch files.
fn without() -> String {
    suspecting("0")
}

/// A tree of 40 pushes on which the test was green on push 19, and in which push 23 touches `dom/base`.
fn tree(rules: &str, settings: EngineSettings) -> Tree {
    let mut tree = Tree::with_settings(40, rules, settings);
    for push in 1..=40 {
        let file = if push == NEAR {
            "dom/base/Element.cpp"
        } else {
            "js/src/vm/Stack.cpp"
        };
        tree.land_with(push, &[file]);
    }
    tree.see([run("L").on(19).with_groups(&[GROUP]).passed()]);
    tree
}

fn fails(push: u64) -> Event {
    run("L").on(push).with_failure(GROUP, TEST).failed()
}

/// The push of the first job that a search for the failure on push 38 asks for.
fn first_asked(rules: &str) -> u64 {
    let mut tree = tree(rules, EngineSettings::default());
    tree.see([fails(38)]);
    let asked = tree.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    asked[0].0
}

#[test]
fn the_first_run_goes_to_the_border_of_the_push_that_touches_files_near_the_test() {
    let near = first_asked(&suspecting("0.5"));
    assert!([NEAR - 1, NEAR].contains(&near), "push {near}");
    let halved = first_asked(&without());
    assert!(
        halved.abs_diff(NEAR) > 2,
        "push {halved}: as if nobody knew where pushes touch files"
    );
}

#[test]
fn a_search_about_a_job_as_a_whole_suspects_all_pushes_alike() {
    let search = |rules: &str| {
        let mut tree = tree(rules, EngineSettings::default());
        tree.see([run("L").on(19).passed(), run("L").on(38).failed()]);
        assert_eq!(tree.only_case().subject.signature, None);
        tree.asked()
    };
    assert_eq!(search(&one_by_one()), search(&without()));
}

#[test]
fn the_numbers_of_a_case_say_which_push_is_near_the_test_and_what_it_was_given_for_that() {
    let numbers = |rules: &str| {
        let mut tree = tree(rules, EngineSettings::default());
        tree.see([fails(38)]);
        tree.numbers(CaseId(1))
    };
    let told = numbers(&one_by_one());
    let of_push = told
        .iter()
        .find(|(what, _)| what.starts_with("P(culprit is push 23"))
        .unwrap();
    assert_eq!(of_push.0, "P(culprit is push 23, which touches files near the test)");
    let other = told.iter().find(|(what, _)| what == "P(culprit is push 24)").unwrap();
    assert!(of_push.1 > 4.0 * other.1, "{told:?}");
    let given = "prior share of the push that touches files near the test";
    let given = told
        .iter()
        .find(|(what, _)| what == given)
        .unwrap_or_else(|| panic!("{told:?}"));
    assert!((given.1 - (0.2 + 0.8 / 21.0)).abs() < 1e-9, "{told:?}");
    let silent = numbers(&without());
    assert!(
        silent.iter().all(|(what, _)| !what.contains("near the test")),
        "{silent:?}"
    );
}

#[test]
fn a_verdict_says_that_the_push_it_names_touches_files_near_the_test() {
    let mut tree = tree(&one_by_one(), EngineSettings::default());
    tree.see([fails(38)]);
    let on = |push: u64, fails: bool, name: &str| {
        let run = run("L").on(push).task(name);
        if fails {
            run.with_failure(GROUP, TEST).failed()
        } else {
            run.with_groups(&[GROUP]).passed()
        }
    };
    let more = (0..8).flat_map(|n| {
        [
            on(NEAR - 1, false, &format!("good{n}")),
            on(NEAR, true, &format!("bad{n}")),
        ]
    });
    tree.see(more.collect::<Vec<_>>());
    tree.a_person_drops_everything();
    tree.wake();
    let verdict = tree.only_case().verdict.expect("a verdict");
    assert_eq!((verdict.kind.as_str(), verdict.pushes[0].push.0), ("culprit", NEAR));
    assert!(
        verdict.why.ends_with("; it touches files near the test"),
        "{}",
        verdict.why
    );
}

#[test]
fn where_pushes_touch_files_is_kept_and_never_overwritten_by_less() {
    let mut tree = Tree::new(0, &one_by_one());
    tree.land_unknown(1);
    assert_eq!(
        tree.touched(),
        [(1, None)],
        "a message that does not say what is in the push"
    );
    tree.land(1, "autoland", "no files are named");
    assert_eq!(tree.touched(), [(1, Some(vec![]))], "told, and it says nothing");
    tree.land_with(1, &["dom/base/a.cpp", "README", "dom/base/b.cpp"]);
    let known = [(1, Some(vec![String::new(), "dom/base".to_owned()]))];
    assert_eq!(tree.touched(), known);
    tree.land_unknown(1);
    tree.land(1, "autoland", "no files are named");
    assert_eq!(tree.touched(), known);
}

/// A daemon that can ask a pushlog, on a tree of whose pushes nobody has told where they touch files.
fn untold(rules: &str) -> Tree {
    let settings = EngineSettings {
        has_pushlog: true,
        ..EngineSettings::default()
    };
    let mut tree = Tree::with_settings(0, rules, settings);
    (1..=40).for_each(|push| tree.land_unknown(push));
    tree.see([run("L").on(19).with_groups(&[GROUP]).passed()]);
    tree
}

#[test]
fn a_search_waits_for_where_its_pushes_touch_files_once() {
    let mut tree = untold(&one_by_one());
    tree.see_with([fails(38)], Patience::Fetched(Lack::Pushes));
    assert_eq!((tree.waits(), tree.cases().len()), (1, 0));
    // The answer has come, and said nothing: it is not asked for again.
    tree.see_with([fails(38)], Patience::Fetched(Lack::Places));
    assert_eq!((tree.waits(), tree.cases().len()), (1, 1));
}

#[test]
fn pushes_of_which_the_pushlog_has_told_are_not_asked_for_again_though_they_name_no_file() {
    let mut tree = untold(&one_by_one());
    (1..=40).for_each(|push| tree.land(push, "autoland", "no files are named"));
    tree.see_with([fails(38)], Patience::Fetched(Lack::Pushes));
    assert_eq!((tree.waits(), tree.cases().len()), (0, 1));
}

#[test]
fn what_opens_no_search_or_does_not_look_at_files_waits_for_nothing() {
    let waits = |rules: &str, events: Vec<Event>| {
        let mut tree = untold(rules);
        tree.see_with(events, Patience::Fetched(Lack::Pushes));
        tree.waits()
    };
    assert_eq!(waits(&without(), vec![fails(38)]), 0, "it is switched off");
    assert_eq!(waits(&one_by_one(), vec![fails(20)]), 0, "there is no gap");
    assert_eq!(
        waits(&one_by_one(), vec![run("L").on(38).failed()]),
        0,
        "no test is known"
    );
    let unnamed = run("L").on(38).with_failure("default", "automation.py").failed();
    assert_eq!(waits(&one_by_one(), vec![unnamed]), 0, "it is no path");
    let false_condition = one_by_one().replace("    open:", "    when: history.failed_before(event)\n    open:");
    assert_eq!(waits(&false_condition, vec![fails(38)]), 0, "the rule does not match");
}

#[test]
fn a_case_that_was_opened_before_there_was_such_a_parameter_is_read() {
    let older = serde_json::json!({
        "kind": "find-culprit", "max_depth": 20, "confidence": 0.95, "parallel": 8, "round_price": 4.0, "max_jobs": 40,
        "no_culprit_prior": 0.4, "min_rate": 0.0, "input": {},
    });
    let params: CaseParams = serde_json::from_value(older).unwrap();
    let CaseParams::FindCulprit(params) = params else {
        panic!("{params:?}")
    };
    assert_eq!((params.max_depth, params.near_prior), (20, 0.2));
}
