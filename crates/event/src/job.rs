//! Jobs: one run of a label on a push, and what is known of it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Bug, Label, Project, PushId, Revision, RunKey, TaskId, Timestamp};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It ran and was green.
    Passed,
    /// It ran and the test or build said no.
    Failed,
    /// The machinery failed (worker lost, deadline passed, malformed task): says nothing of the test.
    Infra,
    /// Somebody or something took it back before it had a result.
    Cancelled,
}

impl Outcome {
    /// The word used in rules, commands and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::Failed => "failed",
            Outcome::Infra => "infra",
            Outcome::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a run is in its life. Ordered: a later state never gives way to an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Waiting for a machine.
    Pending,
    /// On a machine.
    Running,
    /// Ended.
    Finished(Outcome),
}

impl RunState {
    /// The outcome, once there is one.
    pub fn outcome(self) -> Option<Outcome> {
        match self {
            RunState::Finished(outcome) => Some(outcome),
            RunState::Pending | RunState::Running => None,
        }
    }

    /// `pending`, `running`, or the outcome's word.
    pub fn as_str(self) -> &'static str {
        match self {
            RunState::Pending => "pending",
            RunState::Running => "running",
            RunState::Finished(outcome) => outcome.as_str(),
        }
    }
}

/// Who made a run happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum CausedBy {
    /// The CI's own scheduling of the push.
    Push,
    /// An action that a person (or a tool that is not us) asked for.
    Person,
    /// An action of ours.
    Sheriffd,
    /// Not known (yet). Opens nothing.
    #[default]
    Unknown,
}

impl CausedBy {
    /// The word used in rules.
    pub fn as_str(self) -> &'static str {
        match self {
            CausedBy::Push => "push",
            CausedBy::Person => "person",
            CausedBy::Sheriffd => "sheriffd",
            CausedBy::Unknown => "unknown",
        }
    }
}

/// What failed inside a run. Two failures with different signatures are different bugs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Signature {
    /// The test group (manifest) that held the failure, when known.
    pub group: Option<Arc<str>>,
    /// The test path, or the crash signature.
    pub test: Arc<str>,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.test)
    }
}

/// Which part of a suite a run was: `current` of `total`, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Chunk {
    /// This part.
    pub current: u32,
    /// Of so many; 0 when the task does not say.
    pub total: u32,
}

/// The machine a run was on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Worker {
    /// Worker group (a region or data centre).
    pub group: Arc<str>,
    /// Worker id.
    pub id: Arc<str>,
}

/// One numeric result of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The series it is a point of: see [`series_name`].
    pub series: Arc<str>,
    /// The value, in the unit of the series; always a number within ±1e100.
    pub value: f64,
    /// Whether it stands for a suite as a whole: the suite's own value, or a subtest's where the suite has none.
    pub summary: bool,
}

/// The name of a performance series within a label: suite, test, and the options that set it apart, in order. A test of
/// the suite's own name is the suite itself.
///
/// ```
/// # use sheriffd_event::series_name;
/// assert_eq!(series_name("imgur", Some("SpeedIndex"), ["warm", "fission"]), "imgur SpeedIndex fission warm");
/// assert_eq!(series_name("ts_paint", Some("ts_paint"), ["", "e10s"]), "ts_paint e10s");
/// ```
pub fn series_name<'a>(suite: &str, test: Option<&str>, options: impl IntoIterator<Item = &'a str>) -> String {
    let mut options: Vec<&str> = options.into_iter().filter(|option| !option.is_empty()).collect();
    options.sort_unstable();
    options.dedup();
    let test = test.filter(|test| !test.is_empty() && *test != suite);
    let words: Vec<&str> = [suite].into_iter().chain(test).chain(options).collect();
    words.join(" ")
}

