//! `find-perf-culprit`: which push made a performance series step.
//!
//! The candidates are the pushes of the window up to a few behind the one that the alert names: a detector that compares
//! means may see a step a point late. Values before the window are history, values after it tail.
//!
//! A push that cannot run the job has no value of its own, and stays a candidate: it shares one with the next push that
//! can, since only a value there tells of either. A verdict then names them all.
//!
//! Before a push is named, it and its runnable neighbours have a value each: whoever reads the verdict sees the step.

use std::collections::BTreeMap;

use super::{Ask, Evidence, Number, SHOWN_FROM, Step, count};
use crate::event::{FindPerfCulpritParams, Found, NamedPush, Verdict, VerdictKind};
use crate::stats::perf;

/// Pushes behind the one that the alert names that may still be the one, at most.
const BEHIND: usize = 10;
/// Of those, measured ones.
const MEASURED_BEHIND: usize = 2;
/// Values after the candidates that are used.
const TAIL: usize = 60;
/// Jobs that a case asks for on a push before it takes it that none of them will give a value.
const FRUITLESS: u32 = 2;

/// Pushes that only values on the last of them can tell from those before: one candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    /// Indices into the evidence, oldest first; the last one is where values are and runs go.
    members: Vec<usize>,
}

impl Group {
    fn at(&self) -> usize {
        self.members.last().copied().unwrap_or(0)
    }
}

fn values(evidence: &Evidence, index: usize) -> &[f64] {
    evidence.numbers.pushes.get(index).map_or(&[], |push| &push.values)
}

fn pending(evidence: &Evidence, index: usize) -> u32 {
    evidence.pushes.get(index).map_or(0, |push| push.pending)
}

/// Whether asking for the job there may give a value.
fn is_usable(evidence: &Evidence, index: usize) -> bool {
    let is_fruitless = || {
        let asked = evidence.numbers.pushes.get(index).map_or(0, |push| push.asked);
        asked >= FRUITLESS && values(evidence, index).is_empty() && pending(evidence, index) == 0
    };
    evidence.pushes.get(index).is_some_and(|push| push.runnable) && !is_fruitless()
}

/// The candidates.
fn groups(evidence: &Evidence) -> Vec<Group> {
    let is_measured = |index: &usize| !values(evidence, *index).is_empty();
    let mut behind = evidence.seen_on + 1..evidence.pushes.len().min(evidence.seen_on + 1 + BEHIND);
    let end = match behind.clone().filter(is_measured).nth(MEASURED_BEHIND - 1) {
        Some(measured) => measured,
        None => behind.rfind(is_measured).unwrap_or(evidence.seen_on),
    };
    let start = (end + 1).saturating_sub(perf::MAX_CANDIDATES);
    let mut groups = Vec::new();
    let mut members = Vec::new();
    for index in start..=end.min(evidence.pushes.len().saturating_sub(1)) {
        members.push(index);
        if is_measured(&index) || pending(evidence, index) > 0 || is_usable(evidence, index) {
            groups.push(Group {
                members: std::mem::take(&mut members),
            });
        }
    }
    // What is left can be told from the last group by values behind it only, and there is none that belongs to it.
    groups
}

/// The question in the words of the mathematics.
fn problem(params: &FindPerfCulpritParams, evidence: &Evidence, groups: &[Group]) -> perf::Problem {
    let candidates: Vec<perf::Evidence> = (1..)
        .zip(groups)
        .map(|(push, group)| perf::Evidence {
            push,
            values: values(evidence, group.at()).to_vec(),
            pending: pending(evidence, group.at()),
        })
        .collect();
    // The mathematics counts every value as asked for; most are the CI's own.
    let there = candidates
        .iter()
        .map(|e| {
            e.pending
                .saturating_add(u32::try_from(e.values.len()).unwrap_or(u32::MAX))
        })
        .fold(0u32, u32::saturating_add);
    let left = params.max_jobs.saturating_sub(evidence.asked);
    let after = groups.last().map_or(0, |group| group.at() + 1);
    perf::Problem {
        candidates: groups.len(),
        history: evidence.numbers.before.clone(),
        tail: (after..evidence.pushes.len())
            .flat_map(|index| values(evidence, index))
            .copied()
            .take(TAIL)
            .collect(),
        evidence: candidates,
        params: perf::Params {
            confidence: params.confidence,
            min_shift: params.min_shift.clamp(0.0001, 0.5),
            parallel: params.parallel,
            max_jobs: there.saturating_add(left),
        },
    }
}

