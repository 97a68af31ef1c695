//! A RabbitMQ of the bench's own, a durable queue in it, and the two ways of filling and draining it that are compared.

use futures_core::Stream as _;
use lapin::message::Delivery as AmqpDelivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use lapin::{BasicProperties, Channel, Connection, Consumer, ExchangeKind};
use sheriffd::bus::amqp::{AmqpBus, AmqpSettings, QueueType};
use sheriffd::bus::backoff::Backoff;
use sheriffd::bus::bindings::Binding;
use sheriffd::event::{Delivery, Duration};
use sheriffd::secret::Secret;

use super::meter::{Cost, Meter};
use super::rabbitmq::{RabbitMq, SHERIFF};
use super::stream::{EXCHANGES, Stream};

/// The queue that everything goes through.
const QUEUE: &str = "queue/sheriff/bench";
/// Messages published before their confirmations are waited for.
const CONFIRM_EVERY: usize = 2_000;
/// Messages that the bare consumer may hold, and acknowledges together: the best of the ways that were tried.
const BARE_PREFETCH: u16 = 1_000;
const BARE_ACK: usize = 500;

/// A broker with the queue bound to the exchanges of the stream.
pub struct Broker {
    node: RabbitMq,
    _connection: Connection,
    channel: Channel,
}

impl Broker {
    pub async fn start() -> Broker {
        let node = tokio::task::spawn_blocking(RabbitMq::start).await.expect("a node");
        let connection = node.admin().await;
        let channel = connection.create_channel().await.expect("a channel");
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        channel
            .queue_declare(QUEUE.into(), durable, FieldTable::default())
            .await
            .expect("the queue is declared");
        for exchange in EXCHANGES {
            let durable = ExchangeDeclareOptions {
                durable: true,
                ..ExchangeDeclareOptions::default()
            };
            channel
                .exchange_declare(exchange.into(), ExchangeKind::Topic, durable, FieldTable::default())
                .await
                .expect("an exchange is declared");
            let binding = channel.queue_bind(
                QUEUE.into(),
                exchange.into(),
                "primary.#".into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            );
            binding.await.expect("the queue is bound");
        }
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .expect("confirmations");
        Broker {
            node,
            _connection: connection,
            channel,
        }
    }

    /// Publishes all messages, persistent, and waits until the broker has them.
    pub async fn fill(&self, stream: &Stream) {
        let mut confirmations = Vec::with_capacity(CONFIRM_EVERY);
        for index in 0..stream.len() {
            confirmations.push(self.send(&stream.delivery(index)).await);
            if confirmations.len() == CONFIRM_EVERY || index + 1 == stream.len() {
                for confirmation in confirmations.drain(..) {
                    confirmation.await.expect("the message is confirmed");
                }
            }
        }
        assert_eq!(
            self.waiting().await as usize,
            stream.len(),
            "the queue holds all messages"
        );
    }

    /// Publishes one message; the answer is the broker's confirmation, to be awaited.
    pub async fn send(&self, delivery: &Delivery) -> lapin::PublisherConfirm {
        let keys: Vec<AMQPValue> = delivery
            .cc
            .iter()
            .map(|key| AMQPValue::LongString((&**key).into()))
            .collect();
        let mut headers = FieldTable::default();
        headers.insert("CC".into(), AMQPValue::FieldArray(FieldArray::from(keys)));
        let properties = BasicProperties::default().with_delivery_mode(2).with_headers(headers);
        self.channel
            .basic_publish(
                (&*delivery.exchange).into(),
                (&*delivery.routing_key).into(),
                BasicPublishOptions::default(),
                &delivery.body,
                properties,
            )
            .await
            .expect("the message is published")
    }

    /// Messages in the queue that nobody has been given.
    pub async fn waiting(&self) -> u32 {
        let passive = QueueDeclareOptions {
            passive: true,
            durable: true,
            ..QueueDeclareOptions::default()
        };
        self.channel
            .queue_declare(QUEUE.into(), passive, FieldTable::default())
            .await
            .expect("the queue is there")
            .message_count()
    }

    /// What the daemon's bus is told, with the daemon's own defaults.
    pub fn settings(&self, prefetch: u16) -> AmqpSettings {
        AmqpSettings {
            tls: false,
            host: "127.0.0.1".to_owned(),
            port: self.node.port(),
            vhost: "/".to_owned(),
            user: SHERIFF.0.to_owned(),
            password: Secret::new(SHERIFF.1),
            ca_file: None,
            queue: QUEUE.to_owned(),
            queue_type: QueueType::Classic,
            bindings: EXCHANGES.map(|exchange| Binding::new(exchange, "primary.#")).to_vec(),
            previous: Vec::new(),
            unbind_stale: false,
            prefetch,
            max_body: sheriffd::wire::DEFAULT_MAX_BODY,
            connect_timeout: Duration::from_secs(20),
            heartbeat: Duration::from_secs(30),
            retry: Backoff {
                min: Duration::from_millis(100),
                max: Duration::from_secs(1),
            },
        }
    }

    /// The daemon's bus on this broker.
    pub fn bus(&self, prefetch: u16) -> AmqpBus {
        AmqpBus::new(self.settings(prefetch), 1)
    }

    /// Takes `count` messages with nothing but the client library, drops their bytes, and acknowledges many at once.
    pub async fn drain_bare(&self, count: usize) -> Cost {
        let connection = self.node.admin().await;
        let channel = connection.create_channel().await.expect("a channel");
        channel
            .basic_qos(BARE_PREFETCH, BasicQosOptions::default())
            .await
            .expect("a prefetch");
        let meter = Meter::start();
        let mut consumer = channel
            .basic_consume(
                QUEUE.into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
            .expect("a consumer");
        for taken in 1..=count {
            let message = next(&mut consumer).await;
            if taken % BARE_ACK == 0 || taken == count {
                channel
                    .basic_ack(message.delivery_tag, BasicAckOptions { multiple: true })
                    .await
                    .expect("messages are acknowledged");
            }
        }
        let cost = meter.read();
        connection.close(200, "OK".into()).await.expect("the connection closes");
        cost
    }
}

async fn next(consumer: &mut Consumer) -> AmqpDelivery {
    std::future::poll_fn(|cx| std::pin::Pin::new(&mut *consumer).poll_next(cx))
        .await
        .expect("the consumer goes on")
        .expect("a message")
}
