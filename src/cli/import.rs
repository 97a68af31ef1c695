//! `sheriffd import`: recorded jobs into the history of a store.
//!
//! In: tables of jobs as Treeherder was given them, answers them or showed them, one row a line. Out: runs and pushes
//! in the books, and counts. Never: rules, cases, requests: a row is history, whatever it says. Importing a table again
//! changes nothing.

mod pushes;

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use self::pushes::{Numbering, Pushes};
use super::CliError;
use super::common::{ConfigArgs, FormatArgs};
use crate::bus::file::{Recording, read_lines};
use crate::daemon::parts;
use crate::engine::ledger::{LedgerError, Runs as _};
use crate::enrich::RecordedSource;
use crate::event::{JobEvent, Project};
use crate::store::sqlite::SqliteStore;
use crate::wire::{self, JobRow, WireSettings};

/// Rows written in one transaction: enough that the commit costs little, few enough that another process gets its turn.
const ROWS_TOGETHER: usize = 2_000;
/// Rows that cannot be read which are named; all are counted.
const BAD_ROWS_SHOWN: usize = 10;

/// Arguments of `sheriffd import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Tables of jobs: JSON Lines, gzip too. Each is read twice, so standard input will not do
    #[arg(required = true, value_name = "FILE")]
    tables: Vec<PathBuf>,
    /// The store, made where it is missing; that of the configuration without it
    #[arg(long, value_name = "PATH")]
    store: Option<PathBuf>,
    /// Recorded pushes, read before the tables: their numbers count, and rows find theirs by revision
    #[arg(long, value_name = "FILE")]
    pushes: Vec<PathBuf>,
    /// The project of rows and pushes that name none
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    #[command(flatten)]
    format: FormatArgs,
}

/// What an import did.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Imported {
    /// Rows read, blank lines left out.
    rows: u64,
    /// Rows that are in the history now.
    runs: u64,
    /// Of these, runs that were not there before.
    new_runs: u64,
    /// Pushes that the files name, each file's counted for itself.
    pushes: u64,
    /// Of these, pushes that were not there before.
    new_pushes: u64,
    /// Rows that were left out, by reason.
    skipped: BTreeMap<&'static str, u64>,
    /// Projects whose pushes were given other numbers than the table's, by file.
    renumbered: Vec<Renumbered>,
    /// The first rows that could not be read.
    unreadable: Vec<String>,
}

impl Imported {
    fn note_numbering(&mut self, file: &Path, numbering: &Numbering) {
        self.pushes += numbering.count();
        for (project, count) in numbering.renumbered() {
            self.renumbered.push(Renumbered {
                file: file.display().to_string(),
                project: project.clone(),
                pushes: *count,
            });
        }
    }
}

#[derive(Debug, Serialize)]
struct Renumbered {
    file: String,
    project: Project,
    pushes: u64,
}

/// Imports the tables and prints what was done.
///
/// # Errors
/// A table cannot be read, the store is unusable, or the output is closed.
pub fn run(args: &ImportArgs, config: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    for table in &args.tables {
        let opened = std::fs::File::open(table).and_then(|file| file.metadata());
        match opened {
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => return Err(unusable(table, "it is no regular file, and it has to be read twice")),
            Err(error) => return Err(unusable(table, error)),
        }
    }
    let settings = config.load()?.config;
    let path = args.store.as_ref().unwrap_or(&settings.store.path);
    let mut store = SqliteStore::open(path)?;
    let wire = WireSettings {
        backend: parts::backend_name(&settings),
        max_body: settings.broker.max_body_bytes,
    };
    let project = args.project.as_deref().map(Project::from);
    let mut imported = Imported::default();
    let before = store.transact(|books| books.summary())?;
    for file in &args.pushes {
        import_pushes(file, project.as_ref(), &mut store, &mut imported)?;
    }
    for table in &args.tables {
        Import {
            table,
            project: project.as_ref(),
            wire: &wire,
            store: &mut store,
            imported: &mut imported,
        }
        .run()?;
    }
    let after = store.transact(|books| books.summary())?;
    imported.new_runs = after.runs.saturating_sub(before.runs);
    imported.new_pushes = after.pushes.saturating_sub(before.pushes);
    args.format.write(out, &imported, |out| tell(&imported, path, out))?;
    out.flush()?;
    Ok(())
}

fn unusable(table: &Path, why: impl std::fmt::Display) -> CliError {
    CliError::usage(format!("the table {} cannot be read: {why}", table.display()))
}

/// Writes the pushes of a file.
fn import_pushes(
    file: &Path,
    project: Option<&Project>,
    store: &mut SqliteStore,
    imported: &mut Imported,
) -> Result<(), CliError> {
    let mut source = RecordedSource::default();
    source
        .add_pushes(file, project)
        .map_err(|error| CliError::usage(format!("{error}; --project names the project of pushes that do not")))?;
    let mut pushes = Pushes::default();
    source.all_pushes().for_each(|push| pushes.add_push(push));
    let numbering = store.transact(|books| pushes.number(books))?;
    imported.note_numbering(file, &numbering);
    Ok(())
}

