//! After messages may have been lost: what they said is fetched, through the same path, once, and within bounds.

#[path = "common/fake_taskcluster.rs"]
mod fake_taskcluster;

use std::sync::Arc;

use async_trait::async_trait;
use fake_taskcluster::{FakeTaskcluster, Fault, counts};
use serde_json::{Value, json};
use sheriffd::backends::DryRunBackend;
use sheriffd::clock::{Clock as _, ManualClock};
use sheriffd::config::ReconcileSection;
use sheriffd::daemon::pipeline::{Pipeline, PipelineSettings};
use sheriffd::daemon::reconcile::{Reconciled, Reconciler, check_at_start, messages_may_be_missing};
use sheriffd::dispatch::limits::Limits;
use sheriffd::dispatch::{DispatchSettings, Dispatcher};
use sheriffd::engine::Engine;
use sheriffd::engine::settings::EngineSettings;
use sheriffd::enrich::{
    FactError, FactSource, GroupSource, PushQuery, QueueSettings, QueueSource, RecordedSource, Sources,
    TreeherderSource,
};
use sheriffd::event::{BackendName, Delivery, Duration, Event, Project, PushEvent, PushId, Revision, Timestamp};
use sheriffd::net::system_clock;
use sheriffd::rules::RuleSet;
use sheriffd::store::Handle;
use sheriffd::store::sqlite::{CaseFilter, SqliteStore, StoreSummary};
use sheriffd::wire::{DEFAULT_MAX_BODY, WireSettings};
use tokio::sync::watch;

const START: Timestamp = Timestamp(1_780_000_000_000);
const LABEL: &str = "test-linux/opt-mochitest-1";
const RULES: &str = "
version: 1
rules:
  - name: backfill
    description: Find the push that broke a test.
    on: job.finished
    match: { outcome: failed }
    open: { kind: find-culprit, max_depth: 20, max_jobs: 40 }
    mode: live
";

fn revision(push: u64) -> String {
    format!("{push:040x}")
}

/// A pushlog that ends with a push.
struct Pushlog {
    last: u64,
}

fn push(number: u64) -> PushEvent {
    PushEvent {
        project: Project::from("autoland"),
        push: Some(PushId(number)),
        revision: Revision::from(revision(number)),
        at: Some(START),
        user: None,
        changesets: Vec::new(),
    }
}

#[async_trait]
impl FactSource for Pushlog {
    async fn pushes(&self, _: &Project, query: &PushQuery) -> Result<Vec<PushEvent>, FactError> {
        let PushQuery::Range { from, to } = query else {
            return Err(FactError::Absent("it".into()));
        };
        Ok((from.0..=to.0.min(self.last)).map(push).collect())
    }
}

/// A task of a push as its group lists it.
fn listed(task: &str, push: u64, state: &str) -> Value {
    json!({
        "status": {
            "taskId": task, "provisionerId": "p", "workerType": "w", "schedulerId": "s",
            "taskGroupId": format!("decision-{push}"), "retriesLeft": 5, "state": state,
            "runs": [{"runId": 0, "state": state, "reasonCreated": "scheduled", "reasonResolved": state,
                "scheduled": "2026-05-28T20:00:00.000Z", "started": "2026-05-28T20:01:00.000Z",
                "resolved": "2026-05-28T20:30:00.000Z"}],
        },
        "task": definition(push),
    })
}

fn definition(push: u64) -> Value {
    let group = format!("decision-{push}");
    json!({
        "taskGroupId": group, "workerType": "w", "metadata": {"name": LABEL}, "payload": {},
        "routes": [format!("tc-treeherder.v2.autoland.{}.{push}", revision(push))],
        "tags": {"kind": "test", "label": LABEL, "project": "autoland"}, "extra": {"parent": group},
    })
}

/// A daemon's parts on a store, and the CI that knows what happened meanwhile.
struct Site {
    ci: FakeTaskcluster,
    clock: Arc<ManualClock>,
    pipeline: Pipeline,
    settings: ReconcileSection,
    _stop: watch::Sender<bool>,
    stopping: watch::Receiver<bool>,
}

