//! Hostile input: no bytes make a decoder panic, and every refusal is short and says why.

use proptest::collection::vec;
use proptest::prelude::*;
use sheriffd::event::{Delivery, Project};
use sheriffd::wire::{
    DEFAULT_MAX_BODY, Unreadable, WireSettings, decode, error_summary, job_row, pushlog, recorded, task, task_graph,
};

use crate::message::{RECORDINGS, deliveries, delivery, records, settings, task as message};

/// An exchange of every format.
const EXCHANGES: [&str; 16] = [
    "exchange/taskcluster-queue/v1/task-pending",
    "exchange/taskcluster-queue/v1/task-running",
    "exchange/taskcluster-queue/v1/task-exception",
    "exchange/hgpushes/v1",
    "exchange/hgpushes/v2",
    "exchange/taskcluster-github/v1/push",
    "exchange/taskcluster-github/v1/pull-request",
    "exchange/taskcluster-github/v1/release",
    "exchange/taskcluster-treeherder/v1/jobs",
    "exchange/treeherder/v1/job-actions",
    "exchange/treeherder/v1/resultset-actions",
    "exchange/treeherder/v1/resultset-runnable-job-actions",
    "exchange/somebody/sheriffd/requests",
    "exchange/build/",
    "org.mozilla.exchange.build",
    "exchange/build/normalized",
];

/// Longest explanation, in bytes: room for the limit within `wire` and its ellipsis.
const SHORT: usize = 410;

fn refusal(exchange: &str, body: impl Into<Vec<u8>>) -> Unreadable {
    let error = decode(&delivery(exchange, "", body), &settings()).expect_err("a refusal");
    assert!(error.detail.len() < SHORT, "{error}");
    assert!(!error.detail.contains(['\n', '\r', '\u{1b}']), "{error:?}");
    error.reason
}

/// Reads a text with every reader; whatever they make of it.
fn read_all(text: &str) {
    let _ = task::facts(text);
    let _ = pushlog::pushes(text, &Project::from("autoland"));
    let _ = recorded::delivery(text, 1, None);
    let _ = job_row(text, None, &settings());
    let _ = task_graph::full_task_graph(text);
    let _ = task_graph::label_to_task_id(text);
    let _ = error_summary(text.as_bytes());
    for exchange in EXCHANGES {
        let _ = decode(&delivery(exchange, "integration/autoland", text), &settings());
    }
}

#[test]
fn a_body_over_the_limit_is_refused_before_it_is_read() {
    for exchange in EXCHANGES {
        assert_eq!(refusal(exchange, vec![b'{'; 50 * 1024 * 1024]), Unreadable::TooLarge);
    }
    let small = WireSettings {
        max_body: 10,
        ..settings()
    };
    let refused =
        decode(&message("failed").about_run(0).run("failed", None).delivery(), &small).expect_err("too large");
    assert_eq!(refused.reason, Unreadable::TooLarge);
}

#[test]
fn bytes_that_are_not_utf8_are_refused() {
    for exchange in EXCHANGES {
        assert_eq!(
            refusal(exchange, b"{\"version\": 1, \"status\": \"\xff\"}".to_vec()),
            Unreadable::NotUtf8
        );
    }
}

#[test]
fn what_is_not_json_or_not_an_object_is_refused() {
    for exchange in EXCHANGES {
        for body in [
            "",
            " ",
            "{",
            "nonsense",
            "{\"a\": }",
            "{\"version\": 1,",
            "\u{feff}{}",
            "[1, 2",
        ] {
            assert_eq!(refusal(exchange, body), Unreadable::NotJson, "{exchange} {body:?}");
        }
        for body in [
            "[]",
            "[1, {\"taskId\": \"a\"}]",
            "null",
            "1",
            "\"text\"",
            "{}",
            "{\"payload\": []}",
        ] {
            assert_eq!(refusal(exchange, body), Unreadable::WrongShape, "{exchange} {body:?}");
        }
    }
}

