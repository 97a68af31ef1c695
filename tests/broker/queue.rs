//! The queue and its bindings: what is made, kept, named, and told of as lost.

use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use sheriffd::bus::Bus;
use sheriffd::bus::amqp::{AmqpBus, AmqpSettings, QueueType};
use sheriffd::bus::bindings::Binding;

use crate::common::rabbitmq;
use crate::place::{Place, Service, bodies, connected, loss, ready_place, take};

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
