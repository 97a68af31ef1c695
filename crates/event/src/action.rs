//! Actions: one request to a CI system.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{CaseId, Label, Project, PushId, Revision, RunInput, TaskId};

/// The identity of one request: a case asks for one thing in one slot of one step, ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ActionKey {
    /// The case.
    pub case: CaseId,
    /// The round of the case, counted from 1.
    pub step: u32,
    /// The place in the round, counted from 1.
    pub slot: u32,
}

impl fmt::Display for ActionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.case, self.step, self.slot)
    }
}

impl ActionKey {
    /// A text that is the same for the same request at every attempt: `sheriffd-C12.1.3`, after the
    /// instance's name where several daemons ask one CI.
    pub fn idempotency_key(&self, instance: &str) -> String {
        format!("{instance}-{self}")
    }
}

/// One request: run this label on this push, so many times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRequest {
    /// Its identity.
    pub key: ActionKey,
    /// The tree.
    pub project: Project,
    /// The push to run on.
    pub push: PushId,
    /// Its head revision.
    pub revision: Revision,
    /// The label to run.
    pub label: Label,
    /// How often, 1 to 100.
    pub times: u32,
    /// A task of this label that exists on this push, when one does: it can be retriggered. Else the
    /// label has to be added from the push's full task graph.
    pub existing: Option<TaskId>,
    /// The push's task group (decision task), when known from messages: saves a look-up.
    pub group: Option<TaskId>,
    /// Extra input for debugging.
    pub input: RunInput,
    /// Why, in one sentence, for people who see the request at the CI.
    pub why: String,
}
