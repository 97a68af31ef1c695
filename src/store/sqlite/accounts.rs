//! The accounts that limits are read from: what was asked for, what it cost, how the CI and its platforms are doing.

use rusqlite::{OptionalExtension, ToSql, params};

use super::{Books, sql};
use crate::engine::ledger::LedgerError;
use crate::event::{CaseId, Label, Project, Reason, Timestamp};

/// Answers of a backend that are kept: more than anything looks at.
const ANSWERS_KEPT: i64 = 500;
/// Runs heard of last that are looked at for how a platform is doing.
const RUNS_LOOKED_AT: i64 = 5_000;
/// Runs of a label from which the machine time of the next is estimated.
const DURATIONS: u32 = 20;

/// What accounts are kept by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// The rule that asks.
    Rule,
    /// The project that is asked for.
    Project,
    /// The platform that jobs run on.
    Platform,
    /// The label that runs.
    Label,
}

impl Dimension {
    pub(super) fn column(self) -> &'static str {
        match self {
            Dimension::Rule => "rule",
            Dimension::Project => "project",
            Dimension::Platform => "platform",
            Dimension::Label => "label",
        }
    }
}

/// One account: over all, or over what has one value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Account {
    /// Everything.
    All,
    /// One value's of a dimension.
    Of(Dimension, String),
    /// One label's in a project.
    Label(Project, Label),
    /// One push's in a project.
    Push(Project, u64),
    /// One case's.
    Case(CaseId),
    /// One named budget's: over all, or for one value of a dimension.
    Budget(String, Option<(Dimension, String)>),
}

impl Account {
    /// The condition on `actions` with two parameters, and these.
    fn condition(&self) -> (String, String, String) {
        let empty = String::new;
        match self {
            Account::All => ("?2 = '' AND ?3 = ''".into(), empty(), empty()),
            Account::Of(dimension, value) => {
                let condition = format!("{} = ?2 AND ?3 = ''", dimension.column());
                (condition, value.clone(), empty())
            }
            Account::Label(project, label) => {
                let condition = "project = ?2 AND label = ?3".to_owned();
                (condition, project.as_str().to_owned(), label.as_str().to_owned())
            }
            Account::Push(project, push) => {
                let condition = "project = ?2 AND push = CAST(?3 AS INTEGER)".to_owned();
                (condition, project.as_str().to_owned(), push.to_string())
            }
            Account::Case(case) => {
                let condition = "case_id = CAST(?2 AS INTEGER) AND ?3 = ''".to_owned();
                (condition, case.0.to_string(), empty())
            }
            Account::Budget(budget, None) => ("budget = ?2 AND ?3 = ''".into(), budget.clone(), empty()),
            Account::Budget(budget, Some((dimension, value))) => {
                let condition = format!("budget = ?2 AND {} = ?3", dimension.column());
                (condition, budget.clone(), value.clone())
            }
        }
    }
}

/// What is counted in an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Measure {
    /// Jobs. Those of a request whose jobs never appeared count until that is noticed.
    Jobs,
    /// Machine time in milliseconds: as estimated when it was asked for, as it was once the runs have ended.
    MachineTime,
}

impl Measure {
    fn column(self) -> &'static str {
        match self {
            Measure::Jobs => "charged",
            Measure::MachineTime => "machine_ms",
        }
    }
}

/// What our own runs of a project, or of any, have made people look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attention {
    /// Runs of ours that failed.
    pub failed: u64,
    /// Jobs asked for that have not ended: each may fail yet.
    pub open: u64,
}

