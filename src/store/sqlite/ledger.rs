//! The books of the engine in one SQLite transaction.

use std::sync::Arc;

use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::{Deserialize, Serialize};

use super::codec::{StoredTask, TaskColumn, cause_number, cause_of, state_number, state_of};
use super::{LabelNumber, Names, json, sql};
use crate::engine::ledger::{
    ActionRow, ActionState, CaseRow, Counts, Decision, GroupRow, Groups, Held, JobsOn, KnownLabel, Lack, Ledger,
    LedgerError, MayBeOurs, NewAction, PlatformLabel, PushRow, RunRow, Runner, TestFailure, Values, ValuesQuery, View,
    ViewQuery,
};
use crate::event::{
    ActionKey, BackendName, CaseId, CaseKind, CausedBy, Duration, Event, JobEvent, JobFacts, Label, Project, PushEvent,
    PushId, Revision, RunKey, Signature, Subject, TaskGraph, TaskId, Timestamp,
};
use crate::rules::Bug;

/// Closed cases that a view shows: enough to know whether the newest ones explain a failure.
const CLOSED_SHOWN: u32 = 8;
/// Pushes that a view goes back at most, so that a rule's mistake cannot read the whole history.
const WINDOW_MAX: u32 = 2_000;
/// How long a run whose parent may be a request under way waits before it is looked at again.
const LINEAGE_PAUSE: Duration = Duration::from_secs(15);
/// Decisions kept; older ones are deleted as new ones come.
const DECISIONS_KEPT: i64 = 200_000;

/// The books inside one transaction.
pub struct Books<'a> {
    pub(super) tx: &'a Transaction<'a>,
    names: &'a mut Names,
}

#[derive(Serialize, Deserialize)]
struct RunDetail {
    #[serde(skip_serializing_if = "Option::is_none")]
    signatures: Option<Vec<Signature>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<Arc<str>>>,
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

    fn label(&mut self, project: i64, label: &Label, facts: &JobFacts) -> Result<i64, LedgerError> {
        // Only the chunk tells the series, and only the definition the platform; most messages do not carry them.
        let tells_series = facts.chunk.is_some();
        let tells_platform = facts.platform.is_some();
        if let Some(known) = self.names.label(project, label)
            && (known.has_series || !tells_series)
            && (known.has_platform || !tells_platform)
        {
            return Ok(known.id);
        }
        // A series that is known replaces one that was only assumed to be the whole label.
        let (id, has_series, has_platform): (i64, bool, bool) = self
            .tx
            .prepare_cached(
                "INSERT INTO labels (project, label, series, platform, kind, suite) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (project, label) DO UPDATE
                 SET series = CASE WHEN excluded.series <> excluded.label THEN excluded.series ELSE labels.series END,
                    platform = COALESCE(excluded.platform, labels.platform),
                    kind = COALESCE(excluded.kind, labels.kind), suite = COALESCE(excluded.suite, labels.suite)
                 RETURNING id, series <> label, platform IS NOT NULL",
            )
            .and_then(|mut statement| {
                let series = facts.series().unwrap_or_else(|| label.clone());
                statement.query_row(
                    params![
                        project,
                        label.as_str(),
                        series.as_str(),
                        facts.platform.as_deref(),
                        facts.kind.as_deref(),
                        facts.suite.as_deref()
                    ],
                    |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
                )
            })
            .map_err(sql)?;
        let number = LabelNumber {
            id,
            // A chunk that the label does not end in leaves the label its own series, for good.
            has_series: has_series || tells_series,
            has_platform,
        };
        self.names.keep_label(project, label, number);
        Ok(id)
    }

    /// Runs that fulfil a condition, with their projects.
    pub(super) fn runs_where(
        &mut self,
        condition: &str,
        values: &[&dyn rusqlite::ToSql],
    ) -> Result<Vec<(Project, RunRow)>, LedgerError> {
        let text = format!(
            "SELECT {RUN_COLUMNS}, (SELECT name FROM names WHERE names.id = labels.project) FROM {RUN_TABLES}
             WHERE {condition}"
        );
        self.tx
            .prepare_cached(&text)
            .and_then(|mut statement| {
                statement
                    .query_map(values, |row| {
                        Ok((Project::from(row.get::<_, String>(12)?), run_row(row)?))
                    })?
                    .collect()
            })
            .map_err(sql)
    }

