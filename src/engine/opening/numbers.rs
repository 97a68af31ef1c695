//! A performance series stepped, or a tree took in another one's work: whether that opens a case, and about which jobs.
//!
//! What the books say is looked up before, by the engine (`engine::alerts`).

use std::sync::Arc;

use super::{Draft, Opening};
use crate::engine::settings::{EngineSettings, globs};
use crate::event::{
    BaselineParams, CaseParams, FindPerfCulpritParams, Label, PerfAlert, Project, PushId, Reason, Subject, Target,
    Unable,
};

/// Pushes before the last one with the old values that are looked at too: the step may be older than its detector says.
const EARLIER: u64 = 5;

/// What a performance alert leads to. Its push and its label were looked up, as far as the books know them.
pub fn on_alert(alert: &PerfAlert, params: &FindPerfCulpritParams, settings: &EngineSettings) -> Opening {
    if !settings.is_linear(&alert.project) {
        return Opening::No(Reason::NotLinear);
    }
    let (Some(push), Some(label)) = (alert.push, &alert.label) else {
        return Opening::No(Reason::FactsUnknown);
    };
    let draft = about_series(
        params.clone(),
        alert.project.clone(),
        label.clone(),
        Arc::clone(alert.measure()),
        push,
        alert.previous_push,
    );
    Opening::Open(Box::new(Draft {
        platform: Arc::clone(&alert.platform),
        ..draft
    }))
}

/// A search for what made a series step, first seen on `push`, and not on `previous` or before it.
pub fn about_series(
    mut params: FindPerfCulpritParams,
    project: Project,
    label: Label,
    series: Arc<str>,
    push: PushId,
    previous: Option<PushId>,
) -> Draft {
    if let Some(previous) = previous.filter(|previous| *previous < push) {
        let span = push.0 - previous.0 + EARLIER;
        params.max_depth = params.max_depth.max(u32::try_from(span).unwrap_or(u32::MAX)).min(1_000);
    }
    let subject = Subject {
        project,
        label: label.clone(),
        signature: None,
        series: Some(series),
    };
    Draft::about(CaseParams::FindPerfCulprit(params), subject, label, push)
}

/// A baseline of the jobs that fit the patterns, out of those that ran lately.
pub fn baseline(
    params: &BaselineParams,
    project: &Project,
    push: PushId,
    known: &[(Label, Option<Arc<str>>)],
) -> Opening {
    let name = match params.labels.is_empty() {
        true => "*".to_owned(),
        false => params.labels.join(" "),
    };
    let subject = Subject {
        project: project.clone(),
        label: Label::from(name.as_str()),
        signature: None,
        series: None,
    };
    let Ok(patterns) = globs(&params.labels) else {
        return Opening::No(Reason::NotPossible);
    };
    let targets: Vec<Target> = known
        .iter()
        .filter(|(label, _)| patterns.is_match(label.as_str()))
        .map(|(label, platform)| Target {
            label: label.clone(),
            platform: platform.clone().unwrap_or_else(|| "unknown".into()),
            push,
            times: 0,
        })
        .collect();
    let unable = params
        .labels
        .iter()
        .filter(|pattern| {
            globs([pattern]).is_ok_and(|pattern| !targets.iter().any(|target| pattern.is_match(target.label.as_str())))
        })
        .map(|pattern| Unable {
            label: Label::from(pattern.as_str()),
            push: None,
            why: "no such job ran lately".into(),
        })
        .collect();
    if targets.is_empty() {
        return Opening::No(Reason::FactsUnknown);
    }
    Opening::Open(Box::new(Draft {
        targets,
        unable,
        ..Draft::about(
            CaseParams::Baseline(params.clone()),
            subject.clone(),
            subject.label,
            push,
        )
    }))
}

/// Which of the jobs that ran lately measures a suite on a platform, as far as their names tell. `None` where none or
/// several do.
pub fn label_by_name<'a>(known: impl IntoIterator<Item = &'a Label>, platform: &str, suite: &str) -> Option<&'a Label> {
    // A word of a label ends where letters and digits do.
    let has_word = |label: &str, word: &str| {
        label.match_indices(word).any(|(at, _)| {
            let is_end = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
            is_end(label[..at].chars().next_back()) && is_end(label[at + word.len()..].chars().next())
        })
    };
    let mut fitting = known
        .into_iter()
        .filter(|label| has_word(label.as_str(), &format!("{platform}/")) || has_word(label.as_str(), platform))
        .filter(|label| has_word(label.as_str(), suite));
    let only = fitting.next()?;
    fitting.next().is_none().then_some(only)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_found_by_platform_and_suite_where_exactly_one_fits() {
        let known: Vec<Label> = [
            "test-linux1804-64-shippable-qr/opt-talos-tp5o",
            "test-linux1804-64-shippable-qr/opt-talos-tp5o-webextensions",
            "test-linux1804-64-qr/opt-talos-svgr",
            "test-windows11-64-shippable-qr/opt-talos-svgr",
        ]
        .into_iter()
        .map(Label::from)
        .collect();
        let found = |platform, suite| label_by_name(&known, platform, suite).map(Label::as_str);
        assert_eq!(
            found("linux1804-64-qr", "svgr"),
            Some("test-linux1804-64-qr/opt-talos-svgr")
        );
        assert_eq!(found("linux1804-64-shippable-qr", "tp5o"), None);
        assert_eq!(found("linux1804-64-shippable-qr", "svgr"), None);
    }

    #[test]
    fn a_pattern_that_nothing_fits_is_named_and_nothing_at_all_opens_nothing() {
        let known = [(Label::from("test-a-talos"), None), (Label::from("test-b"), None)];
        let params = |labels: &[&str]| BaselineParams {
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            ..BaselineParams::default()
        };
        let open = |labels: &[&str]| baseline(&params(labels), &Project::from("beta"), PushId(7), &known);
        let Opening::Open(draft) = open(&["*talos*", "*raptor*"]) else {
            panic!("it opens nothing")
        };
        assert_eq!(draft.targets.len(), 1);
        assert_eq!(draft.unable[0].label.as_str(), "*raptor*");
        assert_eq!(open(&["*raptor*"]), Opening::No(Reason::FactsUnknown));
    }
}
