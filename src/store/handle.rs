//! A store on a thread of its own.

use std::panic::AssertUnwindSafe;
use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;

use super::sqlite::SqliteStore;
use crate::engine::ledger::LedgerError;

type Job = Box<dyn FnOnce(&mut SqliteStore) + Send>;

/// Jobs that may wait for the store's thread before the senders have to wait themselves: the loops of the daemon are
/// few and each waits for its answer, so this is never reached by one process's own work.
const QUEUE: usize = 256;

/// Sends work to the store's thread. Cheap to clone; the thread ends when the last handle is gone.
#[derive(Clone)]
pub struct Handle {
    jobs: mpsc::SyncSender<Job>,
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
        Ok(Handle { jobs })
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
        let (answer, reply) = oneshot::channel();
        let job: Job = Box::new(move |store| {
            // The asker may have gone away (shutdown): its transaction is committed or rolled back all the same.
            let _ = answer.send(work(store));
        });
        let handed_over = self.jobs.send(job);
        async move {
            handed_over.map_err(|_| LedgerError::Broken("the store's thread has ended".into()))?;
            reply.await.map_err(|_| {
                LedgerError::Rejected("a defect in sheriffd ended the transaction; please report it".into())
            })?
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
