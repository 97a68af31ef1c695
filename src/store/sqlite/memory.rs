//! What rules remember between events, and what they made of them.

use rusqlite::{OptionalExtension, params};

use super::{Books, json, sql};
use crate::engine::ledger::{Decision, Held, LedgerError, Memory};
use crate::event::{Event, Timestamp};

/// Samples kept whatever the configuration says: about a kilobyte each.
const SAMPLES_KEPT: i64 = 100_000;
/// Decisions kept; older ones are deleted as new ones come.
const DECISIONS_KEPT: i64 = 200_000;

impl Memory for Books<'_> {
    fn held(&mut self, rule: &str, key: &str) -> Result<Option<Held>, LedgerError> {
        let row = self
            .tx
            .prepare_cached("SELECT since, due, count, event FROM held WHERE rule = ?1 AND key = ?2")
            .and_then(|mut statement| {
                statement
                    .query_row(params![rule, key], |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get::<_, String>(3)?))
                    })
                    .optional()
            })
            .map_err(sql)?;
        row.map(|(since, due, count, event)| {
            Ok(Held {
                rule: rule.to_owned(),
                key: key.to_owned(),
                since: Timestamp(since),
                due: Timestamp(due),
                count,
                event: serde_json::from_str(&event).map_err(json)?,
            })
        })
        .transpose()
    }

    fn hold_event(&mut self, held: &Held) -> Result<(), LedgerError> {
        let event = serde_json::to_string(&held.event).map_err(json)?;
        self.tx
            .prepare_cached(
                "INSERT INTO held (rule, key, since, due, count, event) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (rule, key) DO UPDATE SET since = excluded.since, due = excluded.due,
                    count = excluded.count, event = excluded.event",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    held.rule,
                    held.key,
                    held.since.0,
                    held.due.0,
                    held.count,
                    event
                ])
            })
            .map(drop)
            .map_err(sql)
    }

    fn forget_held(&mut self, rule: &str, key: &str) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached("DELETE FROM held WHERE rule = ?1 AND key = ?2")
            .and_then(|mut statement| statement.execute([rule, key]))
            .map(drop)
            .map_err(sql)
    }

    fn take_held(&mut self, now: Timestamp, limit: u32) -> Result<Vec<Held>, LedgerError> {
        let due: Vec<(String, String)> = self
            .tx
            .prepare_cached("SELECT rule, key FROM held WHERE due <= ?1 ORDER BY due, id LIMIT ?2")
            .and_then(|mut statement| {
                statement
                    .query_map(params![now.0, limit], |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect()
            })
            .map_err(sql)?;
        let mut taken = Vec::with_capacity(due.len());
        for (rule, key) in due {
            taken.extend(self.held(&rule, &key)?);
            self.forget_held(&rule, &key)?;
        }
        Ok(taken)
    }

    fn last_tick(&mut self, rule: &str) -> Result<Option<Timestamp>, LedgerError> {
        self.tx
            .prepare_cached("SELECT at FROM ticks WHERE rule = ?1")
            .and_then(|mut statement| statement.query_row([rule], |row| row.get(0).map(Timestamp)).optional())
            .map_err(sql)
    }

    fn set_last_tick(&mut self, rule: &str, at: Timestamp) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached(
                "INSERT INTO ticks (rule, at) VALUES (?1, ?2) ON CONFLICT (rule) DO UPDATE SET at = excluded.at",
            )
            .and_then(|mut statement| statement.execute(params![rule, at.0]))
            .map(drop)
            .map_err(sql)
    }

    fn first_request(&mut self, digest: &[u8; 32], since: Timestamp, now: Timestamp) -> Result<bool, LedgerError> {
        self.tx
            .prepare_cached(
                "INSERT INTO requests_seen (digest, at) VALUES (?1, ?3)
                 ON CONFLICT (digest) DO UPDATE SET at = excluded.at WHERE requests_seen.at < ?2",
            )
            .and_then(|mut statement| statement.execute(params![digest.as_slice(), since.0, now.0]))
            .map(|changed| changed == 1)
            .map_err(sql)
    }

    fn keep_sample(&mut self, event: &Event, now: Timestamp) -> Result<(), LedgerError> {
        let body = serde_json::to_string(event).map_err(json)?;
        self.tx
            .prepare_cached(
                "INSERT INTO samples (at, event, body) SELECT ?1, ?2, ?3
                 WHERE NOT EXISTS (SELECT 1 FROM samples WHERE event = ?2 AND body = ?3)",
            )
            .and_then(|mut statement| statement.execute(params![now.0, event.id(), body]))
            .map_err(sql)?;
        let newest = self.tx.last_insert_rowid();
        self.tx
            .prepare_cached("DELETE FROM samples WHERE id <= ?1")
            .and_then(|mut statement| statement.execute([newest - SAMPLES_KEPT]))
            .map(drop)
            .map_err(sql)
    }

    fn note_decision(&mut self, decision: &Decision) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached(
                "INSERT INTO decisions (at, event, rule, result, case_id, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    decision.at.0,
                    decision.event,
                    decision.rule,
                    decision.result.as_str(),
                    decision.case.map(|case| case.0),
                    decision.detail.to_string(),
                ])
            })
            .map_err(sql)?;
        let newest = self.tx.last_insert_rowid();
        self.tx
            .prepare_cached("DELETE FROM decisions WHERE id <= ?1")
            .and_then(|mut statement| statement.execute([newest - DECISIONS_KEPT]))
            .map_err(sql)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Project, RequestEvent, RequestKind};
    use crate::store::sqlite::SqliteStore;

    fn held(key: &str, due: i64) -> Held {
        Held {
            rule: "r".to_owned(),
            key: key.to_owned(),
            since: Timestamp(1),
            due: Timestamp(due),
            count: 2,
            event: Event::Request(Box::new(RequestEvent {
                project: Project::from("try"),
                push: None,
                revision: None,
                requester: None,
                kind: RequestKind::FillPush,
            })),
        }
    }

    #[test]
    fn what_rules_hold_back_and_when_they_ran_outlives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.sqlite");
        let mut store = SqliteStore::open(&path).unwrap();
        store
            .transact(|books| {
                books.hold_event(&held("late", 30))?;
                books.hold_event(&held("a", 5))?;
                books.hold_event(&held("a", 20))?;
                books.set_last_tick("r", Timestamp(7))?;
                books.set_last_tick("r", Timestamp(9))
            })
            .unwrap();
        drop(store);
        let mut store = SqliteStore::open(&path).unwrap();
        store
            .transact(|books| {
                assert_eq!(
                    books.held("r", "a")?,
                    Some(held("a", 20)),
                    "the later one replaces the earlier"
                );
                assert_eq!(books.take_held(Timestamp(19), 10)?, []);
                assert_eq!(
                    books.take_held(Timestamp(30), 1)?,
                    [held("a", 20)],
                    "the most overdue first"
                );
                assert_eq!(books.take_held(Timestamp(30), 10)?, [held("late", 30)]);
                assert_eq!(books.take_held(Timestamp(30), 10)?, [], "and each once");
                assert_eq!(books.last_tick("r")?, Some(Timestamp(9)));
                assert_eq!(books.last_tick("other")?, None);
                Ok(())
            })
            .unwrap();
    }
}
