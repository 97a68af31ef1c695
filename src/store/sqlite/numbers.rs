//! What runs measured.

use std::sync::Arc;

use rusqlite::{OptionalExtension, Row, params};

use super::codec::{StoredTask, TaskColumn, cause_of, state_number};
use super::{Books, sql};
use crate::engine::ledger::{LedgerError, Numbers, ValueRow, Values, ValuesQuery};
use crate::event::{
    BackendName, JobEvent, JobFacts, Label, Measurement, Outcome, Project, PushId, RunKey, RunState, Timestamp,
};

/// Values before the window that are read of each label and series: from 48 on a series' own distribution is known.
const HISTORY: u32 = 60;
/// Series of a label that are read together at most.
const SERIES: u32 = 64;
/// Runs of a label that are named as not read yet, the newest first.
const UNREAD: u32 = 100;

impl Books<'_> {
    /// Writes what a run measured, and that it was read. A run that is not in the books is passed over.
    pub(super) fn record_measurements(
        &mut self,
        run: &RunKey,
        backend: i64,
        values: &[Measurement],
    ) -> Result<(), LedgerError> {
        let found: Option<(i64, i64, u64)> = self
            .tx
            .prepare_cached(
                "UPDATE runs SET measured = 1 WHERE task = ?1 AND run = ?2 AND backend = ?3 RETURNING id, label, push",
            )
            .and_then(|mut statement| {
                statement
                    .query_row(params![TaskColumn::of(&run.task), run.run, backend], |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                    })
                    .optional()
            })
            .map_err(sql)?;
        let Some((run, label, push)) = found else { return Ok(()) };
        for measured in values {
            let series: i64 = self
                .tx
                .prepare_cached(
                    "INSERT INTO series (name, summary) VALUES (?1, ?2)
                     ON CONFLICT (name) DO UPDATE SET summary = excluded.summary RETURNING id",
                )
                .and_then(|mut statement| {
                    statement.query_row(params![&*measured.series, measured.summary], |row| row.get(0))
                })
                .map_err(sql)?;
            self.tx
                .prepare_cached("INSERT OR REPLACE INTO measurements (run, series, value) VALUES (?1, ?2, ?3)")
                .and_then(|mut statement| statement.execute(params![run, series, measured.value]))
                .map_err(sql)?;
            self.tx
                .prepare_cached(
                    "INSERT INTO label_series (series, label, push) VALUES (?1, ?2, ?3)
                     ON CONFLICT (series, label) DO UPDATE SET push = excluded.push WHERE excluded.push > push",
                )
                .and_then(|mut statement| statement.execute(params![series, label, push]))
                .map_err(sql)?;
        }
        Ok(())
    }

    /// The series of a label that a query wants.
    fn series_wanted(&mut self, label: i64, only: Option<&str>) -> Result<Vec<(i64, Arc<str>)>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT series.id, series.name FROM label_series JOIN series ON series.id = label_series.series
                 WHERE label_series.label = ?1 AND CASE WHEN ?2 IS NULL THEN summary ELSE name = ?2 END
                 ORDER BY series.name LIMIT ?3",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![label, only, SERIES], |row| {
                        Ok((row.get(0)?, row.get::<_, String>(1)?.into()))
                    })?
                    .collect()
            })
            .map_err(sql)
    }

    /// The newest values before the window, newest first.
    fn values_before(&mut self, label: i64, series: i64, query: &ValuesQuery) -> Result<Vec<(u64, f64)>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT push, value FROM runs JOIN measurements ON measurements.run = runs.id AND series = ?2
                 WHERE label = ?1 AND push < ?3 AND at >= ?4 ORDER BY push DESC, at DESC, task DESC LIMIT ?5",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![label, series, query.from.0, query.since.0, HISTORY], pair)?
                    .collect()
            })
            .map_err(sql)
    }

    fn values_within(&mut self, label: i64, series: i64, query: &ValuesQuery) -> Result<Vec<(u64, f64)>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT push, value FROM runs JOIN measurements ON measurements.run = runs.id AND series = ?2
                 WHERE label = ?1 AND push BETWEEN ?3 AND ?4 ORDER BY push, at, task",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![label, series, query.from.0, query.to.0], pair)?
                    .collect()
            })
            .map_err(sql)
    }

    fn unread(&mut self, id: i64, label: &Label, query: &ValuesQuery) -> Result<Vec<JobEvent>, LedgerError> {
        let passed = RunState::Finished(Outcome::Passed);
        self.tx
            .prepare_cached(
                "SELECT (SELECT name FROM names WHERE names.id = backend), task, run, push, caused_by, at FROM runs
                 WHERE label = ?1 AND push BETWEEN ?2 AND ?3 AND state = ?4 AND measured = 0
                 ORDER BY push DESC, at DESC, task LIMIT ?5",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(
                        params![id, query.from.0, query.to.0, state_number(passed), UNREAD],
                        |row| {
                            let at = Timestamp(row.get(5)?);
                            Ok(JobEvent {
                                run: RunKey {
                                    backend: BackendName::from(row.get::<_, String>(0)?),
                                    task: row.get::<_, StoredTask>(1)?.0,
                                    run: row.get(2)?,
                                },
                                group: None,
                                state: passed,
                                reason: None,
                                latest: true,
                                at,
                                scheduled: None,
                                started: None,
                                resolved: Some(at),
                                worker: None,
                                pool: None,
                                facts: JobFacts {
                                    project: Some(query.project.clone()),
                                    label: Some(label.clone()),
                                    push: Some(PushId(row.get(3)?)),
                                    caused_by: cause_of(row.get(4)?),
                                    ..JobFacts::default()
                                },
                            })
                        },
                    )?
                    .collect()
            })
            .map_err(sql)
    }
}

