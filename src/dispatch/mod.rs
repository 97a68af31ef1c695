//! From the outbox to the CI, within limits, at most once.
//!
//! In: requests in the outbox. Out: requests at a backend, receipts in the books. Never: a request that no
//! transaction has marked as being sent; a second request for one whose fate is not known.
//!
//! The life of a request: *queued* → *sending* (committed, with a lease, before a byte goes out) → *accepted*,
//! *refused*, back to *queued* (nothing was done, for certain) or *in doubt* (nobody knows). A request in doubt, or one
//! whose dispatcher did not come back, is looked for at the backend before anything is asked again.

mod appear;
mod breaker;
mod cancel;
mod claim;
pub mod limits;
mod pools;
mod rate;
mod together;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backends::{Apart, Backend, Found, Receipt, RequestError};
use crate::clock::Clock;
use crate::current::Current;
use crate::engine::ledger::LedgerError;
use crate::event::{ActionKey, Duration, JobRequest, Reason, TaskId, Timestamp};
use crate::store::Handle;
use crate::store::sqlite::{Books, Due, PauseScope};
use breaker::Answered;
pub use cancel::Cancelled;
use claim::{Claimed, ROUND};
use limits::Brakes;
pub use pools::Counted;
use watch::Watch;

/// The longest rest between two tries.
const LONGEST_REST: Duration = Duration::from_secs(3600);

/// What the dispatcher does where the configuration leaves a choice.
#[derive(Debug, Clone)]
pub struct DispatchSettings {
    /// How long a push may have no decision task before its requests are given up.
    pub decision_task_within: Duration,
    /// How long a dispatcher may work on a request before others take it for lost: longer than all that a backend does
    /// for one request together.
    pub lease: Duration,
    /// How long a request in doubt rests before it is looked for (again): the CI's index needs a moment.
    pub look_after: Duration,
    /// The rest before the second try of a request that the CI did not take; doubled each time, an hour at most.
    pub retry_after: Duration,
    /// Times a request in doubt is looked for before it is left and reported.
    pub looks: u32,
    /// Whether a request that the backend cannot tell anything about is asked again after the last look. Off by
    /// default: it may then be done twice.
    pub ask_again: bool,
    /// How long after a request was sent its jobs may take to appear before they are looked for.
    pub jobs_appear_within: Duration,
    /// How long after a request was sent the task that makes its jobs may take, at most.
    pub action_ends_within: Duration,
}

impl Default for DispatchSettings {
    fn default() -> Self {
        DispatchSettings {
            decision_task_within: Duration::from_secs(2 * 3600),
            lease: Duration::from_secs(300),
            look_after: Duration::from_secs(60),
            retry_after: Duration::from_secs(15),
            looks: 5,
            ask_again: false,
            jobs_appear_within: Duration::from_secs(2 * 3600),
            action_ends_within: Duration::from_secs(24 * 3600),
        }
    }
}

/// What became of one request in a round.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The CI took it.
    Accepted(Receipt),
    /// The CI said no, for good.
    Refused(String),
    /// Nothing was done; it will be tried again, for this reason, not before the CI asked to wait.
    Later(Reason, String, Option<Duration>),
    /// Nothing was done, because the CI does not take it together with others: it is asked for alone, at once.
    Apart(String),
    /// What became of it is not known.
    InDoubt(String),
}

impl Outcome {
    /// The word used in metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Outcome::Accepted(_) => "accepted",
            Outcome::Refused(_) => "refused",
            Outcome::Later(..) | Outcome::Apart(_) => "later",
            Outcome::InDoubt(_) => "in-doubt",
        }
    }

    /// What the CI said, for people.
    pub fn detail(&self) -> &str {
        match self {
            Outcome::Accepted(receipt) => receipt.reference.as_deref().unwrap_or_default(),
            Outcome::Refused(detail)
            | Outcome::Later(_, detail, _)
            | Outcome::Apart(detail)
            | Outcome::InDoubt(detail) => detail,
        }
    }
}

/// What one round did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Round {
    /// Requests that went out, or were looked for, and what became of each, with the time it took.
    pub done: Vec<(JobRequest, String, Outcome, Duration)>,
    /// Requests that were held back or given up, for a new reason.
    pub held: Vec<(JobRequest, Reason)>,
    /// Tasks that the CI was asked to cancel, and what came of it.
    pub cancelled: Vec<(TaskId, Cancelled)>,
    /// Worker pools that the CI was asked about, and what it said.
    pub counted: Vec<(String, Counted)>,
}

