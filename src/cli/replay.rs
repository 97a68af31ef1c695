//! `sheriffd replay`: recorded messages through the rules. What would have been asked for, what not, and why.
//!
//! In: recordings, rules, recorded facts, a store with history. Out: a line a decision and a summary, or one JSON
//! object. Never: a request to anybody, a change in the store it is given.
//!
//! It is the real pipeline with a backend that asks nobody and a clock that the messages move. Rules in shadow mode
//! act like live ones. What would have been asked for never runs, so the cases wait for it; nothing is asked for twice.

mod diff;
mod report;

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::Args;

use self::report::Report;
use super::CliError;
use super::common::{ConfigArgs, FormatArgs};
use crate::backends::DryRunBackend;
use crate::bus::file::{BadLines, FileBus, Recording};
use crate::bus::{Batch, Bus};
use crate::clock::{Clock, ManualClock};
use crate::config::Config;
use crate::daemon::parts;
use crate::daemon::pipeline::{Pipeline, PipelineSettings, Reading, Taken};
use crate::dispatch::limits::Limits;
use crate::dispatch::{DispatchSettings, Dispatcher};
use crate::engine::ledger::Pushes as _;
use crate::engine::settings::EngineSettings;
use crate::engine::{Engine, Note};
use crate::enrich::RecordedSource;
use crate::event::{Duration, Event, Project, PushEvent, Timestamp};
use crate::rules::{Mode, RuleSet};
use crate::store::Handle;
use crate::store::sqlite::SqliteStore;
use crate::wire::{self, WireSettings};

/// The rules that are used when none are named: those that ship with the program.
const SHIPPED_RULES: [(&str, &str); 4] = [
    ("rules/backfill.yaml", include_str!("../../rules/backfill.yaml")),
    ("rules/until-hit.yaml", include_str!("../../rules/until-hit.yaml")),
    ("rules/fill.yaml", include_str!("../../rules/fill.yaml")),
    ("rules/add.yaml", include_str!("../../rules/add.yaml")),
];

/// How long jobs that were asked for may take to appear. Here none ever does, and asking again would help nobody: a
/// century, which no recording spans.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Requests a second, and under way together: nobody is asked, so only the limits of jobs hold anything back.
const UNLIMITED: u32 = 1_000_000;

/// How long to wait for standard input before looking again.
const IDLE: Duration = Duration::from_secs(3600);

/// Arguments of `sheriffd replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Recordings: JSON Lines of `exchange`, `routingKey`, `payload`; gzip too; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    recordings: Vec<Recording>,
    /// A rule file or a folder of them, any number of times. Without it those of --config, else the shipped ones
    #[arg(long, value_name = "PATH")]
    rules: Vec<PathBuf>,
    /// Recorded task definitions, in place of the queue service; any number of times
    #[arg(long, value_name = "FILE")]
    tasks: Vec<PathBuf>,
    /// Recorded pushes, in place of the pushlog, known from the beginning; any number of times
    #[arg(long, value_name = "FILE")]
    pushes: Vec<PathBuf>,
    /// The exchange of messages that name none, in recordings of a single exchange
    #[arg(long, value_name = "NAME")]
    exchange: Option<String>,
    /// The project of pushes that name none
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// A store whose history comes before the recording, made by `sheriffd import`; it is only read
    #[arg(long, value_name = "PATH")]
    store: Option<PathBuf>,
    /// Two rule sets (files or folders) on the same recordings: what opens newly, what no longer, and what each costs
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], conflicts_with = "rules")]
    diff: Vec<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,
    /// Messages applied together at most; the result does not depend on it
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
}

/// Replays the recordings and prints what came of it.
///
/// # Errors
/// A file cannot be read, the rules are wrong, the store is unusable, or the output is closed.
pub async fn run(args: &ReplayArgs, config: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let started = Instant::now();
    readable(&args.recordings)?;
    let settings = config.load()?.config;
    if let [old, new] = args.diff.as_slice() {
        return compare(args, &settings, [old, new], out).await;
    }
    let rules = Arc::new(match (args.rules.as_slice(), &config.config) {
        ([], None) => rules(&[])?,
        ([], Some(_)) => rules(&settings.rules.paths)?,
        (named, _) => rules(named)?,
    });
    let mut report = Report::new(args.format.format, out);
    let (bad_lines, store) = play(args, &settings, &rules, &mut report).await?;
    let books = store.with(report::Books::read).await?;
    report.end(&bad_lines, &books, started.elapsed())
}

