//! What a replay prints.
//!
//! In: what the pipeline noted, and the books at the end. Out: a line a decision and a summary, or one JSON object with
//! the same. Never: deciding, counting anything twice.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use serde::Serialize;

use super::super::CliError;
use super::super::common::Format;
use super::Observer;
use crate::bus::file::BadLines;
use crate::daemon::pipeline::Taken;
use crate::engine::Note;
use crate::engine::ledger::{ActionState, Actions as _, CaseRow, Decision, DecisionResult, LedgerError};
use crate::event::{
    ActionKey, CaseId, CaseKind, Duration, JobRequest, Label, Project, PushId, Reason, Revision, Timestamp, VerdictKind,
};
use crate::store::sqlite::{CaseFilter, SqliteStore};

/// Decisions, cases and requests that are listed one by one, each; all are counted. A replay of weeks must not fill the
/// memory with what nobody reads to the end.
const LISTED: u32 = 100_000;
/// Bad lines that the text names.
const BAD_LINES_SHOWN: usize = 10;
/// Under what reason a line that holds no message is counted.
const BAD_LINE: &str = "bad-line";

/// What the books say at the end.
pub(super) struct Books {
    cases: Vec<CaseRow>,
    states: HashMap<ActionKey, (ActionState, Option<Reason>)>,
    waiting: u64,
}

impl Books {
    /// Reads them.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub(super) fn read(store: &mut SqliteStore) -> Result<Books, LedgerError> {
        store.transact(|books| {
            let mut cases = books.cases(&CaseFilter {
                limit: LISTED,
                ..CaseFilter::default()
            })?;
            cases.reverse();
            let mut states = HashMap::new();
            for case in &cases {
                for action in books.actions_of(case.id)? {
                    states.insert(action.key, (action.state, action.reason));
                }
            }
            Ok(Books {
                cases,
                states,
                waiting: books.waiting_count()?,
            })
        })
    }
}

/// The result of a replay, as JSON.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    /// Messages that were read and say something.
    decoded: u64,
    /// Messages and lines that could not be read.
    dead_letters: u64,
    /// The same by reason.
    unreadable: BTreeMap<&'static str, u64>,
    /// Sound messages of no use, by reason.
    ignored: BTreeMap<&'static str, u64>,
    /// Events, by name.
    events: BTreeMap<&'static str, u64>,
    /// Events that were not kept, by reason.
    discarded: BTreeMap<&'static str, u64>,
    /// Events that the `match` of at least one rule let through.
    matched: u64,
    /// Cases opened.
    opened: u64,
    /// Failures that joined an open case.
    joined: u64,
    /// Requests decided on.
    actions: u64,
    /// Jobs in them.
    jobs: u64,
    /// Decisions that opened nothing, and requests held back at the end, by reason.
    suppressed: BTreeMap<&'static str, u64>,
    cases: Vec<CaseLine>,
    requests: Vec<RequestLine>,
    declined: Vec<DeclinedLine>,
    /// Decisions that opened nothing and are only counted.
    declined_left_out: u64,
    /// Events that still wait for facts.
    waiting: u64,
    /// How long the replay took.
    seconds: f64,
}

#[derive(Debug, Serialize)]
struct CaseLine {
    id: String,
    kind: CaseKind,
    rule: String,
    project: Project,
    label: Label,
    push: PushId,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<VerdictKind>,
    why: String,
}

#[derive(Debug, Serialize)]
struct RequestLine {
    case: String,
    rule: String,
    project: Project,
    label: Label,
    push: PushId,
    revision: Revision,
    times: u32,
    state: ActionState,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    why: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DeclinedLine {
    event: String,
    rule: String,
    project: Option<Project>,
    label: Option<Label>,
    push: Option<PushId>,
    reason: Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_good: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_bad: Option<u64>,
}

/// Gathers what happens, and prints it.
pub(super) struct Report<'a> {
    format: Format,
    out: &'a mut dyn Write,
    outcome: Outcome,
    requests: Vec<(String, JobRequest)>,
    /// The event of the last decision: one event may meet several rules, and is counted once.
    last_event: Option<(String, &'static str)>,
}

impl Observer for Report<'_> {
    fn taken(&mut self, taken: &Taken) {
        let outcome = &mut self.outcome;
        outcome.decoded += taken.decoded;
        outcome.dead_letters += taken.dead.values().sum::<u64>();
        for (counts, more) in [
            (&mut outcome.events, &taken.events),
            (&mut outcome.ignored, &taken.ignored),
            (&mut outcome.unreadable, &taken.dead),
        ] {
            for (name, count) in more {
                *counts.entry(name).or_default() += count;
            }
        }
    }

