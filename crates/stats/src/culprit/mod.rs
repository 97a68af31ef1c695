//! Which of N candidates in a row changed a failure rate: permanent and intermittent failures alike.
//!
//! In: a [`Problem`]: the candidates, runs before, among and after them, prices and limits. Out: a [`Step`]: the runs
//! that tell most, or a verdict, with the posterior behind it. Never: state between two calls; the evidence is the
//! state.
//!
//! Hypotheses: `c` = 1..=N, the failure rate is p0 before candidate `c` and p1 from it on; 0, it was p1 before the
//! range already; N+1, it is p0 everywhere and the failure seen was a one-off. The last two together are *no
//! culprit in the range*: they cannot be told apart. Both rates are unknown unless given.

mod blocks;
mod choice;
mod favour;
#[cfg(test)]
mod laws;
mod posterior;
mod rise;
mod surer;

use super::rates::Counts;
use blocks::Blocks;
use choice::Outlook;
pub use favour::favouring;
use posterior::Posterior;

/// Candidates a problem may have: as many pushes as a busy tree lands in weeks.
pub const MAX_CANDIDATES: usize = 10_000;

/// The largest floor of failure rates worth finding.
pub const MAX_MIN_RATE: f64 = 0.9;

/// A gain (in nats) under which a run tells nothing: the error of the entropy is of this size, and a million such runs
/// would not find a culprit.
const NO_GAIN: f64 = 2e-6;

/// What is known of one candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evidence {
    /// The candidate, 1 to N.
    pub push: usize,
    /// Runs that failed with the signature in question.
    pub failed: u32,
    /// Runs that did not.
    pub passed: u32,
    /// Runs asked for whose outcome is not back yet.
    pub pending: u32,
}

/// Failure rates that are known, each 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Before the culprit.
    pub p0: f64,
    /// At and after the culprit.
    pub p1: f64,
}

/// What a decision may cost and must be sure of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Params {
    /// Posterior probability a verdict needs, 0.5 to 0.9999. A culprit is made surer than that where a run makes it so
    /// for little: one that takes away a third of the error allowed, 1 − `confidence`.
    pub confidence: f64,
    /// Runs that may be pending together, 1 to 1,000.
    pub parallel: u32,
    /// The price of a round, counted in runs, 0 to 1,000.
    pub round_price: f64,
    /// Runs that may be asked for in all.
    pub max_jobs: u32,
    /// Runs asked for so far, pending ones included; `None`: all evidence was asked for.
    pub spent: Option<u32>,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            confidence: 0.95,
            parallel: 8,
            round_price: 4.0,
            max_jobs: 300,
            spent: None,
        }
    }
}

/// Everything a decision rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// N: how many candidates, 1 to [`MAX_CANDIDATES`].
    pub candidates: usize,
    /// The candidates that can be run; `None`: all. The others stay candidates.
    pub runnable: Option<Vec<usize>>,
    /// Relative prior of each candidate, N numbers ≥ 0; `None`: uniform.
    pub prior: Option<Vec<f64>>,
    /// Prior probability that the range holds no culprit, 0 to under 1. 0.4 is what Google reports of its own.
    pub no_culprit_prior: f64,
    /// Runs before the range.
    pub history: Counts,
    /// Runs after the range.
    pub tail: Counts,
    /// The rates, where known.
    pub rates: Option<Rates>,
    /// The smallest failure rate worth finding, 0 to [`MAX_MIN_RATE`]: a culprit that makes fewer runs fail counts as
    /// none. At most 0.03, the least that the prior knows, it changes nothing; nor where the rates are known.
    pub min_rate: f64,
    /// Runs in the range, in any order; several entries for one candidate add up.
    pub evidence: Vec<Evidence>,
    /// Prices and limits.
    pub params: Params,
}

