//! From the books to the numbers that bear on a case, and what has to be read first.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::apply::Engine;
use super::ledger::{ActionRow, CaseRow, Ledger, LedgerError, ValueRow, Values, ValuesQuery, View};
use super::settings::EngineSettings;
use crate::cases::{Evidence, Numbers, PushNumbers, SeriesNumbers, TargetNumbers};
use crate::event::{CaseKind, Event, JobEvent, Label, PushId, Timestamp};

/// Earlier values of a series that a baseline is compared with, the newest.
const PREVIOUS: usize = 60;

/// Whether a kind is about what runs measure.
pub(super) fn is_numeric(kind: CaseKind) -> bool {
    matches!(kind, CaseKind::FindPerfCulprit | CaseKind::Baseline)
}

impl Engine {
    /// The numbers of a case. Runs whose results were not read yet are put on the list of what is to be fetched.
    pub(super) fn numbers(
        &self,
        ledger: &mut dyn Ledger,
        case: &CaseRow,
        view: &View,
        actions: &[ActionRow],
        evidence: &Evidence,
        now: Timestamp,
    ) -> Result<Numbers, LedgerError> {
        if !is_numeric(case.params.kind()) {
            return Ok(Numbers::default());
        }
        let mut values = ledger.values(&query(case, view, self.settings()))?;
        if !self.settings().read_values {
            values.unread.clear();
        }
        for run in &values.unread {
            self.read_later(ledger, run, now)?;
        }
        Ok(numbers(case, &values, actions, evidence))
    }

    fn read_later(&self, ledger: &mut dyn Ledger, run: &JobEvent, now: Timestamp) -> Result<(), LedgerError> {
        let what = format!("{}:values", run.run);
        ledger.wait_for(
            &Event::Job(Box::new(run.clone())),
            &what,
            super::ledger::Lack::Values,
            now,
        )
    }
}

fn query(case: &CaseRow, view: &View, settings: &EngineSettings) -> ValuesQuery {
    let mut labels: Vec<Label> = case.targets.iter().map(|target| target.label.clone()).collect();
    if labels.is_empty() {
        labels.push(case.label.clone());
    }
    labels.sort();
    labels.dedup();
    let bound = |row: Option<&super::ledger::PushRow>| row.map_or(case.push, |row| row.push);
    ValuesQuery {
        project: case.subject.project.clone(),
        labels,
        series: case.subject.series.clone(),
        from: bound(view.pushes.first()),
        to: match case.params.kind() {
            // What comes after the push may have another level.
            CaseKind::Baseline => case.push,
            _ => bound(view.pushes.last()),
        },
        since: case.opened_at.minus(settings.history_window),
    }
}

fn numbers(case: &CaseRow, values: &Values, actions: &[ActionRow], evidence: &Evidence) -> Numbers {
    let asked = |label: &Label, push: PushId| -> u32 {
        actions
            .iter()
            .filter(|action| action.label == *label && action.push == push)
            .map(|action| action.arrived)
            .fold(0, u32::saturating_add)
    };
    let unread = u32::try_from(values.unread.len()).unwrap_or(u32::MAX);
    if case.params.kind() == CaseKind::Baseline {
        let targets = evidence.targets.iter().map(|target| TargetNumbers {
            asked: asked(&target.label, target.push),
            series: series_of(&target.label, target.push, &values.rows),
        });
        return Numbers {
            targets: targets.collect(),
            unread,
            ..Numbers::default()
        };
    }
    let first = evidence.pushes.first().map_or(case.push, |push| push.push);
    let on = |push: PushId| {
        values
            .rows
            .iter()
            .filter(move |row| row.push == push)
            .map(|row| row.value)
    };
    Numbers {
        pushes: evidence
            .pushes
            .iter()
            .map(|push| PushNumbers {
                values: on(push.push).collect(),
                asked: asked(&case.label, push.push),
            })
            .collect(),
        before: values
            .rows
            .iter()
            .filter(|row| row.push < first)
            .map(|row| row.value)
            .collect(),
        unread,
        targets: Vec::new(),
    }
}

/// The series that a label measured on a push, with what they were before. A series that the push does not measure any
/// more is none of its.
fn series_of(label: &Label, push: PushId, rows: &[ValueRow]) -> Vec<SeriesNumbers> {
    let mut by_name: BTreeMap<&Arc<str>, SeriesNumbers> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.label == *label) {
        let series = by_name.entry(&row.series).or_insert_with(|| SeriesNumbers {
            series: Arc::clone(&row.series),
            previous: Vec::new(),
            values: Vec::new(),
        });
        match row.push == push {
            true => series.values.push(row.value),
            false => series.previous.push(row.value),
        }
    }
    let is_measured_now = by_name.values().any(|series| !series.values.is_empty());
    let mut all: Vec<SeriesNumbers> = by_name
        .into_values()
        .filter(|series| !is_measured_now || !series.values.is_empty())
        .collect();
    for series in &mut all {
        let surplus = series.previous.len().saturating_sub(PREVIOUS);
        series.previous.drain(..surplus);
    }
    all
}
