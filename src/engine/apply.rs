//! Applies events to the books.

use std::collections::HashMap;
use std::sync::Arc;

use super::advance::BACK;
use super::batch::Batch;
use super::consider::Occasion;
use super::ledger::{CaseRow, Decision, GroupRow, Lack, Ledger, LedgerError, MayBeOurs, ViewQuery};
use super::opening::{self, Placed};
use super::settings::EngineSettings;
use super::wish::{REPEATS_WITHIN, digest};
use crate::event::{
    CaseKind, CausedBy, Event, JobEvent, JobRequest, Level, Outcome, PushEvent, Reason, RequestKind, TaskId, Timestamp,
};
use crate::rules::{RuleIndex, RuleSet};

/// Task groups remembered in memory; past this they are forgotten and looked up again.
const GROUPS_KEPT: usize = 20_000;
/// Pushes after the one in question that a view shows: enough tail to tell a permanent failure from a passing one.
pub(super) const FORWARD: u32 = 60;

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
    /// A case asks for nothing, for this reason.
    HeldBack(Box<CaseRow>, Reason),
    /// A case decided to ask for jobs.
    Asked(Box<CaseRow>, Vec<JobRequest>),
    /// A case about several series knows these precisely enough; it may go on with others.
    Established(Box<CaseRow>, Vec<Level>),
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
    /// Whether the event may wait for this.
    pub(super) fn waits_for(self, lack: Lack) -> bool {
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
    /// Up to when scheduled rules were looked at.
    pub(super) ticked: Option<Timestamp>,
}

impl Engine {
    /// An engine with these rules.
    pub fn new(rules: Arc<RuleSet>, settings: EngineSettings) -> Engine {
        Engine {
            rules,
            settings: Arc::new(settings),
            groups: HashMap::new(),
            ticked: None,
        }
    }

    /// The rules in force.
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// Puts other rules in force. Open cases go on as they were opened.
    pub fn set_rules(&mut self, rules: Arc<RuleSet>) {
        self.rules = rules;
        self.ticked = None;
    }

