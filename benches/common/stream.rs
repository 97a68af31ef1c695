//! A stretch of a busy tree, as the Taskcluster queue tells of it.
//!
//! Pushes land every few minutes; each runs a part of all labels; each run is pending, running, then completed, failed
//! or lost; messages of many tasks and pushes lie between two of the same task, as on the real bus. Made anew from the
//! seed, message by message: a hundred thousand of them do not have to be kept in memory.

use std::collections::HashMap;
use std::fmt::Write as _;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use sheriffd::enrich::{FactError, FactSource};
use sheriffd::event::{BackendName, Delivery, Duration, JobFacts, Label, Outcome, RunState, TaskId, Timestamp};
use sheriffd::stats::random::Random;
use sheriffd::wire;

/// The tree.
pub const PROJECT: &str = "autoland";
/// The exchanges that the messages are published to.
pub const EXCHANGES: [&str; 5] = [
    "exchange/taskcluster-queue/v1/task-pending",
    "exchange/taskcluster-queue/v1/task-running",
    "exchange/taskcluster-queue/v1/task-completed",
    "exchange/taskcluster-queue/v1/task-failed",
    "exchange/taskcluster-queue/v1/task-exception",
];

const PLATFORMS: [&str; 8] = [
    "linux2404-64/opt",
    "linux2404-64/debug",
    "linux2404-64-asan/opt",
    "windows11-64-24h2/opt",
    "windows11-64-24h2/debug",
    "macosx1470-64/opt",
    "macosx1500-aarch64/debug",
    "android-em-14-x86_64/opt",
];
const SUITES: [&str; 10] = [
    "mochitest-browser-chrome",
    "mochitest-plain",
    "mochitest-media",
    "xpcshell",
    "web-platform-tests",
    "web-platform-tests-reftest",
    "reftest",
    "crashtest",
    "marionette-integration",
    "telemetry-tests-client",
];
const CHUNKS: usize = 8;
/// The share of labels that run on a push; optimised trees skip the rest.
const RUN_ON_PUSH: f64 = 0.4;
/// The share of runs that fail for no reason in the push, and of those that the machinery loses.
const FAILED: f64 = 0.02;
const LOST: f64 = 0.01;
/// Pushes from one label that breaks for good to the next; it is mended as many pushes later.
const BREAKS_EVERY: u64 = 12;

const BETWEEN_PUSHES: Duration = Duration::from_secs(300);
const WAITS: f64 = 240.0;
const RUNS: f64 = 1_200.0;

/// The stretch.
pub struct Stream {
    labels: Vec<Label>,
    tasks: Vec<Task>,
    messages: Vec<Message>,
    /// Bytes of a body.
    size: usize,
}

struct Task {
    id: String,
    label: usize,
    push: u64,
    scheduled: Timestamp,
    started: Timestamp,
    resolved: Timestamp,
    outcome: Outcome,
}

/// One message: a state of a task.
#[derive(Clone, Copy)]
struct Message {
    at: Timestamp,
    task: usize,
    state: RunState,
}

impl Stream {
    /// `count` messages of about `size` bytes each.
    pub fn new(count: usize, size: usize, seed: u64) -> Stream {
        let mut random = Random::new(seed);
        let labels: Vec<Label> = PLATFORMS
            .iter()
            .flat_map(|platform| SUITES.iter().map(move |suite| (platform, suite)))
            .flat_map(|(platform, suite)| {
                (1..=CHUNKS).map(move |chunk| Label::from(format!("test-{platform}-{suite}-{chunk}")))
            })
            .collect();
        let mut stream = Stream {
            labels,
            tasks: Vec::new(),
            messages: Vec::new(),
            size,
        };
        let start = Timestamp::parse("2026-06-01T08:00:00Z").expect("a time");
        // Some tasks more than needed: the last pushes' results come after the end.
        for push in 1.. {
            if stream.tasks.len() * 3 >= count + count / 4 {
                break;
            }
            let landed = start.plus(BETWEEN_PUSHES.saturating_mul(push as u32));
            let broken = (push / BREAKS_EVERY * 37) as usize % stream.labels.len();
            for label in 0..stream.labels.len() {
                if random.chance(RUN_ON_PUSH) {
                    let is_broken = label == broken && push % BREAKS_EVERY >= 4;
                    stream.add(label, push, landed, is_broken, &mut random);
                }
            }
        }
        stream.messages.sort_by_key(|message| (message.at, message.task));
        stream.messages.truncate(count);
        stream
    }

