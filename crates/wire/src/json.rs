//! Reading JSON of strangers: borrowed text, and errors that say where.
//!
//! In: text. Out: a value of the wanted shape, or a [`DecodeError`] with the path of the field, line and column. Never:
//! a tree of values. The depth of nesting is bounded by serde_json (128 levels of what a shape asks for; deeper values
//! in fields that no shape asks for are skipped without recursion).

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{DecodeError, Unreadable};
use sheriffd_event::Timestamp;

/// Longest explanation kept, in bytes: an error may quote the value it complains of, which may be huge.
const MAX_DETAIL: usize = 400;

/// Longest field path in an explanation, in bytes; what is left out is the outer end.
const MAX_PATH: usize = 120;

/// Text that borrows from the message unless it holds escapes. A type of its own because serde borrows into a bare
/// `Cow` only, not into an `Option<Cow>` or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Text or a whole number: ids that some senders write as one, some as the other.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "text or a whole number")]
pub(super) enum TextOrNumber<'a> {
    /// A number.
    Number(u64),
    /// Text, which may hold a number.
    Text(#[serde(borrow)] Cow<'a, str>),
}

impl TextOrNumber<'_> {
    /// The number, when it is one either way.
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            TextOrNumber::Number(number) => Some(*number),
            TextOrNumber::Text(text) => text.trim().parse().ok(),
        }
    }

    /// As text.
    pub(super) fn text(&self) -> Cow<'_, str> {
        match self {
            TextOrNumber::Number(number) => Cow::Owned(number.to_string()),
            TextOrNumber::Text(text) => Cow::Borrowed(text),
        }
    }
}

/// The envelope that Mozilla's Pulse libraries put around a message: `{"payload": …, "_meta": …}`.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

/// The `version` of a message, whatever else it holds.
#[derive(Deserialize)]
struct Versioned {
    version: Option<serde_json::Number>,
}

/// Makes an error of a reason and an explanation; cuts the explanation to a bounded length.
pub(super) fn error(reason: Unreadable, detail: impl Into<String>) -> DecodeError {
    let mut detail = detail.into();
    if detail.len() > MAX_DETAIL {
        let mut end = MAX_DETAIL;
        while !detail.is_char_boundary(end) {
            end -= 1;
        }
        detail.truncate(end);
        detail.push('…');
    }
    DecodeError { reason, detail }
}

/// Reads a shape from text.
pub(super) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, DecodeError> {
    serde_json::from_str(text).map_err(|e| explain(text, &e))
}

/// Reads a shape from a JSON object of version 1.
///
/// # Errors
/// [`Unreadable::WrongVersion`] when the object says another version, even if it has not the shape either.
pub(super) fn read_v1<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, DecodeError> {
    let wrong_version = |e: DecodeError| match serde_json::from_str::<Versioned>(text) {
        Ok(Versioned { version: Some(version) }) if version.as_u64() != Some(1) => version_error(&version.to_string()),
        _ => e,
    };
    object(text).and_then(|()| read(text)).map_err(wrong_version)
}

/// The error for a version that is not known.
pub(super) fn version_error(version: &str) -> DecodeError {
    error(
        Unreadable::WrongVersion,
        format!("version: is {version}, only version 1 is known"),
    )
}

/// Refuses a text whose outermost value is not an object: the derived readers would take a list for one.
pub(super) fn object(text: &str) -> Result<(), DecodeError> {
    match text.bytes().find(|b| !b.is_ascii_whitespace()) {
        Some(b'{') => Ok(()),
        Some(b'[' | b'"' | b'0'..=b'9' | b'-' | b't' | b'f' | b'n') => {
            read::<serde::de::IgnoredAny>(text)?;
            Err(error(Unreadable::WrongShape, "the message is not a JSON object"))
        }
        Some(_) => read::<serde::de::IgnoredAny>(text).map(|_| ()),
        None => Err(error(Unreadable::NotJson, "the message is empty")),
    }
}

/// The message inside Pulse's envelope, or the text itself when it wears none.
pub(super) fn without_envelope(text: &str) -> Result<&str, DecodeError> {
    object(text)?;
    let envelope: Envelope = read(text)?;
    Ok(envelope.payload.map_or(text, RawValue::get))
}

/// Reads a moment; the error names the field.
pub(super) fn time(text: &str, field: impl FnOnce() -> String) -> Result<Timestamp, DecodeError> {
    Timestamp::parse(text).ok_or_else(|| {
        error(
            Unreadable::WrongShape,
            format!("{}: {text:?} is not an RFC 3339 time", field()),
        )
    })
}

