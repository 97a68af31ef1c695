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
mod duration;
mod error;
mod explain;
mod layers;
mod secret_reference;
mod section;
mod sections;
mod setting;

use std::collections::BTreeMap;

pub use self::broker::{BrokerSettings, BrokerUrl, BrokerUrlError};
pub use self::duration::{DurationError, format_duration, parse_duration};
pub use self::error::{ConfigError, Origin};
pub use self::explain::{Entry, Explanation};
pub use self::layers::{ENVIRONMENT_PREFIX, LoadOptions};
use self::section::{Reader, Section};
pub use self::sections::{
    BackendChoice, EnrichSettings, LimitsSettings, NotifySettings, ProjectSettings, RulesSettings, StoreSettings,
    TaskclusterSection, TelemetrySettings, TopSettings, WebSettings, WebhookSection, WhenInDoubt,
};
pub use self::setting::HttpUrl;
use crate::event::Project;
use crate::telemetry::check_log_filter;

/// The project whose pushes are no line of history unless the configuration says otherwise.
const TRY: &str = "try";

/// Everything that can be set, checked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// Settings of no section.
    pub top: TopSettings,
    /// `[broker]`
    pub broker: BrokerSettings,
    /// `[store]`
    pub store: StoreSettings,
    /// `[rules]`
    pub rules: RulesSettings,
    /// `[web]`
    pub web: WebSettings,
    /// `[backends.taskcluster]`
    pub taskcluster: TaskclusterSection,
    /// `[backends.webhook]`
    pub webhook: WebhookSection,
    /// `[limits]`
    pub limits: LimitsSettings,
    /// `[projects.NAME]`
    pub projects: BTreeMap<Project, ProjectSettings>,
    /// `[enrich]`
    pub enrich: EnrichSettings,
    /// `[notify]`
    pub notify: NotifySettings,
    /// `[telemetry]`
    pub telemetry: TelemetrySettings,
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
        let mut merged = layers::merge(options);
        let mut errors = std::mem::take(&mut merged.errors);
        let mut reader = Reader::new(&merged, &options.environment);
        let config = Config::read(&mut reader);
        reader.refuse_unknown();
        let Reader {
            errors: found, entries, ..
        } = reader;
        errors.extend(found);
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

    /// The settings of a project: its own, or the usual ones.
    pub fn project(&self, project: &Project) -> ProjectSettings {
        self.projects.get(project).cloned().unwrap_or_else(|| usual(project))
    }

    /// The projects to listen to; empty means all.
    pub fn watched(&self) -> Vec<Project> {
        self.projects
            .iter()
            .filter(|(_, settings)| settings.watch)
            .map(|(project, _)| project.clone())
            .collect()
    }

    fn read(reader: &mut Reader<'_>) -> Config {
        Config {
            top: TopSettings::read(reader, &[], TopSettings::default()),
            broker: BrokerSettings::read(reader, &["broker"], BrokerSettings::default()),
            store: StoreSettings::read(reader, &["store"], StoreSettings::default()),
            rules: RulesSettings::read(reader, &["rules"], RulesSettings::default()),
            web: WebSettings::read(reader, &["web"], WebSettings::default()),
            taskcluster: {
                reader.open(&["backends"]);
                TaskclusterSection::read(reader, &["backends", "taskcluster"], TaskclusterSection::default())
            },
            webhook: WebhookSection::read(reader, &["backends", "webhook"], WebhookSection::default()),
            limits: LimitsSettings::read(reader, &["limits"], LimitsSettings::default()),
            projects: reader
                .names(&["projects"])
                .into_iter()
                .map(|name| {
                    let project = Project::from(name.as_str());
                    let settings = ProjectSettings::read(reader, &["projects", &name], usual(&project));
                    (project, settings)
                })
                .collect(),
            enrich: EnrichSettings::read(reader, &["enrich"], EnrichSettings::default()),
            notify: NotifySettings::read(reader, &["notify"], NotifySettings::default()),
            telemetry: TelemetrySettings::read(reader, &["telemetry"], TelemetrySettings::default()),
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
        if let Some(Err(reason)) = self.notify.url.as_ref().map(|url| url.expose().parse::<HttpUrl>()) {
            conflicts.push(format!("notify.url is not the URL of a web server: {reason}"));
        }
        if let Err(error) = check_log_filter(&self.telemetry.log_level) {
            conflicts.push(format!("telemetry.log_level: {error}"));
        }
        if !self.projects.is_empty() && self.watched().is_empty() {
            conflicts.push("no project of [projects] is watched: nothing would happen".to_owned());
        }
        conflicts
    }
}

/// The settings of a project that the configuration does not mention.
fn usual(project: &Project) -> ProjectSettings {
    ProjectSettings {
        linear: project.as_str() != TRY,
        ..ProjectSettings::default()
    }
}
