//! `validate`: is a new test stable, on every platform that runs it?
//!
//! The targets are one job a platform. Their runs count only as far as they are known to have run the test; a job whose
//! runs do not say that they did is left out, and named, rather than run again for ever.

use std::sync::Arc;

use super::{Ask, Evidence, Number, Step, TargetEvidence};
use crate::event::{Found, ValidateParams, VerdictKind};
use crate::stats::rates::Counts;
use crate::stats::validate::{self, Finding, Platform};

/// Runs that do not tell whether they ran the test, after which a job that never told is left out.
const SILENT: u32 = 3;

/// Why a job is not run (any longer) for the test, if so.
fn left_out(target: &TargetEvidence) -> Option<String> {
    if let Some(refused) = &target.refused {
        return Some(format!("{}: {refused}", target.label));
    }
    (target.silent >= SILENT && target.counts == Counts::default())
        .then(|| format!("{}: its runs are not known to run the test", target.label))
}

/// The jobs that are run for the test.
fn used(evidence: &Evidence) -> Vec<&TargetEvidence> {
    let targets = evidence.targets.iter();
    targets.filter(|target| left_out(target).is_none()).collect()
}

/// What the mathematics says to the runs of these jobs.
fn plan(
    params: &ValidateParams,
    evidence: &Evidence,
    used: &[&TargetEvidence],
) -> Result<validate::Step, validate::ProblemError> {
    let platforms: Vec<Platform> = used
        .iter()
        .map(|target| Platform {
            seen: target.counts,
            pending: target.pending,
        })
        .collect();
    let known = platforms.iter().fold(0u32, |sum, platform| {
        sum.saturating_add(platform.seen.total())
            .saturating_add(platform.pending)
    });
    validate::plan(
        &platforms,
        &validate::Params {
            ok_rate: params.ok_rate,
            bad_rate: params.bad_rate,
            alpha: params.alpha,
            beta: params.beta,
            parallel: params.parallel,
            // Runs that nobody asked for are free evidence; runs that were lost are paid for.
            max_jobs: known.saturating_add(params.max_jobs.saturating_sub(evidence.asked)),
        },
    )
}

/// The failure rate that a verdict rests on, and where the test has it.
pub(super) fn found(params: &ValidateParams, evidence: &Evidence) -> Found {
    let used = used(evidence);
    let verdict = plan(params, evidence, &used).ok().and_then(|step| step.verdict);
    verdict.map_or_else(Found::default, |verdict| Found {
        rate: Some(verdict.rate),
        platforms: named(&verdict.platforms, &used),
        ..Found::default()
    })
}

/// What the targets with these numbers are called.
fn named(indices: &[usize], used: &[&TargetEvidence]) -> Vec<Arc<str>> {
    let names = indices.iter().filter_map(|index| Some(name(used.get(*index)?, used)));
    names.collect()
}

/// How often the test failed on each platform, and the interval of the rate over all of them.
pub(super) fn numbers(params: &ValidateParams, evidence: &Evidence) -> Vec<Number> {
    let used = used(evidence);
    let Ok(step) = plan(params, evidence, &used) else {
        return Vec::new();
    };
    let number = |what: String, value: f64| Number { what, value };
    let mut numbers: Vec<Number> = used
        .iter()
        .filter(|target| target.counts.total() > 0)
        .map(|target| {
            let share = f64::from(target.counts.failed) / f64::from(target.counts.total());
            number(format!("share of failed runs on {}", name(target, &used)), share)
        })
        .collect();
    numbers.push(number("failure rate over all, at least".to_owned(), step.rate.0));
    numbers.push(number("failure rate over all, at most".to_owned(), step.rate.1));
    numbers
}

pub(super) fn decide(params: &ValidateParams, evidence: &Evidence) -> Step {
    let used = used(evidence);
    let unused = unused(evidence);
    if used.is_empty() {
        let why = format!("no job can be run for the test{unused}");
        return Step::end(VerdictKind::NotPossible, None, why);
    }
    let step = match plan(params, evidence, &used) {
        Ok(step) => step,
        Err(error) => {
            return Step::end(
                VerdictKind::NotPossible,
                None,
                format!("the validation cannot go on: {error}"),
            );
        }
    };
    if let Some(verdict) = step.verdict {
        let kind = match verdict.finding {
            Finding::Stable => VerdictKind::Stable,
            Finding::Flaky => VerdictKind::Flaky,
            Finding::Broken => VerdictKind::Broken,
            Finding::Undecided => VerdictKind::Undecided,
        };
        let (low, high) = verdict.rate;
        let why = format!(
            "on {}: {}; its failure rate there is {:.1} % to {:.1} % (95 % interval){unused}",
            named(&verdict.platforms, &used).join(", "),
            step.why,
            100.0 * low,
            100.0 * high,
        );
        return Step::end(kind, None, why);
    }
    if evidence.awaited > 0 || step.times.iter().all(|times| *times == 0) {
        return Step::wait(format!("waits for runs: {}", step.why));
    }
    let asks = used
        .iter()
        .zip(&step.times)
        .filter(|(_, times)| **times > 0)
        .map(|(target, times)| Ask {
            label: Some(target.label.clone()),
            push: target.push,
            times: *times,
        })
        .collect();
    Step {
        asks,
        verdict: None,
        why: step.why,
    }
}

