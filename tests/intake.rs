//! From a bus into the books: order, what the store refuses, and what may be acknowledged when.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::Connection;
use sheriffd::backends::DryRunBackend;
use sheriffd::bus::{Batch, Bus, BusError};
use sheriffd::clock::ManualClock;
use sheriffd::daemon::intake::{BatchSettings, Intake, Step};
use sheriffd::daemon::pipeline::{Pipeline, PipelineSettings};
use sheriffd::dispatch::limits::Limits;
use sheriffd::dispatch::{DispatchSettings, Dispatcher};
use sheriffd::engine::Engine;
use sheriffd::engine::settings::EngineSettings;
use sheriffd::enrich::RecordedSource;
use sheriffd::event::{BackendName, Delivery, Duration, Timestamp};
use sheriffd::rules::RuleSet;
use sheriffd::store::Handle;
use sheriffd::store::sqlite::SqliteStore;
use sheriffd::wire::{DEFAULT_MAX_BODY, WireSettings};

/// A bus that gives what it was filled with, then ends.
struct Filled {
    batches: VecDeque<Vec<Delivery>>,
    acknowledged: Vec<u64>,
}

impl Filled {
    /// Batches of these sizes, with tags from 1.
    fn with(sizes: &[usize]) -> Filled {
        let mut tags = 1..;
        let batches = sizes
            .iter()
            .map(|size| tags.by_ref().take(*size).map(message).collect())
            .collect();
        Filled {
            batches,
            acknowledged: Vec::new(),
        }
    }
}

#[async_trait]
impl Bus for Filled {
    async fn next(&mut self, _max: usize, _linger: Duration, _idle: Duration) -> Result<Batch, BusError> {
        Ok(self.batches.pop_front().map_or(Batch::End, Batch::Deliveries))
    }

    async fn ack(&mut self, tag: u64) -> Result<(), BusError> {
        self.acknowledged.push(tag);
        Ok(())
    }

    async fn close(&mut self) {}
}

/// The pending run of a task whose id holds its tag.
fn message(tag: u64) -> Delivery {
    let body = format!(
        r#"{{"version": 1, "runId": 0, "status": {{"taskId": "task-{tag}", "taskGroupId": "group", "runs": [
            {{"runId": 0, "state": "pending", "scheduled": "2026-06-01T08:00:00.000Z"}}]}},
            "task": {{"tags": {{"label": "test-linux/opt-a", "project": "autoland"}}}}}}"#
    );
    Delivery {
        exchange: "exchange/taskcluster-queue/v1/task-pending".into(),
        routing_key: "primary".into(),
        cc: vec!["route.tc-treeherder.v2.autoland.0123456789abcdef0123456789abcdef01234567.7".into()],
        redelivered: false,
        body: Bytes::from(body),
        tag,
    }
}

fn pipeline(file: &Path) -> Pipeline {
    let rules = Arc::new(RuleSet::parse(&[]).unwrap());
    let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_780_000_000)));
    let backend = BackendName::from("ci");
    let store = Handle::start(SqliteStore::open(file).unwrap()).unwrap();
    let dispatcher = Dispatcher::new(
        store.clone(),
        Arc::new(DryRunBackend::new(backend.clone())),
        clock.clone(),
        DispatchSettings::default(),
    );
    Pipeline::new(
        Engine::new(Arc::clone(&rules), EngineSettings::default()),
        store,
        Arc::new(RecordedSource::default()),
        dispatcher,
        sheriffd::daemon::brakes(Limits::default(), &rules),
        clock,
        PipelineSettings {
            wire: WireSettings {
                backend,
                max_body: DEFAULT_MAX_BODY,
            },
            facts_within: Duration::from_secs(600),
        },
    )
}

fn intake(sizes: &[usize]) -> Intake<Filled> {
    let settings = BatchSettings {
        max: 100,
        linger: Duration::ZERO,
        idle: Duration::from_secs(1),
    };
    Intake::new(Filled::with(sizes), settings)
}

/// Runs in the books, as anybody else who opens the file sees them.
fn runs(file: &Path) -> u64 {
    let connection = Connection::open(file).unwrap();
    connection
        .query_row("SELECT COUNT(*) FROM runs", [], |row| row.get(0))
        .unwrap()
}

#[tokio::test]
async fn batches_become_durable_in_the_order_in_which_they_came_and_the_end_comes_last() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("books.db");
    let pipeline = pipeline(&file);
    let mut intake = intake(&[3, 1, 2]);
    for expected in [3, 4, 6] {
        let Step::Durable { last, .. } = intake.step(&pipeline).await else {
            panic!("not durable")
        };
        assert_eq!(last, expected);
        assert!(runs(&file) >= expected, "what may be acknowledged is in the books");
    }
    assert!(matches!(intake.step(&pipeline).await, Step::End));
    assert_eq!(runs(&file), 6);
    assert!(
        intake.bus().acknowledged.is_empty(),
        "it is for the caller to acknowledge"
    );
}

#[tokio::test]
async fn a_batch_that_the_store_refuses_is_tried_again_before_any_that_came_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("books.db");
    let pipeline = pipeline(&file);
    let mut intake = intake(&[2, 2]);
    let vandal = Connection::open(&file).unwrap();
    vandal.execute_batch("ALTER TABLE runs RENAME TO hidden").unwrap();
    for _ in 0..3 {
        assert!(matches!(intake.step(&pipeline).await, Step::Held(_)));
    }
    vandal.execute_batch("ALTER TABLE hidden RENAME TO runs").unwrap();
    for expected in [2, 4] {
        let step = intake.step(&pipeline).await;
        assert!(
            matches!(step, Step::Durable { last, .. } if last == expected),
            "{step:?}"
        );
    }
    assert!(matches!(intake.step(&pipeline).await, Step::End));
    assert_eq!(runs(&file), 4);
}

#[tokio::test]
async fn a_step_that_is_dropped_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("books.db");
    let pipeline = pipeline(&file);
    let mut intake = intake(&[1, 1, 1, 1]);
    let mut durable = Vec::new();
    loop {
        let step = tokio::select! {
            biased;
            step = intake.step(&pipeline) => step,
            () = tokio::task::yield_now() => continue,
        };
        match step {
            Step::Durable { last, .. } => durable.push(last),
            Step::End => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(durable, [1, 2, 3, 4]);
    assert_eq!(runs(&file), 4);
}

#[tokio::test]
async fn finishing_applies_what_was_taken_already_and_takes_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("books.db");
    let pipeline = pipeline(&file);
    let mut intake = intake(&[1, 1, 1]);
    assert!(intake.finish(&pipeline).await.is_none(), "nothing was begun");
    assert!(matches!(intake.step(&pipeline).await, Step::Durable { last: 1, .. }));
    while let Some(step) = intake.finish(&pipeline).await {
        assert!(matches!(step, Step::Durable { last: 2, .. }), "{step:?}");
    }
    assert!(runs(&file) <= 2);
}
