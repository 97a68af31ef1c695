//! A person opens a case: at the command line or through the API.
//!
//! A person knows what they want: the guards that keep rules from asking too much do not apply. What cannot work is
//! refused with its reason.

use super::{Draft, Opening};
use crate::engine::ledger::{Lack, TestFailure};
use crate::engine::settings::EngineSettings;
use crate::event::{CaseKind, Label, OpenRequest, PushId, Reason, RequestEvent, Subject};

/// What the request to open a case is about.
pub fn draft(request: &RequestEvent, open: &OpenRequest, settings: &EngineSettings) -> Opening {
    let kind = open.params.kind();
    if kind == CaseKind::FindCulprit && !settings.is_linear(&request.project) {
        return Opening::No(Reason::NotLinear);
    }
    let Some(push) = request.push else {
        return match (&request.revision, settings.has_pushlog) {
            (Some(_), true) => Opening::Wait(Lack::Push),
            _ => Opening::No(Reason::FactsUnknown),
        };
    };
    match kind {
        CaseKind::FindCulprit | CaseKind::UntilHit => {
            let Some(label) = open.label.clone() else {
                return Opening::No(Reason::FactsUnknown);
            };
            let subject = subject(request, open, &label);
            Opening::Open(Box::new(Draft::about(open.params.clone(), subject, label, push)))
        }
        CaseKind::Validate
        | CaseKind::FindPerfCulprit
        | CaseKind::Baseline
        | CaseKind::Fill
        | CaseKind::Add
        | CaseKind::Range => Opening::No(Reason::NotPossible),
    }
}

fn subject(request: &RequestEvent, open: &OpenRequest, label: &Label) -> Subject {
    Subject {
        project: request.project.clone(),
        label: label.clone(),
        signature: open.signature.clone(),
        series: open.series.clone(),
    }
}

/// The failure that a case about a bug starts from: of the label that failed most, on the push given or else, for a search,
/// the first on which it failed, and otherwise the newest. `failures` has the newest first.
pub fn worst(failures: &[TestFailure], kind: CaseKind, push: Option<PushId>) -> Option<&TestFailure> {
    let on_push = |failure: &&TestFailure| push.is_none_or(|push| failure.push == push);
    let count = |label: &Label| failures.iter().filter(|failure| failure.label == *label).count();
    let label = failures
        .iter()
        .filter(on_push)
        .map(|failure| &failure.label)
        .max_by_key(|label| (count(label), std::cmp::Reverse((*label).clone())))?;
    let mut of_label = failures
        .iter()
        .filter(on_push)
        .filter(|failure| failure.label == *label);
    match kind {
        CaseKind::FindCulprit => of_label.next_back(),
        _ => of_label.next(),
    }
}
