//! What a Taskcluster backend is told by the configuration.

use std::time::Duration;

use serde::Deserialize;

use crate::event::JobRequest;
use crate::net::taskcluster::{Access, Credentials, DECISION_ROUTES, SetupError};

/// A Taskcluster deployment to ask for jobs. The defaults fit gecko's trees.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TaskclusterSettings {
    /// The deployment's root URL: `https://firefox-ci-tc.services.mozilla.com`. Has no default.
    pub root_url: String,
    /// Who we are to it. Without credentials every request is refused.
    pub credentials: Option<Credentials>,
    /// Scopes that our requests are held to, fewer than the credentials have.
    pub authorized_scopes: Option<Vec<String>>,
    /// Index paths of a push's decision task, tried in order. Placeholders: `{project}`, `{revision}`, `{push}`.
    pub decision_routes: Vec<String>,
    /// Index paths under which a push's action tasks are listed, for requests whose answer was lost. The same
    /// placeholders.
    pub action_routes: Vec<String>,
    /// Actions that run a job again which is on the push already, tried in order.
    pub retrigger_actions: Vec<String>,
    /// Actions that add a job to a push, tried in order.
    pub add_actions: Vec<String>,
    /// Actions that run a job again with other environment variables or preferences, tried in order.
    pub custom_actions: Vec<String>,
    /// Actions that run a job on the push with other test manifests than its own, tried in order.
    pub manifest_actions: Vec<String>,
    /// The name of this daemon among those that ask this deployment: part of every idempotency key.
    pub instance: String,
    /// How long one exchange may take, in seconds, 1 to 600.
    pub timeout_seconds: u64,
    /// Hosts that artifacts may be redirected to, their subdomains included, besides the stores that Taskcluster
    /// deployments commonly use.
    pub artifact_hosts: Vec<String>,
    /// The largest `public/actions.json` that is read, in bytes. Recorded ones have up to 84 KB.
    pub max_actions_bytes: usize,
    /// The largest `public/full-task-graph.json` that is read through, in bytes. It is never held in memory: only its
    /// labels are kept.
    pub max_task_graph_bytes: u64,
    /// Pushes whose actions are kept in memory, 1 to 10,000. What a push offers never changes.
    pub cached_groups: usize,
    /// How long after a request was sent an action task may appear and still be taken for its effect, in seconds.
    pub find_window_seconds: u64,
    /// How long after a request was sent its absence is believed, in seconds.
    pub find_settle_seconds: u64,
}

impl Default for TaskclusterSettings {
    fn default() -> Self {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        TaskclusterSettings {
            root_url: String::new(),
            credentials: None,
            authorized_scopes: None,
            decision_routes: list(&DECISION_ROUTES),
            action_routes: list(&[
                "gecko.v2.{project}.revision.{revision}.taskgraph.actions",
                "gecko.v2.{project}.pushlog-id.{push}.actions",
            ]),
            retrigger_actions: list(&["retrigger", "retrigger-multiple"]),
            add_actions: list(&["add-new-jobs"]),
            // The same action under the names it has had since 2018.
            manifest_actions: list(&["backfill-task"]),
            custom_actions: list(&[
                "retrigger-custom",
                "retrigger-mochitest",
                "retrigger-mochitest-reftest-with-options",
            ]),
            instance: "sheriffd".to_owned(),
            timeout_seconds: 30,
            artifact_hosts: Vec::new(),
            max_actions_bytes: 2 * 1024 * 1024,
            max_task_graph_bytes: 1024 * 1024 * 1024,
            cached_groups: 64,
            find_window_seconds: 300,
            find_settle_seconds: 150,
        }
    }
}

/// The settings cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A setting is out of its range.
    #[error("`{name}` is {got}, but must be {want}")]
    Range {
        /// The setting.
        name: &'static str,
        /// What it is.
        got: String,
        /// What it may be.
        want: &'static str,
    },
    /// An index path has a placeholder that does not exist.
    #[error("`{name}` has the path `{path}` with {{{placeholder}}}; there are {{project}}, {{revision}} and {{push}}")]
    Placeholder {
        /// The setting.
        name: &'static str,
        /// The path.
        path: String,
        /// The placeholder.
        placeholder: String,
    },
    /// The deployment cannot be reached this way.
    #[error(transparent)]
    Access(#[from] SetupError),
}

