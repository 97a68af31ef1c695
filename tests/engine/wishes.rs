//! Jobs that people and rules want on pushes: fill, add, range, and requests on the bus.

use sheriffd::event::{
    AddParams, CaseKind, CaseParams, Duration, Event, FillParams, Label, OpenRequest, Outcome, Project, PushId,
    RangeParams, RequestEvent, RequestKind, RunState,
};

use crate::tree::{Tree, run};

const MOCHITEST: &str = "test-linux1804-64/opt-mochitest-1";
const XPCSHELL: &str = "test-linux1804-64/opt-xpcshell-1";
const WINDOWS: &str = "test-windows11-64/opt-mochitest-1";
const BUILD: &str = "build-linux64/opt";

fn request(project: &str, push: u64, kind: RequestKind) -> Event {
    Event::Request(Box::new(RequestEvent {
        project: Project::from(project),
        push: Some(PushId(push)),
        revision: None,
        requester: Some("somebody".into()),
        kind,
    }))
}

fn by_hand(project: &str, push: u64, params: CaseParams) -> Event {
    let open = OpenRequest {
        params,
        label: None,
        signature: None,
        series: None,
        bug: None,
        shadow: false,
    };
    request(project, push, RequestKind::Open(Box::new(open)))
}

fn fill(push: u64) -> Event {
    by_hand("autoland", push, CaseParams::Fill(FillParams::default()))
}

fn names(labels: &[&str]) -> Vec<String> {
    labels.iter().map(|label| (*label).to_owned()).collect()
}

/// What was asked for over all cases: label, push, times.
fn asked(tree: &mut Tree) -> Vec<(String, u64, u32)> {
    let mut cases = tree.cases();
    cases.reverse();
    let mut asked = Vec::new();
    for case in cases {
        for action in tree.actions(case.id) {
            asked.push((action.label.to_string(), action.push.0, action.times));
        }
    }
    asked
}

/// Why the last decision opened nothing, in its own words.
fn last_why(tree: &Tree) -> String {
    tree.last_detail()["why"].as_str().unwrap_or_default().to_owned()
}

/// Pushes 1 to 5: everything ran on all of them, but on push 3 only the first label did.
fn gap_on_3() -> Tree {
    let mut tree = Tree::new(5, "version: 1\nrules: []\n");
    for push in 1..=5 {
        tree.see([run(MOCHITEST).on(push).passed()]);
        if push != 3 {
            tree.see([XPCSHELL, WINDOWS, BUILD].map(|label| run(label).on(push).passed()));
        }
    }
    tree
}

#[test]
fn a_fill_asks_for_what_neighbours_ran_and_for_builds_before_tests() {
    let mut tree = gap_on_3();
    tree.see([fill(3)]);
    assert_eq!(asked(&mut tree), [(BUILD.to_owned(), 3, 1)]);
    tree.ci_accepts();
    tree.see([run(BUILD).on(3).made_by("action-C1.1.1").state(RunState::Pending)]);
    assert_eq!(
        asked(&mut tree)[1..],
        [(XPCSHELL.to_owned(), 3, 1), (WINDOWS.to_owned(), 3, 1)]
    );
    tree.ci_accepts();
    tree.see([XPCSHELL, WINDOWS].iter().zip(1..).map(|(label, slot)| {
        let action = format!("action-C1.2.{slot}");
        run(label).on(3).made_by(&action).state(RunState::Pending)
    }));
    let case = tree.only_case();
    assert_eq!(tree.verdict(case.id), Some("done"));
}

#[test]
fn what_waits_runs_or_was_cancelled_is_not_missing_and_what_the_machinery_lost_is() {
    let mut tree = gap_on_3();
    tree.see([
        run(XPCSHELL).on(3).state(RunState::Running),
        run(WINDOWS).on(3).ended(Outcome::Cancelled),
        run(BUILD).on(3).ended(Outcome::Infra),
    ]);
    tree.see([fill(3)]);
    assert_eq!(asked(&mut tree), [(BUILD.to_owned(), 3, 1)]);
}

