//! Is a new test stable, flaky or broken: Wald's sequential probability ratio test, pooled and on each platform.
//!
//! In: failures and passes by platform. Out: where to run next, or a verdict with an interval of the rate. Never: a
//! verdict *stable* while a platform's own runs speak against it.
//!
//! Each counter's log-likelihood ratio is failures·ln(bad/ok) + passes·ln((1−bad)/(1−ok)); it rejects at ln((1−β)/α)
//! and accepts at ln(β/(1−α)) (Wald, 1945). With several platforms there is one counter for each and a pooled one, and
//! they share α.

use super::math::{beta_cdf, beta_quantile};
use super::rates::Counts;

/// Platforms one test may have.
pub const MAX_PLATFORMS: usize = 1_000;

/// Runs on the rejecting counter until *broken* or *flaky* is settled by the likelier of both.
const SETTLED: u32 = 10;

/// P(rate > ½) from which a test is called broken at once.
const BROKEN: f64 = 0.95;

/// What a validation must be sure of, and may cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Params {
    /// A test that fails no more often than this is stable, over 0 and under `bad_rate`.
    pub ok_rate: f64,
    /// A test that fails this often is flaky, over `ok_rate` and under 1.
    pub bad_rate: f64,
    /// P(a stable test is called flaky) at most, over 0 and under 0.5.
    pub alpha: f64,
    /// P(a flaky test is called stable) at most, over 0 and under 0.5.
    pub beta: f64,
    /// Runs that may be pending together, 1 to 1,000.
    pub parallel: u32,
    /// Runs that may be asked for in all.
    pub max_jobs: u32,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            ok_rate: 0.002,
            bad_rate: 0.05,
            alpha: 0.01,
            beta: 0.05,
            parallel: 6,
            max_jobs: 400,
        }
    }
}

/// The runs on one platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Platform {
    /// What came back.
    pub seen: Counts,
    /// Runs asked for whose outcome is not back yet.
    pub pending: u32,
}

/// What to do next, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Runs to ask for now, by platform in the order given; all 0 while waiting, and at the end.
    pub times: Vec<u32>,
    /// How it ended, once it has.
    pub verdict: Option<Verdict>,
    /// The 95 % interval of the failure rate over all platforms (Clopper and Pearson, 1934).
    pub rate: (f64, f64),
    /// One sentence for people.
    pub why: String,
}

/// The word of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// It fails no more often than the rate that is in order.
    Stable,
    /// It fails now and then.
    Flaky,
    /// It fails more often than not.
    Broken,
    /// The budget is spent: its rate lies between what is in order and what is not.
    Undecided,
}

/// How a validation ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The word.
    pub finding: Finding,
    /// The platforms it holds for, as indices of those given.
    pub platforms: Vec<usize>,
    /// The 95 % interval of the failure rate on these platforms.
    pub rate: (f64, f64),
}

/// A validation that cannot be one.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProblemError {
    /// Too few or too many platforms.
    #[error("{got} platforms are named, but there must be 1 to {max}", max = MAX_PLATFORMS)]
    Platforms {
        /// How many.
        got: usize,
    },
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
}

impl Params {
    fn check(&self) -> Result<(), ProblemError> {
        let within = |field, got: f64, low: f64, high: f64, want| match got > low && got < high {
            true => Ok(()),
            false => Err(ProblemError::Range { field, got, want }),
        };
        within(
            "ok_rate",
            self.ok_rate,
            0.0,
            self.bad_rate,
            "over 0 and under `bad_rate`",
        )?;
        within("bad_rate", self.bad_rate, 0.0, 1.0, "over `ok_rate` and under 1")?;
        within("alpha", self.alpha, 0.0, 0.5, "over 0 and under 0.5")?;
        within("beta", self.beta, 0.0, 0.5, "over 0 and under 0.5")?;
        within("parallel", self.parallel.into(), 0.0, 1_001.0, "1 to 1000")
    }
}

/// The thresholds and weights of one counter.
#[derive(Debug, Clone, Copy)]
struct Test {
    failure: f64,
    pass: f64,
    reject: f64,
    accept: f64,
}

impl Test {
    fn new(params: &Params, counters: usize) -> Test {
        let alpha = params.alpha / counters as f64;
        Test {
            failure: (params.bad_rate / params.ok_rate).ln(),
            pass: ((1.0 - params.bad_rate) / (1.0 - params.ok_rate)).ln(),
            reject: ((1.0 - params.beta) / alpha).ln(),
            accept: (params.beta / (1.0 - alpha)).ln(),
        }
    }

