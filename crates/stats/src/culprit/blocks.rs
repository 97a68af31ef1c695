//! Hypotheses in blocks: neighbours that no run worth its price would tell apart are looked at as one.
//!
//! A choice costs as much as there are blocks, however many candidates there are: while all is open, a hundredth of
//! the mass is one block; near the end every credible candidate is its own.

use super::super::rates::Counts;
use super::Evidence;
use super::posterior::{Expectation, Posterior};

/// Mass from which a block is not made larger.
const FINE: f64 = 1.0 / 64.0;

/// Mass so small that candidates are put together though evidence tells them apart.
const NEGLIGIBLE: f64 = 1e-5;

/// A posterior over blocks, in the place of candidates.
#[derive(Debug, Clone)]
pub(super) struct Blocks {
    /// The posterior; what it has of a candidate is of a block here, what was seen is of the block's last candidate.
    pub posterior: Posterior,
    /// The last candidate of each block: a run there tells the block and those before it from those after.
    pub ends: Vec<usize>,
    /// Whether the last candidate can be run.
    pub runnable: Vec<bool>,
}

impl Blocks {
    /// Groups candidates. Where runs are pending a block ends, so that their outcomes can be averaged over.
    pub fn new(posterior: &Posterior, evidence: &[Evidence], runnable: &[bool]) -> Blocks {
        let n = runnable.len();
        let empty = |side: &[Expectation]| vec![side[0]];
        let mut blocks = Blocks {
            posterior: Posterior {
                mass: vec![posterior.mass[0]],
                before: empty(&posterior.before),
                after: empty(&posterior.after),
                seen: Vec::new(),
                strays: posterior.strays,
            },
            ends: Vec::new(),
            runnable: Vec::new(),
        };
        let (mut first, mut mass) = (1, 0.0);
        for c in 1..=n {
            let pending = evidence[c - 1].pending > 0;
            let can_end = c == n || runnable[c - 1] || pending;
            mass += posterior.mass[c];
            let told_apart = c < n && posterior.seen[c - 1].total() > 0 && mass > NEGLIGIBLE;
            if can_end && (c == n || pending || told_apart || mass + posterior.mass[c + 1] > FINE) {
                blocks.push(posterior, first, c, mass, runnable[c - 1]);
                (first, mass) = (c + 1, 0.0);
            }
        }
        blocks.posterior.mass.push(posterior.mass[n + 1]);
        blocks.posterior.before.push(posterior.before[n + 1]);
        blocks.posterior.after.push(posterior.after[n + 1]);
        blocks
    }

    /// The block that ends at this candidate.
    pub fn of(&self, push: usize) -> Option<usize> {
        self.ends.binary_search(&push).ok().map(|index| index + 1)
    }

    fn push(&mut self, posterior: &Posterior, first: usize, last: usize, mass: f64, runnable: bool) {
        let own = &mut self.posterior;
        own.mass.push(mass);
        own.before
            .push(average(&posterior.before, &posterior.mass, first, last));
        own.after.push(average(&posterior.after, &posterior.mass, first, last));
        own.seen.push(if runnable {
            posterior.seen[last - 1]
        } else {
            Counts::default()
        });
        self.ends.push(last);
        self.runnable.push(runnable);
    }
}

/// The expectation of a block: that of its candidates where they agree, else their mean by mass.
fn average(side: &[Expectation], mass: &[f64], first: usize, last: usize) -> Expectation {
    let agreed = side[last];
    if side[first..last].iter().all(|e| e.mean == agreed.mean) {
        return agreed;
    }
    let whole: f64 = mass[first..=last].iter().sum();
    if whole <= 0.0 {
        return agreed;
    }
    let weighted = |of: fn(&Expectation) -> f64| {
        side[first..=last]
            .iter()
            .zip(&mass[first..=last])
            .map(|(e, mass)| mass * of(e))
            .sum::<f64>()
            / whole
    };
    Expectation {
        mean: weighted(|e| e.mean),
        precision: weighted(|e| e.precision),
    }
}
