//! The tables of the other kinds of case.

use std::collections::BTreeMap;

use super::bounds;
use super::table::{Mean, Report};
use super::world::trial_seed;
use crate::stats::math::{beta_cdf, ln_beta};
use crate::stats::random::Random;
use crate::stats::rates::Counts;
use crate::stats::{baseline, perf, until_hit, validate};

/// Where an exact computation stops: paths together less likely than this are left out.
const REST: f64 = 1e-9;

/// Batches until the verdict, and what they cost on the stated prior: computed, not sampled.
pub(super) fn until_hit(_seed: u64, _trials: u32) -> Report {
    let title = "until-hit on the stated prior, rate 2 %, confidence 95 %, λ=1: mean cost (computed, no trials)";
    let mut report = Report::new(
        title,
        &[
            "batches",
            "runs",
            "rounds",
            "runs + rounds",
            "runs without a hit until the end",
        ],
    );
    let automatic = |passed: u32| {
        let problem = until_hit::Problem {
            evidence: Counts::new(0, passed),
            ..until_hit::Problem::default()
        };
        until_hit::plan(&problem).map_or(0, |step| step.times)
    };
    let last = passes_to_the_end(automatic);
    for fixed in [None, Some(1), Some(2), Some(3), Some(5), Some(10)] {
        let batch = |passed: u32| match fixed {
            None => automatic(passed),
            Some(size) => size.min(last.saturating_sub(passed)),
        };
        let (mut passed, mut runs, mut rounds, mut sizes) = (0, 0.0, 0.0, Vec::new());
        while passed < last && batch(passed) > 0 {
            let (size, reached) = (batch(passed), no_hit(passed));
            runs += f64::from(size) * reached;
            rounds += reached;
            passed += size;
            sizes.push(size.to_string());
        }
        let name = match fixed {
            None => format!("automatic: {}", sizes.join(", ")),
            Some(size) => format!("fixed {size}"),
        };
        let cells = [
            format!("{runs:.2}"),
            format!("{rounds:.2}"),
            format!("{:.2}", runs + rounds),
            passed.to_string(),
        ];
        report.row(std::iter::once(name).chain(cells));
    }
    report
}

fn passes_to_the_end(batch: impl Fn(u32) -> u32) -> u32 {
    let mut passed = 0;
    while batch(passed) > 0 {
        passed += batch(passed);
    }
    passed
}

/// P(`passes` runs pass) under the prior: 0.2 at rate 0.0005, 0.8 Beta(0.7, 1.3) on 0.005..1, in closed form.
fn no_hit(passes: u32) -> f64 {
    const CUT: f64 = 0.005;
    let (a, b, s) = (0.7, 1.3, f64::from(passes));
    let upper = |b: f64| ln_beta(a, b).exp() * (1.0 - beta_cdf(CUT, a, b));
    0.2 * (1.0 - 0.0005f64).powf(s) + 0.8 * upper(b + s) / upper(b)
}

/// The sequential test on one platform, computed exactly, and on six, sampled.
pub(super) fn validate(seed: u64, trials: u32) -> Report {
    let title = format!(
        "validate, .2 % against 5 %, α=1 %, β=5 %: one platform (computed), six platforms ({trials} trials a row)"
    );
    let columns = [
        "test",
        "called stable %",
        "mean runs",
        "Wald's bound at the errors realised",
        "ratio",
    ];
    let mut report = Report::new(title, &columns);
    let params = validate::Params {
        parallel: 1,
        max_jobs: 10_000,
        ..validate::Params::default()
    };
    let (at_ok, at_bad) = (walk(&params, params.ok_rate), walk(&params, params.bad_rate));
    let (alpha, beta) = (1.0 - at_ok.0, at_bad.0);
    let bounds = [
        bounds::wald(params.ok_rate, params.bad_rate, alpha, 1.0 - beta),
        bounds::wald(params.bad_rate, params.ok_rate, beta, 1.0 - alpha),
    ];
    for ((name, (stable, runs)), bound) in [("fails .2 %", at_ok), ("fails 5 %", at_bad)].into_iter().zip(bounds) {
        let cells = [
            format!("{:.2}", 100.0 * stable),
            format!("{runs:.1}"),
            format!("{bound:.1}"),
            format!("{:.3}", runs / bound),
        ];
        report.row(std::iter::once(name.to_owned()).chain(cells));
    }
    for (name, rate) in [("fails 20 %", 0.2), ("fails always", 1.0)] {
        let (stable, runs) = walk(&params, rate);
        report.row([
            name.to_owned(),
            format!("{:.2}", 100.0 * stable),
            format!("{runs:.1}"),
            String::new(),
            String::new(),
        ]);
    }
    for size in [10, 20] {
        let stable = (1.0 - params.bad_rate).powi(size);
        let name = format!("fixed {size}, fails 5 %");
        report.row([
            name,
            format!("{:.1}", 100.0 * stable),
            size.to_string(),
            String::new(),
            String::new(),
        ]);
    }
    let six = [
        ("six platforms, all .2 %", [0.002; 6]),
        ("six platforms, all 5 %", [0.05; 6]),
        (
            "six platforms, one 20 %, the others .2 %",
            [0.2, 0.002, 0.002, 0.002, 0.002, 0.002],
        ),
    ];
    for (name, rates) in six {
        let (mut stable, mut runs) = (Mean::default(), Mean::default());
        for trial in 0..trials {
            let (called, cost) = sample(&rates, trial_seed(seed, trial));
            stable.count(called);
            runs.add(cost);
        }
        report.row([
            name.to_owned(),
            stable.percent(),
            runs.show(),
            String::new(),
            String::new(),
        ]);
    }
    report
}

