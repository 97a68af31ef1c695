//! From a configuration to parts: backend, sources of facts, limits, engine settings.

use std::sync::Arc;

use super::reconcile::Reconciler;
use crate::backends::{Backend, DryRunBackend, TaskclusterBackend, WebhookBackend};
use crate::bus::bindings::{Binding, bindings_for};
use crate::clock::Clock;
use crate::config::{BackendChoice, Config, NotifySection};
use crate::engine::settings::EngineSettings;
use crate::enrich::{
    BugSource, CachedSource, FactSource, GroupSource, PerfherderSource, PushlogSource, QueueSource, RecordedSource,
    Sources, TreeStatusSource, TreeherderSource,
};
use crate::event::BackendName;
use crate::notify::{Hooks, VerdictHook};
use crate::rules::{EventKind, Mode, RuleSet};

/// A part cannot be made of the configuration.
#[derive(Debug, thiserror::Error)]
#[error("{section}: {detail}")]
pub struct PartError {
    /// The section of the configuration.
    section: &'static str,
    /// What is wrong with it.
    detail: String,
}

fn wrong<E: std::fmt::Display>(section: &'static str) -> impl Fn(E) -> PartError {
    move |error| PartError {
        section,
        detail: error.to_string(),
    }
}

/// The clock as the net module takes it.
fn net_clock(clock: &Arc<dyn Clock>) -> crate::net::Clock {
    let clock = Arc::clone(clock);
    Arc::new(move || clock.now())
}

/// The name of the CI system that messages speak of and requests go to.
pub fn backend_name(config: &Config) -> BackendName {
    BackendName::from(config.top.ci.as_str())
}

/// Whether requests can be sent at all: without credentials the daemon watches and decides in shadow.
pub fn can_ask(config: &Config) -> bool {
    match config.top.backend {
        BackendChoice::DryRun => false,
        BackendChoice::Taskcluster => config.taskcluster.access_token.is_some(),
        BackendChoice::Webhook => true,
    }
}

/// The CI system to ask.
///
/// # Errors
/// Its section cannot work.
pub fn backend(config: &Config, clock: &Arc<dyn Clock>) -> Result<Arc<dyn Backend>, PartError> {
    let name = backend_name(config);
    let instance = &config.top.instance;
    Ok(match config.top.backend {
        BackendChoice::Taskcluster => Arc::new(
            TaskclusterBackend::new(name, config.taskcluster.backend(instance), net_clock(clock))
                .map_err(wrong("backends.taskcluster"))?,
        ),
        BackendChoice::Webhook => Arc::new(
            WebhookBackend::new(name, config.webhook.backend(instance), net_clock(clock))
                .map_err(wrong("backends.webhook"))?,
        ),
        BackendChoice::DryRun => Arc::new(DryRunBackend::new(name)),
    })
}

/// Where facts come from: the queue service when a Taskcluster is configured, a pushlog server when one is.
///
/// # Errors
/// A section cannot work.
pub fn facts(config: &Config, clock: &Arc<dyn Clock>) -> Result<Arc<dyn FactSource>, PartError> {
    let cache = config.enrich.cache();
    let tasks: Arc<dyn FactSource> = match config.taskcluster.queue() {
        Some(settings) => {
            let queue = QueueSource::new(backend_name(config), settings, net_clock(clock))
                .map_err(wrong("backends.taskcluster"))?;
            Arc::new(CachedSource::new(Arc::new(queue), cache.clone()))
        }
        None => Arc::new(RecordedSource::default()),
    };
    let pushes: Arc<dyn FactSource> = match config.enrich.pushlog() {
        Some(settings) => {
            let pushlog = PushlogSource::new(settings, net_clock(clock)).map_err(wrong("enrich"))?;
            Arc::new(CachedSource::new(Arc::new(pushlog), cache))
        }
        None => Arc::new(RecordedSource::default()),
    };
    let section = &config.bugs;
    let bugs: Arc<dyn FactSource> = match &section.url {
        Some(url) => {
            let tracker = BugSource::new(
                url.as_str(),
                section.api_key.as_ref(),
                section.timeout,
                net_clock(clock),
            )
            .map_err(wrong("bugs"))?;
            Arc::new(CachedSource::new(Arc::new(tracker), section.cache(&config.enrich)))
        }
        None => Arc::new(RecordedSource::default()),
    };
    let jobs: Arc<dyn FactSource> = match treeherder(config, clock)? {
        Some(treeherder) => Arc::new(CachedSource::new(Arc::new(treeherder), config.enrich.cache())),
        None => Arc::new(RecordedSource::default()),
    };
    Ok(Arc::new(Sources {
        tasks,
        pushes,
        bugs,
        jobs,
    }))
}

