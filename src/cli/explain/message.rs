//! What the rules make of a recorded message.
//!
//! In: a file with a message or several, recorded facts, rules, a store with history. Out: what each rule says to each
//! event, as if it came now. Never: a request to anybody, a change in the store it is given.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::event::{name, write_decision, write_unmatched};
use super::{ExplainArgs, rules};
use crate::cli::CliError;
use crate::cli::common::{ConfigArgs, deliveries};
use crate::cli::replay::{self, Observer, Replay};
use crate::cli::trace::{Unmatched, unmatched};
use crate::daemon::pipeline::Taken;
use crate::engine::Note;
use crate::engine::ledger::Decision;
use crate::event::{Event, Timestamp};
use crate::rules::RuleSet;

/// Runs `sheriffd explain [EVENT] --file`.
pub(super) async fn explain(
    file: &Path,
    only: Option<&str>,
    args: &ExplainArgs,
    config: &ConfigArgs,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let settings = config.load()?.config;
    let rules = Arc::new(rules(args, config)?);
    let messages = deliveries(file).map_err(CliError::usage)?;
    let facts = replay::facts(&args.tasks, &args.pushes, args.project.as_deref())?;
    let replay = Replay::begin(&settings, &rules, facts, args.store.as_deref()).await?;
    let mut seen = Seen {
        rules,
        only: only.map(str::to_owned),
        nothing: Vec::new(),
        decisions: Vec::new(),
        news: Vec::new(),
    };
    // One by one: each is looked at with the books as they were at its moment.
    for message in &messages {
        let reading = replay.pipeline.read(std::slice::from_ref(message));
        replay.apply(reading, &mut seen).await?;
    }
    if let (Some(only), true) = (only, seen.is_empty()) {
        return Err(CliError::no(format!("{} says nothing of {only}", file.display())));
    }
    let answer = json!({
        "decisions": seen.decisions,
        "unmatched": seen.nothing.iter().map(|(event, rules)| json!({ "event": event, "rules": rules })).collect::<Vec<_>>(),
        "news": seen.news,
        "version": seen.rules.version(),
    });
    args.format.write(out, &answer, |out| seen.write(args.all, out))
}

/// What was seen on the way.
struct Seen {
    rules: Arc<RuleSet>,
    /// The one event that is asked about: `task/run`, or a task with all its runs.
    only: Option<String>,
    /// Events that no rule could be about, with the rules that they did not reach.
    nothing: Vec<(String, Vec<Unmatched>)>,
    decisions: Vec<Decision>,
    /// What else happened, for people.
    news: Vec<String>,
}

impl Observer for Seen {
    fn events(&mut self, events: &[Event]) {
        for event in events {
            if self.rules.candidates(event).is_empty() && self.is_asked_about(&event.id()) {
                self.nothing.push((name(event), unmatched(&self.rules, event)));
            }
        }
    }

    fn taken(&mut self, taken: &Taken) {
        if self.only.is_some() {
            return;
        }
        for (reason, count) in taken.ignored.iter().chain(&taken.dead) {
            self.news
                .push(format!("messages that come to nothing ({reason}): {count}"));
        }
    }

    fn notes(&mut self, notes: &[Note], _: Timestamp) -> Result<(), CliError> {
        for note in notes {
            match note {
                Note::Decided(decision) if self.is_asked_about(&decision.event) => {
                    self.decisions.push((**decision).clone());
                }
                Note::Decided(_) => {}
                // What follows is not about one event.
                _ if self.only.is_some() => {}
                Note::Opened(case) => {
                    self.news
                        .push(format!("would open {} about {}", case.params.kind(), case.subject));
                }
                Note::HeldBack(_, reason) => self.news.push(format!("would ask for nothing: {}", reason.sentence())),
                Note::Asked(case, requests) => {
                    let jobs: u32 = requests.iter().map(|request| request.times).sum();
                    self.news.push(format!("would ask for {jobs} jobs: {}", case.why));
                }
                Note::Established(_, levels) => self.news.push(format!("would know {} levels", levels.len())),
                Note::Closed(case) => self.news.push(format!("would end: {}", case.why)),
                Note::Discarded(why) => self.news.push(format!("not kept: {}", why.as_str())),
                Note::Waits(lack) => self.news.push(format!("lacks facts: {}", lack.as_str())),
            }
        }
        Ok(())
    }
}

impl Seen {
    fn is_asked_about(&self, event: &str) -> bool {
        let of_task = |only: &str| event.strip_prefix(only).is_some_and(|rest| rest.starts_with('/'));
        self.only.as_deref().is_none_or(|only| event == only || of_task(only))
    }

    fn is_empty(&self) -> bool {
        self.decisions.is_empty() && self.nothing.is_empty() && self.news.is_empty()
    }

    fn write(&self, all: bool, out: &mut dyn Write) -> std::io::Result<()> {
        for decision in &self.decisions {
            write_decision(&json!(decision), out)?;
        }
        for (event, rules) in &self.nothing {
            writeln!(out, "no rule's `match` lets this through:")?;
            write_unmatched(event, rules, all, out)?;
        }
        for news in &self.news {
            writeln!(out, "{news}")?;
        }
        if self.is_empty() {
            writeln!(out, "there is no event in it")?;
        }
        Ok(())
    }
}
