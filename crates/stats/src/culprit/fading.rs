//! Culprits whose failure fades: its rate falls by e over every [`PUSHES`] candidates after them.
//!
//! Passes at the end of the range then say little of a culprit early in it. Were all culprits taken for steady, verdicts of
//! *no culprit* would be wrong far oftener than stated in worlds that fade (`docs/decisions.md`).
//!
//! Under a culprit with failure rate p a run at distance d fails with p·w, w = e^(−d/[`PUSHES`]). ln(p·w) of the
//! failures is a sum over them. ln(1 − p·w) of the passes is −Σ_j (p·w)^j/j, and of a few neighbouring powers j together
//! p and w can be kept apart. So what the runs say under one culprit follows from what they say under the next one by a
//! few multiplications, however many runs there are.

use super::super::rates::{Counts, Grid, Summary, Weights};
use super::posterior::{Expectation, Fades};
use super::rise::{Low, Overlap};

/// Candidates over which a rate falls by e. Rates that fall more slowly gain from it too.
const PUSHES: f64 = 48.0;

/// The prior share of culprits that fade is 0.2: its logarithm, and that of the rest.
const LN_SHARE: f64 = -1.609_437_912_434_100_3;
const LN_STEADY: f64 = -0.223_143_551_314_209_76;

/// The failure rate of culprits that fade, at least. One that is seldom and fades as well is hardly found for any number
/// of runs, and looking for it costs runs and verdicts where nothing fades.
const LEAST_RATE: f64 = 0.3;

/// Candidates under which all culprits are steady: nothing has faded by the end of so short a range.
const LEAST_CANDIDATES: usize = 24;

/// Stretches of the powers j: how many there are, the last power of all but the endless one, and the power that stands
/// for each. The logarithm of one pass is within 0.04 for rates up to 0.9.
const STRETCHES: usize = 6;
const LAST_POWERS: [i32; STRETCHES - 1] = [1, 2, 4, 8, 16];
const POWERS: [f64; STRETCHES] = [1.0, 2.0, 3.5, 6.5, 12.0, 32.0];

/// What is this far (in nats) below the best is left out of sums.
const NEGLIGIBLE: f64 = 32.0;

/// How near a candidate is to the start of the range: the rate at x of what fades from c on is that at c, times
/// nearness(x)/nearness(c). More than 0 for every candidate a problem may have.
pub(super) fn nearness(candidate: usize) -> f64 {
    (-(candidate as f64) / PUSHES).exp()
}

/// One failure rate that a culprit may have.
#[derive(Debug, Clone, Copy)]
struct Point {
    rate: f64,
    ln_rate: f64,
    ln_weight: f64,
    /// Σ p^j/j over each stretch.
    miss: [f64; STRETCHES],
}

impl Point {
    fn new((rate, weight): (f64, f64)) -> Point {
        let mut miss = [0.0; STRETCHES];
        let (mut power, mut rest) = (0, -(-rate).ln_1p());
        for (sum, last) in miss.iter_mut().zip(LAST_POWERS) {
            while power < last {
                power += 1;
                *sum += rate.powi(power) / f64::from(power);
            }
            rest -= *sum;
        }
        miss[STRETCHES - 1] = rest;
        Point {
            rate,
            ln_rate: rate.ln(),
            ln_weight: weight.ln(),
            miss,
        }
    }
}

/// The runs from one culprit on, as they look if it fades.
#[derive(Debug, Clone, Copy, Default)]
struct Aged {
    failed: f64,
    /// Σ d/[`PUSHES`] of the failures.
    age: f64,
    /// Σ w^power of the passes, for each stretch.
    passed: [f64; STRETCHES],
}

impl Aged {
    /// The same runs under a culprit one candidate earlier.
    fn step_back(&mut self, decays: &[f64; STRETCHES]) {
        self.age += self.failed / PUSHES;
        self.passed
            .iter_mut()
            .zip(decays)
            .for_each(|(sum, decay)| *sum *= decay);
    }

    /// Adds runs on the culprit itself.
    fn see(&mut self, counts: Counts) {
        let passed = f64::from(counts.passed);
        self.failed += f64::from(counts.failed);
        self.passed.iter_mut().for_each(|sum| *sum += passed);
    }

    /// ln P(these runs | rate on the culprit).
    fn ln_likelihood(&self, point: &Point) -> f64 {
        let miss: f64 = point.miss.iter().zip(&self.passed).map(|(miss, sum)| miss * sum).sum();
        self.failed * point.ln_rate - miss - self.age
    }
}

