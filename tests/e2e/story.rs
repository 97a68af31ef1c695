//! The main job, from the first orange to the news of who broke it.

use serde_json::json;

use crate::ci_tree::{Tree, revision};
use crate::eventually::eventually;
use crate::fake_taskcluster::{FakeTaskcluster, Recorded, check_signature};
use crate::installation::Installation;
use crate::publisher::{Message, Publisher};
use crate::rabbitmq;
use crate::setting::{LIVE, Setting};
use crate::verdict_sink::VerdictSink;

const LABEL: &str = "test-linux64/opt-mochitest-1";
const OTHER: &str = "test-linux64/opt-mochitest-2";
const TRIGGER: &str = "/api/hooks/v1/hooks/project-gecko/in-tree-action-1-generic/ea5d85cbef/trigger";
/// The push that breaks [`LABEL`] for good.
const CULPRIT: u64 = 1_016;

/// Rounds of asking after which a search has gone astray.
const ROUNDS: usize = 30;

fn triggers(ci: &FakeTaskcluster) -> Vec<Recorded> {
    ci.deeds()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_push_that_broke_a_test_is_found_among_skipped_ones_and_told_once() {
    let broker = rabbitmq::shared_vhost();
    let ci = FakeTaskcluster::start().await;
    let sink = VerdictSink::start().await;
    let publisher = Publisher::at(broker.admin_url());
    let setting = Setting {
        verdicts: Some(sink.url()),
        ..Setting::new(&broker, "autoland", &ci)
    };
    let installation = Installation::new(&setting.toml(), LIVE);
    let daemon = installation.start_ready().await;

    // Fifteen pushes on which the test passed, three on which it was skipped, and one on which it failed.
    let tree = Tree::new(&ci, "autoland", 1_000);
    let mut messages: Vec<Message> = (1_000..=1_018).map(|push| tree.lands(push, &[LABEL, OTHER])).collect();
    for push in 1_000..=1_014 {
        messages.extend(tree.job(push, LABEL).lives(false));
        messages.extend(tree.job(push, OTHER).lives(false));
    }
    let orange = tree.job(1_018, LABEL);
    messages.extend(orange.lives(true));
    publisher.publish(&messages);

    // Exactly the skipped ones are asked for, each by the whole recorded payload.
    let asked = eventually("the skipped jobs are asked for", async || {
        Some(triggers(&ci)).filter(|triggers| triggers.len() >= 3)
    })
    .await;
    let mut payloads: Vec<_> = asked.iter().map(|request| request.body.clone()).collect();
    payloads.sort_by_key(|payload| payload["decision"]["push"]["pushlog_id"].to_string());
    assert_eq!(
        payloads,
        [1_015, 1_016, 1_017].map(|push| tree.payload_adding(push, LABEL))
    );
    for request in &asked {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", TRIGGER));
        check_signature(request, &ci.root_url(), "project/sheriffd", "the-access-token");
    }

    // The next push is orange too: it joins.
    let last = tree.lands(1_019, &[LABEL, OTHER]);
    publisher.publish([&last].into_iter().chain(&tree.job(1_019, LABEL).lives(true)));
    daemon
        .counts("sheriffd_actions_suppressed_total{reason=\"joined\"}", 1.0)
        .await;

    // The CI does what it is asked to until there is a verdict. The failures of those jobs are evidence and no news.
    let mut own_failures = 0.0;
    let mut rounds = 0;
    let verdict = eventually("there is a verdict", async || {
        let made = tree.serve();
        if !made.is_empty() {
            rounds += 1;
            assert!(rounds <= ROUNDS, "the search does not end: {:?}", tree.asked());
            let mut messages = Vec::new();
            for (asked, jobs) in made {
                assert_eq!(asked.label, LABEL);
                let fails = asked.push >= CULPRIT;
                own_failures += if fails { jobs.len() as f64 } else { 0.0 };
                messages.extend(jobs.iter().flat_map(|job| job.lives(fails)));
            }
            publisher.publish(&messages);
        }
        sink.heard().pop()
    })
    .await;

    assert_eq!(verdict["verdict"], "culprit", "{verdict}");
    assert_eq!(verdict["pushes"], json!([CULPRIT]));
    assert_eq!(verdict["revisions"], json!([revision(CULPRIT)]));
    assert_eq!(verdict["label"], LABEL);

    // What the CI was asked for is what the books say, neither more nor less.
    let cases = installation.json(&["case", "list"]);
    assert_eq!(cases["cases"].as_array().map(Vec::len), Some(1), "{cases}");
    let case = installation.json(&["case", "show", "C1"]);
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let mut booked: Vec<(String, u64, u64)> = case["actions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|action| {
            assert_eq!(action["state"], "accepted", "{action}");
            let number = |value: &serde_json::Value| value.as_u64().expect("a number");
            (
                text(&action["receipt"]),
                number(&action["request"]["push"]),
                number(&action["request"]["times"]),
            )
        })
        .collect();
    booked.sort();
    let mut done: Vec<(String, u64, u64)> = tree
        .asked()
        .into_iter()
        .map(|asked| (asked.action, asked.push, asked.times))
        .collect();
    done.sort();
    assert_eq!(booked, done);
    assert_eq!(triggers(&ci).len(), done.len());
    assert_eq!(
        daemon
            .metric("sheriffd_actions_suppressed_total{reason=\"lineage\"}")
            .await,
        own_failures
    );
    assert_eq!(
        daemon
            .metric("sheriffd_actions_total{rule=\"backfill-new-orange\",backend=\"taskcluster\",result=\"accepted\"}")
            .await,
        done.len() as f64
    );
    assert_eq!(sink.heard().len(), 1);
}
