//! Requests of people: `exchange/treeherder/v1/job-actions`, `…/resultset-actions`, `…/resultset-runnable-job-actions`,
//! and our own `exchange/<user>/sheriffd/requests`, which takes the same messages.
//!
//! In: the body, in Pulse's envelope or without. Out: one [`Event::Request`](sheriffd_event::Event). Never: deciding
//! whether the request is wise or possible.
//!
//! | fields | what is asked for |
//! |---|---|
//! | `action: backfill`, `job_id` (`job_guid`, `task_id`, `label`) | run that job on earlier pushes |
//! | `action: trigger_missing_jobs`, `resultset_id` | run what is missing on the push |
//! | `action: trigger_all_talos_jobs`, `times`, `resultset_id` | every performance job, so often |
//! | `buildernames` or `requested_jobs`, `resultset_id` | these jobs on the push |
//! | `action: cancel_all`, `resultset_id` | cancel the push's jobs: not ours |
//!
//! All have `version` 1, `project`, `requester`; `revision` may name the push too.

use serde::Deserialize;

use super::json::{Text, TextOrNumber, error, read_v1, without_envelope};
use super::{DecodeError, Decoded, Ignored, Unreadable, slug};
use sheriffd_event::{Event, Label, Project, PushId, RequestEvent, RequestKind, Revision, TaskId};

/// A request of any kind.
#[derive(Deserialize)]
struct Request<'a> {
    version: u64,
    #[serde(borrow)]
    project: Text<'a>,
    #[serde(borrow)]
    requester: Option<Text<'a>>,
    #[serde(borrow)]
    action: Option<Text<'a>>,
    #[serde(borrow, alias = "push_id")]
    resultset_id: Option<TextOrNumber<'a>>,
    #[serde(borrow)]
    revision: Option<Text<'a>>,
    times: Option<u32>,
    #[serde(borrow, alias = "requested_jobs")]
    buildernames: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    job_id: Option<TextOrNumber<'a>>,
    #[serde(borrow)]
    job_guid: Option<Text<'a>>,
    #[serde(borrow)]
    task_id: Option<Text<'a>>,
    #[serde(borrow)]
    label: Option<Text<'a>>,
}

/// Reads a request.
pub(super) fn decode(body: &str) -> Result<Decoded, DecodeError> {
    let request: Request = read_v1(without_envelope(body)?)?;
    if request.version != 1 {
        return Err(super::json::version_error(&request.version.to_string()));
    }
    let push = request.resultset_id.as_ref().map(|id| {
        let unreadable = || {
            error(
                Unreadable::WrongShape,
                format!("resultset_id: {:?} is not a number", id.text()),
            )
        };
        id.number().map(PushId).ok_or_else(unreadable)
    });
    let push = push.transpose()?;
    let revision = request.revision.as_deref().map(Revision::from);
    let kind = match (request.action.as_deref(), &request.buildernames) {
        (Some("backfill"), _) => backfill(&request)?,
        (Some("trigger_missing_jobs"), _) => RequestKind::FillPush,
        (Some("trigger_all_talos_jobs"), _) => RequestKind::AllTalos {
            times: request.times.unwrap_or(1),
        },
        (Some("cancel_all"), _) => RequestKind::CancelAll,
        // Single jobs are cancelled and retriggered by the CI itself.
        (Some("cancel" | "retrigger"), _) => return Ok(Decoded::Ignored(Ignored::NotOfInterest)),
        (None | Some("add_new_jobs"), Some(names)) => {
            if names.is_empty() {
                return Err(error(Unreadable::WrongShape, "buildernames: is empty"));
            }
            RequestKind::AddJobs {
                labels: names.iter().map(|name| Label::from(&**name)).collect(),
            }
        }
        (Some(other), _) => {
            return Err(error(
                Unreadable::UnknownState,
                format!("action: {other:?} is not a request that is known"),
            ));
        }
        (None, None) => {
            return Err(error(
                Unreadable::WrongShape,
                "the request has neither `action` nor `buildernames`",
            ));
        }
    };
    if !matches!(kind, RequestKind::Backfill { .. }) && push.is_none() && revision.is_none() {
        return Err(error(
            Unreadable::WrongShape,
            "the request names no push: it has neither `resultset_id` nor `revision`",
        ));
    }
    Ok(Decoded::Events(vec![Event::Request(Box::new(RequestEvent {
        project: Project::from(&*request.project),
        push,
        revision,
        requester: request.requester.as_deref().map(Into::into),
        kind,
    }))]))
}

fn backfill(request: &Request<'_>) -> Result<RequestKind, DecodeError> {
    let job = request.job_id.as_ref().and_then(TextOrNumber::number);
    // Treeherder names a Taskcluster job by its task's UUID and the run, a Buildbot job by a hash.
    let guid = request
        .job_guid
        .as_deref()
        .and_then(|guid| slug::from_uuid(guid.split('/').next().unwrap_or(guid)));
    let task = request.task_id.as_deref().map(TaskId::from).or(guid.map(TaskId::from));
    let label = request.label.as_deref().map(Label::from);
    if job.is_none() && task.is_none() && label.is_none() {
        return Err(error(
            Unreadable::WrongShape,
            "the request names no job: it has none of `job_id`, `task_id`, `label`",
        ));
    }
    Ok(RequestKind::Backfill { job, task, label })
}