impl TaskclusterSettings {
    /// Checks everything that can be checked without asking anybody; returns the first breach.
    pub fn check(&self) -> Result<(), SettingsError> {
        let range = |name, value: u64, low: u64, high: u64, want| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(SettingsError::Range {
                    name,
                    got: value.to_string(),
                    want,
                })
            }
        };
        range("timeout_seconds", self.timeout_seconds, 1, 600, "1 to 600")?;
        range("cached_groups", self.cached_groups as u64, 1, 10_000, "1 to 10000")?;
        range(
            "find_window_seconds",
            self.find_window_seconds,
            10,
            86_400,
            "10 to 86400",
        )?;
        range(
            "find_settle_seconds",
            self.find_settle_seconds,
            10,
            86_400,
            "10 to 86400",
        )?;
        range(
            "max_actions_bytes",
            self.max_actions_bytes as u64,
            1_024,
            1 << 30,
            "1024 to 1073741824",
        )?;
        if self.decision_routes.is_empty() {
            let want = "at least one index path";
            return Err(SettingsError::Range {
                name: "decision_routes",
                got: "empty".to_owned(),
                want,
            });
        }
        for (name, paths) in [
            ("decision_routes", &self.decision_routes),
            ("action_routes", &self.action_routes),
        ] {
            for path in paths {
                if let Some(placeholder) = unknown_placeholder(path) {
                    return Err(SettingsError::Placeholder {
                        name,
                        path: path.clone(),
                        placeholder,
                    });
                }
            }
        }
        Ok(())
    }

    /// How the deployment is reached.
    pub(super) fn access(&self) -> Access {
        Access {
            root_url: self.root_url.clone(),
            credentials: self.credentials.clone(),
            authorized_scopes: self.authorized_scopes.clone(),
            timeout: Duration::from_secs(self.timeout_seconds),
            artifact_hosts: self.artifact_hosts.clone(),
        }
    }
}

/// An index path for the push of `request`.
pub(super) fn route(template: &str, request: &JobRequest) -> String {
    template
        .replace("{project}", request.project.as_str())
        .replace("{revision}", request.revision.as_str())
        .replace("{push}", &request.push.to_string())
}

/// The first placeholder of a template that is not one of ours.
fn unknown_placeholder(template: &str) -> Option<String> {
    let mut rest = template;
    while let Some((_, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        if !matches!(name, "project" | "revision" | "push") {
            return Some(name.to_owned());
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn read(json: &str) -> Result<TaskclusterSettings, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn a_root_url_is_all_that_has_to_be_given() {
        let settings = read(r#"{"root_url": "https://tc.example.com"}"#).unwrap();
        assert_eq!(settings.check(), Ok(()));
        assert_eq!(settings.timeout_seconds, 30);
    }

    #[test]
    fn unknown_settings_are_refused() {
        assert!(
            read(r#"{"rooturl": "https://tc.example.com"}"#)
                .unwrap_err()
                .contains("unknown field `rooturl`")
        );
        assert!(
            read(r#"{"credentials": {"client": "x"}}"#)
                .unwrap_err()
                .contains("unknown field `client`")
        );
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let error = TaskclusterSettings {
            timeout_seconds: 0,
            ..Default::default()
        }
        .check()
        .unwrap_err();
        assert_eq!(error.to_string(), "`timeout_seconds` is 0, but must be 1 to 600");
        let decision_routes = vec!["gecko.{branch}.x".to_owned()];
        let error = TaskclusterSettings {
            decision_routes,
            ..Default::default()
        }
        .check()
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "`decision_routes` has the path `gecko.{branch}.x` with {branch}; \
             there are {project}, {revision} and {push}"
        );
    }

    #[test]
    fn settings_never_print_the_token() {
        let settings = read(r#"{"credentials": {"client_id": "c", "access_token": "hunter2"}}"#).unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
        assert_eq!(settings.credentials.unwrap().access_token, Secret::new("hunter2"));
    }
}
