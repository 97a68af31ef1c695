//! Where asking does no good, requests wait; and it ends by itself.

use std::sync::Arc;

use sheriffd::backends::RequestError;
use sheriffd::clock::Clock as _;
use sheriffd::dispatch::{Counted, are_credentials_refused, open_breakers};
use sheriffd::engine::ledger::Runs as _;
use sheriffd::event::{CaseId, CausedBy, JobEvent, Label, Outcome, PushId, Reason, RunState, TaskId};
use sheriffd::store::sqlite::{PauseEffect, PauseScope};

use crate::appear::run_of;
use crate::desk::{Desk, HOUR, MINUTE};

/// So many runs of a platform, with this outcome, now.
async fn runs(desk: &Desk, platform: &str, name: &str, count: u32, state: RunState) {
    let now = desk.clock.now();
    let jobs: Vec<JobEvent> = (0..count)
        .map(|number| {
            let mut job = run_of("nobody's", &format!("{name}{number}"), state, None, now);
            job.facts.platform = Some(platform.into());
            job.facts.label = Some(Label::from(format!("test-{platform}")));
            job.facts.push = Some(PushId(5));
            job.facts.parent = Some(TaskId::from("push"));
            job.facts.caused_by = sheriffd::event::CausedBy::Push;
            job
        })
        .collect();
    desk.books(move |books| books.record_runs(&jobs.iter().collect::<Vec<_>>()))
        .await;
}

async fn open(desk: &Desk) -> [(PauseScope, usize); 2] {
    let (brakes, now) = (desk.brakes.clone(), desk.clock.now());
    desk.books(move |books| open_breakers(books, &brakes, "ci", now)).await
}

#[tokio::test]
async fn a_platform_whose_runs_end_by_infrastructure_waits_is_tried_and_opens_again_by_itself() {
    let desk = Desk::new().await;
    runs(&desk, "linux", "bad", 15, RunState::Finished(Outcome::Infra)).await;
    runs(&desk, "linux", "good", 6, RunState::Finished(Outcome::Passed)).await;
    let linux = desk.asks("r", "linux", &[1, 2, 3], 1).await;
    let windows = desk.asks("r", "windows", &[1], 1).await;
    assert_eq!(open(&desk).await, [(PauseScope::Backend, 0), (PauseScope::Platform, 1)]);
    desk.round().await;
    let waits = ("queued", Some(Reason::Breaker));
    assert_eq!(
        desk.states(linux).await,
        [("accepted", None), waits, waits],
        "one tries"
    );
    assert_eq!(desk.states(windows).await, [("accepted", None)]);
    desk.wait(5 * MINUTE);
    desk.round().await;
    assert_eq!(desk.states(linux).await, [("accepted", None), waits, waits]);
    desk.wait(6 * MINUTE);
    desk.round().await;
    assert_eq!(desk.states(linux).await[1..], [("accepted", None), waits]);
    runs(&desk, "linux", "better", 20, RunState::Finished(Outcome::Passed)).await;
    desk.wait(11 * MINUTE);
    desk.round().await;
    assert_eq!(desk.states(linux).await, [("accepted", None); 3]);
    assert_eq!(open(&desk).await, [(PauseScope::Backend, 0), (PauseScope::Platform, 0)]);
}

#[tokio::test]
async fn bad_runs_of_long_ago_hold_nothing_back() {
    let desk = Desk::new().await;
    runs(&desk, "linux", "bad", 30, RunState::Finished(Outcome::Infra)).await;
    desk.wait(2 * HOUR);
    let case = desk.asks("r", "linux", &[1, 2], 1).await;
    desk.round().await;
    assert_eq!(desk.states(case).await, [("accepted", None); 2]);
}

#[tokio::test]
async fn a_backend_that_fails_again_and_again_is_left_alone_and_tried_now_and_then() {
    let desk = Desk::new().await;
    desk.asks("r", "linux", &(1..=20).collect::<Vec<_>>(), 1).await;
    for _ in 0..5 {
        let busy = RequestError::Busy {
            retry_after: None,
            detail: "HTTP 503".into(),
        };
        desk.ci.will_answer(Err(busy));
    }
    let mut slow = desk;
    slow.brakes.limits.concurrency = 5;
    slow.round().await;
    assert_eq!(slow.ci.reached().len(), 5);
    assert_eq!(open(&slow).await[0], (PauseScope::Backend, 1));
    let round = slow.round().await;
    assert_eq!(slow.ci.reached().len(), 5);
    assert!(
        round.held.iter().all(|(_, reason)| *reason == Reason::Breaker),
        "{:?}",
        round.held
    );
    slow.wait(2 * MINUTE);
    slow.round().await;
    assert_eq!(slow.ci.reached().len(), 6, "one tries, and is answered");
    slow.wait(2 * MINUTE);
    slow.round().await;
    assert_eq!(slow.ci.reached().len(), 11, "then all the others go out");
}