/// The import of one table.
struct Import<'a> {
    table: &'a Path,
    project: Option<&'a Project>,
    wire: &'a WireSettings,
    store: &'a mut SqliteStore,
    imported: &'a mut Imported,
}

impl Import<'_> {
    fn run(mut self) -> Result<(), CliError> {
        let numbering = self.number_pushes()?;
        let mut rows = Rows {
            store: &mut *self.store,
            waiting: Vec::new(),
        };
        let imported = &mut *self.imported;
        let table = self.table.display();
        each_row(self.table, self.project, self.wire, |number, row| {
            imported.rows += 1;
            let skip = match row {
                Ok(row) => match placed(row, &numbering) {
                    Ok(job) => {
                        imported.runs += 1;
                        return rows.add(job);
                    }
                    Err(skip) => skip,
                },
                Err(error) => {
                    if imported.unreadable.len() < BAD_ROWS_SHOWN {
                        imported.unreadable.push(format!("{table}, line {number}: {error}"));
                    }
                    "unreadable"
                }
            };
            *imported.skipped.entry(skip).or_default() += 1;
            Ok(())
        })?;
        rows.write()?;
        Ok(())
    }

    /// Reads the table a first time: which pushes it names, and the number of each in the books.
    fn number_pushes(&mut self) -> Result<Numbering, CliError> {
        let mut pushes = Pushes::default();
        each_row(self.table, self.project, self.wire, |_, row| {
            if let Ok(row) = row {
                pushes.add(&row);
            }
            Ok(())
        })?;
        let numbering = self.store.transact(|books| pushes.number(books))?;
        self.imported.note_numbering(self.table, &numbering);
        Ok(numbering)
    }
}

/// Reads a table row by row, blank lines left out.
fn each_row(
    table: &Path,
    project: Option<&Project>,
    settings: &WireSettings,
    mut each: impl FnMut(u64, Result<JobRow, String>) -> Result<(), LedgerError>,
) -> Result<(), CliError> {
    let end = read_lines(&Recording::File(table.to_owned()), |number, line| {
        let row = match line {
            Ok(text) if text.trim().is_empty() => return ControlFlow::Continue(()),
            Ok(text) => wire::job_row(text, project, settings).map_err(|error| error.to_string()),
            Err(error) => Err(error),
        };
        match each(number, row) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    });
    match end.map_err(|error| unusable(table, error))? {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error.into()),
    }
}

/// The run of a row with its push's number in the books, or why it is no history.
fn placed(row: JobRow, numbering: &Numbering) -> Result<JobEvent, &'static str> {
    let mut job = row.job;
    if job.outcome().is_none() {
        return Err("unfinished");
    }
    let Some(project) = &job.facts.project else {
        return Err("no-project");
    };
    job.facts.push = Some(numbering.of(project, job.facts.revision.as_ref(), job.facts.push)?);
    Ok(job)
}

/// Runs on their way into the books.
struct Rows<'a> {
    store: &'a mut SqliteStore,
    waiting: Vec<JobEvent>,
}

impl Rows<'_> {
    fn add(&mut self, job: JobEvent) -> Result<(), LedgerError> {
        self.waiting.push(job);
        match self.waiting.len() >= ROWS_TOGETHER {
            true => self.write(),
            false => Ok(()),
        }
    }

    fn write(&mut self) -> Result<(), LedgerError> {
        let jobs = std::mem::take(&mut self.waiting);
        let jobs: Vec<&JobEvent> = jobs.iter().collect();
        self.store.transact(|books| books.record_runs(&jobs))
    }
}

fn tell(imported: &Imported, store: &Path, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "{} rows into {}", imported.rows, store.display())?;
    writeln!(out, "  {} runs, {} of them new", imported.runs, imported.new_runs)?;
    writeln!(out, "  {} pushes, {} of them new", imported.pushes, imported.new_pushes)?;
    for renumbered in &imported.renumbered {
        writeln!(
            out,
            "  {}: the numbers of the {} pushes of {} do not follow the times they landed: numbered anew by time",
            renumbered.file, renumbered.pushes, renumbered.project
        )?;
    }
    for (reason, count) in &imported.skipped {
        writeln!(out, "  left out: {count} {reason}: {}", sentence(reason))?;
    }
    for line in &imported.unreadable {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

/// A reason for leaving a row out, for people.
fn sentence(reason: &str) -> &'static str {
    match reason {
        "unreadable" => "the row is of no known form",
        "unfinished" => "the job had not ended",
        "no-project" => "the row names no project: --project does",
        pushes::NO_PUSH => "nothing tells which push it ran for",
        pushes::NO_NUMBER => "its push has no number, and does not come after the pushes that are known",
        pushes::NUMBER_TAKEN => "the store has another push under this number",
        _ => "",
    }
}
