//! `sheriffd run`: starts the parts, keeps them going, stops them.
//!
//! - *Intake*: bus → decode → one transaction → acknowledge. A store that cannot be used holds the batch back: nothing
//!   is acknowledged, and the daemon is not ready. While a batch is being committed the next one is read.
//! - *Work*: facts for the inbox, cases whose time has come, the outbox, verdicts to tell.
//! - *Stop*: on SIGTERM or SIGINT the batch under way is committed and acknowledged, what is being sent is settled.

use std::sync::atomic::Ordering;
use std::sync::{Arc, RwLock};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};

use super::credentials::Renewer;
use super::intake::{BatchSettings, Intake, Step};
use super::pipeline::{Pipeline, PipelineSettings};
use super::reconcile::{check_at_start, messages_may_be_missing};
use super::reload::{Reloader, reload_loop, try_again};
use super::{observe_notes, observe_round, observe_store, observe_taken, parts};
use crate::bus::amqp::AmqpBus;
use crate::bus::bindings::Binding;
use crate::bus::{Batch, Bus, BusError};
use crate::clock::{Clock, SteadyClock};
use crate::config::{Config, LoadOptions};
use crate::current::Current;
use crate::dispatch::{DispatchSettings, Dispatcher};
use crate::engine::Engine;
use crate::engine::ledger::LedgerError;
use crate::event::{BackendName, Duration, Timestamp};
use crate::notify::Hooks;
use crate::rules::RuleSet;
use crate::store::Handle;
use crate::store::sqlite::{Notice, Retention, SqliteStore};
use crate::telemetry::{metric, service};
use crate::web::{Readiness, Reload, RulesShown, WebState};
use crate::wire::WireSettings;

/// How often the outbox, the inbox and the cases are looked at without being told to.
const WORK_EVERY: Duration = Duration::from_millis(500);
/// How often runs that are too old to keep are looked for.
const PRUNE_EVERY: Duration = Duration::from_secs(600);
/// Runs that are forgotten in one transaction: a moment's work, so that messages do not wait for it.
const PRUNED_TOGETHER: u32 = 2_000;
/// How often gauges are set.
const OBSERVE_EVERY: Duration = Duration::from_secs(5);
/// How often old explanations are forgotten.
const TRIM_EVERY: Duration = Duration::from_secs(60);
/// How long a batch waits before it is tried again on a store that cannot be used: doubled each time, up to the last.
const STORE_RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));
/// How long the intake waits for messages before it looks at whether it should stop.
const IDLE: Duration = Duration::from_secs(1);
/// Verdicts told together.
const TOLD_TOGETHER: u32 = 20;
/// Times a verdict is told before it is given up.
const TELL_TRIES: u32 = 12;
/// The setting under which the store keeps what the queue is bound to.
const BINDINGS: &str = "bindings";

/// Why the daemon could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration or the rules are not sound, or the broker refuses us: a person has to act.
    #[error("{0}")]
    Config(String),
    /// Something that is needed cannot be reached or used.
    #[error("{0}")]
    Unavailable(String),
}

impl From<parts::PartError> for RunError {
    fn from(error: parts::PartError) -> RunError {
        RunError::Config(error.to_string())
    }
}

impl From<LedgerError> for RunError {
    fn from(error: LedgerError) -> RunError {
        RunError::Unavailable(error.to_string())
    }
}

/// Everything that the loops share.
struct Shared {
    pipeline: Arc<Pipeline>,
    clock: Arc<dyn Clock>,
    readiness: Arc<Readiness>,
    hooks: Hooks,
    backend: BackendName,
    retention: Retention,
    /// Wakes the work loop: there is something to do.
    work: Notify,
    /// Wakes the reconciliation: messages may be missing.
    missing: Notify,
}

impl AsRef<Pipeline> for Shared {
    fn as_ref(&self) -> &Pipeline {
        &self.pipeline
    }
}

