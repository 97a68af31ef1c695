//! A rule as the engine uses it.
//!
//! In: nothing (made by [`super::read`]). Out: what a rule says, typed. Never: a value that was not checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::expr::Expr;
use super::fields::{EventKind, field};
use super::matching::FieldMatch;
use super::value::Value;
use crate::event::{CaseParams, CausedBy, Duration, Event, RuleName, Timestamp};

/// The place of a rule in its rule set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleIndex(pub usize);

/// Whether a rule acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Decides and records, asks for nothing.
    #[default]
    Shadow,
    /// Decides and asks.
    Live,
    /// Is not looked at.
    Off,
}

impl Mode {
    /// The word used in rules.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Shadow => "shadow",
            Mode::Live => "live",
            Mode::Off => "off",
        }
    }
}

/// What has an account of its own in a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BudgetScope {
    /// Each project.
    Project,
    /// Each platform.
    Platform,
    /// Each rule.
    Rule,
    /// Each label.
    Label,
    /// Nothing: one account for all.
    All,
}

/// What a budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counted {
    /// Jobs of the rules that name it.
    #[default]
    Jobs,
    /// Hours of machine time of the rules that name it.
    MachineHours,
    /// Failures of our own runs, of all rules: what people have to look at because of us. Runs that have not ended may
    /// fail yet, and count as if they did.
    Failures,
}

impl Counted {
    /// All words.
    pub const ALL: [Counted; 3] = [Counted::Jobs, Counted::MachineHours, Counted::Failures];

    /// The word used in rules.
    pub fn as_str(self) -> &'static str {
        match self {
            Counted::Jobs => "jobs",
            Counted::MachineHours => "machine-hours",
            Counted::Failures => "failures",
        }
    }
}

/// A daily allowance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Its name, unique over all files.
    pub name: Arc<str>,
    /// What it counts.
    pub counts: Counted,
    /// What has an account of its own.
    pub per: BudgetScope,
    /// What may be spent in 24 hours by accounts that `special` does not name. `None`: nothing.
    pub default: Option<u32>,
    /// What may be spent in 24 hours, by the beginning of the account's name.
    pub special: BTreeMap<String, u32>,
}

impl Budget {
    /// The daily allowance of an account: the longest beginning of its name that is listed, else the default, else none.
    pub fn daily(&self, account: &str) -> u32 {
        let fitting = self
            .special
            .iter()
            .filter(|(beginning, _)| account.starts_with(beginning.as_str()));
        let best = fitting
            .max_by_key(|(beginning, _)| beginning.len())
            .map(|(_, jobs)| *jobs);
        best.or(self.default).unwrap_or(0)
    }
}

/// Fields whose values tell apart what is counted or waited for together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct By(pub(super) Vec<String>);

impl By {
    /// The names of the fields, after `event.`.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// The values of the fields for an event, as one text: the same for events that belong together. A value that is
    /// not known counts as a value of its own.
    pub fn key(&self, event: &Event) -> String {
        let kind = EventKind::of(event);
        let value = |name: &String| field(kind, name).and_then(|field| field.of_event(event));
        let texts = self
            .0
            .iter()
            .map(|name| value(name).map_or_else(|| "?".to_owned(), |value: Value<'_>| value.to_string()));
        texts.collect::<Vec<_>>().join(" ")
    }
}

/// How often a rule may open a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Throttle {
    /// Cases at most, from 1.
    pub max: u32,
    /// In this time.
    pub per: Duration,
    /// Counted apart for each value of these fields.
    pub by: By,
}

/// Waiting until events have stopped coming.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Debounce {
    /// How long none must come.
    pub quiet: Duration,
    /// Which events belong together.
    pub by: By,
    /// How long to wait at most, even if they keep coming.
    pub at_most: Option<Duration>,
}

/// A time of day in minutes from midnight, 0 to 1,440.
pub type MinuteOfDay = u16;

/// The hours in which a rule opens nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuietHours {
    /// The time zone, by its IANA name; checked on reading.
    pub tz: String,
    /// From and to; a span that ends before it begins goes over midnight.
    pub span: (MinuteOfDay, MinuteOfDay),
    /// Whether the span is the only time that is *not* quiet.
    pub except: bool,
}

/// When a person must approve.
#[derive(Debug, Clone)]
pub struct Approve {
    /// Only if this holds; `None`: always.
    pub when: Option<Condition>,
    /// The group of people who may.
    pub by: Arc<str>,
    /// How long it may take.
    pub expires: Duration,
}

