//! `until-hit`: re-run an intermittent on the push where it was seen, in batches, until it fails once.

use super::{Ask, Evidence, Number, Step};
use crate::event::{UntilHitParams, VerdictKind};
use crate::stats::rates::Counts;
use crate::stats::until_hit;

pub(super) fn decide(params: &UntilHitParams, evidence: &Evidence) -> Step {
    // A hit ends the case at once, whatever is still pending; a miss waits for the rest of its batch.
    if evidence.since_opened.failed == 0 && evidence.awaited > 0 {
        return Step::wait(format!("waits for {} jobs", evidence.awaited));
    }
    let step = match until_hit::plan(&problem(params, evidence)) {
        Ok(step) => step,
        Err(error) => {
            return Step::end(
                VerdictKind::NotPossible,
                None,
                format!("the hunt cannot go on: {error}"),
            );
        }
    };
    match step.verdict {
        Some(until_hit::Verdict::Hit) => Step::end(VerdictKind::Hit, None, "it failed again"),
        Some(until_hit::Verdict::NotReproducible {
            rate_below,
            probability,
        }) => Step::end(
            VerdictKind::NotReproducible,
            Some(probability),
            format!(
                "it did not fail in {} runs: its rate is below {rate_below}, with probability {probability:.3}",
                evidence.since_opened.passed
            ),
        ),
        Some(until_hit::Verdict::Undecided) => Step::end(
            VerdictKind::Undecided,
            None,
            format!(
                "the budget is spent after {} runs without a failure",
                evidence.since_opened.passed
            ),
        ),
        None => match evidence.pushes.get(evidence.seen_on).filter(|push| push.runnable) {
            None => Step::end(
                VerdictKind::NotPossible,
                None,
                "the job cannot be asked for on the push where it failed",
            ),
            Some(_) if step.times == 0 => Step::wait(step.why),
            Some(push) => Step {
                asks: vec![Ask::own(push.push, step.times)],
                verdict: None,
                why: step.why,
            },
        },
    }
}

/// The question in the words of the mathematics.
fn problem(params: &UntilHitParams, evidence: &Evidence) -> until_hit::Problem {
    // What was asked for and told nothing (a machine was lost) is spent all the same.
    let lost = evidence
        .asked
        .saturating_sub(evidence.since_opened.passed.saturating_add(evidence.awaited));
    until_hit::Problem {
        history: history(evidence),
        evidence: evidence.since_opened,
        pending: evidence.awaited,
        params: until_hit::Params {
            confidence: params.confidence,
            rate: params.rate,
            round_price: params.round_price,
            max_jobs: params.max_jobs.saturating_sub(lost),
            batch: params.batch,
        },
    }
}

/// The expected failure rate, and how probable it is that it is above the one asked about.
pub(super) fn numbers(params: &UntilHitParams, evidence: &Evidence) -> Vec<Number> {
    let Ok(step) = until_hit::plan(&problem(params, evidence)) else {
        return Vec::new();
    };
    vec![
        Number {
            what: "expected failure rate".to_owned(),
            value: step.rate,
        },
        Number {
            what: format!("P(failure rate is above {})", params.rate),
            value: step.above,
        },
    ]
}

/// What is known of the subject besides the hunt: all its runs elsewhere.
fn history(evidence: &Evidence) -> Counts {
    evidence
        .pushes
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != evidence.seen_on)
        .fold(evidence.before, |sum, (_, push)| sum.plus(push.counts))
}
