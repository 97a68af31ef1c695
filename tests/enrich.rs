//! Sources of facts: over HTTP from a queue and a pushlog, from recordings, and behind the cache.

#[path = "common/fake_taskcluster.rs"]
mod fake_taskcluster;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use fake_taskcluster::{FakeTaskcluster, Fault};
use serde_json::{Value, json};
use sheriffd::enrich::{
    CacheSettings, CachedSource, FactError, FactSource, FailureFacts, PushQuery, PushlogSettings, PushlogSource,
    QueueSettings, QueueSource, RecordedSource, Sources,
};
use sheriffd::event::{BackendName, JobFacts, Label, Project, PushEvent, PushId, Revision, RunKey, TaskId};
use sheriffd::net::system_clock;
use tokio::sync::{Notify, Semaphore};

const TASK: &str = "KkDeSaLFSq-OFo1QGc-hGQ";
const SUMMARY: &str = "tests/data/errorsummary/plain-chunked_errorsummary.log";
const PUSHLOG: &str = "tests/data/hg/json-pushes.jsonl";

fn tc() -> BackendName {
    BackendName::from("tc")
}

fn run() -> RunKey {
    RunKey {
        backend: tc(),
        task: TaskId::from(TASK),
        run: 0,
    }
}

fn queue(fake: &FakeTaskcluster) -> QueueSource {
    let settings = QueueSettings {
        root_url: fake.root_url(),
        timeout_seconds: 2,
        ..QueueSettings::default()
    };
    QueueSource::new(tc(), settings, system_clock()).unwrap()
}

fn definition() -> Value {
    json!({
        "taskGroupId": "G", "workerType": "t-linux", "metadata": {"name": "test-linux/opt-mochitest-1"},
        "routes": ["tc-treeherder.v2.autoland.eec1748dad2e.123"], "tags": {"kind": "test"}, "payload": {}, "extra": {},
    })
}

fn answers(status: u16, headers: &[(&str, &str)], body: &str) -> Fault {
    let headers = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Fault::Answer {
        status,
        headers,
        body: body.to_owned(),
    }
}

// The queue service.

#[tokio::test]
async fn a_task_definition_says_what_its_job_is() {
    let fake = FakeTaskcluster::start().await;
    fake.change(|world| {
        world.tasks.insert(TASK.to_owned(), definition());
    });
    let facts = queue(&fake).task(&tc(), &TaskId::from(TASK)).await.unwrap();
    assert_eq!(facts.label, Some(Label::from("test-linux/opt-mochitest-1")));
    assert_eq!(
        (facts.project, facts.push),
        (Some(Project::from("autoland")), Some(PushId(123)))
    );
}

#[tokio::test]
async fn each_failure_of_the_queue_has_its_meaning() {
    let fake = FakeTaskcluster::start().await;
    let source = queue(&fake);
    let ask = async || source.task(&tc(), &TaskId::from(TASK)).await.unwrap_err();
    assert_eq!(ask().await, FactError::Absent(format!("task {TASK}")));
    fake.fail("GET", "/api/queue", answers(429, &[("retry-after", "9")], ""));
    let nine = Some(Duration::from_secs(9));
    assert!(matches!(ask().await, FactError::Later { retry_after, .. } if retry_after == nine));
    fake.fail("GET", "/api/queue", answers(403, &[], ""));
    assert!(matches!(ask().await, FactError::Later { retry_after: None, .. }));
    fake.fail("GET", "/api/queue", answers(200, &[], "<html>"));
    assert!(matches!(ask().await, FactError::Malformed(_)));
    fake.fail("GET", "/api/queue", answers(200, &[], &" ".repeat(5 << 20)));
    assert!(matches!(ask().await, FactError::Malformed(why) if why.contains("too large")));
    for fault in [
        Fault::Hang { acts: false },
        Fault::Close { acts: false },
        Fault::CloseMidway { acts: false },
    ] {
        fake.fail("GET", "/api/queue", fault.clone());
        assert!(matches!(ask().await, FactError::Later { .. }), "{fault:?}");
    }
    let other = source
        .task(&BackendName::from("other"), &TaskId::from(TASK))
        .await
        .unwrap_err();
    assert!(matches!(other, FactError::NoSource(_)));
}

