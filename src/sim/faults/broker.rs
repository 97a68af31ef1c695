//! A queue that duplicates, delays, reorders, and gives out again what was not acknowledged.

use std::collections::{BTreeMap, VecDeque};

use super::chance::Chances;
use super::plan::Fault;
use crate::event::{Delivery, Duration, Timestamp};

/// How far a message overtakes others at most.
const OVERTAKES: usize = 12;
/// How late a message comes at most, in seconds.
const LATE_SECONDS: usize = 2 * 3600;

/// The queue.
#[derive(Default)]
pub(super) struct Broker {
    waiting: VecDeque<Delivery>,
    late: BTreeMap<(Timestamp, u64), Delivery>,
    unacked: BTreeMap<(usize, u64), Delivery>,
    published: u64,
    next_tag: u64,
}

impl Broker {
    /// Takes a message from the CI.
    pub fn publish(&mut self, delivery: Delivery, now: Timestamp, chances: &Chances) {
        let copies = if chances.strikes(Fault::Duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            self.published += 1;
            if chances.strikes(Fault::Delay) {
                let seconds = chances.below(Fault::Delay, LATE_SECONDS) as u64;
                let at = now.plus(Duration::from_secs(seconds));
                self.late.insert((at, self.published), delivery.clone());
            } else {
                self.enqueue(delivery.clone(), chances);
            }
        }
    }

    fn enqueue(&mut self, delivery: Delivery, chances: &Chances) {
        let overtakes = match chances.strikes(Fault::Reorder) {
            true => chances.below(Fault::Reorder, OVERTAKES.min(self.waiting.len() + 1)),
            false => 0,
        };
        let place = self.waiting.len() - overtakes;
        self.waiting.insert(place, delivery);
    }

    /// Lets late messages come whose time it is.
    pub fn advance(&mut self, now: Timestamp, chances: &Chances) {
        while let Some(entry) = self.late.first_entry().filter(|entry| entry.key().0 <= now) {
            let delivery = entry.remove();
            self.enqueue(delivery, chances);
        }
    }

    /// When the next late message comes.
    pub fn next_at(&self) -> Option<Timestamp> {
        self.late.keys().next().map(|(at, _)| *at)
    }

    /// Gives messages to a consumer.
    pub fn take(&mut self, consumer: usize, max: usize) -> Vec<Delivery> {
        let count = max.min(self.waiting.len());
        let mut taken: Vec<Delivery> = self.waiting.drain(..count).collect();
        for delivery in &mut taken {
            self.next_tag += 1;
            delivery.tag = self.next_tag;
            self.unacked.insert((consumer, delivery.tag), delivery.clone());
        }
        taken
    }

    /// A consumer acknowledges everything that it was given up to this tag.
    pub fn ack(&mut self, consumer: usize, tag: u64) {
        self.unacked
            .retain(|(whose, given), _| *whose != consumer || *given > tag);
    }

    /// A consumer's connection is gone: what it did not acknowledge is given out again, before everything else.
    pub fn disconnect(&mut self, consumer: usize) -> usize {
        let tags: Vec<(usize, u64)> = self
            .unacked
            .range((consumer, 0)..=(consumer, u64::MAX))
            .map(|(key, _)| *key)
            .collect();
        for key in tags.iter().rev() {
            if let Some(mut delivery) = self.unacked.remove(key) {
                delivery.redelivered = true;
                self.waiting.push_front(delivery);
            }
        }
        tags.len()
    }

    /// Messages that can be given out now.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}
