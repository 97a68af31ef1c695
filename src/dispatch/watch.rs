//! How long a process has seen a request in doubt that it did not put there itself. Pure.
//!
//! In: what is due for a look by the times in the store. Out: what this process may look for now. Never: trust in the clock
//! of another process.
//!
//! Leases are moments, written by the clock of whoever sends. Where clocks differ by more than a lease (one process started
//! before the wall clock was set, the other after it) the request that is on its way right now looks forgotten, is not found
//! at the CI yet, and would be sent twice. So what another process left is looked for only when this one has seen it
//! unchanged for a whole lease by its own clock, which runs at the right speed even where it is wrong.

use std::collections::HashMap;

use crate::event::{ActionKey, Duration, Timestamp};
use crate::store::sqlite::Due;

/// Requests whose own doubts are remembered at most; what is forgotten waits a lease like anybody's.
const REMEMBERED: usize = 10_000;

/// What a process knows of requests in doubt. Attempts tell one doubt about a request from the next.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Those that this process has put in doubt, by their attempts: the times in the store are its own.
    own: HashMap<ActionKey, u32>,
    /// The others that are due, and since when this process has seen them.
    seen: HashMap<(ActionKey, u32), Timestamp>,
}

impl Watch {
    /// This process does not know what became of its attempt.
    pub fn put_in_doubt(&mut self, key: ActionKey, attempts: u32) {
        if self.own.len() >= REMEMBERED {
            self.own.clear();
        }
        self.own.insert(key, attempts);
    }

    /// What became of a request is known.
    pub fn is_known(&mut self, key: ActionKey) {
        self.own.remove(&key);
    }

    /// Those of the requests due that may be looked for now.
    pub fn may_look_for(&mut self, due: Vec<Due>, now: Timestamp, lease: Duration) -> Vec<Due> {
        let before = std::mem::take(&mut self.seen);
        let mut ready = Vec::new();
        for due in due {
            let (key, attempts) = (due.request.key, due.attempts);
            if self.own.get(&key) == Some(&attempts) {
                ready.push(due);
                continue;
            }
            let since = before.get(&(key, attempts)).copied().unwrap_or(now);
            if now.since(since) >= lease {
                ready.push(due);
            } else {
                self.seen.insert((key, attempts), since);
            }
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::together::tests::due;

    const LEASE: Duration = Duration::from_secs(300);

    fn attempt(slot: u32, attempts: u32) -> Due {
        Due {
            attempts,
            ..due(slot, 1, 7, 1)
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp(0).plus(Duration::from_secs(seconds))
    }

    fn slots(dues: &[Due]) -> Vec<u32> {
        dues.iter().map(|due| due.request.key.slot).collect()
    }

    #[test]
    fn what_another_process_left_is_looked_for_after_a_lease_and_its_own_at_once() {
        let mut watch = Watch::default();
        watch.put_in_doubt(attempt(1, 1).request.key, 1);
        let both = || vec![attempt(1, 1), attempt(2, 1)];
        assert_eq!(slots(&watch.may_look_for(both(), at(10), LEASE)), [1]);
        assert_eq!(slots(&watch.may_look_for(both(), at(309), LEASE)), [1]);
        assert_eq!(slots(&watch.may_look_for(both(), at(310), LEASE)), [1, 2]);
    }

    #[test]
    fn a_further_attempt_is_another_doubt() {
        let mut watch = Watch::default();
        watch.put_in_doubt(attempt(1, 1).request.key, 1);
        watch.may_look_for(vec![attempt(2, 1)], at(0), LEASE);
        let further = || vec![attempt(1, 2), attempt(2, 2)];
        assert!(watch.may_look_for(further(), at(400), LEASE).is_empty());
        assert_eq!(slots(&watch.may_look_for(further(), at(700), LEASE)), [1, 2]);
    }

    #[test]
    fn what_was_known_meanwhile_is_a_new_doubt_when_it_comes_back() {
        let mut watch = Watch::default();
        watch.may_look_for(vec![attempt(1, 1)], at(0), LEASE);
        watch.may_look_for(Vec::new(), at(100), LEASE);
        assert!(watch.may_look_for(vec![attempt(1, 1)], at(350), LEASE).is_empty());
        watch.put_in_doubt(attempt(2, 1).request.key, 1);
        watch.is_known(attempt(2, 1).request.key);
        assert!(watch.may_look_for(vec![attempt(2, 1)], at(400), LEASE).is_empty());
    }
}