impl Problem {
    /// A problem with `candidates` candidates, the defaults, and no evidence.
    pub fn new(candidates: usize) -> Problem {
        Problem {
            candidates,
            runnable: None,
            prior: None,
            no_culprit_prior: 0.4,
            history: Counts::default(),
            tail: Counts::default(),
            rates: None,
            min_rate: 0.0,
            evidence: Vec::new(),
            params: Params::default(),
        }
    }

    /// Checks every number against its range; names the first breach.
    pub fn check(&self) -> Result<(), ProblemError> {
        let n = self.candidates;
        if !(1..=MAX_CANDIDATES).contains(&n) {
            return Err(ProblemError::Candidates { got: n });
        }
        let mut named = self
            .runnable
            .iter()
            .flatten()
            .copied()
            .chain(self.evidence.iter().map(|e| e.push));
        if let Some(push) = named.find(|push| !(1..=n).contains(push)) {
            return Err(ProblemError::Push { push, candidates: n });
        }
        if let Some(prior) = &self.prior {
            if prior.len() != n {
                return Err(ProblemError::PriorLength {
                    got: prior.len(),
                    candidates: n,
                });
            }
            let sum: f64 = prior.iter().sum();
            if prior.iter().any(|mass| mass.is_nan() || *mass < 0.0) || !sum.is_normal() {
                return Err(ProblemError::PriorMass);
            }
        }
        let params = &self.params;
        let mut ranges = vec![
            ("no_culprit_prior", self.no_culprit_prior, 0.0, 0.9999),
            ("confidence", params.confidence, 0.5, 0.9999),
            ("parallel", params.parallel.into(), 1.0, 1_000.0),
            ("round_price", params.round_price, 0.0, 1_000.0),
            ("min_rate", self.min_rate, 0.0, MAX_MIN_RATE),
        ];
        if let Some(rates) = self.rates {
            ranges.extend([("p0", rates.p0, 0.0, 1.0), ("p1", rates.p1, 0.0, 1.0)]);
        }
        match ranges
            .into_iter()
            .find(|(_, got, low, high)| !(*low..=*high).contains(got))
        {
            Some((field, got, low, high)) => Err(ProblemError::Range { field, got, low, high }),
            None => Ok(()),
        }
    }

    /// The evidence by candidate: index 0 is candidate 1.
    fn by_candidate(&self) -> Vec<Evidence> {
        let mut all: Vec<Evidence> = (1..=self.candidates)
            .map(|push| Evidence {
                push,
                ..Evidence::default()
            })
            .collect();
        for given in &self.evidence {
            let slot = &mut all[given.push - 1];
            slot.failed = slot.failed.saturating_add(given.failed);
            slot.passed = slot.passed.saturating_add(given.passed);
            slot.pending = slot.pending.saturating_add(given.pending);
        }
        all
    }

    /// Which candidates can be run: index 0 is candidate 1.
    fn runnable(&self) -> Vec<bool> {
        match &self.runnable {
            None => vec![true; self.candidates],
            Some(named) => {
                let mut runnable = vec![false; self.candidates];
                for push in named {
                    runnable[push - 1] = true;
                }
                runnable
            }
        }
    }
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
    /// A prior for other candidates.
    #[error("`prior` has {got} numbers, but there are {candidates} candidates: give one for each, or none")]
    PriorLength {
        /// How many numbers.
        got: usize,
        /// How many candidates.
        candidates: usize,
    },
    /// A prior that is no distribution.
    #[error("`prior` must hold numbers of 0 or more, not all of them 0")]
    PriorMass,
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

/// What to do next, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The runs to ask for now: (candidate, how often), in order of the candidates. Empty while waiting, and at the
    /// end.
    pub run: Vec<(usize, u32)>,
    /// How it ended, once it has.
    pub verdict: Option<Verdict>,
    /// What the evidence says.
    pub belief: Belief,
    /// One sentence for people.
    pub why: String,
}

/// The posterior, in summary.
#[derive(Debug, Clone, PartialEq)]
pub struct Belief {
    /// P(no culprit in the range).
    pub no_culprit: f64,
    /// Expected failure rate before the culprit.
    pub p0: f64,
    /// Expected failure rate at and after the culprit.
    pub p1: f64,
    /// P(candidate is the culprit); index 0 is candidate 1.
    pub pushes: Vec<f64>,
}

