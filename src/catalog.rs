//! The catalog: platforms × tests × the build that each test needs, for tools that choose jobs.
//!
//! In: a task graph, or what the history knows. Out: tests in order. Never: guessing which build a test needs; only a task
//! graph says that.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::json;

use crate::engine::ledger::KnownLabel;
use crate::event::{GraphJob, Label, TaskGraph};

/// A test in the catalog.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Test {
    /// Its platform; `unknown` where nothing tells.
    pub platform: String,
    /// Its build type; empty where nothing tells.
    pub option: String,
    /// Its suite with its chunk.
    pub suite: String,
    /// Its label.
    pub label: Label,
    /// The build that it needs; `None` where nothing tells.
    pub build: Option<Label>,
}

/// The jobs that the history knows, as a graph without edges.
pub fn of_history(known: Vec<KnownLabel>) -> TaskGraph {
    let job = |known: KnownLabel| {
        let place = known.label.place_and_rest().map(|(place, _)| place.into());
        let job = GraphJob {
            platform: place.or(known.platform),
            kind: known.kind,
            ..GraphJob::default()
        };
        (known.label, job)
    };
    TaskGraph {
        jobs: known.into_iter().map(job).collect(),
    }
}

/// The tests of a graph, in order.
pub fn tests(graph: &TaskGraph) -> Vec<Test> {
    let is_test = |(label, job): &(&Label, &GraphJob)| job.is_test(label) || suite_of_builder(label).is_some();
    let mut tests: Vec<Test> = graph
        .jobs
        .iter()
        .filter(is_test)
        .map(|(label, job)| {
            let (platform, option) = place(job);
            let build = job.needs.iter().find(|need| is_build(graph, need)).cloned();
            Test {
                platform,
                option,
                suite: suite(label),
                label: label.clone(),
                build,
            }
        })
        .collect();
    tests.sort();
    tests
}

fn is_build(graph: &TaskGraph, label: &Label) -> bool {
    let kind = graph.jobs.get(label).and_then(|job| job.kind.as_deref());
    kind == Some("build") || label.names_a_build()
}

fn place(job: &GraphJob) -> (String, String) {
    let place = job.platform.as_deref().unwrap_or("unknown");
    let (platform, option) = place.split_once('/').unwrap_or((place, ""));
    (platform.to_owned(), option.to_owned())
}

/// The suite in the name of a Buildbot builder: `mochitest-1` of `Windows 8 64-bit try opt test mochitest-1`.
fn suite_of_builder(label: &Label) -> Option<&str> {
    let name = label.as_str();
    [" test ", " talos "]
        .iter()
        .find_map(|word| name.split_once(word).map(|(_, suite)| suite))
        // `… leak test build` is a build.
        .filter(|_| !label.names_a_build())
}

fn suite(label: &Label) -> String {
    let rest = label.place_and_rest().map(|(_, rest)| rest);
    suite_of_builder(label).or(rest).unwrap_or(label.as_str()).to_owned()
}

/// A line for each platform and build type that something is built for: the tests that need such a build, by suite and
/// by build.
pub fn per_build_platform(graph: &TaskGraph, tests: &[Test]) -> Vec<serde_json::Value> {
    let mut lines: BTreeMap<(String, String), BTreeMap<&Label, Vec<&Label>>> = BTreeMap::new();
    for (label, job) in &graph.jobs {
        if is_build(graph, label) {
            let (platform, option) = place(job);
            lines.entry((option, platform)).or_default().entry(label).or_default();
        }
    }
    let suites: BTreeMap<&Label, &str> = tests.iter().map(|test| (&test.label, test.suite.as_str())).collect();
    for test in tests {
        let builds = lines
            .values_mut()
            .find_map(|builds| builds.get_mut(test.build.as_ref()?));
        if let Some(of_build) = builds {
            of_build.push(&test.label);
        }
    }
    lines
        .into_iter()
        .map(|((option, platform), mut builds)| {
            builds.values_mut().for_each(|labels| labels.sort());
            let names: BTreeSet<&str> = builds
                .values()
                .flatten()
                .filter_map(|label| suites.get(*label).copied())
                .collect();
            let builders: BTreeMap<&str, &Vec<&Label>> =
                builds.iter().map(|(build, labels)| (build.as_str(), labels)).collect();
            json!({ "build_type": option, "platform": platform, "tests": names, "builders": builders })
        })
        .collect()
}
