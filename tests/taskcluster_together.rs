//! Several labels on one push are one action of Taskcluster, from the outbox to the hook.

#[path = "common/fake_taskcluster.rs"]
mod fake_taskcluster;
#[path = "common/recorded_push.rs"]
mod recorded_push;

use std::collections::BTreeSet;
use std::sync::Arc;

use fake_taskcluster::{FakeTaskcluster, Fault, counts};
use recorded_push::{
    GROUP, HOOK, TRIGGER, answers, backend, backend_with, chain_labels, recorded, request, settings, triggers,
    with_recorded_push,
};
use serde_json::{Value, json};
use sheriffd::backends::{ActionKey, Backend as _, JobRequest, RequestError};
use sheriffd::clock::{Clock as _, ManualClock};
use sheriffd::dispatch::limits::Brakes;
use sheriffd::dispatch::{DispatchSettings, Dispatcher};
use sheriffd::engine::ledger::{ActionState, Actions as _, CaseRow, Cases as _, NewAction};
use sheriffd::event::{CaseId, Duration, Label, Revision, RunInput, Timestamp};
use sheriffd::store::Handle;
use sheriffd::store::sqlite::SqliteStore;

/// A request for each label, of one case.
fn requests(labels: &[String]) -> Vec<JobRequest> {
    (1..)
        .zip(labels)
        .map(|(slot, label)| JobRequest {
            key: ActionKey { slot, ..request().key },
            label: Label::from(label.as_str()),
            ..request()
        })
        .collect()
}

fn tasks(fake: &FakeTaskcluster) -> Vec<Value> {
    let input = |request: &fake_taskcluster::Recorded| request.body["user"]["input"]["tasks"].clone();
    triggers(fake).iter().map(input).collect()
}

#[tokio::test]
async fn the_labels_of_the_recorded_request_are_one_request_again() {
    let fake = with_recorded_push().await;
    let labels = chain_labels();
    let answers = backend(&fake).request_together(&requests(&labels)).await.unwrap();
    assert_eq!(tasks(&fake), [json!(labels)]);
    assert!(triggers(&fake)[0].path.contains(HOOK));
    let receipts: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().action_task).collect();
    assert_eq!(receipts.len(), labels.len());
    // What the push offers and what it can run is asked for once for all.
    let asked = counts(&fake.requests());
    assert!(asked.values().all(|times| *times == 1), "{asked:?}");
    assert!(receipts[0].is_some() && receipts.iter().all(|task| *task == receipts[0]));
}

#[tokio::test]
async fn a_label_that_the_push_does_not_have_is_named_and_the_rest_is_asked_for() {
    let fake = with_recorded_push().await;
    let mut labels = chain_labels();
    labels.truncate(2);
    labels.insert(1, "test-linux64/debug-xpcshell-e10s-66".to_owned());
    let answers = backend(&fake).request_together(&requests(&labels)).await.unwrap();
    assert_eq!(tasks(&fake), [json!([labels[0], labels[2]])]);
    assert!(answers[0].is_ok() && answers[2].is_ok());
    assert!(
        matches!(&answers[1], Err(RequestError::NotPossible(why)) if why.contains("near are `test-linux64/debug-xpcshell")),
        "{answers:?}"
    );
    let unknown = ["test-x/opt-a".to_owned(), "test-x/opt-b".to_owned()];
    let answers = backend(&fake).request_together(&requests(&unknown)).await.unwrap();
    assert!(answers.iter().all(Result::is_err));
    assert_eq!(triggers(&fake).len(), 1, "nothing is asked for where nothing can be");
}

