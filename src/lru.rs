//! A bounded map that forgets what was not used for longest.
//!
//! In: keys and values. Out: the values of the last N keys used. Never: more than N of them.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// The map. Every use of a key makes it the youngest; when the map is full, the oldest goes.
#[derive(Debug)]
pub struct Lru<K, V> {
    entries: HashMap<K, (V, u64)>,
    ages: BTreeMap<u64, K>,
    next: u64,
    capacity: usize,
}

impl<K: Hash + Eq + Clone, V> Lru<K, V> {
    /// An empty map that holds up to `capacity` entries; none with a capacity of zero.
    pub fn new(capacity: usize) -> Self {
        Lru {
            entries: HashMap::new(),
            ages: BTreeMap::new(),
            next: 0,
            capacity,
        }
    }

    /// The value of `key`, which becomes the youngest.
    pub fn get(&mut self, key: &K) -> Option<&V> {
        let (value, age) = self.entries.get_mut(key)?;
        self.ages.remove(age);
        *age = self.next;
        self.ages.insert(self.next, key.clone());
        self.next += 1;
        Some(value)
    }

    /// Puts a value in, in place of an older one of the same key.
    pub fn insert(&mut self, key: K, value: V) {
        if self.capacity == 0 {
            return;
        }
        self.remove(&key);
        if self.entries.len() >= self.capacity
            && let Some((_, oldest)) = self.ages.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.ages.insert(self.next, key.clone());
        self.entries.insert(key, (value, self.next));
        self.next += 1;
    }

    /// Takes a value out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (value, age) = self.entries.remove(key)?;
        self.ages.remove(&age);
        Some(value)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Lru;
    use proptest::prelude::*;

    #[test]
    fn the_entry_not_used_for_longest_goes_first() {
        let mut lru = Lru::new(2);
        lru.insert("a", 1);
        lru.insert("b", 2);
        assert_eq!(lru.get(&"a"), Some(&1));
        lru.insert("c", 3);
        assert_eq!(lru.get(&"a"), Some(&1));
        assert_eq!(lru.len(), 2);
        assert_eq!(lru.get(&"b"), None);
    }

    #[test]
    fn a_map_without_room_holds_nothing() {
        let mut lru = Lru::new(0);
        lru.insert("a", 1);
        assert!(lru.is_empty());
    }

    proptest! {
        /// Law: it behaves as a list kept in order of use and cut to its length.
        #[test]
        fn it_agrees_with_a_plain_list(
            capacity in 0usize..5,
            uses in prop::collection::vec((0u8..8, any::<bool>()), 0..60),
        ) {
            let mut lru = Lru::new(capacity);
            let mut list: Vec<(u8, usize)> = Vec::new();
            for (i, (key, put)) in uses.into_iter().enumerate() {
                let at = list.iter().position(|(k, _)| *k == key);
                if put {
                    lru.insert(key, i);
                    if let Some(at) = at { list.remove(at); }
                    list.push((key, i));
                    if list.len() > capacity { list.remove(0); }
                } else {
                    let expected = at.map(|at| { let entry = list.remove(at); list.push(entry); entry.1 });
                    prop_assert_eq!(lru.get(&key).copied(), expected);
                }
                prop_assert_eq!(lru.len(), list.len());
            }
        }
    }
}
