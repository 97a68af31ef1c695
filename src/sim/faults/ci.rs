//! The simulated CI with everything that can go wrong between it and whoever asks; it remembers what it was asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::chance::{Chances, lock};
use super::plan::{Fault, Scenario};
use super::process::Process;
use crate::backends::{Apart, Backend, Finding, Found, JobRequest, Progress, Receipt, RequestError};
use crate::enrich::{FactError, FactSource};
use crate::event::{ActionKey, BackendName, Delivery, Duration, JobFacts, TaskId, Timestamp};
use crate::sim::world::{Job, World};
use crate::wire;

/// The CI's name as a backend.
pub(super) const NAME: &str = "sim";
/// How late a CI acts at most that does not answer: before anybody looks for the request.
const ACTS_WITHIN: usize = 30;
/// How late jobs appear at most, in seconds.
const RUNS_WITHIN: usize = 6 * 3600;
/// Time from a request to its jobs, where nothing delays them.
const RUNS_AFTER: Duration = Duration::from_secs(240);

/// A request that reached the CI and that the CI acted on.
#[derive(Debug, Clone)]
pub(super) struct Deed {
    /// What was asked.
    pub request: JobRequest,
    /// The action task, which others may share that were asked with the same call.
    pub task: TaskId,
    /// When it was sent, by the world's time.
    pub sent_at: Timestamp,
    /// Whether its jobs come at all, and in time.
    pub runs: Runs,
}

/// What comes of a request that the CI took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runs {
    /// Its jobs.
    Soon,
    /// Its jobs, after everybody has given up.
    Late,
    /// Nothing.
    Never,
}

/// The CI, the network around it, and time.
pub(super) struct Ci {
    pub world: World,
    /// Where time is.
    pub now: Timestamp,
    /// What the CI did, in order.
    pub deeds: Vec<Deed>,
    /// Calls that the CI got and will act on at a moment, with when they were sent.
    slow: BTreeMap<(Timestamp, u64), (Vec<JobRequest>, Timestamp)>,
    /// When calls went out, whatever became of them.
    pub sent: Vec<Timestamp>,
    /// Action tasks of ours.
    pub ours: BTreeSet<TaskId>,
    /// What should never have happened.
    pub breaches: Vec<String>,
    done: BTreeSet<ActionKey>,
    /// What happened at the border, for the story.
    pub told: Vec<String>,
    sequence: u64,
}

impl Ci {
    pub fn new(world: World, now: Timestamp) -> Ci {
        Ci {
            world,
            now,
            deeds: Vec::new(),
            slow: BTreeMap::new(),
            sent: Vec::new(),
            ours: BTreeSet::new(),
            breaches: Vec::new(),
            done: BTreeSet::new(),
            told: Vec::new(),
            sequence: 0,
        }
    }

    /// When the next thing happens at the CI.
    pub fn next_at(&self) -> Option<Timestamp> {
        let slow = self.slow.keys().next().map(|(at, _)| *at);
        [self.world.next_at(), slow].into_iter().flatten().min()
    }

    /// Lets everything happen up to `now`; returns the messages about it.
    pub fn advance(&mut self, now: Timestamp, chances: &Chances) -> Vec<Delivery> {
        while let Some(at) = self.next_at().filter(|at| *at <= now) {
            self.now = self.now.max(at);
            match self.slow.first_entry().filter(|entry| entry.key().0 <= at) {
                Some(entry) => {
                    let (requests, sent_at) = entry.remove();
                    drop(self.act(&requests, sent_at, chances));
                }
                None => {
                    self.world.step();
                }
            }
        }
        self.now = now;
        self.world.take_outgoing()
    }

