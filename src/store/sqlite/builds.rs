//! Builds before tests: which builds a label needs, which of them a push lacks, and what of it was reserved.

use rusqlite::{OptionalExtension, params};

use super::codec::TaskColumn;
use super::{Books, json, sql};
use crate::engine::ledger::LedgerError;
use crate::event::{ActionKey, JobEvent, Label, Project, PushId};

/// Tasks that a run waited for that are looked at: a test waits for its build and some images and tools.
const NEEDS_LOOKED_AT: usize = 32;

/// Jobs of a request that were seen, whatever their label is; but for the builds that were reserved along: they are there
/// before what was asked for is.
pub(super) const ARRIVED: &str = "(SELECT COUNT(*) FROM runs WHERE runs.action = actions.id AND runs.run = 0
    AND NOT EXISTS (SELECT 1 FROM labels CROSS JOIN json_each(actions.builds) AS built
        WHERE labels.id = runs.label AND built.value = labels.label))";

impl Books<'_> {
    /// Remembers which builds a label needs, as far as the history knows the tasks that a run of it waited for.
    pub(super) fn note_builds(&mut self, label: i64, job: &JobEvent) -> Result<(), LedgerError> {
        let mut builds: Vec<i64> = Vec::new();
        for need in job.facts.needs.iter().flatten().take(NEEDS_LOOKED_AT) {
            let found: Option<(i64, String, Option<String>)> = self
                .tx
                .prepare_cached(
                    "SELECT labels.id, labels.label, labels.kind FROM runs JOIN labels ON labels.id = runs.label
                     WHERE runs.task = ?1 LIMIT 1",
                )
                .and_then(|mut statement| {
                    statement
                        .query_row([TaskColumn::of(need)], |row| {
                            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                        })
                        .optional()
                })
                .map_err(sql)?;
            let is_build = |(_, name, kind): &(i64, String, Option<String>)| {
                kind.as_deref() == Some("build") || Label::from(name.as_str()).names_a_build()
            };
            builds.extend(found.filter(is_build).map(|(build, ..)| build));
        }
        // Tasks of which no message told say nothing; what was known stays.
        if builds.is_empty() {
            return Ok(());
        }
        builds.sort_unstable();
        builds.dedup();
        let known: Vec<i64> = self
            .tx
            .prepare_cached("SELECT build FROM label_builds WHERE label = ?1 ORDER BY build")
            .and_then(|mut statement| statement.query_map([label], |row| row.get(0))?.collect())
            .map_err(sql)?;
        if known == builds {
            return Ok(());
        }
        self.tx
            .prepare_cached("DELETE FROM label_builds WHERE label = ?1")
            .and_then(|mut statement| statement.execute([label]))
            .map_err(sql)?;
        for build in builds {
            self.tx
                .prepare_cached("INSERT INTO label_builds (label, build) VALUES (?1, ?2)")
                .and_then(|mut statement| statement.execute([label, build]))
                .map_err(sql)?;
        }
        Ok(())
    }

    /// The builds that a label needs, those of builds included, and that a push does not have: nothing of them ran there,
    /// runs, waits, or was asked for. As far as the history tells.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn missing_builds(
        &mut self,
        project: &Project,
        label: &Label,
        push: PushId,
    ) -> Result<Vec<Label>, LedgerError> {
        self.tx
            .prepare_cached(
                "WITH RECURSIVE needed (id) AS (
                    SELECT label_builds.build FROM labels JOIN label_builds ON label_builds.label = labels.id
                    WHERE labels.label = ?2
                        AND labels.project = (SELECT id FROM names WHERE kind = 'project' AND name = ?1)
                    UNION SELECT label_builds.build FROM needed JOIN label_builds ON label_builds.label = needed.id)
                 SELECT labels.label FROM needed JOIN labels ON labels.id = needed.id
                 WHERE NOT EXISTS (SELECT 1 FROM runs WHERE runs.label = labels.id AND runs.push = ?3)
                    AND NOT EXISTS (SELECT 1 FROM actions WHERE actions.project = ?1 AND actions.push = ?3
                        AND actions.sent_at IS NOT NULL AND actions.state IN ('sending', 'in-doubt', 'accepted')
                        AND (actions.label = labels.label
                            OR EXISTS (SELECT 1 FROM json_each(actions.builds) WHERE value = labels.label)))
                 ORDER BY labels.label",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![project.as_str(), label.as_str(), push.0], |row| {
                        row.get::<_, String>(0).map(Label::from)
                    })?
                    .collect()
            })
            .map_err(sql)
    }

    /// Charges a request that is being sent for the builds that the CI has to make along, with `build_ms` milliseconds of
    /// machine time for all of them.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn reserve_builds(&mut self, key: ActionKey, builds: &[Label], build_ms: u64) -> Result<(), LedgerError> {
        if builds.is_empty() {
            return Ok(());
        }
        let names = serde_json::to_string(builds).map_err(json)?;
        self.tx
            .prepare_cached(
                "UPDATE actions SET builds = ?4, build_ms = ?5, charged = charged + ?6, machine_ms = machine_ms + ?5
                 WHERE case_id = ?1 AND step = ?2 AND slot = ?3 AND state = 'sending'",
            )
            .and_then(|mut statement| {
                statement.execute(params![key.case.0, key.step, key.slot, names, build_ms, builds.len()])
            })
            .map(drop)
            .map_err(sql)
    }
}
