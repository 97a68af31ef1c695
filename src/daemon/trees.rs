//! Which trees are open: a service is asked now and then, and what it said is kept in the store.
//!
//! In: a treestatus service. Out: rows that the dispatcher reads. Never: deciding; news that are old hold nothing back,
//! so a service that is gone closes nothing for ever.

use std::sync::Arc;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::engine::ledger::LedgerError;
use crate::enrich::{FactError, TreeStatusSource};
use crate::event::Duration;
use crate::store::Handle;

/// Asks a treestatus service until it is told to stop.
pub(super) async fn watch(
    source: TreeStatusSource,
    store: Handle,
    clock: Arc<dyn Clock>,
    every: Duration,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let rest = match look(&source, &store, clock.as_ref()).await {
            Ok(()) => every,
            Err(Trouble::Source(FactError::Later { retry_after, detail })) => {
                tracing::warn!(%detail, "the status of trees cannot be had now");
                every.max(retry_after.unwrap_or_default())
            }
            Err(trouble) => {
                tracing::warn!(error = %trouble, "the status of trees is not known");
                every
            }
        };
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(rest) => {}
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Source(FactError),
    #[error(transparent)]
    Store(LedgerError),
}

async fn look(source: &TreeStatusSource, store: &Handle, clock: &dyn Clock) -> Result<(), Trouble> {
    let trees = source.trees().await.map_err(Trouble::Source)?;
    let now = clock.now();
    store
        .with(move |store| {
            store.transact(|books| {
                for tree in &trees {
                    books.set_tree(tree.project.as_str(), &tree.status, &tree.reason, now)?;
                }
                Ok(())
            })
        })
        .await
        .map_err(Trouble::Store)
}
