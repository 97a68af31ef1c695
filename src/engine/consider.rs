//! One rule on one event: opens a case, or says why not.

use std::sync::Arc;

use super::advance::depth;
use super::apply::{Engine, Note, Patience};
use super::batch::Batch;
use super::facts::HistoryFacts;
use super::ledger::{CaseRow, Decision, DecisionResult, Ledger, LedgerError};
use super::opening::validate::{self, NewTest};
use super::opening::{self, Draft, Opening, Placed, by_hand, failure};
use crate::event::{
    CaseId, CaseKind, CaseParams, Cause, CausedBy, Event, OpenRequest, Project, PushEvent, PushId, Reason, RequestKind,
    Timestamp, ValidateParams,
};
use crate::rules::{Matched, Mode, NoFacts, Rule, RuleIndex, Tracing};

impl Engine {
    /// One rule on one failure: opens a case, or says why not.
    pub(super) fn consider_job(
        &mut self,
        ledger: &mut dyn Ledger,
        batch: &mut Batch,
        event: &Event,
        placed: &Placed<'_>,
        index: RuleIndex,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let rules = Arc::clone(self.rules());
        let Some(rule) = rules.rule(index) else { return Ok(()) };
        let allows_person = rule.caused_by.contains(&CausedBy::Person);
        if let Some(reason) = opening::guards(placed, rule.open.kind(), allows_person, self.settings()) {
            return batch.note_decision(ledger, Decision::no(rule, event, reason, now));
        }
        let view = ledger.view(&self.query(placed, depth(&rule.open), now))?;
        let facts = HistoryFacts::new(placed, &view, self.settings(), now);
        let evaluation = rules.evaluate(index, event, &facts, Tracing::On);
        let mut decision = Decision::no(rule, event, Reason::Joined, now);
        decision.detail = serde_json::json!({ "clauses": evaluation.trace });
        if let Some(reason) = objection(evaluation.matched) {
            return batch.note_decision(ledger, decision.because(reason));
        }
        let (opening, around) = failure::consider(placed, &rule.open, &view, self.settings(), now);
        explain_pushes(&mut decision.detail, &around);
        self.conclude(ledger, batch, event, rule, decision, opening, now)
    }

    /// One rule on an event that is not about a run: opens a case, or says why not.
    pub(super) fn consider_other(
        &mut self,
        ledger: &mut dyn Ledger,
        batch: &mut Batch,
        event: &Event,
        index: RuleIndex,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let rules = Arc::clone(self.rules());
        let Some(rule) = rules.rule(index) else { return Ok(()) };
        let evaluation = rules.evaluate(index, event, &NoFacts, Tracing::On);
        let mut decision = Decision::no(rule, event, Reason::Joined, now);
        decision.detail = serde_json::json!({ "clauses": evaluation.trace });
        if let Some(reason) = objection(evaluation.matched) {
            return batch.note_decision(ledger, decision.because(reason));
        }
        if let (Event::Push(push), CaseParams::Validate(params)) = (event, &rule.open) {
            return self.validate_tests(ledger, batch, (event, push), (rule, params), decision, now);
        }
        let opening = Opening::No(Reason::NotPossible);
        self.conclude(ledger, batch, event, rule, decision, opening, now)
    }

    /// A rule wants the tests that a push adds to be validated: a case for each.
    fn validate_tests(
        &mut self,
        ledger: &mut dyn Ledger,
        batch: &mut Batch,
        (event, push): (&Event, &PushEvent),
        (rule, params): (&Rule, &ValidateParams),
        mut decision: Decision,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let (Some(number), Some(tests)) = (push.push, push.tests_added()) else {
            return batch.note_decision(ledger, decision.because(Reason::FactsUnknown));
        };
        decision.detail["testsAdded"] = tests.len().into();
        if tests.is_empty() {
            return batch.note_decision(ledger, decision.because(Reason::ConditionFalse));
        }
        if tests.len() > validate::MOST_TESTS {
            return batch.note_decision(ledger, decision.because(Reason::Limit));
        }
        let touched: Vec<Arc<str>> = push.changesets.iter().flat_map(|set| set.files.clone()).collect();
        for path in tests {
            let test = NewTest {
                project: &push.project,
                push: number,
                path,
                group: None,
                touched: &touched,
            };
            let mut decision = decision.clone();
            decision.detail["test"] = (**path).into();
            let runners = validate::runners(ledger, &test, now.minus(self.settings().history_window))?;
            let opening = match validate::draft(&test, params, &runners) {
                Ok(draft) => {
                    // A case is about the test on this push, however often the push is told of.
                    let known = ledger.case_about(CaseKind::Validate, &draft.subject, Some(number))?;
                    known.map_or_else(|| Opening::Open(Box::new(draft)), Opening::Join)
                }
                Err(why) => {
                    decision.detail["why"] = why.into();
                    Opening::No(Reason::NotPossible)
                }
            };
            self.conclude(ledger, batch, event, rule, decision, opening, now)?;
        }
        Ok(())
    }

