//! `sheriffd replay --diff OLD NEW`: two rule sets on the same recordings.
//!
//! In: what each of them did. Out: what opens newly, what no longer, what stays, and what each costs by day and
//! platform. Never: a cost that nobody would have been asked for: it is what the cases decided to ask.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;

use super::{BadLines, Observer};
use crate::cli::CliError;
use crate::cli::common::Format;
use crate::cli::costs::{CostLine, Costs, beside, write_table};
use crate::daemon::pipeline::Taken;
use crate::engine::Note;
use crate::engine::ledger::CaseRow;
use crate::event::{CaseKind, Label, Project, PushId, Timestamp};

/// Cases that the text names, of each sort.
const NAMED: usize = 50;

/// What a case is for the comparison: two rule sets may give their rules other names.
type Identity = (CaseKind, String, String);

/// What one rule set did.
#[derive(Debug, Default)]
pub(super) struct Side {
    cases: BTreeMap<Identity, OpenedCase>,
    costs: Costs,
    decoded: u64,
}

/// A case that one of the rule sets opened.
#[derive(Debug, Clone, Serialize)]
struct OpenedCase {
    at: Timestamp,
    kind: CaseKind,
    rule: String,
    project: Project,
    label: Label,
    push: PushId,
    /// Jobs it asked for in the replay.
    jobs: u64,
}

fn identity(case: &CaseRow) -> Identity {
    let run = case.opened_by.as_ref().map(ToString::to_string).unwrap_or_default();
    (case.params.kind(), run, case.subject.to_string())
}

impl Observer for Side {
    fn taken(&mut self, taken: &Taken) {
        self.decoded += taken.decoded;
    }

    fn notes(&mut self, notes: &[Note], now: Timestamp) -> Result<(), CliError> {
        for note in notes {
            match note {
                Note::Opened(case) => {
                    let opened = OpenedCase {
                        at: now,
                        kind: case.params.kind(),
                        rule: case.cause.rule_name().to_owned(),
                        project: case.subject.project.clone(),
                        label: case.label.clone(),
                        push: case.push,
                        jobs: 0,
                    };
                    self.cases.insert(identity(case), opened);
                }
                Note::Asked(case, requests) => {
                    let jobs = requests.iter().map(|request| u64::from(request.times)).sum();
                    self.costs.add(now, &case.platform, jobs);
                    if let Some(opened) = self.cases.get_mut(&identity(case)) {
                        opened.jobs += jobs;
                    }
                }
                Note::Decided(_)
                | Note::HeldBack(..)
                | Note::Established(..)
                | Note::Closed(_)
                | Note::Discarded(_)
                | Note::Waits(_) => {}
            }
        }
        Ok(())
    }
}

/// The difference, as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Comparison {
    /// Messages read.
    decoded: u64,
    /// Lines that hold no message.
    bad_lines: u64,
    /// Cases that only the new rules open.
    newly: Vec<OpenedCase>,
    /// Cases that only the old rules open.
    no_longer: Vec<OpenedCase>,
    /// Cases that both open, as the new rules do.
    stay: Vec<OpenedCase>,
    /// Jobs of the old rules.
    old_jobs: u64,
    /// Jobs of the new rules.
    new_jobs: u64,
    /// Jobs by day and platform; left the old rules, right the new ones.
    costs: Vec<CostLine>,
}

/// Prints what changed.
///
/// # Errors
/// The output is closed.
pub(super) fn write(old: Side, new: Side, bad: &BadLines, format: Format, out: &mut dyn Write) -> Result<(), CliError> {
    let only = |of: &Side, other: &Side| -> Vec<OpenedCase> {
        let mut cases: Vec<OpenedCase> = of
            .cases
            .iter()
            .filter(|(identity, _)| !other.cases.contains_key(*identity))
            .map(|(_, case)| case.clone())
            .collect();
        cases.sort_by(|a, b| (a.at, &a.label, a.push).cmp(&(b.at, &b.label, b.push)));
        cases
    };
    let mut stay: Vec<OpenedCase> = new
        .cases
        .iter()
        .filter(|(identity, _)| old.cases.contains_key(*identity))
        .map(|(_, case)| case.clone())
        .collect();
    stay.sort_by(|a, b| (a.at, &a.label, a.push).cmp(&(b.at, &b.label, b.push)));
    let comparison = Comparison {
        decoded: new.decoded,
        bad_lines: bad.count,
        newly: only(&new, &old),
        no_longer: only(&old, &new),
        stay,
        old_jobs: old.costs.jobs(),
        new_jobs: new.costs.jobs(),
        costs: beside(&old.costs, &new.costs),
    };
    match format {
        Format::Json => {
            serde_json::to_writer(&mut *out, &comparison).map_err(std::io::Error::from)?;
            writeln!(out)?;
        }
        Format::Text => text(&comparison, out)?,
    }
    out.flush()?;
    Ok(())
}

fn text(comparison: &Comparison, out: &mut dyn Write) -> std::io::Result<()> {
    let sorts = [
        ("opens newly", &comparison.newly),
        ("opens no longer", &comparison.no_longer),
    ];
    for (what, cases) in sorts {
        writeln!(out, "{what}: {}", cases.len())?;
        for case in cases.iter().take(NAMED) {
            writeln!(
                out,
                "  {}  {} {} {} push {}: {} jobs ({})",
                case.at, case.kind, case.project, case.label, case.push, case.jobs, case.rule
            )?;
        }
        if let Some(more @ 1..) = cases.len().checked_sub(NAMED) {
            writeln!(out, "  and {more} more: `--format json` has them all")?;
        }
    }
    writeln!(out, "stays: {}", comparison.stay.len())?;
    writeln!(out, "jobs: {} before, {} now", comparison.old_jobs, comparison.new_jobs)?;
    if !comparison.costs.is_empty() {
        write_table(&comparison.costs, ["before", "now"], out)?;
    }
    if comparison.bad_lines > 0 {
        writeln!(out, "{} lines hold no message", comparison.bad_lines)?;
    }
    Ok(())
}
