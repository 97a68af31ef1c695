//! Credentials that the CI takes no longer, in the middle of the day.

use std::collections::BTreeSet;

use crate::ci_tree::Tree;
use crate::eventually::eventually;
use crate::fake_taskcluster::FakeTaskcluster;
use crate::installation::Installation;
use crate::orange::{GREEN, SKIPPED, pushes, states, turns_orange};
use crate::publisher::Publisher;
use crate::rabbitmq;
use crate::setting::{LIVE, Setting};

const DECIDED: &str = "test-linux64/opt-mochitest-1";
const MEANWHILE: &str = "test-linux64/opt-mochitest-2";
const CLIENT: &str = "project/sheriffd";
const REFUSED: &str = "sheriffd_backend_refused{backend=\"taskcluster\"}";

/// From now on the CI takes this client's token and no other.
fn takes_only(ci: &FakeTaskcluster, token: &str) {
    ci.change(|world| world.credentials = Some((CLIENT.to_owned(), token.to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_expire_hold_requests_back_until_others_are_read_and_nothing_is_lost_or_doubled() {
    let broker = rabbitmq::shared_vhost();
    let ci = FakeTaskcluster::start().await;
    let publisher = Publisher::at(broker.admin_url());
    let config = Setting::new(&broker, "expired", &ci)
        .toml()
        .replace("literal:the-access-token", "file:token");
    let installation = Installation::new(&config, LIVE);
    installation.write("token", "first-token\n");
    takes_only(&ci, "first-token");
    let daemon = installation.start_ready().await;
    let tree = Tree::new(&ci, "expired", *GREEN.start());
    // One case has decided what to ask for when the token expires; of the other failure nothing is known by then.
    installation.json(&[
        "pause",
        "--reason",
        "until the token has expired",
        "--owner",
        "a sheriff",
    ]);
    publisher.publish(&pushes(&tree, &[DECIDED, MEANWHILE]));
    publisher.publish(&turns_orange(&tree, DECIDED));
    let held = SKIPPED.count();
    let paused = "sheriffd_actions_suppressed_total{reason=\"paused\"}";
    daemon.counts(paused, held as f64).await;
    takes_only(&ci, "second-token");
    assert!(installation.run(&["resume"]).status.success());

    eventually("every request waits for other credentials", async || {
        let waits = ("queued".to_owned(), Some("backend-refused".to_owned()));
        (states(&installation.json(&["case", "show", "C1"])) == vec![waits; held]).then_some(())
    })
    .await;
    daemon.counts(REFUSED, 1.0).await;
    daemon.says("was refused to us: HTTP 401 Bad mac").await;
    let explained = installation.json(&["explain", "C1.1.1"]).to_string();
    assert!(explained.contains("backend-refused"), "{explained}");
    let (_, case) = daemon.get("/api/cases/C1").await;
    assert!(case.contains("backend-refused"), "{case}");
    publisher.publish(&turns_orange(&tree, MEANWHILE));
    daemon
        .counts("sheriffd_events_received_total{event=\"job.finished\"}", 22.0)
        .await;
    assert_eq!(tree.asked(), [], "the CI has done nothing");
    assert_eq!(daemon.get("/healthz").await.0, 200);

    // A reload before there is anything new changes nothing, and neither does one without the file.
    daemon.signal("HUP");
    daemon.says("the credentials are as they were").await;
    std::fs::remove_file(installation.path("token")).expect("the file was there");
    daemon.signal("HUP");
    daemon.says("the credentials were not changed").await;
    assert_eq!(tree.asked(), []);

    installation.write("token", "second-token\n");
    daemon.signal("HUP");
    daemon.says("other credentials are in force").await;
    let asked = eventually("everything is asked for", async || {
        let asked: Vec<(u64, String)> = tree
            .asked()
            .into_iter()
            .map(|asked| (asked.push, asked.label))
            .collect();
        (asked.len() >= 2 * held).then_some(asked)
    })
    .await;
    let wanted = |label: &str| SKIPPED.map(|push| (push, label.to_owned())).collect::<Vec<_>>();
    let once: BTreeSet<(u64, String)> = [wanted(DECIDED), wanted(MEANWHILE)].concat().into_iter().collect();
    assert_eq!(asked.len(), once.len(), "nothing is doubled: {asked:?}");
    assert_eq!(BTreeSet::from_iter(asked), once);
    eventually("the alert ends", async || {
        (daemon.metric(REFUSED).await == 0.0).then_some(())
    })
    .await;
    for token in ["first-token", "second-token"] {
        assert!(!daemon.log().contains(token), "{token} is in the log");
    }
}
