//! A backend that asks nobody: for `mode: shadow`, `sheriffd replay`, and a daemon without credentials.
//!
//! In: a [`JobRequest`]. Out: a receipt that says so. Never: any effect, any memory.

use async_trait::async_trait;

use super::{Backend, Finding, Found, Receipt, RequestError};
use crate::event::{BackendName, JobRequest, TaskId, Timestamp};

/// What stands in a receipt for the CI's reference.
const REFERENCE: &str = "dry-run";

/// The backend.
#[derive(Debug, Clone)]
pub struct DryRunBackend {
    name: BackendName,
}

impl DryRunBackend {
    /// A backend under the name of the one it stands in for.
    pub fn new(name: BackendName) -> DryRunBackend {
        DryRunBackend { name }
    }
}

#[async_trait]
impl Backend for DryRunBackend {
    fn name(&self) -> &BackendName {
        &self.name
    }

    async fn request(&self, _request: &JobRequest) -> Result<Receipt, RequestError> {
        Ok(Receipt {
            action_task: None,
            reference: Some(REFERENCE.to_owned()),
        })
    }

    /// Asking again has no effect either, so nothing that was asked for counts as done.
    async fn find(&self, _request: &JobRequest, _sent_at: Timestamp) -> Result<Found, RequestError> {
        Ok(Found::NotDone)
    }

    async fn cancel(&self, _task: &TaskId) -> Result<(), RequestError> {
        Ok(())
    }

    async fn check(&self) -> Vec<Finding> {
        let detail = "dry run: the CI is asked for nothing".to_owned();
        vec![Finding {
            what: self.name.to_string(),
            ok: true,
            detail,
        }]
    }
}
