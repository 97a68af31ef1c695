//! Jobs that people want, from the command, the message or the API to the verdict; and the catalog of what there is.

#[path = "common/command.rs"]
mod command;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, RwLock};

use serde_json::{Value, json};
use sheriffd::bus::{Batch, Bus as _};
use sheriffd::clock::Clock;
use sheriffd::daemon::pipeline::Pipeline;
use sheriffd::engine::settings::EngineSettings;
use sheriffd::engine::{Answer, Engine, Note};
use sheriffd::event::{
    AddParams, CaseParams, Duration, FillParams, Label, OpenRequest, Project, PushId, RangeParams, RequestEvent,
    RequestKind, Timestamp, VerdictKind,
};
use sheriffd::rules::RuleSet;
use sheriffd::sim::{Plan, SimCi};
use sheriffd::store::Handle;
use sheriffd::store::sqlite::{CaseFilter, SqliteStore};

const LABELS: [&str; 4] = [
    "test-linux2404-64/opt-mochitest-plain",
    "test-linux2404-64/opt-xpcshell",
    "test-windows11-64/opt-mochitest-plain",
    "test-windows11-64/opt-xpcshell",
];

/// A tree of ten pushes on which the CI skips a good half, and the daemon beside it.
struct World {
    ci: SimCi,
    pipeline: Pipeline,
    notes: Vec<Note>,
}

impl World {
    fn new(project: &str) -> World {
        let ci = SimCi::new(Plan {
            project: project.into(),
            start: Timestamp::parse("2026-06-01T08:00:00Z").unwrap(),
            pushes: 10,
            between: Duration::from_secs(20 * 60),
            labels: LABELS.into_iter().map(Label::from).collect(),
            skipped: 0.6,
            background: 0.0,
            infra: 0.0,
            defects: Vec::new(),
            meters: Vec::new(),
            uplifts: Vec::new(),
            seed: 11,
        });
        let rules = Arc::new(RuleSet::parse(&[]).unwrap());
        let store = Handle::start(SqliteStore::in_memory().unwrap()).unwrap();
        let pipeline = ci.daemon(&rules, store, Arc::new(ci.facts()), EngineSettings::default());
        World {
            ci,
            pipeline,
            notes: Vec::new(),
        }
    }

    /// Lets everything happen that is to happen.
    async fn run(&mut self) {
        let mut bus = self.ci.bus();
        while self.ci.step().is_some() {
            while let Batch::Deliveries(deliveries) = bus.next(100, Duration::ZERO, Duration::ZERO).await.unwrap() {
                let taken = self.pipeline.take(&deliveries).await.unwrap();
                self.notes.extend(taken.notes);
            }
            self.pipeline.settle(&mut self.notes).await.unwrap();
        }
    }

    /// A person asks, and what follows happens. Jobs made for it, and the answer.
    async fn ask(&mut self, project: &str, push: u64, params: CaseParams) -> (u64, Answer) {
        let (before, _) = self.ci.jobs();
        let request = RequestEvent {
            project: Project::from(project),
            push: Some(PushId(push)),
            revision: None,
            requester: Some("somebody".into()),
            kind: RequestKind::Open(Box::new(OpenRequest {
                params,
                label: None,
                signature: None,
                series: None,
                bug: None,
                shadow: false,
            })),
        };
        let now = self.ci.clock().now();
        let mut engine = Engine::new(Arc::new(RuleSet::parse(&[]).unwrap()), EngineSettings::default());
        let answer = self
            .pipeline
            .store()
            .with(move |store| store.transact(|books| engine.open(books, request, now)))
            .await
            .unwrap();
        self.pipeline.settle(&mut self.notes).await.unwrap();
        self.run().await;
        (self.ci.jobs().0 - before, answer)
    }

    async fn verdicts(&self) -> Vec<Option<VerdictKind>> {
        let filter = CaseFilter {
            limit: 100,
            ..CaseFilter::default()
        };
        let cases = self
            .pipeline
            .store()
            .with(move |store| store.transact(|books| books.cases(&filter)));
        let cases = cases.await.unwrap();
        cases
            .iter()
            .rev()
            .map(|case| case.verdict.as_ref().map(|verdict| verdict.kind))
            .collect()
    }
}

#[tokio::test]
async fn a_push_is_filled_and_then_lacks_nothing() {
    let mut world = World::new("autoland");
    world.run().await;
    let fill = || CaseParams::Fill(FillParams::default());
    let (made, _) = world.ask("autoland", 5, fill()).await;
    assert!((1..=4).contains(&made), "{made}");
    assert_eq!(world.verdicts().await, [Some(VerdictKind::Done)]);
    let (again, answer) = world.ask("autoland", 5, fill()).await;
    assert_eq!(again, 0);
    assert!(
        matches!(
            answer,
            Answer::Refused {
                reason: "nothing-missing",
                ..
            }
        ),
        "{answer:?}"
    );
}

