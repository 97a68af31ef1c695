//! A recorded tree as a stream of messages.
//!
//! `data/treeherder/tree-*.jsonl.gz` shows every job of ten real pushes at one moment. From such a table this makes the
//! messages that Taskcluster would have sent about these jobs, the task definitions behind them, and the pushes. Kept
//! from the table: which jobs ran on which push, platform, option, result, and the order in which they were submitted.
//! Made: task ids (hashes of the table's job numbers), and for the snapshots of 2014, which have no times, the times.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The tree all snapshots are of.
pub const PROJECT: &str = "mozilla-inbound";
/// Seconds from a job's submission to its start, and at [`Pace::OneByOne`] from there to its end, where the table does
/// not say: so few that all jobs together take about as long as the real ones did, three hours.
const WAIT: i64 = 1;

/// A snapshot of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Snapshot {
    /// 2013-11-22, with times.
    November2013,
    /// 2014-04-15.
    April2014,
    /// 2014-04-15, some minutes later.
    April2014Later,
}

impl Snapshot {
    /// The name in the tables.
    pub fn name(self) -> &'static str {
        match self {
            Snapshot::November2013 => "2013-11-22",
            Snapshot::April2014 => "2014-04-15a",
            Snapshot::April2014Later => "2014-04-15b",
        }
    }

    /// The table of its jobs.
    pub fn table(self) -> PathBuf {
        data().join(format!("treeherder/tree-{}.jsonl.gz", self.name()))
    }
}

/// The folder of test data.
pub fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// How jobs follow each other where the table has no times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// A job ends before the next one is submitted.
    OneByOne,
    /// A job takes 10 to 59 minutes, so that others are submitted meanwhile.
    Overlapping,
}

/// Where a message's reader finds the push that its job ran for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the message: its routes (`cc`), and the tags of its task.
    Message,
    /// Only in the task's definition, as in messages of 2019.
    Definition,
}

/// A push.
#[derive(Debug, Clone)]
pub struct Push {
    /// Its number: the table's, or its rank by time where the table's numbers contradict the times.
    pub number: u64,
    /// Its head revision.
    pub revision: String,
    /// When it landed, in seconds since 1970.
    pub landed: i64,
    /// Revisions and messages of its changesets, the head first.
    pub changesets: Vec<(String, String)>,
}

/// How a job ended, in the words of Taskcluster's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// `task-completed`.
    Passed,
    /// `task-failed`.
    Failed,
    /// `task-exception` for this reason.
    Exception(&'static str),
}

/// A job of the table.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its number in the table.
    pub id: u64,
    /// Its task.
    pub task: String,
    /// The push it ran for.
    pub push: u64,
    /// Its series' name: what the table's importer calls it.
    pub label: String,
    /// `test` or `build`.
    pub kind: &'static str,
    platform: String,
    option: String,
    group: String,
    symbol: String,
    submitted: i64,
    started: Option<i64>,
    ended: Option<(i64, End)>,
}

impl Job {
    /// How it ended, if it did.
    pub fn end(&self) -> Option<End> {
        self.ended.map(|(_, end)| end)
    }
}

/// Where a job is after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Submitted.
    Pending,
    /// Started.
    Running,
    /// Ended.
    Ended,
}

