//! A culprit raises the failure rate: p1 is at least [`LEAST`] times p0.
//!
//! The two rates are independent in their priors, and on their own grids. Where the grids overlap, pairs that are no
//! rise are taken out of the joint belief under each culprit. Without this a job that fails at 5 % everywhere keeps
//! every push a suspect: "from here on at 6 %" explains all runs as well, and no budget tells the two apart.

use super::super::rates::{Grid, Summary, Weights};

/// The factor by which a culprit raises the failure rate at least.
///
/// Of culprits drawn from the priors 0.6 % raise it by less. In mixed work the factor saves an eighth of the runs and
/// a quarter of the undecided cases; 1 saves half as much (`docs/decisions.md`).
const LEAST: f64 = 2.0;

/// Joint probabilities of a rise under this are not told from rounding.
const NEGLIGIBLE: f64 = 1e-9;

/// The points of the two grids that together are no rise.
#[derive(Debug)]
pub(super) struct Overlap {
    /// The first point of the p0 grid with a p1 point that is no rise; all after it have one too.
    first: usize,
    /// For each p0 point from `first` on: its rate, and how many p1 points are no rise from it.
    high: Vec<(f64, usize)>,
    /// ln P(a rise), before any evidence.
    ln_prior: f64,
}

/// What the p1 side of a culprit has of the overlap, for each high point: (P(no rise from it), that part of the mean).
pub(super) type Low = Vec<(f64, f64)>;

impl Overlap {
    /// Of two grids in rising order.
    pub fn new(p0: &Grid, p1: &Grid) -> Overlap {
        let rates = || {
            p0.rates()
                .map(|rate| (rate, p1.rates().take_while(|after| *after < LEAST * rate).count()))
        };
        let first = rates().take_while(|(_, below)| *below == 0).count();
        let mut overlap = Overlap {
            first,
            high: rates().skip(first).collect(),
            ln_prior: 0.0,
        };
        let (mut weights, mut high, mut low) = (Weights::default(), Vec::new(), Low::new());
        let mut before = p0.belief().weigh(&mut weights);
        overlap.high(&weights, &mut high);
        let mut after = p1.belief().weigh(&mut weights);
        overlap.low(&weights, p1, &mut low);
        let unconditioned = before.ln_likelihood;
        overlap.condition((&mut before, &high), (&mut after, &low));
        overlap.ln_prior = before.ln_likelihood - unconditioned;
        overlap
    }

    /// No overlap: for rates that are given.
    pub fn none() -> Overlap {
        Overlap {
            first: 0,
            high: Vec::new(),
            ln_prior: 0.0,
        }
    }

    /// How many high points there are.
    pub fn len(&self) -> usize {
        self.high.len()
    }

    /// Appends the probabilities of the high points to `all`: what the p0 side of a culprit has of the overlap.
    pub fn high(&self, weights: &Weights, all: &mut Vec<f64>) {
        let points = weights.points.iter().skip(self.first).take(self.len());
        all.extend(points.map(|weight| weight / weights.whole));
    }

    /// Sums the low points of a p1 side.
    pub fn low(&self, weights: &Weights, p1: &Grid, low: &mut Low) {
        let mut points = weights.points.iter().zip(p1.rates());
        let (mut taken, mut mass, mut mean) = (0, 0.0, 0.0);
        low.clear();
        for (_, count) in &self.high {
            for (weight, rate) in points.by_ref().take(count - taken) {
                mass += weight;
                mean += weight * rate;
            }
            taken = *count;
            low.push((mass / weights.whole, mean / weights.whole));
        }
    }

    /// Leaves only rises in what the two sides of one culprit say; its likelihood goes to the p0 side.
    pub fn condition(&self, (before, high): (&mut Summary, &[f64]), (after, low): (&mut Summary, &Low)) {
        let (mut kept, mut p0, mut p1) = (1.0, before.mean, after.mean);
        for ((weight, (mass, mean)), (rate, _)) in high.iter().zip(low).zip(&self.high) {
            kept -= weight * mass;
            p0 -= weight * mass * rate;
            p1 -= weight * mean;
        }
        if kept > NEGLIGIBLE {
            before.mean = p0 / kept;
            after.mean = p1 / kept;
        }
        before.ln_likelihood += kept.max(NEGLIGIBLE).ln() - self.ln_prior;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::rates::Counts;
    use super::*;

    /// (P(a rise), mean p0, mean p1) over all pairs of points.
    fn by_pairs(p0: &Grid, w0: &[f64], p1: &Grid, w1: &[f64]) -> (f64, f64, f64) {
        let (mut kept, mut before, mut after) = (0.0, 0.0, 0.0);
        for (rate0, weight0) in p0.rates().zip(w0) {
            for (rate1, weight1) in p1.rates().zip(w1).filter(|(rate1, _)| *rate1 >= LEAST * rate0) {
                kept += weight0 * weight1;
                before += weight0 * weight1 * rate0;
                after += weight0 * weight1 * rate1;
            }
        }
        (kept, before / kept, after / kept)
    }

    proptest! {
        #[test]
        fn pairs_that_are_no_rise_are_taken_out_and_no_others(
            early in (0u32..20, 0u32..200), late in (0u32..20, 0u32..60), min_rate in 0.0f64..0.5,
        ) {
            let (p0, p1) = (Grid::before(), Grid::after().at_least(min_rate));
            let overlap = Overlap::new(p0, &p1);
            let (mut w0, mut w1) = (Weights::default(), Weights::default());
            let (mut before, mut after) = (p0.belief(), p1.belief());
            before.see(Counts::new(early.0, early.1));
            after.see(Counts::new(late.0, late.1));
            let (mut before, mut after) = (before.weigh(&mut w0), after.weigh(&mut w1));
            let unconditioned = before.ln_likelihood;
            let (mut high, mut low) = (Vec::new(), Low::new());
            overlap.high(&w0, &mut high);
            overlap.low(&w1, &p1, &mut low);
            overlap.condition((&mut before, &high), (&mut after, &low));

            let shares = |weights: &Weights| -> Vec<f64> { weights.points.iter().map(|w| w / weights.whole).collect() };
            let (kept, mean0, mean1) = by_pairs(p0, &shares(&w0), &p1, &shares(&w1));
            prop_assume!(kept > 1e-6);
            let prior0: Vec<f64> = p0.iter().map(|(_, weight)| weight).collect();
            let prior1: Vec<f64> = p1.iter().map(|(_, weight)| weight).collect();
            let prior = by_pairs(p0, &prior0, &p1, &prior1).0;
            prop_assert!((before.ln_likelihood - unconditioned - (kept / prior).ln()).abs() < 1e-6);
            prop_assert!((before.mean - mean0).abs() < 1e-6 && (after.mean - mean1).abs() < 1e-6);
        }
    }
}
