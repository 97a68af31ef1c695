//! `sheriffd explain`: why an event did (not) open a case, and why a request of a case did (not) go out.

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};

use super::CliError;
use super::common::{ConfigArgs, FormatArgs};
use crate::event::Reason;

/// Arguments of `sheriffd explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A run (`TASKID/RUN`), a task with all its runs, a case (`C12`), or one of its requests (`C12.1.3`)
    id: String,
    #[command(flatten)]
    format: FormatArgs,
}

/// Runs `sheriffd explain`.
pub fn run(args: &ExplainArgs, config: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    if let Some(of) = Requests::of(&args.id) {
        return requests(&of, args, config, out);
    }
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

/// Requests of a case: all, or the one of a step and slot.
#[derive(Debug, PartialEq, Eq)]
struct Requests {
    case: u64,
    place: Option<(u64, u64)>,
}

impl Requests {
    /// Reads `C12` or `C12.1.3`; `None` for anything else, as the id of a task.
    fn of(id: &str) -> Option<Requests> {
        let mut parts = id.strip_prefix('C')?.split('.').map(str::parse);
        let case = parts.next()?.ok()?;
        let place = match (parts.next(), parts.next()) {
            (None, None) => None,
            (Some(Ok(step)), Some(Ok(slot))) => Some((step, slot)),
            _ => return None,
        };
        parts.next().is_none().then_some(Requests { case, place })
    }

    fn holds(&self, request: &Value) -> bool {
        let key = &request["request"]["key"];
        let number = |name: &str| key[name].as_u64();
        self.place
            .is_none_or(|(step, slot)| (number("step"), number("slot")) == (Some(step), Some(slot)))
    }
}

/// Where requests are in their lives, and why.
fn requests(of: &Requests, args: &ExplainArgs, config: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let case = of.case;
    let mut requests = config.with_store(move |books| books.case_requests(case))?;
    requests.retain(|request| of.holds(request));
    if requests.is_empty() {
        return Err(CliError::no(format!(
            "{} has asked for nothing, or does not exist",
            args.id
        )));
    }
    args.format.write(out, &json!({ "requests": requests }), |out| {
        requests.iter().try_for_each(|request| one_request(out, request))
    })
}

fn one_request(out: &mut dyn Write, row: &Value) -> std::io::Result<()> {
    let request = &row["request"];
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    writeln!(
        out,
        "C{}.{}.{} {} push {} of {}, {} times: {}",
        request["key"]["case"],
        request["key"]["step"],
        request["key"]["slot"],
        text(&request["label"]),
        request["push"],
        text(&request["project"]),
        request["times"],
        text(&row["state"]),
    )?;
    let reason = row["reason"].as_str();
    if let Some(reason) = Reason::ALL.into_iter().find(|known| Some(known.as_str()) == reason) {
        writeln!(out, "    {reason}: {}", reason.sentence())?;
    }
    if let Some(detail) = row["detail"].as_str() {
        writeln!(out, "    {detail}")?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_and_a_request_are_told_from_a_task() {
        let of = |case, place| Some(Requests { case, place });
        assert_eq!(Requests::of("C12"), of(12, None));
        assert_eq!(Requests::of("C12.1.3"), of(12, Some((1, 3))));
        for task in [
            "C3dJ8bDIQRKzHiZBhM0c5Q",
            "C3dJ8bDIQRKzHiZBhM0c5Q/0",
            "C12.1",
            "C12.1.3.4",
            "12",
            "C",
        ] {
            assert_eq!(Requests::of(task), None, "{task}");
        }
    }
}
