//! Books, a CI that answers what it is told to, a clock, a dispatcher.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use sheriffd::backends::{Apart, Backend, Finding, Found, JobRequest, Progress, Receipt, RequestError};
use sheriffd::clock::{Clock, ManualClock};
use sheriffd::dispatch::limits::{Brakes, Limits};
use sheriffd::dispatch::{DispatchSettings, Dispatcher, Round};
use sheriffd::engine::ledger::{ActionState, Actions as _, CaseRow, Cases as _, LedgerError, Mode, NewAction};
use sheriffd::event::{
    ActionKey, BackendName, CaseId, CaseParams, Cause, Duration, FindCulpritParams, Label, Project, PushId, Reason,
    Revision, RunInput, Subject, TaskId, Timestamp,
};
use sheriffd::store::Handle;
use sheriffd::store::sqlite::{Books, Pause, PauseEffect, PauseScope, SqliteStore};

pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3_600);

pub const START: Timestamp = Timestamp(1_780_000_000_000);

/// How many jobs wait in a pool, as a CI answers it.
type Count = Result<Option<u64>, RequestError>;

/// A CI that answers what it is told to, and remembers what reached it.
#[derive(Clone)]
pub struct ScriptedCi {
    name: BackendName,
    answers: Arc<Mutex<VecDeque<Result<Receipt, RequestError>>>>,
    finds: Arc<Mutex<VecDeque<Found>>>,
    progress: Arc<Mutex<VecDeque<Progress>>>,
    reached: Arc<Mutex<Vec<ActionKey>>>,
    /// Requests that it takes with one call.
    together: Arc<AtomicUsize>,
    calls: Arc<Mutex<Vec<usize>>>,
    refuses_together: Arc<AtomicBool>,
    counts: Arc<Mutex<VecDeque<Count>>>,
    counted: Arc<Mutex<Vec<String>>>,
}

impl ScriptedCi {
    pub fn new() -> ScriptedCi {
        ScriptedCi {
            name: BackendName::from("ci"),
            answers: Arc::default(),
            finds: Arc::default(),
            progress: Arc::default(),
            reached: Arc::default(),
            together: Arc::new(AtomicUsize::new(1)),
            calls: Arc::default(),
            refuses_together: Arc::default(),
            counts: Arc::default(),
            counted: Arc::default(),
        }
    }

    /// From now on it takes so many requests with one call.
    pub fn takes_together(&self, most: usize) {
        self.together.store(most, Ordering::Relaxed);
    }

    /// From now on it says no to several at once.
    pub fn refuses_together(&self) {
        self.refuses_together.store(true, Ordering::Relaxed);
    }

    /// How many requests came with each call.
    pub fn calls(&self) -> Vec<usize> {
        self.calls.lock().unwrap().clone()
    }

    pub fn will_answer(&self, answer: Result<Receipt, RequestError>) {
        self.answers.lock().unwrap().push_back(answer);
    }

    pub fn will_find(&self, found: Found) {
        self.finds.lock().unwrap().push_back(found);
    }

    /// What it says when it is asked how far an action's task is.
    pub fn will_report(&self, progress: Progress) {
        self.progress.lock().unwrap().push_back(progress);
    }

    /// What it says when it is asked how many jobs wait in a pool.
    pub fn will_count(&self, count: Count) {
        self.counts.lock().unwrap().push_back(count);
    }

    /// The pools that it was asked about.
    pub fn counted(&self) -> Vec<String> {
        self.counted.lock().unwrap().clone()
    }

    pub fn reached(&self) -> Vec<String> {
        self.reached.lock().unwrap().iter().map(ToString::to_string).collect()
    }
}

#[async_trait]
impl Backend for ScriptedCi {
    fn name(&self) -> &BackendName {
        &self.name
    }

    async fn request(&self, request: &JobRequest) -> Result<Receipt, RequestError> {
        self.reached.lock().unwrap().push(request.key);
        self.calls.lock().unwrap().push(1);
        let scripted = self.answers.lock().unwrap().pop_front();
        scripted.unwrap_or_else(|| Ok(receipt(&format!("task-of-{}", request.key))))
    }

