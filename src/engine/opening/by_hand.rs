//! A person opens a case: at the command line or through the API.
//!
//! A person knows what they want: the guards that keep rules from asking too much do not apply. What cannot work is
//! refused with its reason.

use super::{Draft, Opening};
use crate::engine::ledger::Lack;
use crate::engine::settings::EngineSettings;
use crate::event::{CaseKind, Label, OpenRequest, Reason, RequestEvent, Subject};

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
