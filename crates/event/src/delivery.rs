//! One message as it came, before anybody read it.

use std::sync::Arc;

use bytes::Bytes;

/// A message as a bus hands it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The exchange it was published to.
    pub exchange: Arc<str>,
    /// Its routing key; empty where the source kept none.
    pub routing_key: Arc<str>,
    /// Further routing keys (the AMQP header `CC`): for Taskcluster `route.<route>` of every task route.
    pub cc: Vec<Arc<str>>,
    /// Whether the broker gave it out before.
    pub redelivered: bool,
    /// The body.
    pub body: Bytes,
    /// The bus's own number for acknowledging it; increases with every delivery of one connection.
    pub tag: u64,
}