/// (P(stable), mean runs) of a test on one platform that fails at `rate`, by following every path.
fn walk(params: &validate::Params, rate: f64) -> (f64, f64) {
    let mut states = BTreeMap::from([((0u32, 0u32), 1.0)]);
    let (mut stable, mut runs) = (0.0, 0.0);
    while !states.is_empty() {
        let mut next = BTreeMap::new();
        for ((failed, passed), probability) in states {
            let platform = validate::Platform {
                seen: Counts::new(failed, passed),
                pending: 0,
            };
            let Ok(step) = validate::plan(&[platform], params) else {
                continue;
            };
            match step.verdict {
                Some(verdict) => {
                    runs += probability * f64::from(failed + passed);
                    if verdict.finding == validate::Finding::Stable {
                        stable += probability;
                    }
                }
                None if probability > REST => {
                    *next.entry((failed + 1, passed)).or_insert(0.0) += probability * rate;
                    *next.entry((failed, passed + 1)).or_insert(0.0) += probability * (1.0 - rate);
                }
                None => {}
            }
        }
        states = next;
    }
    (stable, runs)
}

/// One validation on platforms with these rates: whether it was called stable, and its runs.
fn sample(rates: &[f64], seed: u64) -> (bool, f64) {
    let params = validate::Params {
        max_jobs: 10_000,
        ..validate::Params::default()
    };
    let mut random = Random::new(seed);
    let mut platforms = vec![validate::Platform::default(); rates.len()];
    loop {
        // The budget bounds this loop.
        let Ok(step) = validate::plan(&platforms, &params) else {
            return (false, 0.0);
        };
        if let Some(verdict) = step.verdict {
            let runs: u32 = platforms.iter().map(|platform| platform.seen.total()).sum();
            return (verdict.finding == validate::Finding::Stable, runs.into());
        }
        for ((platform, times), rate) in platforms.iter_mut().zip(step.times).zip(rates) {
            for _ in 0..times {
                if random.chance(*rate) {
                    platform.seen.failed += 1
                } else {
                    platform.seen.passed += 1
                }
            }
        }
    }
}

/// Earlier and later values of every perf world.
const PERF_HISTORY: usize = 48;
const PERF_TAIL: usize = 6;
const PERF_PUSHES: usize = 16;

/// Our search against six runs on every push.
pub(super) fn perf(seed: u64, trials: u32) -> Report {
    let title = format!(
        "find-perf-culprit, N={PERF_PUSHES}, 95 %, history {PERF_HISTORY}, tail {PERF_TAIL}: accuracy % / runs \
         ({trials} trials a cell)"
    );
    let columns = [
        "shift",
        "noise",
        "this engine",
        "six on every push, best split",
        "factor",
    ];
    let mut report = Report::new(title, &columns);
    for (shift, noise) in [(0.05, 0.01), (0.05, 0.03), (0.05, 0.05), (0.02, 0.03)] {
        let (mut right, mut runs, mut rival) = (Mean::default(), Mean::default(), Mean::default());
        for trial in 0..trials {
            let world = Series::new(shift, noise, trial_seed(seed, trial));
            let (culprit, cost) = world.search();
            right.count(culprit == Some(world.culprit));
            runs.add(cost);
            rival.count(world.best_split() == world.culprit);
        }
        let fixed = 6 * PERF_PUSHES;
        report.row([
            format!("{} %", 100.0 * shift),
            format!("{} %", 100.0 * noise),
            format!("{} / {}", right.percent(), runs.show()),
            format!("{} / {fixed}", rival.percent()),
            format!("{:.1}", fixed as f64 / runs.mean()),
        ]);
    }
    report
}

/// A series that steps at a push.
#[derive(Debug)]
struct Series {
    culprit: usize,
    shift: f64,
    noise: f64,
    seed: u64,
}

