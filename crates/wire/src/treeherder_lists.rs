//! What Treeherder lists: the jobs of a push, `/api/project/<project>/jobs/?push_id=…`, and the pushes of a revision,
//! `/api/project/<project>/push/?revision=…`.
//!
//! In: the bodies of the answers. Out: the jobs, as rows of a table are read; Treeherder's number of the push. Never: a
//! list without the rows that cannot be read being counted.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{Text, error, read};
use super::{DecodeError, JobRow, Unreadable, WireSettings, job_row};
use sheriffd_event::Project;

/// Some jobs of a push.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JobList {
    /// Those that could be read, in the order of the list.
    pub rows: Vec<JobRow>,
    /// How many could not.
    pub unreadable: usize,
}

impl JobList {
    /// How many jobs were listed.
    pub fn len(&self) -> usize {
        self.rows.len() + self.unreadable
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow)]
    results: Vec<&'a RawValue>,
    /// What the values of a row are, where rows are lists of values.
    #[serde(borrow, default)]
    job_property_names: Vec<Text<'a>>,
}

#[derive(Deserialize)]
struct Pushes<'a> {
    #[serde(borrow)]
    results: Vec<Push<'a>>,
}

#[derive(Deserialize)]
struct Push<'a> {
    id: u64,
    #[serde(borrow)]
    revision: Text<'a>,
}

/// Reads a list of jobs of a project. Rows are objects, or lists of values in the order of `job_property_names`.
///
/// # Errors
/// It is no such list. A row that cannot be read is counted instead.
pub fn job_list(text: &str, project: &Project, settings: &WireSettings) -> Result<JobList, DecodeError> {
    let list: List = read(text)?;
    let mut jobs = JobList::default();
    for row in list.results {
        let row = match row.get().starts_with('[') {
            true => named(row.get(), &list.job_property_names)?,
            false => row.get().to_owned(),
        };
        match job_row(&row, Some(project), settings) {
            Ok(row) => jobs.rows.push(row),
            Err(_) => jobs.unreadable += 1,
        }
    }
    Ok(jobs)
}

/// A list of values as an object.
fn named(row: &str, names: &[Text<'_>]) -> Result<String, DecodeError> {
    let values: Vec<&RawValue> = read(row)?;
    if values.len() != names.len() {
        let detail = format!(
            "a row has {} values, and `job_property_names` {} names",
            values.len(),
            names.len()
        );
        return Err(error(Unreadable::WrongShape, detail));
    }
    let object: HashMap<&str, &RawValue> = names.iter().map(|name| &**name).zip(values).collect();
    serde_json::to_string(&object).map_err(|wrong| error(Unreadable::WrongShape, wrong.to_string()))
}

/// Treeherder's number of the push with this head revision, from a list of pushes; `None`: it is not among them. An
/// abbreviated revision stands for the one that begins with it.
///
/// # Errors
/// It is no such list.
pub fn number_of_push(text: &str, revision: &str) -> Result<Option<u64>, DecodeError> {
    let pushes: Pushes = read(text)?;
    let is_it = |push: &&Push<'_>| push.revision.starts_with(revision) || revision.starts_with(&*push.revision);
    Ok(pushes.results.iter().find(is_it).map(|push| push.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sheriffd_event::{BackendName, Label, Outcome, RunState, TaskId};

    fn list(text: &str) -> Result<JobList, DecodeError> {
        let settings = WireSettings {
            backend: BackendName::from("tc"),
            max_body: super::super::DEFAULT_MAX_BODY,
        };
        job_list(text, &Project::from("autoland"), &settings)
    }

    /// A job of `jobs-api.jsonl`, recorded from Treeherder's own tests, shortened.
    const AS_OBJECT: &str = r#"{"results": [{"id": 326364945, "job_type_name": "test-linux64/opt-xpcshell", "job_type_symbol": "X",
        "platform": "linux64", "platform_option": "opt", "push_id": 847217, "state": "completed", "result": "testfailed",
        "task_id": "c0EjbgzDRz--MfAdyvdU2Q", "retry_id": 1, "last_modified": "2021-01-16T11:42:42.940157"}]}"#;

    #[test]
    fn rows_of_values_and_rows_of_fields_say_the_same() {
        let of_fields = list(AS_OBJECT).unwrap();
        let of_values = list(
            r#"{"job_property_names": ["id", "job_type_name", "job_type_symbol", "platform", "platform_option", "push_id", "state",
                "result", "task_id", "retry_id", "last_modified"], "results": [[326364945, "test-linux64/opt-xpcshell", "X",
                "linux64", "opt", 847217, "completed", "testfailed", "c0EjbgzDRz--MfAdyvdU2Q", 1, "2021-01-16T11:42:42.940157"]]}"#,
        );
        assert_eq!(of_values, Ok(of_fields.clone()));
        let job = &of_fields.rows[0].job;
        assert_eq!(job.run.task, TaskId::from("c0EjbgzDRz--MfAdyvdU2Q"));
        assert_eq!((job.run.run, job.state), (1, RunState::Finished(Outcome::Failed)));
        assert_eq!(job.facts.label, Some(Label::from("test-linux64/opt-xpcshell")));
    }

    #[test]
    fn rows_that_say_nothing_are_counted_and_lists_that_are_none_refused() {
        let jobs = list(r#"{"results": [{"id": 1}, {"state": "unheard-of"}]}"#).unwrap();
        assert_eq!((jobs.rows.len(), jobs.unreadable, jobs.len()), (0, 2, 2));
        assert!(list(r#"{"results": []}"#).unwrap().is_empty());
        for text in ["", "[]", "{}", r#"{"results": [[1, 2]], "job_property_names": ["id"]}"#] {
            assert!(list(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_push_is_known_by_its_head_revision() {
        let pushes =
            r#"{"meta": {}, "results": [{"id": 7, "revision": "aaaa1111"}, {"id": 8, "revision": "bbbb2222"}]}"#;
        assert_eq!(number_of_push(pushes, "bbbb2222"), Ok(Some(8)));
        assert_eq!(number_of_push(pushes, "bbbb"), Ok(Some(8)));
        assert_eq!(number_of_push(pushes, "cccc"), Ok(None));
        assert!(number_of_push("{}", "aaaa").is_err());
    }
}
