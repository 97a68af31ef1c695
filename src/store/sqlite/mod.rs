//! The embedded store: one SQLite file (or memory), write-ahead log, full synchronisation.
//!
//! In: transactions of the engine, questions of the dispatcher, the pages and the command line. Out: rows.
//! Never: deciding; SQL outside this folder.

mod accounts;
mod actions;
mod admin;
mod books;
mod builds;
mod cancel;
mod cases;
mod codec;
mod death;
mod facts;
mod inbox;
mod labels;
mod memory;
mod missed;
mod numbers;
mod outbox;
mod pools;
mod prune;
mod pushes;
mod receipts;
mod runs;
mod settle;
mod spending;
mod traces;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};

pub use accounts::{Account, Attention, Dimension, Measure};
pub use admin::{CaseFilter, DeadLetter, Pause, PauseEffect, PauseScope, StoreSummary};
pub use books::Books;
pub use cancel::{CancelState, Cancellation};
pub use death::log_of;
pub use inbox::{Notice, Waiting};
pub use missed::KnownPush;
pub use outbox::{Due, Missing};
pub use spending::{CasesOfRule, Spending};
pub use traces::Retention;

use death::Ending;

use crate::engine::ledger::LedgerError;
use crate::event::Label;

/// Migrations in order, never edited once landed: a store of version `n` has had the first `n` of them.
const MIGRATIONS: [&str; 16] = [
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_runs_by_arrival.sql"),
    include_str!("migrations/0003_case_targets.sql"),
    include_str!("migrations/0004_rule_state.sql"),
    include_str!("migrations/0005_traces.sql"),
    include_str!("migrations/0006_bugs.sql"),
    include_str!("migrations/0007_brakes.sql"),
    include_str!("migrations/0008_cases_by_project.sql"),
    include_str!("migrations/0009_actions_by_push.sql"),
    include_str!("migrations/0010_measurements.sql"),
    include_str!("migrations/0011_tests.sql"),
    include_str!("migrations/0012_jobs_of_pushes.sql"),
    include_str!("migrations/0013_pools.sql"),
    include_str!("migrations/0014_cases_by_signature.sql"),
    include_str!("migrations/0015_builds.sql"),
    include_str!("migrations/0016_places.sql"),
];

/// Pages in the write-ahead log (4 KiB each) after which they are moved into the database: the more there are, the
/// fewer times a page that changes often is written. The log takes 64 MiB of disk, and a restart after a crash reads
/// as much.
const CHECKPOINT_PAGES: u32 = 16_000;

/// How long a statement waits for another process's write before it says that the store is busy.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Compiled statements kept: more than there are in this folder.
const STATEMENTS_KEPT: usize = 256;

/// Interned names kept in memory; past this they are forgotten and looked up again.
const NAMES_KEPT: usize = 200_000;

/// The store.
pub struct SqliteStore {
    connection: Connection,
    names: Names,
    ending: Ending,
}

/// Numbers of interned names. Nested, so that a look-up borrows the name it looks for.
#[derive(Default)]
struct Names {
    /// By kind and name.
    names: HashMap<&'static str, HashMap<Box<str>, i64>>,
    /// By project and label.
    labels: HashMap<i64, HashMap<Label, LabelNumber>>,
    /// How many there are in all.
    kept: usize,
}

/// The number of a label, and what is written down beside it: whether its series and its platform are, and its pool.
#[derive(Clone, Copy)]
struct LabelNumber {
    id: i64,
    has_series: bool,
    /// Whether its platform is written down, and with it what else messages tell.
    has_platform: bool,
    /// The number of the worker pool that runs it.
    pool: Option<i64>,
}

impl Names {
    fn name(&self, kind: &'static str, name: &str) -> Option<i64> {
        self.names.get(kind)?.get(name).copied()
    }

    fn keep_name(&mut self, kind: &'static str, name: &str, id: i64) {
        self.kept += 1;
        self.names.entry(kind).or_default().insert(name.into(), id);
    }

    fn label(&self, project: i64, label: &Label) -> Option<LabelNumber> {
        self.labels.get(&project)?.get(label).copied()
    }

    fn keep_label(&mut self, project: i64, label: &Label, number: LabelNumber) {
        self.kept += 1;
        self.labels.entry(project).or_default().insert(label.clone(), number);
    }

    fn bound(&mut self) {
        if self.kept > NAMES_KEPT {
            self.forget();
        }
    }

    fn forget(&mut self) {
        *self = Names::default();
    }
}

impl SqliteStore {
    /// Opens the store in a file, making it and its tables where they are missing.
    ///
    /// # Errors
    /// The file cannot be opened or written, is damaged, or was made by a newer version of this program.
    pub fn open(path: &Path) -> Result<SqliteStore, LedgerError> {
        let connection = Connection::open(path)
            .map_err(|error| LedgerError::Broken(format!("{}: cannot be opened: {error}", path.display())))?;
        SqliteStore::prepare(connection).map_err(|error| named(path, error))
    }

