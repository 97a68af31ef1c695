//! Many seeds at once, and what they came to together.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::{Outcome, Scenario, shortest, tell};
use crate::engine::ledger::LedgerError;

/// What many stories came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sum {
    /// Stories told.
    pub seeds: u64,
    /// Messages published.
    pub messages: u64,
    /// Cases opened.
    pub cases: u64,
    /// Requests that the CI did.
    pub requests: u64,
    /// Those of them that came with others in one call.
    pub together: u64,
    /// Processes that died.
    pub deaths: u64,
    /// Culprits named.
    pub culprits: u64,
    /// Those of them that were it.
    pub true_culprits: u64,
    /// How often each fault struck.
    pub struck: BTreeMap<&'static str, u64>,
    /// The stories in which something was broken, by seed.
    pub failed: Vec<Outcome>,
}

impl Sum {
    fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.messages += outcome.messages;
        self.cases += outcome.cases;
        self.requests += outcome.requests;
        self.together += outcome.together;
        self.deaths += outcome.deaths;
        self.culprits += outcome.culprits.0;
        self.true_culprits += outcome.culprits.1;
        for (fault, count) in &outcome.struck {
            *self.struck.entry(fault).or_default() += count;
        }
        if !outcome.breaches.is_empty() {
            self.failed.push(outcome);
        }
    }

    /// The sum for people; with the shortest story of the first seed that failed.
    ///
    /// # Errors
    /// `out` does not take it.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "{} seeds: {} messages, {} cases, {} requests done by the CI ({} together with others), {} processes died.",
            self.seeds, self.messages, self.cases, self.requests, self.together, self.deaths
        )?;
        writeln!(
            out,
            "Culprits named: {}, of which {} were it.",
            self.culprits, self.true_culprits
        )?;
        let struck: Vec<String> = self
            .struck
            .iter()
            .map(|(fault, count)| format!("{fault} {count}"))
            .collect();
        writeln!(out, "What went wrong: {}.", struck.join(", "))?;
        for outcome in &self.failed {
            writeln!(out, "seed {} FAILED: {}", outcome.seed, outcome.breaches.join("; "))?;
        }
        match self.failed.first() {
            None => writeln!(out, "Everything held in all of them."),
            Some(first) => write_shortest(first.seed, out),
        }
    }
}

/// The shortest story of a seed in which something is broken.
///
/// # Errors
/// `out` does not take it.
fn write_shortest(seed: u64, out: &mut dyn Write) -> io::Result<()> {
    match shortest(&Scenario::of(seed)) {
        Ok((scenario, outcome)) => {
            writeln!(
                out,
                "\nThe shortest story like that of seed {seed}; the same seed tells it again:"
            )?;
            let faults: Vec<&str> = scenario.faults().iter().map(|fault| fault.as_str()).collect();
            writeln!(
                out,
                "{} daemon(s), {} pushes, {} labels, faults: {}\n{:?}",
                scenario.daemons,
                scenario.world.pushes,
                scenario.world.labels.len(),
                faults.join(", "),
                scenario.limits
            )?;
            for line in &outcome.story {
                writeln!(out, "{line}")?;
            }
            for breach in &outcome.breaches {
                writeln!(out, "BROKEN: {breach}")?;
            }
            Ok(())
        }
        Err(error) => writeln!(out, "seed {seed} cannot be told again: {error}"),
    }
}

/// Tells the stories of `count` seeds from `first` on, on as many threads as told.
///
/// # Errors
/// The simulation itself could not be set up.
pub fn tell_many(first: u64, count: u64, threads: usize) -> Result<Sum, LedgerError> {
    let next = AtomicU64::new(0);
    let sum = Mutex::new((Sum::default(), None));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    if place >= count {
                        return;
                    }
                    let told = tell(first.saturating_add(place));
                    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                    match told {
                        Ok(outcome) => sum.0.add(outcome),
                        Err(error) => {
                            sum.1 = Some(error);
                            return;
                        }
                    }
                }
            });
        }
    });
    let (mut sum, failed) = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = failed {
        return Err(error);
    }
    sum.failed.sort_by_key(|outcome| outcome.seed);
    Ok(sum)
}
