//! Ways to find entries by a value: the parts of [`super::index`].
//!
//! In: a value. Out: the numbers of entries that can want it. Never: all entries, unless all can.

use super::matching::Range;

/// Texts that a value can begin with, sorted. All beginnings of a value are found from the last text that is not
/// after it: whatever of the set stands between a beginning of the value and the value begins with it too, so the
/// beginnings of the value are beginnings of that text.
#[derive(Debug, Default)]
pub(super) struct Beginnings {
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
    pub fn new(mut keys: Vec<(Box<[u8]>, u32)>) -> Beginnings {
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

    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    pub fn find(&self, value: &[u8], numbers: &mut Vec<u32>) {
        let after = self.sorted.partition_point(|known| *known.text <= *value);
        let mut at = after.checked_sub(1);
        while let Some(place) = at {
            let known = &self.sorted[place];
            if value.starts_with(&known.text) {
                numbers.extend(&known.entries);
            }
            at = known.shorter;
        }
    }
}

/// Three bytes on end of a literal piece of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Gram([u8; 3]);

impl Gram {
    /// All of a text, in order.
    pub fn all(text: &[u8]) -> impl Iterator<Item = Gram> + '_ {
        text.windows(3)
            .filter_map(|three| <[u8; 3]>::try_from(three).ok())
            .map(Gram)
    }

    /// A number that tells them apart: Fibonacci hashing, the high bits of a product with 2^32 over the golden ratio.
    fn hash(self) -> u32 {
        let [a, b, c] = self.0;
        u32::from_le_bytes([a, b, c, 0]).wrapping_mul(0x9E37_79B9)
    }
}

/// Literal pieces that a value can have anywhere in it, in a table addressed by one [`Gram`] of each.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// A power of two of places; empty when there are no pieces.
    places: Vec<Vec<Piece>>,
    /// How far a hash is shifted to become a place.
    shift: u32,
}

#[derive(Debug)]
struct Piece {
    text: Box<[u8]>,
    /// Where in the piece its gram begins.
    gram: usize,
    entry: u32,
}

impl Pieces {
    /// A piece, and the gram of it that the fewest others have.
    pub fn new(keys: Vec<(Box<[u8]>, Gram, u32)>) -> Pieces {
        if keys.is_empty() {
            return Pieces::default();
        }
        // Four places a piece keep most places empty; the limit keeps the table small.
        let bits = (keys.len() * 4).next_power_of_two().trailing_zeros().clamp(4, 16);
        let mut pieces = Pieces {
            places: Vec::new(),
            shift: u32::BITS - bits,
        };
        pieces.places.resize_with(1 << bits, Vec::new);
        for (text, gram, entry) in keys {
            let at = Gram::all(&text).position(|known| known == gram).unwrap_or_default();
            pieces.places[(gram.hash() >> pieces.shift) as usize].push(Piece { text, gram: at, entry });
        }
        pieces
    }

    pub fn find(&self, value: &[u8], numbers: &mut Vec<u32>) {
        if self.places.is_empty() {
            return;
        }
        for (at, gram) in Gram::all(value).enumerate() {
            for piece in &self.places[(gram.hash() >> self.shift) as usize] {
                let rest = at.checked_sub(piece.gram).and_then(|start| value.get(start..));
                if rest.is_some_and(|rest| rest.starts_with(&piece.text)) {
                    numbers.push(piece.entry);
                }
            }
        }
    }
}

/// Ranges of numbers, sorted by their lower bounds, as a balanced tree in which each node knows the highest upper
/// bound below it.
#[derive(Debug, Default)]
pub(super) struct Intervals {
    sorted: Vec<(Range, u32)>,
    highest: Vec<f64>,
}

impl Intervals {
    pub fn new(mut keys: Vec<(Range, u32)>) -> Intervals {
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

    pub fn find(&self, number: f64, numbers: &mut Vec<u32>) {
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
