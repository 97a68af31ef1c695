//! Configurations and rules that are wrong, and rules that change.

use crate::ci_tree::Tree;
use crate::fake_taskcluster::FakeTaskcluster;
use crate::installation::Installation;
use crate::orange::{GREEN, are_asked_for, pushes, turns_orange, wanted};
use crate::publisher::Publisher;
use crate::rabbitmq;
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
    let broker = rabbitmq::shared_vhost();
    let ci = FakeTaskcluster::start().await;
    let publisher = Publisher::at(broker.admin_url());
    let installation = Installation::new(&Setting::new(&broker, "reload", &ci).toml(), LIVE);
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
    let cause = |case: &str| installation.json(&["case", "show", case])["case"]["cause"].clone();
    let (old, new) = (cause("C1"), cause("C2"));
    assert!(new.to_string().contains("another-rule"), "{new}");
    // The case that was open goes on under the rule and the version that opened it.
    assert!(old.to_string().contains("backfill-new-orange"), "{old}");
    assert_ne!(
        old.to_string().replace("backfill-new-orange", "another-rule"),
        new.to_string()
    );
    assert!(
        daemon
            .log()
            .contains("added: another-rule; removed: backfill-new-orange"),
        "{}",
        daemon.log()
    );
    let reloads = |result: &str| format!("sheriffd_rules_reloads_total{{result=\"{result}\"}}");
    assert!(daemon.metric(&reloads("refused")).await >= 1.0);
    assert!(daemon.metric(&reloads("applied")).await >= 1.0);
}

/// Rules that need no broker to be read.
fn one_rule(name: &str) -> String {
    format!(
        "version: 1
rules:
  - name: {name}
    description: A rule.
    on: job.finished
    match: {{ outcome: failed }}
    open: {{ kind: until-hit, max_jobs: 1 }}
"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_whose_files_change_take_effect_by_themselves_all_of_them_or_none() {
    let config = format!("{NO_BROKER}[rules]\nwatch_every = \"1s\"\n");
    let installation = Installation::new(&config, &one_rule("first"));
    let daemon = installation.start().await;
    installation.write("rules/second.yaml", &one_rule("second"));
    daemon.says("added: second").await;
    // One of two files is broken: the sound one does not take effect either.
    installation.write("rules/third.yaml", &one_rule("third"));
    installation.write_rules(&one_rule("first").replace("outcome", "outcom"));
    daemon.says("the rules were not changed").await;
    assert!(!daemon.log().contains("added: third"), "{}", daemon.log());
    installation.write_rules(&one_rule("first"));
    daemon.says("added: third").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_reads_the_rules_again_for_who_knows_the_token_and_for_nobody_else() {
    let config = format!("{NO_BROKER}[rules]\nwatch = false\n[web]\ntoken = \"literal:open sesame\"\n");
    let installation = Installation::new(&config, &one_rule("first"));
    let daemon = installation.start().await;
    let url = format!("http://{}/api/rules/reload", daemon.web());
    let post = async |token: Option<&str>| {
        let request = reqwest::Client::new().post(&url);
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.send().await.expect("the daemon answers");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("the answer is text");
        (
            status,
            serde_json::from_str::<serde_json::Value>(&text).expect("the answer is JSON"),
        )
    };
    installation.write_rules(&one_rule("other"));
    for wrong in [None, Some("open"), Some("open sesame!"), Some("")] {
        assert_eq!(post(wrong).await.0, 401, "{wrong:?}");
    }
    let (status, answer) = post(Some("open sesame")).await;
    assert_eq!((status, &answer["result"]), (200, &"applied".into()), "{answer}");
    assert_eq!(answer["difference"]["added"][0], "other");
    assert_eq!(post(Some("open sesame")).await.1["result"], "unchanged");
    installation.write_rules("version: 2\n");
    let (status, answer) = post(Some("open sesame")).await;
    assert_eq!(status, 422, "{answer}");
    assert_eq!(answer["diagnostics"][0]["line"], 1, "{answer}");
    let version = &post(Some("open sesame")).await.1;
    assert_eq!(
        version["result"], "refused",
        "the last good rules stay until the files are sound: {version}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_can_be_changed_through_the_api_of_a_daemon_without_a_token() {
    let daemon = Installation::new(NO_BROKER, &one_rule("first"));
    let daemon = daemon.start().await;
    let answer = reqwest::Client::new()
        .post(format!("http://{}/api/rules/reload", daemon.web()))
        .bearer_auth("")
        .send()
        .await
        .expect("the daemon answers");
    assert_eq!(answer.status().as_u16(), 403);
}
