//! How long it takes from a failure's message to the request at the CI, while 200 messages a second come in.
//!
//! `cargo bench --bench latency [-- --rate 200 --probes 500 --linger 10]`
//!
//! Messages of a busy tree are published to a real RabbitMQ at a steady rate. Between them come failures that have to
//! open a case and ask for one job at once: a label that passed on one push, was skipped on the next, and failed on the
//! third. The time runs from just before the failure is published until the request reaches the backend; the facts that
//! the daemon would fetch over the network are at hand.

mod common;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use common::broker::Broker;
use common::stream::{PROJECT, Stream, group, revision, slug};
use common::{argument, daemon, quantile};
use sheriffd::backends::{Backend, Finding, Found, Receipt, RequestError};
use sheriffd::bus::Bus;
use sheriffd::bus::amqp::AmqpBus;
use sheriffd::clock::{Clock, SystemClock};
use sheriffd::daemon::intake::{BatchSettings, Intake, Step};
use sheriffd::daemon::pipeline::Pipeline;
use sheriffd::dispatch::limits::Limits;
use sheriffd::enrich::{FactError, FactSource};
use sheriffd::event::{BackendName, Delivery, Duration, JobFacts, JobRequest, Label, TaskId, Timestamp};
use sheriffd::rules::RuleSet;
use sheriffd::stats::random::Random;
use sheriffd::store::sqlite::SqliteStore;
use tokio::sync::Notify;

const RULE: &str = "
version: 1
rules:
  - name: find-the-push
    on: job.finished
    match: { outcome: failed, project: autoland, kind: test, tier: [1, 2], label: \"test-probe*\" }
    when: history.passed_before(event)
    open: { kind: find-culprit, max_depth: 25, max_jobs: 40 }
    mode: live
";

/// The pushes of a probe: green, skipped, red. Far from those of the stream.
const GREEN: u64 = 1_000_001;
const SKIPPED: u64 = GREEN + 1;
const RED: u64 = GREEN + 2;

/// How often the outbox and the inbox are looked at without being told to, as in the daemon.
const WORK_EVERY: Duration = Duration::from_millis(500);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let (rate, probes) = (argument("rate", 200), argument("probes", 500));
    let linger = Duration::from_millis(argument("linger", 10) as u64);
    // One message in ten is a probe: rare beside the rest, and enough of them for a 99th percentile.
    let stream = Stream::new(probes * 9, 3_100, 1);
    let probe_tasks = Arc::new(Probes::new(probes));
    let arrivals = Arc::new(Arrivals::default());
    let broker = Broker::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&folder.path().join("sheriffd.db")).expect("a store");
    let rules = RuleSet::parse(&[("latency.yaml", RULE)]).unwrap_or_else(|errors| panic!("{errors}"));
    let limits = Limits {
        jobs_per_hour: None,
        jobs_per_day: None,
        jobs_per_rule_per_day: None,
        jobs_per_project_per_day: None,
        jobs_per_platform_per_day: None,
        jobs_per_label_per_day: None,
        jobs_per_push: None,
        requests_per_second: 1_000.0,
        concurrency: 100,
        ..Limits::default()
    };
    let facts: Arc<dyn FactSource> = Arc::clone(&probe_tasks) as Arc<dyn FactSource>;
    let backend: Arc<dyn Backend> = Arc::clone(&arrivals) as Arc<dyn Backend>;
    let pipeline = Arc::new(daemon::pipeline(store, rules, facts, backend, limits));
    for history in probe_tasks.history() {
        pipeline.take(&[history]).await.expect("the store");
    }
    let work = Arc::new(Notify::new());
    let takes = tokio::spawn(take(
        Arc::clone(&pipeline),
        broker.bus(1_000),
        linger,
        Arc::clone(&work),
    ));
    let works = tokio::spawn({
        let (pipeline, work) = (Arc::clone(&pipeline), Arc::clone(&work));
        async move {
            loop {
                let mut notes = Vec::new();
                let is_busy = pipeline.fetch_facts(&mut notes).await.expect("the store");
                pipeline.wake(&mut notes).await.expect("the store");
                pipeline.dispatch().await.expect("the store");
                tokio::select! {
                    () = work.notified() => {}
                    () = tokio::time::sleep(if is_busy { Duration::ZERO } else { WORK_EVERY }) => {}
                }
            }
        }
    });
    let sent = publish(&broker, &stream, &probe_tasks, rate).await;
    // The last requests may still be on their way.
    tokio::time::sleep(Duration::from_secs(5)).await;
    takes.abort();
    works.abort();
    let arrived = arrivals.times.lock().expect("no panic");
    let took: Vec<f64> = sent
        .iter()
        .filter_map(|(label, at)| Some(arrived.get(label)?.duration_since(*at).as_secs_f64() * 1e3))
        .collect();
    println!(
        "{} failures in {} messages at {rate} messages/s, linger {linger:?}",
        sent.len(),
        probes * 10
    );
    assert_eq!(
        took.len(),
        sent.len(),
        "requests that arrived, and failures that were to ask for one"
    );
    println!(
        "message to request: p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
        quantile(&took, 0.5),
        quantile(&took, 0.9),
        quantile(&took, 0.99),
        quantile(&took, 1.0)
    );
}

