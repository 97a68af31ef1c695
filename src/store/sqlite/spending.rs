//! What cases asked for, by day: for `sheriffd report`.

use rusqlite::params;

use super::{Books, sql};
use crate::engine::ledger::LedgerError;
use crate::event::Timestamp;

/// Jobs that the cases of a rule decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spending {
    /// The rule, or `by-hand`.
    pub rule: String,
    /// The platform.
    pub platform: String,
    /// A moment of the day (UTC) on which they were decided.
    pub day: Timestamp,
    /// Whether they were decided in shadow mode: nobody was asked.
    pub shadow: bool,
    /// The jobs.
    pub jobs: u64,
}

/// Cases of a rule that ended, or did not yet, in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CasesOfRule {
    /// The rule, or `by-hand`.
    pub rule: String,
    /// The kind.
    pub kind: String,
    /// Whether they are in shadow mode.
    pub shadow: bool,
    /// How they ended; `None`: they are open.
    pub verdict: Option<String>,
    /// How many there are.
    pub count: u64,
}

impl Books<'_> {
    /// Jobs that were decided on since a moment, by rule, platform, day and mode. What was refused or dropped is not
    /// among them.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn spending(&mut self, since: Timestamp) -> Result<Vec<Spending>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT rule, platform, created_at / 86400000, state = 'shadow', SUM(times) FROM actions
                 WHERE created_at >= ?1 AND state NOT IN ('refused', 'dropped')
                 GROUP BY 1, 2, 3, 4 ORDER BY 3, 1, 2, 4",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![since.0], |row| {
                        let days: i64 = row.get(2)?;
                        Ok(Spending {
                            rule: row.get(0)?,
                            platform: row.get(1)?,
                            day: Timestamp(days.saturating_mul(86_400_000)),
                            shadow: row.get(3)?,
                            jobs: row.get(4)?,
                        })
                    })?
                    .collect()
            })
            .map_err(sql)
    }

    /// Cases that were opened since a moment, counted by rule, kind, mode and how they ended.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn cases_by_rule(&mut self, since: Timestamp) -> Result<Vec<CasesOfRule>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT rule, kind, json_extract(body, '$.mode') <> 'live', verdict, COUNT(*) FROM cases
                 WHERE opened_at >= ?1 GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![since.0], |row| {
                        Ok(CasesOfRule {
                            rule: row.get(0)?,
                            kind: row.get(1)?,
                            shadow: row.get(2)?,
                            verdict: row.get(3)?,
                            count: row.get(4)?,
                        })
                    })?
                    .collect()
            })
            .map_err(sql)
    }
}
