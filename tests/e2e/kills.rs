//! Twenty thousand messages, and a daemon that is killed again and again, or two of them on one store and one queue.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::Connection;
use sheriffd::stats::random::Random;

use crate::bulk::Bulk;
use crate::ci_tree::Tree;
use crate::eventually::eventually;
use crate::fake_taskcluster::FakeTaskcluster;
use crate::installation::Installation;
use crate::orange::{GREEN, ORANGE, fired, pushes, turns_orange, wanted};
use crate::publisher::{Message, Publisher};
use crate::rabbitmq;
use crate::setting::{LIVE, Setting};

/// Labels that turn orange: each leads to requests.
const ORANGES: [&str; 6] = [
    "test-linux64/opt-mochitest-1",
    "test-linux64/opt-mochitest-2",
    "test-linux64/opt-reftest-1",
    "test-linux64/opt-xpcshell-1",
    "test-linux64/opt-crashtest-1",
    "test-linux64/opt-crashtest-2",
];
/// Labels that pass on every push: the crowd.
const CROWD: usize = 480;
/// Messages in all, at least.
const MESSAGES: usize = 20_000;
/// Kills while they flow.
const KILLS: usize = 8;
/// Everything that is left to chance follows from this.
const SEED: u64 = 20_240_601;

/// What is told of all jobs of all pushes, and how many jobs that is: stories in order, mixed with each other.
fn everything(tree: &Tree<'_>, random: &mut Random) -> (Vec<Message>, usize) {
    let mut stories: Vec<std::vec::IntoIter<Message>> = ORANGES
        .iter()
        .map(|label| turns_orange(tree, label).into_iter())
        .collect();
    let mut jobs = ORANGES.len() * (GREEN.count() + 1);
    for label in 0..CROWD {
        let label = format!("test-linux64/debug-crowd-{label}");
        let lives = (*GREEN.start()..=ORANGE).flat_map(|push| tree.job(push, &label).lives(false));
        let lives: Vec<Message> = lives.collect();
        jobs += lives.len() / 3;
        stories.push(lives.into_iter());
    }
    let mut messages = Vec::new();
    while !stories.is_empty() {
        let index = random.below(stories.len());
        match stories[index].next() {
            Some(message) => messages.push(message),
            None => drop(stories.swap_remove(index)),
        }
    }
    assert!(messages.len() >= MESSAGES, "{} messages", messages.len());
    (messages, jobs)
}

/// Runs in the books: all, and those that ended.
fn runs(installation: &Installation) -> (usize, usize) {
    Connection::open(installation.path("sheriffd.db"))
        .and_then(|books| {
            books.query_row("SELECT COUNT(*), COALESCE(SUM(state >= 2), 0) FROM runs", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
        })
        .unwrap_or_default()
}

/// Waits until every job of the CI's own is in the books to its end, and every request that follows from them is made.
async fn all_is_there(installation: &Installation, ci: &FakeTaskcluster, jobs: usize, wanted: &BTreeSet<String>) {
    eventually("every job is in the books to its end", async || {
        (runs(installation) == (jobs, jobs)).then_some(())
    })
    .await;
    eventually("every skipped job is asked for", async || {
        let asked: BTreeSet<String> = fired(ci).into_iter().collect();
        asked.is_superset(wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_under_twenty_thousand_messages_it_loses_and_doubles_nothing() {
    let broker = rabbitmq::shared_vhost();
    let ci = FakeTaskcluster::start().await;
    let publisher = Publisher::at(broker.admin_url());
    let installation = Installation::new(&Setting::new(&broker, "kills", &ci).toml(), LIVE);
    let mut random = Random::new(SEED);
    let tree = Tree::new(&ci, "kills", *GREEN.start());
    let wanted = wanted(&tree, &ORANGES);
    let (messages, jobs) = everything(&tree, &mut random);
    let mut daemon = installation.start_ready().await;
    publisher.publish(&pushes(&tree, &ORANGES));

    let bulk = Bulk::at(&broker).await;
    for part in messages.chunks(messages.len().div_ceil(KILLS)) {
        let before = runs(&installation).0;
        bulk.publish(part).await;
        // At some moment after it has begun with these.
        eventually("messages flow", async || (runs(&installation).0 > before).then_some(())).await;
        tokio::time::sleep(Duration::from_millis(random.below(400) as u64)).await;
        daemon.kill();
        daemon = installation.start_ready().await;
    }
    all_is_there(&installation, &ci, jobs, &wanted).await;

    // A request that was lost with the process that sent it is sent again under its own name; none is done twice.
    let asked = tree.asked();
    let distinct: BTreeSet<(u64, String)> = asked.iter().map(|asked| (asked.push, asked.label.clone())).collect();
    assert_eq!(asked.len(), distinct.len(), "{asked:?}");
    assert_eq!(BTreeSet::from_iter(fired(&ci)), wanted);
    assert_eq!(daemon.metric("sheriffd_amqp_unacked").await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_daemons_on_one_queue_and_one_store_ask_once_together() {
    let broker = rabbitmq::shared_vhost();
    let ci = FakeTaskcluster::start().await;
    let publisher = Publisher::at(broker.admin_url());
    let installation = Installation::new(&Setting::new(&broker, "twins", &ci).toml(), LIVE);
    let mut random = Random::new(SEED);
    let tree = Tree::new(&ci, "twins", *GREEN.start());
    let wanted = wanted(&tree, &ORANGES);
    let one = installation.start_ready().await;
    let other = installation.start_ready().await;
    publisher.publish(&pushes(&tree, &ORANGES));

    let (messages, jobs) = everything(&tree, &mut random);
    Bulk::at(&broker).await.publish(&messages).await;
    all_is_there(&installation, &ci, jobs, &wanted).await;

    assert_eq!(fired(&ci), Vec::from_iter(wanted));
    for daemon in [&one, &other] {
        let taken = daemon
            .metric("sheriffd_events_received_total{event=\"job.finished\"}")
            .await;
        assert!(taken > 0.0, "both have had a part of the messages");
        assert_eq!(daemon.get("/healthz").await.0, 200);
    }
}
