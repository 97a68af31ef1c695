//! Processes that die while they use a store: for simulations.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::{SqliteStore, sql};
use crate::engine::ledger::LedgerError;

/// What becomes of transactions at their end.
#[derive(Debug, Default)]
pub(super) enum Ending {
    /// They commit.
    #[default]
    Commits,
    /// The next one does all its work, and finds the disk full.
    DiskFull,
    /// The process dies before any of them commits.
    Dies,
}

/// The write-ahead log of a store's file.
pub fn log_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push("-wal");
    name.into()
}

/// Where a process that dies in a transaction leaves what was on the disk by then.
fn remains_of(path: &Path) -> PathBuf {
    path.with_extension("remains")
}

fn file_of(connection: &Connection) -> Option<PathBuf> {
    connection.path().filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn copy(from: &Path, to: &Path) -> Result<(), LedgerError> {
    let copied = fs::copy(from, to).and_then(|_| match log_of(from) {
        log if log.exists() => fs::copy(log, log_of(to)).map(drop),
        _ => Ok(()),
    });
    copied.map_err(|error| LedgerError::Broken(format!("{}: cannot be copied: {error}", from.display())))
}

/// The process dies in a transaction: what it has written so far goes to the disk, and stays there without a commit.
pub(super) fn die(transaction: &Connection) -> Result<LedgerError, LedgerError> {
    if let Some(path) = file_of(transaction) {
        transaction.cache_flush().map_err(sql)?;
        copy(&path, &remains_of(&path))?;
    }
    Ok(LedgerError::Busy("the simulated process is dead".into()))
}

impl SqliteStore {
    /// Lets the next transaction do its work and then fail, as on a disk that is full.
    pub fn refuse_next_commit(&mut self) {
        self.ending = Ending::DiskFull;
    }

    /// Does some work in a process that dies before it can commit.
    pub fn die_in<R>(&mut self, work: impl FnOnce(&mut SqliteStore) -> R) {
        self.ending = Ending::Dies;
        drop(work(self));
        self.ending = Ending::Commits;
    }

    /// Puts the files of the store at `to` as they are on the disk, or were when the process died in a transaction.
    ///
    /// # Errors
    /// They cannot be copied; or the store is in memory, which leaves nothing behind.
    pub fn leave_behind(&self, to: &Path) -> Result<(), LedgerError> {
        let path = file_of(&self.connection)
            .ok_or_else(|| LedgerError::Broken("a store in memory leaves nothing behind".into()))?;
        let remains = remains_of(&path);
        if !remains.exists() {
            return copy(&path, to);
        }
        copy(&remains, to)?;
        let removed = [log_of(&remains), remains].into_iter().filter(|file| file.exists());
        removed
            .into_iter()
            .try_for_each(fs::remove_file)
            .map_err(|error| LedgerError::Broken(format!("{}: {error}", path.display())))
    }

    /// Commits do not wait until they are on the disk.
    ///
    /// # Errors
    /// The store is damaged.
    pub fn never_wait_for_the_disk(&self) -> Result<(), LedgerError> {
        self.connection.execute_batch("PRAGMA synchronous = OFF").map_err(sql)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_did_in_a_transaction_without_a_commit_is_not_there_for_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("first.db"), folder.path().join("second.db"));
        let mut store = SqliteStore::open(&first).unwrap();
        store.transact(|books| books.set_setting("a", "committed")).unwrap();
        store.die_in(|store| {
            let outcome = store.transact(|books| {
                for number in 0..2_000 {
                    books.set_setting(&format!("b{number}"), "not committed")?;
                }
                books.set_setting("a", "not committed")
            });
            assert!(matches!(outcome, Err(LedgerError::Busy(_))), "{outcome:?}");
        });
        store.leave_behind(&second).unwrap();
        let log = fs::metadata(log_of(&second)).unwrap().len();
        assert!(log > 100_000, "what it had written is in the log: {log} bytes");
        let mut next = SqliteStore::open(&second).unwrap();
        let (a, b) = next
            .transact(|books| Ok((books.setting("a")?, books.setting("b1999")?)))
            .unwrap();
        assert_eq!((a.as_deref(), b), (Some("committed"), None));
        store.transact(|books| books.set_setting("c", "later")).unwrap();
    }
}
