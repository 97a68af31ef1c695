//! Task messages that the recordings lack, made after the published schema: retries, cancellations, lost workers,
//! deadlines; and messages that come late or contradict themselves.

use serde_json::json;
use sheriffd::event::{CausedBy, Outcome, PushId, RunState};
use sheriffd::wire::{Decoded, Ignored, Unreadable};

use crate::message::{delivery, settings, task};

#[test]
fn every_known_way_to_end_has_its_outcome() {
    for (kind, state, reason, outcome) in [
        ("completed", "completed", Some("completed"), Outcome::Passed),
        ("failed", "failed", Some("failed"), Outcome::Failed),
        ("exception", "exception", Some("canceled"), Outcome::Cancelled),
        ("exception", "exception", Some("superseded"), Outcome::Cancelled),
        ("exception", "exception", Some("deadline-exceeded"), Outcome::Infra),
        ("exception", "exception", Some("claim-expired"), Outcome::Infra),
        ("exception", "exception", Some("worker-shutdown"), Outcome::Infra),
        ("exception", "exception", Some("malformed-payload"), Outcome::Infra),
        ("exception", "exception", Some("resource-unavailable"), Outcome::Infra),
        ("exception", "exception", Some("internal-error"), Outcome::Infra),
        ("exception", "exception", Some("intermittent-task"), Outcome::Infra),
        ("exception", "exception", Some("a-reason-of-tomorrow"), Outcome::Infra),
        ("exception", "exception", None, Outcome::Infra),
        ("failed", "failed", None, Outcome::Failed),
    ] {
        let job = task(kind).about_run(0).run(state, reason).job();
        assert_eq!(job.state, RunState::Finished(outcome), "{reason:?}");
        assert_eq!(job.reason.as_deref(), reason);
    }
}

#[test]
fn a_pending_run_has_no_outcome_no_worker_and_the_time_it_was_scheduled() {
    let job = task("pending").about_run(0).run("pending", None).job();
    assert_eq!((job.state, job.reason, job.worker), (RunState::Pending, None, None));
    assert_eq!((Some(job.at), job.started, job.resolved), (job.scheduled, None, None));
    assert_eq!(job.pool.as_deref(), Some("gecko-t/t-linux-large"));
}

#[test]
fn a_run_that_lost_its_worker_is_infra_and_not_the_latest_once_it_is_retried() {
    let lost = task("exception")
        .about_run(0)
        .run("exception", Some("claim-expired"))
        .run("pending", None)
        .job();
    assert_eq!(
        (lost.run.run, lost.state, lost.latest),
        (0, RunState::Finished(Outcome::Infra), false)
    );
    let again = task("pending")
        .about_run(1)
        .run("exception", Some("claim-expired"))
        .run("pending", None)
        .job();
    assert_eq!((again.run.run, again.state, again.latest), (1, RunState::Pending, true));
}

#[test]
fn a_late_message_about_an_old_run_describes_that_run_and_not_the_task() {
    let late = task("exception")
        .about_run(0)
        .run("exception", Some("worker-shutdown"))
        .run("completed", Some("completed"))
        .job();
    assert_eq!(late.run.run, 0);
    assert_eq!(late.state, RunState::Finished(Outcome::Infra));
    assert_eq!(late.reason.as_deref(), Some("worker-shutdown"));
    assert_eq!(
        late.resolved.map(|at| at.to_string()).as_deref(),
        Some("2026-06-01T10:05:00Z")
    );
    assert_eq!(
        late.worker.map(|worker| worker.id.to_string()).as_deref(),
        Some("worker-0")
    );
    assert!(!late.latest);
}

#[test]
fn an_announcement_overtaken_by_the_record_gives_the_later_state() {
    let overtaken = task("running").about_run(0).run("completed", Some("completed")).job();
    assert_eq!(overtaken.state, RunState::Finished(Outcome::Passed));
    let behind = task("failed").about_run(0).run("running", None).job();
    assert_eq!(behind.state, RunState::Finished(Outcome::Failed));
    assert_eq!(Some(behind.at), behind.started);
    let two_ends = task("completed").about_run(0).run("failed", Some("failed")).job();
    assert_eq!(two_ends.state, RunState::Finished(Outcome::Failed));
}

