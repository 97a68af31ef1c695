//! The lines that come in, and the problems they are.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::LineError;
use sheriffd_stats::rates::Counts;
use sheriffd_stats::{baseline, culprit, perf, until_hit, validate};

/// One line.
pub(super) enum Request {
    FindCulprit(FindCulprit),
    UntilHit(UntilHit),
    Validate(Validate),
    FindPerfCulprit(FindPerfCulprit),
    Baseline(Baseline),
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
}

impl Request {
    /// Reads a line: its kind first, then the whole of it as that kind, so that errors name the column.
    pub fn parse(line: &[u8]) -> Result<Request, LineError> {
        let head: Head = serde_json::from_slice(line)?;
        Ok(match &*head.kind {
            "find-culprit" => Request::FindCulprit(serde_json::from_slice(line)?),
            "until-hit" => Request::UntilHit(serde_json::from_slice(line)?),
            "validate" => Request::Validate(serde_json::from_slice(line)?),
            "find-perf-culprit" => Request::FindPerfCulprit(serde_json::from_slice(line)?),
            "baseline" => Request::Baseline(serde_json::from_slice(line)?),
            other => return Err(LineError::Kind(other.to_owned())),
        })
    }
}

/// Failures and passes where nothing can be pending.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Past {
    failed: u32,
    passed: u32,
}

