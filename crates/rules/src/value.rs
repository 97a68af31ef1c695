//! Values and types of expressions.
//!
//! In: parts of an event, borrowed. Out: values an expression computes with. Never: copies of what can be borrowed.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use sheriffd_event::{Changeset, Duration, Label, Signature, Timestamp, format_duration};

use super::facts::{Bug, Estimate};

/// The type of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// `true` or `false`.
    Bool,
    /// A whole number of 64 bits.
    Int,
    /// A floating-point number of 64 bits.
    Double,
    /// A text.
    Text,
    /// A span of time, in milliseconds.
    Duration,
    /// A moment.
    Time,
    /// A list of one type.
    List(Box<Type>),
    /// A thing with fields.
    Object(ObjectType),
    /// The event itself: only history functions take it.
    Event,
    /// The elements of `[]`: goes with every type.
    Any,
}

impl Type {
    /// A list of this type.
    pub fn list(self) -> Type {
        Type::List(Box::new(self))
    }

    /// Whether a value of type `other` can stand where one of this type is wanted.
    pub(super) fn accepts(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::Any, _) | (_, Type::Any) => true,
            (Type::List(mine), Type::List(theirs)) => mine.accepts(theirs),
            _ => self == other,
        }
    }

    /// Whether it is a number.
    pub(super) fn is_number(&self) -> bool {
        matches!(self, Type::Int | Type::Double | Type::Any)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Bool => f.write_str("bool"),
            Type::Int => f.write_str("int"),
            Type::Double => f.write_str("double"),
            Type::Text => f.write_str("string"),
            Type::Duration => f.write_str("duration"),
            Type::Time => f.write_str("timestamp"),
            Type::List(element) => write!(f, "list({element})"),
            Type::Object(object) => f.write_str(object.as_str()),
            Type::Event => f.write_str("event"),
            Type::Any => f.write_str("any"),
        }
    }
}

/// The types of things with fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectType {
    /// A bug.
    Bug,
    /// A changeset of a push.
    Changeset,
    /// A failure signature.
    Signature,
    /// The expected cost of a case.
    Estimate,
}

impl ObjectType {
    /// All of them, in the order of the documentation.
    pub const ALL: [ObjectType; 4] = [
        ObjectType::Signature,
        ObjectType::Bug,
        ObjectType::Changeset,
        ObjectType::Estimate,
    ];

    /// The word used in messages and the documentation.
    pub fn as_str(self) -> &'static str {
        match self {
            ObjectType::Bug => "bug",
            ObjectType::Changeset => "changeset",
            ObjectType::Signature => "signature",
            ObjectType::Estimate => "estimate",
        }
    }
}