    /// Forgets what it remembers of the books. To be called when a transaction was rolled back: what was learnt in it
    /// is not written down.
    pub fn forget_books(&mut self) {
        self.groups.clear();
        self.ticked = None;
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
            patience,
            ..Batch::begin(ledger)?
        };
        for event in events {
            match event {
                Event::Job(_) => self.apply_job(ledger, &mut batch, event, patience, now)?,
                Event::Push(_) | Event::Request(_) | Event::PerfAlert(_) | Event::Timer(_) => {
                    self.apply_other(ledger, &mut batch, event, patience, now)?;
                }
            }
        }
        batch.write(ledger)?;
        Ok(batch.notes)
    }

    /// Applies what is not about a run: a push, a request, an alert.
    fn apply_other(
        &mut self,
        ledger: &mut dyn Ledger,
        batch: &mut Batch,
        mut event: Event,
        patience: Patience,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        batch.write(ledger)?;
        match &mut event {
            Event::Push(push) => ledger.record_push(push)?,
            Event::Request(request) => {
                if let (None, Some(revision)) = (request.push, &request.revision) {
                    request.push = ledger.push_of(&request.project, revision)?;
                }
                Engine::complete(ledger, request)?;
            }
            Event::PerfAlert(alert) => self.place_alert(ledger, alert)?,
            Event::Job(_) | Event::Timer(_) => {}
        }
        if event.project().is_some_and(|project| !self.settings.watches(project)) {
            batch.notes.push(Note::Discarded(Discarded::NotWatched));
            return Ok(());
        }
        if let Event::Request(request) = &event
            && let RequestKind::Open(_) = request.kind
        {
            return self.open_by_hand(ledger, batch, &event, patience, now);
        }
        let candidates = self.rules.candidates(&event);
        if let Event::Push(push) = &event
            && patience.waits_for(Lack::Tests)
            && self.lacks_tests(push, &candidates)
        {
            ledger.wait_for(&event, &event.id(), Lack::Tests, now)?;
            batch.notes.push(Note::Waits(Lack::Tests));
            return Ok(());
        }
        if candidates.is_empty() {
            // Few beside runs: each is kept.
            if self.settings.sample > 0.0 && !matches!(event, Event::Timer(_)) {
                ledger.keep_sample(&event, now)?;
            }
            if !matches!(event, Event::Push(_)) {
                batch.notes.push(Note::Discarded(Discarded::NoCaseKind));
            }
        }
        if let Event::Request(request) = &event
            && !candidates.is_empty()
            && patience == Patience::Fresh
            && !ledger.first_request(&digest(request)?, now.minus(REPEATS_WITHIN), now)?
        {
            batch.notes.push(Note::Discarded(Discarded::Duplicate));
            return Ok(());
        }
        if let Event::Push(push) = &event
            && push.changesets.is_empty()
            && self.settings.has_pushlog
            && patience.waits_for(Lack::Push)
            && self.opens_baselines(&candidates)
        {
            // Most messages of pushes do not say what is in them, and only that tells an uplift.
            ledger.wait_for(&event, &event.id(), Lack::Push, now)?;
            batch.notes.push(Note::Waits(Lack::Push));
            return Ok(());
        }
        if let Event::PerfAlert(alert) = &event
            && !candidates.is_empty()
        {
            if patience == Patience::Fresh && !self.is_new(ledger, alert, now)? {
                batch.notes.push(Note::Discarded(Discarded::Duplicate));
                return Ok(());
            }
            let depths = candidates
                .iter()
                .filter_map(|index| self.rules.rule(*index)?.open.max_depth());
            let lack = self.lack_of_alert(ledger, alert, depths.max().unwrap_or(BACK))?;
            if let Some(lack) = lack.filter(|lack| patience.waits_for(*lack)) {
                ledger.wait_for(&event, &event.id(), lack, now)?;
                batch.notes.push(Note::Waits(lack));
                return Ok(());
            }
        }
        for rule in candidates {
            self.consider_other(ledger, batch, &event, rule, Occasion::Message, now)?;
        }
        Ok(())
    }

    /// Whether a rule would validate the tests of a push, and it is not known whether there are any.
    fn lacks_tests(&self, push: &PushEvent, candidates: &[RuleIndex]) -> bool {
        let is_wanted = |index: &RuleIndex| {
            self.rules
                .rule(*index)
                .is_some_and(|rule| rule.open.kind() == CaseKind::Validate)
        };
        self.settings.has_pushlog && push.tests_added().is_none() && candidates.iter().any(is_wanted)
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
        let wants_values = self.settings.read_values
            && job.outcome() == Some(Outcome::Passed)
            && (batch.wants_values(job) || self.is_measured(job));
        // Results that were read of a run that was applied before: its rules have had their turn.
        let is_reading =
            job.facts.values.is_some() && ledger.run(&job.run)?.is_some_and(|known| known.state == job.state);
        let candidates = match is_reading {
            true => Vec::new(),
            false => self.rules.candidates(&event),
        };
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
        let lack = match self.lack(ledger, job, !candidates.is_empty(), is_evidence)? {
            None if wants_values && job.facts.values.is_none() => Some(Lack::Values),
            lack => lack,
        };
        if let Some(lack) = lack
            && patience.waits_for(lack)
        {
            let what = format!("{}:{}", job.run, job.state.as_str());
            ledger.wait_for(&event, &what, lack, now)?;
            batch.notes.push(Note::Waits(lack));
            return Ok(());
        }
        if candidates.is_empty() && !is_evidence && self.is_sampled(&job.run.task) {
            ledger.keep_sample(&event, now)?;
        }
        let Event::Job(job) = &mut event else { return Ok(()) };
        if candidates.is_empty() && !is_evidence && Placed::of(job).is_some() {
            if let Event::Job(job) = event {
                batch.unwritten.push(*job);
            }
            return Ok(());
        }
        let Event::Job(job) = &event else { return Ok(()) };
        let Some(placed) = Placed::of(job) else {
            for rule in candidates.iter().filter_map(|index| self.rules.rule(*index)) {
                let decision = Decision::no(rule, &event, Reason::FactsUnknown, now);
                batch.note_decision(ledger, decision)?;
            }
            batch.notes.push(Note::Discarded(Discarded::FactsUnknown));
            return Ok(());
        };
        batch.write(ledger)?;
        for (test, bugs) in job.facts.bugs.iter().flatten() {
            ledger.record_bugs(test, bugs, now)?;
        }
        ledger.record_runs(&[job])?;
        if patience.waits_for(Lack::Bugs) && self.lacks_bugs(ledger, job, &candidates, now)? {
            let what = format!("{}:{}", job.run, job.state.as_str());
            ledger.wait_for(&event, &what, Lack::Bugs, now)?;
            batch.notes.push(Note::Waits(Lack::Bugs));
            return Ok(());
        }
        if patience.waits_for(Lack::Pushes) && self.has_holes(ledger, &placed, &candidates, now)? {
            let what = format!("{}:{}", job.run, job.state.as_str());
            ledger.wait_for(&event, &what, Lack::Pushes, now)?;
            batch.notes.push(Note::Waits(Lack::Pushes));
            return Ok(());
        }
        if patience.waits_for(Lack::Places) && self.lacks_places(ledger, &event, &placed, &candidates, now)? {
            let what = format!("{}:{}", job.run, job.state.as_str());
            ledger.wait_for(&event, &what, Lack::Places, now)?;
            batch.notes.push(Note::Waits(Lack::Places));
            return Ok(());
        }
        for rule in candidates {
            self.consider_job(ledger, batch, &event, &placed, rule, Occasion::Message, now)?;
        }
        if is_evidence {
            let series = job.facts.series().unwrap_or_else(|| placed.label.clone());
            for case in ledger.open_about(placed.project, placed.label, &series)? {
                self.advance(ledger, case, now, &mut batch.notes)?;
            }
        }
        Ok(())
    }

    /// Whether events of this task that no rule looks at are kept, so that somebody can ask why: the same tasks always.
    fn is_sampled(&self, task: &TaskId) -> bool {
        // FNV-1a (Fowler, Noll, Vo): task ids differ in every bit, and this is asked of every event.
        let hash = task.as_str().bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        f64::from(hash) < self.settings.sample * f64::from(u32::MAX)
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

    /// Whether one of these rules looks for uplifts.
    fn opens_baselines(&self, candidates: &[RuleIndex]) -> bool {
        let kinds = candidates
            .iter()
            .filter_map(|index| Some(self.rules.rule(*index)?.open.kind()));
        kinds.into_iter().any(|kind| kind == CaseKind::Baseline)
    }

    /// Whether what the run measured is wanted whatever the cases are.
    fn is_measured(&self, job: &JobEvent) -> bool {
        let label = job.facts.label.as_ref();
        label.is_some_and(|label| self.settings.measured.is_match(label.as_str()))
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
        if job.facts.caused_by == CausedBy::Unknown {
            let wanted = wanted || is_asked_for(ledger, job)?;
            let Some(parent) = &job.facts.parent else {
                return match wanted {
                    true => Ok(Some(Lack::Task)),
                    false => Ok(None),
                };
            };
            // Whoever is known to have made it is written down whether or not anybody waits for the run: its request is
            // charged for it.
            let is_ours = ledger.is_receipt(parent)? || ledger.is_receipt(&job.run.task)?;
            if is_ours {
                job.facts.caused_by = CausedBy::Sheriffd;
            } else if wanted
                && job.group.as_ref() != Some(parent)
                && let Some(placed) = Placed::of(job)
            {
                match ledger.may_be_ours(placed.project, placed.label, placed.push)? {
                    MayBeOurs::No => job.facts.caused_by = CausedBy::Person,
                    MayBeOurs::SoonKnown => return Ok(Some(Lack::Lineage)),
                    MayBeOurs::NeverKnown => {}
                }
            }
            // A run that an action made, and whose parent is the push's own task: whose action it was is not known.
        }
        let has_outcome = matches!(job.outcome(), Some(Outcome::Failed | Outcome::Passed));
        let may_fail = job.outcome() == Some(Outcome::Failed) || is_evidence;
        if self.settings.read_failures && wanted && has_outcome && may_fail && job.facts.signatures.is_none() {
            return Ok(Some(Lack::Failures));
        }
        Ok(None)
    }

    /// Whether a rule's condition asks for the bugs of a failure, and nobody was asked about them lately.
    fn lacks_bugs(
        &self,
        ledger: &mut dyn Ledger,
        job: &JobEvent,
        candidates: &[RuleIndex],
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        let asks = |index: &RuleIndex| self.rules.rule(*index).is_some_and(|rule| rule.asks_bugs());
        let Some(fresh_for) = self.settings.bugs_fresh_for.filter(|_| candidates.iter().any(asks)) else {
            return Ok(false);
        };
        if job.facts.bugs.is_some() {
            return Ok(false);
        }
        let signatures = job.facts.signatures.as_deref().unwrap_or_default();
        for signature in signatures.iter().take(opening::SIGNATURES_EACH) {
            if !ledger.has_bugs_of(&signature.test, now.minus(fresh_for))? {
                return Ok(true);
            }
        }
        Ok(false)
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
            .filter_map(|index| self.rules.rule(*index)?.open.max_depth())
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

    pub(super) fn query(&self, placed: &Placed<'_>, back: u32, now: Timestamp) -> ViewQuery {
        ViewQuery {
            project: placed.project.clone(),
            label: placed.label.clone(),
            series: placed.job.facts.series().unwrap_or_else(|| placed.label.clone()),
            spans_series: placed.subjects().iter().any(|subject| subject.signature.is_some()),
            also: Vec::new(),
            around: placed.push,
            back,
            forward: FORWARD,
            since: now.minus(self.settings.history_window),
            rates_since: Vec::new(),
            signature: placed.subject().signature,
        }
    }
}

/// Whether a request of ours has asked for a job like this run, so that the run may be its: however late it comes, and
/// whether or not its case is still open, it counts against the request. One whose cause is known is settled already.
fn is_asked_for(ledger: &mut dyn Ledger, job: &JobEvent) -> Result<bool, LedgerError> {
    let Some(placed) = Placed::of(job) else {
        return Ok(false);
    };
    if !ledger.is_asked_for(placed.project, placed.label, placed.push)? {
        return Ok(false);
    }
    let known = ledger.run(&job.run)?;
    Ok(known.is_none_or(|run| run.caused_by == CausedBy::Unknown))
}
