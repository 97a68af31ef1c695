//! `sheriffd catalog`: platforms × tests × the build that each test needs, for tools that choose jobs.
//!
//! In: a full task graph, or what the history of a store knows. Out: JSON, a table, or the lines of mozci's
//! `tests-per-platform`. Never: guessing which build a test needs; only a task graph says that.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use flate2::read::MultiGzDecoder;
use serde::Serialize;
use serde_json::json;

use super::CliError;
use super::common::ConfigArgs;
use crate::engine::ledger::{KnownLabel, Labels as _};
use crate::event::{GraphJob, Label, Project, TaskGraph};
use crate::wire::task_graph::GraphReader;

/// The largest task graph that is read through, in bytes, decompressed.
const GRAPH_MAX: u64 = 4 << 30;

/// Arguments of `sheriffd catalog`.
#[derive(Debug, Args)]
pub struct CatalogArgs {
    /// A full task graph (`public/full-task-graph.json` of a decision task), gzip too
    #[arg(long, value_name = "FILE", required_unless_present = "project")]
    graph: Option<PathBuf>,
    /// The project whose history is read where there is no task graph
    #[arg(long, value_name = "NAME", conflicts_with = "graph")]
    project: Option<String>,
    /// How it is written
    #[arg(long, value_enum, default_value = "json")]
    format: CatalogFormat,
}

/// How a catalog is written.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum CatalogFormat {
    /// One JSON object
    Json,
    /// A line a test
    Table,
    /// A JSON object a platform and build type, as mozci's `tests-per-platform`
    Mozci,
}

/// A test in the catalog.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Test {
    /// Its platform; `unknown` where nothing tells.
    platform: String,
    /// Its build type; empty where nothing tells.
    option: String,
    /// Its suite with its chunk.
    suite: String,
    /// Its label.
    label: Label,
    /// The build that it needs; `None` where nothing tells.
    build: Option<Label>,
}

/// Runs `sheriffd catalog`.
pub fn run(args: &CatalogArgs, config: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let graph = match (&args.graph, &args.project) {
        (Some(path), _) => read(path)?,
        (None, Some(project)) => {
            let project = Project::from(project.as_str());
            let known = config.with_store(|books| books.labels_of(&project))?;
            if known.is_empty() {
                return Err(CliError::no(format!("the history knows no jobs of {project}")));
            }
            of_history(known)
        }
        (None, None) => return Err(CliError::usage("say --graph or --project")),
    };
    let tests = tests(&graph);
    match args.format {
        CatalogFormat::Json => writeln!(out, "{:#}", json!({ "tests": tests }))?,
        CatalogFormat::Table => {
            for test in &tests {
                let build = test.build.as_ref().map_or("-", Label::as_str);
                writeln!(
                    out,
                    "{}\t{}\t{}\t{}\t{build}",
                    test.platform, test.option, test.suite, test.label
                )?;
            }
        }
        CatalogFormat::Mozci => {
            for line in per_build_platform(&graph, &tests) {
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<TaskGraph, CliError> {
    let wrong = |what: &dyn std::fmt::Display| CliError::usage(format!("{} cannot be read: {what}", path.display()));
    let file = File::open(path).map_err(|error| wrong(&error))?;
    let mut file: Box<dyn Read> = match path.extension() {
        Some(extension) if extension == "gz" => Box::new(MultiGzDecoder::new(file)),
        _ => Box::new(file),
    };
    let mut reader = GraphReader::new(GRAPH_MAX);
    io::copy(&mut file, &mut reader).map_err(|error| wrong(&error))?;
    reader.finish().ok_or_else(|| wrong(&"it is no whole JSON object"))
}

/// The jobs that the history knows, as a graph without edges.
fn of_history(known: Vec<KnownLabel>) -> TaskGraph {
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

fn tests(graph: &TaskGraph) -> Vec<Test> {
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
fn per_build_platform(graph: &TaskGraph, tests: &[Test]) -> Vec<serde_json::Value> {
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
