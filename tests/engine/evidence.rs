//! What bears on a case, and how cases end.

use sheriffd::event::{CaseId, Duration, Outcome, Reason, RunState};

use crate::tree::{BACKFILL, Tree, run};

const HUNT: &str = "
version: 1
rules:
  - name: hunt
    description: Catch an intermittent.
    on: job.finished
    match: { outcome: failed }
    open: { kind: until-hit, rate: 0.2, max_jobs: 30 }
    mode: live
";

#[test]
fn a_hunt_ends_with_the_first_hit_whatever_is_still_pending() {
    let mut tree = Tree::new(3, HUNT);
    tree.see([run("L").on(3).failed()]);
    let times: u32 = tree.asked().iter().map(|(_, times)| times).sum();
    assert!(times >= 2, "a batch of {times}");
    tree.ci_accepts();
    tree.wait(Duration::from_secs(600));
    let mut hit = run("L").on(3).made_by("action-C1.1.1").failed();
    if let sheriffd::event::Event::Job(job) = &mut hit {
        job.at = job.at.plus(Duration::from_secs(600));
    }
    tree.see([hit]);
    assert_eq!(tree.verdict(CaseId(1)), Some("hit"));
    tree.see([run("L").on(3).task("tomorrow").failed()]);
    assert_eq!(
        tree.last_decision().as_str(),
        "explained",
        "the same intermittent within a day"
    );
}

#[test]
fn a_hunt_that_finds_nothing_says_how_rare_the_failure_must_be() {
    let mut tree = Tree::new(3, HUNT);
    tree.see([run("L").on(3).failed()]);
    for round in 1..20 {
        if tree.verdict(CaseId(1)).is_some() {
            break;
        }
        tree.ci_accepts();
        tree.wait(Duration::from_secs(600));
        let now = Duration::from_secs(600 * round);
        for action in tree.actions(CaseId(1)) {
            if u64::from(action.key.step) == round {
                for copy in 0..action.times {
                    let mut green = run("L")
                        .on(3)
                        .made_by(&format!("action-{}", action.key))
                        .task(&format!("{}-{copy}", action.key))
                        .passed();
                    if let sheriffd::event::Event::Job(job) = &mut green {
                        job.at = job.at.plus(now);
                    }
                    tree.see([green]);
                }
            }
        }
    }
    let case = tree.only_case();
    let verdict = case.verdict.expect("an end");
    assert_eq!(verdict.kind.as_str(), "not-reproducible");
    assert!(verdict.probability.unwrap() >= 0.95, "{verdict:?}");
    assert!(tree.asked().iter().map(|(_, times)| times).sum::<u32>() <= 30);
}

#[test]
fn an_own_run_that_the_machinery_lost_is_asked_for_again_in_another_round() {
    let mut tree = Tree::new(14, BACKFILL);
    tree.see([run("L").on(12).passed(), run("L").on(14).failed()]);
    assert_eq!(tree.asked(), [(13, 1)]);
    tree.ci_accepts();
    tree.see([run("L").on(13).made_by("action-C1.1.1").ended(Outcome::Infra)]);
    let rounds: Vec<u32> = tree.actions(CaseId(1)).iter().map(|action| action.key.step).collect();
    assert!(rounds.contains(&2), "a second round follows: {rounds:?}");
}

#[test]
fn a_ci_that_takes_everything_and_runs_nothing_ends_the_case_and_costs_no_budget() {
    let mut tree = Tree::new(14, BACKFILL);
    tree.see([run("L").on(12).passed(), run("L").on(14).failed()]);
    for _ in 0..400 {
        if tree.verdict(CaseId(1)).is_some() {
            break;
        }
        tree.ci_accepts();
        tree.wait(Duration::from_secs(3 * 3_600));
        tree.wake();
    }
    assert_eq!(tree.verdict(CaseId(1)), Some("undecided"));
}

#[test]
fn a_run_that_never_ends_does_not_hold_a_case_for_ever() {
    let mut tree = Tree::new(14, BACKFILL);
    tree.see([run("L").on(12).passed(), run("L").on(14).failed()]);
    tree.ci_accepts();
    tree.see([run("L").on(13).made_by("action-C1.1.1").state(RunState::Running)]);
    let before = tree.asked().len();
    tree.wait(Duration::from_secs(25 * 3_600));
    tree.wake();
    assert!(tree.asked().len() > before, "it is taken for lost and asked for again");
}

#[test]
fn a_case_whose_suspect_was_backed_out_and_is_green_since_is_superseded() {
    let mut tree = Tree::new(14, BACKFILL);
    tree.see([run("L").on(12).passed(), run("L").on(14).failed()]);
    tree.ci_accepts();
    let revision = Tree::revision(14);
    tree.land(
        15,
        "autoland",
        &format!("Backed out changeset {} for breaking L", revision.as_str()),
    );
    tree.see([run("L").on(15).passed()]);
    assert_eq!(tree.verdict(CaseId(1)), Some("superseded"));
}

