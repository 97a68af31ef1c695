//! A store on a thread of its own; in simulations, a store that fails as machines do.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use tokio::sync::oneshot;

use super::sqlite::SqliteStore;
use crate::engine::ledger::LedgerError;

type Job = Box<dyn FnOnce(&mut SqliteStore) + Send>;

/// Jobs that may wait for the store's thread before the senders have to wait themselves: the loops of the daemon are
/// few and each waits for its answer, so this is never reached by one process's own work.
const QUEUE: usize = 256;

/// What becomes of one piece of work in a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is done, and its asker hears of it.
    Done,
    /// Everything is written, and then the disk turns out to be full: nothing is there, and the asker hears of it.
    Refused,
    /// The process dies before the commit: nothing is there, and nobody hears anything.
    Lost,
    /// The process is dead already: the work is not even begun.
    Gone,
    /// The process dies after the commit: everything is there, and nobody hears anything.
    Unheard,
}

/// Decides what becomes of the next piece of work.
pub type Gate = Box<dyn Fn() -> Fate + Send + Sync>;

/// Sends work to the store. Cheap to clone; a store's thread ends when the last handle is gone.
#[derive(Clone)]
pub struct Handle {
    access: Access,
}

#[derive(Clone)]
enum Access {
    /// The store has a thread.
    Thread(mpsc::SyncSender<Job>),
    /// The store works on the thread of whoever asks.
    Simulated(Arc<(Arc<Mutex<SqliteStore>>, Gate)>),
}

/// Where an answer comes from.
enum Answer<R> {
    /// From the store's thread, which took the work or has ended.
    Later(Result<oneshot::Receiver<Result<R, LedgerError>>, LedgerError>),
    /// It is there.
    Here(Result<R, LedgerError>),
    /// The process that asked is dead.
    Never,
}

impl Handle {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system could not start a thread.
    pub fn start(mut store: SqliteStore) -> std::io::Result<Handle> {
        let (jobs, queue) = mpsc::sync_channel::<Job>(QUEUE);
        thread::Builder::new().name("store".into()).spawn(move || {
            while let Ok(job) = queue.recv() {
                // A defect in one transaction rolls that one back; the store itself is sound, and others need it.
                if std::panic::catch_unwind(AssertUnwindSafe(|| job(&mut store))).is_err() {
                    store.forget_names();
                }
            }
        })?;
        Ok(Handle {
            access: Access::Thread(jobs),
        })
    }

    /// A store of a simulated process: work is done at once, on the thread of whoever hands it over, and `gate` says
    /// what becomes of it. The store outlives the process, as a disk does; several processes may share it.
    pub fn simulated(store: Arc<Mutex<SqliteStore>>, gate: Gate) -> Handle {
        Handle {
            access: Access::Simulated(Arc::new((store, gate))),
        }
    }

    /// Hands `work` to the store's thread at once; the answer comes when the returned future is awaited. Work is done
    /// in the order in which it was handed over, whether or not anybody waits for it.
    ///
    /// # Errors
    /// What `work` says, that it panicked ([`LedgerError::Rejected`]), or that the store's thread has ended.
    pub fn with<R: Send + 'static, W>(&self, work: W) -> impl Future<Output = Result<R, LedgerError>> + Send + use<R, W>
    where
        W: FnOnce(&mut SqliteStore) -> Result<R, LedgerError> + Send + 'static,
    {
        let answer = match &self.access {
            Access::Thread(jobs) => Answer::Later(hand_over(jobs, work)),
            Access::Simulated(simulated) => work_at_once(&simulated.0, (simulated.1)(), work),
        };
        async move {
            match answer {
                Answer::Later(reply) => reply?.await.map_err(|_| {
                    LedgerError::Rejected("a defect in sheriffd ended the transaction; please report it".into())
                })?,
                Answer::Here(answer) => answer,
                Answer::Never => std::future::pending().await,
            }
        }
    }
}

fn hand_over<R: Send + 'static>(
    jobs: &mpsc::SyncSender<Job>,
    work: impl FnOnce(&mut SqliteStore) -> Result<R, LedgerError> + Send + 'static,
) -> Result<oneshot::Receiver<Result<R, LedgerError>>, LedgerError> {
    let (answer, reply) = oneshot::channel();
    let job: Job = Box::new(move |store| {
        // The asker may have gone away (shutdown): its transaction is committed or rolled back all the same.
        let _ = answer.send(work(store));
    });
    jobs.send(job)
        .map_err(|_| LedgerError::Broken("the store's thread has ended".into()))?;
    Ok(reply)
}

fn work_at_once<R>(
    store: &Mutex<SqliteStore>,
    fate: Fate,
    work: impl FnOnce(&mut SqliteStore) -> Result<R, LedgerError>,
) -> Answer<R> {
    // A panic rolled its transaction back, as on the store's thread.
    let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
    match fate {
        Fate::Done => Answer::Here(work(&mut store)),
        Fate::Refused => {
            store.refuse_next_commit();
            Answer::Here(work(&mut store))
        }
        Fate::Lost => {
            store.die_in(work);
            Answer::Never
        }
        Fate::Gone => Answer::Never,
        Fate::Unheard => {
            drop(work(&mut store));
            Answer::Never
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_defect_in_one_transaction_leaves_the_store_to_the_others() {
        let handle = Handle::start(SqliteStore::in_memory().unwrap()).unwrap();
        let ended = handle
            .with(|store| {
                store.transact(|books| -> Result<(), LedgerError> {
                    books.set_setting("written", "before the defect")?;
                    panic!("a defect");
                })
            })
            .await;
        assert!(matches!(ended, Err(LedgerError::Rejected(_))), "{ended:?}");
        let kept = handle
            .with(|store| store.transact(|books| books.setting("written")))
            .await;
        assert_eq!(kept, Ok(None));
    }
}
