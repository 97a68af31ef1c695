//! Applies events to the books.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::evidence;
use super::facts::HistoryFacts;
use super::ledger::{
    ActionState, CaseRow, Decision, DecisionResult, GroupRow, Lack, Ledger, LedgerError, NewAction, View, ViewQuery,
};
use super::opening::{self, Opening, Placed};
use super::settings::EngineSettings;
use crate::cases::{self, Step};
use crate::event::{
    ActionKey, CaseId, CaseParams, Cause, CausedBy, Event, JobEvent, JobRequest, Label, Outcome, Project, Reason,
    RunState, TaskId, Timestamp, Verdict, VerdictKind,
};
use crate::rules::{Matched, Rule, RuleIndex, RuleSet, Tracing};

/// Task groups remembered in memory; past this they are forgotten and looked up again.
const GROUPS_KEPT: usize = 20_000;
/// Pushes after the one in question that a view shows: enough tail to tell a permanent failure from a passing one.
const FORWARD: u32 = 60;
/// Pushes that a view goes back where no case says how far.
const BACK: u32 = 60;

/// Why a sound event was not kept. A closed list: each is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Discarded {
    /// Its project is not watched.
    NotWatched,
    /// Its project, label or push is not known, and is not to be had.
    FactsUnknown,
    /// It says nothing that was not known.
    Duplicate,
    /// A person's request of a kind that cannot be served.
    NoCaseKind,
}

impl Discarded {
    /// The word used in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Discarded::NotWatched => "not-watched",
            Discarded::FactsUnknown => "facts-unknown",
            Discarded::Duplicate => "duplicate",
            Discarded::NoCaseKind => "no-case-kind",
        }
    }
}

/// Something worth telling.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    /// A rule matched an event, and this is what came of it.
    Decided(Box<Decision>),
    /// A case was opened.
    Opened(Box<CaseRow>),
    /// A case decided to ask for jobs.
    Asked(Box<CaseRow>, Vec<JobRequest>),
    /// A case ended.
    Closed(Box<CaseRow>),
    /// An event was not kept.
    Discarded(Discarded),
    /// An event waits for facts.
    Waits(Lack),
}

/// Whether an event may still wait for what it lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// It just came: what it lacks is fetched.
    Fresh,
    /// This was fetched: it may still wait for something else.
    Fetched(Lack),
    /// What it lacks is not to be had: it is applied as it is.
    Settled,
}

impl Patience {
    fn waits_for(self, lack: Lack) -> bool {
        match self {
            Patience::Fresh => true,
            Patience::Settled => false,
            // A definition that does not say where its task belongs will not say it the second time.
            Patience::Fetched(fetched) => lack == Lack::Lineage || lack > fetched,
        }
    }
}

/// Applies events. Holds rules and settings; everything else is in the books.
pub struct Engine {
    rules: Arc<RuleSet>,
    settings: Arc<EngineSettings>,
    groups: HashMap<TaskId, GroupRow>,
}

impl Engine {
    /// An engine with these rules.
    pub fn new(rules: Arc<RuleSet>, settings: EngineSettings) -> Engine {
        Engine {
            rules,
            settings: Arc::new(settings),
            groups: HashMap::new(),
        }
    }

    /// The rules in force.
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// Puts other rules in force. Open cases go on as they were opened.
    pub fn set_rules(&mut self, rules: Arc<RuleSet>) {
        self.rules = rules;
    }

    /// Forgets what it remembers of the books. To be called when a transaction was rolled back: what was learnt in it
    /// is not written down.
    pub fn forget_books(&mut self) {
        self.groups.clear();
    }

