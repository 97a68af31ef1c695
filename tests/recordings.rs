//! Recorded messages from file to event, as `sheriffd replay` takes them.

use std::path::Path;
use std::time::Duration;

use sheriffd::bus::file::{FileBus, Recording};
use sheriffd::bus::{Batch, Bus};
use sheriffd::wire::{DEFAULT_MAX_BODY, WireSettings, decode, recorded};

#[tokio::test]
async fn every_recorded_task_message_is_read_from_the_file_to_the_event() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/pulse/taskcluster-queue.jsonl");
    let messages = std::fs::read_to_string(&path)
        .unwrap()
        .lines()
        .filter(|line| !line.trim().is_empty())
        .count();
    let read = |line: &str, tag| recorded::delivery(line, tag, None).map_err(|error| error.to_string());
    let mut bus = FileBus::start(vec![Recording::File(path)], read).unwrap();
    let settings = WireSettings {
        backend: "firefox-ci".into(),
        max_body: DEFAULT_MAX_BODY,
    };
    let patience = Duration::from_secs(60);

    let mut decoded = 0;
    while let Batch::Deliveries(deliveries) = bus.next(500, patience, patience).await.unwrap() {
        for delivery in &deliveries {
            decode(delivery, &settings).unwrap_or_else(|error| panic!("message {}: {error}", delivery.tag));
            decoded += 1;
        }
        bus.ack(deliveries[deliveries.len() - 1].tag).await.unwrap();
    }

    assert_eq!((decoded, bus.bad_lines().count), (messages, 0));
}
