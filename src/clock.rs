//! The time, at the shell's edge. The core gets `now` as an argument; only the shell asks a clock.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::event::{Duration, Timestamp};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_millisecond())
    }
}

/// How much faster or slower than time itself a [`Steady`] clock goes at most while it makes up for a jump: a tenth.
const HURRY: i64 = 10;

/// The time as one process shows it: it starts at the wall clock, never runs back, and follows a wall clock that jumps
/// at most a tenth faster or slower than time passes. Leases, rests and the windows of limits are then never off by more
/// than that, whatever happens to the wall clock. Pure: what a [`SteadyClock`] does, and simulations too.
#[derive(Debug, Clone, Copy)]
pub struct Steady {
    /// What was shown last, in microseconds since 1970.
    shown: i64,
    /// How long the process had run then, in microseconds.
    ran: i64,
}

impl Steady {
    /// A clock that starts with the wall clock.
    pub fn started(wall: Timestamp) -> Steady {
        Steady {
            shown: wall.0.saturating_mul(1_000),
            ran: 0,
        }
    }

    /// The time, when the wall clock shows `wall` and the process has run for `ran`.
    pub fn read(&mut self, wall: Timestamp, ran: Duration) -> Timestamp {
        let ran = i64::try_from(ran.as_micros()).unwrap_or(i64::MAX);
        let passed = ran.saturating_sub(self.ran).max(0);
        let straight = self.shown.saturating_add(passed);
        let gap = wall.0.saturating_mul(1_000).saturating_sub(straight);
        let hurry = passed / HURRY;
        self.shown = straight.saturating_add(gap.clamp(-hurry, hurry));
        self.ran = self.ran.saturating_add(passed);
        Timestamp(self.shown / 1_000)
    }
}

/// The machine's clock as a [`Steady`] one: the daemon's.
#[derive(Debug)]
pub struct SteadyClock {
    started: Instant,
    steady: Mutex<Steady>,
}

impl SteadyClock {
    /// A clock that shows what the machine's shows now.
    pub fn start() -> SteadyClock {
        SteadyClock {
            started: Instant::now(),
            steady: Mutex::new(Steady::started(SystemClock.now())),
        }
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        // No reading leaves it half done.
        let mut steady = self.steady.lock().unwrap_or_else(PoisonError::into_inner);
        steady.read(SystemClock.now(), self.started.elapsed())
    }
}

/// A clock that stands still until it is moved, for simulations and replays.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: Timestamp) -> ManualClock {
        ManualClock(AtomicI64::new(start.0))
    }

    /// Moves the clock to `to`, forward or back.
    pub fn set(&self, to: Timestamp) {
        self.0.store(to.0, Ordering::SeqCst);
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().plus(by));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn after(minutes: i64) -> Duration {
        Duration::from_secs(minutes as u64 * 60)
    }

    #[test]
    fn a_steady_clock_shows_what_a_sound_wall_clock_shows() {
        let mut clock = Steady::started(Timestamp(0));
        for minute in 1..100 {
            assert_eq!(clock.read(Timestamp(minute * 60_000), after(minute)).0, minute * 60_000);
        }
    }

    #[test]
    fn a_wall_clock_that_jumps_an_hour_is_followed_over_ten() {
        for jump in [HOUR, -HOUR] {
            let mut clock = Steady::started(Timestamp(0));
            let mut last = 0;
            for minute in 1..=10 * 60 {
                let now = clock.read(Timestamp(minute * 60_000 + jump), after(minute)).0;
                assert!(
                    (now - last - 60_000).abs() <= 6_000,
                    "{jump}: a minute took {}",
                    now - last
                );
                last = now;
            }
            assert_eq!(last, 10 * HOUR + jump, "and then it shows the same");
        }
    }

    #[test]
    fn a_steady_clock_never_runs_back() {
        let mut clock = Steady::started(Timestamp(HOUR));
        let mut last = HOUR;
        for (wall, ran) in [(0, 0), (0, 0), (-HOUR, 1), (5 * HOUR, 1), (0, 60)] {
            let now = clock.read(Timestamp(wall), after(ran)).0;
            assert!(now >= last);
            last = now;
        }
    }
}