/// Runs the daemon until it is told to stop. `options` say how the configuration was read: its credentials are read again
/// when the daemon is told to reload.
///
/// # Errors
/// It cannot start: see [`RunError`]. Once it runs, trouble is logged and counted, and tried again.
pub async fn run(config: Config, options: LoadOptions) -> Result<(), RunError> {
    // Before anything else: until then SIGHUP ends the process, and whoever starts it may send one at any time.
    let hangup = signal(SignalKind::hangup())
        .map_err(|error| RunError::Unavailable(format!("SIGHUP cannot be listened to: {error}")))?;
    let clock: Arc<dyn Clock> = Arc::new(SteadyClock::start());
    let metrics = crate::telemetry::install_metrics().map_err(|error| RunError::Unavailable(error.to_string()))?;
    metric::BUILD_INFO.gauge(&[env!("CARGO_PKG_VERSION")]).set(1.0);
    let rules = Arc::new(RuleSet::load(&config.rules.paths).map_err(|error| RunError::Config(error.to_string()))?);
    let store = Handle::start(SqliteStore::open(&config.store.path)?)
        .map_err(|error| RunError::Unavailable(format!("the store's thread cannot be started: {error}")))?;
    try_again(&store, clock.now()).await;
    let backend = parts::backend(&config, &clock)?;
    let backend_name = backend.name().clone();
    let dispatch = DispatchSettings {
        jobs_appear_within: config.engine.jobs_appear_within,
        action_ends_within: config.engine.runs_end_within,
        ..config.dispatch.settings()
    };
    let dispatcher = Dispatcher::new(store.clone(), backend, Arc::clone(&clock), dispatch);
    let facts = parts::facts(&config, &clock)?;
    let reconciler = Arc::new(Current::new(Arc::new(parts::reconciler(
        &config,
        Arc::clone(&facts),
        &clock,
    )?)));
    let pipeline = Arc::new(Pipeline::new(
        Engine::new(Arc::clone(&rules), parts::engine_settings(&config)?),
        store.clone(),
        facts,
        dispatcher,
        super::brakes(config.limits.limits(), &rules),
        Arc::clone(&clock),
        PipelineSettings {
            wire: WireSettings {
                backend: backend_name.clone(),
                max_body: config.broker.max_body_bytes,
            },
            facts_within: config.engine.facts_within,
        },
    ));
    let trees = parts::trees(&config, &clock)?;
    let alerts = parts::alerts(&config, &clock)?;
    let readiness = Arc::new(Readiness::default());
    readiness.rules.store(true, Ordering::Relaxed);
    readiness.store.store(true, Ordering::Relaxed);
    let shown = Arc::new(RwLock::new(RulesShown::of(&rules)));
    let reloader = Arc::new(Reloader::new(
        Arc::clone(&pipeline),
        Arc::clone(&shown),
        Arc::clone(&clock),
        config.rules.paths.clone(),
        config.limits.limits(),
    ));
    let shared = Arc::new(Shared {
        pipeline,
        clock: Arc::clone(&clock),
        readiness: Arc::clone(&readiness),
        hooks: parts::hooks(&config, &rules)?,
        backend: backend_name,
        retention: config.traces.retention(),
        work: Notify::new(),
        missing: Notify::new(),
    });
    let state = WebState {
        store: store.clone(),
        metrics,
        readiness,
        clock: Arc::clone(&clock),
        rules: shown,
        reload: Some(Arc::clone(&reloader) as Arc<dyn Reload>),
        token: config.web.token.clone(),
        engine: Some(Arc::new(parts::engine_settings(&config)?)),
    };
    let address = crate::web::serve(config.web.listen, state)
        .await
        .map_err(|error| RunError::Unavailable(error.to_string()))?;
    tracing::info!(%address, rules = rules.rules().len(), version = rules.version(), "sheriffd is starting");
    if !parts::can_ask(&config) {
        tracing::warn!(
            "no credentials for a CI: everything is decided in shadow and nothing is asked for; \
             set `backend` and its section to change that"
        );
    }
    let (bus, bound) = bus(&config, &rules, &store).await?;

    let (stop, stopping) = watch::channel(false);
    let work = tokio::spawn({
        let last_act = StopsWhenDropped(stop.clone());
        let (shared, stopping) = (Arc::clone(&shared), stopping.clone());
        async move {
            work_loop(shared, stopping).await;
            drop(last_act);
        }
    });
    let renewer = Renewer::new(
        options,
        config.clone(),
        Arc::clone(&clock),
        Arc::clone(&shared.pipeline),
        Arc::clone(&reconciler),
    );
    let reload = tokio::spawn({
        let (shared, reloader, stopping) = (Arc::clone(&shared), Arc::clone(&reloader), stopping.clone());
        async move { reload_loop(hangup, reloader, Arc::new(renewer), &shared.work, stopping).await }
    });
    let watch = tokio::spawn({
        let (reloader, stopping, every) = (reloader, stopping.clone(), config.rules.watch_every);
        let is_wanted = config.rules.watch;
        async move {
            if is_wanted {
                reloader.watch_files(every, stopping).await;
            }
        }
    });
    let watchdog = tokio::spawn(watchdog_loop(stopping.clone()));
    let prune = tokio::spawn(prune_loop(
        Arc::clone(&shared),
        config.store.keep_runs,
        stopping.clone(),
    ));
    let reconcile = tokio::spawn({
        let (shared, stopping) = (Arc::clone(&shared), stopping.clone());
        async move {
            super::reconcile::watch(
                &reconciler,
                &shared.pipeline,
                shared.clock.as_ref(),
                &shared.missing,
                &shared.work,
                stopping,
            )
            .await;
        }
    });
    if check_at_start(&store, config.reconcile.after, clock.now()).await? {
        shared.missing.notify_one();
    }
    let every = config.treestatus.every;
    let trees = tokio::spawn({
        let stopping = stopping.clone();
        async move {
            if let Some(trees) = trees {
                super::trees::watch(trees, store, clock, every, stopping).await;
            }
        }
    });
    let alerts = tokio::spawn({
        let (shared, stopping, every) = (Arc::clone(&shared), stopping.clone(), config.perfherder.every);
        async move {
            if let Some(alerts) = alerts {
                let clock = Arc::clone(&shared.clock);
                super::alerts::watch(alerts, shared, clock, every, stopping).await;
            }
        }
    });
    tokio::spawn(stop_on_signal(stop.clone()));
    let mut ended = intake(&shared, bus, bound, &config, stopping).await;
    // The intake may have ended by itself: then everything else ends with it.
    stop.send_replace(true);
    told(service::tell_stopping());
    for task in [work, reload, watch, watchdog, prune, reconcile, trees, alerts] {
        if let Err(error) = task.await {
            let failed = format!("a part of the daemon failed by a defect of it; please report this: {error}");
            ended = ended.and(Err(RunError::Unavailable(failed)));
        }
    }
    tracing::info!("sheriffd has stopped");
    ended
}