    fn ratio(&self, counts: Counts) -> f64 {
        f64::from(counts.failed) * self.failure + f64::from(counts.passed) * self.pass
    }

    /// Passes that bring a ratio down to `bound`.
    fn passes_to(&self, ratio: f64, bound: f64) -> u32 {
        // Float to integer casts saturate, and a ratio at the bound needs none.
        ((ratio - bound) / -self.pass).ceil().max(0.0) as u32
    }
}

/// Decides the next step for a test on these platforms.
///
/// # Errors
///
/// No platform or too many, or a parameter out of its range.
pub fn plan(platforms: &[Platform], params: &Params) -> Result<Step, ProblemError> {
    params.check()?;
    if !(1..=MAX_PLATFORMS).contains(&platforms.len()) {
        return Err(ProblemError::Platforms { got: platforms.len() });
    }
    let counters = if platforms.len() == 1 { 1 } else { platforms.len() + 1 };
    let test = Test::new(params, counters);
    let pooled = platforms.iter().fold(Counts::default(), |sum, p| sum.plus(p.seen));
    let pending = platforms.iter().fold(0u32, |sum, p| sum.saturating_add(p.pending));
    let step = |times, verdict, why| Step {
        times,
        verdict,
        rate: interval(pooled),
        why,
    };
    let idle = vec![0; platforms.len()];

    let end = |finding: Finding, named: Vec<usize>, why: String| {
        let counts = named
            .iter()
            .fold(Counts::default(), |sum, index| sum.plus(platforms[*index].seen));
        step(
            idle.clone(),
            Some(Verdict {
                finding,
                platforms: named,
                rate: interval(counts),
            }),
            why,
        )
    };
    let all = || (0..platforms.len()).collect::<Vec<usize>>();
    let left = params.max_jobs.saturating_sub(pooled.total().saturating_add(pending));
    let slots = left.min(params.parallel.saturating_sub(pending));

    let rejected = rejecting(platforms, pooled, &test);
    if !rejected.is_empty() {
        let counts = rejected
            .iter()
            .fold(Counts::default(), |sum, index| sum.plus(platforms[*index].seen));
        let mostly = 1.0 - beta_cdf(0.5, f64::from(counts.failed) + 1.0, f64::from(counts.passed) + 1.0);
        let settled = mostly <= 0.5 || mostly >= BROKEN || counts.total() >= SETTLED || (left == 0 && pending == 0);
        if settled {
            let finding = if mostly > 0.5 { Finding::Broken } else { Finding::Flaky };
            let why = format!("it failed {} of {} times there", counts.failed, counts.total());
            return Ok(end(finding, rejected, why));
        }
        let wanted = (SETTLED - counts.total()).min(slots);
        let why = format!(
            "it failed {} of {} times: flaky, or broken?",
            counts.failed,
            counts.total()
        );
        return Ok(step(share(platforms, &rejected, wanted), None, why));
    }

    // A platform whose own runs speak for a flake must be cleared by its own runs.
    let suspects: Vec<usize> = (0..platforms.len())
        .filter(|index| counters > 1 && test.ratio(platforms[*index].seen) > 0.0)
        .collect();
    let ratio = test.ratio(pooled);
    if ratio <= test.accept && suspects.is_empty() {
        let why = format!("{} passes and {} failures", pooled.passed, pooled.failed);
        return Ok(end(Finding::Stable, all(), why));
    }
    if left == 0 && pending == 0 {
        let why = format!("the budget of {} runs is spent", params.max_jobs);
        return Ok(end(Finding::Undecided, all(), why));
    }
    let (where_to, needed) = if suspects.is_empty() {
        (all(), test.passes_to(ratio, test.accept))
    } else {
        let needed = suspects
            .iter()
            .map(|index| test.passes_to(test.ratio(platforms[*index].seen), 0.0));
        let needed = needed.fold(0u32, u32::saturating_add);
        (suspects, needed)
    };
    // More than would end it are never asked for.
    let wanted = needed.max(1).saturating_sub(pending).min(slots);
    let why = format!(
        "at least {needed} more passes to call it stable, after {} runs",
        pooled.total()
    );
    Ok(step(share(platforms, &where_to, wanted), None, why))
}

