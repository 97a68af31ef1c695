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
use super::matching::{FieldMatch, Glob, Matched, Range, Test};
use super::value::Value;
use crate::event::Event;

/// A thing under which an entry can be found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Text(Arc<str>),
    Int(i64),
    Bool(bool),
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    Gram([u8; 3]),
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
}

/// A rule's match fields, for one kind of event.
#[derive(Debug)]
pub(super) struct Entry {
    /// The number of the rule.
    pub rule: u32,
    /// All of these must pass.
    pub matches: Vec<FieldMatch>,
}

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
    grams: Grams,
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
        let mut found: Vec<(&'static Field, Vec<(Key, Option<Range>, u32)>)> = Vec::new();
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
                        .extend(keys.into_iter().map(|(key, range)| (key, range, number)));
                }
            }
        }
        index.fields = found
            .into_iter()
            .map(|(field, keys)| FieldIndex::new(field, keys))
            .collect();
        index.entries = entries;
        index
    }

    /// The rules whose match fields do not say no, in the order of the rules.
    pub fn candidates(&self, event: &Event) -> Vec<u32> {
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
    let grams = pieces
        .iter()
        .flat_map(|piece| piece.windows(3))
        .filter_map(|gram| <[u8; 3]>::try_from(gram).ok());
    keys.extend(grams.map(Key::Gram));
    if keys.is_empty() {
        keys.push(Key::Anything);
    }
    keys
}

