//! Cancelling what nobody needs any longer: the jobs that a hunt still had under way when it caught its failure.
//!
//! Cancelling is idempotent at the CI: after a crash it is simply asked for again. Only tasks that a case of ours caused are
//! ever in the list.

use crate::backends::{Backend, RequestError};
use crate::engine::ledger::LedgerError;
use crate::event::{Duration, TaskId, Timestamp};
use crate::store::Handle;
use crate::store::sqlite::CancelState;

/// Tasks that are cancelled in one round.
const TOGETHER: u32 = 50;
/// Times a task is tried before it is left alone: by then it has run.
const TRIES: u32 = 8;
/// The rest before the second try; doubled each time.
const REST: Duration = Duration::from_secs(15);

/// What came of asking the CI to cancel a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It is cancelled, or has ended before.
    Done,
    /// It will be tried again.
    Later,
    /// The CI does not do it, or not for us.
    GivenUp,
}

impl Cancelled {
    /// The word used in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Cancelled::Done => "cancelled",
            Cancelled::Later => "later",
            Cancelled::GivenUp => "given-up",
        }
    }
}

/// Asks the CI to cancel what is due.
pub(super) async fn round(
    store: &Handle,
    backend: &dyn Backend,
    now: Timestamp,
) -> Result<Vec<(TaskId, Cancelled)>, LedgerError> {
    let due = store
        .with(move |store| store.transact(|books| books.due_cancellations(now, TOGETHER)))
        .await?;
    let mut cancelled = Vec::with_capacity(due.len());
    for one in due {
        let answer = backend.cancel(&one.task).await;
        let detail = answer.as_ref().err().map(ToString::to_string).unwrap_or_default();
        let (state, result) = match answer {
            Ok(()) => (CancelState::Cancelled, Cancelled::Done),
            Err(RequestError::NotPossible(_)) => (CancelState::GivenUp, Cancelled::GivenUp),
            Err(_) if one.attempts + 1 >= TRIES => (CancelState::GivenUp, Cancelled::GivenUp),
            Err(_) => {
                let rest = REST.saturating_mul(1 << one.attempts.min(TRIES));
                (CancelState::Again(now.plus(rest)), Cancelled::Later)
            }
        };
        if result != Cancelled::Done {
            tracing::warn!(task = %one.task, result = result.as_str(), %detail, "a job that nobody needs is not cancelled");
        }
        let task = one.task.clone();
        store
            .with(move |store| store.transact(|books| books.settle_cancellation(&task, state, &detail)))
            .await?;
        cancelled.push((one.task, result));
    }
    Ok(cancelled)
}
