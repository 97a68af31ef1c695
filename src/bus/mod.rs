//! Where bytes come from.
//!
//! In: a connection to a broker, a file of recorded messages, a simulated CI. Out: batches of
//! [`Delivery`]. Never: decoding, deciding, or acknowledging by itself: the composition root
//! acknowledges after the commit.

pub mod amqp;
pub mod backoff;
pub mod bindings;
pub mod file;

use async_trait::async_trait;

use crate::event::{Delivery, Duration};

/// Why a bus could not go on.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// Trying again may help; the bus is reconnecting or the source is away for now.
    #[error("{0}")]
    Unavailable(String),
    /// Trying again cannot help: a wrong password, no permission, an impossible configuration.
    #[error("{0}")]
    Refused(String),
}

/// What one wait on a bus brought.
#[derive(Debug)]
pub enum Batch {
    /// Messages, oldest first, never empty.
    Deliveries(Vec<Delivery>),
    /// The time was up and nothing came.
    Idle,
    /// Messages may have been lost on the way (the queue was deleted): what the messages would have
    /// told has to be fetched from the sources of truth.
    PossibleLoss {
        /// What happened, for people.
        reason: String,
    },
    /// The source has ended (a file was read to its end).
    End,
}

/// A source of messages that are acknowledged once their effects are durable.
#[async_trait]
pub trait Bus: Send {
    /// Waits for messages: returns as soon as `max` are there, or `linger` after the first of them, or [`Batch::Idle`]
    /// when none came within `idle`. May be dropped at any await: what had come is kept for the next call.
    ///
    /// # Errors
    /// The source is away or says no. Each trouble is told once; asking again tries again, after a pause that grows.
    async fn next(&mut self, max: usize, linger: Duration, idle: Duration) -> Result<Batch, BusError>;

    /// Acknowledges every delivery up to and including `tag`. Called after the commit, never before.
    ///
    /// # Errors
    /// The connection broke, and the messages come again (which is no harm: they are known by then); or `tag` was
    /// never given out.
    async fn ack(&mut self, tag: u64) -> Result<(), BusError>;

    /// Stops taking messages, and closes the connection. What was not acknowledged comes again.
    async fn close(&mut self);
}