#[tokio::test]
async fn a_refused_call_was_not_done_and_each_is_to_be_asked_for_alone() {
    let fake = with_recorded_push().await;
    let labels = chain_labels();
    fake.fail("POST", TRIGGER, answers(400, r#"{"message": "tasks: too many"}"#));
    let apart = backend(&fake).request_together(&requests(&labels)).await.unwrap_err();
    assert!(apart.to_string().contains("tasks: too many"), "{apart}");
}

#[tokio::test]
async fn trouble_that_may_have_acted_is_in_doubt_for_each_and_other_trouble_for_none() {
    let fake = with_recorded_push().await;
    let labels = &chain_labels()[..3];
    let kinds = |answers: Vec<Result<_, RequestError>>| -> Vec<&str> {
        answers
            .into_iter()
            .map(|answer| match answer {
                Ok(_) => "accepted",
                Err(RequestError::InDoubt(_)) => "in doubt",
                Err(RequestError::Busy { .. }) => "busy",
                Err(RequestError::Refused(_)) => "refused",
                Err(RequestError::NotPossible(_) | RequestError::NotYet(_)) => "no",
            })
            .collect()
    };
    for (fault, expected) in [
        (Fault::Close { acts: true }, "in doubt"),
        (answers(503, ""), "in doubt"),
        (answers(429, ""), "busy"),
        (answers(403, r#"{"message": "missing scopes"}"#), "refused"),
    ] {
        fake.fail("POST", TRIGGER, fault);
        let answers = backend(&fake).request_together(&requests(labels)).await.unwrap();
        assert_eq!(kinds(answers), [expected; 3]);
    }
}

#[tokio::test]
async fn an_action_that_is_a_task_of_its_own_takes_one_job_a_request() {
    let fake = FakeTaskcluster::start().await;
    let revision = "f41b2f50ff48ef4265e7be391a6e5e4b212f96a0";
    let actions = recorded("tests/data/taskcluster/actions/scriptworker-cotv3-2018.json");
    fake.add_push("try", revision, "c5nn2xbNS9mJxeVC0uNElg", &actions);
    let old: Vec<JobRequest> = requests(&chain_labels()[..2])
        .into_iter()
        .map(|request| JobRequest {
            revision: Revision::from(revision),
            ..request
        })
        .collect();
    let apart = backend(&fake).request_together(&old).await.unwrap_err();
    assert!(apart.to_string().contains("one task a request"), "{apart}");
    assert_eq!(fake.deeds().len(), 0);
}

#[tokio::test]
async fn several_jobs_with_other_input_are_asked_for_alone() {
    let fake = with_recorded_push().await;
    let with_env: Vec<JobRequest> = requests(&chain_labels()[..2])
        .into_iter()
        .map(|request| JobRequest {
            input: RunInput {
                env: [("MOZ_LOG".to_owned(), "all:5".to_owned())].into(),
                ..RunInput::default()
            },
            ..request
        })
        .collect();
    assert!(backend(&fake).request_together(&with_env).await.is_err());
    assert_eq!(triggers(&fake).len(), 0);
    assert!(fake.requests().iter().any(|request| request.path.contains(GROUP)));
}

// From the outbox to the hook.

/// A case that wants the recorded labels on the recorded push, and a dispatcher; the clock is theirs and the CI's.
struct Desk {
    fake: FakeTaskcluster,
    clock: Arc<ManualClock>,
    store: Handle,
    dispatcher: Dispatcher,
    case: CaseId,
}

const START: Timestamp = Timestamp(1_574_713_713_000);

impl Desk {
    async fn new() -> Desk {
        let fake = with_recorded_push().await;
        fake.change(|world| world.now = Some(START.0));
        let clock = Arc::new(ManualClock::new(START));
        let store = Handle::start(SqliteStore::in_memory().unwrap()).unwrap();
        let case: CaseRow = serde_json::from_value(json!({
            "id": 0, "cause": {"person": {"name": "somebody"}}, "mode": "live", "budget": null,
            "subject": {"project": "try", "label": "*", "signature": null}, "label": "*", "platform": "unknown",
            "params": {"kind": "add", "max_jobs": 100}, "push": request().push, "opened_by": null, "opened_at": START,
            "wake_at": null, "verdict": null, "closed_at": null, "why": "", "throttle_key": "",
        }))
        .unwrap();
        let case = store
            .with(move |store| {
                store.transact(|books| {
                    let id = books.open_case(&case)?;
                    for request in requests(&chain_labels()) {
                        let key = ActionKey {
                            case: id,
                            ..request.key
                        };
                        let action = NewAction {
                            request: JobRequest { key, ..request },
                            state: ActionState::Queued,
                            rule: "by-hand".to_owned(),
                            budget: None,
                            platform: "linux64".into(),
                        };
                        assert!(books.add_action(&action, START)?);
                    }
                    Ok(id)
                })
            })
            .await
            .unwrap();
        let time = Arc::clone(&clock);
        let ci = backend_with(settings(&fake), Arc::new(move || time.now()));
        let dispatcher = Dispatcher::new(store.clone(), Arc::new(ci), clock.clone(), DispatchSettings::default());
        Desk {
            fake,
            clock,
            store,
            dispatcher,
            case,
        }
    }

    async fn round(&self) {
        self.dispatcher.round(&Brakes::default()).await.unwrap();
    }

    /// The states of the requests, each named once.
    async fn states(&self) -> BTreeSet<&'static str> {
        let case = self.case;
        let actions = self
            .store
            .with(move |store| store.transact(|books| books.actions_of(case)))
            .await
            .unwrap();
        assert_eq!(actions.len(), chain_labels().len());
        actions.iter().map(|action| action.state.as_str()).collect()
    }
}

#[tokio::test]
async fn a_case_about_many_labels_is_one_request_at_the_ci() {
    let desk = Desk::new().await;
    desk.round().await;
    desk.round().await;
    assert_eq!(desk.states().await, BTreeSet::from(["accepted"]));
    assert_eq!(tasks(&desk.fake), [json!(chain_labels())]);
}

#[tokio::test]
async fn a_lost_answer_to_many_is_cleared_up_without_asking_again() {
    for acts in [true, false] {
        let desk = Desk::new().await;
        desk.fake.fail("POST", TRIGGER, Fault::Close { acts });
        desk.round().await;
        assert_eq!(desk.states().await, BTreeSet::from(["in-doubt"]));
        desk.clock.advance(Duration::from_secs(60));
        for _ in 0..20 {
            desk.clock.advance(Duration::from_secs(120));
            let now = desk.clock.now();
            desk.fake.change(|world| world.now = Some(now.0));
            desk.round().await;
        }
        assert_eq!(desk.states().await, BTreeSet::from(["accepted"]), "it was done: {acts}");
        let mut asked: Vec<String> = tasks(&desk.fake)
            .iter()
            .flat_map(|tasks| tasks.as_array().unwrap())
            .map(|label| label.as_str().unwrap().to_owned())
            .collect();
        let mut wanted = chain_labels();
        if !acts {
            // The request that was lost, and each label once more.
            wanted.extend(chain_labels());
        }
        asked.sort();
        wanted.sort();
        assert_eq!(asked, wanted, "it was done: {acts}");
    }
}
