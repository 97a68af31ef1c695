//! Which of N candidates in a row changed a mean: performance regressions, and improvements.
//!
//! In: values before, among and after the candidates. Out: the runs that tell most, or a verdict with the interval of
//! the shift. Never: state between two calls.
//!
//! Hypotheses: `c` = 1..=N, the mean is μ before candidate `c` and μ·g from it on; or no change. μ, the noise and the
//! shift g are unknown and integrated over ([`model`]); the next run is the one with the largest information gain
//! about c ([`choice`]).

mod choice;
#[cfg(test)]
mod laws;
mod model;
mod noise;

use choice::Outlook;
use model::Posterior;

/// Candidates a problem may have: a decision costs this squared at worst.
pub const MAX_CANDIDATES: usize = 1_000;

/// Values a problem may hold in all.
pub const MAX_VALUES: usize = 100_000;

/// What is known of one candidate.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evidence {
    /// The candidate, 1 to N.
    pub push: usize,
    /// The values of its runs.
    pub values: Vec<f64>,
    /// Runs asked for whose value is not back yet.
    pub pending: u32,
}

/// What a search must be sure of, and may cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Params {
    /// Posterior probability a verdict needs, 0.5 to 0.9999.
    pub confidence: f64,
    /// The smallest shift that matters, relative to the mean, 0.0001 to 0.5.
    pub min_shift: f64,
    /// Runs that may be pending together, 1 to 100.
    pub parallel: u32,
    /// Runs that may be asked for in all.
    pub max_jobs: u32,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            confidence: 0.95,
            min_shift: 0.02,
            parallel: 1,
            max_jobs: 500,
        }
    }
}

/// Everything a decision rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// N: how many candidates, 1 to [`MAX_CANDIDATES`].
    pub candidates: usize,
    /// Values before the range. From 48 on their own distribution is used, if it is not a normal one.
    pub history: Vec<f64>,
    /// Values after the range.
    pub tail: Vec<f64>,
    /// Values in the range, in any order.
    pub evidence: Vec<Evidence>,
    /// Prices and limits.
    pub params: Params,
}

/// A problem that cannot be one.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProblemError {
    /// Too few or too many candidates.
    #[error("`candidates` is {got}, but must be 1 to {max}", max = MAX_CANDIDATES)]
    Candidates {
        /// What was given.
        got: usize,
    },
    /// A candidate that is none.
    #[error("push {push} is none of the candidates: they are numbered 1 to {candidates}")]
    Push {
        /// What was named.
        push: usize,
        /// How many there are.
        candidates: usize,
    },
    /// A value that is none.
    #[error("a value is {got}, but must be a number within ±1e100")]
    Value {
        /// What was given.
        got: f64,
    },
    /// Too many values.
    #[error("there are {got} values, but at most {max} are read: give the latest ones", max = MAX_VALUES)]
    Values {
        /// How many.
        got: usize,
    },
    /// A number out of its range.
    #[error("`{field}` is {got}, but must be {low} to {high}")]
    Range {
        /// Its name.
        field: &'static str,
        /// What was given.
        got: f64,
        /// The smallest allowed.
        low: f64,
        /// The largest allowed.
        high: f64,
    },
}

impl Problem {
    /// Checks every number against its range; names the first breach.
    pub fn check(&self) -> Result<(), ProblemError> {
        // Squares of values within this stay finite.
        const LARGEST: f64 = 1e100;
        if !(1..=MAX_CANDIDATES).contains(&self.candidates) {
            return Err(ProblemError::Candidates { got: self.candidates });
        }
        if let Some(e) = self.evidence.iter().find(|e| !(1..=self.candidates).contains(&e.push)) {
            return Err(ProblemError::Push {
                push: e.push,
                candidates: self.candidates,
            });
        }
        let values = || {
            self.history
                .iter()
                .chain(&self.tail)
                .chain(self.evidence.iter().flat_map(|e| &e.values))
        };
        if let Some(got) = values().copied().find(|v| v.is_nan() || v.abs() > LARGEST) {
            return Err(ProblemError::Value { got });
        }
        let count = values().count();
        if count > MAX_VALUES {
            return Err(ProblemError::Values { got: count });
        }
        let params = &self.params;
        let ranges = [
            ("confidence", params.confidence, 0.5, 0.9999),
            ("min_shift", params.min_shift, 0.0001, 0.5),
            ("parallel", params.parallel.into(), 1.0, 100.0),
        ];
        match ranges
            .into_iter()
            .find(|(_, got, low, high)| !(*low..=*high).contains(got))
        {
            Some((field, got, low, high)) => Err(ProblemError::Range { field, got, low, high }),
            None => Ok(()),
        }
    }

