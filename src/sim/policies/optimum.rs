//! Known rates against the exact optimum, by dynamic programming over all evidence there can be.

use std::collections::HashMap;

use super::table::Report;
use crate::stats::culprit::{self, Evidence, Params, Problem, Rates};
use crate::stats::math::channel_capacity;

/// Posterior probability a search stops at.
const CONFIDENCE: f64 = 0.95;

/// Small searches: candidates, p1, p0, and the runs looked ahead: as many as a minute allows. What is left open then is
/// valued at its entropy over the capacity of a run, for the optimum and for the policy alike.
const CASES: [(usize, f64, f64, u8); 8] = [
    (3, 0.5, 0.05, 22),
    (3, 0.2, 0.01, 26),
    (4, 0.8, 0.1, 14),
    (4, 0.95, 0.05, 10),
    (5, 0.9, 0.02, 11),
    (6, 0.95, 0.05, 9),
    (6, 0.999, 0.02, 8),
    (8, 0.999, 0.02, 8),
];

/// Failures and passes of each candidate but the last, which tells nothing: all of them fail at p1 there.
type State = Vec<(u8, u8)>;

/// A small search with known rates, a culprit for certain and a uniform prior.
#[derive(Debug)]
pub(super) struct Search {
    n: usize,
    p0: f64,
    p1: f64,
    horizon: u8,
    optimal: HashMap<State, f64>,
    ours: HashMap<State, f64>,
}

impl Search {
    /// Looks `horizon` runs ahead.
    pub fn new(n: usize, p1: f64, p0: f64, horizon: u8) -> Search {
        Search {
            n,
            p0,
            p1,
            horizon,
            optimal: HashMap::new(),
            ours: HashMap::new(),
        }
    }

    /// Mean runs of the optimal policy, and of ours.
    pub fn costs(&mut self) -> (f64, f64) {
        let start = vec![(0, 0); self.n - 1];
        (self.optimal(start.clone(), 0), self.ours(start, 0))
    }

    fn optimal(&mut self, state: State, depth: u8) -> f64 {
        if let Some(cost) = self.optimal.get(&state) {
            return *cost;
        }
        let mass = self.posterior(&state);
        let cost = self.end(&mass, depth).unwrap_or_else(|| {
            let costs = (0..state.len()).map(|x| {
                let fails = self.chance(&mass, x);
                let (pass, fail) = after(&state, x);
                1.0 + fails * self.optimal(fail, depth + 1) + (1.0 - fails) * self.optimal(pass, depth + 1)
            });
            costs.fold(f64::INFINITY, f64::min)
        });
        self.optimal.insert(state, cost);
        cost
    }

    fn ours(&mut self, state: State, depth: u8) -> f64 {
        if let Some(cost) = self.ours.get(&state) {
            return *cost;
        }
        let mass = self.posterior(&state);
        let cost = self.end(&mass, depth).unwrap_or_else(|| {
            let x = self.choice(&state);
            let fails = self.chance(&mass, x);
            let (pass, fail) = after(&state, x);
            1.0 + fails * self.ours(fail, depth + 1) + (1.0 - fails) * self.ours(pass, depth + 1)
        });
        self.ours.insert(state, cost);
        cost
    }

    /// The cost from here, where the search ends or the horizon is reached.
    fn end(&self, mass: &[f64], depth: u8) -> Option<f64> {
        if mass.iter().any(|mass| *mass >= CONFIDENCE) {
            return Some(0.0);
        }
        let entropy = || {
            mass.iter()
                .filter(|mass| **mass > 0.0)
                .map(|mass| -mass * mass.ln())
                .sum::<f64>()
        };
        (depth >= self.horizon).then(|| entropy() / channel_capacity(self.p0, self.p1))
    }

    fn posterior(&self, state: &State) -> Vec<f64> {
        let likelihood =
            |rate: f64, (failed, passed): (u8, u8)| rate.powi(i32::from(failed)) * (1.0 - rate).powi(i32::from(passed));
        let mass = (0..self.n).map(|c| {
            let each = state.iter().enumerate();
            each.map(|(x, counts)| likelihood(if x >= c { self.p1 } else { self.p0 }, *counts))
                .product::<f64>()
        });
        let mass: Vec<f64> = mass.collect();
        let whole: f64 = mass.iter().sum();
        mass.into_iter().map(|mass| mass / whole).collect()
    }

    fn chance(&self, mass: &[f64], x: usize) -> f64 {
        let late: f64 = mass[..=x].iter().sum();
        late * self.p1 + (1.0 - late) * self.p0
    }

    fn choice(&self, state: &State) -> usize {
        let mut problem = Problem::new(self.n);
        problem.no_culprit_prior = 0.0;
        problem.rates = Some(Rates {
            p0: self.p0,
            p1: self.p1,
        });
        problem.params = Params {
            confidence: CONFIDENCE,
            parallel: 1,
            max_jobs: u32::MAX,
            ..Params::default()
        };
        let evidence = |(index, (failed, passed)): (usize, &(u8, u8))| Evidence {
            push: index + 1,
            failed: (*failed).into(),
            passed: (*passed).into(),
            pending: 0,
        };
        problem.evidence = state.iter().enumerate().map(evidence).collect();
        let step = culprit::plan(&problem, 0).ok();
        step.and_then(|step| step.run.first().map(|(push, _)| push - 1))
            .unwrap_or(0)
    }
}

/// The states after a pass and after a failure at candidate index `x`.
fn after(state: &State, x: usize) -> (State, State) {
    let (mut pass, mut fail) = (state.clone(), state.clone());
    pass[x].1 += 1;
    fail[x].0 += 1;
    (pass, fail)
}

/// Our policy with known rates against the optimum.
pub(super) fn table() -> Report {
    let title = "find-culprit, rates known, confidence 95 %: mean runs against the exact optimum (computed, no trials)";
    let columns = [
        "candidates",
        "p1",
        "p0",
        "runs ahead",
        "optimum",
        "this engine",
        "ratio",
    ];
    let mut report = Report::new(title, &columns);
    for (n, p1, p0, horizon) in CASES {
        let (optimum, ours) = Search::new(n, p1, p0, horizon).costs();
        report.row([
            n.to_string(),
            p1.to_string(),
            p0.to_string(),
            horizon.to_string(),
            format!("{optimum:.3}"),
            format!("{ours:.3}"),
            format!("{:.3}", ours / optimum),
        ]);
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_searches_cost_at_most_four_per_cent_more_than_the_optimum() {
        for (n, p1, p0, horizon) in [
            (2, 0.5, 0.05, 12),
            (3, 0.8, 0.1, 10),
            (4, 0.95, 0.05, 8),
            (6, 0.999, 0.02, 6),
        ] {
            let (optimum, ours) = Search::new(n, p1, p0, horizon).costs();
            assert!(
                ours >= optimum - 1e-9,
                "N={n}: {ours} is less than the optimum {optimum}"
            );
            assert!(
                ours <= 1.04 * optimum,
                "N={n}, p1={p1}, p0={p0}: {ours} against {optimum}"
            );
        }
    }

    #[test]
    fn a_permanent_failure_without_flakes_is_a_binary_search() {
        let (optimum, ours) = Search::new(8, 1.0 - 1e-9, 1e-9, 4).costs();
        assert!(
            (optimum - 3.0).abs() < 1e-6 && (ours - 3.0).abs() < 1e-6,
            "{optimum} {ours}"
        );
    }
}
