//! Taskcluster's queue as a source of facts: task definitions, what failed in a run, and what it measured.
//!
//! In: a task or a run. Out: what its definition, its `errorsummary.log` and its `perfherder-data*.json` artifacts say. Never: more than the
//! configured bytes, artifacts of other names.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;

use super::{FactError, FactSource, FailureFacts, GraphQuery, fact_error};
use crate::event::{BackendName, JobFacts, Measurement, Project, PushId, Revision, RunKey, TaskGraph, TaskId};
use crate::net::Clock;
use crate::net::ask::AskError;
use crate::net::taskcluster::{Access, Credentials, DECISION_ROUTES, Services, SetupError};
use crate::wire;

/// What the artifacts are called that say what failed.
const SUMMARY_SUFFIX: &str = "errorsummary.log";

/// Pages of a run's artifact list that are read, of up to 1,000 each.
const MAX_PAGES: usize = 5;

/// Summaries of one run that are read: one for each harness that it ran.
const MAX_SUMMARIES: usize = 16;

/// Artifacts of one run that are read for what it measured: one for each framework and harness that it ran.
const MAX_PERFHERDER: usize = 16;
/// Everything that can run on a push: an artifact of its decision task.
const FULL_GRAPH: &str = "public/full-task-graph.json";

/// What was meant to run on it.
const TARGETS: &str = "public/target-tasks.json";

/// The largest list of what was meant to run that is read, in bytes: gecko's has about 1 MiB.
const MAX_TARGETS: usize = 64 * 1024 * 1024;

/// A queue service to ask for facts.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueSettings {
    /// The deployment's root URL. Has no default.
    pub root_url: String,
    /// Who we are to it. Public tasks need no credentials.
    pub credentials: Option<Credentials>,
    /// How long one exchange may take, in seconds, 1 to 600.
    pub timeout_seconds: u64,
    /// Hosts that artifacts may be redirected to, besides the stores that Taskcluster deployments commonly use.
    pub artifact_hosts: Vec<String>,
    /// The largest error summary that is read, in bytes. Recorded ones have up to 20 KB. The same for what a run measured.
    pub max_summary_bytes: usize,
    /// The largest task graph that is read through, in bytes. It is never held in memory.
    pub max_task_graph_bytes: u64,
    /// Index paths of a push's decision task, tried in order, with {project}, {revision} and {push}.
    pub decision_routes: Vec<String>,
}

impl Default for QueueSettings {
    fn default() -> Self {
        QueueSettings {
            root_url: String::new(),
            credentials: None,
            timeout_seconds: 30,
            artifact_hosts: Vec::new(),
            max_summary_bytes: 16 * 1024 * 1024,
            max_task_graph_bytes: 1024 * 1024 * 1024,
            decision_routes: DECISION_ROUTES.map(str::to_owned).to_vec(),
        }
    }
}

/// The source.
pub struct QueueSource {
    backend: BackendName,
    services: Services,
    max_summary_bytes: usize,
    max_task_graph_bytes: u64,
    decision_routes: Vec<String>,
}

impl QueueSource {
    /// Makes ready to ask for the facts of one CI system. Nothing is sent.
    pub fn new(backend: BackendName, settings: QueueSettings, clock: Clock) -> Result<QueueSource, SetupError> {
        let access = Access {
            root_url: settings.root_url,
            credentials: settings.credentials,
            authorized_scopes: None,
            timeout: Duration::from_secs(settings.timeout_seconds.clamp(1, 600)),
            artifact_hosts: settings.artifact_hosts,
        };
        let services = Services::new(access, clock)?;
        Ok(QueueSource {
            backend,
            services,
            max_summary_bytes: settings.max_summary_bytes,
            max_task_graph_bytes: settings.max_task_graph_bytes,
            decision_routes: settings.decision_routes,
        })
    }

    /// The push's decision task, by the index.
    async fn decision_task(
        &self,
        project: &Project,
        push: PushId,
        revision: Option<&Revision>,
    ) -> Result<TaskId, FactError> {
        for route in &self.decision_routes {
            if route.contains("{revision}") && revision.is_none() {
                continue;
            }
            let path = route
                .replace("{project}", project.as_str())
                .replace("{revision}", revision.map_or("", Revision::as_str))
                .replace("{push}", &push.to_string());
            match self.services.find_task(&path).await {
                Ok(bytes) => {
                    let entry: Value = serde_json::from_slice(&bytes).unwrap_or_default();
                    let task = entry.get("taskId").and_then(Value::as_str).map(TaskId::from);
                    return task.ok_or_else(|| FactError::Malformed(format!("index entry {path} names no task")));
                }
                Err(AskError::Absent { .. }) => {}
                Err(error) => return Err(fact_error(error)),
            }
        }
        Err(FactError::Absent(format!(
            "decision task of push {push} of {project} in the index"
        )))
    }