impl Site {
    /// The store knows pushes 1 to 11, and a green run on push 11.
    async fn new() -> Site {
        let ci = FakeTaskcluster::start().await;
        let clock = Arc::new(ManualClock::new(START));
        let backend = BackendName::from("tc");
        let rules = Arc::new(RuleSet::parse(&[("rules.yaml", RULES)]).unwrap());
        let store = Handle::start(SqliteStore::in_memory().unwrap()).unwrap();
        let dry = Arc::new(DryRunBackend::new(backend.clone()));
        let dispatcher = Dispatcher::new(store.clone(), dry, clock.clone(), DispatchSettings::default());
        let queue = QueueSettings {
            root_url: ci.root_url(),
            ..QueueSettings::default()
        };
        let facts = Sources {
            tasks: Arc::new(QueueSource::new(backend.clone(), queue, system_clock()).unwrap()),
            pushes: Arc::new(Pushlog { last: 15 }),
            bugs: Arc::new(RecordedSource::default()),
            jobs: Arc::new(RecordedSource::default()),
        };
        let pipeline = Pipeline::new(
            Engine::new(Arc::clone(&rules), EngineSettings::default()),
            store,
            Arc::new(facts),
            dispatcher,
            sheriffd::daemon::brakes(Limits::default(), &rules),
            clock.clone(),
            PipelineSettings {
                wire: WireSettings {
                    backend,
                    max_body: DEFAULT_MAX_BODY,
                },
                facts_within: Duration::from_secs(600),
            },
        );
        let settings = ReconcileSection {
            requests_per_second: 100.0,
            ..ReconcileSection::default()
        };
        let (stop, stopping) = watch::channel(false);
        let site = Site {
            ci,
            clock,
            pipeline,
            settings,
            _stop: stop,
            stopping,
        };
        for number in 1..=11 {
            let event = Event::Push(Box::new(push(number)));
            let reading = sheriffd::daemon::pipeline::Reading::of(vec![event]);
            site.pipeline.apply(reading).await.unwrap();
        }
        site.pipeline.take(&[message("green-11", 11)]).await.unwrap();
        for push in 12..=15 {
            site.ci
                .add_push("autoland", &revision(push), &format!("decision-{push}"), "{}");
        }
        site.ci.change(|world| {
            world
                .groups
                .insert("decision-13".into(), vec![listed("old", 13, "exception")]);
            let failed = (0..5).map(|number| listed(&format!("failed-{number}"), 15, "failed"));
            world.groups.insert("decision-15".into(), failed.collect());
            for number in 0..5 {
                world.tasks.insert(format!("failed-{number}"), definition(15));
            }
        });
        site
    }

    async fn reconcile(&self) -> Reconciled {
        self.reconcile_with(None).await
    }

    /// Where task groups are gone, a Treeherder may know what ran.
    async fn reconcile_with(&self, treeherder: Option<TreeherderSource>) -> Reconciled {
        let queue = QueueSettings {
            root_url: self.ci.root_url(),
            ..QueueSettings::default()
        };
        let routes = vec!["gecko.v2.{project}.revision.{revision}.taskgraph.decision".to_owned()];
        let reconciler = Reconciler {
            pushes: Arc::new(Pushlog { last: 15 }),
            groups: Some(GroupSource::new(queue, routes, system_clock()).unwrap()),
            treeherder,
            projects: vec![Project::from("autoland")],
            settings: self.settings.clone(),
        };
        assert!(messages_may_be_missing(self.pipeline.store()).await.unwrap());
        let found = reconciler
            .run(&self.pipeline, self.clock.as_ref(), self.stopping.clone())
            .await
            .unwrap();
        let mut notes = Vec::new();
        self.pipeline.settle(&mut notes).await.unwrap();
        found
    }

