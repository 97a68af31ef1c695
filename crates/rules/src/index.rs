//! One index over the `match:` fields of all rules: an event meets only the rules that can match.
//!
//! In: an event. Out: the entries whose match fields do not say no. Never: expressions.
//!
//! Every entry stands in the index under one of its fields, the most selective one: by hash for exact values, by the
//! sorted literal beginnings or endings of patterns (or three characters inside them), by an interval tree for ranges.
//! What is found there is checked field by field. An event whose value of such a field is not known meets all entries
//! under it. The cost is that of the fields in use and of the entries found, whatever the number of rules.

use std::collections::HashMap;
use std::sync::Arc;

use super::diagnostic::to_u32;
use super::fields::Field;
use super::lookup::{Beginnings, Gram, Intervals, Pieces};
use super::matching::{FieldMatch, Glob, Matched, Test};
use super::value::Value;
use sheriffd_event::Event;

/// A thing under which an entry can be found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Text(Arc<str>),
    Int(i64),
    Bool(bool),
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    /// Three characters of a literal piece inside a pattern.
    Gram(Gram),
    Range,
    /// A pattern without three literal characters on end.
    Anything,
}

/// The index over the rules for one kind of event.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: Vec<Entry>,
    fields: Vec<FieldIndex>,
    /// Entries without a field that they could be found under.
    always: Vec<u32>,
    /// Fields that every entry wants to be one of a few texts: an event with another one meets nothing.
    required: Vec<(&'static Field, Vec<Arc<str>>)>,
}

/// A rule's match fields, for one kind of event.
#[derive(Debug)]
pub(super) struct Entry {
    /// The number of the rule.
    pub rule: u32,
    /// All of these must pass.
    pub matches: Vec<FieldMatch>,
}

/// An entry with one of its tests and the key to file it under.
type Filing<'t> = (Key, &'t Test, u32);

/// The entries that are found under one field.
#[derive(Debug)]
struct FieldIndex {
    field: &'static Field,
    texts: HashMap<Arc<str>, Vec<u32>>,
    ints: HashMap<i64, Vec<u32>>,
    bools: [Vec<u32>; 2],
    prefixes: Beginnings,
    /// Endings, written backwards.
    suffixes: Beginnings,
    pieces: Pieces,
    ranges: Intervals,
    anything: Vec<u32>,
    /// All of the above: for events whose value is not known.
    all: Vec<u32>,
}

impl Index {
    /// Builds the index.
    pub fn new(entries: Vec<Entry>) -> Index {
        let counts = count_keys(&entries);
        let mut index = Index::default();
        let mut found: Vec<(&'static Field, Vec<Filing<'_>>)> = Vec::new();
        for (number, entry) in entries.iter().enumerate() {
            let number = to_u32(number);
            match most_selective(entry, &counts) {
                None => index.always.push(number),
                Some((field, keys)) => {
                    let place = found
                        .iter()
                        .position(|(known, _)| std::ptr::eq(*known, field))
                        .unwrap_or_else(|| {
                            found.push((field, Vec::new()));
                            found.len() - 1
                        });
                    found[place]
                        .1
                        .extend(keys.into_iter().map(|(key, test)| (key, test, number)));
                }
            }
        }
        index.fields = found
            .into_iter()
            .map(|(field, keys)| FieldIndex::new(field, keys))
            .collect();
        index.required = required(&entries);
        index.entries = entries;
        index
    }

    /// The rules whose match fields do not say no, in the order of the rules.
    pub fn candidates(&self, event: &Event) -> Vec<u32> {
        if !self.required.iter().all(|(field, texts)| allows(field, texts, event)) {
            return Vec::new();
        }
        let mut numbers = self.always.clone();
        for field in &self.fields {
            field.find(event, &mut numbers);
        }
        numbers.sort_unstable();
        numbers.dedup();
        let possible = |number: &u32| self.entries[*number as usize].test(event) != Matched::False;
        numbers
            .iter()
            .filter(|number| possible(number))
            .map(|number| self.entries[*number as usize].rule)
            .collect()
    }
}

impl Entry {
    /// Whether all fields pass.
    pub fn test(&self, event: &Event) -> Matched {
        let mut matched = Matched::True;
        for field in &self.matches {
            matched = matched.and(field.test(event));
            if matched == Matched::False {
                break;
            }
        }
        matched
    }
}

/// The most texts of a field that is required: more are not worth comparing one by one.
const MAX_REQUIRED: usize = 16;

/// The fields that every entry wants to be one of a few texts.
fn required(entries: &[Entry]) -> Vec<(&'static Field, Vec<Arc<str>>)> {
    let Some((first, rest)) = entries.split_first() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for wanted in &first.matches {
        let mut texts = Vec::new();
        let collect = |matched: &FieldMatch, texts: &mut Vec<Arc<str>>| {
            for test in &matched.any {
                match test {
                    Test::Text(text) if texts.contains(text) => {}
                    Test::Text(text) if texts.len() < MAX_REQUIRED => texts.push(Arc::clone(text)),
                    _ => return false,
                }
            }
            !matched.any.is_empty()
        };
        let everywhere = collect(wanted, &mut texts)
            && rest.iter().all(|entry| {
                let same = entry
                    .matches
                    .iter()
                    .find(|matched| std::ptr::eq(matched.field, wanted.field) && !matched.guard);
                same.is_some_and(|matched| collect(matched, &mut texts))
            });
        if everywhere {
            found.push((wanted.field, texts));
        }
    }
    found
}

/// Whether an event's text is one of these, or not known.
fn allows(field: &Field, texts: &[Arc<str>], event: &Event) -> bool {
    match field.of_event(event) {
        Some(Value::Text(text)) => texts.iter().any(|known| **known == *text),
        _ => true,
    }
}

