//! A person opens a case: at the command line, through the API, about a bug.

use serde_json::json;

use super::apply::{Engine, Patience};
use super::batch::Batch;
use super::consider::wait;
use super::ledger::{CaseRow, Decision, Lack, Ledger, LedgerError};
use super::opening::validate::{self, NewTest};
use super::opening::{Opening, by_hand};
use super::wish::no;
use crate::event::{
    CaseKind, CaseParams, Cause, Event, OpenRequest, Project, PushId, Reason, RequestEvent, RequestKind, Timestamp,
};
use crate::rules::Mode;

impl Engine {
    /// A person wants a test to be validated on a push.
    fn validate_by_hand(
        &mut self,
        ledger: &mut dyn Ledger,
        project: &Project,
        push: PushId,
        open: &OpenRequest,
        (patience, now): (Patience, Timestamp),
    ) -> Result<Opening, LedgerError> {
        let (CaseParams::Validate(params), Some(signature)) = (&open.params, &open.signature) else {
            return Ok(Opening::No(Reason::FactsUnknown));
        };
        let test = NewTest {
            project,
            push,
            path: &signature.test,
            group: signature.group.as_deref(),
            touched: &[],
        };
        let runners = validate::runners(ledger, &test, now.minus(self.settings().history_window))?;
        if runners.is_empty() && self.settings().has_graphs && patience.waits_for(Lack::Graph) {
            return Ok(Opening::Wait(Lack::Graph));
        }
        let draft =
            validate::draft(&test, params, &runners).unwrap_or_else(|why| validate::hopeless(&test, params, why));
        if let Some(case) = ledger.case_about(CaseKind::Validate, &draft.subject, Some(push))?
            && ledger.case(case)?.is_some_and(|case| case.verdict.is_none())
        {
            return Ok(Opening::Join(case));
        }
        Ok(Opening::Open(Box::new(draft)))
    }

    /// Fills in what a bug tells of the case that is to be opened about it: the failures of the test that its summary
    /// names give the job and the push.
    fn tell_of_bug(
        &mut self,
        ledger: &mut dyn Ledger,
        request: &RequestEvent,
        open: &OpenRequest,
        now: Timestamp,
    ) -> Result<FromBug, LedgerError> {
        let kind = open.params.kind();
        let is_about_failures = matches!(kind, CaseKind::FindCulprit | CaseKind::UntilHit | CaseKind::Validate);
        if open.bug.is_none() || open.label.is_some() || !is_about_failures {
            return Ok(FromBug::NotWanted);
        }
        let Some(signature) = &open.signature else {
            return Ok(FromBug::Lacks);
        };
        let since = now.minus(self.settings().history_window);
        let failures = ledger.failures_of(&request.project, &signature.test, since)?;
        let (mut request, mut open) = (request.clone(), open.clone());
        match by_hand::worst(&failures, kind, request.push) {
            Some(failure) => {
                request.push.get_or_insert(failure.push);
                open.label = Some(failure.label.clone());
                open.signature = Some(failure.signature.clone());
                Ok(FromBug::Found(Box::new((request, open))))
            }
            // A test can be validated on a push on which it has not failed yet.
            None if kind == CaseKind::Validate && request.push.is_some() => {
                Ok(FromBug::Found(Box::new((request, open))))
            }
            None => Ok(FromBug::NoFailure),
        }
    }

    /// Why nothing comes of a case about a bug.
    fn why_not_of_bug(&self, request: &RequestEvent, open: &OpenRequest, unknown: &FromBug) -> String {
        let bug = open.bug.unwrap_or_default();
        let instead = "name the job with --label and the push with --push";
        match (unknown, &open.signature) {
            (FromBug::NoFailure, Some(signature)) => {
                let on = request.push.map_or_else(String::new, |push| format!(" on push {push}"));
                format!(
                    "bug {bug} is about {}, and no failure of it is known on {}{on} in the last {} days: {instead}",
                    signature.test,
                    request.project,
                    self.settings().history_window.as_secs() / 86_400
                )
            }
            _ if self.settings().bugs_fresh_for.is_none() => {
                format!("what bug {bug} is about is not known, because no tracker is set (`bugs.url`): {instead}")
            }
            _ => format!(
                "the tracker did not tell what bug {bug} is about: it is not there, not public, or its summary names no test; \
                 {instead}"
            ),
        }
    }

    /// Whether a request for a case that is about one push names a push by a number that the books do not know. Jobs that
    /// are wanted on pushes are looked into by themselves, and a tree without a line of history has a better reason.
    fn is_of_no_push(
        &self,
        ledger: &mut dyn Ledger,
        request: &RequestEvent,
        open: &OpenRequest,
    ) -> Result<bool, LedgerError> {
        let is_left_out = match open.params.kind() {
            CaseKind::FindCulprit | CaseKind::FindPerfCulprit => !self.settings().is_linear(&request.project),
            CaseKind::Fill | CaseKind::Add | CaseKind::Range => true,
            CaseKind::UntilHit | CaseKind::Validate | CaseKind::Baseline => false,
        };
        let Some(push) = request.push.filter(|_| !is_left_out) else {
            return Ok(false);
        };
        let rows = ledger.pushes_around(&request.project, push, 0, 0)?;
        Ok(!rows.iter().any(|row| row.push == push))
    }

