//! The sections besides `[broker]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::section::section;
use super::setting::{JobLimit, ProjectPattern};
use crate::dispatch::DispatchSettings;
use crate::dispatch::limits::Limits;
use crate::engine::settings::{EngineSettings, NOT_LINEAR, globs};
use crate::event::Duration;
use crate::secret::Secret;
use crate::store::sqlite::Retention;
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

section! {
    /// Settings of no section.
    pub struct TopSection {
        /// The CI system that actions go to: dry-run (none), taskcluster or webhook.
        backend: BackendChoice = BackendChoice::DryRun;
        /// The name of the CI system that messages speak of and actions go to, as people call it.
        ci: String = "taskcluster".to_owned();
        /// The name of this daemon among those that ask the same CI: part of every idempotency key.
        instance: String = "sheriffd".to_owned();
    }
}

section! {
    /// Durable truth.
    pub struct StoreSection {
        /// The database's file. Its folder must exist and be writable.
        path: PathBuf = PathBuf::from("sheriffd.db");
        /// How long runs are kept. Cases, and what they asked for, are kept for good.
        keep_runs: Duration [14 * DAY, 3_650 * DAY] = 180 * DAY;
    }
}

section! {
    /// The rules in force.
    pub struct RulesSection {
        /// Rule files and folders of them.
        paths: Vec<PathBuf> = vec![PathBuf::from("rules")];
        /// Whether they are read again when they change, besides on SIGHUP and by the API.
        watch: bool = true;
        /// How often they are looked at; they are read when they stayed the same from one look to the next.
        watch_every: Duration [SECOND, HOUR] = 2 * SECOND;
    }
}

section! {
    /// Pages, API, health and metrics.
    pub struct WebSection {
        /// The address to listen on. Beyond loopback, put a proxy with TLS before it.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 8642));
        /// What a call of the API that changes something must send as `Authorization: Bearer`. Without one, nothing can
        /// be changed there.
        token: Option<Secret> = None;
    }
}

section! {
    /// How events become cases.
    pub struct EngineSection {
        /// How long an event waits for its facts before it is applied without them.
        facts_within: Duration [SECOND, 7 * DAY] = 30 * MINUTE;
        /// How long after a request was sent its jobs may take to appear before they are looked for at the CI.
        jobs_appear_within: Duration [MINUTE, 30 * DAY] = 2 * HOUR;
        /// How long a run may wait or run before it is taken for lost.
        runs_end_within: Duration [MINUTE, 30 * DAY] = DAY;
        /// How far back runs count as history.
        history_window: Duration [HOUR, 3_650 * DAY] = 14 * DAY;
        /// Whether what failed is read from artifacts before rules see a failure.
        read_failures: bool = false;
        /// Whether what runs measure is read from artifacts, for cases about performance.
        read_values: bool = true;
        /// Labels whose runs' results are always read, so that a case finds a history; `*` stands for any characters.
        measured: Vec<String> = Vec::new();
        /// Labels that have to fail newly on one push to be taken for one storm, which one case looks into; 0: never.
        storm_labels: u32 [0, 10_000] = 8;
        /// How long after the first of them was noticed the others may be.
        storm_window: Duration [MINUTE, DAY] = 2 * HOUR;
    }
}

impl EngineSection {
    /// What the engine needs.
    ///
    /// # Errors
    /// The patterns of projects, each sound by itself, are too large together.
    pub fn settings(&self, projects: &ProjectsSection) -> Result<EngineSettings, globset::Error> {
        let watched = if projects.watch.is_empty() {
            None
        } else {
            Some(globs(&projects.watch)?)
        };
        Ok(EngineSettings {
            watched,
            not_linear: globs(&projects.not_linear)?,
            jobs_appear_within: self.jobs_appear_within,
            runs_end_within: self.runs_end_within,
            history_window: self.history_window,
            read_failures: self.read_failures,
            read_values: self.read_values,
            measured: globs(&self.measured)?,
            storm_labels: self.storm_labels,
            storm_window: self.storm_window,
            ..EngineSettings::default()
        })
    }
}

