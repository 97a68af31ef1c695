//! Builders of deliveries: recorded ones from `tests/data`, and task messages made after the published schema.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use sheriffd::event::{BackendName, Delivery, Event, JobEvent};
use sheriffd::wire::{DEFAULT_MAX_BODY, DecodeError, Decoded, WireSettings, decode, recorded};

/// Recorded files of messages, and the exchange of those that do not name it.
pub const RECORDINGS: [(&str, Option<&str>); 9] = [
    ("pulse/taskcluster-queue.jsonl", None),
    ("pulse/hgpushes-v1.json", None),
    ("pulse/hgpushes-v2.json", None),
    ("pulse/github.jsonl", None),
    (
        "pulse/treeherder-jobs.jsonl",
        Some("exchange/taskcluster-treeherder/v1/jobs"),
    ),
    ("pulse/treeherder-requests.jsonl", None),
    (
        "pulse/treeherder-job-action-example.json",
        Some("exchange/treeherder/v1/job-actions"),
    ),
    ("pulse/buildbot-build.jsonl", None),
    ("pulse/buildbot-normalized.jsonl", Some("exchange/build/normalized")),
];

/// A file of the test data.
pub fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file)
}

/// A file's text.
pub fn text(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// A file's records: its lines, or the whole file when it holds one record over several lines.
pub fn records(file: &str) -> Vec<String> {
    let text = text(file);
    if file.ends_with(".json") {
        vec![text]
    } else {
        text.lines().map(str::to_owned).collect()
    }
}

/// The messages of a recording.
pub fn deliveries(file: &str, fallback: Option<&str>) -> Vec<Delivery> {
    let numbered = records(file).into_iter().zip(1..);
    let read = |(line, tag): (String, u64)| {
        recorded::delivery(&line, tag, fallback)
            .expect("a recording")
            .expect("a message")
    };
    numbered.map(read).collect()
}

/// Settings as the daemon would have them.
pub fn settings() -> WireSettings {
    WireSettings {
        backend: BackendName::from("firefox-ci"),
        max_body: DEFAULT_MAX_BODY,
    }
}

/// A delivery of a body to an exchange.
pub fn delivery(exchange: &str, routing_key: &str, body: impl Into<Vec<u8>>) -> Delivery {
    Delivery {
        exchange: exchange.into(),
        routing_key: routing_key.into(),
        cc: Vec::new(),
        redelivered: false,
        body: Bytes::from(body.into()),
        tag: 1,
    }
}

/// A task message in the making: version 1 of the published schema, one task, runs added in order.
#[derive(Clone)]
pub struct TaskMessage {
    kind: &'static str,
    named_run: Option<u32>,
    runs: Vec<Value>,
    tags: Value,
    cc: Vec<Arc<str>>,
    version: Value,
}

/// A message of the exchange `task-<kind>`.
pub fn task(kind: &'static str) -> TaskMessage {
    TaskMessage {
        kind,
        named_run: None,
        runs: Vec::new(),
        tags: json!({}),
        cc: Vec::new(),
        version: json!(1),
    }
}

impl TaskMessage {
    /// The run that the message is about.
    pub fn about_run(mut self, run: u32) -> Self {
        self.named_run = Some(run);
        self
    }

    /// Adds a run to the queue's record: its state and how it was resolved. Run n is scheduled at minute 10n, starts a
    /// minute later and ends at minute 10n + 5, as far as its state says.
    pub fn run(mut self, state: &str, reason_resolved: Option<&str>) -> Self {
        let run = self.runs.len();
        let minute = |offset: usize| format!("2026-06-01T10:{:02}:00.000Z", run * 10 + offset);
        let created = if run == 0 { "scheduled" } else { "retry" };
        let mut entry = json!({"runId": run, "state": state, "reasonCreated": created, "scheduled": minute(0)});
        if state != "pending" && reason_resolved != Some("deadline-exceeded") {
            entry["started"] = json!(minute(1));
            entry["workerGroup"] = json!("us-east1-c");
            entry["workerId"] = json!(format!("worker-{run}"));
            entry["takenUntil"] = json!(minute(9));
        }
        if let Some(reason) = reason_resolved {
            entry["reasonResolved"] = json!(reason);
        }
        if !matches!(state, "pending" | "running") {
            entry["resolved"] = json!(minute(5));
        }
        self.runs.push(entry);
        self
    }

    /// The task's tags.
    pub fn tags(mut self, tags: Value) -> Self {
        self.tags = tags;
        self
    }

    /// A route of the task, sent as a further routing key.
    pub fn route(mut self, route: &str) -> Self {
        self.cc.push(format!("route.{route}").into());
        self
    }

    /// Another version than 1.
    pub fn version(mut self, version: Value) -> Self {
        self.version = version;
        self
    }

    /// The body.
    pub fn body(&self) -> Value {
        let last = self
            .runs
            .last()
            .map_or(json!("unscheduled"), |run| run["state"].clone());
        let mut body = json!({
            "version": self.version,
            "status": {
                "taskId": "TWIXsqxDTame750yV3a_0A", "provisionerId": "gecko-t", "workerType": "t-linux-large",
                "taskQueueId": "gecko-t/t-linux-large", "schedulerId": "gecko-level-3", "projectId": "none",
                "taskGroupId": "ea3Ml2aSTM2XtJSn5x9OgA", "deadline": "2026-06-02T10:00:00.000Z",
                "expires": "2027-06-01T10:00:00.000Z", "retriesLeft": 5, "state": last, "runs": self.runs,
            },
            "task": {"tags": self.tags},
        });
        if let Some(run) = self.named_run {
            body["runId"] = json!(run);
        }
        body
    }

    /// The delivery.
    pub fn delivery(&self) -> Delivery {
        let exchange = format!("exchange/taskcluster-queue/v1/task-{}", self.kind);
        Delivery {
            cc: self.cc.clone(),
            ..delivery(&exchange, "primary.TWIXsqxDTame750yV3a_0A.0", self.body().to_string())
        }
    }

    /// Reads it.
    pub fn decode(&self) -> Result<Decoded, DecodeError> {
        decode(&self.delivery(), &settings())
    }

    /// Reads it, and takes the one job that it must hold.
    pub fn job(&self) -> JobEvent {
        match self.decode() {
            Ok(Decoded::Events(events)) => match events.as_slice() {
                [Event::Job(job)] => (**job).clone(),
                other => panic!("not one job: {other:?}"),
            },
            other => panic!("no event: {other:?}"),
        }
    }
}
