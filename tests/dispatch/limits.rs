//! Accounts: of cases, of machine time, of attention; shared by all who dispatch; and nobody starves.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use sheriffd::clock::Clock as _;
use sheriffd::dispatch::{DispatchSettings, Dispatcher};
use sheriffd::engine::ledger::{Actions as _, CaseRow, Cases as _, Runs as _};
use sheriffd::event::{
    CaseParams, Cause, CausedBy, Duration, FindCulpritParams, Label, Outcome, PushId, Reason, RunState, TaskId,
    Timestamp, UntilHitParams,
};
use sheriffd::rules::{Budget, BudgetScope, Counted};
use sheriffd::store::Handle;
use sheriffd::store::sqlite::{Account, Measure, SqliteStore};

use crate::appear::run_of;
use crate::desk::{Desk, HOUR, MINUTE, case};

fn budget(counts: Counted, per: BudgetScope, daily: u32) -> Budget {
    Budget {
        name: "nightly".into(),
        counts,
        per,
        default: Some(daily),
        special: BTreeMap::new(),
    }
}

fn hunt(rule: &str) -> CaseRow {
    CaseRow {
        params: CaseParams::UntilHit(UntilHitParams::default()),
        ..case(rule, "linux")
    }
}

#[tokio::test]
async fn a_case_gets_no_more_jobs_than_its_rule_allows_whatever_it_asks_for() {
    let desk = Desk::new().await;
    let params = FindCulpritParams {
        max_jobs: 5,
        ..FindCulpritParams::default()
    };
    let small = CaseRow {
        params: CaseParams::FindCulprit(params),
        ..case("r", "linux")
    };
    let case = desk.asks_for(small, &[1, 2, 3], 2).await;
    desk.round().await;
    desk.wait(100 * HOUR);
    desk.round().await;
    let dropped = ("dropped", Some(Reason::MaxJobs));
    let states = desk.states(case).await;
    assert_eq!(states[2], dropped, "{states:?}");
    assert_eq!(desk.ci.reached().len(), 2);
}

#[tokio::test]
async fn machine_time_is_reserved_by_past_durations_and_settled_with_real_ones() {
    let mut desk = Desk::new().await;
    desk.brakes.limits.machine_hours_per_day = Some(4);
    let past: Vec<_> = (0..4)
        .map(|number| {
            let ended = RunState::Finished(Outcome::Passed);
            let mut run = run_of("push", &format!("past{number}"), ended, Some(120), desk.clock.now());
            run.facts.caused_by = sheriffd::event::CausedBy::Push;
            run
        })
        .collect();
    desk.books(move |books| books.record_runs(&past.iter().collect::<Vec<_>>()))
        .await;
    let case = desk.asks("r", "linux", &[1, 2, 3], 1).await;
    desk.round().await;
    let (sent, waits) = (("accepted", None), ("queued", Some(Reason::Limit)));
    assert_eq!(desk.states(case).await, [sent, sent, waits], "two of two hours each");
    // The first takes half an hour only.
    let ended = RunState::Finished(Outcome::Passed);
    let short = run_of(
        &format!("task-of-{case}.1.1"),
        "short",
        ended,
        Some(30),
        desk.clock.now(),
    );
    desk.books(move |books| books.record_runs(&[&short])).await;
    desk.wait(2 * MINUTE);
    desk.round().await;
    // Past runs and this one average 102 minutes: 30 + 120 + 102 is over four hours.
    assert_eq!(desk.states(case).await, [sent, sent, waits]);
    let short = run_of(
        &format!("task-of-{case}.1.2"),
        "short2",
        ended,
        Some(30),
        desk.clock.now(),
    );
    desk.books(move |books| books.record_runs(&[&short])).await;
    desk.wait(2 * MINUTE);
    desk.round().await;
    assert_eq!(desk.states(case).await, [sent, sent, sent]);
}

