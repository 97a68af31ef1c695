//! The outbox: requests that wait to be sent, and the account of what was asked for.

use rusqlite::{Row, params};

use super::codec::{StoredTask, TaskColumn};
use super::{Books, json, sql};
use crate::engine::ledger::LedgerError;
use crate::event::{ActionKey, Duration, JobRequest, Reason, TaskId, Timestamp};

/// How long it is remembered that a request went out: the longest window of a rate that is kept.
const SENDS_KEPT: Duration = Duration::from_secs(24 * 3600);

/// A request in the outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    /// The request.
    pub request: JobRequest,
    /// The rule that wants it.
    pub rule: String,
    /// The budget it is charged to.
    pub budget: Option<String>,
    /// The platform it runs on.
    pub platform: String,
    /// Why it was held back last, if it was.
    pub reason: Option<Reason>,
    /// When it was decided.
    pub created_at: Timestamp,
    /// When it was sent, for requests in doubt.
    pub sent_at: Option<Timestamp>,
    /// Times it was tried.
    pub attempts: u32,
}

/// One account: jobs asked for since a moment, over all, or over one value of a dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spent<'a> {
    /// Everything.
    All,
    /// One value's of a dimension.
    Of(Dimension, &'a str),
    /// One label's in a project.
    Label(&'a str, &'a str),
    /// One push's in a project.
    Push(&'a str, u64),
    /// One named budget's: over all, or for one value of a dimension.
    Budget(&'a str, Option<(Dimension, &'a str)>),
}

/// What accounts are kept by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimension {
    /// The rule that asks.
    Rule,
    /// The project that is asked for.
    Project,
    /// The platform that jobs run on.
    Platform,
    /// The label that runs.
    Label,
}

impl Dimension {
    fn column(self) -> &'static str {
        match self {
            Dimension::Rule => "rule",
            Dimension::Project => "project",
            Dimension::Platform => "platform",
            Dimension::Label => "label",
        }
    }
}

const DUE: &str = "request, rule, budget, platform, reason, created_at, sent_at, attempts";

fn due(row: &Row<'_>) -> rusqlite::Result<(String, Due)> {
    let request: String = row.get(0)?;
    let reason: Option<String> = row.get(4)?;
    let parsed = serde_json::from_str(&request)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into()))?;
    Ok((
        request,
        Due {
            request: parsed,
            rule: row.get(1)?,
            budget: row.get(2)?,
            platform: row.get(3)?,
            reason: reason.and_then(|word| serde_json::from_value(serde_json::Value::String(word)).ok()),
            created_at: Timestamp(row.get(5)?),
            sent_at: row.get::<_, Option<i64>>(6)?.map(Timestamp),
            attempts: row.get(7)?,
        },
    ))
}

