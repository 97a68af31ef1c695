//! What goes out, what is held back, and what becomes of a request whose answer was lost.

use sheriffd::backends::{Found, RequestError};
use sheriffd::clock::Clock as _;
use sheriffd::dispatch::{DispatchSettings, Dispatcher, Outcome};
use sheriffd::engine::ledger::Cases as _;
use sheriffd::event::{ActionKey, Duration, Reason, Timestamp};
use sheriffd::rules::{Budget, BudgetScope, Counted};
use sheriffd::store::sqlite::{PauseEffect, PauseScope};

use crate::desk::{Desk, HOUR, MINUTE, receipt};
use std::sync::Arc;

#[tokio::test]
async fn each_request_goes_out_once() {
    let desk = Desk::new().await;
    let case = desk.asks("r", "linux", &[1, 2, 3], 1).await;
    desk.round().await;
    desk.round().await;
    assert_eq!(desk.ci.reached(), ["C1.1.1", "C1.1.2", "C1.1.3"]);
    assert_eq!(desk.states(case).await, [("accepted", None); 3]);
}

#[tokio::test]
async fn two_dispatchers_on_one_store_ask_once_together() {
    let desk = Desk::new().await;
    desk.asks("r", "linux", &(1..=50).collect::<Vec<_>>(), 1).await;
    let other = Dispatcher::new(
        desk.store.clone(),
        Arc::new(desk.ci.clone()),
        desk.clock.clone(),
        DispatchSettings::default(),
    );
    let (a, b) = tokio::join!(desk.dispatcher.round(&desk.brakes), other.round(&desk.brakes));
    assert_eq!(a.unwrap().done.len() + b.unwrap().done.len(), 50);
    let mut reached = desk.ci.reached();
    reached.sort();
    reached.dedup();
    assert_eq!(reached.len(), 50);
}

#[tokio::test]
async fn a_request_the_ci_cannot_do_is_over_and_costs_nothing() {
    let desk = Desk::new().await;
    let case = desk.asks("r", "linux", &[1], 5).await;
    desk.ci
        .will_answer(Err(RequestError::NotPossible("no such label".into())));
    desk.round().await;
    desk.wait(HOUR);
    desk.round().await;
    assert_eq!(desk.states(case).await, [("refused", Some(Reason::NotPossible))]);
    assert_eq!(desk.ci.reached().len(), 1);
    let waking = desk
        .store
        .with(|store| store.transact(|books| books.waking(Timestamp(i64::MAX), 9)))
        .await
        .unwrap();
    assert_eq!(waking, [case], "its case hears of it");
}

#[tokio::test]
async fn a_busy_ci_is_asked_again_not_before_it_said() {
    let desk = Desk::new().await;
    let case = desk.asks("r", "linux", &[1], 1).await;
    let busy = RequestError::Busy {
        retry_after: Some(10 * MINUTE),
        detail: "HTTP 429".into(),
    };
    desk.ci.will_answer(Err(busy));
    desk.round().await;
    assert_eq!(desk.states(case).await, [("queued", Some(Reason::BackendBusy))]);
    desk.wait(9 * MINUTE);
    desk.round().await;
    assert_eq!(desk.ci.reached().len(), 1);
    desk.wait(2 * MINUTE);
    desk.round().await;
    assert_eq!(desk.ci.reached().len(), 2);
    assert_eq!(desk.states(case).await, [("accepted", None)]);
}

#[tokio::test]
async fn refused_credentials_hold_requests_back_until_they_work() {
    let desk = Desk::new().await;
    let case = desk.asks("r", "linux", &[1], 1).await;
    desk.ci
        .will_answer(Err(RequestError::Refused("missing scope hooks:trigger-hook:x".into())));
    desk.round().await;
    assert_eq!(desk.states(case).await, [("queued", Some(Reason::BackendRefused))]);
    desk.wait(HOUR);
    desk.round().await;
    assert_eq!(desk.states(case).await, [("accepted", None)]);
}

#[tokio::test]
async fn a_push_without_a_decision_task_is_waited_for_and_then_given_up() {
    let desk = Desk::new().await;
    let case = desk.asks("r", "linux", &[1], 1).await;
    for _ in 0..20 {
        desk.ci
            .will_answer(Err(RequestError::NotYet("no decision task".into())));
    }
    desk.round().await;
    assert_eq!(desk.states(case).await, [("queued", Some(Reason::NotYet))]);
    for _ in 0..4 {
        desk.wait(HOUR);
        desk.round().await;
    }
    assert_eq!(desk.states(case).await, [("refused", Some(Reason::NotPossible))]);
}

