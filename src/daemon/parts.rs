//! From a configuration to parts: backend, sources of facts, limits, engine settings.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::backends::taskcluster::{TaskclusterBackend, TaskclusterSettings};
use crate::backends::{Backend, DryRunBackend, WebhookBackend, WebhookSettings};
use crate::bus::bindings::{Binding, bindings_for};
use crate::clock::Clock;
use crate::config::{BackendChoice, Config, WhenInDoubt};
use crate::dispatch::DispatchSettings;
use crate::dispatch::limits::Limits;
use crate::engine::settings::{EngineSettings, globs};
use crate::enrich::{
    CacheSettings, CachedSource, FactError, FactSource, FailureFacts, PushQuery, PushlogSettings, PushlogSource,
    QueueSettings, QueueSource, RecordedSource, Sources,
};
use crate::event::{BackendName, JobFacts, Project, PushEvent, RunKey, TaskId};
use crate::net::taskcluster::Credentials;
use crate::net::template::TemplateError;
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

fn wrong(section: &'static str) -> impl Fn(&dyn std::fmt::Display) -> PartError {
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
    BackendName::from(config.top.backend.as_str())
}

fn credentials(config: &Config) -> Option<Credentials> {
    let section = &config.taskcluster;
    Some(Credentials {
        client_id: section.client_id.clone()?,
        access_token: section.access_token.clone()?,
        certificate: section.certificate.clone(),
    })
}

/// Whether requests can be sent at all: without credentials the daemon watches and decides in shadow.
pub fn can_ask(config: &Config) -> bool {
    match config.top.backend {
        BackendChoice::DryRun => false,
        BackendChoice::Taskcluster => credentials(config).is_some(),
        BackendChoice::Webhook => true,
    }
}

/// The CI system to ask.
///
/// # Errors
/// Its section cannot work.
pub fn backend(config: &Config, clock: &Arc<dyn Clock>) -> Result<Arc<dyn Backend>, PartError> {
    let name = backend_name(config);
    match config.top.backend {
        BackendChoice::Taskcluster => {
            let section = &config.taskcluster;
            let settings = TaskclusterSettings {
                root_url: section.root_url.as_ref().map(ToString::to_string).unwrap_or_default(),
                credentials: credentials(config),
                authorized_scopes: section.authorized_scopes.clone(),
                decision_routes: section.decision_routes.clone(),
                action_routes: section.action_routes.clone(),
                instance: config.top.instance.clone(),
                timeout_seconds: section.timeout.as_secs().max(1),
                artifact_hosts: section.artifact_hosts.clone(),
                find_window_seconds: section.find_window.as_secs(),
                find_settle_seconds: section.find_settle.as_secs(),
                ..TaskclusterSettings::default()
            };
            let made = TaskclusterBackend::new(name, settings, net_clock(clock));
            Ok(Arc::new(made.map_err(|error| wrong("backends.taskcluster")(&error))?))
        }
        BackendChoice::Webhook => {
            let section = &config.webhook;
            let in_section = wrong("backends.webhook");
            let body = section.body.as_deref().map(serde_json::from_str).transpose();
            let settings = WebhookSettings {
                url: crate::secret::Secret::new(section.url.as_ref().map(ToString::to_string).unwrap_or_default()),
                method: section.method.clone(),
                headers: section.headers.clone(),
                body: body.map_err(|error| in_section(&format!("body is not JSON: {error}")))?,
                secret: section.secret.clone(),
                lookup_url: section
                    .lookup_url
                    .as_ref()
                    .map(|url| crate::secret::Secret::new(url.to_string())),
                instance: config.top.instance.clone(),
                timeout_seconds: section.timeout.as_secs().max(1),
                ..WebhookSettings::default()
            };
            let made = WebhookBackend::new(name, settings, net_clock(clock));
            Ok(Arc::new(made.map_err(|error| in_section(&error))?))
        }
        BackendChoice::DryRun => Ok(Arc::new(DryRunBackend::new(name))),
    }
}

/// Where facts come from: the queue service when a Taskcluster is configured, pushlogs where projects name them.
///
/// # Errors
/// A section cannot work.
pub fn facts(config: &Config, clock: &Arc<dyn Clock>) -> Result<Arc<dyn FactSource>, PartError> {
    let cache = CacheSettings {
        capacity: config.enrich.cache_entries,
        absent_seconds: config.enrich.absent_for.as_secs(),
        per_second: config.enrich.requests_per_second,
        concurrent: config.enrich.concurrency,
        ..CacheSettings::default()
    };
    let tasks: Arc<dyn FactSource> = match &config.taskcluster.root_url {
        Some(root_url) => {
            let settings = QueueSettings {
                root_url: root_url.to_string(),
                credentials: credentials(config),
                timeout_seconds: config.enrich.timeout.as_secs().max(1),
                artifact_hosts: config.taskcluster.artifact_hosts.clone(),
                max_summary_bytes: config.enrich.max_artifact_bytes,
            };
            let queue = QueueSource::new(backend_name(config), settings, net_clock(clock))
                .map_err(|error| wrong("backends.taskcluster")(&error))?;
            Arc::new(CachedSource::new(Arc::new(queue), cache.clone()))
        }
        None => Arc::new(RecordedSource::default()),
    };
    let mut pushlogs: HashMap<Project, Arc<dyn FactSource>> = HashMap::new();
    for (project, settings) in &config.projects {
        let Some(url) = &settings.pushlog_url else { continue };
        let text = url.to_string();
        let (base_url, path) = split_repository(&text);
        let source = PushlogSource::new(
            PushlogSettings {
                base_url: base_url.to_owned(),
                paths: [(project.to_string(), path.to_owned())].into(),
                timeout_seconds: config.enrich.timeout.as_secs().max(1),
                ..PushlogSettings::default()
            },
            net_clock(clock),
        )
        .map_err(|error| wrong("projects.*.pushlog_url")(&error))?;
        pushlogs.insert(
            project.clone(),
            Arc::new(CachedSource::new(Arc::new(source), cache.clone())),
        );
    }
    Ok(Arc::new(Sources {
        tasks,
        pushes: Arc::new(Pushlogs(pushlogs)),
    }))
}

