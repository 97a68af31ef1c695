//! When the mean of a series is known precisely enough to be the new baseline.
//!
//! In: the values so far and those of the previous baseline. Out: how many more, or the mean with its half width.
//! Never: a verdict on fewer than [`MIN_VALUES`] values.
//!
//! It stops at the first n with t·s/√n within the precision. The variance of the previous baseline counts as up to 20
//! degrees of freedom, unless an F test at 1 % finds that the variance changed.

use super::math::{f_cdf, student_quantile};

/// Values a baseline has at least: under this the variance estimate cannot be trusted to stop on.
pub const MIN_VALUES: usize = 8;

/// Degrees of freedom that the previous variance is worth at most.
const PREVIOUS_FREEDOM: f64 = 20.0;

/// The level of the test that drops the previous variance.
const CHANGED: f64 = 0.01;

/// Runs in one batch at most: a bad first guess of the variance must not cost a whole budget.
const MAX_BATCH: u32 = 20;

/// What a baseline must be sure of, and may cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Params {
    /// Half width of the interval relative to the mean, over 0 and at most 1.
    pub precision: f64,
    /// Confidence of the interval, 0.5 to 0.9999.
    pub confidence: f64,
    /// Values that may be asked for in all.
    pub max_jobs: u32,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            precision: 0.01,
            confidence: 0.95,
            max_jobs: 200,
        }
    }
}

/// What to do next, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Runs to ask for now.
    pub times: u32,
    /// Whether it ended.
    pub verdict: Option<Verdict>,
    /// What the values say; `None` for under two of them.
    pub estimate: Option<Estimate>,
    /// One sentence for people.
    pub why: String,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The estimate is precise enough.
    Established,
    /// The budget is spent and it is not.
    Undecided,
}

/// A mean with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The mean, in the unit of the values.
    pub mean: f64,
    /// The interval is mean ± this, in the unit of the values.
    pub half_width: f64,
    /// Values it rests on.
    pub n: usize,
}

/// A baseline that cannot be one.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProblemError {
    /// A number out of its range.
    #[error("`{field}` is {got}, but must be {want}")]
    Range {
        /// Its name.
        field: &'static str,
        /// What was given.
        got: f64,
        /// What is allowed.
        want: &'static str,
    },
    /// A value that is none.
    #[error("a value of `{field}` is {got}, but must be a number within ±1e100")]
    Value {
        /// Which list.
        field: &'static str,
        /// What was given.
        got: f64,
    },
}

/// Decides the next step from the previous baseline's values and those since, `pending` of which are still to come.
///
/// # Errors
///
/// A parameter is out of its range, or a value is not a finite number.
pub fn plan(previous: &[f64], values: &[f64], pending: u32, params: &Params) -> Result<Step, ProblemError> {
    check(previous, values, params)?;
    let n = values.len();
    let estimate = estimate(previous, values, params);
    let step = |times, verdict, why| Step {
        times,
        verdict,
        estimate,
        why,
    };
    if let Some(known) = estimate.filter(|known| n >= MIN_VALUES && precise(known, params)) {
        let why = format!("the mean of {n} values is {} ±{}", known.mean, known.half_width);
        return Ok(step(0, Some(Verdict::Established), why));
    }
    let have = u32::try_from(n).unwrap_or(u32::MAX).saturating_add(pending);
    let left = params.max_jobs.saturating_sub(have);
    if left == 0 && pending == 0 {
        let why = format!(
            "the budget of {} runs is spent before the mean is known well enough",
            params.max_jobs
        );
        return Ok(step(0, Some(Verdict::Undecided), why));
    }
    let missing = missing(estimate, n, params).saturating_sub(pending);
    let times = missing.min(left);
    let why = match times {
        0 => format!("{pending} runs are pending after {n} values"),
        _ => format!(
            "{times} more after {n} values: the mean is not known to ±{} % yet",
            100.0 * params.precision
        ),
    };
    Ok(step(times, None, why))
}

fn check(previous: &[f64], values: &[f64], params: &Params) -> Result<(), ProblemError> {
    // Squares of values within this stay finite.
    const LARGEST: f64 = 1e100;
    for (field, list) in [("previous", previous), ("values", values)] {
        if let Some(got) = list.iter().copied().find(|v| v.is_nan() || v.abs() > LARGEST) {
            return Err(ProblemError::Value { field, got });
        }
    }
    let ranges = [
        ("precision", params.precision, 1e-6, 1.0, "0.000001 to 1"),
        ("confidence", params.confidence, 0.5, 0.9999, "0.5 to 0.9999"),
    ];
    match ranges
        .into_iter()
        .find(|(_, got, low, high, _)| !(*low..=*high).contains(got))
    {
        Some((field, got, _, _, want)) => Err(ProblemError::Range { field, got, want }),
        None => Ok(()),
    }
}