#[tokio::test]
async fn refused_credentials_stop_the_whole_backend_until_a_probe_or_a_reload() {
    let mut desk = Desk::new().await;
    desk.brakes.limits.concurrency = 1;
    desk.asks("r", "linux", &[1, 2, 3], 1).await;
    let refused = || Err(RequestError::Refused("HTTP 401".into()));
    desk.ci.will_answer(refused());
    desk.round().await;
    desk.brakes.limits.concurrency = 9;
    let round = desk.round().await;
    assert_eq!(desk.ci.reached().len(), 1, "nobody knocks at a closed door");
    assert_eq!(
        round.held.iter().map(|held| held.1).collect::<Vec<_>>(),
        [Reason::BackendRefused; 2]
    );
    let now = desk.clock.now();
    assert!(desk.books(move |books| are_credentials_refused(books, "ci", now)).await);

    desk.wait(6 * MINUTE);
    desk.ci.will_answer(refused());
    desk.round().await;
    assert_eq!(desk.ci.reached().len(), 2, "one tries");
    let now = desk.clock.now();
    desk.books(move |books| books.try_again(now)).await;
    desk.round().await;
    assert_eq!(desk.ci.reached().len(), 5, "after a reload all go out, at once");
    assert!(!desk.books(move |books| are_credentials_refused(books, "ci", now)).await);
}

#[tokio::test]
async fn nothing_is_added_to_a_backlog() {
    let mut desk = Desk::new().await;
    desk.brakes.limits.pending_jobs_per_platform = Some(10);
    runs(&desk, "mac", "waits", 11, RunState::Pending).await;
    runs(&desk, "linux", "waits-too", 10, RunState::Pending).await;
    let mac = desk.asks("r", "mac", &[1], 1).await;
    let linux = desk.asks("r", "linux", &[1], 1).await;
    desk.round().await;
    assert_eq!(desk.states(mac).await, [("queued", Some(Reason::Backlog))]);
    assert_eq!(desk.states(linux).await, [("accepted", None)]);
    runs(&desk, "mac", "waits", 3, RunState::Running).await;
    desk.wait(2 * MINUTE);
    desk.round().await;
    assert_eq!(desk.states(mac).await, [("accepted", None)]);
}

/// So many runs of `L` wait in a pool, or have started there.
async fn runs_in(desk: &Desk, pool: &str, count: u32, state: RunState) {
    let at = desk.clock.now();
    let pool = Arc::from(pool);
    let runs: Vec<JobEvent> = (0..count)
        .map(|number| {
            let mut run = run_of("push", &format!("in-pool-{number}"), state, None, at);
            run.facts.caused_by = CausedBy::Push;
            run.pool = Some(Arc::clone(&pool));
            run
        })
        .collect();
    desk.books(move |books| books.record_runs(&runs.iter().collect::<Vec<_>>()))
        .await;
}

