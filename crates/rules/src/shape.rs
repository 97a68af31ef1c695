//! The shapes of values: one description for the reader, the JSON Schema and the documentation.
//!
//! In: a [`Node`] and the [`Shape`] it must have. Out: diagnostics for every part that has another. Never: meaning:
//! what a value of the right shape says is read elsewhere, and can then be taken without asking again.

use super::code::Code;
use super::diagnostic::{Gathering, closest, one_of};
use super::yaml::{Node, Yaml};
use sheriffd_event::parse_duration;

/// The longest name of a rule, budget or list, in characters.
const MAX_NAME: usize = 100;

/// What a value must look like.
#[derive(Debug)]
pub(super) enum Shape {
    /// A text that is not empty.
    Text,
    /// A name: letters, digits, `-` and `_`, beginning with a letter.
    Name,
    /// One of these words.
    Word(&'static [&'static str]),
    /// True or false.
    Bool,
    /// A whole number in this range, both ends included.
    Int(i64, i64),
    /// A number in this range, both ends included.
    Number(f64, f64),
    /// A span of time, in words: `30m`.
    Duration,
    /// A moment, in RFC 3339.
    Time,
    /// An expression.
    Expression,
    /// A field of the event: `event.series`.
    FieldName,
    /// The case to open: keys by kind, read by [`super::open`].
    Open,
    /// Fields of the event: read by [`super::match_fields`].
    Match,
    /// A list of these.
    List(&'static Shape),
    /// One of these, or a list of them.
    OneOrMore(&'static Shape),
    /// A mapping with these keys.
    Keys(&'static Keys),
    /// A mapping from names of one's own.
    Names(&'static Shape),
    /// One of two shapes.
    Either(&'static Shape, &'static Shape),
    /// A text, a number, or true or false.
    Scalar,
    /// Whatever it is: data handed through.
    Any,
}

/// A key of a mapping.
#[derive(Debug)]
pub(super) struct Key {
    pub name: &'static str,
    pub shape: Shape,
    pub required: bool,
    /// What it means, for the documentation and for editors.
    pub doc: &'static str,
}

/// The keys of a mapping.
#[derive(Debug)]
pub(super) struct Keys {
    /// What the mapping is, for messages: `a rule`.
    pub what: &'static str,
    pub keys: &'static [Key],
}

impl Shape {
    /// What it is, for messages.
    pub fn describe(&self) -> String {
        match self {
            Shape::Text => "a text".to_owned(),
            Shape::Name => "a name of letters, digits, `-` and `_`, beginning with a letter".to_owned(),
            Shape::Word(words) => one_of(words.iter().copied()),
            Shape::Bool => "true or false".to_owned(),
            Shape::Int(low, high) if low == high => format!("`{low}`"),
            Shape::Int(low, high) if *high == i64::MAX => format!("a whole number from {low}"),
            Shape::Int(low, high) => format!("a whole number from {low} to {high}"),
            Shape::Number(low, high) => format!("a number from {low} to {high}"),
            Shape::Duration => "a span of time such as `30m`, `6h` or `14d`".to_owned(),
            Shape::Time => "a time such as \"2026-06-01T10:00:00Z\"".to_owned(),
            Shape::Expression => "an expression".to_owned(),
            Shape::FieldName => "a field such as `event.project`".to_owned(),
            Shape::Open => "a case: `kind`, `max_jobs` and what else the kind takes".to_owned(),
            Shape::Match => "fields of the event with the values they must have".to_owned(),
            Shape::List(Shape::Keys(keys)) => format!("a list; each element is {}", keys.what),
            Shape::List(of) => format!("a list; each element: {}", of.describe()),
            Shape::OneOrMore(of) => format!("{}, or a list of such", of.describe()),
            Shape::Keys(keys) => format!("a mapping with {}", one_of(keys.keys.iter().map(|key| key.name))),
            Shape::Names(Shape::Keys(keys)) => format!("a mapping of names; each value is {}", keys.what),
            Shape::Names(of) => format!("a mapping of names; each value: {}", of.describe()),
            Shape::Either(a, b) => format!("{}, or {}", a.describe(), b.describe()),
            Shape::Scalar => "a text, a number, or true or false".to_owned(),
            Shape::Any => "anything".to_owned(),
        }
    }

    /// Whether the value has this shape at first sight; its parts are not looked at.
    fn fits(&self, node: &Node) -> bool {
        match self {
            Shape::Either(a, b) => a.fits(node) || b.fits(node),
            Shape::OneOrMore(of) => matches!(node.value, Yaml::List(_)) || of.fits(node),
            Shape::Bool => matches!(node.value, Yaml::Bool(_)),
            Shape::Int(..) => matches!(node.value, Yaml::Int(_)),
            Shape::Number(..) => matches!(node.value, Yaml::Int(_) | Yaml::Float(_)),
            Shape::List(_) => matches!(node.value, Yaml::List(_)),
            Shape::Keys(_) | Shape::Names(_) | Shape::Open | Shape::Match => matches!(node.value, Yaml::Map(_)),
            Shape::Scalar => matches!(
                node.value,
                Yaml::Bool(_) | Yaml::Int(_) | Yaml::Float(_) | Yaml::Text(_)
            ),
            Shape::Any => true,
            // A condition that is written as a bare `true` is YAML's truth value.
            Shape::Expression => matches!(node.value, Yaml::Text(_) | Yaml::Bool(_)),
            Shape::Text | Shape::Name | Shape::Word(_) | Shape::Duration | Shape::Time | Shape::FieldName => {
                matches!(node.value, Yaml::Text(_))
            }
        }
    }

    /// Checks a value and its parts; says everything that is wrong. `owner` is the key, for messages.
    pub fn check(&self, node: &Node, owner: &str, gathering: &mut Gathering) -> bool {
        if !self.fits(node) {
            self.report_type(node, owner, gathering);
            return false;
        }
        match (self, &node.value) {
            (Shape::Either(a, b), _) => {
                let (first, known) = (a.fits(node), gathering.count());
                let sound = if first { a } else { b }.check(node, owner, gathering);
                if first && matches!(a, Shape::Word(_)) {
                    gathering.expect_instead(known, &self.describe());
                }
                sound
            }
            (Shape::OneOrMore(_), Yaml::List(items)) if items.is_empty() => {
                let message = format!("`{owner}` is an empty list, so nothing matches");
                gathering
                    .error(Code::NeverMatches, node.span, message)
                    .expected(self.describe());
                false
            }
            (Shape::OneOrMore(of) | Shape::List(of), Yaml::List(items)) => {
                let mut sound = true;
                for item in items {
                    sound &= of.check(item, owner, gathering);
                }
                sound
            }
            (Shape::OneOrMore(of), _) => of.check(node, owner, gathering),
            (Shape::Keys(keys), Yaml::Map(_)) => keys.check(node, gathering),
            (Shape::Names(of), Yaml::Map(entries)) => {
                let mut sound = true;
                for (key, value) in entries {
                    sound &= of.check(value, &key.name, gathering);
                }
                sound
            }
            (Shape::Int(low, high), Yaml::Int(number)) if !(low..=high).contains(&number) => {
                let message = format!("`{owner}` is {number}, but must be {}", self.describe());
                gathering.error(Code::OutOfRange, node.span, message);
                false
            }
            (Shape::Number(low, high), Yaml::Int(_) | Yaml::Float(_)) => {
                let number = node.number().unwrap_or(f64::NAN);
                let inside = (low..=high).contains(&&number);
                if !inside {
                    let message = format!("`{owner}` is {number}, but must be {}", self.describe());
                    gathering.error(Code::OutOfRange, node.span, message);
                }
                inside
            }
            (_, Yaml::Text(text)) => self.check_text(node, text, owner, gathering),
            _ => true,
        }
    }

    fn check_text(&self, node: &Node, text: &str, owner: &str, gathering: &mut Gathering) -> bool {
        let sound = match self {
            Shape::Text => !text.trim().is_empty(),
            Shape::Name => is_name(text),
            Shape::Word(words) => words.contains(&text),
            Shape::Duration => parse_duration(text).is_ok_and(|span| !span.is_zero()),
            Shape::Time => sheriffd_event::Timestamp::parse(text).is_some(),
            Shape::FieldName => text.strip_prefix("event.").is_some_and(|name| !name.is_empty()),
            _ => true,
        };
        if !sound {
            let code = match self {
                Shape::Duration | Shape::Time => Code::BadLiteral,
                _ => Code::InvalidValue,
            };
            let message = if text.trim().is_empty() {
                format!("`{owner}` is empty")
            } else {
                match (self, parse_duration(text)) {
                    (Shape::Duration, Err(error)) => format!("`{owner}` cannot be {text:?}: {error}"),
                    _ => format!("`{owner}` cannot be {text:?}"),
                }
            };
            let note = gathering.error(code, node.span, message).expected(self.describe());
            if let Shape::Word(words) = self {
                note.did_you_mean(text, words.iter().copied());
            } else if matches!(self, Shape::FieldName) && is_name(text) {
                note.suggest(format!("did you mean `event.{text}`?"));
            }
        }
        sound
    }

    fn report_type(&self, node: &Node, owner: &str, gathering: &mut Gathering) {
        let message = match &node.value {
            Yaml::Null => format!("`{owner}` has no value"),
            _ => format!("`{owner}` cannot be {}", node.kind()),
        };
        let note = gathering
            .error(Code::WrongType, node.span, message)
            .expected(self.describe());
        match (self, &node.value) {
            (Shape::Duration, Yaml::Int(number)) => {
                note.suggest(format!("write the unit: `{number}s`, `{number}m` or `{number}h`"));
            }
            (Shape::Int(..) | Shape::Number(..), Yaml::Text(text)) if text.parse::<f64>().is_ok() => {
                note.suggest(format!("leave out the quotes: `{text}`"));
            }
            (Shape::List(_), Yaml::Text(_) | Yaml::Map(_)) => {
                note.suggest("begin each element with `- `, or write `[a, b]`");
            }
            (Shape::Text, Yaml::Int(_) | Yaml::Float(_) | Yaml::Bool(_)) => {
                note.suggest("put it in quotes to make it a text");
            }
            _ => {}
        }
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.len() <= MAX_NAME
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

impl Keys {
    /// The key of this name.
    pub fn get(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// Checks a mapping: unknown keys, missing keys, and every value.
    pub fn check(&self, node: &Node, gathering: &mut Gathering) -> bool {
        let Yaml::Map(entries) = &node.value else { return false };
        let mut sound = true;
        for (key, value) in entries {
            match self.get(&key.name) {
                Some(known) => sound &= known.shape.check(value, &key.name, gathering),
                None => {
                    sound = false;
                    let names = self.keys.iter().map(|key| key.name);
                    let message = format!("{} has no key `{}`", self.what, key.name);
                    let note = gathering.error(Code::UnknownKey, key.span, message);
                    match closest(&key.name, names.clone()) {
                        Some(best) => note.suggest(format!("did you mean `{best}`?")),
                        None => note.expected(one_of(names)),
                    };
                }
            }
        }
        for key in self
            .keys
            .iter()
            .filter(|key| key.required && node.get(key.name).is_none())
        {
            sound = false;
            let message = format!("{} needs `{}`", self.what, key.name);
            gathering
                .error(Code::MissingKey, node.first(), message)
                .expected(key.shape.describe());
        }
        sound
    }
}
