//! Kinds of events, and what a field of one is.
//!
//! In: an event, and facts. Out: the value of a field, or `None` for *not known yet*. Never: maps: a field is resolved
//! to an accessor when a rule is loaded. The fields themselves are in [`super::field_table`].

use serde::{Deserialize, Serialize};

use sheriffd_event::{Event, RunState};

use super::facts::Facts;
use super::field_table::{FIELDS, OBJECT_FIELDS};
use super::value::{Object, ObjectType, Type, Value};

/// The kinds of events that rules can be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EventKind {
    /// A run waits for a machine.
    #[serde(rename = "job.pending")]
    JobPending,
    /// A run is on a machine.
    #[serde(rename = "job.running")]
    JobRunning,
    /// A run ended.
    #[serde(rename = "job.finished")]
    JobFinished,
    /// A push landed.
    #[serde(rename = "push.created")]
    PushCreated,
    /// A person asked for something.
    #[serde(rename = "request.received")]
    RequestReceived,
    /// A performance series stepped.
    #[serde(rename = "perf.alert")]
    PerfAlert,
    /// A scheduled rule is due: not written in `on`, it comes with `schedule`.
    #[serde(rename = "timer")]
    Timer,
}

impl EventKind {
    /// All kinds, in the order of the documentation.
    pub const ALL: [EventKind; 7] = [
        EventKind::JobFinished,
        EventKind::JobRunning,
        EventKind::JobPending,
        EventKind::PushCreated,
        EventKind::RequestReceived,
        EventKind::PerfAlert,
        EventKind::Timer,
    ];

    /// The kind of an event.
    pub fn of(event: &Event) -> EventKind {
        match event {
            Event::Job(job) => match job.state {
                RunState::Pending => EventKind::JobPending,
                RunState::Running => EventKind::JobRunning,
                RunState::Finished(_) => EventKind::JobFinished,
            },
            Event::Push(_) => EventKind::PushCreated,
            Event::Request(_) => EventKind::RequestReceived,
            Event::PerfAlert(_) => EventKind::PerfAlert,
            Event::Timer(_) => EventKind::Timer,
        }
    }

    /// The word used in rules, the same as [`Event::name`].
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::JobPending => "job.pending",
            EventKind::JobRunning => "job.running",
            EventKind::JobFinished => "job.finished",
            EventKind::PushCreated => "push.created",
            EventKind::RequestReceived => "request.received",
            EventKind::PerfAlert => "perf.alert",
            EventKind::Timer => "timer",
        }
    }

    /// The kind of this word.
    pub fn from_word(word: &str) -> Option<EventKind> {
        EventKind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Whether the event is about a run.
    pub fn is_job(self) -> bool {
        matches!(
            self,
            EventKind::JobPending | EventKind::JobRunning | EventKind::JobFinished
        )
    }
}

/// How the value of a field is had.
#[derive(Clone, Copy)]
pub(super) enum Access {
    /// From the event alone: the field can stand in `match:`.
    Event(for<'a> fn(&'a Event) -> Option<Value<'a>>),
    /// From the facts: the field can stand in expressions only.
    Facts(for<'a> fn(&'a Event, &'a dyn Facts) -> Option<Value<'a>>),
}

/// A field of an event.
pub struct Field {
    /// Its name after `event.`.
    pub name: &'static str,
    /// The events that have it.
    pub on: &'static [EventKind],
    /// Its type.
    pub ty: fn() -> Type,
    /// The only values it can have; empty: any.
    pub words: &'static [&'static str],
    /// What it means.
    pub doc: &'static str,
    pub(super) access: Access,
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Field").field(&self.name).finish()
    }
}

impl Field {
    /// Whether `match:` can use it: it comes with the event and is a text, a number or a truth value.
    pub fn is_matchable(&self) -> bool {
        matches!(self.access, Access::Event(_))
            && matches!((self.ty)(), Type::Bool | Type::Int | Type::Double | Type::Text)
    }

    /// Its value from the event alone. `None`: not known yet, or a matter of facts.
    pub(super) fn of_event<'a>(&self, event: &'a Event) -> Option<Value<'a>> {
        match self.access {
            Access::Event(get) => get(event),
            Access::Facts(_) => None,
        }
    }

    /// Its value. `None`: not known yet.
    pub(super) fn value<'a>(&self, event: &'a Event, facts: &'a dyn Facts) -> Option<Value<'a>> {
        match self.access {
            Access::Event(get) => get(event),
            Access::Facts(get) => get(event, facts),
        }
    }
}

/// The field of this name that events of this kind have.
pub(super) fn field(kind: EventKind, name: &str) -> Option<&'static Field> {
    FIELDS
        .iter()
        .find(|field| field.name == name && field.on.contains(&kind))
}

/// The fields of a kind of event, in the order of the documentation.
pub fn fields_of(kind: EventKind) -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().filter(move |field| field.on.contains(&kind))
}

/// A field of a thing inside an event.
pub struct ObjectField {
    /// The thing.
    pub of: ObjectType,
    /// The field's name after the dot.
    pub name: &'static str,
    /// Its type.
    pub ty: fn() -> Type,
    /// What it means.
    pub doc: &'static str,
    pub(super) get: for<'a> fn(Object<'a>) -> Option<Value<'a>>,
}

impl std::fmt::Debug for ObjectField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ObjectField").field(&self.of).field(&self.name).finish()
    }
}

/// The field of this name of a thing.
pub(super) fn object_field(of: ObjectType, name: &str) -> Option<&'static ObjectField> {
    OBJECT_FIELDS.iter().find(|field| field.of == of && field.name == name)
}
