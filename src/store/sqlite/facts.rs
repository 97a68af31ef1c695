//! Events that lack facts, and what a bug tracker said.

use rusqlite::{OptionalExtension, params};

use super::{Books, json, sql};
use crate::engine::ledger::{Facts, Lack, LedgerError};
use crate::event::{Duration, Event, Subject, Timestamp};
use crate::rules::Bug;

/// How long a run whose parent may be a request under way waits before it is looked at again.
const LINEAGE_PAUSE: Duration = Duration::from_secs(15);

impl Facts for Books<'_> {
    fn wait_for(&mut self, event: &Event, what: &str, lack: Lack, now: Timestamp) -> Result<(), LedgerError> {
        let text = serde_json::to_string(event).map_err(json)?;
        // The answer to a request of ours takes a moment; everything else can be asked for at once.
        let first_try = if lack == Lack::Lineage {
            now.plus(LINEAGE_PAUSE)
        } else {
            now
        };
        self.tx
            .prepare_cached(
                "INSERT INTO inbox (what, event, lack, since, next_try) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (what) DO UPDATE SET event = excluded.event, lack = excluded.lack,
                    next_try = excluded.next_try, attempts = 0 WHERE lack <> excluded.lack",
            )
            .and_then(|mut statement| statement.execute(params![what, text, lack.as_str(), now.0, first_try.0]))
            .map_err(sql)?;
        Ok(())
    }

    fn bugs_of(&mut self, subject: &Subject) -> Result<Option<Vec<Bug>>, LedgerError> {
        if let Some(signature) = &subject.signature
            && let Some(bugs) = self.bugs_of_test(&signature.test)?
        {
            return Ok(Some(bugs));
        }
        self.known_bugs(subject)
    }

    fn has_bugs_of(&mut self, test: &str, since: Timestamp) -> Result<bool, LedgerError> {
        self.tx
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM bugs_of_tests WHERE test = ?1 AND at >= ?2)")
            .and_then(|mut statement| statement.query_row(params![test, since.0], |row| row.get(0)))
            .map_err(sql)
    }

    fn record_bugs(&mut self, test: &str, bugs: &[Bug], now: Timestamp) -> Result<(), LedgerError> {
        let text = serde_json::to_string(bugs).map_err(json)?;
        self.tx
            .prepare_cached("INSERT OR REPLACE INTO bugs_of_tests (test, bugs, at) VALUES (?1, ?2, ?3)")
            .and_then(|mut statement| statement.execute(params![test, text, now.0]))
            .map(drop)
            .map_err(sql)
    }
}

impl Books<'_> {
    /// What a tracker said of a test when it was last asked.
    pub(super) fn bugs_of_test(&mut self, test: &str) -> Result<Option<Vec<Bug>>, LedgerError> {
        let text: Option<String> = self
            .tx
            .prepare_cached("SELECT bugs FROM bugs_of_tests WHERE test = ?1")
            .and_then(|mut statement| statement.query_row([test], |row| row.get(0)).optional())
            .map_err(sql)?;
        text.map(|text| serde_json::from_str(&text)).transpose().map_err(json)
    }

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

/// The columns that name a subject.
fn key(subject: &Subject) -> Result<(&str, &str, String), LedgerError> {
    let signature = subject.signature.as_ref().map(serde_json::to_string).transpose();
    Ok((
        subject.project.as_str(),
        subject.label.as_str(),
        signature.map_err(json)?.unwrap_or_default(),
    ))
}
