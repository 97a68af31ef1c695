//! The next step of a case: from the books to evidence, from evidence to a decision, from the decision to the outbox.

use std::sync::Arc;

use super::apply::{Engine, FORWARD, Note};
use super::evidence;
use super::ledger::{ActionRow, ActionState, CaseRow, Ledger, LedgerError, NewAction, View, ViewQuery};
use super::nearness::mark_near;
use super::share::let_go;
use super::storm;
use crate::cases::{self, Step};
use crate::event::{
    ActionKey, CaseId, CaseKind, CaseParams, Found, JobRequest, Label, Level, PushId, Reason, RunInput, Timestamp,
    Verdict, VerdictKind,
};

/// Searches of a project that are looked at for those of a storm.
pub(super) const SEARCHES_LOOKED_AT: u32 = 500;
/// Pushes that a view goes back where no case says how far.
pub(super) const BACK: u32 = 60;

impl Engine {
    /// Looks again at what time has come for: events that rules held back, scheduled rules, cases.
    ///
    /// # Errors
    /// The books are busy or damaged.
    pub fn wake(&mut self, ledger: &mut dyn Ledger, now: Timestamp, limit: u32) -> Result<Vec<Note>, LedgerError> {
        let mut notes = Vec::new();
        self.release(ledger, now, limit, &mut notes)?;
        self.tick(ledger, now, &mut notes)?;
        for id in ledger.waking(now, limit)? {
            self.advance(ledger, id, now, &mut notes)?;
        }
        Ok(notes)
    }

    /// Closes a case by hand. `None` when there is no such open case.
    ///
    /// # Errors
    /// The books are busy or damaged.
    pub fn withdraw(
        &mut self,
        ledger: &mut dyn Ledger,
        id: CaseId,
        why: &str,
        now: Timestamp,
    ) -> Result<Option<CaseRow>, LedgerError> {
        let Some(mut case) = ledger.case(id)?.filter(|case| case.verdict.is_none()) else {
            return Ok(None);
        };
        close(ledger, &mut case, withdrawn(why), now)?;
        ledger.save_case(&case)?;
        Ok(Some(case))
    }

    /// Takes the next step of a case, if there is one to take.
    pub(super) fn advance(
        &mut self,
        ledger: &mut dyn Ledger,
        id: CaseId,
        now: Timestamp,
        notes: &mut Vec<Note>,
    ) -> Result<(), LedgerError> {
        let Some(mut case) = ledger.case(id)?.filter(|case| case.verdict.is_none()) else {
            return Ok(());
        };
        if let Some(approval) = case.awaits_approval().filter(|approval| approval.expires <= now) {
            let why = format!("nobody of {} approved it by {}", approval.by, approval.expires);
            close(ledger, &mut case, withdrawn(&why), now)?;
            ledger.save_case(&case)?;
            notes.push(Note::HeldBack(Box::new(case.clone()), Reason::ApprovalExpired));
            notes.push(Note::Closed(Box::new(case)));
            return Ok(());
        }
        ledger.mark_overdue(id, now.minus(self.settings().jobs_appear_within))?;
        let view = ledger.view(&self.query_of(&case))?;
        let actions = ledger.actions_of(id)?;
        let mut evidence = evidence::of_case(&case, &view, &actions, self.settings(), now);
        evidence.numbers = self.numbers(ledger, &case, &view, &actions, &evidence, now)?;
        mark_near(ledger, &case, &mut evidence)?;
        let step = cases::decide(&case.params, &evidence, now);
        case.why.clone_from(&step.why);
        let known = std::mem::replace(&mut case.found, cases::found(&case.params, &evidence, &step));
        let established = newly_established(&known, &case.found);
        let mut requests = requests(&case, &view, &evidence, &step);
        let approval = case.awaits_approval().filter(|_| step.verdict.is_none()).cloned();
        if let Some(approval) = &approval {
            requests.clear();
            case.why = format!("awaiting approval by {}: {}", approval.by, step.why);
        }
        for request in &requests {
            ledger.add_action(
                &NewAction {
                    request: request.clone(),
                    state: if case.is_shadow() {
                        ActionState::Shadow
                    } else {
                        ActionState::Queued
                    },
                    rule: case.cause.rule_name().to_owned(),
                    budget: case.budget.clone(),
                    platform: platform(&case, &request.label),
                },
                now,
            )?;
        }
        let wake_at = self.wake_at(&case, &evidence, &step, now);
        case.wake_at = Some(approval.map_or(wake_at, |approval| wake_at.min(approval.expires)));
        if let Some(mut verdict) = step.verdict {
            verdict.why += &did_not_run(verdict.kind, &actions);
            close(ledger, &mut case, verdict, now)?;
        }
        ledger.save_case(&case)?;
        if case
            .verdict
            .as_ref()
            .is_some_and(|verdict| verdict.kind == VerdictKind::Hit)
            && !case.is_shadow()
        {
            // It is caught: what still waits or runs would only take machines.
            ledger.cancel_rest(id, now)?;
        }
        if !established.is_empty() {
            if case.verdict.is_none() {
                ledger.tell_progress(case.id, now)?;
            }
            notes.push(Note::Established(Box::new(case.clone()), established));
        }
        if case.verdict.is_some() {
            self.end_storm(ledger, &case, now, notes)?;
            notes.push(Note::Closed(Box::new(case)));
        } else if !requests.is_empty() {
            notes.push(Note::Asked(Box::new(case), requests));
        }
        Ok(())
    }

