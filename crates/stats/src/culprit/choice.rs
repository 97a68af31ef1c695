//! Which runs tell most: expected information gain, one run at a time or a round of them. Candidates are blocks of
//! candidates here ([`super::blocks`]), and a run is at the end of one.
//!
//! A round is built greedily. The futures that the runs chosen so far can lead to are kept as a bounded tree of
//! leaves; the next run is the one with the largest gain averaged over them.

use super::super::math::{channel_capacity, quick_entropy};
use super::super::random::Random;
use super::super::rates::{Counts, Place};
use super::blocks::Blocks;
use super::posterior::{Expectation, Posterior};
use super::{Evidence, NO_GAIN};

/// Futures looked at together. Twice as many change the runs of a search by less than its standard error.
const MAX_LEAVES: usize = 10;

/// Candidates up to which a problem is small. There a split that may end the search is worth more than the most telling
/// one (up to 7 % of the runs); in larger problems looking ahead made no measurable difference.
const SMALL: usize = 8;

/// Runs looked ahead in a small problem: with 4 the worst of the small problems measured takes 1.02 times the optimum,
/// with 3 or 2 it is 1.06; each one more costs up to 14 times as much.
const AHEAD: u32 = 4;

/// Runs that a search takes beyond its entropy: the last one seldom tells as much as it could.
const OVERSHOOT: f64 = 0.5;

/// Pending runs that are averaged over one by one; more are rare, and tell the same.
const MAX_AVERAGED: u32 = 200;

/// A future less likely than this is dropped.
const NEGLIGIBLE_LEAF: f64 = 1e-3;

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
pub(super) struct Outlook {
    blocks: Blocks,
    leaves: Vec<Leaf>,
    random: Random,
}

#[derive(Debug, Clone)]
struct Leaf {
    probability: f64,
    posterior: Posterior,
}

impl Outlook {
    /// Nothing chosen yet.
    pub fn new(blocks: Blocks, seed: u64) -> Outlook {
        let leaves = vec![Leaf {
            probability: 1.0,
            posterior: blocks.posterior.clone(),
        }];
        Outlook {
            blocks,
            leaves,
            random: Random::new(seed),
        }
    }

    /// Chooses one run: in a small problem the one that leaves the fewest runs to go, else the one that tells most.
    pub fn single(&self, confidence: f64) -> Round {
        let gains = self.gains();
        let now = &self.blocks.posterior;
        let rates = now.belief();
        let speed = channel_capacity(rates.p0, rates.p1).max(NO_GAIN);
        let small = self.blocks.ends.last().is_some_and(|last| *last <= SMALL);
        let rank = |block: usize| match small {
            true => now.expect(block, |next| {
                next.runs_left(&self.blocks.runnable, confidence, speed, AHEAD - 1)
            }),
            false => -gains[block - 1],
        };
        let telling = (1..=gains.len()).filter(|block| self.blocks.runnable[block - 1] && gains[block - 1] > NO_GAIN);
        let best = telling
            .map(|block| (block, rank(block)))
            .min_by(|a, b| a.1.total_cmp(&b.1));
        best.map_or(
            Round {
                run: Vec::new(),
                gain: 0.0,
            },
            |(block, _)| Round {
                run: vec![(self.blocks.ends[block - 1], 1)],
                gain: gains[block - 1],
            },
        )
    }

    /// Chooses up to `most` runs beside the pending ones: as many as make the gain a unit of price largest, a
    /// round costing `round_price` and a run 1.
    pub fn round(&mut self, evidence: &[Evidence], most: u32, round_price: f64) -> Round {
        let mut gain = 0.0;
        let mut size = 0.0;
        let mut averaged = 0;
        for e in evidence.iter().filter(|e| e.pending > 0) {
            size += f64::from(e.pending);
            let Some(block) = self.blocks.of(e.push) else { continue };
            for _ in 0..e.pending.min(MAX_AVERAGED - averaged) {
                gain += self.gains()[block - 1];
                self.expect_run(block);
                averaged += 1;
            }
        }
        let mut run = std::collections::BTreeMap::new();
        for taken in 0..most {
            let Some((block, best)) = self.most_telling() else {
                break;
            };
            let started = size > 0.0;
            if started && (gain + best) / (size + 1.0 + round_price) <= gain / (size + round_price) {
                break;
            }
            *run.entry(self.blocks.ends[block - 1]).or_insert(0) += 1;
            gain += best;
            size += 1.0;
            if taken + 1 < most {
                self.expect_run(block);
            }
        }
        Round {
            run: run.into_iter().collect(),
            gain,
        }
    }

