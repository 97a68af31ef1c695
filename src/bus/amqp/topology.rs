//! What has to exist at the broker before messages come: the queue, the exchanges, the bindings.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ExchangeKind};

use super::trouble::{self, Refusal};
use super::{AmqpSettings, QueueType};
use crate::bus::BusError;
use crate::bus::bindings::{Binding, own_exchange_prefix, stale_bindings};

/// What was found and made at the broker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topology {
    /// The queue had existed before.
    pub queue_existed: bool,
    /// The queue exists with other properties than the configured ones and was kept: what the broker said.
    pub queue_kept: Option<String>,
    /// Bindings of last time that are not wanted any more; unbound where the settings say so, else still there.
    pub stale: Vec<Binding>,
    /// Whether the stale ones were unbound.
    pub stale_unbound: bool,
}

/// Makes sure of queue, exchanges and bindings; returns the channel to consume on.
pub(super) async fn establish(
    connection: &Connection,
    settings: &AmqpSettings,
) -> Result<(Channel, Topology), BusError> {
    let mut topology = Topology::default();
    let mut channel = open_channel(connection, settings).await?;

    let passive = QueueDeclareOptions {
        passive: true,
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let queue = settings.queue.as_str();
    match channel
        .queue_declare(queue.into(), passive, FieldTable::default())
        .await
    {
        Ok(_) => topology.queue_existed = true,
        // The broker closes a channel on which it refused something.
        Err(error) if trouble::refusal(&error) == Some(Refusal::NotFound) => {
            channel = open_channel(connection, settings).await?;
        }
        Err(error) => {
            return Err(trouble::while_doing(
                &error,
                settings,
                &format!("look at queue `{queue}`"),
            ));
        }
    }

    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    match channel
        .queue_declare(queue.into(), durable, queue_arguments(settings.queue_type))
        .await
    {
        Ok(_) => {}
        Err(error) if trouble::refusal(&error) == Some(Refusal::Precondition) => {
            topology.queue_kept = Some(trouble::said(&error));
            channel = open_channel(connection, settings).await?;
        }
        Err(error) => {
            return Err(trouble::while_doing(
                &error,
                settings,
                &format!("declare queue `{queue}`"),
            ));
        }
    }

    for exchange in exchanges(&settings.bindings) {
        declare_exchange(&channel, settings, exchange).await?;
    }
    for binding in &settings.bindings {
        bind(&channel, settings, queue, binding).await?;
    }

    topology.stale = stale_bindings(&settings.previous, &settings.bindings);
    if settings.unbind_stale {
        for binding in &topology.stale {
            let (exchange, key) = (binding.exchange.as_str().into(), binding.routing_key.as_str().into());
            channel
                .queue_unbind(queue.into(), exchange, key, FieldTable::default())
                .await
                .map_err(|error| {
                    let doing = format!("unbind queue `{queue}` from `{binding}`");
                    trouble::while_doing(&error, settings, &doing)
                })?;
        }
        topology.stale_unbound = true;
    }
    Ok((channel, topology))
}

/// A new channel on the connection.
pub(super) async fn open_channel(connection: &Connection, settings: &AmqpSettings) -> Result<Channel, BusError> {
    connection
        .create_channel()
        .await
        .map_err(|error| trouble::while_doing(&error, settings, "open a channel"))
}

/// The exchanges of the bindings, each once.
pub(super) fn exchanges(bindings: &[Binding]) -> Vec<&str> {
    let mut exchanges: Vec<&str> = bindings.iter().map(|binding| binding.exchange.as_str()).collect();
    exchanges.sort_unstable();
    exchanges.dedup();
    exchanges
}

/// Declares an exchange of our own; asks only whether a foreign one exists (its owner declares it).
pub(super) async fn declare_exchange(
    channel: &Channel,
    settings: &AmqpSettings,
    exchange: &str,
) -> Result<(), BusError> {
    let foreign = !exchange.starts_with(&own_exchange_prefix(&settings.user));
    let options = ExchangeDeclareOptions {
        passive: foreign,
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    match channel
        .exchange_declare(exchange.into(), ExchangeKind::Topic, options, FieldTable::default())
        .await
    {
        Ok(()) => Ok(()),
        Err(error) if trouble::refusal(&error) == Some(Refusal::NotFound) => Err(BusError::Refused(format!(
            "{} has no exchange `{exchange}`: check the spelling in broker.bindings, the configured broker.sources, \
             and whether the service that publishes there has started once",
            settings.broker()
        ))),
        Err(error) => Err(trouble::while_doing(
            &error,
            settings,
            &format!("use exchange `{exchange}`"),
        )),
    }
}

/// Binds a queue.
pub(super) async fn bind(
    channel: &Channel,
    settings: &AmqpSettings,
    queue: &str,
    binding: &Binding,
) -> Result<(), BusError> {
    let (exchange, key) = (binding.exchange.as_str().into(), binding.routing_key.as_str().into());
    channel
        .queue_bind(
            queue.into(),
            exchange,
            key,
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .map_err(|error| trouble::while_doing(&error, settings, &format!("bind queue `{queue}` to `{binding}`")))
}

fn queue_arguments(queue_type: QueueType) -> FieldTable {
    let mut arguments = FieldTable::default();
    // A classic queue goes without the argument: a broker may have a default of its own, and old queues have none.
    if queue_type == QueueType::Quorum {
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    }
    arguments
}