/// `https://hg.example.org` and `integration/autoland` of `https://hg.example.org/integration/autoland`.
fn split_repository(url: &str) -> (&str, &str) {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let slash = url
        .get(after_scheme..)
        .and_then(|rest| rest.find('/'))
        .map_or(url.len(), |at| after_scheme + at);
    let (base, path) = url.split_at(slash);
    (base, path.trim_matches('/'))
}

/// A pushlog for each project that has one.
struct Pushlogs(HashMap<Project, Arc<dyn FactSource>>);

#[async_trait]
impl FactSource for Pushlogs {
    async fn task(&self, _: &BackendName, _: &TaskId) -> Result<JobFacts, FactError> {
        Err(FactError::NoSource("tasks"))
    }

    async fn failures(&self, _: &RunKey) -> Result<FailureFacts, FactError> {
        Err(FactError::NoSource("what failed in a run"))
    }

    async fn pushes(&self, project: &Project, query: &PushQuery) -> Result<Vec<PushEvent>, FactError> {
        match self.0.get(project) {
            Some(source) => source.pushes(project, query).await,
            None => Err(FactError::NoSource(
                "pushes of this project: set projects.NAME.pushlog_url",
            )),
        }
    }
}

/// What the engine is told.
///
/// # Errors
/// A project's name is no pattern.
pub fn engine_settings(config: &Config) -> Result<EngineSettings, PartError> {
    let watched = config.watched();
    let in_projects = wrong("projects");
    let not_linear = config
        .projects
        .iter()
        .filter(|(_, settings)| !settings.linear)
        .map(|(project, _)| project.as_str());
    let unmentioned_try = (!config.projects.contains_key("try")).then_some("try");
    Ok(EngineSettings {
        watched: match watched.is_empty() {
            true => None,
            false => Some(globs(&watched).map_err(|error| in_projects(&error))?),
        },
        not_linear: globs(not_linear.chain(unmentioned_try)).map_err(|error| in_projects(&error))?,
        jobs_appear_within: config.limits.job_deadline,
        read_failures: config.taskcluster.root_url.is_some() && config.enrich.read_failures,
        pushlogs: config
            .projects
            .iter()
            .filter(|(_, settings)| settings.pushlog_url.is_some())
            .map(|(project, _)| project.clone())
            .collect(),
        mode: (!can_ask(config)).then_some(Mode::Shadow),
        ..EngineSettings::default()
    })
}

/// How much may be asked for.
pub fn limits(config: &Config) -> Limits {
    let section = &config.limits;
    Limits {
        jobs_per_hour: Some(section.jobs_per_hour.into()),
        jobs_per_day: Some(section.jobs_per_day.into()),
        jobs_per_rule_per_day: Some(section.jobs_per_rule_per_day.into()),
        jobs_per_project_per_day: Some(section.jobs_per_project_per_day.into()),
        jobs_per_platform_per_day: Some(section.jobs_per_platform_per_day.into()),
        jobs_per_label_per_day: Some(section.jobs_per_label_per_day.into()),
        jobs_per_push: Some(section.jobs_per_push.into()),
        requests_per_second: section.requests_per_second,
        concurrency: u32::try_from(section.concurrency).unwrap_or(u32::MAX),
    }
}

/// What the dispatcher is told.
pub fn dispatch_settings(config: &Config) -> DispatchSettings {
    DispatchSettings {
        decision_task_within: config.limits.decision_deadline,
        ask_again: config.limits.when_in_doubt == WhenInDoubt::AskAgain,
        ..DispatchSettings::default()
    }
}

/// What the queue has to be bound to: what the rules listen to, and pushes, whose order every search needs.
pub fn bindings(config: &Config, rules: &RuleSet) -> Vec<Binding> {
    let mut events: Vec<&str> = rules.wants_event_kinds().into_iter().map(EventKind::as_str).collect();
    events.push("push.created");
    bindings_for(events, &config.broker.sources, &config.watched(), &config.broker.user)
}

/// A template of the configuration as JSON.
///
/// # Errors
/// It is no JSON.
pub fn json_template(section: &'static str, text: Option<&str>) -> Result<Option<serde_json::Value>, PartError> {
    text.map(serde_json::from_str)
        .transpose()
        .map_err(|error| wrong(section)(&format!("the template is not JSON: {error}")))
}

impl From<TemplateError> for PartError {
    fn from(error: TemplateError) -> PartError {
        wrong("notify")(&error)
    }
}
