//! `find-culprit`: which push broke a job, for good or now and then.
//!
//! The candidates are all pushes of the window up to the one on which the failure was seen; runs before the window
//! are history, runs after it are tail. The last green push is no anchor (an intermittent passes after its culprit
//! too): it only says which pushes were skipped. The first round fills exactly that gap when it fits into one round:
//! those are the runs the CI left out, each tells the most that a first run can, and a sheriff would ask for the same.
//! From then on, and for wider gaps from the start, the runs are those of [`crate::stats::culprit`]. Pushes that touch files
//! near the failing test are suspected more from the start, as [`FindCulpritParams::near_prior`] says.

use super::{Ask, Evidence, Number, PushEvidence, SHOWN_FROM, Step, count, names};
use crate::event::{FindCulpritParams, NamedPush, PushId, Verdict, VerdictKind};
use crate::stats::culprit;
use crate::stats::rates::Counts;

/// The gap between the last good and the first bad push, and what of it has no run yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The last push before the failure with passes and no failure: an index into the evidence.
    pub last_good: Option<usize>,
    /// The first push after it that failed.
    pub first_bad: usize,
    /// Pushes between the two without any run, asked for, waiting or ended.
    pub missing: Vec<usize>,
    /// Pushes between the two on which a run is asked for, waits or runs.
    pub in_flight: usize,
}

impl Gap {
    /// Finds the gap that leads to the failure on `seen_on`.
    pub fn before(pushes: &[PushEvidence], seen_on: usize) -> Gap {
        let earlier = pushes.get(..seen_on).unwrap_or_default();
        let last_good = earlier
            .iter()
            .rposition(|push| push.counts.passed > 0 && push.counts.failed == 0);
        let from = last_good.map_or(0, |index| index + 1);
        let first_bad = (from..seen_on)
            .find(|index| pushes.get(*index).is_some_and(|push| push.counts.failed > 0))
            .unwrap_or(seen_on);
        let between = from..first_bad;
        let is_untouched = |index: &usize| {
            pushes
                .get(*index)
                .is_some_and(|push| push.counts == Counts::default() && push.pending == 0)
        };
        Gap {
            last_good,
            first_bad,
            missing: between.clone().filter(is_untouched).collect(),
            in_flight: between
                .filter(|index| pushes.get(*index).is_some_and(|push| push.pending > 0))
                .count(),
        }
    }
}

/// A push since the last good one was backed out, and since the backout the job is green: the question is moot.
fn superseded(evidence: &Evidence) -> Option<Step> {
    let gap = Gap::before(&evidence.pushes, evidence.seen_on);
    let suspects = evidence
        .pushes
        .get(gap.last_good.map_or(0, |index| index + 1)..=gap.first_bad)?;
    let (suspect, backout) = suspects.iter().find_map(|push| Some((push, push.backed_out_by?)))?;
    let since = evidence
        .pushes
        .get(backout..)?
        .iter()
        .fold(Counts::default(), |sum, push| sum.plus(push.counts));
    if since.passed == 0 || since.failed > 0 {
        return None;
    }
    let why = format!(
        "push {} was backed out by push {}, and the job is green since",
        suspect.push,
        push_name(evidence, backout)
    );
    Some(Step::end(VerdictKind::Superseded, None, why))
}

pub(super) fn decide(params: &FindCulpritParams, evidence: &Evidence) -> Step {
    if let Some(step) = superseded(evidence) {
        return step;
    }
    if evidence.last_step == 0 {
        let gap = Gap::before(&evidence.pushes, evidence.seen_on);
        let runnable = |index: &usize| evidence.pushes.get(*index).is_some_and(|push| push.runnable);
        let missing: Vec<usize> = gap.missing.into_iter().filter(runnable).collect();
        let room = params.parallel.min(params.max_jobs.saturating_sub(evidence.asked)) as usize;
        if !missing.is_empty() && missing.len() <= room {
            let why = format!(
                "{} between the last good push {} and the first bad push {} never ran it",
                count(missing.len(), "push", "pushes"),
                gap.last_good
                    .map_or_else(|| "(none)".into(), |index| push_name(evidence, index)),
                push_name(evidence, gap.first_bad),
            );
            let asks = missing
                .into_iter()
                .filter_map(|index| Some(Ask::own(evidence.pushes.get(index)?.push, 1)))
                .collect();
            return Step {
                asks,
                verdict: None,
                why,
            };
        }
    }
    if evidence.awaited > 0 {
        return Step::wait(format!("waits for {}", count(evidence.awaited as usize, "job", "jobs")));
    }
    let problem = problem(params, &Around::of(evidence), evidence.asked);
    match culprit::plan(&problem, super::seed(evidence)) {
        Ok(step) => adopt(step, evidence),
        // The parameters were checked when the rule was loaded and the evidence is ours: this is a defect, and said so.
        Err(error) => Step::end(
            VerdictKind::NotPossible,
            None,
            format!("the search cannot go on: {error}"),
        ),
    }
}

