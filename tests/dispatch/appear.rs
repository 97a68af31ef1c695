//! A CI that takes requests and runs nothing.

use sheriffd::backends::Progress;
use sheriffd::clock::Clock as _;
use sheriffd::dispatch::Round;
use sheriffd::engine::ledger::{Cases as _, Runs as _};
use sheriffd::event::{
    CausedBy, JobEvent, JobFacts, Label, Outcome, Project, PushId, Reason, RunKey, RunState, TaskId, Timestamp,
};
use sheriffd::store::sqlite::{Account, Measure};

use crate::desk::{Desk, HOUR, MINUTE};

/// A run that an action's task made.
pub fn run_of(action_task: &str, task: &str, state: RunState, took: Option<u64>, at: Timestamp) -> JobEvent {
    JobEvent {
        run: RunKey {
            backend: "ci".into(),
            task: TaskId::from(task),
            run: 0,
        },
        group: None,
        state,
        reason: None,
        latest: true,
        at,
        scheduled: None,
        started: took.map(|_| at),
        resolved: took.map(|minutes| at.plus(MINUTE * minutes as u32)),
        worker: None,
        pool: None,
        facts: JobFacts {
            project: Some(Project::from("autoland")),
            label: Some(Label::from("L")),
            push: Some(PushId(1)),
            platform: Some("linux".into()),
            parent: Some(TaskId::from(action_task)),
            caused_by: CausedBy::Sheriffd,
            ..JobFacts::default()
        },
    }
}

async fn charged(desk: &Desk) -> u64 {
    desk.books(|books| books.spent(&Account::All, Measure::Jobs, Timestamp(0)))
        .await
}

fn not_appeared(round: &Round) -> usize {
    round
        .held
        .iter()
        .filter(|(_, reason)| *reason == Reason::NotAppeared)
        .count()
}

#[tokio::test]
async fn jobs_that_may_still_come_are_waited_for_and_nothing_is_asked_again() {
    let desk = Desk::new().await;
    let case = desk.asks("r", "linux", &[1], 1).await;
    desk.round().await;
    desk.wait(3 * HOUR);
    desk.ci.will_report(Progress::Working);
    let round = desk.round().await;
    assert_eq!(not_appeared(&round), 0);
    assert_eq!(desk.states(case).await, [("accepted", None)]);
    assert_eq!(desk.ci.reached().len(), 1);
}

#[tokio::test]
async fn a_request_whose_task_failed_is_asked_for_once_more_and_no_third_time() {
    let desk = Desk::new().await;
    let case = desk.asks("r", "linux", &[1], 2).await;
    desk.round().await;
    desk.wait(3 * HOUR);
    desk.ci.will_report(Progress::Failed("deadline-exceeded".into()));
    let round = desk.round().await;
    assert_eq!(not_appeared(&round), 1);
    desk.round().await;
    assert_eq!(desk.ci.reached(), ["C1.1.1", "C1.1.2"], "a slot of its own");
    let overdue = ("overdue", Some(Reason::NotAppeared));
    assert_eq!(desk.states(case).await, [overdue, ("accepted", None)]);
    assert_eq!(charged(&desk).await, 2, "what never ran is not charged");

    desk.wait(3 * HOUR);
    desk.ci.will_report(Progress::Failed("deadline-exceeded".into()));
    desk.round().await;
    desk.wait(100 * HOUR);
    desk.round().await;
    assert_eq!(desk.states(case).await, [overdue; 2]);
    assert_eq!(desk.ci.reached().len(), 2);
    assert_eq!(charged(&desk).await, 0);
    let requests = desk.books(move |books| books.case_requests(case.0)).await;
    let words = |index: usize| requests[index]["detail"].as_str().unwrap_or_default().to_owned();
    assert!(
        words(0).contains("deadline-exceeded") && words(0).contains("C1.1.2"),
        "{}",
        words(0)
    );
    assert!(words(1).contains("asked for twice"), "{}", words(1));
}

