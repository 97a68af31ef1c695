//! A rule as the engine uses it.
//!
//! In: nothing (made by [`super::read`]). Out: what a rule says, typed. Never: a value that was not checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::expr::Expr;
use super::expr::{Run, Stop};
use super::facts::Facts;
use super::fields::{EventKind, field};
use super::matching::FieldMatch;
use super::text::FilledText;
use super::value::Value;
use sheriffd_event::{CaseParams, CausedBy, Duration, Event, RuleName, Timestamp};

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
    /// The time zone whose clocks count.
    pub tz: jiff::tz::TimeZone,
    /// From and to; a span that ends before it begins goes over midnight.
    pub span: (MinuteOfDay, MinuteOfDay),
    /// Whether the span is the only time that is *not* quiet.
    pub except: bool,
}

impl QuietHours {
    /// Whether they are on at a moment. The beginning of the span belongs to it, its end does not. A moment that no
    /// clock can show is quiet.
    pub fn is_quiet(&self, now: Timestamp) -> bool {
        let Ok(moment) = jiff::Timestamp::from_millisecond(now.0) else {
            return true;
        };
        let clock = self.tz.to_datetime(moment).time();
        // Hours and minutes of a clock are not negative.
        let minute =
            MinuteOfDay::from(clock.hour().unsigned_abs()) * 60 + MinuteOfDay::from(clock.minute().unsigned_abs());
        let (from, to) = self.span;
        let inside = match from < to {
            true => (from..to).contains(&minute),
            false => minute >= from || minute < to,
        };
        inside != self.except
    }
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
    /// One failure on several labels is one search.
    SameSignature,
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
    /// The case to open, with the texts as they are written: [`Rule::params_for`] fills them in.
    pub open: CaseParams,
    /// The texts of `open` with expressions in them, by their place in it (a JSON pointer).
    pub(super) texts: Vec<(String, FilledText)>,
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

/// Why a rule that matched opens nothing: a text of `open` has no value for the event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfilled {
    /// A fact is not known yet, or something cannot be computed.
    #[error("`{place}` of `open`: {why}")]
    Stopped {
        /// Where in `open` the text stands: `/input/env/LABEL`.
        place: String,
        /// Why it has no value.
        why: Stop,
    },
    /// The case cannot take what was filled in.
    #[error("`open` cannot be filled in: {0}")]
    Refused(String),
}

impl Rule {
    /// The spans over which its conditions ask for a failure rate, each once.
    pub fn rate_windows(&self) -> Vec<Duration> {
        let mut found = Vec::new();
        let approve = self.approve.as_ref().and_then(|approve| approve.when.as_ref());
        for condition in self.when.iter().chain(&self.for_each).chain(approve) {
            condition.expr.rate_windows(&mut found);
        }
        for (_, text) in &self.texts {
            text.rate_windows(&mut found);
        }
        found
    }

    /// Whether its conditions ask for the bugs of a failure.
    pub fn asks_bugs(&self) -> bool {
        let approve = self.approve.as_ref().and_then(|approve| approve.when.as_ref());
        let mut conditions = self.when.iter().chain(&self.for_each).chain(approve);
        conditions.any(|condition| condition.expr.reads("bugs"))
    }

    /// The parameters of the case that it opens on an event: those of `open`, with every `${{ … }}` in its texts
    /// replaced. `each` is the element of `for_each` that the case is for.
    ///
    /// # Errors
    /// A text has no value for this event: nothing may be opened.
    pub fn params_for<'a>(
        &'a self,
        event: &'a Event,
        facts: &'a dyn Facts,
        each: Option<&Value<'a>>,
    ) -> Result<CaseParams, Unfilled> {
        if self.texts.is_empty() {
            return Ok(self.open.clone());
        }
        let refused = |error: serde_json::Error| Unfilled::Refused(error.to_string());
        let mut open = serde_json::to_value(&self.open).map_err(refused)?;
        for (place, text) in &self.texts {
            let mut run = Run::new(event, facts, None);
            if let Some(each) = each {
                run = run.with_each(each.clone());
            }
            let filled = text.fill(&mut run).map_err(|why| Unfilled::Stopped {
                place: place.clone(),
                why,
            })?;
            match open.pointer_mut(place) {
                Some(slot) => *slot = filled.into(),
                None => return Err(Unfilled::Refused(format!("it has no text at `{place}`"))),
            }
        }
        let params: CaseParams = serde_json::from_value(open).map_err(refused)?;
        match params.check().first() {
            Some(breach) => Err(Unfilled::Refused(breach.to_string())),
            None => Ok(params),
        }
    }
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

/// What a test says of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestPush {
    /// Its number.
    pub push: u64,
    /// Its project, when written.
    pub project: Option<String>,
    /// Its head revision, when written.
    pub revision: Option<String>,
    /// The commit message of its one changeset, when written.
    pub description: Option<String>,
    /// How long before the first event it landed, when written.
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
        /// Field names and values; every name is a field of the kind. Null: not known.
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

/// The word of a test for a rule whose `match` let no event through.
pub const NO_MATCH: &str = "no-match";

/// What a test expects of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestExpectation {
    /// The rule; it exists.
    pub rule: RuleName,
    /// How many cases it opened.
    pub opened: Option<ExpectedCases>,
    /// Why it opened nothing, or held a request back: a [`sheriffd_event::Reason`]'s word, or [`NO_MATCH`].
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
    /// What is special about pushes.
    pub pushes: Vec<TestPush>,
    /// Limits of jobs, by their name in the configuration.
    pub limits: BTreeMap<String, u64>,
    /// Files with recorded task definitions, beside the rule file.
    pub tasks: Vec<String>,
    /// What happens, in order.
    pub steps: Vec<TestStep>,
    /// What must come of it.
    pub expectations: Vec<TestExpectation>,
}
