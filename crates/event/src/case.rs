//! Cases: what an investigation is about, what it was given, and how it can end.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Label, Project, PushId, Revision, RuleName, Signature};

/// The kind of an investigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaseKind {
    /// Which push broke a job, for good or now and then.
    FindCulprit,
    /// Re-run an intermittent until it fails once.
    UntilHit,
    /// Whether a new test is stable, on every platform that runs it.
    Validate,
    /// Which push made a performance series step.
    FindPerfCulprit,
    /// The level of performance series after an uplift.
    Baseline,
    /// What was meant to run on a push, or ran on its neighbours, and is missing there.
    Fill,
    /// Jobs that somebody wants on a push.
    Add,
    /// Labels on a range of pushes.
    Range,
}

impl CaseKind {
    /// All kinds, in the order of the documentation.
    pub const ALL: [CaseKind; 8] = [
        CaseKind::FindCulprit,
        CaseKind::UntilHit,
        CaseKind::Validate,
        CaseKind::FindPerfCulprit,
        CaseKind::Baseline,
        CaseKind::Fill,
        CaseKind::Add,
        CaseKind::Range,
    ];

    /// The word used in rules, commands and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            CaseKind::FindCulprit => "find-culprit",
            CaseKind::UntilHit => "until-hit",
            CaseKind::Validate => "validate",
            CaseKind::FindPerfCulprit => "find-perf-culprit",
            CaseKind::Baseline => "baseline",
            CaseKind::Fill => "fill",
            CaseKind::Add => "add",
            CaseKind::Range => "range",
        }
    }
}

impl fmt::Display for CaseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a case is about. Chunk numbers are not identity: with a known signature the label is the series (the label
/// without its chunk); without one only the whole job can be meant, chunk and all.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subject {
    /// The tree.
    pub project: Project,
    /// The job's label, or its series when the signature is known.
    pub label: Label,
    /// What fails; `None` while that is unknown: the job as a whole.
    pub signature: Option<Signature>,
    /// Which of the job's numeric results is meant, for kinds that are about one ([`super::series_name`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<Arc<str>>,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.project, self.label)?;
        match (&self.signature, &self.series) {
            (Some(signature), _) => write!(f, " ({signature})"),
            (None, Some(series)) => write!(f, " ({series})"),
            (None, None) => Ok(()),
        }
    }
}

/// A job that a case is about besides its own label: this label on this push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The label, whole.
    pub label: Label,
    /// Its platform, for limits and verdicts by platform; `unknown` where nothing told.
    pub platform: Arc<str>,
    /// The push.
    pub push: PushId,
    /// Runs wanted in all, those that are there already counted; 0 where the case decides that as it goes.
    pub times: u32,
}

/// Something that was asked for and that a case cannot do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unable {
    /// The label, as asked for.
    pub label: Label,
    /// The push; `None` where it is about every push.
    pub push: Option<PushId>,
    /// Why, in one sentence; for an unknown label, with the nearest known ones.
    pub why: String,
}

/// Where a case came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A rule, by name, in the version (hash of the rule set) that opened the case.
    Rule {
        /// The rule.
        name: RuleName,
        /// The rule set's version.
        version: Arc<str>,
    },
    /// A person at the command line or the API.
    Person {
        /// Who, as far as known.
        name: Arc<str>,
    },
}

impl Cause {
    /// What stands in place of a rule's name where a person opened the case.
    pub const BY_HAND: &str = "by-hand";

    /// The rule's name, or `by-hand`: for limits and metrics.
    pub fn rule_name(&self) -> &str {
        match self {
            Cause::Rule { name, .. } => name.as_str(),
            Cause::Person { .. } => Cause::BY_HAND,
        }
    }
}