#[test]
fn a_fill_of_a_push_that_lacks_nothing_is_refused_by_name() {
    let mut tree = gap_on_3();
    tree.see([fill(4)]);
    assert_eq!(tree.last_decision().as_str(), "nothing-missing");
    assert!(tree.cases().is_empty());
}

#[test]
fn a_gap_is_filled_only_where_so_many_pushes_in_a_row_lack_the_job() {
    let mut tree = Tree::new(7, "version: 1\nrules: []\n");
    for push in 1..=7 {
        tree.see([run(MOCHITEST).on(push).passed()]);
        if !(3..=5).contains(&push) {
            tree.see([run(XPCSHELL).on(push).passed()]);
        }
        if push != 4 {
            tree.see([run(WINDOWS).on(push).passed()]);
        }
    }
    let params = FillParams {
        gap: 3,
        ..FillParams::default()
    };
    tree.see([by_hand("autoland", 4, CaseParams::Fill(params))]);
    assert_eq!(asked(&mut tree), [(XPCSHELL.to_owned(), 4, 1)]);
}

#[test]
fn jobs_that_another_case_asked_for_are_not_asked_for_again() {
    let mut tree = gap_on_3();
    let add = AddParams {
        labels: names(&[XPCSHELL, WINDOWS]),
        ..AddParams::default()
    };
    tree.see([by_hand("autoland", 3, CaseParams::Add(add.clone()))]);
    tree.see([fill(3)]);
    let of_fill: Vec<String> = asked(&mut tree).into_iter().skip(2).map(|(label, ..)| label).collect();
    assert_eq!(of_fill, [BUILD], "the two tests are under way");
    let again = AddParams {
        labels: names(&[XPCSHELL]),
        ..add
    };
    tree.see([by_hand("autoland", 3, CaseParams::Add(again))]);
    assert_eq!(tree.last_decision().as_str(), "nothing-missing");
}

#[test]
fn no_more_is_asked_for_than_the_case_may_and_the_rest_is_named() {
    let mut tree = gap_on_3();
    let params = FillParams {
        labels: names(&["test-*"]),
        max_jobs: 1,
        ..FillParams::default()
    };
    tree.see([by_hand("autoland", 3, CaseParams::Fill(params))]);
    assert_eq!(asked(&mut tree), [(XPCSHELL.to_owned(), 3, 1)]);
    tree.ci_accepts();
    tree.see([run(XPCSHELL).on(3).made_by("action-C1.1.1").passed()]);
    let case = tree.only_case();
    let verdict = case.verdict.unwrap();
    assert_eq!(verdict.kind.as_str(), "done");
    assert!(verdict.why.contains(WINDOWS), "{}", verdict.why);
}

#[test]
fn labels_platforms_and_suites_are_added_to_a_try_push() {
    let mut tree = Tree::new(0, "version: 1\nrules: []\n");
    for push in 1..=2 {
        tree.land(push, "try", "");
    }
    tree.see([MOCHITEST, XPCSHELL, WINDOWS].map(|label| run(label).of("try").on(1).passed()));
    let mut add = |params: AddParams| {
        let before = asked(&mut tree).len();
        tree.see([by_hand("try", 2, CaseParams::Add(params))]);
        let mut labels: Vec<String> = asked(&mut tree)
            .into_iter()
            .skip(before)
            .map(|(label, ..)| label)
            .collect();
        labels.sort();
        labels
    };
    let by_suite = AddParams {
        suites: names(&["xpcshell"]),
        ..AddParams::default()
    };
    assert_eq!(add(by_suite), [XPCSHELL]);
    let by_platform = AddParams {
        labels: names(&["*mochitest*"]),
        platforms: names(&["windows*/opt"]),
        ..AddParams::default()
    };
    assert_eq!(add(by_platform), [WINDOWS]);
    let by_name = AddParams {
        labels: names(&[MOCHITEST]),
        times: 3,
        ..AddParams::default()
    };
    assert_eq!(add(by_name), [MOCHITEST]);
    assert_eq!(asked(&mut tree).last().unwrap().2, 3);
}