/// What is told of a replay while it runs.
pub(super) trait Observer {
    /// Events are about to be applied.
    fn events(&mut self, _events: &[Event]) {}

    /// Messages were read.
    fn taken(&mut self, taken: &Taken);

    /// Something happened.
    ///
    /// # Errors
    /// The output is closed.
    fn notes(&mut self, notes: &[Note], now: Timestamp) -> Result<(), CliError>;
}

/// Replays the recordings with two rule sets.
async fn compare(
    args: &ReplayArgs,
    settings: &Config,
    [old, new]: [&PathBuf; 2],
    out: &mut dyn Write,
) -> Result<(), CliError> {
    if args
        .recordings
        .iter()
        .any(|recording| matches!(recording, Recording::Stdin))
    {
        return Err(CliError::usage(
            "standard input can be read only once: --diff needs recordings in files",
        ));
    }
    let (before, now) = (rules(std::slice::from_ref(old))?, rules(std::slice::from_ref(new))?);
    let mut sides = [diff::Side::default(), diff::Side::default()];
    let mut bad_lines = BadLines::default();
    for (rules, side) in [before, now].into_iter().zip(&mut sides) {
        (bad_lines, _) = play(args, settings, &Arc::new(rules), side).await?;
    }
    let [before, now] = sides;
    diff::write(before, now, &bad_lines, args.format.format, out)
}

/// Replays the recordings once; returns the lines that hold no message, and the store at the end.
async fn play(
    args: &ReplayArgs,
    settings: &Config,
    rules: &Arc<RuleSet>,
    observer: &mut dyn Observer,
) -> Result<(BadLines, Handle), CliError> {
    let facts = facts(&args.tasks, &args.pushes, args.project.as_deref())?;
    let replay = Replay::begin(settings, rules, facts, args.store.as_deref()).await?;
    let exchange = args.exchange.clone();
    let mut bus = FileBus::start(args.recordings.clone(), move |line, tag| {
        wire::recorded::delivery(line, tag, exchange.as_deref()).map_err(|error| error.to_string())
    })?;
    loop {
        let next = bus.next(args.batch as usize, Duration::ZERO, IDLE).await;
        match next.map_err(|error| CliError::usage(error.to_string()))? {
            Batch::Deliveries(deliveries) => {
                let reading = replay.pipeline.read(&deliveries);
                replay.apply(reading, observer).await?;
            }
            Batch::Idle => {}
            Batch::PossibleLoss { .. } | Batch::End => break,
        }
    }
    Ok((bus.bad_lines(), replay.pipeline.store().clone()))
}

/// Refuses recordings that cannot be opened before any work is done.
fn readable(recordings: &[Recording]) -> Result<(), CliError> {
    for recording in recordings {
        match recording {
            Recording::File(path) => {
                let opened = File::open(path).and_then(|file| file.metadata());
                let wrong = match opened {
                    Ok(metadata) if metadata.is_dir() => "it is a folder".to_owned(),
                    Ok(_) => continue,
                    Err(error) => error.to_string(),
                };
                return Err(CliError::usage(format!(
                    "the recording {recording} cannot be read: {wrong}"
                )));
            }
            Recording::Stdin if std::io::stdin().is_terminal() => {
                return Err(CliError::usage(
                    "standard input is a terminal: pipe a recording into it, or name a file",
                ));
            }
            Recording::Stdin => {}
        }
    }
    Ok(())
}

fn rules(paths: &[PathBuf]) -> Result<RuleSet, CliError> {
    let set = match paths.is_empty() {
        true => RuleSet::parse(&SHIPPED_RULES),
        false => RuleSet::load(paths),
    };
    set.map_err(|wrong| CliError::config(format!("the rules cannot be used\n{wrong}")))
}

/// Recorded facts, in place of the services.
///
/// # Errors
/// A file cannot be used.
pub(super) fn facts(tasks: &[PathBuf], pushes: &[PathBuf], project: Option<&str>) -> Result<RecordedSource, CliError> {
    let project = project.map(Project::from);
    let mut facts = RecordedSource::default();
    for path in tasks {
        facts
            .add_tasks(path)
            .map_err(|error| CliError::usage(error.to_string()))?;
    }
    for path in pushes {
        facts
            .add_pushes(path, project.as_ref())
            .map_err(|error| CliError::usage(format!("{error}; --project names the project of pushes that do not")))?;
    }
    Ok(facts)
}

/// The pipeline and the clock that the messages move.
pub(super) struct Replay {
    /// What the messages go through.
    pub(super) pipeline: Pipeline,
    clock: Arc<ManualClock>,
}

