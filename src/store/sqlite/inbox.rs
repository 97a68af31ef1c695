//! Events that wait for facts, and verdicts that wait to be told.

use rusqlite::{Row, params};

use super::{Books, json, sql};
use crate::engine::ledger::{CaseRow, Lack, LedgerError};
use crate::event::{Event, PushId, TaskGraph, Timestamp};

/// An event in the inbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// Its row.
    pub id: i64,
    /// The event as far as it is known.
    pub event: Event,
    /// What it waits for.
    pub lack: Lack,
    /// Since when.
    pub since: Timestamp,
    /// Times its facts were asked for.
    pub attempts: u32,
    /// Whether its deadline passed and it was applied without the facts.
    pub applied: bool,
    /// What can run on its push, once that was fetched.
    pub graph: Option<Box<TaskGraph>>,
    /// For [`Lack::Places`]: the oldest of the pushes before its own of which nobody has told where they touch files.
    pub untold: Option<PushId>,
}

/// A verdict that somebody is to be told of.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// Its row.
    pub id: i64,
    /// The closed case.
    pub case: CaseRow,
    /// Times it was tried.
    pub attempts: u32,
}

fn waiting(row: &Row<'_>) -> rusqlite::Result<(i64, String, String, i64, u32, bool)> {
    Ok((
        row.get(0)?,
        row.get(1)?,
        row.get(2)?,
        row.get(3)?,
        row.get(4)?,
        row.get(5)?,
    ))
}

fn lack_of(word: &str) -> Result<Lack, LedgerError> {
    Lack::ALL.into_iter().find(|lack| lack.as_str() == word).ok_or_else(|| {
        LedgerError::Broken(format!(
            "an event in the inbox lacks {word:?}, which no version of this program writes"
        ))
    })
}

impl Books<'_> {
    /// Events whose facts are to be asked for now, oldest first. Nobody else gets them until `lease` has passed.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn take_waiting(&mut self, now: Timestamp, lease: Timestamp, limit: u32) -> Result<Vec<Waiting>, LedgerError> {
        let rows = self
            .tx
            .prepare_cached(
                "UPDATE inbox SET next_try = ?2, attempts = attempts + 1
                 WHERE id IN (SELECT id FROM inbox WHERE next_try <= ?1 ORDER BY next_try, id LIMIT ?3)
                 RETURNING id, event, lack, since, attempts, applied",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![now.0, lease.0, limit], waiting)?
                    .collect::<rusqlite::Result<Vec<_>>>()
            })
            .map_err(sql)?;
        let mut taken = rows
            .into_iter()
            .map(|(id, event, lack, since, attempts, applied)| {
                Ok(Waiting {
                    id,
                    event: serde_json::from_str(&event).map_err(json)?,
                    lack: lack_of(&lack)?,
                    since: Timestamp(since),
                    attempts,
                    applied,
                    graph: None,
                    untold: None,
                })
            })
            .collect::<Result<Vec<_>, LedgerError>>()?;
        taken.sort_by_key(|waiting| waiting.id);
        Ok(taken)
    }

    /// Whether an event waits for facts, by its identity.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn is_waiting(&mut self, what: &str) -> Result<bool, LedgerError> {
        self.tx
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM inbox WHERE what = ?1)")
            .and_then(|mut statement| statement.query_row([what], |row| row.get(0)))
            .map_err(sql)
    }

    /// Takes an event out of the inbox: it was applied with its facts.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn done_waiting(&mut self, id: i64) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached("DELETE FROM inbox WHERE id = ?1")
            .and_then(|mut statement| statement.execute([id]))
            .map(drop)
            .map_err(sql)
    }

    /// Leaves an event in the inbox until `next_try`; `applied` says that it was applied without its facts.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn keep_waiting(&mut self, id: i64, next_try: Timestamp, applied: bool) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached("UPDATE inbox SET next_try = ?2, applied = MAX(applied, ?3) WHERE id = ?1")
            .and_then(|mut statement| statement.execute(params![id, next_try.0, applied]))
            .map(drop)
            .map_err(sql)
    }

    /// Events in the inbox.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn waiting_count(&mut self) -> Result<u64, LedgerError> {
        self.tx
            .query_row("SELECT COUNT(*) FROM inbox", [], |row| row.get(0))
            .map_err(sql)
    }

    /// Verdicts to be told now, oldest first.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn due_notices(&mut self, now: Timestamp, limit: u32) -> Result<Vec<Notice>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT notices.id, attempts, cases.id, body FROM notices JOIN cases ON cases.id = case_id
                 WHERE next_try <= ?1 ORDER BY notices.id LIMIT ?2",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![now.0, limit], |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                    })?
                    .collect::<rusqlite::Result<Vec<(i64, u32, u64, String)>>>()
            })
            .map_err(sql)?
            .into_iter()
            .map(|(id, attempts, case, body)| {
                Ok(Notice {
                    id,
                    case: super::cases::case_of(case, &body)?,
                    attempts,
                })
            })
            .collect()
    }

    /// Forgets a notice: it was told, or given up.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn notice_done(&mut self, id: i64) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached("DELETE FROM notices WHERE id = ?1")
            .and_then(|mut statement| statement.execute([id]))
            .map(drop)
            .map_err(sql)
    }

    /// Forgets the news of an open case: it was told. If the case was closed meanwhile, its verdict is still to be told.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn progress_told(&mut self, id: i64) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached(
                "DELETE FROM notices WHERE id = ?1 AND (SELECT verdict IS NULL FROM cases WHERE cases.id = case_id)",
            )
            .and_then(|mut statement| statement.execute([id]))
            .map(drop)
            .map_err(sql)
    }

    /// Tries a notice again at `next_try`.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn notice_later(&mut self, id: i64, next_try: Timestamp) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached("UPDATE notices SET next_try = ?2, attempts = attempts + 1 WHERE id = ?1")
            .and_then(|mut statement| statement.execute(params![id, next_try.0]))
            .map(drop)
            .map_err(sql)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ledger::Facts as _;
    use crate::event::{Project, RequestEvent, RequestKind};
    use crate::store::sqlite::SqliteStore;

    #[test]
    fn an_event_comes_out_of_the_inbox_with_what_it_lacks() {
        let mut store = SqliteStore::in_memory().unwrap();
        for lack in Lack::ALL {
            let event = Event::Request(Box::new(RequestEvent {
                project: Project::from("try"),
                push: None,
                revision: None,
                requester: None,
                kind: RequestKind::FillPush,
            }));
            let now = Timestamp(1_000_000_000);
            let taken = store
                .transact(|books| {
                    books.wait_for(&event, lack.as_str(), lack, Timestamp(0))?;
                    let taken = books.take_waiting(now, now, 10)?;
                    for waiting in &taken {
                        books.done_waiting(waiting.id)?;
                    }
                    Ok(taken)
                })
                .unwrap();
            assert_eq!(taken.iter().map(|waiting| waiting.lack).collect::<Vec<_>>(), [lack]);
        }
    }
}
