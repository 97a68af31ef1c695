//! One test, played on the real engine: an empty store in memory, a clock that stands still until the test moves it, a
//! CI that takes every request and runs nothing.
//!
//! In: rules and a test. Out: what happened, step by step, and the books at the end. Never: judging it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::given::{BACKEND, Fields, Given, bugs};
use crate::backends::{Backend, Found, Receipt, RequestError};
use crate::cli::common::deliveries;
use crate::cli::trace::{Unmatched, unmatched};
use crate::clock::{Clock, ManualClock};
use crate::daemon::pipeline::{Pipeline, PipelineSettings, Reading};
use crate::dispatch::limits::Limits;
use crate::dispatch::{DispatchSettings, Dispatcher};
use crate::engine::ledger::{
    ActionRow, ActionState, Actions as _, CaseRow, Decision, LedgerError, Pushes as _, Runs as _,
};
use crate::engine::opening::Placed;
use crate::engine::settings::EngineSettings;
use crate::engine::{Engine, Note};
use crate::enrich::RecordedSource;
use crate::event::{BackendName, Duration, Event, JobRequest, Label, PushId, Reason, TaskId, Timestamp};
use crate::finding::Finding;
use crate::rules::{Mode, RuleSet, RuleTest, TestStep};
use crate::store::Handle;
use crate::store::sqlite::{CaseFilter, SqliteStore};
use crate::wire::{self, DEFAULT_MAX_BODY, WireSettings};

/// Time passes in steps of a minute, so that what waits for a moment happens at about its moment.
const TICK: Duration = Duration::from_secs(60);
/// The most steps in which a span of time passes; longer spans pass in longer steps.
const MAX_TICKS: u32 = 2_880;
/// Requests a second, and under way together: only limits of jobs hold anything back.
const UNLIMITED: u32 = 1_000_000;

/// What a test could not be played for: it is the test's mistake, not the rule's.
#[derive(Debug, thiserror::Error)]
pub(super) enum StageError {
    /// A file beside the rule file cannot be used.
    #[error("{0}")]
    File(String),
    /// The store in memory failed.
    #[error(transparent)]
    Store(#[from] LedgerError),
}

/// What came of a test.
#[derive(Debug)]
pub(super) struct Played {
    /// What happened, in order.
    pub moments: Vec<Moment>,
    /// Every case at the end, oldest first.
    pub cases: Vec<CaseRow>,
    /// Every request at the end, by its case.
    pub requests: Vec<Requested>,
}

/// A request at the end of a test.
#[derive(Debug)]
pub(super) struct Requested {
    /// The rule whose case decided on it.
    pub rule: String,
    /// What was to be asked for.
    pub label: Label,
    /// Where.
    pub push: PushId,
    /// How often.
    pub times: u32,
    /// Where it is in its life.
    pub state: ActionState,
    /// Why it was held back, ever; the last reason is the last.
    pub held: Vec<Reason>,
}

impl Requested {
    /// Whether the CI was asked.
    pub(super) fn was_sent(&self) -> bool {
        matches!(
            self.state,
            ActionState::Accepted | ActionState::Sending | ActionState::InDoubt | ActionState::Overdue
        )
    }
}

/// One step, and what came of it.
#[derive(Debug)]
pub(super) struct Moment {
    /// When.
    pub at: Timestamp,
    /// What happened, for people: `job.finished L on push 14: failed`, `5m pass`.
    pub what: String,
    /// What the rules that looked at it made of it.
    pub decisions: Vec<Decision>,
    /// The rules whose `match` said no, with its parts.
    pub unmatched: Vec<Unmatched>,
    /// Cases that asked for nothing, by rule, with the reason.
    pub held: Vec<(String, Reason)>,
    /// What became of cases, for people.
    pub news: Vec<String>,
}

/// By label and push, the tasks that made runs for us, oldest first, each with the runs still to come.
type Receipts = HashMap<(Label, PushId), Vec<(TaskId, u32)>>;

/// The CI of a test.
struct TestCi {
    name: BackendName,
    /// The tasks that made runs for us, by label and push, oldest first, each with the runs still to come.
    receipts: Mutex<Receipts>,
}

impl TestCi {
    fn receipts(&self) -> std::sync::MutexGuard<'_, Receipts> {
        self.receipts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The task that made the next run of ours of this job, if we asked for one.
    fn takes(&self, label: &Label, push: PushId, is_last_word: bool) -> Option<TaskId> {
        let mut receipts = self.receipts();
        let of_job = receipts.get_mut(&(label.clone(), push))?;
        let next = of_job.iter_mut().find(|(_, left)| *left > 0)?;
        if is_last_word {
            next.1 -= 1;
        }
        Some(next.0.clone())
    }
}

#[async_trait]
impl Backend for TestCi {
    fn name(&self) -> &BackendName {
        &self.name
    }

