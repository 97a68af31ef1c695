//! Worker pools: which one runs a label, and how many jobs wait there.

use rusqlite::{OptionalExtension, params};

use super::{Books, sql};
use crate::engine::ledger::LedgerError;
use crate::event::{Label, Project, Timestamp};

impl Books<'_> {
    /// The worker pool that runs a label, as its messages told last; `None` while none has told.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn pool_of(&mut self, project: &Project, label: &Label) -> Result<Option<String>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT pools.name FROM labels JOIN names AS pools ON pools.id = labels.pool
                 WHERE labels.label = ?2
                    AND labels.project = (SELECT id FROM names WHERE kind = 'project' AND name = ?1)",
            )
            .and_then(|mut statement| {
                statement
                    .query_row([project.as_str(), label.as_str()], |row| row.get(0))
                    .optional()
            })
            .map_err(sql)
    }

    /// The pools of requests that may go out now and of which the CI was not asked since a moment: those first of which
    /// it was asked longest ago.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn pools_to_ask(
        &mut self,
        asked_before: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<String>, LedgerError> {
        // That the state is one of three is what the index `actions_due` is made for: SQLite does not see it by itself.
        self.tx
            .prepare_cached(
                "SELECT pools.name, MIN(COALESCE(pool_counts.at, 0)) AS asked FROM actions
                 JOIN names AS projects ON projects.kind = 'project' AND projects.name = actions.project
                 JOIN labels ON labels.project = projects.id AND labels.label = actions.label
                 JOIN names AS pools ON pools.id = labels.pool
                 LEFT JOIN pool_counts ON pool_counts.pool = pools.name
                 WHERE actions.state IN ('queued', 'sending', 'in-doubt') AND actions.state = 'queued'
                    AND actions.not_before <= ?2
                 GROUP BY pools.id HAVING asked <= ?1 ORDER BY asked, pools.id LIMIT ?3",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![asked_before.0, now.0, limit], |row| row.get(0))?
                    .collect()
            })
            .map_err(sql)
    }

    /// Remembers how many jobs wait in a pool, as the CI told; `None`: it could not tell.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn set_pool_count(&mut self, pool: &str, pending: Option<u64>, now: Timestamp) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached(
                "INSERT INTO pool_counts (pool, pending, at) VALUES (?1, ?2, ?3)
                 ON CONFLICT (pool) DO UPDATE SET pending = excluded.pending, at = excluded.at",
            )
            .and_then(|mut statement| statement.execute(params![pool, pending, now.0]))
            .map(drop)
            .map_err(sql)
    }

    /// How many jobs wait in a pool, as the CI told since a moment.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn pool_count(&mut self, pool: &str, since: Timestamp) -> Result<Option<u64>, LedgerError> {
        self.tx
            .prepare_cached("SELECT pending FROM pool_counts WHERE pool = ?1 AND at >= ?2")
            .and_then(|mut statement| statement.query_row(params![pool, since.0], |row| row.get(0)).optional())
            .map(Option::flatten)
            .map_err(sql)
    }

    /// Runs of the labels of a pool that wait for a machine and were heard of since a moment.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn pending_in(&mut self, pool: &str, since: Timestamp) -> Result<u64, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT COUNT(*) FROM runs INDEXED BY runs_pending JOIN labels ON labels.id = runs.label
                 WHERE runs.state = 0 AND runs.at > ?2
                    AND labels.pool = (SELECT id FROM names WHERE kind = 'pool' AND name = ?1)",
            )
            .and_then(|mut statement| statement.query_row(params![pool, since.0], |row| row.get(0)))
            .map_err(sql)
    }
}
