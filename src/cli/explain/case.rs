//! What a case rests on, and what came of what it asked for.
//!
//! In: a case or one of its actions, the store. Out: the rule with its version and the clauses that opened it, the
//! evidence as the books have it now, the numbers, each request with its receipt and the runs it led to. Never: a step.

use std::io::Write;

use serde_json::{Value, json};

use super::ExplainArgs;
use super::event::write_decision;
use crate::cases;
use crate::cli::CliError;
use crate::cli::common::ConfigArgs;
use crate::cli::trace::shown;
use crate::clock::{Clock, SystemClock};
use crate::daemon::parts;
use crate::engine::Engine;
use crate::engine::ledger::{CaseRow, Cases as _, RunRow};
use crate::event::{ActionKey, CaseId, Cause, Reason};
use crate::rules::RuleSet;

/// Runs `sheriffd explain CASE`.
pub(super) fn explain(
    id: CaseId,
    args: &ExplainArgs,
    config: &ConfigArgs,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let settings =
        parts::engine_settings(&config.load()?.config).map_err(|error| CliError::config(error.to_string()))?;
    // Cases stand for themselves: no rule is asked.
    let none = RuleSet::parse(&[]).map_err(|error| CliError::config(error.to_string()))?;
    let engine = Engine::new(none.into(), settings);
    let now = SystemClock.now();
    let found = config.with_store(|books| {
        let Some(case) = books.case(id)? else { return Ok(None) };
        let evidence = engine.evidence_of(books, &case, now)?;
        let decisions = books.decisions_of_case(id)?;
        let mut actions = Vec::new();
        for request in books.case_requests(id.0)? {
            let runs = match key_of(&request) {
                Some(key) => books.runs_of_action(key)?,
                None => Vec::new(),
            };
            actions.push(with_runs(request, &case, &runs));
        }
        Ok(Some((case, evidence, decisions, actions)))
    })?;
    let Some((case, evidence, decisions, actions)) = found else {
        return Err(CliError::no(format!("there is no case {id}")));
    };
    let pushes: Vec<Value> = evidence
        .pushes
        .iter()
        .filter(|push| push.counts.total() > 0 || push.pending > 0 || !push.runnable)
        .map(|push| {
            json!({
                "push": push.push, "revision": push.revision, "passed": push.counts.passed,
                "failed": push.counts.failed, "pending": push.pending, "runnable": push.runnable,
            })
        })
        .collect();
    let next = case
        .verdict
        .is_none()
        .then(|| cases::decide(&case.params, &evidence, now).why);
    let answer = json!({
        "case": case,
        "decisions": decisions,
        "pushesLookedAt": evidence.pushes.len(),
        "evidence": pushes,
        "before": { "passed": evidence.before.passed, "failed": evidence.before.failed },
        "asked": evidence.asked,
        "awaited": evidence.awaited,
        "numbers": cases::numbers(&case.params, &evidence),
        "next": next,
        "actions": actions,
    });
    args.format.write(out, &answer, |out| write_case(&case, &answer, out))
}

/// Runs `sheriffd explain ACTION`.
pub(super) fn explain_action(
    key: ActionKey,
    args: &ExplainArgs,
    config: &ConfigArgs,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let found = config.with_store(|books| {
        let Some(case) = books.case(key.case)? else {
            return Ok(None);
        };
        let requests = books.case_requests(key.case.0)?;
        let runs = books.runs_of_action(key)?;
        let request = requests.into_iter().find(|request| key_of(request) == Some(key));
        Ok(request.map(|request| with_runs(request, &case, &runs)))
    })?;
    let action = found.ok_or_else(|| CliError::no(format!("there is no action {key}")))?;
    args.format.write(out, &json!({ "action": action }), |out| {
        write_action(&action, "", out)?;
        writeln!(out, "decided     {}", shown(&action["createdAt"]))?;
        writeln!(out, "why         {}", shown(&action["request"]["why"]))?;
        writeln!(
            out,
            "rule        {} in version {}",
            shown(&action["rule"]),
            shown(&action["ruleVersion"])
        )?;
        writeln!(out, "the case    sheriffd explain {}", key.case)
    })
}

fn key_of(request: &Value) -> Option<ActionKey> {
    serde_json::from_value(request["request"]["key"].clone()).ok()
}

/// A request with the rule that is behind it and the runs that it led to.
fn with_runs(mut request: Value, case: &CaseRow, runs: &[RunRow]) -> Value {
    request["rule"] = json!(case.cause.rule_name());
    request["ruleVersion"] = match &case.cause {
        Cause::Rule { version, .. } => json!(version),
        Cause::Person { .. } => Value::Null,
    };
    let run = |run: &RunRow| json!({ "run": run.key.to_string(), "state": run.state.as_str(), "at": run.at });
    request["runs"] = runs.iter().map(run).collect();
    request
}

