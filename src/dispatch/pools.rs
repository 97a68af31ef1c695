//! How many jobs wait in the worker pools that requests would go to: the CI knows better than our books, which hear of
//! watched projects only.
//!
//! In: requests that may go out. Out: counts in the books, which the gate reads. Never: more than a few questions a round,
//! or one about a pool that was asked about just now; holding requests up because the CI does not tell: the gate falls
//! back on what messages told.

use super::{Dispatcher, Round};
use crate::engine::ledger::LedgerError;
use crate::event::Duration;

/// How long a count is believed before the CI is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(120);
/// How old a count may be and still be used: where questions take long, or many pools are wanted.
pub(super) const NEWS: Duration = Duration::from_secs(600);
/// Pools that are asked about in one round.
const TOGETHER: u32 = 4;
/// How long one question may take: nothing goes out meanwhile.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// What came of asking how many jobs wait in a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counted {
    /// So many.
    Pending(u64),
    /// The CI has no such count.
    CannotTell,
    /// It did not answer, or refused (why).
    Failed(String),
}

impl Counted {
    /// The word used in metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Counted::Pending(_) => "answered",
            Counted::CannotTell => "cannot-tell",
            Counted::Failed(_) => "failed",
        }
    }
}

impl Dispatcher {
    /// Asks about the pools of requests that may go out, where the last count is too old.
    pub(super) async fn count_pools(&self, round: &mut Round) -> Result<(), LedgerError> {
        let now = self.clock.now();
        let pools = self
            .store
            .with(move |store| store.transact(|books| books.pools_to_ask(now.minus(ASK_AGAIN), now, TOGETHER)))
            .await?;
        for pool in pools {
            let backend = self.backend.get();
            let counted = match tokio::time::timeout(ANSWERS_WITHIN, backend.pending(&pool)).await {
                Ok(Ok(Some(pending))) => Counted::Pending(pending),
                Ok(Ok(None)) => Counted::CannotTell,
                Ok(Err(error)) => Counted::Failed(error.to_string()),
                Err(_) => Counted::Failed(format!("no answer within {} seconds", ANSWERS_WITHIN.as_secs())),
            };
            let pending = match counted {
                Counted::Pending(pending) => Some(pending),
                Counted::CannotTell | Counted::Failed(_) => None,
            };
            let name = pool.clone();
            self.store
                .with(move |store| store.transact(|books| books.set_pool_count(&name, pending, now)))
                .await?;
            round.counted.push((pool, counted));
        }
        Ok(())
    }
}