/// What is said of a request for people.
async fn said(desk: &Desk, case: CaseId) -> String {
    let requests = desk.books(move |books| books.case_requests(case.0)).await;
    requests[0]["detail"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn nothing_is_added_to_the_backlog_of_a_pool_by_the_cis_own_count() {
    let mut desk = Desk::new().await;
    desk.brakes.limits.pending_jobs_per_pool = Some(300);
    runs_in(&desk, "t/linux", 1, RunState::Pending).await;
    let case = desk.asks("r", "linux", &[1], 1).await;
    desk.ci.will_count(Ok(Some(301)));
    let round = desk.round().await;
    let waits = [("queued", Some(Reason::Backlog))];
    assert_eq!(desk.states(case).await, waits, "our books know of one of them");
    assert_eq!(round.counted, [("t/linux".to_owned(), Counted::Pending(301))]);
    let words = said(&desk, case).await;
    assert!(
        words.contains("301 jobs wait in t/linux by the CI's own count"),
        "{words}"
    );

    desk.wait(MINUTE + MINUTE / 2);
    desk.round().await;
    assert_eq!(desk.ci.counted(), ["t/linux"], "it is asked politely");
    assert_eq!(desk.states(case).await, waits);

    desk.wait(MINUTE);
    desk.ci.will_count(Ok(Some(300)));
    desk.round().await;
    assert_eq!(desk.states(case).await, [("accepted", None)]);
    desk.wait(10 * MINUTE);
    desk.round().await;
    assert_eq!(desk.ci.counted().len(), 2, "nothing would go there");
}

#[tokio::test]
async fn what_was_said_of_a_backlog_is_not_said_of_the_limit_that_holds_a_request_back_afterwards() {
    let mut desk = Desk::new().await;
    desk.brakes.limits.pending_jobs_per_pool = Some(300);
    runs_in(&desk, "t/linux", 1, RunState::Pending).await;
    let case = desk.asks("r", "linux", &[1], 1).await;
    desk.ci.will_count(Ok(Some(301)));
    desk.round().await;
    assert!(said(&desk, case).await.contains("301 jobs wait"));

    desk.wait(3 * MINUTE);
    desk.ci.will_count(Ok(Some(0)));
    desk.brakes.limits.jobs_per_hour = Some(0);
    desk.round().await;
    assert_eq!(desk.states(case).await, [("queued", Some(Reason::Limit))]);
    let words = said(&desk, case).await;
    assert!(!words.contains("jobs wait"), "{words}");
}

#[tokio::test]
async fn where_the_ci_does_not_tell_what_waits_in_a_pool_what_messages_told_counts() {
    let busy = RequestError::Busy {
        retry_after: None,
        detail: "HTTP 503".into(),
    };
    for (answer, word) in [(Err(busy), "failed"), (Ok(None), "cannot-tell")] {
        let mut desk = Desk::new().await;
        desk.brakes.limits.pending_jobs_per_pool = Some(10);
        runs_in(&desk, "t/linux", 11, RunState::Pending).await;
        let case = desk.asks("r", "linux", &[1], 1).await;
        desk.ci.will_count(answer.clone());
        let round = desk.round().await;
        assert_eq!(round.counted[0].1.as_str(), word);
        assert_eq!(desk.states(case).await, [("queued", Some(Reason::Backlog))]);
        let words = said(&desk, case).await;
        assert!(
            words.contains("11 jobs wait in t/linux as far as messages told"),
            "{words}"
        );

        runs_in(&desk, "t/linux", 1, RunState::Running).await;
        desk.wait(MINUTE + MINUTE / 2);
        desk.round().await;
        assert_eq!(desk.states(case).await, [("accepted", None)]);
    }
}

#[tokio::test]
async fn the_ci_is_not_asked_for_a_count_that_nobody_wants() {
    let desk = Desk::new().await;
    runs_in(&desk, "t/linux", 1, RunState::Pending).await;
    let case = desk.asks("r", "linux", &[1], 1).await;
    desk.round().await;
    assert_eq!(desk.states(case).await, [("accepted", None)]);
    assert_eq!(desk.ci.counted(), [""; 0]);
}

#[tokio::test]
async fn a_pause_that_drops_gives_up_what_comes_meanwhile_and_only_that() {
    let desk = Desk::new().await;
    desk.pause(PauseScope::Project, "autoland", PauseEffect::Drop).await;
    let meanwhile = desk.asks("r", "linux", &[1, 2], 1).await;
    let round = desk.round().await;
    assert_eq!(round.held.len(), 2);
    assert_eq!(desk.states(meanwhile).await, [("dropped", Some(Reason::Paused)); 2]);
    desk.books(|books| books.resume(PauseScope::Project, "autoland")).await;
    let later = desk.asks("r", "linux", &[1], 1).await;
    desk.round().await;
    assert_eq!(desk.states(later).await, [("accepted", None)]);
    assert_eq!(desk.ci.reached(), [format!("{later}.1.1")]);
    let requests = desk.books(move |books| books.case_requests(meanwhile.0)).await;
    assert_eq!(requests[0]["detail"], "test: test", "who and why");
}

#[tokio::test]
async fn while_a_tree_is_closed_requests_wait_unless_their_rule_goes_on() {
    let mut desk = Desk::new().await;
    desk.brakes.through_closed_trees.insert("bold".into());
    let now = desk.clock.now();
    desk.books(move |books| books.set_tree("autoland", "closed", "bustage", now))
        .await;
    let meek = desk.asks("meek", "linux", &[1], 1).await;
    let bold = desk.asks("bold", "linux", &[1], 1).await;
    desk.round().await;
    assert_eq!(desk.states(meek).await, [("queued", Some(Reason::TreeClosed))]);
    assert_eq!(desk.states(bold).await, [("accepted", None)]);
    let now = desk.clock.now();
    desk.books(move |books| books.set_tree("autoland", "open", "", now))
        .await;
    desk.wait(2 * MINUTE);
    desk.round().await;
    assert_eq!(desk.states(meek).await, [("accepted", None)]);
}

#[tokio::test]
async fn old_news_of_a_closed_tree_hold_nothing_back() {
    let desk = Desk::new().await;
    let now = desk.clock.now();
    desk.books(move |books| books.set_tree("autoland", "closed", "", now))
        .await;
    desk.wait(2 * HOUR);
    let case = desk.asks("r", "linux", &[1], 1).await;
    desk.round().await;
    assert_eq!(desk.states(case).await, [("accepted", None)]);
}
