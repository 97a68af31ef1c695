//! The recorded push of 2019 on the tests' Taskcluster, and what the tests of the Taskcluster backend share.

// Every test binary uses another part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sheriffd::backends::{ActionKey, JobRequest, TaskclusterBackend, TaskclusterSettings};
use sheriffd::event::{BackendName, CaseId, Label, Project, PushId, Revision, RunInput, TaskId};
use sheriffd::net::taskcluster::Credentials;
use sheriffd::net::{Clock, Secret, system_clock};

use crate::fake_taskcluster::{FakeTaskcluster, Fault, Recorded};

pub const CHAIN: &str = "tests/data/taskcluster/add-new-jobs-chain";
pub const GROUP: &str = "HDnvYOibTMS8h_5Qzv6fWg";
pub const REVISION: &str = "eec1748dad2ec002e4d9c71f926ccb67a3b88d73";
pub const LABEL: &str = "test-linux64/debug-xpcshell-e10s-6";
pub const HOOK: &str = "project-gecko/in-tree-action-1-generic/ea5d85cbef";
pub const TRIGGER: &str = "/api/hooks/v1/hooks/project-gecko/in-tree-action-1-generic/ea5d85cbef/trigger";
pub const FIRES: &str = "/api/hooks/v1/hooks/project-gecko/in-tree-action-1-generic/ea5d85cbef/last-fires";

pub fn recorded(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub fn recorded_json(path: &str) -> Value {
    serde_json::from_str(&recorded(path)).unwrap()
}

pub fn chain_actions() -> String {
    recorded(&format!("{CHAIN}/3-actions.json"))
}

pub fn chain_labels() -> Vec<String> {
    recorded(&format!("{CHAIN}/1-selected-tasks.txt"))
        .lines()
        .map(str::to_owned)
        .collect()
}

pub fn settings(fake: &FakeTaskcluster) -> TaskclusterSettings {
    TaskclusterSettings {
        root_url: fake.root_url(),
        credentials: Some(Credentials {
            client_id: "project/sheriffd".to_owned(),
            access_token: Secret::new("the-access-token"),
            certificate: None,
        }),
        timeout_seconds: 2,
        ..TaskclusterSettings::default()
    }
}

pub fn backend(fake: &FakeTaskcluster) -> TaskclusterBackend {
    backend_with(settings(fake), system_clock())
}

pub fn backend_with(settings: TaskclusterSettings, clock: Clock) -> TaskclusterBackend {
    TaskclusterBackend::new(BackendName::from("tc"), settings, clock).unwrap()
}

/// A deployment with the recorded push, all of whose labels exist.
pub async fn with_recorded_push() -> FakeTaskcluster {
    let fake = FakeTaskcluster::start().await;
    fake.add_push("try", REVISION, GROUP, &chain_actions());
    let graph: BTreeMap<String, Value> = chain_labels()
        .into_iter()
        .map(|label| (label, json!({"task": {}})))
        .collect();
    fake.change(|world| world.add_artifact(GROUP, "public/full-task-graph.json", &json!(graph).to_string()));
    fake
}

pub fn request() -> JobRequest {
    JobRequest {
        key: ActionKey {
            case: CaseId(12),
            step: 1,
            slot: 3,
        },
        project: Project::from("try"),
        push: PushId(455_023),
        revision: Revision::from(REVISION),
        label: Label::from(LABEL),
        times: 1,
        existing: None,
        group: None,
        input: RunInput::default(),
        why: "case C12 looks for the push that broke it".to_owned(),
    }
}

/// Puts a run of the label on the recorded push.
pub fn add_existing(fake: &FakeTaskcluster, task: &str, group: &str, tags: Value) -> TaskId {
    fake.change(|world| {
        world.tasks.insert(
            task.to_owned(),
            json!({"taskGroupId": group, "tags": tags, "metadata": {"name": LABEL}}),
        );
    });
    TaskId::from(task)
}

pub fn triggers(fake: &FakeTaskcluster) -> Vec<Recorded> {
    fake.requests()
        .into_iter()
        .filter(|request| request.path.ends_with("/trigger"))
        .collect()
}

pub fn answers(status: u16, body: &str) -> Fault {
    Fault::Answer {
        status,
        headers: BTreeMap::new(),
        body: body.to_owned(),
    }
}

pub fn answers_with(status: u16, header: (&str, &str), body: &str) -> Fault {
    let headers = [(header.0.to_owned(), header.1.to_owned())].into();
    Fault::Answer {
        status,
        headers,
        body: body.to_owned(),
    }
}