/// The runs of one job around a failure of it.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// The pushes looked at, oldest first.
    pub pushes: &'a [PushEvidence],
    /// The push on which the failure was seen: an index into `pushes`.
    pub seen_on: usize,
    /// Runs on pushes before the first of `pushes`.
    pub before: Counts,
}

impl Around<'_> {
    fn of(evidence: &Evidence) -> Around<'_> {
        Around {
            pushes: &evidence.pushes,
            seen_on: evidence.seen_on,
            before: evidence.before,
        }
    }
}

/// By how much the best other explanation of a job's own runs beats that one of these pushes broke it too: the ratio of
/// their likelihoods, 1 or a little more where the runs do not tell, infinite where none of the pushes can be it.
pub fn odds_against(params: &FindCulpritParams, around: &Around<'_>, culprits: &[PushId]) -> f64 {
    let problem = problem(params, around, 0);
    let Ok(belief) = culprit::belief(&problem) else {
        return f64::INFINITY;
    };
    let any_culprit = 1.0 - params.no_culprit_prior;
    let uniform = 1.0 / belief.pushes.len() as f64;
    // A mass divided by the prior that is in it stands to the others as the likelihoods do.
    let likelihood = |(index, mass): (usize, &f64)| {
        let prior = problem
            .prior
            .as_ref()
            .and_then(|prior| prior.get(index))
            .unwrap_or(&uniform);
        mass / (any_culprit * prior)
    };
    let likelihoods: Vec<f64> = belief.pushes.iter().enumerate().map(likelihood).collect();
    let named = likelihoods
        .iter()
        .zip(around.pushes)
        .filter(|(_, push)| culprits.contains(&push.push))
        .fold(0.0, |best: f64, (likelihood, _)| best.max(*likelihood));
    let none = match params.no_culprit_prior > 0.0 {
        true => belief.no_culprit / params.no_culprit_prior,
        false => 0.0,
    };
    let best = likelihoods.iter().fold(none, |best, likelihood| best.max(*likelihood));
    if named > 0.0 { best / named } else { f64::INFINITY }
}

/// The question in the words of the mathematics.
fn problem(params: &FindCulpritParams, around: &Around<'_>, asked: u32) -> culprit::Problem {
    let candidates = around.seen_on + 1;
    let inside = around.pushes.get(..candidates).unwrap_or(around.pushes);
    let after = around.pushes.get(candidates..).unwrap_or_default();
    let near: Vec<bool> = inside.iter().map(|push| push.near).collect();
    culprit::Problem {
        runnable: Some(
            (1..)
                .zip(inside)
                .filter(|(_, push)| push.runnable)
                .map(|(number, _)| number)
                .collect(),
        ),
        prior: culprit::favouring(params.near_prior, &near),
        no_culprit_prior: params.no_culprit_prior,
        min_rate: params.min_rate,
        history: around.before,
        tail: after.iter().fold(Counts::default(), |sum, push| sum.plus(push.counts)),
        evidence: (1..)
            .zip(inside)
            .map(|(number, push)| culprit::Evidence {
                push: number,
                failed: push.counts.failed,
                passed: push.counts.passed,
                pending: push.pending,
            })
            .collect(),
        params: culprit::Params {
            confidence: params.confidence,
            parallel: params.parallel,
            round_price: params.round_price,
            max_jobs: params.max_jobs,
            spent: Some(asked),
        },
        ..culprit::Problem::new(candidates)
    }
}

/// The posterior: of every push that is not ruled out, of none, and the failure rates before and after; and what pushes near
/// the test were given of the prior.
pub(super) fn numbers(params: &FindCulpritParams, evidence: &Evidence) -> Vec<Number> {
    let problem = problem(params, &Around::of(evidence), evidence.asked);
    let Ok(belief) = culprit::belief(&problem) else {
        return Vec::new();
    };
    let number = |what: String, value: f64| Number { what, value };
    let pushes = belief.pushes.iter().zip(&evidence.pushes);
    let what = |push: &PushEvidence| match push.near {
        true => format!("P(culprit is push {}, which touches files near the test)", push.push),
        false => format!("P(culprit is push {})", push.push),
    };
    let mut numbers: Vec<Number> = pushes
        .clone()
        .filter(|(probability, _)| **probability >= SHOWN_FROM)
        .map(|(probability, push)| number(what(push), *probability))
        .collect();
    if let Some(prior) = &problem.prior {
        let near: Vec<f64> = prior
            .iter()
            .zip(pushes)
            .filter(|(_, (_, push))| push.near)
            .map(|(mass, _)| *mass)
            .collect();
        let these = match near.len() {
            1 => "the push that touches".to_owned(),
            several => format!("the {several} pushes that touch"),
        };
        let what = format!("prior share of {these} files near the test");
        numbers.push(number(what, near.iter().sum()));
    }
    numbers.push(number("P(no culprit in the range)".to_owned(), belief.no_culprit));
    numbers.push(number("failure rate before the culprit".to_owned(), belief.p0));
    numbers.push(number("failure rate from the culprit on".to_owned(), belief.p1));
    numbers
}

