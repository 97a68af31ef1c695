//! What can run on a push: its task graph, fetched from a Taskcluster that speaks the recorded wire format; and the catalog
//! that is made of it.

#[path = "common/command.rs"]
#[expect(dead_code, reason = "every test binary uses another part of it")]
mod command;
#[path = "common/fake_taskcluster.rs"]
mod fake_taskcluster;

use fake_taskcluster::{Artifact, FakeTaskcluster, Fault, Storage};
use serde_json::{Value, json};
use sheriffd::enrich::{FactError, FactSource as _, GraphQuery, QueueSettings, QueueSource};
use sheriffd::event::{Label, Project, PushId, Revision, TaskGraph};
use sheriffd::net::system_clock;

const DECISION: &str = "HDnvYOibTMS8h_5Qzv6fWg";
const REVISION: &str = "eec1748dad2ec002e4d9c71f926ccb67a3b88d73";
const BUILD: &str = "build-linux64/opt";
const TEST: &str = "test-linux64/opt-xpcshell-1";
const FULL: &str = "public/full-task-graph.json";
const TARGETS: &str = "public/target-tasks.json";

fn graph() -> Value {
    json!({
        BUILD: {
            "label": BUILD, "kind": "build", "dependencies": {},
            "attributes": {"build_platform": "linux64", "build_type": "opt"}, "task": {"payload": {"x": "}{\"["}},
        },
        TEST: {
            "label": TEST, "kind": "test", "dependencies": {"build": BUILD},
            "attributes": {
                "test_platform": "linux64/opt",
                "test_manifests": ["dom/test/xpcshell.toml", "dom/test/deep/xpcshell.toml", "toolkit/xpcshell.toml"],
            },
            "task": {},
        },
    })
}

