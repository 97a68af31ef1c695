//! `sheriffd simulate`: policy tables: runs, rounds, accuracy, beside rivals and bounds.

use std::io::Write;

use clap::{Args, ValueEnum};

use super::CliError;
use crate::sim::faults::tell_many;
use crate::sim::policies::{self, Format, Options, Table};

/// Arguments of `sheriffd simulate`.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Which tables; without any, all of them
    #[arg(value_name = "TABLE")]
    tables: Vec<Table>,
    /// Instead of tables: stories in which everything goes wrong around the daemon (crashes, lost answers, messages late
    /// and twice, clocks that jump, ...), and what has to hold is checked after every step
    #[arg(long, conflicts_with_all = ["tables", "trials"])]
    faults: bool,
    /// The same seed prints the same; with --faults the first seed of the stories
    #[arg(long)]
    seed: Option<u64>,
    /// With --faults: how many seeds; 1 when --seed is given, else 200
    #[arg(long, requires = "faults", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// Trials a cell; some tables run more
    #[arg(long, default_value_t = Options::default().trials, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    trials: u32,
    /// How they are printed
    #[arg(long, value_enum, default_value = "markdown")]
    format: TableFormat,
}

/// How tables are printed.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum TableFormat {
    /// For people
    Markdown,
    /// For scripts: one object a table and line; one for all stories
    Json,
}

/// Runs `sheriffd simulate`.
pub fn run(args: &SimulateArgs, out: &mut dyn Write) -> Result<(), CliError> {
    if args.faults {
        return faults(args, out);
    }
    let mut options = Options {
        seed: args.seed.unwrap_or(Options::default().seed),
        trials: args.trials,
        format: match args.format {
            TableFormat::Markdown => Format::Markdown,
            TableFormat::Json => Format::Json,
        },
        ..Options::default()
    };
    if !args.tables.is_empty() {
        options.tables.clone_from(&args.tables);
    }
    Ok(policies::run(&options, out)?)
}

/// Tells the stories; the answer is no when something was broken in one of them.
fn faults(args: &SimulateArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let seeds = args.seeds.unwrap_or(if args.seed.is_some() { 1 } else { 200 });
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let sum = tell_many(args.seed.unwrap_or(0), seeds, threads)?;
    match args.format {
        TableFormat::Markdown => sum.write(out)?,
        TableFormat::Json => writeln!(out, "{}", serde_json::json!(sum))?,
    }
    match sum.failed.as_slice() {
        [] => Ok(()),
        failed => Err(CliError::no(format!(
            "something was broken in {} of {seeds} stories",
            failed.len()
        ))),
    }
}