#[tokio::test]
async fn jobs_are_added_to_a_try_push_to_the_verdict() {
    let mut world = World::new("try");
    world.run().await;
    let params = AddParams {
        labels: vec!["*windows*".into()],
        times: 2,
        ..AddParams::default()
    };
    let (made, _) = world.ask("try", 10, CaseParams::Add(params)).await;
    assert_eq!(made, 4, "two labels, twice each");
    assert_eq!(world.verdicts().await, [Some(VerdictKind::Done)]);
}

#[tokio::test]
async fn a_range_ends_with_so_many_runs_on_each_push() {
    let mut world = World::new("autoland");
    world.run().await;
    let range = || {
        CaseParams::Range(RangeParams {
            labels: vec![LABELS[0].into()],
            back: 4,
            times: 2,
            ..RangeParams::default()
        })
    };
    let (made, _) = world.ask("autoland", 8, range()).await;
    assert!((5..=10).contains(&made), "{made}");
    let (again, _) = world.ask("autoland", 8, range()).await;
    assert_eq!(again, 0);
    assert_eq!(world.verdicts().await, [Some(VerdictKind::Done)]);
}

/// Recorded requests, each a line of a recording, after the pushes that they name.
fn recording(requests: &[Value]) -> Vec<Value> {
    let mut pushes = BTreeMap::new();
    for request in requests {
        let number = request["resultset_id"].as_str().map(str::to_owned);
        if let Some(number) = number.or_else(|| request["resultset_id"].as_u64().map(|number| number.to_string())) {
            pushes.insert((request["project"].as_str().unwrap().to_owned(), number), ());
        }
    }
    let landed = pushes.into_keys().map(|(project, number)| {
        let number: u64 = number.parse().unwrap();
        json!({
            "exchange": "exchange/hgpushes/v1", "routingKey": project,
            "payload": {
                "payload": {
                    "repo_url": format!("https://hg.example.org/{project}"), "heads": [format!("{number:040x}")],
                    "pushlog_pushes": [{
                        "time": 1_400_000_000 + number, "pushid": number, "user": "lander@example.org",
                        "push_json_url": "https://hg.example.org/x", "push_full_json_url": "https://hg.example.org/x",
                    }],
                },
                "_meta": { "exchange": "exchange/hgpushes/v1", "routing_key": project },
            },
        })
    });
    let asked = requests.iter().map(|request| {
        let exchange = match (&request["action"], &request["buildernames"]) {
            (Value::String(action), _) if action == "backfill" => "job-actions",
            (_, Value::Array(_)) => "resultset-runnable-job-actions",
            _ => "resultset-actions",
        };
        json!({ "exchange": format!("exchange/treeherder/v1/{exchange}"), "routingKey": "x", "payload": request })
    });
    landed.chain(asked).collect()
}