#[tokio::test]
async fn a_lost_answer_is_looked_for_and_what_was_done_is_not_asked_again() {
    let desk = Desk::new().await;
    let case = desk.asks("r", "linux", &[1], 1).await;
    desk.ci
        .will_answer(Err(RequestError::InDoubt("connection lost".into())));
    desk.round().await;
    assert_eq!(desk.states(case).await, [("in-doubt", Some(Reason::InDoubt))]);
    desk.ci.will_find(Found::Done(receipt("found")));
    desk.wait(2 * MINUTE);
    desk.round().await;
    assert_eq!(desk.states(case).await, [("accepted", None)]);
    assert_eq!(desk.ci.reached().len(), 1);
}

#[tokio::test]
async fn a_lost_answer_to_a_request_that_never_arrived_is_asked_again() {
    let desk = Desk::new().await;
    let case = desk.asks("r", "linux", &[1], 1).await;
    desk.ci
        .will_answer(Err(RequestError::InDoubt("connection lost".into())));
    desk.round().await;
    desk.ci.will_find(Found::NotDone);
    desk.wait(2 * MINUTE);
    desk.round().await;
    desk.wait(10 * MINUTE);
    desk.round().await;
    assert_eq!(desk.states(case).await, [("accepted", None)]);
    assert_eq!(desk.ci.reached().len(), 2);
}

#[tokio::test]
async fn a_request_that_was_looked_for_in_vain_for_long_is_sent_again_without_a_further_rest() {
    let desk = Desk::new().await;
    desk.asks("r", "linux", &[1], 1).await;
    desk.ci.will_answer(Err(RequestError::InDoubt("no answer".into())));
    desk.round().await;
    for _ in 0..3 {
        desk.wait(2 * MINUTE);
        desk.ci.will_find(Found::CannotTell("too early to say".into()));
        desk.round().await;
    }
    desk.wait(2 * MINUTE);
    desk.ci.will_find(Found::NotDone);
    desk.round().await;
    desk.wait(MINUTE);
    desk.round().await;
    assert_eq!(desk.ci.reached().len(), 2);
}

#[tokio::test]
async fn what_the_ci_cannot_tell_of_is_never_asked_again_unless_that_is_configured() {
    for (ask_again, reached) in [(false, 1), (true, 2)] {
        let desk = Desk::with(DispatchSettings {
            ask_again,
            looks: 3,
            ..DispatchSettings::default()
        })
        .await;
        desk.asks("r", "linux", &[1], 1).await;
        desk.ci
            .will_answer(Err(RequestError::InDoubt("connection lost".into())));
        desk.round().await;
        for _ in 0..8 {
            desk.ci.will_find(Found::CannotTell("no index".into()));
            desk.wait(2 * HOUR);
            desk.round().await;
        }
        assert_eq!(desk.ci.reached().len(), reached, "ask_again = {ask_again}");
    }
}

#[tokio::test]
async fn what_another_request_led_to_is_no_answer_to_this_one() {
    let desk = Desk::new().await;
    let first = desk.asks("r", "linux", &[1], 1).await;
    desk.round().await;
    let second = desk.asks("r", "linux", &[1], 1).await;
    desk.ci
        .will_answer(Err(RequestError::InDoubt("connection lost".into())));
    desk.round().await;
    desk.ci.will_find(Found::Done(receipt(&format!("task-of-{first}.1.1"))));
    desk.wait(2 * MINUTE);
    desk.round().await;
    assert_eq!(desk.states(second).await, [("in-doubt", Some(Reason::InDoubt))]);
}

#[tokio::test]
async fn a_dispatcher_that_died_while_sending_leaves_a_request_that_is_looked_for_first() {
    let desk = Desk::new().await;
    let case = desk.asks("r", "linux", &[1], 1).await;
    let now = desk.clock.now();
    desk.store
        .with(move |store| {
            store.transact(|books| {
                let key = ActionKey { case, step: 1, slot: 1 };
                books.begin_sending(key, "ci", 0, now, now.plus(MINUTE)).map(drop)
            })
        })
        .await
        .unwrap();
    desk.round().await;
    assert!(desk.ci.reached().is_empty(), "its lease still runs");
    desk.sees_a_lease_run_out().await;
    desk.ci.will_find(Found::Done(receipt("found")));
    desk.round().await;
    assert_eq!(desk.states(case).await, [("accepted", None)]);
    assert!(desk.ci.reached().is_empty(), "it was there already");
}

