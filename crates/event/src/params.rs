//! What a case is given to work with, by kind.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CaseKind, PushId};

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
    /// Test groups (manifests) that the runs are to run, where the job would run others on the push: filled in by the
    /// case, not by people.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<String>,
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
    /// How likely it is, before anything is run, that the culprit is one of the pushes that touch files near the test, and
    /// not just any, 0 to 0.9; 0: what pushes touch is not looked at.
    pub near_prior: f64,
    /// The lowest failure rate from the culprit on that is worth finding, 0 to 0.9: with 0, a failure that came only once
    /// on a young history may take all the jobs of the case.
    pub min_rate: f64,
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
            near_prior: 0.2,
            min_rate: 0.0,
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

/// Parameters of `validate`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ValidateParams {
    /// Platforms to run on, `*` standing for any characters; empty: all that run the test.
    pub platforms: Vec<String>,
    /// The failure rate of a test that is good enough, over 0 and under `bad_rate`.
    pub ok_rate: f64,
    /// The failure rate of a test that is not, over `ok_rate` and under 1.
    pub bad_rate: f64,
    /// Probability of calling a good test bad, 0.0001 to 0.5.
    pub alpha: f64,
    /// Probability of calling a bad test good, 0.0001 to 0.5.
    pub beta: f64,
    /// Jobs asked for together at most, 1 to 100.
    pub parallel: u32,
    /// Jobs the case may ask for in all, 1 to 10,000. Mandatory in rules.
    pub max_jobs: u32,
    /// Extra input for the runs.
    pub input: RunInput,
}

impl Default for ValidateParams {
    fn default() -> Self {
        ValidateParams {
            platforms: Vec::new(),
            ok_rate: 0.002,
            bad_rate: 0.05,
            alpha: 0.01,
            beta: 0.05,
            parallel: 6,
            max_jobs: 400,
            input: RunInput::default(),
        }
    }
}

/// Parameters of `find-perf-culprit`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FindPerfCulpritParams {
    /// Pushes to look back, 1 to 1,000.
    pub max_depth: u32,
    /// Posterior probability a verdict needs, 0.5 to 0.9999.
    pub confidence: f64,
    /// The smallest relative step worth finding, over 0 and under 1.
    pub min_shift: f64,
    /// Jobs asked for together at most, 1 to 100.
    pub parallel: u32,
    /// Jobs the case may ask for in all, 1 to 10,000. Mandatory in rules.
    pub max_jobs: u32,
    /// Extra input for the runs.
    pub input: RunInput,
}

impl Default for FindPerfCulpritParams {
    fn default() -> Self {
        FindPerfCulpritParams {
            max_depth: 25,
            confidence: 0.95,
            min_shift: 0.02,
            parallel: 4,
            max_jobs: 60,
            input: RunInput::default(),
        }
    }
}

/// Parameters of `baseline`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BaselineParams {
    /// Labels whose level is wanted, `*` standing for any characters.
    pub labels: Vec<String>,
    /// Half-width of the interval that is wanted, as a fraction of the mean, over 0 and under 1.
    pub precision: f64,
    /// Confidence of the interval, 0.5 to 0.9999.
    pub confidence: f64,
    /// Jobs asked for together at most, 1 to 100.
    pub parallel: u32,
    /// Jobs the case may ask for in all, 1 to 10,000. Mandatory in rules.
    pub max_jobs: u32,
    /// Extra input for the runs.
    pub input: RunInput,
}

impl Default for BaselineParams {
    fn default() -> Self {
        BaselineParams {
            labels: Vec::new(),
            precision: 0.01,
            confidence: 0.95,
            parallel: 8,
            max_jobs: 120,
            input: RunInput::default(),
        }
    }
}

/// Parameters of `fill`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FillParams {
    /// Where, for rules that run without an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Labels to fill in, `*` standing for any characters; empty: all.
    pub labels: Vec<String>,
    /// A label is filled in only where at least so many pushes in a row lack it, 1 to 1,000.
    pub gap: u32,
    /// Pushes on either side whose jobs say what could run, 1 to 100, where no task graph can be had.
    pub neighbours: u32,
    /// Jobs the case may ask for in all, 1 to 10,000. Mandatory in rules.
    pub max_jobs: u32,
    /// Extra input for the runs.
    pub input: RunInput,
}

