//! `sheriffd explain`: why an event did (not) open a case, or what a case did.

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};

use super::CliError;
use super::common::{ConfigArgs, FormatArgs};

/// Arguments of `sheriffd explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A run (`TASKID/RUN`), or a task with all its runs
    id: String,
    #[command(flatten)]
    format: FormatArgs,
}

/// Runs `sheriffd explain`.
pub fn run(args: &ExplainArgs, config: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let decisions = config.with_store(|books| books.decisions_on(&args.id))?;
    if decisions.is_empty() {
        return Err(CliError::no(format!(
            "no rule's `match` let an event of {} through, or it is too long ago: `sheriffd check` shows what rules match",
            args.id
        )));
    }
    args.format.write(out, &json!({ "decisions": decisions }), |out| {
        decisions.iter().try_for_each(|decision| one(out, decision))
    })
}

fn one(out: &mut dyn Write, decision: &Value) -> std::io::Result<()> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let case = decision["case"]
        .as_u64()
        .map(|case| format!(" C{case}"))
        .unwrap_or_default();
    writeln!(
        out,
        "{} {} rule {}: {}{case}",
        text(&decision["at"]),
        text(&decision["event"]),
        text(&decision["rule"]),
        text(&decision["result"])
    )?;
    let detail = &decision["detail"];
    for clause in detail["clauses"].as_array().into_iter().flatten() {
        let seen: Vec<String> = clause["seen"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|seen| format!("{} = {}", text(&seen["what"]), text(&seen["value"])))
            .collect();
        writeln!(
            out,
            "    {:<8} {}  [{}]",
            text(&clause["matched"]),
            text(&clause["text"]),
            seen.join(", ")
        )?;
    }
    if detail.get("firstBad").is_some() {
        writeln!(
            out,
            "    last good push {}, first bad push {}, missing {}, in flight {}",
            detail["lastGood"], detail["firstBad"], detail["missing"], detail["inFlight"]
        )?;
    }
    Ok(())
}
