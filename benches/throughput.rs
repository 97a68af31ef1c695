//! Messages a second from a real RabbitMQ through the whole daemon, against a bare consumer on the same queue.
//!
//! `cargo bench --bench throughput [-- --messages 100000 --rounds 3 --bytes 3100 --prefetch 1000 --batch 500 --linger 50]`
//!
//! The same durable queue is filled with the same persistent messages before each drain; bare drains and the daemon's
//! alternate, so that a load on the machine meets both. Marks: the daemon reaches half of the bare rate, and uses at
//! most 80 µs of processor time a message.

mod common;

use std::sync::Arc;

use common::broker::Broker;
use common::daemon;
use common::meter::{Cost, Meter};
use common::stream::Stream;
use common::{argument, median};
use sheriffd::backends::DryRunBackend;
use sheriffd::bus::{Batch, Bus};
use sheriffd::clock::{Clock, SystemClock};
use sheriffd::daemon::intake::{BatchSettings, Intake, Step};
use sheriffd::daemon::pipeline::Pipeline;
use sheriffd::daemon::{observe_notes, observe_taken};
use sheriffd::dispatch::limits::Limits;
use sheriffd::event::{BackendName, Duration};
use sheriffd::rules::RuleSet;
use sheriffd::store::sqlite::SqliteStore;
use tokio::sync::Notify;

/// The daemon is to reach this share of the bare rate.
const RATIO_MARK: f64 = 0.5;
/// The daemon is to use at most this much processor time a message, in microseconds.
const CPU_MARK: f64 = 80.0;

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
    let messages = argument("messages", 100_000);
    let rounds = argument("rounds", 3);
    let prefetch = u16::try_from(argument("prefetch", 1_000)).expect("a prefetch up to 65,535");
    let batches = BatchSettings {
        max: argument("batch", 500),
        linger: Duration::from_millis(argument("linger", 50) as u64),
        idle: Duration::from_secs(1),
    };
    let stream = Stream::new(messages, argument("bytes", 3_100), 1);
    sheriffd::telemetry::install_metrics().expect("metrics");
    println!(
        "{} messages of {} runs, {} bytes",
        stream.len(),
        stream.runs(),
        stream.delivery(0).body.len()
    );
    let broker = Broker::start().await;
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        broker.fill(&stream).await;
        let cost = broker.drain_bare(messages).await;
        show(round, "bare", &cost, messages);
        bare.push(cost);
        broker.fill(&stream).await;
        let cost = drain(&broker, &stream, prefetch, batches).await;
        show(round, "daemon", &cost, messages);
        ours.push(cost);
    }
    let rates = |costs: &[Cost]| median(&costs.iter().map(|cost| cost.rate(messages)).collect::<Vec<_>>());
    let cpu = |costs: &[Cost]| median(&costs.iter().map(|cost| cost.cpu_each(messages)).collect::<Vec<_>>());
    let ratios: Vec<f64> = bare
        .iter()
        .zip(&ours)
        .map(|(bare, ours)| bare.wall.as_secs_f64() / ours.wall.as_secs_f64())
        .collect();
    println!("\nmedians of {rounds}");
    println!(
        "  bare    {:8.0} messages/s  {:6.1} µs of client CPU each",
        rates(&bare),
        cpu(&bare)
    );
    println!(
        "  daemon  {:8.0} messages/s  {:6.1} µs of client CPU each",
        rates(&ours),
        cpu(&ours)
    );
    verdict(
        "ratio",
        median(&ratios),
        median(&ratios) >= RATIO_MARK,
        &format!("at least {RATIO_MARK}"),
    );
    verdict(
        "client CPU, µs a message",
        cpu(&ours),
        cpu(&ours) <= CPU_MARK,
        &format!("at most {CPU_MARK}"),
    );
}

fn show(round: usize, who: &str, cost: &Cost, messages: usize) {
    println!(
        "{round}  {who:<7} {:8.0} messages/s  {:6.1} µs CPU each: {}",
        cost.rate(messages),
        cost.cpu_each(messages),
        cost.by_thread(messages)
    );
}

fn verdict(what: &str, value: f64, met: bool, mark: &str) {
    let met = if met { "met" } else { "NOT met" };
    println!("  {what}: {value:.2} (mark: {mark}; {met})");
}

/// Drains the queue with the daemon's own parts: bus, decoder, engine with the shipped rules, store on the disk; and,
/// as the daemon does meanwhile, fetches facts for failures, wakes cases, and looks after the outbox.
async fn drain(broker: &Broker, stream: &Stream, prefetch: u16, batches: BatchSettings) -> Cost {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&folder.path().join("sheriffd.db")).expect("a store");
    let rules = RuleSet::load(&["rules"]).unwrap_or_else(|errors| panic!("{errors}"));
    let backend = Arc::new(DryRunBackend::new(BackendName::from(daemon::CI)));
    let facts = Arc::new(stream.facts());
    let pipeline = Arc::new(daemon::pipeline(store, rules, facts, backend, Limits::default()));
    let work = Arc::new(Notify::new());
    let mut intake = Intake::new(broker.bus(prefetch), batches);
    let meter = Meter::start();
    let works = tokio::spawn(look_after(Arc::clone(&pipeline), Arc::clone(&work)));
    let mut left = stream.len() as u64;
    while left > 0 {
        match intake.step(&pipeline).await {
            Step::Durable { last, taken, .. } => {
                intake.bus().ack(last).await.expect("messages are acknowledged");
                assert!(taken.dead.is_empty(), "every message can be read");
                left -= taken.decoded;
                observe_taken(&taken, SystemClock.now());
                observe_notes(&taken.notes);
                work.notify_one();
            }
            Step::Bus(Batch::Idle) => {}
            other => panic!("{other:?}"),
        }
    }
    let cost = meter.read();
    works.abort();
    intake.bus().close().await;
    cost
}

async fn look_after(pipeline: Arc<Pipeline>, work: Arc<Notify>) {
    loop {
        let mut notes = Vec::new();
        pipeline.fetch_facts(&mut notes).await.expect("the store");
        pipeline.wake(&mut notes).await.expect("the store");
        observe_notes(&notes);
        pipeline.dispatch().await.expect("the store");
        work.notified().await;
    }
}
