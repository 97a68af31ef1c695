//! Far more than anybody expects: of messages, of failures, of bytes.

use std::fs;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

use crate::bulk::Bulk;
use crate::ci_tree::Tree;
use crate::eventually::eventually;
use crate::fake_taskcluster::FakeTaskcluster;
use crate::installation::{Daemon, Installation};
use crate::orange::{GREEN, ORANGE, are_asked_for, pushes, turns_orange, wanted};
use crate::publisher::{Message, Publisher};
use crate::rabbitmq::{self, Vhost};
use crate::setting::{LIVE, Setting};

const LABEL: &str = "test-linux64/opt-mochitest-1";
const MIB: u64 = 1024 * 1024;
/// What the daemon may use at most under any of these floods, of memory: measured are 50 to 120 MiB.
const MEMORY: u64 = 400 * MIB;
/// Failures of machines in a minute: seen in the wild.
const EXCEPTIONS: usize = 20_000;
/// Failures that come with them, each of another label.
const FAILURES: u64 = 60;
/// Messages that wait at the start, unless `SHERIFFD_FLOOD` says how many (docs/robustness.md has a run of 500,000).
const WAITING: usize = 50_000;
/// Jobs that may be asked for in an hour.
const JOBS_PER_HOUR: usize = 7;

/// A rule that looks at everything that ends, whatever it is, and would ask for a lot.
const EVERYTHING: &str = r#"
version: 1
rules:
  - name: everything
    on: job.finished
    caused_by: [push, person]
    open: { kind: until-hit, max_jobs: 1000 }
    mode: live
"#;

/// The most memory that the daemon has used so far, in bytes.
fn most_memory(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).expect("the daemon runs");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .expect("Linux tells it");
    let kibibytes: u64 = line
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .expect("a number");
    kibibytes * 1024
}

fn is_bounded(daemon: &Daemon, what: &str) {
    let used = most_memory(daemon);
    println!("{what}: {} MiB at most", used / MIB);
    assert!(used < MEMORY, "{what}: {} MiB", used / MIB);
}

/// Messages of jobs that pass, of as many labels as it takes.
fn crowd(tree: &Tree<'_>, count: usize) -> Vec<Message> {
    (0..)
        .flat_map(|label| {
            let label = format!("test-linux64/debug-crowd-{label}");
            (*GREEN.start()..=ORANGE).flat_map(move |push| tree.job(push, &label).lives(false))
        })
        .take(count)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_exceptions_at_once_and_a_rule_that_matches_everything() {
    let broker = rabbitmq::shared_vhost();
    let ci = FakeTaskcluster::start().await;
    let publisher = Publisher::at(broker.admin_url());
    let config = Setting::new(&broker, "storm", &ci)
        .toml()
        .replace("[limits]\n", &format!("[limits]\njobs_per_hour = {JOBS_PER_HOUR}\n"));
    let installation = Installation::new(&config, EVERYTHING);
    let daemon = installation.start_ready().await;
    let tree = Tree::new(&ci, "storm", *GREEN.start());
    publisher.publish(&pushes(&tree, &[LABEL]));
    let exceptions: Vec<Message> = (0..EXCEPTIONS)
        .map(|number| {
            tree.job(ORANGE, &format!("test-linux64/opt-storm-{}", number % 500))
                .lost()
        })
        .collect();
    // And failures all over the tree, each of which would be hunted.
    let failures: Vec<Message> = (0..FAILURES)
        .map(|number| {
            let push = GREEN.start() + number % 10;
            tree.job(push, &format!("test-linux64/opt-fails-{number}")).fails()
        })
        .collect();
    let bulk = Bulk::at(&broker).await;
    bulk.publish(&exceptions).await;
    bulk.publish(&failures).await;

    daemon
        .counts(
            "sheriffd_events_received_total{event=\"job.finished\"}",
            EXCEPTIONS as f64 + FAILURES as f64,
        )
        .await;
    daemon
        .counts("sheriffd_actions_suppressed_total{reason=\"limit\"}", 1.0)
        .await;
    assert_eq!(daemon.readiness().await, (true, "ready\n".to_owned()));
    assert_eq!(daemon.get("/healthz").await.0, 200);
    let jobs: u64 = tree.asked().iter().map(|asked| asked.times).sum();
    assert!(jobs <= JOBS_PER_HOUR as u64, "{jobs} jobs were asked for");
    is_bounded(&daemon, "20,000 exceptions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_full_at_the_start_is_worked_off_in_bounded_memory() {
    let broker = rabbitmq::shared_vhost();
    let ci = FakeTaskcluster::start().await;
    let publisher = Publisher::at(broker.admin_url());
    let setting = Setting::new(&broker, "backlog", &ci);
    let installation = Installation::new(&setting.toml(), LIVE);
    // The queue and its bindings come to be, and then the daemon is away.
    let daemon = installation.start_ready().await;
    daemon.kill();
    let tree = Tree::new(&ci, "backlog", *GREEN.start());
    publisher.publish(&pushes(&tree, &[LABEL]));
    let bulk = Bulk::at(&broker).await;
    let messages = std::env::var("SHERIFFD_FLOOD").map_or(WAITING, |number| number.parse().expect("a number"));
    for part in crowd(&tree, messages).chunks(WAITING) {
        bulk.publish(part).await;
    }
    bulk.publish(&turns_orange(&tree, LABEL)).await;

    let daemon = installation.start_ready().await;
    let mut left = u32::MAX;
    while left > 0 {
        eventually("the queue gets shorter", async || {
            let now = waiting(&broker, &setting.queue()).await;
            (now < left).then(|| left = now)
        })
        .await;
    }
    eventually("all is acknowledged", async || {
        (daemon.metric("sheriffd_amqp_unacked").await == 0.0).then_some(())
    })
    .await;
    are_asked_for(&ci, wanted(&tree, &[LABEL])).await;
    is_bounded(&daemon, &format!("{messages} messages at the start"));
}

/// Messages in a queue that nobody has been given.
async fn waiting(broker: &Vhost, queue: &str) -> u32 {
    let connection = broker.admin().await;
    let channel = connection.create_channel().await.expect("a channel");
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(queue.into(), passive, FieldTable::default())
        .await
        .expect("the queue is there")
        .message_count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_fifty_megabytes_is_cut_kept_and_counted() {
    let broker = rabbitmq::shared_vhost();
    let ci = FakeTaskcluster::start().await;
    let publisher = Publisher::at(broker.admin_url());
    let setting = Setting::new(&broker, "huge", &ci);
    let installation = Installation::new(&setting.toml(), LIVE);
    let daemon = installation.start_ready().await;
    let tree = Tree::new(&ci, "huge", *GREEN.start());
    publisher.publish(&pushes(&tree, &[LABEL]));
    let sound = tree.job(ORANGE, LABEL).fails();
    let bulk = Bulk::at(&broker).await;
    bulk.publish(&[sound.saying(vec![b'['; 50 * MIB as usize])]).await;
    bulk.publish(&turns_orange(&tree, LABEL)).await;

    are_asked_for(&ci, wanted(&tree, &[LABEL])).await;
    assert_eq!(
        daemon
            .metric("sheriffd_events_discarded_total{reason=\"too-large\"}")
            .await,
        1.0
    );
    let letters = installation.json(&["deadletters", "list"]);
    assert_eq!(letters["deadLetters"][0]["reason"], "too-large", "{letters}");
    is_bounded(&daemon, "one message of 50 MB");
}
