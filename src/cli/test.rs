//! `sheriffd test`: the tests that stand beside the rules, played on the real engine.
//!
//! In: rule files. Out: which tests hold; of those that do not, what was expected, what came of it, and the trace.
//! Never: the daemon's store, a real clock, a request to anybody. Rules in shadow mode act like live ones.

mod given;
mod judge;
mod report;
mod stage;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use self::report::{Outcome, Told};
use super::CliError;
use super::common::ConfigArgs;
use crate::daemon::parts;
use crate::engine::settings::EngineSettings;
use crate::rules::{RuleSet, RuleTest};

/// Arguments of `sheriffd test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Rule files and folders; without any, those of the configuration
    rules: Vec<PathBuf>,
    /// Only tests whose name contains this
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// How it is written
    #[arg(long, value_enum, default_value = "pretty")]
    format: TestFormat,
}

/// How `sheriffd test` writes what it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TestFormat {
    /// For people
    Pretty,
    /// One JSON object
    Json,
    /// JUnit XML, for CI systems
    Junit,
}

/// Runs `sheriffd test`.
///
/// # Errors
/// The rules cannot be used (78), a test does not hold (1), or the output is closed.
pub async fn run(args: &TestArgs, config: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let settings = config.load()?.config;
    let paths = if args.rules.is_empty() {
        &settings.rules.paths
    } else {
        &args.rules
    };
    let rules = RuleSet::load(paths).map_err(|wrong| CliError::config(format!("the rules cannot be used\n{wrong}")))?;
    let rules = Arc::new(rules);
    let engine = parts::engine_settings(&settings).map_err(|error| CliError::config(error.to_string()))?;
    let is_meant = |test: &&RuleTest| args.name.as_ref().is_none_or(|text| test.name.contains(text.as_str()));
    let mut told = Vec::new();
    for test in rules.tests().iter().filter(is_meant) {
        told.push(Told {
            test,
            outcome: outcome(&rules, test, &engine).await,
        });
    }
    let untested = untested(&rules);
    match args.format {
        TestFormat::Pretty => report::pretty(&told, &untested, out)?,
        TestFormat::Json => writeln!(out, "{:#}", report::json(&told, &untested))?,
        TestFormat::Junit => report::junit(&told, out)?,
    }
    match told.iter().all(Told::passed) {
        true => Ok(()),
        // Everything was said on stdout.
        false => Err(CliError::no("")),
    }
}

async fn outcome(rules: &Arc<RuleSet>, test: &RuleTest, engine: &EngineSettings) -> Outcome {
    match stage::play(rules, test, engine).await {
        Err(error) => Outcome::Broken(error.to_string()),
        Ok(played) => {
            let differences: Vec<_> = test
                .expectations
                .iter()
                .flat_map(|expectation| judge::judge(expectation, &played))
                .collect();
            match differences.is_empty() {
                true => Outcome::Passed,
                false => Outcome::Failed(differences, Box::new(played)),
            }
        }
    }
}

/// Rules that no test expects anything of.
fn untested(rules: &RuleSet) -> Vec<&str> {
    let tested: BTreeSet<&str> = rules
        .tests()
        .iter()
        .flat_map(|test| &test.expectations)
        .map(|expectation| expectation.rule.as_str())
        .collect();
    let names = rules.rules().iter().map(|rule| rule.name.as_str());
    names.filter(|name| !tested.contains(name)).collect()
}
