//! `baseline`: the level of performance series on a push, after an uplift.
//!
//! Each target is a job that measures one series or several; each series has the values of the case's push, and those of
//! the pushes before as the previous baseline. A job is asked for until every series it measures is known precisely
//! enough. Jobs that fail, or measure nothing, are left out and said so.

use super::{Ask, Evidence, Number, Step, TargetEvidence, TargetNumbers, count};
use crate::event::{BaselineParams, Found, Level, Verdict, VerdictKind};
use crate::stats::baseline;

/// Jobs of a label that a case asks for before it takes it that they measure nothing.
const FRUITLESS: u32 = 3;
/// Levels that a verdict names before it says how many more there are.
const NAMED: usize = 5;

/// Where a target is.
#[derive(Debug, Clone, PartialEq)]
enum Standing {
    /// Every series is known precisely enough.
    Established(Vec<Level>),
    /// So many runs more are wanted now; some may be on their way.
    Wants(u32),
    /// It will not be known, and why.
    Hopeless(String),
}

fn settings(params: &BaselineParams) -> baseline::Params {
    baseline::Params {
        precision: params.precision,
        confidence: params.confidence,
        // What may be asked for is counted over all targets, here.
        max_jobs: u32::MAX,
    }
}

fn standing(params: &BaselineParams, target: &TargetEvidence, numbers: &TargetNumbers) -> Result<Standing, String> {
    if let Some(why) = &target.refused {
        return Ok(Standing::Hopeless(why.clone()));
    }
    let is_waiting = target.pending > 0;
    if numbers.series.is_empty() && numbers.asked >= FRUITLESS && !is_waiting {
        return Ok(Standing::Hopeless("its runs measured nothing".into()));
    }
    let plan = |previous: &[f64], values: &[f64]| {
        baseline::plan(previous, values, target.pending, &settings(params)).map_err(|error| error.to_string())
    };
    if numbers.series.is_empty() {
        return Ok(Standing::Wants(plan(&[], &[])?.times));
    }
    let mut levels = Vec::new();
    let mut wants = 0;
    for series in &numbers.series {
        let step = plan(&series.previous, &series.values)?;
        match (step.verdict, step.estimate) {
            (Some(baseline::Verdict::Established), Some(known)) => levels.push(Level {
                label: target.label.clone(),
                series: series.series.clone(),
                mean: known.mean,
                half_width: known.half_width,
                n: u32::try_from(known.n).unwrap_or(u32::MAX),
            }),
            _ => wants = wants.max(step.times),
        }
    }
    Ok(match levels.len() == numbers.series.len() {
        true => Standing::Established(levels),
        false => Standing::Wants(wants),
    })
}

fn standings(params: &BaselineParams, evidence: &Evidence) -> Result<Vec<Standing>, String> {
    evidence
        .targets
        .iter()
        .zip(&evidence.numbers.targets)
        .map(|(target, numbers)| standing(params, target, numbers))
        .collect()
}