#[tokio::test]
async fn a_job_that_never_ran_before_is_expected_to_take_the_configured_time() {
    let mut desk = Desk::new().await;
    desk.brakes.limits.assumed_job_time = 90 * MINUTE;
    desk.brakes.budgets.insert(
        "nightly".into(),
        budget(Counted::MachineHours, BudgetScope::Platform, 3),
    );
    let case = desk.asks("r", "linux", &[1, 2, 3], 1).await;
    let other = desk.asks("r", "mac", &[1], 1).await;
    desk.round().await;
    let states = desk.states(case).await;
    assert_eq!(states[1..], [("accepted", None), ("queued", Some(Reason::Budget))]);
    assert_eq!(desk.states(other).await, [("accepted", None)]);
    let (brakes, now) = (desk.brakes.clone(), desk.clock.now());
    let left = desk.books(move |books| brakes.budgets_left(books, now)).await;
    assert_eq!(left, [("nightly".to_owned(), 0)]);
}

#[tokio::test]
async fn people_are_not_made_to_look_at_more_failures_than_they_agreed_to() {
    let mut desk = Desk::new().await;
    desk.brakes
        .budgets
        .insert("attention".into(), budget(Counted::Failures, BudgetScope::Project, 3));
    let case = desk.asks("r", "linux", &[1, 2, 3, 4], 1).await;
    desk.round().await;
    let (sent, waits) = (("accepted", None), ("queued", Some(Reason::Attention)));
    assert_eq!(desk.states(case).await, [sent, sent, sent, waits], "all three may fail");
    let ended = |slot: u32, outcome| {
        let task = format!("task-of-{case}.1.{slot}");
        run_of(
            &task,
            &format!("run{slot}"),
            RunState::Finished(outcome),
            None,
            desk.clock.now(),
        )
    };
    let failed = ended(1, Outcome::Failed);
    desk.books(move |books| books.record_runs(&[&failed])).await;
    desk.wait(2 * MINUTE);
    desk.round().await;
    assert_eq!(desk.states(case).await[3], waits, "one failed, two may yet");
    let passed = ended(2, Outcome::Passed);
    desk.books(move |books| books.record_runs(&[&passed])).await;
    desk.wait(2 * MINUTE);
    desk.round().await;
    assert_eq!(desk.states(case).await[3], sent, "a green one is nothing to look at");
}

#[tokio::test]
async fn what_a_person_opened_goes_first_then_searches_then_the_rest() {
    let mut desk = Desk::new().await;
    desk.brakes.limits.concurrency = 1;
    desk.asks_for(hunt("hunt"), &[1], 1).await;
    desk.asks("search", "linux", &[1], 1).await;
    let by_hand = CaseRow {
        cause: Cause::Person {
            name: "somebody".into(),
        },
        ..hunt("")
    };
    desk.asks_for(by_hand, &[1], 1).await;
    for _ in 0..3 {
        desk.round().await;
    }
    assert_eq!(desk.ci.reached(), ["C3.1.1", "C2.1.1", "C1.1.1"]);
}

#[tokio::test]
async fn a_rule_that_was_served_comes_after_those_that_were_not() {
    let mut desk = Desk::new().await;
    desk.brakes.limits.concurrency = 1;
    desk.asks("greedy", "linux", &[1, 2, 3, 4], 1).await;
    desk.asks("modest", "linux", &[1, 2], 1).await;
    for _ in 0..6 {
        desk.round().await;
    }
    let turns = ["C1.1.1", "C2.1.1", "C1.1.2", "C2.1.2", "C1.1.3", "C1.1.4"];
    assert_eq!(desk.ci.reached(), turns, "one at a time, and still in turns");
}

#[tokio::test]
async fn a_large_request_is_not_overtaken_by_small_ones_for_ever() {
    let mut desk = Desk::new().await;
    desk.brakes.limits.jobs_per_hour = Some(10);
    desk.brakes.limits.jobs_per_label_per_day = None;
    desk.asks("small", "linux", &[1, 2, 3, 4, 5], 1).await;
    desk.round().await;
    let large = desk.asks("large", "linux", &[6], 9).await;
    for minute in 0..180u64 {
        desk.wait(MINUTE);
        if minute % 10 == 0 {
            desk.asks("small", "linux", &[100 + minute], 1).await;
        }
        desk.round().await;
    }
    assert_eq!(desk.states(large).await, [("accepted", None)]);
}