/// A push whose decision task has these artifacts.
async fn with_push(artifacts: &[(&str, String)]) -> FakeTaskcluster {
    let fake = FakeTaskcluster::start().await;
    fake.add_push("autoland", REVISION, DECISION, r#"{"version": 1, "actions": []}"#);
    fake.change(|world| {
        for (name, content) in artifacts {
            world.add_artifact(DECISION, name, content);
        }
    });
    fake
}

async fn fetched(fake: &FakeTaskcluster, change: impl FnOnce(&mut QueueSettings)) -> Result<TaskGraph, FactError> {
    let mut settings = QueueSettings {
        root_url: fake.root_url(),
        timeout_seconds: 2,
        ..QueueSettings::default()
    };
    change(&mut settings);
    let source = QueueSource::new("ci".into(), settings, system_clock()).unwrap();
    let query = GraphQuery {
        push: PushId(7),
        revision: Some(Revision::from(REVISION)),
        places: vec!["dom/test".into()],
    };
    source.graph(&Project::from("autoland"), &query).await
}

#[tokio::test]
async fn a_graph_says_what_can_run_what_it_needs_and_what_was_meant_to_run() {
    let fake = with_push(&[(FULL, graph().to_string()), (TARGETS, json!([BUILD]).to_string())]).await;
    let graph = fetched(&fake, |_| {}).await.unwrap();
    let test = &graph.jobs[&Label::from(TEST)];
    assert_eq!(test.platform.as_deref(), Some("linux64/opt"));
    assert_eq!(test.needs, [Label::from(BUILD)]);
    assert!(!test.targeted && graph.jobs[&Label::from(BUILD)].targeted);
    assert_eq!(graph.jobs.len(), 2);
    let groups: Vec<&str> = test.groups.iter().map(|group| &**group).collect();
    assert_eq!(
        groups,
        ["dom/test/xpcshell.toml"],
        "of the hundreds of a job, those that were asked about"
    );
}

#[tokio::test]
async fn a_compressed_artifact_is_read_as_it_is_stored() {
    let fake = with_push(&[]).await;
    fake.change(|world| {
        let artifact = Artifact {
            content: graph().to_string(),
            storage: Storage::Redirected,
            gzip: true,
        };
        let artifacts = world.artifacts.entry(DECISION.to_owned()).or_default();
        artifacts.insert(FULL.to_owned(), artifact);
    });
    assert_eq!(fetched(&fake, |_| {}).await.unwrap().jobs.len(), 2);
}

#[tokio::test]
async fn without_a_list_of_targets_what_could_run_is_known_all_the_same() {
    let fake = with_push(&[(FULL, graph().to_string())]).await;
    let graph = fetched(&fake, |_| {}).await.unwrap();
    assert!(graph.jobs.values().all(|job| !job.targeted) && graph.jobs.len() == 2);
}

#[tokio::test]
async fn a_graph_over_the_limit_is_given_up_and_never_taken_for_a_small_one() {
    let text = graph().to_string();
    let fake = with_push(&[(FULL, text.clone())]).await;
    let limit = text.len() as u64;
    assert!(
        fetched(&fake, |settings| settings.max_task_graph_bytes = limit)
            .await
            .is_ok()
    );
    let error = fetched(&fake, |settings| settings.max_task_graph_bytes = limit - 1)
        .await
        .unwrap_err();
    assert!(matches!(error, FactError::Malformed(_)), "{error:?}");
    assert!(
        error.to_string().contains(&format!("more than {} bytes", limit - 1)),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_not_there_is_said_to_be_absent() {
    let expired = with_push(&[]).await;
    let error = fetched(&expired, |_| {}).await.unwrap_err();
    assert!(
        matches!(&error, FactError::Absent(what) if what.contains(FULL)),
        "{error:?}"
    );
    let unknown = FakeTaskcluster::start().await;
    let error = fetched(&unknown, |_| {}).await.unwrap_err();
    assert!(
        matches!(&error, FactError::Absent(what) if what.contains("decision task of push 7 of autoland")),
        "{error:?}"
    );
}

#[tokio::test]
async fn nonsense_is_malformed_with_its_place() {
    let cut = {
        let text = graph().to_string();
        text[..text.len() - 1].to_owned()
    };
    for (content, words) in [
        ("[]", "no object of tasks"),
        ("<html>", "no JSON object"),
        ("", "no whole JSON object"),
        (cut.as_str(), "no whole JSON object"),
        (r#"{"a": 1}"#, ""),
        (r#"{"a": {"dependencies": []}}"#, ""),
    ] {
        let fake = with_push(&[(FULL, content.to_owned())]).await;
        let error = fetched(&fake, |_| {}).await.unwrap_err();
        assert!(matches!(error, FactError::Malformed(_)), "{content}: {error:?}");
        assert!(error.to_string().contains(words), "{content}: {error}");
    }
    let targets = with_push(&[(FULL, graph().to_string()), (TARGETS, "{}".to_owned())]).await;
    let error = fetched(&targets, |_| {}).await.unwrap_err();
    assert!(
        matches!(&error, FactError::Malformed(what) if what.contains(TARGETS)),
        "{error:?}"
    );
}

#[tokio::test]
async fn trouble_on_the_way_is_for_later() {
    let fake = with_push(&[(FULL, graph().to_string())]).await;
    for fault in [
        Fault::CloseMidway { acts: false },
        Fault::Answer {
            status: 503,
            headers: Default::default(),
            body: String::new(),
        },
    ] {
        fake.fail("GET", &format!("/__store/{DECISION}/{FULL}"), fault);
        let error = fetched(&fake, |_| {}).await.unwrap_err();
        assert!(matches!(error, FactError::Later { .. }), "{error:?}");
    }
    assert!(fetched(&fake, |_| {}).await.is_ok());
}

// The catalog.

fn catalog(fake: &FakeTaskcluster, name: &str) -> std::process::Output {
    let url = format!("{}/api/queue/v1/task/{DECISION}/artifacts/{name}", fake.root_url());
    command::sheriffd(&["catalog", "--graph", &url])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_is_made_of_a_graph_at_an_address() {
    let fake = with_push(&[(FULL, graph().to_string())]).await;
    let answer = command::read(&catalog(&fake, FULL));
    let wanted = json!({"tests": [
        {"platform": "linux64", "option": "opt", "suite": "xpcshell-1", "label": TEST, "build": BUILD},
    ]});
    assert_eq!(answer, wanted);
    fake.change(|world| {
        let artifacts = world.artifacts.get_mut(DECISION).unwrap();
        artifacts.get_mut(FULL).unwrap().gzip = true;
    });
    assert_eq!(command::read(&catalog(&fake, FULL)), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_that_cannot_be_had_is_no_empty_catalog() {
    let fake = with_push(&[(FULL, "[]".to_owned())]).await;
    for (name, words) in [("public/nothing.json", "404"), (FULL, "no object of tasks")] {
        let output = catalog(&fake, name);
        assert_eq!(output.status.code(), Some(69));
        assert!(output.stdout.is_empty());
        assert!(command::errors(&output).contains(words), "{}", command::errors(&output));
    }
    let nobody = command::sheriffd(&["catalog", "--graph", "http://127.0.0.1:9/graph.json"]);
    assert_eq!(nobody.status.code(), Some(69));
    assert!(
        command::errors(&nobody).contains("could not be reached"),
        "{}",
        command::errors(&nobody)
    );
}