#[tokio::test]
async fn a_process_with_another_clock_does_not_take_what_is_being_sent_for_forgotten() {
    let desk = Desk::new().await;
    let case = desk.asks("r", "linux", &[1], 1).await;
    let now = desk.clock.now();
    desk.books(move |books| {
        let key = ActionKey { case, step: 1, slot: 1 };
        books.begin_sending(key, "ci", 0, now, now.plus(5 * MINUTE))
    })
    .await;
    // The clock of this one is an hour ahead of the other's: for it the lease is long over. Nobody looks, or the CI panics.
    desk.wait(HOUR);
    desk.round().await;
    desk.wait(4 * MINUTE);
    desk.round().await;
    assert_eq!(desk.states(case).await, [("sending", None)]);
    // It has seen it for five minutes now: whoever sent it is gone.
    desk.wait(MINUTE);
    desk.ci.will_find(Found::Done(receipt("found")));
    desk.round().await;
    assert_eq!(desk.states(case).await, [("accepted", None)]);
}

#[tokio::test]
async fn no_more_jobs_go_out_than_the_limits_allow() {
    let mut desk = Desk::new().await;
    desk.brakes.limits.jobs_per_hour = Some(7);
    let case = desk.asks("r", "linux", &[1, 2, 3, 4], 3).await;
    let round = desk.round().await;
    assert_eq!(desk.ci.reached().len(), 2, "3 + 3, and another 3 would be 9");
    assert_eq!(round.held.len(), 2);
    assert_eq!(desk.states(case).await[2], ("queued", Some(Reason::Limit)));
    desk.wait(HOUR + MINUTE);
    desk.round().await;
    assert_eq!(desk.ci.reached().len(), 4, "an hour later there is room again");
}

#[tokio::test]
async fn a_push_gets_no_more_jobs_than_its_limit_ever() {
    let mut desk = Desk::new().await;
    desk.brakes.limits.jobs_per_push = Some(4);
    desk.asks("r", "linux", &[1, 1, 2], 3).await;
    desk.round().await;
    desk.wait(1_000 * HOUR);
    desk.round().await;
    assert_eq!(desk.ci.reached(), ["C1.1.1", "C1.1.3"]);
}

