//! What artifacts and alerts say.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};
use sheriffd::event::{BackendName, Delivery, Event, PerfAlert};
use sheriffd::wire::{
    DEFAULT_MAX_BODY, Decoded, Ignored, WireSettings, decode, is_perfherder_artifact, perfherder_data,
};

fn alerts(body: &str) -> Result<Decoded, sheriffd::wire::DecodeError> {
    let delivery = Delivery {
        exchange: "exchange/someone/sheriffd/perf-alerts".into(),
        routing_key: "autoland".into(),
        cc: Vec::new(),
        redelivered: false,
        body: Bytes::from(body.to_owned()),
        tag: 0,
    };
    let settings = WireSettings {
        backend: BackendName::from("tc"),
        max_body: DEFAULT_MAX_BODY,
    };
    decode(&delivery, &settings)
}

fn events(body: &str) -> Vec<PerfAlert> {
    let Decoded::Events(events) = alerts(body).expect("readable") else {
        panic!("no events in {body}")
    };
    let alerts = events.into_iter().map(|event| match event {
        Event::PerfAlert(alert) => *alert,
        other => panic!("{other:?}"),
    });
    alerts.collect()
}

/// The recorded alert summaries.
fn recorded() -> Vec<Value> {
    let lines = include_str!("../data/perf/alert-summaries.jsonl").lines();
    lines
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["summary"].clone())
        .collect()
}

#[test]
fn recorded_alerts_name_their_series_and_the_revisions_around_the_step() {
    let summaries = recorded();
    let first = &events(&summaries[0].to_string())[0];
    assert_eq!(
        (first.id, first.project.as_str(), &*first.test, &*first.platform),
        (69_344, "autoland", "tp5o responsiveness", "linux1804-64-shippable-qr")
    );
    assert_eq!(first.measure.as_deref(), Some("tp5o responsiveness e10s stylo"));
    assert_eq!(&*first.series, "387af86a444be0b42bf1063359040942d8f59f21");
    assert!(!first.regression && (first.magnitude - 0.0467).abs() < 1e-9);
    assert_eq!(
        first.revision.as_ref().map(|r| r.as_str()),
        Some("930f0f51b681aea2a5e915a2770f80a9914ed3df")
    );
    assert_eq!(
        first.previous_revision.as_ref().map(|r| r.as_str()),
        Some("76e3a842e496d78a80cd547b7bf94f041f9bc612")
    );
    // Perfherder's number of a push is none of the pushlog's.
    assert_eq!((first.push, first.previous_push), (None, None));
    assert_eq!(
        first.at.map(|at| at.to_string()).as_deref(),
        Some("2019-05-20T11:41:31.419Z")
    );
}

#[test]
fn every_recorded_summary_is_read_and_alerts_that_were_set_aside_are_not() {
    for summary in recorded() {
        let set_aside = |alert: &&Value| matches!(alert["status"].as_u64(), Some(1..=3));
        let all = summary["alerts"].as_array().expect("a list");
        let left = all.len() - all.iter().filter(set_aside).count();
        match alerts(&summary.to_string()).expect("readable") {
            Decoded::Events(events) => assert_eq!(events.len(), left),
            Decoded::Ignored(why) => assert_eq!((why, left), (Ignored::NotOfInterest, 0)),
        }
    }
}

#[test]
fn a_page_of_summaries_gives_the_alerts_of_all() {
    let page = json!({ "count": 2, "next": null, "previous": null, "results": recorded()[..2] });
    let both: usize = recorded()[..2]
        .iter()
        .map(|summary| events(&summary.to_string()).len())
        .sum();
    assert_eq!(events(&page.to_string()).len(), both);
}

#[test]
fn an_alert_of_an_unknown_shape_says_which_field_is_wrong() {
    let mut summary = recorded()[0].clone();
    summary["alerts"][0]["amount_pct"] = json!("five");
    let error = alerts(&summary.to_string()).expect_err("it cannot be read");
    assert!(error.to_string().contains("amount_pct"), "{error}");
}

/// The shape that gecko's `performance-artifact-schema.json` publishes.
fn artifact() -> Value {
    json!({
        "framework": { "name": "browsertime" },
        "application": { "name": "firefox", "version": "140.0" },
        "suites": [
            {
                "name": "imgur", "value": 384.6, "lowerIsBetter": true, "unit": "ms", "alertThreshold": 2.0,
                "extraOptions": ["warm", "fission", "warm"], "tags": ["warm"], "shouldAlert": true,
                "subtests": [
                    { "name": "SpeedIndex", "value": 400.5, "replicates": [400.0, 401.0], "unit": "ms" },
                    { "name": "imgur", "value": 1.0 },
                    { "name": "dropped", "value": null },
                ],
            },
            { "name": "no value of its own", "subtests": [{ "name": "a", "value": 3 }] },
            { "name": "nothing", "subtests": [] },
        ],
    })
}

#[test]
fn an_artifact_gives_the_value_of_each_suite_and_subtest_once() {
    let values = perfherder_data(artifact().to_string().as_bytes()).expect("readable");
    let found: Vec<(&str, f64, bool)> = values.iter().map(|m| (&*m.series, m.value, m.summary)).collect();
    assert_eq!(
        found,
        [
            ("imgur fission warm", 384.6, true),
            ("imgur SpeedIndex fission warm", 400.5, false),
            ("no value of its own a", 3.0, true),
        ]
    );
}

#[test]
fn artifacts_of_results_are_known_by_their_names() {
    for name in [
        "public/perfherder-data.json",
        "public/test_info/perfherder-data-1.json",
        "perfherder-data-x.json",
    ] {
        assert!(is_perfherder_artifact(name), "{name}");
    }
    for name in [
        "public/perfherder-data.json.gz",
        "public/my-perfherder-data.json",
        "public/perfherder/data.json",
    ] {
        assert!(!is_perfherder_artifact(name), "{name}");
    }
}

#[test]
fn values_of_no_sensible_size_are_passed_over() {
    let text = r#"{"suites": [{"name": "a", "value": 1e300}, {"name": "b", "value": 2.0}]}"#;
    let values = perfherder_data(text.as_bytes()).expect("readable");
    assert_eq!(values.len(), 1);
    assert!(perfherder_data(b"{\"suites\": 3}").is_err());
    assert!(perfherder_data(b"\xff").is_err());
}

proptest! {
    /// Law: whatever an artifact or an alert holds, reading it ends without a panic.
    #[test]
    fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400), at in 0usize..600, with in any::<char>()) {
        let _ = perfherder_data(&bytes);
        let mut text: Vec<char> = artifact().to_string().chars().collect();
        let index = at.min(text.len() - 1);
        text[index] = with;
        let text: String = text.into_iter().collect();
        let _ = perfherder_data(text.as_bytes());
        let mut summary: Vec<char> = recorded()[0].to_string().chars().collect();
        let index = (at * 3).min(summary.len() - 1);
        summary[index] = with;
        let _ = alerts(&summary.into_iter().collect::<String>());
    }
}