/// Tells everything to stop when it is dropped, by a panic too: a daemon that takes messages and never works on them
/// would look alive for ever.
struct StopsWhenDropped(watch::Sender<bool>);

impl Drop for StopsWhenDropped {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

/// The broker's side, with the bindings of the last run so that stale ones can be named; and what is to be remembered
/// as bound once there was a connection.
async fn bus(config: &Config, rules: &RuleSet, store: &Handle) -> Result<(AmqpBus, String), RunError> {
    let derived = parts::bindings(config, rules);
    let wanted = config.broker.bindings.clone().unwrap_or(derived);
    let remembered = store
        .with(|store| store.transact(|books| books.setting(BINDINGS)))
        .await?;
    let previous: Vec<Binding> = match remembered {
        None => Vec::new(),
        Some(text) => serde_json::from_str(&text)
            .map_err(|error| RunError::Unavailable(format!("the store's setting `{BINDINGS}` is damaged: {error}")))?,
    };
    let mut together = wanted.clone();
    if !config.broker.unbind_stale {
        // What was bound stays bound, and stays remembered.
        together.extend(previous.iter().filter(|binding| !wanted.contains(binding)).cloned());
    }
    let bound = serde_json::to_string(&together).map_err(|error| RunError::Unavailable(error.to_string()))?;
    // The seed only spreads reconnects of several daemons over time.
    let seed = std::process::id().into();
    Ok((AmqpBus::new(config.broker.amqp(wanted, previous), seed), bound))
}

/// A service manager that does not listen is no trouble of ours; that it could not be told is worth a line.
fn told(result: std::io::Result<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

async fn stop_on_signal(stop: watch::Sender<bool>) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be listened to: only SIGKILL stops this process");
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("told to stop");
    stop.send_replace(true);
}

async fn intake(
    shared: &Shared,
    bus: AmqpBus,
    bound: String,
    config: &Config,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), RunError> {
    let batches = BatchSettings {
        max: config.broker.batch_max,
        linger: config.broker.batch_linger,
        idle: IDLE,
    };
    let mut intake = Intake::new(bus, batches);
    let mut was_connected = false;
    let mut to_remember = Some(bound);
    let mut pause = STORE_RETRY.0;
    let ended = loop {
        let step = tokio::select! {
            biased;
            _ = stopping.wait_for(|stop| *stop) => break Ok(()),
            step = intake.step(&shared.pipeline) => step,
        };
        let is_connected = intake.bus().is_connected();
        if is_connected && !was_connected {
            report_topology(intake.bus());
            if let Some(bound) = to_remember.take() {
                remember_bindings(shared, bound).await;
            }
        }
        was_connected |= is_connected;
        set_ready(shared, is_connected);
        match step {
            Step::Durable { .. } => {
                acknowledge(shared, &mut intake, step).await;
                pause = STORE_RETRY.0;
            }
            Step::Held(error) => {
                shared.readiness.store.store(false, Ordering::Relaxed);
                tracing::error!(%error, "nothing is acknowledged until the store can be used");
                tokio::select! {
                    _ = stopping.wait_for(|stop| *stop) => break Ok(()),
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(STORE_RETRY.1);
            }
            Step::Bus(Batch::PossibleLoss { reason }) => {
                tracing::error!(%reason, "messages may have been lost");
                reconcile(shared).await;
            }
            Step::Bus(_) => {}
            Step::End => break Ok(()),
            Step::Trouble(BusError::Refused(text)) if !was_connected => break Err(RunError::Config(text)),
            Step::Trouble(error) => tracing::warn!(%error, "the broker"),
        }
    };
    // What the store still does not take stays unacknowledged, and comes again.
    while let Some(step @ Step::Durable { .. }) = intake.finish(&shared.pipeline).await {
        acknowledge(shared, &mut intake, step).await;
    }
    intake.bus().close().await;
    ended
}

/// Has what was lost fetched.
async fn reconcile(shared: &Shared) {
    match messages_may_be_missing(shared.pipeline.store()).await {
        Ok(true) => shared.missing.notify_one(),
        Ok(false) => {}
        Err(error) => tracing::error!(%error, "what was lost will not be fetched"),
    }
}

async fn remember_bindings(shared: &Shared, bound: String) {
    let store = shared.pipeline.store();
    let result = store
        .with(move |store| store.transact(|books| books.set_setting(BINDINGS, &bound)))
        .await;
    if let Err(error) = result {
        tracing::warn!(%error, "what the queue is bound to is not remembered: stale bindings will not be named");
    }
}

/// Acknowledges a batch that is durable, and tells of it.
async fn acknowledge(shared: &Shared, intake: &mut Intake<AmqpBus>, step: Step) {
    let Step::Durable { last, taken, took } = step else {
        return;
    };
    if let Err(error) = intake.bus().ack(last).await {
        // The broker gives them out again; they are known then, and have no second effect.
        tracing::warn!(%error, "messages could not be acknowledged");
    }
    shared.readiness.store.store(true, Ordering::Relaxed);
    metric::STORE_TRANSACTION.histogram(&[]).record(took.as_secs_f64());
    observe_taken(&taken, shared.clock.now());
    observe_notes(&taken.notes);
    shared.work.notify_one();
}

fn report_topology(bus: &AmqpBus) {
    let topology = bus.topology();
    if let Some(kept) = &topology.queue_kept {
        tracing::warn!(%kept, "the queue exists with other properties and is kept as it is");
    }
    for binding in &topology.stale {
        if topology.stale_unbound {
            tracing::info!(%binding, "a stale binding was unbound");
        } else {
            tracing::warn!(%binding, "a stale binding is still there: set broker.unbind_stale, or unbind it by hand");
        }
    }
}

fn set_ready(shared: &Shared, is_connected: bool) {
    let before = shared.readiness.is_ready();
    shared.readiness.bus.store(is_connected, Ordering::Relaxed);
    let after = shared.readiness.is_ready();
    if after && !before {
        tracing::info!("ready");
        told(service::tell_ready());
    } else if before && !after {
        tracing::warn!(missing = shared.readiness.missing().join(", "), "not ready");
    }
}

async fn work_loop(shared: Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    let mut observed: Option<Timestamp> = None;
    let mut trimmed: Option<Timestamp> = None;
    loop {
        let is_busy = work(&shared).await.unwrap_or_else(|error| {
            shared.readiness.store.store(false, Ordering::Relaxed);
            tracing::error!(%error, "the outbox, the inbox and the cases wait for the store");
            false
        });
        let now = shared.clock.now();
        if trimmed.is_none_or(|at| now.since(at) >= TRIM_EVERY || at > now) {
            trimmed = Some(now);
            forget_traces(&shared, now).await;
        }
        if observed.is_none_or(|at| now.since(at) >= OBSERVE_EVERY || at > now) {
            observed = Some(now);
            let brakes = shared.pipeline.brakes();
            let backend = shared.backend.clone();
            let seen = shared
                .pipeline
                .store()
                .with(move |store| store.transact(|books| observe_store(books, &brakes, &backend, now)))
                .await;
            shared.readiness.store.store(seen.is_ok(), Ordering::Relaxed);
        }
        // What waits for its facts is fetched a handful at a time: after a handful there may be more.
        let rest = if is_busy { Duration::ZERO } else { WORK_EVERY };
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stop| *stop) => return,
            () = shared.work.notified() => {}
            () = tokio::time::sleep(rest) => {}
        }
    }
}