#[tokio::test]
async fn error_summaries_of_a_run_say_what_failed_and_what_ran() {
    let fake = FakeTaskcluster::start().await;
    let summary = std::fs::read_to_string(SUMMARY).unwrap();
    fake.change(|world| {
        world.add_artifact(TASK, "public/test_info/plain-chunked_errorsummary.log", &summary);
        world.add_artifact(TASK, "public/logs/live.log", "not read");
    });
    let facts = queue(&fake).failures(&run()).await.unwrap();
    let tests: Vec<&str> = facts.signatures.iter().map(|signature| &*signature.test).collect();
    assert_eq!(
        tests,
        ["toolkit/content/tests/widgets/test_videocontrols_video_direction.html"]
    );
    assert!(
        fake.requests()
            .iter()
            .all(|request| !request.path.ends_with("live.log"))
    );
}

#[tokio::test]
async fn a_run_without_error_summaries_names_no_failure() {
    let fake = FakeTaskcluster::start().await;
    assert_eq!(queue(&fake).failures(&run()).await, Ok(FailureFacts::default()));
}

#[tokio::test]
async fn an_error_summary_over_the_limit_is_not_read_to_its_end() {
    let fake = FakeTaskcluster::start().await;
    fake.change(|world| world.add_artifact(TASK, "public/errorsummary.log", &"x".repeat(5_000)));
    let settings = QueueSettings {
        root_url: fake.root_url(),
        max_summary_bytes: 1_000,
        ..QueueSettings::default()
    };
    let source = QueueSource::new(tc(), settings, system_clock()).unwrap();
    assert!(
        matches!(source.failures(&run()).await, Err(FactError::Malformed(why)) if why.contains("more than 1000 bytes"))
    );
}

// The pushlog.

fn pushlog(fake: &FakeTaskcluster) -> PushlogSource {
    let paths: BTreeMap<String, String> = [("autoland".to_owned(), "integration/autoland".to_owned())].into();
    let settings = PushlogSettings {
        base_url: fake.root_url(),
        paths,
        timeout_seconds: 2,
        ..PushlogSettings::default()
    };
    PushlogSource::new(settings, system_clock()).unwrap()
}

/// Two of the recorded pushes as one answer of json-pushes.
fn recorded_answer() -> String {
    let text = std::fs::read_to_string(PUSHLOG).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let two = records.filter(|record| record["pushid"] == 33_269 || record["pushid"] == 33_271);
    let pushes: serde_json::Map<String, Value> = two
        .map(|record| (record["pushid"].to_string(), record["push"].clone()))
        .collect();
    json!({"lastpushid": 33_271, "pushes": pushes}).to_string()
}

#[tokio::test]
async fn a_push_is_found_by_its_head_revision() {
    let fake = FakeTaskcluster::start().await;
    fake.fail(
        "GET",
        "/integration/autoland/json-pushes",
        answers(200, &[], &recorded_answer()),
    );
    let revision = Revision::from("5371262398a0c4d194832052ca932c1e44279758");
    let found = pushlog(&fake)
        .pushes(&Project::from("autoland"), &PushQuery::Revision(revision.clone()))
        .await
        .unwrap();
    assert_eq!(
        (found.len(), found[0].push, &found[0].revision),
        (1, Some(PushId(33_269)), &revision)
    );
    assert_eq!(
        fake.requests()[0].target,
        format!("/integration/autoland/json-pushes?version=2&full=1&changeset={revision}")
    );
}