    fn action_id(&mut self, key: ActionKey) -> Result<Option<i64>, LedgerError> {
        self.tx
            .prepare_cached("SELECT id FROM actions WHERE case_id = ?1 AND step = ?2 AND slot = ?3")
            .and_then(|mut statement| {
                statement
                    .query_row(params![key.case.0, key.step, key.slot], |row| row.get(0))
                    .optional()
            })
            .map_err(sql)
    }

    fn pushes(&mut self, project: i64, query: &ViewQuery) -> Result<Vec<PushRow>, LedgerError> {
        let select = |order: &str, from: &str, limit: u32| {
            let text = format!(
                "SELECT push, revision, at, grp, backs_out FROM pushes
                 WHERE project = ?1 AND push {from} ?2 ORDER BY push {order} LIMIT ?3"
            );
            self.tx
                .prepare_cached(&text)
                .and_then(|mut statement| {
                    statement
                        .query_map(params![project, query.around.0, limit.min(WINDOW_MAX)], push_row)?
                        .collect::<rusqlite::Result<Vec<_>>>()
                })
                .map_err(sql)
        };
        let mut pushes = select("DESC", "<=", query.back.saturating_add(1))?;
        pushes.reverse();
        pushes.extend(select("ASC", ">", query.forward)?);
        Ok(pushes)
    }

    fn label_ids(&mut self, project: i64, query: &ViewQuery) -> Result<Vec<i64>, LedgerError> {
        self.tx
            .prepare_cached("SELECT id FROM labels WHERE project = ?1 AND (label = ?2 OR (?4 AND series = ?3))")
            .and_then(|mut statement| {
                statement
                    .query_map(
                        params![project, query.label.as_str(), query.series.as_str(), query.spans_series],
                        |row| row.get(0),
                    )?
                    .collect()
            })
            .map_err(sql)
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

    fn cases_of(&mut self, query: &ViewQuery, condition: &str, limit: u32) -> Result<Vec<CaseRow>, LedgerError> {
        let text = format!(
            "SELECT id, body FROM cases WHERE project = ?1 AND label IN (?2, ?3) AND {condition} ORDER BY id DESC LIMIT ?4"
        );
        self.tx
            .prepare_cached(&text)
            .and_then(|mut statement| {
                statement
                    .query_map(
                        params![
                            query.project.as_str(),
                            query.label.as_str(),
                            query.series.as_str(),
                            limit
                        ],
                        |row| Ok((row.get(0)?, row.get(1)?)),
                    )?
                    .collect::<rusqlite::Result<Vec<(u64, String)>>>()
            })
            .map_err(sql)?
            .into_iter()
            .map(|(id, body)| case_of(id, &body))
            .collect()
    }

    /// Writes a push of which nothing but the number is known; one that is known stays as it is.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn note_push(&mut self, project: &Project, push: PushId) -> Result<(), LedgerError> {
        let project = self.name("project", project.as_str())?;
        self.tx
            .prepare_cached("INSERT OR IGNORE INTO pushes (project, push) VALUES (?1, ?2)")
            .and_then(|mut statement| statement.execute(params![project, push.0]))
            .map(drop)
            .map_err(sql)
    }
}

/// A subject's signature, or series, as the column for it holds it.
pub(super) fn signature_text(subject: &Subject) -> Result<Option<String>, LedgerError> {
    let text = match (&subject.signature, &subject.series) {
        (Some(signature), _) => Some(serde_json::to_string(signature)),
        (None, Some(series)) => Some(serde_json::to_string(&serde_json::json!({ "series": series }))),
        (None, None) => None,
    };
    text.transpose().map_err(json)
}

/// The JSON of what is known of a run's inside; `None` when nothing is.
fn detail_of(facts: &JobFacts) -> Result<Option<String>, LedgerError> {
    if facts.signatures.is_none() && facts.groups.is_none() {
        return Ok(None);
    }
    let detail = RunDetail {
        signatures: facts.signatures.clone(),
        groups: facts.groups.clone(),
    };
    serde_json::to_string(&detail).map(Some).map_err(json)
}

/// Sets what a request is charged by its runs: jobs that came although nobody waited for them any longer, or that the CI
/// had to make besides (builds), are charged too; machine time is that of the runs that have ended, and the estimate for
/// the others.
fn settle_account(tx: &Transaction<'_>, action: i64) -> Result<(), LedgerError> {
    tx.prepare_cached(
        "UPDATE actions SET
            charged = MAX(charged, (SELECT COUNT(*) FROM runs WHERE action = ?1 AND run = 0)),
            machine_ms = (SELECT COALESCE(SUM(duration), 0) FROM runs WHERE action = ?1)
                + job_ms * MAX(CASE state WHEN 'overdue' THEN 0 ELSE times END
                    - (SELECT COUNT(DISTINCT task) FROM runs WHERE action = ?1 AND state >= 2), 0)
         WHERE id = ?1 AND sent_at IS NOT NULL",
    )
    .and_then(|mut statement| statement.execute([action]))
    .map(drop)
    .map_err(sql)
}

