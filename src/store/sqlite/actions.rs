//! What cases ask for.

use rusqlite::{Row, params};

use super::books::strange;
use super::builds::ARRIVED;
use super::codec::TaskColumn;
use super::{Books, json, sql};
use crate::engine::ledger::{ActionRow, ActionState, Actions, LedgerError, MayBeOurs, NewAction};
use crate::event::{ActionKey, CaseId, Label, Project, PushId, TaskId, Timestamp};

impl Actions for Books<'_> {
    fn actions_of(&mut self, case: CaseId) -> Result<Vec<ActionRow>, LedgerError> {
        self.tx
            .prepare_cached(&format!(
                "SELECT case_id, step, slot, state, reason, push, times, {ARRIVED}, created_at, sent_at,
                        receipt IS NOT NULL, label, detail, json_array_length(COALESCE(builds, '[]'))
                 FROM actions WHERE case_id = ?1 ORDER BY step, slot"
            ))
            .and_then(|mut statement| {
                statement
                    .query_map([case.0], action_row)?
                    .collect::<rusqlite::Result<Vec<ActionRow>>>()
            })
            .map_err(sql)
    }

    fn add_action(&mut self, action: &NewAction, now: Timestamp) -> Result<bool, LedgerError> {
        let request = &action.request;
        let body = serde_json::to_string(request).map_err(json)?;
        let inserted = self
            .tx
            .prepare_cached(
                "INSERT OR IGNORE INTO actions (case_id, step, slot, state, rule, budget, backend, project, platform,
                    label, push, times, created_at, not_before, request)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, '', ?7, ?8, ?9, ?10, ?11, ?12, ?12, ?13)",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    request.key.case.0,
                    request.key.step,
                    request.key.slot,
                    action.state.as_str(),
                    action.rule,
                    action.budget,
                    request.project.as_str(),
                    &*action.platform,
                    request.label.as_str(),
                    request.push.0,
                    request.times,
                    now.0,
                    body,
                ])
            })
            .map_err(sql)?;
        Ok(inserted == 1)
    }

    fn is_receipt(&mut self, task: &TaskId) -> Result<bool, LedgerError> {
        self.tx
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM actions WHERE receipt = ?1)")
            .and_then(|mut statement| statement.query_row([TaskColumn::of(task)], |row| row.get(0)))
            .map_err(sql)
    }

    fn may_be_ours(&mut self, project: &Project, label: &Label, push: PushId) -> Result<MayBeOurs, LedgerError> {
        let (is_on_its_way, is_nameless): (bool, bool) = self
            .tx
            .prepare_cached(
                "SELECT
                    EXISTS (SELECT 1 FROM actions WHERE state IN ('sending', 'in-doubt') AND project = ?1 AND push = ?3),
                    EXISTS (SELECT 1 FROM actions WHERE state IN ('accepted', 'overdue') AND receipt IS NULL
                        AND project = ?1 AND label = ?2 AND push = ?3)",
            )
            .and_then(|mut statement| {
                statement.query_row(params![project.as_str(), label.as_str(), push.0], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
            })
            .map_err(sql)?;
        Ok(match (is_on_its_way, is_nameless) {
            (true, _) => MayBeOurs::SoonKnown,
            (false, true) => MayBeOurs::NeverKnown,
            (false, false) => MayBeOurs::No,
        })
    }

    fn is_asked_for(&mut self, project: &Project, label: &Label, push: PushId) -> Result<bool, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM actions WHERE project = ?1 AND push = ?3 AND sent_at IS NOT NULL
                    AND (label = ?2 OR EXISTS (SELECT 1 FROM json_each(builds) WHERE value = ?2)))",
            )
            .and_then(|mut statement| {
                statement.query_row(params![project.as_str(), label.as_str(), push.0], |row| row.get(0))
            })
            .map_err(sql)
    }

    fn cancel_rest(&mut self, case: CaseId, now: Timestamp) -> Result<u32, LedgerError> {
        let queued = self
            .tx
            .prepare_cached(&format!(
                "INSERT OR IGNORE INTO cancellations (case_id, project, task, state, next_try)
                 SELECT actions.case_id, actions.project, runs.task, 'queued', ?2
                 FROM actions JOIN runs ON runs.action = actions.id
                 WHERE actions.case_id = ?1 AND runs.state < 2
                 UNION
                 SELECT case_id, project, receipt, 'queued', ?2 FROM actions
                 WHERE case_id = ?1 AND state = 'accepted' AND receipt IS NOT NULL
                 AND times > {ARRIVED}"
            ))
            .and_then(|mut statement| statement.execute(params![case.0, now.0]))
            .map_err(sql)?;
        Ok(u32::try_from(queued).unwrap_or(u32::MAX))
    }

    fn mark_overdue(&mut self, case: CaseId, before: Timestamp) -> Result<u32, LedgerError> {
        self.tx
            .prepare_cached(&format!(
                "UPDATE actions SET state = 'overdue', reason = 'in-doubt' WHERE case_id = ?1 AND state = 'in-doubt'
                 AND sent_at < ?2
                 AND times > {ARRIVED}"
            ))
            .and_then(|mut statement| statement.execute(params![case.0, before.0]))
            .map(|changed| changed as u32)
            .map_err(sql)
    }
}

/// An action's state from its word.
pub(super) fn action_state(word: &str) -> Option<ActionState> {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).ok()
}

fn action_row(row: &Row<'_>) -> rusqlite::Result<ActionRow> {
    let state: String = row.get(3)?;
    let reason: Option<String> = row.get(4)?;
    Ok(ActionRow {
        key: ActionKey {
            case: CaseId(row.get(0)?),
            step: row.get(1)?,
            slot: row.get(2)?,
        },
        state: action_state(&state).ok_or_else(|| strange(3, "action state"))?,
        reason: reason.and_then(|word| serde_json::from_value(serde_json::Value::String(word)).ok()),
        detail: row.get(12)?,
        push: PushId(row.get(5)?),
        label: Label::from(row.get::<_, String>(11)?),
        times: row.get(6)?,
        builds: row.get(13)?,
        arrived: row.get(7)?,
        has_receipt: row.get(10)?,
        created_at: Timestamp(row.get(8)?),
        sent_at: row.get::<_, Option<i64>>(9)?.map(Timestamp),
    })
}
