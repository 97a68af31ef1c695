//! What `match:` says of a field: values, patterns, ranges.
//!
//! In: the value of a field, or that it is not known. Out: yes, no, or unknown. Never: expressions; these tests are
//! simple so that [`super::index`] can find the rules that can match without looking at the others.

use std::fmt;
use std::sync::Arc;

use super::fields::Field;
use super::value::Value;
use sheriffd_event::Event;

/// Whether something holds: an unknown fact makes it unknown, which never counts as true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Matched {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// A fact that it needs is not known yet.
    Unknown,
}

impl Matched {
    /// The word used in traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Matched::True => "true",
            Matched::False => "false",
            Matched::Unknown => "unknown",
        }
    }

    /// Both of two.
    pub fn and(self, other: Matched) -> Matched {
        match (self, other) {
            (Matched::False, _) | (_, Matched::False) => Matched::False,
            (Matched::Unknown, _) | (_, Matched::Unknown) => Matched::Unknown,
            (Matched::True, Matched::True) => Matched::True,
        }
    }
}

impl From<bool> for Matched {
    fn from(value: bool) -> Self {
        if value { Matched::True } else { Matched::False }
    }
}

/// The longest pattern in characters: bounds the work of matching one.
pub(super) const MAX_GLOB: usize = 256;

/// A pattern for texts: `*` stands for any characters (also none, also `/` and `-`), `?` for exactly one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Glob {
    text: Arc<str>,
}

impl Glob {
    /// Whether a text has the signs that make it a pattern.
    pub(super) fn is_pattern(text: &str) -> bool {
        text.contains(['*', '?'])
    }

    /// A pattern; its length was checked by the reader.
    pub(super) fn new(text: &str) -> Glob {
        Glob { text: Arc::from(text) }
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The literal pieces between the signs; the first and the last may be empty.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &str> {
        self.text.split(['*', '?'])
    }

    /// Whether a text fits. The work is bounded by the product of both lengths.
    pub fn is_match(&self, text: &str) -> bool {
        let (pattern, text) = (self.text.as_bytes(), text.as_bytes());
        let (mut p, mut t) = (0, 0);
        // Where to go on after the last `*` when what follows it does not fit: one byte further in the text.
        let mut retry: Option<(usize, usize)> = None;
        while t < text.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    retry = Some((p + 1, t));
                    p += 1;
                    continue;
                }
                Some(b'?') => {
                    p += 1;
                    t += char_length(text, t);
                    continue;
                }
                Some(byte) if *byte == text[t] => {
                    p += 1;
                    t += 1;
                    continue;
                }
                _ => {}
            }
            let Some((after_star, from)) = retry else { return false };
            // A whole character further, so that `?` never begins inside one.
            let next = from + char_length(text, from);
            retry = Some((after_star, next));
            p = after_star;
            t = next;
        }
        pattern[p..].iter().all(|byte| *byte == b'*')
    }
}

/// The length of the UTF-8 character that begins at a place.
fn char_length(text: &[u8], at: usize) -> usize {
    1 + text[at + 1..]
        .iter()
        .take_while(|byte| **byte & 0b1100_0000 == 0b1000_0000)
        .count()
}

/// A range of numbers; a missing bound is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// The lower bound, and whether it belongs to the range.
    pub low: Option<(f64, bool)>,
    /// The upper bound, and whether it belongs to the range.
    pub high: Option<(f64, bool)>,
}

impl Range {
    /// Just one number.
    pub(super) fn exactly(number: f64) -> Range {
        Range {
            low: Some((number, true)),
            high: Some((number, true)),
        }
    }

    /// Whether a number is inside.
    pub fn contains(&self, number: f64) -> bool {
        let above = self
            .low
            .is_none_or(|(low, inclusive)| number > low || (inclusive && number == low));
        let below = self
            .high
            .is_none_or(|(high, inclusive)| number < high || (inclusive && number == high));
        above && below
    }

    /// Whether no number is inside.
    pub(super) fn is_empty(&self) -> bool {
        match (self.low, self.high) {
            (Some((low, a)), Some((high, b))) => low > high || (low == high && !(a && b)),
            _ => false,
        }
    }
}

/// One value or pattern of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// Exactly this text.
    Text(Arc<str>),
    /// A text that fits.
    Glob(Glob),
    /// Exactly this whole number.
    Int(i64),
    /// A number in a range.
    Range(Range),
    /// This truth value.
    Bool(bool),
    /// No value at all: a shared list that is empty.
    Nothing,
}