/// How many entries each key would find.
fn count_keys(entries: &[Entry]) -> HashMap<(&'static str, Key), u32> {
    let mut counts = HashMap::new();
    for field in entries.iter().flat_map(|entry| &entry.matches) {
        for key in field.any.iter().flat_map(keys_of) {
            *counts.entry((field.field.name, key)).or_insert(0) += 1;
        }
    }
    counts
}

/// All keys that a test could be found under.
fn keys_of(test: &Test) -> Vec<Key> {
    match test {
        Test::Text(text) => vec![Key::Text(Arc::clone(text))],
        Test::Int(number) => vec![Key::Int(*number)],
        Test::Bool(truth) => vec![Key::Bool(*truth)],
        Test::Range(_) => vec![Key::Range],
        Test::Nothing => Vec::new(),
        Test::Glob(glob) => glob_keys(glob),
    }
}

fn glob_keys(glob: &Glob) -> Vec<Key> {
    let pieces: Vec<&[u8]> = glob.pieces().map(str::as_bytes).collect();
    let mut keys = Vec::new();
    if let [first, .., last] = pieces.as_slice() {
        if !first.is_empty() {
            keys.push(Key::Prefix(Box::from(*first)));
        }
        if !last.is_empty() {
            keys.push(Key::Suffix(last.iter().rev().copied().collect()));
        }
    }
    let inside = pieces.iter().flat_map(|piece| Gram::all(piece).map(Key::Gram));
    keys.extend(inside);
    if keys.is_empty() {
        keys.push(Key::Anything);
    }
    keys
}

/// The literal piece of a pattern that a gram was taken from.
fn piece_with(glob: &Glob, gram: Gram) -> Box<[u8]> {
    let piece = glob
        .pieces()
        .find(|piece| Gram::all(piece.as_bytes()).any(|known| known == gram));
    Box::from(piece.unwrap_or_default().as_bytes())
}

/// The field of an entry that finds the fewest others with it, and for each of its tests the key to file it under.
fn most_selective<'e>(
    entry: &'e Entry,
    counts: &HashMap<(&'static str, Key), u32>,
) -> Option<(&'static Field, Vec<(Key, &'e Test)>)> {
    let choice = |field: &'e FieldMatch| {
        let mut cost = 0_u64;
        let mut chosen = Vec::new();
        for test in &field.any {
            let best = keys_of(test)
                .into_iter()
                .map(|key| (counts.get(&(field.field.name, key.clone())).copied().unwrap_or(0), key))
                .min_by_key(|(count, _)| *count)?;
            cost += u64::from(best.0);
            chosen.push((best.1, test));
        }
        // A key that finds everything is worth nothing.
        let useful = !chosen.is_empty() && chosen.iter().all(|(key, _)| *key != Key::Anything);
        useful.then_some((cost, field.field, chosen))
    };
    let best = entry.matches.iter().filter_map(choice).min_by_key(|(cost, ..)| *cost);
    best.map(|(_, field, keys)| (field, keys))
}

impl FieldIndex {
    fn new(field: &'static Field, keys: Vec<Filing<'_>>) -> FieldIndex {
        let mut texts: HashMap<Arc<str>, Vec<u32>> = HashMap::new();
        let mut ints: HashMap<i64, Vec<u32>> = HashMap::new();
        let mut bools = [Vec::new(), Vec::new()];
        let (mut prefixes, mut suffixes, mut pieces, mut ranges) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut anything = Vec::new();
        let mut all = Vec::new();
        for (key, test, entry) in keys {
            all.push(entry);
            match (key, test) {
                (Key::Text(text), _) => texts.entry(text).or_default().push(entry),
                (Key::Int(number), _) => ints.entry(number).or_default().push(entry),
                (Key::Bool(truth), _) => bools[usize::from(truth)].push(entry),
                (Key::Prefix(text), _) => prefixes.push((text, entry)),
                (Key::Suffix(text), _) => suffixes.push((text, entry)),
                (Key::Gram(gram), Test::Glob(glob)) => pieces.push((piece_with(glob, gram), gram, entry)),
                (Key::Range, Test::Range(range)) => ranges.push((*range, entry)),
                (Key::Gram(_) | Key::Range | Key::Anything, _) => anything.push(entry),
            }
        }
        FieldIndex {
            field,
            texts,
            ints,
            bools,
            prefixes: Beginnings::new(prefixes),
            suffixes: Beginnings::new(suffixes),
            pieces: Pieces::new(pieces),
            ranges: Intervals::new(ranges),
            anything,
            all,
        }
    }

    /// Adds the entries that an event can match by this field.
    fn find(&self, event: &Event, numbers: &mut Vec<u32>) {
        let add = |list: Option<&Vec<u32>>, numbers: &mut Vec<u32>| numbers.extend(list.into_iter().flatten());
        match self.field.of_event(event) {
            None => numbers.extend(&self.all),
            Some(Value::Text(text)) => {
                add(self.texts.get(&*text), numbers);
                self.prefixes.find(text.as_bytes(), numbers);
                if !self.suffixes.is_empty() {
                    let backwards: Vec<u8> = text.bytes().rev().collect();
                    self.suffixes.find(&backwards, numbers);
                }
                self.pieces.find(text.as_bytes(), numbers);
                numbers.extend(&self.anything);
            }
            Some(Value::Int(number)) => {
                add(self.ints.get(&number), numbers);
                self.ranges.find(number as f64, numbers);
            }
            Some(Value::Double(number)) => self.ranges.find(number, numbers),
            Some(Value::Bool(truth)) => numbers.extend(&self.bools[usize::from(truth)]),
            // `match:` has no other types.
            Some(Value::Duration(_) | Value::Time(_) | Value::List(_) | Value::Object(_)) => {}
        }
    }
}