#[test]
fn only_what_failed_or_exists_is_run_again_where_that_is_said() {
    let mut tree = gap_on_3();
    tree.see([run(XPCSHELL).on(5).task("second").failed()]);
    let failed = AddParams {
        failed: true,
        ..AddParams::default()
    };
    tree.see([by_hand("autoland", 5, CaseParams::Add(failed))]);
    assert_eq!(asked(&mut tree), [(XPCSHELL.to_owned(), 5, 1)]);
    let existing = AddParams {
        labels: names(&["test-*"]),
        existing_only: true,
        ..AddParams::default()
    };
    tree.see([by_hand("autoland", 3, CaseParams::Add(existing))]);
    assert_eq!(asked(&mut tree)[1..], [(MOCHITEST.to_owned(), 3, 1)]);
}

#[test]
fn an_unknown_label_is_named_with_near_ones_before_anything_is_asked_for() {
    let mut tree = gap_on_3();
    let params = AddParams {
        labels: names(&["test-linux1804-64/opt-mochitset-1", XPCSHELL, "test-mac*"]),
        ..AddParams::default()
    };
    tree.see([by_hand("autoland", 3, CaseParams::Add(params))]);
    let case = tree.only_case();
    let whys: Vec<&str> = case.unable.iter().map(|unable| unable.why.as_str()).collect();
    assert!(whys[0].contains(&format!("did you mean `{MOCHITEST}`")), "{whys:?}");
    assert_eq!(whys[1], "no label matches");
    assert_eq!(
        asked(&mut tree),
        [(XPCSHELL.to_owned(), 3, 1)],
        "the sound ones are asked for"
    );
    let only_wrong = AddParams {
        labels: names(&["nonsense"]),
        ..AddParams::default()
    };
    tree.see([by_hand("autoland", 3, CaseParams::Add(only_wrong))]);
    let case = tree.cases().remove(0);
    assert_eq!(case.verdict.unwrap().kind.as_str(), "not-possible");
}

#[test]
fn a_range_counts_what_is_there_toward_the_runs_wanted() {
    let mut tree = Tree::new(6, "version: 1\nrules: []\n");
    tree.see([
        run(MOCHITEST).on(2).passed(),
        run(MOCHITEST).on(3).task("a").failed(),
        run(MOCHITEST).on(3).task("b").state(RunState::Pending),
        run(MOCHITEST).on(4).ended(Outcome::Infra),
    ]);
    let params = RangeParams {
        labels: names(&[MOCHITEST]),
        from: Some(PushId(2)),
        to: Some(PushId(5)),
        times: 2,
        ..RangeParams::default()
    };
    tree.see([by_hand("autoland", 5, CaseParams::Range(params))]);
    let mut all = asked(&mut tree);
    all.sort_by_key(|(_, push, _)| *push);
    let of: Vec<(u64, u32)> = all.iter().map(|(_, push, times)| (*push, *times)).collect();
    assert_eq!(of, [(2, 1), (4, 2), (5, 2)]);
}

#[test]
fn a_range_is_named_by_its_end_its_middle_or_a_step() {
    let pushes = |params: RangeParams, around: u64| {
        let mut tree = Tree::new(9, "version: 1\nrules: []\n");
        tree.see([run(MOCHITEST).on(1).passed()]);
        let params = RangeParams {
            labels: names(&[MOCHITEST]),
            ..params
        };
        tree.see([by_hand("autoland", around, CaseParams::Range(params))]);
        let mut pushes: Vec<u64> = asked(&mut tree).iter().map(|(_, push, _)| *push).collect();
        pushes.sort_unstable();
        pushes
    };
    let back = RangeParams {
        back: 3,
        ..RangeParams::default()
    };
    assert_eq!(pushes(back, 7), [4, 5, 6, 7]);
    let delta = RangeParams {
        delta: 1,
        ..RangeParams::default()
    };
    assert_eq!(pushes(delta, 7), [6, 7, 8]);
    let stepped = RangeParams {
        from: Some(PushId(3)),
        skip: 2,
        ..RangeParams::default()
    };
    assert_eq!(pushes(stepped, 9), [3, 6, 9]);
    assert_eq!(pushes(RangeParams::default(), 7), [7]);
}

