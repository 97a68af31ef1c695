//! What keeps requests back: a pause, missing credentials.

use crate::ci_tree::Tree;
use crate::eventually::eventually;
use crate::fake_taskcluster::FakeTaskcluster;
use crate::installation::Installation;
use crate::orange::{GREEN, SKIPPED, are_asked_for, pushes, states, turns_orange, wanted};
use crate::publisher::Publisher;
use crate::rabbitmq;
use crate::setting::{LIVE, Setting};

const LABEL: &str = "test-linux64/opt-mochitest-1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_holds_requests_back_with_its_reason_until_somebody_resumes() {
    let broker = rabbitmq::shared_vhost();
    let ci = FakeTaskcluster::start().await;
    let publisher = Publisher::at(broker.admin_url());
    let installation = Installation::new(&Setting::new(&broker, "paused", &ci).toml(), LIVE);
    let daemon = installation.start_ready().await;

    let paused = installation.json(&["pause", "--reason", "the tree is closed", "--owner", "a sheriff"]);
    assert_eq!(paused["pauses"][0]["reason"], "the tree is closed", "{paused}");
    daemon.counts("sheriffd_paused{scope=\"all\"}", 1.0).await;
    let tree = Tree::new(&ci, "paused", *GREEN.start());
    publisher.publish(&pushes(&tree, &[LABEL]));
    publisher.publish(&turns_orange(&tree, LABEL));

    let held = SKIPPED.count();
    daemon
        .counts("sheriffd_actions_suppressed_total{reason=\"paused\"}", held as f64)
        .await;
    let case = installation.json(&["case", "show", "C1"]);
    assert_eq!(
        states(&case),
        vec![("queued".to_owned(), Some("paused".to_owned())); held]
    );
    assert_eq!(ci.deeds().len(), 0);

    let resumed = installation.run(&["resume"]);
    assert!(resumed.status.success());
    are_asked_for(&ci, wanted(&tree, &[LABEL])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_credentials_everything_is_decided_and_nothing_reaches_the_ci() {
    let broker = rabbitmq::shared_vhost();
    let ci = FakeTaskcluster::start().await;
    let publisher = Publisher::at(broker.admin_url());
    let setting = Setting {
        credentials: false,
        ..Setting::new(&broker, "watching", &ci)
    };
    let installation = Installation::new(&setting.toml(), LIVE);
    let daemon = installation.start_ready().await;
    let tree = Tree::new(&ci, "watching", *GREEN.start());
    publisher.publish(&pushes(&tree, &[LABEL]));
    publisher.publish(&turns_orange(&tree, LABEL));

    let decided = eventually("the case has decided", async || {
        let listed = installation.json(&["case", "list"]);
        listed["cases"].get(0)?;
        Some(installation.json(&["case", "show", "C1"]))
    })
    .await;
    assert_eq!(states(&decided), vec![("shadow".to_owned(), None); SKIPPED.count()]);
    assert_eq!(ci.deeds().len(), 0);
    assert_eq!(daemon.metric("sheriffd_outbox_depth").await, 0.0);
}