    /// A person wants a test to be validated on a push.
    fn validate_by_hand(
        &mut self,
        ledger: &mut dyn Ledger,
        project: &Project,
        push: PushId,
        open: &OpenRequest,
        now: Timestamp,
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
        let draft =
            validate::draft(&test, params, &runners).unwrap_or_else(|why| validate::hopeless(&test, params, why));
        if let Some(case) = ledger.case_about(CaseKind::Validate, &draft.subject, Some(push))?
            && ledger.case(case)?.is_some_and(|case| case.verdict.is_none())
        {
            return Ok(Opening::Join(case));
        }
        Ok(Opening::Open(Box::new(draft)))
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
        let opening = match (open.params.kind(), request.push) {
            (CaseKind::Validate, Some(push)) => self.validate_by_hand(ledger, &request.project, push, open, now)?,
            _ => by_hand::draft(request, open, self.settings()),
        };
        let draft = match opening {
            Opening::Open(draft) => draft,
            Opening::Join(case) => return batch.note_decision(ledger, Decision::by_hand(event, None, Some(case), now)),
            Opening::Wait(lack) if patience.waits_for(lack) => {
                ledger.wait_for(event, &event.id(), lack, now)?;
                batch.notes.push(Note::Waits(lack));
                return Ok(());
            }
            Opening::Wait(_) => {
                let decision = Decision::by_hand(event, Some(Reason::FactsUnknown), None, now);
                return batch.note_decision(ledger, decision);
            }
            Opening::No(reason) => {
                return batch.note_decision(ledger, Decision::by_hand(event, Some(reason), None, now));
            }
        };
        // A test is validated on one push; what else a case is about goes on from push to push.
        let elsewhere = draft.params.kind() != CaseKind::Validate;
        if elsewhere && let Some(open) = ledger.case_about(draft.params.kind(), &draft.subject, None)? {
            return batch.note_decision(ledger, Decision::by_hand(event, Some(Reason::Joined), Some(open), now));
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

    /// What a rule that matched leads to.
    #[expect(
        clippy::too_many_arguments,
        reason = "one call's whole context, and only two callers"
    )]
    fn conclude(
        &mut self,
        ledger: &mut dyn Ledger,
        batch: &mut Batch,
        event: &Event,
        rule: &Rule,
        mut decision: Decision,
        opening: Opening,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let draft = match opening {
            Opening::No(reason) => return batch.note_decision(ledger, decision.because(reason)),
            Opening::Join(case) => {
                decision.case = Some(case);
                return batch.note_decision(ledger, decision.because(Reason::Joined));
            }
            Opening::Wait(lack) => {
                ledger.wait_for(event, &event.id(), lack, now)?;
                batch.notes.push(Note::Waits(lack));
                return Ok(());
            }
            Opening::Open(draft) => draft,
        };
        let throttle_key = rule
            .throttle
            .as_ref()
            .map(|throttle| throttle.by.key(event))
            .unwrap_or_default();
        if let Some(throttle) = &rule.throttle {
            let since = now.minus(throttle.per);
            let opened = ledger.cases_opened(rule.name.as_str(), &throttle_key, since, throttle.max)?;
            if opened >= throttle.max {
                return batch.note_decision(ledger, decision.because(Reason::Throttled));
            }
        }
        let cause = Cause::Rule {
            name: rule.name.clone(),
            version: self.rules().version().into(),
        };
        let case = CaseRow {
            budget: rule.budget.as_ref().map(|name| name.to_string()),
            throttle_key,
            ..self.new_case(*draft, cause, rule.mode, now)
        };
        let id = ledger.open_case(&case)?;
        decision.result = DecisionResult::Opened;
        decision.case = Some(id);
        batch.note_decision(ledger, decision)?;
        self.opened(ledger, batch, CaseRow { id, ..case }, now)
    }

    /// Tells of a case that was opened, and takes its first step.
    fn opened(
        &mut self,
        ledger: &mut dyn Ledger,
        batch: &mut Batch,
        case: CaseRow,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        batch.watch(&case);
        let id = case.id;
        batch.notes.push(Note::Opened(Box::new(case)));
        self.advance(ledger, id, now, &mut batch.notes)
    }

    fn new_case(&self, draft: Draft, cause: Cause, mode: Mode, now: Timestamp) -> CaseRow {
        let Draft {
            params,
            subject,
            label,
            platform,
            push,
            opened_by,
            targets,
            unable,
        } = draft;
        CaseRow {
            id: CaseId(0),
            cause,
            mode: self.settings().mode.unwrap_or(mode),
            budget: None,
            subject,
            label,
            platform,
            params,
            targets,
            unable,
            push,
            opened_by,
            opened_at: now,
            wake_at: None,
            verdict: None,
            closed_at: None,
            why: String::new(),
            throttle_key: String::new(),
        }
    }
}

/// Why a rule that did not match opens nothing.
fn objection(matched: Matched) -> Option<Reason> {
    match matched {
        Matched::True => None,
        Matched::False => Some(Reason::ConditionFalse),
        Matched::Unknown => Some(Reason::ConditionUnknown),
    }
}

fn explain_pushes(detail: &mut serde_json::Value, around: &failure::Surroundings) {
    let Some(gap) = &around.gap else { return };
    let number = |index: usize| around.pushes.get(index).map(|push| push.push.0);
    detail["lastGood"] = gap.last_good.and_then(number).into();
    detail["firstBad"] = number(gap.first_bad).into();
    detail["missing"] = gap
        .missing
        .iter()
        .filter_map(|index| number(*index))
        .collect::<Vec<_>>()
        .into();
    detail["inFlight"] = gap.in_flight.into();
}
