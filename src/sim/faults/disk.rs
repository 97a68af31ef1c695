//! The disk under a story's store: memory, or a file of which a process that dies leaves behind what is on the disk.
//!
//! In: the death of a process. Out: the store as the next process finds it: the file and its write-ahead log, as they were
//! at that moment, opened anew. Never: a clean close.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::chance::{Chances, lock};
use super::plan::Fault;
use crate::engine::ledger::LedgerError;
use crate::store::sqlite::{SqliteStore, log_of};

/// The longest torn end of a log, in bytes: less than two pages.
const TORN: usize = 8_000;

/// Where a store is.
pub(super) struct Disk(Option<Folder>);

/// A folder for the files of one story. It goes with the story.
struct Folder {
    path: PathBuf,
    /// How often the store was opened.
    opened: u64,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the files of a story are left behind");
        }
    }
}

impl Folder {
    fn file(&self) -> PathBuf {
        self.path.join(format!("{}.db", self.opened))
    }
}

fn trouble(error: io::Error) -> LedgerError {
    LedgerError::Broken(format!("the simulated disk: {error}"))
}

impl Disk {
    /// Memory.
    pub fn memory() -> Result<(Disk, SqliteStore), LedgerError> {
        Ok((Disk(None), SqliteStore::in_memory()?))
    }

    /// A file in a temporary folder.
    pub fn file() -> Result<(Disk, SqliteStore), LedgerError> {
        static FOLDERS: AtomicU64 = AtomicU64::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("sheriffd-faults-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).map_err(trouble)?;
        let folder = Folder { path, opened: 0 };
        let store = opened(&folder.file())?;
        Ok((Disk(Some(folder)), store))
    }

    /// The only process is dead: the store is what it has left behind.
    pub fn survives(&mut self, store: &Mutex<SqliteStore>, chances: &Chances) -> Result<(), LedgerError> {
        let Some(folder) = &mut self.0 else {
            lock(store).forget_names();
            return Ok(());
        };
        let old = folder.file();
        folder.opened += 1;
        let new = folder.file();
        let mut store = lock(store);
        store.leave_behind(&new)?;
        // The write that was under way is torn: what is behind the last commit may be anything.
        let torn = vec![0xa5; chances.below(Fault::CrashAtStore, TORN)];
        let log = OpenOptions::new().append(true).create(true).open(log_of(&new));
        log.and_then(|mut log| log.write_all(&torn)).map_err(trouble)?;
        *store = opened(&new)?;
        drop(store);
        for file in [log_of(&old), old] {
            // The log is gone already when the old store was closed as the last.
            match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(trouble(error)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Opens a file. What a process has written survives its death whether or not it was forced onto the disk: a simulation
/// need not wait for that.
fn opened(path: &Path) -> Result<SqliteStore, LedgerError> {
    let store = SqliteStore::open(path)?;
    store.never_wait_for_the_disk()?;
    Ok(store)
}
