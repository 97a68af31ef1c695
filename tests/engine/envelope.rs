//! When a rule acts, besides its condition.

use sheriffd::event::{CaseId, Duration, RunState};

use crate::tree::{START, Tree, run};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// A rule with these keys, one to a line, that backfills every orange live.
fn rules(keys: &str) -> String {
    let keys: String = keys.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "version: 1\nrules:\n  - name: backfill\n    description: Find the push that broke a test.\n    on: \
         job.finished\n    match: {{ outcome: failed }}\n    mode: live\n{keys}    open: {{ kind: find-culprit, \
         max_depth: 20, parallel: 8, max_jobs: 40 }}\n"
    )
}

fn tree(keys: &str) -> Tree {
    let mut tree = Tree::new(40, &rules(keys));
    tree.see([run("L").on(11).passed(), run("M").on(11).passed()]);
    tree
}

#[test]
fn in_quiet_hours_a_rule_opens_nothing_and_says_so() {
    assert_eq!(START.to_string(), "2026-05-28T20:26:40Z", "22:26 in Berlin");
    let mut quiet = tree("quiet_hours: { tz: Europe/Berlin, hours: \"22:00-06:00\" }");
    quiet.see([run("L").on(14).failed()]);
    assert_eq!(quiet.decided(), ["quiet-hours"]);
    quiet.wait(8 * HOUR);
    quiet.see([run("M").on(14).failed()]);
    assert_eq!(quiet.decided(), ["quiet-hours", "opened"]);
    let mut except = tree("quiet_hours: { tz: UTC, except: \"22:00-06:00\" }");
    except.see([run("L").on(14).failed()]);
    assert_eq!(
        except.decided(),
        ["quiet-hours"],
        "20:26 is outside of the only hours that are not quiet"
    );
    except.wait(2 * HOUR);
    except.see([run("M").on(14).failed()]);
    assert_eq!(except.decided(), ["quiet-hours", "opened"]);
}

#[test]
fn a_debounced_rule_acts_once_when_events_have_stopped_coming() {
    let mut tree = tree("debounce: { quiet: 30m, by: [event.label] }");
    tree.see([run("L").on(14).failed()]);
    tree.wait(20 * MINUTE);
    tree.wake();
    tree.see([run("L").on(15).failed()]);
    tree.wait(29 * MINUTE);
    tree.wake();
    assert_eq!(tree.decided(), ["debounced", "debounced"]);
    assert!(tree.cases().is_empty());
    tree.wait(MINUTE);
    tree.wake();
    assert_eq!(tree.decided(), ["debounced", "debounced", "opened"]);
    assert_eq!(tree.only_case().push.0, 15, "the latest event stands for all");
    tree.wait(HOUR);
    tree.wake();
    assert_eq!(tree.decided().len(), 3, "and it acts once");
}

#[test]
fn what_is_debounced_apart_waits_apart() {
    let mut tree = tree("debounce: { quiet: 30m, by: [event.label] }");
    tree.see([run("L").on(14).failed()]);
    tree.wait(20 * MINUTE);
    tree.see([run("M").on(14).failed()]);
    tree.wait(10 * MINUTE);
    tree.wake();
    assert_eq!(tree.decided(), ["debounced", "debounced", "opened"]);
    assert_eq!(tree.only_case().label.as_str(), "L");
}

#[test]
fn a_debounced_rule_acts_at_the_latest_after_at_most_even_if_events_keep_coming() {
    let mut tree = tree("debounce: { quiet: 30m, at_most: 50m }");
    for push in 14..17 {
        tree.see([run("L").on(push).failed()]);
        tree.wait(20 * MINUTE);
        tree.wake();
    }
    assert_eq!(tree.decided(), ["debounced", "debounced", "debounced", "opened"]);
}

#[test]
fn what_a_rule_holds_back_is_asked_again_with_the_books_of_that_moment() {
    let mut tree = tree("debounce: { quiet: 30m }");
    tree.see([run("L").on(14).failed()]);
    tree.wait(10 * MINUTE);
    tree.see([run("L").on(12).passed(), run("L").on(13).passed()]);
    tree.wait(20 * MINUTE);
    tree.wake();
    assert_eq!(tree.decided(), ["debounced", "no-gap"]);
}

#[test]
fn a_rule_that_is_gone_when_its_wait_is_over_opens_nothing_and_says_so() {
    let mut tree = tree("debounce: { quiet: 30m }");
    tree.see([run("L").on(14).failed()]);
    tree.reload("version: 1\nrules: []\n");
    tree.wait(HOUR);
    tree.wake();
    assert_eq!(tree.decided(), ["debounced", "rule-gone"]);
}