section! {
    /// How requests reach the CI.
    pub struct DispatchSection {
        /// How long a push may have no decision task before its requests are given up.
        decision_task_within: Duration [MINUTE, 30 * DAY] = 2 * HOUR;
        /// How long sending a request may take before it is taken for lost and looked for at the CI.
        lease: Duration [10 * SECOND, 2 * HOUR] = 300 * SECOND;
        /// How long a request whose answer was lost rests before it is looked for, and between two looks.
        look_after: Duration [SECOND, HOUR] = MINUTE;
        /// The rest before the second try of a request that the CI did not take; doubled each time, an hour at most.
        retry_after: Duration [SECOND, HOUR] = 15 * SECOND;
        /// Times a request whose answer was lost is looked for before it is left and reported.
        looks: u32 [1, 100] = 5;
        /// Whether such a request is asked for again when the CI cannot tell: it may then be done twice.
        ask_again: bool = false;
    }
}

impl DispatchSection {
    /// What the dispatcher needs.
    pub fn settings(&self) -> DispatchSettings {
        DispatchSettings {
            decision_task_within: self.decision_task_within,
            lease: self.lease,
            look_after: self.look_after,
            retry_after: self.retry_after,
            looks: self.looks,
            ask_again: self.ask_again,
            ..DispatchSettings::default()
        }
    }
}

section! {
    /// How much may be asked for, over all rules and cases. Rules can ask for less, never for more. An hour is the last
    /// 60 minutes, a day the last 24 hours.
    pub struct LimitsSection {
        /// Jobs in an hour, over all.
        jobs_per_hour: JobLimit = JobLimit(Some(200));
        /// Jobs in a day, over all.
        jobs_per_day: JobLimit = JobLimit(Some(1_000));
        /// Jobs in a day for one rule.
        jobs_per_rule_per_day: JobLimit = JobLimit(None);
        /// Jobs in a day in one project.
        jobs_per_project_per_day: JobLimit = JobLimit(None);
        /// Jobs in a day on one platform.
        jobs_per_platform_per_day: JobLimit = JobLimit(None);
        /// Jobs in a day of one label in one project.
        jobs_per_label_per_day: JobLimit = JobLimit(Some(100));
        /// Jobs on one push, ever.
        jobs_per_push: JobLimit = JobLimit(Some(200));
        /// Hours of machine time in a day, over all: as estimated from the label's last runs until ours have ended.
        machine_hours_per_day: JobLimit = JobLimit(None);
        /// Hours of machine time in a day for one rule.
        machine_hours_per_rule_per_day: JobLimit = JobLimit(None);
        /// Hours of machine time in a day in one project.
        machine_hours_per_project_per_day: JobLimit = JobLimit(None);
        /// Hours of machine time in a day on one platform.
        machine_hours_per_platform_per_day: JobLimit = JobLimit(None);
        /// The machine time that a job is expected to take while none of its label has ended.
        assumed_job_time: Duration [SECOND, 7 * DAY] = 30 * MINUTE;
        /// Jobs waiting for machines on a platform, whoever asked for them, over which nothing more is asked for there.
        pending_jobs_per_platform: JobLimit = JobLimit(None);
        /// Jobs waiting for machines in a worker pool, whoever asked for them, over which no job is asked for that runs
        /// there. The CI is asked for its own count where it has one (Taskcluster), every two minutes at most.
        pending_jobs_per_pool: JobLimit = JobLimit(None);
        /// The share of a platform's runs in the last hour that ended by infrastructure from which on it is left alone.
        infra_share: f64 [0.01, 1.0] = 0.5;
        /// Runs of a platform in the last hour that it takes to say so.
        infra_runs: u32 [1, 100_000] = 20;
        /// The share of the CI's last answers that are failures from which on it is left alone.
        error_share: f64 [0.01, 1.0] = 0.5;
        /// Requests in a second, in the long run; under 1 for one request in several seconds.
        requests_per_second: f64 [0.001, 1_000.0] = 2.0;
        /// Requests that may be under way together.
        concurrency: u32 [1, 256] = 4;
    }
}

