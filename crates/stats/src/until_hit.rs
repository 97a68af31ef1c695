//! How many runs to ask for together until an intermittent failure shows itself once.
//!
//! In: the runs so far and the subject's past. Out: the next batch, or a verdict. Never: more runs than the budget.
//!
//! The rate is unknown: with mass 0.2 it (all but) never fails, with 0.8 it is Beta(0.7, 1.3) on 0.005..1. The batches
//! are the exact optimum of expected runs plus price of rounds, by dynamic programming over the passes seen.

use std::sync::LazyLock;

use super::rates::{Counts, Grid};

/// Runs in one batch at most: what rules may ask for too.
pub const MAX_BATCH: u32 = 100;

/// Runs a plan looks ahead at most: the largest budget that a rule may give.
pub const MAX_JOBS: u32 = 10_000;

/// What a hunt may cost and must be sure of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Params {
    /// Posterior probability that *not reproducible* needs, 0.5 to 0.9999.
    pub confidence: f64,
    /// The failure rate below which a failure is called not reproducible, over 0 and under 1.
    pub rate: f64,
    /// The price of a round, counted in runs, 0 to 1,000.
    pub round_price: f64,
    /// Runs that may be asked for in all, at most [`MAX_JOBS`].
    pub max_jobs: u32,
    /// Runs in a batch: `None`, the optimum; else 1 to [`MAX_BATCH`].
    pub batch: Option<u32>,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            confidence: 0.95,
            rate: 0.02,
            round_price: 1.0,
            max_jobs: 100,
            batch: None,
        }
    }
}

/// Everything a decision rests on.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Problem {
    /// Runs of the subject before the hunt.
    pub history: Counts,
    /// Runs of the hunt: failures with the signature wanted, and runs without it.
    pub evidence: Counts,
    /// Runs asked for whose outcome is not back yet.
    pub pending: u32,
    /// Prices and limits.
    pub params: Params,
}

/// What to do next, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Runs to ask for now.
    pub times: u32,
    /// How it ended, once it has.
    pub verdict: Option<Verdict>,
    /// Expected failure rate.
    pub rate: f64,
    /// P(the rate is above the one asked about).
    pub above: f64,
    /// One sentence for people.
    pub why: String,
}

/// How a hunt ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// It failed: what is still pending can be cancelled.
    Hit,
    /// Its rate is below this one.
    NotReproducible {
        /// The rate asked about.
        rate_below: f64,
        /// P(the rate is not above it).
        probability: f64,
    },
    /// The budget is spent before either.
    Undecided,
}

/// A number out of its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("`{field}` is {got}, but must be {want}")]
pub struct ParamsError {
    /// Its name.
    pub field: &'static str,
    /// What was given.
    pub got: f64,
    /// What is allowed.
    pub want: &'static str,
}

impl Params {
    /// Checks every number against its range; names the first breach.
    pub fn check(&self) -> Result<(), ParamsError> {
        let ranges = [
            ("confidence", self.confidence, 0.5, 0.9999, "0.5 to 0.9999"),
            ("rate", self.rate, 1e-6, 0.999_999, "over 0 and under 1"),
            ("round_price", self.round_price, 0.0, 1_000.0, "0 to 1000"),
            ("max_jobs", self.max_jobs.into(), 0.0, MAX_JOBS.into(), "0 to 10000"),
            (
                "batch",
                self.batch.unwrap_or(1).into(),
                1.0,
                MAX_BATCH.into(),
                "1 to 100",
            ),
        ];
        match ranges
            .into_iter()
            .find(|(_, got, low, high, _)| !(*low..=*high).contains(got))
        {
            Some((field, got, _, _, want)) => Err(ParamsError { field, got, want }),
            None => Ok(()),
        }
    }
}

/// The prior of an intermittent's failure rate: 0.2 (all but) never, 0.8 Beta(0.7, 1.3) on 0.005..1.
fn prior() -> &'static Grid {
    static PRIOR: LazyLock<Grid> = LazyLock::new(|| Grid::atom_and_beta(0.0005, 0.2, (0.7, 1.3), (0.005, 1.0)));
    &PRIOR
}

