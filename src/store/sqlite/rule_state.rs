//! What rules remember between events, and what they ask of the history: SQL only.

use rusqlite::{OptionalExtension, params};

use super::ledger::{Books, signature_text};
use super::{json, sql};
use crate::engine::ledger::{Counts, Held, LedgerError};
use crate::event::{Duration, Label, Project, PushId, Signature, Subject, Timestamp};

/// Runs whose mean duration is taken: the newest of the label.
const RUNS_MEASURED: u32 = 100;

impl Books<'_> {
    /// Runs of a label before a push and since a moment: how often they failed with the signature (`None`: at all), and
    /// how often they passed. What a run says of a signature is the same here as in [`crate::engine::evidence`]: a
    /// failure of which nothing is known says nothing, and a run of another chunk speaks only if it is known to have
    /// run the group.
    pub(super) fn earlier(
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

    pub(super) fn opened_last(
        &mut self,
        rule: &str,
        subject: &Subject,
        each: Option<&str>,
    ) -> Result<Option<Timestamp>, LedgerError> {
        let signature = signature_text(subject)?;
        self.tx
            .prepare_cached(
                "SELECT MAX(opened_at) FROM cases WHERE project = ?1 AND label = ?2 AND rule = ?3 AND signature IS ?4
                 AND body ->> 'each' IS ?5",
            )
            .and_then(|mut statement| {
                statement.query_row(
                    params![subject.project.as_str(), subject.label.as_str(), rule, signature, each],
                    |row| row.get::<_, Option<i64>>(0),
                )
            })
            .map(|at| at.map(Timestamp))
            .map_err(sql)
    }

    pub(super) fn mean(&mut self, project: &Project, label: &Label) -> Result<Option<Duration>, LedgerError> {
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

    pub(super) fn find_held(&mut self, rule: &str, key: &str) -> Result<Option<Held>, LedgerError> {
        let row = self
            .tx
            .prepare_cached("SELECT since, due, count, event FROM held WHERE rule = ?1 AND key = ?2")
            .and_then(|mut statement| {
                statement
                    .query_row(params![rule, key], |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get::<_, String>(3)?))
                    })
                    .optional()
            })
            .map_err(sql)?;
        row.map(|(since, due, count, event)| {
            Ok(Held {
                rule: rule.to_owned(),
                key: key.to_owned(),
                since: Timestamp(since),
                due: Timestamp(due),
                count,
                event: serde_json::from_str(&event).map_err(json)?,
            })
        })
        .transpose()
    }

    pub(super) fn keep_held(&mut self, held: &Held) -> Result<(), LedgerError> {
        let event = serde_json::to_string(&held.event).map_err(json)?;
        self.tx
            .prepare_cached(
                "INSERT INTO held (rule, key, since, due, count, event) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (rule, key) DO UPDATE SET since = excluded.since, due = excluded.due,
                    count = excluded.count, event = excluded.event",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    held.rule,
                    held.key,
                    held.since.0,
                    held.due.0,
                    held.count,
                    event
                ])
            })
            .map(drop)
            .map_err(sql)
    }

    pub(super) fn due_held(&mut self, now: Timestamp, limit: u32) -> Result<Vec<Held>, LedgerError> {
        let due: Vec<(String, String)> = self
            .tx
            .prepare_cached("SELECT rule, key FROM held WHERE due <= ?1 ORDER BY due, id LIMIT ?2")
            .and_then(|mut statement| {
                statement
                    .query_map(params![now.0, limit], |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect()
            })
            .map_err(sql)?;
        let mut taken = Vec::with_capacity(due.len());
        for (rule, key) in due {
            taken.extend(self.find_held(&rule, &key)?);
            self.tx
                .prepare_cached("DELETE FROM held WHERE rule = ?1 AND key = ?2")
                .and_then(|mut statement| statement.execute([&rule, &key]))
                .map_err(sql)?;
        }
        Ok(taken)
    }

    pub(super) fn tick_of(&mut self, rule: &str) -> Result<Option<Timestamp>, LedgerError> {
        self.tx
            .prepare_cached("SELECT at FROM ticks WHERE rule = ?1")
            .and_then(|mut statement| statement.query_row([rule], |row| row.get(0).map(Timestamp)).optional())
            .map_err(sql)
    }

    pub(super) fn keep_tick(&mut self, rule: &str, at: Timestamp) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached(
                "INSERT INTO ticks (rule, at) VALUES (?1, ?2) ON CONFLICT (rule) DO UPDATE SET at = excluded.at",
            )
            .and_then(|mut statement| statement.execute(params![rule, at.0]))
            .map(drop)
            .map_err(sql)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ledger::Ledger as _;
    use crate::event::{Event, Project, RequestEvent, RequestKind};
    use crate::store::sqlite::SqliteStore;

    fn held(key: &str, due: i64) -> Held {
        Held {
            rule: "r".to_owned(),
            key: key.to_owned(),
            since: Timestamp(1),
            due: Timestamp(due),
            count: 2,
            event: Event::Request(Box::new(RequestEvent {
                project: Project::from("try"),
                push: None,
                revision: None,
                requester: None,
                kind: RequestKind::FillPush,
            })),
        }
    }

    #[test]
    fn what_rules_hold_back_and_when_they_ran_outlives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.sqlite");
        let mut store = SqliteStore::open(&path).unwrap();
        store
            .transact(|books| {
                books.hold_event(&held("late", 30))?;
                books.hold_event(&held("a", 5))?;
                books.hold_event(&held("a", 20))?;
                books.set_last_tick("r", Timestamp(7))?;
                books.set_last_tick("r", Timestamp(9))
            })
            .unwrap();
        drop(store);
        let mut store = SqliteStore::open(&path).unwrap();
        store
            .transact(|books| {
                assert_eq!(
                    books.held("r", "a")?,
                    Some(held("a", 20)),
                    "the later one replaces the earlier"
                );
                assert_eq!(books.take_held(Timestamp(19), 10)?, []);
                assert_eq!(
                    books.take_held(Timestamp(30), 1)?,
                    [held("a", 20)],
                    "the most overdue first"
                );
                assert_eq!(books.take_held(Timestamp(30), 10)?, [held("late", 30)]);
                assert_eq!(books.take_held(Timestamp(30), 10)?, [], "and each once");
                assert_eq!(books.last_tick("r")?, Some(Timestamp(9)));
                assert_eq!(books.last_tick("other")?, None);
                Ok(())
            })
            .unwrap();
    }
}
