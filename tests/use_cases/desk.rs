//! The whole way of a message, in lockstep with a simulated CI.

use std::sync::Arc;

use sheriffd::bus::{Batch, Bus as _};
use sheriffd::daemon::pipeline::Pipeline;
use sheriffd::engine::Note;
use sheriffd::engine::ledger::CaseRow;
use sheriffd::engine::settings::EngineSettings;
use sheriffd::enrich::{BugSource, CacheSettings, CachedSource, FactSource, RecordedSource, Sources};
use sheriffd::event::{Duration, Label, Timestamp};
use sheriffd::net::system_clock;
use sheriffd::rules::RuleSet;
use sheriffd::sim::{NewTest, Plan, SimBus, SimCi};
use sheriffd::store::Handle;
use sheriffd::store::sqlite::{CaseFilter, SqliteStore};

/// A search for whatever fails that used to pass.
pub const BACKFILL: &str = "
version: 1
rules:
  - name: backfill
    on: job.finished
    match: { outcome: failed }
    when: history.passed_before(event)
    open: { kind: find-culprit, max_depth: 25, parallel: 4, max_jobs: 60 }
    mode: live
";

/// A tree of `pushes` pushes on which every label runs each time; a third of the runs fail by something that nobody
/// looks for.
pub fn plan(labels: &[&str], pushes: u64, seed: u64) -> Plan {
    Plan {
        project: "autoland".into(),
        start: Timestamp::parse("2026-06-01T08:00:00Z").unwrap(),
        pushes,
        between: Duration::from_secs(20 * 60),
        labels: labels.iter().map(|label| Label::from(*label)).collect(),
        skipped: 0.0,
        background: 0.33,
        infra: 0.02,
        defects: Vec::new(),
        meters: Vec::new(),
        uplifts: Vec::new(),
        seed,
    }
}

/// A daemon at the simulated CI.
pub struct Desk {
    pub ci: SimCi,
    bus: SimBus,
    pipeline: Pipeline,
    store: Handle,
    /// Everything that happened.
    pub notes: Vec<Note>,
}

impl Desk {
    pub fn new(plan: Plan, tests: Vec<NewTest>, rules: &str) -> Desk {
        Desk::with_bugs(plan, tests, rules, None)
    }

    /// A daemon that asks this tracker for bugs.
    pub fn with_bugs(plan: Plan, tests: Vec<NewTest>, rules: &str, tracker: Option<&str>) -> Desk {
        let settings = EngineSettings {
            bugs_fresh_for: tracker.map(|_| Duration::from_secs(24 * 3_600)),
            ..EngineSettings::default()
        };
        Desk::with_settings(plan, tests, rules, (tracker, |pushes| pushes), settings)
    }

    /// A daemon with another pushlog, made from the simulated one.
    pub fn with_pushlog(
        plan: Plan,
        tests: Vec<NewTest>,
        rules: &str,
        pushlog: impl FnOnce(Arc<dyn FactSource>) -> Arc<dyn FactSource>,
    ) -> Desk {
        Desk::with_settings(plan, tests, rules, (None, pushlog), EngineSettings::default())
    }

    /// A daemon that can ask for the task graphs of pushes.
    pub fn with_graphs(plan: Plan, tests: Vec<NewTest>, rules: &str) -> Desk {
        let settings = EngineSettings {
            has_graphs: true,
            ..EngineSettings::default()
        };
        Desk::with_settings(plan, tests, rules, (None, |pushes| pushes), settings)
    }

    fn with_settings(
        plan: Plan,
        tests: Vec<NewTest>,
        rules: &str,
        (tracker, pushlog): (Option<&str>, impl FnOnce(Arc<dyn FactSource>) -> Arc<dyn FactSource>),
        settings: EngineSettings,
    ) -> Desk {
        let ci = SimCi::with_tests(plan, tests);
        let rules = RuleSet::parse(&[("rules.yaml", rules)]).unwrap_or_else(|errors| panic!("{errors}"));
        let rules = Arc::new(rules);
        let store = Handle::start(SqliteStore::in_memory().unwrap()).unwrap();
        let settings = EngineSettings {
            read_failures: true,
            has_pushlog: true,
            ..settings
        };
        let bugs: Arc<dyn FactSource> = match tracker {
            Some(url) => {
                let source = BugSource::new(url, None, Duration::from_secs(5), system_clock()).unwrap();
                Arc::new(CachedSource::new(Arc::new(source), CacheSettings::default()))
            }
            None => Arc::new(RecordedSource::default()),
        };
        let facts = Sources {
            tasks: Arc::new(ci.facts()),
            pushes: pushlog(Arc::new(ci.facts())),
            bugs,
            jobs: Arc::new(RecordedSource::default()),
        };
        let pipeline = ci.daemon(&rules, store.clone(), Arc::new(facts), settings);
        Desk {
            bus: ci.bus(),
            ci,
            pipeline,
            store,
            notes: Vec::new(),
        }
    }

    /// Lets everything happen up to a moment, or to the end.
    pub async fn play(&mut self, until: Option<Timestamp>) {
        while self
            .ci
            .next_at()
            .is_some_and(|at| until.is_none_or(|until| at <= until))
        {
            self.ci.step();
            self.hear().await;
        }
    }

    async fn hear(&mut self) {
        let zero = Duration::ZERO;
        while let Batch::Deliveries(deliveries) = self.bus.next(1_000, zero, zero).await.unwrap() {
            self.notes.extend(self.pipeline.take(&deliveries).await.unwrap().notes);
        }
        self.pipeline.settle(&mut self.notes).await.unwrap();
    }

    /// What was asked for, as `sheriffd case show` has it.
    pub async fn requests(&self) -> Vec<serde_json::Value> {
        let cases = self.cases().await;
        self.store
            .with(move |store| {
                store.transact(|books| {
                    let mut requests = Vec::new();
                    for case in &cases {
                        requests.extend(books.case_requests(case.id.0)?);
                    }
                    Ok(requests)
                })
            })
            .await
            .unwrap()
    }

    /// The cases, the oldest first.
    pub async fn cases(&self) -> Vec<CaseRow> {
        let filter = CaseFilter {
            limit: 100,
            ..CaseFilter::default()
        };
        let mut cases = self
            .store
            .with(move |store| store.transact(|books| books.cases(&filter)))
            .await
            .unwrap();
        cases.reverse();
        cases
    }
}
