//! A daemon that is killed while it works.

use std::collections::BTreeSet;

use sheriffd::stats::random::Random;

use crate::ci_tree::Tree;
use crate::eventually::eventually;
use crate::fake_taskcluster::{FakeTaskcluster, Fault};
use crate::installation::{Daemon, Installation};
use crate::orange::{GREEN, SKIPPED, are_asked_for, fired, pushes, turns_orange, wanted};
use crate::publisher::{Message, Publisher};
use crate::rabbitmq;
use crate::setting::{LIVE, Setting};

const LABELS: [&str; 8] = [
    "test-linux64/opt-mochitest-1",
    "test-linux64/opt-mochitest-2",
    "test-linux64/opt-reftest-1",
    "test-linux64/opt-reftest-2",
    "test-linux64/opt-xpcshell-1",
    "test-linux64/opt-xpcshell-2",
    "test-linux64/opt-crashtest-1",
    "test-linux64/opt-crashtest-2",
];
const HOOK: &str = "/api/hooks/v1/hooks/project-gecko/in-tree-action-1-generic/ea5d85cbef/trigger";
/// Everything that is left to chance follows from this.
const SEED: u64 = 20_140_415;
/// Kills while messages flow.
const KILLS: usize = 5;

/// Waits until the daemon has received this many events.
async fn has_received(daemon: &Daemon, events: usize) {
    eventually("messages flow", async || {
        let (_, page) = daemon.get("/metrics").await;
        let received: f64 = page
            .lines()
            .filter(|line| line.starts_with("sheriffd_events_received_total"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum();
        (received >= events as f64).then_some(())
    })
    .await;
}

/// All jobs of all pushes, mixed: what belongs to one job stays in order, everything else does not.
fn mixed(tree: &Tree<'_>, random: &mut Random) -> Vec<Message> {
    let mut stories: Vec<std::vec::IntoIter<Message>> = LABELS
        .iter()
        .map(|label| turns_orange(tree, label).into_iter())
        .collect();
    let mut messages = Vec::new();
    while !stories.is_empty() {
        let index = random.below(stories.len());
        match stories[index].next() {
            Some(message) => messages.push(message),
            None => drop(stories.swap_remove(index)),
        }
    }
    messages
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_it_loses_no_request_and_makes_none_twice() {
    let broker = rabbitmq::shared_vhost();
    let ci = FakeTaskcluster::start().await;
    let publisher = Publisher::at(broker.admin_url());
    let installation = Installation::new(&Setting::new(&broker, "killed", &ci).toml(), LIVE);
    let mut random = Random::new(SEED);
    let tree = Tree::new(&ci, "killed", *GREEN.start());
    let wanted = wanted(&tree, &LABELS);
    let mut daemon = installation.start_ready().await;
    publisher.publish(&pushes(&tree, &LABELS));

    let messages = mixed(&tree, &mut random);
    let (flows, rest) = messages.split_at(messages.len() * KILLS / (KILLS + 1));
    for flow in flows.chunks(flows.len() / KILLS) {
        let publishing = publisher.begin(flow);
        has_received(&daemon, random.below(flow.len())).await;
        daemon.kill();
        publishing.finish();
        daemon = installation.start_ready().await;
    }
    publisher.publish(rest);

    // What was asked for when the daemon died in the middle of asking is looked for first, and then asked for or not.
    eventually("every skipped job is asked for", async || {
        let asked: BTreeSet<String> = fired(&ci).into_iter().collect();
        (asked.len() >= wanted.len()).then_some(())
    })
    .await;
    are_asked_for(&ci, wanted).await;
    assert_eq!(tree.asked().len(), LABELS.len() * SKIPPED.count());
    daemon
        .counts("sheriffd_cases_open{kind=\"find-culprit\"}", LABELS.len() as f64)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_between_asking_and_the_answer_it_finds_out_what_became_of_its_request() {
    let broker = rabbitmq::shared_vhost();
    let ci = FakeTaskcluster::start().await;
    let publisher = Publisher::at(broker.admin_url());
    let installation = Installation::new(&Setting::new(&broker, "doubtful", &ci).toml(), LIVE);
    let label = LABELS[0];
    let tree = Tree::new(&ci, "doubtful", *GREEN.start());
    let daemon = installation.start_ready().await;
    publisher.publish(&pushes(&tree, &[label]));

    // The CI does one of the requests without ever answering, never sees the next, and answers the third.
    ci.fail("POST", HOOK, Fault::Hang { acts: true });
    ci.fail("POST", HOOK, Fault::Hang { acts: false });
    publisher.publish(&turns_orange(&tree, label));
    eventually("all three have been sent", async || {
        (fired(&ci).len() >= SKIPPED.count()).then_some(())
    })
    .await;
    daemon.kill();
    let daemon = installation.start_ready().await;

    let mut pushes = eventually("all three are done", async || {
        let asked: Vec<u64> = tree.asked().into_iter().map(|asked| asked.push).collect();
        (asked.len() >= SKIPPED.count()).then_some(asked)
    })
    .await;
    pushes.sort_unstable();
    assert_eq!(pushes, Vec::from_iter(SKIPPED));
    eventually("nothing is in doubt", async || {
        (daemon.metric("sheriffd_outbox_depth").await == 0.0).then_some(())
    })
    .await;
    // One of them had to be sent twice, and only that one.
    assert_eq!(fired(&ci).len(), SKIPPED.count() + 1);
    assert_eq!(tree.asked().len(), SKIPPED.count());
    assert_eq!(BTreeSet::from_iter(fired(&ci)), wanted(&tree, &[label]));
}
