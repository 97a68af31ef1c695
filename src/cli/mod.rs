//! The command line: one file a subcommand.
//!
//! In: arguments and files. Out: text or JSON for people and scripts, and an exit code: 0 fine, 1 the answer is no,
//! 2 usage, 69 a needed service cannot be reached, 78 the configuration is invalid. Never: a decision of its own.

mod case;
mod catalog;
pub mod check;
mod common;
mod costs;
mod deadletters;
mod demo;
mod doctor;
mod explain;
mod import;
mod open;
mod pause;
mod replay;
mod report;
mod simulate;
mod test;
mod trace;

use std::io::{self, Write};
use std::process::ExitCode;

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use self::common::{ConfigArgs, FormatArgs};
use crate::bus::BusError;
use crate::config::LoadOptions;
use crate::daemon::RunError;
use crate::engine::ledger::LedgerError;
use crate::printable::Printable;

/// Keeps continuous-integration trees green: finds the push that broke a job, hunts intermittents, asks the CI for jobs
/// within limits, and says why.
#[derive(Debug, Parser)]
#[command(name = "sheriffd", version, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The daemon
    Run,
    /// The daemon against a simulated CI: no broker, no database, no account
    Demo(demo::DemoArgs),
    /// Recorded messages through the rules: what would have been asked for, what not, and why
    Replay(replay::ReplayArgs),
    /// Recorded jobs into the history of a store: a young history stays silent
    Import(import::ImportArgs),
    /// What is wrong with rules and configurations, all of it at once: exact line, column, caret, suggestion
    Check {
        /// Rule files and folders, configurations (*.toml), documents with rules in them (*.md); without any, the
        /// configuration and the rules that it names
        rules: Vec<PathBuf>,
        /// How it is written
        #[arg(long, value_enum, default_value = "pretty")]
        format: CheckFormat,
        /// Warnings count as errors
        #[arg(long)]
        deny_warnings: bool,
    },
    /// The tests that stand beside the rules: what was expected, what came of it, and why
    Test(test::TestArgs),
    /// Why an event did (not) open a case: each rule that looked at it, each clause with the values it saw
    Explain(explain::ExplainArgs),
    /// What is being looked into, and what came of it
    Case(case::CaseArgs),
    /// What was asked for and what came of it, by rule, day and platform; what rules in shadow would have asked for
    Report(report::ReportArgs),
    /// Which push broke a job, for good or now and then? Opens a case
    Culprit(open::CulpritArgs),
    /// Run an intermittent again until it fails once. Opens a case
    UntilHit(open::UntilHitArgs),
    /// Is a test stable, on every platform that runs it? Opens a case
    Validate(open::ValidateArgs),
    /// Run what is missing on a push. Opens a case
    Fill(open::FillArgs),
    /// Run more jobs on a push. Opens a case
    Add(open::AddArgs),
    /// Run labels on a range of pushes. Opens a case
    Range(open::RangeArgs),
    /// Find the push that made a performance series step. Opens a case
    Perf(open::PerfArgs),
    /// Measure performance series on a push until their level is known. Opens a case
    Baseline(open::BaselineArgs),
    /// Platforms, tests and the build that each test needs, for tools that choose jobs
    Catalog(catalog::CatalogArgs),
    /// One case with its evidence a line on stdin (JSON), the next step a line on stdout
    Decide,
    /// How many runs the decisions cost and how often they are right, beside rivals and bounds
    Simulate(simulate::SimulateArgs),
    /// What would not work (credentials, scopes, bindings, queue, store, history depth), before it does not
    Doctor(FormatArgs),
    /// What is in force, and where each value came from
    Config(FormatArgs),
    /// Messages that could not be read
    Deadletters(deadletters::DeadLettersArgs),
    /// Ask for nothing: everything, or one rule, project, platform, backend
    Pause(pause::PauseArgs),
    /// End a pause
    Resume(pause::ScopeArgs),
    /// JSON Schema (draft-07) of rule files, or of `sheriffd decide`
    Schema {
        /// Of what
        #[arg(value_enum)]
        of: SchemaOf,
    },
    /// Completions for a shell, on stdout
    Completions {
        /// Which shell
        #[arg(value_enum)]
        shell: Shell,
    },
}

/// How `sheriffd check` writes what it found.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum CheckFormat {
    /// For people: source line and caret
    Pretty,
    /// One JSON object
    Json,
    /// SARIF 2.1.0, for code scanners
    Sarif,
    /// GitHub's workflow commands
    Github,
}