    async fn summary(&self) -> StoreSummary {
        let store = self.pipeline.store();
        store
            .with(|store| store.transact(|books| books.summary()))
            .await
            .unwrap()
    }

    /// What there are cases about: label and push.
    async fn cases(&self) -> Vec<(String, u64)> {
        let filter = CaseFilter {
            limit: 9,
            ..CaseFilter::default()
        };
        let store = self.pipeline.store();
        let cases = store
            .with(move |store| store.transact(|books| books.cases(&filter)))
            .await
            .unwrap();
        cases.iter().map(|case| (case.label.to_string(), case.push.0)).collect()
    }

    async fn is_due(&self) -> bool {
        let now = self.clock.now();
        check_at_start(self.pipeline.store(), Duration::from_secs(600), now)
            .await
            .unwrap()
    }
}

/// The message of a green run.
fn message(task: &str, push: u64) -> Delivery {
    let mut listed = listed(task, push, "completed");
    listed["status"]["runs"][0]["resolved"] = START.to_string().into();
    let body = json!({
        "version": 1, "runId": 0, "status": listed["status"], "task": {"tags": listed["task"]["tags"]},
    });
    let route = format!("route.tc-treeherder.v2.autoland.{}.{push}", revision(push));
    Delivery {
        exchange: "exchange/taskcluster-queue/v1/task-completed".into(),
        routing_key: "primary".into(),
        cc: vec![route.as_str().into()],
        redelivered: false,
        body: body.to_string().into(),
        tag: 1,
    }
}

#[tokio::test]
async fn pushes_and_runs_that_were_missed_are_fetched_and_have_the_effect_that_messages_have() {
    let site = Site::new().await;
    assert_eq!(site.summary().await.pushes, 11);
    let found = site.reconcile().await;
    assert_eq!((found.groups, found.runs), (2, 6), "{found:?}");
    let summary = site.summary().await;
    assert_eq!(summary.pushes, 15);
    assert_eq!(summary.runs, 7);
    assert_eq!(
        site.cases().await,
        [(LABEL.to_owned(), 15)],
        "the failure that nobody told of opens its case"
    );
}

#[tokio::test]
async fn what_is_known_already_has_no_second_effect() {
    let site = Site::new().await;
    site.reconcile().await;
    let before = site.summary().await;
    site.reconcile().await;
    assert_eq!(site.summary().await, before);
}

#[tokio::test]
async fn no_more_groups_are_looked_through_than_configured_and_that_is_said() {
    let mut site = Site::new().await;
    site.settings.max_groups = 1;
    let found = site.reconcile().await;
    assert_eq!((found.groups, found.runs), (1, 5), "the newest first");
    assert_eq!(found.left_out, 1);
}

#[tokio::test]
async fn no_more_questions_are_asked_in_a_second_than_configured() {
    let mut site = Site::new().await;
    site.settings.requests_per_second = 20.0;
    let began = std::time::Instant::now();
    site.reconcile().await;
    let took = began.elapsed();
    let is_question = |path: &str| path.contains("/index/") || path.contains("/task-group/");
    let asked = site
        .ci
        .requests()
        .iter()
        .filter(|request| is_question(&request.path))
        .count();
    assert!(asked >= 5, "{asked}");
    // A rest is never shorter than it should be: this is no measure of how fast the machine is.
    assert!(
        took >= std::time::Duration::from_millis(50) * asked as u32,
        "{asked} in {took:?}"
    );
}

#[tokio::test]
async fn a_source_that_asks_for_patience_is_asked_again_and_one_that_has_nothing_is_left_out() {
    let site = Site::new().await;
    let busy = Fault::Answer {
        status: 503,
        headers: [("retry-after".to_owned(), "0".to_owned())].into(),
        body: String::new(),
    };
    site.ci.fail("GET", "/api/queue/v1/task-group/decision-15/list", busy);
    let found = site.reconcile().await;
    assert_eq!(found.runs, 6, "{found:?}");
    let asked = counts(&site.ci.requests());
    assert_eq!(
        asked["GET /api/queue/v1/task-group/decision-15/list"], 4,
        "three pages, one of them twice"
    );
    assert_eq!(found.left_out, 3, "the groups of pushes 11, 12 and 14 have expired");
}

