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
    /// `random` is uniform in 0..1. Half of the span is fixed and half is random, so that daemons cut off
    /// together do not come back together, and none hammers the broker.
    pub fn delay(&self, failures: u32, random: f64) -> Duration {
        if failures == 0 {
            return Duration::ZERO;
        }
        let doublings = (failures - 1).min(31);
        let full = self.min.saturating_mul(1 << doublings).min(self.max);
        let share = 0.5 + 0.5 * random.clamp(0.0, 1.0);
        full.mul_f64(share).min(self.max)
    }
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
        assert_eq!(USUAL.delay(0, 1.0), Duration::ZERO);
    }

    #[test]
    fn the_span_doubles_until_it_reaches_its_bound() {
        let spans: Vec<u64> = (1..=9).map(|n| USUAL.delay(n, 1.0).as_millis() as u64).collect();
        assert_eq!(spans, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    }

    proptest! {
        #[test]
        fn every_span_lies_between_half_the_minimum_and_the_maximum(
            failures in 1_u32.., random in 0.0..1.0, min in 1_u64..10_000, more in 0_u64..1_000_000,
        ) {
            let backoff = Backoff { min: Duration::from_millis(min), max: Duration::from_millis(min + more) };
            let delay = backoff.delay(failures, random);
            prop_assert!(delay >= backoff.min.mul_f64(0.499));
            prop_assert!(delay <= backoff.max);
        }
    }
}
