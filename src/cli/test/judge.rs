//! Whether what happened is what a test expects. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::stage::{Played, Requested};
use crate::engine::ledger::{CaseRow, DecisionResult};
use crate::rules::{ExpectedCases, NO_MATCH, TestAction, TestExpectation};

/// One thing that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    /// The rule it is about.
    pub rule: String,
    /// What was looked at: `opened`, `because`, `verdict`, `actions`.
    pub what: &'static str,
    /// What the test expects.
    pub expected: String,
    /// What it got.
    pub got: String,
}

/// Everything that is not as one expectation says.
pub(super) fn judge(expectation: &TestExpectation, played: &Played) -> Vec<Difference> {
    let rule = expectation.rule.as_str();
    let cases: Vec<&CaseRow> = played
        .cases
        .iter()
        .filter(|case| case.cause.rule_name() == rule)
        .collect();
    let requests: Vec<&Requested> = played.requests.iter().filter(|request| request.rule == rule).collect();
    let mut differences = Vec::new();
    let mut differ = |what: &'static str, expected: String, got: String| {
        differences.push(Difference {
            rule: rule.to_owned(),
            what,
            expected,
            got,
        });
    };
    match expectation.opened {
        None => {}
        Some(ExpectedCases::Any(any)) if any == cases.is_empty() => {
            let expected = if any { "at least one case" } else { "no case" };
            differ("opened", expected.to_owned(), counted(cases.len()));
        }
        Some(ExpectedCases::Exactly(count)) if cases.len() != count as usize => {
            differ("opened", counted(count as usize), counted(cases.len()));
        }
        Some(ExpectedCases::Any(_) | ExpectedCases::Exactly(_)) => {}
    }
    if let Some(because) = &expectation.because {
        let reasons = reasons(rule, played, &requests);
        if !reasons.iter().any(|reason| reason == because) {
            let got = if reasons.is_empty() {
                "nothing held it back".to_owned()
            } else {
                reasons.join(", ")
            };
            differ("because", because.clone(), got);
        }
    }
    if let Some(verdict) = &expectation.verdict {
        let verdicts: Vec<&str> = cases
            .iter()
            .map(|case| case.verdict.as_ref().map_or("open", |verdict| verdict.kind.as_str()))
            .collect();
        if !verdicts.contains(&verdict.as_str()) {
            let got = if verdicts.is_empty() {
                "no case".to_owned()
            } else {
                verdicts.join(", ")
            };
            differ("verdict", verdict.clone(), got);
        }
    }
    if let Some(actions) = &expectation.actions {
        let expected = wanted(actions);
        let got = sent(&requests);
        if expected != got {
            differ("actions", listed(&expected), listed(&got));
        }
    }
    differences
}

/// Jobs by label and push.
type Jobs = BTreeMap<(String, u64), u32>;

fn wanted(actions: &[TestAction]) -> Jobs {
    let mut jobs = Jobs::new();
    for action in actions {
        *jobs.entry((action.label.clone(), action.push)).or_default() += action.times;
    }
    jobs
}

fn sent(requests: &[&Requested]) -> Jobs {
    let mut jobs = Jobs::new();
    for request in requests.iter().filter(|request| request.was_sent()) {
        *jobs.entry((request.label.to_string(), request.push.0)).or_default() += request.times;
    }
    jobs
}

fn listed(jobs: &Jobs) -> String {
    let one = |((label, push), times): (&(String, u64), &u32)| match times {
        1 => format!("{label} on push {push}"),
        times => format!("{label} on push {push} x{times}"),
    };
    match jobs.is_empty() {
        true => "nothing asked for".to_owned(),
        false => jobs.iter().map(one).collect::<Vec<_>>().join(", "),
    }
}

fn counted(cases: usize) -> String {
    match cases {
        0 => "no case".to_owned(),
        1 => "1 case".to_owned(),
        more => format!("{more} cases"),
    }
}

/// Why the rule opened nothing, and why its requests were held back: each word once, in the order of its first time.
fn reasons(rule: &str, played: &Played, requests: &[&Requested]) -> Vec<String> {
    let mut words: Vec<&str> = Vec::new();
    let mut was_asked = false;
    for moment in &played.moments {
        for decision in moment.decisions.iter().filter(|decision| decision.rule == rule) {
            was_asked = true;
            if let DecisionResult::No(reason) = decision.result {
                words.push(reason.as_str());
            }
        }
        let held = moment.held.iter().filter(|(name, _)| name == rule);
        words.extend(held.map(|(_, reason)| reason.as_str()));
    }
    words.extend(
        requests
            .iter()
            .flat_map(|request| &request.held)
            .map(|reason| reason.as_str()),
    );
    let has_unmatched = || {
        played
            .moments
            .iter()
            .any(|moment| moment.unmatched.iter().any(|unmatched| unmatched.rule == rule))
    };
    if !was_asked && has_unmatched() {
        words.push(NO_MATCH);
    }
    let mut unique = Vec::new();
    for word in words {
        if !unique.iter().any(|known| known == word) {
            unique.push(word.to_owned());
        }
    }
    unique
}