#[test]
fn a_subject_gets_no_second_case_of_a_rule_within_its_span() {
    let mut tree = tree("once_within: 12h");
    tree.see([run("L").on(14).failed(), run("M").on(14).failed()]);
    assert_eq!(tree.decided(), ["opened", "opened"], "each subject for itself");
    let cases: Vec<CaseId> = tree.cases().iter().map(|case| case.id).collect();
    for case in cases {
        tree.withdraw(case);
    }
    tree.see([run("L").on(16).passed()]);
    tree.see([run("L").on(20).failed()]);
    assert_eq!(tree.decided()[2..], ["once-within"]);
    tree.wait(13 * HOUR);
    tree.see([run("L").on(21).failed()]);
    assert_eq!(tree.decided()[2..], ["once-within", "opened"]);
}

#[test]
fn a_case_that_needs_approval_asks_for_nothing_before_it_has_it() {
    let mut tree = tree("approve: { by: sheriffs }");
    tree.see([run("L").on(14).failed()]);
    assert_eq!(tree.decided(), ["opened"]);
    assert_eq!(tree.asked(), []);
    assert_eq!(tree.held_back(), ["awaiting-approval"]);
    let case = tree.only_case();
    assert!(case.why.starts_with("awaiting approval by sheriffs"), "{}", case.why);
    assert!(tree.approve(case.id, "a sheriff"));
    tree.wake();
    assert_eq!(tree.asked(), [(12, 1), (13, 1)]);
    assert!(!tree.approve(case.id, "another"), "it waits no more");
}

#[test]
fn a_case_that_nobody_approves_in_time_is_withdrawn_with_its_own_reason() {
    let mut tree = tree("approve: { by: sheriffs, expires: 4h }");
    tree.see([run("L").on(14).failed()]);
    tree.wait(4 * HOUR);
    let id = tree.only_case().id;
    assert!(!tree.approve(id, "too late"));
    tree.wake();
    assert_eq!(tree.verdict(id), Some("withdrawn"));
    assert_eq!(tree.held_back(), ["awaiting-approval", "approval-expired"]);
    assert_eq!(tree.asked(), []);
}

#[test]
fn approval_depends_on_the_jobs_and_on_how_long_the_labels_runs_take() {
    let expensive = "approve: { when: estimate.hours > 20.0, by: sheriffs }";
    let mut unknown = tree(expensive);
    unknown.see([run("L").on(14).failed()]);
    assert_eq!(
        unknown.held_back(),
        ["awaiting-approval"],
        "what a run costs is not known"
    );
    // 40 jobs of half an hour are 20 hours.
    let mut cheap = Tree::new(40, &rules(expensive));
    cheap.see([run("L").on(11).lasting(30 * MINUTE).passed()]);
    cheap.see([run("L").on(14).failed()]);
    assert_eq!(cheap.held_back(), [""; 0]);
    assert_eq!(cheap.asked(), [(12, 1), (13, 1)]);
    let mut dear = Tree::new(40, &rules(expensive));
    dear.see([run("L").on(11).lasting(31 * MINUTE).passed()]);
    dear.see([run("L").on(14).failed()]);
    assert_eq!(dear.held_back(), ["awaiting-approval"]);
    let estimate = dear.only_case().approval.unwrap().estimate;
    assert_eq!(estimate.jobs, 40);
    assert!((estimate.hours.unwrap() - 20.67).abs() < 0.01);
    let mut by_jobs = tree("approve: { when: estimate.jobs >= 40, by: sheriffs }");
    by_jobs.see([run("L").on(14).failed()]);
    assert_eq!(by_jobs.held_back(), ["awaiting-approval"]);
}

#[test]
fn in_shadow_no_approval_is_asked_for() {
    let mut tree = Tree::new(
        40,
        &rules("approve: { by: sheriffs }").replace("mode: live", "mode: shadow"),
    );
    tree.see([run("L").on(11).passed(), run("L").on(14).failed()]);
    assert_eq!(tree.held_back(), [""; 0]);
    assert_eq!(tree.asked(), [(12, 1), (13, 1)]);
}

#[test]
fn a_rule_for_each_signature_opens_a_case_for_each() {
    let mut tree = Tree::new(40, FILLED);
    let failed = |push| {
        run("L")
            .on(push)
            .tier(1)
            .with_failures(&[("a.ini", "a"), ("b.ini", "b")])
    };
    tree.see([failed(14).failed()]);
    assert_eq!(tree.decided(), ["opened", "opened"]);
    let signatures: Vec<String> = tree
        .cases()
        .iter()
        .map(|case| case.subject.signature.as_ref().unwrap().test.to_string())
        .collect();
    assert_eq!(signatures, ["b", "a"]);
    tree.see([failed(15).failed()]);
    assert_eq!(tree.decided()[2..], ["joined", "joined"]);
}

