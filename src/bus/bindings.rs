//! Which messages are wanted: exchanges, routing keys, the queue's name.
//!
//! In: the events that rules listen to, the projects that are watched, the sources that are configured. Out:
//! [`Binding`]s. Never: I/O.
//!
//! Names and keys follow the public conventions of Pulse: a user owns `queue/<user>/…` and `exchange/<user>/…` and
//! reads every other exchange.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::event::Project;

/// Messages of this exchange with a key of this pattern are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Binding {
    /// The exchange's full name.
    pub exchange: String,
    /// The routing key's pattern: words between dots, `*` for one word, `#` for any number.
    pub routing_key: String,
}

impl Binding {
    /// A binding of this exchange and key pattern.
    pub fn new(exchange: impl Into<String>, routing_key: impl Into<String>) -> Binding {
        Binding {
            exchange: exchange.into(),
            routing_key: routing_key.into(),
        }
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.exchange, self.routing_key)
    }
}

/// The longest name AMQP 0-9-1 can carry (a short string), in bytes.
const MAX_NAME: usize = 255;

/// A text is no binding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindingError {
    /// The exchange, or the blank after it, is missing.
    #[error("`{0}` is no binding: write the exchange, a blank, and the routing key, as in `exchange/hgpushes/v1 #`")]
    Shape(String),
    /// The exchange or the key is longer than AMQP can carry.
    #[error("`{0}` is no binding: its exchange and its key may have {MAX_NAME} bytes each")]
    TooLong(String),
}

impl FromStr for Binding {
    type Err = BindingError;

    /// Reads `exchange routing-key`, as the configuration writes it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split_whitespace();
        let (Some(exchange), Some(key), None) = (words.next(), words.next(), words.next()) else {
            return Err(BindingError::Shape(text.to_owned()));
        };
        if exchange.len() > MAX_NAME || key.len() > MAX_NAME {
            return Err(BindingError::TooLong(text.to_owned()));
        }
        Ok(Binding::new(exchange, key))
    }
}

/// A family of exchanges that can be listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Jobs: `exchange/taskcluster-queue/v1/task-…`.
    TaskclusterQueue,
    /// Pushes to Mercurial: `exchange/hgpushes/v1`.
    HgpushesV1,
    /// Pushes to Mercurial: `exchange/hgpushes/v2`.
    HgpushesV2,
    /// Pushes, pull requests and releases on GitHub: `exchange/taskcluster-github/v1/…`.
    TaskclusterGithub,
    /// People's requests on Treeherder: `exchange/treeherder/v1/…-actions`.
    TreeherderRequests,
    /// People's requests to us: `exchange/<user>/sheriffd/requests`.
    OwnRequests,
    /// Performance alerts that are sent to us: `exchange/<user>/sheriffd/perf-alerts`.
    OwnPerfAlerts,
}

impl Source {
    /// All sources, in the order of the documentation.
    pub const ALL: [Source; 7] = [
        Source::TaskclusterQueue,
        Source::HgpushesV1,
        Source::HgpushesV2,
        Source::TaskclusterGithub,
        Source::TreeherderRequests,
        Source::OwnRequests,
        Source::OwnPerfAlerts,
    ];

