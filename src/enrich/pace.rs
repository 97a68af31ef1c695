//! How fast a service may be asked.
//!
//! In: a rate, and the moment of each wish. Out: now, or how long to wait. Never: a clock of its own.

use std::time::{Duration, Instant};

/// A token bucket: `burst` requests at once, `rate` a second in the long run.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl TokenBucket {
    /// A full bucket. A rate that is not over zero counts as one request an hour; a burst under one as one.
    pub fn new(rate: f64, burst: u32, now: Instant) -> TokenBucket {
        let rate = if rate.is_finite() && rate > 0.0 {
            rate
        } else {
            1.0 / 3_600.0
        };
        let burst = f64::from(burst.max(1));
        TokenBucket {
            rate,
            burst,
            tokens: burst,
            at: now,
        }
    }

    /// Takes a token, or says how long it takes until there is one.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.rate;
        self.tokens = (self.tokens + gained).min(self.burst);
        self.at = self.at.max(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.tokens) / self.rate))
    }
}

#[cfg(test)]
mod tests {
    use super::TokenBucket;
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    #[test]
    fn a_burst_is_given_at_once_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(2.0, 3, start);
        for _ in 0..3 {
            assert_eq!(bucket.take(start), Ok(()));
        }
        assert_eq!(bucket.take(start), Err(Duration::from_millis(500)));
        assert_eq!(bucket.take(start + Duration::from_millis(500)), Ok(()));
    }

    proptest! {
        /// Law: in any time, no more than the burst and what the rate gave are taken.
        #[test]
        fn no_more_is_taken_than_was_given(
            rate in 0.1f64..50.0,
            burst in 1u32..20,
            steps in prop::collection::vec(0u64..2_000, 1..100),
        ) {
            let start = Instant::now();
            let mut bucket = TokenBucket::new(rate, burst, start);
            let (mut now, mut taken) = (start, 0u32);
            for step in steps {
                now += Duration::from_millis(step);
                taken += u32::from(bucket.take(now).is_ok());
            }
            let given = f64::from(burst) + rate * (now - start).as_secs_f64();
            prop_assert!(f64::from(taken) <= given + 1e-6);
        }

        /// Law: whoever waits as long as told gets one.
        #[test]
        fn waiting_as_long_as_told_suffices(rate in 0.1f64..50.0) {
            let start = Instant::now();
            let mut bucket = TokenBucket::new(rate, 1, start);
            bucket.take(start).unwrap();
            let wait = bucket.take(start).unwrap_err();
            prop_assert_eq!(bucket.take(start + wait + Duration::from_micros(1)), Ok(()));
        }
    }
}