    /// The block at whose end a run tells most, and how much; `None` when none tells anything.
    fn most_telling(&self) -> Option<(usize, f64)> {
        let mut best = None;
        let mut most = NO_GAIN;
        for (index, gain) in self.gains().into_iter().enumerate() {
            if self.blocks.runnable[index] && gain > most {
                most = gain;
                best = Some((index + 1, gain));
            }
        }
        best
    }

    /// The expected information gain of a run at the end of each block, averaged over the leaves.
    fn gains(&self) -> Vec<f64> {
        let mut gains = vec![0.0; self.blocks.ends.len()];
        for leaf in &self.leaves {
            add_gains(&leaf.posterior, leaf.probability, &mut gains);
        }
        gains
    }

    /// Splits every leaf by the outcome of one more run at the end of `block`.
    fn expect_run(&mut self, block: usize) {
        let mut split = Vec::with_capacity(2 * self.leaves.len());
        for leaf in &self.leaves {
            for failed in [false, true] {
                let (chance, posterior) = leaf.posterior.after_run(block, failed);
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
    /// Expected runs until a block, or no culprit, has `confidence`: the best of all ways for the next `ahead` runs,
    /// then the entropy that is left, at `speed` nats a run.
    fn runs_left(&self, runnable: &[bool], confidence: f64, speed: f64, ahead: u32) -> f64 {
        let last = self.mass.len() - 1;
        let mut entropy = 0.0;
        for mass in self.mass[1..last]
            .iter()
            .copied()
            .chain([self.mass[0] + self.mass[last]])
        {
            if mass >= confidence {
                return 0.0;
            }
            if mass > 0.0 {
                entropy -= mass * mass.ln();
            }
        }
        if ahead == 0 {
            return entropy / speed + OVERSHOOT;
        }
        let blocks = (1..last).filter(|block| runnable[block - 1]);
        let left = |block| self.expect(block, |next| next.runs_left(runnable, confidence, speed, ahead - 1));
        1.0 + blocks.map(left).fold(f64::INFINITY, f64::min)
    }

    /// The mean of `cost` over both outcomes of one more run at `block`.
    fn expect(&self, block: usize, cost: impl Fn(&Posterior) -> f64) -> f64 {
        let outcome = |failed| {
            let (chance, next) = self.after_run(block, failed);
            if chance > 0.0 { chance * cost(&next) } else { 0.0 }
        };
        outcome(false) + outcome(true)
    }

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
        let mut stretch = (-1.0, 0.0, 0.0);
        let mut chance = 0.0;
        for c in 0..self.mass.len() {
            let (side, mean, regular) = if c <= push {
                (&mut next.after[c], self.after[c].mean, 1.0)
            } else {
                let shared = self.before[c].mean;
                if differs(shared, stretch.0) {
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
                none * quick_entropy(failing / none)
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
            quick_entropy(chance) - late_noise - rest_noise - none_noise
        } else {
            quick_entropy(failing) - noise
        };
        gains[x - 1] += weight * gain.max(0.0);
    }
}

/// Σ over culprits after x of (w q, w h(q)) for one more run at x, which may be a stray.
fn beyond(posterior: &Posterior, x: usize, place: &Place) -> (f64, f64) {
    // Lighter hypotheses together move a gain by less than the gains of neighbours differ.
    const NEGLIGIBLE: f64 = 1e-7;
    let mut stretch = (-1.0, 0.0, 0.0);
    let (mut failing, mut noise) = (0.0, 0.0);
    for c in x + 1..posterior.mass.len() - 1 {
        let mass = posterior.mass[c];
        if mass > NEGLIGIBLE {
            let shared = posterior.before[c].mean;
            if differs(shared, stretch.0) {
                let mean = place.mean(shared);
                stretch = (shared, mean, quick_entropy(mean));
            }
            failing += mass * stretch.1;
            noise += mass * stretch.2;
        }
    }
    (failing, noise)
}

/// Whether two expected background rates differ enough to judge a stray anew.
fn differs(rate: f64, last: f64) -> bool {
    const SAME: f64 = 0.02;
    // A negative rate stands for none yet, and differs from all.
    (rate - last).abs() > SAME * last
}

/// (P(fails), its entropy) for each hypothesis; computed once for each stretch of equal expectations.
fn stretches(expectations: &[Expectation], mean: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    let mut last = (f64::NAN, (0.0, 0.0));
    let pair = |e: &Expectation| {
        if e.mean != last.0 {
            let mean = mean(e.mean);
            last = (e.mean, (mean, quick_entropy(mean)));
        }
        last.1
    };
    expectations.iter().map(pair).collect()
}
