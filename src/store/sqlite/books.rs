//! The books of the engine in one SQLite transaction.

use rusqlite::{OptionalExtension, Transaction, params};

use super::{Names, sql};
use crate::engine::ledger::LedgerError;
use crate::event::Label;

/// The books inside one transaction.
pub struct Books<'a> {
    pub(super) tx: &'a Transaction<'a>,
    pub(super) names: &'a mut Names,
}

impl<'a> Books<'a> {
    pub(super) fn new(tx: &'a Transaction<'a>, names: &'a mut Names) -> Books<'a> {
        Books { tx, names }
    }

    pub(super) fn name(&mut self, kind: &'static str, name: &str) -> Result<i64, LedgerError> {
        if let Some(id) = self.names.name(kind, name) {
            return Ok(id);
        }
        let id = self
            .tx
            .prepare_cached(
                "INSERT INTO names (kind, name) VALUES (?1, ?2)
                 ON CONFLICT (kind, name) DO UPDATE SET name = excluded.name RETURNING id",
            )
            .and_then(|mut statement| statement.query_row(params![kind, name], |row| row.get(0)))
            .map_err(sql)?;
        self.names.keep_name(kind, name, id);
        Ok(id)
    }

    pub(super) fn label_id(&mut self, project: i64, label: &Label) -> Result<Option<i64>, LedgerError> {
        if let Some(known) = self.names.label(project, label) {
            return Ok(Some(known.id));
        }
        self.tx
            .prepare_cached("SELECT id FROM labels WHERE project = ?1 AND label = ?2")
            .and_then(|mut statement| {
                statement
                    .query_row(params![project, label.as_str()], |row| row.get(0))
                    .optional()
            })
            .map_err(sql)
    }
}

/// A value that no version of this program writes.
pub(super) fn strange(column: usize, what: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, format!("unknown {what}").into())
}