/// Forgets explanations that are older or more than is to be kept.
async fn forget_traces(shared: &Shared, now: Timestamp) {
    let retention = shared.retention;
    let store = shared.pipeline.store();
    let forgotten = store
        .with(move |store| store.transact(|books| books.forget_traces(&retention, now)))
        .await;
    match forgotten {
        Ok(0) => {}
        Ok(forgotten) => tracing::debug!(forgotten, "explanations were forgotten, as configured"),
        Err(error) => tracing::warn!(%error, "old explanations are not forgotten yet"),
    }
}

/// One round. Returns whether facts were fetched.
async fn work(shared: &Shared) -> Result<bool, LedgerError> {
    let mut notes = Vec::new();
    let is_busy = shared.pipeline.fetch_facts(&mut notes).await?;
    shared.pipeline.wake(&mut notes).await?;
    observe_notes(&notes);
    let round = shared.pipeline.dispatch().await?;
    observe_round(&round, &shared.backend);
    if !shared.hooks.is_empty() {
        tell(shared).await?;
    } else {
        forget_notices(shared).await?;
    }
    Ok(is_busy)
}

/// Tells of verdicts, each at least once.
async fn tell(shared: &Shared) -> Result<(), LedgerError> {
    let store = shared.pipeline.store();
    let now = shared.clock.now();
    let due = store
        .with(move |store| store.transact(|books| books.due_notices(now, TOLD_TOGETHER)))
        .await?;
    for Notice { id, case, attempts } in due {
        let told = match shared.hooks.of(&case) {
            Some(hook) => hook.tell(&case, now).await,
            // Nobody is to be told of this one.
            None => Ok(()),
        };
        match told {
            Ok(()) if case.verdict.is_none() => {
                store
                    .with(move |store| store.transact(|books| books.progress_told(id)))
                    .await?
            }
            Ok(()) => {
                store
                    .with(move |store| store.transact(|books| books.notice_done(id)))
                    .await?
            }
            Err(error) if attempts + 1 >= TELL_TRIES => {
                tracing::error!(case = %case.id, %error, "nobody took the news of a verdict: given up");
                store
                    .with(move |store| store.transact(|books| books.notice_done(id)))
                    .await?;
            }
            Err(error) => {
                tracing::warn!(case = %case.id, %error, "the news of a verdict was not taken, it is told again");
                let again = now.plus(Duration::from_secs(10 << attempts.min(8)));
                store
                    .with(move |store| store.transact(|books| books.notice_later(id, again)))
                    .await?;
            }
        }
    }
    Ok(())
}

