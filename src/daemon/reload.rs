//! Other rules, while the daemon runs.
//!
//! In: a signal, a call of the API, files that changed. Out: all of the new rules in force, or none of them and the old
//! ones go on; a log line with the difference; metrics. Never: half a rule set, a change to a case that is open: it goes
//! on as it was opened.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Instant, SystemTime};

use tokio::signal::unix::Signal;
use tokio::sync::{Notify, watch};

use super::credentials::Renewer;
use super::pipeline::Pipeline;
use crate::clock::Clock;
use crate::dispatch::limits::Limits;
use crate::event::{Duration, Timestamp};
use crate::rules::{Difference, RuleSet, rule_files};
use crate::store::Handle;
use crate::telemetry::metric;
use crate::web::{Reload, ReloadOutcome, RulesShown};

/// What the files of the rules look like from outside: enough to see that one of them changed.
type Fingerprint = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

/// Who asked for other rules. For the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// SIGHUP.
    Signal,
    /// `POST /api/rules/reload`.
    Api,
    /// Files that changed.
    Files,
}

impl Trigger {
    fn as_str(self) -> &'static str {
        match self {
            Trigger::Signal => "signal",
            Trigger::Api => "api",
            Trigger::Files => "files",
        }
    }
}

/// Reads the rules again.
pub struct Reloader {
    pipeline: Arc<Pipeline>,
    shown: Arc<RwLock<RulesShown>>,
    clock: Arc<dyn Clock>,
    paths: Vec<PathBuf>,
    limits: Limits,
    /// What was read last, whether or not it could be used. Held while rules are read: one after the other.
    read: Mutex<Fingerprint>,
}

impl Reloader {
    /// For rules that were just loaded from these files.
    pub fn new(
        pipeline: Arc<Pipeline>,
        shown: Arc<RwLock<RulesShown>>,
        clock: Arc<dyn Clock>,
        paths: Vec<PathBuf>,
        limits: Limits,
    ) -> Reloader {
        let rules = Arc::clone(pipeline.engine().rules());
        metric::RULES_INFO.gauge(&[rules.version()]).set(1.0);
        metric::RULES_LOADED.gauge(&[]).set(clock.now().as_seconds());
        let read = Mutex::new(fingerprint(&paths));
        Reloader {
            pipeline,
            shown,
            clock,
            paths,
            limits,
            read,
        }
    }

    fn read(&self) -> MutexGuard<'_, Fingerprint> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the files and puts them in force: all of them, or none. Blocks for as long as that takes.
    pub fn reload(&self, trigger: Trigger) -> ReloadOutcome {
        let mut read = self.read();
        let started = Instant::now();
        // Looked at before the files are read: what changes meanwhile is seen the next time.
        *read = fingerprint(&self.paths);
        let outcome = match RuleSet::load(&self.paths) {
            Ok(rules) => self.put_in_force(Arc::new(rules)),
            Err(errors) => ReloadOutcome::Refused(errors),
        };
        metric::RULES_RELOADS.counter(&[outcome.as_str()]).increment(1);
        metric::RULES_RELOAD_DURATION
            .histogram(&[])
            .record(started.elapsed().as_secs_f64());
        let trigger = trigger.as_str();
        match &outcome {
            ReloadOutcome::Applied {
                version,
                was,
                difference,
                ..
            } => {
                metric::RULES_INFO.gauge(&[was]).set(0.0);
                metric::RULES_INFO.gauge(&[version]).set(1.0);
                metric::RULES_LOADED.gauge(&[]).set(self.clock.now().as_seconds());
                tracing::info!(%version, %was, trigger, %difference, "other rules are in force");
            }
            ReloadOutcome::Unchanged { version } => {
                tracing::info!(%version, trigger, "the rules are as they were");
            }
            ReloadOutcome::Refused(errors) => tracing::error!(trigger, "the rules were not changed: {errors}"),
        }
        outcome
    }

