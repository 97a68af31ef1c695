//! Task graphs: what can run on a push, as artifacts of its decision task tell.
//!
//! In: `full-task-graph.json`, `target-tasks.json` and `label-to-taskid.json`. Out: labels with what they need, and their
//! tasks. Never: the tasks' definitions, which make up nearly all of these files and are skipped; more in memory than one
//! task of a graph, which has hundreds of megabytes for gecko.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::Arc;

use serde::Deserialize;

use super::DecodeError;
use super::json::{Text, object, read};
use sheriffd_event::{GraphJob, Label, TaskGraph, TaskId, test_path};

/// A task of a graph.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// The task graph's kind: `build`, `mochitest`.
    pub kind: Option<Arc<str>>,
    /// What it needs to have run before: labels in a full task graph.
    pub dependencies: Vec<Label>,
    /// The platform with its option, for tests: `linux2404-64/opt`.
    pub test_platform: Option<Arc<str>>,
    /// The platform with its option, for builds: `linux64/opt`.
    pub build_platform: Option<Arc<str>>,
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
    build_platform: Option<Text<'a>>,
    #[serde(borrow)]
    build_type: Option<Text<'a>>,
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
    Ok(entries.into_iter().map(|(key, entry)| node(&key, entry)).collect())
}

fn node(key: &str, entry: Entry<'_>) -> (Label, Node) {
    let mut dependencies: Vec<Label> = entry.dependencies.values().map(|label| Label::from(&**label)).collect();
    dependencies.sort_unstable();
    dependencies.dedup();
    let attributes = entry.attributes;
    let manifests = attributes.test_manifests.unwrap_or_default();
    let built_for = attributes.build_platform.map(|platform| match &attributes.build_type {
        Some(option) if !platform.contains('/') => format!("{}/{}", &*platform, &**option).into(),
        _ => Arc::from(&*platform),
    });
    let node = Node {
        kind: entry.kind.as_deref().map(Into::into),
        dependencies,
        test_platform: attributes.test_platform.as_deref().map(Into::into),
        build_platform: built_for,
        manifests: manifests.iter().map(|manifest| (&**manifest).into()).collect(),
    };
    (Label::from(entry.label.as_deref().unwrap_or(key)), node)
}

/// The largest task of a graph that is read, in bytes: gecko's have up to 100 KB.
const MAX_ENTRY: usize = 8 * 1024 * 1024;

/// The most jobs of one push. gecko has about 50,000.
const MAX_JOBS: usize = 500_000;

/// Takes in a full task graph chunk by chunk, and keeps of each task what [`TaskGraph`] holds. It reads one task at a
/// time: the whole never lies in memory.
pub struct GraphReader {
    graph: TaskGraph,
    /// The member of the outermost object that is being read: `"label": {…}`.
    entry: Vec<u8>,
    depth: u32,
    in_string: bool,
    escaped: bool,
    taken: u64,
    max: u64,
    /// Groups, or folders of their manifests, that are kept.
    places: Vec<Arc<str>>,
}

impl GraphReader {
    /// A reader that gives up after `max` bytes.
    pub fn new(max: u64) -> GraphReader {
        GraphReader {
            graph: TaskGraph::default(),
            entry: Vec::new(),
            depth: 0,
            in_string: false,
            escaped: false,
            taken: 0,
            max,
            places: Vec::new(),
        }
    }

    /// Keeps of each task the manifests that are, or lie in the folder of, one of these; without this it keeps none:
    /// gecko's tasks name hundreds each.
    pub fn keeping(self, places: &[Arc<str>]) -> GraphReader {
        GraphReader {
            places: places.to_vec(),
            ..self
        }
    }

    /// What can run; `None` where the object was not read to its end.
    pub fn finish(self) -> Option<TaskGraph> {
        (self.depth == 0 && !self.in_string && self.taken > 0).then_some(self.graph)
    }

    fn byte(&mut self, byte: u8) -> io::Result<()> {
        if self.in_string {
            self.in_string = self.escaped || byte != b'"';
            self.escaped = !self.escaped && byte == b'\\';
            return self.keep(byte);
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => {
                self.depth += 1;
                if self.depth == 1 {
                    return match byte {
                        b'{' => Ok(()),
                        _ => Err(io::Error::other("it is a list, and no object of tasks by label")),
                    };
                }
            }
            b'}' | b']' => match self.depth {
                0 => return Err(io::Error::other("it closes more brackets than it opens")),
                1 => {
                    self.depth = 0;
                    return self.end_of_entry();
                }
                _ => self.depth -= 1,
            },
            b',' if self.depth == 1 => return self.end_of_entry(),
            _ if self.depth == 0 && !byte.is_ascii_whitespace() => {
                return Err(io::Error::other("it is no JSON object"));
            }
            _ => {}
        }
        self.keep(byte)
    }