    /// When the case of a storm has named the push, nobody else has to look for it.
    fn end_storm(
        &self,
        ledger: &mut dyn Ledger,
        head: &CaseRow,
        now: Timestamp,
        notes: &mut Vec<Note>,
    ) -> Result<(), LedgerError> {
        let named = head
            .verdict
            .as_ref()
            .filter(|verdict| verdict.kind == VerdictKind::Culprit);
        let (Some(verdict), true) = (named, head.storm == Some(head.id)) else {
            return Ok(());
        };
        let pushes: Vec<String> = verdict.pushes.iter().map(|named| named.push.to_string()).collect();
        let since = head.opened_at.minus(storm::REMEMBERED);
        for mut case in ledger.recent_searches(&head.subject.project, since, SEARCHES_LOOKED_AT)? {
            if case.storm == Some(head.id) && case.id != head.id && case.verdict.is_none() {
                let why = format!("{} of the same storm named push {}", head.id, pushes.join(", "));
                supersede(ledger, &mut case, why, now)?;
                ledger.save_case(&case)?;
                notes.push(Note::Closed(Box::new(case)));
            }
        }
        Ok(())
    }

    /// What bears on a case now, as its next step would see it: for explanations.
    ///
    /// # Errors
    /// The books are busy or damaged.
    pub fn evidence_of(
        &self,
        ledger: &mut dyn Ledger,
        case: &CaseRow,
        now: Timestamp,
    ) -> Result<cases::Evidence, LedgerError> {
        let view = ledger.view(&self.query_of(case))?;
        let actions = ledger.actions_of(case.id)?;
        let mut evidence = evidence::of_case(case, &view, &actions, self.settings(), now);
        mark_near(ledger, case, &mut evidence)?;
        Ok(evidence)
    }

    /// What to look at around a case.
    fn query_of(&self, case: &CaseRow) -> ViewQuery {
        // The pushes of the targets, at most the last of which is the case's own.
        let first = case.targets.iter().map(|target| target.push).min();
        let span = first.map_or(0, |first| case.push.0.saturating_sub(first.0));
        let mut also: Vec<Label> = case.targets.iter().map(|target| target.label.clone()).collect();
        also.sort();
        also.dedup();
        ViewQuery {
            project: case.subject.project.clone(),
            label: case.label.clone(),
            series: case.subject.label.clone(),
            spans_series: case.subject.signature.is_some(),
            also,
            around: case.push,
            back: match case.params.max_depth() {
                None if is_wish(case) => u32::try_from(span).unwrap_or(u32::MAX),
                _ => depth(&case.params).max(u32::try_from(span).unwrap_or(u32::MAX)),
            },
            forward: if is_wish(case) { 0 } else { FORWARD },
            since: case.opened_at.minus(self.settings().history_window),
            rates_since: Vec::new(),
            signature: case.subject.signature.clone(),
        }
    }

    /// When to look at a case again without a message: no case waits for ever on something that never comes.
    fn wake_at(&self, case: &CaseRow, evidence: &cases::Evidence, step: &Step, now: Timestamp) -> Timestamp {
        if case.is_shadow() {
            return case
                .opened_at
                .plus(cases::SHADOW_AGE)
                .max(now.plus(self.settings().jobs_appear_within));
        }
        let is_waiting = evidence.awaited > 0 || !step.asks.is_empty();
        let soon = now.plus(self.settings().jobs_appear_within);
        let end = case.opened_at.plus(cases::MAX_AGE).max(soon);
        if is_waiting { soon } else { end }
    }
}