    /// The settings.
    pub fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    /// Applies events in order.
    ///
    /// # Errors
    /// The books are busy or damaged; the caller's transaction is rolled back and nothing has happened.
    pub fn apply(
        &mut self,
        ledger: &mut dyn Ledger,
        events: Vec<Event>,
        patience: Patience,
        now: Timestamp,
    ) -> Result<Vec<Note>, LedgerError> {
        let mut batch = Batch {
            open: ledger.open_subjects()?.into_iter().collect(),
            unwritten: Vec::new(),
            notes: Vec::new(),
        };
        for event in events {
            match event {
                Event::Job(_) => self.apply_job(ledger, &mut batch, event, patience, now)?,
                Event::Push(push) => {
                    batch.write(ledger)?;
                    ledger.record_push(&push)?;
                }
                Event::Request(_) | Event::PerfAlert(_) => batch.notes.push(Note::Discarded(Discarded::NoCaseKind)),
            }
        }
        batch.write(ledger)?;
        Ok(batch.notes)
    }

    /// Looks again at cases whose time has come.
    ///
    /// # Errors
    /// The books are busy or damaged.
    pub fn wake(&mut self, ledger: &mut dyn Ledger, now: Timestamp, limit: u32) -> Result<Vec<Note>, LedgerError> {
        let mut notes = Vec::new();
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
        let verdict = Verdict {
            kind: VerdictKind::Withdrawn,
            pushes: Vec::new(),
            probability: None,
            why: why.to_owned(),
        };
        close(&mut case, verdict, now);
        ledger.save_case(&case)?;
        Ok(Some(case))
    }

    fn apply_job(
        &mut self,
        ledger: &mut dyn Ledger,
        batch: &mut Batch,
        mut event: Event,
        patience: Patience,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let Event::Job(job) = &mut event else { return Ok(()) };
        self.place(ledger, job)?;
        if job
            .facts
            .project
            .as_ref()
            .is_some_and(|project| !self.settings.watches(project))
        {
            batch.notes.push(Note::Discarded(Discarded::NotWatched));
            return Ok(());
        }
        let is_evidence = batch.is_about_open_case(job);
        let candidates = self.rules.candidates(&event);
        let Event::Job(job) = &mut event else { return Ok(()) };
        // A repeat of what was looked at already. What was fetched for was not.
        if patience == Patience::Fresh
            && (is_evidence || !candidates.is_empty())
            && ledger.run(&job.run)?.is_some_and(|known| {
                known.state == job.state && known.caused_by != CausedBy::Unknown && job.facts.signatures.is_none()
            })
        {
            batch.notes.push(Note::Discarded(Discarded::Duplicate));
            return Ok(());
        }
        if let Some(lack) = self.lack(ledger, job, !candidates.is_empty(), is_evidence)?
            && patience.waits_for(lack)
        {
            let what = format!("{}:{}", job.run, job.state.as_str());
            ledger.wait_for(&event, &what, lack, now)?;
            batch.notes.push(Note::Waits(lack));
            return Ok(());
        }
        if candidates.is_empty() && !is_evidence && Placed::of(job).is_some() {
            if let Event::Job(job) = event {
                batch.unwritten.push(*job);
            }
            return Ok(());
        }
        let Event::Job(job) = &event else { return Ok(()) };
        let Some(placed) = Placed::of(job) else {
            for rule in candidates.iter().filter_map(|index| self.rules.rule(*index)) {
                let decision = Decision::no(rule, job, Reason::FactsUnknown, now);
                batch.note_decision(ledger, decision)?;
            }
            batch.notes.push(Note::Discarded(Discarded::FactsUnknown));
            return Ok(());
        };
        batch.write(ledger)?;
        ledger.record_runs(&[job])?;
        if patience.waits_for(Lack::Pushes) && self.has_holes(ledger, &placed, &candidates, now)? {
            let what = format!("{}:{}", job.run, job.state.as_str());
            ledger.wait_for(&event, &what, Lack::Pushes, now)?;
            batch.notes.push(Note::Waits(Lack::Pushes));
            return Ok(());
        }
        for rule in candidates {
            self.consider(ledger, batch, &event, &placed, rule, now)?;
        }
        if is_evidence {
            let view = ledger.view(&self.query(&placed, BACK, now))?;
            for case in view.open {
                self.advance(ledger, case.id, now, &mut batch.notes)?;
            }
        }
        Ok(())
    }

