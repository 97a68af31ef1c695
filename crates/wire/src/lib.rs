//! Bytes to events. One file a format. Nothing past this module knows a wire format.
//!
//! In: a [`Delivery`]. Out: [`Decoded`], or a [`DecodeError`] whose reason is counted and kept with the
//! bytes in the dead letters. Never: I/O, guessing at unknown formats.
//!
//! | exchange | format |
//! |---|---|
//! | `exchange/taskcluster-queue/v1/…` | `taskcluster_queue`: runs of tasks |
//! | `exchange/hgpushes/v1`, `…/v2` | `hgpushes`: pushes to Mercurial repositories |
//! | `exchange/taskcluster-github/v1/…` | `github`: pushes and pull requests |
//! | `exchange/taskcluster-treeherder/v1/jobs` | `treeherder_jobs`: jobs as Treeherder is told of them |
//! | `exchange/treeherder/v1/…-actions` | `treeherder_requests`: what people ask for |
//! | `exchange/<user>/sheriffd/requests` | the same, on an exchange of our own |
//! | `exchange/<user>/sheriffd/perf-alerts` | `perf_alerts`: alerts about performance, as Perfherder words them |
//! | `exchange/build/`, `org.mozilla.exchange.build` | `buildbot`: builds of Buildbot masters |
//! | `exchange/build/normalized` | `buildbot_normalized`: the same, tidied up |
//!
//! Besides messages, the other texts that CI systems write are read here too: task definitions ([`task`]), pushlogs
//! ([`pushlog`]), what runs measured ([`perfherder_data`]), error summaries ([`error_summary`]), task graphs ([`task_graph`]), tables of jobs ([`job_row`]),
//! recordings ([`recorded`]).

mod buildbot;
mod buildbot_normalized;
mod errorsummary;
mod github;
mod hgpushes;
mod jobs_table;
mod json;
mod perf_alerts;
mod perfherder;
mod place;
pub mod pushlog;
pub mod recorded;
mod slug;
mod tags;
pub mod task;
pub mod task_graph;
mod taskcluster_queue;
mod treeherder_jobs;
mod treeherder_lists;
mod treeherder_numbers;
mod treeherder_reading;
mod treeherder_requests;

pub use errorsummary::{ErrorSummary, MAX_GROUPS, MAX_SIGNATURES, error_summary};
pub use jobs_table::{JobRow, job_row};
pub use perf_alerts::{AlertPage, perf_alerts};
pub use perfherder::{MAX_MEASUREMENTS, PERFHERDER_PREFIX, is_perfherder_artifact, perfherder_data};
pub use treeherder_lists::{JobList, job_list, number_of_push};
pub use treeherder_numbers::{NumberedJob, numbered_job, numbered_push};
pub use treeherder_reading::{TreeherderReading, treeherder_reading};

use sheriffd_event::{BackendName, Delivery, Event};

/// What a message turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Decoded {
    /// It says that these things happened (most messages: one).
    Events(Vec<Event>),
    /// It is sound and of no use here.
    Ignored(Ignored),
}

/// Why a sound message is of no use. A closed list: each is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ignored {
    /// A kind of message that says nothing about jobs or pushes (`task-defined`, `artifact-created`, `newrepo.1`).
    NotOfInterest,
    /// A task message without any run: nothing ran, nothing failed.
    NoRun,
}

impl Ignored {
    /// The word used in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Ignored::NotOfInterest => "not-of-interest",
            Ignored::NoRun => "no-run",
        }
    }
}

/// Why a message could not be read. A closed list: each is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unreadable {
    /// The body is larger than the limit.
    TooLarge,
    /// The body is not UTF-8.
    NotUtf8,
    /// The body is not JSON, or nested too deeply.
    NotJson,
    /// A field is missing or of a wrong type.
    WrongShape,
    /// The format's version is not known.
    WrongVersion,
    /// No format is known for the exchange.
    UnknownExchange,
    /// A state that is not known: not guessed.
    UnknownState,
}