    /// A store in memory, for simulations, replays and tests.
    ///
    /// # Errors
    /// SQLite has no memory for it.
    pub fn in_memory() -> Result<SqliteStore, LedgerError> {
        SqliteStore::prepare(Connection::open_in_memory().map_err(sql)?)
    }

    /// A store in memory that begins with the history in a file: its pushes and runs, and nothing of its cases,
    /// requests and limits. The file is only read; a daemon may have it open.
    ///
    /// # Errors
    /// There is no such file, it is no store, it was made by another version of this program, or it does not fit into
    /// memory.
    pub fn in_memory_with_history_of(path: &Path) -> Result<SqliteStore, LedgerError> {
        if !path.is_file() {
            // ATTACH would make one.
            return Err(named(path, LedgerError::Broken("there is no such file".into())));
        }
        let store = SqliteStore::in_memory()?;
        store.copy_history(path).map_err(|error| named(path, error))?;
        Ok(store)
    }

    fn copy_history(&self, path: &Path) -> Result<(), LedgerError> {
        let connection = &self.connection;
        connection
            .execute("ATTACH DATABASE ?1 AS kept", [path.to_string_lossy()])
            .map_err(sql)?;
        let version: i64 = connection
            .query_row("PRAGMA kept.user_version", [], |row| row.get(0))
            .map_err(sql)?;
        if version != MIGRATIONS.len() as i64 {
            return Err(LedgerError::Broken(format!(
                "the store has version {version}, this program needs version {}: `sheriffd import` brings an older \
                 one up to date",
                MIGRATIONS.len()
            )));
        }
        // Actions are not copied, so no run may refer to one: the numbers will be given to others.
        connection
            .execute_batch(
                "BEGIN;
                 INSERT INTO main.names SELECT * FROM kept.names;
                 INSERT INTO main.labels SELECT * FROM kept.labels;
                 INSERT INTO main.pushes SELECT * FROM kept.pushes;
                 INSERT INTO main.task_groups SELECT * FROM kept.task_groups;
                 INSERT INTO main.group_runs SELECT * FROM kept.group_runs;
                 INSERT INTO main.test_failures SELECT * FROM kept.test_failures;
                 INSERT INTO main.task_graphs SELECT * FROM kept.task_graphs;
                 INSERT INTO main.runs SELECT * FROM kept.runs;
                 UPDATE main.runs SET action = NULL WHERE action IS NOT NULL;
                 INSERT INTO main.series SELECT * FROM kept.series;
                 INSERT INTO main.measurements SELECT * FROM kept.measurements;
                 INSERT INTO main.label_series SELECT * FROM kept.label_series;
                 COMMIT;
                 DETACH DATABASE kept;",
            )
            .map_err(sql)
    }

    fn prepare(mut connection: Connection) -> Result<SqliteStore, LedgerError> {
        connection.busy_timeout(BUSY_TIMEOUT).map_err(sql)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        // Otherwise every statement that compares with a parameter is compiled again each time that it is given another one.
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
            .map_err(sql)?;
        // FULL: a commit is on the disk before the message is acknowledged. With a transaction a batch it costs little.
        connection
            .execute_batch(&format!(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536;
                 PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};
                 PRAGMA foreign_keys = OFF;"
            ))
            .map_err(sql)?;
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(sql)?;
        let version: i64 = transaction
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(sql)?;
        let known = MIGRATIONS.len() as i64;
        if !(0..=known).contains(&version) {
            return Err(LedgerError::Broken(format!(
                "the store has version {version}, this program knows versions up to {known}: use a newer sheriffd"
            )));
        }
        for (done, migration) in (0..).zip(MIGRATIONS).skip(version as usize) {
            transaction.execute_batch(migration).map_err(sql)?;
            transaction.pragma_update(None, "user_version", done + 1).map_err(sql)?;
        }
        transaction.commit().map_err(sql)?;
        Ok(SqliteStore {
            connection,
            names: Names::default(),
            ending: Ending::default(),
        })
    }

    /// Forgets the names in memory: those that were interned in a transaction that did not commit do not exist.
    pub fn forget_names(&mut self) {
        self.names.forget();
    }

    /// Runs `work` in one write transaction: all of it is durable when this returns `Ok`, nothing of it otherwise.
    ///
    /// # Errors
    /// What `work` says, or that the store is busy or damaged.
    pub fn transact<R>(
        &mut self,
        work: impl FnOnce(&mut Books<'_>) -> Result<R, LedgerError>,
    ) -> Result<R, LedgerError> {
        self.names.bound();
        let outcome = (|| {
            let transaction = self
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(sql)?;
            let mut books = Books::new(&transaction, &mut self.names);
            let answer = work(&mut books)?;
            match self.ending {
                Ending::Commits => transaction.commit().map_err(sql).map(|()| answer),
                Ending::DiskFull => Err(LedgerError::Busy("the simulated disk is full".into())),
                Ending::Dies => Err(death::die(&transaction)?),
            }
        })();
        if matches!(self.ending, Ending::DiskFull) {
            self.ending = Ending::Commits;
        }
        if outcome.is_err() {
            self.forget_names();
        }
        outcome
    }
}

