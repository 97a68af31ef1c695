//! RabbitMQ and Pulse: a durable queue of our own, bound to other people's exchanges.
//!
//! In: [`AmqpSettings`]. Out: batches of deliveries; and, once each time, [`Batch::PossibleLoss`] when the queue had
//! been deleted. Never: acknowledging by itself, declaring a foreign exchange, showing the password.
//!
//! - The connection is opened by the first [`Bus::next`] and again by a later one whenever it was lost: each loss and
//!   each failed attempt is told once, as an error; then `next` waits the [`Backoff`] out (as [`Batch::Idle`]) and
//!   tries again. [`BusError::Refused`] is tried again as well if the caller goes on asking: permissions are mended
//!   at the broker, without us.
//! - Tags are our own running count, not the broker's, which starts again with every connection. A tag of a
//!   connection that is gone acknowledges nothing and harms nothing: the broker gives those messages out again.
//! - `next` may be dropped at any await (in a `select!`): what had come is kept for the next call.
//! - Memory: the broker keeps no more than `prefetch` messages on the way to us; a body over `max_body` is cut
//!   to one byte more as soon as it is handed on, which the decoder refuses for its size.

mod doctor;
mod link;
mod topology;
mod trouble;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use lapin::message::Delivery as AmqpDelivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, Consumer};
use tokio::time::Instant;

pub use self::doctor::check;
pub use self::topology::Topology;

use super::backoff::Backoff;
use super::bindings::Binding;
use super::{Batch, Bus, BusError};
use crate::event::{Delivery, Duration};
use crate::secret::Secret;
use crate::stats::random::Random;
use crate::telemetry::metric;

/// How the broker is to keep the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueType {
    /// On one node (or as the broker's default says).
    Classic,
    /// Replicated over several nodes.
    Quorum,
}

/// Where the broker is and what is wanted of it.
#[derive(Debug, Clone)]
pub struct AmqpSettings {
    /// Whether to speak TLS (`amqps`).
    pub tls: bool,
    /// The broker's host name or address.
    pub host: String,
    /// Its port: usually 5672, 5671 with TLS.
    pub port: u16,
    /// Its virtual host.
    pub vhost: String,
    /// Who we are.
    pub user: String,
    /// The user's password.
    pub password: Secret,
    /// A file of certificate authorities in PEM form, trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// The full name of our queue.
    pub queue: String,
    /// How the broker is to keep it, should it not exist yet.
    pub queue_type: QueueType,
    /// What the queue is to be bound to.
    pub bindings: Vec<Binding>,
    /// What it was bound to when we last ran: bindings cannot be listed over AMQP, so the caller remembers them.
    pub previous: Vec<Binding>,
    /// Whether to unbind what is in `previous` and not in `bindings`.
    pub unbind_stale: bool,
    /// How many messages may be on the way or unacknowledged, 1 to 65,535. Never 0: without a bound a slow consumer
    /// takes the whole queue into memory.
    pub prefetch: u16,
    /// The largest body that is handed on whole, in bytes.
    pub max_body: usize,
    /// How long connecting and logging in may take.
    pub connect_timeout: Duration,
    /// Silence after which a connection counts as dead (rounded to seconds, 1 s at least).
    pub heartbeat: Duration,
    /// How long to wait between attempts to connect.
    pub retry: Backoff,
}

impl AmqpSettings {
    /// The broker for people: address and virtual host, no user, no password.
    pub fn broker(&self) -> String {
        let scheme = if self.tls { "amqps" } else { "amqp" };
        format!("{scheme}://{}:{} (virtual host `{}`)", self.host, self.port, self.vhost)
    }
}

/// How long closing may take before the connection is simply dropped.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How many exchange names are kept to share one copy of each; more exchanges than this are bound by nobody.
const SHARED_NAMES: usize = 64;

/// A connection that messages come from.
struct Link {
    connection: Connection,
    channel: Channel,
    consumer: Consumer,
    /// Our tag of a delivery is this plus the broker's.
    base: u64,
    since: Instant,
}

/// What a link has given when it was asked once.
enum Taken {
    /// Enough, or all there was.
    Some,
    /// The link is of no use any more; `None`: the broker cancelled the consumer.
    Ended(Option<lapin::Error>),
}

/// A [`Bus`] on a RabbitMQ broker.
pub struct AmqpBus {
    settings: AmqpSettings,
    /// Chance for the jitter.
    random: Random,
    link: Option<Link>,
    /// Messages that have come and were not handed on yet; at most a batch, however often `next` is dropped.
    pending: Vec<Delivery>,
    /// The highest tag given to any message.
    last_tag: u64,
    /// The highest tag acknowledged.
    acked: u64,
    /// Failures and short-lived connections in a row.
    failures: u32,
    retry_at: Option<Instant>,
    /// A possible loss to tell of once the queue stands again.
    loss: Option<String>,
    /// A lost connection to tell of, where messages had to be handed on first.
    trouble: Option<String>,
    connected_before: bool,
    /// Whether the queue has stood at some time: its absence is news then.
    had_queue: bool,
    topology: Topology,
    names: Vec<Arc<str>>,
}

