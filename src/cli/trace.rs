//! Traces for people: the parts of a rule, each with the values it saw.
//!
//! In: what the engine wrote down, or an event that no rule looked at. Out: lines, and the rules that came nearest. Never:
//! a condition (`when`): only the engine knows the facts that it asks for.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

use crate::event::Event;
use crate::rules::{Clause, EventKind, Matched, Mode, NoFacts, RuleIndex, RuleSet, Tracing};

/// A value as it is shown: texts without quotes.
pub(super) fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Writes clauses, one a line: whether it held, what is written in the rule, what it saw, and why it is unknown.
///
/// # Errors
/// The output cannot be written.
pub(super) fn write_clauses(clauses: &Value, indent: &str, out: &mut dyn Write) -> io::Result<()> {
    let clauses = clauses.as_array().map(Vec::as_slice).unwrap_or_default();
    let width = clauses
        .iter()
        .filter_map(|clause| clause["text"].as_str())
        .map(|text| one_line(text).chars().count())
        .max()
        .unwrap_or_default()
        .min(60);
    for clause in clauses {
        let seen: Vec<String> = clause["seen"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|seen| format!("{} = {}", shown(&seen["what"]), shown(&seen["value"])))
            .collect();
        let mut line = format!(
            "{indent}{:<7}  {:<width$}",
            shown(&clause["matched"]),
            one_line(&shown(&clause["text"]))
        );
        if !seen.is_empty() {
            line.push_str(&format!("  [{}]", seen.join(", ")));
        }
        if let Some(note) = clause["note"].as_str() {
            line.push_str(&format!("  {note}"));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A condition that is written over several lines, on one.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A rule whose `match` said no, and what said it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Unmatched {
    /// The rule.
    pub rule: String,
    /// The fields of its `match` that said no.
    pub no: usize,
    /// All fields of its `match`, with what they saw.
    pub clauses: Vec<Clause>,
}

/// The rules that an event does not reach, the nearest first: those of which the fewest fields said no. Rules for other
/// kinds of events are not among them.
pub(super) fn unmatched(rules: &RuleSet, event: &Event) -> Vec<Unmatched> {
    let kind = EventKind::of(event);
    let mut found: Vec<Unmatched> = (0..)
        .zip(rules.rules())
        .filter(|(_, rule)| rule.mode != Mode::Off && rule.on.contains(&kind))
        .map(|(number, rule)| {
            let trace = rules.evaluate(RuleIndex(number), event, &NoFacts, Tracing::On).trace;
            // What stands in `when` has a place in its text.
            let clauses: Vec<Clause> = trace.into_iter().filter(|clause| clause.span.is_none()).collect();
            let no = clauses.iter().filter(|clause| clause.matched == Matched::False).count();
            Unmatched {
                rule: rule.name.to_string(),
                no,
                clauses,
            }
        })
        .filter(|rule| rule.no > 0)
        .collect();
    found.sort_by_key(|rule| rule.no);
    found
}
