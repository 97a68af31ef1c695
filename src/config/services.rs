//! The services that are asked: CI systems to run jobs, sources of facts, the hook that hears of verdicts.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::section::section;
use super::setting::{HttpUrl, PrivateText};
use crate::backends::{TaskclusterSettings, WebhookSettings};
use crate::enrich::{CacheSettings, PushlogSettings, QueueSettings};
use crate::event::Duration;
use crate::net::taskcluster::{Credentials, DECISION_ROUTES};
use crate::secret::Secret;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// The longest that one exchange over HTTP may take.
const LONGEST_EXCHANGE: Duration = Duration::from_secs(600);
const MIB: usize = 1024 * 1024;

fn list(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

section! {
    /// A Taskcluster deployment: asked for jobs, and for what messages do not carry.
    pub struct TaskclusterSection {
        /// The deployment's root URL.
        root_url: Option<HttpUrl> = None;
        /// Our client id. Without one the daemon reads what is public, and every action is refused.
        client_id: Option<String> = None;
        /// The client's access token, as a reference.
        access_token: Option<Secret> = None;
        /// The certificate of temporary credentials, as a reference to the JSON text that Taskcluster issued.
        certificate: Option<Secret> = None;
        /// Scopes that our requests are held to; not set: all that the client has.
        authorized_scopes: Option<Vec<String>> = None;
        /// Index paths of a push's decision task, tried in order. Placeholders: {project}, {revision}, {push}.
        decision_routes: Vec<String> = list(&DECISION_ROUTES);
        /// Index paths of a push's action tasks, for requests whose answer was lost. The same placeholders.
        action_routes: Vec<String> = list(&[
            "gecko.v2.{project}.revision.{revision}.taskgraph.actions",
            "gecko.v2.{project}.pushlog-id.{push}.actions",
        ]);
        /// Actions that run a job again which is on the push already, tried in order.
        retrigger_actions: Vec<String> = list(&["retrigger", "retrigger-multiple"]);
        /// Actions that add a job to a push, tried in order.
        add_actions: Vec<String> = list(&["add-new-jobs"]);
        /// Actions that run a job again with other environment variables or preferences, tried in order.
        custom_actions: Vec<String> =
            list(&["retrigger-custom", "retrigger-mochitest", "retrigger-mochitest-reftest-with-options"]);
        /// Actions that run a job on a push with other test manifests than its own, tried in order.
        manifest_actions: Vec<String> = list(&["backfill-task"]);
        /// Hosts that artifacts may be redirected to, besides those that deployments commonly use.
        artifact_hosts: Vec<String> = Vec::new();
        /// How long one exchange may take.
        timeout: Duration [SECOND, LONGEST_EXCHANGE] = 30 * SECOND;
        /// The largest list of actions that is read, in bytes.
        max_actions_bytes: usize [1_024, 1024 * MIB] = 2 * MIB;
        /// The largest task graph that is read through, in bytes.
        max_task_graph_bytes: u64 [1_024, 16 * 1024 * MIB as u64] = 1024 * MIB as u64;
        /// The largest summary of failures that is read, in bytes.
        max_summary_bytes: usize [1_024, 1024 * MIB] = 16 * MIB;
        /// Pushes whose actions are kept in memory.
        cached_groups: usize [1, 10_000] = 64;
        /// How long after a request its action task may appear and still be taken for its effect.
        find_window: Duration [10 * SECOND, DAY] = 300 * SECOND;
        /// How long after a request its absence is believed.
        find_settle: Duration [10 * SECOND, DAY] = 150 * SECOND;
    }
}

impl TaskclusterSection {
    fn root(&self) -> String {
        self.root_url
            .as_ref()
            .map_or_else(String::new, |url| url.as_str().to_owned())
    }

    fn credentials(&self) -> Option<Credentials> {
        Some(Credentials {
            client_id: self.client_id.clone()?,
            access_token: self.access_token.clone()?,
            certificate: self.certificate.clone(),
        })
    }

    /// What the backend needs. `instance` names this daemon.
    pub fn backend(&self, instance: &str) -> TaskclusterSettings {
        TaskclusterSettings {
            root_url: self.root(),
            credentials: self.credentials(),
            authorized_scopes: self.authorized_scopes.clone(),
            decision_routes: self.decision_routes.clone(),
            action_routes: self.action_routes.clone(),
            retrigger_actions: self.retrigger_actions.clone(),
            add_actions: self.add_actions.clone(),
            custom_actions: self.custom_actions.clone(),
            manifest_actions: self.manifest_actions.clone(),
            instance: instance.to_owned(),
            timeout_seconds: self.timeout.as_secs(),
            artifact_hosts: self.artifact_hosts.clone(),
            max_actions_bytes: self.max_actions_bytes,
            max_task_graph_bytes: self.max_task_graph_bytes,
            cached_groups: self.cached_groups,
            find_window_seconds: self.find_window.as_secs(),
            find_settle_seconds: self.find_settle.as_secs(),
        }
    }

    /// What the source of task definitions and failures needs; `None` without a root URL.
    pub fn queue(&self) -> Option<QueueSettings> {
        self.root_url.as_ref()?;
        Some(QueueSettings {
            root_url: self.root(),
            credentials: self.credentials(),
            timeout_seconds: self.timeout.as_secs(),
            artifact_hosts: self.artifact_hosts.clone(),
            max_summary_bytes: self.max_summary_bytes,
            max_task_graph_bytes: self.max_task_graph_bytes,
            decision_routes: self.decision_routes.clone(),
        })
    }
}

section! {
    /// Any CI system that takes requests over HTTP.
    pub struct WebhookSection {
        /// Where requests go: a template whose host is constant. Never shown.
        url: Option<PrivateText> = None;
        /// The request's method: POST, PUT or PATCH.
        method: String = "POST".to_owned();
        /// Headers: templates, or references to secrets. Never shown.
        headers: BTreeMap<String, Secret> = BTreeMap::new();
        /// The body: a table, or JSON in a text, whose texts are templates. Not set: all fields of the request.
        body: Option<Json> = None;
        /// The key that requests are signed with (HMAC-SHA256), as a reference.
        secret: Option<Secret> = None;
        /// Where a request whose answer was lost is looked up: a template with the request's key. Never shown.
        lookup_url: Option<PrivateText> = None;
        /// Where a task that nobody needs any longer is taken back: a template with `${task}`. Never shown.
        cancel_url: Option<PrivateText> = None;
        /// How: POST, PUT, PATCH or DELETE.
        cancel_method: String = "POST".to_owned();
        /// Where the answer names the task that creates the jobs: a JSON pointer, as "/task/id".
        task_pointer: Option<String> = None;
        /// Where the answer says what the CI calls the request: a JSON pointer.
        reference_pointer: Option<String> = None;
        /// How long one exchange may take.
        timeout: Duration [SECOND, LONGEST_EXCHANGE] = 30 * SECOND;
        /// How long after a request a look-up that does not find it is believed.
        find_settle: Duration [SECOND, DAY] = MINUTE;
    }
}

impl WebhookSection {
    /// What the backend needs. `instance` names this daemon.
    pub fn backend(&self, instance: &str) -> WebhookSettings {
        let text = |text: &PrivateText| text.0.clone();
        WebhookSettings {
            url: self.url.as_ref().map_or_else(|| Secret::new(""), text),
            method: self.method.clone(),
            headers: self.headers.clone(),
            body: self.body.clone(),
            secret: self.secret.clone(),
            lookup_url: self.lookup_url.as_ref().map(text),
            cancel_url: self.cancel_url.as_ref().map(text),
            cancel_method: self.cancel_method.clone(),
            task_pointer: self.task_pointer.clone(),
            reference_pointer: self.reference_pointer.clone(),
            instance: instance.to_owned(),
            timeout_seconds: self.timeout.as_secs(),
            find_settle_seconds: self.find_settle.as_secs(),
        }
    }
}

section! {
    /// Facts that messages do not carry: how their sources are asked.
    pub struct EnrichSection {
        /// The server with pushlogs, as `https://hg.mozilla.org`.
        pushlog_url: Option<HttpUrl> = None;
        /// The repository's path at that server by project, where it is not the project's name.
        pushlog_paths: BTreeMap<String, String> = BTreeMap::new();
        /// How long one exchange with it, or with `treeherder_url`, may take.
        pushlog_timeout: Duration [SECOND, LONGEST_EXCHANGE] = MINUTE;
        /// The largest pushlog that is read, in bytes.
        max_pushlog_bytes: usize [1_024, 1024 * MIB] = 64 * MIB;
        /// A Treeherder-compatible service, as `https://treeherder.mozilla.org`. It knows jobs by the numbers that people's
        /// requests give them (not set: a request that names a job by its number alone is refused), and after a loss of
        /// messages what ran on pushes whose task groups are gone.
        treeherder_url: Option<HttpUrl> = None;
        /// Answers kept in memory.
        cache_entries: usize [1, 10_000_000] = 10_000;
        /// How long an answer that there is no such thing is believed.
        absent_for: Duration [Duration::ZERO, DAY] = 5 * MINUTE;
        /// Questions a second in the long run.
        requests_per_second: f64 [0.001, 1_000.0] = 20.0;
        /// Questions at once after a pause.
        burst: u32 [1, 10_000] = 40;
        /// Questions under way at a time.
        concurrency: usize [1, 256] = 8;
        /// Questions waiting or under way; the events of further ones wait in the store.
        max_waiting: usize [1, 1_000_000] = 2_000;
    }
}

impl EnrichSection {
    /// How a source is asked.
    pub fn cache(&self) -> CacheSettings {
        CacheSettings {
            capacity: self.cache_entries,
            absent_seconds: self.absent_for.as_secs(),
            per_second: self.requests_per_second,
            burst: self.burst,
            concurrent: self.concurrency,
            max_waiting: self.max_waiting,
        }
    }

    /// What the source of pushes needs; `None` without a server.
    pub fn pushlog(&self) -> Option<PushlogSettings> {
        Some(PushlogSettings {
            base_url: self.pushlog_url.as_ref()?.as_str().to_owned(),
            paths: self.pushlog_paths.clone(),
            timeout_seconds: self.pushlog_timeout.as_secs(),
            max_bytes: self.max_pushlog_bytes,
        })
    }
}

section! {
    /// A bug tracker that speaks Bugzilla's REST API: asked for the bugs of a failure where a rule's condition wants them.
    pub struct BugsSection {
        /// The tracker, as `https://bugzilla.mozilla.org`; not set: `event.bugs` is unknown.
        url: Option<HttpUrl> = None;
        /// A key for bugs that are not public, as a reference.
        api_key: Option<Secret> = None;
        /// How long its answer about a test is good enough.
        fresh_for: Duration [MINUTE, DAY] = HOUR;
        /// How long one exchange may take.
        timeout: Duration [SECOND, LONGEST_EXCHANGE] = 30 * SECOND;
        /// Questions a second in the long run.
        requests_per_second: f64 [0.001, 100.0] = 1.0;
        /// Questions at once after a pause.
        burst: u32 [1, 1_000] = 5;
    }
}

impl BugsSection {
    /// How the tracker is asked: as `enrich` says, but slower, and not over many connections.
    pub fn cache(&self, enrich: &EnrichSection) -> CacheSettings {
        CacheSettings {
            per_second: self.requests_per_second,
            burst: self.burst,
            concurrent: 2,
            ..enrich.cache()
        }
    }
}

section! {
    /// A service that knows which trees are open.
    pub struct TreestatusSection {
        /// The service, as `https://treestatus.mozilla-releng.net`; not set: every tree counts as open.
        url: Option<HttpUrl> = None;
        /// How often it is asked.
        every: Duration [10 * SECOND, HOUR] = MINUTE;
        /// How long one exchange may take.
        timeout: Duration [SECOND, LONGEST_EXCHANGE] = 30 * SECOND;
    }
}

section! {
    /// What is fetched when messages may have been lost: the queue was deleted, or the daemon was away for long.
    pub struct ReconcileSection {
        /// How old the newest run may be at the start before messages are taken for lost.
        after: Duration [MINUTE, 30 * DAY] = 10 * MINUTE;
        /// How long before the loss a push may have landed whose runs are looked at.
        look_back: Duration [Duration::ZERO, 30 * DAY] = 12 * HOUR;
        /// Pushes that are fetched, a project.
        max_pushes: u64 [0, 10_000] = 500;
        /// Pushes whose runs are looked at, the newest first.
        max_groups: u32 [0, 10_000] = 200;
        /// Questions a second.
        requests_per_second: f64 [0.001, 100.0] = 2.0;
    }
}

section! {
    /// A Treeherder-compatible service that raises performance alerts.
    pub struct PerfherderSection {
        /// The service, as `https://treeherder.mozilla.org`; not set: alerts come as messages only.
        url: Option<HttpUrl> = None;
        /// How often it is asked for new alerts.
        every: Duration [MINUTE, DAY] = 5 * MINUTE;
        /// How long one exchange may take.
        timeout: Duration [SECOND, LONGEST_EXCHANGE] = MINUTE;
        /// The largest page of alerts that is read, in bytes. One recorded summary of 109 alerts has 150 KB.
        max_page_bytes: usize [1_024, 1024 * MIB] = 16 * MIB;
    }
}

section! {
    /// Who learns of verdicts.
    pub struct NotifySection {
        /// Where each verdict is sent. Never shown: such addresses often are secrets.
        url: Option<PrivateText> = None;
        /// The body: a table, or JSON in a text, whose texts are templates. Not set: all fields of the verdict.
        template: Option<Json> = None;
        /// The key that messages are signed with (HMAC-SHA256), as a reference.
        secret: Option<Secret> = None;
        /// How long one message may take.
        timeout: Duration [SECOND, HOUR] = 10 * SECOND;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_agree_with_those_of_the_parts() {
        assert_eq!(
            TaskclusterSection::default().backend("sheriffd"),
            TaskclusterSettings::default()
        );
        assert_eq!(
            WebhookSection::default().backend("sheriffd"),
            WebhookSettings::default()
        );
        assert_eq!(EnrichSection::default().cache(), CacheSettings::default());
        let url = Some("https://hg.example.org".parse().unwrap());
        let pushlog = EnrichSection {
            pushlog_url: url,
            ..EnrichSection::default()
        }
        .pushlog()
        .unwrap();
        let base_url = "https://hg.example.org".to_owned();
        assert_eq!(
            pushlog,
            PushlogSettings {
                base_url,
                ..PushlogSettings::default()
            }
        );
        let root_url = Some("https://tc.example.org".parse().unwrap());
        let queue = TaskclusterSection {
            root_url,
            ..TaskclusterSection::default()
        }
        .queue()
        .unwrap();
        let root_url = "https://tc.example.org".to_owned();
        assert_eq!(
            queue,
            QueueSettings {
                root_url,
                ..QueueSettings::default()
            }
        );
    }
}
