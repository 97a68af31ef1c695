//! `sheriffd case`: what is being looked into, and what came of it.

use std::io::Write;

use clap::{Args, Subcommand};
use serde_json::json;

use super::CliError;
use super::common::{ConfigArgs, FormatArgs};
use crate::clock::{Clock, SystemClock};
use crate::engine::Engine;
use crate::engine::ledger::{CaseRow, Cases as _};
use crate::engine::settings::EngineSettings;
use crate::event::{CaseId, Cause};
use crate::rules::RuleSet;
use crate::store::sqlite::CaseFilter;

/// Arguments of `sheriffd case`.
#[derive(Debug, Args)]
pub struct CaseArgs {
    #[command(subcommand)]
    command: CaseCommand,
}

#[derive(Debug, Subcommand)]
enum CaseCommand {
    /// Cases, newest first
    List {
        /// Only open ones
        #[arg(long, conflicts_with = "closed")]
        open: bool,
        /// Only closed ones
        #[arg(long)]
        closed: bool,
        /// Only of this project
        #[arg(long)]
        project: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: u32,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// One case with everything it asked for
    Show {
        /// Its number: C12 or 12
        id: CaseId,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Let a case that waits for approval ask for its jobs
    Approve {
        /// Its number: C12 or 12
        id: CaseId,
        /// Who approves it
        #[arg(long = "as", env = "USER", default_value = "unknown")]
        who: String,
    },
    /// Close a case by hand: what it asked for and was not sent is dropped
    Close {
        /// Its number: C12 or 12
        id: CaseId,
        /// Why
        #[arg(long)]
        reason: String,
    },
}

/// Runs `sheriffd case`.
pub fn run(args: &CaseArgs, config: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    match &args.command {
        CaseCommand::List {
            open,
            closed,
            project,
            limit,
            format,
        } => {
            let filter = CaseFilter {
                open: (*open || *closed).then_some(*open),
                project: project.clone(),
                limit: *limit,
            };
            let cases = config.with_store(|books| books.cases(&filter))?;
            format.write(out, &json!({ "cases": cases }), |out| {
                for case in &cases {
                    writeln!(out, "{}", line(case))?;
                }
                if cases.is_empty() {
                    writeln!(out, "no cases")?;
                }
                Ok(())
            })
        }
        CaseCommand::Show { id, format } => {
            let (case, requests) = config.with_store(|books| Ok((books.case(*id)?, books.case_requests(id.0)?)))?;
            let case = case.ok_or_else(|| CliError::no(format!("there is no case {id}")))?;
            format.write(out, &json!({ "case": case, "actions": requests }), |out| {
                show(out, &case, &requests)
            })
        }
        CaseCommand::Approve { id, who } => {
            let mut engine = engine()?;
            let now = SystemClock.now();
            match config.with_store(|books| engine.approve(books, *id, who, now))? {
                Some(case) => writeln!(out, "{}", line(&case))?,
                None => return Err(CliError::no(format!("no open case {id} waits for approval"))),
            }
            Ok(())
        }
        CaseCommand::Close { id, reason } => {
            let mut engine = engine()?;
            let now = SystemClock.now();
            match config.with_store(|books| engine.withdraw(books, *id, reason, now))? {
                Some(case) => writeln!(out, "{}", line(&case))?,
                None => return Err(CliError::no(format!("there is no open case {id}"))),
            }
            Ok(())
        }
    }
}

/// An engine for what needs neither rules nor settings.
fn engine() -> Result<Engine, CliError> {
    let rules = RuleSet::parse(&[]).map_err(|error| CliError::config(error.to_string()))?;
    Ok(Engine::new(rules.into(), EngineSettings::default()))
}

fn state(case: &CaseRow) -> String {
    let open = match case.awaits_approval() {
        Some(_) => "awaiting approval",
        None => "open",
    };
    let verdict = case.verdict.as_ref().map_or(open, |verdict| verdict.kind.as_str());
    format!("{verdict}{}", if case.is_shadow() { " (shadow)" } else { "" })
}

/// A case in one line.
pub(super) fn line(case: &CaseRow) -> String {
    format!(
        "{:<6} {:<13} {:<18} {} push {}: {}",
        case.id,
        case.params.kind(),
        state(case),
        case.subject,
        case.push,
        case.why
    )
}

fn show(out: &mut dyn Write, case: &CaseRow, requests: &[serde_json::Value]) -> std::io::Result<()> {
    writeln!(out, "{} {} {}", case.id, case.params.kind(), state(case))?;
    writeln!(out, "  about      {}", case.subject)?;
    writeln!(out, "  seen on    push {}", case.push)?;
    if let Some(run) = &case.opened_by {
        writeln!(
            out,
            "  opened     {} by rule {} on run {run}",
            case.opened_at,
            case.cause.rule_name()
        )?;
    } else if let Cause::Person { name } = &case.cause {
        writeln!(out, "  opened     {} by {name}", case.opened_at)?;
    }
    if let Some(each) = &case.each {
        writeln!(out, "  for        {each}")?;
    }
    if let Some(approval) = &case.approval {
        let hours = approval
            .estimate
            .hours
            .map(|hours| format!(", {hours:.1} machine-hours"));
        let cost = format!("up to {} jobs{}", approval.estimate.jobs, hours.unwrap_or_default());
        match &approval.approved {
            Some((who, at)) => writeln!(out, "  approved   {at} by {who} ({cost})")?,
            None => writeln!(
                out,
                "  approval   by {} until {} ({cost}): sheriffd case approve {}",
                approval.by, approval.expires, case.id
            )?,
        }
    }
    writeln!(out, "  why        {}", case.why)?;
    if let Some(verdict) = &case.verdict {
        let probability = verdict
            .probability
            .map(|p| format!(", probability {p:.3}"))
            .unwrap_or_default();
        writeln!(out, "  verdict    {}{probability}", verdict.kind)?;
        for named in &verdict.pushes {
            let revision = named.revision.as_ref().map(ToString::to_string).unwrap_or_default();
            writeln!(
                out,
                "             push {} {revision} ({:.3})",
                named.push, named.probability
            )?;
        }
    }
    for (number, sharer) in case.shared_by.iter().enumerate() {
        let what = if number == 0 { "  shared by " } else { "            " };
        writeln!(
            out,
            "{what} {} on push {}: {}",
            sharer.label,
            sharer.push,
            sharer.fate.as_str()
        )?;
    }
    writeln!(out, "  asked for  {}", if requests.is_empty() { "nothing" } else { "" })?;
    for request in requests {
        let asked = &request["request"];
        // A case about one job says which above.
        let label = asked["label"].as_str().filter(|_| !case.targets.is_empty());
        let said: Vec<&str> = ["state", "reason", "receipt", "detail"]
            .iter()
            .filter_map(|name| request[*name].as_str())
            .filter(|text| !text.is_empty())
            .collect();
        writeln!(
            out,
            "    {}.{} {}push {} x{}: {}",
            asked["key"]["step"],
            asked["key"]["slot"],
            label.map_or_else(String::new, |label| format!("{label} on ")),
            asked["push"],
            asked["times"],
            said.join(" "),
        )?;
    }
    Ok(())
}