fn precise(estimate: &Estimate, params: &Params) -> bool {
    estimate.half_width <= params.precision * estimate.mean.abs()
}

fn estimate(previous: &[f64], values: &[f64], params: &Params) -> Option<Estimate> {
    let (mean, squares) = moments(values)?;
    let n = values.len();
    let mut freedom = (n - 1) as f64;
    let mut variance = squares / freedom;
    if let Some((_, old_squares)) = moments(previous) {
        let old_freedom = (previous.len() - 1) as f64;
        let old = old_squares / old_freedom;
        let tail = if old > 0.0 {
            f_cdf(variance / old, freedom, old_freedom)
        } else {
            1.0
        };
        if tail > 0.5 * CHANGED && tail < 1.0 - 0.5 * CHANGED {
            let weight = old_freedom.min(PREVIOUS_FREEDOM);
            variance = (squares + weight * old) / (freedom + weight);
            freedom += weight;
        }
    }
    let t = student_quantile(0.5 + 0.5 * params.confidence, freedom);
    Some(Estimate {
        mean,
        half_width: t * (variance / n as f64).sqrt(),
        n,
    })
}

/// Mean and sum of squares about it; `None` for under two values.
fn moments(values: &[f64]) -> Option<(f64, f64)> {
    if values.len() < 2 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    Some((mean, values.iter().map(|v| (v - mean).powi(2)).sum()))
}

/// Values to ask for: up to the minimum at once, then half of what the present estimate says is missing, so that a
/// variance guessed too high costs little.
fn missing(estimate: Option<Estimate>, n: usize, params: &Params) -> u32 {
    let minimum = MIN_VALUES.saturating_sub(n) as u32;
    let Some(known) = estimate.filter(|_| minimum == 0) else {
        return minimum;
    };
    let target = params.precision * known.mean.abs();
    // Float to integer casts saturate, also for a mean of 0.
    let needed = (n as f64 * (known.half_width / target).powi(2)).ceil() as u32;
    let missing = needed.saturating_sub(u32::try_from(n).unwrap_or(u32::MAX));
    missing.div_ceil(2).clamp(1, MAX_BATCH)
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    fn noisy(n: usize, noise: f64, seed: u64) -> Vec<f64> {
        let mut random = Random::new(seed);
        (0..n).map(|_| 200.0 * (1.0 + noise * random.normal())).collect()
    }

    #[test]
    fn a_quiet_series_is_established_with_eight_values() {
        let params = Params::default();
        let first = plan(&[], &[], 0, &params).unwrap();
        assert_eq!(first.times, 8);
        let step = plan(&[], &noisy(8, 0.002, 1), 0, &params).unwrap();
        assert_eq!(step.verdict, Some(Verdict::Established));
    }

    #[test]
    fn a_noisy_series_is_asked_for_more_until_it_is_precise() {
        let params = Params::default();
        let (all, previous) = (noisy(300, 0.03, 2), noisy(30, 0.03, 3));
        let mut n = 0;
        loop {
            let step = plan(&previous, &all[..n], 0, &params).unwrap();
            if step.verdict.is_some() {
                assert_eq!(step.verdict, Some(Verdict::Established));
                break;
            }
            n += step.times as usize;
        }
        assert!((25..60).contains(&n), "{n}");
    }

    #[test]
    fn a_variance_that_changed_is_not_carried_over() {
        let params = Params::default();
        let (quiet, noisy) = (noisy(30, 0.0001, 4), noisy(20, 0.05, 5));
        let with = plan(&quiet, &noisy, 0, &params).unwrap().estimate.unwrap();
        let without = plan(&[], &noisy, 0, &params).unwrap().estimate.unwrap();
        assert_eq!(with, without);
    }

    #[test]
    fn pending_runs_and_the_budget_are_respected() {
        let params = Params {
            max_jobs: 10,
            ..Params::default()
        };
        assert_eq!(plan(&[], &noisy(2, 0.05, 6), 4, &params).unwrap().times, 2);
        assert_eq!(plan(&[], &noisy(2, 0.05, 6), 8, &params).unwrap().times, 0);
        let spent = plan(&[], &noisy(10, 0.2, 6), 0, &params).unwrap();
        assert_eq!(spent.verdict, Some(Verdict::Undecided));
    }

    #[test]
    fn a_mean_of_zero_ends_by_budget_and_not_by_panic() {
        let values: Vec<f64> = (0..20).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let step = plan(&[], &values, 0, &Params::default()).unwrap();
        assert_eq!(step.times, MAX_BATCH);
    }
}