    fn notes(&mut self, notes: &[Note], now: Timestamp) -> Result<(), CliError> {
        for note in notes {
            match note {
                Note::Decided(decision) => self.decided(decision)?,
                Note::Opened(case) => {
                    self.outcome.opened += 1;
                    let text = format!(
                        "{} {} about {} on push {} ({})",
                        case.id,
                        case.params.kind(),
                        case.subject,
                        case.push,
                        case.cause.rule_name()
                    );
                    self.line(now, "case", &text)?;
                }
                Note::Asked(case, requests) => self.asked(case, requests, now)?,
                Note::Established(case, levels) => {
                    for level in levels {
                        self.line(now, "baseline", &format!("{}: {level}", case.id))?;
                    }
                }
                Note::Closed(case) => {
                    let verdict = case.verdict.as_ref().map_or("", |verdict| verdict.kind.as_str());
                    self.line(now, "verdict", &format!("{} {verdict}: {}", case.id, case.why))?;
                }
                Note::HeldBack(case, reason) => {
                    *self.outcome.suppressed.entry(reason.as_str()).or_default() += 1;
                    self.line(now, "held", &format!("{} {reason}: {}", case.id, reason.sentence()))?;
                }
                Note::Discarded(why) => *self.outcome.discarded.entry(why.as_str()).or_default() += 1,
                Note::Waits(_) => {}
            }
        }
        Ok(())
    }
}

