//! A tree whose CI is the tests' Taskcluster: pushes land, jobs run, requests become jobs.
//!
//! It gives the messages in the form of the recorded ones, and puts on the fake what those messages do not carry:
//! task definitions, decision tasks, their lists of actions.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::fake_taskcluster::FakeTaskcluster;
use crate::publisher::{Body, Message};

/// The folder with a recorded push: its actions, and a request that was made of them.
const CHAIN: &str = "tests/data/taskcluster/add-new-jobs-chain";
/// What the recording names, and a test's push has of its own.
const RECORDED_GROUP: &str = "HDnvYOibTMS8h_5Qzv6fWg";
const RECORDED_REVISION: &str = "eec1748dad2ec002e4d9c71f926ccb67a3b88d73";
const RECORDED_PUSH: &str = "455023";
const RECORDED_PROJECT: (&str, &str) = ("\"project\": \"try\"", "hg.mozilla.org/try");
/// A time between two pushes, and the time that a job takes.
const BETWEEN: SignedDuration = SignedDuration::from_mins(2);
/// How long ago the first push landed.
const BEGAN: SignedDuration = SignedDuration::from_hours(6);

/// A tree.
pub struct Tree<'a> {
    fake: &'a FakeTaskcluster,
    project: &'static str,
    began: Timestamp,
    first: u64,
    jobs: Cell<u64>,
    pushes: RefCell<BTreeMap<String, u64>>,
    labels: RefCell<BTreeMap<String, String>>,
    served: RefCell<Vec<String>>,
}

/// A job of the tree.
#[derive(Debug, Clone)]
pub struct Job {
    project: &'static str,
    push: u64,
    label: String,
    task: String,
    at: Timestamp,
}

/// What an action task was asked to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// The action task.
    pub action: String,
    /// The push that it acts on.
    pub push: u64,
    /// The label that it runs.
    pub label: String,
    /// How often.
    pub times: u64,
}

