//! What a reconciliation asks of the store: where it left off.

use rusqlite::params;

use super::codec::StoredTask;
use super::{Books, sql};
use crate::engine::ledger::LedgerError;
use crate::event::{Project, PushId, Revision, TaskId, Timestamp};

/// Runs heard of last among which the newest is looked for.
const LAST_RUNS: u32 = 1_000;
/// Pushes, counted from a project's newest, that count as recent when nobody told when they landed.
const RECENT_PUSHES: u32 = 50;

/// A push and what runs on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPush {
    /// The tree.
    pub project: Project,
    /// Its number.
    pub push: PushId,
    /// Its head revision, when known.
    pub revision: Option<Revision>,
    /// Its task group, when a message told.
    pub group: Option<TaskId>,
}

impl Books<'_> {
    /// The latest time that one of the runs heard of last speaks of.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn newest_run(&mut self) -> Result<Option<Timestamp>, LedgerError> {
        self.tx
            .query_row(
                "SELECT MAX(at) FROM (SELECT at FROM runs ORDER BY id DESC LIMIT ?1)",
                [LAST_RUNS],
                |row| row.get::<_, Option<i64>>(0),
            )
            .map(|at| at.map(Timestamp))
            .map_err(sql)
    }

    /// Every project of which a push is known.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn projects(&mut self) -> Result<Vec<Project>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT name FROM names WHERE kind = 'project'
                 AND EXISTS (SELECT 1 FROM pushes WHERE pushes.project = names.id) ORDER BY name",
            )
            .and_then(|mut statement| {
                statement
                    .query_map([], |row| row.get::<_, String>(0).map(Project::from))?
                    .collect()
            })
            .map_err(sql)
    }

    /// The pushes of projects that landed since a moment, the newest first, at most `limit`. One of which nobody told
    /// when it landed counts as landed at `now` if it is among its project's newest.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn pushes_since(
        &mut self,
        projects: &[Project],
        since: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<KnownPush>, LedgerError> {
        let mut found: Vec<(i64, KnownPush)> = Vec::new();
        for project in projects {
            let mut statement = self
                .tx
                .prepare_cached(
                    "SELECT push, revision, grp, COALESCE(at, ?3) FROM pushes
                     WHERE project = (SELECT id FROM names WHERE kind = 'project' AND name = ?1)
                        AND (at >= ?2 OR (at IS NULL AND push > (SELECT MAX(newest.push) FROM pushes AS newest
                            WHERE newest.project = pushes.project) - ?4))
                     ORDER BY push DESC LIMIT ?5",
                )
                .map_err(sql)?;
            let rows = statement
                .query_map(params![project.as_str(), since.0, now.0, RECENT_PUSHES, limit], |row| {
                    let known = KnownPush {
                        project: project.clone(),
                        push: PushId(row.get(0)?),
                        revision: row.get::<_, Option<String>>(1)?.map(Revision::from),
                        group: row.get::<_, Option<StoredTask>>(2)?.map(|task| task.0),
                    };
                    Ok((row.get(3)?, known))
                })
                .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
                .map_err(sql)?;
            found.extend(rows);
        }
        found.sort_by_key(|(at, known)| (std::cmp::Reverse(*at), std::cmp::Reverse(known.push)));
        found.truncate(limit as usize);
        Ok(found.into_iter().map(|(_, known)| known).collect())
    }

    /// Forgets a small fact of the daemon itself.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn forget_setting(&mut self, key: &str) -> Result<(), LedgerError> {
        self.tx
            .execute("DELETE FROM settings WHERE key = ?1", [key])
            .map(drop)
            .map_err(sql)
    }
}