/// An error with the file that it is about.
fn named(path: &Path, error: LedgerError) -> LedgerError {
    let about = |text: String| format!("{}: {text}", path.display());
    match error {
        LedgerError::Busy(text) => LedgerError::Busy(about(text)),
        LedgerError::Rejected(text) => LedgerError::Rejected(about(text)),
        LedgerError::Broken(text) => LedgerError::Broken(about(text)),
    }
}

/// What an error of SQLite means for its caller.
fn sql(error: rusqlite::Error) -> LedgerError {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::CannotOpen
            | ErrorCode::SystemIoFailure
            | ErrorCode::ReadOnly,
        ) => LedgerError::Busy(error.to_string()),
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig) => {
            LedgerError::Rejected(error.to_string())
        }
        _ if matches!(error, rusqlite::Error::ToSqlConversionFailure(_)) => LedgerError::Rejected(error.to_string()),
        _ => LedgerError::Broken(error.to_string()),
    }
}

/// A JSON column that does not hold what was written into it.
fn json(error: serde_json::Error) -> LedgerError {
    LedgerError::Broken(format!("a row holds JSON that cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_compiled_once_however_often_it_is_given_other_values() {
        let store = SqliteStore::in_memory().unwrap();
        let due = "SELECT COUNT(*) FROM actions WHERE state = 'queued' AND not_before <= ?1";
        let mut statement = store.connection.prepare(due).unwrap();
        for at in 0..10 {
            let none: i64 = statement.query_row([at], |row| row.get(0)).unwrap();
            assert_eq!(none, 0);
        }
        assert_eq!(statement.get_status(rusqlite::StatementStatus::RePrepare), 0);
    }

    #[test]
    fn a_store_of_the_first_version_keeps_its_runs_and_takes_new_ones() {
        let old = Connection::open_in_memory().unwrap();
        old.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        old.execute_batch(
            "INSERT INTO runs (backend, task, run, label, push, state, caused_by, at, duration, detail) VALUES
                (1, x'00112233445566778899aabbccddeeff', 0, 3, 7, 2, 1, 2000, 60, NULL),
                (1, 'no-slug', 1, 3, 8, 0, 0, 1000, NULL, '{}')",
        )
        .unwrap();
        let store = SqliteStore::prepare(old).unwrap();
        let runs: Vec<(i64, i64, i64)> = store
            .connection
            .prepare("SELECT run, push, at FROM runs ORDER BY id")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(runs, [(1, 8, 1000), (0, 7, 2000)]);
        let again = "INSERT INTO runs (backend, task, run, label, push, state, caused_by, at)
            VALUES (1, 'no-slug', 1, 3, 8, 0, 0, 1000)";
        assert!(
            store.connection.execute(again, []).is_err(),
            "a run is in the books once"
        );
    }

    #[test]
    fn requests_whose_jobs_are_missing_are_found_by_their_open_cases() {
        let store = SqliteStore::in_memory().unwrap();
        let mut statement = store
            .connection
            .prepare(
                "EXPLAIN QUERY PLAN SELECT 1 FROM cases CROSS JOIN actions ON actions.case_id = cases.id
                 WHERE cases.verdict IS NULL AND actions.state = 'accepted'",
            )
            .unwrap();
        let plan: Vec<String> = statement
            .query_map([], |row| row.get(3))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert!(plan[1].contains("(case_id=?)"), "{plan:?}");
    }

    #[test]
    fn runs_and_searches_are_found_by_an_index() {
        let store = SqliteStore::in_memory().unwrap();
        let plan = |query: &str| -> String {
            store
                .connection
                .query_row(&format!("EXPLAIN QUERY PLAN {query}"), [], |row| row.get(3))
                .unwrap()
        };
        let by_identity = plan("SELECT state FROM runs WHERE task = 'a' AND run = 0 AND backend = 1");
        assert!(
            by_identity.contains("(task=? AND run=? AND backend=?)"),
            "{by_identity}"
        );
        let by_label = plan("SELECT state FROM runs WHERE label = 1 AND push BETWEEN 2 AND 3");
        assert!(
            by_label.contains("runs_by_label (label=? AND push>? AND push<?)"),
            "{by_label}"
        );
        let by_signature =
            plan("SELECT body FROM cases WHERE project = 'p' AND signature = 's' ORDER BY id DESC LIMIT 9");
        assert!(
            by_signature.contains("cases_by_signature (project=? AND signature=?)"),
            "{by_signature}"
        );
    }
}