/// Fading culprits, one after the other from the end of the range.
#[derive(Debug)]
pub(super) struct Fading {
    p1: Grid,
    points: Vec<Point>,
    overlap: Overlap,
    decays: [f64; STRETCHES],
    seen: Aged,
    weights: Weights,
    low: Low,
}

impl Fading {
    /// Behind the last of `candidates` candidates, with the runs after the range; `None` in a short range. `overlap` is
    /// that of `p0` with steady culprits; a culprit with a rate under `min_rate` counts as none.
    pub fn new(candidates: usize, p0: &Grid, overlap: &Overlap, min_rate: f64, tail: Counts) -> Option<Fading> {
        if candidates < LEAST_CANDIDATES {
            return None;
        }
        let p1 = Grid::after_coarse().at_least(min_rate.max(LEAST_RATE));
        let mut seen = Aged::default();
        seen.see(tail);
        Some(Fading {
            points: p1.iter().map(Point::new).collect(),
            overlap: overlap.beside(p0, &p1),
            p1,
            decays: POWERS.map(|power| (-power / PUSHES).exp()),
            seen,
            weights: Weights::default(),
            low: Low::new(),
        })
    }

    /// Goes to the candidate before, on which `counts` were seen.
    pub fn step_back(&mut self, counts: Counts) {
        self.seen.step_back(&self.decays);
        self.seen.see(counts);
    }

    /// Puts the fading culprit at this candidate beside the steady one with `ln_steady` = ln P(evidence): ln P(evidence)
    /// of both, and whether it fades. `ln_before` and `high` are of the p0 side, `top` is ln P(evidence) of the likeliest
    /// steady culprit: where a fading one is nothing beside that it is left out.
    pub fn beside(&mut self, ln_steady: f64, ln_before: f64, high: &[f64], top: f64) -> (f64, Fades) {
        let steady = LN_STEADY + ln_steady;
        let points = &mut self.weights.points;
        points.clear();
        let seen = &self.seen;
        points.extend(
            self.points
                .iter()
                .map(|point| point.ln_weight + seen.ln_likelihood(point)),
        );
        let best = points.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if ln_before + best < top - NEGLIGIBLE {
            return (steady, Fades::NEVER);
        }
        let mut after = self.summary(best);
        self.overlap.low(&self.weights, &self.p1, &mut self.low);
        let mut before = Summary {
            ln_likelihood: ln_before,
            mean: 0.0,
            variance: 0.0,
        };
        self.overlap.condition((&mut before, high), (&mut after, &self.low));
        let fades = LN_SHARE + before.ln_likelihood + after.ln_likelihood;
        let ln_both = fades.max(steady) + (-(fades - steady).abs()).exp().ln_1p();
        let own = Expectation::of(&after);
        let share = (fades - ln_both).exp();
        (ln_both, Fades { share, own })
    }

    /// What the runs say of the rate on the culprit, from ln(weight) of the points, the largest of which is `best`. The
    /// weights are left in their place.
    fn summary(&mut self, best: f64) -> Summary {
        let (mut sum, mut first, mut second) = (0.0, 0.0, 0.0);
        for (slot, point) in self.weights.points.iter_mut().zip(&self.points) {
            let below = *slot - best;
            *slot = if below > -NEGLIGIBLE { below.exp() } else { 0.0 };
            sum += *slot;
            first += *slot * point.rate;
            second += *slot * point.rate * point.rate;
        }
        self.weights.whole = sum;
        let mean = first / sum;
        Summary {
            ln_likelihood: best + sum.ln(),
            mean,
            variance: (second / sum - mean * mean).max(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_taken_together_say_what_each_run_says(
            rate in 0.03f64..0.9, runs in proptest::collection::vec((0usize..200, 0u32..3, 0u32..10), 1..20),
        ) {
            let point = Point::new((rate, 1.0));
            let mut seen = Aged::default();
            let decays = POWERS.map(|power| (-power / PUSHES).exp());
            let (mut one_by_one, mut passes) = (0.0, 0.0);
            for distance in (0..200).rev() {
                seen.step_back(&decays);
                let near = rate * nearness(distance);
                for (_, failed, passed) in runs.iter().filter(|(at, ..)| *at == distance) {
                    seen.see(Counts::new(*failed, *passed));
                    one_by_one += f64::from(*failed) * near.ln() + f64::from(*passed) * (-near).ln_1p();
                    passes += f64::from(*passed);
                }
            }
            let difference = (seen.ln_likelihood(&point) - one_by_one).abs();
            prop_assert!(difference <= 1e-9 + 0.04 * passes, "{difference} of {one_by_one}, {passes} passes");
        }
    }
}
