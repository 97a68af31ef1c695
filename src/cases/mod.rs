//! Decisions on evidence, one file a kind.
//!
//! In: what a case was given and the evidence that bears on it. Out: the next [`Step`]: jobs to ask for, a
//! verdict, or a wait. Never: I/O, clocks, state between two calls. A case's evidence *is* its state, so a restart, a
//! replay, an explanation and a simulation all run this code.

mod baseline;
mod find_culprit;
mod find_perf_culprit;
mod until_hit;
mod validate;
mod wanted;

pub use find_culprit::{Around, Gap, odds_against};

use std::sync::Arc;

use crate::event::{
    CaseParams, Duration, Found, Label, NamedPush, PushId, Revision, Timestamp, Unable, Verdict, VerdictKind,
};
use crate::stats::rates::Counts;

/// How long a case lives at most. Whatever it still waits for then does not come.
pub const MAX_AGE: Duration = Duration::from_secs(14 * 24 * 3600);
/// How long a case in shadow mode waits for the CI's own runs before it closes.
pub const SHADOW_AGE: Duration = Duration::from_secs(24 * 3600);

/// What is known of one push.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PushEvidence {
    /// The push's number.
    pub push: PushId,
    /// Its head revision, when known.
    pub revision: Option<Revision>,
    /// Whether the job can be asked for on it.
    pub runnable: bool,
    /// Runs of the subject that ended: infra, cancelled and unrelated ones are not among them.
    pub counts: Counts,
    /// Runs asked for, waiting or running.
    pub pending: u32,
    /// Whether it is known to touch files near the test that the case is about. Left out where no case asks for it.
    pub near: bool,
    /// The later push that says it backs this one out: an index into [`Evidence::pushes`].
    pub backed_out_by: Option<usize>,
}

/// What is known of one job that a case is about besides its own label.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetEvidence {
    /// The label.
    pub label: Label,
    /// Its platform.
    pub platform: Arc<str>,
    /// The push.
    pub push: PushId,
    /// Runs wanted in all; 0 where the kind decides that as it goes.
    pub times: u32,
    /// Runs that ended: infra and cancelled ones are not among them.
    pub counts: Counts,
    /// Runs asked for, waiting or running.
    pub pending: u32,
    /// Runs that ended and do not tell whether they ran what the case is about.
    pub silent: u32,
    /// Whether the case has asked for it.
    pub asked: bool,
    /// What the CI said when it refused to run it for good.
    pub refused: Option<String>,
}

/// What is known of the numbers on one push.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PushNumbers {
    /// The values of its runs.
    pub values: Vec<f64>,
    /// Jobs that the case asked for there and that appeared.
    pub asked: u32,
}

/// One series that a target measures.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesNumbers {
    /// The series.
    pub series: Arc<str>,
    /// Its values on earlier pushes.
    pub previous: Vec<f64>,
    /// Its values on the target's push.
    pub values: Vec<f64>,
}

/// What is known of the numbers of one target.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TargetNumbers {
    /// Jobs that the case asked for and that appeared.
    pub asked: u32,
    /// The series that it measures.
    pub series: Vec<SeriesNumbers>,
}

/// What bears on a case about numbers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Numbers {
    /// For a case about one series: its values, one element a push of [`Evidence::pushes`].
    pub pushes: Vec<PushNumbers>,
    /// Its values on pushes before those, oldest first.
    pub before: Vec<f64>,
    /// For a case about several jobs: one element a target of [`Evidence::targets`].
    pub targets: Vec<TargetNumbers>,
    /// Runs that passed and whose results are still to be read.
    pub unread: u32,
}

/// What bears on a case.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The pushes looked at, oldest first.
    pub pushes: Vec<PushEvidence>,
    /// The push on which the failure that opened the case was seen: an index into `pushes`.
    pub seen_on: usize,
    /// Runs on pushes before the first of `pushes`.
    pub before: Counts,
    /// The jobs it is about besides its label, in the order of the case.
    pub targets: Vec<TargetEvidence>,
    /// What was asked for and could not be done from the start.
    pub unable: Vec<Unable>,
    /// For `until-hit`: runs on the push since the case was opened, the opening one left out.
    pub since_opened: Counts,
    /// Jobs the case has asked for so far; what was refused or never came is not among them.
    pub asked: u32,
    /// Jobs that the case waits for: its own that have not appeared, those that have not ended, and those of other cases
    /// about the very same job, which tell of it as well.
    pub awaited: u32,
    /// Of those, the ones that have not appeared.
    pub to_come: u32,
    /// The last round it asked in; 0: none yet.
    pub last_step: u32,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// Whether it only decides and asks for nothing.
    pub shadow: bool,
    /// What its runs measured, for kinds that are about numbers.
    pub numbers: Numbers,
}

/// One thing to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Which label; `None`: the case's own.
    pub label: Option<Label>,
    /// On which push.
    pub push: PushId,
    /// How often.
    pub times: u32,
}

/// The next step of a case.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Step {
    /// What to ask for now; empty while waiting, and at the end.
    pub asks: Vec<Ask>,
    /// How it ended, once it has.
    pub verdict: Option<Verdict>,
    /// What was decided and why, in one sentence.
    pub why: String,
}