impl Unreadable {
    /// The word used in metrics and the dead letters.
    pub fn as_str(self) -> &'static str {
        match self {
            Unreadable::TooLarge => "too-large",
            Unreadable::NotUtf8 => "not-utf8",
            Unreadable::NotJson => "not-json",
            Unreadable::WrongShape => "wrong-shape",
            Unreadable::WrongVersion => "wrong-version",
            Unreadable::UnknownExchange => "unknown-exchange",
            Unreadable::UnknownState => "unknown-state",
        }
    }
}

/// A message could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", reason.as_str())]
pub struct DecodeError {
    /// The kind of trouble.
    pub reason: Unreadable,
    /// What was wrong, where (field path, byte offset), for people.
    pub detail: String,
}

/// What the decoders need to know about a source.
#[derive(Debug, Clone)]
pub struct WireSettings {
    /// The CI system whose tasks the messages speak of.
    pub backend: BackendName,
    /// The largest body that is read, in bytes.
    pub max_body: usize,
}

/// The largest body that is read unless the configuration says otherwise. The largest recorded message
/// has under 64 KiB.
pub const DEFAULT_MAX_BODY: usize = 4 * 1024 * 1024;

/// Reads one message. The exchange's name chooses the format; nothing is read of a message that no format claims.
///
/// # Errors
/// See [`Unreadable`]; the body is kept by the caller.
pub fn decode(delivery: &Delivery, settings: &WireSettings) -> Result<Decoded, DecodeError> {
    if delivery.body.len() > settings.max_body {
        return Err(json::error(
            Unreadable::TooLarge,
            format!(
                "the body has {} bytes, the limit is {}",
                delivery.body.len(),
                settings.max_body
            ),
        ));
    }
    let body = std::str::from_utf8(&delivery.body)
        .map_err(|e| json::error(Unreadable::NotUtf8, format!("the body is not UTF-8: {e}")))?;
    let exchange = &*delivery.exchange;
    if let Some(kind) = exchange.strip_prefix("exchange/taskcluster-queue/v1/") {
        let routes = delivery.cc.iter().filter_map(|key| key.strip_prefix("route."));
        return taskcluster_queue::decode(kind, routes, body, settings);
    }
    if let Some(kind) = exchange.strip_prefix("exchange/taskcluster-github/v1/") {
        return github::decode(kind, body);
    }
    match exchange {
        "exchange/hgpushes/v1" => hgpushes::decode_v1(&delivery.routing_key, body),
        "exchange/hgpushes/v2" => hgpushes::decode_v2(&delivery.routing_key, body),
        "exchange/taskcluster-treeherder/v1/jobs" => treeherder_jobs::decode(body, settings),
        "exchange/treeherder/v1/job-actions"
        | "exchange/treeherder/v1/resultset-actions"
        | "exchange/treeherder/v1/resultset-runnable-job-actions" => treeherder_requests::decode(body),
        "exchange/build" | "exchange/build/" | "org.mozilla.exchange.build" => {
            buildbot::decode(&delivery.routing_key, body, settings)
        }
        "exchange/build/normalized" | "exchange/build/normalized/" => buildbot_normalized::decode(body, settings),
        own if is_own(own, "requests") => treeherder_requests::decode(body),
        own if is_own(own, "perf-alerts") => perf_alerts::decode(body),
        _ => Err(json::error(
            Unreadable::UnknownExchange,
            format!("no format is known for messages of {exchange:?}"),
        )),
    }
}

/// Whether an exchange is ours and carries these, `exchange/<user>/sheriffd/<what>`.
fn is_own(exchange: &str, what: &str) -> bool {
    let user = exchange
        .strip_prefix("exchange/")
        .and_then(|rest| rest.strip_suffix(what)?.strip_suffix("/sheriffd/"));
    user.is_some_and(|user| !user.is_empty() && !user.contains('/'))
}
