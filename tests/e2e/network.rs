//! A broker that is cut off, goes, or is short of memory, while messages flow.

use rusqlite::Connection;

use crate::bulk::Bulk;
use crate::ci_tree::Tree;
use crate::eventually::eventually;
use crate::fake_taskcluster::FakeTaskcluster;
use crate::installation::Installation;
use crate::orange::{GREEN, ORANGE, are_asked_for, pushes, turns_orange, wanted};
use crate::publisher::{Message, Publisher};
use crate::rabbitmq::{self, RabbitMq};
use crate::setting::{LIVE, Setting};
use crate::tcp_proxy::TcpProxy;

const LABEL: &str = "test-linux64/opt-mochitest-1";
/// Labels that pass on every push meanwhile.
const CROWD: usize = 60;
/// Times that the connection is cut.
const CUTS: usize = 8;

/// What is told of jobs that pass on every push.
fn crowd(tree: &Tree<'_>) -> Vec<Message> {
    let labels = (0..CROWD).map(|label| format!("test-linux64/debug-crowd-{label}"));
    labels
        .flat_map(|label| (*GREEN.start()..=ORANGE).map(move |push| (push, label.clone())))
        .flat_map(|(push, label)| tree.job(push, &label).lives(false))
        .collect()
}

/// Waits until this many jobs are in the books to their end.
async fn ended(installation: &Installation, jobs: usize) {
    let books = Connection::open(installation.path("sheriffd.db")).expect("the store is there");
    eventually("every job is in the books to its end", async || {
        let ended: usize = books
            .query_row("SELECT COUNT(*) FROM runs WHERE state >= 2", [], |row| row.get(0))
            .unwrap_or_default();
        (ended == jobs).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_cut_again_and_again_loses_and_doubles_nothing() {
    let broker = rabbitmq::shared_vhost();
    let cable = TcpProxy::to(broker.port()).await;
    let ci = FakeTaskcluster::start().await;
    let publisher = Publisher::at(broker.admin_url());
    let installation = Installation::new(&Setting::new(&broker.through(cable.port()), "cut", &ci).toml(), LIVE);
    let daemon = installation.start_ready().await;
    let tree = Tree::new(&ci, "cut", *GREEN.start());
    publisher.publish(&pushes(&tree, &[LABEL]));

    let mut messages = crowd(&tree);
    messages.extend(turns_orange(&tree, LABEL));
    let bulk = Bulk::at(&broker).await;
    for (cuts, part) in (1..).zip(messages.chunks(messages.len().div_ceil(CUTS))) {
        bulk.publish(part).await;
        cable.cut();
        daemon.counts("sheriffd_amqp_reconnects_total", f64::from(cuts)).await;
    }
    ended(&installation, messages.len() / 3).await;
    are_asked_for(&ci, wanted(&tree, &[LABEL])).await;
    daemon.becomes_ready().await;
    assert_eq!(daemon.metric("sheriffd_amqp_possible_losses_total").await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_restarted_while_messages_wait_is_found_again_with_all_of_them() {
    let mut node = RabbitMq::start();
    let broker = node.vhost();
    let ci = FakeTaskcluster::start().await;
    let publisher = Publisher::at(broker.admin_url());
    let installation = Installation::new(&Setting::new(&broker, "restarted", &ci).toml(), LIVE);
    let daemon = installation.start_ready().await;
    let tree = Tree::new(&ci, "restarted", *GREEN.start());
    publisher.publish(&pushes(&tree, &[LABEL]));

    let mut messages = crowd(&tree);
    messages.extend(turns_orange(&tree, LABEL));
    Bulk::at(&broker).await.publish(&messages).await;
    node.stop();
    daemon.misses("bus").await;
    assert_eq!(daemon.get("/healthz").await.0, 200);
    node.start_again();
    daemon.becomes_ready().await;
    ended(&installation, messages.len() / 3).await;
    are_asked_for(&ci, wanted(&tree, &[LABEL])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_short_of_memory_holds_back_publishers_and_not_the_daemon() {
    let node = RabbitMq::start();
    let broker = node.vhost();
    let ci = FakeTaskcluster::start().await;
    let publisher = Publisher::at(broker.admin_url());
    let installation = Installation::new(&Setting::new(&broker, "alarm", &ci).toml(), LIVE);
    let daemon = installation.start_ready().await;
    let tree = Tree::new(&ci, "alarm", *GREEN.start());
    let landed = pushes(&tree, &[LABEL]);
    publisher.publish(&landed);

    node.control(&["set_vm_memory_high_watermark", "absolute", "1MB"]);
    let orange = turns_orange(&tree, LABEL);
    let held_back = publisher.begin(&orange);
    daemon
        .counts(
            "sheriffd_events_received_total{event=\"push.created\"}",
            landed.len() as f64,
        )
        .await;
    assert_eq!(daemon.readiness().await, (true, "ready\n".to_owned()));
    assert_eq!(ci.deeds().len(), 0, "the broker takes no messages from anybody");

    node.control(&["set_vm_memory_high_watermark", "0.6"]);
    held_back.finish();
    are_asked_for(&ci, wanted(&tree, &[LABEL])).await;
    assert_eq!(daemon.metric("sheriffd_amqp_reconnects_total").await, 0.0);
}
