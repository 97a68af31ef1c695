//! A token bucket whose state lies in the store: a second of requests at once, the rate in the long run.
//!
//! In: the bucket as it was, and the moment. Out: what may be taken, and the bucket as it is then. Never: a clock.

use crate::event::Timestamp;

/// A bucket at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Requests that may be sent.
    pub tokens: f64,
    /// When that was so.
    pub at: Timestamp,
}

/// Requests that a bucket holds at most: those of a second, and one at least.
fn depth(rate: f64) -> f64 {
    rate.floor().max(1.0)
}

impl Bucket {
    /// The bucket now, refilled at `rate` tokens a second; a full one when there was none. A clock that was set back
    /// gives nothing, and goes on from where it stands.
    pub fn refilled(known: Option<Bucket>, rate: f64, now: Timestamp) -> Bucket {
        let rate = rate.max(1e-6);
        let tokens = match known {
            None => depth(rate),
            Some(bucket) => (bucket.tokens + now.since(bucket.at).as_secs_f64() * rate).min(depth(rate)),
        };
        Bucket { tokens, at: now }
    }

    /// Whole requests that may be sent.
    pub fn whole(&self) -> u32 {
        // A refill of 1/3 three times is a whole token, whatever the last digit says.
        (self.tokens + 1e-9).max(0.0) as u32
    }

    /// The bucket after requests were sent.
    pub fn without(self, sent: u32) -> Bucket {
        Bucket {
            tokens: (self.tokens - f64::from(sent)).max(0.0),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_clock_that_is_set_back_an_hour_gives_nothing_and_takes_nothing() {
        let hour = 3_600_000;
        let empty = Bucket::refilled(None, 2.0, Timestamp(hour)).without(2);
        let back = Bucket::refilled(Some(empty), 2.0, Timestamp(0));
        assert_eq!(back.whole(), 0);
        assert_eq!(Bucket::refilled(Some(back), 2.0, Timestamp(1_000)).whole(), 2);
    }

    proptest! {
        /// Law: between any two moments no more is taken than a full bucket and what the rate gave.
        #[test]
        fn no_more_is_taken_than_was_given(
            rate in 0.05f64..50.0,
            steps in prop::collection::vec((0i64..3_000, 0u32..20), 1..100),
        ) {
            let mut now = Timestamp(0);
            let mut bucket = None;
            let mut taken: Vec<(Timestamp, u32)> = Vec::new();
            for (step, wanted) in steps {
                now = Timestamp(now.0 + step);
                let full = Bucket::refilled(bucket, rate, now);
                let sent = wanted.min(full.whole());
                bucket = Some(full.without(sent));
                taken.push((now, sent));
            }
            for (from, (start, _)) in taken.iter().enumerate() {
                let mut sum = 0;
                for (end, sent) in &taken[from..] {
                    sum += sent;
                    let given = depth(rate) + rate * end.since(*start).as_secs_f64();
                    prop_assert!(f64::from(sum) <= given + 1e-6, "{} > {}", sum, given);
                }
            }
        }

        /// Law: a token comes back in the time that the rate says, whatever the steps of the clock.
        #[test]
        fn nobody_waits_longer_than_the_rate_says(rate in 0.05f64..20.0, step in 1i64..500) {
            let mut bucket = Bucket::refilled(None, rate, Timestamp(0));
            bucket = bucket.without(bucket.whole());
            let enough = (1_000.0 / rate).ceil() as i64 + step;
            let mut now = 0;
            while now < enough {
                now += step;
                bucket = Bucket::refilled(Some(bucket), rate, Timestamp(now));
            }
            prop_assert!(bucket.whole() >= 1);
        }
    }
}