/// What there is a schema of.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum SchemaOf {
    /// Rule files
    Rules,
    /// The lines of `sheriffd decide`
    Decide,
}

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
        match error.kind() {
            // Whoever reads has seen enough (`sheriffd case list | head`): no trouble of anybody's.
            io::ErrorKind::BrokenPipe => CliError {
                code: 0,
                text: String::new(),
            },
            _ => CliError::unavailable(error.to_string()),
        }
    }
}

impl From<LedgerError> for CliError {
    fn from(error: LedgerError) -> CliError {
        CliError::unavailable(error.to_string())
    }
}

impl From<RunError> for CliError {
    fn from(error: RunError) -> CliError {
        match error {
            RunError::Config(text) => CliError::config(text),
            RunError::Unavailable(text) => CliError::unavailable(text),
        }
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
    // Labels, failures and a CI's words are whatever others wrote: they do not control whoever's terminal this is.
    let mut out = Printable::new(io::stdout().lock());
    let outcome = run(arguments.command, &arguments.config, &mut out);
    // Whoever closed the pipe does not want to hear more.
    let _ = out.flush();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.text.is_empty() {
                let _ = writeln!(Printable::new(io::stderr()), "sheriffd: {error}");
            }
            ExitCode::from(error.code)
        }
    }
}

fn run(command: Command, config: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    match command {
        Command::Run => run_daemon(config),
        Command::Demo(args) => block_on(demo::run(&args, out)),
        Command::Replay(args) => block_on(replay::run(&args, config, out)),
        Command::Import(args) => import::run(&args, config, out),
        Command::Check {
            rules,
            format,
            deny_warnings,
        } => run_check(&rules, format, deny_warnings, config, out),
        Command::Test(args) => block_on(test::run(&args, config, out)),
        Command::Explain(args) => block_on(explain::run(&args, config, out)),
        Command::Case(args) => case::run(&args, config, out),
        Command::Report(args) => report::run(&args, config, out),
        Command::Culprit(args) => open::culprit(&args, config, out),
        Command::UntilHit(args) => open::until_hit(&args, config, out),
        Command::Validate(args) => open::validate(&args, config, out),
        Command::Fill(args) => open::fill(&args, config, out),
        Command::Add(args) => open::add(&args, config, out),
        Command::Range(args) => open::range(&args, config, out),
        Command::Perf(args) => open::perf(&args, config, out),
        Command::Baseline(args) => open::baseline(&args, config, out),
        Command::Catalog(args) => block_on(catalog::run(&args, config, out)),
        Command::Decide => match crate::decide::run(io::BufReader::new(io::stdin()), out)?.refused {
            0 => Ok(()),
            refused => Err(CliError::no(format!("{refused} lines could not be answered"))),
        },
        Command::Simulate(args) => simulate::run(&args, out),
        Command::Doctor(format) => block_on(doctor::run(&format, config, out)),
        Command::Config(format) => {
            let explanation = config.load()?.explanation;
            format.write(out, &explanation, |out| write!(out, "{explanation}"))
        }
        Command::Deadletters(args) => deadletters::run(&args, config, out),
        Command::Pause(args) => pause::pause(&args, config, out),
        Command::Resume(args) => pause::resume(&args, config, out),
        Command::Schema { of } => {
            let schema = match of {
                SchemaOf::Rules => crate::rules::json_schema(),
                SchemaOf::Decide => crate::decide::schema(),
            };
            Ok(writeln!(out, "{schema:#}")?)
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "sheriffd", out);
            Ok(())
        }
    }
}

fn run_daemon(config_args: &ConfigArgs) -> Result<(), CliError> {
    let config = config_args.load()?.config;
    crate::telemetry::install_logging(config.telemetry.log_format, &config.telemetry.log_level)
        .map_err(|error| CliError::config(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    Ok(runtime.block_on(crate::daemon::run(config, config_args.options()))?)
}

fn run_check(
    rules: &[PathBuf],
    format: CheckFormat,
    deny_warnings: bool,
    config: &ConfigArgs,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let format = match format {
        CheckFormat::Pretty => check::Format::Pretty,
        CheckFormat::Json => check::Format::Json,
        CheckFormat::Sarif => check::Format::Sarif,
        CheckFormat::Github => check::Format::Github,
    };
    let code = match (rules, &config.config) {
        ([], file) => {
            let options = LoadOptions::of_process(file.clone(), config.set.clone());
            check::run_configured(&options, format, deny_warnings, out)?
        }
        (rules, Some(file)) => check::run_beside(file, rules, format, deny_warnings, out)?,
        (rules, None) => check::run(rules, format, deny_warnings, out)?,
    };
    match code {
        check::FINE => Ok(()),
        // Everything was said on stdout.
        _ => Err(CliError::no("")),
    }
}

/// Runs a command on one thread: what it does is in the order it was written, and repeats.
fn block_on<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}
