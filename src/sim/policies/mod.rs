//! `sheriffd simulate`: what the decisions cost and how often they are right, beside rivals and bounds.
//!
//! In: a seed and a number of trials. Out: tables with standard errors, as Markdown or JSON. The runs are simulated,
//! the decisions are those of [`crate::stats`], the very code that the daemon runs. Never: the system's chance or
//! clock; the same options print the same tables. Every policy meets the same worlds and the same coin flips.

mod bounds;
mod culprit;
mod near;
mod optimum;
mod others;
mod rivals;
mod table;
mod world;

use std::io::{self, Write};

pub use table::Report;

/// One table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// find-culprit: policies by cells of failure rates (marks 1 and 4).
    Policies,
    /// find-culprit with known rates against the exact optimum (mark 2).
    Optimum,
    /// find-culprit: the automatic size of rounds against fixed ones (mark 5).
    Rounds,
    /// find-culprit over worlds drawn from the prior, and over worlds that are not (marks 3 and 6).
    Mixed,
    /// find-culprit: with and without looking at what pushes touch.
    Near,
    /// until-hit: growing batches against fixed ones (mark 8).
    UntilHit,
    /// validate: the sequential test against its bound and fixed numbers (mark 8).
    Validate,
    /// find-perf-culprit against six runs on every push (mark 7).
    Perf,
    /// baseline: stopping by precision against fixed numbers.
    Baseline,
}

impl Table {
    /// All tables, in the order they are printed.
    pub const ALL: [Table; 9] = [
        Table::Policies,
        Table::Optimum,
        Table::Rounds,
        Table::Mixed,
        Table::Near,
        Table::UntilHit,
        Table::Validate,
        Table::Perf,
        Table::Baseline,
    ];

    /// The word that names it on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Table::Policies => "policies",
            Table::Optimum => "optimum",
            Table::Rounds => "rounds",
            Table::Mixed => "mixed",
            Table::Near => "near",
            Table::UntilHit => "until-hit",
            Table::Validate => "validate",
            Table::Perf => "perf",
            Table::Baseline => "baseline",
        }
    }
}

impl std::str::FromStr for Table {
    type Err = UnknownTable;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Table::ALL
            .into_iter()
            .find(|table| table.as_str() == text)
            .ok_or_else(|| UnknownTable(text.to_owned()))
    }
}

/// A table that there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no table `{0}`; there are policies, optimum, rounds, mixed, near, until-hit, validate, perf and baseline"
)]
pub struct UnknownTable(String);

/// How tables are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people and for docs/.
    #[default]
    Markdown,
    /// For scripts: one object a table and line.
    Json,
}

/// What to simulate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The same seed gives the same tables.
    pub seed: u64,
    /// Trials a cell. The tables that need it run more: `mixed` 5 times, `until-hit`, `validate` and `baseline` 10
    /// times.
    pub trials: u32,
    /// Which tables.
    pub tables: Vec<Table>,
    /// How they are printed.
    pub format: Format,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            seed: 1,
            trials: 200,
            tables: Table::ALL.to_vec(),
            format: Format::Markdown,
        }
    }
}

/// Simulates and prints one table after the other.
///
/// # Errors
///
/// Writing fails.
pub fn run(options: &Options, mut output: impl Write) -> io::Result<()> {
    for table in &options.tables {
        let report = report(*table, options.seed, options.trials.max(1));
        match options.format {
            Format::Markdown => writeln!(output, "{}", report.markdown())?,
            Format::Json => {
                serde_json::to_writer(&mut output, &report)?;
                writeln!(output)?;
            }
        }
        output.flush()?;
    }
    Ok(())
}

/// Simulates one table with this many trials a cell.
pub fn report(table: Table, seed: u64, trials: u32) -> Report {
    match table {
        Table::Policies => culprit::policies(seed, trials),
        Table::Optimum => optimum::table(),
        Table::Rounds => culprit::rounds(seed, trials),
        Table::Mixed => culprit::mixed(seed, trials.saturating_mul(5)),
        Table::Near => near::near(seed, trials),
        Table::UntilHit => others::until_hit(seed, trials.saturating_mul(10)),
        Table::Validate => others::validate(seed, trials.saturating_mul(10)),
        Table::Perf => others::perf(seed, trials),
        Table::Baseline => others::baseline(seed, trials.saturating_mul(10)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows as they stand in the documentation.
    fn rows(report: &Report) -> Vec<String> {
        let rows = report.rows.iter();
        rows.map(|cells| format!("| {} |", cells.join(" | "))).collect()
    }

    #[test]
    fn the_computed_rows_of_the_documentation_are_those_that_are_printed() {
        let documentation = include_str!("../../../docs/decisions.md");
        let validate = rows(&report(Table::Validate, 1, 1));
        let lower_bound = rows(&culprit::policies(1, 0)).swap_remove(0);
        let computed = rows(&report(Table::UntilHit, 1, 1))
            .into_iter()
            // The rest of that table is sampled.
            .chain(validate.into_iter().filter(|row| !row.contains("six platforms")))
            .chain([lower_bound]);
        for row in computed {
            assert!(
                documentation.contains(&row),
                "docs/decisions.md does not have the row {row}"
            );
        }
    }
}
