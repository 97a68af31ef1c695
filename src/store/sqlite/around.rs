//! The jobs around a push: what there is, and what could be.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use rusqlite::{OptionalExtension as _, params};

use super::ledger::push_row;
use super::{Books, json, sql};
use crate::engine::ledger::{JobsOn, KnownLabel, LedgerError, PushRow};
use crate::event::{Label, Project, PushId, TaskGraph, Timestamp};

/// Labels of a project that are read at most. gecko has about 50,000.
const LABELS_READ: u32 = 200_000;
/// Task graphs that are kept.
const GRAPHS_KEPT: u32 = 64;
/// The largest task graph that is unpacked, in bytes of JSON.
const GRAPH_MAX: u64 = 256 * 1024 * 1024;

impl Books<'_> {
    pub(super) fn known_labels(&mut self, project: &Project) -> Result<Vec<KnownLabel>, LedgerError> {
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

    pub(super) fn jobs_on_pushes(
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
                        SUM(state = 5), SUM(state = 4)
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
            .prepare_cached(
                "SELECT label, push, SUM(MAX(times - (SELECT COUNT(*) FROM runs
                        WHERE runs.action = actions.id AND runs.run = 0), 0))
                 FROM actions WHERE project = ?1 AND push BETWEEN ?2 AND ?3
                    AND state IN ('queued', 'sending', 'accepted', 'in-doubt')
                 GROUP BY label, push",
            )
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

    pub(super) fn pushes_near(
        &mut self,
        project: &Project,
        push: PushId,
        back: u32,
        forward: u32,
    ) -> Result<Vec<PushRow>, LedgerError> {
        let project = self.name("project", project.as_str())?;
        // Text is compared after numbers: a number that no column can hold would find nothing.
        let push = i64::try_from(push.0).unwrap_or(i64::MAX);
        let select = |text: &str, limit: u32| {
            self.tx
                .prepare_cached(text)
                .and_then(|mut statement| {
                    statement
                        .query_map(params![project, push, limit], push_row)?
                        .collect::<rusqlite::Result<Vec<_>>>()
                })
                .map_err(sql)
        };
        let mut rows = select(
            "SELECT push, revision, at, grp, backs_out FROM pushes WHERE project = ?1 AND push <= ?2
             ORDER BY push DESC LIMIT ?3",
            back.saturating_add(1),
        )?;
        rows.reverse();
        rows.extend(select(
            "SELECT push, revision, at, grp, backs_out FROM pushes WHERE project = ?1 AND push > ?2
             ORDER BY push LIMIT ?3",
            forward,
        )?);
        Ok(rows)
    }

    pub(super) fn kept_graph(&mut self, project: &Project, push: PushId) -> Result<Option<TaskGraph>, LedgerError> {
        let project = self.name("project", project.as_str())?;
        let body: Option<Vec<u8>> = self
            .tx
            .prepare_cached("SELECT body FROM task_graphs WHERE project = ?1 AND push = ?2")
            .and_then(|mut statement| {
                statement
                    .query_row(params![project, push.0], |row| row.get(0))
                    .optional()
            })
            .map_err(sql)?;
        let Some(body) = body else { return Ok(None) };
        let mut text = String::new();
        DeflateDecoder::new(body.as_slice())
            .take(GRAPH_MAX)
            .read_to_string(&mut text)
            .map_err(|error| {
                LedgerError::Broken(format!("the task graph of push {push} cannot be unpacked: {error}"))
            })?;
        serde_json::from_str(&text).map(Some).map_err(json)
    }

    pub(super) fn keep_graph(
        &mut self,
        project: &Project,
        push: PushId,
        graph: &TaskGraph,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let project = self.name("project", project.as_str())?;
        let text = serde_json::to_vec(graph).map_err(json)?;
        let mut packed = DeflateEncoder::new(Vec::new(), Compression::fast());
        let body = packed
            .write_all(&text)
            .and_then(|()| packed.finish())
            .map_err(|error| LedgerError::Rejected(format!("a task graph cannot be packed: {error}")))?;
        self.tx
            .prepare_cached(
                "INSERT INTO task_graphs (project, push, at, body) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (project, push) DO UPDATE SET at = excluded.at, body = excluded.body",
            )
            .and_then(|mut statement| statement.execute(params![project, push.0, now.0, body]))
            .map_err(sql)?;
        self.tx
            .prepare_cached(
                "DELETE FROM task_graphs WHERE (project, push) NOT IN
                    (SELECT project, push FROM task_graphs ORDER BY at DESC, push DESC LIMIT ?1)",
            )
            .and_then(|mut statement| statement.execute([GRAPHS_KEPT]))
            .map(drop)
            .map_err(sql)
    }
}