const ON_REQUEST: &str = r#"
version: 1
rules:
  - name: fill-on-request
    on: request.received
    match: { kind: fill }
    open: { kind: fill, max_jobs: 100 }
    mode: live
  - name: add-on-request
    on: request.received
    match: { kind: add }
    open: { kind: add, max_jobs: 100 }
    mode: live
  - name: performance-on-request
    on: request.received
    match: { kind: all-talos }
    open: { kind: add, labels: "*talos*", existing_only: true, max_jobs: 100 }
    mode: live
  - name: backfill-on-request
    on: request.received
    match: { kind: backfill }
    open: { kind: range, back: 5, max_jobs: 10 }
    mode: live
"#;

fn backfill(label: Option<&str>, job: Option<u64>) -> RequestKind {
    RequestKind::Backfill {
        job,
        task: None,
        label: label.map(Label::from),
    }
}

fn add(labels: &[&str]) -> RequestKind {
    RequestKind::AddJobs {
        labels: labels.iter().map(|label| Label::from(*label)).collect(),
    }
}

#[test]
fn each_request_of_a_person_becomes_the_case_that_fits_it() {
    let mut tree = Tree::new(6, ON_REQUEST);
    tree.see([run(MOCHITEST).on(2).passed(), run(MOCHITEST).on(5).failed()]);
    tree.see([
        run(XPCSHELL).on(4).passed(),
        run("test-linux/opt-talos-g1").on(5).passed(),
    ]);
    tree.see([request("autoland", 5, backfill(Some(MOCHITEST), None))]);
    let mut pushes: Vec<u64> = asked(&mut tree).iter().map(|(_, push, _)| *push).collect();
    pushes.sort_unstable();
    assert_eq!(pushes, [3, 4], "back to the last push that has the job");
    tree.see([request("autoland", 5, RequestKind::AllTalos { times: 6 })]);
    assert_eq!(asked(&mut tree)[2..], [("test-linux/opt-talos-g1".to_owned(), 5, 6)]);
    tree.see([request("autoland", 6, add(&[XPCSHELL]))]);
    assert_eq!(asked(&mut tree)[3..], [(XPCSHELL.to_owned(), 6, 1)]);
    tree.see([request("autoland", 4, RequestKind::FillPush)]);
    assert_eq!(tree.last_decision().as_str(), "opened");
    let kinds: Vec<CaseKind> = tree.cases().iter().rev().map(|case| case.params.kind()).collect();
    assert_eq!(kinds, [CaseKind::Range, CaseKind::Add, CaseKind::Add, CaseKind::Fill]);
}

#[test]
fn the_same_request_within_an_hour_is_one() {
    let mut tree = Tree::new(3, ON_REQUEST);
    tree.see([run(MOCHITEST).on(1).passed()]);
    for _ in 0..3 {
        tree.see_fresh([request("autoland", 3, add(&[MOCHITEST]))]);
    }
    assert_eq!(tree.cases().len(), 1);
    assert_eq!(tree.discarded("duplicate"), 2);
    tree.ci_accepts();
    tree.see([run(MOCHITEST).on(3).made_by("action-C1.1.1").passed()]);
    tree.wait(Duration::from_secs(3_601));
    tree.see_fresh([request("autoland", 3, add(&[MOCHITEST]))]);
    assert_eq!(tree.cases().len(), 2, "another hour, another wish");
}