#[tokio::test]
async fn a_range_of_pushes_is_asked_for_in_pages_and_cut_to_what_was_wanted() {
    let fake = FakeTaskcluster::start().await;
    fake.fail("GET", "/try/json-pushes", answers(200, &[], &recorded_answer()));
    fake.fail(
        "GET",
        "/try/json-pushes",
        answers(200, &[], r#"{"lastpushid": 33271, "pushes": {}}"#),
    );
    let query = PushQuery::Range {
        from: PushId(33_270),
        to: PushId(33_400),
    };
    let found = pushlog(&fake).pushes(&Project::from("try"), &query).await.unwrap();
    assert_eq!(
        found.iter().map(|push| push.push).collect::<Vec<_>>(),
        [Some(PushId(33_271))]
    );
    let targets: Vec<String> = fake.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(
        targets,
        [
            "/try/json-pushes?version=2&full=1&startID=33269&endID=33369",
            "/try/json-pushes?version=2&full=1&startID=33369&endID=33400",
        ]
    );
}

#[tokio::test]
async fn a_projects_name_is_only_ever_a_path_at_the_server() {
    let fake = FakeTaskcluster::start().await;
    let source = pushlog(&fake);
    let query = PushQuery::Range {
        from: PushId(1),
        to: PushId(2),
    };
    for name in ["..", "a/../b", "", "/", "a//b"] {
        assert!(
            matches!(
                source.pushes(&Project::from(name), &query).await,
                Err(FactError::Absent(_))
            ),
            "{name}"
        );
    }
    assert!(fake.requests().is_empty());
    let _ = source.pushes(&Project::from("x?y=#z@evil.example"), &query).await;
    assert!(
        fake.requests()[0]
            .target
            .starts_with("/x%3Fy=%23z@evil.example/json-pushes?"),
        "{}",
        fake.requests()[0].target
    );
}

#[tokio::test]
async fn a_range_too_long_for_one_question_is_refused() {
    let fake = FakeTaskcluster::start().await;
    let query = PushQuery::Range {
        from: PushId(1),
        to: PushId(u64::MAX),
    };
    let error = pushlog(&fake).pushes(&Project::from("try"), &query).await.unwrap_err();
    assert!(matches!(error, FactError::Malformed(_)), "{error}");
}

// Recordings.

#[tokio::test]
async fn recorded_tasks_and_pushes_give_the_same_facts() {
    let folder = tempfile::tempdir().unwrap();
    let tasks = folder.path().join("tasks.jsonl");
    let lines = [
        json!({"taskId": TASK, "task": definition()}),
        json!({"taskId": null, "task": {}, "more": 1}),
    ];
    std::fs::write(&tasks, format!("{}\n\n{}\n", lines[0], lines[1])).unwrap();
    let mut source = RecordedSource::default();
    assert!(matches!(
        source.task(&tc(), &TaskId::from(TASK)).await,
        Err(FactError::NoSource("tasks"))
    ));
    source.add_tasks(&tasks).unwrap();
    source.add_pushes(PUSHLOG.as_ref(), &Project::from("unused")).unwrap();
    let facts = source.task(&tc(), &TaskId::from(TASK)).await.unwrap();
    assert_eq!(facts.label, Some(Label::from("test-linux/opt-mochitest-1")));
    assert!(matches!(
        source.task(&tc(), &TaskId::from("x")).await,
        Err(FactError::Absent(_))
    ));
    let project = Project::from("(test repository)");
    let range = PushQuery::Range {
        from: PushId(33_270),
        to: PushId(33_300),
    };
    assert_eq!(
        source.pushes(&project, &range).await.unwrap()[0].push,
        Some(PushId(33_271))
    );
}

#[tokio::test]
async fn compressed_recordings_and_whole_answers_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("answer.json.gz");
    let pretty = serde_json::to_string_pretty(&serde_json::from_str::<Value>(&recorded_answer()).unwrap()).unwrap();
    let file = std::fs::File::create(&path).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, pretty.as_bytes()).unwrap();
    encoder.finish().unwrap();
    let mut source = RecordedSource::default();
    source.add_pushes(&path, &Project::from("inbound")).unwrap();
    let query = PushQuery::Range {
        from: PushId(1),
        to: PushId(99_999),
    };
    assert_eq!(source.pushes(&Project::from("inbound"), &query).await.unwrap().len(), 2);
}

#[test]
fn a_bad_line_of_a_recording_is_named_by_file_and_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tasks.jsonl");
    std::fs::write(&path, "{\"taskId\": null, \"task\": {}}\nnonsense\n").unwrap();
    let error = RecordedSource::default().add_tasks(&path).unwrap_err().to_string();
    assert!(error.contains("tasks.jsonl, line 2: "), "{error}");
    let missing = RecordedSource::default()
        .add_tasks(&folder.path().join("none"))
        .unwrap_err()
        .to_string();
    assert!(missing.contains("none cannot be read: "), "{missing}");
}

// The cache.

/// A source that counts what it is asked, and answers when it is let.
#[derive(Default)]
struct Counting {
    asked: AtomicUsize,
    under_way: AtomicUsize,
    most: AtomicUsize,
    gate: Option<Arc<Semaphore>>,
    arrived: Arc<Notify>,
    error: Option<FactError>,
    panics: bool,
}

