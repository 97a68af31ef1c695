//! The bus on a real RabbitMQ.
//!
//! Every test has a queue and an exchange of its own on the node that this test binary starts.

mod common;

use std::sync::atomic::{AtomicU32, Ordering};

use common::rabbitmq::{self, NOBODY, RabbitMq, SHERIFF};
use common::tcp_proxy::TcpProxy;
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use lapin::{BasicProperties, Channel, ExchangeKind};
use sheriffd::bus::amqp::{AmqpBus, AmqpSettings, QueueType, check};
use sheriffd::bus::backoff::Backoff;
use sheriffd::bus::bindings::Binding;
use sheriffd::bus::{Batch, Bus, BusError};
use sheriffd::event::{Delivery, Duration};
use sheriffd::secret::Secret;

const LINGER: Duration = Duration::from_millis(20);
const IDLE: Duration = Duration::from_millis(200);
/// How often a test asks for what must come: far more than needed on a loaded machine.
const PATIENCE: usize = 300;

/// A test's own names at the broker.
struct Place {
    port: u16,
    exchange: String,
    queue: String,
}

impl Place {
    fn on(node: &RabbitMq) -> Place {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Place {
            port: node.port(),
            exchange: format!("exchange/ci-{number}/v1/task-failed"),
            queue: format!("queue/sheriff/test-{number}"),
        }
    }

    fn settings(&self) -> AmqpSettings {
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

    fn bus(&self) -> AmqpBus {
        AmqpBus::new(self.settings(), 1)
    }
}

/// Somebody else's service at the broker.
struct Service {
    channel: Channel,
    _connection: lapin::Connection,
}

impl Service {
    async fn at(node: &RabbitMq) -> Service {
        let connection = node.admin().await;
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Service {
            channel,
            _connection: connection,
        }
    }

    async fn declares(&self, exchange: &str) {
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        self.channel
            .exchange_declare(exchange.into(), ExchangeKind::Topic, durable, FieldTable::default())
            .await
            .unwrap();
    }