    fn add(&mut self, label: usize, push: u64, landed: Timestamp, is_broken: bool, random: &mut Random) {
        let mut after = |from: Timestamp, mean: f64| {
            let seconds = -mean * (1.0 - random.uniform()).ln();
            from.plus(Duration::from_secs_f64(seconds.clamp(0.5, 20.0 * mean)))
        };
        let scheduled = after(landed, 30.0);
        let started = after(scheduled, WAITS);
        let resolved = after(started, RUNS);
        let outcome = if random.chance(LOST) {
            Outcome::Infra
        } else if is_broken || random.chance(FAILED) {
            Outcome::Failed
        } else {
            Outcome::Passed
        };
        let task = self.tasks.len();
        self.tasks.push(Task {
            id: slug(random),
            label,
            push,
            scheduled,
            started,
            resolved,
            outcome,
        });
        self.messages.extend(
            [
                (scheduled, RunState::Pending),
                (started, RunState::Running),
                (resolved, RunState::Finished(outcome)),
            ]
            .map(|(at, state)| Message { at, task, state }),
        );
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Runs that the messages tell of.
    pub fn runs(&self) -> usize {
        let mut tasks: Vec<usize> = self.messages.iter().map(|message| message.task).collect();
        tasks.sort_unstable();
        tasks.dedup();
        tasks.len()
    }

    /// The message at a place, as the bus would bring it.
    pub fn delivery(&self, index: usize) -> Delivery {
        let message = self.messages[index];
        let task = &self.tasks[message.task];
        let (exchange, state, reason) = match message.state {
            RunState::Pending => (0, "pending", None),
            RunState::Running => (1, "running", None),
            RunState::Finished(Outcome::Passed) => (2, "completed", Some("completed")),
            RunState::Finished(Outcome::Failed) => (3, "failed", Some("failed")),
            RunState::Finished(_) => (4, "exception", Some("claim-expired")),
        };
        let group = group(task.push);
        let worker = format!("i-{:017x}", message.task);
        let route = format!("route.tc-treeherder.v2.{PROJECT}.{}.{}", revision(task.push), task.push);
        Delivery {
            exchange: EXCHANGES[exchange].into(),
            routing_key: format!(
                "primary.{}.0.us-west-2.{worker}.gecko-t.t-linux-large.gecko-level-3.{group}._",
                task.id
            )
            .into(),
            cc: vec![
                route.into(),
                format!("route.index.gecko.v2.{PROJECT}.revision.{}.test", revision(task.push)).into(),
            ],
            redelivered: false,
            body: Bytes::from(self.body(task, state, reason, message.state, &worker)),
            tag: index as u64 + 1,
        }
    }

    fn body(&self, task: &Task, state: &str, reason: Option<&str>, reached: RunState, worker: &str) -> String {
        let mut run = format!(
            r#"{{"runId":0,"state":"{state}","reasonCreated":"scheduled","scheduled":"{}""#,
            task.scheduled
        );
        let mut top = String::new();
        if reached != RunState::Pending {
            let until = task.started.plus(Duration::from_secs(1_200));
            let machine = format!(r#","workerGroup":"us-west-2","workerId":"{worker}","takenUntil":"{until}""#);
            // Writing to a String cannot fail, here and below.
            let _ = write!(run, r#"{machine},"started":"{}""#, task.started);
            top.push_str(&machine);
        }
        if let Some(reason) = reason {
            let _ = write!(run, r#","reasonResolved":"{reason}","resolved":"{}""#, task.resolved);
        }
        run.push('}');
        let group = group(task.push);
        let days = |days: u64| task.scheduled.plus(Duration::from_secs(days * 86_400));
        let mut body = format!(
            concat!(
                r#"{{"version":1,"runId":0{top},"status":{{"taskId":"{id}","provisionerId":"gecko-t","#,
                r#""workerType":"t-linux-large","taskQueueId":"gecko-t/t-linux-large","schedulerId":"gecko-level-3","#,
                r#""projectId":"none","taskGroupId":"{group}","deadline":"{deadline}","expires":"{expires}","#,
                r#""retriesLeft":5,"state":"{state}","runs":[{run}]}},"task":{{"tags":{{{tags}"#
            ),
            top = top,
            id = task.id,
            group = group,
            deadline = days(1),
            expires = days(28),
            state = state,
            run = run,
            tags = self.tags(task),
        );
        // Real tasks carry tags of any length; this one brings the body to its size.
        let filling = self
            .size
            .saturating_sub(body.len() + r#","test-manifests":""}}}"#.len());
        if filling > 0 {
            body.push_str(r#","test-manifests":""#);
            let manifest = "browser/components/preferences/tests/browser.toml ";
            body.extend(manifest.chars().cycle().take(filling));
            body.push('"');
        }
        body.push_str("}}}");
        body
    }

    fn tags(&self, task: &Task) -> String {
        let (platform, suite) = self.parts(task.label);
        format!(
            concat!(
                r#""kind":"test","label":"{label}","project":"{project}","os":"linux","retrigger":"true","#,
                r#""createdForUser":"dev@example.org","test-suite":"{suite}","test-type":"{suite}","#,
                r#""test-platform":"{platform}","tests_grouped":"1","trust-domain":"gecko","#,
                r#""worker-implementation":"docker-worker""#
            ),
            label = self.labels[task.label],
            project = PROJECT,
            suite = suite,
            platform = platform,
        )
    }

    fn parts(&self, label: usize) -> (&'static str, &'static str) {
        let series = label / CHUNKS;
        (PLATFORMS[series / SUITES.len()], SUITES[series % SUITES.len()])
    }

    /// What the queue service would say of the tasks of these messages.
    pub fn facts(&self) -> Definitions {
        let text = |task: &Task| {
            let (platform, suite) = self.parts(task.label);
            let (platform, option) = platform.split_once('/').unwrap_or((platform, "opt"));
            let group = group(task.push);
            format!(
                concat!(
                    r#"{{"provisionerId":"gecko-t","workerType":"t-linux-large","schedulerId":"gecko-level-3","#,
                    r#""taskGroupId":"{group}","routes":["tc-treeherder.v2.{project}.{revision}.{push}"],"#,
                    r#""metadata":{{"name":"{label}","owner":"dev@example.org","description":"","source":""}},"#,
                    r#""payload":{{}},"tags":{{{tags}}},"extra":{{"parent":"{group}","suite":"{suite}","#,
                    r#""chunks":{{"current":{chunk},"total":{chunks}}},"treeherder":{{"#,
                    r#""collection":{{"{option}":true}},"groupSymbol":"M","symbol":"{chunk}","jobKind":"test","#,
                    r#""tier":1,"machine":{{"platform":"{platform}"}}}}}}}}"#
                ),
                group = group,
                project = PROJECT,
                revision = revision(task.push),
                push = task.push,
                label = self.labels[task.label],
                tags = self.tags(task),
                suite = suite,
                chunk = task.label % CHUNKS + 1,
                chunks = CHUNKS,
                option = option,
                platform = platform,
            )
        };
        let failed = |task: &&Task| task.outcome == Outcome::Failed;
        Definitions(
            self.tasks
                .iter()
                .filter(failed)
                .map(|task| (TaskId::from(task.id.as_str()), text(task)))
                .collect(),
        )
    }
}

/// The queue service, without the network.
pub struct Definitions(HashMap<TaskId, String>);

#[async_trait]
impl FactSource for Definitions {
    async fn task(&self, _backend: &BackendName, task: &TaskId) -> Result<JobFacts, FactError> {
        let text = self
            .0
            .get(task)
            .ok_or_else(|| FactError::Absent(format!("task {task}")))?;
        wire::task::facts(text).map_err(|error| FactError::Malformed(error.to_string()))
    }
}

/// A task id.
pub fn slug(random: &mut Random) -> String {
    let mut bytes = [0u8; 16];
    bytes[..8].copy_from_slice(&random.bits().to_le_bytes());
    bytes[8..].copy_from_slice(&random.bits().to_le_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The decision task of a push.
pub fn group(push: u64) -> String {
    slug(&mut Random::new(push.wrapping_mul(0x9e37_79b9)))
}

/// The head revision of a push.
pub fn revision(push: u64) -> String {
    let mut random = Random::new(push.wrapping_add(1 << 40));
    format!(
        "{:016x}{:016x}{:08x}",
        random.bits(),
        random.bits(),
        random.bits() >> 32
    )
}