/// How a search ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// One of these candidates is the culprit.
    Culprit {
        /// The smallest set of candidates with the probability asked for: (candidate, its probability), likeliest
        /// first. More than one where no runnable candidate separates them.
        pushes: Vec<(usize, f64)>,
        /// P(it is one of them).
        probability: f64,
    },
    /// The range holds no culprit: it failed before, or only once.
    NoCulprit {
        /// P(that).
        probability: f64,
    },
    /// The evidence does not suffice and no more may or can be had.
    Undecided {
        /// The smallest set of candidates with the probability asked for, likeliest first; empty when no culprit is
        /// likelier.
        pushes: Vec<(usize, f64)>,
        /// P(it is one of them).
        probability: f64,
    },
}

/// What the evidence says, without a decision.
///
/// # Errors
///
/// The problem breaks one of the ranges that its fields state.
pub fn belief(problem: &Problem) -> Result<Belief, ProblemError> {
    problem.check()?;
    Ok(Posterior::new(problem, &problem.by_candidate()).belief())
}

/// Decides the next step. `seed` settles which of equally telling futures are looked at in large rounds; the same
/// problem and seed always give the same step.
///
/// # Errors
///
/// The problem breaks one of the ranges that its fields state.
pub fn plan(problem: &Problem, seed: u64) -> Result<Step, ProblemError> {
    problem.check()?;
    let evidence = problem.by_candidate();
    let runnable = problem.runnable();
    let posterior = Posterior::new(problem, &evidence);
    let belief = posterior.belief();
    let params = &problem.params;

    let runs = evidence
        .iter()
        .fold(0u32, |sum, e| sum.saturating_add(e.failed).saturating_add(e.passed));
    let pending = evidence.iter().fold(0u32, |sum, e| sum.saturating_add(e.pending));
    let end = |verdict: Verdict, why: String| Step {
        run: Vec::new(),
        verdict: Some(verdict),
        belief: belief.clone(),
        why,
    };

    if belief.no_culprit >= params.confidence {
        let probability = belief.no_culprit;
        let why = format!(
            "no culprit here with probability {probability:.3} after {runs} runs: it failed before, or only once"
        );
        return Ok(end(Verdict::NoCulprit { probability }, why));
    }
    let mut reached = None;
    if let Some(class) = classes(&runnable)
        .into_iter()
        .find(|class| mass(&belief, class) >= params.confidence)
    {
        let surer_is_cheap = posterior.surer_is_cheap(problem, &class, &runnable);
        let pushes = smallest_set(&belief, class, params.confidence);
        let probability = pushes.iter().map(|(_, mass)| mass).sum();
        let first = pushes.iter().map(|(push, _)| *push).min().unwrap_or(1);
        if !has_earlier_run(problem, &evidence, first) {
            let why = format!(
                "push {first} is likeliest, but nothing ran before it and the background rate is not known: \
                 extend the range back"
            );
            return Ok(end(Verdict::Undecided { pushes, probability }, why));
        }
        let why = format!("{} with probability {probability:.3} after {runs} runs", name(&pushes));
        let verdict = end(Verdict::Culprit { pushes, probability }, why);
        if !surer_is_cheap {
            return Ok(verdict);
        }
        reached = Some(verdict);
    }

    let waiting = |why: String| Step {
        run: Vec::new(),
        verdict: None,
        belief: belief.clone(),
        why,
    };
    let spent = params.spent.unwrap_or_else(|| runs.saturating_add(pending));
    let left = params
        .max_jobs
        .saturating_sub(spent)
        .min(params.parallel.saturating_sub(pending));
    if left == 0 && pending > 0 {
        return Ok(waiting(format!("{pending} runs are pending; {}", likeliest(&belief))));
    }
    // Where no more can be had the search ends: with what it reached, if it did.
    let last = |reason: &str| {
        if let Some(verdict) = &reached {
            return verdict.clone();
        }
        let all = smallest_set(&belief, (1..=problem.candidates).collect(), params.confidence);
        let probability: f64 = all.iter().map(|(_, mass)| mass).sum();
        let pushes = if belief.no_culprit > probability {
            Vec::new()
        } else {
            all
        };
        let why = format!("{reason} after {runs} runs; {}", likeliest(&belief));
        end(Verdict::Undecided { probability, pushes }, why)
    };
    if left == 0 {
        return Ok(last(&format!("the budget of {} runs is spent", params.max_jobs)));
    }
    let mut outlook = Outlook::new(Blocks::new(&posterior, &evidence, &runnable), seed);
    let round = if params.parallel == 1 {
        // Beyond the confidence asked for there is no end to look ahead to.
        outlook.single(if reached.is_some() { 1.0 } else { params.confidence })
    } else {
        outlook.round(&evidence, left, params.round_price)
    };
    if round.run.is_empty() {
        if pending > 0 {
            return Ok(waiting(format!(
                "{pending} runs are pending, and more would tell too little; {}",
                likeliest(&belief)
            )));
        }
        return Ok(last("no push that can be run tells more"));
    }
    let asked: u32 = round.run.iter().map(|(_, times)| times).sum();
    let why = format!(
        "{asked} {} expected to tell {:.2} bits after {runs} runs; {}",
        if asked == 1 { "run is" } else { "runs are" },
        round.gain / std::f64::consts::LN_2,
        likeliest(&belief)
    );
    Ok(Step {
        run: round.run,
        verdict: None,
        belief,
        why,
    })
}