#[async_trait]
impl FactSource for Counting {
    async fn task(&self, _backend: &BackendName, task: &TaskId) -> Result<JobFacts, FactError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        self.arrived.notify_one();
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        assert!(!self.panics, "told to");
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        match &self.error {
            Some(error) => Err(error.clone()),
            None => Ok(JobFacts {
                label: Some(Label::from(task.as_str())),
                ..JobFacts::default()
            }),
        }
    }

    async fn failures(&self, _run: &RunKey) -> Result<FailureFacts, FactError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(FailureFacts::default())
    }

    async fn pushes(&self, _project: &Project, _query: &PushQuery) -> Result<Vec<PushEvent>, FactError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(Vec::new())
    }
}

fn cached(source: Counting, settings: CacheSettings) -> (Arc<Counting>, CachedSource) {
    let source = Arc::new(source);
    (source.clone(), CachedSource::new(source, settings))
}

fn fast() -> CacheSettings {
    CacheSettings {
        per_second: 1e9,
        burst: 1_000,
        ..CacheSettings::default()
    }
}

fn task(n: usize) -> TaskId {
    TaskId::from(format!("task-{n}"))
}

#[tokio::test]
async fn a_fact_is_asked_for_once() {
    let (source, cache) = cached(Counting::default(), fast());
    for _ in 0..3 {
        assert_eq!(
            cache.task(&tc(), &task(1)).await.unwrap().label,
            Some(Label::from("task-1"))
        );
        assert_eq!(cache.failures(&run()).await, Ok(FailureFacts::default()));
    }
    assert_eq!(source.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_cache_holds_no_more_than_its_capacity() {
    let (source, cache) = cached(Counting::default(), CacheSettings { capacity: 2, ..fast() });
    for n in [1, 2, 3, 1] {
        cache.task(&tc(), &task(n)).await.unwrap();
    }
    assert_eq!(source.asked.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn equal_questions_at_one_time_are_one_question_whoever_goes_away() {
    let gate = Arc::new(Semaphore::new(0));
    let (source, cache) = cached(
        Counting {
            gate: Some(gate.clone()),
            ..Counting::default()
        },
        fast(),
    );
    let ask = || {
        let cache = cache.clone();
        tokio::spawn(async move { cache.task(&tc(), &task(1)).await })
    };
    let first = ask();
    source.arrived.notified().await;
    let others: Vec<_> = (0..5).map(|_| ask()).collect();
    first.abort();
    gate.add_permits(1);
    for other in others {
        assert!(other.await.unwrap().is_ok());
    }
    assert_eq!(source.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn no_more_questions_than_allowed_are_under_way_or_waiting() {
    let gate = Arc::new(Semaphore::new(0));
    let settings = CacheSettings {
        concurrent: 2,
        max_waiting: 5,
        ..fast()
    };
    let (source, cache) = cached(
        Counting {
            gate: Some(gate.clone()),
            ..Counting::default()
        },
        settings,
    );
    let questions: Vec<_> = (0..9)
        .map(|n| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.task(&tc(), &task(n)).await })
        })
        .collect();
    source.arrived.notified().await;
    gate.add_permits(9);
    let mut answered = 0;
    for question in questions {
        answered += usize::from(question.await.unwrap().is_ok());
    }
    assert_eq!(answered, 5);
    assert!(source.most.load(Ordering::SeqCst) <= 2);
}

#[tokio::test]
async fn absence_is_remembered_and_trouble_is_not() {
    let absent = Counting {
        error: Some(FactError::Absent("task".into())),
        ..Counting::default()
    };
    let trouble = FactError::Later {
        retry_after: None,
        detail: "away".into(),
    };
    for (source, asked) in [
        (absent, 1),
        (
            Counting {
                error: Some(trouble),
                ..Counting::default()
            },
            3,
        ),
    ] {
        let (source, cache) = cached(source, fast());
        for _ in 0..3 {
            assert!(cache.task(&tc(), &task(1)).await.is_err());
        }
        assert_eq!(source.asked.load(Ordering::SeqCst), asked);
    }
}

#[tokio::test]
async fn a_source_that_names_a_time_is_left_alone_until_then() {
    let error = FactError::Later {
        retry_after: Some(Duration::from_secs(600)),
        detail: "slow down".into(),
    };
    let (source, cache) = cached(
        Counting {
            error: Some(error),
            ..Counting::default()
        },
        fast(),
    );
    assert!(cache.task(&tc(), &task(1)).await.is_err());
    let Err(FactError::Later {
        retry_after: Some(wait),
        ..
    }) = cache.task(&tc(), &task(2)).await
    else {
        panic!("the source is left alone");
    };
    assert!(wait <= Duration::from_secs(600));
    assert_eq!(source.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_source_that_panics_blocks_nobody() {
    let (source, cache) = cached(
        Counting {
            panics: true,
            ..Counting::default()
        },
        fast(),
    );
    for _ in 0..2 {
        assert!(matches!(
            cache.task(&tc(), &task(1)).await,
            Err(FactError::Later { .. })
        ));
    }
    assert_eq!(source.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn sources_of_two_kinds_are_one() {
    let tasks = Arc::new(Counting::default());
    let pushes = Arc::new(Counting::default());
    let sources = Sources {
        tasks: tasks.clone(),
        pushes: pushes.clone(),
        bugs: Arc::new(RecordedSource::default()),
        jobs: Arc::new(RecordedSource::default()),
    };
    sources.task(&tc(), &task(1)).await.unwrap();
    sources.failures(&run()).await.unwrap();
    sources
        .pushes(
            &Project::from("p"),
            &PushQuery::Range {
                from: PushId(1),
                to: PushId(2),
            },
        )
        .await
        .unwrap();
    assert_eq!(
        (tasks.asked.load(Ordering::SeqCst), pushes.asked.load(Ordering::SeqCst)),
        (2, 1)
    );
}

// What changesets add.

#[tokio::test]
async fn the_changeset_itself_says_which_files_it_adds() {
    let fake = FakeTaskcluster::start().await;
    let body = json!({"node": "abc", "desc": "d", "files": [
        {"file": "dom/test_new.html", "status": "added"}, {"file": "dom/a.cpp", "status": "modified"},
        {"file": "dom/test_old.html", "status": "removed"}]});
    fake.fail(
        "GET",
        "/integration/autoland/json-rev/abc",
        answers(200, &[], &body.to_string()),
    );
    let settings = PushlogSettings {
        base_url: fake.root_url(),
        paths: BTreeMap::from([("autoland".to_owned(), "integration/autoland".to_owned())]),
        timeout_seconds: 2,
        ..PushlogSettings::default()
    };
    let source = PushlogSource::new(settings, system_clock()).unwrap();
    let cached = CachedSource::new(Arc::new(source), CacheSettings::default());
    for _ in 0..2 {
        let added = cached.added(&Project::from("autoland"), "abc").await.unwrap();
        assert_eq!(added, [Arc::from("dom/test_new.html")]);
    }
    assert_eq!(fake.requests().len(), 1, "a changeset never changes");
}

#[tokio::test]
async fn what_a_run_measured_is_in_its_artifacts_each_value_once() {
    let fake = FakeTaskcluster::start().await;
    let artifact = |suite: &str, value: f64| {
        json!({ "framework": {"name": "talos"}, "suites": [
            {"name": suite, "value": value, "subtests": []}, {"name": "both", "value": 1.0, "subtests": []},
        ]})
    };
    fake.change(|world| {
        world.add_artifact(TASK, "public/perfherder-data.json", &artifact("a", 10.5).to_string());
        world.add_artifact(
            TASK,
            "public/test_info/perfherder-data-2.json",
            &artifact("b", 20.0).to_string(),
        );
        world.add_artifact(TASK, "public/logs/live.log", "not read");
    });
    let values = queue(&fake).values(&run()).await.unwrap();
    let mut found: Vec<(&str, f64)> = values
        .iter()
        .map(|measured| (&*measured.series, measured.value))
        .collect();
    found.sort_by(|a, b| a.0.cmp(b.0));
    assert_eq!(found, [("a", 10.5), ("b", 20.0), ("both", 1.0)]);
}

#[tokio::test]
async fn an_artifact_that_is_no_result_says_which_it_is() {
    let fake = FakeTaskcluster::start().await;
    fake.change(|world| world.add_artifact(TASK, "public/perfherder-data.json", "{\"suites\": 3}"));
    let error = queue(&fake).values(&run()).await.unwrap_err();
    assert!(
        matches!(&error, FactError::Malformed(why) if why.contains("perfherder-data.json")),
        "{error}"
    );
    let none = FakeTaskcluster::start().await;
    none.change(|world| world.add_artifact(TASK, "public/logs/live.log", "not read"));
    assert_eq!(queue(&none).values(&run()).await.unwrap(), Vec::new());
}
