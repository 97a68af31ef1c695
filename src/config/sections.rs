//! The sections besides `[broker]`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::section::section;
use super::setting::HttpUrl;
use crate::event::Duration;
use crate::secret::Secret;
use crate::telemetry::LogFormat;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// The CI system that actions go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendChoice {
    /// None: everything is decided and recorded, nothing is asked for.
    DryRun,
    /// A Taskcluster deployment: `[backends.taskcluster]`.
    Taskcluster,
    /// Any HTTP service: `[backends.webhook]`.
    Webhook,
}

impl BackendChoice {
    /// All choices.
    pub const ALL: [BackendChoice; 3] = [
        BackendChoice::DryRun,
        BackendChoice::Taskcluster,
        BackendChoice::Webhook,
    ];

    /// The word used in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            BackendChoice::DryRun => "dry-run",
            BackendChoice::Taskcluster => "taskcluster",
            BackendChoice::Webhook => "webhook",
        }
    }
}

/// What to do with a request whose answer was lost, when the backend cannot tell what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenInDoubt {
    /// Leave it, and say so: nothing is ever asked for twice.
    Leave,
    /// Ask again: nothing is ever left undone.
    AskAgain,
}

impl WhenInDoubt {
    /// All choices.
    pub const ALL: [WhenInDoubt; 2] = [WhenInDoubt::Leave, WhenInDoubt::AskAgain];

    /// The word used in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            WhenInDoubt::Leave => "leave",
            WhenInDoubt::AskAgain => "ask-again",
        }
    }
}

section! {
    /// Settings of no section.
    pub struct TopSettings {
        /// The CI system that actions go to: dry-run (none), taskcluster or webhook.
        backend: BackendChoice = BackendChoice::DryRun;
        /// The name of this daemon among those that ask the same CI: part of every idempotency key.
        instance: String = "sheriffd".to_owned();
    }
}

section! {
    /// Durable truth.
    pub struct StoreSettings {
        /// The database's file. Its folder must exist and be writable.
        path: PathBuf = PathBuf::from("sheriffd.db");
    }
}

section! {
    /// The rules in force.
    pub struct RulesSettings {
        /// Rule files and folders of them.
        paths: Vec<PathBuf> = vec![PathBuf::from("rules")];
    }
}

section! {
    /// Pages, API, health and metrics.
    pub struct WebSettings {
        /// The address to listen on. Beyond loopback, put a proxy with TLS before it.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 8642));
        /// The token that reading needs, as a reference; without one everybody who can connect reads.
        read_token: Option<Secret> = None;
        /// The token that commands need, as a reference; without one they are taken from loopback only.
        write_token: Option<Secret> = None;
    }
}

section! {
    /// A Taskcluster deployment.
    pub struct TaskclusterSection {
        /// The deployment's root URL. Also where task definitions and artifacts are fetched.
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
        decision_routes: Vec<String> = vec![
            "gecko.v2.{project}.revision.{revision}.taskgraph.decision".to_owned(),
            "gecko.v2.{project}.pushlog-id.{push}.decision".to_owned(),
        ];
        /// Index paths of a push's action tasks, for requests whose answer was lost.
        action_routes: Vec<String> = vec![
            "gecko.v2.{project}.revision.{revision}.taskgraph.actions".to_owned(),
            "gecko.v2.{project}.pushlog-id.{push}.actions".to_owned(),
        ];
        /// Hosts that artifacts may be redirected to, besides those of common deployments.
        artifact_hosts: Vec<String> = Vec::new();
        /// How long one exchange may take.
        timeout: Duration [SECOND, HOUR] = 30 * SECOND;
        /// How long after a request its action task may appear and still be taken for its effect.
        find_window: Duration [10 * SECOND, DAY] = 5 * MINUTE;
        /// How long after a request its absence is believed.
        find_settle: Duration [10 * SECOND, DAY] = 150 * SECOND;
    }
}

section! {
    /// Any CI system that takes a request over HTTP.
    pub struct WebhookSection {
        /// Where requests go. Placeholders of the request are filled in.
        url: Option<HttpUrl> = None;
        /// The request's method.
        method: String = "POST".to_owned();
        /// Headers; a value may be a reference to a secret. None is ever shown.
        headers: BTreeMap<String, Secret> = BTreeMap::new();
        /// The body's template: JSON with placeholders. Not set: all fields of the request.
        body: Option<String> = None;
        /// The key that requests are signed with (HMAC-SHA256), as a reference.
        secret: Option<Secret> = None;
        /// Where a request whose answer was lost is looked up by its key.
        lookup_url: Option<HttpUrl> = None;
        /// How long one exchange may take.
        timeout: Duration [SECOND, HOUR] = 30 * SECOND;
    }
}

