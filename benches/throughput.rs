//! Messages a second from a real RabbitMQ through the whole daemon, against a bare consumer on the same queue.
//!
//! `cargo bench --bench throughput [-- --messages 100000 --rounds 3 --bytes 3100 --prefetch 1000 --batch 500]`
//!
//! The same durable queue is filled with the same persistent messages before each drain; bare drains and the daemon's
//! alternate, so that a load on the machine meets both. Marks: the daemon reaches half of the bare rate, and uses at
//! most 80 µs of processor time a message.

mod common;

use std::sync::Arc;
use std::time::Instant;

use common::broker::Broker;
use common::daemon;
use common::meter::{Cost, Meter};
use common::stream::Stream;
use common::{argument, median};
use sheriffd::backends::DryRunBackend;
use sheriffd::bus::{Batch, Bus};
use sheriffd::dispatch::limits::Limits;
use sheriffd::event::{BackendName, Duration};
use sheriffd::rules::RuleSet;

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
    let batch = argument("batch", 500);
    let stream = Stream::new(messages, argument("bytes", 3_100), 1);
    sheriffd::telemetry::install_metrics().expect("metrics");
    println!("{} messages of {} runs, {} bytes", stream.len(), stream.runs(), stream.delivery(0).body.len());
    let broker = Broker::start().await;
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        broker.fill(&stream).await;
        let cost = broker.drain_bare(messages).await;
        show(round, "bare", &cost, messages);
        bare.push(cost);
        broker.fill(&stream).await;
        let cost = drain(&broker, &stream, prefetch, batch).await;
        show(round, "daemon", &cost, messages);
        ours.push(cost);
    }
    let rates = |costs: &[Cost]| median(&costs.iter().map(|cost| cost.rate(messages)).collect::<Vec<_>>());
    let cpu = |costs: &[Cost]| median(&costs.iter().map(|cost| cost.cpu_each(messages)).collect::<Vec<_>>());
    let ratios: Vec<f64> = bare.iter().zip(&ours).map(|(bare, ours)| bare.wall.as_secs_f64() / ours.wall.as_secs_f64()).collect();
    println!("\nmedians of {rounds}");
    println!("  bare    {:8.0} messages/s  {:6.1} µs of client CPU each", rates(&bare), cpu(&bare));
    println!("  daemon  {:8.0} messages/s  {:6.1} µs of client CPU each", rates(&ours), cpu(&ours));
    verdict("ratio", median(&ratios), median(&ratios) >= RATIO_MARK, &format!("at least {RATIO_MARK}"));
    verdict("client CPU, µs a message", cpu(&ours), cpu(&ours) <= CPU_MARK, &format!("at most {CPU_MARK}"));
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

/// Drains the queue with the daemon's own parts: bus, decoder, engine with the shipped rules, store.
async fn drain(broker: &Broker, stream: &Stream, prefetch: u16, batch: usize) -> Cost {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = RuleSet::load(&["rules"]).unwrap_or_else(|errors| panic!("{errors}"));
    let backend = Arc::new(DryRunBackend::new(BackendName::from(daemon::CI)));
    let pipeline = daemon::pipeline(folder.path(), rules, Arc::new(stream.facts()), backend, Limits::default());
    let mut bus = broker.bus(prefetch);
    let meter = Meter::start();
    let mut left = stream.len();
    while left > 0 {
        match bus.next(batch, Duration::from_millis(50), Duration::from_secs(5)).await.expect("the bus") {
            Batch::Deliveries(deliveries) => {
                let taken = pipeline.take(&deliveries).await.expect("the store");
                assert!(taken.dead.is_empty(), "{:?}", taken.dead);
                sheriffd::daemon::observe_taken(&taken, sheriffd::clock::Clock::now(&sheriffd::clock::SystemClock));
                sheriffd::daemon::observe_notes(&taken.notes);
                left -= deliveries.len();
                bus.ack(deliveries.last().expect("not empty").tag).await.expect("ack");
            }
            other => panic!("{other:?}"),
        }
    }
    let cost = meter.read();
    bus.close().await;
    let since = Instant::now();
    let mut notes = Vec::new();
    let mut rounds = 0;
    while pipeline.fetch_facts(&mut notes).await.expect("the store") {
        rounds += 1;
    }
    println!("   inbox worked off in {:.1} s, {rounds} rounds, {} notes", since.elapsed().as_secs_f64(), notes.len());
    cost
}