pub(super) fn decide(params: &BaselineParams, evidence: &Evidence) -> Step {
    if evidence.numbers.unread > 0 {
        let runs = count(evidence.numbers.unread as usize, "run", "runs");
        return Step::wait(format!("reads what {runs} measured"));
    }
    let standings = match standings(params, evidence) {
        Ok(standings) => standings,
        // The parameters were checked when the rule was loaded and the evidence is ours: this is a defect, and said so.
        Err(error) => {
            return Step::end(
                VerdictKind::NotPossible,
                None,
                format!("the baseline cannot go on: {error}"),
            );
        }
    };
    let known = standings
        .iter()
        .filter(|at| matches!(at, Standing::Established(_)))
        .count();
    let waiting = evidence
        .targets
        .iter()
        .map(|target| target.pending)
        .fold(0, u32::saturating_add);
    let mut room = params.max_jobs.saturating_sub(evidence.asked);
    let mut slots = params.parallel.saturating_sub(waiting);
    let mut asks = Vec::new();
    let mut unknown = 0;
    for (target, at) in evidence.targets.iter().zip(&standings) {
        let Standing::Wants(wanted) = at else { continue };
        unknown += 1;
        let times = (*wanted).min(room).min(slots);
        room -= times;
        slots -= times;
        if times > 0 {
            asks.push(Ask {
                label: Some(target.label.clone()),
                push: target.push,
                times,
            });
        }
    }
    let so_far = format!(
        "{known} of {} established",
        count(evidence.targets.len(), "job is", "jobs are")
    );
    if !asks.is_empty() || (unknown > 0 && waiting > 0) {
        return Step {
            asks,
            verdict: None,
            why: so_far,
        };
    }
    let kind = match (unknown, known) {
        (0, 0) => VerdictKind::NotPossible,
        (0, _) => VerdictKind::Established,
        _ => VerdictKind::Undecided,
    };
    let mut parts: Vec<String> = Vec::new();
    let levels = levels(&standings);
    parts.extend(levels.iter().take(NAMED).map(ToString::to_string));
    parts.extend((levels.len() > NAMED).then(|| format!("and {} more", levels.len() - NAMED)));
    if unknown > 0 {
        parts.push(format!(
            "{} not precise enough when the budget was spent",
            count(unknown, "job was", "jobs were")
        ));
    }
    for (target, at) in evidence.targets.iter().zip(&standings) {
        if let Standing::Hopeless(why) = at {
            parts.push(format!("{}: {why}", target.label));
        }
    }
    let unable = evidence
        .unable
        .iter()
        .map(|unable| format!("{}: {}", unable.label, unable.why));
    parts.extend(unable);
    if evidence.targets.is_empty() && parts.is_empty() {
        parts.push("no job to measure".into());
    }
    let why = parts.join("; ");
    let verdict = Verdict {
        kind,
        pushes: Vec::new(),
        probability: (kind == VerdictKind::Established).then_some(params.confidence),
        why: why.clone(),
    };
    Step {
        asks: Vec::new(),
        verdict: Some(verdict),
        why,
    }
}

/// The level of every series as far as it is known, established or not.
pub(super) fn numbers(params: &BaselineParams, evidence: &Evidence) -> Vec<Number> {
    let mut found = Vec::new();
    for (target, numbers) in evidence.targets.iter().zip(&evidence.numbers.targets) {
        for series in &numbers.series {
            let plan = baseline::plan(&series.previous, &series.values, target.pending, &settings(params));
            let Some(known) = plan.ok().and_then(|step| step.estimate) else {
                continue;
            };
            let number = |what: &str, value: f64| Number {
                what: format!("{what} of {} of {}", series.series, target.label),
                value,
            };
            found.push(number("mean", known.mean));
            found.push(number("half width of the mean", known.half_width));
        }
    }
    found
}

fn levels(standings: &[Standing]) -> Vec<Level> {
    let established = standings.iter().filter_map(|at| match at {
        Standing::Established(levels) => Some(levels),
        _ => None,
    });
    established.flatten().cloned().collect()
}