/// What a target is called: its platform, or its label where several have the same.
fn name(target: &TargetEvidence, all: &[&TargetEvidence]) -> Arc<str> {
    let same = all.iter().filter(|other| other.platform == target.platform).count();
    match same {
        1 => Arc::clone(&target.platform),
        _ => target.label.as_str().into(),
    }
}

/// What is not part of the answer, and why; empty when nothing is missing.
fn unused(evidence: &Evidence) -> String {
    let reasons: Vec<String> = evidence
        .unable
        .iter()
        .map(|unable| format!("{}: {}", unable.label, unable.why))
        .chain(evidence.targets.iter().filter_map(left_out))
        .collect();
    match reasons.is_empty() {
        true => String::new(),
        false => format!("; without {}", reasons.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_evidence::evidence;
    use super::*;
    use crate::event::{Label, PushId};

    fn target(platform: &str, failed: u32, passed: u32) -> TargetEvidence {
        TargetEvidence {
            label: Label::from(format!("test-{platform}/opt-mochitest")),
            platform: platform.into(),
            push: PushId(7),
            times: 0,
            counts: Counts::new(failed, passed),
            pending: 0,
            silent: 0,
            asked: false,
            refused: None,
        }
    }

    fn step(targets: Vec<TargetEvidence>, asked: u32) -> Step {
        let evidence = Evidence {
            targets,
            asked,
            ..evidence()
        };
        decide(&ValidateParams::default(), &evidence)
    }

    #[test]
    fn the_first_runs_are_spread_over_the_platforms() {
        let step = step(
            vec![target("linux", 0, 1), target("windows", 0, 0), target("mac", 0, 0)],
            0,
        );
        let asked: Vec<(String, u32)> = step
            .asks
            .iter()
            .map(|ask| (ask.label.as_ref().unwrap().to_string(), ask.times))
            .collect();
        assert_eq!(asked.iter().map(|(_, times)| times).sum::<u32>(), 6, "{asked:?}");
        assert_eq!(asked.len(), 3);
    }

    #[test]
    fn the_verdict_names_the_platforms_and_the_interval_of_the_rate() {
        let verdict = step(vec![target("linux", 0, 40), target("windows", 3, 7)], 40)
            .verdict
            .unwrap();
        assert_eq!(verdict.kind, VerdictKind::Flaky);
        assert!(
            verdict.why.starts_with("on windows: it failed 3 of 10 times"),
            "{}",
            verdict.why
        );
        assert!(verdict.why.contains("6.7 % to 65.2 %"), "{}", verdict.why);
        let given = Evidence {
            targets: vec![target("linux", 0, 40), target("windows", 3, 7)],
            ..evidence()
        };
        let found = found(&ValidateParams::default(), &given);
        assert_eq!(found.platforms, ["windows".into()]);
        let (low, high) = found.rate.unwrap();
        assert!(
            (low - 0.067).abs() < 0.001 && (high - 0.652).abs() < 0.001,
            "{low} to {high}"
        );
        let numbers = numbers(&ValidateParams::default(), &given);
        let known: Vec<(&str, f64)> = numbers.iter().map(|number| (&*number.what, number.value)).collect();
        assert_eq!(
            known[..2],
            [
                ("share of failed runs on linux", 0.0),
                ("share of failed runs on windows", 0.3)
            ]
        );
        assert!(known[2].1 < 0.06 && known[3].1 > 0.06, "{known:?}");
    }

    #[test]
    fn a_job_whose_runs_never_say_that_they_ran_the_test_is_left_out_and_named() {
        let silent = TargetEvidence {
            silent: 3,
            ..target("android", 0, 0)
        };
        let one = step(vec![silent.clone(), target("linux", 0, 61)], 61).verdict.unwrap();
        assert_eq!(one.kind, VerdictKind::Stable);
        assert!(one.why.contains("without test-android/opt-mochitest"), "{}", one.why);
        let none = step(vec![silent], 3).verdict.unwrap();
        assert_eq!(none.kind, VerdictKind::NotPossible);
    }

    #[test]
    fn what_was_asked_for_and_lost_counts_against_the_allowance() {
        let params = ValidateParams {
            max_jobs: 10,
            ..ValidateParams::default()
        };
        let evidence = Evidence {
            targets: vec![target("linux", 0, 4)],
            asked: 8,
            ..evidence()
        };
        let asked: u32 = decide(&params, &evidence).asks.iter().map(|ask| ask.times).sum();
        assert_eq!(asked, 2);
        let spent = Evidence { asked: 10, ..evidence };
        assert_eq!(decide(&params, &spent).verdict.unwrap().kind, VerdictKind::Undecided);
    }
}
