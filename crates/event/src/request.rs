//! Requests of people, and alerts of other machines.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{CaseParams, Label, Project, PushId, Revision, Signature, TaskId, Timestamp};

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum RequestKind {
    /// Run one job on earlier pushes.
    Backfill {
        /// The job as the requester's system numbers it, when it does.
        job: Option<u64>,
        /// Its task, when the request names it.
        task: Option<TaskId>,
        /// Its label, when the request names it.
        label: Option<Label>,
    },
    /// Run what is missing on a push.
    FillPush,
    /// Run all performance jobs of a push so many times.
    AllTalos {
        /// How often each.
        times: u32,
    },
    /// Run these labels on a push.
    AddJobs {
        /// The labels, as written by the requester.
        labels: Vec<Label>,
    },
    /// Open a case with these parameters, by hand: at the command line or through the API.
    Open(Box<OpenRequest>),
    /// Cancel everything on a push: never ours to do; counted and left alone.
    CancelAll,
}

impl RequestKind {
    /// The word used in rules and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            RequestKind::Backfill { .. } => "backfill",
            RequestKind::FillPush => "fill",
            RequestKind::AllTalos { .. } => "all-talos",
            RequestKind::AddJobs { .. } => "add",
            RequestKind::Open(open) => open.params.kind().as_str(),
            RequestKind::CancelAll => "cancel-all",
        }
    }
}

/// A case that a person opens by hand. What it is about stands in the request around it: project and push.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenRequest {
    /// Its kind and parameters.
    pub params: CaseParams,
    /// The label, whole, for kinds that are about one.
    pub label: Option<Label>,
    /// What fails, when it is known.
    pub signature: Option<Signature>,
    /// The performance series, for kinds that are about one.
    pub series: Option<Arc<str>>,
    /// The bug that it came from.
    pub bug: Option<u64>,
    /// Whether it only decides and asks for nothing.
    #[serde(default)]
    pub shadow: bool,
}

/// A person asked for something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestEvent {
    /// In which project.
    pub project: Project,
    /// On which push, by number.
    pub push: Option<PushId>,
    /// On which push, by revision.
    pub revision: Option<Revision>,
    /// Who asks.
    pub requester: Option<Arc<str>>,
    /// What for.
    pub kind: RequestKind,
}

/// A performance series stepped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PerfAlert {
    /// The alert's number at its source.
    pub id: u64,
    /// In which project.
    pub project: Project,
    /// The series, as its source identifies it.
    pub series: Arc<str>,
    /// The first push with the new values.
    pub push: Option<PushId>,
    /// The last push with the old ones.
    pub previous_push: Option<PushId>,
    /// The platform of the series.
    pub platform: Arc<str>,
    /// Suite and test: `tp5o responsiveness`.
    pub test: Arc<str>,
    /// Relative change, as a fraction of the old value (0.05 is five percent), always positive.
    pub magnitude: f64,
    /// Whether the change is for the worse.
    pub regression: bool,
    /// When it was raised.
    pub at: Option<Timestamp>,
    /// The name of the series within its label ([`super::series_name`]); `None`: that of suite and test.
    #[serde(default)]
    pub measure: Option<Arc<str>>,
    /// The head revision of the first push with the new values.
    #[serde(default)]
    pub revision: Option<Revision>,
    /// The head revision of the last push with the old ones.
    #[serde(default)]
    pub previous_revision: Option<Revision>,
    /// The job that measures the series, when known.
    #[serde(default)]
    pub label: Option<Label>,
    /// A task that measured the new values, when known.
    #[serde(default)]
    pub task: Option<TaskId>,
}

impl PerfAlert {
    /// The name of the series within its label.
    pub fn measure(&self) -> &Arc<str> {
        self.measure.as_ref().unwrap_or(&self.test)
    }
}
