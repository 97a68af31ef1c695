//! The posterior over the culprit, with what it says of the next run under each hypothesis.

use super::super::math::ln_sum_exp;
use super::super::rates::{Counts, Grid, Strays, Summary, Weights};
use super::rise::{Low, Overlap};
use super::{Belief, Evidence, Problem};

/// What a hypothesis expects of the next run on one side of the culprit: a Beta distribution by its mean and its
/// precision (a + b).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Expectation {
    /// P(the next run fails).
    pub mean: f64,
    /// How many runs' worth the belief is: one more run moves the mean by at most 1/(precision + 1).
    pub precision: f64,
}

impl Expectation {
    /// The Beta distribution with the mean and variance of a belief.
    fn of(summary: &Summary) -> Expectation {
        // A variance under this is a rate known to ten digits: a thousand more runs would not move it.
        const KNOWN: f64 = 1e-12;
        let spread = summary.mean * (1.0 - summary.mean);
        let precision = (spread / summary.variance.max(KNOWN) - 1.0).max(0.1);
        Expectation {
            mean: summary.mean,
            precision,
        }
    }

    /// The expectation after one more run that counts for `weight` of one.
    pub fn after(self, failed: bool, weight: f64) -> Expectation {
        let hit = if failed { weight } else { 0.0 };
        let precision = self.precision + weight;
        Expectation {
            mean: (self.mean * self.precision + hit) / precision,
            precision,
        }
    }
}

/// The hypotheses 0..=N+1 with their masses and expectations.
#[derive(Debug, Clone)]
pub(super) struct Posterior {
    /// P(hypothesis): sums to one.
    pub mass: Vec<f64>,
    /// By hypothesis: a run on a candidate before the culprit that is no stray.
    pub before: Vec<Expectation>,
    /// By hypothesis: a run on the culprit or after it.
    pub after: Vec<Expectation>,
    /// What was seen on each candidate: index 0 is candidate 1.
    pub seen: Vec<Counts>,
    /// Candidates before the culprit that fail at a rate of their own.
    pub strays: Strays,
}

impl Posterior {
    /// From a checked problem and its evidence by candidate.
    pub fn new(problem: &Problem, evidence: &[Evidence]) -> Posterior {
        let n = problem.candidates;
        let given = problem
            .rates
            .map(|rates| (Grid::known(rates.p0), Grid::known(rates.p1)));
        let wanted = (problem.min_rate > 0.0).then(|| Grid::after().at_least(problem.min_rate));
        let (p0, p1) = match &given {
            Some((p0, p1)) => (p0, p1),
            None => (Grid::before(), wanted.as_ref().unwrap_or(Grid::after())),
        };
        // Rates that are given are taken as given for every candidate.
        let (strays, overlap) = match given {
            Some(_) => (Strays::NONE, Overlap::none()),
            None => (Strays::FEW, Overlap::new(p0, p1)),
        };
        let seen: Vec<Counts> = evidence.iter().map(|e| Counts::new(e.failed, e.passed)).collect();
        let mut weights = Weights::default();

        // Side p0: history, then the candidates before c, for c = 1..=N; all of it and the tail for c = N+1.
        let mut belief = p0.belief();
        let mut before = Vec::with_capacity(n + 2);
        before.push(belief.summary());
        belief.see(problem.history);
        before.push(belief.weigh(&mut weights));
        let mut high = Vec::with_capacity(overlap.len() * (n + 1));
        overlap.high(&weights, &mut high);
        // Where each candidate's part of `high` starts: neighbours without runs between them share one.
        let mut high_of = vec![0];
        for (index, counts) in seen.iter().enumerate() {
            let last = index + 1 == n;
            let ran = counts.total() > 0;
            if ran {
                belief.see_place(*counts, strays);
            }
            if last {
                belief.see(problem.tail);
            }
            if last || ran {
                before.push(belief.weigh(&mut weights));
                overlap.high(&weights, &mut high);
            } else {
                before.push(before[index + 1]);
            }
            high_of.push(high.len() - overlap.len());
        }

        // Side p1, the other way round: tail, then the candidates from c on, and all of it with the history for c = 0.
        let mut belief = p1.belief();
        let mut after = Vec::with_capacity(n + 2);
        after.push(belief.summary());
        belief.see(problem.tail);
        let mut latest = belief.weigh(&mut weights);
        let mut low = Low::new();
        overlap.low(&weights, p1, &mut low);
        for (index, counts) in seen.iter().enumerate().rev() {
            if counts.total() > 0 {
                belief.see(*counts);
                latest = belief.weigh(&mut weights);
                overlap.low(&weights, p1, &mut low);
            }
            let mut own = latest;
            let own_high = &high[high_of[index]..high_of[index] + overlap.len()];
            overlap.condition((&mut before[index + 1], own_high), (&mut own, &low));
            after.push(own);
        }
        belief.see(problem.history);
        after.push(belief.summary());
        after.reverse();

        let prior = ln_prior(problem);
        let ln: Vec<f64> = (0..=n + 1)
            .map(|c| prior[c] + before[c].ln_likelihood + after[c].ln_likelihood)
            .collect();
        let whole = ln_sum_exp(&ln);
        Posterior {
            mass: ln.iter().map(|ln| (ln - whole).exp()).collect(),
            before: before.iter().map(Expectation::of).collect(),
            after: after.iter().map(Expectation::of).collect(),
            seen,
            strays,
        }
    }

    /// The summary that is reported. A rate is averaged over the hypotheses under which it holds anywhere.
    pub fn belief(&self) -> Belief {
        let n = self.mass.len() - 2;
        let average = |range: std::ops::RangeInclusive<usize>, expectations: &[Expectation]| {
            let (mut sum, mut weighted) = (f64::MIN_POSITIVE, 0.0);
            for c in range {
                sum += self.mass[c];
                weighted += self.mass[c] * expectations[c].mean;
            }
            weighted / sum
        };
        Belief {
            no_culprit: self.mass[0] + self.mass[n + 1],
            p0: average(1..=n + 1, &self.before),
            p1: average(0..=n, &self.after),
            pushes: self.mass[1..=n].to_vec(),
        }
    }
}

/// ln prior of each hypothesis; −∞ for an impossible one.
fn ln_prior(problem: &Problem) -> Vec<f64> {
    let n = problem.candidates;
    let nothing = (0.5 * problem.no_culprit_prior).ln();
    let culprit = 1.0 - problem.no_culprit_prior;
    let mut prior = vec![nothing; n + 2];
    match &problem.prior {
        None => prior[1..=n].fill((culprit / n as f64).ln()),
        Some(given) => {
            let sum: f64 = given.iter().sum();
            for (slot, mass) in prior[1..=n].iter_mut().zip(given) {
                *slot = (culprit * mass / sum).ln();
            }
        }
    }
    prior
}