    /// A person opens a case.
    pub(super) fn open_by_hand(
        &mut self,
        ledger: &mut dyn Ledger,
        batch: &mut Batch,
        event: &Event,
        patience: Patience,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let Event::Request(request) = event else { return Ok(()) };
        let RequestKind::Open(open) = &request.kind else {
            return Ok(());
        };
        let from_bug = match self.tell_of_bug(ledger, request, open, now)? {
            FromBug::NotWanted => None,
            FromBug::Found(found) => Some(found),
            FromBug::Lacks if self.settings().bugs_fresh_for.is_some() && patience.waits_for(Lack::Bugs) => {
                return wait(ledger, batch, event, Lack::Bugs, now);
            }
            unknown @ (FromBug::Lacks | FromBug::NoFailure) => {
                let decision = Decision {
                    detail: json!({ "why": self.why_not_of_bug(request, open, &unknown) }),
                    ..Decision::by_hand(event, Some(Reason::FactsUnknown), None, now)
                };
                return batch.note_decision(ledger, decision);
            }
        };
        let (request, open) = match &from_bug {
            Some(found) => (&found.0, &found.1),
            None => (&**request, &**open),
        };
        let (opening, why) = match open.params.kind() {
            _ if self.is_of_no_push(ledger, request, open)? => match self.settings().has_pushlog {
                true if patience.waits_for(Lack::Push) => (Opening::Wait(Lack::Push), None),
                _ => no(Reason::FactsUnknown, unknown_push(request)),
            },
            CaseKind::Fill | CaseKind::Add | CaseKind::Range => self.wish_by_hand(ledger, batch, request, open, now)?,
            CaseKind::Validate if request.push.is_some() => {
                let push = request.push.unwrap_or_default();
                let opening = self.validate_by_hand(ledger, &request.project, push, open, (patience, now))?;
                (opening, None)
            }
            _ => {
                let about_numbers = self.numbers_by_hand(ledger, request, open)?;
                about_numbers.unwrap_or_else(|| (by_hand::draft(request, open, self.settings()), None))
            }
        };
        let answer = |reason, case| {
            let mut decision = Decision::by_hand(event, reason, case, now);
            if let Some(why) = &why {
                decision.detail = json!({ "why": why });
            }
            decision
        };
        let mut draft = match opening {
            Opening::Open(draft) => draft,
            Opening::Join(case) => return batch.note_decision(ledger, answer(Some(Reason::Joined), Some(case))),
            Opening::Wait(lack) if patience.waits_for(lack) => {
                return wait(ledger, batch, event, lack, now);
            }
            Opening::Wait(lack) => {
                let mut decision = answer(Some(Reason::FactsUnknown), None);
                if lack == Lack::Push {
                    decision.detail = json!({ "why": unknown_push(request) });
                }
                return batch.note_decision(ledger, decision);
            }
            Opening::No(reason) => return batch.note_decision(ledger, answer(Some(reason), None)),
        };
        if draft.subject.signature.is_some()
            && draft.params.kind() != CaseKind::Validate
            && let Some(series) = ledger.unchunked(&draft.subject.project, &draft.label)?
        {
            // What fails moves between the chunks of a suite.
            draft.subject.label = series;
        }
        // A test is validated on one push; what else a case about one job is about goes on from push to push.
        let is_about_one_job = !matches!(
            draft.params.kind(),
            CaseKind::Fill | CaseKind::Add | CaseKind::Range | CaseKind::Validate
        );
        if is_about_one_job && let Some(open) = ledger.case_about(draft.params.kind(), &draft.subject, None)? {
            return batch.note_decision(ledger, answer(Some(Reason::Joined), Some(open)));
        }
        let cause = Cause::Person {
            name: request.requester.clone().unwrap_or_else(|| "unknown".into()),
        };
        let mode = if open.shadow { Mode::Shadow } else { Mode::Live };
        let case = self.new_case(*draft, cause, mode, now);
        let id = ledger.open_case(&case)?;
        batch.note_decision(ledger, Decision::by_hand(event, None, Some(id), now))?;
        self.opened(ledger, batch, CaseRow { id, ..case }, now)
    }
}

fn unknown_push(request: &RequestEvent) -> String {
    let project = &request.project;
    match (request.push, &request.revision) {
        (Some(push), _) => format!("push {push} of {project} is not known here: is the number right?"),
        (None, Some(revision)) => format!("no push of {project} with revision {revision} is known here"),
        (None, None) => format!("the push of {project} is not named"),
    }
}

/// What a bug tells of a case that is to be opened about it.
enum FromBug {
    /// The request is about no bug, or says everything itself.
    NotWanted,
    /// The request, filled in.
    Found(Box<(RequestEvent, OpenRequest)>),
    /// What the bug is about is not known yet.
    Lacks,
    /// The history knows no failure of what it is about.
    NoFailure,
}
