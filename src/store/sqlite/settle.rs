//! What a request is charged once it is known what came of it: reserved ahead, settled after.

use rusqlite::{OptionalExtension, Transaction, params};

use super::{json, sql};
use crate::engine::ledger::LedgerError;
use crate::event::Label;

/// What was reserved for a request when it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reserved {
    /// Jobs that were asked for.
    times: u64,
    /// Builds that were not there.
    builds: u64,
    /// Machine time expected of one job, in milliseconds.
    job_ms: u64,
    /// Machine time expected of all builds together.
    build_ms: u64,
    /// Whether what has not come is not waited for any longer.
    is_given_up: bool,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Came {
    jobs: u64,
    jobs_ended: u64,
    builds: u64,
    builds_ended: u64,
    /// Machine time of what has ended, in milliseconds.
    took_ms: u64,
}

/// Jobs and machine time that it is charged. Jobs that came although nobody waited for them any longer are charged, and so
/// are builds that nobody expected. A build that was expected and did not come is waited for until all jobs have ended:
/// they ran without it. What has not ended is charged as it was estimated.
fn bill(reserved: Reserved, came: Came) -> (u64, u64) {
    let jobs = match reserved.is_given_up {
        true => came.jobs,
        false => came.jobs.max(reserved.times),
    };
    let builds = match reserved.is_given_up || came.jobs_ended >= reserved.times {
        true => came.builds,
        false => came.builds.max(reserved.builds),
    };
    let build_ms = reserved.build_ms.checked_div(reserved.builds).unwrap_or(0);
    let builds_left = builds.min(reserved.builds).saturating_sub(came.builds_ended);
    let machine_ms = came
        .took_ms
        .saturating_add(reserved.job_ms.saturating_mul(jobs.saturating_sub(came.jobs_ended)))
        .saturating_add(build_ms.saturating_mul(builds_left));
    (jobs + builds, machine_ms)
}

/// Settles the account of a request that was sent, by its row.
pub(super) fn settle_account(tx: &Transaction<'_>, action: i64) -> Result<(), LedgerError> {
    let row: Option<(Reserved, String, Option<String>)> = tx
        .prepare_cached(
            "SELECT times, job_ms, build_ms, state = 'overdue' AND receipt IS NOT NULL, label, builds FROM actions
             WHERE id = ?1 AND sent_at IS NOT NULL",
        )
        .and_then(|mut statement| {
            statement
                .query_row([action], |row| {
                    let reserved = Reserved {
                        times: row.get(0)?,
                        builds: 0,
                        job_ms: row.get(1)?,
                        build_ms: row.get(2)?,
                        is_given_up: row.get(3)?,
                    };
                    Ok((reserved, row.get(4)?, row.get(5)?))
                })
                .optional()
        })
        .map_err(sql)?;
    let Some((mut reserved, label, builds)) = row else {
        return Ok(());
    };
    let builds: Vec<String> = match builds {
        Some(names) => serde_json::from_str(&names).map_err(json)?,
        None => Vec::new(),
    };
    reserved.builds = builds.len() as u64;
    let asks_for_a_build = Label::from(label.as_str()).names_a_build();
    let mut came = Came::default();
    tx.prepare_cached(
        "SELECT labels.label, SUM(runs.run = 0), COUNT(DISTINCT CASE WHEN runs.state >= 2 THEN runs.task END),
            COALESCE(SUM(runs.duration), 0)
         FROM runs JOIN labels ON labels.id = runs.label WHERE runs.action = ?1 GROUP BY labels.id",
    )
    .and_then(|mut statement| {
        let mut rows = statement.query([action])?;
        while let Some(row) = rows.next()? {
            let name: String = row.get(0)?;
            let (count, ended, took_ms): (u64, u64, u64) = (row.get(1)?, row.get(2)?, row.get(3)?);
            came.took_ms += took_ms;
            let is_along = builds.contains(&name) || !asks_for_a_build && Label::from(name.as_str()).names_a_build();
            if is_along {
                came.builds += count;
                came.builds_ended += ended;
            } else {
                came.jobs += count;
                came.jobs_ended += ended;
            }
        }
        Ok(())
    })
    .map_err(sql)?;
    let (charged, machine_ms) = bill(reserved, came);
    tx.prepare_cached("UPDATE actions SET charged = ?2, machine_ms = ?3 WHERE id = ?1")
        .and_then(|mut statement| statement.execute(params![action, charged, machine_ms]))
        .map(drop)
        .map_err(sql)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TWO_AND_A_BUILD: Reserved = Reserved {
        times: 2,
        builds: 1,
        job_ms: 10,
        build_ms: 60,
        is_given_up: false,
    };

    #[test]
    fn what_has_not_come_is_charged_as_it_was_estimated() {
        assert_eq!(bill(TWO_AND_A_BUILD, Came::default()), (3, 80));
        let built = Came {
            builds: 1,
            builds_ended: 1,
            took_ms: 45,
            ..Came::default()
        };
        assert_eq!(bill(TWO_AND_A_BUILD, built), (3, 65));
    }

    #[test]
    fn a_build_that_was_not_needed_costs_nothing_once_the_jobs_have_ended() {
        let one_ended = Came {
            jobs: 2,
            jobs_ended: 1,
            took_ms: 12,
            ..Came::default()
        };
        assert_eq!(bill(TWO_AND_A_BUILD, one_ended), (3, 82));
        let ended = Came {
            jobs_ended: 2,
            took_ms: 21,
            ..one_ended
        };
        assert_eq!(bill(TWO_AND_A_BUILD, ended), (2, 21));
    }

    #[test]
    fn of_what_was_given_up_only_what_came_is_charged() {
        let given_up = Reserved {
            is_given_up: true,
            ..TWO_AND_A_BUILD
        };
        assert_eq!(bill(given_up, Came::default()), (0, 0));
        let late = Came {
            jobs: 1,
            builds: 2,
            ..Came::default()
        };
        assert_eq!(bill(given_up, late), (3, 70), "one build was never expected");
    }

    proptest! {
        /// Law: whatever came is charged, and until it is given up no fewer jobs than were asked for.
        #[test]
        fn nothing_that_came_is_free(
            (times, builds) in (1u64..20, 0u64..3),
            (jobs, built) in (0u64..30, 0u64..5),
            (ended, builds_ended) in (0u64..30, 0u64..5),
            is_given_up: bool,
            took_ms in 0u64..1_000_000,
        ) {
            let reserved = Reserved { times, builds, job_ms: 10, build_ms: builds * 60, is_given_up };
            let came = Came {
                jobs,
                jobs_ended: ended.min(jobs),
                builds: built,
                builds_ended: builds_ended.min(built),
                took_ms,
            };
            let (charged, machine_ms) = bill(reserved, came);
            prop_assert!(charged >= jobs + built);
            prop_assert!(machine_ms >= took_ms);
            prop_assert!(is_given_up || charged >= times);
        }
    }
}
