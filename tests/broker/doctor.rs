//! What the doctor says of a broker.

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use sheriffd::bus::amqp::{AmqpSettings, check};
use sheriffd::bus::bindings::Binding;
use sheriffd::secret::Secret;

use crate::common::rabbitmq::{self, NOBODY};
use crate::place::ready_place;

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