fn adopt(step: culprit::Step, evidence: &Evidence) -> Step {
    let named = |pushes: &[(usize, f64)]| -> Vec<NamedPush> {
        pushes
            .iter()
            .filter_map(|(number, probability)| {
                let push = evidence.pushes.get(number.checked_sub(1)?)?;
                Some(NamedPush {
                    push: push.push,
                    revision: push.revision.clone(),
                    probability: *probability,
                })
            })
            .collect()
    };
    let verdict = step.verdict.map(|verdict| match verdict {
        culprit::Verdict::Culprit { pushes, probability } => {
            // The oldest push looked at is never named: what came before it was not looked at.
            let at_edge = pushes.iter().any(|(number, _)| *number == 1);
            let kind = if at_edge {
                VerdictKind::NoCulprit
            } else {
                VerdictKind::Culprit
            };
            let pushes = if at_edge { Vec::new() } else { named(&pushes) };
            let why = match (at_edge, names(&pushes)) {
                (true, _) => "it fails at the oldest push looked at already: older than the range".to_owned(),
                (false, names) => format!(
                    "{names}, with probability {probability:.3}{}",
                    nearness(&pushes, evidence)
                ),
            };
            Verdict {
                kind,
                pushes,
                probability: Some(probability),
                why,
            }
        }
        culprit::Verdict::NoCulprit { probability } => Verdict {
            kind: VerdictKind::NoCulprit,
            pushes: Vec::new(),
            probability: Some(probability),
            why: "no push in the range: it failed before, or only once".into(),
        },
        culprit::Verdict::Undecided { pushes, probability } => Verdict {
            kind: VerdictKind::Undecided,
            pushes: named(&pushes),
            probability: Some(probability),
            why: step.why.clone(),
        },
    });
    let asks = step
        .run
        .iter()
        .filter_map(|(number, times)| Some(Ask::own(evidence.pushes.get(number.checked_sub(1)?)?.push, *times)))
        .collect();
    let why = verdict.as_ref().map_or(step.why, |verdict| verdict.why.clone());
    Step { asks, verdict, why }
}

/// What is to be said of the pushes that a verdict names and that touch files near the test.
fn nearness(named: &[NamedPush], evidence: &Evidence) -> String {
    let is_near = |named: &&NamedPush| evidence.pushes.iter().any(|push| push.push == named.push && push.near);
    let near: Vec<String> = named
        .iter()
        .filter(is_near)
        .map(|named| named.push.to_string())
        .collect();
    match (near.len(), named.len()) {
        (0, _) => String::new(),
        (1, 1) => "; it touches files near the test".to_owned(),
        (1, _) => format!("; push {} touches files near the test", near.concat()),
        (_, _) => format!("; pushes {} touch files near the test", near.join(" and ")),
    }
}

fn push_name(evidence: &Evidence, index: usize) -> String {
    evidence
        .pushes
        .get(index)
        .map_or_else(|| "(unknown)".into(), |push| push.push.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Thirty pushes; the job passed on push 10 and failed on push 20. Those named touch files near the test.
    fn pushes(near: &[u64]) -> Vec<PushEvidence> {
        let push = |number: u64| PushEvidence {
            push: PushId(number),
            runnable: true,
            counts: match number {
                10 => Counts::new(0, 2),
                20 => Counts::new(1, 0),
                _ => Counts::default(),
            },
            near: near.contains(&number),
            ..PushEvidence::default()
        };
        (1..=30).map(push).collect()
    }

    #[test]
    fn where_pushes_touch_files_does_not_change_what_the_runs_say_against_one() {
        let odds = |near: &[u64], culprit: u64| {
            let pushes = pushes(near);
            let around = Around {
                pushes: &pushes,
                seen_on: 19,
                before: Counts::default(),
            };
            odds_against(&FindCulpritParams::default(), &around, &[PushId(culprit)])
        };
        for culprit in [5, 12, 15, 20] {
            let uniform = odds(&[], culprit);
            for near in [[12, 13], [5, 20]] {
                assert!(
                    (odds(&near, culprit) / uniform - 1.0).abs() < 1e-6,
                    "push {culprit}, near {near:?}"
                );
            }
        }
    }
}