impl Replay {
    /// A replay that knows the recorded pushes, and begins with the history of a store when one is named.
    ///
    /// # Errors
    /// There is no such store, or it cannot be used.
    pub(super) async fn begin(
        config: &Config,
        rules: &Arc<RuleSet>,
        facts: RecordedSource,
        history: Option<&Path>,
    ) -> Result<Replay, CliError> {
        let store = match history {
            Some(path) if !path.is_file() => {
                return Err(CliError::usage(format!("there is no store at {}", path.display())));
            }
            Some(path) => SqliteStore::in_memory_with_history_of(path)?,
            None => SqliteStore::in_memory()?,
        };
        let pushes: Vec<PushEvent> = facts.all_pushes().cloned().collect();
        let replay = Replay::new(config, rules, facts, Handle::start(store)?)?;
        replay.record_pushes(pushes).await?;
        Ok(replay)
    }

    fn new(config: &Config, rules: &Arc<RuleSet>, facts: RecordedSource, store: Handle) -> Result<Replay, CliError> {
        let clock = Arc::new(ManualClock::new(Timestamp::default()));
        let backend = parts::backend_name(config);
        let dispatcher = Dispatcher::new(
            store.clone(),
            Arc::new(DryRunBackend::new(backend.clone())),
            Arc::clone(&clock) as Arc<dyn Clock>,
            DispatchSettings {
                jobs_appear_within: FOR_EVER,
                ..DispatchSettings::default()
            },
        );
        let limits = Limits {
            requests_per_second: f64::from(UNLIMITED),
            concurrency: UNLIMITED,
            ..config.limits.limits()
        };
        let settings = EngineSettings {
            jobs_appear_within: FOR_EVER,
            mode: Some(Mode::Live),
            // The pushes of a recording are in the books before its messages.
            has_pushlog: false,
            has_graphs: false,
            // Nobody asks a store in memory why.
            sample: 0.0,
            // It holds no artifacts either.
            read_failures: false,
            read_values: true,
            ..parts::engine_settings(config).map_err(|error| CliError::config(error.to_string()))?
        };
        let pipeline = Pipeline::new(
            Engine::new(Arc::clone(rules), settings),
            store,
            Arc::new(facts),
            dispatcher,
            crate::daemon::brakes(limits, rules),
            Arc::clone(&clock) as Arc<dyn Clock>,
            PipelineSettings {
                wire: WireSettings {
                    backend,
                    max_body: config.broker.max_body_bytes,
                },
                // What a recording does not hold does not come later.
                facts_within: Duration::ZERO,
            },
        );
        Ok(Replay { pipeline, clock })
    }

    /// Writes pushes into the books before anything else.
    async fn record_pushes(&self, pushes: Vec<PushEvent>) -> Result<(), CliError> {
        if let Some(first) = pushes.iter().filter_map(|push| push.at).min() {
            self.clock.set(first);
        }
        self.pipeline
            .store()
            .with(move |store| store.transact(|books| pushes.iter().try_for_each(|push| books.record_push(push))))
            .await?;
        Ok(())
    }

    /// Applies what was read. An event that a rule could act on ends a transaction and gets its facts before the next
    /// one is applied: it is looked at with the books as they were at its moment, however many messages are applied
    /// together.
    pub(super) async fn apply(&self, mut reading: Reading, observer: &mut dyn Observer) -> Result<(), CliError> {
        observer.events(reading.events());
        loop {
            let rules = Arc::clone(self.pipeline.engine().rules());
            let is_decisive = |event: &Event| !rules.candidates(event).is_empty();
            let decisive = reading.events().iter().position(is_decisive);
            let part = match decisive {
                Some(index) => reading.take_first(index + 1),
                None => std::mem::take(&mut reading),
            };
            self.move_clock(&part);
            let mut taken = self.pipeline.apply(part).await?;
            let mut notes = std::mem::take(&mut taken.notes);
            observer.taken(&taken);
            // What waits, was decided or is held back is settled at once; all else has nothing to settle.
            if decisive.is_none() || notes.iter().any(|note| !matches!(note, Note::Discarded(_))) {
                self.pipeline.settle(&mut notes).await?;
            }
            observer.notes(&notes, self.clock.now())?;
            if decisive.is_none() {
                return Ok(());
            }
        }
    }

    /// Moves the clock to the latest moment that the events speak of; never back.
    fn move_clock(&self, reading: &Reading) {
        if let Some(latest) = reading.events().iter().filter_map(Event::at).max() {
            self.clock.set(latest.max(self.clock.now()));
        }
    }
}