/// Sends what is in the outbox.
pub struct Dispatcher {
    store: Handle,
    backend: Current<dyn Backend>,
    clock: Arc<dyn Clock>,
    settings: DispatchSettings,
    watch: Arc<Mutex<Watch>>,
}

/// A panic elsewhere leaves at worst a doubt that is waited for longer.
fn lock(watch: &Mutex<Watch>) -> MutexGuard<'_, Watch> {
    watch.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Dispatcher {
    /// A dispatcher for one backend.
    pub fn new(
        store: Handle,
        backend: Arc<dyn Backend>,
        clock: Arc<dyn Clock>,
        settings: DispatchSettings,
    ) -> Dispatcher {
        Dispatcher {
            store,
            backend: Current::new(backend),
            clock,
            settings,
            watch: Arc::default(),
        }
    }

    /// Asks another backend of the same name from now on: one with other credentials.
    pub fn set_backend(&self, backend: Arc<dyn Backend>) {
        self.backend.put(backend);
    }

    /// Sends what may be sent now, and looks for what is in doubt.
    ///
    /// # Errors
    /// The store is busy or damaged. What was sent and could not be written down is in doubt, and found again.
    pub async fn round(&self, brakes: &Brakes) -> Result<Round, LedgerError> {
        let mut round = Round::default();
        if brakes.limits.pending_jobs_per_pool.is_some() {
            self.count_pools(&mut round).await?;
        }
        self.send_queued(brakes, &mut round).await?;
        self.look_for_doubtful(&mut round).await?;
        self.look_for_missing(&mut round).await?;
        round.cancelled = cancel::round(&self.store, self.backend.get().as_ref(), self.clock.now()).await?;
        Ok(round)
    }

    async fn send_queued(&self, brakes: &Brakes, round: &mut Round) -> Result<(), LedgerError> {
        let now = self.clock.now();
        let Claimed { sent, held } = {
            let brakes = brakes.clone();
            let backend = self.backend.get();
            let (backend, most) = (backend.name().clone(), backend.most_together());
            let lease = now.plus(self.settings.lease);
            self.store
                .with(move |store| {
                    store.transact(|books| claim::claim(books, &brakes, (backend.as_str(), most), now, lease))
                })
                .await?
        };
        round.held.extend(held);
        let mut under_way = tokio::task::JoinSet::new();
        for call in sent.into_calls() {
            let backend = self.backend.get();
            let started = std::time::Instant::now();
            under_way.spawn(async move {
                let answers = ask(backend.as_ref(), &call).await;
                (call, answers, started.elapsed())
            });
        }
        while let Some(finished) = under_way.join_next().await {
            // A task that panicked leaves its requests `sending`: their lease runs out, and they are looked for.
            let Ok((call, answers, took)) = finished else { continue };
            let (answered, outcomes) = match answers {
                Ok(answers) => {
                    let answered = answers.iter().map(answered).max().unwrap_or(Answered::Well);
                    let outcomes = call.iter().zip(answers).map(|(due, answer)| match answer {
                        Ok(receipt) => Outcome::Accepted(receipt),
                        Err(error) => self.outcome_of(error, due),
                    });
                    (answered, outcomes.collect::<Vec<_>>())
                }
                Err(Apart(why)) => (Answered::Well, vec![Outcome::Apart(why); call.len()]),
            };
            self.settle(&call, &outcomes, Some(answered)).await?;
            let done = call.into_iter().zip(outcomes);
            round
                .done
                .extend(done.map(|(due, outcome)| (due.request, due.rule, outcome, took)));
        }
        Ok(())
    }

    fn outcome_of(&self, error: RequestError, due: &Due) -> Outcome {
        let detail = error.to_string();
        match error {
            RequestError::NotPossible(_) => Outcome::Refused(detail),
            RequestError::Refused(_) => Outcome::Later(Reason::BackendRefused, detail, None),
            RequestError::Busy { retry_after, .. } => Outcome::Later(Reason::BackendBusy, detail, retry_after),
            RequestError::InDoubt(_) => Outcome::InDoubt(detail),
            RequestError::NotYet(_) => {
                let waited = self.clock.now().since(due.created_at);
                if waited >= self.settings.decision_task_within {
                    Outcome::Refused(format!("{detail} (waited {} minutes)", waited.as_secs() / 60))
                } else {
                    Outcome::Later(Reason::NotYet, detail, None)
                }
            }
        }
    }

    async fn look_for_doubtful(&self, round: &mut Round) -> Result<(), LedgerError> {
        let now = self.clock.now();
        let lease = self.settings.lease;
        let watch = Arc::clone(&self.watch);
        let doubtful = self
            .store
            .with(move |store| {
                store.transact(|books| {
                    let due = books.doubtful(now, ROUND)?;
                    let mut ready = lock(&watch).may_look_for(due, now, lease);
                    books.take_doubtful(&mut ready, now.plus(lease))?;
                    Ok(ready)
                })
            })
            .await?;
        let backend = self.backend.get();
        for group in together::sent_together(doubtful, backend.most_together()) {
            let started = std::time::Instant::now();
            let Some(sent_at) = group.first().map(|due| due.sent_at.unwrap_or(due.created_at)) else {
                continue;
            };
            let found = match group.as_slice() {
                [due] => vec![backend.find(&due.request, sent_at).await],
                several => {
                    let requests: Vec<JobRequest> = several.iter().map(|due| due.request.clone()).collect();
                    backend.find_together(&requests, sent_at).await
                }
            };
            let took = started.elapsed();
            for (due, found) in group.into_iter().zip(found) {
                let outcome = self.outcome_of_look(&due, found).await?;
                self.settle(std::slice::from_ref(&due), std::slice::from_ref(&outcome), None)
                    .await?;
                round.done.push((due.request, due.rule, outcome, took));
            }
        }
        Ok(())
    }

    async fn outcome_of_look(&self, due: &Due, found: Result<Found, RequestError>) -> Result<Outcome, LedgerError> {
        Ok(match found {
            Ok(Found::Done(receipt)) => match self.holder_of(&receipt, due).await? {
                // Two equal requests look alike at the CI: what the one led to proves nothing of the other.
                Some(other) if other != due.request.key => {
                    Outcome::InDoubt(format!("what was found there is {other}'s already"))
                }
                _ => Outcome::Accepted(receipt),
            },
            Ok(Found::NotDone) => Outcome::Later(
                Reason::InDoubt,
                "the CI never got it: it is asked for again".into(),
                None,
            ),
            Ok(Found::CannotTell(why)) if self.settings.ask_again && due.attempts >= self.settings.looks => {
                Outcome::Later(
                    Reason::InDoubt,
                    format!("{why}: it is asked for again, as configured"),
                    None,
                )
            }
            Ok(Found::CannotTell(why)) => Outcome::InDoubt(why),
            Err(error) => Outcome::InDoubt(format!("it cannot be looked for: {error}")),
        })
    }

    /// The request for this label whose receipt names this action task: an action task may be the work of several
    /// requests, for a label each.
    async fn holder_of(&self, receipt: &Receipt, due: &Due) -> Result<Option<ActionKey>, LedgerError> {
        let Some(task) = receipt.action_task.clone() else {
            return Ok(None);
        };
        let label = due.request.label.clone();
        self.store
            .with(move |store| store.transact(|books| books.holder_of(&task, &label)))
            .await
    }

    /// Writes down what became of the requests of one call, and how the backend answered if it was asked for jobs.
    async fn settle(&self, dues: &[Due], outcomes: &[Outcome], answered: Option<Answered>) -> Result<(), LedgerError> {
        let now = self.clock.now();
        let settings = self.settings.clone();
        let settled: Vec<(ActionKey, u32, Outcome)> = dues
            .iter()
            .zip(outcomes)
            .map(|(due, outcome)| (due.request.key, due.attempts, outcome.clone()))
            .collect();
        let backend = self.backend.get().name().clone();
        for (key, attempts, outcome) in &settled {
            match outcome {
                Outcome::InDoubt(_) => lock(&self.watch).put_in_doubt(*key, *attempts),
                _ => lock(&self.watch).is_known(*key),
            }
        }
        self.store
            .with(move |store| {
                store.transact(|books| {
                    if let Some(answered) = answered {
                        books.note_answer(backend.as_str(), answered.as_str(), now)?;
                    }
                    settled
                        .iter()
                        .try_for_each(|(key, attempts, outcome)| write(books, &settings, *key, *attempts, outcome, now))
                })
            })
            .await
    }
}