    async fn publishes(&self, exchange: &str, key: &str, body: &[u8], cc: &[&str]) {
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

    async fn publishes_numbers(&self, place: &Place, numbers: std::ops::Range<u32>) {
        for number in numbers {
            self.publishes(&place.exchange, "primary.task", number.to_string().as_bytes(), &[])
                .await;
        }
    }

    async fn deletes_queue(&self, queue: &str) {
        self.channel
            .queue_delete(queue.into(), QueueDeleteOptions::default())
            .await
            .unwrap();
    }

    async fn counts_messages(&self, queue: &str) -> u32 {
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
async fn ready_place(node: &RabbitMq) -> (Service, Place) {
    let place = Place::on(node);
    let service = Service::at(node).await;
    service.declares(&place.exchange).await;
    (service, place)
}

/// Waits until the bus is connected, its queue and bindings made.
async fn connected(bus: &mut AmqpBus) {
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
async fn take(bus: &mut AmqpBus, wanted: usize) -> Vec<Delivery> {
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
async fn loss(bus: &mut AmqpBus) -> String {
    for _ in 0..PATIENCE {
        match bus.next(10, LINGER, IDLE).await {
            Ok(Batch::PossibleLoss { reason }) => return reason,
            Ok(Batch::Idle) | Err(BusError::Unavailable(_)) => {}
            other => panic!("instead of a possible loss: {other:?}"),
        }
    }
    panic!("no possible loss was told of");
}

fn bodies(deliveries: &[Delivery]) -> Vec<u32> {
    deliveries
        .iter()
        .map(|delivery| std::str::from_utf8(&delivery.body).unwrap().parse().unwrap())
        .collect()
}

async fn refusal(settings: AmqpSettings) -> String {
    match AmqpBus::new(settings, 1).next(1, LINGER, IDLE).await {
        Err(BusError::Refused(reason)) => reason,
        other => panic!("instead of a refusal: {other:?}"),
    }
}

#[tokio::test]
async fn messages_come_whole_and_in_order_and_are_acknowledged_together() {
    let node = rabbitmq::shared();
    let (service, place) = ready_place(node).await;
    let mut bus = place.bus();
    connected(&mut bus).await;
    service
        .publishes(&place.exchange, "primary.a", b"first", &["route.x", "route.y"])
        .await;
    service
        .publishes(&place.exchange, "elsewhere.a", b"not bound", &[])
        .await;
    service.publishes(&place.exchange, "primary.b", b"second", &[]).await;

    let taken = take(&mut bus, 2).await;

    assert_eq!(taken[0].exchange.as_ref(), place.exchange);
    assert_eq!(taken[0].routing_key.as_ref(), "primary.a");
    assert_eq!(
        taken[0].cc.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
        ["route.x", "route.y"]
    );
    assert!(!taken[0].redelivered);
    assert_eq!(taken[0].body.as_ref(), b"first");
    assert_eq!(taken[1].body.as_ref(), b"second");
    assert!(taken[0].tag < taken[1].tag);
    bus.ack(taken[1].tag).await.unwrap();
    bus.ack(taken[1].tag)
        .await
        .expect("acknowledging twice is as good as once");
    bus.close().await;
    assert_eq!(service.counts_messages(&place.queue).await, 0);
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_and_old_tags_do_no_harm() {
    let node = rabbitmq::shared();
    let (service, place) = ready_place(node).await;
    let proxy = TcpProxy::to(node.port()).await;
    let settings = AmqpSettings {
        port: proxy.port(),
        prefetch: 4,
        ..place.settings()
    };
    let mut bus = AmqpBus::new(settings, 1);
    connected(&mut bus).await;
    service.publishes_numbers(&place, 0..5).await;
    let before = take(&mut bus, 4).await;
    bus.ack(before[1].tag).await.unwrap();
    // The fifth does not come before the broker has the acknowledgement, which the cut could still have lost.
    assert_eq!(bodies(&take(&mut bus, 1).await), [4]);

    proxy.cut();
    let after = take(&mut bus, 3).await;

    assert_eq!(bodies(&after), [2, 3, 4]);
    assert!(
        after
            .iter()
            .all(|delivery| delivery.redelivered && delivery.tag > before[3].tag)
    );
    bus.ack(before[3].tag)
        .await
        .expect("a tag of the old connection is harmless");
    bus.close().await;
    assert_eq!(
        service.counts_messages(&place.queue).await,
        3,
        "the old tag acknowledged nothing"
    );
}

#[tokio::test]
async fn a_wait_that_is_dropped_loses_no_message() {
    let node = rabbitmq::shared();
    let (service, place) = ready_place(node).await;
    let mut bus = place.bus();
    connected(&mut bus).await;
    service.publishes_numbers(&place, 0..3).await;

    let long = Duration::from_secs(60);
    let given_up = tokio::time::timeout(Duration::from_millis(300), bus.next(100, long, long)).await;

    assert!(given_up.is_err(), "three of a hundred messages do not end the wait");
    assert_eq!(bodies(&take(&mut bus, 3).await), [0, 1, 2]);
}

#[tokio::test]
async fn no_more_messages_come_than_may_be_unacknowledged() {
    let node = rabbitmq::shared();
    let (service, place) = ready_place(node).await;
    let mut bus = AmqpBus::new(
        AmqpSettings {
            prefetch: 2,
            ..place.settings()
        },
        1,
    );
    connected(&mut bus).await;
    service.publishes_numbers(&place, 0..3).await;

    let first = take(&mut bus, 2).await;
    assert!(matches!(bus.next(1, LINGER, IDLE).await, Ok(Batch::Idle)));
    bus.ack(first[1].tag).await.unwrap();

    assert_eq!(bodies(&take(&mut bus, 1).await), [2]);
}

#[tokio::test]
async fn a_body_over_the_limit_is_cut_just_behind_it() {
    let node = rabbitmq::shared();
    let (service, place) = ready_place(node).await;
    let mut bus = place.bus();
    connected(&mut bus).await;
    service
        .publishes(&place.exchange, "primary.a", &[b'x'; 300_000], &[])
        .await;
    service
        .publishes(&place.exchange, "primary.a", &[b'x'; 1_000], &[])
        .await;

    let taken = take(&mut bus, 2).await;

    assert_eq!(taken[0].body.len(), 1_001);
    assert_eq!(taken[1].body.len(), 1_000);
}

#[tokio::test]
async fn a_deleted_queue_is_made_again_and_told_of_as_a_possible_loss_once() {
    let node = rabbitmq::shared();
    let (service, place) = ready_place(node).await;
    let mut bus = place.bus();
    connected(&mut bus).await;

    service.deletes_queue(&place.queue).await;
    let reason = loss(&mut bus).await;

    assert!(
        reason.contains(&format!("queue `{}` was deleted", place.queue)),
        "{reason}"
    );
    service.publishes_numbers(&place, 7..8).await;
    assert_eq!(
        bodies(&take(&mut bus, 1).await),
        [7],
        "bound again, and the loss is told of once"
    );
}

#[tokio::test]
async fn a_queue_that_is_gone_after_a_restart_of_ours_is_a_possible_loss() {
    let node = rabbitmq::shared();
    let (_service, place) = ready_place(node).await;
    let previous = place.settings().bindings;

    let reason = loss(&mut AmqpBus::new(
        AmqpSettings {
            previous,
            ..place.settings()
        },
        1,
    ))
    .await;

    assert!(
        reason.contains(&format!("queue `{}` was gone", place.queue)),
        "{reason}"
    );
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_not_shown() {
    let node = rabbitmq::shared();
    let settings = Place::on(node).settings();
    let reason = refusal(AmqpSettings {
        password: Secret::new("Tr0ub4dor"),
        ..settings.clone()
    })
    .await;

    assert!(reason.contains("refused the login of user `sheriff`"), "{reason}");
    assert!(
        reason.contains(&format!("amqp://127.0.0.1:{} (virtual host `/`)", node.port())),
        "{reason}"
    );
    assert!(!reason.contains("Tr0ub4dor"), "{reason}");
    assert!(!format!("{settings:?}").contains(SHERIFF.1));
}

#[tokio::test]
async fn an_unknown_virtual_host_is_refused_by_name() {
    let settings = Place::on(rabbitmq::shared()).settings();
    let reason = refusal(AmqpSettings {
        vhost: "nowhere".to_owned(),
        ..settings
    })
    .await;
    assert!(
        reason.contains("virtual host `nowhere`") && reason.contains("broker.vhost"),
        "{reason}"
    );
}

#[tokio::test]
async fn an_exchange_that_does_not_exist_is_refused_by_name() {
    let place = Place::on(rabbitmq::shared());
    let reason = refusal(place.settings()).await;
    assert!(
        reason.contains(&format!("has no exchange `{}`", place.exchange)),
        "{reason}"
    );
}

#[tokio::test]
async fn a_queue_outside_our_own_names_is_refused_by_name() {
    let (_service, place) = ready_place(rabbitmq::shared()).await;
    let reason = refusal(AmqpSettings {
        queue: "queue/somebody/else".to_owned(),
        ..place.settings()
    })
    .await;
    assert!(
        reason.contains("does not allow user `sheriff` to declare queue `queue/somebody/else`"),
        "{reason}"
    );
}

#[tokio::test]
async fn our_own_exchange_is_declared_by_us() {
    let node = rabbitmq::shared();
    let service = Service::at(node).await;
    let own = "exchange/sheriff/sheriffd/requests".to_owned();
    let place = Place {
        exchange: own,
        ..Place::on(node)
    };
    let mut bus = place.bus();
    connected(&mut bus).await;

    service.publishes_numbers(&place, 5..6).await;

    assert_eq!(bodies(&take(&mut bus, 1).await), [5]);
}

#[tokio::test]
async fn stale_bindings_are_named_and_unbound_only_when_asked_for() {
    let node = rabbitmq::shared();
    let (service, place) = ready_place(node).await;
    let old = Binding::new(&place.exchange, "old.#");
    let wanted = place.settings().bindings;
    let both = vec![wanted[0].clone(), old.clone()];
    let mut bus = AmqpBus::new(
        AmqpSettings {
            bindings: both.clone(),
            ..place.settings()
        },
        1,
    );
    connected(&mut bus).await;
    bus.close().await;

    let keeping = AmqpSettings {
        previous: both,
        ..place.settings()
    };
    let mut bus = AmqpBus::new(keeping.clone(), 1);
    connected(&mut bus).await;
    assert_eq!(
        (bus.topology().stale.as_slice(), bus.topology().stale_unbound),
        ([old.clone()].as_slice(), false)
    );
    service.publishes(&place.exchange, "old.a", b"1", &[]).await;
    let still = take(&mut bus, 1).await;
    bus.ack(still[0].tag).await.unwrap();
    bus.close().await;

    let mut bus = AmqpBus::new(
        AmqpSettings {
            unbind_stale: true,
            ..keeping
        },
        1,
    );
    connected(&mut bus).await;
    assert_eq!(
        (bus.topology().stale.as_slice(), bus.topology().stale_unbound),
        ([old].as_slice(), true)
    );
    service.publishes(&place.exchange, "old.a", b"2", &[]).await;
    service.publishes(&place.exchange, "primary.a", b"3", &[]).await;
    assert_eq!(bodies(&take(&mut bus, 1).await), [3]);
}

#[tokio::test]
async fn a_queue_with_other_properties_is_kept_and_said_so() {
    let node = rabbitmq::shared();
    let (service, place) = ready_place(node).await;
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    service
        .channel
        .queue_declare(place.queue.as_str().into(), durable, FieldTable::default())
        .await
        .unwrap();
    service
        .channel
        .queue_bind(
            place.queue.as_str().into(),
            place.exchange.as_str().into(),
            "primary.#".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    service.publishes_numbers(&place, 1..2).await;

    let mut bus = AmqpBus::new(
        AmqpSettings {
            queue_type: QueueType::Quorum,
            ..place.settings()
        },
        1,
    );

    assert_eq!(bodies(&take(&mut bus, 1).await), [1]);
    let kept = bus.topology().queue_kept.as_deref().expect("it is said");
    assert!(kept.contains("x-queue-type"), "{kept}");
}

#[tokio::test]
async fn a_new_quorum_queue_is_one() {
    let (_service, place) = ready_place(rabbitmq::shared()).await;
    let mut bus = AmqpBus::new(
        AmqpSettings {
            queue_type: QueueType::Quorum,
            ..place.settings()
        },
        1,
    );
    connected(&mut bus).await;
    bus.close().await;

    let mut classic = place.bus();
    connected(&mut classic).await;

    assert!(
        classic
            .topology()
            .queue_kept
            .as_deref()
            .is_some_and(|kept| kept.contains("quorum"))
    );
}

#[tokio::test]
async fn the_doctor_tells_what_works_and_what_does_not() {
    let node = rabbitmq::shared();
    let (service, place) = ready_place(node).await;
    let mut settings = place.settings();
    settings.bindings.push(Binding::new("exchange/missing/v1", "#"));

    let findings = check(&settings).await;

    let seen: Vec<(&str, bool)> = findings
        .iter()
        .map(|finding| (finding.what.as_str(), finding.ok))
        .collect();
    assert_eq!(
        seen,
        [
            (settings.broker().as_str(), true),
            (format!("queue `{}`", place.queue).as_str(), true),
            (format!("exchange `{}`", place.exchange).as_str(), true),
            ("exchange `exchange/missing/v1`", false),
        ]
    );
    assert!(
        findings[1].detail.contains("does not exist yet"),
        "{}",
        findings[1].detail
    );
    let passive = QueueDeclareOptions {
        passive: true,
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let looked = service
        .channel
        .queue_declare(place.queue.as_str().into(), passive, FieldTable::default())
        .await;
    assert!(looked.is_err(), "the doctor makes no queue");
}

#[tokio::test]
async fn the_doctor_tells_of_a_user_without_rights() {
    let (_service, place) = ready_place(rabbitmq::shared()).await;
    let user = NOBODY.0.to_owned();
    let settings = AmqpSettings {
        user,
        password: Secret::new(NOBODY.1),
        ..place.settings()
    };

    let findings = check(&settings).await;

    let last = findings.last().unwrap();
    assert!(
        !last.ok && last.detail.contains("does not allow user `nobody`"),
        "{last:?}"
    );
}

#[tokio::test]
async fn a_broker_that_comes_late_or_goes_for_a_while_is_waited_for() {
    let mut node = RabbitMq::start();
    let (service, place) = ready_place(&node).await;
    drop(service);
    node.stop();

    let mut bus = place.bus();
    let absent = bus.next(1, LINGER, IDLE).await;
    assert!(
        matches!(&absent, Err(BusError::Unavailable(reason)) if reason.contains("cannot be reached")),
        "{absent:?}"
    );

    node.start_again();
    connected(&mut bus).await;
    Service::at(&node).await.publishes_numbers(&place, 0..2).await;
    take(&mut bus, 2).await;

    node.stop();
    node.start_again();

    let after = take(&mut bus, 2).await;
    assert_eq!(
        bodies(&after),
        [0, 1],
        "the queue and what was not acknowledged outlive the restart"
    );
}

#[tokio::test]
async fn tls_trusts_the_configured_authority_and_no_other() {
    let node = RabbitMq::start_with_tls();
    let (service, place) = ready_place(&node).await;
    let secure = AmqpSettings {
        tls: true,
        host: "localhost".to_owned(),
        port: node.tls_port(),
        ca_file: Some(node.ca_file()),
        ..place.settings()
    };

    let mut bus = AmqpBus::new(secure.clone(), 1);
    connected(&mut bus).await;
    service.publishes_numbers(&place, 3..4).await;
    assert_eq!(bodies(&take(&mut bus, 1).await), [3]);

    let reason = refusal(AmqpSettings {
        ca_file: None,
        ..secure.clone()
    })
    .await;
    assert!(
        reason.contains("certificate") && reason.contains("broker.ca_file"),
        "{reason}"
    );
    let reason = refusal(AmqpSettings {
        ca_file: Some("/nowhere/ca.pem".into()),
        ..secure
    })
    .await;
    assert!(reason.contains("/nowhere/ca.pem"), "{reason}");
}

#[tokio::test]
async fn a_peer_that_accepts_and_keeps_silent_is_given_up() {
    let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let place = Place {
        port,
        exchange: "e".to_owned(),
        queue: "queue/sheriff/q".to_owned(),
    };
    let mut bus = AmqpBus::new(
        AmqpSettings {
            connect_timeout: Duration::from_millis(200),
            ..place.settings()
        },
        1,
    );

    let given_up = bus.next(1, LINGER, IDLE).await;

    assert!(matches!(&given_up, Err(BusError::Unavailable(reason)) if reason.contains("did not answer")));
    let (mut peer, _) = silent.accept().await.unwrap();
    let mut rest = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut peer, &mut rest)
        .await
        .expect("our end is closed: nothing is left behind");
}