fn write_case(case: &CaseRow, answer: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    let verdict = case.verdict.as_ref().map_or("open", |verdict| verdict.kind.as_str());
    let mode = if case.is_shadow() { " (shadow)" } else { "" };
    writeln!(out, "{} {} {verdict}{mode}", case.id, case.params.kind())?;
    writeln!(out, "about       {}, seen on push {}", case.subject, case.push)?;
    match &case.cause {
        Cause::Rule { name, version } => {
            writeln!(
                out,
                "opened      {} by rule {name} in version {version}",
                case.opened_at
            )?;
        }
        Cause::Person { name } => writeln!(out, "opened      {} by {name}", case.opened_at)?,
    }
    writeln!(out, "why         {}", case.why)?;
    let decisions = answer["decisions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let (opening, joined): (Vec<&Value>, Vec<&Value>) =
        decisions.iter().partition(|decision| decision["result"] == "opened");
    for decision in opening {
        write_decision(decision, out)?;
    }
    if !joined.is_empty() {
        let events: Vec<String> = joined
            .iter()
            .take(5)
            .map(|decision| shown(&decision["event"]))
            .collect();
        writeln!(out, "joined by   {} events: {}", joined.len(), events.join(", "))?;
    }
    for sharer in &case.shared_by {
        let (label, push, fate) = (&sharer.label, sharer.push, sharer.fate.as_str());
        writeln!(
            out,
            "shared by   {label}, seen on push {push} in run {}: {fate}",
            sharer.run
        )?;
    }
    writeln!(
        out,
        "evidence    {} pushes looked at; before them {} passed, {} failed",
        answer["pushesLookedAt"], answer["before"]["passed"], answer["before"]["failed"]
    )?;
    for push in answer["evidence"].as_array().into_iter().flatten() {
        writeln!(
            out,
            "    push {:<8} {} passed, {} failed, {} pending{}",
            shown(&push["push"]),
            push["passed"],
            push["failed"],
            push["pending"],
            if push["runnable"] == true {
                ""
            } else {
                ", cannot be asked for"
            }
        )?;
    }
    for number in answer["numbers"].as_array().into_iter().flatten() {
        writeln!(
            out,
            "    {:<34} {:.3}",
            shown(&number["what"]),
            number["value"].as_f64().unwrap_or_default()
        )?;
    }
    if let Some(next) = answer["next"].as_str() {
        writeln!(out, "next        {next}")?;
    }
    writeln!(
        out,
        "asked for   {} jobs, waits for {}",
        answer["asked"], answer["awaited"]
    )?;
    for action in answer["actions"].as_array().into_iter().flatten() {
        write_action(action, "    ", out)?;
    }
    Ok(())
}

/// One request: what for, where it is in its life, the limit that holds it back, its receipt, and its runs.
fn write_action(action: &Value, indent: &str, out: &mut dyn Write) -> std::io::Result<()> {
    let asked = &action["request"];
    let key = key_of(action).map(|key| key.to_string()).unwrap_or_default();
    let state = shown(&action["state"]);
    let mut line = format!(
        "{indent}{key} {} on push {} x{}: {state}",
        shown(&asked["label"]),
        asked["push"],
        asked["times"]
    );
    if let Some(reason) = action["reason"].as_str() {
        let known = Reason::ALL.iter().find(|known| known.as_str() == reason);
        line.push_str(&format!(", {reason}"));
        if let Some(known) = known {
            line.push_str(&format!(" ({})", known.sentence()));
        }
    }
    for (name, key) in [("sent", "sentAt"), ("receipt", "receipt"), ("said", "detail")] {
        if let Some(text) = action[key].as_str().filter(|text| !text.is_empty()) {
            line.push_str(&format!(", {name} {text}"));
        }
    }
    let builds: Vec<String> = action["builds"].as_array().into_iter().flatten().map(shown).collect();
    if !builds.is_empty() {
        line.push_str(&format!(
            ", charged for the builds that it needs: {}",
            builds.join(", ")
        ));
    }
    writeln!(out, "{line}")?;
    for run in action["runs"].as_array().into_iter().flatten() {
        writeln!(
            out,
            "{indent}    run {}: {} at {}",
            shown(&run["run"]),
            shown(&run["state"]),
            shown(&run["at"])
        )?;
    }
    Ok(())
}
