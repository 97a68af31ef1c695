//! Mutations of sound input: of bytes, and of the structure of JSON and of lines. Everything follows from a seed.

use serde_json::{Map, Value, json};
use sheriffd::stats::random::Random;

/// Bytes that mean something to a reader of JSON, YAML, expressions, HTTP or a terminal.
const TELLING: &[u8] = b"{}[]\",:'\\0-9.eE+tfn \n\r\t\0\x1b\x7f\x80\xff&*!|>#%@`?()<>=/;~^";
/// Pieces of text that mean something to somebody.
const PIECES: [&str; 40] = [
    "null",
    "true",
    "-1",
    "0",
    "1e999",
    "-0",
    "18446744073709551616",
    "9223372036854775808",
    "NaN",
    "\u{0}",
    "\u{1b}[2J",
    "\r\n",
    "\u{feff}",
    "\u{202e}",
    "\u{10ffff}",
    "\\ud800",
    "\\u0000",
    "../../etc/passwd",
    "http://[::1]:0/",
    "<script>",
    "'; DROP TABLE runs; --",
    "${",
    "{$eval: \"",
    "{{",
    "}}",
    "(((((((((((((((((((((",
    "[[[[[[[[[[[[[[[[[[[[[",
    "&a [*a, *a]",
    "!!binary",
    "<<: *x",
    "%s%n",
    "\"\"",
    "a.b.c",
    "matches(",
    "duration(\"",
    "history.",
    "&& ||",
    "in [",
    "? :",
    "0x7f",
];
/// How deep the deepest made-up value is.
const DEEP: usize = 400;
/// How long the longest made-up text is.
const LONG: usize = 70_000;

/// One of a list.
pub fn pick<'a, T>(random: &mut Random, list: &'a [T]) -> &'a T {
    &list[random.below(list.len())]
}

/// Some sound input, hurt in one to six places; now and then by the structure of JSON first.
pub fn mutated(random: &mut Random, sound: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = match serde_json::from_slice::<Value>(sound) {
        Ok(value) if random.chance(0.6) => {
            let other = serde_json::from_slice(other).unwrap_or(Value::Null);
            return restructured(random, value, &other).into_bytes();
        }
        _ => sound.to_vec(),
    };
    for _ in 0..=random.below(6) {
        hurt(random, &mut bytes, other);
    }
    bytes
}

/// Hurts bytes in one place.
fn hurt(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = random.below(bytes.len() + 1);
    let length = random.below(40).min(bytes.len() - at);
    match random.below(10) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = *pick(random, TELLING),
        2 => bytes.insert(at, *pick(random, TELLING)),
        3 => drop(bytes.drain(at..at + length)),
        4 => {
            let piece = bytes[at..at + length].to_vec();
            let to = random.below(bytes.len() + 1);
            bytes.splice(to..to, piece);
        }
        5 => drop(bytes.splice(at..at + length.min(4), pick(random, &PIECES).bytes())),
        6 if !other.is_empty() => {
            let from = random.below(other.len());
            let until = (from + random.below(200)).min(other.len());
            bytes.splice(at..at + length, other[from..until].iter().copied());
        }
        7 => bytes.truncate(at),
        8 => {
            // A line moves, doubles or goes.
            let mut lines: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            let line = lines.remove(random.below(lines.len()));
            for _ in 0..random.below(3) {
                lines.insert(random.below(lines.len() + 1), line.clone());
            }
            *bytes = lines.join(&b'\n');
        }
        _ => {
            let piece = vec![*pick(random, TELLING); random.below(200)];
            bytes.splice(at..at, piece);
        }
    }
}

/// JSON with some of its values replaced, gone, doubled or moved.
fn restructured(random: &mut Random, mut value: Value, other: &Value) -> String {
    for _ in 0..=random.below(4) {
        let nodes = count(&value);
        let target = random.below(nodes);
        let donor = node(other, random.below(count(other))).cloned().unwrap_or_default();
        let new = made_up(random, donor);
        let how = random.below(4);
        if let Some(place) = node_mut(&mut value, &mut { target }) {
            change(random, place, new, how);
        }
    }
    let mut text = value.to_string();
    if random.chance(0.05) {
        // A key written twice, which no value can hold.
        text = text.replacen("\"version\"", "\"version\":9,\"version\"", 1);
    }
    text
}

fn change(random: &mut Random, place: &mut Value, new: Value, how: usize) {
    match (how, place) {
        (0, Value::Object(members)) if !members.is_empty() => {
            let key = members.keys().nth(random.below(members.len())).cloned();
            members.remove(&key.unwrap_or_default());
        }
        (1, Value::Array(items)) if !items.is_empty() => {
            let copy = items[random.below(items.len())].clone();
            items.resize(items.len() + random.below(50), copy);
        }
        (2, Value::Object(members)) => drop(members.insert((*pick(random, &PIECES)).to_owned(), new)),
        (2, Value::String(text)) => text.push_str(PIECES[random.below(PIECES.len())]),
        (_, place) => *place = new,
    }
}

fn made_up(random: &mut Random, donor: Value) -> Value {
    match random.below(14) {
        0 => Value::Null,
        1 => json!(random.chance(0.5)),
        2 => json!(-1),
        3 => json!(u64::MAX),
        4 => json!(i64::MIN),
        5 => json!(1e308),
        6 => json!([]),
        7 => Value::Object(Map::new()),
        8 => json!(*pick(random, &PIECES)),
        9 => json!("x".repeat(random.below(LONG))),
        // Not by `json!`, which would copy everything inside once more for each level.
        10 => (0..random.below(DEEP)).fold(Value::Null, |inner, _| Value::Array(vec![inner])),
        11 => (0..random.below(DEEP)).fold(Value::Null, |inner, _| {
            Value::Object(Map::from_iter([("a".to_owned(), inner)]))
        }),
        12 => json!((0..random.below(3_000)).collect::<Vec<_>>()),
        _ => donor,
    }
}

/// Values in a value, itself included.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

fn node(value: &Value, index: usize) -> Option<&Value> {
    let mut rest = vec![value];
    for _ in 0..index {
        match rest.pop()? {
            Value::Array(items) => rest.extend(items),
            Value::Object(members) => rest.extend(members.values()),
            _ => {}
        }
    }
    rest.pop()
}

fn node_mut<'a>(value: &'a mut Value, index: &mut usize) -> Option<&'a mut Value> {
    if *index == 0 {
        return Some(value);
    }
    *index -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| node_mut(item, index)),
        Value::Object(members) => members.values_mut().find_map(|member| node_mut(member, index)),
        _ => None,
    }
}
