//! Recorded files as a source of facts: for `sheriffd replay --tasks FILE --pushes FILE`.
//!
//! In: JSON Lines, `.gz` too: tasks as `{"taskId": …, "task": {…}}`, pushes in any form that
//! [`crate::wire::pushlog`] reads (a whole file that is one JSON answer is fine). Out: the same facts that the
//! services would give. Never: asking anybody; a file that changes later is not read again.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use async_trait::async_trait;
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{FactError, FactSource, PushQuery};
use crate::event::{BackendName, JobFacts, Project, PushEvent, PushId, TaskId};
use crate::wire;

/// The most bytes that are read of one file, decompressed: its content is held in memory.
const MAX_FILE: u64 = 2 << 30;

/// A file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// It could not be read.
    #[error("{path} cannot be read: {error}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// It is larger than can be held.
    #[error("{path} has more than {MAX_FILE} bytes, decompressed: split it")]
    TooLarge {
        /// The file.
        path: String,
    },
    /// A line of it is not what it should be.
    #[error("{path}, line {line}: {detail}")]
    Line {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        detail: String,
    },
}

/// The source. Empty at first: without a file of a kind, there is no source for such facts.
#[derive(Debug, Default)]
pub struct RecordedSource {
    tasks: Option<HashMap<TaskId, Box<RawValue>>>,
    pushes: Option<HashMap<Project, Vec<PushEvent>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TaskLine {
    task_id: Option<TaskId>,
    task: Box<RawValue>,
}

impl RecordedSource {
    /// Adds the tasks of a file. Lines without a task id say nothing of any task and are passed over.
    pub fn add_tasks(&mut self, path: &Path) -> Result<(), FilesError> {
        let tasks = self.tasks.get_or_insert_default();
        for next in lines(path)? {
            let (line, text) = next?;
            let TaskLine { task_id, task } = serde_json::from_str(&text).map_err(|error| FilesError::Line {
                path: shown(path),
                line,
                detail: error.to_string(),
            })?;
            if let Some(id) = task_id {
                tasks.insert(id, task);
            }
        }
        Ok(())
    }

    /// Adds the pushes of a file. A push that does not name its project is one of `project`.
    ///
    /// # Errors
    /// The file cannot be read, a line is of no known form, or no project is named anywhere.
    pub fn add_pushes<'a>(&mut self, path: &Path, project: impl Into<Option<&'a Project>>) -> Result<(), FilesError> {
        let project = project.into();
        let nowhere = Project::from("");
        let mut lines = lines(path)?.collect::<Result<Vec<_>, _>>()?;
        // An answer as a service gave it may be spread over many lines.
        let whole = lines
            .first()
            .is_some_and(|(_, text)| serde_json::from_str::<&RawValue>(text).is_err());
        if whole {
            let text = lines.drain(..).map(|(_, text)| text).collect::<Vec<_>>().join("\n");
            lines = vec![(1, text)];
        }
        let by_project = self.pushes.get_or_insert_default();
        for (line, text) in lines {
            let wrong = |detail: String| FilesError::Line {
                path: shown(path),
                line,
                detail,
            };
            let pushes =
                wire::pushlog::pushes(&text, project.unwrap_or(&nowhere)).map_err(|error| wrong(error.to_string()))?;
            if pushes.iter().any(|push| push.project == nowhere) {
                return Err(wrong(
                    "the push does not name its project, and no project was given".to_owned(),
                ));
            }
            for push in pushes {
                by_project.entry(push.project.clone()).or_default().push(push);
            }
        }
        for pushes in by_project.values_mut() {
            // The later record of a push that is there twice wins.
            let numbered: BTreeMap<_, _> = pushes
                .drain(..)
                .map(|push| ((push.push, push.revision.clone()), push))
                .collect();
            pushes.extend(numbered.into_values());
        }
        Ok(())
    }

    /// Every push of the files; each project's in the order of their numbers.
    pub fn all_pushes(&self) -> impl Iterator<Item = &PushEvent> {
        self.pushes.iter().flatten().flat_map(|(_, pushes)| pushes)
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The lines of a file that are not blank, with their numbers, one by one.
fn lines(path: &Path) -> Result<impl Iterator<Item = Result<(usize, String), FilesError>>, FilesError> {
    let failed = |error| FilesError::Read {
        path: shown(path),
        error,
    };
    let file = File::open(path).map_err(failed)?;
    let gzip = path.extension().is_some_and(|extension| extension == "gz");
    let reader: Box<dyn Read> = if gzip {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let path = shown(path);
    let mut left = MAX_FILE;
    // One byte over the limit may be read: it shows that there is more.
    let lines = BufReader::new(reader.take(MAX_FILE + 1))
        .lines()
        .enumerate()
        .map(move |(index, line)| {
            let line = line.map_err(|error| FilesError::Read {
                path: path.clone(),
                error,
            })?;
            left = left
                .checked_sub(line.len() as u64)
                .ok_or_else(|| FilesError::TooLarge { path: path.clone() })?;
            Ok((index + 1, line))
        });
    Ok(lines.filter(|line| !matches!(line, Ok((_, text)) if text.trim().is_empty())))
}

#[async_trait]
impl FactSource for RecordedSource {
    async fn task(&self, _backend: &BackendName, task: &TaskId) -> Result<JobFacts, FactError> {
        let tasks = self.tasks.as_ref().ok_or(FactError::NoSource("tasks"))?;
        let definition = tasks
            .get(task)
            .ok_or_else(|| FactError::Absent(format!("task {task} in the recording")))?;
        wire::task::facts(definition.get()).map_err(|error| FactError::Malformed(format!("task {task}: {error}")))
    }

    async fn pushes(&self, project: &Project, query: &PushQuery) -> Result<Vec<PushEvent>, FactError> {
        let pushes = self.pushes.as_ref().ok_or(FactError::NoSource("pushes"))?;
        let absent = || FactError::Absent(format!("push of {project} like that in the recording"));
        let pushes = pushes.get(project).ok_or_else(absent)?;
        let wanted = |push: &&PushEvent| match query {
            PushQuery::Revision(revision) => push.revision.as_str().starts_with(revision.as_str()),
            PushQuery::Range { from, to } => {
                let within = |push: PushId| (*from..=*to).contains(&push);
                push.push.is_some_and(within)
            }
        };
        let found: Vec<PushEvent> = pushes.iter().filter(wanted).cloned().collect();
        if found.is_empty() { Err(absent()) } else { Ok(found) }
    }
}