impl Test {
    /// Whether a value passes.
    pub(super) fn accepts(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Test::Text(wanted), Value::Text(text)) => **wanted == **text,
            (Test::Glob(glob), Value::Text(text)) => glob.is_match(text),
            (Test::Int(wanted), Value::Int(number)) => wanted == number,
            (Test::Range(range), Value::Int(number)) => range.contains(*number as f64),
            (Test::Range(range), Value::Double(number)) => range.contains(*number),
            (Test::Bool(wanted), Value::Bool(truth)) => wanted == truth,
            _ => false,
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Test::Text(text) => f.write_str(text),
            Test::Glob(glob) => f.write_str(glob.as_str()),
            Test::Int(number) => write!(f, "{number}"),
            Test::Bool(truth) => write!(f, "{truth}"),
            Test::Nothing => f.write_str("nothing"),
            Test::Range(Range {
                low: Some((low, true)),
                high: Some((high, true)),
            }) => write!(f, "{low}..{high}"),
            Test::Range(range) => {
                let mut separator = "";
                if let Some((low, inclusive)) = range.low {
                    write!(f, "{} {low}", if inclusive { ">=" } else { ">" })?;
                    separator = " and ";
                }
                if let Some((high, inclusive)) = range.high {
                    write!(f, "{separator}{} {high}", if inclusive { "<=" } else { "<" })?;
                }
                Ok(())
            }
        }
    }
}

/// What a rule wants of one field.
#[derive(Debug, Clone)]
pub struct FieldMatch {
    /// The field.
    pub field: &'static Field,
    /// One of these must accept the value; empty: every known value does.
    pub any: Vec<Test>,
    /// None of these may accept it.
    pub none: Vec<Test>,
    /// Whether it was not written but is a guard that is always on.
    pub guard: bool,
}

impl FieldMatch {
    /// Whether the event's value passes.
    pub(super) fn test(&self, event: &Event) -> Matched {
        match self.field.of_event(event) {
            None => Matched::Unknown,
            Some(value) => self.accepts(&value).into(),
        }
    }

    /// Whether a value passes.
    pub(super) fn accepts(&self, value: &Value<'_>) -> bool {
        (self.any.is_empty() || self.any.iter().any(|test| test.accepts(value)))
            && !self.none.iter().any(|test| test.accepts(value))
    }

    /// Whether it can be seen that no value passes: every wanted constant is also unwanted.
    pub(super) fn is_contradictory(&self) -> bool {
        let excluded = |test: &Test| match test {
            Test::Text(text) => self.none.iter().any(|none| none.accepts(&Value::text(text))),
            Test::Int(number) => self.none.iter().any(|none| none.accepts(&Value::Int(*number))),
            Test::Bool(truth) => self.none.iter().any(|none| none.accepts(&Value::Bool(*truth))),
            Test::Glob(_) | Test::Range(_) => self.none.contains(test),
            // Meant so: the list waits to be filled.
            Test::Nothing => false,
        };
        !self.any.is_empty() && self.any.iter().all(excluded)
    }
}

impl fmt::Display for FieldMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.field.name)?;
        let words = |list: &[Test]| list.iter().map(Test::to_string).collect::<Vec<_>>().join(", ");
        if !self.any.is_empty() {
            write!(f, "[{}]", words(&self.any))?;
        }
        if !self.none.is_empty() {
            let separator = if self.any.is_empty() { "" } else { " and " };
            write!(f, "{separator}not [{}]", words(&self.none))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_stands_for_any_characters_and_a_question_mark_for_one() {
        let fits = |pattern: &str, text: &str| Glob::new(pattern).is_match(text);
        assert!(fits("test-*", "test-linux/opt-mochitest-1"));
        assert!(fits("*talos*", "test-windows-talos-g1"));
        assert!(fits("a*b*c", "a-b-b-c"));
        assert!(fits("t?st", "tést"));
        assert!(fits("*", ""));
        assert!(!fits("test-*", "build-linux"));
        assert!(!fits("t?st", "tst"));
        assert!(!fits("a*b", "ab-"));
        assert!(!fits("", "x"));
    }

    proptest! {
        #[test]
        fn a_pattern_agrees_with_the_same_pattern_as_a_regular_expression(
            pattern in "[ab*?é]{0,8}", text in "[abé]{0,10}"
        ) {
            let regex = pattern.chars().map(|c| match c {
                '*' => ".*".to_owned(),
                '?' => ".".to_owned(),
                other => other.to_string(),
            }).collect::<String>();
            let regex = regex::Regex::new(&format!("^(?s:{regex})$")).unwrap();
            prop_assert_eq!(Glob::new(&pattern).is_match(&text), regex.is_match(&text));
        }
    }
}
