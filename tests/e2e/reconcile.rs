//! Messages that are lost with their queue: what they would have told is fetched from where it is known for certain.

use lapin::options::QueueDeleteOptions;

use crate::ci_tree::Tree;
use crate::eventually::eventually;
use crate::fake_taskcluster::FakeTaskcluster;
use crate::installation::Installation;
use crate::orange::{GREEN, ORANGE, SKIPPED, are_asked_for, wanted};
use crate::publisher::{Message, Publisher};
use crate::rabbitmq::{self, Vhost};
use crate::setting::{LIVE, Setting};

const FIRST: &str = "test-linux64/opt-mochitest-1";
const SECOND: &str = "test-linux64/opt-mochitest-2";
const LABELS: [&str; 2] = [FIRST, SECOND];
/// Pushes whose runs are looked at: the newest ones. All that landed are more.
const GROUPS: usize = 5;

/// Somebody deletes the daemon's queue.
async fn is_deleted(broker: &Vhost, queue: &str) {
    let admin = broker.admin().await;
    let channel = admin.create_channel().await.expect("a channel");
    let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await;
    deleted.expect("the queue is deleted");
}

/// The label fails on the last push, and nobody is told. Returns the message that is lost.
fn fails_unheard(tree: &Tree<'_>, label: &str) -> Message {
    let job = tree.job(ORANGE, label);
    let message = job.fails();
    tree.lists(&job, &message);
    message
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_lost_with_the_queue_is_fetched_within_bounds_and_has_the_effect_that_messages_have() {
    let broker = rabbitmq::shared_vhost();
    let ci = FakeTaskcluster::start().await;
    let publisher = Publisher::at(broker.admin_url());
    let setting = Setting::new(&broker, "lost", &ci);
    let config = format!(
        "{}[enrich]\npushlog_url = \"{}\"\n[reconcile]\nmax_groups = {GROUPS}\nrequests_per_second = 20.0\n",
        setting.toml(),
        ci.root_url()
    );
    let installation = Installation::new(&config, LIVE);
    let daemon = installation.start_ready().await;
    let tree = Tree::new(&ci, "lost", *GREEN.start());
    let green: Vec<Message> = GREEN.map(|push| tree.lands(push, &LABELS)).collect();
    publisher.publish(&green);
    let passed = LABELS
        .iter()
        .flat_map(|label| GREEN.flat_map(|push| tree.job(push, label).lives(false)));
    let passed: Vec<Message> = passed.collect();
    publisher.publish(&passed);
    let ended = "sheriffd_events_received_total{event=\"job.finished\"}";
    daemon.counts(ended, (LABELS.len() * GREEN.count()) as f64).await;

    // The pushes after the green ones, and the failure on the last of them, are told to a queue that is deleted.
    for push in SKIPPED.chain([ORANGE]) {
        tree.lands(push, &LABELS);
    }
    let lost = fails_unheard(&tree, FIRST);
    is_deleted(&broker, &setting.queue()).await;
    daemon.counts("sheriffd_amqp_possible_losses_total", 1.0).await;
    are_asked_for(&ci, wanted(&tree, &[FIRST])).await;
    daemon.says("reconciled with what the CI says").await;
    let reconciled = async |what: &str| {
        daemon
            .metric(&format!("sheriffd_reconciled_total{{what=\"{what}\"}}"))
            .await
    };
    assert!(reconciled("push").await >= (SKIPPED.count() + 1) as f64);
    assert_eq!(reconciled("run").await, 1.0);
    daemon
        .says("more pushes landed meanwhile than are looked through")
        .await;
    let groups = |ci: &FakeTaskcluster| {
        let asked = ci.requests().into_iter().map(|request| request.path);
        let mut groups: Vec<String> = asked.filter(|path| path.contains("/task-group/")).collect();
        groups.sort();
        groups.dedup();
        groups.len()
    };
    assert!(groups(&ci) <= GROUPS, "{} groups", groups(&ci));

    // The message comes after all: it says nothing new.
    publisher.publish([&lost]);
    daemon
        .counts("sheriffd_events_discarded_total{reason=\"duplicate\"}", 1.0)
        .await;
    assert_eq!(tree.asked().len(), SKIPPED.count());

    // While the daemon is away for long the queue is deleted again, and another job fails.
    daemon.kill();
    is_deleted(&broker, &setting.queue()).await;
    fails_unheard(&tree, SECOND);
    let daemon = installation.start_ready().await;
    are_asked_for(&ci, wanted(&tree, &LABELS)).await;
    daemon.says("reconciled with what the CI says").await;
    eventually("everything is accepted", async || {
        (daemon.metric("sheriffd_outbox_depth").await == 0.0).then_some(())
    })
    .await;
    assert_eq!(tree.asked().len(), LABELS.len() * SKIPPED.count());
}