impl Default for FillParams {
    fn default() -> Self {
        FillParams {
            project: None,
            labels: Vec::new(),
            gap: 1,
            neighbours: 10,
            max_jobs: 100,
            input: RunInput::default(),
        }
    }
}

/// Parameters of `add`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AddParams {
    /// Labels to add, `*` standing for any characters; empty in rules: those of the request.
    pub labels: Vec<String>,
    /// Platforms to add them on, `*` standing for any characters; empty: all.
    pub platforms: Vec<String>,
    /// Suites to add, `*` standing for any characters; empty: all.
    pub suites: Vec<String>,
    /// Only labels that failed on the push.
    pub failed: bool,
    /// Only labels that ran or wait on the push already.
    pub existing_only: bool,
    /// Further runs of each label, 1 to 100.
    pub times: u32,
    /// Jobs the case may ask for in all, 1 to 10,000. Mandatory in rules.
    pub max_jobs: u32,
    /// Extra input for the runs.
    pub input: RunInput,
}

impl Default for AddParams {
    fn default() -> Self {
        AddParams {
            labels: Vec::new(),
            platforms: Vec::new(),
            suites: Vec::new(),
            failed: false,
            existing_only: false,
            times: 1,
            max_jobs: 400,
            input: RunInput::default(),
        }
    }
}

/// Parameters of `range`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RangeParams {
    /// Labels to run, `*` standing for any characters.
    pub labels: Vec<String>,
    /// The first push; `None`: as `back` or `delta` say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<PushId>,
    /// The last push; `None`: the one that the case is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<PushId>,
    /// Pushes before the last one, up to 1,000; 0: as the others say.
    pub back: u32,
    /// Pushes on either side of the one that the case is about, up to 500; 0: as the others say.
    pub delta: u32,
    /// Pushes left out between two that are taken, up to 1,000.
    pub skip: u32,
    /// Runs wanted of each label on each push in all, those that are there already counted, 1 to 100.
    pub times: u32,
    /// Jobs the case may ask for in all, 1 to 10,000. Mandatory in rules.
    pub max_jobs: u32,
    /// Extra input for the runs.
    pub input: RunInput,
}