    /// The word used in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::TaskclusterQueue => "taskcluster-queue",
            Source::HgpushesV1 => "hgpushes-v1",
            Source::HgpushesV2 => "hgpushes-v2",
            Source::TaskclusterGithub => "taskcluster-github",
            Source::TreeherderRequests => "treeherder-requests",
            Source::OwnRequests => "own-requests",
            Source::OwnPerfAlerts => "own-perf-alerts",
        }
    }

    /// Whether messages of this source become events of this name (`job.finished`, `push.created`, …).
    ///
    /// A rule on any `job.…` event needs them all: jobs that wait or run count as asked for, and history is made of
    /// all that ended.
    fn gives(self, event: &str) -> bool {
        match self {
            Source::TaskclusterQueue => event.starts_with("job."),
            Source::HgpushesV1 | Source::HgpushesV2 | Source::TaskclusterGithub => event == "push.created",
            Source::TreeherderRequests | Source::OwnRequests => event == "request.received",
            Source::OwnPerfAlerts => event == "perf.alert",
        }
    }

    /// The exchanges of the source, for the user that we are at the broker.
    fn exchanges(self, user: &str) -> Vec<String> {
        let under = |base: &str, names: &[&str]| names.iter().map(|name| format!("{base}{name}")).collect();
        match self {
            Source::TaskclusterQueue => under(
                "exchange/taskcluster-queue/v1/",
                &[
                    "task-pending",
                    "task-running",
                    "task-completed",
                    "task-failed",
                    "task-exception",
                ],
            ),
            Source::HgpushesV1 => under("exchange/hgpushes/", &["v1"]),
            Source::HgpushesV2 => under("exchange/hgpushes/", &["v2"]),
            Source::TaskclusterGithub => under("exchange/taskcluster-github/v1/", &["push", "pull-request", "release"]),
            Source::TreeherderRequests => under(
                "exchange/treeherder/v1/",
                &["job-actions", "resultset-actions", "resultset-runnable-job-actions"],
            ),
            Source::OwnRequests => vec![format!("{}sheriffd/requests", own_exchange_prefix(user))],
            Source::OwnPerfAlerts => vec![format!("{}sheriffd/perf-alerts", own_exchange_prefix(user))],
        }
    }

    /// The key patterns that select these projects' messages; none selected means all.
    fn keys(self, projects: &[Project]) -> Vec<String> {
        if projects.is_empty() {
            return vec!["#".to_owned()];
        }
        // Where a project's name holds a dot it is several words to the broker, and the pattern still matches them.
        let each = |pattern: &dyn Fn(&Project) -> String| projects.iter().map(pattern).collect();
        match self {
            // Every task of a Treeherder project carries this route, and each route is a further routing key.
            Source::TaskclusterQueue => each(&|project| format!("route.tc-treeherder.v2.{project}.#")),
            // The key is the repository's path, of which the configuration names the last part: told apart later.
            Source::HgpushesV1 | Source::HgpushesV2 => vec!["#".to_owned()],
            Source::TaskclusterGithub => each(&|project| match project.as_str().split_once('/') {
                Some((owner, repository)) => format!("primary.{owner}.{repository}.#"),
                None => format!("primary.*.{project}.#"),
            }),
            // `<project>`
            Source::OwnPerfAlerts => each(&|project| format!("{project}.#")),
            // `<build system>.<project>.<action>`
            Source::TreeherderRequests | Source::OwnRequests => each(&|project| format!("*.{project}.#")),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The bindings for the events that rules listen to (`job.finished`, …), from the sources that are configured, for
/// the watched projects (none given: all). Sorted, each once.
pub fn bindings_for<'a>(
    events: impl IntoIterator<Item = &'a str>,
    sources: &[Source],
    projects: &[Project],
    user: &str,
) -> Vec<Binding> {
    let mut bindings = BTreeSet::new();
    for event in events {
        for source in sources.iter().filter(|source| source.gives(event)) {
            for exchange in source.exchanges(user) {
                for key in source.keys(projects) {
                    bindings.insert(Binding::new(exchange.clone(), key));
                }
            }
        }
    }
    bindings.into_iter().collect()
}

/// The bindings of `previous` that are in `wanted` no longer: the broker keeps them until somebody unbinds them.
pub fn stale_bindings(previous: &[Binding], wanted: &[Binding]) -> Vec<Binding> {
    let mut stale: Vec<Binding> = previous
        .iter()
        .filter(|binding| !wanted.contains(binding))
        .cloned()
        .collect();
    stale.sort();
    stale.dedup();
    stale
}

/// The name of our queue: `queue/<user>/<name>`, and `/<environment>` behind it where there are several: two
/// daemons with one queue name take each other's messages.
pub fn queue_name(user: &str, name: &str, environment: Option<&str>) -> String {
    match environment {
        Some(environment) => format!("queue/{user}/{name}/{environment}"),
        None => format!("queue/{user}/{name}"),
    }
}

/// What the names of the user's own exchanges begin with; all others are foreign: never declared by us.
pub(super) fn own_exchange_prefix(user: &str) -> String {
    format!("exchange/{user}/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(bindings: &[Binding]) -> Vec<String> {
        bindings.iter().map(Binding::to_string).collect()
    }

    #[test]
    fn a_rule_on_finished_jobs_listens_to_waiting_and_running_ones_too() {
        let bindings = bindings_for(["job.finished"], &Source::ALL, &[], "sheriffs");
        assert_eq!(
            texts(&bindings),
            [
                "exchange/taskcluster-queue/v1/task-completed #",
                "exchange/taskcluster-queue/v1/task-exception #",
                "exchange/taskcluster-queue/v1/task-failed #",
                "exchange/taskcluster-queue/v1/task-pending #",
                "exchange/taskcluster-queue/v1/task-running #",
            ]
        );
    }

    #[test]
    fn watched_projects_narrow_the_keys() {
        let projects = [Project::from("autoland"), Project::from("org/repo")];
        let sources = [Source::TaskclusterGithub, Source::OwnRequests];
        let bindings = bindings_for(["push.created", "request.received"], &sources, &projects, "sheriffs");
        assert_eq!(
            texts(&bindings),
            [
                "exchange/sheriffs/sheriffd/requests *.autoland.#",
                "exchange/sheriffs/sheriffd/requests *.org/repo.#",
                "exchange/taskcluster-github/v1/pull-request primary.*.autoland.#",
                "exchange/taskcluster-github/v1/pull-request primary.org.repo.#",
                "exchange/taskcluster-github/v1/push primary.*.autoland.#",
                "exchange/taskcluster-github/v1/push primary.org.repo.#",
                "exchange/taskcluster-github/v1/release primary.*.autoland.#",
                "exchange/taskcluster-github/v1/release primary.org.repo.#",
            ]
        );
    }

    #[test]
    fn two_events_of_one_source_bind_it_once() {
        let once = bindings_for(["job.finished"], &Source::ALL, &[], "u");
        let twice = bindings_for(["job.finished", "job.pending"], &Source::ALL, &[], "u");
        assert_eq!(once, twice);
    }

    #[test]
    fn an_event_that_no_source_gives_binds_nothing() {
        assert_eq!(bindings_for(["timer"], &Source::ALL, &[], "u"), []);
    }

    #[test]
    fn performance_alerts_are_heard_on_an_exchange_of_our_own() {
        let bound = bindings_for(["perf.alert"], &Source::ALL, &[Project::from("autoland")], "u");
        assert_eq!(texts(&bound), ["exchange/u/sheriffd/perf-alerts autoland.#"]);
    }

    #[test]
    fn stale_is_what_was_bound_and_is_not_wanted() {
        let previous = [Binding::new("b", "#"), Binding::new("a", "#"), Binding::new("a", "x")];
        assert_eq!(
            texts(&stale_bindings(&previous, &[Binding::new("a", "#")])),
            ["a x", "b #"]
        );
    }

    #[test]
    fn the_environment_keeps_two_queues_apart() {
        assert_eq!(queue_name("u", "sheriffd", None), "queue/u/sheriffd");
        assert_eq!(queue_name("u", "sheriffd", Some("staging")), "queue/u/sheriffd/staging");
    }

    #[test]
    fn a_binding_is_read_as_it_is_written() {
        let binding = Binding::new("exchange/hgpushes/v1", "integration/autoland");
        assert_eq!(binding.to_string().parse(), Ok(binding));
        assert!("exchange/hgpushes/v1".parse::<Binding>().is_err());
        assert!("a b c".parse::<Binding>().is_err());
        assert!(format!("a {}", "k".repeat(256)).parse::<Binding>().is_err());
    }
}
