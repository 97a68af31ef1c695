//! The outbox: requests that wait to be sent, and what became of those that were.

use rusqlite::{OptionalExtension, Row, params};

use super::builds::ARRIVED;
use super::codec::{StoredTask, TaskColumn};
use super::settle::settle_account;
use super::{Books, json, sql};
use crate::engine::ledger::{CaseRow, LedgerError};
use crate::event::{ActionKey, CaseKind, Cause, Duration, JobRequest, Reason, TaskId, Timestamp};

/// How long a request is looked for whose fate is not known.
const LOOKED_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

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
    /// Jobs that its case may ask for in all.
    pub max_jobs: u32,
    /// Whether it repeats another request, whose jobs never appeared.
    pub is_repeat: bool,
}

/// A request that was accepted and whose jobs have not all appeared.
#[derive(Debug, Clone, PartialEq)]
pub struct Missing {
    /// The request.
    pub due: Due,
    /// The task that was to make the jobs, when the CI named one.
    pub receipt: Option<TaskId>,
    /// Jobs of it that were seen.
    pub arrived: u32,
}

const DUE: &str = "actions.request, actions.rule, actions.budget, actions.platform, actions.reason, actions.created_at,
    actions.sent_at, actions.attempts, actions.repeat_of IS NOT NULL, cases.body";
const DUE_TABLES: &str = "actions JOIN cases ON cases.id = actions.case_id";

/// How much later than it was decided a request counts as decided, for each step that its case is less urgent.
const A_STEP: Duration = Duration::from_secs(30 * 60);

/// How urgent a case is, 0 the most: a person waits for what was opened by hand; a search stands for a tree that is
/// broken; everything else can wait a little.
fn urgency() -> String {
    format!(
        "CASE WHEN cases.rule = '{}' THEN 0 WHEN cases.kind = '{}' THEN 1 ELSE 2 END",
        Cause::BY_HAND,
        CaseKind::FindCulprit.as_str()
    )
}

fn due(row: &Row<'_>) -> rusqlite::Result<Due> {
    fn parsed<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
        serde_json::from_str(&row.get::<_, String>(column)?).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into())
        })
    }
    let reason: Option<String> = row.get(4)?;
    let case: CaseRow = parsed(row, 9)?;
    Ok(Due {
        request: parsed(row, 0)?,
        rule: row.get(1)?,
        budget: row.get(2)?,
        platform: row.get(3)?,
        reason: reason.and_then(|word| serde_json::from_value(serde_json::Value::String(word)).ok()),
        created_at: Timestamp(row.get(5)?),
        sent_at: row.get::<_, Option<i64>>(6)?.map(Timestamp),
        attempts: row.get(7)?,
        is_repeat: row.get(8)?,
        max_jobs: case.params.max_jobs(),
    })
}

