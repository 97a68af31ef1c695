//! A world: where the culprit is, how often what fails, and the coin of every run there could be.

use crate::stats::random::Random;
use crate::stats::rates::Counts;

/// Runs before the range in every world, and after it.
pub(super) const HISTORY: u32 = 200;
pub(super) const TAIL: u32 = 20;

/// Tail runs on one push.
const TAIL_RUNS_A_PUSH: u32 = 2;

/// Tails drawn until one has a failure.
const MAX_TAILS: u32 = 1_000;

/// In what a world departs from the model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Flaw {
    /// In nothing.
    None,
    /// This share of pushes has an extra failure rate of its own, uniform up to 0.3.
    Strays(f64),
    /// The failure rate falls by e every so many pushes after the culprit.
    Fading(f64),
}

/// One world of N pushes, 1 to N; those before are 0, −1, …, those after N+1, …
#[derive(Debug, Clone, Copy)]
pub(super) struct World {
    pub pushes: usize,
    /// 1 to N, 0: it failed before the range already, N+1: nowhere.
    pub culprit: usize,
    pub p0: f64,
    pub p1: f64,
    pub flaw: Flaw,
    pub seed: u64,
}

impl World {
    /// A world with these rates and a culprit anywhere.
    pub fn with_culprit(pushes: usize, (p0, p1): (f64, f64), seed: u64) -> World {
        let culprit = 1 + Random::new(seed).below(pushes);
        World {
            pushes,
            culprit,
            p0,
            p1,
            flaw: Flaw::None,
            seed,
        }
    }

    /// A world from the stated prior of `find-culprit`: rates, and 40 % without a culprit.
    pub fn from_prior(pushes: usize, flaw: Flaw, seed: u64) -> World {
        let mut random = Random::new(seed);
        let p1 = if random.chance(0.25) {
            0.999
        } else {
            cut_beta(&mut random, (0.7, 1.3), (0.03, 0.995))
        };
        let p0 = if random.chance(0.3) {
            0.0
        } else {
            cut_beta(&mut random, (0.5, 60.0), (0.0, 0.15))
        };
        let culprit = match random.uniform() {
            share if share < 0.2 => 0,
            share if share < 0.4 => pushes + 1,
            _ => 1 + random.below(pushes),
        };
        World {
            pushes,
            culprit,
            p0,
            p1,
            flaw,
            seed,
        }
    }

    /// Whether there is a culprit in the range.
    pub fn has_culprit(&self) -> bool {
        (1..=self.pushes).contains(&self.culprit)
    }

    /// Whether the `nth` run on `push` fails: the same for every policy.
    pub fn fails(&self, push: i64, nth: u32) -> bool {
        self.coin(push, nth).chance(self.rate(push))
    }

    /// The runs before the range, each on a push of its own.
    pub fn history(&self) -> Counts {
        count((0..HISTORY).map(|k| self.fails(-i64::from(k), 0)))
    }

    /// The runs after the range.
    pub fn tail(&self) -> Counts {
        self.tail_from(0)
    }

    /// The runs after the range, at least one of which failed: without a failure nobody opens a case.
    pub fn failing_tail(&self) -> Counts {
        let mut tails = (0..MAX_TAILS).map(|attempt| self.tail_from(attempt * TAIL_RUNS_A_PUSH));
        tails.find(|tail| tail.failed > 0).unwrap_or(Counts::new(1, TAIL - 1))
    }

    fn tail_from(&self, nth: u32) -> Counts {
        let first = self.pushes as i64 + 1;
        count((0..TAIL).map(|k| self.fails(first + i64::from(k / TAIL_RUNS_A_PUSH), nth + k % TAIL_RUNS_A_PUSH)))
    }

    fn rate(&self, push: i64) -> f64 {
        let distance = push as f64 - self.culprit as f64;
        // Culprit 0 stands for one anywhere before, N+1 for none anywhere.
        let base = match self.flaw {
            _ if self.culprit == 0 => self.p1,
            _ if distance < 0.0 || self.culprit > self.pushes => self.p0,
            Flaw::Fading(pushes) => self.p1 * (-distance / pushes).exp(),
            _ => self.p1,
        };
        // The coin of a push's own flaw is one that no run has.
        let mut own = self.coin(push, u32::MAX);
        let extra = match self.flaw {
            Flaw::Strays(share) if own.chance(share) => 0.3 * own.uniform(),
            _ => 0.0,
        };
        base + (1.0 - base) * extra
    }

    fn coin(&self, push: i64, nth: u32) -> Random {
        // Two odd multipliers keep the three numbers apart; the generator's seeding does the mixing.
        let push = (push as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let nth = u64::from(nth).wrapping_mul(0xd1b5_4a32_d192_ed03);
        Random::new(self.seed.wrapping_mul(0xaef1_7502_108e_f2d9) ^ push ^ nth.rotate_left(32))
    }
}

/// The seed of one trial of a table.
pub(super) fn trial_seed(seed: u64, trial: u32) -> u64 {
    Random::new(seed ^ (u64::from(trial) << 32)).bits()
}

/// Beta(a, b) cut to low..high, by drawing until it is within.
pub(super) fn cut_beta(random: &mut Random, (a, b): (f64, f64), (low, high): (f64, f64)) -> f64 {
    loop {
        // The priors here are within with probability over 0.8.
        let value = random.beta(a, b);
        if (low..=high).contains(&value) {
            return value;
        }
    }
}

fn count(runs: impl Iterator<Item = bool>) -> Counts {
    runs.fold(Counts::default(), |sum, failed| {
        sum.plus(if failed { Counts::new(1, 0) } else { Counts::new(0, 1) })
    })
}