/// The levels that are established.
pub(super) fn found(params: &BaselineParams, evidence: &Evidence) -> Found {
    if evidence.numbers.unread > 0 {
        return Found::default();
    }
    Found {
        levels: standings(params, evidence)
            .map(|standings| levels(&standings))
            .unwrap_or_default(),
        ..Found::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_evidence::evidence;
    use super::super::{Numbers, SeriesNumbers};
    use super::*;
    use crate::event::{Label, PushId};
    use crate::stats::rates::Counts;

    fn target(label: &str, pending: u32) -> TargetEvidence {
        TargetEvidence {
            label: Label::from(label),
            platform: "linux".into(),
            push: PushId(7),
            times: 0,
            counts: Counts::default(),
            pending,
            silent: 0,
            asked: false,
            refused: None,
        }
    }

    fn series(name: &str, values: &[f64]) -> SeriesNumbers {
        SeriesNumbers {
            series: name.into(),
            previous: Vec::new(),
            values: values.to_vec(),
        }
    }

    fn given(targets: Vec<(TargetEvidence, u32, Vec<SeriesNumbers>)>) -> Evidence {
        let (targets, numbers) = targets
            .into_iter()
            .map(|(target, asked, series)| (target, TargetNumbers { asked, series }))
            .unzip();
        Evidence {
            targets,
            numbers: Numbers {
                targets: numbers,
                ..Numbers::default()
            },
            ..evidence()
        }
    }

    const QUIET: [f64; 10] = [100.0, 100.1, 99.9, 100.0, 100.2, 99.8, 100.1, 99.9, 100.0, 100.0];
    const LOUD: [f64; 10] = [80.0, 120.0, 99.0, 140.0, 60.0, 95.0, 130.0, 70.0, 100.0, 110.0];

    #[test]
    fn a_label_is_established_when_all_its_series_are_while_others_go_on() {
        let evidence = given(vec![
            (target("a", 0), 10, vec![series("x", &QUIET), series("y", &QUIET)]),
            (target("b", 0), 10, vec![series("x", &QUIET), series("z", &LOUD)]),
        ]);
        let params = BaselineParams::default();
        let step = decide(&params, &evidence);
        assert!(step.verdict.is_none());
        assert!(step.asks.iter().all(|ask| ask.label == Some(Label::from("b"))) && !step.asks.is_empty());
        let levels = found(&params, &evidence).levels;
        let known: Vec<(&str, &str, u32)> = levels
            .iter()
            .map(|level| (level.label.as_str(), &*level.series, level.n))
            .collect();
        assert_eq!(known, [("a", "x", 10), ("a", "y", 10)]);
        let numbers = numbers(&params, &evidence);
        assert_eq!(
            numbers.len(),
            8,
            "a mean and its half width for each series, established or not"
        );
        assert_eq!(numbers[0].what, "mean of x of a");
        assert!((numbers[0].value - 100.0).abs() < 0.1, "{}", numbers[0].value);
        assert_eq!(numbers[7].what, "half width of the mean of z of b");
    }

    #[test]
    fn the_budget_and_the_number_at_a_time_are_kept() {
        let evidence = Evidence {
            asked: 118,
            ..given(vec![(target("a", 0), 0, vec![]), (target("b", 5), 0, vec![])])
        };
        let step = decide(&BaselineParams::default(), &evidence);
        assert_eq!(step.asks.iter().map(|ask| ask.times).sum::<u32>(), 2);
        let busy = Evidence {
            asked: 0,
            ..given(vec![(target("a", 8), 8, vec![])])
        };
        let step = decide(&BaselineParams::default(), &busy);
        assert!(step.asks.is_empty() && step.verdict.is_none());
    }

    #[test]
    fn a_job_that_measures_nothing_is_left_out_and_named() {
        let evidence = given(vec![
            (target("a", 0), 10, vec![series("x", &QUIET)]),
            (target("b", 0), 3, vec![]),
        ]);
        let verdict = decide(&BaselineParams::default(), &evidence).verdict.unwrap();
        assert_eq!(verdict.kind, VerdictKind::Established);
        assert!(verdict.why.contains("x of a is 100.000 ± "), "{}", verdict.why);
        assert!(verdict.why.contains("b: its runs measured nothing"), "{}", verdict.why);
    }

    #[test]
    fn a_spent_budget_is_undecided_and_says_what_is_established() {
        let evidence = Evidence {
            asked: 120,
            ..given(vec![
                (target("a", 0), 60, vec![series("x", &QUIET)]),
                (target("b", 0), 60, vec![series("z", &LOUD)]),
            ])
        };
        let verdict = decide(&BaselineParams::default(), &evidence).verdict.unwrap();
        assert_eq!(verdict.kind, VerdictKind::Undecided);
        assert!(
            verdict.why.contains("x of a") && verdict.why.contains("1 job was not precise enough"),
            "{}",
            verdict.why
        );
    }
}
