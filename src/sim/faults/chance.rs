//! What strikes when: one stream of chance for each kind of fault.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::plan::{Fault, Scenario};
use crate::stats::random::Random;

/// The chances of a story, and how often each fault struck.
pub(super) struct Chances {
    chances: [f64; Fault::ALL.len()],
    streams: Mutex<Vec<(Random, u64)>>,
    is_healed: AtomicBool,
}

impl Chances {
    pub fn of(scenario: &Scenario) -> Chances {
        let stream = |fault: Fault| (Random::new(scenario.seed ^ (fault as u64 + 1) << 56), 0);
        Chances {
            chances: scenario.chances,
            streams: Mutex::new(Fault::ALL.map(stream).into()),
            is_healed: AtomicBool::new(false),
        }
    }

    /// Nothing strikes from now on.
    pub fn heal(&self) {
        self.is_healed.store(true, Ordering::Relaxed);
    }

    pub fn is_healed(&self) -> bool {
        self.is_healed.load(Ordering::Relaxed)
    }

    /// Whether a fault strikes now.
    pub fn strikes(&self, fault: Fault) -> bool {
        let chance = self.chances.get(fault as usize).copied().unwrap_or(0.0);
        if chance == 0.0 || self.is_healed() {
            return false;
        }
        let mut streams = lock(&self.streams);
        let Some((random, struck)) = streams.get_mut(fault as usize) else {
            return false;
        };
        let strikes = random.chance(chance);
        *struck += u64::from(strikes);
        strikes
    }

    /// A number under `n` from a fault's stream: how, when or where it strikes.
    pub fn below(&self, fault: Fault, n: usize) -> usize {
        lock(&self.streams)
            .get_mut(fault as usize)
            .map_or(0, |(random, _)| random.below(n))
    }

    /// How often each fault struck.
    pub fn struck(&self) -> Vec<(Fault, u64)> {
        let streams = lock(&self.streams);
        let struck = streams.iter().map(|(_, struck)| *struck);
        Fault::ALL
            .into_iter()
            .zip(struck)
            .filter(|(_, struck)| *struck > 0)
            .collect()
    }
}

/// A simulated world is told by one thread; a panic in it is a defect that is reported by itself.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
