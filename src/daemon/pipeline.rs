//! The way of a message, step by step. The daemon runs these steps in loops, the demo and the tests in lockstep.
//!
//! In: deliveries, time. Out: committed books, requests at the CI, notes of what happened. Never: acknowledging;
//! whoever drives the steps does that when [`Pipeline::take`]
//! (or [`Pipeline::apply`]) has said that they are durable.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use super::fetch::fetch;
use crate::backends::Backend;
use crate::clock::Clock;
use crate::current::Current;
use crate::dispatch::limits::Brakes;
use crate::dispatch::{Dispatcher, Round};
use crate::engine::ledger::{Lack, LedgerError, Pushes as _};
use crate::engine::opening::PUSHES_FETCHED;
use crate::engine::{Engine, Note, Patience};
use crate::enrich::{FactError, FactSource};
use crate::event::{Delivery, Duration, Event, PushId, Timestamp};
use crate::store::Handle;
use crate::store::sqlite::{Books, Waiting};
use crate::wire::{self, DecodeError, Decoded, WireSettings};

/// Events whose facts are fetched together.
const FETCHED_TOGETHER: u32 = 64;
/// How long a fetch may take before the event is taken up again.
const FETCH_LEASE: Duration = Duration::from_secs(120);
/// How long an event is kept that was applied without its facts, in case they come.
const KEPT_WAITING: Duration = Duration::from_secs(24 * 3600);
/// Times that a search asks where pushes touch files before it does without: three pauses, 70 seconds in all.
const PLACES_ATTEMPTS: u32 = 4;
/// The longest rest that a source may ask for and the search still waits for that.
const PLACES_REST: Duration = Duration::from_secs(60);
/// Cases that are woken in one transaction.
const WOKEN_TOGETHER: u32 = 50;
/// The reason kept with a message that was read and that the store does not take.
pub const NOT_APPLICABLE: &str = "not-applicable";
/// Rounds of [`Pipeline::settle`] before it takes the work for endless.
const SETTLE_ROUNDS: u32 = 1_000;

/// What a pipeline is told, besides its parts.
#[derive(Debug, Clone)]
pub struct PipelineSettings {
    /// How messages are read.
    pub wire: WireSettings,
    /// How long an event waits for its facts before it is applied without them.
    pub facts_within: Duration,
}

/// What became of a batch of deliveries.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Taken {
    /// Messages that were read and say something.
    pub decoded: u64,
    /// Events in them, by name.
    pub events: BTreeMap<&'static str, u64>,
    /// Sound messages of no use, by reason.
    pub ignored: BTreeMap<&'static str, u64>,
    /// Messages that could not be read, by reason.
    pub dead: BTreeMap<&'static str, u64>,
    /// The latest moment that an event speaks of.
    pub latest: Option<Timestamp>,
    /// What happened.
    pub notes: Vec<Note>,
}

impl Taken {
    /// Adds what became of other deliveries.
    fn absorb(&mut self, other: Taken) {
        let Taken {
            decoded,
            events,
            ignored,
            dead,
            latest,
            notes,
        } = other;
        self.decoded += decoded;
        for (sum, counts) in [
            (&mut self.events, events),
            (&mut self.ignored, ignored),
            (&mut self.dead, dead),
        ] {
            for (name, count) in counts {
                *sum.entry(name).or_default() += count;
            }
        }
        self.latest = self.latest.max(latest);
        self.notes.extend(notes);
    }
}

/// Messages that were read and are not applied yet.
#[derive(Debug, Default)]
pub struct Reading {
    events: Vec<Event>,
    dead: Vec<(Delivery, DecodeError)>,
    taken: Taken,
}

impl Reading {
    /// Events that came by no message: of a test, or made by hand.
    pub fn of(events: Vec<Event>) -> Reading {
        Reading {
            events,
            ..Reading::default()
        }
    }

    /// What the messages say, in their order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Takes the first `count` events off, together with all that is not an event; what is left can be applied later.
    pub fn take_first(&mut self, count: usize) -> Reading {
        let rest = self.events.split_off(count.min(self.events.len()));
        let first = std::mem::take(self);
        self.events = rest;
        first
    }
}