impl Books<'_> {
    fn dues(&mut self, text: &str, parameters: impl rusqlite::Params) -> Result<Vec<Due>, LedgerError> {
        self.tx
            .prepare_cached(text)
            .and_then(|mut statement| statement.query_map(parameters, due)?.collect())
            .map_err(sql)
    }

    /// Requests that may be sent now. The more urgent first; but a request that has waited for half an hour is as urgent
    /// as a new one of the next step. Among equals the rules take turns, the one first that was served longest ago; each
    /// rule's oldest first.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn queued(&mut self, now: Timestamp, limit: u32) -> Result<Vec<Due>, LedgerError> {
        self.dues(
            &format!(
                "SELECT {DUE} FROM (
                    SELECT *, ROW_NUMBER() OVER (PARTITION BY rank, rule ORDER BY id) AS round FROM (
                        SELECT actions.id, actions.case_id, actions.rule,
                            MAX({urgency} - MAX(?1 - actions.created_at, 0) / {step}, 0) AS rank
                        FROM {DUE_TABLES} WHERE actions.state = 'queued' AND actions.not_before <= ?1)) AS ranked
                 JOIN actions ON actions.id = ranked.id JOIN cases ON cases.id = ranked.case_id
                 LEFT JOIN rule_turns ON rule_turns.rule = ranked.rule
                 ORDER BY ranked.rank, ranked.round, COALESCE(rule_turns.turn, 0), ranked.id LIMIT ?2",
                urgency = urgency(),
                step = A_STEP.as_millis(),
            ),
            params![now.0, limit],
        )
    }

    /// Requests that were decided before a moment and are held back by an account that others must not empty meanwhile:
    /// the oldest first, among those that are to be looked at before another moment.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn waiting_longest(
        &mut self,
        decided_before: Timestamp,
        due_before: Timestamp,
        limit: u32,
    ) -> Result<Vec<Due>, LedgerError> {
        self.dues(
            &format!(
                "SELECT {DUE} FROM {DUE_TABLES} WHERE actions.state = 'queued' AND actions.not_before <= ?2
                    AND actions.reason IN ('limit', 'budget') AND actions.created_at < ?1
                 ORDER BY actions.id LIMIT ?3"
            ),
            params![decided_before.0, due_before.0, limit],
        )
    }

    /// The requests whose fate is not known and which are due for a look: those in doubt, and those whose dispatcher did
    /// not come back within its lease. What was sent over a week ago is left as it is: no CI remembers it.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn doubtful(&mut self, now: Timestamp, limit: u32) -> Result<Vec<Due>, LedgerError> {
        self.dues(
            &format!(
                "SELECT {DUE} FROM {DUE_TABLES} WHERE (actions.state = 'in-doubt' AND actions.not_before <= ?1
                    AND actions.not_before <= actions.sent_at + ?3)
                 OR (actions.state = 'sending' AND actions.lease < ?1) ORDER BY actions.id LIMIT ?2"
            ),
            params![now.0, limit, LOOKED_FOR.as_millis() as i64],
        )
    }

    /// Takes requests whose fate is not known, to look for them: each is one attempt further. Nobody else looks for them
    /// until `lease` has passed, and what comes of an earlier attempt is no longer heard, unless it is an answer of the CI.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn take_doubtful(&mut self, doubtful: &mut [Due], lease: Timestamp) -> Result<(), LedgerError> {
        for due in doubtful {
            let key = due.request.key;
            due.attempts += 1;
            self.tx
                .prepare_cached(
                    "UPDATE actions SET state = 'in-doubt', reason = 'in-doubt', lease = NULL, not_before = ?4,
                        attempts = ?5
                     WHERE case_id = ?1 AND step = ?2 AND slot = ?3",
                )
                .and_then(|mut statement| {
                    statement.execute(params![key.case.0, key.step, key.slot, lease.0, due.attempts])
                })
                .map_err(sql)?;
        }
        Ok(())
    }

    /// When the next thing is due that needs no message: a request to send or to look for, facts to fetch, a case to
    /// wake. For whoever lets time stand still in between.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn next_due(&mut self) -> Result<Option<Timestamp>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT MIN(due) FROM (
                    SELECT MIN(not_before) AS due FROM actions WHERE state = 'queued'
                    UNION ALL SELECT MIN(not_before) FROM actions
                        WHERE state = 'in-doubt' AND not_before <= sent_at + ?1
                    UNION ALL SELECT MIN(lease) FROM actions WHERE state = 'sending'
                    UNION ALL SELECT MIN(next_try) FROM inbox
                    UNION ALL SELECT MIN(wake_at) FROM cases WHERE verdict IS NULL)",
            )
            .and_then(|mut statement| {
                statement.query_row([LOOKED_FOR.as_millis() as i64], |row| {
                    Ok(row.get::<_, Option<i64>>(0)?.map(Timestamp))
                })
            })
            .map_err(sql)
    }

    /// Requests that were accepted, were sent before a moment, and whose jobs have not all appeared; those that were
    /// looked for already rest until `not_before`.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn missing(&mut self, sent_before: Timestamp, now: Timestamp, limit: u32) -> Result<Vec<Missing>, LedgerError> {
        self.tx
            .prepare_cached(&format!(
                // The open cases come first: they are few, and accepted requests are kept for ever.
                "SELECT {DUE}, actions.receipt, {ARRIVED}
                 FROM cases CROSS JOIN actions ON actions.case_id = cases.id
                 WHERE cases.verdict IS NULL AND actions.state = 'accepted' AND actions.sent_at < ?1
                    AND actions.not_before <= ?2 AND actions.times > {ARRIVED}
                 ORDER BY actions.id LIMIT ?3"
            ))
            .and_then(|mut statement| {
                statement
                    .query_map(params![sent_before.0, now.0, limit], |row| {
                        Ok(Missing {
                            due: due(row)?,
                            receipt: row.get::<_, Option<StoredTask>>(10)?.map(|task| task.0),
                            arrived: row.get(11)?,
                        })
                    })?
                    .collect()
            })
            .map_err(sql)
    }

    /// Requests being sent to a backend now.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn sending_count(&mut self, backend: &str) -> Result<u32, LedgerError> {
        self.tx
            .prepare_cached("SELECT COUNT(*) FROM actions WHERE state = 'sending' AND backend = ?1")
            .and_then(|mut statement| statement.query_row([backend], |row| row.get(0)))
            .map_err(sql)
    }

    /// Marks a queued request as being sent, until `lease`. From now on it counts against every limit, with `job_ms`
    /// milliseconds of machine time a job. False when somebody else has it.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn begin_sending(
        &mut self,
        key: ActionKey,
        backend: &str,
        job_ms: u64,
        now: Timestamp,
        lease: Timestamp,
    ) -> Result<bool, LedgerError> {
        self.tx
            .prepare_cached(
                "UPDATE actions SET state = 'sending', reason = NULL, detail = NULL, backend = ?4, sent_at = ?5,
                    lease = ?6, attempts = attempts + 1, charged = times, job_ms = ?7, machine_ms = times * ?7,
                    builds = NULL, build_ms = 0
                 WHERE case_id = ?1 AND step = ?2 AND slot = ?3 AND state = 'queued'",
            )
            .and_then(|mut statement| {
                statement.execute(params![key.case.0, key.step, key.slot, backend, now.0, lease.0, job_ms])
            })
            .map(|changed| changed == 1)
            .map_err(sql)
    }

    /// Holds a queued request back: the reason is shown, and the detail where there is one (that of another reason would
    /// mislead), and it is not looked at before `not_before`.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn hold(
        &mut self,
        key: ActionKey,
        reason: Reason,
        detail: Option<&str>,
        not_before: Timestamp,
    ) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached(
                "UPDATE actions SET reason = ?4, not_before = ?5,
                    detail = COALESCE(?6, CASE WHEN reason = ?4 THEN detail END)
                 WHERE case_id = ?1 AND step = ?2 AND slot = ?3 AND state = 'queued'",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    key.case.0,
                    key.step,
                    key.slot,
                    reason.as_str(),
                    not_before.0,
                    detail
                ])
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
            .map_err(sql)?;
        match receipt {
            Some(receipt) => self.take_over_runs(key, receipt),
            None => Ok(()),
        }
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

    /// A queued request is given up, for a reason.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn drop_queued(
        &mut self,
        key: ActionKey,
        reason: Reason,
        detail: &str,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached(
                "UPDATE actions SET state = 'dropped', reason = ?4, detail = ?5, settled_at = ?6
                 WHERE case_id = ?1 AND step = ?2 AND slot = ?3 AND state = 'queued'",
            )
            .and_then(|mut statement| {
                statement.execute(params![key.case.0, key.step, key.slot, reason.as_str(), detail, now.0])
            })
            .map(drop)
            .map_err(sql)
    }

    /// The jobs of an accepted request may still come: it is looked at again at `not_before`.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn still_missing(&mut self, key: ActionKey, detail: &str, not_before: Timestamp) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached(
                "UPDATE actions SET detail = ?4, not_before = ?5
                 WHERE case_id = ?1 AND step = ?2 AND slot = ?3 AND state = 'accepted'",
            )
            .and_then(|mut statement| statement.execute(params![key.case.0, key.step, key.slot, detail, not_before.0]))
            .map(drop)
            .map_err(sql)
    }

    /// The jobs of an accepted request that have not come are not waited for any longer. Where the CI named the task that
    /// makes them, only those that came are charged from now on.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn overdue(&mut self, key: ActionKey, detail: &str, now: Timestamp) -> Result<(), LedgerError> {
        let given_up: Option<(i64, bool)> = self
            .tx
            .prepare_cached(
                "UPDATE actions SET state = 'overdue', reason = 'not-appeared', detail = ?4, settled_at = ?5
                 WHERE case_id = ?1 AND step = ?2 AND slot = ?3 AND state = 'accepted'
                 RETURNING id, receipt IS NOT NULL",
            )
            .and_then(|mut statement| {
                statement
                    .query_row(params![key.case.0, key.step, key.slot, detail, now.0], |row| {
                        Ok((row.get(0)?, row.get(1)?))
                    })
                    .optional()
            })
            .map_err(sql)?;
        match given_up {
            Some((action, true)) => settle_account(self.tx, action),
            Some((_, false)) | None => Ok(()),
        }
    }

    /// Puts a request into the outbox once more, in a new slot of its step and marked as a repeat. `None` when it is a
    /// repeat itself, or was repeated already.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn repeat(
        &mut self,
        request: &JobRequest,
        why: &str,
        now: Timestamp,
    ) -> Result<Option<ActionKey>, LedgerError> {
        let key = request.key;
        let slot: Option<u32> = self
            .tx
            .prepare_cached(
                "SELECT (SELECT MAX(slot) + 1 FROM actions WHERE case_id = ?1 AND step = ?2) FROM actions AS first
                 WHERE case_id = ?1 AND step = ?2 AND slot = ?3 AND repeat_of IS NULL
                    AND NOT EXISTS (SELECT 1 FROM actions WHERE repeat_of = first.id)",
            )
            .and_then(|mut statement| {
                statement
                    .query_row(params![key.case.0, key.step, key.slot], |row| row.get(0))
                    .optional()
            })
            .map_err(sql)?;
        let Some(slot) = slot else { return Ok(None) };
        let again = JobRequest {
            key: ActionKey { slot, ..key },
            why: format!("{} (once more: {why})", request.why),
            ..request.clone()
        };
        let body = serde_json::to_string(&again).map_err(json)?;
        self.tx
            .prepare_cached(
                "INSERT INTO actions (case_id, step, slot, state, rule, budget, backend, project, platform, label, push,
                    times, created_at, not_before, request, repeat_of)
                 SELECT case_id, step, ?4, 'queued', rule, budget, '', project, platform, label, push, times, ?5, ?5,
                    ?6, id FROM actions WHERE case_id = ?1 AND step = ?2 AND slot = ?3",
            )
            .and_then(|mut statement| {
                statement.execute(params![key.case.0, key.step, key.slot, slot, now.0, body])
            })
            .map_err(sql)?;
        Ok(Some(again.key))
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
            .prepare_cached(&format!(
                "SELECT state, reason, detail, request, sent_at, receipt, created_at, backend, {ARRIVED},
                    CASE WHEN sent_at IS NULL THEN 0 ELSE charged END, COALESCE(builds, '[]')
                 FROM actions WHERE case_id = ?1 ORDER BY step, slot"
            ))
            .and_then(|mut statement| {
                statement
                    .query_map([case], |row| {
                        let request: String = row.get(3)?;
                        let sent_at = row.get::<_, Option<i64>>(4)?.map(Timestamp);
                        let receipt = row.get::<_, Option<StoredTask>>(5)?.map(|task| task.0);
                        let builds: String = row.get(10)?;
                        let builds: serde_json::Value = serde_json::from_str(&builds).unwrap_or_default();
                        Ok((
                            serde_json::json!({
                                "state": row.get::<_, String>(0)?, "reason": row.get::<_, Option<String>>(1)?,
                                "detail": row.get::<_, Option<String>>(2)?, "sentAt": sent_at, "receipt": receipt,
                                "createdAt": Timestamp(row.get(6)?), "backend": row.get::<_, String>(7)?,
                                "arrived": row.get::<_, u32>(8)?, "charged": row.get::<_, u32>(9)?,
                                "builds": builds,
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