    /// Fills in what the task group and the books know: project, revision, push.
    fn place(&mut self, ledger: &mut dyn Ledger, job: &mut JobEvent) -> Result<(), LedgerError> {
        if let Some(group) = &job.group {
            let facts = &mut job.facts;
            let learned = match self.groups.get(group) {
                None if facts.push.is_none() || facts.project.is_none() => ledger.group(group)?,
                _ => None,
            };
            if let Some(row) = learned {
                self.remember(group, row);
            }
            match self.groups.get(group) {
                Some(row) => {
                    facts.project.get_or_insert_with(|| row.project.clone());
                    if facts.push.is_none() {
                        facts.push = row.push;
                    }
                    if facts.revision.is_none() {
                        facts.revision.clone_from(&row.revision);
                    }
                }
                None => {
                    if let (Some(project), Some(push)) = (&facts.project, facts.push) {
                        let row = GroupRow {
                            project: project.clone(),
                            push: Some(push),
                            revision: facts.revision.clone(),
                        };
                        ledger.learn_group(group, &row)?;
                        self.remember(group, row);
                    }
                }
            }
        }
        if let (None, Some(project), Some(revision)) = (job.facts.push, &job.facts.project, &job.facts.revision) {
            job.facts.push = ledger.push_of(project, revision)?;
        }
        Ok(())
    }

    fn remember(&mut self, group: &TaskId, row: GroupRow) {
        if self.groups.len() >= GROUPS_KEPT {
            self.groups.clear();
        }
        self.groups.insert(group.clone(), row);
    }

    /// What has to be fetched before the event can be applied, if anything. Settles whose run it is on the way.
    fn lack(
        &self,
        ledger: &mut dyn Ledger,
        job: &mut JobEvent,
        is_candidate: bool,
        is_evidence: bool,
    ) -> Result<Option<Lack>, LedgerError> {
        let wanted = is_candidate || is_evidence;
        if Placed::of(job).is_none() {
            let facts = &job.facts;
            let needs_number = facts.label.is_some() && facts.project.is_some() && facts.revision.is_some();
            return Ok(Some(if needs_number && self.settings.has_pushlog {
                Lack::Push
            } else {
                Lack::Task
            }));
        }
        if wanted && job.facts.caused_by == CausedBy::Unknown {
            let Some(parent) = &job.facts.parent else {
                return Ok(Some(Lack::Task));
            };
            if ledger.action_of(parent)?.is_some() {
                job.facts.caused_by = CausedBy::Sheriffd;
            } else if let Some(placed) = Placed::of(job)
                && ledger.is_sending(placed.project, placed.label, placed.push)?
            {
                return Ok(Some(Lack::Lineage));
            } else {
                job.facts.caused_by = CausedBy::Person;
            }
        }
        let has_outcome = matches!(job.outcome(), Some(Outcome::Failed | Outcome::Passed));
        let may_fail = job.outcome() == Some(Outcome::Failed) || is_evidence;
        if self.settings.read_failures && wanted && has_outcome && may_fail && job.facts.signatures.is_none() {
            return Ok(Some(Lack::Failures));
        }
        Ok(None)
    }

    /// Whether a search for a culprit would look at pushes that no message told of. Where a pushlog can be asked,
    /// pushes are numbered without gaps.
    fn has_holes(
        &self,
        ledger: &mut dyn Ledger,
        placed: &Placed<'_>,
        candidates: &[RuleIndex],
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        let depth = candidates
            .iter()
            .filter_map(|index| match &self.rules.rule(*index)?.open {
                CaseParams::FindCulprit(params) => Some(params.max_depth),
                CaseParams::UntilHit(_) => None,
            })
            .max();
        let Some(depth) = depth.filter(|_| self.settings.has_pushlog && self.settings.is_linear(placed.project)) else {
            return Ok(false);
        };
        let view = ledger.view(&ViewQuery {
            forward: 0,
            ..self.query(placed, depth, now)
        })?;
        Ok(opening::has_holes(&view, placed.push))
    }

    fn query(&self, placed: &Placed<'_>, back: u32, now: Timestamp) -> ViewQuery {
        ViewQuery {
            project: placed.project.clone(),
            label: placed.label.clone(),
            series: placed.job.facts.series().unwrap_or_else(|| placed.label.clone()),
            spans_series: placed.subject().signature.is_some(),
            around: placed.push,
            back,
            forward: FORWARD,
            since: now.minus(self.settings.history_window),
        }
    }