/// Reads a moment that may be missing; the error names the field.
pub(super) fn optional_time(
    text: Option<&Text<'_>>,
    field: impl FnOnce() -> String,
) -> Result<Option<Timestamp>, DecodeError> {
    text.map(|text| time(text, field)).transpose()
}

/// Turns serde_json's error into ours, with the path of the field.
fn explain(text: &str, e: &serde_json::Error) -> DecodeError {
    use serde_json::error::Category;
    match e.classify() {
        Category::Data => {
            let message = e.to_string();
            let within = message.starts_with("missing field") || message.starts_with("duplicate field");
            let path = path_at(text, e.line(), e.column(), within);
            let colon = if path.is_empty() { "" } else { ": " };
            error(Unreadable::WrongShape, format!("{path}{colon}{message}"))
        }
        Category::Syntax | Category::Eof | Category::Io => error(Unreadable::NotJson, e.to_string()),
    }
}

/// One open object or list on the way to a position.
enum Open {
    /// An object, and the name last seen in it.
    Object(Option<String>),
    /// A list, and how many values precede the position in it.
    List(usize),
}

/// The path of the field at a position that serde_json reached without a syntax error, like `status.runs[1].state`.
/// `within`: the complaint is about the object that holds the position, not about the value that ends there.
fn path_at(text: &str, line: usize, column: usize, within: bool) -> String {
    let line_start: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let end = line_start.saturating_add(column).min(text.len());
    let bytes = &text.as_bytes()[..end];
    let mut open: Vec<Open> = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'{' => open.push(Open::Object(None)),
            b'[' => open.push(Open::List(0)),
            // The closing brace at the very end belongs to the object that lacks a field.
            b'}' | b']' if at < end || !within => drop(open.pop()),
            b',' => {
                if let Some(Open::List(index)) = open.last_mut() {
                    *index += 1;
                }
            }
            b'"' => {
                let start = at;
                while let Some(&inner) = bytes.get(at) {
                    at += if inner == b'\\' { 2 } else { 1 };
                    if inner == b'"' {
                        break;
                    }
                }
                let is_name = bytes
                    .get(at..)
                    .unwrap_or_default()
                    .iter()
                    .find(|b| !b.is_ascii_whitespace())
                    == Some(&b':');
                if let (true, Some(Open::Object(name))) = (is_name, open.last_mut()) {
                    *name = Some(String::from_utf8_lossy(&bytes[start..at - 1]).into_owned());
                }
            }
            _ => {}
        }
    }
    if within && let Some(Open::Object(name)) = open.last_mut() {
        *name = None;
    }
    let mut path = String::new();
    for step in &open {
        match step {
            Open::Object(Some(name)) => {
                let dot = if path.is_empty() { "" } else { "." };
                // Writing to a String cannot fail.
                let _ = write!(path, "{dot}{}", name.escape_debug());
            }
            Open::Object(None) => {}
            Open::List(index) => {
                let _ = write!(path, "[{index}]");
            }
        }
    }
    if path.len() > MAX_PATH {
        let mut start = path.len() - MAX_PATH;
        while !path.is_char_boundary(start) {
            start += 1;
        }
        path.replace_range(..start, "…");
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Outer {
        #[serde(rename = "list")]
        _list: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    struct Inner {
        #[serde(rename = "number")]
        _number: u32,
    }

    fn complaint(text: &str) -> String {
        read::<Outer>(text).unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_type_is_named_with_its_path_line_and_column() {
        assert_eq!(
            complaint("{\"other\": [1, {}],\n \"list\": [{\"number\": 1}, {\"number\": \"two\"}]}"),
            "wrong-shape: list[1].number: invalid type: string \"two\", expected u32 at line 2 column 41"
        );
    }

    #[test]
    fn a_missing_field_is_named_with_the_object_that_lacks_it() {
        assert_eq!(
            complaint(r#"{"list": [{"number": 1}, {"numbre": 2}]}"#),
            "wrong-shape: list[1]: missing field `number` at line 1 column 38"
        );
        assert_eq!(complaint("{}"), "wrong-shape: missing field `list` at line 1 column 2");
    }

    #[test]
    fn broken_syntax_is_not_json() {
        assert_eq!(
            complaint(r#"{"list": [{"number": }]}"#),
            "not-json: expected value at line 1 column 22"
        );
    }

    #[test]
    fn an_explanation_is_short_however_long_the_value_is() {
        let text = format!(r#"{{"list": [{{"number": "{}"}}]}}"#, "ü".repeat(100_000));
        let complaint = read::<Outer>(&text).unwrap_err();
        assert!(complaint.detail.len() <= MAX_DETAIL + '…'.len_utf8());
        assert!(complaint.detail.starts_with("list[0].number: invalid type: string"));
    }
}
