//! A broker that is away, refuses, or forgets.

use lapin::options::QueueDeleteOptions;

use crate::ci_tree::Tree;
use crate::fake_taskcluster::FakeTaskcluster;
use crate::installation::Installation;
use crate::orange::{GREEN, are_asked_for, pushes, turns_orange, wanted};
use crate::publisher::Publisher;
use crate::rabbitmq::{self, RabbitMq, SHERIFF};
use crate::setting::{LIVE, Setting};

const LABEL: &str = "test-linux64/opt-mochitest-1";
const PUSHES: &str = "sheriffd_events_received_total{event=\"push.created\"}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_comes_late_is_waited_for() {
    let mut node = RabbitMq::start();
    let broker = node.vhost();
    let publisher = Publisher::at(broker.admin_url());
    node.stop();
    let ci = FakeTaskcluster::start().await;
    let installation = Installation::new(&Setting::new(&broker, "late", &ci).toml(), LIVE);

    let daemon = installation.start().await;
    daemon.says("cannot be reached").await;
    assert_eq!(daemon.readiness().await, (false, "not ready: bus\n".to_owned()));
    assert_eq!(daemon.get("/healthz").await.0, 200);
    assert_eq!(daemon.metric("sheriffd_amqp_connected").await, 0.0);

    node.start_again();
    daemon.becomes_ready().await;
    assert_eq!(daemon.metric("sheriffd_amqp_connected").await, 1.0);
    let tree = Tree::new(&ci, "late", *GREEN.start());
    publisher.publish(&pushes(&tree, &[LABEL]));
    publisher.publish(&turns_orange(&tree, LABEL));
    are_asked_for(&ci, wanted(&tree, &[LABEL])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_ends_the_daemon_with_the_facts_and_without_the_password() {
    let broker = rabbitmq::shared_vhost();
    let ci = FakeTaskcluster::start().await;
    let config = Setting::new(&broker, "refused", &ci)
        .toml()
        .replace(SHERIFF.1, "a-wrong-secret");

    let (status, said) = Installation::new(&config, LIVE).launch().ends().await;

    assert_eq!(status.code(), Some(78), "{said}");
    let address = format!("amqp://127.0.0.1:{}", broker.port());
    let vhost = format!("virtual host `{}`", broker.name());
    for fact in [address.as_str(), vhost.as_str(), "user `sheriff`", "broker.password"] {
        assert!(said.contains(fact), "{fact} is not in:\n{said}");
    }
    assert!(!said.contains("a-wrong-secret"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_somebody_deletes_is_made_again_and_counted_as_a_possible_loss() {
    let broker = rabbitmq::shared_vhost();
    let ci = FakeTaskcluster::start().await;
    let publisher = Publisher::at(broker.admin_url());
    let setting = Setting::new(&broker, "deleted", &ci);
    let daemon = Installation::new(&setting.toml(), LIVE).start_ready().await;
    let tree = Tree::new(&ci, "deleted", 1);
    publisher.publish([&tree.lands(1, &[LABEL])]);
    daemon.counts(PUSHES, 1.0).await;

    let admin = broker.admin().await;
    let channel = admin.create_channel().await.unwrap();
    channel
        .queue_delete(setting.queue().as_str().into(), QueueDeleteOptions::default())
        .await
        .unwrap();

    daemon.counts("sheriffd_amqp_possible_losses_total", 1.0).await;
    daemon.counts("sheriffd_amqp_reconnects_total", 1.0).await;
    daemon.becomes_ready().await;
    publisher.publish([&tree.lands(2, &[LABEL])]);
    daemon.counts(PUSHES, 2.0).await;
    assert_eq!(daemon.metric("sheriffd_amqp_possible_losses_total").await, 1.0);
}
