//! `fill`, `add`, `range`: jobs that are wanted on pushes, so many of each in all.
//!
//! What is there already counts, whether it ended, runs, waits or is asked for. What is missing is asked for once, tests
//! when the builds that were asked for have appeared: a test that is added to a push brings its build along where there
//! is none. The case is done when the jobs have appeared, and says what was not possible. What becomes of the jobs is not
//! its question.

use super::{Ask, Evidence, Step, TargetEvidence, count};
use crate::event::VerdictKind;

/// Things that a verdict names before it says how many more there are.
const NAMED: usize = 5;

/// Runs of a target that are missing.
fn missing(target: &TargetEvidence) -> u32 {
    let there = target.counts.total().saturating_add(target.pending);
    target.times.saturating_sub(there)
}

pub(super) fn decide(max_jobs: u32, evidence: &Evidence) -> Step {
    if evidence.to_come > 0 {
        return Step::wait(format!(
            "waits for {} to appear",
            count(evidence.to_come as usize, "job", "jobs")
        ));
    }
    // What only decides shows all that it would ask for.
    let rounds: &[&[bool]] = match evidence.shadow {
        true => &[&[true, false]],
        false => &[&[true], &[false]],
    };
    for round in rounds {
        let (asks, beyond) = within(max_jobs, evidence, round);
        if asks.is_empty() {
            continue;
        }
        let jobs: u32 = asks.iter().map(|ask| ask.times).sum();
        let (one, many) = match round {
            [true] => ("build is", "builds are"),
            _ => ("job is", "jobs are"),
        };
        let why = match beyond {
            0 => format!("{} missing", count(jobs as usize, one, many)),
            _ => format!(
                "{jobs} of {} missing jobs, as many as the case may ask for",
                jobs + beyond
            ),
        };
        return Step {
            asks,
            verdict: None,
            why,
        };
    }
    let impossible = impossible(max_jobs, evidence);
    let kind = match (evidence.asked, evidence.targets.is_empty(), impossible.is_empty()) {
        (0, true, false) => VerdictKind::NotPossible,
        _ => VerdictKind::Done,
    };
    let done = match evidence.asked {
        0 if evidence.targets.is_empty() => "nothing to ask for".to_owned(),
        0 => "everything was there, running or asked for".to_owned(),
        asked => format!("{} asked for", count(asked as usize, "job was", "jobs were")),
    };
    let why = match impossible.len() {
        0 => done,
        many => {
            let named: Vec<&str> = impossible.iter().take(NAMED).map(String::as_str).collect();
            let more = match many.saturating_sub(NAMED) {
                0 => String::new(),
                more => format!("; and {more} more"),
            };
            format!("{done}; not possible: {}{more}", named.join("; "))
        }
    };
    Step::end(kind, None, why)
}

/// What is missing and was not asked for, in order, as far as the case's allowance reaches; and how many jobs lie
/// beyond it. `builds`: whether builds are meant, everything else, or both.
fn within(max_jobs: u32, evidence: &Evidence, builds: &[bool]) -> (Vec<Ask>, u32) {
    let mut room = max_jobs.saturating_sub(evidence.asked);
    let mut beyond = 0;
    let mut asks = Vec::new();
    let is_meant = |target: &&TargetEvidence| {
        !target.asked && target.refused.is_none() && builds.contains(&target.label.names_a_build())
    };
    for target in evidence.targets.iter().filter(is_meant) {
        let wanted = missing(target);
        let times = wanted.min(room);
        room -= times;
        beyond += wanted - times;
        if times > 0 {
            asks.push(Ask {
                label: Some(target.label.clone()),
                push: target.push,
                times,
            });
        }
    }
    (asks, beyond)
}

/// What could not be done, a sentence each.
fn impossible(max_jobs: u32, evidence: &Evidence) -> Vec<String> {
    let unable = evidence.unable.iter().map(|unable| match unable.push {
        Some(push) => format!("{} on push {push}: {}", unable.label, unable.why),
        None => format!("{}: {}", unable.label, unable.why),
    });
    let refused = evidence.targets.iter().filter_map(|target| {
        let why = target.refused.as_ref()?;
        Some(format!("{} on push {}: {why}", target.label, target.push))
    });
    let never_came = evidence
        .targets
        .iter()
        .filter(|target| target.refused.is_none() && missing(target) > 0)
        .map(|target| match evidence.asked >= max_jobs {
            true => format!(
                "{} on push {}: the case may ask for no more jobs",
                target.label, target.push
            ),
            false => format!("{} on push {}: its job never appeared", target.label, target.push),
        });
    unable.chain(refused).chain(never_came).collect()
}