impl AmqpBus {
    /// A bus that connects when it is first asked. `seed` may be any number, best another at each start.
    pub fn new(settings: AmqpSettings, seed: u64) -> AmqpBus {
        metric::AMQP_CONNECTED.gauge(&[]).set(0.0);
        AmqpBus {
            had_queue: !settings.previous.is_empty(),
            settings,
            random: Random::new(seed),
            link: None,
            pending: Vec::new(),
            last_tag: 0,
            acked: 0,
            failures: 0,
            retry_at: None,
            loss: None,
            trouble: None,
            connected_before: false,
            topology: Topology::default(),
            names: Vec::new(),
        }
    }

    /// Whether messages can come at this moment.
    pub fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    /// What was found at the broker when the connection was last made: to be told to people, once.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Makes the connection, the queue, the bindings and the consumer.
    async fn open(&self) -> Result<(Link, Topology), BusError> {
        let settings = &self.settings;
        let connection = link::connect(settings).await?;
        let (channel, topology) = topology::establish(&connection, settings).await?;
        let doing = |what: &str| format!("{what} queue `{}`", settings.queue);
        channel
            .basic_qos(settings.prefetch.max(1), BasicQosOptions::default())
            .await
            .map_err(|error| trouble::while_doing(&error, settings, &doing("set the prefetch for")))?;
        let consumer = channel
            .basic_consume(
                settings.queue.as_str().into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
            .map_err(|error| trouble::while_doing(&error, settings, &doing("consume from")))?;
        let link = Link {
            connection,
            channel,
            consumer,
            base: self.last_tag,
            since: Instant::now(),
        };
        Ok((link, topology))
    }

    /// Connects if that is due. `Ok(false)`: not due before `until`.
    async fn connect(&mut self, until: Instant) -> Result<bool, BusError> {
        if let Some(retry_at) = self.retry_at {
            tokio::time::sleep_until(retry_at.min(until)).await;
            if retry_at > until {
                return Ok(false);
            }
        }
        match self.open().await {
            Ok((link, topology)) => {
                if self.had_queue && !topology.queue_existed && self.loss.is_none() {
                    self.loss = Some(format!(
                        "queue `{}` was gone when we connected to {}: somebody deleted it while we were away",
                        self.settings.queue,
                        self.settings.broker()
                    ));
                }
                if self.connected_before {
                    metric::AMQP_RECONNECTS.counter(&[]).increment(1);
                }
                self.connected_before = true;
                self.had_queue = true;
                self.topology = topology;
                // What the old connection gave is not ours to acknowledge any more.
                self.acked = link.base;
                self.link = Some(link);
                self.retry_at = None;
                metric::AMQP_CONNECTED.gauge(&[]).set(1.0);
                Ok(true)
            }
            Err(error) => {
                self.fail();
                Err(error)
            }
        }
    }

    /// Takes note of a failure: the next attempt waits.
    fn fail(&mut self) {
        self.failures = self.failures.saturating_add(1);
        let delay = self.settings.retry.delay(self.failures, self.random.uniform());
        self.retry_at = Some(Instant::now() + delay);
    }

    /// Gives the link up. A link that had lasted is replaced at once; short-lived ones wait like failures.
    fn unlink(&mut self) {
        let Some(link) = self.link.take() else { return };
        metric::AMQP_CONNECTED.gauge(&[]).set(0.0);
        metric::AMQP_UNACKED.gauge(&[]).set(0.0);
        if link.since.elapsed() >= self.settings.retry.max {
            self.failures = 0;
        } else if self.failures > 0 {
            self.fail();
        } else {
            self.failures = 1;
        }
    }

    /// Takes messages until there are `max`, or `linger` has passed since the first, or `until` without any.
    async fn fill(&mut self, max: usize, linger: Duration, until: Instant) -> Taken {
        let mut deadline = if self.pending.is_empty() {
            until
        } else {
            Instant::now() + linger
        };
        loop {
            let had_none = self.pending.is_empty();
            let taking = std::future::poll_fn(|cx| {
                let before = self.pending.len();
                let Some(link) = self.link.as_mut() else {
                    return Poll::Ready(Taken::Ended(None));
                };
                // All that is there in one go, bounded by `max`.
                while self.pending.len() < max {
                    match Pin::new(&mut link.consumer).poll_next(cx) {
                        Poll::Ready(Some(Ok(message))) => {
                            let tag = link.base + message.delivery_tag;
                            self.last_tag = self.last_tag.max(tag);
                            self.pending
                                .push(convert(message, tag, self.settings.max_body, &mut self.names));
                        }
                        Poll::Ready(Some(Err(error))) => return Poll::Ready(Taken::Ended(Some(error))),
                        Poll::Ready(None) => return Poll::Ready(Taken::Ended(None)),
                        Poll::Pending if self.pending.len() > before => break,
                        Poll::Pending => return Poll::Pending,
                    }
                }
                Poll::Ready(Taken::Some)
            });
            match tokio::time::timeout_at(deadline, taking).await {
                Err(_) => return Taken::Some,
                Ok(Taken::Ended(error)) => return Taken::Ended(error),
                Ok(Taken::Some) if self.pending.len() >= max => return Taken::Some,
                Ok(Taken::Some) if had_none => deadline = Instant::now() + linger,
                Ok(Taken::Some) => {}
            }
        }
    }

    /// Hands on up to `max` of what has come.
    fn hand_on(&mut self, max: usize) -> Batch {
        let rest = self.pending.split_off(max.min(self.pending.len()));
        metric::AMQP_UNACKED.gauge(&[]).set((self.last_tag - self.acked) as f64);
        Batch::Deliveries(std::mem::replace(&mut self.pending, rest))
    }
}

#[async_trait]
impl Bus for AmqpBus {
    async fn next(&mut self, max: usize, linger: Duration, idle: Duration) -> Result<Batch, BusError> {
        let max = max.max(1);
        let until = Instant::now() + idle;
        if let Some(trouble) = self.trouble.take_if(|_| self.pending.is_empty()) {
            return Err(BusError::Unavailable(trouble));
        }
        if self.pending.is_empty() && self.link.is_none() && !self.connect(until).await? {
            return Ok(Batch::Idle);
        }
        if let Some(reason) = self.loss.take_if(|_| self.link.is_some()) {
            metric::AMQP_POSSIBLE_LOSSES.counter(&[]).increment(1);
            return Ok(Batch::PossibleLoss { reason });
        }
        let taken = if self.link.is_some() {
            self.fill(max, linger, until).await
        } else {
            Taken::Some
        };
        if let Taken::Ended(error) = taken {
            self.unlink();
            let broker = self.settings.broker();
            let queue = &self.settings.queue;
            let lost = match error {
                Some(error) => format!("the connection to {broker} was lost: {}", trouble::said(&error)),
                None => {
                    let what = format!("{broker} cancelled our consumer: queue `{queue}` was deleted");
                    self.loss = Some(what.clone());
                    what
                }
            };
            if self.pending.is_empty() {
                return Err(BusError::Unavailable(lost));
            }
            self.trouble = Some(lost);
        }
        if self.pending.is_empty() {
            Ok(Batch::Idle)
        } else {
            Ok(self.hand_on(max))
        }
    }

