//! What the engine is told about the world, besides rules.

use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::event::{Duration, Project};
use crate::rules::Mode;

/// Settings of the engine; the defaults fit a Mozilla-like CI.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// Projects whose jobs are kept; `None`: all.
    pub watched: Option<GlobSet>,
    /// Projects whose pushes are not one line of history: nothing is bisected there.
    pub not_linear: GlobSet,
    /// How long after a request was accepted its jobs may take to appear.
    pub jobs_appear_within: Duration,
    /// How long a run may wait or run before it is taken for lost.
    pub runs_end_within: Duration,
    /// How far back runs count as history of a subject.
    pub history_window: Duration,
    /// Whether what failed is read from artifacts before rules see a failure.
    pub read_failures: bool,
    /// Whether what runs measured can be read from artifacts.
    pub read_values: bool,
    /// Labels whose runs' results are always read, so that there is a history when a case needs one; those that open
    /// cases are about are read in any case.
    pub measured: GlobSet,
    /// The mode of every case, whatever its rule says: live for replays, which ask nobody; shadow for a daemon that
    /// cannot ask.
    pub mode: Option<Mode>,
    /// Whether a pushlog can be asked for pushes that no message told of; pushes are numbered without gaps then.
    pub has_pushlog: bool,
    /// How long what a bug tracker said of a test is good enough; `None`: there is no tracker to ask.
    pub bugs_fresh_for: Option<Duration>,
    /// Whether the task graph of a push can be asked for.
    pub has_graphs: bool,
    /// Whether somebody knows jobs by the numbers that people's requests give them.
    pub has_job_numbers: bool,
    /// Labels that have to fail newly on one push to be taken for one storm; 0: never.
    pub storm_labels: u32,
    /// How long after the first of them was noticed the others may be.
    pub storm_window: Duration,
    /// The share of tasks, 0 to 1, whose events are kept though no rule looks at them: for explanations. Unless it is 0,
    /// such pushes, requests and alerts are all kept: they are few.
    pub sample: f64,
}

/// Project names under which pushes are tries, not history.
pub const NOT_LINEAR: [&str; 2] = ["try", "try-*"];

impl Default for EngineSettings {
    fn default() -> Self {
        EngineSettings {
            watched: None,
            // The patterns are ours and valid; an empty set would only mean that nothing is taken for a try.
            not_linear: globs(NOT_LINEAR).unwrap_or_default(),
            jobs_appear_within: Duration::from_secs(2 * 3600),
            runs_end_within: Duration::from_secs(24 * 3600),
            history_window: Duration::from_secs(14 * 24 * 3600),
            read_failures: false,
            read_values: true,
            measured: GlobSet::empty(),
            mode: None,
            has_pushlog: false,
            bugs_fresh_for: None,
            has_graphs: false,
            has_job_numbers: false,
            storm_labels: 8,
            storm_window: Duration::from_secs(2 * 3600),
            sample: 0.0,
        }
    }
}

impl EngineSettings {
    /// Whether jobs of this project are kept.
    pub fn watches(&self, project: &Project) -> bool {
        self.watched
            .as_ref()
            .is_none_or(|globs| globs.is_match(project.as_str()))
    }

    /// Whether the project's pushes are one line of history.
    pub fn is_linear(&self, project: &Project) -> bool {
        !self.not_linear.is_match(project.as_str())
    }
}

/// Compiles name patterns.
///
/// # Errors
/// One of them is no glob.
pub fn globs<T: AsRef<str>>(patterns: impl IntoIterator<Item = T>) -> Result<GlobSet, globset::Error> {
    let mut builder = GlobSetBuilder::new();
    for pattern in patterns {
        builder.add(Glob::new(pattern.as_ref())?);
    }
    builder.build()
}