    /// The CI acts on the requests of a call.
    fn act(&mut self, requests: &[JobRequest], sent_at: Timestamp, chances: &Chances) -> Result<TaskId, String> {
        for request in requests {
            if !self.done.insert(request.key) {
                let twice = format!("request {} reached the CI twice and was done twice", request.key);
                self.breaches.push(twice);
            }
        }
        let runs = if chances.strikes(Fault::RunsNothing) {
            Runs::Never
        } else if chances.strikes(Fault::RunsLate) {
            Runs::Late
        } else {
            Runs::Soon
        };
        let takes = match runs {
            Runs::Never => None,
            Runs::Soon => Some(RUNS_AFTER),
            Runs::Late => Some(Duration::from_secs(chances.below(Fault::RunsLate, RUNS_WITHIN) as u64)),
        };
        let task = self.world.request_taking(requests, self.now, takes)?;
        self.ours.insert(task.clone());
        for request in requests {
            self.told.push(format!("CI: {} is done, jobs {runs:?}", request.key));
            self.deeds.push(Deed {
                request: request.clone(),
                task: task.clone(),
                sent_at,
                runs,
            });
        }
        Ok(task)
    }

    /// The request of ours that a job was made for.
    pub fn asked_for(&self, job: &Job) -> Option<ActionKey> {
        if !self.ours.contains(&job.parent) {
            return None;
        }
        let made = |deed: &&Deed| deed.task == job.parent && deed.request.label == job.label;
        self.deeds.iter().find(made).map(|deed| deed.request.key)
    }

    /// Requests that were done with others in one call.
    pub fn done_together(&self) -> u64 {
        let shares = |call: &[Deed]| if call.len() > 1 { call.len() as u64 } else { 0 };
        self.deeds.chunk_by(|one, next| one.task == next.task).map(shares).sum()
    }

    /// How far the task is that makes the jobs of a request.
    fn progress(&self, task: &TaskId) -> Progress {
        let deed = self.deeds.iter().find(|deed| deed.task == *task);
        match deed.map(|deed| deed.runs) {
            None => Progress::CannotTell("there is no such task".into()),
            Some(_) if self.world.jobs().iter().any(|job| job.parent == *task) => Progress::Ended,
            Some(Runs::Never) => Progress::Failed("malformed payload".into()),
            Some(Runs::Soon | Runs::Late) => Progress::Working,
        }
    }

    /// The action task of a request that the CI acted on.
    fn found(&self, request: &JobRequest) -> Option<TaskId> {
        self.world.action_of(request)
    }
}

/// The CI as one process sees it.
pub(super) struct FaultyCi {
    pub ci: Arc<Mutex<Ci>>,
    pub chances: Arc<Chances>,
    pub process: Arc<Process>,
    pub can_tell: bool,
    names_tasks: bool,
    most_together: usize,
    name: BackendName,
}

impl FaultyCi {
    pub fn new(scenario: &Scenario, ci: Arc<Mutex<Ci>>, chances: Arc<Chances>, process: Arc<Process>) -> FaultyCi {
        FaultyCi {
            ci,
            chances,
            process,
            can_tell: scenario.can_tell,
            names_tasks: scenario.names_tasks,
            most_together: scenario.most_together,
            name: BackendName::from(NAME),
        }
    }

    fn receipt(&self, task: TaskId) -> Receipt {
        Receipt {
            reference: None,
            action_task: self.names_tasks.then_some(task),
        }
    }

    /// Dies here, now and then. Others get their turn meanwhile.
    async fn step(&self, fault: Fault) {
        tokio::task::yield_now().await;
        if self.process.is_dead() || self.chances.strikes(fault) {
            self.process.die().await;
        }
    }