/// How a case ended, as one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictKind {
    /// These pushes broke it.
    Culprit,
    /// Nothing in the range did: it failed before too, or only once.
    NoCulprit,
    /// The budget is spent, or runs did not come, before the evidence sufficed.
    Undecided,
    /// Something made the question moot: a backout after which it passed, another case.
    Superseded,
    /// A person closed it.
    Withdrawn,
    /// The CI cannot run what would be needed.
    NotPossible,
    /// The intermittent failed again: caught.
    Hit,
    /// It did not fail again; its rate is below the asked-for one.
    NotReproducible,
    /// A new test is stable.
    Stable,
    /// A new test fails now and then.
    Flaky,
    /// A new test fails more often than not.
    Broken,
    /// The performance series did not step.
    NoChange,
    /// The baseline is precise enough.
    Established,
    /// What was asked for was done (fill, add, range).
    Done,
}

impl VerdictKind {
    /// Every word, in the order of the documentation.
    pub const ALL: [VerdictKind; 14] = [
        VerdictKind::Culprit,
        VerdictKind::NoCulprit,
        VerdictKind::Undecided,
        VerdictKind::Superseded,
        VerdictKind::Withdrawn,
        VerdictKind::NotPossible,
        VerdictKind::Hit,
        VerdictKind::NotReproducible,
        VerdictKind::Stable,
        VerdictKind::Flaky,
        VerdictKind::Broken,
        VerdictKind::NoChange,
        VerdictKind::Established,
        VerdictKind::Done,
    ];

    /// The word used in commands, webhooks and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            VerdictKind::Culprit => "culprit",
            VerdictKind::NoCulprit => "no-culprit",
            VerdictKind::Undecided => "undecided",
            VerdictKind::Superseded => "superseded",
            VerdictKind::Withdrawn => "withdrawn",
            VerdictKind::NotPossible => "not-possible",
            VerdictKind::Hit => "hit",
            VerdictKind::NotReproducible => "not-reproducible",
            VerdictKind::Stable => "stable",
            VerdictKind::Flaky => "flaky",
            VerdictKind::Broken => "broken",
            VerdictKind::NoChange => "no-change",
            VerdictKind::Established => "established",
            VerdictKind::Done => "done",
        }
    }
}

impl fmt::Display for VerdictKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A push that a verdict names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedPush {
    /// Its number.
    pub push: PushId,
    /// Its head revision, when known.
    pub revision: Option<Revision>,
    /// Posterior probability that it is the one.
    pub probability: f64,
}

/// How a case ended, with what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The word.
    pub kind: VerdictKind,
    /// The pushes it names; empty for kinds that name none.
    pub pushes: Vec<NamedPush>,
    /// Posterior probability of the statement, where it has one.
    pub probability: Option<f64>,
    /// One sentence for people.
    pub why: String,
}

/// The level of one performance series, known as precisely as was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// The job that measures it.
    pub label: Label,
    /// The series.
    pub series: Arc<str>,
    /// Its mean, in the unit of the series.
    pub mean: f64,
    /// The interval is mean ± this, in the unit of the series.
    pub half_width: f64,
    /// Values it rests on.
    pub n: u32,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} is {:.6} ± {:.3} ({} values)",
            self.series,
            self.label,
            Digits(self.mean),
            Digits(self.half_width),
            self.n
        )
    }
}

/// A number with so many significant digits as the format's precision says.
struct Digits(f64);

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(6) as i32;
        let magnitude = match self.0 == 0.0 {
            true => 0,
            false => self.0.abs().log10().floor().clamp(-300.0, 300.0) as i32,
        };
        let places = (digits - 1 - magnitude).clamp(0, 12) as usize;
        write!(f, "{:.places$}", self.0)
    }
}

/// What a case has found, in numbers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Found {
    /// The 95 % interval of the step, as fractions of the old level: (0.03, 0.06) is three to six percent up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shift: Option<(f64, f64)>,
    /// The levels that are established.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<Level>,
    /// The 95 % interval of a new test's failure rate on the platforms that the verdict names: 0.05 is one run in twenty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<(f64, f64)>,
    /// The platforms that the verdict on a new test names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<Arc<str>>,
}

impl Found {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        *self == Found::default()
    }
}
