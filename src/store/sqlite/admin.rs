//! What people ask of the store: cases, dead letters, pauses, decisions, a summary.

use base64::Engine as _;
use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::{Books, json, sql};
use crate::engine::ledger::{CaseRow, LedgerError};
use crate::event::{Delivery, Project, PushId, Revision, Timestamp};

/// Bytes of a body that cannot be read which are kept.
const DEAD_LETTER_BYTES: usize = 64 * 1024;
/// Dead letters kept; the oldest go first.
const DEAD_LETTERS_KEPT: i64 = 2_000;

/// Which cases to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaseFilter {
    /// Only open (`true`) or closed (`false`) ones.
    pub open: Option<bool>,
    /// Only of this project.
    pub project: Option<String>,
    /// At most so many, newest first.
    pub limit: u32,
}

/// A message that could not be read.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Its row.
    pub id: i64,
    /// When it came.
    pub at: Timestamp,
    /// From which exchange.
    pub exchange: String,
    /// With which routing key.
    pub routing_key: String,
    /// Further routing keys.
    pub cc: Vec<String>,
    /// The kind of trouble.
    pub reason: String,
    /// What was wrong, and where.
    pub detail: String,
    /// Its size in bytes, before it was cut.
    pub size: u64,
    /// The first bytes.
    #[serde(serialize_with = "readable")]
    pub body: Vec<u8>,
}

fn readable<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) => serializer.serialize_str(text),
        Err(_) => serializer.collect_str(&format_args!(
            "base64:{}",
            base64::engine::general_purpose::STANDARD.encode(bytes)
        )),
    }
}

/// What a pause stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PauseScope {
    /// Everything.
    All,
    /// One rule.
    Rule,
    /// One project.
    Project,
    /// One platform.
    Platform,
    /// One backend.
    Backend,
}

impl PauseScope {
    /// Every scope.
    pub const ALL: [PauseScope; 5] = [
        PauseScope::All,
        PauseScope::Rule,
        PauseScope::Project,
        PauseScope::Platform,
        PauseScope::Backend,
    ];

    /// The word used in commands and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            PauseScope::All => "all",
            PauseScope::Rule => "rule",
            PauseScope::Project => "project",
            PauseScope::Platform => "platform",
            PauseScope::Backend => "backend",
        }
    }
}

/// What becomes of requests in a pause's scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PauseEffect {
    /// They wait, and go out after the pause.
    #[default]
    Queue,
    /// They are given up when their turn comes, with the pause as the reason.
    Drop,
}

impl PauseEffect {
    /// The word used in commands and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            PauseEffect::Queue => "queue",
            PauseEffect::Drop => "drop",
        }
    }
}

/// A pause in force: nothing in its scope is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pause {
    /// What it stops.
    pub scope: PauseScope,
    /// Which rule, project, …; empty for all.
    pub name: String,
    /// Why.
    pub reason: String,
    /// Who says so.
    pub owner: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when; `None`: until somebody resumes.
    pub expires: Option<Timestamp>,
    /// What becomes of requests meanwhile.
    pub effect: PauseEffect,
}

/// The store in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreSummary {
    /// Runs in the history.
    pub runs: u64,
    /// Pushes known.
    pub pushes: u64,
    /// Labels known.
    pub labels: u64,
    /// Cases ever opened.
    pub cases: u64,
    /// Cases open now, by kind.
    pub open: Vec<(String, u64)>,
    /// Closed cases, by kind and verdict.
    pub closed: Vec<(String, String, u64)>,
    /// Requests by state.
    pub actions: Vec<(String, u64)>,
    /// Jobs asked for in all.
    pub jobs_asked: u64,
    /// Events that wait for facts.
    pub waiting: u64,
    /// Messages that could not be read.
    pub dead_letters: u64,
    /// The newest run's time.
    pub newest_run: Option<Timestamp>,
    /// The oldest run's time.
    pub oldest_run: Option<Timestamp>,
}