pub(super) fn push_row(row: &Row<'_>) -> rusqlite::Result<PushRow> {
    let backs_out: Option<String> = row.get(4)?;
    Ok(PushRow {
        push: PushId(row.get(0)?),
        revision: row.get::<_, Option<String>>(1)?.map(Revision::from),
        at: row.get::<_, Option<i64>>(2)?.map(Timestamp),
        group: row.get::<_, Option<StoredTask>>(3)?.map(|task| task.0),
        backs_out: backs_out
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default(),
    })
}

/// A value that no version of this program writes.
fn strange(column: usize, what: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, format!("unknown {what}").into())
}

const RUN_COLUMNS: &str = "(SELECT name FROM names WHERE names.id = runs.backend), runs.task, runs.run, labels.label,
    runs.push, runs.state, runs.caused_by, runs.at, runs.detail, actions.case_id, actions.step, actions.slot";
const RUN_TABLES: &str = "runs JOIN labels ON labels.id = runs.label LEFT JOIN actions ON actions.id = runs.action";

fn run_row(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    let detail: Option<String> = row.get(8)?;
    let detail: Option<RunDetail> = detail.and_then(|text| serde_json::from_str(&text).ok());
    let (signatures, groups) = detail.map_or((None, None), |detail| (detail.signatures, detail.groups));
    let action = match row.get::<_, Option<u64>>(9)? {
        Some(case) => Some(ActionKey {
            case: CaseId(case),
            step: row.get(10)?,
            slot: row.get(11)?,
        }),
        None => None,
    };
    Ok(RunRow {
        key: RunKey {
            backend: BackendName::from(row.get::<_, String>(0)?),
            task: row.get::<_, StoredTask>(1)?.0,
            run: row.get(2)?,
        },
        label: Label::from(row.get::<_, String>(3)?),
        push: PushId(row.get(4)?),
        state: state_of(row.get(5)?).ok_or_else(|| strange(5, "run state"))?,
        caused_by: cause_of(row.get(6)?),
        action,
        at: Timestamp(row.get(7)?),
        signatures,
        groups,
    })
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
        arrived: row.get(7)?,
        has_receipt: row.get(10)?,
        created_at: Timestamp(row.get(8)?),
        sent_at: row.get::<_, Option<i64>>(9)?.map(Timestamp),
    })
}

/// A case from its row.
pub(super) fn case_of(id: u64, body: &str) -> Result<CaseRow, LedgerError> {
    let mut case: CaseRow = serde_json::from_str(body).map_err(json)?;
    case.id = CaseId(id);
    Ok(case)
}

