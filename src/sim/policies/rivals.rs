//! Other ways to find a culprit, as published or as customary.

use super::world::World;
use crate::stats::culprit::{self, Evidence, Params, Problem, Rates, Verdict};
use crate::stats::math::{binary_entropy, ln_beta, ln_sum_exp};
use crate::stats::rates::Counts;

/// Where searches that would go on are ended: ten times what the longest here takes.
const MAX_RUNS: u32 = 5_000;

/// The posterior probability that every policy with a posterior stops at.
const CONFIDENCE: f64 = 0.95;

/// What a search said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// This push.
    Culprit(usize),
    /// There is none.
    NoCulprit,
    /// Neither.
    Undecided,
}

/// A search that ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Search {
    pub said: Said,
    /// The probability it stated.
    pub stated: f64,
    pub runs: u32,
    pub rounds: u32,
}

impl Search {
    /// Whether it was right about a world.
    pub fn right(&self, world: &World) -> bool {
        match self.said {
            Said::Culprit(push) => push == world.culprit,
            Said::NoCulprit => !world.has_culprit(),
            Said::Undecided => false,
        }
    }
}

/// Our decisions, run by run, after this tail: `known` gives them the rates, `params` prices and limits.
pub(super) fn ours(world: &World, tail: Counts, known: bool, params: Params) -> Search {
    search(world, problem(world, tail, known, params))
}

/// What a world looks like before the first run.
pub(super) fn problem(world: &World, tail: Counts, known: bool, params: Params) -> Problem {
    let mut problem = Problem::new(world.pushes);
    problem.history = world.history();
    problem.tail = tail;
    problem.rates = known.then_some(Rates {
        p0: world.p0,
        p1: world.p1,
    });
    problem.params = params;
    problem.evidence = (1..=world.pushes)
        .map(|push| Evidence {
            push,
            ..Evidence::default()
        })
        .collect();
    problem
}

/// Our decisions about a problem, run by run.
pub(super) fn search(world: &World, mut problem: Problem) -> Search {
    let (mut runs, mut rounds) = (0, 0);
    let ended = |said, stated, runs, rounds| Search {
        said,
        stated,
        runs,
        rounds,
    };
    while runs < MAX_RUNS {
        let Ok(step) = culprit::plan(&problem, world.seed) else {
            break;
        };
        match step.verdict {
            Some(Verdict::Culprit { pushes, probability }) => {
                let said = pushes.first().map_or(Said::Undecided, |(push, _)| Said::Culprit(*push));
                return ended(said, probability, runs, rounds);
            }
            Some(Verdict::NoCulprit { probability }) => return ended(Said::NoCulprit, probability, runs, rounds),
            Some(Verdict::Undecided { .. }) => break,
            None => {}
        }
        rounds += 1;
        for (push, times) in step.run {
            let slot = &mut problem.evidence[push - 1];
            for _ in 0..times {
                let failed = world.fails(push as i64, slot.failed + slot.passed);
                if failed {
                    slot.failed += 1
                } else {
                    slot.passed += 1
                }
                runs += 1;
            }
        }
    }
    ended(Said::Undecided, 0.0, runs, rounds)
}

