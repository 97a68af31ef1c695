//! One rule on one event: opens a case, or says why not.

use std::sync::Arc;

use super::advance::depth;
use super::apply::{Engine, Note};
use super::batch::Batch;
use super::facts::HistoryFacts;
use super::ledger::{CaseRow, Decision, DecisionResult, Lack, Ledger, LedgerError, ViewQuery};
use super::opening::validate::{self, NewTest};
use super::opening::{self, Draft, Opening, Placed, failure};
use super::wish;
use crate::event::{
    Bug, CaseId, CaseKind, CaseParams, Cause, CausedBy, Event, Found, PushEvent, Reason, Timestamp, ValidateParams,
};
use crate::rules::{
    Facts, Guard, MAX_ELEMENTS, Matched, Mode, NoFacts, Object, Rule, RuleIndex, RuleSet, Stop, Tracing, Value,
};

/// How an event comes to a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// It happened just now.
    Message,
    /// The rule held it back, and no further one came.
    Released,
}

/// What a rule that matches and acts now says: the decision so far, and the elements of its list (one that is `None`
/// where it has no list).
type Yes<'a> = (Decision, Vec<Option<Value<'a>>>);

/// A rule that is asked about an event.
pub(super) struct Asked<'a> {
    pub rules: &'a RuleSet,
    pub index: RuleIndex,
    pub rule: &'a Rule,
    pub event: &'a Event,
    pub occasion: Occasion,
    pub now: Timestamp,
}