impl Default for RangeParams {
    fn default() -> Self {
        RangeParams {
            labels: Vec::new(),
            from: None,
            to: None,
            back: 0,
            delta: 0,
            skip: 0,
            times: 1,
            max_jobs: 100,
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
    /// See [`ValidateParams`].
    Validate(ValidateParams),
    /// See [`FindPerfCulpritParams`].
    FindPerfCulprit(FindPerfCulpritParams),
    /// See [`BaselineParams`].
    Baseline(BaselineParams),
    /// See [`FillParams`].
    Fill(FillParams),
    /// See [`AddParams`].
    Add(AddParams),
    /// See [`RangeParams`].
    Range(RangeParams),
}

/// The same expression on the parameters of whatever kind.
macro_rules! any_kind {
    ($params:expr, $name:ident => $value:expr) => {
        match $params {
            CaseParams::FindCulprit($name) => $value,
            CaseParams::UntilHit($name) => $value,
            CaseParams::Validate($name) => $value,
            CaseParams::FindPerfCulprit($name) => $value,
            CaseParams::Baseline($name) => $value,
            CaseParams::Fill($name) => $value,
            CaseParams::Add($name) => $value,
            CaseParams::Range($name) => $value,
        }
    };
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
    /// The defaults of a kind.
    pub fn default_of(kind: CaseKind) -> CaseParams {
        match kind {
            CaseKind::FindCulprit => CaseParams::FindCulprit(Default::default()),
            CaseKind::UntilHit => CaseParams::UntilHit(Default::default()),
            CaseKind::Validate => CaseParams::Validate(Default::default()),
            CaseKind::FindPerfCulprit => CaseParams::FindPerfCulprit(Default::default()),
            CaseKind::Baseline => CaseParams::Baseline(Default::default()),
            CaseKind::Fill => CaseParams::Fill(Default::default()),
            CaseKind::Add => CaseParams::Add(Default::default()),
            CaseKind::Range => CaseParams::Range(Default::default()),
        }
    }

    /// The kind these parameters are for.
    pub fn kind(&self) -> CaseKind {
        match self {
            CaseParams::FindCulprit(_) => CaseKind::FindCulprit,
            CaseParams::UntilHit(_) => CaseKind::UntilHit,
            CaseParams::Validate(_) => CaseKind::Validate,
            CaseParams::FindPerfCulprit(_) => CaseKind::FindPerfCulprit,
            CaseParams::Baseline(_) => CaseKind::Baseline,
            CaseParams::Fill(_) => CaseKind::Fill,
            CaseParams::Add(_) => CaseKind::Add,
            CaseParams::Range(_) => CaseKind::Range,
        }
    }

    /// Jobs the case may ask for in all.
    pub fn max_jobs(&self) -> u32 {
        any_kind!(self, params => params.max_jobs)
    }

    /// Extra input for the runs.
    pub fn input(&self) -> &RunInput {
        any_kind!(self, params => &params.input)
    }

    /// Pushes that the kind looks back of its own accord; `None`: as many as a view shows.
    pub fn max_depth(&self) -> Option<u32> {
        match self {
            CaseParams::FindCulprit(params) => Some(params.max_depth),
            CaseParams::FindPerfCulprit(params) => Some(params.max_depth),
            _ => None,
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
        range("max_jobs", self.max_jobs().into(), 1.0, 10_000.0, "1 to 10000");
        let confidence = |p: f64| ("confidence", p, 0.5, 0.9999, "0.5 to 0.9999");
        let parallel = |n: u32| ("parallel", f64::from(n), 1.0, 100.0, "1 to 100");
        let depth = |n: u32| ("max_depth", f64::from(n), 1.0, 1_000.0, "1 to 1000");
        let share = |field, p: f64| (field, p, 1e-6, 0.999_999, "over 0 and under 1");
        let price = |p: f64| ("round_price", p, 0.0, 1_000.0, "0 to 1000");
        let times = |n: u32| ("times", f64::from(n), 1.0, 100.0, "1 to 100");
        let up_to = |field, n: u32, high: f64, want| (field, f64::from(n), 0.0, high, want);
        let ranges = match self {
            CaseParams::FindCulprit(p) => vec![
                depth(p.max_depth),
                confidence(p.confidence),
                parallel(p.parallel),
                price(p.round_price),
                ("no_culprit_prior", p.no_culprit_prior, 0.0, 0.99, "0 to 0.99"),
                ("near_prior", p.near_prior, 0.0, 0.9, "0 to 0.9"),
                ("min_rate", p.min_rate, 0.0, 0.9, "0 to 0.9"),
            ],
            CaseParams::UntilHit(p) => vec![
                ("batch", p.batch.unwrap_or(1).into(), 1.0, 100.0, "auto, or 1 to 100"),
                confidence(p.confidence),
                share("rate", p.rate),
                price(p.round_price),
            ],
            CaseParams::Validate(p) => vec![
                (
                    "ok_rate",
                    p.ok_rate,
                    1e-6,
                    p.bad_rate.min(0.999_999),
                    "over 0 and under `bad_rate`",
                ),
                share("bad_rate", p.bad_rate),
                ("alpha", p.alpha, 1e-4, 0.5, "0.0001 to 0.5"),
                ("beta", p.beta, 1e-4, 0.5, "0.0001 to 0.5"),
                parallel(p.parallel),
            ],
            CaseParams::FindPerfCulprit(p) => vec![
                depth(p.max_depth),
                confidence(p.confidence),
                share("min_shift", p.min_shift),
                parallel(p.parallel),
            ],
            CaseParams::Baseline(p) => {
                vec![
                    share("precision", p.precision),
                    confidence(p.confidence),
                    parallel(p.parallel),
                ]
            }
            CaseParams::Fill(p) => vec![
                ("gap", p.gap.into(), 1.0, 1_000.0, "1 to 1000"),
                ("neighbours", p.neighbours.into(), 1.0, 100.0, "1 to 100"),
            ],
            CaseParams::Add(p) => vec![times(p.times)],
            CaseParams::Range(p) => vec![
                times(p.times),
                up_to("back", p.back, 1_000.0, "0 to 1000"),
                up_to("delta", p.delta, 500.0, "0 to 500"),
                up_to("skip", p.skip, 1_000.0, "0 to 1000"),
            ],
        };
        for (field, value, low, high, want) in ranges {
            range(field, value, low, high, want);
        }
        errors
    }
}