/// The model of git_bayesect: unknown rates with uniform priors on both sides, a culprit for certain, no earlier runs
/// but an old push (0) that can be run too, the run of least expected entropy.
pub(super) fn bayesect(world: &World) -> Search {
    let n = world.pushes;
    let mut seen = vec![(0.0, 0.0); n + 1];
    for runs in 0..MAX_RUNS {
        let all = seen
            .iter()
            .fold((0.0, 0.0), |sum: (f64, f64), e| (sum.0 + e.0, sum.1 + e.1));
        let mut early = seen[0];
        let (mut ln, mut rates) = (Vec::with_capacity(n), Vec::with_capacity(n));
        for e in &seen[1..] {
            let late = (all.0 - early.0, all.1 - early.1);
            ln.push(ln_beta(1.0 + early.0, 1.0 + early.1) + ln_beta(1.0 + late.0, 1.0 + late.1));
            let mean = |(failed, passed): (f64, f64)| (1.0 + failed) / (2.0 + failed + passed);
            rates.push((mean(early), mean(late)));
            early = (early.0 + e.0, early.1 + e.1);
        }
        let whole = ln_sum_exp(&ln);
        let mass: Vec<f64> = ln.iter().map(|ln| (ln - whole).exp()).collect();
        if let Some(index) = mass.iter().position(|mass| *mass >= CONFIDENCE) {
            return Search {
                said: Said::Culprit(index + 1),
                stated: mass[index],
                runs,
                rounds: runs,
            };
        }
        let pairs = || mass.iter().zip(&rates);
        let mut failing: f64 = pairs().map(|(mass, rate)| mass * rate.0).sum();
        let mut noise: f64 = pairs().map(|(mass, rate)| mass * binary_entropy(rate.0)).sum();
        let (mut best, mut most) = (0, binary_entropy(failing) - noise);
        for (index, (mass, rate)) in pairs().enumerate() {
            failing += mass * (rate.1 - rate.0);
            noise += mass * (binary_entropy(rate.1) - binary_entropy(rate.0));
            let gain = binary_entropy(failing) - noise;
            if gain > most {
                (best, most) = (index + 1, gain);
            }
        }
        let nth = seen[best].0 + seen[best].1;
        if world.fails(best as i64, nth as u32) {
            seen[best].0 += 1.0
        } else {
            seen[best].1 += 1.0
        }
    }
    Search {
        said: Said::Undecided,
        stated: 0.0,
        runs: MAX_RUNS,
        rounds: MAX_RUNS,
    }
}

/// Google's flake-aware culprit finding as published: the background rate from history, a failure after the culprit for
/// certain, the run that halves the mass. The failure that opened the case is its first evidence.
pub(super) fn flake_aware(world: &World) -> Search {
    let n = world.pushes;
    let history = world.history();
    let flake = (f64::from(history.failed) + 0.5) / (f64::from(history.total()) + 1.0);
    let mut mass = vec![0.6 / n as f64; n];
    let mut none = 0.4 * flake;
    let mut tried = vec![0u32; n];
    for runs in 0..MAX_RUNS {
        let whole = none + mass.iter().sum::<f64>();
        mass.iter_mut().for_each(|mass| *mass /= whole);
        none /= whole;
        let done = |said, stated| Search {
            said,
            stated,
            runs,
            rounds: runs,
        };
        if none >= CONFIDENCE {
            return done(Said::NoCulprit, none);
        }
        if let Some(index) = mass.iter().position(|mass| *mass >= CONFIDENCE) {
            return done(Said::Culprit(index + 1), mass[index]);
        }
        let mut sum = 0.0;
        let half = mass.iter().position(|mass| {
            sum += mass;
            sum >= 0.5
        });
        let x = half.unwrap_or(n - 1);
        let failed = world.fails(x as i64 + 1, tried[x]);
        tried[x] += 1;
        for (index, mass) in mass.iter_mut().enumerate() {
            *mass *= match (index <= x, failed) {
                (true, true) => 1.0,
                (true, false) => 0.0,
                (false, true) => flake,
                (false, false) => 1.0 - flake,
            };
        }
        none *= if failed { flake } else { 1.0 - flake };
    }
    Search {
        said: Said::Undecided,
        stated: 0.0,
        runs: MAX_RUNS,
        rounds: MAX_RUNS,
    }
}

/// Bisection; a push is good when it passes `tries` times.
pub(super) fn bisect(world: &World, tries: u32) -> Search {
    let (mut low, mut high) = (1, world.pushes);
    let mut runs = 0;
    while low < high {
        let middle = (low + high) / 2;
        let first = (0..tries).find(|nth| world.fails(middle as i64, *nth));
        runs += first.map_or(tries, |nth| nth + 1);
        if first.is_some() {
            high = middle
        } else {
            low = middle + 1
        }
    }
    Search {
        said: Said::Culprit(low),
        stated: 0.0,
        runs,
        rounds: runs,
    }
}

/// Every push `tries` times; the first with a failure is the culprit.
pub(super) fn every_push(world: &World, tries: u32) -> Search {
    let runs = tries * u32::try_from(world.pushes).unwrap_or(u32::MAX);
    let first = (1..=world.pushes).find(|push| (0..tries).any(|nth| world.fails(*push as i64, nth)));
    let said = first.map_or(Said::NoCulprit, Said::Culprit);
    Search {
        said,
        stated: 0.0,
        runs,
        rounds: 1,
    }
}
