//! What rules remember between events, and what they made of them.

use serde::Serialize;

use super::LedgerError;
use crate::event::{CaseId, Cause, Event, Label, Project, PushId, Reason, Timestamp};
use crate::rules::Rule;

/// An event that a rule holds back until events like it have stopped coming. The latest of them stands for all.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The rule.
    pub rule: String,
    /// What the rule's `debounce` holds together.
    pub key: String,
    /// When the first of them came.
    pub since: Timestamp,
    /// When the rule acts, unless another comes.
    pub due: Timestamp,
    /// How many have come.
    pub count: u32,
    /// The latest.
    pub event: Event,
}

/// What a rule made of an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// When.
    pub at: Timestamp,
    /// The event's identity: `task/run` for jobs.
    pub event: String,
    /// The event's name in rules: `job.finished`.
    pub on: &'static str,
    /// The tree, when known.
    pub project: Option<Project>,
    /// The job's label, when known.
    pub label: Option<Label>,
    /// The push, when known.
    pub push: Option<PushId>,
    /// The rule.
    pub rule: String,
    /// `opened`, or the reason why not.
    pub result: DecisionResult,
    /// The case that was opened or joined.
    pub case: Option<CaseId>,
    /// Facts for people: the clauses with the values they saw, pushes looked at.
    pub detail: serde_json::Value,
}

impl Decision {
    /// A rule opened nothing on an event, for this reason.
    pub fn no(rule: &Rule, event: &Event, reason: Reason, at: Timestamp) -> Decision {
        Decision {
            at,
            event: event.id(),
            on: event.name(),
            project: event.project().cloned(),
            label: event.label().cloned(),
            push: event.push(),
            rule: rule.name.to_string(),
            result: DecisionResult::No(reason),
            case: None,
            detail: serde_json::Value::Null,
        }
    }

    /// What came of a person's request to open a case: the case that was opened or joined, or the reason why none was.
    pub fn by_hand(event: &Event, reason: Option<Reason>, case: Option<CaseId>, at: Timestamp) -> Decision {
        Decision {
            at,
            event: event.id(),
            on: event.name(),
            project: event.project().cloned(),
            label: event.label().cloned(),
            push: event.push(),
            rule: Cause::BY_HAND.to_owned(),
            result: reason.map_or(DecisionResult::Opened, DecisionResult::No),
            case,
            detail: serde_json::Value::Null,
        }
    }

    /// A rule that is no longer in force opened nothing on an event.
    pub fn of_rule_gone(rule: &str, event: &Event, at: Timestamp) -> Decision {
        Decision {
            rule: rule.to_owned(),
            ..Decision::by_hand(event, Some(Reason::RuleGone), None, at)
        }
    }

    /// The same for another reason.
    pub fn because(mut self, reason: Reason) -> Decision {
        self.result = DecisionResult::No(reason);
        self
    }
}

/// The result of one rule on one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecisionResult {
    /// A case was opened.
    Opened,
    /// None was, because.
    #[serde(untagged)]
    No(Reason),
}

impl DecisionResult {
    /// The word used in the store, commands and rule tests.
    pub fn as_str(self) -> &'static str {
        match self {
            DecisionResult::Opened => "opened",
            DecisionResult::No(reason) => reason.as_str(),
        }
    }
}

/// The books inside one transaction: what rules remember between events, and what they made of them.
pub trait Memory {
    /// What a rule holds back under a key.
    fn held(&mut self, rule: &str, key: &str) -> Result<Option<Held>, LedgerError>;

    /// Holds an event back; replaces what is held under its rule and key.
    fn hold_event(&mut self, held: &Held) -> Result<(), LedgerError>;

    /// Forgets what is held under a rule and key.
    fn forget_held(&mut self, rule: &str, key: &str) -> Result<(), LedgerError>;

    /// Takes out what is due, the most overdue first, at most `limit`.
    fn take_held(&mut self, now: Timestamp, limit: u32) -> Result<Vec<Held>, LedgerError>;

    /// When a scheduled rule last ran, or was first seen.
    fn last_tick(&mut self, rule: &str) -> Result<Option<Timestamp>, LedgerError>;

    /// Remembers when a scheduled rule ran.
    fn set_last_tick(&mut self, rule: &str, at: Timestamp) -> Result<(), LedgerError>;

    /// Remembers a person's request by its digest; false when the same came after `since` already.
    fn first_request(&mut self, digest: &[u8; 32], since: Timestamp, now: Timestamp) -> Result<bool, LedgerError>;

    /// Keeps an event that no rule looked at, for explanations; one that is kept already, once.
    fn keep_sample(&mut self, event: &Event, now: Timestamp) -> Result<(), LedgerError>;

    /// Remembers what a rule made of an event.
    fn note_decision(&mut self, decision: &Decision) -> Result<(), LedgerError>;
}
