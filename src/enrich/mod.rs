//! Facts that messages do not carry: task definitions, failure signatures, pushes.
//!
//! In: the name of a thing. Out: what its source says of it. Never: guessing. The engine does not know
//! this module: the composition root fetches what the engine says it lacks, and applies the event again.
//!
//! A daemon asks [`QueueSource`] and [`PushlogSource`], each behind a [`CachedSource`], put together by [`Sources`];
//! a replay asks a [`RecordedSource`].

mod bugs;
mod cached;
mod files;
mod groups;
mod pace;
mod perfherder;
mod pushlog;
mod queue;
mod treeherder;
mod treestatus;

use std::sync::Arc;

use async_trait::async_trait;

use crate::event::{
    BackendName, Bug, Duration, JobFacts, Label, Measurement, Project, PushEvent, PushId, Revision, RunKey, Signature,
    TaskGraph, TaskId,
};
use crate::net::ask::AskError;

pub use bugs::{BugSource, BugSourceError};
pub use cached::{CacheSettings, CachedSource};
pub use files::{FilesError, RecordedSource};
pub use groups::{GroupPage, GroupSource};
pub use perfherder::{PerfherderError, PerfherderSource};
pub use pushlog::{PushlogError, PushlogSettings, PushlogSource};
pub use queue::{QueueSettings, QueueSource};
pub use treeherder::{TreeherderError, TreeherderSource};
pub use treestatus::{Tree, TreeStatusError, TreeStatusSource};

/// Why a fact could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FactError {
    /// The source says there is no such thing (404, expired).
    #[error("there is no {0}")]
    Absent(String),
    /// The source cannot answer now; ask again, not before `retry_after`.
    #[error("{detail}")]
    Later {
        /// How long to wait at least.
        retry_after: Option<Duration>,
        /// What happened.
        detail: String,
    },
    /// The source answered with something that is not what it should be.
    #[error("{0}")]
    Malformed(String),
    /// No source is configured for this kind of fact.
    #[error("no source is configured for {0}")]
    NoSource(&'static str),
}

/// What failed in a run, and what ran at all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FailureFacts {
    /// What failed.
    pub signatures: Vec<Signature>,
    /// The groups that ran.
    pub groups: Vec<Arc<str>>,
}

/// A job that was named by the number that another system gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedJob {
    /// Its task, where it has one.
    pub task: Option<TaskId>,
    /// Its label.
    pub label: Label,
    /// The head revision of its push.
    pub revision: Revision,
}

/// Which pushes are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PushQuery {
    /// The push with this head revision.
    Revision(Revision),
    /// Pushes `from..=to` by number.
    Range {
        /// The first.
        from: PushId,
        /// The last.
        to: PushId,
    },
}

/// Which bugs are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BugQuery {
    /// The bug with this number.
    Numbered(u64),
    /// Bugs whose summary holds one of these texts.
    About(Vec<Arc<str>>),
}

/// Which task graph is wanted, and what of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GraphQuery {
    /// The push.
    pub push: PushId,
    /// Its head revision, where known.
    pub revision: Option<Revision>,
    /// Test groups, or folders of their manifests: which jobs run these is told too.
    pub places: Vec<Arc<str>>,
}

/// Where facts come from: the queue service, a pushlog, a file, a simulated CI.
#[async_trait]
pub trait FactSource: Send + Sync {
    /// What a task's definition says of its job. Also says who caused it, as far as the definition tells:
    /// `Push` when its parent is its group, otherwise `Unknown` with the parent set.
    async fn task(&self, _backend: &BackendName, _task: &TaskId) -> Result<JobFacts, FactError> {
        Err(FactError::NoSource("task definitions"))
    }

    /// What failed in a run and what ran, from its artifacts.
    async fn failures(&self, _run: &RunKey) -> Result<FailureFacts, FactError> {
        Err(FactError::NoSource("what failed in a run"))
    }

    /// Pushes of a project.
    async fn pushes(&self, _project: &Project, _query: &PushQuery) -> Result<Vec<PushEvent>, FactError> {
        Err(FactError::NoSource("pushes"))
    }

    /// The files that a changeset adds.
    async fn added(&self, _project: &Project, _node: &str) -> Result<Vec<Arc<str>>, FactError> {
        Err(FactError::NoSource("what changesets add"))
    }

    /// Bugs of a tracker.
    async fn bugs(&self, _query: &BugQuery) -> Result<Vec<Bug>, FactError> {
        Err(FactError::NoSource("bugs"))
    }

    /// A job by the number that people's requests give it.
    async fn job(&self, _project: &Project, _number: u64) -> Result<NamedJob, FactError> {
        Err(FactError::NoSource("jobs by their numbers"))
    }

    /// What can run on a push. Only CI systems with task graphs have an answer.
    async fn graph(&self, _project: &Project, _query: &GraphQuery) -> Result<TaskGraph, FactError> {
        Err(FactError::NoSource("task graphs"))
    }

    /// What a run measured, from its artifacts; empty where it measured nothing.
    async fn values(&self, _run: &RunKey) -> Result<Vec<Measurement>, FactError> {
        Err(FactError::NoSource("what runs measured"))
    }
}

/// Sources of different kinds of facts as one.
#[derive(Clone)]
pub struct Sources {
    /// Where tasks and failures come from.
    pub tasks: Arc<dyn FactSource>,
    /// Where pushes come from.
    pub pushes: Arc<dyn FactSource>,
    /// Where bugs come from.
    pub bugs: Arc<dyn FactSource>,
    /// Where jobs come from that are named by numbers.
    pub jobs: Arc<dyn FactSource>,
}

#[async_trait]
impl FactSource for Sources {
    async fn task(&self, backend: &BackendName, task: &TaskId) -> Result<JobFacts, FactError> {
        self.tasks.task(backend, task).await
    }

    async fn failures(&self, run: &RunKey) -> Result<FailureFacts, FactError> {
        self.tasks.failures(run).await
    }

    async fn pushes(&self, project: &Project, query: &PushQuery) -> Result<Vec<PushEvent>, FactError> {
        self.pushes.pushes(project, query).await
    }

    async fn added(&self, project: &Project, node: &str) -> Result<Vec<Arc<str>>, FactError> {
        self.pushes.added(project, node).await
    }

    async fn bugs(&self, query: &BugQuery) -> Result<Vec<Bug>, FactError> {
        self.bugs.bugs(query).await
    }

    async fn job(&self, project: &Project, number: u64) -> Result<NamedJob, FactError> {
        self.jobs.job(project, number).await
    }

    async fn graph(&self, project: &Project, query: &GraphQuery) -> Result<TaskGraph, FactError> {
        self.tasks.graph(project, query).await
    }

    async fn values(&self, run: &RunKey) -> Result<Vec<Measurement>, FactError> {
        self.tasks.values(run).await
    }
}

/// What a question without an answer means for a fact.
fn fact_error(error: AskError) -> FactError {
    let detail = error.to_string();
    match error {
        AskError::Absent { what, .. } => FactError::Absent(what),
        // One private task is no reason to leave the whole source alone; whoever asks knows when to give up.
        AskError::Refused { .. } => FactError::Later {
            retry_after: None,
            detail,
        },
        AskError::Later { retry_after, .. } => FactError::Later { retry_after, detail },
        AskError::Wrong { .. } => FactError::Malformed(detail),
    }
}