/// A thing with fields, borrowed from the event or the facts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Object<'a> {
    /// A bug.
    Bug(&'a Bug),
    /// A changeset.
    Changeset(&'a Changeset),
    /// A failure signature.
    Signature(&'a Signature),
    /// An estimate.
    Estimate(Estimate),
}

/// A list, borrowed where it can be.
#[derive(Debug, Clone)]
pub enum List<'a> {
    /// Texts of an event.
    Texts(&'a [Arc<str>]),
    /// Labels of a request.
    Labels(&'a [Label]),
    /// Failure signatures of a run.
    Signatures(&'a [Signature]),
    /// Changesets of a push.
    Changesets(&'a [Changeset]),
    /// Bugs of a failure.
    Bugs(&'a [Bug]),
    /// A constant of the expression.
    Constants(&'a [Value<'static>]),
    /// What an operator or a macro made.
    Values(Arc<[Value<'a>]>),
}

impl<'a> List<'a> {
    /// How many elements it has.
    pub fn len(&self) -> usize {
        match self {
            List::Texts(list) => list.len(),
            List::Labels(list) => list.len(),
            List::Signatures(list) => list.len(),
            List::Changesets(list) => list.len(),
            List::Bugs(list) => list.len(),
            List::Constants(list) => list.len(),
            List::Values(list) => list.len(),
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at a place, counted from 0.
    pub fn get(&self, at: usize) -> Option<Value<'a>> {
        match self {
            List::Texts(list) => list.get(at).map(|text| Value::text(text)),
            List::Labels(list) => list.get(at).map(|label| Value::text(label.as_str())),
            List::Signatures(list) => list.get(at).map(|s| Value::Object(Object::Signature(s))),
            List::Changesets(list) => list.get(at).map(|c| Value::Object(Object::Changeset(c))),
            List::Bugs(list) => list.get(at).map(|b| Value::Object(Object::Bug(b))),
            List::Constants(list) => list.get(at).map(Value::borrowed),
            List::Values(list) => list.get(at).cloned(),
        }
    }

    /// Whether a value is among the elements; looks at what is borrowed without making values of it.
    pub fn contains(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (List::Texts(list), Value::Text(text)) => list.iter().any(|known| **known == **text),
            (List::Constants(list), _) => list.iter().any(|known| known.same(value)),
            (List::Values(list), _) => list.iter().any(|known| known.same(value)),
            _ => self.iter().any(|known| known.same(value)),
        }
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        (0..self.len()).filter_map(|at| self.get(at))
    }
}

/// A value of an expression.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Double(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// A span of time in milliseconds; negative spans exist.
    Duration(i64),
    /// A moment.
    Time(Timestamp),
    /// A list.
    List(List<'a>),
    /// A thing with fields.
    Object(Object<'a>),
}

impl<'a> Value<'a> {
    /// A borrowed text.
    pub fn text(text: &'a str) -> Value<'a> {
        Value::Text(Cow::Borrowed(text))
    }

    /// The same value without a copy of its text or list.
    pub fn borrowed(&'a self) -> Value<'a> {
        match self {
            Value::Text(text) => Value::Text(Cow::Borrowed(text)),
            other => other.clone(),
        }
    }

    /// Whether two values are the same; numbers compare by their mathematical value.
    pub fn same(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.same(&b)),
            (Value::Object(a), Value::Object(b)) => a == b,
            _ => self.order(other) == Some(Ordering::Equal),
        }
    }

    /// How two values are ordered; `None` where they are not (other types, not-a-number).
    pub fn order(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
            (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
            (Value::Int(a), Value::Double(b)) => int_to_double(*a, *b),
            (Value::Double(a), Value::Int(b)) => int_to_double(*b, *a).map(Ordering::reverse),
            (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
            (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
            (Value::Time(a), Value::Time(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

/// Compares an integer with a double by value: a plain cast would lose digits over 2^53.
fn int_to_double(a: i64, b: f64) -> Option<Ordering> {
    /// 2^63, the first double over every `i64`.
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    if b.is_nan() {
        return None;
    }
    if b >= TWO_TO_63 {
        return Some(Ordering::Less);
    }
    if b < -TWO_TO_63 {
        return Some(Ordering::Greater);
    }
    let whole = b.trunc();
    // In range by the two checks above.
    let order = a.cmp(&(whole as i64));
    Some(order.then_with(|| 0.0_f64.partial_cmp(&(b - whole)).unwrap_or(Ordering::Equal)))
}

/// The most elements of a list that a trace shows.
const SHOWN: usize = 8;
/// The most characters of a text that a trace shows.
const SHOWN_CHARS: usize = 120;

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Double(value) => write!(f, "{value:?}"),
            Value::Text(text) => match text.char_indices().nth(SHOWN_CHARS) {
                Some((end, _)) => write!(f, "{:?}…", &text[..end]),
                None => write!(f, "{text:?}"),
            },
            Value::Duration(ms) => f.write_str(&show_duration(*ms)),
            Value::Time(time) => write!(f, "{time}"),
            Value::List(list) => {
                f.write_str("[")?;
                for (at, value) in list.iter().take(SHOWN).enumerate() {
                    if at > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{value}")?;
                }
                match list.len().checked_sub(SHOWN) {
                    Some(more) if more > 0 => write!(f, ", and {more} more]"),
                    _ => f.write_str("]"),
                }
            }
            Value::Object(Object::Bug(bug)) => write!(f, "bug {}", bug.id),
            Value::Object(Object::Changeset(changeset)) => write!(f, "changeset {}", changeset.node),
            Value::Object(Object::Signature(signature)) => write!(f, "signature {signature}"),
            Value::Object(Object::Estimate(estimate)) => match estimate.hours {
                Some(hours) => write!(f, "{} jobs, {hours:.1} h", estimate.jobs),
                None => write!(f, "{} jobs", estimate.jobs),
            },
        }
    }
}

/// Milliseconds per unit of a duration; `ms` stands before `m`, whose beginning it shares. `d` is an extension of
/// CEL, whose largest unit is the hour.
const UNITS: [(&str, f64); 7] = [
    ("d", 86_400_000.0),
    ("h", 3_600_000.0),
    ("ms", 1.0),
    ("us", 0.001),
    ("ns", 0.000_001),
    ("m", 60_000.0),
    ("s", 1_000.0),
];

/// The moments that can be computed with, in milliseconds since 1970: the years 1 to 9999 (cel-spec, "Timestamp"), but
/// for the last 26 hours, which some time zone could not show.
pub(super) const YEARS: std::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_402_207_200_999;

/// The spans that can be computed with, in milliseconds: those of 64 bits of nanoseconds (292 years), as in CEL's
/// implementations.
pub(super) const SPANS: std::ops::RangeInclusive<i64> = -9_223_372_036_854..=9_223_372_036_854;

/// The longest duration in milliseconds: a hundred years. What is longer was mistyped.
const MAX_DURATION_MS: f64 = 100.0 * 366.0 * 86_400_000.0;

/// Reads the text of `duration("…")`: numbers with units one after the other (`1h30m`, `0.5s`, `14d`, `-5m`), as CEL
/// and Go write them, and days. The result is in milliseconds; `None` when the text is none, or over a hundred years.
/// (Spans outside of expressions are [`sheriffd_event::parse_duration`]'s: whole numbers, larger units first.)
pub fn parse_cel_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0.0;
    let mut any = false;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, factor) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit))?;
        rest = &rest[unit.len()..];
        total += number * factor;
        any = true;
    }
    // In range of `i64` by the limit.
    (any && total <= MAX_DURATION_MS).then_some((sign * total).round() as i64)
}

/// Writes a duration for people; [`parse_cel_duration`] reads it back.
pub fn show_duration(ms: i64) -> String {
    let span = format_duration(Duration::from_millis(ms.unsigned_abs()));
    match ms < 0 {
        true => format!("-{span}"),
        false => span,
    }
}

/// Writes a duration as CEL's `string(…)` does: in seconds.
pub fn duration_in_seconds(ms: i64) -> String {
    let (seconds, rest) = (ms.unsigned_abs() / 1_000, ms.unsigned_abs() % 1_000);
    let sign = if ms < 0 { "-" } else { "" };
    match rest {
        0 => format!("{sign}{seconds}s"),
        rest => format!("{sign}{seconds}.{}s", format!("{rest:03}").trim_end_matches('0')),
    }
}