/// What happens in the stream.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// A push landed.
    Landed(&'a Push),
    /// A job changed its state.
    Job(&'a Job, State),
}

/// A tree at the moment of a snapshot.
#[derive(Debug, Clone)]
pub struct Tree {
    /// Its pushes, in the order they landed.
    pub pushes: Vec<Push>,
    /// Its jobs, in the order of submission.
    pub jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct Row {
    revision: String,
    platform: String,
    platform_option: Option<String>,
    group_symbol: String,
    type_symbol: String,
    type_name: String,
    job_id: u64,
    state: String,
    result: String,
    coalesced_to: Option<String>,
    submit_timestamp: Option<i64>,
    start_timestamp: Option<i64>,
    end_timestamp: Option<i64>,
}

#[derive(Deserialize)]
struct PushRow {
    snapshot: String,
    push_id: u64,
    revision: String,
    push_timestamp: i64,
    revisions: Vec<ChangesetRow>,
}

#[derive(Deserialize)]
struct ChangesetRow {
    revision: String,
    comments: String,
}

/// The lines of a file, compressed or not.
pub fn lines(path: &Path) -> Vec<String> {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let reader: Box<dyn Read> = match path.extension().is_some_and(|extension| extension == "gz") {
        true => Box::new(GzDecoder::new(file)),
        false => Box::new(file),
    };
    BufReader::new(reader).lines().map(Result::unwrap).collect()
}

/// A slug id that is always the same for the same name.
pub fn slug(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(name)[..16])
}

impl Tree {
    /// Reads a snapshot.
    pub fn read(snapshot: Snapshot, pace: Pace) -> Tree {
        let pushes = pushes(snapshot);
        let by_revision: BTreeMap<&str, &Push> = pushes.iter().map(|push| (push.revision.as_str(), push)).collect();
        let mut rows: Vec<Row> = lines(&snapshot.table())
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        rows.sort_by_key(|row| row.job_id);
        let mut clock = i64::MIN;
        let jobs = rows
            .into_iter()
            .map(|row| {
                let push = by_revision[row.revision.as_str()];
                clock = clock.saturating_add(1).max(push.landed + 1);
                let job = job(row, push, clock, pace);
                if pace == Pace::OneByOne {
                    clock = job.ended.map_or(clock, |(at, _)| clock.max(at));
                }
                job
            })
            .collect();
        Tree { pushes, jobs }
    }

    /// Everything that happened, in order.
    pub fn steps(&self) -> Vec<Step<'_>> {
        let landed = self
            .pushes
            .iter()
            .map(|push| (push.landed, 0, State::Pending, Step::Landed(push)));
        let states = self.jobs.iter().flat_map(|job| {
            let started = job
                .started
                .map(|at| (at, job.id, State::Running, Step::Job(job, State::Running)));
            let ended = job
                .ended
                .map(|(at, _)| (at, job.id, State::Ended, Step::Job(job, State::Ended)));
            let submitted = (job.submitted, job.id, State::Pending, Step::Job(job, State::Pending));
            [Some(submitted), started, ended].into_iter().flatten()
        });
        let mut all: Vec<_> = landed.chain(states).collect();
        all.sort_by_key(|(at, id, state, _)| (*at, *id, *state));
        all.into_iter().map(|(.., step)| step).collect()
    }

    /// What happened since an earlier snapshot: the pushes and jobs that were not there, and the new states of those
    /// that were.
    pub fn steps_since<'a>(&'a self, earlier: &Tree) -> Vec<Step<'a>> {
        let state = |job: &Job| match (job.ended, job.started) {
            (Some(_), _) => State::Ended,
            (None, Some(_)) => State::Running,
            (None, None) => State::Pending,
        };
        let known: BTreeMap<u64, State> = earlier.jobs.iter().map(|job| (job.id, state(job))).collect();
        let is_new = |step: &Step<'_>| match step {
            Step::Landed(push) => earlier.pushes.iter().all(|known| known.number != push.number),
            Step::Job(job, state) => known.get(&job.id).is_none_or(|known| state > known),
        };
        self.steps().into_iter().filter(is_new).collect()
    }

    /// The push with this number.
    pub fn push(&self, number: u64) -> &Push {
        self.pushes.iter().find(|push| push.number == number).unwrap()
    }

    /// The message about a step, as a line of a recording.
    pub fn message(&self, step: &Step<'_>, place: Place) -> Value {
        match step {
            Step::Landed(push) => landing(push),
            Step::Job(job, state) => self.job_message(job, *state, place),
        }
    }

    fn job_message(&self, job: &Job, state: State, place: Place) -> Value {
        let (kind, word, reason) = match (state, job.end()) {
            (State::Pending, _) => ("task-pending", "pending", None),
            (State::Running, _) => ("task-running", "running", None),
            (State::Ended, Some(End::Passed)) => ("task-completed", "completed", Some("completed")),
            (State::Ended, Some(End::Failed)) => ("task-failed", "failed", Some("failed")),
            (State::Ended, Some(End::Exception(reason))) => ("task-exception", "exception", Some(reason)),
            (State::Ended, None) => panic!("job {} has not ended", job.id),
        };
        let mut run = json!({
            "runId": 0, "state": word, "reasonCreated": "scheduled", "scheduled": time(job.submitted),
        });
        if let (true, Some(at)) = (state >= State::Running, job.started) {
            run["started"] = time(at).into();
            run["workerGroup"] = "made".into();
            run["workerId"] = format!("worker-{}", job.id % 7).into();
        }
        if let (State::Ended, Some((at, _))) = (state, job.ended) {
            run["resolved"] = time(at).into();
            run["reasonResolved"] = reason.into();
        }
        let group = slug(&format!("push {}", job.push));
        let mut payload = json!({
            "version": 1,
            "runId": 0,
            "status": {
                "taskId": job.task, "provisionerId": "made", "workerType": "worker", "taskQueueId": "made/worker",
                "schedulerId": "gecko-level-3", "projectId": "none", "taskGroupId": group, "retriesLeft": 5,
                "deadline": time(job.submitted + 86_400), "expires": time(job.submitted + 31_536_000),
                "state": word, "runs": [run],
            },
        });
        let mut cc = Vec::new();
        if place == Place::Message {
            cc.push(format!("route.{}", self.route(job)));
            payload["task"] = json!({ "tags": tags(job) });
        }
        json!({
            "exchange": format!("exchange/taskcluster-queue/v1/{kind}"),
            "routingKey": format!("primary.{}.0.made.worker.made.worker.gecko-level-3.{group}._", job.task),
            "cc": cc,
            "payload": payload,
        })
    }

    fn route(&self, job: &Job) -> String {
        let revision = &self.push(job.push).revision;
        format!("tc-treeherder.v2.{PROJECT}.{revision}.{}", job.push)
    }

    /// The definition of a job's task, as a line of a recording.
    pub fn definition(&self, job: &Job) -> Value {
        let group = slug(&format!("push {}", job.push));
        let option = job.option.clone();
        json!({
            "taskId": job.task,
            "task": {
                "provisionerId": "made", "workerType": "worker", "taskQueueId": "made/worker",
                "schedulerId": "gecko-level-3", "taskGroupId": group, "dependencies": [], "requires": "all-completed",
                "routes": [self.route(job)], "priority": "low", "retries": 5,
                "created": time(job.submitted), "deadline": time(job.submitted + 86_400),
                "payload": {}, "tags": tags(job),
                "metadata": {
                    "name": job.label, "description": "made from a table of jobs", "owner": "nobody@example.org",
                    "source": "https://hg.mozilla.org/integration/mozilla-inbound",
                },
                "extra": {
                    "parent": group,
                    "treeherder": {
                        "jobKind": job.kind, "symbol": job.symbol, "groupSymbol": job.group, "tier": 1,
                        "collection": { option: true }, "machine": { "platform": job.platform },
                    },
                },
            },
        })
    }

    /// The pushes as a pushlog lists them, one a line.
    pub fn pushlog(&self) -> Vec<Value> {
        let one = |push: &Push| {
            let changesets: Vec<Value> = push
                .changesets
                .iter()
                .rev()
                .map(|(node, text)| json!({ "node": node, "desc": text, "author": "nobody@example.org", "files": [] }))
                .collect();
            let push_record = json!({ "changesets": changesets, "date": push.landed, "user": "nobody@example.org" });
            json!({ "repo": PROJECT, "pushid": push.number, "push": push_record })
        };
        self.pushes.iter().map(one).collect()
    }
}

