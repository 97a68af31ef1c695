//! Messages that nobody can read, that come twice, or late.

use std::collections::BTreeMap;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions};
use lapin::types::FieldTable;
use serde_json::{Value, json};

use crate::ci_tree::Tree;
use crate::fake_taskcluster::FakeTaskcluster;
use crate::installation::Installation;
use crate::orange::{GREEN, ORANGE, are_asked_for, pushes, wanted};
use crate::publisher::{Body, Message, Publisher};
use crate::rabbitmq::{self, Vhost};
use crate::setting::{LIVE, Setting};

const LABEL: &str = "test-linux64/opt-mochitest-1";
const FOREIGN: &str = "exchange/other-service/v1/things";

/// Somebody binds the queue to an exchange that sheriffd knows nothing of.
async fn bind_by_hand(broker: &Vhost, queue: &str) {
    let connection = broker.admin().await;
    let channel = connection.create_channel().await.unwrap();
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(
            FOREIGN.into(),
            lapin::ExchangeKind::Topic,
            durable,
            FieldTable::default(),
        )
        .await
        .unwrap();
    channel
        .queue_bind(
            queue.into(),
            FOREIGN.into(),
            "#".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
}

/// A message with one field of its body changed.
fn with(message: &Message, pointer: &str, value: Value) -> Message {
    let mut changed = message.clone();
    if let Body::Json(body) = &mut changed.body {
        *body.pointer_mut(pointer).expect("the field exists") = value;
    }
    changed
}

/// Messages that cannot be read or applied, each with the reason that has to be given.
fn unreadable(sound: &Message) -> Vec<(&'static str, Message)> {
    // A push of this number can be read, and no store can hold it.
    let mut boundless = sound.clone();
    boundless.cc[0] = boundless.cc[0].replace(&format!(".{ORANGE}"), &format!(".{}", u64::MAX));
    let foreign = Message {
        exchange: FOREIGN.to_owned(),
        ..sound.clone()
    };
    vec![
        ("not-json", sound.saying("this is no JSON")),
        ("not-json", sound.saying("")),
        ("not-json", sound.saying("[".repeat(100_000))),
        ("not-utf8", sound.saying([b'"', 0xff, 0xfe, b'"'])),
        ("too-large", sound.saying(vec![b' '; 5 * 1024 * 1024])),
        ("wrong-shape", sound.saying("{\"version\": 1}")),
        ("wrong-shape", with(sound, "/status/runs", json!("none"))),
        ("wrong-shape", with(sound, "/runId", json!(7))),
        ("wrong-version", with(sound, "/version", json!(2))),
        ("unknown-state", with(sound, "/status/runs/0/state", json!("resting"))),
        ("unknown-exchange", foreign),
        ("not-applicable", boundless),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_kept_and_what_repeats_has_no_second_effect() {
    let broker = rabbitmq::shared_vhost();
    let ci = FakeTaskcluster::start().await;
    let publisher = Publisher::at(broker.admin_url());
    let setting = Setting::new(&broker, "hostile", &ci);
    let installation = Installation::new(&setting.toml(), LIVE);
    let daemon = installation.start_ready().await;
    bind_by_hand(&broker, &setting.queue()).await;

    let tree = Tree::new(&ci, "hostile", *GREEN.start());
    let mut messages = pushes(&tree, &[LABEL]);
    for push in GREEN {
        // The end comes first, then what was before it, then all of it again.
        let [waits, runs, ends] = tree.job(push, LABEL).lives(false);
        messages.extend([&ends, &runs, &waits, &waits, &runs, &ends].map(Message::clone));
    }
    let [waits, runs, fails] = tree.job(ORANGE, LABEL).lives(true);
    let unreadable = unreadable(&fails);
    messages.extend(unreadable.iter().map(|(_, message)| message.clone()));
    messages.extend([&fails, &fails, &runs, &waits, &fails].map(Message::clone));
    publisher.publish(&messages);

    are_asked_for(&ci, wanted(&tree, &[LABEL])).await;
    let cases = installation.json(&["case", "list"]);
    assert_eq!(cases["cases"].as_array().map(Vec::len), Some(1), "{cases}");

    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for (reason, _) in &unreadable {
        *reasons.entry(reason).or_default() += 1;
    }
    for (reason, count) in &reasons {
        let counter = format!("sheriffd_events_discarded_total{{reason=\"{reason}\"}}");
        assert_eq!(daemon.metric(&counter).await, *count as f64, "{reason}");
    }
    let listed = installation.json(&["deadletters", "list"]);
    let mut kept: BTreeMap<String, u64> = BTreeMap::new();
    for letter in listed["deadLetters"].as_array().expect("a list") {
        assert_ne!(letter["detail"], "", "{letter}");
        *kept
            .entry(letter["reason"].as_str().expect("a reason").to_owned())
            .or_default() += 1;
    }
    let reasons: BTreeMap<String, u64> = reasons
        .into_iter()
        .map(|(reason, count)| (reason.to_owned(), count))
        .collect();
    assert_eq!(kept, reasons);

    daemon
        .counts("sheriffd_events_received_total{event=\"push.created\"}", 14.0)
        .await;
    assert!(daemon.readiness().await.0);
    assert_eq!(daemon.metric("sheriffd_amqp_unacked").await, 0.0);
}
