//! Pushes, their task groups and task graphs.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use rusqlite::{OptionalExtension, Row, params};

use super::codec::{StoredTask, TaskColumn};
use super::{Books, json, sql};
use crate::engine::ledger::{GroupRow, LedgerError, PushRow, Pushes, TouchedRow, ViewQuery};
use crate::event::{Project, PushEvent, PushId, Revision, TaskGraph, TaskId, Timestamp};

/// Pushes that a view goes back at most, so that a rule's mistake cannot read the whole history.
const WINDOW_MAX: u32 = 2_000;

/// Task graphs that are kept.
const GRAPHS_KEPT: u32 = 64;

/// The largest task graph that is unpacked, in bytes of JSON.
const GRAPH_MAX: u64 = 256 * 1024 * 1024;

impl Pushes for Books<'_> {
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
        let places = push.folders_touched().as_ref().map(serde_json::to_string);
        let places = places.transpose().map_err(json)?;
        self.tx
            .prepare_cached(
                "INSERT INTO pushes (project, push, revision, at, backs_out, places) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (project, push) DO UPDATE SET
                    revision = COALESCE(revision, excluded.revision), at = COALESCE(at, excluded.at),
                    backs_out = COALESCE(excluded.backs_out, backs_out),
                    places = COALESCE(NULLIF(excluded.places, '[]'), places, excluded.places)",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    project,
                    number.0,
                    push.revision.as_str(),
                    push.at.map(|at| at.0),
                    backs_out,
                    places
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

    fn pushes_around(
        &mut self,
        project: &Project,
        push: PushId,
        back: u32,
        forward: u32,
    ) -> Result<Vec<PushRow>, LedgerError> {
        let (back, forward) = (back.min(WINDOW_MAX), forward.min(WINDOW_MAX));
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

    fn touched_between(
        &mut self,
        project: &Project,
        first: PushId,
        last: PushId,
    ) -> Result<Vec<TouchedRow>, LedgerError> {
        let project = self.name("project", project.as_str())?;
        let number = |push: PushId| i64::try_from(push.0).unwrap_or(i64::MAX);
        let rows: Vec<(u64, Option<String>)> = self
            .tx
            .prepare_cached(
                "SELECT push, places FROM pushes WHERE project = ?1 AND push BETWEEN ?2 AND ?3
                 ORDER BY push DESC LIMIT ?4",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![project, number(first), number(last), WINDOW_MAX], |row| {
                        Ok((row.get(0)?, row.get(1)?))
                    })?
                    .collect::<rusqlite::Result<_>>()
            })
            .map_err(sql)?;
        let touched = rows.into_iter().rev().map(|(push, places)| {
            let folders = places.map(|text| serde_json::from_str(&text)).transpose();
            Ok(TouchedRow {
                push: PushId(push),
                folders: folders.map_err(json)?,
            })
        });
        touched.collect()
    }

    fn graph_of(&mut self, project: &Project, push: PushId) -> Result<Option<TaskGraph>, LedgerError> {
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

    fn record_graph(
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

impl Books<'_> {
    pub(super) fn pushes(&mut self, project: i64, query: &ViewQuery) -> Result<Vec<PushRow>, LedgerError> {
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
