//! Settings: layered, typed, checked at start.
//!
//! In: a TOML file, its drop-ins, the environment, flags ([`LoadOptions`]). Out: a [`Config`] in which every value is
//! of its type and in its bounds, and an [`Explanation`] of where each came from; or all that is wrong, at once.
//! Never: reading settings later, showing a secret, ignoring a key it does not know.
//!
//! Later layers win: defaults < file < `FILE.d/*.toml` in the order of their names < `SHERIFFD__SECTION__KEY` <
//! `--set section.key=value`. Tables are merged, everything else is replaced. Relative paths are relative to the
//! working directory.
//!
//! Secrets are referred to: `env:NAME` is an environment variable, `file:/path` a file's content without its last
//! line break, `literal:text` the text itself, for secrets that are none. A text without any of these is refused in a
//! file and in a flag, and taken as it is from a `SHERIFFD__…` environment variable.

mod broker;
mod error;
mod explain;
mod layers;
mod secret_reference;
mod section;
mod sections;
mod services;
mod setting;

use std::collections::BTreeMap;

pub use self::broker::{BrokerSection, BrokerUrl, BrokerUrlError};
pub use self::error::{ConfigError, Origin};
pub use self::explain::{Entry, Explanation};
pub use self::layers::{ENVIRONMENT_PREFIX, LoadOptions};
use self::section::{Reader, Section};
pub use self::sections::{
    BackendChoice, DispatchSection, EngineSection, LimitsSection, ProjectsSection, RulesSection, StoreSection,
    TelemetrySection, TopSection, TracesSection, WebSection,
};
pub use self::services::{
    BugsSection, EnrichSection, NotifySection, PerfherderSection, ReconcileSection, TaskclusterSection,
    TreestatusSection, WebhookSection,
};
pub use self::setting::{HttpUrl, JobLimit, PrivateText, ProjectPattern};
use std::path::Path;

use crate::event::{Project, format_duration};
use crate::telemetry::check_log_filter;

/// Exchanges over HTTP that one request takes at most: two index look-ups, three artifacts with their redirects, a
/// definition, the deed.
const EXCHANGES_A_REQUEST: u32 = 10;

/// Everything that can be set, checked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// Settings of no section.
    pub top: TopSection,
    /// `[broker]`
    pub broker: BrokerSection,
    /// `[store]`
    pub store: StoreSection,
    /// `[rules]`
    pub rules: RulesSection,
    /// `[projects]`
    pub projects: ProjectsSection,
    /// `[engine]`
    pub engine: EngineSection,
    /// `[enrich]`
    pub enrich: EnrichSection,
    /// `[limits]`
    pub limits: LimitsSection,
    /// `[dispatch]`
    pub dispatch: DispatchSection,
    /// `[backends.taskcluster]`
    pub taskcluster: TaskclusterSection,
    /// `[backends.webhook]`
    pub webhook: WebhookSection,
    /// `[bugs]`
    pub bugs: BugsSection,
    /// `[reconcile]`
    pub reconcile: ReconcileSection,
    /// `[treestatus]`
    pub treestatus: TreestatusSection,
    /// `[perfherder]`
    pub perfherder: PerfherderSection,
    /// `[notify]`
    pub notify: NotifySection,
    /// `[notify.NAME]`: webhooks that rules name.
    pub hooks: BTreeMap<String, NotifySection>,
    /// `[web]`
    pub web: WebSection,
    /// `[traces]`
    pub traces: TracesSection,
    /// `[telemetry]`
    pub telemetry: TelemetrySection,
}

/// A configuration, and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// Each setting with its origin, for `sheriffd config`.
    pub explanation: Explanation,
}

impl Config {
    /// Reads, merges and checks all layers.
    ///
    /// # Errors
    /// Everything that is wrong, at once: files that cannot be read, keys that do not exist, values of wrong types or
    /// out of bounds, secrets that cannot be had, settings that do not go together.
    pub fn load(options: &LoadOptions) -> Result<Loaded, Vec<ConfigError>> {
        Config::of(layers::merge(options), &options.environment)
    }

    /// Everything that is wrong with the text of a configuration file; `path` is where it stands, for places.
    pub fn check_text(path: &Path, text: &str, environment: &[(String, String)]) -> Vec<ConfigError> {
        Config::of(layers::of_text(path, text), environment)
            .err()
            .unwrap_or_default()
    }