fn pushes(snapshot: Snapshot) -> Vec<Push> {
    let rows = lines(&data().join("treeherder/tree-pushes.jsonl"));
    let rows = rows.iter().map(|line| serde_json::from_str::<PushRow>(line).unwrap());
    let mut pushes: Vec<Push> = rows
        .filter(|row| row.snapshot == snapshot.name())
        .map(|row| {
            let mut changesets: Vec<(String, String)> = row
                .revisions
                .into_iter()
                .map(|changeset| (changeset.revision, changeset.comments))
                .collect();
            if changesets.is_empty() {
                changesets.push((row.revision.clone(), String::new()));
            }
            Push {
                number: row.push_id,
                revision: row.revision,
                landed: row.push_timestamp,
                changesets,
            }
        })
        .collect();
    pushes.sort_by_key(|push| push.landed);
    if !pushes.is_sorted_by_key(|push| push.number) {
        for (rank, push) in (1..).zip(&mut pushes) {
            push.number = rank;
        }
    }
    pushes
}

fn job(row: Row, push: &Push, submitted: i64, pace: Pace) -> Job {
    let (platform, option) = match (row.platform_option, row.platform.rsplit_once(' ')) {
        (Some(option), _) => (row.platform.clone(), option),
        (None, Some((platform, option))) => (platform.to_owned(), option.to_owned()),
        (None, None) => panic!("{} has no option", row.platform),
    };
    let label = match row.group_symbol.as_str() {
        "?" => format!("{platform}/{option} {}", row.type_symbol),
        group => format!("{platform}/{option} {group}({})", row.type_symbol),
    };
    let builds = ["Build", "Static", "Valgrind"];
    let kind = if builds.iter().any(|word| row.type_name.contains(word)) {
        "build"
    } else {
        "test"
    };
    let end = match (row.coalesced_to, row.state.as_str(), row.result.as_str()) {
        (Some(_), ..) => Some(End::Exception("superseded")),
        (None, "completed", "success") => Some(End::Passed),
        (None, "completed", "testfailed" | "busted") => Some(End::Failed),
        (None, "completed", "retry") => Some(End::Exception("claim-expired")),
        (None, "completed", "usercancel") => Some(End::Exception("canceled")),
        (None, "pending" | "running", _) => None,
        (_, state, result) => panic!("job {}: {state}, {result}", row.job_id),
    };
    // Zero stands for what has not happened yet.
    let told = |time: Option<i64>| time.filter(|seconds| *seconds > 0);
    let submitted = told(row.submit_timestamp).unwrap_or(submitted);
    let has_started = row.state != "pending" && end != Some(End::Exception("superseded"));
    let started = has_started.then(|| told(row.start_timestamp).unwrap_or(submitted + WAIT));
    let took = match pace {
        Pace::OneByOne => WAIT,
        Pace::Overlapping => 60 * (10 + (row.job_id * 7919 % 50) as i64),
    };
    let ended = end.map(|end| (told(row.end_timestamp).unwrap_or(submitted + WAIT + took), end));
    Job {
        id: row.job_id,
        task: slug(&format!("job {}", row.job_id)),
        push: push.number,
        label,
        kind,
        platform,
        option,
        group: row.group_symbol,
        symbol: row.type_symbol,
        submitted,
        started,
        ended,
    }
}

fn tags(job: &Job) -> Value {
    json!({ "kind": job.kind, "label": job.label, "project": PROJECT, "createdForUser": "nobody@example.org" })
}

/// The message about a push, as the Mercurial host sends it.
fn landing(push: &Push) -> Value {
    json!({
        "exchange": "exchange/hgpushes/v1",
        "routingKey": "integration/mozilla-inbound",
        "payload": {
            "payload": {
                "repo_url": "https://hg.mozilla.org/integration/mozilla-inbound",
                "heads": [push.revision],
                "pushlog_pushes": [{ "pushid": push.number, "time": push.landed, "user": "nobody@example.org" }],
            },
            "_meta": { "exchange": "exchange/hgpushes/v1", "routing_key": "integration/mozilla-inbound" },
        },
    })
}

fn time(seconds: i64) -> String {
    sheriffd::event::Timestamp::from_seconds(seconds).to_string()
}