    /// The names of those of a run's artifacts that are wanted, at most `max`.
    async fn artifacts(&self, run: &RunKey, max: usize, wanted: fn(&str) -> bool) -> Result<Vec<String>, FactError> {
        let mut names = Vec::new();
        let mut page = None;
        for _ in 0..MAX_PAGES {
            let bytes = self
                .services
                .artifacts(run.task.as_str(), run.run, page.as_deref())
                .await
                .map_err(fact_error)?;
            let list: Value = serde_json::from_slice(&bytes)
                .map_err(|error| FactError::Malformed(format!("the list of artifacts of run {run}: {error}")))?;
            let artifacts = list.get("artifacts").and_then(Value::as_array).into_iter().flatten();
            // An artifact of the storage type `error` is the news that there is none.
            let there = artifacts.filter(|artifact| artifact.get("storageType").is_none_or(|kind| kind != "error"));
            let found = there.filter_map(|artifact| artifact.get("name")?.as_str());
            names.extend(found.filter(|name| wanted(name)).map(str::to_owned));
            page = list.get("continuationToken").and_then(Value::as_str).map(str::to_owned);
            if page.is_none() {
                break;
            }
        }
        names.truncate(max);
        Ok(names)
    }

    /// One artifact of a run, whole.
    async fn artifact(&self, run: &RunKey, name: &str) -> Result<Vec<u8>, FactError> {
        self.services
            .artifact(run.task.as_str(), Some(run.run), name, self.max_summary_bytes)
            .await
            .map_err(fact_error)
    }
}

#[async_trait]
impl FactSource for QueueSource {
    async fn task(&self, backend: &BackendName, task: &TaskId) -> Result<JobFacts, FactError> {
        if *backend != self.backend {
            return Err(FactError::NoSource("tasks of this CI system"));
        }
        let definition = self.services.task(task.as_str()).await.map_err(fact_error)?;
        wire::task::facts(definition).map_err(|error| FactError::Malformed(format!("task {task}: {error}")))
    }

    async fn failures(&self, run: &RunKey) -> Result<FailureFacts, FactError> {
        if run.backend != self.backend {
            return Err(FactError::NoSource("runs of this CI system"));
        }
        let mut facts = FailureFacts::default();
        let is_summary = |name: &str| name.ends_with(SUMMARY_SUFFIX);
        for name in self.artifacts(run, MAX_SUMMARIES, is_summary).await? {
            let summary = wire::error_summary(&self.artifact(run, &name).await?);
            for signature in summary.signatures {
                if !facts.signatures.contains(&signature) {
                    facts.signatures.push(signature);
                }
            }
            for group in summary.groups {
                if !facts.groups.contains(&group) {
                    facts.groups.push(group);
                }
            }
        }
        Ok(facts)
    }

    async fn graph(&self, project: &Project, query: &GraphQuery) -> Result<TaskGraph, FactError> {
        let revision = query.revision.as_ref();
        let decision = self.decision_task(project, query.push, revision).await?;
        let mut reader = wire::task_graph::GraphReader::new(self.max_task_graph_bytes).keeping(&query.places);
        self.services
            .artifact_into(decision.as_str(), None, FULL_GRAPH, &mut reader)
            .await
            .map_err(fact_error)?;
        let Some(mut graph) = reader.finish() else {
            let what = format!("{FULL_GRAPH} of task {decision} is no whole JSON object");
            return Err(FactError::Malformed(what));
        };
        match self
            .services
            .artifact(decision.as_str(), None, TARGETS, MAX_TARGETS)
            .await
        {
            Ok(bytes) => {
                let malformed = |error: &dyn std::fmt::Display| {
                    FactError::Malformed(format!("{TARGETS} of task {decision}: {error}"))
                };
                let text = std::str::from_utf8(&bytes).map_err(|error| malformed(&error))?;
                for label in wire::task_graph::target_tasks(text).map_err(|error| malformed(&error))? {
                    if let Some(job) = graph.jobs.get_mut(&label) {
                        job.targeted = true;
                    }
                }
            }
            // What could run is known all the same.
            Err(AskError::Absent { .. }) => {}
            Err(error) => return Err(fact_error(error)),
        }
        Ok(graph)
    }

    async fn values(&self, run: &RunKey) -> Result<Vec<Measurement>, FactError> {
        if run.backend != self.backend {
            return Err(FactError::NoSource("runs of this CI system"));
        }
        let mut values: Vec<Measurement> = Vec::new();
        for name in self
            .artifacts(run, MAX_PERFHERDER, wire::is_perfherder_artifact)
            .await?
        {
            let found = wire::perfherder_data(&self.artifact(run, &name).await?)
                .map_err(|error| FactError::Malformed(format!("artifact {name} of run {run}: {error}")))?;
            for measured in found {
                if values.len() < wire::MAX_MEASUREMENTS && !values.iter().any(|known| known.series == measured.series)
                {
                    values.push(measured);
                }
            }
        }
        Ok(values)
    }
}
