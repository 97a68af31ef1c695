//! Cases: what an investigation is about, what it was given, and how it can end.

use std::collections::BTreeMap;
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
}

impl CaseKind {
    /// All kinds, in the order of the documentation.
    pub const ALL: [CaseKind; 2] = [CaseKind::FindCulprit, CaseKind::UntilHit];

    /// The word used in rules, commands and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            CaseKind::FindCulprit => "find-culprit",
            CaseKind::UntilHit => "until-hit",
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
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.project, self.label)?;
        match &self.signature {
            Some(signature) => write!(f, " ({signature})"),
            None => Ok(()),
        }
    }
}

/// Extra input for the action that runs a job, for debugging: passed through to the CI.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunInput {
    /// Environment variables to add.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Preferences to set.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub preferences: BTreeMap<String, String>,
    /// Another action than the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

/// Parameters of `find-culprit`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FindCulpritParams {
    /// Pushes to look back for a last good one, 1 to 1,000.
    pub max_depth: u32,
    /// Posterior probability a verdict needs, 0.5 to 0.9999.
    pub confidence: f64,
    /// Jobs asked for together at most, 1 to 100.
    pub parallel: u32,
    /// The price of a round (one wait for the CI), counted in jobs, 0 to 1,000.
    pub round_price: f64,
    /// Jobs the case may ask for in all, 1 to 10,000. Mandatory in rules.
    pub max_jobs: u32,
    /// Prior probability that the range holds no culprit, 0 to 0.99.
    pub no_culprit_prior: f64,
    /// Extra input for the runs.
    pub input: RunInput,
}

impl Default for FindCulpritParams {
    fn default() -> Self {
        FindCulpritParams {
            max_depth: 25,
            confidence: 0.95,
            parallel: 8,
            round_price: 4.0,
            max_jobs: 40,
            no_culprit_prior: 0.4,
            input: RunInput::default(),
        }
    }
}

/// Parameters of `until-hit`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UntilHitParams {
    /// Jobs in a batch: `None` is `auto`, growing by what was learned; else 1 to 100.
    pub batch: Option<u32>,
    /// Posterior probability that `not-reproducible` needs, 0.5 to 0.9999.
    pub confidence: f64,
    /// The failure rate below which a failure is called not reproducible, over 0 and under 1.
    pub rate: f64,
    /// The price of a round, counted in jobs, 0 to 1,000.
    pub round_price: f64,
    /// Jobs the case may ask for in all, 1 to 10,000. Mandatory in rules.
    pub max_jobs: u32,
    /// Extra input for the runs.
    pub input: RunInput,
}

impl Default for UntilHitParams {
    fn default() -> Self {
        UntilHitParams {
            batch: None,
            confidence: 0.95,
            rate: 0.02,
            round_price: 1.0,
            max_jobs: 50,
            input: RunInput::default(),
        }
    }
}

/// What a case was given to work with, by kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum CaseParams {
    /// See [`FindCulpritParams`].
    FindCulprit(FindCulpritParams),
    /// See [`UntilHitParams`].
    UntilHit(UntilHitParams),
}

/// A parameter is out of its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("`{field}` is {got}, but must be {want}")]
pub struct ParamsError {
    /// The parameter's name as written in a rule.
    pub field: &'static str,
    /// What was given.
    pub got: String,
    /// What is allowed.
    pub want: &'static str,
}

impl CaseParams {
    /// The kind these parameters are for.
    pub fn kind(&self) -> CaseKind {
        match self {
            CaseParams::FindCulprit(_) => CaseKind::FindCulprit,
            CaseParams::UntilHit(_) => CaseKind::UntilHit,
        }
    }

    /// Jobs the case may ask for in all.
    pub fn max_jobs(&self) -> u32 {
        match self {
            CaseParams::FindCulprit(p) => p.max_jobs,
            CaseParams::UntilHit(p) => p.max_jobs,
        }
    }

    /// Extra input for the runs.
    pub fn input(&self) -> &RunInput {
        match self {
            CaseParams::FindCulprit(p) => &p.input,
            CaseParams::UntilHit(p) => &p.input,
        }
    }

    /// Checks every parameter against its range; returns every breach, not the first.
    pub fn check(&self) -> Vec<ParamsError> {
        let mut errors = Vec::new();
        let mut range = |field, value: f64, low: f64, high: f64, want| {
            if !(low..=high).contains(&value) {
                errors.push(ParamsError {
                    field,
                    got: value.to_string(),
                    want,
                });
            }
        };
        match self {
            CaseParams::FindCulprit(p) => {
                range("max_depth", p.max_depth.into(), 1.0, 1_000.0, "1 to 1000");
                range("confidence", p.confidence, 0.5, 0.9999, "0.5 to 0.9999");
                range("parallel", p.parallel.into(), 1.0, 100.0, "1 to 100");
                range("round_price", p.round_price, 0.0, 1_000.0, "0 to 1000");
                range("max_jobs", p.max_jobs.into(), 1.0, 10_000.0, "1 to 10000");
                range("no_culprit_prior", p.no_culprit_prior, 0.0, 0.99, "0 to 0.99");
            }
            CaseParams::UntilHit(p) => {
                range("batch", p.batch.unwrap_or(1).into(), 1.0, 100.0, "auto, or 1 to 100");
                range("confidence", p.confidence, 0.5, 0.9999, "0.5 to 0.9999");
                range("rate", p.rate, 1e-6, 0.999_999, "over 0 and under 1");
                range("round_price", p.round_price, 0.0, 1_000.0, "0 to 1000");
                range("max_jobs", p.max_jobs.into(), 1.0, 10_000.0, "1 to 10000");
            }
        }
        errors
    }
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
    /// What stands for the rule of a case that a person opened.
    pub const BY_HAND: &'static str = "by-hand";

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
