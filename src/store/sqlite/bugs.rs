//! The bugs that subjects are known by.

use rusqlite::{OptionalExtension, params};

use super::{Books, json, sql};
use crate::engine::ledger::LedgerError;
use crate::event::Subject;
use crate::rules::Bug;

/// The columns that name a subject.
fn key(subject: &Subject) -> Result<(&str, &str, String), LedgerError> {
    let signature = subject.signature.as_ref().map(serde_json::to_string).transpose();
    Ok((
        subject.project.as_str(),
        subject.label.as_str(),
        signature.map_err(json)?.unwrap_or_default(),
    ))
}

impl Books<'_> {
    /// Remembers the bugs that a subject is known by, in the place of what was known before.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn set_bugs(&mut self, subject: &Subject, bugs: &[Bug]) -> Result<(), LedgerError> {
        let (project, label, signature) = key(subject)?;
        let body = serde_json::to_string(bugs).map_err(json)?;
        self.tx
            .prepare_cached(
                "INSERT INTO bugs (project, label, signature, body) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (project, label, signature) DO UPDATE SET body = excluded.body",
            )
            .and_then(|mut statement| statement.execute(params![project, label, signature, body]))
            .map(drop)
            .map_err(sql)
    }

    /// The bugs that a subject is known by; `None` where no source has told of it.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn known_bugs(&mut self, subject: &Subject) -> Result<Option<Vec<Bug>>, LedgerError> {
        let (project, label, signature) = key(subject)?;
        let body: Option<String> = self
            .tx
            .prepare_cached("SELECT body FROM bugs WHERE project = ?1 AND label = ?2 AND signature = ?3")
            .and_then(|mut statement| {
                statement
                    .query_row(params![project, label, signature], |row| row.get(0))
                    .optional()
            })
            .map_err(sql)?;
        body.map(|body| serde_json::from_str(&body).map_err(json)).transpose()
    }
}