/// The group that the case is about, where the label's runs on the push are known to have run others: chunks move from
/// push to push.
fn manifests(case: &CaseRow, view: &View, label: &Label, push: PushId) -> Vec<String> {
    let Some(group) = case
        .subject
        .signature
        .as_ref()
        .and_then(|signature| signature.group.as_ref())
    else {
        return Vec::new();
    };
    let mut known = view
        .runs
        .iter()
        .filter(|run| run.push == push && run.label == *label)
        .filter_map(|run| run.groups.as_ref())
        .peekable();
    let moved = known.peek().is_some() && known.all(|groups| !groups.contains(group));
    if moved { vec![group.to_string()] } else { Vec::new() }
}

/// Pushes that a case looks back.
pub(super) fn depth(params: &CaseParams) -> u32 {
    params.max_depth().unwrap_or(BACK)
}

/// Whether a case is about jobs that are wanted, and nothing but these: the pushes around them do not bear on it.
fn is_wish(case: &CaseRow) -> bool {
    matches!(case.params.kind(), CaseKind::Fill | CaseKind::Add | CaseKind::Range)
}

/// The platform of a label that a case asks for.
fn platform(case: &CaseRow, label: &Label) -> Arc<str> {
    let target = case.targets.iter().find(|target| target.label == *label);
    Arc::clone(target.map_or(&case.platform, |target| &target.platform))
}

fn withdrawn(why: &str) -> Verdict {
    Verdict {
        kind: VerdictKind::Withdrawn,
        pushes: Vec::new(),
        probability: None,
        why: why.to_owned(),
    }
}

/// The levels that are established now and were not before.
fn newly_established(before: &Found, now: &Found) -> Vec<Level> {
    let is_new = |level: &&Level| {
        let same = |known: &Level| (&known.label, &known.series) == (&level.label, &level.series);
        !before.levels.iter().any(same)
    };
    now.levels.iter().filter(is_new).cloned().collect()
}

fn close(ledger: &mut dyn Ledger, case: &mut CaseRow, verdict: Verdict, now: Timestamp) -> Result<(), LedgerError> {
    case.why.clone_from(&verdict.why);
    case.verdict = Some(verdict);
    case.closed_at = Some(now);
    case.wake_at = None;
    let_go(ledger, case, now)
}

/// What a case that ends without an answer has to say of jobs that the CI took and did not run.
fn did_not_run(kind: VerdictKind, actions: &[ActionRow]) -> String {
    let gone: u32 = actions
        .iter()
        .filter(|action| action.state == ActionState::Overdue)
        .map(|action| action.times.saturating_sub(action.arrived))
        .sum();
    match kind {
        VerdictKind::Undecided | VerdictKind::NotPossible if gone > 0 => {
            format!("; {gone} of the jobs that the CI took did not run")
        }
        _ => String::new(),
    }
}

/// Closes a case because another one has made it moot.
pub(super) fn supersede(
    ledger: &mut dyn Ledger,
    case: &mut CaseRow,
    why: String,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let verdict = Verdict {
        kind: VerdictKind::Superseded,
        pushes: Vec::new(),
        probability: None,
        why,
    };
    close(ledger, case, verdict, now)
}

/// The requests of a step, numbered by round and slot.
fn requests(case: &CaseRow, view: &View, evidence: &cases::Evidence, step: &Step) -> Vec<JobRequest> {
    let round = evidence.last_step + 1;
    (1..)
        .zip(&step.asks)
        .filter_map(|(slot, ask)| {
            let row = view.pushes.iter().find(|row| row.push == ask.push)?;
            let label = ask.label.as_ref().unwrap_or(&case.label);
            // A task of the very same label on the push can be retriggered.
            let existing = view
                .runs
                .iter()
                .filter(|run| run.push == row.push && run.label == *label)
                .map(|run| run.key.task.clone())
                .next_back();
            Some(JobRequest {
                key: ActionKey {
                    case: case.id,
                    step: round,
                    slot,
                },
                project: case.subject.project.clone(),
                push: row.push,
                revision: row.revision.clone()?,
                label: label.clone(),
                times: ask.times,
                existing,
                group: row.group.clone(),
                input: RunInput {
                    manifests: manifests(case, view, label, row.push),
                    ..case.params.input().clone()
                },
                why: format!("{} {}: {}", case.params.kind(), case.subject, step.why),
            })
        })
        .collect()
}