/// Decides the next step.
///
/// # Errors
///
/// A parameter is out of the range that its field states.
pub fn plan(problem: &Problem) -> Result<Step, ParamsError> {
    let Problem {
        history,
        evidence,
        pending,
        params,
    } = *problem;
    params.check()?;
    let mut belief = prior().belief();
    belief.see(history);
    belief.see(evidence);
    let above = belief.above(params.rate);
    let step = |times, verdict, why| Step {
        times,
        verdict,
        rate: belief.summary().mean,
        above,
        why,
    };

    let passed = evidence.passed;
    if evidence.failed > 0 {
        let why = format!("it failed {} of {} times", evidence.failed, evidence.total());
        return Ok(step(0, Some(Verdict::Hit), why));
    }
    if above <= 1.0 - params.confidence {
        let verdict = Verdict::NotReproducible {
            rate_below: params.rate,
            probability: 1.0 - above,
        };
        let why = format!(
            "{passed} passes: its rate is below {} with probability {:.3}",
            params.rate,
            1.0 - above
        );
        return Ok(step(0, Some(verdict), why));
    }
    let left = params.max_jobs.saturating_sub(passed.saturating_add(pending));
    if left == 0 && pending == 0 {
        let why = format!("the budget of {} runs is spent without a failure", params.max_jobs);
        return Ok(step(0, Some(Verdict::Undecided), why));
    }
    let batch = params
        .batch
        .unwrap_or_else(|| best_batch(problem, left.saturating_add(pending).min(MAX_JOBS)));
    let times = batch.saturating_sub(pending).min(left);
    let why = match times {
        0 => format!("{pending} runs are pending after {passed} passes"),
        _ => format!(
            "{} in flight is the cheapest batch after {passed} passes; P(rate above {}) is {above:.3}",
            times.saturating_add(pending),
            params.rate
        ),
    };
    Ok(step(times, None, why))
}

/// The batch m that minimises V(s) = min over m of m + λ + V(s+m)·nohit(s+m)/nohit(s), where s is the number of
/// passes so far, nohit(s) the probability of them, and V = 0 where enough passes end the hunt or the budget does.
fn best_batch(problem: &Problem, left: u32) -> u32 {
    let params = &problem.params;
    let mut belief = prior().belief();
    belief.see(problem.history);
    belief.see(problem.evidence);
    let now = belief.summary().ln_likelihood;
    // nohit[k]: the probability that the next k runs pass. The last one ends the hunt.
    let mut nohit = vec![1.0];
    for _ in 0..left {
        belief.see(Counts::new(0, 1));
        nohit.push((belief.summary().ln_likelihood - now).exp());
        if belief.above(params.rate) <= 1.0 - params.confidence {
            break;
        }
    }
    let end = nohit.len() - 1;
    // cost[k] = V·nohit after k more passes: the recursion needs no division then.
    let mut cost = vec![0.0; end + 1];
    let mut first = 1;
    for k in (0..end).rev() {
        let largest = (end - k).min(MAX_BATCH as usize);
        let (mut cheapest, mut size) = (f64::INFINITY, 1);
        for m in 1..=largest {
            let total = (m as f64 + params.round_price) * nohit[k] + cost[k + m];
            if total < cheapest {
                (cheapest, size) = (total, m);
            }
        }
        (cost[k], first) = (cheapest, size);
    }
    u32::try_from(first).unwrap_or(MAX_BATCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(passed: u32) -> Problem {
        Problem {
            evidence: Counts::new(0, passed),
            ..Problem::default()
        }
    }

    #[test]
    fn batches_grow_as_passes_come_in() {
        let (mut passed, mut batches) = (0, Vec::new());
        loop {
            let step = plan(&after(passed)).unwrap();
            if let Some(verdict) = step.verdict {
                assert!(matches!(verdict, Verdict::NotReproducible { .. }));
                break;
            }
            batches.push(step.times);
            passed += step.times;
        }
        assert!(batches.windows(2).all(|pair| pair[0] <= pair[1]), "{batches:?}");
        assert!((55..=56).contains(&passed), "{passed} by {batches:?}");
    }

    #[test]
    fn the_first_failure_ends_the_hunt() {
        let problem = Problem {
            evidence: Counts::new(1, 3),
            pending: 4,
            ..Problem::default()
        };
        let step = plan(&problem).unwrap();
        assert_eq!((step.times, step.verdict), (0, Some(Verdict::Hit)));
    }

    #[test]
    fn pending_runs_are_part_of_the_batch() {
        let wanted = plan(&after(6)).unwrap().times;
        for pending in 0..=2 * wanted {
            let step = plan(&Problem { pending, ..after(6) }).unwrap();
            assert_eq!(step.times, wanted.saturating_sub(pending));
        }
    }

    #[test]
    fn the_budget_is_never_exceeded() {
        let mut problem = after(0);
        problem.params.max_jobs = 5;
        while plan(&problem).unwrap().times > 0 {
            problem.evidence.passed += plan(&problem).unwrap().times;
        }
        assert_eq!(problem.evidence.passed, 5);
        assert_eq!(plan(&problem).unwrap().verdict, Some(Verdict::Undecided));
    }

    #[test]
    fn a_past_of_failures_makes_batches_smaller() {
        let often = Problem {
            history: Counts::new(30, 70),
            ..Problem::default()
        };
        let seldom = Problem {
            history: Counts::new(2, 98),
            ..Problem::default()
        };
        assert!(plan(&often).unwrap().times < plan(&seldom).unwrap().times);
    }

    #[test]
    fn a_rate_out_of_range_is_refused_by_name() {
        let mut problem = after(0);
        problem.params.rate = 1.0;
        assert_eq!(
            plan(&problem).unwrap_err().to_string(),
            "`rate` is 1, but must be over 0 and under 1"
        );
    }
}
