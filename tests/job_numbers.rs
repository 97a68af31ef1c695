//! Backfill requests that name a job by Treeherder's number alone: a Treeherder-compatible service says which it is.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::{Value, json};
use sheriffd::bus::{Batch, Bus as _};
use sheriffd::daemon::pipeline::Pipeline;
use sheriffd::engine::Note;
use sheriffd::engine::ledger::{CaseRow, Pushes as _};
use sheriffd::engine::settings::EngineSettings;
use sheriffd::enrich::{CacheSettings, CachedSource, FactSource, RecordedSource, Sources, TreeherderSource};
use sheriffd::event::{CaseKind, Delivery, Duration, Label, Project, PushId, Timestamp};
use sheriffd::net::system_clock;
use sheriffd::rules::RuleSet;
use sheriffd::sim::{Plan, SimCi};
use sheriffd::store::Handle;
use sheriffd::store::sqlite::SqliteStore;

const LABEL: &str = "test-linux2404-64/opt-xpcshell";
const NUMBER: u64 = 20_672_119;
/// Treeherder's own number of a push, which is no pushlog's.
const THEIR_PUSH: u64 = 847_217;

const RULES: &str = "
version: 1
rules:
  - name: backfill-on-request
    on: request.received
    match: { kind: backfill }
    open: { kind: range, back: 20, max_jobs: 20 }
    mode: live
";

