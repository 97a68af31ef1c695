//! A store that somebody else has locked, and a stop while there is work.

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use rusqlite::Connection;

use crate::ci_tree::Tree;
use crate::eventually::eventually;
use crate::fake_taskcluster::FakeTaskcluster;
use crate::installation::Installation;
use crate::orange::{GREEN, are_asked_for, pushes, turns_orange, wanted};
use crate::publisher::Publisher;
use crate::rabbitmq::{self, Vhost};
use crate::setting::{LIVE, Setting};

const LABEL: &str = "test-linux64/opt-mochitest-1";
const UNACKED: &str = "sheriffd_amqp_unacked";

/// Another process that writes, until it is dropped.
struct Lock(Connection);

impl Lock {
    async fn on(installation: &Installation) -> Lock {
        let connection = Connection::open(installation.path("sheriffd.db")).unwrap();
        eventually("the store can be locked", async || {
            connection.execute_batch("BEGIN EXCLUSIVE").ok()
        })
        .await;
        Lock(connection)
    }

    fn release(self) {
        self.0.execute_batch("ROLLBACK").unwrap();
    }
}

/// Messages that wait in a queue with nobody to take them: those that were taken and not acknowledged are among them.
async fn left_in(broker: &Vhost, queue: &str) -> u32 {
    let connection = broker.admin().await;
    let channel = connection.create_channel().await.unwrap();
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    eventually("the broker has noticed that the daemon is gone", async || {
        let queue = channel
            .queue_declare(queue.into(), passive, FieldTable::default())
            .await
            .unwrap();
        (queue.consumer_count() == 0).then(|| queue.message_count())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_store_is_locked_nothing_is_acknowledged() {
    let broker = rabbitmq::shared_vhost();
    let ci = FakeTaskcluster::start().await;
    let publisher = Publisher::at(broker.admin_url());
    let setting = Setting::new(&broker, "locked", &ci);
    let installation = Installation::new(&setting.toml(), LIVE);
    let daemon = installation.start_ready().await;
    let tree = Tree::new(&ci, "locked", *GREEN.start());
    let landed = pushes(&tree, &[LABEL]);

    let lock = Lock::on(&installation).await;
    publisher.publish(&landed);
    daemon.misses("store").await;
    daemon.counts(UNACKED, 1.0).await;
    assert_eq!(daemon.get("/healthz").await.0, 200);
    lock.release();
    daemon.becomes_ready().await;
    daemon
        .counts(
            "sheriffd_events_received_total{event=\"push.created\"}",
            landed.len() as f64,
        )
        .await;
    assert_eq!(daemon.metric(UNACKED).await, 0.0);

    let orange = turns_orange(&tree, LABEL);
    let lock = Lock::on(&installation).await;
    publisher.publish(&orange);
    daemon.misses("store").await;
    daemon.counts(UNACKED, 1.0).await;
    daemon.kill();
    assert_eq!(left_in(&broker, &setting.queue()).await as usize, orange.len());
    lock.release();
    let _daemon = installation.start_ready().await;
    are_asked_for(&ci, wanted(&tree, &[LABEL])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_stop_it_commits_and_acknowledges_what_it_has_begun() {
    let broker = rabbitmq::shared_vhost();
    let ci = FakeTaskcluster::start().await;
    let publisher = Publisher::at(broker.admin_url());
    let setting = Setting::new(&broker, "stopping", &ci);
    let installation = Installation::new(&setting.toml(), LIVE);
    let daemon = installation.start_ready().await;
    let tree = Tree::new(&ci, "stopping", *GREEN.start());
    let landed = pushes(&tree, &[LABEL]);

    // The batch is under way for as long as the store is locked.
    let lock = Lock::on(&installation).await;
    publisher.publish(&landed);
    daemon.counts(UNACKED, 1.0).await;
    daemon.signal("TERM");
    daemon.says("told to stop").await;
    lock.release();
    let (status, said) = daemon.ends().await;

    assert_eq!(status.code(), Some(0), "{said}");
    let left = left_in(&broker, &setting.queue()).await as usize;
    let committed: usize = Connection::open(installation.path("sheriffd.db"))
        .unwrap()
        .query_row("SELECT COUNT(*) FROM pushes", [], |row| row.get(0))
        .unwrap();
    assert!(committed > 0, "{said}");
    assert_eq!(committed + left, landed.len(), "{said}");

    let _daemon = installation.start_ready().await;
    publisher.publish(&turns_orange(&tree, LABEL));
    are_asked_for(&ci, wanted(&tree, &[LABEL])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_nothing_is_acknowledged_until_there_is_room_again() {
    let broker = rabbitmq::shared_vhost();
    let ci = FakeTaskcluster::start().await;
    let publisher = Publisher::at(broker.admin_url());
    let setting = Setting::new(&broker, "full", &ci);
    let installation = Installation::new(&setting.toml(), LIVE);
    let daemon = installation.start_ready().await;
    let tree = Tree::new(&ci, "full", *GREEN.start());
    let landed = pushes(&tree, &[LABEL]);
    publisher.publish(&landed);
    daemon
        .counts(
            "sheriffd_events_received_total{event=\"push.created\"}",
            landed.len() as f64,
        )
        .await;

    let log = std::fs::metadata(installation.path("sheriffd.db-wal")).unwrap();
    daemon.may_write(Some(log.len()));
    let orange = turns_orange(&tree, LABEL);
    publisher.publish(&orange);
    daemon.misses("store").await;
    daemon.says("nothing is acknowledged until the store can be used").await;
    daemon.counts(UNACKED, 1.0).await;
    assert_eq!(daemon.get("/healthz").await.0, 200);
    assert_eq!(ci.deeds().len(), 0);

    daemon.may_write(None);
    daemon.becomes_ready().await;
    are_asked_for(&ci, wanted(&tree, &[LABEL])).await;
    assert_eq!(daemon.metric(UNACKED).await, 0.0);
}

#[tokio::test]
async fn a_store_that_is_damaged_ends_the_start_with_its_name() {
    let ci = FakeTaskcluster::start().await;
    let installation = Installation::new(&Setting::new(&Vhost::nowhere(), "damaged", &ci).toml(), LIVE);
    installation.write("sheriffd.db", &"this is no database\n".repeat(500));
    let (status, said) = installation.launch().ends().await;
    assert_eq!(status.code(), Some(69), "{said}");
    for fact in ["sheriffd.db", "not a database"] {
        assert!(said.contains(fact), "{fact} is not in:\n{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_damaged_inside_takes_nothing_and_acknowledges_nothing() {
    let broker = rabbitmq::shared_vhost();
    let ci = FakeTaskcluster::start().await;
    let publisher = Publisher::at(broker.admin_url());
    let setting = Setting::new(&broker, "worm", &ci);
    let installation = Installation::new(&setting.toml(), LIVE);
    let daemon = installation.start_ready().await;
    let tree = Tree::new(&ci, "worm", *GREEN.start());
    publisher.publish(&pushes(&tree, &[LABEL]));
    daemon
        .counts("sheriffd_events_received_total{event=\"push.created\"}", 1.0)
        .await;
    daemon.signal("TERM");
    daemon.ends().await;

    // The first page says that it is a store of ours; behind it everything is overwritten.
    let path = installation.path("sheriffd.db");
    Connection::open(&path)
        .and_then(|books| books.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())))
        .unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let from = 4096.min(bytes.len());
    bytes[from..].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let orange = turns_orange(&tree, LABEL);
    publisher.publish(&orange);
    let (status, said) = installation.launch().ends().await;
    assert_eq!(status.code(), Some(69), "{said}");
    assert!(said.contains("malformed"), "{said}");
    assert_eq!(left_in(&broker, &setting.queue()).await as usize, orange.len());
    assert_eq!(ci.deeds().len(), 0);
}