    /// One rule on one event: opens a case, or says why not.
    fn consider(
        &mut self,
        ledger: &mut dyn Ledger,
        batch: &mut Batch,
        event: &Event,
        placed: &Placed<'_>,
        index: RuleIndex,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let rules = Arc::clone(&self.rules);
        let Some(rule) = rules.rule(index) else { return Ok(()) };
        let kind = rule.open.kind();
        let allows_person = rule.caused_by.contains(&CausedBy::Person);
        if let Some(reason) = opening::guards(placed, kind, allows_person, &self.settings) {
            return batch.note_decision(ledger, Decision::no(rule, placed.job, reason, now));
        }
        let view = ledger.view(&self.query(placed, depth(&rule.open), now))?;
        let facts = HistoryFacts::new(placed, &view, &self.settings, now);
        let evaluation = rules.evaluate(index, event, &facts, Tracing::On);
        let mut decision = Decision::no(rule, placed.job, Reason::Joined, now);
        decision.detail = serde_json::json!({ "clauses": evaluation.trace });
        match evaluation.matched {
            Matched::True => {}
            Matched::False => return batch.note_decision(ledger, decision.because(Reason::ConditionFalse)),
            Matched::Unknown => return batch.note_decision(ledger, decision.because(Reason::ConditionUnknown)),
        }
        let (opening, around) = opening::consider(placed, kind, &view, &self.settings, now);
        explain_pushes(&mut decision.detail, &around);
        match opening {
            Opening::No(reason) => return batch.note_decision(ledger, decision.because(reason)),
            Opening::Join(case) => {
                decision.case = Some(case.id);
                return batch.note_decision(ledger, decision);
            }
            Opening::Open => {}
        }
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
        let mut case = self.new_case(rule, &rules, placed, now);
        case.throttle_key = throttle_key;
        case.id = ledger.open_case(&case)?;
        batch
            .open
            .insert((case.subject.project.clone(), case.subject.label.clone()));
        decision.result = DecisionResult::Opened;
        decision.case = Some(case.id);
        batch.note_decision(ledger, decision)?;
        let id = case.id;
        batch.notes.push(Note::Opened(Box::new(case)));
        self.advance(ledger, id, now, &mut batch.notes)
    }

    fn new_case(&self, rule: &Rule, rules: &RuleSet, placed: &Placed<'_>, now: Timestamp) -> CaseRow {
        CaseRow {
            id: CaseId(0),
            cause: Cause::Rule {
                name: rule.name.clone(),
                version: rules.version().into(),
            },
            mode: self.settings.mode.unwrap_or(rule.mode),
            budget: rule.budget.as_ref().map(|name| name.to_string()),
            subject: placed.subject(),
            label: placed.label.clone(),
            platform: placed.job.facts.platform.clone().unwrap_or_else(|| "unknown".into()),
            params: rule.open.clone(),
            push: placed.push,
            opened_by: Some(placed.job.run.clone()),
            opened_at: now,
            wake_at: None,
            verdict: None,
            closed_at: None,
            why: String::new(),
            throttle_key: String::new(),
        }
    }

