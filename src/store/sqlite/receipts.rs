//! Whose runs are: the requests behind the receipts that the CI gave.
//!
//! A receipt names the task that makes the jobs of a call, and a call may have been for several labels: the request behind a
//! run is the one for its label, whichever of them was known first.

use rusqlite::{OptionalExtension, params};

use super::codec::TaskColumn;
use super::settle::settle_account;
use super::{Books, sql};
use crate::engine::ledger::LedgerError;
use crate::event::{ActionKey, CaseId, Label, TaskId};

impl Books<'_> {
    /// The request for this label whose receipt names this task.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn holder_of(&mut self, receipt: &TaskId, label: &Label) -> Result<Option<ActionKey>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT case_id, step, slot FROM actions WHERE receipt = ?1 AND label = ?2 ORDER BY id LIMIT 1",
            )
            .and_then(|mut statement| {
                statement
                    .query_row(params![TaskColumn::of(receipt), label.as_str()], |row| {
                        Ok(ActionKey {
                            case: CaseId(row.get(0)?),
                            step: row.get(1)?,
                            slot: row.get(2)?,
                        })
                    })
                    .optional()
            })
            .map_err(sql)
    }

    /// The row of the request behind a run: of those whose receipt names the task that made it the one for its label, else
    /// the one that is charged for it as a build, else the first.
    pub(super) fn request_behind(&mut self, receipt: &TaskId, label: &Label) -> Result<Option<i64>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT id FROM actions WHERE receipt = ?1 ORDER BY label <> ?2,
                    NOT EXISTS (SELECT 1 FROM json_each(builds) WHERE value = ?2), id LIMIT 1",
            )
            .and_then(|mut statement| {
                statement
                    .query_row(params![TaskColumn::of(receipt), label.as_str()], |row| row.get(0))
                    .optional()
            })
            .map_err(sql)
    }

    /// Runs for the label of a request are its own, though another one of the same call was known before it was, and was
    /// taken for their cause.
    pub(super) fn take_over_runs(&mut self, key: ActionKey, receipt: &TaskId) -> Result<(), LedgerError> {
        let taken: Vec<(i64, i64)> = self
            .tx
            .prepare_cached(
                "SELECT DISTINCT own.id, mates.id FROM actions AS own CROSS JOIN actions AS mates
                    CROSS JOIN runs ON runs.action = mates.id
                    CROSS JOIN labels ON labels.id = runs.label AND labels.label = own.label
                 WHERE own.case_id = ?2 AND own.step = ?3 AND own.slot = ?4 AND mates.receipt = ?1 AND mates.id <> own.id",
            )
            .and_then(|mut statement| {
                let this = params![TaskColumn::of(receipt), key.case.0, key.step, key.slot];
                statement
                    .query_map(this, |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect()
            })
            .map_err(sql)?;
        for (own, mate) in taken {
            self.tx
                .prepare_cached(
                    "UPDATE runs SET action = ?1 WHERE action = ?2
                        AND label IN (SELECT labels.id FROM labels JOIN actions ON actions.label = labels.label
                            WHERE actions.id = ?1)",
                )
                .and_then(|mut statement| statement.execute([own, mate]))
                .map_err(sql)?;
            settle_account(self.tx, mate)?;
            settle_account(self.tx, own)?;
        }
        Ok(())
    }
}
