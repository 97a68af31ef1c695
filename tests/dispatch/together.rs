//! Several labels of one case on one push go out with one call, and each keeps its own fate.

use sheriffd::backends::{Found, RequestError};
use sheriffd::clock::Clock as _;
use sheriffd::engine::ledger::{Actions as _, Runs as _};
use sheriffd::event::{ActionKey, CaseId, JobEvent, Label, Outcome, PushId, Reason, RunState};

use crate::appear::run_of;
use crate::desk::{Desk, HOUR, MINUTE, START, receipt};

const LABELS: [&str; 5] = ["A", "B", "C", "D", "E"];

async fn desk() -> Desk {
    let desk = Desk::new().await;
    desk.ci.takes_together(50);
    desk
}

/// A case asks for these labels with one call, and the answer is lost.
async fn asks_and_hears_nothing(desk: &Desk, labels: &[&str]) -> CaseId {
    let case = desk.asks_labels("r", labels, 7).await;
    for _ in labels {
        desk.ci
            .will_answer(Err(RequestError::InDoubt("connection lost".into())));
    }
    desk.round().await;
    case
}

#[tokio::test]
async fn labels_of_a_case_on_a_push_are_one_call_with_a_receipt_for_each() {
    let desk = desk().await;
    let case = desk.asks_labels("r", &LABELS, 7).await;
    let other = desk.asks_labels("r", &["A"], 7).await;
    let round = desk.round().await;
    desk.round().await;
    let mut calls = desk.ci.calls();
    calls.sort_unstable();
    assert_eq!(calls, [1, 5], "another case's request is a call of its own");
    assert_eq!(round.done.len(), 6);
    assert_eq!(desk.states(case).await, [("accepted", None); 5]);
    assert_eq!(desk.states(other).await, [("accepted", None)]);
}

#[tokio::test]
async fn one_call_counts_once_against_the_rate_and_its_jobs_each_against_the_limits() {
    let mut desk = desk().await;
    desk.brakes.limits.requests_per_second = 1.0;
    desk.brakes.limits.jobs_per_hour = Some(8);
    let first = desk.asks_labels("r", &LABELS, 7).await;
    let second = desk.asks_labels("r", &LABELS, 8).await;
    desk.round().await;
    assert_eq!(desk.ci.calls(), [5], "one call a second");
    assert_eq!(desk.states(first).await, [("accepted", None); 5]);
    desk.wait(2 * MINUTE);
    desk.round().await;
    assert_eq!(desk.ci.calls(), [5, 3], "three jobs are left of eight");
    let waiting = desk.states(second).await;
    assert_eq!(
        waiting
            .iter()
            .filter(|state| **state == ("queued", Some(Reason::Limit)))
            .count(),
        2
    );
    desk.wait(HOUR);
    desk.round().await;
    assert_eq!(desk.ci.reached().len(), 10);
}

#[tokio::test]
async fn an_unknown_label_is_refused_and_spoils_only_itself() {
    let desk = desk().await;
    let case = desk.asks_labels("r", &["A", "B", "C"], 7).await;
    desk.ci.will_answer(Ok(receipt("T")));
    desk.ci
        .will_answer(Err(RequestError::NotPossible("no such label".into())));
    desk.ci.will_answer(Ok(receipt("T")));
    desk.round().await;
    assert_eq!(
        desk.states(case).await,
        [
            ("accepted", None),
            ("refused", Some(Reason::NotPossible)),
            ("accepted", None)
        ]
    );
}

#[tokio::test]
async fn what_the_ci_refuses_together_is_asked_for_one_by_one() {
    let desk = desk().await;
    desk.ci.refuses_together();
    let case = desk.asks_labels("r", &["A", "B", "C"], 7).await;
    desk.round().await;
    assert_eq!(desk.states(case).await, [("queued", Some(Reason::NotPossible)); 3]);
    desk.ci
        .will_answer(Err(RequestError::NotPossible("A does not exist".into())));
    desk.round().await;
    assert_eq!(desk.ci.calls(), [3, 1, 1, 1], "at once, and never together again");
    let mut states = desk.states(case).await;
    states.sort_by_key(|state| state.0);
    assert_eq!(
        states,
        [
            ("accepted", None),
            ("accepted", None),
            ("refused", Some(Reason::NotPossible))
        ]
    );
}

#[tokio::test]
async fn a_lost_answer_leaves_each_in_doubt_and_what_was_done_is_not_asked_again() {
    let desk = desk().await;
    let case = asks_and_hears_nothing(&desk, &["A", "B", "C"]).await;
    assert_eq!(desk.states(case).await, [("in-doubt", Some(Reason::InDoubt)); 3]);
    // They share the task that was found; that is no other request's.
    for _ in 0..3 {
        desk.ci.will_find(Found::Done(receipt("T")));
    }
    desk.wait(2 * MINUTE);
    desk.round().await;
    assert_eq!(desk.states(case).await, [("accepted", None); 3]);
    assert_eq!(desk.ci.calls(), [3]);
}