    fn put_in_force(&self, rules: Arc<RuleSet>) -> ReloadOutcome {
        let old = Arc::clone(self.pipeline.engine().rules());
        let version = rules.version().to_owned();
        if old.version() == version {
            return ReloadOutcome::Unchanged { version };
        }
        let mut brakes = super::brakes(self.limits.clone(), &rules);
        // Cases that are open go on under the budget that they were opened with, though no rule names it any more.
        for (name, budget) in &self.pipeline.brakes().budgets {
            brakes.budgets.entry(name.clone()).or_insert_with(|| budget.clone());
        }
        // Budgets first: no request of a new rule must find its budget missing.
        self.pipeline.set_brakes(brakes);
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = RulesShown::of(&rules);
        let difference = Difference::between(&old, &rules);
        let count = rules.rules().len();
        self.pipeline.engine().set_rules(rules);
        ReloadOutcome::Applied {
            version,
            was: old.version().to_owned(),
            rules: count,
            difference,
        }
    }

    /// Looks at the files every so often, and reads them when they have changed and then stayed the same for one look:
    /// whoever writes several files, or a long one, is done then.
    pub async fn watch_files(self: Arc<Self>, every: Duration, mut stopping: watch::Receiver<bool>) {
        let mut changed: Option<Fingerprint> = None;
        loop {
            tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(every) => {}
            }
            let this = Arc::clone(&self);
            let before = changed.take();
            let looked = tokio::task::spawn_blocking(move || this.look(before)).await;
            match looked {
                Ok(seen) => changed = seen,
                Err(error) => tracing::error!(%error, "the files of the rules could not be looked at"),
            }
        }
    }

    /// One look. Returns what the files look like when they have changed and may still be changing.
    fn look(&self, before: Option<Fingerprint>) -> Option<Fingerprint> {
        let now = fingerprint(&self.paths);
        if *self.read() == now {
            return None;
        }
        if before.as_ref() == Some(&now) {
            self.reload(Trigger::Files);
            return None;
        }
        Some(now)
    }
}

/// Reads rules and credentials again on SIGHUP, until the daemon is told to stop.
pub(super) async fn reload_loop(
    mut hangup: Signal,
    reloader: Arc<Reloader>,
    renewer: Arc<Renewer>,
    work: &Notify,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            _ = hangup.recv() => {}
        }
        let (rules, credentials) = (Arc::clone(&reloader), Arc::clone(&renewer));
        let read = tokio::task::spawn_blocking(move || (credentials.renew(), rules.reload(Trigger::Signal))).await;
        match read {
            Ok((renewed, _)) => match renewed {
                Ok(true) => tracing::info!("other credentials are in force"),
                Ok(false) => tracing::info!("the credentials are as they were"),
                Err(error) => tracing::error!(%error, "the credentials were not changed"),
            },
            Err(error) => tracing::error!(%error, "rules and credentials could not be read again"),
        }
        // Whoever sends the signal may have mended what the CI refused at the CI, too.
        try_again(reloader.pipeline.store(), reloader.clock.now()).await;
        work.notify_one();
    }
}

/// Whoever starts or reloads the daemon may have mended what the CI refused: it is tried at once.
pub(super) async fn try_again(store: &Handle, now: Timestamp) {
    let tried = store
        .with(move |store| store.transact(|books| books.try_again(now)))
        .await;
    if let Err(error) = tried {
        tracing::warn!(%error, "the CI's last answers are not forgotten: a pause because of them goes on");
    }
}

impl Reload for Reloader {
    fn reload(&self) -> ReloadOutcome {
        Reloader::reload(self, Trigger::Api)
    }
}

fn fingerprint(paths: &[PathBuf]) -> Fingerprint {
    let look = |path: PathBuf| {
        let metadata = std::fs::metadata(&path).ok();
        let seen = metadata.and_then(|metadata| Some((metadata.modified().ok()?, metadata.len())));
        (path, seen)
    };
    rule_files(paths).into_iter().map(look).collect()
}