    /// One call, with everything that may become of it.
    async fn call(&self, requests: &[JobRequest]) -> Result<Receipt, RequestError> {
        self.step(Fault::CrashAtCi).await;
        let sent_at = {
            let mut ci = lock(&self.ci);
            let now = ci.now;
            ci.sent.push(now);
            for request in requests {
                ci.told.push(format!(
                    "sent: {} {} x{} on push {}",
                    request.key, request.label, request.times, request.push
                ));
            }
            now
        };
        let chances = &self.chances;
        if chances.strikes(Fault::Busy) {
            return Err(RequestError::Busy {
                retry_after: Some(Duration::from_secs(chances.below(Fault::Busy, 120) as u64)),
                detail: "HTTP 429".into(),
            });
        }
        if chances.strikes(Fault::LostBefore) {
            return Err(RequestError::InDoubt("the request was lost".into()));
        }
        if chances.strikes(Fault::ActsLate) {
            let mut ci = lock(&self.ci);
            let seconds = chances.below(Fault::ActsLate, ACTS_WITHIN) as u64;
            ci.sequence += 1;
            let place = (sent_at.plus(Duration::from_secs(seconds)), ci.sequence);
            ci.slow.insert(place, (requests.to_vec(), sent_at));
            return Err(RequestError::InDoubt("no answer in time".into()));
        }
        let answer = lock(&self.ci).act(requests, sent_at, chances);
        self.step(Fault::CrashAtCi).await;
        if chances.strikes(Fault::LostAfter) {
            return Err(RequestError::InDoubt("the answer was lost".into()));
        }
        answer.map(|task| self.receipt(task)).map_err(RequestError::NotPossible)
    }
}

#[async_trait]
impl Backend for FaultyCi {
    fn name(&self) -> &BackendName {
        &self.name
    }

    async fn request(&self, request: &JobRequest) -> Result<Receipt, RequestError> {
        self.call(std::slice::from_ref(request)).await
    }

    fn most_together(&self) -> usize {
        self.most_together
    }

    async fn request_together(&self, requests: &[JobRequest]) -> Result<Vec<Result<Receipt, RequestError>>, Apart> {
        if self.chances.strikes(Fault::Apart) {
            return Err(Apart("one of the labels is not known".into()));
        }
        match self.call(requests).await {
            Err(RequestError::NotPossible(why)) => Err(Apart(why)),
            answer => Ok(requests.iter().map(|_| answer.clone()).collect()),
        }
    }

    async fn find(&self, request: &JobRequest, _sent_at: Timestamp) -> Result<Found, RequestError> {
        self.step(Fault::CrashAtCi).await;
        if self.chances.strikes(Fault::FindFails) {
            return Err(RequestError::Busy {
                retry_after: None,
                detail: "HTTP 503".into(),
            });
        }
        if !self.can_tell {
            return Ok(Found::CannotTell("this CI remembers nothing".into()));
        }
        let found = lock(&self.ci).found(request);
        self.step(Fault::CrashAtCi).await;
        Ok(found.map_or(Found::NotDone, |task| Found::Done(self.receipt(task))))
    }

    async fn progress(&self, task: &TaskId) -> Result<Progress, RequestError> {
        self.step(Fault::CrashAtCi).await;
        if self.chances.strikes(Fault::FindFails) {
            return Err(RequestError::Busy {
                retry_after: None,
                detail: "HTTP 503".into(),
            });
        }
        Ok(match self.can_tell {
            true => lock(&self.ci).progress(task),
            false => Progress::CannotTell("this CI remembers nothing".into()),
        })
    }

    async fn check(&self) -> Vec<Finding> {
        Vec::new()
    }
}

#[async_trait]
impl FactSource for FaultyCi {
    async fn task(&self, _backend: &BackendName, task: &TaskId) -> Result<JobFacts, FactError> {
        self.step(Fault::CrashAtFacts).await;
        if self.chances.strikes(Fault::FactsFail) {
            return Err(FactError::Later {
                retry_after: Some(Duration::from_secs(self.chances.below(Fault::FactsFail, 900) as u64)),
                detail: "HTTP 502".into(),
            });
        }
        let definition = lock(&self.ci)
            .world
            .definition(task)
            .ok_or_else(|| FactError::Absent(format!("task {task}")))?;
        wire::task::facts(definition.to_string()).map_err(|error| FactError::Malformed(error.to_string()))
    }
}
