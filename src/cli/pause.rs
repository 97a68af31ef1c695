//! `sheriffd pause` and `sheriffd resume`: nothing in a pause's scope is asked for.

use std::io::Write;

use clap::Args;

use super::CliError;
use super::common::{ConfigArgs, FormatArgs};
use crate::clock::{Clock, SystemClock};
use crate::event::{Duration, parse_duration};
use crate::store::sqlite::{Pause, PauseEffect, PauseScope};

/// What is paused or resumed.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct ScopeArgs {
    /// One rule
    #[arg(long)]
    rule: Option<String>,
    /// One project
    #[arg(long)]
    project: Option<String>,
    /// One platform
    #[arg(long)]
    platform: Option<String>,
    /// One backend
    #[arg(long)]
    backend: Option<String>,
}

impl ScopeArgs {
    /// Everything, unless one thing is named.
    fn scope(&self) -> (PauseScope, String) {
        let named = [
            (PauseScope::Rule, &self.rule),
            (PauseScope::Project, &self.project),
            (PauseScope::Platform, &self.platform),
            (PauseScope::Backend, &self.backend),
        ];
        named
            .into_iter()
            .find_map(|(scope, name)| Some((scope, name.clone()?)))
            .unwrap_or((PauseScope::All, String::new()))
    }
}

/// Arguments of `sheriffd pause`.
#[derive(Debug, Args)]
pub struct PauseArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    /// Why; without it the pauses in force are listed
    #[arg(long)]
    reason: Option<String>,
    /// Who pauses
    #[arg(long, env = "USER", default_value = "unknown")]
    owner: String,
    /// For how long: `30m`, `4h`; without it until somebody resumes
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    span: Option<Duration>,
    /// Give up what would be asked for meanwhile, instead of asking for it afterwards
    #[arg(long = "drop", requires = "reason")]
    drops: bool,
    #[command(flatten)]
    format: FormatArgs,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

/// Runs `sheriffd pause`.
pub fn pause(args: &PauseArgs, config: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let now = SystemClock.now();
    let (scope, name) = args.scope.scope();
    if args.reason.is_none() && (scope != PauseScope::All || args.span.is_some()) {
        return Err(CliError::usage(
            "say why with --reason: whoever finds the pause will want to know",
        ));
    }
    let pauses = config.with_store(|books| {
        if let Some(reason) = &args.reason {
            let expires = args.span.map(|span| now.plus(span));
            let (reason, owner) = (reason.clone(), args.owner.clone());
            books.pause(&Pause {
                scope,
                name: name.clone(),
                reason,
                owner,
                since: now,
                expires,
                effect: match args.drops {
                    true => PauseEffect::Drop,
                    false => PauseEffect::Queue,
                },
            })?;
        }
        books.pauses(now)
    })?;
    args.format.write(out, &serde_json::json!({ "pauses": pauses }), |out| {
        for pause in &pauses {
            let until = pause
                .expires
                .map_or_else(|| "until resumed".to_owned(), |at| format!("until {at}"));
            let drops = match pause.effect {
                PauseEffect::Queue => "",
                PauseEffect::Drop => ", requests are dropped",
            };
            writeln!(
                out,
                "{} {} {until}{drops}, by {} since {}: {}",
                pause.scope.as_str(),
                pause.name,
                pause.owner,
                pause.since,
                pause.reason
            )?;
        }
        if pauses.is_empty() {
            writeln!(out, "nothing is paused")?;
        }
        Ok(())
    })
}

/// Runs `sheriffd resume`.
pub fn resume(args: &ScopeArgs, config: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let (scope, name) = args.scope();
    let what = format!("{} {name}", scope.as_str());
    match config.with_store(|books| books.resume(scope, &name))? {
        true => Ok(writeln!(out, "resumed: {}", what.trim())?),
        false => Err(CliError::no(format!("{} is not paused", what.trim()))),
    }
}
