//! Messages on their way from a bus into the books.
//!
//! In: a bus, the pipeline. Out: for each batch what became of it, once it is durable. Never: acknowledging by itself,
//! a batch before the one that came before it, more than two batches in memory.
//!
//! While the store commits a batch, the next one is taken from the bus and read: a disk and a processor work at the
//! same time. A batch that the store refuses is tried again, before anything that came after it.

use std::time::Instant;

use futures_core::future::BoxFuture;

use super::pipeline::{Pipeline, Reading, Taken};
use crate::bus::{Batch, Bus, BusError};
use crate::engine::ledger::LedgerError;
use crate::event::{Delivery, Duration};

/// How messages are put together.
#[derive(Debug, Clone, Copy)]
pub struct BatchSettings {
    /// Messages in a transaction, at most.
    pub max: usize,
    /// How long a batch waits for more messages after its first.
    pub linger: Duration,
    /// How long to wait for any message at all.
    pub idle: Duration,
}

/// What a step of the intake brought.
#[derive(Debug)]
pub enum Step {
    /// A batch is durable: everything up to and including the tag `last` may be acknowledged.
    Durable {
        /// The last message's tag.
        last: u64,
        /// What became of the batch.
        taken: Taken,
        /// How long the store took, from the moment it was handed the batch.
        took: Duration,
    },
    /// The store could not be used. The batch is kept, and handed over again by the next step.
    Held(LedgerError),
    /// The bus said something other than messages.
    Bus(Batch),
    /// The bus is in trouble.
    Trouble(BusError),
    /// The bus has ended, and everything that it brought is durable.
    End,
}

/// The intake of one bus.
pub struct Intake<B> {
    bus: B,
    settings: BatchSettings,
    /// What the store could not take.
    kept: Option<Vec<Delivery>>,
    /// Something in what is kept is nothing that the store can hold: each message by itself.
    one_by_one: bool,
    committing: Option<Committing>,
    /// The batch after the one that is being committed.
    read: Option<(Vec<Delivery>, Reading)>,
    has_ended: bool,
}

/// A batch that the store is at work on.
struct Committing {
    /// Kept until it is durable: the store may refuse it.
    deliveries: Vec<Delivery>,
    since: Instant,
    outcome: BoxFuture<'static, Result<Taken, LedgerError>>,
}

impl<B: Bus> Intake<B> {
    /// An intake that has taken nothing yet.
    pub fn new(bus: B, settings: BatchSettings) -> Intake<B> {
        Intake {
            bus,
            settings,
            kept: None,
            one_by_one: false,
            committing: None,
            read: None,
            has_ended: false,
        }
    }

    /// The bus.
    pub fn bus(&mut self) -> &mut B {
        &mut self.bus
    }

    /// Goes on until there is something to tell. May be dropped at any await: nothing is lost by it.
    pub async fn step(&mut self, pipeline: &Pipeline) -> Step {
        let BatchSettings { max, linger, idle } = self.settings;
        loop {
            if let (true, Some(deliveries)) = (self.one_by_one, self.kept.clone()) {
                return self.take_apart(&deliveries, pipeline).await;
            }
            self.hand_over(pipeline);
            let takes_more = self.read.is_none() && !self.has_ended;
            tokio::select! {
                biased;
                outcome = outcome(&mut self.committing), if self.committing.is_some() => {
                    if let Some(step) = self.settle(outcome) {
                        if matches!(step, Step::Durable { .. }) {
                            // The store goes on with the next batch while this one is acknowledged.
                            self.hand_over(pipeline);
                        }
                        return step;
                    }
                }
                next = self.bus.next(max, linger, idle), if takes_more => match next {
                    Ok(Batch::Deliveries(deliveries)) => {
                        let reading = pipeline.read(&deliveries);
                        self.read = Some((deliveries, reading));
                    }
                    Ok(Batch::End) => self.has_ended = true,
                    Ok(other) => return Step::Bus(other),
                    Err(error) => return Step::Trouble(error),
                },
                else => return Step::End,
            }
        }
    }

    /// Applies each message by itself, so that one that cannot be applied does not hold up the others for ever.
    async fn take_apart(&mut self, deliveries: &[Delivery], pipeline: &Pipeline) -> Step {
        let since = Instant::now();
        match pipeline.take_one_by_one(deliveries).await {
            Ok(taken) => {
                self.kept = None;
                self.one_by_one = false;
                Step::Durable {
                    last: last_tag(deliveries),
                    taken,
                    took: since.elapsed(),
                }
            }
            Err(error) => Step::Held(error),
        }
    }

    /// Goes on with what was taken from the bus already, and takes nothing more; `None` when there is nothing left.
    pub async fn finish(&mut self, pipeline: &Pipeline) -> Option<Step> {
        self.hand_over(pipeline);
        let outcome = match &mut self.committing {
            Some(_) => outcome(&mut self.committing).await,
            None => return None,
        };
        self.settle(outcome)
    }

    /// Gives the store its next batch, when it has none.
    fn hand_over(&mut self, pipeline: &Pipeline) {
        if self.committing.is_some() {
            return;
        }
        let (deliveries, reading) = match self.kept.take() {
            Some(deliveries) => {
                let reading = pipeline.read(&deliveries);
                (deliveries, reading)
            }
            None => match self.read.take() {
                Some(next) => next,
                None => return,
            },
        };
        self.committing = Some(Committing {
            deliveries,
            since: Instant::now(),
            outcome: Box::pin(pipeline.apply(reading)),
        });
    }

    /// Takes note of what the store said of its batch.
    fn settle(&mut self, outcome: Result<Taken, LedgerError>) -> Option<Step> {
        let Committing { deliveries, since, .. } = self.committing.take()?;
        Some(match outcome {
            Ok(taken) => Step::Durable {
                last: last_tag(&deliveries),
                taken,
                took: since.elapsed(),
            },
            Err(LedgerError::Rejected(_)) => {
                self.kept = Some(deliveries);
                self.one_by_one = true;
                return None;
            }
            Err(error) => {
                self.kept = Some(deliveries);
                Step::Held(error)
            }
        })
    }
}

/// The tag that acknowledges a batch. A bus hands on no empty batches; nothing would have to be acknowledged of one.
fn last_tag(deliveries: &[Delivery]) -> u64 {
    deliveries.last().map_or(0, |delivery| delivery.tag)
}

/// What the store says of its batch; never, when it has none.
async fn outcome(committing: &mut Option<Committing>) -> Result<Taken, LedgerError> {
    match committing {
        Some(committing) => committing.outcome.as_mut().await,
        None => std::future::pending().await,
    }
}