#[tokio::test]
async fn what_the_ci_says_it_has_done_or_cannot_tell_of_is_left_and_says_so() {
    for (progress, words) in [
        (Progress::Ended, "ended well"),
        (Progress::CannotTell("no such service".into()), "no such service"),
    ] {
        let desk = Desk::new().await;
        let case = desk.asks("r", "linux", &[1], 1).await;
        desk.round().await;
        desk.wait(3 * HOUR);
        desk.ci.will_report(progress);
        desk.round().await;
        assert_eq!(desk.states(case).await, [("overdue", Some(Reason::NotAppeared))]);
        assert_eq!(desk.ci.reached().len(), 1);
        let requests = desk.books(move |books| books.case_requests(case.0)).await;
        let detail = requests[0]["detail"].as_str().unwrap_or_default();
        assert!(
            detail.contains(words) && detail.contains("not asked for again"),
            "{detail}"
        );
        let now = desk.clock.now();
        assert_eq!(
            desk.books(move |books| books.waking(now, 9)).await,
            [case],
            "its case hears of it"
        );
    }
}

#[tokio::test]
async fn a_task_that_never_ends_is_not_waited_for_for_ever() {
    let desk = Desk::new().await;
    let case = desk.asks("r", "linux", &[1], 1).await;
    desk.round().await;
    for _ in 0..30 {
        desk.wait(HOUR);
        desk.round().await;
    }
    assert_eq!(desk.states(case).await, [("overdue", Some(Reason::NotAppeared))]);
    assert_eq!(desk.ci.reached().len(), 1);
}

#[tokio::test]
async fn a_job_that_comes_after_all_is_charged_again() {
    let desk = Desk::new().await;
    desk.asks("r", "linux", &[1], 1).await;
    desk.round().await;
    desk.wait(3 * HOUR);
    desk.ci.will_report(Progress::Ended);
    desk.round().await;
    assert_eq!(charged(&desk).await, 0);
    let late = run_of(
        "task-of-C1.1.1",
        "late",
        RunState::Finished(Outcome::Passed),
        Some(5),
        desk.clock.now(),
    );
    desk.books(move |books| books.record_runs(&[&late])).await;
    assert_eq!(charged(&desk).await, 1);
}

#[tokio::test]
async fn a_late_job_is_charged_the_time_that_it_took_whoever_knew_at_its_end_whose_it_is() {
    let desk = Desk::new().await;
    desk.asks("r", "linux", &[1], 1).await;
    desk.round().await;
    desk.wait(3 * HOUR);
    desk.ci.will_report(Progress::Ended);
    desk.round().await;
    let (task, now) = ("late", desk.clock.now());
    let begun = run_of("task-of-C1.1.1", task, RunState::Running, None, now);
    let mut ended = run_of("", task, RunState::Finished(Outcome::Passed), Some(50), now);
    (ended.facts.parent, ended.facts.caused_by) = (None, CausedBy::Unknown);
    desk.books(move |books| books.record_runs(&[&begun])).await;
    desk.books(move |books| books.record_runs(&[&ended])).await;
    let took = desk.books(|books| books.spent(&Account::All, Measure::MachineTime, Timestamp(0)));
    assert_eq!(took.await, 50 * 60_000);
}

#[tokio::test]
async fn a_request_that_has_led_to_some_of_its_jobs_is_not_asked_for_again() {
    let desk = Desk::new().await;
    let case = desk.asks("r", "linux", &[1], 3).await;
    desk.round().await;
    let one = run_of("task-of-C1.1.1", "one", RunState::Pending, None, desk.clock.now());
    desk.books(move |books| books.record_runs(&[&one])).await;
    desk.wait(3 * HOUR);
    desk.ci.will_report(Progress::Failed("failed".into()));
    desk.round().await;
    desk.round().await;
    assert_eq!(desk.states(case).await, [("overdue", Some(Reason::NotAppeared))]);
    assert_eq!(charged(&desk).await, 1, "one of three came");
}
