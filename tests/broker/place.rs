//! A test's own place at the broker, and somebody else's service that publishes there.

use std::sync::atomic::{AtomicU32, Ordering};

use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use lapin::{BasicProperties, Channel, ExchangeKind};
use sheriffd::bus::amqp::{AmqpBus, AmqpSettings, QueueType};
use sheriffd::bus::backoff::Backoff;
use sheriffd::bus::bindings::Binding;
use sheriffd::bus::{Batch, Bus, BusError};
use sheriffd::event::{Delivery, Duration};
use sheriffd::secret::Secret;

use crate::common::rabbitmq::{RabbitMq, SHERIFF};

pub const LINGER: Duration = Duration::from_millis(20);
pub const IDLE: Duration = Duration::from_millis(200);
/// How often a test asks for what must come: far more than needed on a loaded machine.
pub const PATIENCE: usize = 300;

/// A test's own names at the broker.
pub struct Place {
    pub port: u16,
    pub exchange: String,
    pub queue: String,
}

impl Place {
    pub fn on(node: &RabbitMq) -> Place {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Place {
            port: node.port(),
            exchange: format!("exchange/ci-{number}/v1/task-failed"),
            queue: format!("queue/sheriff/test-{number}"),
        }
    }

    pub fn settings(&self) -> AmqpSettings {
        AmqpSettings {
            tls: false,
            host: "127.0.0.1".to_owned(),
            port: self.port,
            vhost: "/".to_owned(),
            user: SHERIFF.0.to_owned(),
            password: Secret::new(SHERIFF.1),
            ca_file: None,
            queue: self.queue.clone(),
            queue_type: QueueType::Classic,
            bindings: vec![Binding::new(&self.exchange, "primary.#")],
            previous: Vec::new(),
            unbind_stale: false,
            prefetch: 100,
            max_body: 1_000,
            connect_timeout: Duration::from_secs(20),
            heartbeat: Duration::from_secs(30),
            retry: Backoff {
                min: Duration::from_millis(20),
                max: Duration::from_millis(200),
            },
        }
    }

    pub fn bus(&self) -> AmqpBus {
        AmqpBus::new(self.settings(), 1)
    }
}

/// Somebody else's service at the broker.
pub struct Service {
    pub channel: Channel,
    _connection: lapin::Connection,
}

impl Service {
    pub async fn at(node: &RabbitMq) -> Service {
        let connection = node.admin().await;
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Service {
            channel,
            _connection: connection,
        }
    }

    pub async fn declares(&self, exchange: &str) {
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        self.channel
            .exchange_declare(exchange.into(), ExchangeKind::Topic, durable, FieldTable::default())
            .await
            .unwrap();
    }

    pub async fn publishes(&self, exchange: &str, key: &str, body: &[u8], cc: &[&str]) {
        let mut headers = FieldTable::default();
        if !cc.is_empty() {
            let keys: Vec<AMQPValue> = cc.iter().map(|key| AMQPValue::LongString((*key).into())).collect();
            headers.insert("CC".into(), AMQPValue::FieldArray(FieldArray::from(keys)));
        }
        let properties = BasicProperties::default().with_delivery_mode(2).with_headers(headers);
        self.channel
            .basic_publish(
                exchange.into(),
                key.into(),
                BasicPublishOptions::default(),
                body,
                properties,
            )
            .await
            .unwrap()
            .await
            .unwrap();
    }

    pub async fn publishes_numbers(&self, place: &Place, numbers: std::ops::Range<u32>) {
        for number in numbers {
            self.publishes(&place.exchange, "primary.task", number.to_string().as_bytes(), &[])
                .await;
        }
    }

    pub async fn deletes_queue(&self, queue: &str) {
        self.channel
            .queue_delete(queue.into(), QueueDeleteOptions::default())
            .await
            .unwrap();
    }

    pub async fn counts_messages(&self, queue: &str) -> u32 {
        let passive = QueueDeclareOptions {
            passive: true,
            durable: true,
            ..QueueDeclareOptions::default()
        };
        self.channel
            .queue_declare(queue.into(), passive, FieldTable::default())
            .await
            .unwrap()
            .message_count()
    }
}

/// A service and a test's place with its exchange declared.
pub async fn ready_place(node: &RabbitMq) -> (Service, Place) {
    let place = Place::on(node);
    let service = Service::at(node).await;
    service.declares(&place.exchange).await;
    (service, place)
}

/// Waits until the bus is connected, its queue and bindings made.
pub async fn connected(bus: &mut AmqpBus) {
    for _ in 0..PATIENCE {
        match bus.next(1, LINGER, Duration::ZERO).await {
            Err(BusError::Refused(reason)) => panic!("refused: {reason}"),
            _ if bus.is_connected() => return,
            _ => tokio::time::sleep(LINGER).await,
        }
    }
    panic!("the bus does not connect");
}

/// The next `wanted` messages, over interruptions.
pub async fn take(bus: &mut AmqpBus, wanted: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    for _ in 0..PATIENCE {
        match bus.next(wanted - taken.len(), LINGER, IDLE).await {
            Ok(Batch::Deliveries(deliveries)) => taken.extend(deliveries),
            Ok(Batch::Idle) | Err(BusError::Unavailable(_)) => {}
            other => panic!("instead of messages: {other:?}"),
        }
        if taken.len() == wanted {
            return taken;
        }
    }
    panic!("{} of {wanted} messages came", taken.len());
}

/// The next thing that is neither a message nor waiting.
pub async fn loss(bus: &mut AmqpBus) -> String {
    for _ in 0..PATIENCE {
        match bus.next(10, LINGER, IDLE).await {
            Ok(Batch::PossibleLoss { reason }) => return reason,
            Ok(Batch::Idle) | Err(BusError::Unavailable(_)) => {}
            other => panic!("instead of a possible loss: {other:?}"),
        }
    }
    panic!("no possible loss was told of");
}

pub fn bodies(deliveries: &[Delivery]) -> Vec<u32> {
    deliveries
        .iter()
        .map(|delivery| std::str::from_utf8(&delivery.body).unwrap().parse().unwrap())
        .collect()
}

pub async fn refusal(settings: AmqpSettings) -> String {
    match AmqpBus::new(settings, 1).next(1, LINGER, IDLE).await {
        Err(BusError::Refused(reason)) => reason,
        other => panic!("instead of a refusal: {other:?}"),
    }
}
