//! The real pipeline on a simulated CI that measures something.

use std::sync::Arc;

use bytes::Bytes;
use sheriffd::bus::{Batch, Bus as _};
use sheriffd::daemon::pipeline::Pipeline;
use sheriffd::engine::Note;
use sheriffd::engine::ledger::{CaseRow, DecisionResult};
use sheriffd::engine::settings::{EngineSettings, globs};
use sheriffd::event::{Delivery, Duration, JobRequest, Label, PushId, Reason, Timestamp};
use sheriffd::rules::RuleSet;
use sheriffd::sim::{Meter, Plan, SimBus, SimCi};
use sheriffd::store::Handle;
use sheriffd::store::sqlite::SqliteStore;

pub const TP5O: &str = "test-linux2404-64/opt-talos-tp5o";
pub const SVGR: &str = "test-windows11-64/opt-talos-svgr";

/// Steps of the world after which a test has gone astray.
const STEPS: usize = 20_000;

/// Forty pushes, on each of which most jobs are skipped.
pub fn plan(seed: u64, meters: Vec<Meter>) -> Plan {
    Plan {
        project: "autoland".into(),
        start: Timestamp::parse("2026-06-01T08:00:00Z").expect("a time"),
        pushes: 40,
        between: Duration::from_secs(20 * 60),
        labels: [TP5O, SVGR].into_iter().map(Label::from).collect(),
        skipped: 0.7,
        background: 0.0,
        infra: 0.0,
        defects: Vec::new(),
        meters,
        uplifts: Vec::new(),
        seed,
    }
}

pub fn meter(label: &str, suite: &str, noise: f64, steps: &[(u64, f64)]) -> Meter {
    Meter {
        label: Label::from(label),
        suite: suite.to_owned(),
        level: 250.0,
        noise,
        steps: steps.iter().map(|(push, factor)| (PushId(*push), *factor)).collect(),
    }
}

pub struct Tree {
    pub ci: SimCi,
    pub notes: Vec<Note>,
    pub pipeline: Pipeline,
    bus: SimBus,
}

impl Tree {
    pub fn new(plan: Plan, rules: &str) -> Tree {
        let ci = SimCi::new(plan);
        let rules = Arc::new(RuleSet::parse(&[("rules.yaml", rules)]).expect("sound rules"));
        let store = Handle::start(SqliteStore::in_memory().expect("a store")).expect("a thread");
        let settings = EngineSettings {
            read_values: true,
            measured: globs(["*talos*"]).expect("a pattern"),
            has_pushlog: true,
            ..EngineSettings::default()
        };
        let pipeline = ci.daemon(&rules, store, Arc::new(ci.facts()), settings);
        Tree {
            bus: ci.bus(),
            ci,
            notes: Vec::new(),
            pipeline,
        }
    }

    /// Lets the world go on until nothing happens any more, or what is waited for has.
    pub async fn until(&mut self, done: impl Fn(&[Note]) -> bool) {
        for _ in 0..STEPS {
            while let Batch::Deliveries(deliveries) = self
                .bus
                .next(500, Duration::ZERO, Duration::ZERO)
                .await
                .expect("the bus")
            {
                let mut taken = self.pipeline.take(&deliveries).await.expect("the store");
                assert_eq!(taken.dead.len(), 0, "messages of the simulated CI can be read");
                self.notes.append(&mut taken.notes);
            }
            self.pipeline.settle(&mut self.notes).await.expect("the store");
            if done(&self.notes) || self.ci.step().is_none() {
                return;
            }
        }
        panic!("the story does not end");
    }

    /// Everything that is planned happens, and every job ends.
    pub async fn rest(&mut self) {
        self.until(|_| false).await;
    }

    pub async fn verdict(&mut self) -> CaseRow {
        self.until(|notes| notes.iter().any(|note| matches!(note, Note::Closed(_))))
            .await;
        let closed = self.notes.iter().find_map(|note| match note {
            Note::Closed(case) => Some((**case).clone()),
            _ => None,
        });
        closed.unwrap_or_else(|| panic!("no case was closed: {:#?}", self.decisions()))
    }

    /// Sends a performance alert, as Perfherder words it.
    pub async fn alert(&mut self, alert: serde_json::Value) {
        let delivery = Delivery {
            exchange: "exchange/perf/sheriffd/perf-alerts".into(),
            routing_key: "autoland".into(),
            cc: Vec::new(),
            redelivered: false,
            body: Bytes::from(alert.to_string()),
            tag: 0,
        };
        let mut taken = self.pipeline.take(&[delivery]).await.expect("the store");
        assert_eq!(taken.dead.len(), 0, "the alert can be read");
        self.notes.append(&mut taken.notes);
    }

    pub fn opened(&self) -> Vec<CaseRow> {
        let opened = self.notes.iter().filter_map(|note| match note {
            Note::Opened(case) => Some((**case).clone()),
            _ => None,
        });
        opened.collect()
    }

    pub fn asked(&self) -> Vec<JobRequest> {
        let asked = self.notes.iter().filter_map(|note| match note {
            Note::Asked(_, requests) => Some(requests.clone()),
            _ => None,
        });
        asked.flatten().collect()
    }

    pub fn decisions(&self) -> Vec<DecisionResult> {
        let decided = self.notes.iter().filter_map(|note| match note {
            Note::Decided(decision) => Some(decision.result),
            _ => None,
        });
        decided.collect()
    }

    pub fn said_no(&self, reason: Reason) -> usize {
        self.decisions()
            .iter()
            .filter(|result| **result == DecisionResult::No(reason))
            .count()
    }
}
