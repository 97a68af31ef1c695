//! Which runs tell most: expected information gain, one run at a time or a round of them.
//!
//! A round is built greedily. The futures that the runs chosen so far can lead to are kept as a bounded tree of
//! leaves; the next run is the one with the largest gain averaged over them.

use super::super::math::binary_entropy;
use super::super::random::Random;
use super::posterior::{Expectation, Posterior};
use super::{Evidence, NO_GAIN};

/// Futures looked at together. Twice as many change the runs of a search by less than its standard error.
const MAX_LEAVES: usize = 32;

/// Pending runs that are averaged over one by one; more are rare, and tell the same.
const MAX_AVERAGED: u32 = 200;

/// A future less likely than this is dropped.
const NEGLIGIBLE_LEAF: f64 = 1e-4;

/// The runs of a round.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Round {
    /// (candidate, times), in order of the candidates.
    pub run: Vec<(usize, u32)>,
    /// What they are expected to tell together with what is pending, in nats.
    pub gain: f64,
}

/// The futures after the runs chosen so far.
#[derive(Debug)]
pub(super) struct Outlook<'a> {
    leaves: Vec<Leaf>,
    runnable: &'a [bool],
    random: Random,
}

#[derive(Debug, Clone)]
struct Leaf {
    probability: f64,
    posterior: Posterior,
}

impl<'a> Outlook<'a> {
    /// Nothing chosen yet.
    pub fn new(posterior: &Posterior, runnable: &'a [bool], seed: u64) -> Outlook<'a> {
        let leaves = vec![Leaf {
            probability: 1.0,
            posterior: posterior.clone(),
        }];
        Outlook {
            leaves,
            runnable,
            random: Random::new(seed),
        }
    }

    /// Chooses up to `most` runs beside the pending ones: as many as make the gain a unit of price largest, a
    /// round costing `round_price` and a run 1.
    pub fn round(&mut self, evidence: &[Evidence], most: u32, round_price: f64) -> Round {
        let mut gain = 0.0;
        let mut size = 0.0;
        let mut averaged = 0;
        for e in evidence {
            size += f64::from(e.pending);
            for _ in 0..e.pending.min(MAX_AVERAGED - averaged) {
                gain += self.gains()[e.push - 1];
                self.expect_run(e.push);
                averaged += 1;
            }
        }
        let mut run = std::collections::BTreeMap::new();
        for taken in 0..most {
            let Some((push, best)) = self.most_telling() else { break };
            let started = size > 0.0;
            if started && (gain + best) / (size + 1.0 + round_price) <= gain / (size + round_price) {
                break;
            }
            *run.entry(push).or_insert(0) += 1;
            gain += best;
            size += 1.0;
            if taken + 1 < most {
                self.expect_run(push);
            }
        }
        Round {
            run: run.into_iter().collect(),
            gain,
        }
    }

    /// The runnable candidate whose next run tells most, and how much; `None` when none tells anything.
    fn most_telling(&self) -> Option<(usize, f64)> {
        let mut best = None;
        let mut most = NO_GAIN;
        for (index, gain) in self.gains().into_iter().enumerate() {
            if self.runnable[index] && gain > most {
                most = gain;
                best = Some((index + 1, gain));
            }
        }
        best
    }

    /// The expected information gain of a run at each candidate, averaged over the leaves.
    fn gains(&self) -> Vec<f64> {
        let mut gains = vec![0.0; self.runnable.len()];
        for leaf in &self.leaves {
            add_gains(&leaf.posterior, leaf.probability, &mut gains);
        }
        gains
    }

    /// Splits every leaf by the outcome of one more run at `push`.
    fn expect_run(&mut self, push: usize) {
        let mut split = Vec::with_capacity(2 * self.leaves.len());
        for leaf in &self.leaves {
            for failed in [false, true] {
                let (chance, posterior) = leaf.posterior.after_run(push, failed);
                let probability = leaf.probability * chance;
                if probability > NEGLIGIBLE_LEAF {
                    split.push(Leaf { probability, posterior });
                }
            }
        }
        self.leaves = split;
        self.thin();
    }

    /// Keeps at most [`MAX_LEAVES`] leaves: the likelier half for certain, of the rest a systematic sample that stands
    /// for all of it.
    fn thin(&mut self) {
        if self.leaves.len() > MAX_LEAVES {
            self.leaves.sort_by(|a, b| b.probability.total_cmp(&a.probability));
            let rest = self.leaves.split_off(MAX_LEAVES / 2);
            let drawn = MAX_LEAVES - self.leaves.len();
            let share = rest.iter().map(|leaf| leaf.probability).sum::<f64>() / drawn as f64;
            let mut next = share * self.random.uniform();
            let mut passed = 0.0;
            for leaf in rest {
                passed += leaf.probability;
                let mut times = 0.0;
                while next < passed {
                    times += 1.0;
                    next += share;
                }
                if times > 0.0 {
                    self.leaves.push(Leaf {
                        probability: times * share,
                        ..leaf
                    });
                }
            }
        }
        let whole: f64 = self.leaves.iter().map(|leaf| leaf.probability).sum();
        for leaf in &mut self.leaves {
            leaf.probability /= whole;
        }
    }
}

impl Posterior {
    /// The posterior after one more run at `push`, and the probability of that outcome.
    fn after_run(&self, push: usize, failed: bool) -> (f64, Posterior) {
        let mut next = self.clone();
        let mut chance = 0.0;
        for c in 0..self.mass.len() {
            let side = if c <= push {
                &mut next.after[c]
            } else {
                &mut next.before[c]
            };
            let likelihood = if failed { side.mean } else { 1.0 - side.mean };
            *side = side.after(failed);
            next.mass[c] *= likelihood;
            chance += next.mass[c];
        }
        if chance > 0.0 {
            next.mass.iter_mut().for_each(|mass| *mass /= chance);
        }
        (chance, next)
    }
}

/// Adds to `gains`, times `weight`, the mutual information of the verdict and one run at each candidate x:
/// h(P_x) − Σ_c w_c h(q(c)), by prefix sums. The two hypotheses without a culprit count as one: telling them apart
/// is worth nothing.
fn add_gains(posterior: &Posterior, weight: f64, gains: &mut [f64]) {
    let n = gains.len();
    let Posterior { mass, before, after } = posterior;
    // Neighbours mostly share their expectation, so the entropy is computed once a stretch.
    let entropies = |expectations: &[Expectation]| {
        let mut last = (f64::NAN, 0.0);
        expectations
            .iter()
            .map(|e| {
                if e.mean != last.0 {
                    last = (e.mean, binary_entropy(e.mean));
                }
                last.1
            })
            .collect::<Vec<f64>>()
    };
    let (noise_before, noise_after) = (entropies(before), entropies(after));

    let mut failing = mass[0] * after[0].mean + mass[n + 1] * before[n + 1].mean;
    let nothing = mass[0] + mass[n + 1];
    let mut noise = if nothing > 0.0 {
        nothing * binary_entropy(failing / nothing)
    } else {
        0.0
    };
    for c in 1..=n {
        failing += mass[c] * before[c].mean;
        noise += mass[c] * noise_before[c];
    }
    for x in 1..=n {
        failing += mass[x] * (after[x].mean - before[x].mean);
        noise += mass[x] * (noise_after[x] - noise_before[x]);
        gains[x - 1] += weight * (binary_entropy(failing) - noise).max(0.0);
    }
}
