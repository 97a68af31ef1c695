//! `sheriffd catalog`: platforms × tests × the build that each test needs, for tools that choose jobs.
//!
//! In: a full task graph, from a file or an address, or what the store knows. Out: JSON, a table, or the lines of mozci's
//! `tests-per-platform`. Never: a task graph held in memory whole.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use clap::{Args, ValueEnum};
use flate2::read::MultiGzDecoder;
use reqwest::{Method, Request, Url};
use serde_json::json;

use super::CliError;
use super::common::ConfigArgs;
use crate::catalog::{of_history, per_build_platform, tests};
use crate::clock::{Clock as _, SystemClock};
use crate::engine::ledger::{Labels as _, Pushes as _};
use crate::event::{Label, Project, PushId, TaskGraph};
use crate::net::ask::settle;
use crate::net::http::{self, Reuse};
use crate::wire::task_graph::GraphReader;

/// The largest task graph that is read through, in bytes, decompressed.
const GRAPH_MAX: u64 = 4 << 30;

/// How long the transfer of a task graph may take: gecko's has hundreds of megabytes.
const TRANSFER: Duration = Duration::from_secs(600);

/// Redirects that are followed: Taskcluster points to a store once.
const MAX_REDIRECTS: usize = 5;

/// Arguments of `sheriffd catalog`.
#[derive(Debug, Args)]
pub struct CatalogArgs {
    /// A full task graph (`public/full-task-graph.json` of a decision task): a file or a URL, gzip too
    #[arg(long, value_name = "FILE|URL", required_unless_present = "project")]
    graph: Option<String>,
    /// The project whose history is read where there is no task graph
    #[arg(long, value_name = "NAME", conflicts_with = "graph")]
    project: Option<String>,
    /// With --project: the push whose task graph the daemon has fetched
    #[arg(long, value_name = "N", requires = "project")]
    push: Option<u64>,
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

/// Runs `sheriffd catalog`.
///
/// # Errors
/// The graph cannot be read (2) or reached (69), the store knows nothing (1), or the output is closed.
pub async fn run(args: &CatalogArgs, config: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let graph = match (&args.graph, &args.project) {
        (Some(place), _) => match Url::parse(place) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => fetch(url).await?,
            _ => read(Path::new(place))?,
        },
        (None, Some(project)) => of_store(&Project::from(project.as_str()), args.push.map(PushId), config)?,
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

/// What the store knows: the task graph of a push, or the jobs of the history.
fn of_store(project: &Project, push: Option<PushId>, config: &ConfigArgs) -> Result<TaskGraph, CliError> {
    match push {
        Some(push) => config
            .with_store(|books| books.graph_of(project, push))?
            .ok_or_else(|| {
                CliError::no(format!(
                    "no task graph of push {push} of {project} was fetched: without --push the history is read"
                ))
            }),
        None => match config.with_store(|books| books.labels_of(project))? {
            known if known.is_empty() => Err(CliError::no(format!("the history knows no jobs of {project}"))),
            known => Ok(of_history(known)),
        },
    }
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

/// Reads a task graph from an address as it comes. No credentials are sent.
async fn fetch(mut url: Url) -> Result<TaskGraph, CliError> {
    let client = http::client(TRANSFER, Reuse::Keep).map_err(|error| CliError::unavailable(error.to_string()))?;
    let what = format!("the task graph at {}", http::quote(url.as_str()));
    let is_packed = url.path().ends_with(".gz");
    for _ in 0..=MAX_REDIRECTS {
        let mut reader = GraphReader::new(GRAPH_MAX);
        let request = Request::new(Method::GET, url.clone());
        let now = SystemClock.now();
        let (outcome, unpacked) = match is_packed {
            true => {
                let mut unpacking = flate2::write::MultiGzDecoder::new(&mut reader);
                let outcome = http::exchange_into(&client, request, &mut unpacking, now).await;
                (outcome, unpacking.try_finish())
            }
            false => (http::exchange_into(&client, request, &mut reader, now).await, Ok(())),
        };
        if let Ok(answer) = &outcome
            && answer.is_redirect()
        {
            let to = answer.location.as_deref().and_then(|to| url.join(to).ok());
            url = to
                .filter(|to| matches!(to.scheme(), "http" | "https"))
                .ok_or_else(|| CliError::usage(format!("{what} is redirected to nowhere")))?;
            continue;
        }
        settle(&what, outcome).map_err(|error| CliError::unavailable(error.to_string()))?;
        unpacked.map_err(|error| CliError::usage(format!("{what} is no gzip: {error}")))?;
        return reader
            .finish()
            .ok_or_else(|| CliError::usage(format!("{what} is no whole JSON object")));
    }
    Err(CliError::unavailable(format!(
        "{what} is redirected more than {MAX_REDIRECTS} times"
    )))
}
