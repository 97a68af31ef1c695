//! Requests that were accepted and whose jobs do not appear: a CI that says yes and does nothing.
//!
//! In: requests whose deadline has passed. Out: each looked for at the CI; then asked for once more, or left, with the
//! reason in the books. Never: asking again for what may still come, or a third time.

use super::{Dispatcher, ROUND, Round};
use crate::backends::{Progress, RequestError};
use crate::engine::ledger::LedgerError;
use crate::event::{Duration, Reason, Timestamp};
use crate::store::sqlite::{Books, Missing};

/// How long the task that makes the jobs is left alone between two looks.
const LOOK_AGAIN: Duration = Duration::from_secs(600);

/// What follows from a look.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Next {
    /// They may still come: look again in a while.
    Wait(String),
    /// None of them came and none will, for certain: ask once more.
    Again(String),
    /// They are not waited for, and not asked for again.
    Leave(String),
}

impl Dispatcher {
    /// Looks for what was accepted long ago and did not appear.
    pub(super) async fn look_for_missing(&self, round: &mut Round) -> Result<(), LedgerError> {
        let now = self.clock.now();
        let sent_before = now.minus(self.settings.jobs_appear_within);
        let missing = self
            .store
            .with(move |store| store.transact(|books| books.missing(sent_before, now, ROUND)))
            .await?;
        for missing in missing {
            let progress = match &missing.receipt {
                Some(task) => self.backend.get().progress(task).await,
                None => Ok(Progress::CannotTell(
                    "the CI did not name the task that makes them".into(),
                )),
            };
            let next = next(&missing, progress, self.settings.action_ends_within, now);
            let request = missing.due.request.clone();
            let is_given_up = !matches!(next, Next::Wait(_));
            self.store
                .with(move |store| store.transact(|books| settle(books, &missing, &next, now)))
                .await?;
            if is_given_up {
                round.held.push((request, Reason::NotAppeared));
            }
        }
        Ok(())
    }
}

/// What follows from what the CI says of the task that was to make the jobs.
fn next(missing: &Missing, progress: Result<Progress, RequestError>, ends_within: Duration, now: Timestamp) -> Next {
    let sent_at = missing.due.sent_at.unwrap_or(missing.due.created_at);
    let waited = now.since(sent_at);
    let came = missing.arrived;
    let times = missing.due.request.times;
    let rest = match came {
        0 => "none of its jobs appeared".to_owned(),
        _ => format!("only {came} of its {times} jobs appeared"),
    };
    let (may_come, detail) = match progress {
        Ok(Progress::Working) => (true, "the task that makes them has not ended".to_owned()),
        Err(error) => (true, format!("the task that makes them cannot be looked for: {error}")),
        Ok(Progress::Failed(why)) if came == 0 => {
            return Next::Again(format!("{rest}: the task that makes them failed: {why}"));
        }
        Ok(Progress::Failed(why)) => (false, format!("the task that makes them failed: {why}")),
        Ok(Progress::Ended) => (false, "the CI says that the task that makes them ended well".to_owned()),
        Ok(Progress::CannotTell(why)) => (false, why),
    };
    if may_come && waited < ends_within {
        Next::Wait(detail)
    } else {
        let minutes = waited.as_secs() / 60;
        Next::Leave(format!(
            "{rest} within {minutes} minutes; {detail}; it is not asked for again"
        ))
    }
}

fn settle(books: &mut Books<'_>, missing: &Missing, next: &Next, now: Timestamp) -> Result<(), LedgerError> {
    let request = &missing.due.request;
    match next {
        Next::Wait(detail) => return books.still_missing(request.key, detail, now.plus(LOOK_AGAIN)),
        Next::Leave(detail) => books.overdue(request.key, detail, now)?,
        Next::Again(detail) => {
            let detail = match books.repeat(request, "its jobs never appeared", now)? {
                Some(again) => format!("{detail}; asked for once more as {again}"),
                None => format!("{detail}; it was asked for twice, and is not asked for again"),
            };
            books.overdue(request.key, &detail, now)?;
        }
    }
    books.wake_case(request.key, now)
}
