//! What the books know of tests: which labels run a group, and where a test failed.

use rusqlite::{OptionalExtension, params};

use super::{Books, json, sql};
use crate::engine::ledger::{Groups, LedgerError, Runner, TestFailure};
use crate::event::test_path::folder;
use crate::event::{Bug, JobEvent, Label, PushId, Signature, Timestamp};

/// Failing tests of one run that are remembered by their names: a run that fails more is broken as a whole.
const FAILURES_OF_A_RUN: usize = 50;
/// Labels that are read for one question. A group of a large suite runs on some 200.
const RUNNERS_READ: u32 = 20_000;
/// Failures of a test that are read for one question.
const FAILURES_READ: u32 = 5_000;

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

    /// Labels that ran one of these groups since a moment.
    pub(super) fn group_runners(
        &mut self,
        project: i64,
        groups: Groups<'_>,
        since: Timestamp,
    ) -> Result<Vec<Runner>, LedgerError> {
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
            // Of a manifest that another one includes, the last name is the manifest's own.
            let own = |group: &str| {
                group
                    .rsplit_once(':')
                    .map_or_else(|| group.to_owned(), |(_, own)| own.to_owned())
            };
            runners.retain(|runner| folder(&own(&runner.group)) == wanted);
        }
        Ok(runners)
    }

    /// What a tracker said of a test when it was last asked.
    pub(super) fn bugs_of_test(&mut self, test: &str) -> Result<Option<Vec<Bug>>, LedgerError> {
        let text: Option<String> = self
            .tx
            .prepare_cached("SELECT bugs FROM bugs_of_tests WHERE test = ?1")
            .and_then(|mut statement| statement.query_row([test], |row| row.get(0)).optional())
            .map_err(sql)?;
        text.map(|text| serde_json::from_str(&text)).transpose().map_err(json)
    }

    /// Whether a tracker was asked about a test since a moment.
    pub(super) fn asked_bugs(&mut self, test: &str, since: Timestamp) -> Result<bool, LedgerError> {
        self.tx
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM bugs_of_tests WHERE test = ?1 AND at >= ?2)")
            .and_then(|mut statement| statement.query_row(params![test, since.0], |row| row.get(0)))
            .map_err(sql)
    }

    /// Keeps what a tracker said of a test.
    pub(super) fn keep_bugs(&mut self, test: &str, bugs: &[Bug], now: Timestamp) -> Result<(), LedgerError> {
        let text = serde_json::to_string(bugs).map_err(json)?;
        self.tx
            .prepare_cached("INSERT OR REPLACE INTO bugs_of_tests (test, bugs, at) VALUES (?1, ?2, ?3)")
            .and_then(|mut statement| statement.execute(params![test, text, now.0]))
            .map(drop)
            .map_err(sql)
    }

    /// Where a test failed since a moment, the newest pushes first.
    pub(super) fn test_failures(
        &mut self,
        project: i64,
        test: &str,
        since: Timestamp,
    ) -> Result<Vec<TestFailure>, LedgerError> {
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
