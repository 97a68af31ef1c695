//! Taskcluster's task groups as a source of messages that were missed.
//!
//! In: a push, or its task group. Out: for each task of the group the message that the queue would send of its latest run
//! now, a page at a time. Never: a whole group in memory; deciding what is new: what is known already has no second
//! effect.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{FactError, QueueSettings, fact_error};
use crate::event::{Delivery, Project, PushId, Revision, TaskId};
use crate::net::Clock;
use crate::net::ask::AskError;
use crate::net::taskcluster::{Access, Services, SetupError};

/// Tasks of a page: with their definitions, some 2 MB.
const PAGE: u32 = 200;

/// A queue and an index to ask for what runs on pushes.
pub struct GroupSource {
    services: Services,
    decision_routes: Vec<String>,
}

/// Some tasks of a group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupPage {
    /// A message for each task that has a run.
    pub messages: Vec<Delivery>,
    /// How to ask for the next page; `None`: this was the last.
    pub next: Option<String>,
}

impl GroupSource {
    /// Makes ready to ask. `decision_routes`: index paths of a push's decision task, tried in order, with the
    /// placeholders `{project}`, `{revision}` and `{push}`. Nothing is sent.
    ///
    /// # Errors
    /// The settings cannot work.
    pub fn new(settings: QueueSettings, decision_routes: Vec<String>, clock: Clock) -> Result<GroupSource, SetupError> {
        let access = Access {
            root_url: settings.root_url,
            credentials: settings.credentials,
            authorized_scopes: None,
            timeout: Duration::from_secs(settings.timeout_seconds.clamp(1, 600)),
            artifact_hosts: settings.artifact_hosts,
        };
        Ok(GroupSource {
            services: Services::new(access, clock)?,
            decision_routes,
        })
    }

    /// The task group of a push: the id of its decision task, by the index. `None`: the push has none.
    ///
    /// # Errors
    /// The index does not answer, or with something else.
    pub async fn of_push(
        &self,
        project: &Project,
        push: PushId,
        revision: &Revision,
    ) -> Result<Option<TaskId>, FactError> {
        for route in &self.decision_routes {
            let path = route
                .replace("{project}", project.as_str())
                .replace("{revision}", revision.as_str())
                .replace("{push}", &push.to_string());
            match self.services.find_task(&path).await {
                Ok(bytes) => {
                    let entry: Value = serde_json::from_slice(&bytes).unwrap_or_default();
                    let task = entry.get("taskId").and_then(Value::as_str);
                    let malformed = || FactError::Malformed(format!("index entry {path} names no task"));
                    return task.map(TaskId::from).map(Some).ok_or_else(malformed);
                }
                Err(AskError::Absent { .. }) => {}
                Err(error) => return Err(fact_error(error)),
            }
        }
        Ok(None)
    }

    /// A page of a group: the first, or the one that the page before names.
    ///
    /// # Errors
    /// The queue does not answer, or with something else; or there is no such group (it has expired).
    pub async fn page(&self, group: &TaskId, page: Option<&str>) -> Result<GroupPage, FactError> {
        let bytes = self
            .services
            .task_group(group.as_str(), page, PAGE)
            .await
            .map_err(fact_error)?;
        let list: Value = serde_json::from_slice(&bytes)
            .map_err(|error| FactError::Malformed(format!("the list of task group {group}: {error}")))?;
        let tasks = list.get("tasks").and_then(Value::as_array);
        let tasks =
            tasks.ok_or_else(|| FactError::Malformed(format!("the list of task group {group} has no tasks")))?;
        Ok(GroupPage {
            messages: tasks.iter().filter_map(message).collect(),
            next: list.get("continuationToken").and_then(Value::as_str).map(str::to_owned),
        })
    }
}

/// The message that the queue would send of a task's latest run; `None` when nothing of it has run or waits.
fn message(task: &Value) -> Option<Delivery> {
    let (status, definition) = (task.get("status")?, task.get("task")?);
    let run = status.get("runs")?.as_array()?.last()?;
    let run_id = run.get("runId")?;
    let kind = match run.get("state")?.as_str()? {
        state @ ("pending" | "running" | "completed" | "failed" | "exception") => state,
        _ => return None,
    };
    let routes = definition.get("routes").and_then(Value::as_array).into_iter().flatten();
    let cc = routes
        .filter_map(Value::as_str)
        .map(|route| Arc::from(format!("route.{route}")));
    let body = json!({
        "version": 1, "status": status, "runId": run_id, "workerGroup": run.get("workerGroup"),
        "workerId": run.get("workerId"), "task": {"tags": definition.get("tags")},
    });
    Some(Delivery {
        exchange: Arc::from(format!("exchange/taskcluster-queue/v1/task-{kind}")),
        routing_key: Arc::from(""),
        cc: cc.collect(),
        redelivered: false,
        body: Bytes::from(body.to_string()),
        tag: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{BackendName, Event, Outcome};
    use crate::wire::{self, Decoded, WireSettings};

    fn task(runs: Value) -> Value {
        json!({
            "status": {
                "taskId": "KkDeSaLFSq-OFo1QGc-hGQ", "provisionerId": "p", "workerType": "w", "schedulerId": "s",
                "taskGroupId": "fWmmGjbtSSOQRXX1eg0c7w", "deadline": "2026-01-02T00:00:00.000Z",
                "expires": "2027-01-01T00:00:00.000Z", "retriesLeft": 5, "state": "failed", "runs": runs,
            },
            "task": {
                "routes": ["index.x", "tc-treeherder.v2.autoland.eec1748dad2eec1748dad2eec1748dad2eec1748.123"],
                "tags": {"label": "test-linux/opt-mochitest-1", "kind": "test", "project": "autoland"},
                "metadata": {"name": "n"}, "payload": {},
            },
        })
    }

    #[test]
    fn the_message_of_a_task_reads_like_the_one_that_was_missed() {
        let runs = json!([
            {"runId": 0, "state": "exception", "reasonCreated": "scheduled", "reasonResolved": "claim-expired",
                "scheduled": "2026-01-01T00:00:00.000Z", "resolved": "2026-01-01T00:10:00.000Z"},
            {"runId": 1, "state": "failed", "reasonCreated": "retry", "reasonResolved": "failed",
                "workerGroup": "g", "workerId": "i", "scheduled": "2026-01-01T00:10:00.000Z",
                "started": "2026-01-01T00:11:00.000Z", "resolved": "2026-01-01T00:30:00.000Z"},
        ]);
        let settings = WireSettings {
            backend: BackendName::from("tc"),
            max_body: 1_000_000,
        };
        let Ok(Decoded::Events(events)) = wire::decode(&message(&task(runs)).unwrap(), &settings) else {
            panic!("it cannot be read")
        };
        let [Event::Job(job)] = events.as_slice() else {
            panic!("{events:?}")
        };
        assert_eq!(
            (job.run.run, job.outcome(), job.latest),
            (1, Some(Outcome::Failed), true)
        );
        assert_eq!(job.facts.push, Some(PushId(123)));
        assert_eq!(job.facts.label.as_ref().unwrap().as_str(), "test-linux/opt-mochitest-1");
    }

    #[test]
    fn a_task_that_was_never_scheduled_has_no_message() {
        assert_eq!(message(&task(json!([]))), None);
        assert_eq!(message(&json!({"status": {}})), None);
    }
}