#[test]
fn a_backout_of_something_else_ends_nothing() {
    let mut tree = Tree::new(14, BACKFILL);
    tree.see([run("L").on(12).passed(), run("L").on(14).failed()]);
    tree.land(15, "autoland", "Backed out changeset 0123456789ab for breaking M");
    tree.see([run("L").on(15).passed()]);
    assert_eq!(tree.verdict(CaseId(1)), None);
}

#[test]
fn chunks_of_a_suite_do_not_speak_for_each_other() {
    let mut tree = Tree::new(14, BACKFILL);
    tree.see([run("S-1").chunk(1).on(13).passed(), run("S-2").chunk(2).on(11).passed()]);
    tree.see([run("S-2").chunk(2).on(14).failed()]);
    assert_eq!(
        tree.asked(),
        [(12, 1), (13, 1)],
        "the green chunk 1 on push 13 says nothing of chunk 2"
    );
}

#[test]
fn a_test_that_moves_between_chunks_is_one_subject() {
    let mut tree = Tree::new(14, BACKFILL);
    tree.see([
        run("S-1").chunk(1).on(12).with_groups(&["dom/browser.ini"]).passed(),
        run("S-2")
            .chunk(2)
            .on(14)
            .with_failure("dom/browser.ini", "dom/test_a.js")
            .failed(),
    ]);
    assert_eq!(tree.asked(), [(13, 1)]);
    let case = tree.only_case();
    assert_eq!(case.subject.label.as_str(), "S");
    assert_eq!(case.subject.signature.unwrap().test.as_ref(), "dom/test_a.js");
}

#[test]
fn a_failure_with_another_signature_is_no_failure_of_this_one() {
    let mut tree = Tree::new(14, BACKFILL);
    tree.see([
        run("S").on(11).with_groups(&["a.ini"]).passed(),
        // Another test of the same group failed here: this one ran and passed.
        run("S").on(12).with_failure("a.ini", "test_other.js").failed(),
        run("S").on(14).with_failure("a.ini", "test_this.js").failed(),
    ]);
    assert_eq!(tree.decided(), ["no-gap", "opened"]);
    assert_eq!(tree.asked(), [(13, 1)]);
}

#[test]
fn on_a_ci_that_takes_everything_and_runs_nothing_a_case_ends_says_so_and_asks_for_nothing_twice() {
    let mut tree = Tree::new(14, BACKFILL);
    tree.see([run("L").on(11).passed(), run("L").on(14).failed()]);
    for _ in 0..20 {
        tree.ci_accepts();
        tree.wait(Duration::from_secs(3 * 3_600));
        tree.ci_has_run_nothing();
        tree.wake();
        if tree.verdict(CaseId(1)).is_some() {
            break;
        }
    }
    let case = tree.only_case();
    let verdict = case.verdict.expect("it ends");
    assert!(
        matches!(verdict.kind.as_str(), "undecided" | "not-possible"),
        "{}",
        verdict.kind
    );
    assert!(verdict.why.contains("did not run"), "{}", verdict.why);
    let mut pushes: Vec<u64> = tree.actions(case.id).iter().map(|action| action.push.0).collect();
    let asked = pushes.len();
    pushes.sort_unstable();
    pushes.dedup();
    assert_eq!(pushes.len(), asked, "no push is asked for twice");
}

#[test]
fn what_a_person_dropped_is_not_decided_again() {
    let mut tree = Tree::new(14, BACKFILL);
    tree.see([run("L").on(11).passed(), run("L").on(14).failed()]);
    for _ in 0..20 {
        tree.a_person_drops_everything();
        tree.wake();
    }
    assert!(tree.verdict(CaseId(1)).is_some(), "it ends instead of asking for ever");
}

#[test]
fn what_is_more_than_a_case_may_have_is_not_decided_again() {
    let mut tree = Tree::new(14, BACKFILL);
    tree.see([run("L").on(11).passed(), run("L").on(14).failed()]);
    for _ in 0..20 {
        tree.drop_everything(Reason::MaxJobs);
        tree.wake();
    }
    assert!(tree.verdict(CaseId(1)).is_some(), "it ends instead of asking for ever");
}

#[test]
fn a_hunts_jobs_that_the_machinery_lost_are_spent_all_the_same() {
    let rules = "
version: 1
rules:
  - name: hunt
    on: job.finished
    match: { outcome: failed }
    open: { kind: until-hit, rate: 0.01, max_jobs: 5 }
    mode: live
";
    let mut tree = Tree::new(3, rules);
    tree.see([run("L").on(3).failed()]);
    for round in 0..9 {
        tree.ci_accepts();
        for (place, (push, times)) in tree.asked().into_iter().enumerate() {
            for job in 0..times {
                let action = format!("action-C1.{}.1", place + 1);
                tree.see([run("L")
                    .on(push)
                    .made_by(&action)
                    .task(&format!("{place}-{job}"))
                    .ended(Outcome::Infra)]);
            }
        }
        tree.wait(Duration::from_secs(60 * (round + 1)));
        tree.wake();
    }
    let asked: u32 = tree.asked().iter().map(|(_, times)| times).sum();
    assert!(asked <= 5, "{asked} jobs were asked for");
    assert_eq!(tree.verdict(CaseId(1)), Some("undecided"));
}