/// The posterior: of every push that is not ruled out, of none, and the shift that a culprit would have made.
pub(super) fn numbers(params: &FindPerfCulpritParams, evidence: &Evidence) -> Vec<Number> {
    let groups = groups(evidence);
    let Ok(step) = perf::plan(&problem(params, evidence, &groups), super::seed(evidence)) else {
        return Vec::new();
    };
    let number = |what: String, value: f64| Number { what, value };
    let pushes_of = |group: &Group| -> String {
        let numbers = group.members.iter().filter_map(|index| evidence.pushes.get(*index));
        numbers
            .map(|push| push.push.to_string())
            .collect::<Vec<_>>()
            .join(" or ")
    };
    let mut numbers: Vec<Number> = step
        .pushes
        .iter()
        .zip(&groups)
        .filter(|(probability, _)| **probability >= SHOWN_FROM)
        .map(|(probability, group)| number(format!("P(the step is at push {})", pushes_of(group)), *probability))
        .collect();
    numbers.push(number("P(no step in the range)".to_owned(), step.no_change));
    numbers.push(number("shift, relative to the mean, at least".to_owned(), step.shift.0));
    numbers.push(number("shift, relative to the mean, at most".to_owned(), step.shift.1));
    numbers
}

pub(super) fn decide(params: &FindPerfCulpritParams, evidence: &Evidence) -> Step {
    if evidence.numbers.unread > 0 {
        let runs = count(evidence.numbers.unread as usize, "run", "runs");
        return Step::wait(format!("reads what {runs} measured"));
    }
    let groups = groups(evidence);
    if groups.is_empty() {
        return Step::end(VerdictKind::NotPossible, None, "no push in the range can run the job");
    }
    let step = match perf::plan(&problem(params, evidence, &groups), super::seed(evidence)) {
        Ok(step) => step,
        // The parameters were checked when the rule was loaded and the evidence is ours: this is a defect, and said so.
        Err(error) => {
            return Step::end(
                VerdictKind::NotPossible,
                None,
                format!("the search cannot go on: {error}"),
            );
        }
    };
    let so_far = so_far(&step, evidence, &groups);
    // A step at the oldest push is none in the range: between the two the search has no more to find.
    let outside = step.no_change + step.pushes.first().copied().unwrap_or(0.0);
    if step.verdict.is_none() && outside >= params.confidence {
        return no_change(params, outside);
    }
    match &step.verdict {
        None if step.run.is_empty() => Step::wait(format!("waits for runs; {so_far}")),
        None => ask(&step, so_far, evidence, &groups),
        Some(perf::Verdict::NoChange { probability }) => no_change(params, *probability),
        Some(perf::Verdict::Undecided { pushes }) => {
            let why = match evidence.asked >= params.max_jobs {
                true => format!("the budget of {} jobs is spent; {so_far}", params.max_jobs),
                false => format!("no value is known from before the likeliest push: look further back; {so_far}"),
            };
            Step {
                asks: Vec::new(),
                verdict: Some(Verdict {
                    kind: VerdictKind::Undecided,
                    pushes: named(pushes, evidence, &groups),
                    probability: None,
                    why: why.clone(),
                }),
                why,
            }
        }
        Some(perf::Verdict::Culprit { push, probability }) => {
            conclude(params, &step, (*push, *probability), evidence, &groups)
        }
    }
}