impl Books<'_> {
    /// What was asked for since a moment, as an account sees it. Requests whose fate is not known count.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn spent(&mut self, account: &Account, measure: Measure, since: Timestamp) -> Result<u64, LedgerError> {
        let (condition, first, second) = account.condition();
        let column = measure.column();
        self.tx
            .prepare_cached(&format!(
                "SELECT COALESCE(SUM({column}), 0) FROM actions WHERE sent_at > ?1 AND {condition}"
            ))
            .and_then(|mut statement| statement.query_row(params![since.0, first, second], |row| row.get(0)))
            .map_err(sql)
    }

    /// What was charged to a budget since a moment, by the values of a dimension; all together under an empty name
    /// without one.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn spent_of_budget(
        &mut self,
        budget: &str,
        dimension: Option<Dimension>,
        measure: Measure,
        since: Timestamp,
    ) -> Result<Vec<(String, u64)>, LedgerError> {
        let (by, column) = (dimension.map_or("''", Dimension::column), measure.column());
        self.tx
            .prepare_cached(&format!(
                "SELECT {by}, SUM({column}) FROM actions WHERE budget = ?1 AND sent_at > ?2 GROUP BY 1"
            ))
            .and_then(|mut statement| {
                statement
                    .query_map(params![budget, since.0], |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect()
            })
            .map_err(sql)
    }

    /// The machine time of one run of a label in milliseconds, by its last runs; `None` when none has ended.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn expected_duration(&mut self, project: &Project, label: &Label) -> Result<Option<u64>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT AVG(duration) FROM (SELECT duration FROM runs WHERE duration IS NOT NULL AND label = (
                    SELECT id FROM labels WHERE label = ?2
                    AND project = (SELECT id FROM names WHERE kind = 'project' AND name = ?1))
                 ORDER BY push DESC LIMIT ?3)",
            )
            .and_then(|mut statement| {
                statement.query_row(params![project.as_str(), label.as_str(), DURATIONS], |row| {
                    row.get::<_, Option<f64>>(0)
                })
            })
            .map(|mean| mean.map(|mean| mean.max(0.0) as u64))
            .map_err(sql)
    }

    /// Failures of our own runs that ended since a moment, and jobs of ours that were asked for since and have not
    /// ended, over what has one value of a dimension; over all without one.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn attention(
        &mut self,
        account: Option<&(Dimension, String)>,
        since: Timestamp,
    ) -> Result<Attention, LedgerError> {
        let (condition, value) = match account {
            None => ("?2 = ''".to_owned(), ""),
            Some((dimension, value)) => (format!("actions.{} = ?2", dimension.column()), value.as_str()),
        };
        // State 3 is failed, 2 and more have ended. A run that was retried by the CI is not the one that people see.
        let text = format!(
            "SELECT COALESCE(SUM(failed), 0), COALESCE(SUM(MAX(charged - ended, 0)), 0) FROM (
                SELECT charged,
                    (SELECT COUNT(*) FROM runs WHERE runs.action = actions.id AND runs.state = 3) AS failed,
                    (SELECT COUNT(DISTINCT task) FROM runs WHERE runs.action = actions.id AND runs.state >= 2) AS ended
                FROM actions WHERE sent_at > ?1 AND {condition})"
        );
        self.tx
            .prepare_cached(&text)
            .and_then(|mut statement| {
                statement.query_row(params![since.0, value], |row| {
                    Ok(Attention {
                        failed: row.get(0)?,
                        open: row.get(1)?,
                    })
                })
            })
            .map_err(sql)
    }

    /// Runs on a platform that wait for a machine and were heard of since a moment.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn pending_on(&mut self, platform: &str, since: Timestamp) -> Result<u64, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT COUNT(*) FROM runs INDEXED BY runs_pending JOIN labels ON labels.id = runs.label
                 WHERE runs.state = 0 AND runs.at > ?2 AND labels.platform = ?1",
            )
            .and_then(|mut statement| statement.query_row(params![platform, since.0], |row| row.get(0)))
            .map_err(sql)
    }

    /// How the runs that were heard of last and ended since a moment ended, by platform: all of them, and those that
    /// ended by infrastructure.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn ended_by_platform(&mut self, since: Timestamp) -> Result<Vec<(String, u32, u32)>, LedgerError> {
        // States 2 to 4: passed, failed, infra. A cancelled run says nothing of a platform.
        self.tx
            .prepare_cached(
                "SELECT labels.platform, COUNT(*), SUM(runs.state = 4) FROM runs JOIN labels ON labels.id = runs.label
                 WHERE runs.id > (SELECT MAX(id) FROM runs) - ?2 AND runs.at > ?1 AND runs.state BETWEEN 2 AND 4
                    AND labels.platform IS NOT NULL
                 GROUP BY 1",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![since.0, RUNS_LOOKED_AT], |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                    })?
                    .collect()
            })
            .map_err(sql)
    }

    /// When a request for a platform went out last.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn last_sent_to(&mut self, platform: &str) -> Result<Option<Timestamp>, LedgerError> {
        self.tx
            .prepare_cached("SELECT MAX(sent_at) FROM actions WHERE sent_at IS NOT NULL AND platform = ?1")
            .and_then(|mut statement| statement.query_row([platform], |row| row.get::<_, Option<i64>>(0)))
            .map(|at| at.map(Timestamp))
            .map_err(sql)
    }

    /// Remembers how a backend answered a request.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn note_answer(&mut self, backend: &str, word: &str, now: Timestamp) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached("INSERT INTO answers (backend, at, word) VALUES (?1, ?2, ?3)")
            .and_then(|mut statement| statement.execute(params![backend, now.0, word]))
            .map_err(sql)?;
        let newest = self.tx.last_insert_rowid();
        self.tx
            .prepare_cached("DELETE FROM answers WHERE id <= ?1")
            .and_then(|mut statement| statement.execute([newest - ANSWERS_KEPT]))
            .map(drop)
            .map_err(sql)
    }

    /// How a backend answered, newest first.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn answers(&mut self, backend: &str, limit: u32) -> Result<Vec<(Timestamp, String)>, LedgerError> {
        self.tx
            .prepare_cached("SELECT at, word FROM answers WHERE backend = ?1 ORDER BY id DESC LIMIT ?2")
            .and_then(|mut statement| {
                statement
                    .query_map(params![backend, limit], |row| Ok((Timestamp(row.get(0)?), row.get(1)?)))?
                    .collect()
            })
            .map_err(sql)
    }

    /// Forgets how backends answered, and lets go at once of what waits because one refused our credentials, and of what
    /// waits for facts: the configuration or the credentials may be others now.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn try_again(&mut self, now: Timestamp) -> Result<(), LedgerError> {
        let refused = Reason::BackendRefused.as_str();
        let execute = |text: &str, values: &[&dyn ToSql]| self.tx.execute(text, values).map(drop).map_err(sql);
        execute("DELETE FROM answers", &[])?;
        execute(
            "UPDATE actions SET not_before = ?1 WHERE state = 'queued' AND reason = ?2 AND not_before > ?1",
            &[&now.0, &refused],
        )?;
        execute("UPDATE inbox SET next_try = ?1 WHERE next_try > ?1", &[&now.0])
    }

    /// A backend's token bucket: tokens, and when there were so many.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn rate(&mut self, backend: &str) -> Result<Option<(f64, Timestamp)>, LedgerError> {
        self.tx
            .prepare_cached("SELECT tokens, at FROM rates WHERE backend = ?1")
            .and_then(|mut statement| {
                statement
                    .query_row([backend], |row| Ok((row.get(0)?, Timestamp(row.get(1)?))))
                    .optional()
            })
            .map_err(sql)
    }

    /// Writes a backend's token bucket.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn set_rate(&mut self, backend: &str, tokens: f64, at: Timestamp) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached(
                "INSERT INTO rates (backend, tokens, at) VALUES (?1, ?2, ?3)
                 ON CONFLICT (backend) DO UPDATE SET tokens = excluded.tokens, at = excluded.at",
            )
            .and_then(|mut statement| statement.execute(params![backend, tokens, at.0]))
            .map(drop)
            .map_err(sql)
    }

    /// Remembers that a rule was served: it comes after all others now.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn rule_served(&mut self, rule: &str) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached(
                "INSERT INTO rule_turns (rule, turn) VALUES (?1, (SELECT COALESCE(MAX(turn), 0) + 1 FROM rule_turns))
                 ON CONFLICT (rule) DO UPDATE SET turn = excluded.turn",
            )
            .and_then(|mut statement| statement.execute([rule]))
            .map(drop)
            .map_err(sql)
    }

    /// Whether a project takes jobs, as the service that knows told: status and reason, and when.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn tree(&mut self, project: &str) -> Result<Option<(String, String, Timestamp)>, LedgerError> {
        self.tx
            .prepare_cached("SELECT status, reason, at FROM trees WHERE project = ?1")
            .and_then(|mut statement| {
                statement
                    .query_row([project], |row| Ok((row.get(0)?, row.get(1)?, Timestamp(row.get(2)?))))
                    .optional()
            })
            .map_err(sql)
    }

    /// Remembers whether a project takes jobs.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn set_tree(&mut self, project: &str, status: &str, reason: &str, now: Timestamp) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached(
                "INSERT INTO trees (project, status, reason, at) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (project) DO UPDATE SET status = excluded.status, reason = excluded.reason, at = excluded.at",
            )
            .and_then(|mut statement| statement.execute(params![project, status, reason, now.0]))
            .map(drop)
            .map_err(sql)
    }
}