    async fn ack(&mut self, tag: u64) -> Result<(), BusError> {
        if tag > self.last_tag {
            return Err(BusError::Refused(format!(
                "message {tag} cannot be acknowledged: the last that came is {}",
                self.last_tag
            )));
        }
        if tag <= self.acked {
            return Ok(());
        }
        self.acked = tag;
        let Some(link) = self.link.as_ref() else { return Ok(()) };
        // `acked` is never under the base of the connection, so this is the broker's own number, 1 or more.
        let broker_tag = tag - link.base;
        if let Err(error) = link
            .channel
            .basic_ack(broker_tag, BasicAckOptions { multiple: true })
            .await
        {
            let broker = self.settings.broker();
            self.unlink();
            return Err(BusError::Unavailable(format!(
                "the connection to {broker} was lost before an acknowledgement: its messages come again: {}",
                trouble::said(&error)
            )));
        }
        metric::AMQP_UNACKED.gauge(&[]).set((self.last_tag - self.acked) as f64);
        Ok(())
    }

    async fn close(&mut self) {
        self.pending.clear();
        let Some(link) = self.link.take() else { return };
        // Whether it closes in good order or not: what was not acknowledged comes again.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, link.connection.close(200, "OK".into())).await;
        metric::AMQP_CONNECTED.gauge(&[]).set(0.0);
        metric::AMQP_UNACKED.gauge(&[]).set(0.0);
    }
}

/// One message as the rest of the way sees it.
fn convert(message: AmqpDelivery, tag: u64, max_body: usize, names: &mut Vec<Arc<str>>) -> Delivery {
    let body = match message.data.get(..max_body.saturating_add(1)) {
        Some(beginning) => Bytes::copy_from_slice(beginning),
        None => Bytes::from(message.data),
    };
    let cc = match message
        .properties
        .headers()
        .as_ref()
        .and_then(|headers| headers.inner().get("CC"))
    {
        Some(AMQPValue::FieldArray(keys)) => keys.as_slice().iter().filter_map(text).collect(),
        _ => Vec::new(),
    };
    Delivery {
        exchange: shared(message.exchange.as_str(), names),
        routing_key: Arc::from(message.routing_key.as_str()),
        cc,
        redelivered: message.redelivered,
        body,
        tag,
    }
}

fn text(value: &AMQPValue) -> Option<Arc<str>> {
    match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok().map(Arc::from),
        AMQPValue::ShortString(text) => Some(Arc::from(text.as_str())),
        _ => None,
    }
}

/// One copy of each exchange's name for all its messages.
fn shared(name: &str, names: &mut Vec<Arc<str>>) -> Arc<str> {
    if let Some(known) = names.iter().find(|known| known.as_ref() == name) {
        return Arc::clone(known);
    }
    let new: Arc<str> = Arc::from(name);
    if names.len() < SHARED_NAMES {
        names.push(Arc::clone(&new));
    }
    new
}
