//! Tasks of ours that nobody needs any longer: what the CI is to be asked to cancel.

use rusqlite::params;

use super::codec::{StoredTask, TaskColumn};
use super::{Books, sql};
use crate::engine::ledger::LedgerError;
use crate::event::{TaskId, Timestamp};

/// A task that is to be cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancellation {
    /// The task.
    pub task: TaskId,
    /// Times it was tried.
    pub attempts: u32,
}

/// Where a cancellation is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelState {
    /// To be tried (again) at this moment.
    Again(Timestamp),
    /// Done.
    Cancelled,
    /// The CI does not do it.
    GivenUp,
}

impl Books<'_> {
    /// Tasks whose cancelling may be tried now, the oldest first.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn due_cancellations(&mut self, now: Timestamp, limit: u32) -> Result<Vec<Cancellation>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT task, attempts FROM cancellations WHERE state = 'queued' AND next_try <= ?1 ORDER BY id LIMIT ?2",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![now.0, limit], |row| {
                        Ok(Cancellation {
                            task: row.get::<_, StoredTask>(0)?.0,
                            attempts: row.get(1)?,
                        })
                    })?
                    .collect()
            })
            .map_err(sql)
    }

    /// Writes down what came of trying to cancel a task.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn settle_cancellation(&mut self, task: &TaskId, state: CancelState, detail: &str) -> Result<(), LedgerError> {
        let (word, next_try) = match state {
            CancelState::Again(at) => ("queued", Some(at.0)),
            CancelState::Cancelled => ("cancelled", None),
            CancelState::GivenUp => ("given-up", None),
        };
        self.tx
            .prepare_cached(
                "UPDATE cancellations SET state = ?2, next_try = COALESCE(?3, next_try), attempts = attempts + 1,
                    detail = ?4 WHERE task = ?1",
            )
            .and_then(|mut statement| statement.execute(params![TaskColumn::of(task), word, next_try, detail]))
            .map(drop)
            .map_err(sql)
    }
}
