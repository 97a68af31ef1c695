//! One rule on one event: opens a case, or says why not.

use std::sync::Arc;

use super::advance::depth;
use super::apply::{Engine, Note, Patience};
use super::batch::Batch;
use super::facts::HistoryFacts;
use super::ledger::{CaseRow, Decision, DecisionResult, Lack, Ledger, LedgerError};
use super::opening::{self, Draft, Opening, Placed, by_hand, failure};
use super::wish;
use crate::event::{CaseId, CaseKind, Cause, CausedBy, Event, Reason, RequestKind, Timestamp};
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
        let (opening, why) = self.wish_of_rule(ledger, batch, event, &rule.open, now)?;
        if let Some(why) = why {
            decision.detail["why"] = why.into();
        }
        self.conclude(ledger, batch, event, rule, decision, opening, now)
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
        let (opening, why) = match open.params.kind() {
            CaseKind::Fill | CaseKind::Add | CaseKind::Range => self.wish_by_hand(ledger, batch, request, open, now)?,
            _ => (by_hand::draft(request, open, self.settings()), None),
        };
        let answer = |reason, case| {
            let mut decision = Decision::by_hand(event, reason, case, now);
            if let Some(why) = &why {
                decision.detail = serde_json::json!({ "why": why });
            }
            decision
        };
        let mut draft = match opening {
            Opening::Open(draft) => draft,
            Opening::Join(case) => return batch.note_decision(ledger, answer(Some(Reason::Joined), Some(case))),
            Opening::Wait(lack) if patience.waits_for(lack) => {
                wait(ledger, batch, event, lack, now)?;
                return Ok(());
            }
            Opening::Wait(_) => return batch.note_decision(ledger, answer(Some(Reason::FactsUnknown), None)),
            Opening::No(reason) => return batch.note_decision(ledger, answer(Some(reason), None)),
        };
        if draft.subject.signature.is_some()
            && let Some(series) = ledger.series_of(&draft.subject.project, &draft.label)?
        {
            // What fails moves between the chunks of a suite.
            draft.subject.label = series;
        }
        let is_search = matches!(draft.params.kind(), CaseKind::FindCulprit | CaseKind::UntilHit);
        if is_search && let Some(open) = ledger.case_about(draft.params.kind(), &draft.subject, None)? {
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
            Opening::Wait(lack) => return wait(ledger, batch, event, lack, now),
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

/// Puts an event aside until what it lacks is there. Two requests about one push are two events.
fn wait(
    ledger: &mut dyn Ledger,
    batch: &mut Batch,
    event: &Event,
    lack: Lack,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let what = match event {
        Event::Request(request) => format!("{}#{}", event.id(), wish::short(&wish::digest(request)?)),
        _ => event.id(),
    };
    ledger.wait_for(event, &what, lack, now)?;
    batch.notes.push(Note::Waits(lack));
    Ok(())
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
