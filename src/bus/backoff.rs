//! How long to wait before trying again: exponential, with jitter, bounded.
//!
//! In: how often it failed in a row, and a random number. Out: a span. Never: sleeping, asking a clock.

use crate::event::Duration;

/// The span between attempts: doubles from `min` to `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The span after the first failure, before jitter.
    pub min: Duration,
    /// The longest span, jitter included.
    pub max: Duration,
}

impl Backoff {
    /// The span to wait after `failures` failures in a row (counted from 1; 0 means none: no wait).
    ///
    /// `random` is uniform over all of `u64`. Half of the span is fixed and half is random, so that daemons cut off
    /// together do not come back together, and none hammers the broker.
    pub fn delay(&self, failures: u32, random: u64) -> Duration {
        if failures == 0 {
            return Duration::ZERO;
        }
        let doublings = (failures - 1).min(31);
        let full = self.min.saturating_mul(1 << doublings).min(self.max);
        let share = 0.5 + 0.5 * (random as f64 / u64::MAX as f64);
        full.mul_f64(share).min(self.max)
    }
}

/// The next number of a seeded sequence (SplitMix64, Steele et al. 2014): enough for jitter, no more.
pub(super) fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const USUAL: Backoff = Backoff {
        min: Duration::from_millis(500),
        max: Duration::from_secs(60),
    };

    #[test]
    fn the_first_attempt_waits_for_nothing() {
        assert_eq!(USUAL.delay(0, u64::MAX), Duration::ZERO);
    }

    #[test]
    fn the_span_doubles_until_it_reaches_its_bound() {
        let spans: Vec<u64> = (1..=9).map(|n| USUAL.delay(n, u64::MAX).as_millis() as u64).collect();
        assert_eq!(spans, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    }

    proptest! {
        #[test]
        fn every_span_lies_between_half_the_minimum_and_the_maximum(
            failures in 1_u32.., random: u64, min in 1_u64..10_000, more in 0_u64..1_000_000,
        ) {
            let backoff = Backoff { min: Duration::from_millis(min), max: Duration::from_millis(min + more) };
            let delay = backoff.delay(failures, random);
            prop_assert!(delay >= backoff.min.mul_f64(0.499));
            prop_assert!(delay <= backoff.max);
        }
    }
}