fn replay(requests: &[Value]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let path = command::write_lines(folder.path(), "requests.jsonl", recording(requests));
    command::json(&["replay", path.to_str().unwrap(), "--format", "json"])
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

#[test]
fn each_recorded_request_is_a_case_or_a_refusal_by_name() {
    let text = std::fs::read_to_string("tests/data/pulse/treeherder-requests.jsonl").unwrap();
    let requests: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["message"].clone())
        .collect();
    let answer = replay(&requests);
    assert_eq!(answer["events"]["request.received"], requests.len());
    let refused: u64 = ["facts-unknown", "nothing-missing", "not-possible", "joined"]
        .iter()
        .map(|reason| count(&answer["suppressed"][reason]))
        .sum();
    let left_out: u64 = ["duplicate", "no-case-kind"]
        .iter()
        .map(|reason| count(&answer["discarded"][reason]))
        .sum();
    assert_eq!(
        count(&answer["opened"]) + refused + left_out,
        requests.len() as u64,
        "{answer:#}"
    );
    let added = answer["cases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|case| case["rule"] == "add-on-request");
    let named = requests
        .iter()
        .filter(|request| request["buildernames"].is_array())
        .count();
    assert!(added.count() * 10 >= named * 5, "most lists of jobs become cases");
}

#[test]
fn repeats_in_a_stream_of_requests_become_one() {
    let add = |push: u64, label: &str| json!({ "project": "try", "buildernames": [label], "version": 1, "requester": "a@example.org", "resultset_id": push.to_string() });
    let requests: Vec<Value> = (0..300_u64)
        .map(|n| match n % 5 {
            0 => json!({ "resultset_id": (n / 50).to_string(), "times": 1, "project": "try", "version": 1, "requester": "b@example.org", "action": "cancel_all" }),
            k => add(100 + n / 50, &format!("Windows 8 64-bit try opt test mochitest-{k}")),
        })
        .collect();
    let answer = replay(&requests);
    assert_eq!(answer["discarded"]["no-case-kind"], 60);
    assert_eq!(answer["opened"], 24, "four labels on six pushes");
    assert_eq!(answer["discarded"]["duplicate"], 240 - 24);
    assert_eq!(answer["jobs"], 24);
}

fn lines(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(format!("tests/data/platforms/{file}")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Writes a task graph and asks for its catalog.
fn catalog(graph: &Value, format: &str) -> Vec<u8> {
    let mut file = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
    file.write_all(graph.to_string().as_bytes()).unwrap();
    let output = command::sheriffd(&["catalog", "--graph", file.path().to_str().unwrap(), "--format", format]);
    assert!(output.status.success(), "{}", command::errors(&output));
    output.stdout
}

#[test]
fn the_form_of_mozcis_tests_per_platform_can_be_produced() {
    let recorded = lines("tests-per-platform.jsonl");
    for graph_of in ["2016", "2017"] {
        let wanted: Vec<&Value> = recorded.iter().filter(|line| line["graph"] == graph_of).collect();
        let mut graph = serde_json::Map::new();
        for line in &wanted {
            let attributes = json!({ "build_platform": line["platform"], "build_type": line["build_type"] });
            for (build, tests) in line["builders"].as_object().unwrap() {
                graph.insert(
                    build.clone(),
                    json!({ "kind": "build", "attributes": attributes, "dependencies": {} }),
                );
                for test in tests.as_array().unwrap() {
                    let test = test.as_str().unwrap();
                    graph.insert(
                        test.to_owned(),
                        json!({ "kind": "test", "dependencies": { "build": build } }),
                    );
                }
            }
        }
        let printed = String::from_utf8(catalog(&Value::Object(graph), "mozci")).unwrap();
        let got: Vec<Value> = printed
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(got.len(), wanted.len());
        for line in wanted {
            let mut line = line.clone();
            line.as_object_mut().unwrap().remove("graph");
            for labels in line["builders"].as_object_mut().unwrap().values_mut() {
                labels.as_array_mut().unwrap().sort_by_key(Value::to_string);
            }
            assert!(got.contains(&line), "{line:#}\n{printed}");
        }
    }
}

#[test]
fn a_catalog_names_the_build_that_each_test_needs() {
    let recorded = lines("upstream-builders-2015.jsonl");
    let mut graph = serde_json::Map::new();
    for line in &recorded {
        let build = line["upstream"].as_str().unwrap();
        graph.insert(build.to_owned(), json!({ "kind": "build" }));
        let test = line["builder"].as_str().unwrap();
        graph.insert(
            test.to_owned(),
            json!({ "kind": "test", "dependencies": { "build": build } }),
        );
    }
    let answer: Value = serde_json::from_slice(&catalog(&Value::Object(graph), "json")).unwrap();
    let builds: BTreeMap<&str, &str> = answer["tests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|test| {
            (
                test["label"].as_str().unwrap(),
                test["build"].as_str().unwrap_or_default(),
            )
        })
        .collect();
    for line in &recorded {
        let test = line["builder"].as_str().unwrap();
        assert_eq!(builds.get(test).copied(), line["upstream"].as_str(), "{test}");
    }
}

#[tokio::test]
async fn the_api_opens_cases_for_whoever_knows_the_token() {
    use sheriffd::web::{Readiness, RulesShown, WebState, serve};

    let mut world = World::new("autoland");
    world.run().await;
    let config = sheriffd::secret::Secret::new("open sesame");
    let state = WebState {
        store: world.pipeline.store().clone(),
        metrics: sheriffd::telemetry::install_metrics().unwrap(),
        readiness: Arc::new(Readiness::default()),
        clock: world.ci.clock(),
        rules: Arc::new(RwLock::new(RulesShown::of(&RuleSet::parse(&[]).unwrap()))),
        reload: None,
        token: Some(config.clone()),
        engine: Some(Arc::new(EngineSettings::default())),
    };
    let address = serve(([127, 0, 0, 1], 0).into(), state).await.unwrap();
    let client = reqwest::Client::new();
    let post = |body: Value, token: String| {
        let request = client.post(format!("http://{address}/api/cases")).json(&body);
        async move {
            request
                .header("Authorization", format!("Bearer {token}"))
                .send()
                .await
                .unwrap()
        }
    };
    let body = json!({
        "project": "autoland", "push": 9, "requester": "somebody",
        "case": { "params": { "kind": "add", "labels": [LABELS[1]] } },
    });
    assert_eq!(post(body.clone(), "guess".into()).await.status(), 401);
    let token = config.expose().to_owned();
    let opened = post(body.clone(), token.clone()).await;
    assert_eq!(opened.status(), 201);
    let opened: Value = opened.json().await.unwrap();
    assert_eq!(opened["state"], "opened");
    assert_eq!(opened["case"]["targets"][0]["label"], LABELS[1]);
    let unknown = json!({ "project": "autoland", "push": 9, "case": { "params": { "kind": "add", "lables": [] } } });
    assert_eq!(post(unknown, token.clone()).await.status(), 422);
    let nowhere = json!({ "project": "autoland", "push": 99, "case": { "params": { "kind": "fill" } } });
    assert_eq!(post(nowhere, token).await.status(), 409);
}