/// Writes down what became of one request.
fn write(
    books: &mut Books<'_>,
    settings: &DispatchSettings,
    key: ActionKey,
    attempts: u32,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<(), LedgerError> {
    match outcome {
        Outcome::Accepted(receipt) => {
            books.accepted(key, receipt.action_task.as_ref(), receipt.reference.as_deref(), now)?;
            books.wake_case(key, now)
        }
        Outcome::Refused(detail) => {
            books.refused(key, attempts, Reason::NotPossible, detail, now)?;
            books.wake_case(key, now)
        }
        Outcome::Later(reason, detail, wait) => {
            // What was looked for has rested meanwhile: its looks are no tries that failed.
            let tries = if *reason == Reason::InDoubt { 0 } else { attempts };
            let pause = rest(settings.retry_after, tries)
                .max(wait.unwrap_or_default())
                .min(LONGEST_REST);
            books.requeue(key, attempts, *reason, detail, now.plus(pause))
        }
        Outcome::Apart(why) => books.requeue(key, attempts, Reason::NotPossible, why, now),
        Outcome::InDoubt(detail) => {
            // Past the last look it is left as it is, and looked at once an hour in case the CI remembers.
            let is_last = attempts >= settings.looks;
            let pause = if is_last { LONGEST_REST } else { settings.look_after };
            books.in_doubt(key, attempts, detail, now.plus(pause))
        }
    }
}

/// Asks the CI for the jobs of one call. One answer a request.
async fn ask(backend: &dyn Backend, call: &[Due]) -> Result<Vec<Result<Receipt, RequestError>>, Apart> {
    if let [due] = call {
        return Ok(vec![backend.request(&due.request).await]);
    }
    let requests: Vec<JobRequest> = call.iter().map(|due| due.request.clone()).collect();
    let mut answers = backend.request_together(&requests).await?;
    // An answer that is missing is one that is not known.
    let unknown = || Err(RequestError::InDoubt("the backend gave no answer to this one".into()));
    answers.resize_with(requests.len(), unknown);
    Ok(answers)
}

/// The rest before the next try: doubled each time, an hour at most.
fn rest(first: Duration, attempts: u32) -> Duration {
    first.saturating_mul(1 << attempts.min(8)).min(LONGEST_REST)
}

/// What an answer says of the backend's health.
fn answered(answer: &Result<Receipt, RequestError>) -> Answered {
    match answer {
        Ok(_) | Err(RequestError::NotPossible(_) | RequestError::NotYet(_)) => Answered::Well,
        Err(RequestError::Refused(_)) => Answered::Refused,
        Err(RequestError::Busy { .. } | RequestError::InDoubt(_)) => Answered::Failed,
    }
}

/// The breakers that are open, by what they stop: the backend, or platforms, with how many.
///
/// # Errors
/// The store is busy or damaged.
pub fn open_breakers(
    books: &mut Books<'_>,
    brakes: &Brakes,
    backend: &str,
    now: Timestamp,
) -> Result<[(PauseScope, usize); 2], LedgerError> {
    let limits = &brakes.limits;
    let answers = claim::answers(books, backend)?;
    let is_backend_open = breaker::backend(&answers, limits.error_share, now).is_open();
    let platforms = books
        .ended_by_platform(now.minus(breaker::WINDOW))?
        .into_iter()
        .filter(|(_, total, infra)| {
            let ended = breaker::Ended {
                total: *total,
                infra: *infra,
            };
            breaker::platform(ended, limits.infra_runs, limits.infra_share, None, now).is_open()
        })
        .count();
    Ok([
        (PauseScope::Backend, usize::from(is_backend_open)),
        (PauseScope::Platform, platforms),
    ])
}

/// Whether the backend refuses our credentials: its newest answer says so.
///
/// # Errors
/// The store is busy or damaged.
pub fn are_credentials_refused(books: &mut Books<'_>, backend: &str, now: Timestamp) -> Result<bool, LedgerError> {
    let answers = claim::answers(books, backend)?;
    Ok(breaker::credentials(&answers, now).is_open())
}