impl Ask {
    /// Runs of the case's own label.
    fn own(push: PushId, times: u32) -> Ask {
        Ask {
            label: None,
            push,
            times,
        }
    }
}

impl Step {
    fn wait(why: impl Into<String>) -> Step {
        Step {
            why: why.into(),
            ..Step::default()
        }
    }

    fn end(kind: VerdictKind, probability: Option<f64>, why: impl Into<String>) -> Step {
        let why = why.into();
        let verdict = Verdict {
            kind,
            pushes: Vec::new(),
            probability,
            why: why.clone(),
        };
        Step {
            verdict: Some(verdict),
            why,
            ..Step::default()
        }
    }
}

/// Decides the next step of a case. The same arguments always give the same step.
pub fn decide(params: &CaseParams, evidence: &Evidence, now: Timestamp) -> Step {
    let age = now.since(evidence.opened_at);
    if evidence.shadow && evidence.last_step > 0 {
        return match age >= SHADOW_AGE {
            true => Step::end(
                VerdictKind::Undecided,
                None,
                "shadow mode: what it decided was not asked for",
            ),
            false => Step::wait("shadow mode: decided, not asked"),
        };
    }
    let step = match params {
        CaseParams::FindCulprit(params) => find_culprit::decide(params, evidence),
        CaseParams::UntilHit(params) => until_hit::decide(params, evidence),
        CaseParams::Fill(_) | CaseParams::Add(_) | CaseParams::Range(_) => wanted::decide(params.max_jobs(), evidence),
        CaseParams::Validate(params) => validate::decide(params, evidence),
        CaseParams::FindPerfCulprit(params) => find_perf_culprit::decide(params, evidence),
        CaseParams::Baseline(params) => baseline::decide(params, evidence),
    };
    if step.verdict.is_none() && age >= MAX_AGE {
        return Step::end(
            VerdictKind::Undecided,
            None,
            format!("no verdict within {} days: {}", MAX_AGE.as_secs() / 86_400, step.why),
        );
    }
    step
}

/// Pushes that are less probable than this are not shown in explanations.
const SHOWN_FROM: f64 = 0.005;

/// A number that the next decision rests on.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Number {
    /// What it is, for people.
    pub what: String,
    /// Its value.
    pub value: f64,
}

/// What the evidence says, in numbers: for explanations. Empty where there is nothing to say yet.
pub fn numbers(params: &CaseParams, evidence: &Evidence) -> Vec<Number> {
    match params {
        CaseParams::FindCulprit(params) => find_culprit::numbers(params, evidence),
        CaseParams::UntilHit(params) => until_hit::numbers(params, evidence),
        // These count jobs and reckon nothing.
        CaseParams::Fill(_) | CaseParams::Add(_) | CaseParams::Range(_) => Vec::new(),
        CaseParams::Validate(params) => validate::numbers(params, evidence),
        CaseParams::FindPerfCulprit(params) => find_perf_culprit::numbers(params, evidence),
        CaseParams::Baseline(params) => baseline::numbers(params, evidence),
    }
}

/// What a case has found in numbers by the step it takes: established levels at any time, the interval of a step or of a
/// failure rate with its verdict.
pub fn found(params: &CaseParams, evidence: &Evidence, step: &Step) -> Found {
    match params {
        CaseParams::FindPerfCulprit(params) => match &step.verdict {
            Some(verdict) if verdict.kind == VerdictKind::Culprit => find_perf_culprit::found(params, evidence),
            _ => Found::default(),
        },
        CaseParams::Baseline(params) => baseline::found(params, evidence),
        CaseParams::Validate(params) if step.verdict.is_some() => validate::found(params, evidence),
        _ => Found::default(),
    }
}

/// `push 7 (0123456789ab) or push 8`.
fn names(pushes: &[NamedPush]) -> String {
    let one = |named: &NamedPush| match &named.revision {
        Some(revision) => {
            format!(
                "push {} ({})",
                named.push,
                revision.as_str().get(..12).unwrap_or(revision.as_str())
            )
        }
        None => format!("push {}", named.push),
    };
    pushes.iter().map(one).collect::<Vec<_>>().join(" or ")
}

/// The seed of a decision: the same evidence always gives the same one.
fn seed(evidence: &Evidence) -> u64 {
    u64::from(evidence.asked) << 32 | u64::from(evidence.last_step)
}

/// `1 push`, `3 pushes`.
fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod test_evidence {
    use super::{Evidence, Timestamp};
    use crate::stats::rates::Counts;

    /// Evidence of a case that knows nothing yet.
    pub fn evidence() -> Evidence {
        Evidence {
            pushes: Vec::new(),
            seen_on: 0,
            before: Counts::default(),
            targets: Vec::new(),
            unable: Vec::new(),
            since_opened: Counts::default(),
            asked: 0,
            awaited: 0,
            to_come: 0,
            last_step: 0,
            opened_at: Timestamp(0),
            shadow: false,
            numbers: super::Numbers::default(),
        }
    }
}
