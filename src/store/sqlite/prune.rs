//! Forgetting: runs that are so old that nobody asks about them.
//!
//! Cases, what they asked for and the pushes stay: they are few, and the account of what was asked for is made of them.

use rusqlite::params;

use super::{Books, sql};
use crate::engine::ledger::LedgerError;
use crate::event::Timestamp;

impl Books<'_> {
    /// Forgets runs that reached their state before `before`, at most `limit` of them. Returns how many it forgot; fewer
    /// than `limit` means that there are no more for now.
    ///
    /// Runs lie in the order in which they were first heard of, so only the first ones are looked at: an old run behind a
    /// newer one goes when its turn comes.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn prune_runs(&mut self, before: Timestamp, limit: u32) -> Result<u32, LedgerError> {
        self.tx
            .prepare_cached(
                "DELETE FROM runs WHERE id IN (SELECT id FROM (SELECT id, at FROM runs ORDER BY id LIMIT ?2) WHERE at < ?1)",
            )
            .and_then(|mut statement| statement.execute(params![before.0, limit]))
            .map(|forgotten| u32::try_from(forgotten).unwrap_or(u32::MAX))
            .map_err(sql)
    }
}

#[cfg(test)]
mod tests {
    use crate::event::Timestamp;
    use crate::store::sqlite::SqliteStore;

    #[test]
    fn old_runs_are_forgotten_a_handful_at_a_time_and_newer_ones_stay() {
        let mut store = SqliteStore::in_memory().unwrap();
        for number in 0..5 {
            let insert = "INSERT INTO runs (backend, task, run, label, push, state, caused_by, at)
                VALUES (1, ?1, 0, 1, 1, 2, 1, ?2)";
            let task = format!("task-{number}");
            store
                .connection
                .execute(insert, rusqlite::params![task, number * 1_000])
                .unwrap();
        }
        let mut forget = || store.transact(|books| books.prune_runs(Timestamp(3_000), 2)).unwrap();
        assert_eq!([forget(), forget(), forget()], [2, 1, 0]);
        let left: i64 = store
            .connection
            .query_row("SELECT COUNT(*) FROM runs", [], |row| row.get(0))
            .unwrap();
        assert_eq!(left, 2);
    }
}