impl<'a> Tree<'a> {
    /// A tree of this name, whose first push is `first`.
    pub fn new(fake: &'a FakeTaskcluster, project: &'static str, first: u64) -> Tree<'a> {
        Tree {
            fake,
            project,
            began: Timestamp::now() - BEGAN,
            first,
            jobs: Cell::new(0),
            pushes: RefCell::default(),
            labels: RefCell::default(),
            served: RefCell::default(),
        }
    }

    /// A push lands: the fake has its decision task; the message tells of it.
    pub fn lands(&self, push: u64, labels: &[&str]) -> Message {
        let (revision, group) = (revision(push), self.group(push));
        let actions = self.of_push(&recorded("3-actions.json"), push);
        self.fake.add_push(self.project, &revision, &group, &actions);
        let graph: BTreeMap<&str, Value> = labels.iter().map(|label| (*label, json!({"task": {}}))).collect();
        self.fake
            .change(|world| world.add_artifact(&group, "public/full-task-graph.json", &json!(graph).to_string()));
        let listed = json!({
            "date": self.time_of(push).as_second(), "user": "lander@example.org",
            "changesets": [{"author": "A lander <lander@example.org>", "branch": "default", "desc": "A change",
                "files": [], "node": revision, "parents": [], "tags": []}],
        });
        self.fake.change(|world| {
            let pushlog = world.pushlogs.entry(self.project.to_owned()).or_default();
            pushlog.insert(push, listed);
        });
        self.pushes.borrow_mut().insert(group, push);
        let url = format!("https://hg.example.org/{}", self.project);
        let landed = json!({
            "time": self.time_of(push).as_second(), "pushid": push, "user": "lander@example.org",
            "push_json_url": format!("{url}/json-pushes?version=2"),
            "push_full_json_url": format!("{url}/json-pushes?version=2&full=1"),
        });
        Message {
            exchange: "exchange/hgpushes/v1".to_owned(),
            routing_key: self.project.to_owned(),
            cc: Vec::new(),
            body: Body::Json(json!({
                "payload": { "repo_url": url, "heads": [revision], "pushlog_pushes": [landed] },
                "_meta": { "exchange": "exchange/hgpushes/v1", "routing_key": self.project },
            })),
        }
    }

    /// A job that the push itself brought.
    pub fn job(&self, push: u64, label: &str) -> Job {
        self.add_job(push, label, &self.group(push), self.time_of(push))
    }

    /// The CI's queue knows of a job what this message tells, whether or not anybody gets the message.
    pub fn lists(&self, job: &Job, told: &Message) {
        let Body::Json(body) = &told.body else {
            panic!("a message of a job is JSON")
        };
        let group = self.group(job.push);
        self.fake.change(|world| {
            let listed = json!({ "status": body["status"], "task": world.tasks[&job.task] });
            world.groups.entry(group).or_default().push(listed);
        });
    }

    /// The jobs that action tasks make which have not made any yet.
    pub fn serve(&self) -> Vec<(Asked, Vec<Job>)> {
        let mut jobs = Vec::new();
        for asked in self.asked() {
            if self.served.borrow().contains(&asked.action) {
                continue;
            }
            self.served.borrow_mut().push(asked.action.clone());
            let made = (0..asked.times)
                .map(|_| self.add_job(asked.push, &asked.label, &asked.action, Timestamp::now()))
                .collect();
            jobs.push((asked, made));
        }
        jobs
    }

    /// Everything that the CI was asked for and took.
    pub fn asked(&self) -> Vec<Asked> {
        let mut actions = Vec::new();
        self.fake.change(|world| {
            let is_action = |task: &Value| task["tags"]["kind"] == "action-callback";
            let found = world.tasks.iter().filter(|(_, task)| is_action(task));
            actions.extend(found.map(|(id, task)| (id.clone(), task["payload"]["env"].clone())));
        });
        actions
            .into_iter()
            .map(|(action, env)| {
                let read = |name: &str| -> Value {
                    serde_json::from_str(env[name].as_str().expect("a text")).expect("JSON in a text")
                };
                let input = read("ACTION_INPUT");
                let label = match read("ACTION_TASK_ID") {
                    Value::String(task) => self.labels.borrow()[&task].clone(),
                    _ => input["tasks"][0].as_str().expect("a label").to_owned(),
                };
                Asked {
                    action,
                    push: self.pushes.borrow()[env["ACTION_TASK_GROUP_ID"].as_str().expect("a group")],
                    label,
                    times: input["times"].as_u64().unwrap_or(1),
                }
            })
            .collect()
    }

    /// The whole payload that the hook has to be fired with to add this job to this push: the recorded one, for
    /// another push and another label.
    pub fn payload_adding(&self, push: u64, label: &str) -> Value {
        let text = self.of_push(&recorded("4-trigger-hook-payload.json"), push);
        let mut payload: Value = serde_json::from_str(&text).expect("the recording is JSON");
        payload["user"]["input"] = json!({ "tasks": [label] });
        payload
    }

    fn of_push(&self, recording: &str, push: u64) -> String {
        let url = format!("hg.example.org/{}", self.project);
        recording
            .replace(RECORDED_GROUP, &self.group(push))
            .replace(RECORDED_REVISION, &revision(push))
            .replace(RECORDED_PUSH, &push.to_string())
            .replace(RECORDED_PROJECT.0, &format!("\"project\": \"{}\"", self.project))
            .replace(RECORDED_PROJECT.1, &url)
    }

    fn time_of(&self, push: u64) -> Timestamp {
        let pushes = i32::try_from(push - self.first).expect("a test's tree is short");
        self.began + BETWEEN * pushes
    }

    fn group(&self, push: u64) -> String {
        slug(&format!("{} push {push}", self.project))
    }

    fn add_job(&self, push: u64, label: &str, parent: &str, at: Timestamp) -> Job {
        let number = self.jobs.replace(self.jobs.get() + 1);
        let job = Job {
            project: self.project,
            push,
            label: label.to_owned(),
            task: slug(&format!("{} job {number}", self.project)),
            at,
        };
        let group = self.group(push);
        let definition = json!({
            "provisionerId": "gecko-t", "workerType": "t-linux-large", "schedulerId": "gecko-level-3",
            "taskGroupId": group, "dependencies": [], "requires": "all-completed",
            "routes": [job.route()], "priority": "low", "retries": 5, "created": at.to_string(),
            "metadata": { "name": label, "owner": "lander@example.org", "description": "", "source": "" },
            "payload": { "env": { "GECKO_HEAD_REV": revision(push) } },
            "tags": job.tags(),
            "extra": {
                "parent": parent, "suite": "mochitest",
                "treeherder": {
                    "collection": { "opt": true }, "groupSymbol": "M", "symbol": "1", "jobKind": "test", "tier": 1,
                    "machine": { "platform": "linux64" },
                },
            },
        });
        self.fake.change(|world| {
            world.tasks.insert(job.task.clone(), definition);
        });
        self.labels.borrow_mut().insert(job.task.clone(), label.to_owned());
        job
    }
}

