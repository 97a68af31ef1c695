//! What the simulated CI says, in Taskcluster's and the pushlog's words.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::detector::Alert;
use super::world::{Job, Push};
use crate::event::{Delivery, Duration, Outcome, RunState, Timestamp};

/// The provisioner of every simulated worker pool.
const PROVISIONER: &str = "sim-t";

fn delivery(exchange: &str, routing_key: String, cc: Vec<Arc<str>>, body: &Value) -> Delivery {
    Delivery {
        exchange: exchange.into(),
        routing_key: routing_key.into(),
        cc,
        redelivered: false,
        body: Bytes::from(body.to_string()),
        tag: 0,
    }
}

/// The message of a job's present state.
pub fn job(project: &str, push: &Push, job: &Job, at: Timestamp) -> Delivery {
    let (kind, state, reason) = match job.state {
        RunState::Pending => ("task-pending", "pending", None),
        RunState::Running => ("task-running", "running", None),
        RunState::Finished(Outcome::Passed) => ("task-completed", "completed", Some("completed")),
        RunState::Finished(Outcome::Failed) => ("task-failed", "failed", Some("failed")),
        RunState::Finished(Outcome::Infra) => ("task-exception", "exception", Some("worker-shutdown")),
        RunState::Finished(Outcome::Cancelled) => ("task-exception", "exception", Some("canceled")),
    };
    let mut run = json!({
        "runId": 0, "state": state, "reasonCreated": "scheduled", "scheduled": job.scheduled.to_string(),
    });
    if let Some(started) = job.started {
        run["started"] = json!(started.to_string());
        run["workerGroup"] = json!("sim");
        run["workerId"] = json!(job.worker);
    }
    if let Some(reason) = reason {
        run["reasonResolved"] = json!(reason);
        run["resolved"] = json!(at.to_string());
    }
    let task = job.task.as_str();
    let group = push.group.as_str();
    let days = |days: u64| job.scheduled.plus(Duration::from_secs(days * 86_400)).to_string();
    let body = json!({
        "version": 1,
        "status": {
            "taskId": task, "provisionerId": PROVISIONER, "workerType": "linux", "taskQueueId": "sim-t/linux",
            "schedulerId": "sim-level-3", "projectId": "none", "taskGroupId": group, "deadline": days(1),
            "expires": days(28), "retriesLeft": 5, "state": state, "runs": [run],
        },
        "runId": 0,
        "task": { "tags": tags(project, job) },
    });
    let routing_key = format!(
        "primary.{task}.0.sim.{}.{PROVISIONER}.linux.sim-level-3.{group}._",
        job.worker
    );
    let route = format!("route.tc-treeherder.v2.{project}.{}.{}", push.revision, push.id);
    delivery(
        &format!("exchange/taskcluster-queue/v1/{kind}"),
        routing_key,
        vec![route.into()],
        &body,
    )
}

fn tags(project: &str, job: &Job) -> Value {
    json!({
        "kind": "test", "label": job.label.as_str(), "project": project, "os": "linux", "retrigger": "true",
        "test-suite": job.suite(), "test-platform": job.platform(), "worker-implementation": "docker-worker",
    })
}

/// The definition of a job's task, as the queue service would answer.
pub fn definition(project: &str, push: &Push, job: &Job) -> Value {
    let (platform, option) = job.platform().split_once('/').unwrap_or((job.platform(), "opt"));
    json!({
        "provisionerId": PROVISIONER, "workerType": "linux", "schedulerId": "sim-level-3",
        "taskGroupId": push.group.as_str(), "dependencies": [], "requires": "all-completed",
        "routes": [format!("tc-treeherder.v2.{project}.{}.{}", push.revision, push.id)],
        "priority": "low", "retries": 5, "created": job.scheduled.to_string(),
        "metadata": { "name": job.label.as_str(), "owner": "sim@example.org", "description": "", "source": "" },
        "payload": { "env": { "GECKO_HEAD_REV": push.revision.as_str() } },
        "tags": tags(project, job),
        "extra": {
            "parent": job.parent.as_str(), "suite": job.suite(),
            "treeherder": {
                "collection": { option: true }, "groupSymbol": "M", "symbol": "1", "jobKind": "test", "tier": 1,
                "machine": { "platform": platform },
            },
        },
    })
}

/// The pushlog's message of a push.
pub fn push(project: &str, push: &Push) -> Delivery {
    let body = json!({
        "payload": {
            "type": "changegroup.1",
            "data": {
                "repo_url": format!("https://hg.example.org/{project}"),
                "heads": [push.revision.as_str()],
                "pushlog_pushes": [{
                    "time": push.at.0 / 1000, "pushid": push.id.0, "user": "sim@example.org",
                    "push_json_url": format!("https://hg.example.org/{project}/json-pushes?version=2"),
                    "push_full_json_url": format!("https://hg.example.org/{project}/json-pushes?version=2&full=1"),
                }],
            },
        },
        "_meta": { "exchange": "exchange/hgpushes/v2", "routing_key": project },
    });
    delivery("exchange/hgpushes/v2", project.to_owned(), Vec::new(), &body)
}

/// A performance alert, as Perfherder words it.
pub fn alert(project: &str, alert: &Alert, at: Timestamp) -> Delivery {
    let platform = alert.label.place_and_rest().map_or("unknown", |(place, _)| place);
    let platform = platform.split('/').next().unwrap_or(platform);
    let body = json!({
        "id": alert.id, "repository": project, "framework": 1, "created": at.to_string(),
        "push": alert.push.0, "previous_push": alert.previous.0,
        "alerts": [{
            "id": alert.id, "status": 0, "is_regression": alert.new > alert.old,
            "amount_pct": 100.0 * (alert.new / alert.old - 1.0), "prev_value": alert.old, "new_value": alert.new,
            "series_signature": {
                "id": alert.id, "framework_id": 1, "machine_platform": platform, "suite": alert.suite, "test": "",
                "extra_options": [], "lower_is_better": true,
            },
        }],
    });
    delivery(
        "exchange/sim/sheriffd/perf-alerts",
        project.to_owned(),
        Vec::new(),
        &body,
    )
}

/// The artifact of a run that measured these suites.
pub fn perfherder(values: &[(String, f64)]) -> Value {
    let suite = |(name, value): &(String, f64)| {
        json!({
            "name": name, "value": value, "lowerIsBetter": true, "unit": "ms",
            "subtests": [{ "name": "part", "value": value / 2.0, "replicates": [value / 2.0] }],
        })
    };
    json!({
        "framework": { "name": "talos" },
        "suites": values.iter().map(suite).collect::<Vec<_>>(),
    })
}

/// The pushlog's answer for a push.
pub fn pushlog(push: &Push, is_uplift: bool) -> Value {
    let description = match is_uplift {
        true => "Merge mozilla-central to this tree, uplift of the next version",
        false => "Bug 1 - change something",
    };
    let changeset = json!({
        "node": push.revision.as_str(), "author": "sim@example.org", "desc": description,
        "files": ["browser/a.js"], "parents": ["0000000000000000000000000000000000000001"],
    });
    json!({
        "lastpushid": push.id.0,
        "pushes": { push.id.to_string(): { "changesets": [changeset], "date": push.at.0 / 1000, "user": "sim@example.org" } },
    })
}