async fn take(pipeline: Arc<Pipeline>, bus: AmqpBus, linger: Duration, work: Arc<Notify>) {
    let settings = BatchSettings {
        max: 500,
        linger,
        idle: Duration::from_secs(1),
    };
    let mut intake = Intake::new(bus, settings);
    loop {
        match intake.step(&pipeline).await {
            Step::Durable { last, .. } => {
                intake.bus().ack(last).await.expect("an acknowledgement");
                work.notify_one();
            }
            Step::Bus(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Publishes at a steady rate; returns when each probe's failure was sent.
async fn publish(broker: &Broker, stream: &Stream, probes: &Probes, rate: usize) -> Vec<(Label, Instant)> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(rate).expect("a rate"));
    let mut sent = Vec::new();
    let mut others = 0..stream.len();
    for probe in 0..probes.labels.len() {
        for index in others.by_ref().take(9) {
            ticks.tick().await;
            drop(broker.send(&stream.delivery(index)).await);
        }
        ticks.tick().await;
        let failure = probes.failure(probe);
        sent.push((probes.labels[probe].clone(), Instant::now()));
        drop(broker.send(&failure).await);
    }
    sent
}

/// The labels that fail, and what the queue service would say of their tasks.
struct Probes {
    labels: Vec<Label>,
    tasks: Vec<String>,
}

impl Probes {
    fn new(count: usize) -> Probes {
        let mut random = Random::new(7);
        Probes {
            labels: (0..count)
                .map(|n| Label::from(format!("test-probe{n}/opt-xpcshell")))
                .collect(),
            tasks: (0..count * 2).map(|_| slug(&mut random)).collect(),
        }
    }

    /// The green runs, and one run of another label on the skipped push, which tells of the push.
    fn history(&self) -> impl Iterator<Item = Delivery> {
        let other = Label::from("build-linux2404-64/opt");
        let skipped = message("completed", &slug(&mut Random::new(8)), &other, SKIPPED);
        (0..self.labels.len())
            .map(|n| message("completed", &self.tasks[n], &self.labels[n], GREEN))
            .chain([skipped])
    }

    fn failure(&self, probe: usize) -> Delivery {
        message(
            "failed",
            &self.tasks[self.labels.len() + probe],
            &self.labels[probe],
            RED,
        )
    }
}

fn message(ended: &str, task: &str, label: &Label, push: u64) -> Delivery {
    let now = SystemClock.now();
    let body = format!(
        concat!(
            r#"{{"version":1,"runId":0,"status":{{"taskId":"{task}","taskQueueId":"gecko-t/t-linux","#,
            r#""taskGroupId":"{group}","state":"{ended}","runs":[{{"runId":0,"state":"{ended}","#,
            r#""reasonResolved":"{ended}","scheduled":"{now}","started":"{now}","resolved":"{now}"}}]}},"#,
            r#""task":{{"tags":{{"kind":"test","label":"{label}","project":"{project}","test-type":"xpcshell"}}}}}}"#
        ),
        task = task,
        group = group(push),
        ended = ended,
        now = now,
        label = label,
        project = PROJECT,
    );
    Delivery {
        exchange: format!("exchange/taskcluster-queue/v1/task-{ended}").into(),
        routing_key: format!("primary.{task}.0.a.b.gecko-t.t-linux.gecko-level-3.{}._", group(push)).into(),
        cc: vec![format!("route.tc-treeherder.v2.{PROJECT}.{}.{push}", revision(push)).into()],
        redelivered: false,
        body: Bytes::from(body),
        tag: 0,
    }
}

#[async_trait]
impl FactSource for Probes {
    async fn task(&self, _backend: &BackendName, task: &TaskId) -> Result<JobFacts, FactError> {
        let known = self.tasks.iter().position(|known| known == task.as_str());
        let place = known.ok_or_else(|| FactError::Absent(format!("task {task}")))?;
        let (label, group, revision) = (&self.labels[place % self.labels.len()], group(RED), revision(RED));
        let text = format!(
            concat!(
                r#"{{"provisionerId":"gecko-t","workerType":"t-linux","taskGroupId":"{group}","#,
                r#""routes":["tc-treeherder.v2.{project}.{revision}.{push}"],"metadata":{{"name":"{label}"}},"#,
                r#""payload":{{}},"tags":{{"kind":"test","label":"{label}","project":"{project}","#,
                r#""test-type":"xpcshell"}},"extra":{{"parent":"{group}","suite":"xpcshell","treeherder":{{"#,
                r#""collection":{{"opt":true}},"symbol":"X","jobKind":"test","tier":1,"machine":{{"platform":"linux"}}}}}}}}"#
            ),
            group = group,
            project = PROJECT,
            revision = revision,
            push = RED,
            label = label,
        );
        sheriffd::wire::task::facts(text).map_err(|error| FactError::Malformed(error.to_string()))
    }
}

/// A CI that only notes when it was first asked for each label.
#[derive(Default)]
struct Arrivals {
    times: Mutex<HashMap<Label, Instant>>,
    name: std::sync::OnceLock<BackendName>,
}

#[async_trait]
impl Backend for Arrivals {
    fn name(&self) -> &BackendName {
        self.name.get_or_init(|| BackendName::from(daemon::CI))
    }

    async fn request(&self, request: &JobRequest) -> Result<Receipt, RequestError> {
        let now = Instant::now();
        let mut times = self.times.lock().expect("no panic");
        times.entry(request.label.clone()).or_insert(now);
        Ok(Receipt::default())
    }

    async fn find(&self, _request: &JobRequest, _sent_at: Timestamp) -> Result<Found, RequestError> {
        Ok(Found::NotDone)
    }

    async fn check(&self) -> Vec<Finding> {
        Vec::new()
    }
}