impl Numbers for Books<'_> {
    fn numeric_subjects(&mut self) -> Result<Vec<(Project, Label)>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT project, label FROM cases WHERE verdict IS NULL AND kind = 'find-perf-culprit'
                 UNION SELECT case_targets.project, case_targets.label FROM case_targets
                 JOIN cases ON cases.id = case_id WHERE kind = 'baseline'",
            )
            .and_then(|mut statement| {
                statement
                    .query_map([], |row| {
                        let (project, label): (String, String) = (row.get(0)?, row.get(1)?);
                        Ok((Project::from(project), Label::from(label)))
                    })?
                    .collect()
            })
            .map_err(sql)
    }

    fn values(&mut self, query: &ValuesQuery) -> Result<Values, LedgerError> {
        let project = self.name("project", query.project.as_str())?;
        let mut values = Values::default();
        for label in &query.labels {
            let Some(id) = self.label_id(project, label)? else {
                continue;
            };
            for (series, name) in self.series_wanted(id, query.series.as_deref())? {
                let row = |(push, value): (u64, f64)| ValueRow {
                    label: label.clone(),
                    push: PushId(push),
                    series: Arc::clone(&name),
                    value,
                };
                let mut older = self.values_before(id, series, query)?;
                older.reverse();
                values.rows.extend(older.into_iter().map(row));
                let within = self.values_within(id, series, query)?;
                values.rows.extend(within.into_iter().map(row));
            }
            values.unread.append(&mut self.unread(id, label, query)?);
        }
        Ok(values)
    }

    fn labels_measuring(&mut self, project: &Project, series: &str) -> Result<Vec<Label>, LedgerError> {
        let project = self.name("project", project.as_str())?;
        self.tx
            .prepare_cached(
                "SELECT labels.label FROM series JOIN label_series ON label_series.series = series.id
                 JOIN labels ON labels.id = label_series.label
                 WHERE series.name = ?2 AND labels.project = ?1 ORDER BY push DESC, labels.label",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![project, series], |row| row.get::<_, String>(0).map(Label::from))?
                    .collect()
            })
            .map_err(sql)
    }

    fn series_of(&mut self, project: &Project, label: &Label) -> Result<Vec<Arc<str>>, LedgerError> {
        let project = self.name("project", project.as_str())?;
        let Some(label) = self.label_id(project, label)? else {
            return Ok(Vec::new());
        };
        self.tx
            .prepare_cached(
                "SELECT name FROM label_series JOIN series ON series.id = label_series.series
                 WHERE label_series.label = ?1 ORDER BY summary DESC, name",
            )
            .and_then(|mut statement| {
                statement
                    .query_map([label], |row| row.get::<_, String>(0).map(Arc::from))?
                    .collect()
            })
            .map_err(sql)
    }
}

fn pair(row: &Row<'_>) -> rusqlite::Result<(u64, f64)> {
    Ok((row.get(0)?, row.get(1)?))
}
