//! Lost answers of Taskcluster, and how they are cleared up; and the older kind of action, which cannot be doubled.

#[path = "common/fake_taskcluster.rs"]
mod fake_taskcluster;
#[path = "common/recorded_push.rs"]
mod recorded_push;

use std::sync::Arc;
use std::time::Duration;

use fake_taskcluster::{FakeTaskcluster, Fault};
use recorded_push::{
    FIRES, LABEL, TRIGGER, answers, backend, backend_with, chain_labels, recorded, request, settings, triggers,
    with_recorded_push,
};
use serde_json::json;
use sheriffd::backends::{ActionKey, Backend, Found, JobRequest, RequestError, TaskclusterBackend};
use sheriffd::event::{Label, Revision, TaskId, Timestamp};

// The older kind of action, which creates a task.

const OLD_GROUP: &str = "c5nn2xbNS9mJxeVC0uNElg";
const OLD_REVISION: &str = "f41b2f50ff48ef4265e7be391a6e5e4b212f96a0";

async fn with_old_push() -> FakeTaskcluster {
    let fake = FakeTaskcluster::start().await;
    let actions = recorded("tests/data/taskcluster/actions/scriptworker-cotv3-2018.json");
    fake.add_push("try", OLD_REVISION, OLD_GROUP, &actions);
    fake
}

fn old_request() -> JobRequest {
    JobRequest {
        revision: Revision::from(OLD_REVISION),
        ..request()
    }
}

#[tokio::test]
async fn an_action_of_the_kind_task_creates_its_task_under_an_id_of_the_requests_own() {
    let fake = with_old_push().await;
    let receipt = backend(&fake).request(&old_request()).await.unwrap();
    let task = receipt.action_task.unwrap();
    let deeds = fake.deeds();
    assert_eq!(
        (deeds[0].method.as_str(), deeds[0].path.as_str()),
        ("PUT", &*format!("/api/queue/v1/task/{task}"))
    );
    let env = &deeds[0].body["payload"]["env"];
    assert_eq!(env["ACTION_INPUT"], json!({"tasks": [LABEL]}).to_string());
    assert_eq!(env["ACTION_TASK_GROUP_ID"], OLD_GROUP);
    assert_eq!(env["ACTION_TASK_ID"], "null");
}

#[tokio::test]
async fn refused_credentials_say_nothing_of_how_far_a_task_is() {
    let fake = with_old_push().await;
    let task = TaskId::from("KkDeSaLFSq-OFo1QGc-hGQ");
    let refused = r#"{"code": "AuthenticationFailed", "message": "Bad mac"}"#;
    fake.fail("GET", "/api/queue/v1/task", answers(401, refused));
    let progress = backend(&fake).progress(&task).await;
    assert!(matches!(progress, Err(RequestError::Busy { .. })), "{progress:?}");
}

#[tokio::test]
async fn asking_twice_for_a_task_of_ones_own_makes_one() {
    let fake = with_old_push().await;
    let backend = backend(&fake);
    let first = backend.request(&old_request()).await.unwrap();
    assert_eq!(backend.request(&old_request()).await, Ok(first.clone()));
    let other = JobRequest {
        key: ActionKey {
            slot: 4,
            ..request().key
        },
        ..old_request()
    };
    assert_ne!(backend.request(&other).await.unwrap().action_task, first.action_task);
}

#[tokio::test]
async fn a_lost_answer_to_creating_a_task_is_cleared_up_by_its_id() {
    let fake = with_old_push().await;
    let backend = backend(&fake);
    let long_ago = Timestamp(0);
    assert_eq!(backend.find(&old_request(), long_ago).await, Ok(Found::NotDone));
    fake.fail("PUT", "/api/queue/v1/task/", Fault::Close { acts: true });
    assert!(matches!(
        backend.request(&old_request()).await,
        Err(RequestError::InDoubt(_))
    ));
    assert!(matches!(
        backend.find(&old_request(), long_ago).await,
        Ok(Found::Done(_))
    ));
}

#[tokio::test]
async fn an_action_that_runs_a_job_once_is_not_asked_for_more() {
    let fake = with_old_push().await;
    let error = backend(&fake)
        .request(&JobRequest {
            times: 2,
            ..old_request()
        })
        .await
        .unwrap_err();
    assert!(
        matches!(&error, RequestError::NotPossible(why) if why.contains("once a request")),
        "{error}"
    );
}

