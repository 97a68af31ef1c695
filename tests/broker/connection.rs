//! Connections: to a broker that comes late or goes for a while, over TLS, to a peer that keeps silent.

use sheriffd::bus::amqp::{AmqpBus, AmqpSettings};
use sheriffd::bus::{Bus, BusError};
use sheriffd::event::Duration;

use crate::common::rabbitmq::RabbitMq;
use crate::place::{IDLE, LINGER, Place, Service, bodies, connected, ready_place, refusal, take};

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