#[tokio::test]
async fn a_budget_is_an_account_for_each_platform() {
    let mut desk = Desk::new().await;
    let budget = Budget {
        name: "nightly".into(),
        counts: Counted::Jobs,
        per: BudgetScope::Platform,
        default: Some(0),
        special: [("linux".to_owned(), 2), ("mac".to_owned(), 1)].into(),
    };
    desk.brakes.budgets.insert("nightly".into(), budget);
    let linux = desk.asks("r", "linux64", &[1, 2, 3], 1).await;
    let mac = desk.asks("r", "macosx", &[1, 2], 1).await;
    let android = desk.asks("r", "android", &[1], 1).await;
    desk.round().await;
    let words = |states: Vec<(&'static str, Option<Reason>)>| states.iter().map(|state| state.0).collect::<Vec<_>>();
    assert_eq!(words(desk.states(linux).await), ["accepted", "accepted", "queued"]);
    assert_eq!(words(desk.states(mac).await), ["accepted", "queued"]);
    assert_eq!(desk.states(android).await, [("queued", Some(Reason::Budget))]);
}

#[tokio::test]
async fn what_is_left_of_a_budget_is_that_of_the_account_with_the_least() {
    let mut desk = Desk::new().await;
    let budget = Budget {
        name: "nightly".into(),
        counts: Counted::Jobs,
        per: BudgetScope::Platform,
        default: Some(50),
        special: [("linux".to_owned(), 10)].into(),
    };
    desk.brakes.budgets.insert("nightly".into(), budget);
    let left = |desk: &Desk| {
        let (store, brakes, now) = (desk.store.clone(), desk.brakes.clone(), desk.clock.now());
        async move {
            store
                .with(move |store| store.transact(|books| brakes.budgets_left(books, now)))
                .await
                .unwrap()
        }
    };
    assert_eq!(left(&desk).await, [("nightly".to_owned(), 10)], "nothing is spent");
    desk.asks("r", "linux64", &[1, 2], 3).await;
    desk.asks("r", "android", &[1], 2).await;
    desk.round().await;
    assert_eq!(left(&desk).await, [("nightly".to_owned(), 4)]);
    desk.wait(25 * HOUR);
    assert_eq!(left(&desk).await, [("nightly".to_owned(), 10)], "a day later");
}

#[tokio::test]
async fn requests_keep_to_the_rate() {
    let mut desk = Desk::new().await;
    desk.brakes.limits.requests_per_second = 2.0;
    desk.asks("r", "linux", &(1..=10).collect::<Vec<_>>(), 1).await;
    desk.round().await;
    desk.round().await;
    assert_eq!(desk.ci.reached().len(), 2, "time stands still");
    desk.wait(Duration::from_millis(1_001));
    desk.round().await;
    assert_eq!(desk.ci.reached().len(), 4);
    desk.brakes.limits.requests_per_second = 0.1;
    desk.wait(Duration::from_secs(9));
    desk.round().await;
    assert_eq!(desk.ci.reached().len(), 4, "one in ten seconds");
}

#[tokio::test]
async fn rules_take_turns() {
    let mut desk = Desk::new().await;
    desk.brakes.limits.jobs_per_hour = Some(4);
    desk.asks("greedy", "linux", &(1..=30).collect::<Vec<_>>(), 1).await;
    desk.asks("modest", "linux", &[1, 2], 1).await;
    desk.round().await;
    assert_eq!(desk.ci.reached(), ["C1.1.1", "C2.1.1", "C1.1.2", "C2.1.2"]);
}

#[tokio::test]
async fn what_is_paused_waits_and_goes_out_after_the_resume() {
    for (scope, name) in [
        (PauseScope::All, ""),
        (PauseScope::Rule, "r"),
        (PauseScope::Project, "autoland"),
        (PauseScope::Platform, "linux"),
        (PauseScope::Backend, "ci"),
    ] {
        let desk = Desk::new().await;
        let case = desk.asks("r", "linux", &[1], 1).await;
        desk.pause(scope, name, PauseEffect::Queue).await;
        let round = desk.round().await;
        assert_eq!(round.held.len(), 1, "{scope:?}");
        assert_eq!(desk.states(case).await, [("queued", Some(Reason::Paused))]);
        desk.store
            .with(move |store| store.transact(|books| books.resume(scope, name)))
            .await
            .unwrap();
        desk.wait(MINUTE);
        desk.round().await;
        assert_eq!(desk.ci.reached().len(), 1, "{scope:?}");
    }
}

#[tokio::test]
async fn a_pause_of_something_else_holds_nothing_back() {
    let desk = Desk::new().await;
    desk.asks("r", "linux", &[1], 1).await;
    desk.pause(PauseScope::Project, "try", PauseEffect::Queue).await;
    let round = desk.round().await;
    assert!(matches!(round.done.as_slice(), [(_, _, Outcome::Accepted(_), _)]));
}

#[tokio::test]
async fn two_dispatchers_look_for_a_lost_request_once_together() {
    let desk = Desk::new().await;
    desk.asks("r", "linux", &[1], 1).await;
    desk.ci
        .will_answer(Err(RequestError::InDoubt("connection lost".into())));
    desk.round().await;
    let other = Dispatcher::new(
        desk.store.clone(),
        Arc::new(desk.ci.clone()),
        desk.clock.clone(),
        DispatchSettings::default(),
    );
    desk.wait(2 * MINUTE);
    // A second look would find nobody to answer it.
    desk.ci.will_find(Found::NotDone);
    let (a, b) = tokio::join!(desk.dispatcher.round(&desk.brakes), other.round(&desk.brakes));
    assert_eq!(a.unwrap().done.len() + b.unwrap().done.len(), 1);
}

#[tokio::test]
async fn an_attempt_that_was_taken_over_cannot_put_the_request_back_into_the_queue() {
    let desk = Desk::new().await;
    let case = desk.asks("r", "linux", &[1], 1).await;
    let key = ActionKey { case, step: 1, slot: 1 };
    let now = desk.clock.now();
    desk.store
        .with(move |store| {
            store.transact(|books| {
                books.begin_sending(key, "ci", 0, now, now.plus(MINUTE))?;
                // Its dispatcher does not come back; another one looks, and sends it again.
                let later = now.plus(2 * MINUTE);
                let mut looks = books.doubtful(later, 9)?;
                books.take_doubtful(&mut looks, later.plus(MINUTE))?;
                books.requeue(key, looks[0].attempts, Reason::InDoubt, "the CI never got it", later)?;
                books.begin_sending(key, "ci", 0, later, later.plus(MINUTE))?;
                // Now the first one says that nothing was done.
                books.requeue(key, 1, Reason::BackendBusy, "no connection", later)?;
                books.in_doubt(key, 1, "no answer", later)?;
                books.refused(key, 1, Reason::NotPossible, "no", later)
            })
        })
        .await
        .unwrap();
    assert_eq!(desk.states(case).await, [("sending", None)]);
}

#[tokio::test]
async fn a_ci_that_turns_requests_away_is_asked_no_faster_for_it() {
    let mut desk = Desk::new().await;
    desk.brakes.limits.requests_per_second = 2.0;
    desk.asks("r", "linux", &(1..=10).collect::<Vec<_>>(), 1).await;
    for _ in 0..10 {
        desk.ci.will_answer(Err(RequestError::Busy {
            retry_after: None,
            detail: "HTTP 429".into(),
        }));
    }
    for _ in 0..5 {
        desk.round().await;
    }
    assert_eq!(desk.ci.reached().len(), 2, "time stands still");
}