/// A job as Treeherder lists it.
fn row(task: &str, label: &str, result: &str) -> Value {
    json!([
        task,
        0,
        label,
        "M",
        "linux",
        "opt",
        914,
        "completed",
        result,
        "2026-05-28T20:30:00"
    ])
}

#[tokio::test]
async fn where_the_task_group_of_a_push_is_gone_a_treeherder_knows_what_ran() {
    let site = Site::new().await;
    let names = json!([
        "task_id",
        "retry_id",
        "job_type_name",
        "job_type_symbol",
        "platform",
        "platform_option",
        "push_id",
        "state",
        "result",
        "last_modified"
    ]);
    let answer = |body: Value| Fault::Answer {
        status: 200,
        headers: Default::default(),
        body: body.to_string(),
    };
    // The groups of pushes 15, 14, 12 and 11 have expired; of these the Treeherder knows push 14, by a number of its own.
    for push in (1..=15).rev().filter(|push| *push != 13) {
        let known = (push == 14).then(|| json!({"id": 914, "revision": revision(14)}));
        let pushes = json!({"meta": {}, "results": Vec::from_iter(known)});
        site.ci.fail("GET", "/api/project/autoland/push/", answer(pushes));
    }
    let crowd: Vec<Value> = (0..1_000)
        .map(|number| {
            row(
                &format!("crowd-{number}"),
                &format!("test-linux/opt-crowd-{number}"),
                "success",
            )
        })
        .collect();
    for rows in [crowd, vec![row("failed-on-14", LABEL, "testfailed")]] {
        let page = answer(json!({"job_property_names": names, "results": rows}));
        site.ci.fail("GET", "/api/project/autoland/jobs/", page);
    }
    site.ci.change(|world| {
        world.groups.remove("decision-15");
        world.tasks.insert("failed-on-14".into(), definition(14));
    });
    let treeherder = TreeherderSource::new(&site.ci.root_url(), std::time::Duration::from_secs(5), system_clock());

    let found = site.reconcile_with(Some(treeherder.unwrap())).await;

    assert_eq!((found.groups, found.lists, found.runs), (1, 1, 1 + 1_001), "{found:?}");
    assert_eq!(found.left_out, 3, "pushes 15, 12 and 11, each once");
    assert_eq!(site.summary().await.runs, 1 + 1 + 1_001);
    let cases = site.cases().await;
    assert_eq!(cases, [(LABEL.to_owned(), 14)], "the failure opens its case");
    let requests = site.ci.requests();
    let asked = requests.iter().map(|request| request.target.as_str());
    let listed: Vec<&str> = asked.filter(|target| target.contains("/jobs/")).collect();
    assert_eq!(
        listed,
        [
            "/api/project/autoland/jobs/?push_id=914&count=1000&offset=0",
            "/api/project/autoland/jobs/?push_id=914&count=1000&offset=1000",
        ]
    );
}

#[tokio::test]
async fn a_long_silence_before_the_start_is_a_loss_and_a_short_one_is_not() {
    let site = Site::new().await;
    site.clock.advance(Duration::from_secs(60));
    assert!(!site.is_due().await);
    site.clock.advance(Duration::from_secs(3_600));
    assert!(site.is_due().await);
    site.reconcile().await;
    let store = site.pipeline.store();
    let left = store
        .with(|store| store.transact(|books| books.setting("reconcile_since")))
        .await
        .unwrap();
    assert_eq!(left, None, "it is done");
}

#[tokio::test]
async fn one_that_was_interrupted_is_due_again() {
    let site = Site::new().await;
    assert!(messages_may_be_missing(site.pipeline.store()).await.unwrap());
    assert!(site.is_due().await, "although nothing is old");
}