/// Candidates that no runnable candidate separates, class by class: a run at x tells those up to x from those after.
fn classes(runnable: &[bool]) -> Vec<Vec<usize>> {
    let mut classes = vec![Vec::new()];
    for (index, can_run) in runnable.iter().enumerate() {
        if let Some(class) = classes.last_mut() {
            class.push(index + 1);
        }
        if *can_run && index + 1 < runnable.len() {
            classes.push(Vec::new());
        }
    }
    classes
}

fn mass(belief: &Belief, class: &[usize]) -> f64 {
    class.iter().map(|push| belief.pushes[push - 1]).sum()
}

/// The fewest of `pushes` that together have `confidence`, likeliest first; all of them when they do not reach it.
fn smallest_set(belief: &Belief, pushes: Vec<usize>, confidence: f64) -> Vec<(usize, f64)> {
    let mut ranked: Vec<(usize, f64)> = pushes.into_iter().map(|push| (push, belief.pushes[push - 1])).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let mut sum = 0.0;
    let enough = ranked.iter().position(|(_, mass)| {
        sum += mass;
        sum >= confidence
    });
    ranked.truncate(enough.map_or(ranked.len(), |last| last + 1));
    ranked
}

/// Whether anything says what the failure rate was before candidate `first`.
fn has_earlier_run(problem: &Problem, evidence: &[Evidence], first: usize) -> bool {
    let earlier = evidence[..first - 1].iter().any(|e| e.failed > 0 || e.passed > 0);
    problem.rates.is_some() || problem.history.total() > 0 || earlier
}

fn name(pushes: &[(usize, f64)]) -> String {
    match pushes {
        [(push, _)] => format!("push {push} is the culprit"),
        _ => {
            let (first, last) = pushes.iter().fold((usize::MAX, 0), |(first, last), (push, _)| {
                (first.min(*push), last.max(*push))
            });
            format!("one of {} pushes from {first} to {last} is the culprit", pushes.len())
        }
    }
}

fn likeliest(belief: &Belief) -> String {
    let (push, mass) =
        belief.pushes.iter().enumerate().fold(
            (1, 0.0),
            |best, (index, mass)| if *mass > best.1 { (index + 1, *mass) } else { best },
        );
    format!(
        "likeliest is push {push} with {mass:.3}, no culprit with {:.3}",
        belief.no_culprit
    )
}