    /// Takes the next step of a case, if there is one to take.
    fn advance(
        &mut self,
        ledger: &mut dyn Ledger,
        id: CaseId,
        now: Timestamp,
        notes: &mut Vec<Note>,
    ) -> Result<(), LedgerError> {
        let Some(mut case) = ledger.case(id)?.filter(|case| case.verdict.is_none()) else {
            return Ok(());
        };
        ledger.mark_overdue(id, now.minus(self.settings.jobs_appear_within))?;
        let view = ledger.view(&ViewQuery {
            project: case.subject.project.clone(),
            label: case.label.clone(),
            series: case.subject.label.clone(),
            spans_series: case.subject.signature.is_some(),
            around: case.push,
            back: depth(&case.params),
            forward: FORWARD,
            since: case.opened_at.minus(self.settings.history_window),
        })?;
        let evidence = evidence::of_case(&case, &view, &self.settings, now);
        let step = cases::decide(&case.params, &evidence, now);
        case.why.clone_from(&step.why);
        let requests = requests(&case, &view, &evidence, &step);
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
                    platform: Arc::clone(&case.platform),
                },
                now,
            )?;
        }
        case.wake_at = Some(self.wake_at(&case, &evidence, &step, now));
        if let Some(verdict) = step.verdict {
            close(&mut case, verdict, now);
        }
        ledger.save_case(&case)?;
        if case.verdict.is_some() {
            notes.push(Note::Closed(Box::new(case)));
        } else if !requests.is_empty() {
            notes.push(Note::Asked(Box::new(case), requests));
        }
        Ok(())
    }

    /// When to look at a case again without a message: no case waits for ever on something that never comes.
    fn wake_at(&self, case: &CaseRow, evidence: &cases::Evidence, step: &Step, now: Timestamp) -> Timestamp {
        if case.is_shadow() {
            return case
                .opened_at
                .plus(cases::SHADOW_AGE)
                .max(now.plus(self.settings.jobs_appear_within));
        }
        let is_waiting = evidence.awaited > 0 || !step.asks.is_empty();
        let soon = now.plus(self.settings.jobs_appear_within);
        let end = case.opened_at.plus(cases::MAX_AGE).max(soon);
        if is_waiting { soon } else { end }
    }
}

/// Pushes that a case of this kind looks back.
fn depth(params: &CaseParams) -> u32 {
    match params {
        CaseParams::FindCulprit(params) => params.max_depth,
        CaseParams::UntilHit(_) => BACK,
    }
}

fn close(case: &mut CaseRow, verdict: Verdict, now: Timestamp) {
    case.why.clone_from(&verdict.why);
    case.verdict = Some(verdict);
    case.closed_at = Some(now);
    case.wake_at = None;
}

/// The requests of a step, numbered by round and slot.
fn requests(case: &CaseRow, view: &View, evidence: &cases::Evidence, step: &Step) -> Vec<JobRequest> {
    let round = evidence.last_step + 1;
    (1..)
        .zip(&step.asks)
        .filter_map(|(slot, ask)| {
            let row = view.pushes.get(ask.push)?;
            // A task of the very same label on the push can be retriggered.
            let existing = view
                .runs
                .iter()
                .filter(|run| run.push == row.push && run.label == case.label)
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
                label: case.label.clone(),
                times: ask.times,
                existing,
                group: row.group.clone(),
                input: case.params.input().clone(),
                why: format!("{} {}: {}", case.params.kind(), case.subject, step.why),
            })
        })
        .collect()
}

fn explain_pushes(detail: &mut serde_json::Value, around: &opening::Surroundings) {
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

/// What one call to [`Engine::apply`] carries from event to event.
struct Batch {
    open: HashSet<(Project, Label)>,
    unwritten: Vec<JobEvent>,
    notes: Vec<Note>,
}

impl Batch {
    /// Writes the history that was held back, so that what reads the books next sees it.
    fn write(&mut self, ledger: &mut dyn Ledger) -> Result<(), LedgerError> {
        if !self.unwritten.is_empty() {
            let jobs: Vec<&JobEvent> = self.unwritten.iter().collect();
            ledger.record_runs(&jobs)?;
            self.unwritten.clear();
        }
        Ok(())
    }

    fn note_decision(&mut self, ledger: &mut dyn Ledger, decision: Decision) -> Result<(), LedgerError> {
        ledger.note_decision(&decision)?;
        self.notes.push(Note::Decided(Box::new(decision)));
        Ok(())
    }

    fn is_about_open_case(&self, job: &JobEvent) -> bool {
        let (Some(project), Some(label)) = (&job.facts.project, &job.facts.label) else {
            return false;
        };
        if self.open.is_empty() || matches!(job.state, RunState::Finished(_)) && job.facts.push.is_none() {
            return false;
        }
        self.open.contains(&(project.clone(), label.clone()))
            || job
                .facts
                .series()
                .is_some_and(|series| self.open.contains(&(project.clone(), series)))
    }
}
