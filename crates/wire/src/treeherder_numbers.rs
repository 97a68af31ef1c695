//! What Treeherder says of a job by its own number: `/api/project/<project>/jobs/<number>/`, and of the push that it names,
//! `/api/project/<project>/push/<number>/`.
//!
//! In: the bodies of the two answers. Out: the job's task and label and Treeherder's number of its push; the push's head
//! revision. Never: Treeherder's number of a push as the pushlog's.

use serde::Deserialize;

use super::json::{Text, error, read};
use super::{DecodeError, Unreadable, slug};
use sheriffd_event::{Label, Revision, TaskId};

/// A job as Treeherder knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedJob {
    /// Its task; Buildbot's jobs have none.
    pub task: Option<TaskId>,
    /// Its label.
    pub label: Label,
    /// Treeherder's number of its push.
    pub push: u64,
}

#[derive(Deserialize)]
struct Job<'a> {
    #[serde(borrow)]
    job_guid: Option<Text<'a>>,
    #[serde(borrow)]
    task_id: Option<Text<'a>>,
    #[serde(borrow)]
    build_system_type: Option<Text<'a>>,
    #[serde(borrow)]
    job_type_name: Option<Text<'a>>,
    /// Of Buildbot's jobs the builder's name.
    #[serde(borrow)]
    ref_data_name: Option<Text<'a>>,
    push_id: Option<u64>,
    /// What pushes were called before 2017.
    result_set_id: Option<u64>,
}

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(borrow)]
    revision: Text<'a>,
}

/// Reads a job.
///
/// # Errors
/// It is no job, or names neither a label nor a push.
pub fn numbered_job(text: &str) -> Result<NumberedJob, DecodeError> {
    let job: Job = read(text)?;
    let lacks = |what: &str| error(Unreadable::WrongShape, format!("the job has no {what}"));
    let is_builder = job.build_system_type.as_deref() == Some("buildbot");
    let name = match is_builder {
        true => job.ref_data_name.or(job.job_type_name),
        false => job.job_type_name,
    };
    let of_guid = || slug::from_uuid(job.job_guid.as_deref()?.split('/').next()?);
    Ok(NumberedJob {
        task: job.task_id.as_deref().map(TaskId::from).or_else(|| {
            let task = of_guid().filter(|_| !is_builder)?;
            Some(TaskId::from(task))
        }),
        label: Label::from(name.as_deref().ok_or_else(|| lacks("job_type_name"))?),
        push: job.push_id.or(job.result_set_id).ok_or_else(|| lacks("push_id"))?,
    })
}

/// Reads the head revision of a push.
///
/// # Errors
/// It is no push.
pub fn numbered_push(text: &str) -> Result<Revision, DecodeError> {
    let push: Push = read(text)?;
    Ok(Revision::from(&*push.revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_of_taskcluster_has_its_task_and_the_name_of_its_type() {
        let job = numbered_job(
            r#"{"id": 326364945, "job_type_name": "test-linux64/opt-xpcshell", "push_id": 847217, "result_set_id": 847217,
                "build_system_type": "taskcluster", "ref_data_name": "6ef71268bff391d1", "task_id": "c0EjbgzDRz--MfAdyvdU2Q"}"#,
        );
        let expected = NumberedJob {
            task: Some(TaskId::from("c0EjbgzDRz--MfAdyvdU2Q")),
            label: Label::from("test-linux64/opt-xpcshell"),
            push: 847_217,
        };
        assert_eq!(job, Ok(expected));
    }

    #[test]
    fn a_job_of_buildbot_has_its_builders_name_and_no_task() {
        let job = numbered_job(
            r#"{"id": 20672119, "job_type_name": "Mochitest", "ref_data_name": "Windows 8 64-bit mozilla-inbound opt test mochitest-1",
                "build_system_type": "buildbot", "job_guid": "1947f5853314314cd7d7830e3a687b57ca0cb5aa", "result_set_id": 31}"#,
        )
        .unwrap();
        assert_eq!(
            job.label.as_str(),
            "Windows 8 64-bit mozilla-inbound opt test mochitest-1"
        );
        assert_eq!((job.task, job.push), (None, 31));
    }

    #[test]
    fn what_names_no_job_or_no_push_is_refused() {
        for text in ["", "[]", "{}", r#"{"job_type_name": "x"}"#, r#"{"push_id": 1}"#] {
            assert!(numbered_job(text).is_err(), "{text}");
        }
        assert_eq!(
            numbered_push(r#"{"id": 1, "revision": "abc"}"#),
            Ok(Revision::from("abc"))
        );
        assert!(numbered_push("{}").is_err());
    }
}
