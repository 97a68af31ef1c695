//! CI systems that can be asked to run jobs. One file a system.
//!
//! In: a [`JobRequest`]. Out: a [`Receipt`], or one of the refusals of [`RequestError`]. Never: retrying
//! on its own, deciding, or keeping books: `dispatch` does that. A request that was sent and whose
//! answer did not come is [`RequestError::InDoubt`], nothing else.

mod dry_run;
mod outcome;
pub mod taskcluster;
mod webhook;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use crate::event::{ActionKey, JobRequest};
pub use dry_run::DryRunBackend;
pub use taskcluster::{TaskclusterBackend, TaskclusterSettings};
pub use webhook::{WebhookBackend, WebhookError, WebhookSettings};

use crate::event::{BackendName, Duration, TaskId, Timestamp};
pub use crate::finding::Finding;

/// What the CI answered to a request it accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Receipt {
    /// The task that will create the jobs (Taskcluster's action task): the jobs' `extra.parent`.
    pub action_task: Option<TaskId>,
    /// What the CI calls it, for people: a URL or an id.
    pub reference: Option<String>,
}

/// Why a request did not succeed. Every variant says whether the CI may have acted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It can never be done (no such label, expired task, schema mismatch, push without a decision task).
    /// Nothing was asked for. Never retried.
    #[error("not possible: {0}")]
    NotPossible(String),
    /// We are not allowed to (missing scope, bad or expired credentials). Nothing was done; every
    /// other request will fail the same way until somebody acts.
    #[error("refused: {0}")]
    Refused(String),
    /// The push's decision task is not there yet. Nothing was asked for; ask again later.
    #[error("not yet: {0}")]
    NotYet(String),
    /// The CI could not be reached, or turned the request away before acting (429, 503 with `Retry-After`): nothing was
    /// done; ask again, not before `retry_after`. From [`Backend::find`]: the search could not be made now.
    #[error("busy: {detail}")]
    Busy {
        /// How long the CI asked us to wait.
        retry_after: Option<Duration>,
        /// What it said.
        detail: String,
    },
    /// The request was sent, its answer was lost or makes no sense: it may or may not have been done.
    #[error("in doubt: {0}")]
    InDoubt(String),
}

/// Several requests cannot be one call (why). Nothing was asked for: each has to be asked for by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not together: {0}")]
pub struct Apart(pub String);

/// What a backend can tell of a request in doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It was done: here is the receipt.
    Done(Receipt),
    /// It was not done, for certain.
    NotDone,
    /// The backend cannot tell (why).
    CannotTell(String),
}

/// How far the task is that makes the jobs of an accepted request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It waits or runs: the jobs may still come.
    Working,
    /// It ended well: it has made them.
    Ended,
    /// It ended without having made them, or does not exist (why): they will not come.
    Failed(String),
    /// The backend cannot tell (why).
    CannotTell(String),
}

/// A CI system that can be asked for jobs.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Its name in the configuration.
    fn name(&self) -> &BackendName;

    /// Asks for jobs, once. Returns within the backend's configured time-outs.
    async fn request(&self, request: &JobRequest) -> Result<Receipt, RequestError>;

    /// How many requests that differ in nothing but their labels it takes with one call.
    fn most_together(&self) -> usize {
        1
    }

    /// Asks for the jobs of several requests of one case with one call, once: they differ in nothing but their labels, and
    /// none of them is of a task that exists. One answer a request, in their order.
    ///
    /// # Errors
    /// [`Apart`]: they cannot be one call, and nothing was asked for, for certain.
    async fn request_together(&self, _requests: &[JobRequest]) -> Result<Vec<Result<Receipt, RequestError>>, Apart> {
        Err(Apart(format!("backend `{}` takes one job a request", self.name())))
    }

    /// Looks for requests that were sent at about `sent_at`, perhaps with one call. One answer a request, in their order.
    async fn find_together(&self, requests: &[JobRequest], sent_at: Timestamp) -> Vec<Result<Found, RequestError>> {
        let mut found = Vec::with_capacity(requests.len());
        for request in requests {
            found.push(self.find(request, sent_at).await);
        }
        found
    }

    /// Looks for a request that was sent at about `sent_at` and whose answer was lost. A CI may know requests only by
    /// what they asked for: a receipt that another request holds already is to be treated as [`Found::CannotTell`].
    async fn find(&self, request: &JobRequest, sent_at: Timestamp) -> Result<Found, RequestError>;

    /// How far the task of a receipt is. [`RequestError::Busy`] means that it has to be asked again later. A CI without
    /// such tasks cannot tell.
    async fn progress(&self, task: &TaskId) -> Result<Progress, RequestError> {
        Ok(Progress::CannotTell(format!(
            "backend `{}` cannot be asked how far task {task} is",
            self.name()
        )))
    }

    /// How many jobs wait for a machine in a worker pool, whoever asked for them, as the CI counts them now; `None`: it
    /// has no such count.
    async fn pending(&self, _pool: &str) -> Result<Option<u64>, RequestError> {
        Ok(None)
    }

    /// Takes back a task of ours that nobody needs any longer: one that waits or runs, or an action task whose jobs are not
    /// made yet. What has ended already stays as it is, and that is no error. May be asked for more than once.
    async fn cancel(&self, _task: &TaskId) -> Result<(), RequestError> {
        Err(RequestError::NotPossible(
            "this CI cannot be asked to cancel".to_owned(),
        ))
    }

    /// Says what would not work (credentials, scopes, reachability), for `sheriffd doctor`.
    async fn check(&self) -> Vec<Finding>;
}