/// Who lists jobs, where a Treeherder is configured.
fn treeherder(config: &Config, clock: &Arc<dyn Clock>) -> Result<Option<TreeherderSource>, PartError> {
    let Some(url) = &config.enrich.treeherder_url else {
        return Ok(None);
    };
    TreeherderSource::new(url.as_str(), config.enrich.pushlog_timeout, net_clock(clock))
        .map(Some)
        .map_err(wrong("enrich"))
}

/// What fetches what was missed. `facts` is where pushes come from.
///
/// # Errors
/// The section of the CI cannot work.
pub fn reconciler(
    config: &Config,
    facts: Arc<dyn FactSource>,
    clock: &Arc<dyn Clock>,
) -> Result<Reconciler, PartError> {
    let routes = config.taskcluster.decision_routes.clone();
    let groups = config
        .taskcluster
        .queue()
        .map(|settings| GroupSource::new(settings, routes, net_clock(clock)))
        .transpose()
        .map_err(wrong("backends.taskcluster"))?;
    Ok(Reconciler {
        pushes: facts,
        groups,
        treeherder: treeherder(config, clock)?,
        projects: config.watched_projects(),
        settings: config.reconcile.clone(),
    })
}

/// Who knows which trees are open, where somebody does.
///
/// # Errors
/// Its section cannot work.
pub fn trees(config: &Config, clock: &Arc<dyn Clock>) -> Result<Option<TreeStatusSource>, PartError> {
    let section = &config.treestatus;
    let Some(url) = &section.url else { return Ok(None) };
    TreeStatusSource::new(url.as_str(), section.timeout, net_clock(clock))
        .map(Some)
        .map_err(wrong("treestatus"))
}

/// Who raises performance alerts, where somebody does.
///
/// # Errors
/// Its section cannot work.
pub fn alerts(config: &Config, clock: &Arc<dyn Clock>) -> Result<Option<PerfherderSource>, PartError> {
    let section = &config.perfherder;
    let Some(url) = &section.url else { return Ok(None) };
    PerfherderSource::new(url.as_str(), section.timeout, section.max_page_bytes, net_clock(clock))
        .map(Some)
        .map_err(wrong("perfherder"))
}

/// What the engine is told.
///
/// # Errors
/// A project's name is no pattern.
pub fn engine_settings(config: &Config) -> Result<EngineSettings, PartError> {
    Ok(EngineSettings {
        has_pushlog: config.enrich.pushlog_url.is_some(),
        bugs_fresh_for: config.bugs.url.is_some().then_some(config.bugs.fresh_for),
        has_graphs: config.taskcluster.root_url.is_some(),
        has_job_numbers: config.enrich.treeherder_url.is_some(),
        mode: (!can_ask(config)).then_some(Mode::Shadow),
        read_values: config.engine.read_values && config.taskcluster.queue().is_some(),
        sample: config.traces.sample,
        ..config.engine.settings(&config.projects).map_err(wrong("projects"))?
    })
}

/// What the queue has to be bound to: what the rules listen to, and pushes, whose order every search needs.
pub fn bindings(config: &Config, rules: &RuleSet) -> Vec<Binding> {
    let mut events: Vec<&str> = rules.wants_event_kinds().into_iter().map(EventKind::as_str).collect();
    events.push("push.created");
    bindings_for(
        events,
        &config.broker.sources,
        &config.watched_projects(),
        &config.broker.user,
    )
}

/// Who is told of verdicts. Rules that name a webhook which the configuration does not have are said in the log.
///
/// # Errors
/// A template names a field that does not exist.
pub fn hooks(config: &Config, rules: &RuleSet) -> Result<Hooks, PartError> {
    let hook = |section: &NotifySection| {
        let url = section.url.as_ref()?;
        Some(VerdictHook::new(
            url.0.clone(),
            section.template.as_ref(),
            section.secret.clone(),
            section.timeout,
            &config.top.instance,
        ))
    };
    let mut hooks = Hooks {
        common: hook(&config.notify).transpose().map_err(wrong("notify"))?,
        ..Hooks::default()
    };
    for (name, section) in &config.hooks {
        if let Some(hook) = hook(section).transpose().map_err(wrong("notify"))? {
            hooks.named.insert(name.clone(), hook);
        }
    }
    for rule in rules.rules() {
        if let Some(notify) = rule
            .notify
            .as_ref()
            .filter(|notify| !hooks.named.contains_key(&*notify.webhook))
        {
            tracing::warn!(rule = %rule.name, webhook = %notify.webhook,
                "the configuration has no such webhook: [notify] is told of the rule's verdicts");
        }
    }
    Ok(hooks)
}