/// What is known of a job besides its state. A message carries some of it; the task definition and
/// artifacts carry the rest. `None` means *not known yet*, never *absent*, except where said.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct JobFacts {
    /// The tree.
    pub project: Option<Project>,
    /// The head revision of the push it ran for.
    pub revision: Option<Revision>,
    /// The push it ran for.
    pub push: Option<PushId>,
    /// The job's name.
    pub label: Option<Label>,
    /// The platform: `linux1804-64-qr`.
    pub platform: Option<Arc<str>>,
    /// Build option or collection: `opt`, `debug`, `asan`.
    pub option: Option<Arc<str>>,
    /// Tier, 1 to 3; lower is more important.
    pub tier: Option<u8>,
    /// `test`, `build`, `other`, or the task graph's kind.
    pub kind: Option<Arc<str>>,
    /// The test suite without variant and chunk: `mochitest-browser-chrome`.
    pub suite: Option<Arc<str>>,
    /// The test variant: `async-event-dispatching`.
    pub variant: Option<Arc<str>>,
    /// The part of the suite, for chunked suites. `None`: not chunked, or not known.
    pub chunk: Option<Chunk>,
    /// Treeherder's job symbol.
    pub symbol: Option<Arc<str>>,
    /// Treeherder's group symbol; `?` where the job has no group.
    pub group_symbol: Option<Arc<str>>,
    /// The task that created this one (`extra.parent`): the decision task, or an action task.
    pub parent: Option<TaskId>,
    /// The action that made the task, when its tags say so: `backfill-task`, `retrigger`.
    pub action: Option<Arc<str>>,
    /// Who made it happen.
    pub caused_by: CausedBy,
    /// What failed. `None`: not known; empty: nothing named in the artifacts.
    pub signatures: Option<Vec<Signature>>,
    /// The test groups that ran. `None`: not known.
    pub groups: Option<Vec<Arc<str>>>,
    /// What it measured. `None`: not known; empty: it measured nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<Measurement>>,
    /// The sheriffs' classification of the failure: `not classified`, `intermittent`, `infra`, ….
    pub classification: Option<Arc<str>>,
    /// The bugs that a tracker names for what failed, by test. `None`: it was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bugs: Option<Vec<(Arc<str>, Vec<Bug>)>>,
    /// The tasks that had to end before it could run (`dependencies`): its build is one of them. `None`: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Vec<TaskId>>,
}

impl JobFacts {
    /// Fills what is unknown here from `other`; what is known here stays.
    pub fn fill_from(&mut self, other: &JobFacts) {
        macro_rules! fill {
            ($($field:ident),*) => { $( if self.$field.is_none() { self.$field.clone_from(&other.$field); } )* };
        }
        fill!(
            project,
            revision,
            push,
            label,
            platform,
            option,
            tier,
            kind,
            suite,
            variant,
            chunk,
            symbol,
            group_symbol,
            parent,
            action,
            signatures,
            groups,
            values,
            classification,
            bugs,
            needs
        );
        if self.caused_by == CausedBy::Unknown {
            self.caused_by = other.caused_by;
        }
    }

    /// The label without its chunk number: chunks move between pushes, so the number is no identity.
    /// A label whose chunk is unknown, or does not end in it, is returned whole.
    pub fn series(&self) -> Option<Label> {
        let label = self.label.as_ref()?;
        let stripped = self
            .chunk
            .and_then(|chunk| label.as_str().strip_suffix(&format!("-{}", chunk.current)));
        Some(stripped.map_or_else(|| label.clone(), Label::from))
    }
}

/// A run changed its state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobEvent {
    /// Which run.
    pub run: RunKey,
    /// The task group: for gecko, the id of the push's decision task.
    pub group: Option<TaskId>,
    /// The state it is in now.
    pub state: RunState,
    /// The CI's own word for how it ended: `completed`, `failed`, `claim-expired`, …. `None` when the
    /// message does not say (one recorded task-failed does not).
    pub reason: Option<Arc<str>>,
    /// Whether this is the task's latest run: a retried run is followed by another.
    pub latest: bool,
    /// When it reached this state, by the CI's clock.
    pub at: Timestamp,
    /// When it was scheduled.
    pub scheduled: Option<Timestamp>,
    /// When it started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub resolved: Option<Timestamp>,
    /// The machine, once one took it.
    pub worker: Option<Worker>,
    /// The queue of machines it waits for or ran on: `gecko-t/t-linux-large`.
    pub pool: Option<Arc<str>>,
    /// What else is known.
    pub facts: JobFacts,
}

impl JobEvent {
    /// The event's name in rules: `job.pending`, `job.running`, `job.finished`.
    pub fn event_name(&self) -> &'static str {
        match self.state {
            RunState::Pending => "job.pending",
            RunState::Running => "job.running",
            RunState::Finished(_) => "job.finished",
        }
    }

    /// The outcome, for a finished run.
    pub fn outcome(&self) -> Option<Outcome> {
        self.state.outcome()
    }
}