impl Ledger for Books<'_> {
    fn record_runs(&mut self, jobs: &[&JobEvent]) -> Result<(), LedgerError> {
        let tx = self.tx;
        let mut write = tx
            .prepare_cached(
                "INSERT INTO runs (backend, task, run, label, push, state, caused_by, at, duration, detail)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 ON CONFLICT (task, run, backend) DO UPDATE SET
                    at = CASE WHEN excluded.state > state AND state < 2 THEN excluded.at ELSE at END,
                    state = CASE WHEN state < 2 THEN MAX(state, excluded.state) ELSE state END,
                    caused_by = CASE WHEN caused_by = 0 THEN excluded.caused_by ELSE caused_by END,
                    duration = COALESCE(duration, excluded.duration),
                    detail = COALESCE(excluded.detail, detail)
                 WHERE (state < 2 AND excluded.state > state) OR (caused_by = 0 AND excluded.caused_by <> 0)
                    OR excluded.detail IS NOT NULL",
            )
            .map_err(sql)?;
        for job in jobs {
            let facts = &job.facts;
            let (Some(project), Some(label), Some(push)) = (&facts.project, &facts.label, facts.push) else {
                continue;
            };
            let backend = self.name("backend", job.run.backend.as_str())?;
            let project = self.name("project", project.as_str())?;
            let label = self.label(project, label, facts)?;
            let duration = match (job.started, job.resolved) {
                (Some(started), Some(resolved)) => i64::try_from(resolved.since(started).as_millis()).ok(),
                _ => None,
            };
            let task = TaskColumn::of(&job.run.task);
            write
                .execute(params![
                    backend,
                    task,
                    job.run.run,
                    label,
                    push.0,
                    state_number(job.state),
                    cause_number(facts.caused_by),
                    job.at.0,
                    duration,
                    detail_of(facts)?,
                ])
                .map_err(sql)?;
            self.note_tests(project, label, push, job)?;
            if let Some(values) = &facts.values {
                self.record_measurements(&job.run, backend, values)?;
            }
            if facts.caused_by == CausedBy::Sheriffd
                && let Some(parent) = &facts.parent
                && let Some(key) = self.action_of(parent)?
                && let Some(action) = self.action_id(key)?
            {
                tx.prepare_cached("UPDATE runs SET action = ?1 WHERE task = ?2 AND run = ?3 AND backend = ?4")
                    .and_then(|mut statement| statement.execute(params![action, task, job.run.run, backend]))
                    .map_err(sql)?;
                settle_account(tx, action)?;
            }
        }
        Ok(())
    }

    fn record_push(&mut self, push: &PushEvent) -> Result<(), LedgerError> {
        let Some(number) = push.push else { return Ok(()) };
        let project = self.name("project", push.project.as_str())?;
        let backs_out: Vec<&str> = push
            .changesets
            .iter()
            .flat_map(|changeset| changeset.backs_out())
            .collect();
        let backs_out = match backs_out.is_empty() {
            true => None,
            false => Some(serde_json::to_string(&backs_out).map_err(json)?),
        };
        self.tx
            .prepare_cached(
                "INSERT INTO pushes (project, push, revision, at, backs_out) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (project, push) DO UPDATE SET
                    revision = COALESCE(revision, excluded.revision), at = COALESCE(at, excluded.at),
                    backs_out = COALESCE(excluded.backs_out, backs_out)",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    project,
                    number.0,
                    push.revision.as_str(),
                    push.at.map(|at| at.0),
                    backs_out
                ])
            })
            .map_err(sql)?;
        Ok(())
    }

    fn push_of(&mut self, project: &Project, revision: &Revision) -> Result<Option<PushId>, LedgerError> {
        let project = self.name("project", project.as_str())?;
        self.tx
            .prepare_cached("SELECT push FROM pushes WHERE project = ?1 AND revision = ?2")
            .and_then(|mut statement| {
                statement
                    .query_row(params![project, revision.as_str()], |row| row.get(0).map(PushId))
                    .optional()
            })
            .map_err(sql)
    }

    fn group(&mut self, group: &TaskId) -> Result<Option<GroupRow>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT names.name, push, revision FROM task_groups JOIN names ON names.id = project WHERE grp = ?1",
            )
            .and_then(|mut statement| {
                statement
                    .query_row([TaskColumn::of(group)], |row| {
                        Ok(GroupRow {
                            project: Project::from(row.get::<_, String>(0)?),
                            push: row.get::<_, Option<u64>>(1)?.map(PushId),
                            revision: row.get::<_, Option<String>>(2)?.map(Revision::from),
                        })
                    })
                    .optional()
            })
            .map_err(sql)
    }

    fn learn_group(&mut self, group: &TaskId, row: &GroupRow) -> Result<(), LedgerError> {
        let project = self.name("project", row.project.as_str())?;
        let revision = row.revision.as_ref().map(|revision| revision.as_str().to_owned());
        self.tx
            .prepare_cached(
                "INSERT INTO task_groups (grp, project, push, revision) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (grp) DO UPDATE SET push = COALESCE(push, excluded.push),
                    revision = COALESCE(revision, excluded.revision)",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    TaskColumn::of(group),
                    project,
                    row.push.map(|push| push.0),
                    revision
                ])
            })
            .map_err(sql)?;
        if let Some(push) = row.push {
            self.tx
                .prepare_cached(
                    "INSERT INTO pushes (project, push, revision, grp) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (project, push) DO UPDATE SET
                        revision = COALESCE(revision, excluded.revision), grp = COALESCE(grp, excluded.grp)",
                )
                .and_then(|mut statement| statement.execute(params![project, push.0, revision, TaskColumn::of(group)]))
                .map_err(sql)?;
        }
        Ok(())
    }

    fn run(&mut self, key: &RunKey) -> Result<Option<RunRow>, LedgerError> {
        let text = format!(
            "SELECT {RUN_COLUMNS} FROM {RUN_TABLES} WHERE runs.task = ?1 AND runs.run = ?2
             AND runs.backend = (SELECT id FROM names WHERE kind = 'backend' AND name = ?3)"
        );
        self.tx
            .prepare_cached(&text)
            .and_then(|mut statement| {
                statement
                    .query_row(
                        params![TaskColumn::of(&key.task), key.run, key.backend.as_str()],
                        run_row,
                    )
                    .optional()
            })
            .map_err(sql)
    }

    fn action_of(&mut self, receipt: &TaskId) -> Result<Option<ActionKey>, LedgerError> {
        self.tx
            .prepare_cached("SELECT case_id, step, slot FROM actions WHERE receipt = ?1")
            .and_then(|mut statement| {
                statement
                    .query_row([TaskColumn::of(receipt)], |row| {
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

    fn open_subjects(&mut self) -> Result<Vec<(Project, Label)>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT project, label FROM cases WHERE verdict IS NULL UNION SELECT project, label FROM case_targets",
            )
            .and_then(|mut statement| {
                statement
                    .query_map([], |row| {
                        Ok((
                            Project::from(row.get::<_, String>(0)?),
                            Label::from(row.get::<_, String>(1)?),
                        ))
                    })?
                    .collect()
            })
            .map_err(sql)
    }

    fn open_about(&mut self, project: &Project, label: &Label, series: &Label) -> Result<Vec<CaseId>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT id FROM cases WHERE verdict IS NULL AND project = ?1 AND label IN (?2, ?3)
                 UNION SELECT case_id FROM case_targets WHERE project = ?1 AND label IN (?2, ?3) ORDER BY 1",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![project.as_str(), label.as_str(), series.as_str()], |row| {
                        row.get(0).map(CaseId)
                    })?
                    .collect()
            })
            .map_err(sql)
    }

    fn actions_of(&mut self, case: CaseId) -> Result<Vec<ActionRow>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT case_id, step, slot, state, reason, push, times,
                        (SELECT COUNT(*) FROM runs WHERE runs.action = actions.id AND runs.run = 0), created_at, sent_at,
                        receipt IS NOT NULL, label, detail
                 FROM actions WHERE case_id = ?1 ORDER BY step, slot",
            )
            .and_then(|mut statement| {
                statement
                    .query_map([case.0], action_row)?
                    .collect::<rusqlite::Result<Vec<ActionRow>>>()
            })
            .map_err(sql)
    }

    fn view(&mut self, query: &ViewQuery) -> Result<View, LedgerError> {
        let project = self.name("project", query.project.as_str())?;
        let pushes = self.pushes(project, query)?;
        let first = pushes.first().map_or(query.around, |row| row.push);
        let last = pushes.last().map_or(query.around, |row| row.push);
        let mut runs: Vec<RunRow> = Vec::new();
        let mut before = Counts::default();
        let mut earlier: Vec<(Timestamp, Counts)> = query
            .rates_since
            .iter()
            .map(|since| (*since, Counts::default()))
            .collect();
        let own_label = self.label_id(project, &query.label)?;
        let own = self.label_ids(project, query)?;
        let mut also = Vec::new();
        for label in &query.also {
            also.extend(self.label_id(project, label)?.filter(|id| !own.contains(id)));
        }
        for (label, is_own) in own.iter().map(|id| (id, true)).chain(also.iter().map(|id| (id, false))) {
            let text = format!(
                "SELECT {RUN_COLUMNS} FROM {RUN_TABLES} WHERE runs.label = ?1 AND runs.push BETWEEN ?2 AND ?3
                 ORDER BY runs.push, runs.at, runs.task, runs.run"
            );
            let mut found = self
                .tx
                .prepare_cached(&text)
                .and_then(|mut statement| {
                    statement
                        .query_map(params![label, first.0, last.0], run_row)?
                        .collect::<rusqlite::Result<Vec<_>>>()
                })
                .map_err(sql)?;
            runs.append(&mut found);
            if !is_own {
                continue;
            }
            for (since, counts) in &mut earlier {
                let is_whole = own_label == Some(*label);
                *counts = counts.plus(self.earlier(*label, is_whole, first, *since, query.signature.as_ref())?);
            }
            let (failed, passed): (u32, u32) = self
                .tx
                .prepare_cached(
                    "SELECT COALESCE(SUM(state = 3), 0), COALESCE(SUM(state = 2), 0) FROM runs
                     WHERE label = ?1 AND push < ?2 AND at >= ?3",
                )
                .and_then(|mut statement| {
                    statement.query_row(params![label, first.0, query.since.0], |row| {
                        Ok((row.get(0)?, row.get(1)?))
                    })
                })
                .map_err(sql)?;
            before.failed = before.failed.saturating_add(failed);
            before.passed = before.passed.saturating_add(passed);
        }
        let open = self.cases_of(query, "verdict IS NULL", u32::MAX)?;
        let closed = self.cases_of(query, "verdict IS NOT NULL", CLOSED_SHOWN)?;
        let mut actions = Vec::new();
        for case in &open {
            actions.append(&mut self.actions_of(case.id)?);
        }
        Ok(View {
            pushes,
            runs,
            before,
            earlier,
            open,
            closed,
            actions,
        })
    }

    fn case(&mut self, id: CaseId) -> Result<Option<CaseRow>, LedgerError> {
        self.tx
            .prepare_cached("SELECT id, body FROM cases WHERE id = ?1")
            .and_then(|mut statement| {
                statement
                    .query_row([id.0], |row| Ok((row.get::<_, u64>(0)?, row.get::<_, String>(1)?)))
                    .optional()
            })
            .map_err(sql)?
            .map(|(id, body)| case_of(id, &body))
            .transpose()
    }

    fn case_about(
        &mut self,
        kind: CaseKind,
        subject: &Subject,
        push: Option<PushId>,
    ) -> Result<Option<CaseId>, LedgerError> {
        let signature = signature_text(subject)?;
        self.tx
            .prepare_cached(
                "SELECT id FROM cases WHERE project = ?1 AND label = ?2 AND kind = ?3 AND signature IS ?4
                 AND CASE WHEN ?5 IS NULL THEN verdict IS NULL ELSE push = ?5 END ORDER BY id DESC LIMIT 1",
            )
            .and_then(|mut statement| {
                let push = push.map(|push| push.0);
                statement
                    .query_row(
                        params![
                            subject.project.as_str(),
                            subject.label.as_str(),
                            kind.as_str(),
                            signature,
                            push
                        ],
                        |row| row.get(0).map(CaseId),
                    )
                    .optional()
            })
            .map_err(sql)
    }

    fn open_case(&mut self, case: &CaseRow) -> Result<CaseId, LedgerError> {
        let signature = signature_text(&case.subject)?;
        let body = serde_json::to_string(case).map_err(json)?;
        let id = self
            .tx
            .prepare_cached(
                "INSERT INTO cases (kind, rule, project, label, signature, push, opened_at, wake_at, body,
                    throttle_key)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) RETURNING id",
            )
            .and_then(|mut statement| {
                statement.query_row(
                    params![
                        case.params.kind().as_str(),
                        case.cause.rule_name(),
                        case.subject.project.as_str(),
                        case.subject.label.as_str(),
                        signature,
                        case.push.0,
                        case.opened_at.0,
                        case.wake_at.map(|at| at.0),
                        body,
                        case.throttle_key,
                    ],
                    |row| row.get(0).map(CaseId),
                )
            })
            .map_err(sql)?;
        for target in &case.targets {
            self.tx
                .prepare_cached("INSERT OR IGNORE INTO case_targets (case_id, project, label) VALUES (?1, ?2, ?3)")
                .and_then(|mut statement| {
                    statement.execute(params![id.0, case.subject.project.as_str(), target.label.as_str()])
                })
                .map_err(sql)?;
        }
        Ok(id)
    }

    fn save_case(&mut self, case: &CaseRow) -> Result<(), LedgerError> {
        let verdict = case.verdict.as_ref().map(|verdict| verdict.kind.as_str());
        let body = serde_json::to_string(case).map_err(json)?;
        let was_open = self
            .tx
            .prepare_cached("SELECT verdict IS NULL FROM cases WHERE id = ?1")
            .and_then(|mut statement| statement.query_row([case.id.0], |row| row.get::<_, bool>(0)))
            .map_err(sql)?;
        self.tx
            .prepare_cached("UPDATE cases SET closed_at = ?2, wake_at = ?3, verdict = ?4, body = ?5 WHERE id = ?1")
            .and_then(|mut statement| {
                statement.execute(params![
                    case.id.0,
                    case.closed_at.map(|at| at.0),
                    case.wake_at.map(|at| at.0),
                    verdict,
                    body,
                ])
            })
            .map_err(sql)?;
        if was_open && let Some(closed_at) = case.closed_at {
            self.tx
                .prepare_cached("UPDATE actions SET state = 'dropped' WHERE case_id = ?1 AND state = 'queued'")
                .and_then(|mut statement| statement.execute([case.id.0]))
                .map_err(sql)?;
            self.tx
                .prepare_cached("DELETE FROM case_targets WHERE case_id = ?1")
                .and_then(|mut statement| statement.execute([case.id.0]))
                .map_err(sql)?;
            self.tx
                .prepare_cached("INSERT OR IGNORE INTO notices (case_id, next_try) VALUES (?1, ?2)")
                .and_then(|mut statement| statement.execute(params![case.id.0, closed_at.0]))
                .map_err(sql)?;
        }
        Ok(())
    }

    fn recent_searches(
        &mut self,
        project: &Project,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<CaseRow>, LedgerError> {
        let mut cases = self
            .tx
            .prepare_cached(
                "SELECT id, body FROM cases WHERE project = ?1 AND opened_at > ?2 AND kind = ?3
                 ORDER BY opened_at DESC, id DESC LIMIT ?4",
            )
            .and_then(|mut statement| {
                let kind = CaseKind::FindCulprit.as_str();
                statement
                    .query_map(params![project.as_str(), since.0, kind, limit], |row| {
                        Ok((row.get(0)?, row.get(1)?))
                    })?
                    .collect::<rusqlite::Result<Vec<(u64, String)>>>()
            })
            .map_err(sql)?;
        cases.reverse();
        cases.into_iter().map(|(id, body)| case_of(id, &body)).collect()
    }

    fn cases_opened(&mut self, rule: &str, key: &str, since: Timestamp, limit: u32) -> Result<u32, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT COUNT(*) FROM (SELECT 1 FROM cases WHERE rule = ?1 AND opened_at > ?2 AND throttle_key = ?3
                 LIMIT ?4)",
            )
            .and_then(|mut statement| statement.query_row(params![rule, since.0, key, limit], |row| row.get(0)))
            .map_err(sql)
    }

    fn last_opened(
        &mut self,
        rule: &str,
        subject: &Subject,
        each: Option<&str>,
    ) -> Result<Option<Timestamp>, LedgerError> {
        self.opened_last(rule, subject, each)
    }

    fn mean_duration(&mut self, project: &Project, label: &Label) -> Result<Option<Duration>, LedgerError> {
        self.mean(project, label)
    }

    fn held(&mut self, rule: &str, key: &str) -> Result<Option<Held>, LedgerError> {
        self.find_held(rule, key)
    }

    fn hold_event(&mut self, held: &Held) -> Result<(), LedgerError> {
        self.keep_held(held)
    }

    fn take_held(&mut self, now: Timestamp, limit: u32) -> Result<Vec<Held>, LedgerError> {
        self.due_held(now, limit)
    }

    fn last_tick(&mut self, rule: &str) -> Result<Option<Timestamp>, LedgerError> {
        self.tick_of(rule)
    }

    fn set_last_tick(&mut self, rule: &str, at: Timestamp) -> Result<(), LedgerError> {
        self.keep_tick(rule, at)
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

    fn cancel_rest(&mut self, case: CaseId, now: Timestamp) -> Result<u32, LedgerError> {
        self.queue_cancellations(case, now)
    }

    fn mark_overdue(&mut self, case: CaseId, before: Timestamp) -> Result<u32, LedgerError> {
        self.tx
            .prepare_cached(
                "UPDATE actions SET state = 'overdue', reason = 'in-doubt' WHERE case_id = ?1 AND state = 'in-doubt'
                 AND sent_at < ?2
                 AND times > (SELECT COUNT(*) FROM runs WHERE runs.action = actions.id AND runs.run = 0)",
            )
            .and_then(|mut statement| statement.execute(params![case.0, before.0]))
            .map(|changed| changed as u32)
            .map_err(sql)
    }

    fn waking(&mut self, now: Timestamp, limit: u32) -> Result<Vec<CaseId>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT id FROM cases WHERE verdict IS NULL AND wake_at IS NOT NULL AND wake_at <= ?1
                 ORDER BY wake_at, id LIMIT ?2",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![now.0, limit], |row| row.get(0).map(CaseId))?
                    .collect()
            })
            .map_err(sql)
    }

    fn numeric_subjects(&mut self) -> Result<Vec<(Project, Label)>, LedgerError> {
        self.read_numeric_subjects()
    }

    fn values(&mut self, query: &ValuesQuery) -> Result<Values, LedgerError> {
        self.read_values(query)
    }

    fn labels_measuring(&mut self, project: &Project, series: &str) -> Result<Vec<Label>, LedgerError> {
        self.read_labels_measuring(project, series)
    }

    fn series_of(&mut self, project: &Project, label: &Label) -> Result<Vec<Arc<str>>, LedgerError> {
        self.read_series_of(project, label)
    }

    fn labels_since(&mut self, project: &Project, push: PushId) -> Result<Vec<PlatformLabel>, LedgerError> {
        self.read_labels_since(project, push)
    }

    fn label_of_task(&mut self, task: &TaskId) -> Result<Option<Label>, LedgerError> {
        self.read_label_of_task(task)
    }

    fn tell_progress(&mut self, case: CaseId, now: Timestamp) -> Result<(), LedgerError> {
        self.note_progress(case, now)
    }

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

    fn keep_sample(&mut self, event: &Event, now: Timestamp) -> Result<(), LedgerError> {
        self.add_sample(event, now)
    }

    fn note_decision(&mut self, decision: &Decision) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached(
                "INSERT INTO decisions (at, event, rule, result, case_id, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    decision.at.0,
                    decision.event,
                    decision.rule,
                    decision.result.as_str(),
                    decision.case.map(|case| case.0),
                    decision.detail.to_string(),
                ])
            })
            .map_err(sql)?;
        let newest = self.tx.last_insert_rowid();
        self.tx
            .prepare_cached("DELETE FROM decisions WHERE id <= ?1")
            .and_then(|mut statement| statement.execute([newest - DECISIONS_KEPT]))
            .map_err(sql)?;
        Ok(())
    }

    fn runners(&mut self, project: &Project, groups: Groups<'_>, since: Timestamp) -> Result<Vec<Runner>, LedgerError> {
        let project = self.name("project", project.as_str())?;
        self.group_runners(project, groups, since)
    }

    fn has_bugs_of(&mut self, test: &str, since: Timestamp) -> Result<bool, LedgerError> {
        self.asked_bugs(test, since)
    }

    fn record_bugs(&mut self, test: &str, bugs: &[Bug], now: Timestamp) -> Result<(), LedgerError> {
        self.keep_bugs(test, bugs, now)
    }

    fn failures_of(
        &mut self,
        project: &Project,
        test: &str,
        since: Timestamp,
    ) -> Result<Vec<TestFailure>, LedgerError> {
        let project = self.name("project", project.as_str())?;
        self.test_failures(project, test, since)
    }

    fn first_request(&mut self, digest: &[u8; 32], since: Timestamp, now: Timestamp) -> Result<bool, LedgerError> {
        self.tx
            .prepare_cached(
                "INSERT INTO requests_seen (digest, at) VALUES (?1, ?3)
                 ON CONFLICT (digest) DO UPDATE SET at = excluded.at WHERE requests_seen.at < ?2",
            )
            .and_then(|mut statement| statement.execute(params![digest.as_slice(), since.0, now.0]))
            .map(|changed| changed == 1)
            .map_err(sql)
    }

    fn labels_of(&mut self, project: &Project) -> Result<Vec<KnownLabel>, LedgerError> {
        self.known_labels(project)
    }

    fn jobs_between(
        &mut self,
        project: &Project,
        first: PushId,
        last: PushId,
        lost_before: Timestamp,
    ) -> Result<Vec<(Label, PushId, JobsOn)>, LedgerError> {
        self.jobs_on_pushes(project, first, last, lost_before)
    }

    fn pushes_around(
        &mut self,
        project: &Project,
        push: PushId,
        back: u32,
        forward: u32,
    ) -> Result<Vec<PushRow>, LedgerError> {
        self.pushes_near(project, push, back.min(WINDOW_MAX), forward.min(WINDOW_MAX))
    }

    fn job_of_task(&mut self, task: &TaskId) -> Result<Option<(Label, PushId)>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT labels.label, runs.push FROM runs JOIN labels ON labels.id = runs.label
                 WHERE runs.task = ?1 LIMIT 1",
            )
            .and_then(|mut statement| {
                statement
                    .query_row([TaskColumn::of(task)], |row| {
                        Ok((Label::from(row.get::<_, String>(0)?), PushId(row.get(1)?)))
                    })
                    .optional()
            })
            .map_err(sql)
    }

    fn unchunked(&mut self, project: &Project, label: &Label) -> Result<Option<Label>, LedgerError> {
        let project = self.name("project", project.as_str())?;
        self.tx
            .prepare_cached("SELECT series FROM labels WHERE project = ?1 AND label = ?2")
            .and_then(|mut statement| {
                statement
                    .query_row(params![project, label.as_str()], |row| {
                        row.get::<_, String>(0).map(Label::from)
                    })
                    .optional()
            })
            .map_err(sql)
    }

    fn graph_of(&mut self, project: &Project, push: PushId) -> Result<Option<TaskGraph>, LedgerError> {
        self.kept_graph(project, push)
    }

    fn record_graph(
        &mut self,
        project: &Project,
        push: PushId,
        graph: &TaskGraph,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.keep_graph(project, push, graph, now)
    }
}