/// Nobody wants to be told.
async fn forget_notices(shared: &Shared) -> Result<(), LedgerError> {
    let now = shared.clock.now();
    shared
        .pipeline
        .store()
        .with(move |store| {
            store.transact(|books| {
                for notice in books.due_notices(now, TOLD_TOGETHER)? {
                    books.notice_done(notice.id)?;
                }
                Ok(())
            })
        })
        .await
}

/// Forgets runs that are too old to keep.
async fn prune_loop(shared: Arc<Shared>, keep: Duration, mut stopping: watch::Receiver<bool>) {
    loop {
        let before = shared.clock.now().minus(keep);
        let pruned = shared
            .pipeline
            .store()
            .with(move |store| store.transact(|books| books.prune_runs(before, PRUNED_TOGETHER)))
            .await;
        let rest = match pruned {
            Ok(PRUNED_TOGETHER..) => WORK_EVERY,
            Ok(_) => PRUNE_EVERY,
            Err(error) => {
                tracing::warn!(%error, "old runs are not forgotten now");
                PRUNE_EVERY
            }
        };
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(rest) => {}
        }
    }
}

async fn watchdog_loop(mut stopping: watch::Receiver<bool>) {
    let Some(interval) = service::watchdog_interval() else {
        return;
    };
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(interval) => told(service::tell_alive()),
        }
    }
}