#[tokio::test]
async fn a_request_too_large_for_its_limit_holds_up_nobody() {
    let mut desk = Desk::new().await;
    desk.brakes.limits.jobs_per_hour = Some(10);
    let large = desk.asks("large", "linux", &[1], 11).await;
    for _ in 0..10 {
        desk.wait(30 * MINUTE);
        desk.round().await;
    }
    let small = desk.asks("small", "linux", &[2], 10).await;
    desk.round().await;
    assert_eq!(desk.states(large).await, [("queued", Some(Reason::Limit))]);
    assert_eq!(desk.states(small).await, [("accepted", None)]);
}

#[tokio::test]
async fn requests_that_were_turned_away_count_against_the_rate_as_well() {
    let mut desk = Desk::new().await;
    desk.brakes.limits.requests_per_second = 2.0;
    desk.asks("r", "linux", &(1..=6).collect::<Vec<_>>(), 1).await;
    for _ in 0..2 {
        desk.ci.will_answer(Err(sheriffd::backends::RequestError::Busy {
            retry_after: None,
            detail: "HTTP 429".into(),
        }));
    }
    desk.round().await;
    desk.round().await;
    assert_eq!(desk.ci.reached().len(), 2, "time stands still");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_daemons_on_one_file_share_every_account() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("books.db");
    let mut desk = Desk::new().await;
    desk.store = Handle::start(SqliteStore::open(&path).unwrap()).unwrap();
    desk.brakes.limits.jobs_per_hour = Some(30);
    desk.brakes.limits.concurrency = 4;
    desk.asks("r", "linux", &(1..=60).collect::<Vec<_>>(), 1).await;
    let rounds = (0..4).map(|_| {
        let store = Handle::start(SqliteStore::open(&path).unwrap()).unwrap();
        let ci = Arc::new(desk.ci.clone());
        let dispatcher = Dispatcher::new(store, ci, desk.clock.clone(), DispatchSettings::default());
        let brakes = desk.brakes.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                dispatcher.round(&brakes).await.unwrap();
            }
        })
    });
    for round in rounds.collect::<Vec<_>>() {
        round.await.unwrap();
    }
    let mut reached = desk.ci.reached();
    assert_eq!(reached.len(), 30, "as many as the limit says, and not one more");
    reached.sort();
    reached.dedup();
    assert_eq!(reached.len(), 30, "each once");
}