    async fn request(&self, request: &JobRequest) -> Result<Receipt, RequestError> {
        let task = TaskId::from(format!("action-{}", request.key));
        self.receipts()
            .entry((request.label.clone(), request.push))
            .or_default()
            .push((task.clone(), request.times));
        Ok(Receipt {
            action_task: Some(task),
            reference: None,
        })
    }

    async fn find(&self, _: &JobRequest, _: Timestamp) -> Result<Found, RequestError> {
        Ok(Found::NotDone)
    }

    async fn check(&self) -> Vec<Finding> {
        Vec::new()
    }
}

/// Plays a test.
///
/// # Errors
/// A file that it names cannot be used.
pub(super) async fn play(rules: &Arc<RuleSet>, test: &RuleTest, engine: &EngineSettings) -> Result<Played, StageError> {
    let mut given = Given::new(test);
    let stage = Stage::new(rules, test, engine, given.beginning())?;
    stage.remember(&mut given).await?;
    let mut moments = Vec::new();
    let mut held = HashMap::new();
    for step in &test.steps {
        match step {
            TestStep::After(span) => {
                let what = format!("{} later", crate::rules::show_duration(milliseconds(*span)));
                let notes = stage.let_pass(*span, &mut held).await?;
                moments.push(stage.moment(what, &[], notes));
            }
            TestStep::Event { kind, fields } => {
                let now = stage.clock.now();
                let event = given.event(*kind, fields, now, |label, push| {
                    stage
                        .ci
                        .takes(label, push, *kind == crate::rules::EventKind::JobFinished)
                });
                stage.tell_of_bugs(&event, fields).await?;
                let moment = stage.happens(vec![event], &mut held).await?;
                moments.push(moment);
            }
            TestStep::File(name) => {
                for event in stage.recorded(&beside(&test.file, name))? {
                    let moment = stage.happens(vec![event], &mut held).await?;
                    moments.push(moment);
                }
            }
        }
    }
    let (cases, requests) = stage.pipeline.store().with(read).await?;
    let requests = requests
        .into_iter()
        .map(|(rule, row)| {
            let mut reasons: Vec<Reason> = held.remove(&row.key).unwrap_or_default();
            reasons.extend(row.reason.filter(|reason| !reasons.contains(reason)));
            Requested {
                rule,
                label: row.label,
                push: row.push,
                times: row.times,
                state: row.state,
                held: reasons,
            }
        })
        .collect();
    Ok(Played {
        moments,
        cases,
        requests,
    })
}

/// Reasons for which requests were held back, by request.
type Held = HashMap<crate::event::ActionKey, Vec<Reason>>;

/// A case's rule, and one of its requests.
type RequestOfCase = (String, ActionRow);

fn read(store: &mut SqliteStore) -> Result<(Vec<CaseRow>, Vec<RequestOfCase>), LedgerError> {
    store.transact(|books| {
        let mut cases = books.cases(&CaseFilter {
            limit: u32::MAX,
            ..CaseFilter::default()
        })?;
        cases.reverse();
        let mut requests = Vec::new();
        for case in &cases {
            for row in books.actions_of(case.id)? {
                requests.push((case.cause.rule_name().to_owned(), row));
            }
        }
        Ok((cases, requests))
    })
}

/// A file beside another.
fn beside(file: &str, name: &str) -> std::path::PathBuf {
    Path::new(file).parent().unwrap_or(Path::new("")).join(name)
}

fn milliseconds(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// The parts that a test is played on.
struct Stage {
    rules: Arc<RuleSet>,
    pipeline: Pipeline,
    clock: Arc<ManualClock>,
    ci: Arc<TestCi>,
}

impl Stage {
    fn new(
        rules: &Arc<RuleSet>,
        test: &RuleTest,
        engine: &EngineSettings,
        beginning: Timestamp,
    ) -> Result<Stage, StageError> {
        let clock = Arc::new(ManualClock::new(beginning));
        let ci = Arc::new(TestCi {
            name: BackendName::from(BACKEND),
            receipts: Mutex::default(),
        });
        let store = Handle::start(SqliteStore::in_memory()?)
            .map_err(|error| LedgerError::Broken(format!("the store's thread cannot be started: {error}")))?;
        let mut facts = RecordedSource::default();
        for name in &test.tasks {
            let path = beside(&test.file, name);
            facts
                .add_tasks(&path)
                .map_err(|error| StageError::File(error.to_string()))?;
        }
        let dispatcher = Dispatcher::new(
            store.clone(),
            Arc::clone(&ci) as Arc<dyn Backend>,
            Arc::clone(&clock) as Arc<dyn Clock>,
            DispatchSettings::default(),
        );
        let settings = EngineSettings {
            mode: Some(Mode::Live),
            has_pushlog: false,
            read_failures: false,
            // There is nothing to read, and every run has been looked at at once.
            read_values: true,
            sample: 0.0,
            ..engine.clone()
        };
        let pipeline = Pipeline::new(
            Engine::new(Arc::clone(rules), settings),
            store,
            Arc::new(facts),
            dispatcher,
            crate::daemon::brakes(limits(test), rules),
            Arc::clone(&clock) as Arc<dyn Clock>,
            PipelineSettings {
                wire: wire_settings(),
                // What a test does not give does not come later.
                facts_within: Duration::ZERO,
            },
        );
        Ok(Stage {
            rules: Arc::clone(rules),
            pipeline,
            clock,
            ci,
        })
    }

    /// Writes pushes and history into the books.
    async fn remember(&self, given: &mut Given<'_>) -> Result<(), LedgerError> {
        let (pushes, history) = (given.pushes(), given.history());
        self.pipeline
            .store()
            .with(move |store| {
                store.transact(|books| {
                    pushes.iter().try_for_each(|push| books.record_push(push))?;
                    books.record_runs(&history.iter().collect::<Vec<_>>())
                })
            })
            .await
    }

    /// Writes the bugs that the event's failure is known by into the books, where the test names them.
    async fn tell_of_bugs(&self, event: &Event, fields: &Fields) -> Result<(), LedgerError> {
        let Event::Job(job) = event else { return Ok(()) };
        let (Some(placed), Some(bugs)) = (Placed::of(job), bugs(fields)) else {
            return Ok(());
        };
        let subject = placed.subject();
        self.pipeline
            .store()
            .with(move |store| store.transact(|books| books.set_bugs(&subject, &bugs)))
            .await
    }

    /// Applies events, and lets everything happen that happens at once.
    async fn happens(&self, events: Vec<Event>, held: &mut Held) -> Result<Moment, LedgerError> {
        if let Some(latest) = events.iter().filter_map(Event::at).max() {
            self.clock.set(latest.max(self.clock.now()));
        }
        let what = events.iter().map(describe).collect::<Vec<_>>().join("; ");
        let taken = self.pipeline.apply(Reading::of(events.clone())).await?;
        let mut notes = taken.notes;
        self.settle(&mut notes, held).await?;
        Ok(self.moment(what, &events, notes))
    }

    /// Moves the clock, with stops on the way: cases wake, requests that were held back are looked at again.
    async fn let_pass(&self, span: Duration, held: &mut Held) -> Result<Vec<Note>, LedgerError> {
        let end = self.clock.now().plus(span);
        let tick = TICK.max(span / MAX_TICKS);
        let mut notes = Vec::new();
        while self.clock.now() < end {
            self.clock.set(self.clock.now().plus(tick).min(end));
            self.settle(&mut notes, held).await?;
        }
        Ok(notes)
    }

    async fn settle(&self, notes: &mut Vec<Note>, held: &mut Held) -> Result<(), LedgerError> {
        for round in self.pipeline.settle(notes).await? {
            for (request, reason) in round.held {
                let reasons = held.entry(request.key).or_default();
                if !reasons.contains(&reason) {
                    reasons.push(reason);
                }
            }
        }
        Ok(())
    }

    /// The events of a recorded message, or of many.
    fn recorded(&self, path: &Path) -> Result<Vec<Event>, StageError> {
        let mut events = Vec::new();
        for delivery in deliveries(path).map_err(StageError::File)? {
            let wrong =
                |what: String| StageError::File(format!("{}: message {}: {what}", path.display(), delivery.tag));
            match wire::decode(&delivery, &wire_settings()).map_err(|error| wrong(error.to_string()))? {
                wire::Decoded::Events(decoded) => events.extend(decoded),
                wire::Decoded::Ignored(why) => return Err(wrong(format!("it is of no use: {}", why.as_str()))),
            }
        }
        Ok(events)
    }

    /// What came of a step, for the judge and for people.
    fn moment(&self, what: String, events: &[Event], notes: Vec<Note>) -> Moment {
        let mut moment = Moment {
            at: self.clock.now(),
            what,
            decisions: Vec::new(),
            unmatched: Vec::new(),
            held: Vec::new(),
            news: Vec::new(),
        };
        moment.unmatched = events.iter().flat_map(|event| unmatched(&self.rules, event)).collect();
        for note in notes {
            match note {
                Note::Decided(decision) => moment.decisions.push(*decision),
                Note::Opened(case) => {
                    moment.news.push(format!(
                        "{} {} is opened: {}",
                        case.id,
                        case.params.kind(),
                        case.subject
                    ));
                }
                Note::Asked(case, requests) => {
                    let asked: Vec<String> = requests.iter().map(asked_for).collect();
                    moment
                        .news
                        .push(format!("{} asks for {}: {}", case.id, asked.join(", "), case.why));
                }
                Note::HeldBack(case, reason) => {
                    moment
                        .news
                        .push(format!("{} asks for nothing: {}", case.id, reason.sentence()));
                    moment.held.push((case.cause.rule_name().to_owned(), reason));
                }
                Note::Established(case, levels) => {
                    moment.news.push(format!("{} knows {} levels", case.id, levels.len()));
                }
                Note::Closed(case) => {
                    let verdict = case.verdict.as_ref().map_or("", |verdict| verdict.kind.as_str());
                    moment
                        .news
                        .push(format!("{} ends with {verdict}: {}", case.id, case.why));
                }
                Note::Discarded(why) => moment.news.push(format!("not kept: {}", why.as_str())),
                Note::Waits(lack) => moment.news.push(format!("waits for facts: {}", lack.as_str())),
            }
        }
        moment
    }
}

fn asked_for(request: &JobRequest) -> String {
    match request.times {
        1 => format!("{} on push {}", request.label, request.push),
        times => format!("{} on push {} x{times}", request.label, request.push),
    }
}

fn wire_settings() -> WireSettings {
    WireSettings {
        backend: BackendName::from(BACKEND),
        max_body: DEFAULT_MAX_BODY,
    }
}

/// The limits of a test: none but those it writes.
fn limits(test: &RuleTest) -> Limits {
    let limit = |name: &str| test.limits.get(name).copied();
    Limits {
        jobs_per_hour: limit("jobs_per_hour"),
        jobs_per_day: limit("jobs_per_day"),
        jobs_per_rule_per_day: limit("jobs_per_rule_per_day"),
        jobs_per_project_per_day: limit("jobs_per_project_per_day"),
        jobs_per_platform_per_day: limit("jobs_per_platform_per_day"),
        jobs_per_label_per_day: limit("jobs_per_label_per_day"),
        jobs_per_push: limit("jobs_per_push"),
        machine_hours_per_day: limit("machine_hours_per_day"),
        machine_hours_per_rule_per_day: limit("machine_hours_per_rule_per_day"),
        machine_hours_per_project_per_day: limit("machine_hours_per_project_per_day"),
        machine_hours_per_platform_per_day: limit("machine_hours_per_platform_per_day"),
        pending_jobs_per_platform: limit("pending_jobs_per_platform"),
        requests_per_second: f64::from(UNLIMITED),
        concurrency: UNLIMITED,
        ..Limits::default()
    }
}

/// An event in a few words.
fn describe(event: &Event) -> String {
    let name = event.name();
    match event {
        Event::Job(job) => {
            let facts = &job.facts;
            let known = |text: Option<String>| text.unwrap_or_else(|| "unknown".to_owned());
            format!(
                "{name} {} on push {} of {}: {}",
                known(facts.label.as_ref().map(ToString::to_string)),
                known(facts.push.map(|push| push.to_string())),
                known(facts.project.as_ref().map(ToString::to_string)),
                job.state.as_str()
            )
        }
        Event::Push(push) => format!(
            "{name} push {} of {}",
            push.push
                .map_or_else(|| push.revision.to_string(), |number| number.to_string()),
            push.project
        ),
        Event::Request(request) => format!("{name} {} in {}", request.kind.as_str(), request.project),
        Event::PerfAlert(alert) => format!("{name} {} of {}", alert.test, alert.project),
        Event::Timer(tick) => format!("{name} of {}", tick.rule),
    }
}