    fn keep(&mut self, byte: u8) -> io::Result<()> {
        if self.depth > 0 {
            if self.entry.len() >= MAX_ENTRY {
                return Err(io::Error::other(format!(
                    "one of its tasks has more than {MAX_ENTRY} bytes"
                )));
            }
            self.entry.push(byte);
        }
        Ok(())
    }

    fn end_of_entry(&mut self) -> io::Result<()> {
        let member = std::mem::take(&mut self.entry);
        if member.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        if self.graph.jobs.len() >= MAX_JOBS {
            return Err(io::Error::other(format!("it has more than {MAX_JOBS} tasks")));
        }
        let text = String::from_utf8([b"{", member.as_slice(), b"}"].concat()).map_err(io::Error::other)?;
        let entries = full_task_graph(&text).map_err(|error| io::Error::other(error.to_string()))?;
        let places = &self.places;
        self.graph.jobs.extend(entries.into_iter().map(|(label, node)| {
            let mut groups = node.manifests;
            groups.retain(|group| test_path::is_at(group, places));
            let job = GraphJob {
                kind: node.kind,
                platform: node.test_platform.or(node.build_platform),
                needs: node.dependencies,
                targeted: false,
                groups,
            };
            (label, job)
        }));
        Ok(())
    }
}

impl Write for GraphReader {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        self.taken += chunk.len() as u64;
        if self.taken > self.max {
            return Err(io::Error::other(format!("it has more than {} bytes", self.max)));
        }
        chunk.iter().try_for_each(|byte| self.byte(*byte))?;
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads `target-tasks.json`: the labels that were meant to run on the push.
///
/// # Errors
/// The text is no list of labels.
pub fn target_tasks(text: &str) -> Result<BTreeSet<Label>, DecodeError> {
    let labels: Vec<Text<'_>> = read(text)?;
    Ok(labels.iter().map(|label| Label::from(&**label)).collect())
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GRAPH: &str = r#"{
        "build-linux64/opt": {"kind": "build", "attributes": {"build_platform": "linux64", "build_type": "opt"},
            "dependencies": {}, "task": {"payload": {"x": "}{,\"\\"}}},
        "test-linux64/opt-x": {"label": "test-linux64/opt-x", "kind": "test",
            "attributes": {"test_platform": "linux64/opt"}, "dependencies": {"build": "build-linux64/opt"}}
    }"#;

    fn read_in(text: &str, chunk: usize) -> io::Result<Option<TaskGraph>> {
        let mut reader = GraphReader::new(1 << 20);
        for part in text.as_bytes().chunks(chunk) {
            reader.write_all(part)?;
        }
        Ok(reader.finish())
    }

    #[test]
    fn a_graph_is_read_task_by_task_however_it_comes() {
        let whole = full_task_graph(GRAPH).unwrap();
        for chunk in [1, 7, 4_096] {
            let graph = read_in(GRAPH, chunk).unwrap().unwrap();
            assert_eq!(graph.jobs.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>());
            let test = &graph.jobs[&Label::from("test-linux64/opt-x")];
            assert_eq!(test.needs, [Label::from("build-linux64/opt")]);
            assert_eq!(test.platform.as_deref(), Some("linux64/opt"));
            let build = &graph.jobs[&Label::from("build-linux64/opt")];
            assert_eq!(build.platform.as_deref(), Some("linux64/opt"));
        }
    }

    #[test]
    fn half_a_graph_is_none() {
        let half = GRAPH.get(..GRAPH.len() / 2).unwrap();
        assert_eq!(read_in(half, 16).unwrap(), None);
        assert!(read_in("[1]", 16).is_err());
        assert!(read_in("{} x", 16).is_err());
        assert!(read_in(r#"{"a": 1}"#, 16).is_err(), "a task that is a number");
    }

    #[test]
    fn a_graph_beyond_the_limit_is_refused() {
        let mut reader = GraphReader::new(10);
        assert!(reader.write_all(GRAPH.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn nothing_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut reader = GraphReader::new(1 << 20);
            let _ = reader.write_all(&bytes);
            let _ = reader.finish();
        }

        #[test]
        fn the_size_of_the_chunks_does_not_matter(labels in proptest::collection::btree_set(".{0,12}", 0..8), chunk in 1_usize..40) {
            let graph: BTreeMap<&String, serde_json::Value> =
                labels.iter().map(|label| (label, serde_json::json!({"kind": "{\"}"}))).collect();
            let text = serde_json::to_string(&graph).unwrap();
            let read = read_in(&text, chunk).unwrap().unwrap();
            prop_assert_eq!(read.jobs.keys().map(Label::as_str).collect::<Vec<_>>(), labels.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
}