/// A request of a world: its rule, whether it is a hunt, how many jobs, how long after the one before.
fn requests() -> impl Strategy<Value = Vec<(u8, bool, u32, u64)>> {
    prop::collection::vec((0u8..4, any::<bool>(), 1u32..8, 0u64..40), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Law: every request is sent at last, and not later than the account needs for all that was decided before it, a
    /// day at most for each fill of it; and no hour has more jobs than its limit.
    #[test]
    fn nobody_starves_and_no_hour_has_too_many_jobs(world in requests(), limit in 8u64..20) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut desk = Desk::new().await;
            desk.brakes.limits.jobs_per_hour = Some(limit);
            desk.brakes.limits.jobs_per_day = None;
            desk.brakes.limits.jobs_per_label_per_day = None;
            let mut cases = Vec::new();
            for (number, (rule, is_hunt, jobs, pause)) in world.iter().enumerate() {
                desk.wait(MINUTE * *pause as u32);
                let rule = format!("rule{rule}");
                let row = if *is_hunt { hunt(&rule) } else { case(&rule, "linux") };
                let row = CaseRow { label: Label::from(format!("L{number}")), ..row };
                cases.push(desk.asks_for(row, &[number as u64 + 1], *jobs).await);
                desk.round().await;
            }
            let all: u64 = world.iter().map(|request| u64::from(request.2)).sum();
            // Half of the limit fits into every hour at least: no request is larger than that and the rest is reserved.
            let hours = 3 + 2 * all.div_ceil(limit / 2);
            let mut sent_in_time = false;
            for _ in 0..hours * 4 {
                desk.wait(15 * MINUTE);
                desk.round().await;
                if desk.ci.reached().len() == world.len() {
                    sent_in_time = true;
                    break;
                }
            }
            assert!(sent_in_time, "{} of {} after {hours} hours", desk.ci.reached().len(), world.len());
            let sent = desk
                .books(move |books| {
                    let mut sent = Vec::new();
                    for case in cases {
                        sent.extend(books.actions_of(case)?.into_iter().map(|row| (row.sent_at, row.times)));
                    }
                    Ok(sent)
                })
                .await;
            for (start, _) in &sent {
                let within = sent.iter().filter(|(at, _)| *at >= *start && at.unwrap().since(start.unwrap()) < HOUR);
                let jobs: u64 = within.map(|(_, times)| u64::from(*times)).sum();
                assert!(jobs <= limit, "{jobs} in an hour");
            }
        });
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_or_forward_neither_stops_nor_floods() {
    let mut desk = Desk::new().await;
    desk.brakes.limits.requests_per_second = 1.0;
    desk.brakes.limits.jobs_per_hour = Some(3);
    let case = desk.asks("r", "linux", &(1..=6).collect::<Vec<_>>(), 1).await;
    desk.round().await;
    assert_eq!(desk.ci.reached().len(), 1);
    let an_hour_ago = desk.clock.now().minus(HOUR);
    desk.clock.set(an_hour_ago);
    for _ in 0..6 {
        desk.wait(Duration::from_secs(61));
        desk.round().await;
    }
    let sent = desk.ci.reached().len();
    assert!(sent <= 3, "{sent} although the hour allows 3");
    desk.wait(5 * HOUR);
    for _ in 0..6 {
        desk.wait(MINUTE);
        desk.round().await;
    }
    assert_eq!(desk.ci.reached().len(), 3 + sent, "it goes on");
    assert_eq!(desk.states(case).await.len(), 6);
}

#[tokio::test]
async fn builds_that_an_action_pulled_in_are_charged_once_they_are_seen() {
    let desk = Desk::new().await;
    desk.asks("r", "linux", &[1], 1).await;
    desk.round().await;
    let now = desk.clock.now();
    let test = run_of("task-of-C1.1.1", "test", RunState::Pending, None, now);
    let mut build = run_of("task-of-C1.1.1", "build", RunState::Pending, None, now);
    build.facts.label = Some(Label::from("build-linux/opt"));
    build.run.task = TaskId::from("build");
    desk.books(move |books| books.record_runs(&[&test, &build])).await;
    let spent = desk
        .books(|books| {
            use sheriffd::store::sqlite::{Account, Measure};
            books.spent(&Account::All, Measure::Jobs, sheriffd::event::Timestamp(0))
        })
        .await;
    assert_eq!(spent, 2);
}

/// The history knows that `L` needs a build, and how long they take: an hour, and two.
async fn with_a_build(desk: &Desk) {
    let ended = RunState::Finished(Outcome::Passed);
    let now = desk.clock.now();
    let mut test = run_of("push", "test-5", ended, Some(60), now);
    let mut build = run_of("push", "build-5", ended, Some(120), now);
    build.facts.label = Some(Label::from(BUILD));
    test.facts.needs = Some(vec![TaskId::from("image-5"), TaskId::from("build-5")]);
    for run in [&mut test, &mut build] {
        run.facts.push = Some(PushId(5));
        run.facts.caused_by = CausedBy::Push;
    }
    desk.books(move |books| books.record_runs(&[&build, &test])).await;
}

const BUILD: &str = "build-linux/opt";

/// Jobs and minutes of machine time that are charged.
async fn charged(desk: &Desk) -> (u64, u64) {
    desk.books(|books| {
        let jobs = books.spent(&Account::All, Measure::Jobs, Timestamp(0))?;
        let machine_ms = books.spent(&Account::All, Measure::MachineTime, Timestamp(0))?;
        Ok((jobs, machine_ms / 60_000))
    })
    .await
}