impl Past {
    fn counts(&self) -> Counts {
        Counts::new(self.failed, self.passed)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FindCulprit {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    candidates: usize,
    #[serde(default)]
    runnable: Option<Vec<usize>>,
    #[serde(default)]
    prior: Option<Vec<f64>>,
    #[serde(default)]
    no_culprit_prior: Option<f64>,
    #[serde(default)]
    history: Past,
    #[serde(default)]
    tail: Past,
    #[serde(default)]
    rates: Option<Rates>,
    #[serde(default)]
    evidence: Vec<PushRuns>,
    #[serde(default)]
    params: FindCulpritParams,
    #[serde(default)]
    seed: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rates {
    p0: f64,
    p1: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PushRuns {
    push: usize,
    #[serde(default)]
    failed: u32,
    #[serde(default)]
    passed: u32,
    #[serde(default)]
    pending: u32,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct FindCulpritParams {
    confidence: Option<f64>,
    parallel: Option<u32>,
    round_price: Option<f64>,
    max_jobs: Option<u32>,
    min_rate: Option<f64>,
}

impl FindCulprit {
    /// The problem and the seed.
    pub fn problem(self) -> (culprit::Problem, u64) {
        let default = culprit::Problem::new(self.candidates);
        let evidence = |e: PushRuns| culprit::Evidence {
            push: e.push,
            failed: e.failed,
            passed: e.passed,
            pending: e.pending,
        };
        let params = culprit::Params {
            confidence: self.params.confidence.unwrap_or(default.params.confidence),
            parallel: self.params.parallel.unwrap_or(default.params.parallel),
            round_price: self.params.round_price.unwrap_or(default.params.round_price),
            max_jobs: self.params.max_jobs.unwrap_or(default.params.max_jobs),
            spent: None,
        };
        let problem = culprit::Problem {
            runnable: self.runnable,
            prior: self.prior,
            no_culprit_prior: self.no_culprit_prior.unwrap_or(default.no_culprit_prior),
            history: self.history.counts(),
            tail: self.tail.counts(),
            rates: self.rates.map(|rates| culprit::Rates {
                p0: rates.p0,
                p1: rates.p1,
            }),
            min_rate: self.params.min_rate.unwrap_or(default.min_rate),
            evidence: self.evidence.into_iter().map(evidence).collect(),
            params,
            ..default
        };
        (problem, self.seed)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UntilHit {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    #[serde(default)]
    evidence: HuntRuns,
    #[serde(default)]
    history: Past,
    #[serde(default)]
    params: UntilHitParams,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct HuntRuns {
    failed: u32,
    passed: u32,
    pending: u32,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct UntilHitParams {
    confidence: Option<f64>,
    rate: Option<f64>,
    round_price: Option<f64>,
    max_jobs: Option<u32>,
}

impl UntilHit {
    /// The problem.
    pub fn problem(&self) -> until_hit::Problem {
        let default = until_hit::Params::default();
        until_hit::Problem {
            history: self.history.counts(),
            evidence: Counts::new(self.evidence.failed, self.evidence.passed),
            pending: self.evidence.pending,
            params: until_hit::Params {
                confidence: self.params.confidence.unwrap_or(default.confidence),
                rate: self.params.rate.unwrap_or(default.rate),
                round_price: self.params.round_price.unwrap_or(default.round_price),
                max_jobs: self.params.max_jobs.unwrap_or(default.max_jobs),
                batch: None,
            },
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Validate {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    evidence: Vec<PlatformRuns>,
    #[serde(default)]
    params: ValidateParams,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlatformRuns {
    platform: String,
    #[serde(default)]
    failed: u32,
    #[serde(default)]
    passed: u32,
    #[serde(default)]
    pending: u32,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ValidateParams {
    ok_rate: Option<f64>,
    bad_rate: Option<f64>,
    alpha: Option<f64>,
    beta: Option<f64>,
    parallel: Option<u32>,
    max_jobs: Option<u32>,
}

impl Validate {
    /// The platforms' names in order of their first mention, their runs, and the parameters.
    pub fn problem(self) -> (Vec<String>, Vec<validate::Platform>, validate::Params) {
        let default = validate::Params::default();
        let params = validate::Params {
            ok_rate: self.params.ok_rate.unwrap_or(default.ok_rate),
            bad_rate: self.params.bad_rate.unwrap_or(default.bad_rate),
            alpha: self.params.alpha.unwrap_or(default.alpha),
            beta: self.params.beta.unwrap_or(default.beta),
            parallel: self.params.parallel.unwrap_or(default.parallel),
            max_jobs: self.params.max_jobs.unwrap_or(default.max_jobs),
        };
        let mut index = std::collections::HashMap::new();
        let (mut names, mut platforms) = (Vec::new(), Vec::<validate::Platform>::new());
        for runs in self.evidence {
            let at = *index.entry(runs.platform.clone()).or_insert_with(|| {
                names.push(runs.platform);
                platforms.push(validate::Platform::default());
                platforms.len() - 1
            });
            let platform = &mut platforms[at];
            platform.seen = platform.seen.plus(Counts::new(runs.failed, runs.passed));
            platform.pending = platform.pending.saturating_add(runs.pending);
        }
        (names, platforms, params)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FindPerfCulprit {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    candidates: usize,
    #[serde(default)]
    history: Vec<f64>,
    #[serde(default)]
    tail: Vec<f64>,
    #[serde(default)]
    evidence: Vec<PushValues>,
    #[serde(default)]
    params: PerfParams,
    #[serde(default)]
    seed: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PushValues {
    push: usize,
    #[serde(default)]
    values: Vec<f64>,
    #[serde(default)]
    pending: u32,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct PerfParams {
    confidence: Option<f64>,
    min_shift: Option<f64>,
    parallel: Option<u32>,
    max_jobs: Option<u32>,
}

impl FindPerfCulprit {
    /// The problem and the seed.
    pub fn problem(self) -> (perf::Problem, u64) {
        let default = perf::Params::default();
        let evidence = |e: PushValues| perf::Evidence {
            push: e.push,
            values: e.values,
            pending: e.pending,
        };
        let problem = perf::Problem {
            candidates: self.candidates,
            history: self.history,
            tail: self.tail,
            evidence: self.evidence.into_iter().map(evidence).collect(),
            params: perf::Params {
                confidence: self.params.confidence.unwrap_or(default.confidence),
                min_shift: self.params.min_shift.unwrap_or(default.min_shift),
                parallel: self.params.parallel.unwrap_or(default.parallel),
                max_jobs: self.params.max_jobs.unwrap_or(default.max_jobs),
            },
        };
        (problem, self.seed)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Baseline {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    #[serde(default)]
    pub previous: Vec<f64>,
    #[serde(default)]
    pub values: Vec<f64>,
    #[serde(default)]
    pub pending: u32,
    #[serde(default)]
    params: BaselineParams,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct BaselineParams {
    precision: Option<f64>,
    confidence: Option<f64>,
    max_jobs: Option<u32>,
}

impl Baseline {
    /// The parameters, defaults filled in.
    pub fn params(&self) -> baseline::Params {
        let default = baseline::Params::default();
        baseline::Params {
            precision: self.params.precision.unwrap_or(default.precision),
            confidence: self.params.confidence.unwrap_or(default.confidence),
            max_jobs: self.params.max_jobs.unwrap_or(default.max_jobs),
        }
    }
}
