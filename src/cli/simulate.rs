//! `sheriffd simulate`: policy tables: runs, rounds, accuracy, beside rivals and bounds.

use std::io::Write;

use clap::{Args, ValueEnum};

use super::CliError;
use crate::sim::policies::{self, Format, Options, Table};

/// Arguments of `sheriffd simulate`.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Which tables; without any, all of them
    #[arg(value_name = "TABLE")]
    tables: Vec<Table>,
    /// The same seed prints the same tables
    #[arg(long, default_value_t = Options::default().seed)]
    seed: u64,
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
    /// For scripts: one object a table and line
    Json,
}

/// Runs `sheriffd simulate`.
pub fn run(args: &SimulateArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let mut options = Options {
        seed: args.seed,
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