/// The steps.
pub struct Pipeline {
    engine: Arc<Mutex<Engine>>,
    store: Handle,
    facts: Current<dyn FactSource>,
    dispatcher: Dispatcher,
    brakes: Current<Brakes>,
    clock: Arc<dyn Clock>,
    settings: PipelineSettings,
}

impl Pipeline {
    /// Puts the parts together.
    pub fn new(
        engine: Engine,
        store: Handle,
        facts: Arc<dyn FactSource>,
        dispatcher: Dispatcher,
        brakes: Brakes,
        clock: Arc<dyn Clock>,
        settings: PipelineSettings,
    ) -> Pipeline {
        Pipeline {
            engine: Arc::new(Mutex::new(engine)),
            store,
            facts: Current::new(facts),
            dispatcher,
            brakes: Current::new(Arc::new(brakes)),
            clock,
            settings,
        }
    }

    /// How messages are read.
    pub fn wire(&self) -> &WireSettings {
        &self.settings.wire
    }

    /// The store.
    pub fn store(&self) -> &Handle {
        &self.store
    }

    /// The engine, for a change of rules. Held only for a moment: the store's thread waits for it.
    pub fn engine(&self) -> MutexGuard<'_, Engine> {
        lock(&self.engine)
    }

    /// The limits and budgets in force.
    pub fn brakes(&self) -> Arc<Brakes> {
        self.brakes.get()
    }

    /// Puts other limits and budgets in force.
    pub fn set_brakes(&self, brakes: Brakes) {
        self.brakes.put(Arc::new(brakes));
    }

    /// Asks other services from now on: the same ones, with other credentials.
    pub fn set_services(&self, backend: Arc<dyn Backend>, facts: Arc<dyn FactSource>) {
        self.dispatcher.set_backend(backend);
        self.facts.put(facts);
    }

    /// Reads messages and applies them in one transaction: when this returns, they may be acknowledged. A message that
    /// cannot be read is kept with the reason.
    ///
    /// # Errors
    /// The store is busy or damaged: nothing of the batch was written.
    pub async fn take(&self, deliveries: &[Delivery]) -> Result<Taken, LedgerError> {
        match self.apply(self.read(deliveries)).await {
            Err(LedgerError::Rejected(_)) => self.take_one_by_one(deliveries).await,
            outcome => outcome,
        }
    }

    /// Something in a batch is nothing that the store can hold: each message by itself, so that it does not hold up
    /// the others for ever. What is refused alone too is kept with the reason, as what cannot be read.
    pub(super) async fn take_one_by_one(&self, deliveries: &[Delivery]) -> Result<Taken, LedgerError> {
        let mut all = Taken::default();
        for delivery in deliveries {
            let taken = match self.apply(self.read(std::slice::from_ref(delivery))).await {
                Err(LedgerError::Rejected(detail)) => {
                    tracing::warn!(exchange = %delivery.exchange, %detail, "a message cannot be applied");
                    self.bury(delivery.clone(), detail).await?
                }
                outcome => outcome?,
            };
            all.absorb(taken);
        }
        Ok(all)
    }

    /// Keeps a message that cannot be applied.
    async fn bury(&self, delivery: Delivery, detail: String) -> Result<Taken, LedgerError> {
        let now = self.clock.now();
        self.store
            .with(move |store| store.transact(|books| books.dead_letter(&delivery, NOT_APPLICABLE, &detail, now)))
            .await?;
        Ok(Taken {
            dead: BTreeMap::from([(NOT_APPLICABLE, 1)]),
            ..Taken::default()
        })
    }

    /// Reads messages: the part of [`Pipeline::take`] that needs no store.
    pub fn read(&self, deliveries: &[Delivery]) -> Reading {
        let mut reading = Reading {
            events: Vec::with_capacity(deliveries.len()),
            ..Reading::default()
        };
        let taken = &mut reading.taken;
        for delivery in deliveries {
            match wire::decode(delivery, &self.settings.wire) {
                Ok(Decoded::Events(decoded)) => {
                    taken.decoded += 1;
                    for event in &decoded {
                        *taken.events.entry(event.name()).or_default() += 1;
                        if let Event::Job(job) = event {
                            taken.latest = taken.latest.max(Some(job.at));
                        }
                    }
                    reading.events.extend(decoded);
                }
                Ok(Decoded::Ignored(why)) => *taken.ignored.entry(why.as_str()).or_default() += 1,
                Err(error) => {
                    *taken.dead.entry(error.reason.as_str()).or_default() += 1;
                    tracing::debug!(exchange = %delivery.exchange, %error, "a message cannot be read");
                    reading.dead.push((delivery.clone(), error));
                }
            }
        }
        reading
    }

    /// Applies what was read, in one transaction. It is handed to the store at once, behind what was handed over
    /// before; the messages may be acknowledged when the returned future says that it is durable.
    ///
    /// # Errors
    /// The store is busy or damaged: nothing of the batch was written.
    pub fn apply(&self, reading: Reading) -> impl Future<Output = Result<Taken, LedgerError>> + Send + use<> {
        let engine = Arc::clone(&self.engine);
        let now = self.clock.now();
        let Reading {
            events,
            dead,
            mut taken,
        } = reading;
        self.store.with(move |store| {
            let outcome = store.transact(|books| {
                for (delivery, error) in &dead {
                    books.dead_letter(delivery, error.reason.as_str(), &error.detail, now)?;
                }
                lock(&engine).apply(books, events, Patience::Fresh, now)
            });
            taken.notes = outcome.inspect_err(|_| lock(&engine).forget_books())?;
            Ok(taken)
        })
    }

    /// Applies events that came by another way than a message, in one transaction.
    ///
    /// # Errors
    /// The store is busy or damaged: nothing was written.
    pub async fn apply_events(&self, events: Vec<Event>) -> Result<Taken, LedgerError> {
        let mut reading = Reading::default();
        for event in &events {
            *reading.taken.events.entry(event.name()).or_default() += 1;
        }
        reading.events = events;
        self.apply(reading).await
    }

    /// Fetches what events in the inbox lack, and applies them. Returns whether there was anything to do.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub async fn fetch_facts(&self, notes: &mut Vec<Note>) -> Result<bool, LedgerError> {
        let now = self.clock.now();
        let waiting = self
            .store
            .with(move |store| {
                store.transact(|books| {
                    let mut all = books.take_waiting(now, now.plus(FETCH_LEASE), FETCHED_TOGETHER)?;
                    for waiting in all.iter_mut().filter(|waiting| waiting.lack == Lack::Places) {
                        waiting.untold = oldest_untold(books, &waiting.event)?;
                    }
                    Ok(all)
                })
            })
            .await?;
        if waiting.is_empty() {
            return Ok(false);
        }
        let mut fetches = tokio::task::JoinSet::new();
        for waiting in waiting {
            let facts = self.facts.get();
            let backend = self.settings.wire.backend.clone();
            fetches.spawn(async move {
                let mut waiting = waiting;
                let answer = fetch(facts.as_ref(), &backend, &mut waiting).await;
                (waiting, answer)
            });
        }
        let mut fetched = Vec::with_capacity(fetches.len());
        while let Some(fetch) = fetches.join_next().await {
            match fetch {
                Ok(found) => fetched.push(found),
                // It is taken up again when its lease is over.
                Err(error) => tracing::error!(%error, "a fetch of facts did not end well"),
            }
        }
        fetched.sort_by_key(|(waiting, _)| waiting.id);
        let fetched: Arc<[_]> = fetched.into();
        match self.apply_fetched(Arc::clone(&fetched), 0..fetched.len()).await {
            Err(LedgerError::Rejected(_)) => self.apply_fetched_one_by_one(fetched, notes).await?,
            outcome => notes.append(&mut outcome?),
        }
        Ok(true)
    }

    /// What [`Pipeline::take`] does with messages, for events of the inbox: one that is refused alone too is dropped,
    /// and said so.
    async fn apply_fetched_one_by_one(
        &self,
        fetched: Arc<[Fetched]>,
        notes: &mut Vec<Note>,
    ) -> Result<(), LedgerError> {
        for (index, (waiting, _)) in fetched.iter().enumerate() {
            match self.apply_fetched(Arc::clone(&fetched), index..index + 1).await {
                Err(LedgerError::Rejected(detail)) => {
                    tracing::error!(event = ?waiting.event, %detail, "an event cannot be applied, and is dropped");
                    let id = waiting.id;
                    self.store
                        .with(move |store| store.transact(|books| books.done_waiting(id)))
                        .await?;
                }
                outcome => notes.append(&mut outcome?),
            }
        }
        Ok(())
    }

    /// Applies some of what was fetched, in one transaction.
    async fn apply_fetched(&self, fetched: Arc<[Fetched]>, some: Range<usize>) -> Result<Vec<Note>, LedgerError> {
        let engine = Arc::clone(&self.engine);
        let facts_within = self.settings.facts_within;
        let now = self.clock.now();
        self.store
            .with(move |store| {
                let outcome = store.transact(|books| {
                    let mut engine = lock(&engine);
                    let mut notes = Vec::new();
                    for (waiting, answer) in fetched.get(some).unwrap_or_default() {
                        notes.extend(apply_waiting(&mut engine, books, waiting, answer, facts_within, now)?);
                    }
                    Ok(notes)
                });
                outcome.inspect_err(|_| lock(&engine).forget_books())
            })
            .await
    }

    /// Looks again at cases whose time has come. Returns whether there were any.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub async fn wake(&self, notes: &mut Vec<Note>) -> Result<bool, LedgerError> {
        let engine = Arc::clone(&self.engine);
        let now = self.clock.now();
        let (woken, mut news) = self
            .store
            .with(move |store| {
                store.transact(|books| {
                    let mut engine = lock(&engine);
                    let news = engine.wake(books, now, WOKEN_TOGETHER)?;
                    Ok((!news.is_empty(), news))
                })
            })
            .await?;
        notes.append(&mut news);
        Ok(woken)
    }

    /// Sends what may be sent.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub async fn dispatch(&self) -> Result<Round, LedgerError> {
        let brakes = self.brakes();
        self.dispatcher.round(&brakes).await
    }

    /// Does everything that can be done at this moment: for simulations and replays, where time stands still meanwhile.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub async fn settle(&self, notes: &mut Vec<Note>) -> Result<Vec<Round>, LedgerError> {
        let mut rounds = Vec::new();
        for _ in 0..SETTLE_ROUNDS {
            let fetched = self.fetch_facts(notes).await?;
            let woken = self.wake(notes).await?;
            let round = self.dispatch().await?;
            let sent = !round.done.is_empty();
            if sent || !round.held.is_empty() {
                rounds.push(round);
            }
            if !fetched && !woken && !sent {
                break;
            }
        }
        Ok(rounds)
    }
}