#[cfg(test)]
mod tests {
    use super::super::test_evidence::evidence;
    use super::*;
    use crate::event::{Label, PushId, Unable};
    use crate::stats::rates::Counts;

    fn target(label: &str, times: u32, passed: u32, pending: u32) -> TargetEvidence {
        TargetEvidence {
            label: Label::from(label),
            platform: "linux".into(),
            push: PushId(7),
            times,
            counts: Counts::new(0, passed),
            pending,
            silent: 0,
            asked: false,
            refused: None,
        }
    }

    fn asked(target: TargetEvidence) -> TargetEvidence {
        TargetEvidence { asked: true, ..target }
    }

    #[test]
    fn tests_are_asked_for_when_the_builds_have_appeared() {
        let first = Evidence {
            targets: vec![
                target("build-linux64/opt", 1, 0, 0),
                target("test-linux64/opt-x", 1, 0, 0),
            ],
            ..evidence()
        };
        assert_eq!(asks(&decide(10, &first)), [("build-linux64/opt".to_owned(), 1)]);
        let on_the_way = Evidence {
            targets: vec![
                asked(target("build-linux64/opt", 1, 0, 1)),
                target("test-linux64/opt-x", 1, 0, 0),
            ],
            asked: 1,
            to_come: 1,
            last_step: 1,
            ..evidence()
        };
        assert_eq!(asks(&decide(10, &on_the_way)), []);
        let appeared = Evidence {
            to_come: 0,
            ..on_the_way
        };
        assert_eq!(asks(&decide(10, &appeared)), [("test-linux64/opt-x".to_owned(), 1)]);
    }

    fn asks(step: &Step) -> Vec<(String, u32)> {
        let ask = |ask: &Ask| {
            (
                ask.label.as_ref().map(ToString::to_string).unwrap_or_default(),
                ask.times,
            )
        };
        step.asks.iter().map(ask).collect()
    }

    #[test]
    fn what_is_there_counts_whether_it_ended_or_waits() {
        let evidence = Evidence {
            targets: vec![target("a", 3, 1, 1), target("b", 1, 0, 1), target("c", 2, 0, 0)],
            ..evidence()
        };
        assert_eq!(
            asks(&decide(100, &evidence)),
            [("a".to_owned(), 1), ("c".to_owned(), 2)]
        );
    }

    #[test]
    fn no_more_than_the_allowance_is_asked_for_and_the_rest_is_named() {
        let first = Evidence {
            targets: vec![target("a", 3, 0, 0), target("b", 2, 0, 0)],
            ..evidence()
        };
        assert_eq!(asks(&decide(4, &first)), [("a".to_owned(), 3), ("b".to_owned(), 1)]);
        let done = Evidence {
            targets: vec![asked(target("a", 3, 3, 0)), asked(target("b", 2, 1, 0))],
            asked: 4,
            last_step: 1,
            ..evidence()
        };
        let verdict = decide(4, &done).verdict.unwrap();
        assert_eq!(verdict.kind, VerdictKind::Done);
        assert!(
            verdict.why.contains("b on push 7: the case may ask for no more"),
            "{}",
            verdict.why
        );
    }

    #[test]
    fn it_is_done_when_the_jobs_have_appeared_and_asks_no_second_time() {
        let waiting = Evidence {
            targets: vec![asked(target("a", 1, 0, 1))],
            asked: 1,
            last_step: 1,
            to_come: 1,
            ..evidence()
        };
        assert_eq!(decide(10, &waiting).verdict, None);
        let lost = Evidence {
            targets: vec![asked(target("a", 1, 0, 0))],
            to_come: 0,
            ..waiting
        };
        let step = decide(10, &lost);
        assert!(step.asks.is_empty());
        assert!(step.verdict.unwrap().why.contains("never appeared"));
    }

    #[test]
    fn nothing_that_can_be_done_is_not_possible() {
        let evidence = Evidence {
            unable: vec![Unable {
                label: Label::from("tset-linux"),
                push: None,
                why: "no such label; did you mean test-linux?".into(),
            }],
            ..evidence()
        };
        let verdict = decide(10, &evidence).verdict.unwrap();
        assert_eq!(verdict.kind, VerdictKind::NotPossible);
        assert!(verdict.why.contains("did you mean test-linux"), "{}", verdict.why);
    }
}
