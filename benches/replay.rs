//! Events a second from a recording: read, decoded, applied with the shipped rules to a store in memory.
//!
//! `cargo bench --bench replay [-- --messages 100000 --rounds 3]`. Also what decoding alone takes, on one thread.

mod common;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use common::daemon::{self, wire_settings};
use common::meter::Meter;
use common::stream::Stream;
use common::{argument, median};
use sheriffd::backends::DryRunBackend;
use sheriffd::bus::file::{FileBus, Recording};
use sheriffd::daemon::intake::{BatchSettings, Intake, Step};
use sheriffd::dispatch::limits::Limits;
use sheriffd::event::{BackendName, Duration};
use sheriffd::rules::RuleSet;
use sheriffd::store::sqlite::SqliteStore;
use sheriffd::wire;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("tokio")
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let (messages, rounds) = (argument("messages", 100_000), argument("rounds", 3));
    let stream = Stream::new(messages, 3_100, 1);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("recording.jsonl");
    record(&stream, &file).expect("the recording is written");
    println!("{messages} messages, {} bytes each", stream.delivery(0).body.len());
    println!("decoding alone: {:.2} µs a message", decode(&stream));
    let mut rates = Vec::new();
    for round in 1..=rounds {
        let (rate, costs) = replay(&stream, file.clone()).await;
        println!("{round}  {rate:8.0} events/s  {costs}");
        rates.push(rate);
    }
    println!("median of {rounds}: {:.0} events/s", median(&rates));
}

/// Writes the stream as JSON Lines, in the form of the recordings that `sheriffd replay` reads.
fn record(stream: &Stream, file: &Path) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(file)?);
    for index in 0..stream.len() {
        let delivery = stream.delivery(index);
        write!(
            out,
            r#"{{"exchange":"{}","routingKey":"{}","cc":{:?},"payload":"#,
            delivery.exchange, delivery.routing_key, delivery.cc
        )?;
        out.write_all(&delivery.body)?;
        out.write_all(b"}\n")?;
    }
    out.flush()
}

/// Microseconds to decode a message, on the thread that does nothing else.
fn decode(stream: &Stream) -> f64 {
    let deliveries: Vec<_> = (0..stream.len().min(20_000))
        .map(|index| stream.delivery(index))
        .collect();
    let settings = wire_settings();
    let started = Instant::now();
    for delivery in &deliveries {
        std::hint::black_box(wire::decode(delivery, &settings)).expect("a sound message");
    }
    started.elapsed().as_secs_f64() * 1e6 / deliveries.len() as f64
}

async fn replay(stream: &Stream, file: PathBuf) -> (f64, String) {
    let rules = RuleSet::load(&["rules"]).unwrap_or_else(|errors| panic!("{errors}"));
    let backend = Arc::new(DryRunBackend::new(BackendName::from(daemon::CI)));
    let store = SqliteStore::in_memory().expect("a store");
    let pipeline = daemon::pipeline(store, rules, Arc::new(stream.facts()), backend, Limits::default());
    let settings = BatchSettings {
        max: 500,
        linger: Duration::ZERO,
        idle: Duration::from_secs(1),
    };
    let meter = Meter::start();
    let read = |line: &str, tag| wire::recorded::delivery(line, tag, None).map_err(|error| error.to_string());
    let bus = FileBus::start(vec![Recording::File(file)], read).expect("a reader");
    let mut intake = Intake::new(bus, settings);
    let mut decoded = 0;
    let mut notes = Vec::new();
    loop {
        match intake.step(&pipeline).await {
            Step::Durable { taken, .. } => decoded += taken.decoded,
            Step::Bus(_) => {}
            Step::End => break,
            other => panic!("{other:?}"),
        }
        pipeline.settle(&mut notes).await.expect("the store");
    }
    let cost = meter.read();
    assert_eq!(decoded as usize, stream.len(), "every message was read");
    (cost.rate(stream.len()), cost.by_thread(stream.len()))
}
