//! Labels that the history knows, and the tests that they run.

use std::sync::Arc;

use rusqlite::{OptionalExtension, params};

use super::{Books, sql};
use crate::engine::ledger::{Groups, KnownLabel, Labels, LedgerError, PlatformLabel, Runner, TestFailure};
use crate::event::test_path::folder_of_group;
use crate::event::{JobEvent, Label, Project, PushId, Signature, Timestamp};

/// Labels of a project that are read at most. gecko has about 50,000.
const LABELS_READ: u32 = 200_000;

/// Labels that are read for one question. A group of a large suite runs on some 200.
const RUNNERS_READ: u32 = 20_000;

/// Failures of a test that are read for one question.
const FAILURES_READ: u32 = 5_000;

/// Failing tests of one run that are remembered by their names: a run that fails more is broken as a whole.
const FAILURES_OF_A_RUN: usize = 50;

impl Labels for Books<'_> {
    fn labels_of(&mut self, project: &Project) -> Result<Vec<KnownLabel>, LedgerError> {
        let project = self.name("project", project.as_str())?;
        self.tx
            .prepare_cached(
                "SELECT label, platform, kind, suite FROM labels WHERE project = ?1 ORDER BY label LIMIT ?2",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![project, LABELS_READ], |row| {
                        let text = |column| row.get::<_, Option<String>>(column).map(|text| text.map(Arc::from));
                        Ok(KnownLabel {
                            label: Label::from(row.get::<_, String>(0)?),
                            platform: text(1)?,
                            kind: text(2)?,
                            suite: text(3)?,
                        })
                    })?
                    .collect()
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

    fn labels_since(&mut self, project: &Project, push: PushId) -> Result<Vec<PlatformLabel>, LedgerError> {
        let project = self.name("project", project.as_str())?;
        self.tx
            .prepare_cached(
                "SELECT label, platform FROM labels WHERE project = ?1
                 AND EXISTS (SELECT 1 FROM runs WHERE runs.label = labels.id AND runs.push >= ?2) ORDER BY label",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![project, push.0], |row| {
                        let (label, platform): (String, Option<String>) = (row.get(0)?, row.get(1)?);
                        Ok((Label::from(label), platform.map(Arc::from)))
                    })?
                    .collect()
            })
            .map_err(sql)
    }

    fn runners(&mut self, project: &Project, groups: Groups<'_>, since: Timestamp) -> Result<Vec<Runner>, LedgerError> {
        let project = self.name("project", project.as_str())?;
        // `0` is the character after `/`: what lies between is in the folder or below it.
        let (from, to) = match groups {
            Groups::Named(group) => (group.to_owned(), group.to_owned()),
            Groups::In(folder) => (format!("{folder}/"), format!("{folder}0")),
        };
        let mut runners: Vec<Runner> = self
            .tx
            .prepare_cached(
                "SELECT labels.label, labels.series, COALESCE(labels.platform, 'unknown'), grp, push
                 FROM group_runs JOIN labels ON labels.id = group_runs.label
                 WHERE group_runs.project = ?1 AND grp >= ?2 AND grp <= ?3 AND at >= ?4
                 ORDER BY push DESC, labels.label LIMIT ?5",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![project, from, to, since.0, RUNNERS_READ], |row| {
                        Ok(Runner {
                            label: Label::from(row.get::<_, String>(0)?),
                            series: Label::from(row.get::<_, String>(1)?),
                            platform: row.get::<_, String>(2)?.into(),
                            group: row.get::<_, String>(3)?.into(),
                            push: PushId(row.get(4)?),
                        })
                    })?
                    .collect()
            })
            .map_err(sql)?;
        if let Groups::In(wanted) = groups {
            runners.retain(|runner| folder_of_group(&runner.group) == wanted);
        }
        Ok(runners)
    }

    fn failures_of(
        &mut self,
        project: &Project,
        test: &str,
        since: Timestamp,
    ) -> Result<Vec<TestFailure>, LedgerError> {
        let project = self.name("project", project.as_str())?;
        self.tx
            .prepare_cached(
                "SELECT labels.label, labels.series, push, test, grp
                 FROM test_failures JOIN labels ON labels.id = test_failures.label
                 WHERE test_failures.project = ?1 AND test = ?2 AND at >= ?3
                 ORDER BY push DESC, labels.label LIMIT ?4",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![project, test, since.0, FAILURES_READ], |row| {
                        Ok(TestFailure {
                            label: Label::from(row.get::<_, String>(0)?),
                            series: Label::from(row.get::<_, String>(1)?),
                            push: PushId(row.get(2)?),
                            signature: Signature {
                                test: row.get::<_, String>(3)?.into(),
                                group: row.get::<_, Option<String>>(4)?.map(Into::into),
                            },
                        })
                    })?
                    .collect()
            })
            .map_err(sql)
    }
}

impl Books<'_> {
    /// Remembers which groups a run had and which tests failed in it, where that is known.
    pub(super) fn note_tests(
        &mut self,
        project: i64,
        label: i64,
        push: PushId,
        job: &JobEvent,
    ) -> Result<(), LedgerError> {
        for group in job.facts.groups.iter().flatten() {
            self.tx
                .prepare_cached(
                    "INSERT INTO group_runs (project, grp, label, push, at) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (project, grp, label) DO UPDATE SET push = MAX(push, excluded.push),
                        at = MAX(at, excluded.at) WHERE excluded.push > push OR excluded.at > at",
                )
                .and_then(|mut statement| statement.execute(params![project, &**group, label, push.0, job.at.0]))
                .map_err(sql)?;
        }
        for signature in job.facts.signatures.iter().flatten().take(FAILURES_OF_A_RUN) {
            self.tx
                .prepare_cached(
                    "INSERT OR IGNORE INTO test_failures (project, test, label, push, grp, at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )
                .and_then(|mut statement| {
                    statement.execute(params![
                        project,
                        &*signature.test,
                        label,
                        push.0,
                        signature.group.as_deref(),
                        job.at.0
                    ])
                })
                .map_err(sql)?;
        }
        Ok(())
    }
}
