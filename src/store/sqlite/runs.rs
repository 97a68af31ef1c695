//! Runs, and what there is of labels on pushes.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use super::books::strange;
use super::builds::ARRIVED;
use super::cases::case_of;
use super::codec::{StoredTask, TaskColumn, cause_number, cause_of, state_number, state_of};
use super::settle::settle_account;
use super::{Books, LabelNumber, json, sql};
use crate::engine::ledger::{Actions as _, CaseRow, Counts, JobsOn, LedgerError, RunRow, Runs, View, ViewQuery};
use crate::event::{
    ActionKey, BackendName, CaseId, CausedBy, Duration, JobEvent, JobFacts, Label, Project, PushId, RunKey, Signature,
    TaskId, Timestamp,
};

/// Closed cases that a view shows: enough to know whether the newest ones explain a failure.
const CLOSED_SHOWN: u32 = 8;

/// Runs whose mean duration is taken: the newest of the label.
const RUNS_MEASURED: u32 = 100;

const RUN_COLUMNS: &str = "(SELECT name FROM names WHERE names.id = runs.backend), runs.task, runs.run, labels.label,
    runs.push, runs.state, runs.caused_by, runs.at, runs.detail, actions.case_id, actions.step, actions.slot";
const RUN_TABLES: &str = "runs JOIN labels ON labels.id = runs.label LEFT JOIN actions ON actions.id = runs.action";

#[derive(Serialize, Deserialize)]
struct RunDetail {
    #[serde(skip_serializing_if = "Option::is_none")]
    signatures: Option<Vec<Signature>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<Arc<str>>>,
}

impl Runs for Books<'_> {
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
                    OR excluded.detail IS NOT NULL
                 RETURNING action",
            )
            .map_err(sql)?;
        for job in jobs {
            let facts = &job.facts;
            let (Some(project), Some(label), Some(push)) = (&facts.project, &facts.label, facts.push) else {
                continue;
            };
            let backend = self.name("backend", job.run.backend.as_str())?;
            let project = self.name("project", project.as_str())?;
            let pool = match &job.pool {
                Some(pool) => Some(self.name("pool", pool)?),
                None => None,
            };
            let label = self.label(project, label, facts, pool)?;
            let duration = match (job.started, job.resolved) {
                (Some(started), Some(resolved)) => i64::try_from(resolved.since(started).as_millis()).ok(),
                _ => None,
            };
            let task = TaskColumn::of(&job.run.task);
            let behind: Option<i64> = write
                .query_row(
                    params![
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
                    ],
                    |row| row.get(0),
                )
                .optional()
                .map_err(sql)?
                .flatten();
            self.note_tests(project, label, push, job)?;
            self.note_builds(label, job)?;
            if let Some(values) = &facts.values {
                self.record_measurements(&job.run, backend, values)?;
            }
            if facts.caused_by == CausedBy::Sheriffd
                && let Some(parent) = &facts.parent
                && let Some(name) = &facts.label
                && let Some(action) = self.request_behind(parent, name)?
            {
                tx.prepare_cached("UPDATE runs SET action = ?1 WHERE task = ?2 AND run = ?3 AND backend = ?4")
                    .and_then(|mut statement| statement.execute(params![action, task, job.run.run, backend]))
                    .map_err(sql)?;
                settle_account(tx, action)?;
            } else if let Some(action) = behind {
                // An earlier message told whose run it is; this one tells how it goes on.
                settle_account(tx, action)?;
            }
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

    fn mean_duration(&mut self, project: &Project, label: &Label) -> Result<Option<Duration>, LedgerError> {
        let mean: Option<f64> = self
            .tx
            .prepare_cached(
                "SELECT AVG(duration) FROM (
                    SELECT duration FROM runs JOIN labels ON labels.id = runs.label
                    JOIN names ON names.id = labels.project AND names.kind = 'project'
                    WHERE names.name = ?1 AND labels.label = ?2 AND duration IS NOT NULL
                    ORDER BY runs.push DESC LIMIT ?3)",
            )
            .and_then(|mut statement| {
                statement.query_row(params![project.as_str(), label.as_str(), RUNS_MEASURED], |row| {
                    row.get(0)
                })
            })
            .map_err(sql)?;
        // Durations are never negative; what is not one was not written by this program.
        Ok(mean.and_then(|ms| Duration::try_from_secs_f64(ms / 1_000.0).ok()))
    }

    fn jobs_between(
        &mut self,
        project: &Project,
        first: PushId,
        last: PushId,
        lost_before: Timestamp,
    ) -> Result<Vec<(Label, PushId, JobsOn)>, LedgerError> {
        let number = self.name("project", project.as_str())?;
        let mut jobs: BTreeMap<(Label, PushId), JobsOn> = self
            .tx
            .prepare_cached(
                "SELECT labels.label, runs.push, SUM(state = 3), SUM(state = 2), SUM(state < 2 AND at >= ?4),
                        SUM(state = 5), SUM(state = 4), MIN(at)
                 FROM labels JOIN runs ON runs.label = labels.id
                 WHERE labels.project = ?1 AND runs.push BETWEEN ?2 AND ?3 GROUP BY labels.id, runs.push",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![number, first.0, last.0, lost_before.0], |row| {
                        let place = (Label::from(row.get::<_, String>(0)?), PushId(row.get(1)?));
                        let mut jobs = JobsOn {
                            pending: row.get(4)?,
                            cancelled: row.get(5)?,
                            infra: row.get(6)?,
                            since: row.get::<_, Option<i64>>(7)?.map(Timestamp),
                            ..JobsOn::default()
                        };
                        jobs.counts.failed = row.get(2)?;
                        jobs.counts.passed = row.get(3)?;
                        Ok((place, jobs))
                    })?
                    .collect()
            })
            .map_err(sql)?;
        let asked: Vec<((Label, PushId), u32)> = self
            .tx
            .prepare_cached(&format!(
                "SELECT label, push, SUM(MAX(times - {ARRIVED}, 0))
                 FROM actions WHERE project = ?1 AND push BETWEEN ?2 AND ?3
                    AND state IN ('queued', 'sending', 'accepted', 'in-doubt')
                 GROUP BY label, push"
            ))
            .and_then(|mut statement| {
                statement
                    .query_map(params![project.as_str(), first.0, last.0], |row| {
                        let place = (Label::from(row.get::<_, String>(0)?), PushId(row.get(1)?));
                        Ok((place, row.get(2)?))
                    })?
                    .collect()
            })
            .map_err(sql)?;
        for (place, asked) in asked {
            jobs.entry(place).or_default().asked += asked;
        }
        Ok(jobs
            .into_iter()
            .map(|((label, push), jobs)| (label, push, jobs))
            .collect())
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
            before = before.plus(self.earlier(*label, true, first, query.since, None)?);
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
}

