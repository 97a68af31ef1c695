//! One process of the daemon: the real pipeline on a store that outlives it. It can die at any step.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::broker::Broker;
use super::chance::{Chances, lock};
use super::ci::{Ci, FaultyCi, NAME};
use super::plan::{Fault, Scenario};
use crate::clock::{Clock, Steady};
use crate::daemon::pipeline::{Pipeline, PipelineSettings, Reading};
use crate::dispatch::{DispatchSettings, Dispatcher};
use crate::engine::ledger::LedgerError;
use crate::engine::settings::EngineSettings;
use crate::engine::{Engine, Note};
use crate::event::{BackendName, Delivery, Duration, Timestamp};
use crate::rules::RuleSet;
use crate::store::sqlite::SqliteStore;
use crate::store::{Fate, Handle};
use crate::wire::{DEFAULT_MAX_BODY, WireSettings};

/// Messages that a process takes together at most.
const BATCH: usize = 40;
/// Batches, fetches and wakes in one turn at most: what is left waits for the next.
const ROUNDS: usize = 20;
/// How long events wait for facts.
const FACTS_WITHIN: Duration = Duration::from_secs(600);

/// Whether a process lives, and its death.
#[derive(Default)]
pub(super) struct Process {
    is_dead: AtomicBool,
    died: Notify,
}

impl Process {
    pub fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Relaxed)
    }

    fn mark_dead(&self) {
        self.is_dead.store(true, Ordering::Relaxed);
        self.died.notify_one();
    }

    /// Dies: whoever awaits this does not go on.
    pub async fn die(&self) {
        self.mark_dead();
        std::future::pending().await
    }
}

/// Wall clock, and how time passes, for all processes.
#[derive(Debug, Default)]
pub(super) struct Wall {
    /// What time it is, in truth.
    pub now: Timestamp,
    /// By how many milliseconds the wall clock is wrong.
    pub offset: i64,
}

impl Wall {
    pub fn shows(&self) -> Timestamp {
        Timestamp(self.now.0 + self.offset)
    }
}

/// The clock of one process.
struct ProcessClock {
    wall: Arc<Mutex<Wall>>,
    started: Timestamp,
    steady: Mutex<Steady>,
}

impl Clock for ProcessClock {
    fn now(&self) -> Timestamp {
        let wall = lock(&self.wall);
        let ran = wall.now.since(self.started);
        lock(&self.steady).read(wall.shows(), ran)
    }
}

/// What all processes share.
pub(super) struct Surroundings {
    pub scenario: Scenario,
    pub rules: Arc<RuleSet>,
    pub store: Arc<Mutex<SqliteStore>>,
    pub broker: Arc<Mutex<Broker>>,
    pub ci: Arc<Mutex<Ci>>,
    pub wall: Arc<Mutex<Wall>>,
    pub chances: Arc<Chances>,
}

/// What a turn brought.
#[derive(Default)]
pub(super) struct Turn {
    /// Messages that were acknowledged.
    pub acked: Vec<Delivery>,
    /// What happened in the books.
    pub notes: Vec<Note>,
    /// Whether anything was done.
    pub is_busy: bool,
    /// The process died.
    pub died: bool,
    /// The store could not be used, and the turn ended early.
    pub failed: Option<LedgerError>,
}

/// A running daemon.
pub(super) struct Daemon {
    pub number: usize,
    pub clock: Arc<dyn Clock>,
    process: Arc<Process>,
    pipeline: Pipeline,
}

impl Daemon {
    /// Starts a process. It knows nothing but what is in the store.
    pub fn start(number: usize, around: &Surroundings) -> Daemon {
        let process = Arc::new(Process::default());
        let clock: Arc<dyn Clock> = {
            let wall = lock(&around.wall);
            Arc::new(ProcessClock {
                wall: Arc::clone(&around.wall),
                started: wall.now,
                steady: Mutex::new(Steady::started(wall.shows())),
            })
        };
        let store = Handle::simulated(Arc::clone(&around.store), gate(&process, &around.chances));
        let ci = |ci: &Surroundings| {
            Arc::new(FaultyCi::new(
                &ci.scenario,
                Arc::clone(&ci.ci),
                Arc::clone(&ci.chances),
                Arc::clone(&process),
            ))
        };
        let dispatcher = Dispatcher::new(
            store.clone(),
            ci(around),
            Arc::clone(&clock),
            DispatchSettings::default(),
        );
        let pipeline = Pipeline::new(
            Engine::new(Arc::clone(&around.rules), EngineSettings::default()),
            store,
            ci(around),
            dispatcher,
            crate::daemon::brakes(around.scenario.limits.clone(), &around.rules),
            Arc::clone(&clock),
            PipelineSettings {
                wire: WireSettings {
                    backend: BackendName::from(NAME),
                    max_body: DEFAULT_MAX_BODY,
                },
                facts_within: FACTS_WITHIN,
            },
        );
        Daemon {
            number,
            clock,
            process,
            pipeline,
        }
    }

    /// What messages say.
    pub fn read(&self, deliveries: &[Delivery]) -> Reading {
        self.pipeline.read(deliveries)
    }

    /// Does what there is to do, until it is done or the process dies.
    pub async fn turn(&self, around: &Surroundings) -> Turn {
        let mut turn = Turn::default();
        let died = self.process.died.notified();
        tokio::select! {
            biased;
            () = died => turn.died = true,
            outcome = self.work(around, &mut turn) => turn.failed = outcome.err(),
        }
        turn.died |= self.process.is_dead();
        turn
    }

    async fn work(&self, around: &Surroundings, turn: &mut Turn) -> Result<(), LedgerError> {
        for _ in 0..ROUNDS {
            let batch = lock(&around.broker).take(self.number, BATCH);
            let Some(last) = batch.last().map(|delivery| delivery.tag) else {
                break;
            };
            turn.is_busy = true;
            let taken = self.pipeline.take(&batch).await?;
            turn.notes.extend(taken.notes);
            if around.chances.strikes(Fault::Cut) {
                lock(&around.broker).disconnect(self.number);
            } else {
                lock(&around.broker).ack(self.number, last);
                turn.acked.extend(batch);
            }
        }
        for _ in 0..ROUNDS {
            if !self.pipeline.fetch_facts(&mut turn.notes).await? {
                break;
            }
            turn.is_busy = true;
        }
        for _ in 0..ROUNDS {
            if !self.pipeline.wake(&mut turn.notes).await? {
                break;
            }
            turn.is_busy = true;
        }
        let round = self.pipeline.dispatch().await?;
        turn.is_busy |= !round.done.is_empty();
        Ok(())
    }
}

/// What becomes of each step in the store.
fn gate(process: &Arc<Process>, chances: &Arc<Chances>) -> crate::store::Gate {
    let (process, chances) = (Arc::clone(process), Arc::clone(chances));
    Box::new(move || {
        if process.is_dead() {
            Fate::Gone
        } else if chances.strikes(Fault::CrashAtStore) {
            process.mark_dead();
            match chances.below(Fault::CrashAtStore, 2) {
                0 => Fate::Lost,
                _ => Fate::Unheard,
            }
        } else if chances.strikes(Fault::DiskFull) {
            Fate::Refused
        } else {
            Fate::Done
        }
    })
}