impl Books<'_> {
    /// Keeps a message that could not be read.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn dead_letter(
        &mut self,
        delivery: &Delivery,
        reason: &str,
        detail: &str,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let body = delivery.body.get(..DEAD_LETTER_BYTES).unwrap_or(&delivery.body);
        self.tx
            .prepare_cached(
                "INSERT INTO dead_letters (at, exchange, routing_key, cc, reason, detail, size, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    now.0,
                    &*delivery.exchange,
                    &*delivery.routing_key,
                    serde_json::json!(delivery.cc).to_string(),
                    reason,
                    detail,
                    delivery.body.len() as u64,
                    body
                ])
            })
            .map_err(sql)?;
        let newest = self.tx.last_insert_rowid();
        self.tx
            .prepare_cached("DELETE FROM dead_letters WHERE id <= ?1")
            .and_then(|mut statement| statement.execute([newest - DEAD_LETTERS_KEPT]))
            .map(drop)
            .map_err(sql)
    }

    /// Messages that could not be read, newest first; one of them when `id` is given.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn dead_letters(&mut self, id: Option<i64>, limit: u32) -> Result<Vec<DeadLetter>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT id, at, exchange, routing_key, cc, reason, detail, size, body FROM dead_letters
                 WHERE ?1 IS NULL OR id = ?1 ORDER BY id DESC LIMIT ?2",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![id, limit], |row| {
                        let cc: String = row.get(4)?;
                        Ok(DeadLetter {
                            id: row.get(0)?,
                            at: Timestamp(row.get(1)?),
                            exchange: row.get(2)?,
                            routing_key: row.get(3)?,
                            cc: serde_json::from_str(&cc).unwrap_or_default(),
                            reason: row.get(5)?,
                            detail: row.get(6)?,
                            size: row.get(7)?,
                            body: row.get(8)?,
                        })
                    })?
                    .collect()
            })
            .map_err(sql)
    }

    /// Forgets a dead letter: it was read after all.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn forget_dead_letter(&mut self, id: i64) -> Result<(), LedgerError> {
        self.tx
            .execute("DELETE FROM dead_letters WHERE id = ?1", [id])
            .map(drop)
            .map_err(sql)
    }

    /// Cases, newest first.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn cases(&mut self, filter: &CaseFilter) -> Result<Vec<CaseRow>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT id, body FROM cases WHERE (?1 IS NULL OR (verdict IS NULL) = ?1)
                 AND (?2 IS NULL OR project = ?2) ORDER BY id DESC LIMIT ?3",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![filter.open, filter.project, filter.limit], |row| {
                        Ok((row.get(0)?, row.get(1)?))
                    })?
                    .collect::<rusqlite::Result<Vec<(u64, String)>>>()
            })
            .map_err(sql)?
            .into_iter()
            .map(|(id, body)| super::cases::case_of(id, &body))
            .collect()
    }

    /// What the rules made of an event, by its identity (`task/run`, or the task alone).
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn decisions_on(&mut self, event: &str) -> Result<Vec<serde_json::Value>, LedgerError> {
        self.decisions(
            "event = ?1 OR (event >= ?1 || '/' AND event < ?1 || '0') ORDER BY id LIMIT 1000",
            params![event],
        )
    }

    /// Decisions that fulfil a condition, as JSON.
    pub(super) fn decisions(
        &mut self,
        condition: &str,
        values: &[&dyn rusqlite::ToSql],
    ) -> Result<Vec<serde_json::Value>, LedgerError> {
        let text = format!("SELECT at, event, rule, result, case_id, detail FROM decisions WHERE {condition}");
        let rows = self
            .tx
            .prepare_cached(&text)
            .and_then(|mut statement| {
                statement
                    .query_map(values, |row| {
                        let detail: String = row.get(5)?;
                        Ok((
                            serde_json::json!({
                                "at": Timestamp(row.get(0)?), "event": row.get::<_, String>(1)?,
                                "rule": row.get::<_, String>(2)?, "result": row.get::<_, String>(3)?,
                                "case": row.get::<_, Option<u64>>(4)?,
                            }),
                            detail,
                        ))
                    })?
                    .collect::<rusqlite::Result<Vec<_>>>()
            })
            .map_err(sql)?;
        rows.into_iter()
            .map(|(mut value, detail)| {
                value["detail"] = serde_json::from_str(&detail).map_err(json)?;
                Ok(value)
            })
            .collect()
    }

    /// Pauses; expired ones are deleted on the way.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn pauses(&mut self, now: Timestamp) -> Result<Vec<Pause>, LedgerError> {
        self.tx
            .prepare_cached("DELETE FROM pauses WHERE expires <= ?1")
            .and_then(|mut statement| statement.execute([now.0]))
            .map_err(sql)?;
        self.tx
            .prepare_cached("SELECT scope, name, reason, owner, since, expires, effect FROM pauses ORDER BY id")
            .and_then(|mut statement| {
                statement
                    .query_map([], |row| {
                        let scope: String = row.get(0)?;
                        Ok(Pause {
                            scope: serde_json::from_value(serde_json::Value::String(scope)).unwrap_or(PauseScope::All),
                            name: row.get(1)?,
                            reason: row.get(2)?,
                            owner: row.get(3)?,
                            since: Timestamp(row.get(4)?),
                            expires: row.get::<_, Option<i64>>(5)?.map(Timestamp),
                            effect: match row.get::<_, String>(6)?.as_str() {
                                "drop" => PauseEffect::Drop,
                                _ => PauseEffect::Queue,
                            },
                        })
                    })?
                    .collect()
            })
            .map_err(sql)
    }

    /// Puts a pause in force; one of the same scope and name is replaced.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn pause(&mut self, pause: &Pause) -> Result<(), LedgerError> {
        self.tx
            .execute(
                "INSERT INTO pauses (scope, name, reason, owner, since, expires, effect)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (scope, name) DO UPDATE SET reason = excluded.reason, owner = excluded.owner,
                    since = excluded.since, expires = excluded.expires, effect = excluded.effect",
                params![
                    pause.scope.as_str(),
                    pause.name,
                    pause.reason,
                    pause.owner,
                    pause.since.0,
                    pause.expires.map(|at| at.0),
                    pause.effect.as_str()
                ],
            )
            .map(drop)
            .map_err(sql)
    }

    /// Ends a pause; false when there is none.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn resume(&mut self, scope: PauseScope, name: &str) -> Result<bool, LedgerError> {
        self.tx
            .execute(
                "DELETE FROM pauses WHERE scope = ?1 AND name = ?2",
                params![scope.as_str(), name],
            )
            .map(|deleted| deleted > 0)
            .map_err(sql)
    }

    /// A small fact of the daemon itself.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn setting(&mut self, key: &str) -> Result<Option<String>, LedgerError> {
        self.tx
            .query_row("SELECT value FROM settings WHERE key = ?1", [key], |row| row.get(0))
            .optional()
            .map_err(sql)
    }

    /// Remembers a small fact of the daemon itself.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn set_setting(&mut self, key: &str, value: &str) -> Result<(), LedgerError> {
        self.tx
            .execute(
                "INSERT INTO settings (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                [key, value],
            )
            .map(drop)
            .map_err(sql)
    }

    /// The push of a project with the highest number, and when it landed.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn newest_push(&mut self, project: &Project) -> Result<Option<(PushId, Option<Timestamp>)>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT push, at FROM pushes
                 WHERE project = (SELECT id FROM names WHERE kind = 'project' AND name = ?1)
                 ORDER BY push DESC LIMIT 1",
            )
            .and_then(|mut statement| {
                statement
                    .query_row([project.as_str()], |row| {
                        Ok((PushId(row.get(0)?), row.get::<_, Option<i64>>(1)?.map(Timestamp)))
                    })
                    .optional()
            })
            .map_err(sql)
    }

    /// The head revision of a push, when the push is known and its revision too.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn push_revision(&mut self, project: &Project, push: PushId) -> Result<Option<Revision>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT revision FROM pushes
                 WHERE project = (SELECT id FROM names WHERE kind = 'project' AND name = ?1) AND push = ?2",
            )
            .and_then(|mut statement| {
                statement
                    .query_row(params![project.as_str(), push.0], |row| row.get::<_, Option<String>>(0))
                    .optional()
            })
            .map(|revision| revision.flatten().map(Revision::from))
            .map_err(sql)
    }

    fn counted_by(&mut self, text: &str) -> Result<Vec<(String, u64)>, LedgerError> {
        self.tx
            .prepare_cached(text)
            .and_then(|mut statement| statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
            .map_err(sql)
    }

    /// Open cases by kind.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn open_by_kind(&mut self) -> Result<Vec<(String, u64)>, LedgerError> {
        self.counted_by("SELECT kind, COUNT(*) FROM cases WHERE verdict IS NULL GROUP BY 1 ORDER BY 1")
    }

    /// The store in numbers.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn summary(&mut self) -> Result<StoreSummary, LedgerError> {
        let open = self.open_by_kind()?;
        let actions = self.counted_by("SELECT state, COUNT(*) FROM actions GROUP BY 1 ORDER BY 1")?;
        let count = |table: &str| {
            self.tx
                .query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |row| row.get::<_, u64>(0))
                .map_err(sql)
        };
        let closed = self
            .tx
            .prepare_cached(
                "SELECT kind, verdict, COUNT(*) FROM cases WHERE verdict IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2",
            )
            .and_then(|mut statement| {
                statement
                    .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                    .collect()
            })
            .map_err(sql)?;
        let (oldest_run, newest_run): (Option<i64>, Option<i64>) = self
            .tx
            .query_row("SELECT MIN(at), MAX(at) FROM runs", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .map_err(sql)?;
        Ok(StoreSummary {
            runs: count("runs")?,
            pushes: count("pushes")?,
            labels: count("labels")?,
            cases: count("cases")?,
            open,
            closed,
            actions,
            jobs_asked: self
                .tx
                .query_row(
                    "SELECT COALESCE(SUM(times), 0) FROM actions WHERE sent_at IS NOT NULL",
                    [],
                    |row| row.get(0),
                )
                .map_err(sql)?,
            waiting: count("inbox")?,
            dead_letters: count("dead_letters")?,
            newest_run: newest_run.map(Timestamp),
            oldest_run: oldest_run.map(Timestamp),
        })
    }
}
