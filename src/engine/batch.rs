//! What one call to [`Engine::apply`](super::Engine::apply) carries from event to event.

use std::collections::HashSet;

use super::apply::{Note, Patience};
use super::ledger::{CaseRow, Decision, Ledger, LedgerError};
use super::numbers::is_numeric;
use crate::event::{JobEvent, Label, Project, RunState};

/// What one call carries.
pub(super) struct Batch {
    /// What open cases are about.
    pub open: HashSet<(Project, Label)>,
    /// Of those, what open cases about numbers are about.
    pub numeric: HashSet<(Project, Label)>,
    /// History that nobody looks at yet, held back to be written in bulk.
    pub unwritten: Vec<JobEvent>,
    /// What happened.
    pub notes: Vec<Note>,
    /// Whether its events may wait for what they lack.
    pub patience: Patience,
}

impl Batch {
    /// With what open cases are about; its events wait for nothing.
    pub fn begin(ledger: &mut dyn Ledger) -> Result<Batch, LedgerError> {
        Ok(Batch {
            open: ledger.open_subjects()?.into_iter().collect(),
            numeric: ledger.numeric_subjects()?.into_iter().collect(),
            unwritten: Vec::new(),
            notes: Vec::new(),
            patience: Patience::Settled,
        })
    }

    /// Writes the history that was held back, so that what reads the books next sees it.
    pub fn write(&mut self, ledger: &mut dyn Ledger) -> Result<(), LedgerError> {
        if !self.unwritten.is_empty() {
            let jobs: Vec<&JobEvent> = self.unwritten.iter().collect();
            ledger.record_runs(&jobs)?;
            self.unwritten.clear();
        }
        Ok(())
    }

    /// From now on, runs that this case is about are evidence.
    pub fn watch(&mut self, case: &CaseRow) {
        let project = &case.subject.project;
        self.open.insert((project.clone(), case.subject.label.clone()));
        let targets = case
            .targets
            .iter()
            .map(|target| (project.clone(), target.label.clone()));
        self.open.extend(targets);
        if is_numeric(case.params.kind()) {
            let labels = case.targets.iter().map(|target| &target.label).chain([&case.label]);
            self.numeric
                .extend(labels.map(|label| (project.clone(), label.clone())));
        }
    }

    /// Whether an open case wants to know what the run measured.
    pub fn wants_values(&self, job: &JobEvent) -> bool {
        match (&job.facts.project, &job.facts.label) {
            (Some(project), Some(label)) if !self.numeric.is_empty() => {
                self.numeric.contains(&(project.clone(), label.clone()))
            }
            _ => false,
        }
    }

    /// Writes down what a rule or a request led to.
    pub fn note_decision(&mut self, ledger: &mut dyn Ledger, decision: Decision) -> Result<(), LedgerError> {
        ledger.note_decision(&decision)?;
        self.notes.push(Note::Decided(Box::new(decision)));
        Ok(())
    }

    /// Whether an open case is about the run.
    pub fn is_about_open_case(&self, job: &JobEvent) -> bool {
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