#[tokio::test]
async fn a_build_that_is_not_there_is_reserved_with_the_tests_and_settled_by_what_came() {
    let mut desk = Desk::new().await;
    with_a_build(&desk).await;
    desk.brakes.limits.machine_hours_per_day = Some(4);
    let case = desk.asks("r", "linux", &[1], 1).await;
    let next = desk.asks("r", "linux", &[2], 1).await;
    desk.round().await;
    assert_eq!(charged(&desk).await, (2, 180));
    assert_eq!(desk.states(case).await, [("accepted", None)]);
    let waits = [("queued", Some(Reason::Limit))];
    assert_eq!(desk.states(next).await, waits, "the tests alone would fit");
    let requests = desk.books(move |books| books.case_requests(case.0)).await;
    assert_eq!(requests[0]["builds"], serde_json::json!([BUILD]));
    let is_asked_for =
        |push| desk.books(move |books| books.is_asked_for(&"autoland".into(), &BUILD.into(), PushId(push)));
    assert!(is_asked_for(1).await, "whose it is will be found out");
    assert!(!is_asked_for(3).await);

    let (ended, now) = (RunState::Finished(Outcome::Passed), desk.clock.now());
    let mut build = run_of("task-of-C1.1.1", "build-1", ended, Some(45), now);
    build.facts.label = Some(Label::from(BUILD));
    desk.books(move |books| books.record_runs(&[&build])).await;
    assert_eq!(
        charged(&desk).await,
        (2, 105),
        "the test as estimated, the build as it was"
    );
    desk.wait(2 * MINUTE);
    desk.round().await;
    assert_eq!(desk.states(next).await, waits);
    let test = run_of("task-of-C1.1.1", "test-1", ended, Some(10), now);
    desk.books(move |books| books.record_runs(&[&test])).await;
    assert_eq!(charged(&desk).await, (2, 55));
    desk.wait(2 * MINUTE);
    desk.round().await;
    assert_eq!(desk.states(next).await, [("accepted", None)]);
}

#[tokio::test]
async fn a_build_that_is_there_or_reserved_already_is_not_reserved() {
    let desk = Desk::new().await;
    with_a_build(&desk).await;
    desk.asks("r", "linux", &[5], 1).await;
    desk.round().await;
    assert_eq!(charged(&desk).await, (1, 60), "the build ran on push 5");
    desk.asks("r", "linux", &[1], 1).await;
    desk.asks("r", "linux", &[1], 2).await;
    desk.round().await;
    assert_eq!(charged(&desk).await, (1 + 2 + 2, 60 + 180 + 120), "one build for both");
}

#[tokio::test]
async fn a_build_that_did_not_come_costs_nothing_once_the_tests_have_ended() {
    let desk = Desk::new().await;
    with_a_build(&desk).await;
    desk.asks("r", "linux", &[1], 1).await;
    desk.round().await;
    let test = run_of(
        "task-of-C1.1.1",
        "test-1",
        RunState::Finished(Outcome::Passed),
        Some(10),
        desk.clock.now(),
    );
    desk.books(move |books| books.record_runs(&[&test])).await;
    assert_eq!(charged(&desk).await, (1, 10));
}

#[tokio::test]
async fn a_case_gets_no_more_jobs_than_it_may_have_the_builds_counted() {
    let desk = Desk::new().await;
    with_a_build(&desk).await;
    let params = FindCulpritParams {
        max_jobs: 3,
        ..FindCulpritParams::default()
    };
    let small = CaseRow {
        params: CaseParams::FindCulprit(params),
        ..case("r", "linux")
    };
    let case = desk.asks_for(small, &[1, 2], 1).await;
    desk.round().await;
    let dropped = ("dropped", Some(Reason::MaxJobs));
    assert_eq!(desk.states(case).await, [("accepted", None), dropped]);
    let requests = desk.books(move |books| books.case_requests(case.0)).await;
    let words = requests[1]["detail"].as_str().unwrap_or_default();
    assert!(words.contains(BUILD), "{words}");
    let now = desk.clock.now();
    assert_eq!(
        desk.books(move |books| books.waking(now, 9)).await,
        [case],
        "its case hears of it"
    );
}