#[tokio::test]
async fn what_never_arrived_is_asked_for_again_once_each() {
    let desk = desk().await;
    let case = asks_and_hears_nothing(&desk, &["A", "B"]).await;
    desk.ci.will_find(Found::NotDone);
    desk.ci.will_find(Found::Done(receipt("T")));
    desk.wait(2 * MINUTE);
    desk.round().await;
    desk.wait(10 * MINUTE);
    desk.round().await;
    assert_eq!(desk.states(case).await, [("accepted", None); 2]);
    assert_eq!(desk.ci.calls(), [2, 1], "only what was not done");
}

#[tokio::test]
async fn a_dispatcher_that_died_in_the_middle_of_a_call_leaves_requests_that_are_looked_for_first() {
    let desk = desk().await;
    let case = desk.asks_labels("r", &["A", "B", "C"], 7).await;
    let now = desk.clock.now();
    desk.books(move |books| {
        for slot in 1..=3 {
            let key = ActionKey { case, step: 1, slot };
            assert!(books.begin_sending(key, "ci", 0, now, now.plus(MINUTE))?);
        }
        Ok(())
    })
    .await;
    desk.round().await;
    assert!(desk.ci.calls().is_empty(), "the lease still runs");
    desk.sees_a_lease_run_out().await;
    for _ in 0..3 {
        desk.ci.will_find(Found::Done(receipt("T")));
    }
    desk.round().await;
    assert_eq!(desk.states(case).await, [("accepted", None); 3]);
    assert!(desk.ci.calls().is_empty(), "they were there already");
}

#[tokio::test]
async fn the_same_label_of_another_request_is_no_answer_to_this_one() {
    let desk = desk().await;
    desk.asks_labels("r", &["A", "B"], 7).await;
    desk.round().await;
    let second = desk.asks_labels("r", &["A"], 7).await;
    desk.ci
        .will_answer(Err(RequestError::InDoubt("connection lost".into())));
    desk.round().await;
    desk.ci.will_find(Found::Done(receipt("task-of-C1.1.1")));
    desk.wait(2 * MINUTE);
    desk.round().await;
    assert_eq!(desk.states(second).await, [("in-doubt", Some(Reason::InDoubt))]);
}

#[tokio::test]
async fn a_run_that_comes_before_its_own_receipt_is_known_is_not_its_mates_for_ever() {
    let desk = desk().await;
    let case = asks_and_hears_nothing(&desk, &["A", "B"]).await;
    desk.ci.will_find(Found::Done(receipt("T")));
    desk.ci.will_find(Found::CannotTell("not now".into()));
    desk.wait(2 * MINUTE);
    desk.round().await;
    desk.books(|books| books.record_runs(&[&run("t1", "B", "T")])).await;
    let arrived = || async {
        desk.books(move |books| books.actions_of(case))
            .await
            .into_iter()
            .map(|action| action.arrived)
            .collect::<Vec<_>>()
    };
    assert_eq!(arrived().await, [1, 0], "whose it is nobody can know yet");
    desk.ci.will_find(Found::Done(receipt("T")));
    desk.wait(10 * MINUTE);
    desk.round().await;
    assert_eq!(desk.states(case).await, [("accepted", None); 2]);
    assert_eq!(arrived().await, [0, 1]);
    let requests = desk.books(move |books| books.case_requests(case.0)).await;
    let charged: Vec<u64> = requests
        .iter()
        .filter_map(|request| request["charged"].as_u64())
        .collect();
    assert_eq!(charged, [1, 1]);
}

/// A run of ours as its message tells of it.
fn run(task: &str, label: &str, parent: &str) -> JobEvent {
    let mut run = run_of(parent, task, RunState::Finished(Outcome::Passed), None, START);
    run.facts.label = Some(Label::from(label));
    run.facts.push = Some(PushId(7));
    run
}

#[tokio::test]
async fn runs_of_one_action_task_are_each_the_work_of_the_request_for_their_label() {
    let desk = desk().await;
    let case = desk.asks_labels("r", &["A", "B", "C"], 7).await;
    desk.round().await;
    let arrived = desk
        .books(move |books| {
            for (task, label) in [("t1", "B"), ("t2", "C"), ("t3", "a-build")] {
                books.record_runs(&[&run(task, label, "task-of-C1.1.1")])?;
            }
            books.actions_of(case)
        })
        .await;
    let arrived: Vec<u32> = arrived.iter().map(|action| action.arrived).collect();
    assert_eq!(arrived, [1, 1, 1], "a build that was made along is the first request's");
}
