//! Why things happened: decisions found from a case, runs found from a task or an action, samples of events that no rule
//! looked at; and how long all this is kept.

use rusqlite::params;

use super::codec::TaskColumn;
use super::{Books, json, sql};
use crate::engine::ledger::{LedgerError, RunRow};
use crate::event::{ActionKey, CaseId, Duration, Event, Project, TaskId, Timestamp};

/// Traces of each sort that are forgotten in one transaction: whoever lowers a bound must not hold up the messages.
const FORGOTTEN_TOGETHER: u32 = 5_000;
/// Decisions of a case that are shown: those that opened it and the first that joined.
const DECISIONS_OF_CASE: u32 = 200;
/// Runs of a task, or of an action, that are shown.
const RUNS_SHOWN: u32 = 200;

/// How long traces are kept. What is over any of the bounds goes, the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Decisions at most.
    pub decisions: u32,
    /// Samples at most.
    pub samples: u32,
    /// How long both are kept at most.
    pub keep_for: Duration,
}

impl Books<'_> {
    /// What rules made of events that opened or joined a case, oldest first.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn decisions_of_case(&mut self, case: CaseId) -> Result<Vec<serde_json::Value>, LedgerError> {
        self.decisions("case_id = ?1 ORDER BY id LIMIT ?2", params![case.0, DECISIONS_OF_CASE])
    }

    /// Runs of a task with their projects: one of them when `run` is given.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn runs_of_task(&mut self, task: &TaskId, run: Option<u32>) -> Result<Vec<(Project, RunRow)>, LedgerError> {
        self.runs_where(
            "runs.task = ?1 AND (?2 IS NULL OR runs.run = ?2) ORDER BY runs.run LIMIT ?3",
            params![TaskColumn::of(task), run, RUNS_SHOWN],
        )
    }

    /// The runs that a request of ours led to.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn runs_of_action(&mut self, key: ActionKey) -> Result<Vec<RunRow>, LedgerError> {
        let runs = self.runs_where(
            "runs.action = (SELECT id FROM actions WHERE case_id = ?1 AND step = ?2 AND slot = ?3)
             ORDER BY runs.at, runs.id LIMIT ?4",
            params![key.case.0, key.step, key.slot, RUNS_SHOWN],
        )?;
        Ok(runs.into_iter().map(|(_, run)| run).collect())
    }

    /// Samples of an event (`task/run`, or the task alone), oldest first.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn samples_of(&mut self, what: &str) -> Result<Vec<(Timestamp, Event)>, LedgerError> {
        let rows = self
            .tx
            .prepare_cached(
                "SELECT at, body FROM samples
                 WHERE event = ?1 OR (event >= ?1 || '/' AND event < ?1 || '0') ORDER BY id LIMIT 100",
            )
            .and_then(|mut statement| {
                statement
                    .query_map([what], |row| Ok((Timestamp(row.get(0)?), row.get::<_, String>(1)?)))?
                    .collect::<rusqlite::Result<Vec<_>>>()
            })
            .map_err(sql)?;
        rows.into_iter()
            .map(|(at, body)| Ok((at, serde_json::from_str(&body).map_err(json)?)))
            .collect()
    }

    /// Forgets traces beyond what is to be kept, a bounded number at a time; returns how many.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn forget_traces(&mut self, retention: &Retention, now: Timestamp) -> Result<usize, LedgerError> {
        let before = now.minus(retention.keep_for).0;
        let mut forgotten = 0;
        for (table, kept) in [("decisions", retention.decisions), ("samples", retention.samples)] {
            let text = format!(
                "DELETE FROM {table} WHERE id IN (
                    SELECT id FROM {table} WHERE at < ?1 OR id <= (SELECT COALESCE(MAX(id), 0) FROM {table}) - ?2
                    ORDER BY id LIMIT ?3)"
            );
            forgotten += self
                .tx
                .prepare_cached(&text)
                .and_then(|mut statement| statement.execute(params![before, kept, FORGOTTEN_TOGETHER]))
                .map_err(sql)?;
        }
        Ok(forgotten)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ledger::Memory as _;
    use crate::store::sqlite::SqliteStore;

    #[test]
    fn traces_go_by_age_and_by_number_the_oldest_first() {
        let mut store = SqliteStore::in_memory().unwrap();
        let kept = store
            .transact(|books| {
                for number in 0..10 {
                    let event = Event::Request(Box::new(crate::event::RequestEvent {
                        project: "try".into(),
                        push: Some(crate::event::PushId(number)),
                        revision: None,
                        requester: None,
                        kind: crate::event::RequestKind::FillPush,
                    }));
                    books.keep_sample(&event, Timestamp(1_000).plus(Duration::from_secs(number)))?;
                }
                let retention = Retention {
                    decisions: 0,
                    samples: 6,
                    keep_for: Duration::from_secs(3),
                };
                assert_eq!(books.forget_traces(&retention, Timestamp(10_000))?, 6);
                let mut kept = Vec::new();
                for number in 0..10 {
                    if !books.samples_of(&format!("request/try/{number}"))?.is_empty() {
                        kept.push(number);
                    }
                }
                Ok(kept)
            })
            .unwrap();
        assert_eq!(kept, [6, 7, 8, 9]);
    }
}