    fn most_together(&self) -> usize {
        self.together.load(Ordering::Relaxed)
    }

    async fn request_together(&self, requests: &[JobRequest]) -> Result<Vec<Result<Receipt, RequestError>>, Apart> {
        self.calls.lock().unwrap().push(requests.len());
        if self.refuses_together.load(Ordering::Relaxed) {
            return Err(Apart("HTTP 400: one of them is unknown".into()));
        }
        self.reached
            .lock()
            .unwrap()
            .extend(requests.iter().map(|request| request.key));
        let mut scripted = self.answers.lock().unwrap();
        let common = receipt(&format!("task-of-{}", requests[0].key));
        Ok(requests
            .iter()
            .map(|_| scripted.pop_front().unwrap_or_else(|| Ok(common.clone())))
            .collect())
    }

    async fn find(&self, _: &JobRequest, _: Timestamp) -> Result<Found, RequestError> {
        Ok(self.finds.lock().unwrap().pop_front().expect("nobody was to look"))
    }

    async fn progress(&self, _: &TaskId) -> Result<Progress, RequestError> {
        let scripted = self.progress.lock().unwrap().pop_front();
        Ok(scripted.unwrap_or(Progress::Working))
    }

    async fn pending(&self, pool: &str) -> Count {
        self.counted.lock().unwrap().push(pool.to_owned());
        self.counts.lock().unwrap().pop_front().expect("nobody was to count")
    }

    async fn check(&self) -> Vec<Finding> {
        Vec::new()
    }
}

pub fn receipt(task: &str) -> Receipt {
    Receipt {
        action_task: Some(TaskId::from(task)),
        reference: None,
    }
}

/// Books, a CI, a clock, a dispatcher.
pub struct Desk {
    pub store: Handle,
    pub ci: ScriptedCi,
    pub clock: Arc<ManualClock>,
    pub dispatcher: Dispatcher,
    pub brakes: Brakes,
}

impl Desk {
    pub async fn new() -> Desk {
        Desk::with(DispatchSettings::default()).await
    }

    pub async fn with(settings: DispatchSettings) -> Desk {
        let store = Handle::start(SqliteStore::in_memory().unwrap()).unwrap();
        let ci = ScriptedCi::new();
        let clock = Arc::new(ManualClock::new(START));
        let dispatcher = Dispatcher::new(store.clone(), Arc::new(ci.clone()), clock.clone(), settings);
        let limits = Limits {
            requests_per_second: 1_000.0,
            concurrency: 1_000,
            ..Limits::default()
        };
        Desk {
            store,
            ci,
            clock,
            dispatcher,
            brakes: Brakes {
                limits,
                budgets: BTreeMap::new(),
                ..Brakes::default()
            },
        }
    }

    /// What another process left is due by its lease, and this one has seen it for as long as a lease is.
    pub async fn sees_a_lease_run_out(&self) {
        self.wait(2 * MINUTE);
        self.round().await;
        self.wait(DispatchSettings::default().lease);
    }

    /// A case of a rule on a platform asks for a label on some pushes.
    pub async fn asks(&self, rule: &str, platform: &str, pushes: &[u64], times: u32) -> CaseId {
        self.asks_for(case(rule, platform), pushes, times).await
    }

    /// A case of a rule asks for these labels on one push.
    pub async fn asks_labels(&self, rule: &str, labels: &[&str], push: u64) -> CaseId {
        let case = case(rule, "linux");
        let labels: Vec<Label> = labels.iter().map(|label| Label::from(*label)).collect();
        let now = self.clock.now();
        self.books(move |books| {
            let id = books.open_case(&case)?;
            for (slot, label) in (1..).zip(labels) {
                let key = ActionKey {
                    case: id,
                    step: 1,
                    slot,
                };
                let action = NewAction {
                    request: JobRequest {
                        label,
                        ..request(key, push, 1)
                    },
                    state: ActionState::Queued,
                    rule: case.cause.rule_name().to_owned(),
                    budget: None,
                    platform: "linux".into(),
                };
                assert!(books.add_action(&action, now)?);
            }
            Ok(id)
        })
        .await
    }