/// An event of the inbox, and what was fetched for it: events that are to be applied before it.
type Fetched = (Waiting, Result<Vec<Event>, FactError>);

/// A panic in a transaction rolled it back: what the engine learnt in it is not written down.
fn lock(engine: &Mutex<Engine>) -> MutexGuard<'_, Engine> {
    engine.lock().unwrap_or_else(|poisoned| {
        let mut guard = poisoned.into_inner();
        guard.forget_books();
        engine.clear_poison();
        guard
    })
}

/// Applies an event whose facts were fetched, or are late, or are not to be had.
fn apply_waiting(
    engine: &mut Engine,
    books: &mut Books<'_>,
    waiting: &Waiting,
    answer: &Result<Vec<Event>, FactError>,
    facts_within: Duration,
    now: Timestamp,
) -> Result<Vec<Note>, LedgerError> {
    let waited = now.since(waiting.since);
    let again = now.plus(pause(waiting.attempts));
    let patience = match answer {
        Ok(_) if waiting.lack == Lack::Lineage => Patience::Fetched(Lack::Failures),
        Ok(_) => Patience::Fetched(waiting.lack),
        Err(FactError::Later { retry_after, .. })
            if waiting.lack == Lack::Places && is_not_worth_it(waiting.attempts, *retry_after) =>
        {
            tracing::debug!(event = %waiting.event.id(), "a search opens without knowing where pushes touch files");
            Patience::Fetched(Lack::Places)
        }
        Err(FactError::Later { retry_after, detail }) => {
            let again = again.max(now.plus(retry_after.unwrap_or_default()));
            if waited >= KEPT_WAITING {
                books.done_waiting(waiting.id)?;
                return Ok(Vec::new());
            }
            let is_late = waited >= facts_within && !waiting.applied;
            tracing::debug!(%detail, is_late, "facts are not to be had now");
            books.keep_waiting(waiting.id, again, is_late)?;
            if !is_late {
                return Ok(Vec::new());
            }
            let mut event = waiting.event.clone();
            if let (Lack::Values, Event::Job(job)) = (waiting.lack, &mut event) {
                // Cases do not wait for it any longer. Should the results come after all, they are taken then.
                job.facts.values = Some(Vec::new());
            }
            return engine.apply(books, vec![event], Patience::Settled, now);
        }
        Err(error @ (FactError::Absent(_) | FactError::Malformed(_) | FactError::NoSource(_))) => {
            tracing::debug!(%error, "facts are not to be had");
            Patience::Settled
        }
    };
    if let (Some(graph), Some(project), Some(push)) = (&waiting.graph, waiting.event.project(), waiting.event.push()) {
        books.record_graph(project, push, graph, now)?;
    }
    let mut events = answer.clone().unwrap_or_default();
    if waiting.lack == Lack::Places {
        // These pushes were heard of, and rules have had their turn on them: only where they touch files is news.
        for push in events.drain(..) {
            if let Event::Push(push) = push {
                books.record_push(&push)?;
            }
        }
    }
    events.push(waiting.event.clone());
    let notes = engine.apply(books, events, patience, now)?;
    let still_waits = notes.iter().any(|note| matches!(note, Note::Waits(_)));
    let is_given_up = waiting.lack == Lack::Lineage && waited >= KEPT_WAITING;
    if !still_waits || is_given_up {
        books.done_waiting(waiting.id)?;
    } else if waiting.lack == Lack::Lineage {
        // As long as nobody knows whose run it is, it opens nothing; but what it says is heard when the time is up.
        let is_late = waited >= facts_within && !waiting.applied;
        books.keep_waiting(waiting.id, again, is_late)?;
        if is_late {
            return engine.apply(books, vec![waiting.event.clone()], Patience::Settled, now);
        }
    }
    Ok(notes)
}

/// The oldest of the pushes up to an event's, as far back as is asked for, of which nobody has told where they touch files.
/// A merge that is known is then not fetched again, with thousands of changesets.
fn oldest_untold(books: &mut Books<'_>, event: &Event) -> Result<Option<PushId>, LedgerError> {
    let (Some(project), Some(to)) = (event.project(), event.push()) else {
        return Ok(None);
    };
    let first = PushId(to.0.saturating_sub(PUSHES_FETCHED));
    let touched = books.touched_between(project, first, to)?;
    Ok(touched.iter().find(|row| row.folders.is_none()).map(|row| row.push))
}

/// Whether a search is better opened at once than after another question about where pushes touch files: knowing it saves
/// some of its runs, and waiting for it costs minutes.
fn is_not_worth_it(attempts: u32, retry_after: Option<Duration>) -> bool {
    attempts >= PLACES_ATTEMPTS || retry_after.is_some_and(|rest| rest > PLACES_REST)
}

/// The pause before facts are asked for again: 5 seconds, doubled each time, ten minutes at most.
fn pause(attempts: u32) -> Duration {
    Duration::from_secs(5)
        .saturating_mul(1 << attempts.min(7))
        .min(Duration::from_secs(600))
}