#[test]
fn without_a_run_id_the_last_run_is_meant_and_without_runs_nothing_ran() {
    let last = task("exception")
        .run("exception", Some("claim-expired"))
        .run("exception", Some("deadline-exceeded"))
        .job();
    assert_eq!(
        (last.run.run, last.reason.as_deref(), last.latest),
        (1, Some("deadline-exceeded"), true)
    );
    assert_eq!(task("exception").decode(), Ok(Decoded::Ignored(Ignored::NoRun)));
    assert_eq!(
        task("exception").about_run(0).decode(),
        Ok(Decoded::Ignored(Ignored::NoRun))
    );
}

#[test]
fn the_record_names_its_runs_by_id_and_not_by_place() {
    let message = task("completed").about_run(7).run("completed", Some("completed"));
    let mut body = message.body();
    body["status"]["runs"][0]["runId"] = json!(7);
    let delivery = delivery("exchange/taskcluster-queue/v1/task-completed", "", body.to_string());
    let decoded = sheriffd::wire::decode(&delivery, &settings()).expect("a job");
    assert!(matches!(&decoded, Decoded::Events(events) if format!("{events:?}").contains("run: 7")));
}

#[test]
fn what_cannot_be_placed_is_refused_with_its_reason() {
    let refused = |message: crate::message::TaskMessage| message.decode().expect_err("no event").reason;
    assert_eq!(
        refused(task("failed").about_run(3).run("failed", Some("failed"))),
        Unreadable::WrongShape
    );
    assert_eq!(refused(task("running")), Unreadable::WrongShape);
    assert_eq!(
        refused(task("running").about_run(0).run("frozen", None)),
        Unreadable::UnknownState
    );
    assert_eq!(
        refused(task("melted").about_run(0).run("running", None)),
        Unreadable::UnknownExchange
    );
    for version in [json!(2), json!(0), json!(1.5), json!(-1)] {
        assert_eq!(
            refused(task("failed").version(version).run("failed", None)),
            Unreadable::WrongVersion
        );
    }
    for version in [json!("1"), json!(null), json!([1])] {
        assert_eq!(
            refused(task("failed").version(version).run("failed", None)),
            Unreadable::WrongShape
        );
    }
}

#[test]
fn messages_about_other_things_than_runs_are_left_alone() {
    for kind in [
        "task-defined",
        "artifact-created",
        "task-group-resolved",
        "task-group-sealed",
    ] {
        let message = delivery(&format!("exchange/taskcluster-queue/v1/{kind}"), "", "{}");
        let decoded = sheriffd::wire::decode(&message, &settings());
        assert_eq!(decoded, Ok(Decoded::Ignored(Ignored::NotOfInterest)), "{kind}");
    }
}

#[test]
fn tags_and_routes_become_facts() {
    let revision = "219d38523a321229f7f48aca6592f76b993fb1aa";
    let job = task("failed")
        .about_run(0)
        .run("failed", Some("failed"))
        .tags(json!({
            "kind": "web-platform-tests", "label": "test-linux2404-64/opt-web-platform-tests-async-9",
            "project": "autoland", "retrigger": "true", "test-suite": "web-platform-tests",
            "test-variant": "async-event-dispatching", "test-platform": "linux2404-64/opt",
        }))
        .route("index.gecko.v2.autoland.latest")
        .route(&format!("tc-treeherder.v2.autoland.{revision}.88554"))
        .job();
    let facts = job.facts;
    assert_eq!(
        facts.label.as_ref().map(|label| label.as_str()),
        Some("test-linux2404-64/opt-web-platform-tests-async-9")
    );
    assert_eq!(facts.project.as_ref().map(|project| project.as_str()), Some("autoland"));
    assert_eq!(
        facts.revision.as_ref().map(|revision| revision.as_str()),
        Some(revision)
    );
    assert_eq!(facts.push, Some(PushId(88554)));
    assert_eq!(
        (facts.platform.as_deref(), facts.option.as_deref()),
        (Some("linux2404-64"), Some("opt"))
    );
    assert_eq!(
        (facts.suite.as_deref(), facts.variant.as_deref()),
        (Some("web-platform-tests"), Some("async-event-dispatching"))
    );
    assert_eq!(
        facts.kind.as_deref(),
        Some("test"),
        "a kind a harness is a test all the same"
    );
    // `retrigger` says that the task may be retriggered, not that it was.
    assert_eq!((facts.action, facts.caused_by), (None, CausedBy::Unknown));
}

#[test]
fn a_task_that_an_action_made_says_so_where_its_tags_do() {
    let job = task("completed")
        .about_run(0)
        .run("completed", Some("completed"))
        .tags(json!({"action": "backfill-task"}))
        .job();
    assert_eq!(job.facts.action.as_deref(), Some("backfill-task"));
}