fn no_change(params: &FindPerfCulpritParams, probability: f64) -> Step {
    let why = format!(
        "the level did not step by {:.1} % or more in the range, with probability {probability:.3}",
        100.0 * params.min_shift
    );
    Step::end(VerdictKind::NoChange, Some(probability), why)
}

/// What is thought so far, in the pushes' own numbers.
fn so_far(step: &perf::Step, evidence: &Evidence, groups: &[Group]) -> String {
    let likeliest = (1..)
        .zip(&step.pushes)
        .max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
    let Some((number, probability)) = likeliest else {
        return String::new();
    };
    format!(
        "the likeliest is {} with {probability:.2}, no change with {:.2}",
        super::names(&named(&[(number, *probability)], evidence, groups)),
        step.no_change
    )
}

/// What the mathematics wants to know, asked where it can be: as near as may be.
fn ask(step: &perf::Step, so_far: String, evidence: &Evidence, groups: &[Group]) -> Step {
    let usable: Vec<usize> = (1..=groups.len())
        .filter(|number| {
            groups
                .get(number - 1)
                .is_some_and(|group| is_usable(evidence, group.at()))
        })
        .collect();
    let mut times = BTreeMap::new();
    for (number, wanted) in &step.run {
        let nearest = usable.iter().min_by_key(|usable| usable.abs_diff(*number));
        if let Some(nearest) = nearest {
            *times.entry(*nearest).or_insert(0) += wanted;
        }
    }
    if times.is_empty() {
        let mut likeliest: Vec<(usize, f64)> = (1..).zip(step.pushes.iter().copied()).collect();
        likeliest.sort_by(|a, b| b.1.total_cmp(&a.1));
        likeliest.truncate(3);
        let why = "no push in the range can run the job, and the values that are there do not tell".to_owned();
        let verdict = Verdict {
            kind: VerdictKind::NotPossible,
            pushes: named(&likeliest, evidence, groups),
            probability: None,
            why: why.clone(),
        };
        return Step {
            asks: Vec::new(),
            verdict: Some(verdict),
            why,
        };
    }
    let asks = times
        .into_iter()
        .filter_map(|(number, times)| {
            let push = evidence.pushes.get(groups.get(number - 1)?.at())?;
            Some(Ask::own(push.push, times))
        })
        .collect();
    Step {
        asks,
        verdict: None,
        why: so_far,
    }
}

/// A push is likely enough. It is named once it and its neighbours have a value each.
fn conclude(
    params: &FindPerfCulpritParams,
    step: &perf::Step,
    (culprit, probability): (usize, f64),
    evidence: &Evidence,
    groups: &[Group],
) -> Step {
    let around = [culprit.saturating_sub(2), culprit - 1, culprit];
    let mut bare: Vec<usize> = around
        .into_iter()
        .filter_map(|index| groups.get(index).map(Group::at))
        .filter(|index| values(evidence, *index).is_empty())
        .collect();
    bare.dedup();
    if bare.iter().any(|index| pending(evidence, *index) > 0) {
        return Step::wait("waits for a value of the likeliest push and its neighbours");
    }
    let room = params.max_jobs.saturating_sub(evidence.asked).min(params.parallel) as usize;
    let asks: Vec<Ask> = bare
        .into_iter()
        .filter(|index| is_usable(evidence, *index))
        .take(room)
        .filter_map(|index| Some(Ask::own(evidence.pushes.get(index)?.push, 1)))
        .collect();
    if !asks.is_empty() {
        let why =
            format!("the likeliest push, with probability {probability:.3}, and its neighbours need a value each");
        return Step {
            asks,
            verdict: None,
            why,
        };
    }
    let pushes = named(&[(culprit, probability)], evidence, groups);
    let (kind, why) = match culprit {
        // What came before the oldest push was not looked at.
        1 => (
            VerdictKind::Undecided,
            "the level stepped at the oldest push looked at, or before it: look further back".to_owned(),
        ),
        _ => (
            VerdictKind::Culprit,
            format!(
                "{} changed the level by {}, with probability {probability:.3}",
                super::names(&pushes),
                percent(step.shift)
            ),
        ),
    };
    Step {
        asks: Vec::new(),
        verdict: Some(Verdict {
            kind,
            pushes,
            probability: Some(probability),
            why: why.clone(),
        }),
        why,
    }
}