impl<'a> Report<'a> {
    /// An empty one.
    pub(super) fn new(format: Format, out: &'a mut dyn Write) -> Report<'a> {
        Report {
            format,
            out,
            outcome: Outcome::default(),
            requests: Vec::new(),
            last_event: None,
        }
    }

    fn decided(&mut self, decision: &Decision) -> Result<(), CliError> {
        let event = (decision.event.clone(), decision.on);
        if self.last_event.as_ref() != Some(&event) {
            self.outcome.matched += 1;
            self.last_event = Some(event);
        }
        let DecisionResult::No(reason) = decision.result else {
            return Ok(());
        };
        let outcome = &mut self.outcome;
        outcome.joined += u64::from(reason == Reason::Joined);
        *outcome.suppressed.entry(reason.as_str()).or_default() += 1;
        let line = DeclinedLine {
            event: decision.event.clone(),
            rule: decision.rule.clone(),
            project: decision.project.clone(),
            label: decision.label.clone(),
            push: decision.push,
            reason,
            last_good: decision.detail.get("lastGood").and_then(serde_json::Value::as_u64),
            first_bad: decision.detail.get("firstBad").and_then(serde_json::Value::as_u64),
        };
        if self.format == Format::Text {
            return self.line(decision.at, "would not", &line.sentence());
        }
        if self.outcome.declined.len() < LISTED as usize {
            self.outcome.declined.push(line);
        } else {
            self.outcome.declined_left_out += 1;
        }
        Ok(())
    }

    fn asked(&mut self, case: &CaseRow, requests: &[JobRequest], now: Timestamp) -> Result<(), CliError> {
        self.outcome.actions += requests.len() as u64;
        self.outcome.jobs += requests.iter().map(|request| u64::from(request.times)).sum::<u64>();
        let room = (LISTED as usize).saturating_sub(self.requests.len());
        let rule = case.cause.rule_name();
        self.requests.extend(
            requests
                .iter()
                .take(room)
                .map(|request| (rule.to_owned(), request.clone())),
        );
        let pushes: Vec<String> = requests
            .iter()
            .map(|request| match request.times {
                1 => format!("push {}", request.push),
                times => format!("push {} x{times}", request.push),
            })
            .collect();
        let text = format!("{} {} on {}: {}", case.id, case.label, pushes.join(", "), case.why);
        self.line(now, "would ask", &text)
    }

    fn line(&mut self, at: Timestamp, what: &str, text: &str) -> Result<(), CliError> {
        if self.format == Format::Text {
            writeln!(self.out, "{at}  {what:<9}  {text}")?;
        }
        Ok(())
    }

    /// Prints the result.
    ///
    /// # Errors
    /// The output is closed.
    pub(super) fn end(mut self, bad: &BadLines, books: &Books, took: Duration) -> Result<(), CliError> {
        let outcome = &mut self.outcome;
        outcome.seconds = took.as_secs_f64();
        outcome.waiting = books.waiting;
        outcome.dead_letters += bad.count;
        if bad.count > 0 {
            outcome.unreadable.insert(BAD_LINE, bad.count);
        }
        outcome.cases = books.cases.iter().map(case_line).collect();
        for (rule, request) in self.requests {
            let (state, reason) = books
                .states
                .get(&request.key)
                .copied()
                .unwrap_or((ActionState::Queued, None));
            if let Some(reason) = reason {
                *outcome.suppressed.entry(reason.as_str()).or_default() += 1;
            }
            outcome.requests.push(request_line(rule, request, state, reason));
        }
        match self.format {
            Format::Json => {
                serde_json::to_writer(&mut *self.out, &self.outcome).map_err(std::io::Error::from)?;
                writeln!(self.out)?;
            }
            Format::Text => summary(&self.outcome, bad, &mut *self.out)?,
        }
        self.out.flush()?;
        Ok(())
    }
}

impl DeclinedLine {
    fn sentence(&self) -> String {
        let mut text = String::new();
        for part in [
            self.project.as_ref().map(ToString::to_string),
            self.label.as_ref().map(ToString::to_string),
            self.push.map(|push| format!("on push {push}")),
        ]
        .into_iter()
        .flatten()
        {
            text.push_str(&part);
            text.push(' ');
        }
        text.push_str(&format!("[{}] {}: {}", self.event, self.reason, self.reason.sentence()));
        match (self.last_good, self.first_bad) {
            (Some(good), Some(bad)) => text.push_str(&format!(" (last good {good}, first bad {bad})")),
            (None, Some(bad)) => text.push_str(&format!(" (first bad {bad})")),
            _ => {}
        }
        text.push_str(&format!(" ({})", self.rule));
        text
    }
}

fn case_line(case: &CaseRow) -> CaseLine {
    CaseLine {
        id: case.id.to_string(),
        kind: case.params.kind(),
        rule: case.cause.rule_name().to_owned(),
        project: case.subject.project.clone(),
        label: case.label.clone(),
        push: case.push,
        verdict: case.verdict.as_ref().map(|verdict| verdict.kind),
        why: case.why.clone(),
    }
}

fn request_line(rule: String, request: JobRequest, state: ActionState, reason: Option<Reason>) -> RequestLine {
    let why = match reason {
        Some(reason) => format!("{}; {}", reason.sentence(), request.why),
        None => request.why,
    };
    RequestLine {
        case: CaseId::to_string(&request.key.case),
        rule,
        project: request.project,
        label: request.label,
        push: request.push,
        revision: request.revision,
        times: request.times,
        state,
        reason,
        why,
    }
}

fn counts(counts: &BTreeMap<&'static str, u64>) -> String {
    let one = |(name, count): (&&str, &u64)| format!("{name} {count}");
    counts.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn summary(outcome: &Outcome, bad: &BadLines, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "\nSummary")?;
    writeln!(out, "  decoded     {:6}  {}", outcome.decoded, counts(&outcome.events))?;
    writeln!(
        out,
        "  unreadable  {:6}  {}",
        outcome.dead_letters,
        counts(&outcome.unreadable)
    )?;
    for line in bad.first.iter().take(BAD_LINES_SHOWN) {
        writeln!(out, "    {}, line {}: {}", line.recording, line.line, line.reason)?;
    }
    for (what, of) in [("ignored", &outcome.ignored), ("discarded", &outcome.discarded)] {
        if !of.is_empty() {
            writeln!(out, "  {what:<10}  {:6}  {}", of.values().sum::<u64>(), counts(of))?;
        }
    }
    writeln!(out, "  matched     {:6}  events that a rule looked at", outcome.matched)?;
    writeln!(
        out,
        "  opened      {:6}  cases; {} joined an open one",
        outcome.opened, outcome.joined
    )?;
    writeln!(
        out,
        "  actions     {:6}  requests for {} jobs would have been sent",
        outcome.actions, outcome.jobs
    )?;
    if !outcome.suppressed.is_empty() {
        writeln!(out, "  not done, because:")?;
    }
    for (word, count) in &outcome.suppressed {
        let sentence = Reason::ALL
            .iter()
            .find(|reason| reason.as_str() == *word)
            .map_or("", |reason| reason.sentence());
        writeln!(out, "    {count:8}  {word}: {sentence}")?;
    }
    for case in outcome.cases.iter() {
        let verdict = case.verdict.map_or("open", VerdictKind::as_str);
        writeln!(
            out,
            "  {} {} {} {} push {}: {verdict} - {}",
            case.id, case.kind, case.project, case.label, case.push, case.why
        )?;
    }
    if outcome.waiting > 0 {
        writeln!(out, "  {} events still wait for facts", outcome.waiting)?;
    }
    let rate = outcome.decoded as f64 / outcome.seconds.max(1e-9);
    writeln!(out, "  {:.2} seconds, {rate:.0} messages a second", outcome.seconds)
}