    /// The values by candidate: index 0 is candidate 1.
    fn by_candidate(&self) -> Vec<Vec<f64>> {
        let mut all = vec![Vec::new(); self.candidates];
        for e in &self.evidence {
            all[e.push - 1].extend_from_slice(&e.values);
        }
        // The order of evidence must not matter, not even to the last bit.
        all.iter_mut().for_each(|values| values.sort_by(f64::total_cmp));
        all
    }
}

/// What to do next, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The runs to ask for now: (candidate, how often), in order of the candidates.
    pub run: Vec<(usize, u32)>,
    /// How it ended, once it has.
    pub verdict: Option<Verdict>,
    /// P(no change).
    pub no_change: f64,
    /// P(candidate is the culprit); index 0 is candidate 1.
    pub pushes: Vec<f64>,
    /// The 95 % interval of the shift, relative to the mean, given that there is one.
    pub shift: (f64, f64),
    /// One sentence for people.
    pub why: String,
}

/// How a search ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// This candidate changed the mean.
    Culprit {
        /// The candidate and its probability.
        push: usize,
        /// P(it is the one).
        probability: f64,
    },
    /// None did, by as much as matters.
    NoChange {
        /// P(that).
        probability: f64,
    },
    /// The budget is spent, or nothing ran before the likeliest candidate.
    Undecided {
        /// The smallest set of candidates with the confidence asked for, likeliest first.
        pushes: Vec<(usize, f64)>,
    },
}

/// Decides the next step. `seed` settles which futures are looked at for rounds of several runs; the same problem and
/// seed always give the same step.
///
/// # Errors
///
/// The problem breaks one of the ranges that its fields state.
pub fn plan(problem: &Problem, seed: u64) -> Result<Step, ProblemError> {
    problem.check()?;
    let Problem { params, candidates, .. } = problem;
    let values = problem.by_candidate();
    let posterior = Posterior::new(problem, &values);
    let no_change = posterior.no_change();
    let pushes: Vec<f64> = (1..=*candidates).map(|c| posterior.mass(c)).collect();
    let step = |run, verdict, why| Step {
        run,
        verdict,
        no_change,
        pushes: pushes.clone(),
        shift: posterior.shift(),
        why,
    };

    let mut ranked: Vec<(usize, f64)> = pushes
        .iter()
        .enumerate()
        .map(|(index, mass)| (index + 1, *mass))
        .collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let (push, probability) = ranked[0];
    let mut sum = 0.0;
    let smallest: Vec<(usize, f64)> = ranked
        .iter()
        .take_while(|(_, mass)| {
            let short = sum < params.confidence;
            sum += mass;
            short
        })
        .copied()
        .collect();

    let count: usize = values.iter().map(Vec::len).sum();
    if no_change >= params.confidence {
        let verdict = Verdict::NoChange { probability: no_change };
        let why = format!("no change of the mean with probability {no_change:.3} after {count} values");
        return Ok(step(Vec::new(), Some(verdict), why));
    }
    if probability >= params.confidence {
        if problem.history.is_empty() && values[..push - 1].iter().all(Vec::is_empty) {
            let why = format!("push {push} is likeliest, but there is no value before it: extend the range back");
            return Ok(step(Vec::new(), Some(Verdict::Undecided { pushes: smallest }), why));
        }
        let why = format!("push {push} changed the mean with probability {probability:.3} after {count} values");
        return Ok(step(Vec::new(), Some(Verdict::Culprit { push, probability }), why));
    }
    let likeliest = format!("likeliest is push {push} with {probability:.3}, no change with {no_change:.3}");
    let pending = problem
        .evidence
        .iter()
        .fold(0u32, |sum, e| sum.saturating_add(e.pending));
    let asked = u32::try_from(count).unwrap_or(u32::MAX).saturating_add(pending);
    let left = params
        .max_jobs
        .saturating_sub(asked)
        .min(params.parallel.saturating_sub(pending));
    if left == 0 && pending > 0 {
        return Ok(step(
            Vec::new(),
            None,
            format!("{pending} runs are pending; {likeliest}"),
        ));
    }
    if left == 0 {
        let why = format!("the budget of {} runs is spent; {likeliest}", params.max_jobs);
        return Ok(step(Vec::new(), Some(Verdict::Undecided { pushes: smallest }), why));
    }
    let run = Outlook::new(problem, &values, posterior.clone(), seed).round(left);
    let why = format!("most is told there, after {count} values; {likeliest}");
    Ok(step(run, None, why))
}