impl Books<'_> {
    fn dues(&mut self, text: &str, parameters: impl rusqlite::Params) -> Result<Vec<Due>, LedgerError> {
        self.tx
            .prepare_cached(text)
            .and_then(|mut statement| {
                statement
                    .query_map(parameters, due)?
                    .map(|row| row.map(|row| row.1))
                    .collect()
            })
            .map_err(sql)
    }

    /// Requests that may be sent now: the rules take turns, each rule's oldest first.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn queued(&mut self, now: Timestamp, limit: u32) -> Result<Vec<Due>, LedgerError> {
        self.dues(
            &format!(
                "SELECT {DUE} FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY rule ORDER BY id) AS turn FROM actions
                 WHERE state = 'queued' AND not_before <= ?1) ORDER BY turn, id LIMIT ?2"
            ),
            params![now.0, limit],
        )
    }

    /// Takes the requests whose fate is not known and which may be looked for now: those in doubt, and those whose
    /// dispatcher did not come back within its lease. Nobody else looks for them until `lease` has passed.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn take_doubtful(&mut self, now: Timestamp, lease: Timestamp, limit: u32) -> Result<Vec<Due>, LedgerError> {
        let mut taken = self.dues(
            &format!(
                "UPDATE actions SET state = 'in-doubt', reason = 'in-doubt', lease = NULL, not_before = ?2,
                    attempts = attempts + 1
                 WHERE id IN (SELECT id FROM actions WHERE (state = 'in-doubt' AND not_before <= ?1)
                    OR (state = 'sending' AND lease < ?1) ORDER BY id LIMIT ?3)
                 RETURNING {DUE}"
            ),
            params![now.0, lease.0, limit],
        )?;
        taken.sort_by_key(|due| due.request.key);
        Ok(taken)
    }

    /// Requests being sent now.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn sending_count(&mut self) -> Result<u32, LedgerError> {
        self.tx
            .query_row("SELECT COUNT(*) FROM actions WHERE state = 'sending'", [], |row| {
                row.get(0)
            })
            .map_err(sql)
    }

    /// Requests sent since a moment, whatever became of them: what the CI turned away reached it too.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn requests_since(&mut self, since: Timestamp) -> Result<u32, LedgerError> {
        self.tx
            .prepare_cached("SELECT COUNT(*) FROM sends WHERE at > ?1")
            .and_then(|mut statement| statement.query_row([since.0], |row| row.get(0)))
            .map_err(sql)
    }

    /// Jobs asked for since a moment, as an account sees it. Requests whose fate is not known count.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn spent(&mut self, account: Spent<'_>, since: Timestamp) -> Result<u64, LedgerError> {
        let (condition, first, second) = match account {
            Spent::All => ("?2 = '' AND ?3 = ''".to_owned(), "", String::new()),
            Spent::Of(dimension, value) => (format!("{} = ?2 AND ?3 = ''", dimension.column()), value, String::new()),
            Spent::Label(project, label) => ("project = ?2 AND label = ?3".to_owned(), project, label.to_owned()),
            Spent::Push(project, push) => (
                "project = ?2 AND push = CAST(?3 AS INTEGER)".to_owned(),
                project,
                push.to_string(),
            ),
            Spent::Budget(budget, None) => ("budget = ?2 AND ?3 = ''".to_owned(), budget, String::new()),
            Spent::Budget(budget, Some((dimension, value))) => (
                format!("budget = ?2 AND {} = ?3", dimension.column()),
                budget,
                value.to_owned(),
            ),
        };
        self.tx
            .prepare_cached(&format!(
                "SELECT COALESCE(SUM(times), 0) FROM actions WHERE sent_at > ?1 AND {condition}"
            ))
            .and_then(|mut statement| statement.query_row(params![since.0, first, second], |row| row.get(0)))
            .map_err(sql)
    }

    /// Jobs charged to a budget since a moment, by the values of a dimension; all together under an empty name without
    /// one.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn spent_of_budget(
        &mut self,
        budget: &str,
        dimension: Option<Dimension>,
        since: Timestamp,
    ) -> Result<Vec<(String, u64)>, LedgerError> {
        let column = dimension.map_or("''", Dimension::column);
        self.tx
            .prepare_cached(&format!(
                "SELECT {column}, SUM(times) FROM actions WHERE budget = ?1 AND sent_at > ?2 GROUP BY 1"
            ))
            .and_then(|mut statement| {
                statement
                    .query_map(params![budget, since.0], |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect()
            })
            .map_err(sql)
    }

    /// Marks a queued request as being sent, until `lease`. From now on it counts against every limit. False when
    /// somebody else has it.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn begin_sending(
        &mut self,
        key: ActionKey,
        backend: &str,
        now: Timestamp,
        lease: Timestamp,
    ) -> Result<bool, LedgerError> {
        let changed = self
            .tx
            .prepare_cached(
                "UPDATE actions SET state = 'sending', reason = NULL, detail = NULL, backend = ?4, sent_at = ?5,
                    lease = ?6, attempts = attempts + 1
                 WHERE case_id = ?1 AND step = ?2 AND slot = ?3 AND state = 'queued'",
            )
            .and_then(|mut statement| {
                statement.execute(params![key.case.0, key.step, key.slot, backend, now.0, lease.0])
            })
            .map_err(sql)?;
        if changed == 0 {
            return Ok(false);
        }
        self.tx
            .prepare_cached("DELETE FROM sends WHERE at <= ?1")
            .and_then(|mut statement| statement.execute([now.minus(SENDS_KEPT).0]))
            .map_err(sql)?;
        self.tx
            .prepare_cached("INSERT INTO sends (at) VALUES (?1)")
            .and_then(|mut statement| statement.execute([now.0]))
            .map_err(sql)?;
        Ok(true)
    }

    /// Holds a queued request back: the reason is shown, and it is not looked at before `not_before`.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn hold(&mut self, key: ActionKey, reason: Reason, not_before: Timestamp) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached(
                "UPDATE actions SET reason = ?4, not_before = ?5
                 WHERE case_id = ?1 AND step = ?2 AND slot = ?3 AND state = 'queued'",
            )
            .and_then(|mut statement| {
                statement.execute(params![key.case.0, key.step, key.slot, reason.as_str(), not_before.0])
            })
            .map(drop)
            .map_err(sql)
    }

    /// The CI took a request.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn accepted(
        &mut self,
        key: ActionKey,
        receipt: Option<&TaskId>,
        reference: Option<&str>,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached(
                "UPDATE actions SET state = 'accepted', reason = NULL, detail = ?5, receipt = ?4, lease = NULL,
                    settled_at = ?6
                 WHERE case_id = ?1 AND step = ?2 AND slot = ?3 AND state IN ('sending', 'in-doubt')",
            )
            .and_then(|mut statement| {
                let receipt = receipt.map(TaskColumn::of);
                statement.execute(params![key.case.0, key.step, key.slot, receipt, reference, now.0])
            })
            .map(drop)
            .map_err(sql)
    }

    /// The CI said no to this attempt, for good: nothing was asked for, nothing is charged.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn refused(
        &mut self,
        key: ActionKey,
        attempt: u32,
        reason: Reason,
        detail: &str,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached(
                "UPDATE actions SET state = 'refused', reason = ?4, detail = ?5, sent_at = NULL, lease = NULL,
                    settled_at = ?6
                 WHERE case_id = ?1 AND step = ?2 AND slot = ?3 AND state IN ('sending', 'in-doubt') AND attempts = ?7",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    key.case.0,
                    key.step,
                    key.slot,
                    reason.as_str(),
                    detail,
                    now.0,
                    attempt
                ])
            })
            .map(drop)
            .map_err(sql)
    }

    /// Nothing came of this attempt, for certain: the request goes back into the queue and is not charged. Where somebody
    /// else has taken it up since, what became of this attempt says nothing.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn requeue(
        &mut self,
        key: ActionKey,
        attempt: u32,
        reason: Reason,
        detail: &str,
        not_before: Timestamp,
    ) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached(
                "UPDATE actions SET state = 'queued', reason = ?4, detail = ?5, sent_at = NULL, lease = NULL,
                    not_before = ?6
                 WHERE case_id = ?1 AND step = ?2 AND slot = ?3 AND state IN ('sending', 'in-doubt') AND attempts = ?7",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    key.case.0,
                    key.step,
                    key.slot,
                    reason.as_str(),
                    detail,
                    not_before.0,
                    attempt
                ])
            })
            .map(drop)
            .map_err(sql)
    }

    /// This attempt was sent and what became of it is not known: it stays charged, and is looked for at `not_before`.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn in_doubt(
        &mut self,
        key: ActionKey,
        attempt: u32,
        detail: &str,
        not_before: Timestamp,
    ) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached(
                "UPDATE actions SET state = 'in-doubt', reason = 'in-doubt', detail = ?4, lease = NULL, not_before = ?5
                 WHERE case_id = ?1 AND step = ?2 AND slot = ?3 AND state IN ('sending', 'in-doubt') AND attempts = ?6",
            )
            .and_then(|mut statement| {
                statement.execute(params![key.case.0, key.step, key.slot, detail, not_before.0, attempt])
            })
            .map(drop)
            .map_err(sql)
    }

    /// Cases with a request that changed: they are looked at again at once.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn wake_case(&mut self, key: ActionKey, now: Timestamp) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached(
                "UPDATE cases SET wake_at = MIN(COALESCE(wake_at, ?2), ?2) WHERE id = ?1 AND verdict IS NULL",
            )
            .and_then(|mut statement| statement.execute(params![key.case.0, now.0]))
            .map(drop)
            .map_err(sql)
    }

    /// Requests that wait to be sent, and when the oldest of them was decided.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn outbox_depth(&mut self) -> Result<(u64, Option<Timestamp>), LedgerError> {
        self.tx
            .query_row(
                "SELECT COUNT(*), MIN(created_at) FROM actions WHERE state IN ('queued', 'sending', 'in-doubt')",
                [],
                |row| Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?.map(Timestamp))),
            )
            .map_err(sql)
    }

    /// Every request of a case with its JSON and what became of it, for people.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn case_requests(&mut self, case: u64) -> Result<Vec<serde_json::Value>, LedgerError> {
        let rows = self
            .tx
            .prepare_cached(
                "SELECT state, reason, detail, request, sent_at, receipt, created_at, backend,
                    (SELECT COUNT(*) FROM runs WHERE runs.action = actions.id AND runs.run = 0)
                 FROM actions WHERE case_id = ?1 ORDER BY step, slot",
            )
            .and_then(|mut statement| {
                statement
                    .query_map([case], |row| {
                        let request: String = row.get(3)?;
                        let sent_at = row.get::<_, Option<i64>>(4)?.map(Timestamp);
                        let receipt = row.get::<_, Option<StoredTask>>(5)?.map(|task| task.0);
                        Ok((
                            serde_json::json!({
                                "state": row.get::<_, String>(0)?, "reason": row.get::<_, Option<String>>(1)?,
                                "detail": row.get::<_, Option<String>>(2)?, "sentAt": sent_at, "receipt": receipt,
                                "createdAt": Timestamp(row.get(6)?), "backend": row.get::<_, String>(7)?,
                                "arrived": row.get::<_, u32>(8)?,
                            }),
                            request,
                        ))
                    })?
                    .collect::<rusqlite::Result<Vec<_>>>()
            })
            .map_err(sql)?;
        rows.into_iter()
            .map(|(mut value, request)| {
                value["request"] = serde_json::from_str(&request).map_err(json)?;
                Ok(value)
            })
            .collect()
    }
}