    /// A case asks for its label on some pushes.
    pub async fn asks_for(&self, case: CaseRow, pushes: &[u64], times: u32) -> CaseId {
        let pushes = pushes.to_vec();
        let (rule, platform) = (case.cause.rule_name().to_owned(), case.platform.to_string());
        let now = self.clock.now();
        self.store
            .with(move |store| {
                store.transact(|books| {
                    let id = books.open_case(&case)?;
                    for (slot, push) in (1..).zip(&pushes) {
                        let action = NewAction {
                            request: JobRequest {
                                label: case.label.clone(),
                                ..request(
                                    ActionKey {
                                        case: id,
                                        step: 1,
                                        slot,
                                    },
                                    *push,
                                    times,
                                )
                            },
                            state: ActionState::Queued,
                            rule: rule.clone(),
                            budget: Some("nightly".into()),
                            platform: platform.as_str().into(),
                        };
                        assert!(books.add_action(&action, now)?);
                        assert!(!books.add_action(&action, now)?, "the same slot is one request");
                    }
                    Ok(id)
                })
            })
            .await
            .unwrap()
    }

    pub async fn round(&self) -> Round {
        self.dispatcher.round(&self.brakes).await.unwrap()
    }

    pub fn wait(&self, span: Duration) {
        self.clock.advance(span);
    }

    pub async fn states(&self, case: CaseId) -> Vec<(&'static str, Option<Reason>)> {
        self.store
            .with(move |store| store.transact(|books| books.actions_of(case)))
            .await
            .unwrap()
            .iter()
            .map(|action| (action.state.as_str(), action.reason))
            .collect()
    }

    /// Looks into the books, or writes there what others would.
    pub async fn books<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Books<'_>) -> Result<R, LedgerError> + Send + 'static,
    ) -> R {
        self.store.with(move |store| store.transact(work)).await.unwrap()
    }

    pub async fn pause(&self, scope: PauseScope, name: &str, effect: PauseEffect) {
        let pause = Pause {
            scope,
            name: name.into(),
            reason: "test".into(),
            owner: "test".into(),
            since: START,
            expires: None,
            effect,
        };
        self.store
            .with(move |store| store.transact(|books| books.pause(&pause)))
            .await
            .unwrap();
    }
}

pub fn case(rule: &str, platform: &str) -> CaseRow {
    CaseRow {
        id: CaseId(0),
        cause: Cause::Rule {
            name: rule.into(),
            version: "v".into(),
        },
        mode: Mode::Live,
        budget: None,
        subject: Subject {
            project: Project::from("autoland"),
            label: Label::from("L"),
            signature: None,
            series: None,
        },
        label: Label::from("L"),
        platform: platform.into(),
        params: CaseParams::FindCulprit(FindCulpritParams {
            max_jobs: 10_000,
            ..FindCulpritParams::default()
        }),
        targets: Vec::new(),
        unable: Vec::new(),
        push: PushId(9),
        opened_by: None,
        opened_at: START,
        wake_at: None,
        verdict: None,
        closed_at: None,
        why: String::new(),
        throttle_key: String::new(),
        each: None,
        approval: None,
        notify: None,
        found: Default::default(),
        span: None,
        shared_by: Vec::new(),
        storm: None,
    }
}

pub fn request(key: ActionKey, push: u64, times: u32) -> JobRequest {
    JobRequest {
        key,
        project: Project::from("autoland"),
        push: PushId(push),
        revision: Revision::from(format!("{push:040x}")),
        label: Label::from("L"),
        times,
        existing: None,
        group: None,
        input: RunInput::default(),
        why: String::new(),
    }
}