#[test]
fn a_request_that_cannot_be_served_is_refused_with_the_reason() {
    let mut tree = Tree::new(3, ON_REQUEST);
    tree.see([request("autoland", 3, backfill(None, Some(1450)))]);
    assert_eq!(tree.last_decision().as_str(), "facts-unknown");
    assert!(last_why(&tree).contains("1450"), "{}", last_why(&tree));
    tree.see([request("autoland", 77, add(&[MOCHITEST]))]);
    assert_eq!(tree.last_decision().as_str(), "facts-unknown");
    assert!(last_why(&tree).contains("push 77"), "{}", last_why(&tree));
    tree.see([request("autoland", 3, RequestKind::CancelAll)]);
    assert_eq!(tree.discarded("no-case-kind"), 1);
    assert!(tree.cases().is_empty());
}

#[test]
fn a_backfill_may_be_a_search_where_the_rule_says_so() {
    let rules = ON_REQUEST.replace(
        "{ kind: range, back: 5, max_jobs: 10 }",
        "{ kind: find-culprit, max_jobs: 10 }",
    );
    let mut tree = Tree::new(6, &rules);
    tree.see([run(MOCHITEST).on(2).passed(), run(MOCHITEST).on(5).failed()]);
    tree.see([request("autoland", 5, backfill(Some(MOCHITEST), None))]);
    assert_eq!(tree.only_case().params.kind(), CaseKind::FindCulprit);
    let pushes: Vec<u64> = asked(&mut tree).iter().map(|(_, push, _)| *push).collect();
    assert_eq!(pushes, [3, 4]);
}

/// What is missing on two pushes in a row.
const FILL_GAPS: &str = r#"
version: 1
rules:
  - name: fill-gaps
    on: push.created
    open: { kind: fill, gap: 2, max_jobs: 10 }
    mode: live
"#;

/// Four pushes, an hour between them; from the second on a job is missing. Messages may not say when pushes landed.
fn four_pushes_with_a_gap(are_timed: bool) -> Tree {
    let mut tree = Tree::new(0, FILL_GAPS);
    for push in 1..=4 {
        let now = tree.now();
        tree.land_at(push, "autoland", "", are_timed.then_some(now));
        tree.see([run(MOCHITEST).on(push).at(now).passed()]);
        if push < 2 {
            tree.see([run(XPCSHELL).on(push).at(now).passed()]);
        }
        tree.wait(Duration::from_secs(3_600));
    }
    tree
}

#[test]
fn a_push_has_all_its_jobs_when_the_first_is_old_even_where_nobody_says_when_it_landed() {
    let mut tree = four_pushes_with_a_gap(false);
    tree.land_at(5, "autoland", "", None);
    assert_eq!(asked(&mut tree), [(XPCSHELL.to_owned(), 3, 1)]);
}

#[test]
fn a_rule_fills_the_newest_push_whose_jobs_have_come_and_that_one_once() {
    let mut tree = four_pushes_with_a_gap(true);
    // It is four hours since push 1, two since push 3.
    let from = tree.notes.len();
    tree.land(5, "autoland", "");
    tree.land(6, "autoland", "");
    assert_eq!(asked(&mut tree), [(XPCSHELL.to_owned(), 3, 1)]);
    let words: Vec<&str> = tree.decided_since(from);
    assert_eq!(words, ["opened", "nothing-missing"], "what is asked for is not missing");
}

#[test]
fn a_schedule_fills_the_project_that_its_rule_names() {
    let rules = r#"
version: 1
rules:
  - name: fill-at-night
    schedule: "0 * * * *"
    open: { kind: fill, project: autoland, labels: "test-*", max_jobs: 10 }
    mode: live
"#;
    let mut tree = Tree::new(0, rules);
    for push in 1..=4 {
        tree.land(push, "autoland", "");
        tree.see([run(MOCHITEST).on(push).passed()]);
        if push < 3 {
            tree.see([run(XPCSHELL).on(push).passed()]);
        }
    }
    // The rule is seen for the first time, and then at its next hour.
    tree.wake();
    tree.wait(Duration::from_secs(3 * 3_600));
    tree.wake();
    assert_eq!(asked(&mut tree), [(XPCSHELL.to_owned(), 4, 1)]);
}