/// `+3.1 % to +5.2 %`.
fn percent((low, high): (f64, f64)) -> String {
    format!("{:+.1} % to {:+.1} %", 100.0 * low, 100.0 * high)
}

/// The pushes of candidates: those of a group share its probability.
fn named(candidates: &[(usize, f64)], evidence: &Evidence, groups: &[Group]) -> Vec<NamedPush> {
    candidates
        .iter()
        .filter_map(|(number, probability)| Some((groups.get(number.checked_sub(1)?)?, probability)))
        .flat_map(|(group, probability)| {
            let share = probability / group.members.len() as f64;
            group.members.iter().filter_map(move |index| {
                let push = evidence.pushes.get(*index)?;
                Some(NamedPush {
                    push: push.push,
                    revision: push.revision.clone(),
                    probability: share,
                })
            })
        })
        .collect()
}

/// The interval of the step, for a case that names a push.
pub(super) fn found(params: &FindPerfCulpritParams, evidence: &Evidence) -> Found {
    let problem = problem(params, evidence, &groups(evidence));
    // A problem that cannot be one was said by `decide`, which comes first.
    let shift = perf::plan(&problem, super::seed(evidence)).ok().map(|step| step.shift);
    Found {
        shift,
        ..Found::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_evidence::evidence;
    use super::super::{Numbers, PushEvidence, PushNumbers};
    use super::*;
    use crate::event::PushId;
    use proptest::prelude::*;

    /// Pushes 1 to N with these values; all can run the job.
    fn series(pushes: &[&[f64]], seen_on: usize) -> Evidence {
        Evidence {
            pushes: (1..=pushes.len() as u64)
                .map(|push| PushEvidence {
                    push: PushId(push),
                    runnable: true,
                    ..PushEvidence::default()
                })
                .collect(),
            seen_on,
            numbers: Numbers {
                pushes: pushes
                    .iter()
                    .map(|values| PushNumbers {
                        values: values.to_vec(),
                        asked: 0,
                    })
                    .collect(),
                before: (0..20).map(|n| 100.0 + f64::from(n % 5) * 0.2).collect(),
                ..Numbers::default()
            },
            ..evidence()
        }
    }

    fn params() -> FindPerfCulpritParams {
        FindPerfCulpritParams::default()
    }

    const OLD: &[f64] = &[100.1, 100.5];
    const NEW: &[f64] = &[110.2, 110.6];
    const NONE: &[f64] = &[];

    #[test]
    fn a_step_between_two_measured_pushes_is_named_with_its_interval() {
        let evidence = series(&[OLD, OLD, OLD, NEW, NEW], 3);
        let step = decide(&params(), &evidence);
        let verdict = step.verdict.expect("a verdict");
        assert_eq!(verdict.kind, VerdictKind::Culprit, "{}", verdict.why);
        assert_eq!(verdict.pushes.iter().map(|named| named.push.0).collect::<Vec<_>>(), [4]);
        let (low, high) = found(&params(), &evidence).shift.expect("an interval");
        assert!(low < 0.101 && 0.099 < high && low > 0.05, "{low} {high}");
        let numbers = numbers(&params(), &evidence);
        let likeliest = numbers
            .iter()
            .max_by(|a, b| a.value.total_cmp(&b.value))
            .expect("numbers");
        assert_eq!(likeliest.what, "P(the step is at push 4)");
        assert_eq!(Some(likeliest.value), verdict.probability);
    }

    #[test]
    fn a_push_that_cannot_run_the_job_is_named_with_the_next_one_that_can() {
        let mut evidence = series(&[OLD, OLD, NONE, NEW, NEW], 3);
        evidence.pushes[2].runnable = false;
        let verdict = decide(&params(), &evidence).verdict.expect("a verdict");
        assert_eq!(verdict.kind, VerdictKind::Culprit);
        assert_eq!(
            verdict.pushes.iter().map(|named| named.push.0).collect::<Vec<_>>(),
            [3, 4]
        );
    }

    #[test]
    fn the_likeliest_push_and_its_neighbours_get_a_value_each_first() {
        // Nothing of push 5: the step at 4 is plain, and its neighbour behind was never measured.
        let mut evidence = series(&[OLD, OLD, OLD, NEW, NONE, NEW, NEW], 3);
        let step = decide(&params(), &evidence);
        assert_eq!(step.verdict, None);
        assert_eq!(step.asks, [Ask::own(PushId(5), 1)]);
        // Two jobs there gave nothing: then it is named without.
        evidence.numbers.pushes[4].asked = 2;
        assert!(decide(&params(), &evidence).verdict.is_some());
    }

    #[test]
    fn nothing_is_asked_before_what_is_there_was_read() {
        let mut evidence = series(&[OLD, NONE, NONE, NEW], 3);
        evidence.numbers.unread = 2;
        let step = decide(&params(), &evidence);
        assert!(step.asks.is_empty() && step.verdict.is_none());
        assert_eq!(step.why, "reads what 2 runs measured");
    }

    #[test]
    fn a_step_at_the_oldest_push_is_older_than_the_range() {
        let verdict = decide(&params(), &series(&[NEW, NEW, NEW], 2))
            .verdict
            .expect("a verdict");
        assert_eq!(verdict.kind, VerdictKind::Undecided, "{}", verdict.why);
    }

    #[test]
    fn the_same_level_everywhere_is_no_change() {
        let many: &[f64] = &[100.0, 100.3, 100.6, 100.2, 100.5, 100.1];
        let verdict = decide(&params(), &series(&[many; 6], 4)).verdict.expect("a verdict");
        assert_eq!(verdict.kind, VerdictKind::NoChange, "{}", verdict.why);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Laws: no more is asked for than may be, nothing beyond `parallel` at a time, and only where it can run.
        #[test]
        fn what_is_asked_for_is_allowed(
            pushes in prop::collection::vec((prop::collection::vec(90.0f64..120.0, 0..3), any::<bool>(), 0u32..3, 0u32..3), 1..12),
            seen in 0usize..12,
            asked in 0u32..70,
            parallel in 1u32..9,
        ) {
            let values: Vec<&[f64]> = pushes.iter().map(|(values, ..)| values.as_slice()).collect();
            let mut evidence = series(&values, seen.min(values.len() - 1));
            for (index, (_, runnable, pending, asked)) in pushes.iter().enumerate() {
                evidence.pushes[index].runnable = *runnable;
                evidence.pushes[index].pending = *pending;
                evidence.numbers.pushes[index].asked = *asked;
            }
            evidence.asked = asked;
            let params = FindPerfCulpritParams { parallel, ..params() };
            let step = decide(&params, &evidence);
            let wanted: u32 = step.asks.iter().map(|ask| ask.times).sum();
            prop_assert!(wanted <= params.max_jobs.saturating_sub(asked));
            prop_assert!(wanted <= parallel);
            for ask in &step.asks {
                let push = evidence.pushes.iter().find(|push| push.push == ask.push).expect("a push of the window");
                prop_assert!(push.runnable);
            }
            prop_assert!(step.verdict.is_none() || step.asks.is_empty());
        }
    }
}
