//! Which runs tell most: expected information gain, one run at a time or a round of them.
//!
//! A round is built greedily. The futures that the runs chosen so far can lead to are kept as a bounded tree of
//! leaves; the next run is the one with the largest gain averaged over them.

use super::super::math::binary_entropy;
use super::super::random::Random;
use super::super::rates::{Counts, Place};
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
        let one = if failed { Counts::new(1, 0) } else { Counts::new(0, 1) };
        next.seen[push - 1] = self.seen[push - 1].plus(one);
        let (place, place_after) = (
            self.strays.place(self.seen[push - 1]),
            self.strays.place(next.seen[push - 1]),
        );
        // Neighbours mostly share their expectation, so a stray is judged once a stretch.
        let mut stretch = (f64::NAN, 0.0, 0.0);
        let mut chance = 0.0;
        for c in 0..self.mass.len() {
            let (side, mean, regular) = if c <= push {
                (&mut next.after[c], self.after[c].mean, 1.0)
            } else {
                let shared = self.before[c].mean;
                if shared != stretch.0 {
                    stretch = (shared, place.mean(shared), 1.0 - place_after.stray(shared));
                }
                (&mut next.before[c], stretch.1, stretch.2)
            };
            *side = side.after(failed, regular);
            next.mass[c] *= if failed { mean } else { 1.0 - mean };
            chance += next.mass[c];
        }
        if chance > 0.0 {
            next.mass.iter_mut().for_each(|mass| *mass /= chance);
        }
        (chance, next)
    }
}

/// Adds to `gains`, times `weight`, the mutual information of the verdict and one run at each candidate x:
/// h(P_x) − Σ_c w_c h(q(c)). The two hypotheses without a culprit count as one: telling them apart is worth nothing.
///
/// Prefix sums make this O(N) where a run at x is expected to go as at any other candidate; where x failed before, it
/// may be a stray, and the hypotheses after it are summed for it alone.
fn add_gains(posterior: &Posterior, weight: f64, gains: &mut [f64]) {
    let n = gains.len();
    let Posterior {
        mass,
        before,
        after,
        seen,
        strays,
    } = posterior;
    let fresh = strays.place(Counts::default());
    let early: Vec<(f64, f64)> = stretches(before, |rate| fresh.mean(rate));
    let late: Vec<(f64, f64)> = stretches(after, |rate| rate);
    let none = mass[0] + mass[n + 1];
    // What the two hypotheses without a culprit add to (failing, noise) where the one-off expects `mean`.
    let no_culprit = |mean: f64| {
        let failing = mass[0] * late[0].0 + mass[n + 1] * mean;
        (
            failing,
            if none > 0.0 {
                none * binary_entropy(failing / none)
            } else {
                0.0
            },
        )
    };

    let (mut failing, mut noise) = no_culprit(early[n + 1].0);
    for c in 1..=n {
        failing += mass[c] * early[c].0;
        noise += mass[c] * early[c].1;
    }
    let (mut late_failing, mut late_noise) = (0.0, 0.0);
    for x in 1..=n {
        failing += mass[x] * (late[x].0 - early[x].0);
        noise += mass[x] * (late[x].1 - early[x].1);
        late_failing += mass[x] * late[x].0;
        late_noise += mass[x] * late[x].1;
        let gain = if strays.share > 0.0 && seen[x - 1].failed > 0 {
            let place = strays.place(seen[x - 1]);
            let (rest_failing, rest_noise) = beyond(posterior, x, &place);
            let (none_failing, none_noise) = no_culprit(place.mean(before[n + 1].mean));
            let chance = late_failing + rest_failing + none_failing;
            binary_entropy(chance) - late_noise - rest_noise - none_noise
        } else {
            binary_entropy(failing) - noise
        };
        gains[x - 1] += weight * gain.max(0.0);
    }
}

/// Σ over culprits after x of (w q, w h(q)) for one more run at x, which may be a stray.
fn beyond(posterior: &Posterior, x: usize, place: &Place) -> (f64, f64) {
    // Lighter hypotheses together move a gain by less than the gains of neighbours differ.
    const NEGLIGIBLE: f64 = 1e-7;
    let mut stretch = (f64::NAN, 0.0, 0.0);
    let (mut failing, mut noise) = (0.0, 0.0);
    for c in x + 1..posterior.mass.len() - 1 {
        let mass = posterior.mass[c];
        if mass > NEGLIGIBLE {
            let shared = posterior.before[c].mean;
            if shared != stretch.0 {
                let mean = place.mean(shared);
                stretch = (shared, mean, binary_entropy(mean));
            }
            failing += mass * stretch.1;
            noise += mass * stretch.2;
        }
    }
    (failing, noise)
}

/// (P(fails), its entropy) for each hypothesis; computed once for each stretch of equal expectations.
fn stretches(expectations: &[Expectation], mean: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    let mut last = (f64::NAN, (0.0, 0.0));
    let pair = |e: &Expectation| {
        if e.mean != last.0 {
            let mean = mean(e.mean);
            last = (e.mean, (mean, binary_entropy(mean)));
        }
        last.1
    };
    expectations.iter().map(pair).collect()
}