#[test]
fn a_rule_for_each_element_of_nothing_opens_nothing() {
    let mut tree = tree("for_each: event.signatures.filter(s, s.test == 'x')");
    tree.see([run("L").on(14).with_failures(&[("a.ini", "a")]).failed()]);
    assert_eq!(tree.decided(), ["condition-false"]);
    tree.see([run("M").on(14).failed()]);
    assert_eq!(
        tree.decided()[1..],
        ["condition-unknown"],
        "its signatures are not known"
    );
}

const FILLED: &str = "
version: 1
rules:
  - name: hunt
    description: Run it again with logging.
    on: job.finished
    match: { outcome: failed }
    mode: live
    for_each: event.signatures
    open:
      kind: until-hit
      max_jobs: 10
      input: { env: { LABEL: \"${{ event.label }}:${{ event.tier + 1 }}\", TEST: \"${{ each.test }}\", PLAIN: x } }
";

#[test]
fn expressions_in_texts_are_filled_in_when_a_case_is_opened() {
    let mut tree = Tree::new(14, FILLED);
    let failed = |label: &str| run(label).on(14).with_failures(&[("a.ini", "dom/a.html")]);
    tree.see([failed("L").tier(1).failed()]);
    assert_eq!(tree.decided(), ["opened"]);
    let case = tree.only_case();
    let env: Vec<(String, String)> = case.params.input().env.clone().into_iter().collect();
    let text = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(
        env,
        [text("LABEL", "L:2"), text("PLAIN", "x"), text("TEST", "dom/a.html")]
    );
    assert_eq!(case.each.as_deref(), Some("signature dom/a.html"));
    tree.see([failed("M").failed()]);
    assert_eq!(
        tree.decided()[1..],
        ["text-unknown"],
        "the tier of this one is not known"
    );
}

#[test]
fn a_failure_rate_counts_the_runs_of_its_span_and_no_others() {
    let keys = "when: history.failure_rate(event, duration(\"6h\")) < 0.3";
    let mut tree = Tree::new(400, &rules(keys));
    // Long ago, and on pushes far before the window: nine of ten fail.
    for push in 1..=10 {
        let run = run("L").on(push).at(START.minus(24 * HOUR));
        tree.see([if push == 1 { run.passed() } else { run.failed() }]);
    }
    tree.see([run("L").on(380).at(START.minus(HOUR)).passed()]);
    tree.see([run("L").on(390).failed()]);
    assert_eq!(tree.decided().last(), Some(&"opened"), "{:?}", tree.decided());
    let keys = keys.replace("6h", "48h");
    let mut tree = Tree::new(400, &rules(&keys));
    for push in 1..=10 {
        let run = run("L").on(push).at(START.minus(24 * HOUR));
        tree.see([if push == 1 { run.passed() } else { run.failed() }]);
    }
    tree.see([run("L").on(380).at(START.minus(HOUR)).passed()]);
    tree.see([run("L").on(390).failed()]);
    assert_eq!(tree.decided().last(), Some(&"condition-false"));
}

#[test]
fn a_failure_rate_is_that_of_the_signature_where_one_is_known() {
    let keys = "when: history.failure_rate(event, duration(\"14d\")) < 0.3";
    let mut tree = Tree::new(400, &rules(keys));
    // Before the window and in it: other failures of the same job.
    for push in [1, 2, 3, 360, 370] {
        tree.see([run("L")
            .on(push)
            .with_failures(&[("b.ini", "b")])
            .with_more_groups(&["a.ini"])
            .failed()]);
    }
    tree.see([run("L").on(380).with_groups(&["a.ini", "b.ini"]).passed()]);
    tree.see([run("L").on(390).with_failures(&[("a.ini", "a")]).failed()]);
    assert_eq!(tree.decided().last(), Some(&"opened"), "it never failed so");
    tree.see([run("L").on(391).with_failures(&[("b.ini", "b")]).failed()]);
    assert_eq!(tree.decided().last(), Some(&"condition-false"), "and in this way often");
}

#[test]
fn guards_are_relaxed_by_name() {
    let waiting = |tree: &mut Tree| {
        tree.see([
            run("L").on(12).state(RunState::Pending),
            run("L").on(13).state(RunState::Running),
            run("L").on(14).failed(),
        ]);
    };
    let mut strict = tree("");
    waiting(&mut strict);
    assert_eq!(strict.decided(), ["in-flight"]);
    let mut relaxed = tree("guards: { in-flight: off }");
    waiting(&mut relaxed);
    assert_eq!(relaxed.decided(), ["opened"]);
    let mut second = tree("guards: { one-open-case: off, in-flight: off }");
    second.see([run("L").on(14).failed(), run("L").on(17).failed()]);
    assert_eq!(second.decided(), ["opened", "opened"]);
}

#[test]
fn a_verdict_is_told_to_the_webhook_that_the_rule_names() {
    let mut tree = tree("notify: { webhook: sheriffs }");
    tree.see([run("L").on(14).failed()]);
    assert_eq!(tree.only_case().notify.as_deref(), Some("sheriffs"));
}