impl Series {
    fn new(shift: f64, noise: f64, seed: u64) -> Series {
        Series {
            culprit: 1 + Random::new(seed).below(PERF_PUSHES),
            shift,
            noise,
            seed,
        }
    }

    /// The `nth` value of a push; 0 is before the range, N+1 after it.
    fn value(&self, push: usize, nth: usize) -> f64 {
        let key = (push as u64) << 32 | nth as u64;
        let mean = if push >= self.culprit { 1.0 + self.shift } else { 1.0 };
        100.0 * mean * (1.0 + self.noise * Random::new(self.seed ^ key.wrapping_mul(0x9e37_79b9_7f4a_7c15)).normal())
    }

    fn values(&self, push: usize, count: usize) -> Vec<f64> {
        (0..count).map(|nth| self.value(push, nth)).collect()
    }

    /// Our search: what it named, and its runs.
    fn search(&self) -> (Option<usize>, f64) {
        let mut problem = perf::Problem {
            candidates: PERF_PUSHES,
            history: self.values(0, PERF_HISTORY),
            tail: self.values(PERF_PUSHES + 1, PERF_TAIL),
            evidence: (1..=PERF_PUSHES)
                .map(|push| perf::Evidence {
                    push,
                    ..perf::Evidence::default()
                })
                .collect(),
            params: perf::Params {
                max_jobs: 1_000,
                ..perf::Params::default()
            },
        };
        let mut runs = 0.0;
        loop {
            // The budget bounds this loop.
            let Ok(step) = perf::plan(&problem, self.seed) else {
                return (None, runs);
            };
            match step.verdict {
                Some(perf::Verdict::Culprit { push, .. }) => return (Some(push), runs),
                Some(_) => return (None, runs),
                None => {}
            }
            for (push, times) in step.run {
                for _ in 0..times {
                    let nth = problem.evidence[push - 1].values.len();
                    problem.evidence[push - 1].values.push(self.value(push, nth));
                    runs += 1.0;
                }
            }
        }
    }

    /// Six values on every push: the split with the largest difference of means, in standard errors.
    fn best_split(&self) -> usize {
        let before = self.values(0, PERF_HISTORY);
        let all: Vec<f64> = (1..=PERF_PUSHES).flat_map(|push| self.values(push, 6)).collect();
        let after = self.values(PERF_PUSHES + 1, PERF_TAIL);
        let total: f64 = before.iter().chain(&all).chain(&after).sum();
        let count = (before.len() + all.len() + after.len()) as f64;
        let contrast = |c: usize| {
            let early = 6 * (c - 1);
            let n = (before.len() + early) as f64;
            let sum = before.iter().sum::<f64>() + all[..early].iter().sum::<f64>();
            let difference = sum / n - (total - sum) / (count - n);
            difference * difference * n * (count - n) / count
        };
        (1..=PERF_PUSHES)
            .max_by(|a, b| contrast(*a).total_cmp(&contrast(*b)))
            .unwrap_or(1)
    }
}

/// Stopping by precision against fixed numbers of values.
pub(super) fn baseline(seed: u64, trials: u32) -> Report {
    const PREVIOUS: usize = 30;
    let title = format!("baseline, precision 1 %, 95 %, {PREVIOUS} earlier values ({trials} trials a row)");
    let columns = [
        "noise",
        "values",
        "within 1 % of the mean, %",
        "known-variance optimum",
        "fixed 6: within 1 %, %",
    ];
    let mut report = Report::new(title, &columns);
    let params = baseline::Params {
        max_jobs: 2_000,
        ..baseline::Params::default()
    };
    for noise in [0.01, 0.02, 0.03, 0.05] {
        let (mut count, mut within, mut fixed) = (Mean::default(), Mean::default(), Mean::default());
        for trial in 0..trials {
            let mut random = Random::new(trial_seed(seed, trial));
            let mut draw = |n: u32| {
                (0..n)
                    .map(|_| 100.0 * (1.0 + noise * random.normal()))
                    .collect::<Vec<f64>>()
            };
            let previous = draw(PREVIOUS as u32);
            let mut values = Vec::new();
            let close = |values: &[f64]| (values.iter().sum::<f64>() / values.len() as f64 - 100.0).abs() <= 1.0;
            while let Ok(step) = baseline::plan(&previous, &values, 0, &params) {
                if step.verdict.is_some() {
                    break;
                }
                values.extend(draw(step.times));
            }
            count.add(values.len() as f64);
            within.count(close(&values));
            fixed.count(close(&values[..6]));
        }
        let optimum = (1.96 * noise / params.precision)
            .powi(2)
            .max(baseline::MIN_VALUES as f64);
        report.row([
            format!("{} %", 100.0 * noise),
            count.show(),
            within.percent(),
            format!("{optimum:.1} ({:.3})", count.mean() / optimum),
            fixed.percent(),
        ]);
    }
    report
}
