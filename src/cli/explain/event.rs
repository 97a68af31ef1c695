//! Why an event did (not) open a case.
//!
//! In: a run or a task, the store, the rules in force. Out: what the rules made of it when it came; for an event that no
//! rule looked at, what the rules of today say to it. Never: a condition evaluated again: the past had other facts.

use std::io::Write;

use serde_json::{Value, json};

use super::{ExplainArgs, rules};
use crate::cli::CliError;
use crate::cli::common::ConfigArgs;
use crate::cli::trace::{Unmatched, shown, unmatched, write_clauses};
use crate::engine::ledger::RunRow;
use crate::event::{Event, JobEvent, JobFacts, Project, Reason, TaskId};

/// Rules that are shown of those which an event did not reach.
const NEAREST: usize = 5;

/// Runs `sheriffd explain EVENT`.
pub(super) fn explain(
    what: &str,
    args: &ExplainArgs,
    config: &ConfigArgs,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let (task, run) = match what.rsplit_once('/') {
        Some((task, run)) => (task, run.parse().ok()),
        None => (what, None),
    };
    let task = TaskId::from(task);
    let (decisions, samples, runs) = config.with_store(|books| {
        Ok((
            books.decisions_on(what)?,
            books.samples_of(what)?,
            books.runs_of_task(&task, run)?,
        ))
    })?;
    if !decisions.is_empty() {
        return args.format.write(out, &json!({ "decisions": decisions }), |out| {
            decisions.iter().try_for_each(|decision| write_decision(decision, out))
        });
    }
    let (events, source) = if samples.is_empty() {
        let known = runs.iter().map(|(project, run)| as_remembered(project, run)).collect();
        (
            known,
            "the history keeps only its project, label, push, state and cause",
        )
    } else {
        let sampled: Vec<Event> = samples.into_iter().map(|(_, event)| event).collect();
        (sampled, "it was kept as a sample of events that no rule looked at")
    };
    if events.is_empty() {
        return Err(CliError::no(format!(
            "nothing is known of {what}: it never came, its project is not watched, or it is too long ago. \
             `sheriffd explain --file MESSAGE` asks the rules about a recorded message"
        )));
    }
    let rules = rules(args, config)?;
    let told: Vec<(String, Vec<Unmatched>)> = events
        .iter()
        .map(|event| (name(event), unmatched(&rules, event)))
        .collect();
    let answer = json!({
        "decisions": [],
        "unmatched": told.iter().map(|(event, rules)| json!({ "event": event, "rules": rules })).collect::<Vec<_>>(),
        "version": rules.version(),
    });
    args.format.write(out, &answer, |out| {
        writeln!(out, "no rule's `match` let it through; {source}")?;
        told.iter()
            .try_for_each(|(event, rules)| write_unmatched(event, rules, args.all, out))
    })
}

/// What the history still knows of a run: the rest is unknown, and says neither yes nor no.
fn as_remembered(project: &Project, run: &RunRow) -> Event {
    Event::Job(Box::new(JobEvent {
        run: run.key.clone(),
        group: None,
        state: run.state,
        reason: None,
        latest: true,
        at: run.at,
        scheduled: None,
        started: None,
        resolved: None,
        worker: None,
        pool: None,
        facts: JobFacts {
            project: Some(project.clone()),
            label: Some(run.label.clone()),
            push: Some(run.push),
            caused_by: run.caused_by,
            signatures: run.signatures.clone(),
            groups: run.groups.clone(),
            ..JobFacts::default()
        },
    }))
}

/// An event in a few words.
pub(super) fn name(event: &Event) -> String {
    match event {
        Event::Job(job) => {
            let label = job
                .facts
                .label
                .as_ref()
                .map(|label| format!(" {label}"))
                .unwrap_or_default();
            let push = job
                .facts
                .push
                .map(|push| format!(" on push {push}"))
                .unwrap_or_default();
            format!("{} {}{label}{push}: {}", event.name(), job.run, job.state.as_str())
        }
        other => other.name().to_owned(),
    }
}

/// What one rule made of an event: the result, its clauses, and the pushes around.
pub(super) fn write_decision(decision: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    let case = decision["case"]
        .as_u64()
        .map(|case| format!(" C{case}"))
        .unwrap_or_default();
    let result = shown(&decision["result"]);
    let sentence = Reason::ALL
        .iter()
        .find(|reason| reason.as_str() == result)
        .map(|reason| format!(" - {}", reason.sentence()))
        .unwrap_or_default();
    writeln!(
        out,
        "{} {} rule {}: {result}{case}{sentence}",
        shown(&decision["at"]),
        shown(&decision["event"]),
        shown(&decision["rule"]),
    )?;
    let detail = &decision["detail"];
    if let Some(why) = detail["why"].as_str() {
        writeln!(out, "    {why}")?;
    }
    write_clauses(&detail["clauses"], "    ", out)?;
    if detail.get("firstBad").is_some() {
        writeln!(
            out,
            "    last good push {}, first bad push {}, missing {}, in flight {}",
            detail["lastGood"], detail["firstBad"], detail["missing"], detail["inFlight"]
        )?;
    }
    Ok(())
}

/// The rules that an event did not reach.
pub(super) fn write_unmatched(event: &str, rules: &[Unmatched], all: bool, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "{event}")?;
    if rules.is_empty() {
        return writeln!(
            out,
            "    no rule looks at such events (`on:`), or the rules have changed since"
        );
    }
    let shown = if all { rules.len() } else { NEAREST };
    for rule in rules.iter().take(shown) {
        writeln!(out, "  rule {}: {} of its `match` said no", rule.rule, fields(rule.no))?;
        write_clauses(&json!(rule.clauses), "    ", out)?;
    }
    match rules.len().checked_sub(shown) {
        Some(more @ 1..) => writeln!(out, "  and {more} more rules: --all shows them"),
        _ => Ok(()),
    }
}

fn fields(count: usize) -> String {
    match count {
        1 => "one field".to_owned(),
        more => format!("{more} fields"),
    }
}