impl Job {
    /// The job waits for a machine.
    pub fn waits(&self) -> Message {
        self.message("task-pending", "pending", None)
    }

    /// The job runs.
    pub fn runs(&self) -> Message {
        self.message("task-running", "running", None)
    }

    /// The job has ended well.
    pub fn passes(&self) -> Message {
        self.message("task-completed", "completed", Some("completed"))
    }

    /// The job has ended badly.
    pub fn fails(&self) -> Message {
        self.message("task-failed", "failed", Some("failed"))
    }

    /// The machine was lost.
    pub fn lost(&self) -> Message {
        self.message("task-exception", "exception", Some("worker-shutdown"))
    }

    /// The whole life of the job.
    pub fn lives(&self, fails: bool) -> [Message; 3] {
        let end = if fails { self.fails() } else { self.passes() };
        [self.waits(), self.runs(), end]
    }

    fn route(&self) -> String {
        format!(
            "tc-treeherder.v2.{}.{}.{}",
            self.project,
            revision(self.push),
            self.push
        )
    }

    fn tags(&self) -> Value {
        json!({
            "kind": "test", "label": self.label, "project": self.project, "os": "linux", "retrigger": "true",
            "createdForUser": "lander@example.org", "test-type": "mochitest", "worker-implementation": "docker-worker",
        })
    }

    fn message(&self, kind: &str, state: &str, reason: Option<&str>) -> Message {
        let group = slug(&format!("{} push {}", self.project, self.push));
        let mut run = json!({
            "runId": 0, "state": state, "reasonCreated": "scheduled", "scheduled": self.at.to_string(),
        });
        if state != "pending" {
            run["started"] = json!((self.at + SignedDuration::from_secs(1)).to_string());
            run["workerGroup"] = json!("us-west-1");
            run["workerId"] = json!("i-0429b6e2c0ac7474d");
        }
        if let Some(reason) = reason {
            run["reasonResolved"] = json!(reason);
            run["resolved"] = json!((self.at + SignedDuration::from_secs(2)).to_string());
        }
        let task = &self.task;
        Message {
            exchange: format!("exchange/taskcluster-queue/v1/{kind}"),
            routing_key: format!(
                "primary.{task}.0.us-west-1.i-0429b6e2c0ac7474d.gecko-t.t-linux-large.gecko-level-3.{group}._"
            ),
            cc: vec![format!("route.{}", self.route())],
            body: Body::Json(json!({
                "version": 1, "runId": 0, "task": { "tags": self.tags() },
                "status": {
                    "taskId": task, "provisionerId": "gecko-t", "workerType": "t-linux-large",
                    "taskQueueId": "gecko-t/t-linux-large", "schedulerId": "gecko-level-3", "projectId": "none",
                    "taskGroupId": group, "deadline": (self.at + SignedDuration::from_hours(24)).to_string(),
                    "expires": (self.at + SignedDuration::from_hours(672)).to_string(), "retriesLeft": 5,
                    "state": state, "runs": [run],
                },
            })),
        }
    }
}

/// A push's head.
pub fn revision(push: u64) -> String {
    format!("{push:08x}").repeat(5)
}

/// An id in the form of Taskcluster's.
fn slug(of: &str) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(of)[..16])
}

fn recorded(name: &str) -> String {
    let path = format!("{CHAIN}/{name}");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