/// A Treeherder that knows one job.
struct Treeherder {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Treeherder {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Treeherder {
    async fn start(revision: &str) -> Treeherder {
        type Known = (Arc<Mutex<Vec<String>>>, Arc<str>);
        let answer = async |State((asked, revision)): State<Known>,
                            Path((project, kind, number)): Path<(String, String, u64)>| {
            asked.lock().unwrap().push(format!("{project} {kind} {number}"));
            match (project.as_str(), kind.as_str(), number) {
                ("autoland", "jobs", NUMBER) => Ok(Json(json!({
                    "id": NUMBER, "job_type_name": LABEL, "push_id": THEIR_PUSH, "build_system_type": "taskcluster",
                    "task_id": "c0EjbgzDRz--MfAdyvdU2Q", "retry_id": 0, "ref_data_name": "6ef71268bff391d1", "logs": [],
                }))),
                ("autoland", "push", THEIR_PUSH) => Ok(Json(json!({"id": THEIR_PUSH, "revision": &*revision}))),
                _ => Err((StatusCode::NOT_FOUND, Json(json!({"detail": "Not found."})))),
            }
        };
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let router = Router::new()
            .route("/api/project/{project}/{kind}/{number}/", get(answer))
            .with_state((Arc::clone(&asked), revision.into()));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Treeherder { url, asked, server }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A tree of some pushes, most of which lack the job.
fn ci() -> SimCi {
    SimCi::new(Plan {
        project: "autoland".into(),
        start: Timestamp::parse("2026-06-01T08:00:00Z").unwrap(),
        pushes: 12,
        between: Duration::from_secs(20 * 60),
        labels: vec![Label::from(LABEL)],
        skipped: 0.7,
        background: 0.0,
        infra: 0.0,
        defects: Vec::new(),
        meters: Vec::new(),
        uplifts: Vec::new(),
        seed: 2,
    })
}

struct World {
    ci: SimCi,
    pipeline: Pipeline,
    notes: Vec<Note>,
}

impl World {
    async fn new(ci: SimCi, treeherder: Option<&Treeherder>) -> World {
        let rules = Arc::new(RuleSet::parse(&[("rules.yaml", RULES)]).unwrap());
        let store = Handle::start(SqliteStore::in_memory().unwrap()).unwrap();
        let jobs: Arc<dyn FactSource> = match treeherder {
            Some(treeherder) => {
                let source = TreeherderSource::new(&treeherder.url, std::time::Duration::from_secs(5), system_clock());
                Arc::new(CachedSource::new(Arc::new(source.unwrap()), CacheSettings::default()))
            }
            None => Arc::new(RecordedSource::default()),
        };
        let facts = Sources {
            tasks: Arc::new(ci.facts()),
            pushes: Arc::new(ci.facts()),
            bugs: Arc::new(RecordedSource::default()),
            jobs,
        };
        let settings = EngineSettings {
            has_pushlog: true,
            has_job_numbers: treeherder.is_some(),
            ..EngineSettings::default()
        };
        let pipeline = ci.daemon(&rules, store, Arc::new(facts), settings);
        let mut bus = ci.bus();
        let mut notes = Vec::new();
        while ci.step().is_some() {
            let zero = Duration::ZERO;
            while let Batch::Deliveries(deliveries) = bus.next(100, zero, zero).await.unwrap() {
                notes.extend(pipeline.take(&deliveries).await.unwrap().notes);
            }
            pipeline.settle(&mut notes).await.unwrap();
        }
        World { ci, pipeline, notes }
    }

    /// The revision of the newest push.
    async fn newest(&self) -> String {
        let rows = self
            .pipeline
            .store()
            .with(|store| store.transact(|books| books.pushes_around(&Project::from("autoland"), PushId(12), 0, 0)));
        rows.await.unwrap()[0].revision.clone().unwrap().to_string()
    }

    /// A person's request comes, as Treeherder sent them.
    async fn asks(&mut self, number: u64) {
        let body = json!({
            "version": 1, "project": "autoland", "requester": "somebody", "action": "backfill",
            "build_system_type": "taskcluster", "job_id": number,
        });
        let delivery = Delivery {
            exchange: "exchange/treeherder/v1/job-actions".into(),
            routing_key: "taskcluster.autoland.backfill".into(),
            cc: Vec::new(),
            redelivered: false,
            body: Bytes::from(body.to_string()),
            tag: 0,
        };
        let taken = self.pipeline.take(&[delivery]).await.unwrap();
        assert_eq!(taken.dead.len(), 0);
        self.notes.extend(taken.notes);
        self.pipeline.settle(&mut self.notes).await.unwrap();
    }

    fn opened(&self) -> Vec<&CaseRow> {
        let opened = self.notes.iter().filter_map(|note| match note {
            Note::Opened(case) => Some(&**case),
            _ => None,
        });
        opened.collect()
    }

    /// Why nothing came of requests.
    fn refusals(&self) -> Vec<(&str, Option<&Value>)> {
        let refused = self.notes.iter().filter_map(|note| match note {
            Note::Decided(decision) if decision.case.is_none() => {
                Some((decision.result.as_str(), decision.detail.get("why")))
            }
            _ => None,
        });
        refused.collect()
    }
}

/// The head revision of the newest push: the simulation's pushes are the same each time.
async fn revision() -> String {
    World::new(ci(), None).await.newest().await
}

#[tokio::test]
async fn a_job_that_is_named_by_its_number_is_backfilled_on_its_own_push() {
    let treeherder = Treeherder::start(&revision().await).await;
    let mut world = World::new(ci(), Some(&treeherder)).await;
    world.asks(NUMBER).await;
    let opened = world.opened();
    assert_eq!(opened.len(), 1, "{:?}", world.refusals());
    let case = opened[0];
    assert_eq!((case.params.kind(), case.label.as_str()), (CaseKind::Range, LABEL));
    let pushes: BTreeSet<u64> = case.targets.iter().map(|target| target.push.0).collect();
    assert!(!pushes.is_empty() && pushes.iter().all(|push| *push < 12), "{pushes:?}");
    assert_eq!(
        treeherder.asked(),
        [format!("autoland jobs {NUMBER}"), format!("autoland push {THEIR_PUSH}")]
    );
    // The same wish within the hour is a repeat, and nobody is asked again.
    world.asks(NUMBER).await;
    assert_eq!(world.opened().len(), 1);
    assert_eq!(treeherder.asked().len(), 2);
    // Jobs are asked for on the pushes that lack it.
    while world.ci.step().is_some() {}
    assert_eq!(world.ci.jobs().0, pushes.len() as u64);
}

#[tokio::test]
async fn a_number_that_nobody_knows_is_refused_by_name() {
    let treeherder = Treeherder::start("0123456789ab").await;
    let mut world = World::new(ci(), Some(&treeherder)).await;
    world.asks(4711).await;
    assert_eq!(world.opened().len(), 0);
    let refusals = world.refusals();
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    assert_eq!(refusals[0].0, "facts-unknown");
    let why = refusals[0].1.and_then(Value::as_str).unwrap_or_default();
    assert!(why.contains("job number 4711") && why.contains("`task_id`"), "{why}");
}

#[tokio::test]
async fn without_a_treeherder_the_request_is_refused_at_once_and_says_what_is_missing() {
    let mut world = World::new(ci(), None).await;
    world.asks(NUMBER).await;
    assert_eq!(world.opened().len(), 0);
    let refusals = world.refusals();
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    let why = refusals[0].1.and_then(Value::as_str).unwrap_or_default();
    assert!(why.contains("enrich.treeherder_url"), "{why}");
}