/// Who is told of a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// A webhook of the configuration, by name.
    pub webhook: Arc<str>,
}

/// A guard that a rule relaxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Guard {
    /// Many labels failing on one push are one case.
    Storm,
    /// A subject has one open case.
    OneOpenCase,
    /// Runs that are pending or running count as done.
    InFlight,
}

/// A checked expression and its text.
#[derive(Debug, Clone)]
pub struct Condition {
    pub(super) text: Arc<str>,
    pub(super) expr: Expr,
}

impl Condition {
    /// The condition as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// A rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name, unique over all files.
    pub name: RuleName,
    /// What it is for.
    pub description: Option<Arc<str>>,
    /// The file it is in, as named on loading.
    pub file: Arc<str>,
    /// The line of its name, from 1.
    pub line: u32,
    /// The events it looks at; empty only with a schedule.
    pub on: Vec<EventKind>,
    /// For each of these events, the fields that must match.
    pub matches: Vec<(EventKind, Vec<FieldMatch>)>,
    /// The condition for events that match.
    pub when: Option<Condition>,
    /// A list to whose elements the rule is applied one by one.
    pub for_each: Option<Condition>,
    /// The case to open.
    pub open: CaseParams,
    /// The budget its jobs are drawn from, by name; it exists.
    pub budget: Option<Arc<str>>,
    /// Whether it acts.
    pub mode: Mode,
    /// Whose runs may open a case. Never empty; never [`CausedBy::Sheriffd`] or [`CausedBy::Unknown`].
    pub caused_by: Vec<CausedBy>,
    /// How often it may open a case.
    pub throttle: Option<Throttle>,
    /// Waiting until events have stopped coming.
    pub debounce: Option<Debounce>,
    /// A subject gets no other case of this rule within this time.
    pub once_within: Option<Duration>,
    /// The hours in which it opens nothing.
    pub quiet_hours: Option<QuietHours>,
    /// When it runs without an event.
    pub schedule: Option<super::cron::Cron>,
    /// When a person must approve.
    pub approve: Option<Approve>,
    /// Who is told of the verdict.
    pub notify: Option<Notify>,
    /// Guards it relaxes.
    pub relaxed: Vec<Guard>,
    /// Whether it waits while a project's tree is closed.
    pub waits_for_tree: bool,
}

/// A run that a test gives as history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestRun {
    /// Its label.
    pub label: String,
    /// Its push.
    pub push: u64,
    /// How it ended, in the word of rules.
    pub outcome: String,
    /// Its project, when written.
    pub project: Option<String>,
    /// Who made it happen, in the word of rules, when written.
    pub caused_by: Option<String>,
    /// How long before the first event, when written.
    pub ago: Option<Duration>,
}

/// One thing that happens in a test.
#[derive(Debug, Clone, PartialEq)]
pub enum TestStep {
    /// A recorded message, in a file beside the rule file.
    File(String),
    /// Time passes.
    After(Duration),
    /// An event with these fields.
    Event {
        /// Its kind.
        kind: EventKind,
        /// Field names and values; every name is a field of the kind.
        fields: BTreeMap<String, serde_json::Value>,
    },
}

/// A job that a test expects to be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestAction {
    /// The label.
    pub label: String,
    /// The push.
    pub push: u64,
    /// How often.
    pub times: u32,
}

/// How many cases a test expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedCases {
    /// None, or at least one.
    Any(bool),
    /// So many.
    Exactly(u32),
}

/// What a test expects of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestExpectation {
    /// The rule; it exists.
    pub rule: RuleName,
    /// How many cases it opened.
    pub opened: Option<ExpectedCases>,
    /// Why it opened nothing.
    pub because: Option<String>,
    /// How its case ended.
    pub verdict: Option<String>,
    /// The jobs that were asked for, in any order.
    pub actions: Option<Vec<TestAction>>,
}

/// A test of rules.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleTest {
    /// What it shows.
    pub name: String,
    /// The file it is in.
    pub file: Arc<str>,
    /// The line of its name, from 1.
    pub line: u32,
    /// The time of the first event, when written.
    pub at: Option<Timestamp>,
    /// Runs before the first event.
    pub history: Vec<TestRun>,
    /// What happens, in order.
    pub steps: Vec<TestStep>,
    /// What must come of it.
    pub expectations: Vec<TestExpectation>,
}
