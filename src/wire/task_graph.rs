//! Task graphs: what can run on a push, as artifacts of its decision task tell.
//!
//! In: `full-task-graph.json` and `label-to-taskid.json`. Out: labels with what they need, and their tasks. Never: the
//! tasks' definitions, which make up nearly all of these files and are skipped.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::DecodeError;
use super::json::{Text, object, read};
use crate::event::{Label, TaskId};

/// A task of a graph.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// The task graph's kind: `build`, `mochitest`.
    pub kind: Option<Arc<str>>,
    /// What it needs to have run before: labels in a full task graph.
    pub dependencies: Vec<Label>,
    /// The platform with its option, for tests: `linux2404-64/opt`.
    pub test_platform: Option<Arc<str>>,
    /// The manifests that it runs, where the graph says so.
    pub manifests: Vec<Arc<str>>,
}

/// A task as the file has it.
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    label: Option<Text<'a>>,
    #[serde(borrow)]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    dependencies: BTreeMap<Text<'a>, Text<'a>>,
    #[serde(borrow, default)]
    attributes: Attributes<'a>,
}

/// `attributes`, as far as they are used here.
#[derive(Default, Deserialize)]
struct Attributes<'a> {
    #[serde(borrow)]
    test_platform: Option<Text<'a>>,
    #[serde(borrow)]
    test_manifests: Option<Vec<Text<'a>>>,
}

/// Reads a full task graph: every label that could run on the push.
///
/// # Errors
/// The text is not an object of tasks by label.
pub fn full_task_graph(text: &str) -> Result<BTreeMap<Label, Node>, DecodeError> {
    object(text)?;
    let entries: BTreeMap<Text<'_>, Entry<'_>> = read(text)?;
    let node = |(key, entry): (Text<'_>, Entry<'_>)| {
        let mut dependencies: Vec<Label> = entry.dependencies.values().map(|label| Label::from(&**label)).collect();
        dependencies.sort_unstable();
        dependencies.dedup();
        let manifests = entry.attributes.test_manifests.unwrap_or_default();
        let node = Node {
            kind: entry.kind.as_deref().map(Into::into),
            dependencies,
            test_platform: entry.attributes.test_platform.as_deref().map(Into::into),
            manifests: manifests.iter().map(|manifest| (&**manifest).into()).collect(),
        };
        (Label::from(entry.label.as_deref().unwrap_or(&key)), node)
    };
    Ok(entries.into_iter().map(node).collect())
}

/// Reads `label-to-taskid.json`: what was scheduled on the push, and as which task.
///
/// # Errors
/// The text is not an object of task ids by label.
pub fn label_to_task_id(text: &str) -> Result<BTreeMap<Label, TaskId>, DecodeError> {
    object(text)?;
    let entries: BTreeMap<Text<'_>, Text<'_>> = read(text)?;
    Ok(entries
        .into_iter()
        .map(|(label, task)| (Label::from(&*label), TaskId::from(&*task)))
        .collect())
}