impl Engine {
    /// One rule on one failure: opens a case, or several, or says why not.
    #[expect(
        clippy::too_many_arguments,
        reason = "one call's whole context, and only two callers"
    )]
    pub(super) fn consider_job(
        &mut self,
        ledger: &mut dyn Ledger,
        batch: &mut Batch,
        event: &Event,
        placed: &Placed<'_>,
        index: RuleIndex,
        occasion: Occasion,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let rules = Arc::clone(self.rules());
        let Some(rule) = rules.rule(index) else { return Ok(()) };
        let allows_person = rule.caused_by.contains(&CausedBy::Person);
        if let Some(reason) = opening::guards(placed, rule.open.kind(), allows_person, self.settings()) {
            return batch.note_decision(ledger, Decision::no(rule, event, reason, now));
        }
        let query = self.query_of_rule(placed, rule, now);
        let view = ledger.view(&query)?;
        let bugs = Engine::bugs_of(ledger, placed)?;
        let facts = HistoryFacts::new(placed, &view, bugs, self.settings(), now);
        let asked = Asked {
            rules: &rules,
            index,
            rule,
            event,
            occasion,
            now,
        };
        let Some((decision, elements)) = self.ask(ledger, batch, &asked, &facts)? else {
            return Ok(());
        };
        let mut is_first = true;
        for each in &elements {
            let each = each.as_ref();
            let decision = named(&decision, each);
            let Some(params) = fill(ledger, batch, &asked, &facts, each, &decision)? else {
                continue;
            };
            let subjects = match each {
                Some(Value::Object(Object::Signature(signature))) => {
                    vec![placed.subject_with(Some((*signature).clone()))]
                }
                _ => placed.subjects(),
            };
            for subject in &subjects {
                // What was opened about the one before it is in the books.
                let later = if is_first { None } else { Some(ledger.view(&query)?) };
                is_first = false;
                let view = later.as_ref().unwrap_or(&view);
                let mut decision = decision.clone();
                if subjects.len() > 1 {
                    decision.detail["signature"] = subject.signature.as_ref().map(ToString::to_string).into();
                }
                let wanted = failure::Wanted {
                    params: &params,
                    subject,
                    relaxed: &rule.relaxed,
                };
                let (mut opening, around) = failure::consider(placed, wanted, view, self.settings(), now);
                explain_pushes(&mut decision.detail, &around);
                if let Opening::Open(draft) = &opening
                    && !rule.relaxed.contains(&Guard::SameSignature)
                    && let Some((reason, search)) = self.share(ledger, batch, &asked, draft, (&around, view))?
                {
                    decision.case = Some(search);
                    batch.note_decision(ledger, decision.because(reason))?;
                    continue;
                }
                if let Opening::Open(draft) = &mut opening
                    && !rule.relaxed.contains(&Guard::Storm)
                    && let Some((reason, head)) = self.shelter(ledger, batch, draft, now)?
                {
                    decision.case = Some(head);
                    batch.note_decision(ledger, decision.because(reason))?;
                    continue;
                }
                self.conclude(ledger, batch, &asked, &facts, each, decision, opening)?;
            }
        }
        Ok(())
    }

    /// What a rule has to see of the books around a failure.
    pub(super) fn query_of_rule(&self, placed: &Placed<'_>, rule: &Rule, now: Timestamp) -> ViewQuery {
        ViewQuery {
            rates_since: rule.rate_windows().iter().map(|span| now.minus(*span)).collect(),
            ..self.query(placed, depth(&rule.open), now)
        }
    }

    /// The bugs that what failed is known by; `None` where nobody was asked.
    pub(super) fn bugs_of(ledger: &mut dyn Ledger, placed: &Placed<'_>) -> Result<Option<Vec<Bug>>, LedgerError> {
        let mut bugs: Option<Vec<Bug>> = None;
        for subject in placed.subjects() {
            if let Some(known) = ledger.bugs_of(&subject)? {
                bugs.get_or_insert_default().extend(known);
            }
        }
        Ok(bugs)
    }

    /// One rule on an event that is not about a run: opens a case, or several, or says why not.
    pub(super) fn consider_other(
        &mut self,
        ledger: &mut dyn Ledger,
        batch: &mut Batch,
        event: &Event,
        index: RuleIndex,
        occasion: Occasion,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let rules = Arc::clone(self.rules());
        let Some(rule) = rules.rule(index) else { return Ok(()) };
        let asked = Asked {
            rules: &rules,
            index,
            rule,
            event,
            occasion,
            now,
        };
        let Some((decision, elements)) = self.ask(ledger, batch, &asked, &NoFacts)? else {
            return Ok(());
        };
        for each in &elements {
            let each = each.as_ref();
            let mut decision = named(&decision, each);
            let Some(params) = fill(ledger, batch, &asked, &NoFacts, each, &decision)? else {
                continue;
            };
            if let (Event::Push(push), CaseParams::Validate(params)) = (event, &params) {
                self.validate_tests(ledger, batch, (&asked, each), push, params, decision)?;
                continue;
            }
            let opening = match (event, &params) {
                (Event::PerfAlert(alert), CaseParams::FindPerfCulprit(params)) => {
                    self.on_alert(ledger, alert, params)?
                }
                (Event::Push(push), CaseParams::Baseline(params)) => match push.push {
                    Some(number) => self.on_uplift(ledger, &push.project, number, params)?,
                    None => Opening::No(Reason::FactsUnknown),
                },
                _ => {
                    let (opening, why) = self.wish_of_rule(ledger, batch, event, &params, now)?;
                    if let Some(why) = why {
                        decision.detail["why"] = why.into();
                    }
                    opening
                }
            };
            self.conclude(ledger, batch, &asked, &NoFacts, each, decision, opening)?;
        }
        Ok(())
    }

    /// Asks a rule about an event: whether it matches and acts now, and on which elements of its list (one that is
    /// `None` where it has no list). `None`: it opens nothing, and that is written down.
    fn ask<'a>(
        &mut self,
        ledger: &mut dyn Ledger,
        batch: &mut Batch,
        asked: &Asked<'a>,
        facts: &'a dyn Facts,
    ) -> Result<Option<Yes<'a>>, LedgerError> {
        let evaluation = asked.rules.evaluate(asked.index, asked.event, facts, Tracing::On);
        let mut decision = Decision::no(asked.rule, asked.event, Reason::Joined, asked.now);
        decision.detail = serde_json::json!({ "clauses": evaluation.trace });
        let elements = asked.rules.elements(asked.index, asked.event, facts);
        let objection = match objection(evaluation.matched) {
            Some(reason) => Some(reason),
            None => match &elements {
                Err(Stop::Unknown(_)) => Some(Reason::ConditionUnknown),
                Err(Stop::Error(_)) => Some(Reason::ConditionFalse),
                Ok(Some(list)) if list.is_empty() => Some(Reason::ConditionFalse),
                Ok(_) => self.not_now(ledger, asked, &mut decision)?,
            },
        };
        let mut elements = match (elements, objection) {
            (Ok(elements), None) => elements,
            (elements, objection) => {
                match elements {
                    Ok(None) => {}
                    Ok(Some(list)) => decision.detail["elements"] = list.len().into(),
                    Err(stop) => decision.detail["elements"] = stop.to_string().into(),
                }
                let reason = objection.unwrap_or(Reason::ConditionUnknown);
                batch.note_decision(ledger, decision.because(reason))?;
                return Ok(None);
            }
        };
        if let Some(list) = &mut elements
            && list.len() > MAX_ELEMENTS
        {
            list.truncate(MAX_ELEMENTS);
            batch.note_decision(ledger, decision.clone().because(Reason::TooMany))?;
        }
        let elements = elements.map_or_else(|| vec![None], |list| list.into_iter().map(Some).collect());
        Ok(Some((decision, elements)))
    }

    /// A rule wants the tests that a push adds to be validated: a case for each, or for the one that the rule's list
    /// names.
    fn validate_tests(
        &mut self,
        ledger: &mut dyn Ledger,
        batch: &mut Batch,
        (asked, each): (&Asked<'_>, Option<&Value<'_>>),
        push: &PushEvent,
        params: &ValidateParams,
        mut decision: Decision,
    ) -> Result<(), LedgerError> {
        let (Some(number), Some(added)) = (push.push, push.tests_added()) else {
            return batch.note_decision(ledger, decision.because(Reason::FactsUnknown));
        };
        decision.detail["testsAdded"] = added.len().into();
        let tests: Vec<&str> = match each {
            Some(Value::Text(path)) => vec![path.as_ref()],
            _ => added.iter().map(|path| &***path).collect(),
        };
        if tests.is_empty() {
            return batch.note_decision(ledger, decision.because(Reason::ConditionFalse));
        }
        if added.len() > validate::MOST_TESTS {
            return batch.note_decision(ledger, decision.because(Reason::TooMany));
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
            decision.detail["test"] = path.into();
            let since = asked.now.minus(self.settings().history_window);
            let runners = validate::runners(ledger, &test, since)?;
            let may_ask = self.settings().has_graphs && batch.patience.waits_for(Lack::Graph);
            let opening = match validate::draft(&test, params, &runners) {
                Err(_) if runners.is_empty() && may_ask => Opening::Wait(Lack::Graph),
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
            self.conclude(ledger, batch, asked, &NoFacts, each, decision, opening)?;
        }
        Ok(())
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
        asked: &Asked<'_>,
        facts: &dyn Facts,
        each: Option<&Value<'_>>,
        mut decision: Decision,
        opening: Opening,
    ) -> Result<(), LedgerError> {
        let (rule, event, now) = (asked.rule, asked.event, asked.now);
        let draft = match opening {
            Opening::No(reason) => return batch.note_decision(ledger, decision.because(reason)),
            Opening::Join(case) => {
                decision.case = Some(case);
                return batch.note_decision(ledger, decision.because(Reason::Joined));
            }
            Opening::Wait(lack) => return wait(ledger, batch, event, lack, now),
            Opening::Open(draft) => draft,
        };
        let element = each.map(ToString::to_string);
        let (objection, throttle_key) = self.too_often(ledger, asked, &draft, element.as_deref())?;
        if let Some(reason) = objection {
            return batch.note_decision(ledger, decision.because(reason));
        }
        let approval = self.approval(ledger, asked, facts, &draft, each, &mut decision)?;
        let cause = Cause::Rule {
            name: rule.name.clone(),
            version: self.rules().version().into(),
        };
        let case = CaseRow {
            budget: rule.budget.as_ref().map(|name| name.to_string()),
            throttle_key,
            each: element,
            approval,
            notify: rule.notify.as_ref().map(|notify| Arc::clone(&notify.webhook)),
            ..self.new_case(*draft, cause, rule.mode, now)
        };
        let id = ledger.open_case(&case)?;
        decision.result = DecisionResult::Opened;
        decision.case = Some(id);
        batch.note_decision(ledger, decision)?;
        self.opened(ledger, batch, CaseRow { id, ..case }, now)
    }

    /// Tells of a case that was opened, and takes its first step.
    pub(super) fn opened(
        &mut self,
        ledger: &mut dyn Ledger,
        batch: &mut Batch,
        case: CaseRow,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        batch.watch(&case);
        let id = case.id;
        let awaits_approval = case.awaits_approval().is_some();
        batch.notes.push(Note::Opened(Box::new(case.clone())));
        if awaits_approval {
            batch
                .notes
                .push(Note::HeldBack(Box::new(case), Reason::AwaitingApproval));
        }
        self.advance(ledger, id, now, &mut batch.notes)
    }

    pub(super) fn new_case(&self, draft: Draft, cause: Cause, mode: Mode, now: Timestamp) -> CaseRow {
        let Draft {
            params,
            subject,
            label,
            platform,
            push,
            opened_by,
            targets,
            unable,
            span,
            storm,
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
            found: Found::default(),
            each: None,
            approval: None,
            notify: None,
            span,
            storm,
            shared_by: Vec::new(),
        }
    }
}

/// A decision about one element of a rule's list.
fn named(decision: &Decision, each: Option<&Value<'_>>) -> Decision {
    let mut decision = decision.clone();
    if let Some(each) = each {
        decision.detail["each"] = each.to_string().into();
    }
    decision
}

/// The parameters of the case that a rule opens. `None`: a text of them has no value for the event, and that is written
/// down.
fn fill<'a>(
    ledger: &mut dyn Ledger,
    batch: &mut Batch,
    asked: &Asked<'a>,
    facts: &'a dyn Facts,
    each: Option<&Value<'a>>,
    decision: &Decision,
) -> Result<Option<CaseParams>, LedgerError> {
    match asked.rule.params_for(asked.event, facts, each) {
        Ok(params) => Ok(Some(params)),
        Err(why) => {
            let mut decision = decision.clone();
            decision.detail["text"] = why.to_string().into();
            batch.note_decision(ledger, decision.because(Reason::TextUnknown))?;
            Ok(None)
        }
    }
}

/// Puts an event aside until what it lacks is there. Two requests about one push are two events.
pub(super) fn wait(
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