section! {
    /// How much may be asked for, over all rules and cases. Rules can ask for less, never for more.
    pub struct LimitsSettings {
        /// Requests to the CI a second.
        requests_per_second: f64 [0.01, 1_000.0] = 2.0;
        /// Requests to the CI at the same time.
        concurrency: usize [1, 256] = 4;
        /// Jobs in any hour.
        jobs_per_hour: u32 [0, 1_000_000] = 200;
        /// Jobs in any day.
        jobs_per_day: u32 [0, 1_000_000] = 2_000;
        /// Jobs in any day for one project.
        jobs_per_project_per_day: u32 [0, 1_000_000] = 1_000;
        /// Jobs in any day on one platform.
        jobs_per_platform_per_day: u32 [0, 1_000_000] = 1_000;
        /// Jobs in any day for one rule.
        jobs_per_rule_per_day: u32 [0, 1_000_000] = 1_000;
        /// Jobs in any day of one label.
        jobs_per_label_per_day: u32 [0, 1_000_000] = 100;
        /// Jobs for one push, ever.
        jobs_per_push: u32 [0, 1_000_000] = 200;
        /// How long a push's decision task is waited for before an action on it is not possible.
        decision_deadline: Duration [MINUTE, 30 * DAY] = 2 * HOUR;
        /// How long the jobs of an accepted request are waited for.
        job_deadline: Duration [MINUTE, 30 * DAY] = DAY;
        /// What becomes of a request whose answer was lost when the CI cannot tell: leave or ask-again.
        when_in_doubt: WhenInDoubt = WhenInDoubt::Leave;
    }
}

section! {
    /// One project: `[projects.NAME]`. Where any is named, only those that are watched are listened to.
    pub struct ProjectSettings {
        /// Whether its events are used.
        watch: bool = true;
        /// Whether its pushes are one line of history. Without that there is no culprit to find (`try`).
        linear: bool = true;
        /// The repository's address, whose pushlog tells of pushes (`<address>/json-pushes`).
        pushlog_url: Option<HttpUrl> = None;
    }
}

section! {
    /// Facts that messages do not carry.
    pub struct EnrichSettings {
        /// Whether what failed in a run is read from its artifacts, so that cases are about a test, not a whole job.
        read_failures: bool = false;
        /// How long an event waits for its facts before it is applied without them.
        deadline: Duration [SECOND, 7 * DAY] = 30 * MINUTE;
        /// How long one fetch may take.
        timeout: Duration [SECOND, HOUR] = 20 * SECOND;
        /// Fetches a second, from each source.
        requests_per_second: f64 [0.01, 1_000.0] = 10.0;
        /// Fetches at the same time.
        concurrency: usize [1, 256] = 8;
        /// Facts that are kept in memory.
        cache_entries: usize [1, 10_000_000] = 20_000;
        /// How long a fact that a source does not have is not asked for again.
        absent_for: Duration [Duration::ZERO, DAY] = 10 * MINUTE;
        /// The largest artifact that is read, in bytes.
        max_artifact_bytes: usize [1_024, 1024 * 1024 * 1024] = 16 * 1024 * 1024;
    }
}

section! {
    /// Who learns of verdicts.
    pub struct NotifySettings {
        /// Where each verdict is sent, as a reference: such addresses often are secrets.
        url: Option<Secret> = None;
        /// The body's template: JSON with placeholders. Not set: all fields of the verdict.
        template: Option<String> = None;
        /// The key that messages are signed with (HMAC-SHA256), as a reference.
        secret: Option<Secret> = None;
        /// How long one message may take.
        timeout: Duration [SECOND, HOUR] = 10 * SECOND;
    }
}

section! {
    /// Logs.
    pub struct TelemetrySettings {
        /// The form of log lines: text or json.
        log_format: LogFormat = LogFormat::Text;
        /// What is logged: a level, or levels by module, as "info,sheriffd::bus=debug".
        log_level: String = "info".to_owned();
    }
}
