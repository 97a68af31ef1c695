//! What no second attempt would change is refused by name, and without the password.

use sheriffd::bus::amqp::AmqpSettings;
use sheriffd::secret::Secret;

use crate::common::rabbitmq::{self, SHERIFF};
use crate::place::{Place, ready_place, refusal};

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