    fn of(mut merged: layers::Merged, environment: &[(String, String)]) -> Result<Loaded, Vec<ConfigError>> {
        let mut errors = std::mem::take(&mut merged.errors);
        let mut reader = Reader::new(&merged, environment);
        let config = Config::read(&mut reader);
        reader.refuse_unknown();
        let Reader {
            errors: found, entries, ..
        } = reader;
        errors.extend(found);
        // In the order in which somebody who mends them meets them.
        errors.sort_by(|a, b| a.origin().cmp(&b.origin()));
        // A wrong value was replaced by its default: what that does not go together with means nothing.
        if errors.is_empty() {
            errors.extend(config.conflicts().into_iter().map(ConfigError::Conflict));
        }
        if errors.is_empty() {
            Ok(Loaded {
                config,
                explanation: Explanation { entries },
            })
        } else {
            Err(errors)
        }
    }

    /// The projects to bind for, where all that are watched are named; empty: listen to all and tell apart later.
    pub fn watched_projects(&self) -> Vec<Project> {
        self.projects
            .watch
            .iter()
            .map(ProjectPattern::project)
            .collect::<Option<_>>()
            .unwrap_or_default()
    }

    fn read(reader: &mut Reader<'_>) -> Config {
        Config {
            top: Section::read(reader, &[]),
            broker: Section::read(reader, &["broker"]),
            store: Section::read(reader, &["store"]),
            rules: Section::read(reader, &["rules"]),
            projects: Section::read(reader, &["projects"]),
            engine: Section::read(reader, &["engine"]),
            enrich: Section::read(reader, &["enrich"]),
            limits: Section::read(reader, &["limits"]),
            dispatch: Section::read(reader, &["dispatch"]),
            taskcluster: Section::read(reader, &["backends", "taskcluster"]),
            webhook: Section::read(reader, &["backends", "webhook"]),
            bugs: Section::read(reader, &["bugs"]),
            reconcile: Section::read(reader, &["reconcile"]),
            treestatus: Section::read(reader, &["treestatus"]),
            perfherder: Section::read(reader, &["perfherder"]),
            notify: Section::read(reader, &["notify"]),
            hooks: reader
                .sections_in(&["notify"], "template")
                .into_iter()
                .map(|name| (name.to_owned(), Section::read(reader, &["notify", name])))
                .collect(),
            web: Section::read(reader, &["web"]),
            traces: Section::read(reader, &["traces"]),
            telemetry: Section::read(reader, &["telemetry"]),
        }
    }

    /// What does not go together.
    fn conflicts(&self) -> Vec<String> {
        let mut conflicts = self.broker.conflicts();
        let taskcluster = &self.taskcluster;
        if taskcluster.client_id.is_some() != taskcluster.access_token.is_some() {
            conflicts.push(
                "backends.taskcluster.client_id and .access_token are credentials together: set both or neither"
                    .to_owned(),
            );
        }
        if taskcluster.certificate.is_some() && taskcluster.access_token.is_none() {
            conflicts.push("backends.taskcluster.certificate needs the access_token it was issued with".to_owned());
        }
        let slowest = match self.top.backend {
            BackendChoice::Taskcluster => Some(taskcluster.timeout),
            BackendChoice::Webhook => Some(self.webhook.timeout),
            BackendChoice::DryRun => None,
        };
        let lease = self.dispatch.lease;
        if let Some(timeout) = slowest.filter(|timeout| lease < timeout.saturating_mul(EXCHANGES_A_REQUEST)) {
            conflicts.push(format!(
                "dispatch.lease is {}, but must be at least {EXCHANGES_A_REQUEST} times backends.{}.timeout ({}): a request \
                 that is still being sent must not be taken for lost",
                format_duration(lease),
                self.top.backend.as_str(),
                format_duration(timeout),
            ));
        }
        if let Err(error) = taskcluster.backend(&self.top.instance).check() {
            conflicts.push(format!("backends.taskcluster: {error}"));
        }
        let missing = match self.top.backend {
            BackendChoice::Taskcluster if taskcluster.root_url.is_none() => Some("backends.taskcluster.root_url"),
            BackendChoice::Webhook if self.webhook.url.is_none() => Some("backends.webhook.url"),
            _ => None,
        };
        if let Some(missing) = missing {
            conflicts.push(format!(
                "backend is \"{}\", which needs {missing}: set it",
                self.top.backend.as_str()
            ));
        }
        let hooks = self.hooks.iter().map(|(name, hook)| (format!("notify.{name}"), hook));
        for (section, hook) in std::iter::once(("notify".to_owned(), &self.notify)).chain(hooks) {
            match hook.url.as_ref().map(|url| url.0.expose().parse::<HttpUrl>()) {
                Some(Err(reason)) => conflicts.push(format!("{section}.url is not the URL of a web server: {reason}")),
                None if section != "notify" => conflicts.push(format!("[{section}] is a webhook and needs a url")),
                _ => {}
            }
        }
        if let Err(error) = check_log_filter(&self.telemetry.log_level) {
            conflicts.push(format!("telemetry.log_level: {error}"));
        }
        conflicts
    }
}
