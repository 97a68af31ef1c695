//! What is published comes: whole, in order, again until it is acknowledged, and not too much of it.

use sheriffd::bus::amqp::{AmqpBus, AmqpSettings};
use sheriffd::bus::{Batch, Bus};
use sheriffd::event::Duration;

use crate::common::rabbitmq;
use crate::common::tcp_proxy::TcpProxy;
use crate::place::{IDLE, LINGER, bodies, connected, ready_place, take};

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