impl LimitsSection {
    /// What the brakes need.
    pub fn limits(&self) -> Limits {
        Limits {
            jobs_per_hour: self.jobs_per_hour.0,
            jobs_per_day: self.jobs_per_day.0,
            jobs_per_rule_per_day: self.jobs_per_rule_per_day.0,
            jobs_per_project_per_day: self.jobs_per_project_per_day.0,
            jobs_per_platform_per_day: self.jobs_per_platform_per_day.0,
            jobs_per_label_per_day: self.jobs_per_label_per_day.0,
            jobs_per_push: self.jobs_per_push.0,
            machine_hours_per_day: self.machine_hours_per_day.0,
            machine_hours_per_rule_per_day: self.machine_hours_per_rule_per_day.0,
            machine_hours_per_project_per_day: self.machine_hours_per_project_per_day.0,
            machine_hours_per_platform_per_day: self.machine_hours_per_platform_per_day.0,
            assumed_job_time: self.assumed_job_time,
            pending_jobs_per_platform: self.pending_jobs_per_platform.0,
            pending_jobs_per_pool: self.pending_jobs_per_pool.0,
            infra_share: self.infra_share,
            infra_runs: self.infra_runs,
            error_share: self.error_share,
            requests_per_second: self.requests_per_second,
            concurrency: self.concurrency,
        }
    }
}

section! {
    /// Which projects count, and how.
    pub struct ProjectsSection {
        /// Projects whose events are used, by name or pattern; empty: all.
        watch: Vec<ProjectPattern> = Vec::new();
        /// Projects whose pushes are not one line of history: nothing is bisected there.
        not_linear: Vec<ProjectPattern> = ProjectPattern::list(&NOT_LINEAR);
    }
}

section! {
    /// How long is kept why something happened, for `sheriffd explain`.
    pub struct TracesSection {
        /// What rules made of events: so many at most, the oldest go first.
        decisions: u32 [0, 200_000] = 200_000;
        /// The share of tasks, 0 to 1, whose events are kept though no rule's `match` let them through. Unless it is 0,
        /// such pushes, requests and alerts are all kept: they are few.
        sample: f64 [0.0, 1.0] = 0.01;
        /// Such events at most.
        samples: u32 [0, 100_000] = 20_000;
        /// How long both are kept at most.
        keep_for: Duration [HOUR, 3_650 * DAY] = 90 * DAY;
    }
}

impl TracesSection {
    /// What the store keeps.
    pub fn retention(&self) -> Retention {
        Retention {
            decisions: self.decisions,
            samples: self.samples,
            keep_for: self.keep_for,
        }
    }
}

section! {
    /// Logs.
    pub struct TelemetrySection {
        /// The form of log lines: text or json.
        log_format: LogFormat = LogFormat::Text;
        /// What is logged: a level, or levels by module, as "info,sheriffd::bus=debug".
        log_level: String = "info".to_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_agree_with_those_of_the_parts() {
        assert_eq!(LimitsSection::default().limits(), Limits::default());
        let (ours, theirs) = (DispatchSection::default().settings(), DispatchSettings::default());
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
        let ours = EngineSection::default().settings(&ProjectsSection::default()).unwrap();
        let theirs = EngineSettings::default();
        assert!(ours.watched.is_none());
        assert_eq!(
            (
                ours.jobs_appear_within,
                ours.runs_end_within,
                ours.history_window,
                ours.read_failures,
                ours.storm_labels,
                ours.storm_window
            ),
            (
                theirs.jobs_appear_within,
                theirs.runs_end_within,
                theirs.history_window,
                theirs.read_failures,
                theirs.storm_labels,
                theirs.storm_window
            )
        );
        for project in ["autoland", "try", "try-comm-central"] {
            assert_eq!(
                ours.is_linear(&project.into()),
                theirs.is_linear(&project.into()),
                "{project}"
            );
        }
    }

    #[test]
    fn only_watched_projects_are_kept() {
        let watch = ProjectPattern::list(&["autoland", "mozilla-*"]);
        let projects = ProjectsSection {
            watch,
            ..ProjectsSection::default()
        };
        let engine = EngineSection::default().settings(&projects).unwrap();
        assert!(engine.watches(&"autoland".into()) && engine.watches(&"mozilla-beta".into()));
        assert!(!engine.watches(&"try".into()));
    }
}
