//! The labels a push can run, read out of artifacts too large to hold.
//!
//! In: the chunks of a JSON object whose keys are labels (`public/full-task-graph.json`, hundreds of megabytes for
//! gecko, or `public/label-to-taskid.json`). Out: its keys. Never: holding the values.

use std::io::{self, Write};

use crate::net::http::too_large;

/// The longest label that is kept, in bytes. Taskcluster's own names end at 255.
const MAX_LABEL: usize = 1_024;

/// The most labels of one push. gecko has about 50,000.
const MAX_LABELS: usize = 500_000;

/// Near matches that are named for a label that does not exist.
const MAX_NEAR: usize = 3;

/// How alike a near match has to be, 0 to 1.
const NEAR_ENOUGH: f64 = 0.7;

/// The labels of a push.
#[derive(Debug, PartialEq, Eq)]
pub struct Labels(Vec<Box<str>>);

impl Labels {
    /// Whether the label is among them.
    pub fn contains(&self, label: &str) -> bool {
        self.0.binary_search_by(|have| (**have).cmp(label)).is_ok()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The labels most like the given one, the most alike first. Takes a fraction of a second for a large push.
    pub fn near(&self, label: &str) -> Vec<&str> {
        let mut near: Vec<(f64, &str)> = self
            .0
            .iter()
            // No two texts whose lengths differ by more can be alike enough.
            .filter(|have| {
                have.len().abs_diff(label.len()) as f64 <= (1.0 - NEAR_ENOUGH) * have.len().max(label.len()) as f64
            })
            .map(|have| (strsim::normalized_levenshtein(have, label), &**have))
            .filter(|(alike, _)| *alike >= NEAR_ENOUGH)
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        near.truncate(MAX_NEAR);
        near.into_iter().map(|(_, have)| have).collect()
    }
}

/// Takes in a JSON object by its chunks and keeps the keys of its outermost level.
///
/// It knows as much of JSON as that needs: strings, escapes and nesting. What is not JSON in between is not noticed,
/// and does no harm: at worst a label is missing, or one is there that the CI does not know.
pub struct LabelReader {
    labels: Vec<Box<str>>,
    key: Vec<u8>,
    depth: u32,
    in_string: bool,
    escaped: bool,
    /// Whether a string at the outermost level would be a key: after `{` or `,`.
    key_next: bool,
    taken: u64,
    max: u64,
}

impl LabelReader {
    /// A reader that gives up after `max` bytes.
    pub fn new(max: u64) -> LabelReader {
        LabelReader {
            labels: Vec::new(),
            key: Vec::new(),
            depth: 0,
            in_string: false,
            escaped: false,
            key_next: false,
            taken: 0,
            max,
        }
    }

    /// The labels, if the object was read to its end.
    pub fn finish(mut self) -> Option<Labels> {
        if self.depth != 0 || self.taken == 0 {
            return None;
        }
        self.labels.sort_unstable();
        self.labels.dedup();
        Some(Labels(self.labels))
    }

    fn is_key(&self) -> bool {
        self.depth == 1 && self.key_next
    }

    fn byte(&mut self, byte: u8) -> io::Result<()> {
        if self.in_string {
            if !self.escaped && byte == b'"' {
                self.in_string = false;
                if self.is_key() {
                    self.end_of_key()?;
                }
                return Ok(());
            }
            if self.is_key() && self.key.len() < MAX_LABEL {
                self.key.push(byte);
            }
            self.escaped = !self.escaped && byte == b'\\';
            return Ok(());
        }
        match byte {
            b'"' => {
                self.in_string = true;
                self.key.clear();
            }
            b'{' | b'[' => {
                self.depth += 1;
                self.key_next = self.depth == 1 && byte == b'{';
            }
            b'}' | b']' => match self.depth.checked_sub(1) {
                Some(depth) => self.depth = depth,
                None => return Err(io::Error::other("it closes more brackets than it opens")),
            },
            b',' if self.depth == 1 => self.key_next = true,
            b':' if self.depth == 1 => self.key_next = false,
            _ if self.depth == 0 && !byte.is_ascii_whitespace() => {
                return Err(io::Error::other("it is not a JSON object"));
            }
            _ => {}
        }
        Ok(())
    }

    fn end_of_key(&mut self) -> io::Result<()> {
        if self.labels.len() >= MAX_LABELS {
            return Err(io::Error::other(format!("it has more than {MAX_LABELS} labels")));
        }
        // Escapes are rare in labels, and serde_json undoes them; a key that is no text is no label.
        let quoted = [b"\"", self.key.as_slice(), b"\""].concat();
        if let Ok(label) = serde_json::from_slice::<Box<str>>(&quoted) {
            self.labels.push(label);
        }
        Ok(())
    }
}

impl Write for LabelReader {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        self.taken += chunk.len() as u64;
        if self.taken > self.max {
            return Err(too_large(usize::try_from(self.max).unwrap_or(usize::MAX)));
        }
        chunk.iter().try_for_each(|byte| self.byte(*byte))?;
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn read(text: &str, chunk: usize) -> Option<Labels> {
        let mut reader = LabelReader::new(1 << 20);
        text.as_bytes()
            .chunks(chunk)
            .try_for_each(|chunk| reader.write_all(chunk))
            .ok()?;
        reader.finish()
    }

    #[test]
    fn only_the_outermost_keys_are_labels() {
        let graph = json!({"test-a/opt": {"task": {"x": ["{", "\"y\": 1"]}}, "b\"\\c": 1, "d": "e"});
        for chunk in [1, 3, 1_000] {
            let labels = read(&graph.to_string(), chunk).unwrap();
            assert_eq!(labels, Labels(vec!["b\"\\c".into(), "d".into(), "test-a/opt".into()]));
        }
    }

    #[test]
    fn what_is_no_whole_object_has_no_labels() {
        for text in ["", "{", "[1", "null", "{\"a\": 1}}", "\"a\""] {
            assert!(read(text, 1).is_none_or(|labels| labels.len() == 0), "{text}");
        }
        assert_eq!(read("{\"a\": {", 1), None);
    }

    #[test]
    fn a_file_over_the_limit_is_given_up() {
        assert!(LabelReader::new(3).write_all(b"{\"a\"").is_err());
    }

    #[test]
    fn near_matches_are_named_the_nearest_first() {
        let graph = json!({
            "test-linux1804-64/opt-mochitest-1": 0, "test-linux1804-64/opt-mochitest-2": 0,
            "test-linux1804-64/debug-mochitest-1": 0, "build-win64/opt": 0,
        });
        let labels = read(&graph.to_string(), 64).unwrap();
        assert_eq!(
            labels.near("test-linux1804-64/opt-mochitets-1")[..1],
            ["test-linux1804-64/opt-mochitest-1"]
        );
        assert!(labels.near("zzz").is_empty());
    }

    proptest! {
        /// Law: on any object, in any chunks, it sees what a full parser sees.
        #[test]
        fn it_agrees_with_a_full_parser(
            object in prop::collection::btree_map(
                ".{0,12}",
                prop_oneof![Just(json!(1)), Just(json!({"a": [{"b": "}"}]})), ".{0,9}".prop_map(Value::from)],
                0..6,
            ),
            chunk in 1usize..40,
        ) {
            let labels = read(&json!(object).to_string(), chunk).unwrap();
            prop_assert_eq!(labels.len(), object.len());
            prop_assert!(object.keys().all(|key| labels.contains(key)));
        }

        /// Law: no bytes make it panic.
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut reader = LabelReader::new(200);
            let _ = reader.write_all(&bytes);
            let _ = reader.finish();
        }
    }
}
