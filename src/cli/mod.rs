//! The command line: one file a subcommand.
//!
//! In: arguments and files. Out: text or JSON for people and scripts, and an exit code: 0 fine, 1 the answer is no,
//! 2 usage, 69 a needed service cannot be reached, 78 the configuration is invalid. Never: a decision of its own.

pub mod decide;
mod demo;
mod import;
mod replay;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::bus::BusError;
use crate::engine::ledger::LedgerError;

/// Keeps continuous-integration trees green: finds the push that broke a job, hunts intermittents, asks the CI for jobs
/// within limits, and says why.
#[derive(Debug, Parser)]
#[command(name = "sheriffd", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The daemon against a simulated CI: no broker, no database, no account
    Demo(demo::DemoArgs),
    /// Recorded messages through the rules: what would have been asked for, what not, and why
    Replay(replay::ReplayArgs),
    /// Recorded jobs into the history of a store: a young history stays silent
    Import(import::ImportArgs),
}

/// How a command prints its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs: JSON.
    Json,
}

/// The name under which the books keep the CI that recordings and tables speak of: the one that the daemon uses for it,
/// so that both know the same runs.
const SOURCE: &str = "taskcluster";

/// Why a command did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct CliError {
    code: u8,
    text: String,
}

impl CliError {
    /// The answer is no (exit code 1).
    pub fn no(text: impl Into<String>) -> CliError {
        CliError {
            code: 1,
            text: text.into(),
        }
    }

    /// The command was called in a way that cannot be carried out (exit code 2).
    pub fn usage(text: impl Into<String>) -> CliError {
        CliError {
            code: 2,
            text: text.into(),
        }
    }

    /// Something that is needed cannot be reached (exit code 69).
    pub fn unavailable(text: impl Into<String>) -> CliError {
        CliError {
            code: 69,
            text: text.into(),
        }
    }

    /// The configuration or the rules are invalid (exit code 78).
    pub fn config(text: impl Into<String>) -> CliError {
        CliError {
            code: 78,
            text: text.into(),
        }
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> CliError {
        CliError::unavailable(error.to_string())
    }
}

impl From<LedgerError> for CliError {
    fn from(error: LedgerError) -> CliError {
        CliError::unavailable(error.to_string())
    }
}

impl From<BusError> for CliError {
    fn from(error: BusError) -> CliError {
        match error {
            BusError::Unavailable(text) => CliError::unavailable(text),
            BusError::Refused(text) => CliError::config(text),
        }
    }
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = io::stdout().lock();
    match run(arguments.command, &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whoever closed the pipe does not want to hear more.
            let _ = out.flush();
            let _ = writeln!(io::stderr(), "sheriffd: {error}");
            ExitCode::from(error.code)
        }
    }
}

fn run(command: Command, out: &mut dyn Write) -> Result<(), CliError> {
    match command {
        Command::Demo(args) => block_on(demo::run(&args, out)),
        Command::Replay(args) => block_on(replay::run(&args, out)),
        Command::Import(args) => import::run(&args, out),
    }
}

/// Runs a command on one thread: what it does is in the order it was written, and repeats.
fn block_on<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}