#[test]
fn deep_nesting_is_refused_or_skipped_and_never_followed() {
    const DEPTH: usize = 100_000;
    let (open, close) = ("[".repeat(DEPTH), "]".repeat(DEPTH));
    for exchange in EXCHANGES {
        refusal(exchange, format!("{open}{close}"));
        refusal(exchange, open.clone());
        for field in [
            "status",
            "payload",
            "runs",
            "version",
            "display",
            "details",
            "build",
            "properties",
            "heads",
        ] {
            refusal(exchange, format!("{{\"{field}\": {open}{close}}}"));
        }
    }
    let mut body = message("failed").about_run(0).run("failed", None).body().to_string();
    body.pop();
    let delivery = delivery(
        "exchange/taskcluster-queue/v1/task-failed",
        "",
        format!("{body}, \"other\": {open}{close}}}"),
    );
    assert!(
        decode(&delivery, &settings()).is_ok(),
        "a field that nobody reads may be as deep as it likes"
    );
    read_all(&open);
}

#[test]
fn a_list_in_the_place_of_an_object_is_no_message() {
    assert_eq!(
        refusal(
            "exchange/taskcluster-queue/v1/task-failed",
            r#"[{"taskId": "a", "runs": []}, 1, 0]"#
        ),
        Unreadable::WrongShape
    );
}

#[test]
fn an_exchange_that_no_format_claims_is_kept_unread() {
    for exchange in [
        "",
        "exchange/unknown",
        "exchange/a/b/sheriffd/requests",
        "exchange//sheriffd/requests",
        "exchange/hgpushes/v3",
    ] {
        assert_eq!(refusal(exchange, "{}"), Unreadable::UnknownExchange, "{exchange}");
    }
}

#[test]
fn the_largest_sound_message_is_within_the_default_limit() {
    for (file, fallback) in RECORDINGS {
        assert!(
            deliveries(file, fallback)
                .iter()
                .all(|delivery| delivery.body.len() < DEFAULT_MAX_BODY / 16)
        );
    }
}

/// A recorded message and where to hurt it: bytes replaced, cut out, doubled.
fn mutated() -> impl Strategy<Value = Delivery> {
    let all: Vec<Delivery> = RECORDINGS
        .iter()
        .flat_map(|(file, fallback)| deliveries(file, *fallback))
        .collect();
    let wounds = vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8, 0..40_usize), 1..6);
    (prop::sample::select(all), wounds).prop_map(|(delivery, wounds)| {
        let mut body = delivery.body.to_vec();
        for (place, byte, how, length) in wounds {
            if body.is_empty() {
                break;
            }
            let start = place.index(body.len());
            let end = (start + length).min(body.len());
            match how {
                0 => body[start] = byte,
                1 => drop(body.drain(start..end)),
                2 => {
                    let piece = body[start..end].to_vec();
                    body.splice(start..start, piece);
                }
                _ => body[start] = *b"{}[]\",:0".get(usize::from(byte % 8)).unwrap_or(&b'0'),
            }
        }
        Delivery {
            body: body.into(),
            ..delivery
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_a_decoder_panic(
        bytes in vec(any::<u8>(), 0..300),
        exchange in prop::sample::select(EXCHANGES.to_vec()),
    ) {
        let _ = decode(&delivery(exchange, "try", bytes.clone()), &settings());
        let _ = error_summary(&bytes);
        let _ = task::facts(&bytes);
    }

    #[test]
    fn no_text_of_json_characters_makes_a_reader_panic(text in r#"[\{\}\[\]",:\\ntu0-9a-e .\-]{0,120}"#) {
        read_all(&text);
    }

    #[test]
    fn a_mutated_message_is_read_or_refused_in_a_few_words(delivery in mutated()) {
        if let Err(error) = decode(&delivery, &settings()) {
            prop_assert!(error.detail.len() < SHORT);
        }
        if let Ok(text) = std::str::from_utf8(&delivery.body) {
            read_all(text);
        }
    }
}

#[test]
fn every_beginning_of_a_recorded_text_is_read_or_refused() {
    for file in [
        "taskcluster/tasks.jsonl",
        "hg/json-pushes.jsonl",
        "treeherder/pushes.jsonl",
        "treeherder/jobs-2013-06.jsonl",
    ] {
        let record = records(file).into_iter().next().expect("a record");
        for end in (0..record.len())
            .step_by(97)
            .filter(|&end| record.is_char_boundary(end))
        {
            read_all(&record[..end]);
        }
    }
}
