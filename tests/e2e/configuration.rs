//! Configurations and rules that are wrong, and rules that change.

use crate::ci_tree::Tree;
use crate::fake_taskcluster::FakeTaskcluster;
use crate::installation::Installation;
use crate::orange::{GREEN, are_asked_for, pushes, turns_orange, wanted};
use crate::publisher::Publisher;
use crate::rabbitmq::RabbitMq;
use crate::setting::{LIVE, Setting};

const FIRST: &str = "test-linux64/opt-mochitest-1";
const SECOND: &str = "test-linux64/opt-mochitest-2";
/// [`LIVE`] with a mistake in its line 6.
const BROKEN: (&str, &str) = ("outcome: failed", "outcom: failed");

/// Nobody listens here: a daemon that gets as far as the broker does not end.
const NO_BROKER: &str = "[broker]\nurl = \"amqp://127.0.0.1:1\"\n";

#[tokio::test]
async fn an_unknown_key_ends_the_start_with_what_was_meant() {
    let config = format!("{NO_BROKER}prefech = 10\n");
    let (status, said) = Installation::new(&config, LIVE).launch().ends().await;
    assert_eq!(status.code(), Some(78), "{said}");
    for fact in ["sheriffd.toml", "prefech", "prefetch"] {
        assert!(said.contains(fact), "{fact} is not in:\n{said}");
    }
}

#[tokio::test]
async fn broken_rules_end_the_start_with_file_line_and_column() {
    let rules = LIVE.replace(BROKEN.0, BROKEN.1);
    let (status, said) = Installation::new(NO_BROKER, &rules).launch().ends().await;
    assert_eq!(status.code(), Some(78), "{said}");
    for fact in ["rules/rules.yaml:6:14", "outcom", "outcome"] {
        assert!(said.contains(fact), "{fact} is not in:\n{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_change_take_effect_unless_they_are_broken() {
    let node = RabbitMq::start();
    let ci = FakeTaskcluster::start().await;
    let publisher = Publisher::at(node.admin_url());
    let installation = Installation::new(&Setting::new(node.port(), "reload", &ci).toml(), LIVE);
    let daemon = installation.start_ready().await;
    let tree = Tree::new(&ci, "reload", *GREEN.start());
    publisher.publish(&pushes(&tree, &[FIRST, SECOND]));

    installation.write_rules(&LIVE.replace(BROKEN.0, BROKEN.1));
    daemon.signal("HUP");
    daemon.says("the rules were not changed").await;
    assert!(daemon.log().contains("rules/rules.yaml:6:14"), "{}", daemon.log());
    publisher.publish(&turns_orange(&tree, FIRST));
    are_asked_for(&ci, wanted(&tree, &[FIRST])).await;

    installation.write_rules(&LIVE.replace("backfill-new-orange", "another-rule"));
    daemon.signal("HUP");
    daemon.says("other rules are in force").await;
    publisher.publish(&turns_orange(&tree, SECOND));
    are_asked_for(&ci, wanted(&tree, &[FIRST, SECOND])).await;
    let case = installation.json(&["case", "show", "C2"]);
    assert!(case["case"]["cause"].to_string().contains("another-rule"), "{case}");
}