/// The platforms that reject: those whose own counter does; failing that, those that failed at all where the pooled one
/// does.
fn rejecting(platforms: &[Platform], pooled: Counts, test: &Test) -> Vec<usize> {
    let those = |wanted: &dyn Fn(Counts) -> bool| -> Vec<usize> {
        (0..platforms.len())
            .filter(|index| wanted(platforms[*index].seen))
            .collect()
    };
    let own = those(&|seen| test.ratio(seen) >= test.reject);
    if own.is_empty() && test.ratio(pooled) >= test.reject {
        return those(&|seen| seen.failed > 0);
    }
    own
}

/// Shares runs out over platforms, the least tried one first.
fn share(platforms: &[Platform], among: &[usize], runs: u32) -> Vec<u32> {
    let mut times = vec![0u32; platforms.len()];
    for _ in 0..runs {
        let tried = |index: &&usize| {
            let platform = &platforms[**index];
            platform
                .seen
                .total()
                .saturating_add(platform.pending)
                .saturating_add(times[**index])
        };
        if let Some(least) = among.iter().min_by_key(tried).copied() {
            times[least] += 1;
        }
    }
    times
}

/// The exact 95 % interval of a rate.
fn interval(counts: Counts) -> (f64, f64) {
    let (failed, passed) = (f64::from(counts.failed), f64::from(counts.passed));
    let low = if counts.failed == 0 {
        0.0
    } else {
        beta_quantile(0.025, failed, passed + 1.0)
    };
    let high = if counts.passed == 0 {
        1.0
    } else {
        beta_quantile(0.975, failed + 1.0, passed)
    };
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(failed: u32, passed: u32) -> Platform {
        Platform {
            seen: Counts::new(failed, passed),
            pending: 0,
        }
    }

    fn finding(platforms: &[Platform]) -> Option<Finding> {
        plan(platforms, &Params::default())
            .unwrap()
            .verdict
            .map(|verdict| verdict.finding)
    }

    #[test]
    fn sixty_one_clean_runs_make_a_test_stable() {
        assert_eq!(finding(&[platform(0, 60)]), None);
        assert_eq!(finding(&[platform(0, 61)]), Some(Finding::Stable));
    }

    #[test]
    fn clean_runs_on_several_platforms_add_up() {
        assert_eq!(
            finding(&[platform(0, 21), platform(0, 20), platform(0, 21)]),
            Some(Finding::Stable)
        );
    }

    #[test]
    fn a_failing_platform_is_named_and_the_others_do_not_hide_it() {
        let step = plan(&[platform(0, 40), platform(3, 7)], &Params::default()).unwrap();
        let verdict = step.verdict.unwrap();
        assert_eq!((verdict.finding, verdict.platforms), (Finding::Flaky, vec![1]));
        assert!(verdict.rate.0 > 0.05 && verdict.rate.1 < 0.7);
    }

    #[test]
    fn one_failure_on_a_platform_must_be_cleared_there() {
        let step = plan(&[platform(0, 120), platform(1, 9)], &Params::default()).unwrap();
        assert_eq!(step.verdict, None);
        assert_eq!(step.times, vec![0, 6]);
    }

    #[test]
    fn a_test_that_always_fails_is_broken_and_not_flaky() {
        let mut failed = 0;
        let verdict = loop {
            let step = plan(&[platform(failed, 0)], &Params::default()).unwrap();
            match step.verdict {
                Some(verdict) => break verdict,
                None => failed += step.times[0],
            }
        };
        assert_eq!(verdict.finding, Finding::Broken);
        assert!(failed <= SETTLED);
    }

    #[test]
    fn pending_runs_take_up_their_slots_and_the_budget_holds() {
        let busy = Platform {
            seen: Counts::new(0, 10),
            pending: 4,
        };
        let step = plan(&[busy, platform(0, 10)], &Params::default()).unwrap();
        assert_eq!(step.times.iter().sum::<u32>(), 2);
        let params = Params {
            max_jobs: 25,
            ..Params::default()
        };
        assert_eq!(
            plan(&[busy, platform(0, 10)], &params)
                .unwrap()
                .times
                .iter()
                .sum::<u32>(),
            1
        );
        let spent = plan(&[platform(1, 11), platform(0, 13)], &params)
            .unwrap()
            .verdict
            .unwrap();
        assert_eq!(spent.finding, Finding::Undecided);
    }

    #[test]
    fn rates_in_the_wrong_order_are_refused() {
        let params = Params {
            ok_rate: 0.1,
            ..Params::default()
        };
        let error = plan(&[platform(0, 0)], &params).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`ok_rate` is 0.1, but must be over 0 and under `bad_rate`"
        );
    }
}