impl Books<'_> {
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

    /// Runs of a label before a push and since a moment: how often they failed with the signature (`None`: at all), and
    /// how often they passed. What a run says of a signature is the same here as in [`crate::engine::evidence`]: a
    /// failure of which nothing is known says nothing, and a run of another chunk speaks only if it is known to have
    /// run the group.
    fn earlier(
        &mut self,
        label: i64,
        is_own: bool,
        before: PushId,
        since: Timestamp,
        signature: Option<&Signature>,
    ) -> Result<Counts, LedgerError> {
        let counts = match signature {
            None => self
                .tx
                .prepare_cached(
                    "SELECT COALESCE(SUM(state = 3), 0), COALESCE(SUM(state = 2), 0) FROM runs
                     WHERE label = ?1 AND push < ?2 AND at >= ?3",
                )
                .and_then(|mut statement| {
                    statement.query_row(params![label, before.0, since.0], |row| Ok((row.get(0)?, row.get(1)?)))
                }),
            Some(signature) => self
                .tx
                .prepare_cached(
                    "SELECT COALESCE(SUM(state = 3 AND has_failed), 0),
                            COALESCE(SUM(CASE state WHEN 2 THEN ran_group OR (?6 AND no_groups)
                                                    ELSE names_failures AND NOT has_failed AND ran_group END), 0)
                     FROM (SELECT state,
                                  json_type(detail, '$.signatures') IS NOT NULL AS names_failures,
                                  json_type(detail, '$.groups') IS NULL AS no_groups,
                                  EXISTS (SELECT 1 FROM json_each(detail, '$.signatures')
                                          WHERE value ->> 'test' = ?4 AND value ->> 'group' IS ?5) AS has_failed,
                                  EXISTS (SELECT 1 FROM json_each(detail, '$.groups') WHERE value = ?5) AS ran_group
                           FROM runs WHERE label = ?1 AND push < ?2 AND at >= ?3 AND state IN (2, 3))",
                )
                .and_then(|mut statement| {
                    let speaks_without_groups = is_own || signature.group.is_none();
                    statement.query_row(
                        params![
                            label,
                            before.0,
                            since.0,
                            &*signature.test,
                            signature.group.as_deref(),
                            speaks_without_groups
                        ],
                        |row| Ok((row.get(0)?, row.get(1)?)),
                    )
                }),
        };
        let (failed, passed) = counts.map_err(sql)?;
        Ok(Counts::new(failed, passed))
    }

    fn label(&mut self, project: i64, label: &Label, facts: &JobFacts, pool: Option<i64>) -> Result<i64, LedgerError> {
        // Only the chunk tells the series, and only the definition the platform; most messages do not carry them.
        let tells_series = facts.chunk.is_some();
        let tells_platform = facts.platform.is_some();
        if let Some(known) = self.names.label(project, label)
            && (known.has_series || !tells_series)
            && (known.has_platform || !tells_platform)
            && (known.pool == pool || pool.is_none())
        {
            return Ok(known.id);
        }
        // A series that is known replaces one that was only assumed to be the whole label.
        let (id, has_series, has_platform, pool): (i64, bool, bool, Option<i64>) = self
            .tx
            .prepare_cached(
                "INSERT INTO labels (project, label, series, platform, kind, suite, pool) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (project, label) DO UPDATE
                 SET series = CASE WHEN excluded.series <> excluded.label THEN excluded.series ELSE labels.series END,
                    platform = COALESCE(excluded.platform, labels.platform),
                    kind = COALESCE(excluded.kind, labels.kind), suite = COALESCE(excluded.suite, labels.suite),
                    pool = COALESCE(excluded.pool, labels.pool)
                 RETURNING id, series <> label, platform IS NOT NULL, pool",
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
                        facts.suite.as_deref(),
                        pool
                    ],
                    |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
                )
            })
            .map_err(sql)?;
        let number = LabelNumber {
            id,
            // A chunk that the label does not end in leaves the label its own series, for good.
            has_series: has_series || tells_series,
            has_platform,
            pool,
        };
        self.names.keep_label(project, label, number);
        Ok(id)
    }
}

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