// Looking for a request whose answer was lost.

const SENT: Timestamp = Timestamp(1_574_713_713_000);

/// A backend whose clock stands so many seconds after [`SENT`].
fn later(fake: &FakeTaskcluster, seconds: i64) -> TaskclusterBackend {
    backend_with(settings(fake), Arc::new(move || Timestamp(SENT.0 + seconds * 1_000)))
}

/// Sends the request at the moment [`SENT`] plus so many seconds; the fake loses the answer.
async fn lose_answer(fake: &FakeTaskcluster, acts: bool, seconds: i64, request: &JobRequest) {
    fake.change(|world| world.now = Some(SENT.0 + seconds * 1_000));
    fake.fail("POST", TRIGGER, Fault::Close { acts });
    let outcome = later(fake, seconds).request(request).await;
    assert!(matches!(outcome, Err(RequestError::InDoubt(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_request_that_was_done_is_found_by_the_hooks_last_fires() {
    let fake = with_recorded_push().await;
    lose_answer(&fake, true, 0, &request()).await;
    let Ok(Found::Done(receipt)) = later(&fake, 1).find(&request(), SENT).await else {
        panic!("it was done")
    };
    assert!(fake.requests().iter().any(|request| request.path == FIRES));
    let task = receipt.action_task.unwrap();
    assert!(task.as_str().starts_with("Action"), "{task}");
    assert_eq!(triggers(&fake).len(), 1);
}

#[tokio::test]
async fn a_request_that_was_not_done_is_said_not_to_be_once_it_is_late_enough_to_say() {
    let fake = with_recorded_push().await;
    lose_answer(&fake, false, 0, &request()).await;
    let too_early = later(&fake, 30).find(&request(), SENT).await;
    let expected = Some(Duration::from_secs(120));
    assert!(
        matches!(&too_early, Err(RequestError::Busy { retry_after, .. }) if *retry_after == expected),
        "{too_early:?}"
    );
    assert_eq!(later(&fake, 150).find(&request(), SENT).await, Ok(Found::NotDone));
}

#[tokio::test]
async fn requests_for_something_else_or_at_another_time_are_not_taken_for_it() {
    let fake = with_recorded_push().await;
    let other_label = JobRequest {
        label: Label::from("test-linux64/debug-xpcshell-e10s-4"),
        ..request()
    };
    let more = JobRequest { times: 2, ..request() };
    for other in [&other_label, &more] {
        lose_answer(&fake, true, 5, other).await;
    }
    lose_answer(&fake, true, 3_600, &request()).await;
    lose_answer(&fake, true, -3_600, &request()).await;
    assert_eq!(later(&fake, 7_200).find(&request(), SENT).await, Ok(Found::NotDone));
}

#[tokio::test]
async fn two_requests_alike_cannot_be_told_apart() {
    let fake = with_recorded_push().await;
    lose_answer(&fake, true, 0, &request()).await;
    lose_answer(&fake, true, 10, &request()).await;
    let found = later(&fake, 600).find(&request(), SENT).await.unwrap();
    assert!(
        matches!(&found, Found::CannotTell(why) if why.contains("2 action tasks are alike")),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_persons_request_alike_is_told_apart_by_its_client() {
    let fake = with_recorded_push().await;
    lose_answer(&fake, true, 0, &request()).await;
    fake.change(|world| {
        for task in world.tasks.values_mut() {
            task["metadata"]["description"] = json!("Add new jobs.\nAction triggered by clientID `a-person`");
        }
    });
    assert_eq!(later(&fake, 600).find(&request(), SENT).await, Ok(Found::NotDone));
}

#[tokio::test]
async fn a_list_with_gaps_proves_a_deed_and_never_its_absence() {
    let fake = with_recorded_push().await;
    lose_answer(&fake, true, 0, &request()).await;
    fake.change(|world| world.more_fires = true);
    assert!(matches!(
        later(&fake, 600).find(&request(), SENT).await,
        Ok(Found::Done(_))
    ));
    fake.change(|world| world.tasks.clear());
    assert!(matches!(
        later(&fake, 600).find(&request(), SENT).await,
        Ok(Found::CannotTell(_))
    ));
}

#[tokio::test]
async fn where_last_fires_are_refused_the_index_of_ended_action_tasks_helps() {
    let fake = with_recorded_push().await;
    lose_answer(&fake, true, 0, &request()).await;
    let refuse = || fake.fail("GET", FIRES, answers(403, r#"{"message": "hooks:list-last-fires"}"#));
    refuse();
    let found = later(&fake, 600).find(&request(), SENT).await.unwrap();
    assert!(
        matches!(&found, Found::CannotTell(why) if why.contains("hooks:list-last-fires")),
        "{found:?}"
    );
    fake.change(|world| {
        let task = world.tasks.keys().next().unwrap().clone();
        world
            .index
            .insert(format!("gecko.v2.try.pushlog-id.455023.actions.{task}"), task);
    });
    refuse();
    assert!(matches!(
        later(&fake, 600).find(&request(), SENT).await,
        Ok(Found::Done(_))
    ));
}

#[tokio::test]
async fn a_search_that_cannot_be_made_now_says_nothing() {
    let fake = with_recorded_push().await;
    lose_answer(&fake, true, 0, &request()).await;
    fake.fail("GET", FIRES, answers(500, ""));
    assert!(matches!(
        later(&fake, 600).find(&request(), SENT).await,
        Err(RequestError::Busy { .. })
    ));
}

// Several jobs with one call.

/// A request for each of some labels of the recorded push, of one case.
fn together(count: usize) -> Vec<JobRequest> {
    let labels = chain_labels().into_iter().take(count);
    (1..)
        .zip(labels)
        .map(|(slot, label)| JobRequest {
            key: ActionKey { slot, ..request().key },
            label: Label::from(label),
            ..request()
        })
        .collect()
}

/// Sends them at the moment [`SENT`]; the fake loses the answer.
async fn lose_answer_of_all(fake: &FakeTaskcluster, acts: bool, requests: &[JobRequest]) {
    fake.change(|world| world.now = Some(SENT.0));
    fake.fail("POST", TRIGGER, Fault::Close { acts });
    let outcomes = later(fake, 0).request_together(requests).await.unwrap();
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, Err(RequestError::InDoubt(_)))),
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn each_job_of_a_call_that_was_done_is_found_in_its_one_action_task() {
    let fake = with_recorded_push().await;
    let requests = together(4);
    lose_answer_of_all(&fake, true, &requests).await;
    let before = fake.requests().len();
    let found = later(&fake, 1).find_together(&requests, SENT).await;
    let tasks: Vec<_> = found
        .into_iter()
        .map(|found| match found {
            Ok(Found::Done(receipt)) => receipt.action_task,
            other => panic!("it was done: {other:?}"),
        })
        .collect();
    assert_eq!(tasks.len(), 4);
    assert!(tasks[0].is_some() && tasks.iter().all(|task| *task == tasks[0]));
    let fires = |from: usize| {
        fake.requests()[from..]
            .iter()
            .filter(|request| request.path == FIRES)
            .count()
    };
    assert_eq!(fires(before), 1, "the hook's list is read once for all");
    // A dispatcher that knows of one of them only finds it too.
    assert!(matches!(
        later(&fake, 1).find(&requests[2], SENT).await,
        Ok(Found::Done(_))
    ));
    assert_eq!(triggers(&fake).len(), 1);
}

#[tokio::test]
async fn a_call_that_was_not_done_was_done_for_none_of_its_jobs() {
    let fake = with_recorded_push().await;
    let requests = together(3);
    lose_answer_of_all(&fake, false, &requests).await;
    let too_early = later(&fake, 30).find_together(&requests, SENT).await;
    assert!(
        too_early
            .iter()
            .all(|found| matches!(found, Err(RequestError::Busy { .. })))
    );
    assert_eq!(
        later(&fake, 150).find_together(&requests, SENT).await,
        [Ok(Found::NotDone), Ok(Found::NotDone), Ok(Found::NotDone)]
    );
}

#[tokio::test]
async fn a_label_that_was_left_out_of_the_call_was_not_asked_for() {
    let fake = with_recorded_push().await;
    let requests = together(3);
    lose_answer_of_all(&fake, true, &requests[..2]).await;
    let found = later(&fake, 600).find_together(&requests, SENT).await;
    assert!(
        matches!(&found[..], [Ok(Found::Done(_)), Ok(Found::Done(_)), Ok(Found::NotDone)]),
        "{found:?}"
    );
}