/// The field of an entry that finds the fewest others with it, and the keys to file the entry under.
fn most_selective(
    entry: &Entry,
    counts: &HashMap<(&'static str, Key), u32>,
) -> Option<(&'static Field, Vec<(Key, Option<Range>)>)> {
    let choice = |field: &FieldMatch| {
        let mut cost = 0_u64;
        let mut chosen = Vec::new();
        for test in &field.any {
            let best = keys_of(test)
                .into_iter()
                .map(|key| (counts.get(&(field.field.name, key.clone())).copied().unwrap_or(0), key))
                .min_by_key(|(count, _)| *count)?;
            cost += u64::from(best.0);
            let range = match test {
                Test::Range(range) => Some(*range),
                _ => None,
            };
            chosen.push((best.1, range));
        }
        // A key that finds everything is worth nothing.
        let useful = !chosen.is_empty() && chosen.iter().all(|(key, _)| *key != Key::Anything);
        useful.then_some((cost, field.field, chosen))
    };
    let best = entry.matches.iter().filter_map(choice).min_by_key(|(cost, ..)| *cost);
    best.map(|(_, field, keys)| (field, keys))
}

impl FieldIndex {
    fn new(field: &'static Field, keys: Vec<(Key, Option<Range>, u32)>) -> FieldIndex {
        let mut texts: HashMap<Arc<str>, Vec<u32>> = HashMap::new();
        let mut ints: HashMap<i64, Vec<u32>> = HashMap::new();
        let mut bools = [Vec::new(), Vec::new()];
        let (mut prefixes, mut suffixes, mut grams, mut ranges) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut anything = Vec::new();
        let mut all = Vec::new();
        for (key, range, entry) in keys {
            all.push(entry);
            match (key, range) {
                (Key::Text(text), _) => texts.entry(text).or_default().push(entry),
                (Key::Int(number), _) => ints.entry(number).or_default().push(entry),
                (Key::Bool(truth), _) => bools[usize::from(truth)].push(entry),
                (Key::Prefix(text), _) => prefixes.push((text, entry)),
                (Key::Suffix(text), _) => suffixes.push((text, entry)),
                (Key::Gram(gram), _) => grams.push((gram, entry)),
                (Key::Range, Some(range)) => ranges.push((range, entry)),
                (Key::Range | Key::Anything, _) => anything.push(entry),
            }
        }
        FieldIndex {
            field,
            texts,
            ints,
            bools,
            prefixes: Beginnings::new(prefixes),
            suffixes: Beginnings::new(suffixes),
            grams: Grams::new(grams),
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
                self.prefixes.find(text.bytes(), numbers);
                self.suffixes.find(text.bytes().rev(), numbers);
                self.grams.find(text.as_bytes(), numbers);
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

/// Texts that a value can begin with, sorted. All beginnings of a value are found from the last text that is not
/// after it: whatever of the set stands between a beginning of the value and the value begins with it too, so the
/// beginnings of the value are beginnings of that text.
#[derive(Debug, Default)]
struct Beginnings {
    sorted: Vec<Beginning>,
}

#[derive(Debug)]
struct Beginning {
    text: Box<[u8]>,
    entries: Vec<u32>,
    /// The longest other text of the set that this one begins with.
    shorter: Option<usize>,
}

impl Beginnings {
    fn new(mut keys: Vec<(Box<[u8]>, u32)>) -> Beginnings {
        keys.sort();
        let mut sorted: Vec<Beginning> = Vec::new();
        for (text, entry) in keys {
            match sorted.last_mut() {
                Some(last) if last.text == text => last.entries.push(entry),
                _ => {
                    let mut shorter = sorted.len().checked_sub(1);
                    while let Some(at) = shorter
                        && !text.starts_with(&sorted[at].text)
                    {
                        shorter = sorted[at].shorter;
                    }
                    sorted.push(Beginning {
                        text,
                        entries: vec![entry],
                        shorter,
                    });
                }
            }
        }
        Beginnings { sorted }
    }

    fn find(&self, value: impl Iterator<Item = u8> + Clone, numbers: &mut Vec<u32>) {
        let after = self
            .sorted
            .partition_point(|known| known.text.iter().copied().le(value.clone()));
        let mut at = after.checked_sub(1);
        while let Some(place) = at {
            let known = &self.sorted[place];
            if known.text.iter().copied().eq(value.clone().take(known.text.len())) {
                numbers.extend(&known.entries);
            }
            at = known.shorter;
        }
    }
}

/// Places of the table of [`Grams`]; a power of two.
const GRAM_PLACES: usize = 4096;

/// Three characters that a value can have in it, in a table addressed by them.
#[derive(Debug, Default)]
struct Grams {
    /// Empty when there are none.
    places: Vec<Vec<([u8; 3], u32)>>,
}

impl Grams {
    fn new(keys: Vec<([u8; 3], u32)>) -> Grams {
        let mut grams = Grams::default();
        if !keys.is_empty() {
            grams.places.resize_with(GRAM_PLACES, Vec::new);
        }
        for (gram, entry) in keys {
            grams.places[Grams::place(gram)].push((gram, entry));
        }
        grams
    }

    /// Labels are made of few characters: their low five bits tell them apart.
    fn place(gram: [u8; 3]) -> usize {
        let [a, b, c] = gram.map(|byte| usize::from(byte & 31));
        ((a << 10) ^ (b << 5) ^ c ^ (a >> 2)) % GRAM_PLACES
    }

    fn find(&self, value: &[u8], numbers: &mut Vec<u32>) {
        if self.places.is_empty() {
            return;
        }
        for gram in value.windows(3).filter_map(|gram| <[u8; 3]>::try_from(gram).ok()) {
            let here = &self.places[Grams::place(gram)];
            numbers.extend(here.iter().filter(|(known, _)| *known == gram).map(|(_, entry)| *entry));
        }
    }
}

/// Ranges of numbers, sorted by their lower bounds, as a balanced tree in which each node knows the highest upper
/// bound below it.
#[derive(Debug, Default)]
struct Intervals {
    sorted: Vec<(Range, u32)>,
    highest: Vec<f64>,
}

impl Intervals {
    fn new(mut keys: Vec<(Range, u32)>) -> Intervals {
        keys.sort_by(|(a, _), (b, _)| lower(a).total_cmp(&lower(b)));
        let mut tree = Intervals {
            highest: vec![f64::NEG_INFINITY; keys.len()],
            sorted: keys,
        };
        tree.measure(0, tree.sorted.len());
        tree
    }

    fn measure(&mut self, from: usize, to: usize) -> f64 {
        if from >= to {
            return f64::NEG_INFINITY;
        }
        let middle = from + (to - from) / 2;
        let own = self.sorted[middle].0.high.map_or(f64::INFINITY, |(high, _)| high);
        let highest = own.max(self.measure(from, middle)).max(self.measure(middle + 1, to));
        self.highest[middle] = highest;
        highest
    }

    fn find(&self, number: f64, numbers: &mut Vec<u32>) {
        self.find_in(0, self.sorted.len(), number, numbers);
    }

    fn find_in(&self, from: usize, to: usize, number: f64, numbers: &mut Vec<u32>) {
        if from >= to {
            return;
        }
        let middle = from + (to - from) / 2;
        if self.highest[middle] < number {
            return;
        }
        self.find_in(from, middle, number, numbers);
        let (range, entry) = &self.sorted[middle];
        if range.contains(number) {
            numbers.push(*entry);
        }
        if lower(range) <= number {
            self.find_in(middle + 1, to, number, numbers);
        }
    }
}

fn lower(range: &Range) -> f64 {
    range.low.map_or(f64::NEG_INFINITY, |(low, _)| low)
}
