//! The simulated world: pushes that land, jobs that run, defects that break them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::detector::{Alert, Detector};
use super::messages;
use super::plan::{NewTest, Plan};
use crate::event::{
    ActionKey, Delivery, Duration, GraphJob, JobRequest, Label, Outcome, PushId, Revision, RunState, Signature,
    TaskGraph, TaskId, Timestamp, test_path,
};
use crate::stats::random::Random;

/// Time from a request to the jobs it makes.
const ACTION_TAKES: Duration = Duration::from_secs(4 * 60);
/// Time from a push to its task graph.
const DECISION_TAKES: Duration = Duration::from_secs(5 * 60);
/// Mean time that a job waits for a machine.
const WAITS: Duration = Duration::from_secs(2 * 60);
/// Mean time that a job runs.
const RUNS: Duration = Duration::from_secs(15 * 60);
/// Time from the value that makes a step certain to the alert.
const ALERT_TAKES: Duration = Duration::from_secs(10 * 60);
/// The shortest time that a job takes.
pub const SHORTEST_RUN: Duration = Duration::from_secs(15 * 30);

/// A push as it landed.
#[derive(Debug, Clone, PartialEq)]
pub struct Push {
    /// Its number.
    pub id: PushId,
    /// Its revision.
    pub revision: Revision,
    /// Its decision task.
    pub group: TaskId,
    /// When it landed.
    pub at: Timestamp,
}

/// A job of the simulated CI.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its task.
    pub task: TaskId,
    /// Its label.
    pub label: Label,
    /// Its push: an index.
    pub push: usize,
    /// The task that made it.
    pub parent: TaskId,
    /// Where it is in its life.
    pub state: RunState,
    /// When it was scheduled.
    pub scheduled: Timestamp,
    /// When it started.
    pub started: Option<Timestamp>,
    /// The machine.
    pub worker: String,
}

impl Job {
    /// `linux2404-64/opt` of `test-linux2404-64/opt-mochitest`.
    pub fn platform(&self) -> &str {
        self.split().0
    }

    /// `mochitest` of `test-linux2404-64/opt-mochitest`.
    pub fn suite(&self) -> &str {
        self.split().1
    }

    fn split(&self) -> (&str, &str) {
        let label = self.label.as_str();
        let label = label.strip_prefix("test-").unwrap_or(label);
        let dash = label
            .find('/')
            .and_then(|slash| Some(slash + label.get(slash..)?.find('-')?));
        dash.map_or((label, label), |dash| {
            let (platform, suite) = label.split_at(dash);
            (platform, suite.trim_start_matches('-'))
        })
    }
}

/// Something that happened in the simulated world, for the story.
#[derive(Debug, Clone, PartialEq)]
pub enum SimEvent {
    /// A push landed, and so many of its jobs were scheduled and skipped.
    Landed {
        /// The push.
        push: Push,
        /// Jobs scheduled.
        scheduled: usize,
        /// Jobs skipped.
        skipped: usize,
    },
    /// A job ended.
    Ended {
        /// Its label.
        label: Label,
        /// Its push.
        push: PushId,
        /// How.
        outcome: Outcome,
        /// Whether it was made on request.
        requested: bool,
    },
    /// The CI made the jobs that a request asked for.
    Made {
        /// Which label.
        label: Label,
        /// On which push.
        push: PushId,
        /// How many.
        times: u32,
    },
    /// The detector of steps has raised an alert.
    Alerted(Alert),
    /// A job got a machine, or would have got or left one and was taken back before.
    Started,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Land(u64),
    Make {
        push: usize,
        label: Label,
        times: u32,
        action: TaskId,
    },
    Start(usize),
    End(usize),
    /// An alert, by its place among those that were raised.
    Alert(usize),
}

/// The world. Moves only when told to.
pub struct World {
    plan: Plan,
    random: Random,
    pushes: Vec<Push>,
    jobs: Vec<Job>,
    by_task: BTreeMap<TaskId, usize>,
    future: BinaryHeap<Reverse<(Timestamp, u64, Happening)>>,
    sequence: u64,
    outgoing: Vec<Delivery>,
    asked: u64,
    actions: BTreeMap<ActionKey, TaskId>,
    tests: Vec<NewTest>,
    cancelled: BTreeSet<TaskId>,
    /// The new tests that failed in a job: indices of both.
    failed_tests: BTreeMap<usize, Vec<usize>>,
    measured: BTreeMap<TaskId, Vec<(String, f64)>>,
    detector: Option<Detector>,
    alerts: Vec<Alert>,
}

impl World {
    /// A world at the beginning of its plan.
    pub fn new(plan: Plan) -> World {
        let mut world = World {
            random: Random::new(plan.seed),
            pushes: Vec::new(),
            jobs: Vec::new(),
            by_task: BTreeMap::new(),
            future: BinaryHeap::new(),
            sequence: 0,
            outgoing: Vec::new(),
            asked: 0,
            actions: BTreeMap::new(),
            tests: Vec::new(),
            cancelled: BTreeSet::new(),
            failed_tests: BTreeMap::new(),
            measured: BTreeMap::new(),
            detector: None,
            alerts: Vec::new(),
            plan,
        };
        let mut at = world.plan.start;
        for number in 1..=world.plan.pushes {
            world.plan_for(at, Happening::Land(number));
            at = at.plus(world.spread(world.plan.between));
        }
        world
    }

    /// Pushes add these tests.
    pub fn with_tests(mut self, tests: Vec<NewTest>) -> World {
        self.tests = tests;
        self
    }

    /// A detector watches what is measured, and raises alerts.
    pub fn with_detector(mut self) -> World {
        self.detector = Some(Detector::default());
        self
    }

    /// What failed in a run and what ran; `None` where the simulation has no tests.
    pub fn failures(&self, task: &TaskId) -> Option<(Vec<Signature>, Vec<Arc<str>>)> {
        let index = *self.by_task.get(task)?;
        let job = self.jobs.get(index)?;
        if self.tests.is_empty() {
            return None;
        }
        let runs = |test: &&NewTest| test.rates.iter().any(|(label, _)| *label == job.label);
        let groups = self.tests.iter().filter(runs).map(|test| test.group.as_str().into());
        let failed = self.failed_tests.get(&index).into_iter().flatten();
        let signatures = failed.filter_map(|test| self.tests.get(*test)).map(|test| Signature {
            group: Some(test.group.as_str().into()),
            test: test.path.as_str().into(),
        });
        Some((signatures.collect(), groups.collect()))
    }

    /// The pushlog's answers for pushes that have landed, each with the files that the push touches.
    pub fn landed(&self, wanted: impl Fn(&Push) -> bool) -> Vec<(serde_json::Value, Vec<Arc<str>>)> {
        let landed = self.pushes.iter().filter(|push| wanted(push));
        landed
            .map(|push| {
                let tests = self.tests.iter().filter(|test| test.push == push.id);
                let files = tests.flat_map(|test| [test.path.as_str().into(), test.group.as_str().into()]);
                let answer = messages::pushlog(push, self.plan.uplifts.contains(&push.id));
                (answer, files.collect())
            })
            .collect()
    }

    /// The files that a changeset adds: the tests of its push.
    pub fn added(&self, node: &str) -> Vec<Arc<str>> {
        let Some(push) = self.pushes.iter().find(|push| push.revision.as_str() == node) else {
            return Vec::new();
        };
        let added = self.tests.iter().filter(|test| test.push == push.id);
        added.map(|test| test.path.as_str().into()).collect()
    }

    /// What can run on a push that has landed, and which of it runs these test groups; `None` before its decision task
    /// has told.
    pub fn graph(&self, push: PushId, places: &[Arc<str>], now: Timestamp) -> Option<TaskGraph> {
        let landed = self.pushes.iter().find(|landed| landed.id == push)?;
        if now.since(landed.at) < DECISION_TAKES {
            return None;
        }
        let job = |label: &Label| {
            let there = self.tests.iter().filter(|test| test.push <= push);
            let run = there.filter(|test| test.rates.iter().any(|(runs, _)| runs == label));
            let groups = run.map(|test| Arc::from(test.group.as_str()));
            let job = GraphJob {
                kind: Some("test".into()),
                platform: label.place_and_rest().map(|(place, _)| place.into()),
                groups: groups
                    .filter(|group: &Arc<str>| test_path::is_at(group, places))
                    .collect(),
                ..GraphJob::default()
            };
            (label.clone(), job)
        };
        let jobs = self.plan.labels.iter().map(job).collect();
        Some(TaskGraph { jobs })
    }

    /// Jobs made on request so far.
    pub fn asked(&self) -> u64 {
        self.asked
    }

    /// Jobs made so far, requested or not.
    pub fn job_count(&self) -> usize {
        self.jobs.len()
    }

    /// The jobs made so far, oldest first.
    pub fn jobs(&self) -> &[Job] {
        &self.jobs
    }

    /// When the next thing happens; `None` at the end of the plan.
    pub fn next_at(&self) -> Option<Timestamp> {
        self.future.peek().map(|Reverse((at, _, _))| *at)
    }

    /// Lets the next thing happen. `None` at the end of the plan.
    pub fn step(&mut self) -> Option<(Timestamp, SimEvent)> {
        let Reverse((at, _, happening)) = self.future.pop()?;
        let event = match happening {
            Happening::Land(number) => self.land(number, at),
            Happening::Make {
                push,
                label,
                times,
                action,
            } => self.make(push, label, times, &action, at),
            Happening::Start(job) => self.start(job, at),
            Happening::End(job) => self.end(job, at)?,
            Happening::Alert(number) => {
                let alert = self.alerts.get(number)?.clone();
                self.outgoing.push(messages::alert(&self.plan.project, &alert, at));
                SimEvent::Alerted(alert)
            }
        };
        Some((at, event))
    }

    /// What the world has to say since it was last asked.
    pub fn take_outgoing(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.outgoing)
    }

    /// A task's definition.
    pub fn definition(&self, task: &TaskId) -> Option<serde_json::Value> {
        let job = self.jobs.get(*self.by_task.get(task)?)?;
        Some(messages::definition(
            &self.plan.project,
            self.pushes.get(job.push)?,
            job,
        ))
    }

    /// What a run measured, as its artifact says; `None` where it has none.
    pub fn artifact(&self, task: &TaskId) -> Option<serde_json::Value> {
        self.measured.get(task).map(|values| messages::perfherder(values))
    }

    /// Takes a request, as `hooks.triggerHook` would: answers with the action task, which makes the jobs later.
    ///
    /// # Errors
    /// The CI's words for why it cannot.
    pub fn request(&mut self, request: &JobRequest, now: Timestamp) -> Result<TaskId, String> {
        self.request_together(std::slice::from_ref(request), now)
    }

    /// Takes several requests as one: an action task makes the jobs of all.
    ///
    /// # Errors
    /// As [`World::request`], of the first that cannot be: none is taken then.
    pub fn request_together(&mut self, requests: &[JobRequest], now: Timestamp) -> Result<TaskId, String> {
        self.request_taking(requests, now, Some(ACTION_TAKES))
    }

    /// The same, with jobs that appear after a while of the caller's choice, or never.
    ///
    /// # Errors
    /// As [`World::request_together`].
    pub fn request_taking(
        &mut self,
        requests: &[JobRequest],
        now: Timestamp,
        takes: Option<Duration>,
    ) -> Result<TaskId, String> {
        let places: Vec<usize> = requests
            .iter()
            .map(|request| self.place_of(request))
            .collect::<Result<_, _>>()?;
        let action = self.task_id();
        for (request, push) in requests.iter().zip(places) {
            self.take(request, push, &action, takes.map(|takes| now.plus(takes)));
        }
        Ok(action)
    }

    /// The push that a request is for, as an index.
    fn place_of(&self, request: &JobRequest) -> Result<usize, String> {
        let push = self
            .pushes
            .iter()
            .position(|push| push.revision == request.revision)
            .ok_or_else(|| format!("no decision task for revision {}", request.revision))?;
        match self.plan.labels.contains(&request.label) {
            true => Ok(push),
            false => Err(format!("{} is not in the full task graph", request.label)),
        }
    }

    /// An action task takes a request; its jobs appear at a moment, or never.
    fn take(&mut self, request: &JobRequest, push: usize, action: &TaskId, at: Option<Timestamp>) {
        self.actions.insert(request.key, action.clone());
        if let Some(at) = at {
            let make = Happening::Make {
                push,
                label: request.label.clone(),
                times: request.times,
                action: action.clone(),
            };
            self.plan_for(at, make);
        }
    }

    /// Takes a task back: a job that has not ended, or an action task that has not made its jobs.
    pub fn cancel(&mut self, task: &TaskId, now: Timestamp) {
        self.cancelled.insert(task.clone());
        if let Some(index) = self.by_task.get(task).copied()
            && let Some(job) = self.jobs.get_mut(index)
            && job.state.outcome().is_none()
        {
            job.state = RunState::Finished(Outcome::Cancelled);
            self.say(index, now);
        }
    }

    /// Tasks that somebody took back.
    pub fn cancelled(&self) -> usize {
        self.cancelled.len()
    }

    /// A person asks for one more run of a job, and it is scheduled at once.
    pub fn retrigger(&mut self, job: usize, now: Timestamp) {
        if let Some(Job { label, push, .. }) = self.jobs.get(job).cloned() {
            let by = self.task_id();
            self.schedule(push, label, by, now);
        }
    }

    /// The action task that a request led to, if it ever arrived.
    pub fn action_of(&self, request: &JobRequest) -> Option<TaskId> {
        self.actions.get(&request.key).cloned()
    }

    fn plan_for(&mut self, at: Timestamp, happening: Happening) {
        self.sequence += 1;
        self.future.push(Reverse((at, self.sequence, happening)));
    }

    /// A span around `mean`: between half of it and one and a half times it.
    fn spread(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(0.5 + self.random.uniform())
    }

    fn task_id(&mut self) -> TaskId {
        let mut bytes = [0u8; 16];
        let (high, low) = bytes.split_at_mut(8);
        high.copy_from_slice(&self.random.bits().to_le_bytes());
        low.copy_from_slice(&self.random.bits().to_le_bytes());
        TaskId::from(URL_SAFE_NO_PAD.encode(bytes))
    }

    fn land(&mut self, number: u64, at: Timestamp) -> SimEvent {
        let revision = Revision::from(format!(
            "{:016x}{:016x}{number:08x}",
            self.random.bits(),
            self.random.bits()
        ));
        let push = Push {
            id: PushId(number),
            revision,
            group: self.task_id(),
            at,
        };
        self.outgoing.push(messages::push(&self.plan.project, &push));
        self.pushes.push(push.clone());
        let index = self.pushes.len() - 1;
        let mut scheduled = 0;
        for label in self.plan.labels.clone() {
            // The first push runs everything: a tree with a past.
            if number > 1 && self.random.chance(self.plan.skipped) {
                continue;
            }
            self.schedule(index, label, push.group.clone(), at);
            scheduled += 1;
        }
        SimEvent::Landed {
            push,
            scheduled,
            skipped: self.plan.labels.len() - scheduled,
        }
    }

    fn make(&mut self, push: usize, label: Label, times: u32, action: &TaskId, at: Timestamp) -> SimEvent {
        let times = if self.cancelled.contains(action) { 0 } else { times };
        for _ in 0..times {
            self.schedule(push, label.clone(), action.clone(), at);
        }
        self.asked += u64::from(times);
        let push = self.pushes.get(push).map_or(PushId(0), |push| push.id);
        SimEvent::Made { label, push, times }
    }

    fn schedule(&mut self, push: usize, label: Label, parent: TaskId, at: Timestamp) {
        let task = self.task_id();
        let worker = format!("sim-{}", self.random.below(40));
        self.by_task.insert(task.clone(), self.jobs.len());
        self.jobs.push(Job {
            task,
            label,
            push,
            parent,
            state: RunState::Pending,
            scheduled: at,
            started: None,
            worker,
        });
        let index = self.jobs.len() - 1;
        self.say(index, at);
        let wait = self.spread(WAITS);
        self.plan_for(at.plus(wait), Happening::Start(index));
    }

    fn start(&mut self, index: usize, at: Timestamp) -> SimEvent {
        let takes = self.spread(RUNS);
        if self.has_ended(index) {
            return SimEvent::Started;
        }
        if let Some(job) = self.jobs.get_mut(index) {
            job.state = RunState::Running;
            job.started = Some(at);
        }
        self.say(index, at);
        self.plan_for(at.plus(takes), Happening::End(index));
        SimEvent::Started
    }

    fn end(&mut self, index: usize, at: Timestamp) -> Option<SimEvent> {
        if self.has_ended(index) {
            return Some(SimEvent::Started);
        }
        let outcome = self.outcome(index)?;
        if outcome == Outcome::Passed {
            self.measure(index, at);
        }
        let job = self.jobs.get_mut(index)?;
        job.state = RunState::Finished(outcome);
        let push = self.pushes.get(job.push)?;
        let requested = job.parent != push.group;
        let event = SimEvent::Ended {
            label: job.label.clone(),
            push: push.id,
            outcome,
            requested,
        };
        self.say(index, at);
        Some(event)
    }

    /// Whether the job was taken back.
    fn has_ended(&self, index: usize) -> bool {
        self.jobs.get(index).is_some_and(|job| job.state.outcome().is_some())
    }

    /// Draws what a run measures, and lets the detector see it.
    fn measure(&mut self, index: usize, at: Timestamp) {
        let Some(job) = self.jobs.get(index) else { return };
        let Some(push) = self.pushes.get(job.push) else { return };
        let meters = self.plan.meters.iter().filter(|meter| meter.label == job.label);
        let values: Vec<(String, f64)> = meters
            .map(|meter| {
                let level = meter.level_on(push.id);
                (meter.suite.clone(), level * (1.0 + meter.noise * self.random.normal()))
            })
            .collect();
        if values.is_empty() {
            return;
        }
        self.measured.insert(job.task.clone(), values);
        let seen = self
            .detector
            .as_mut()
            .map(|detector| detector.see(&self.plan.meters, &job.label, push.id));
        for alert in seen.into_iter().flatten() {
            self.alerts.push(alert);
            self.plan_for(at.plus(ALERT_TAKES), Happening::Alert(self.alerts.len() - 1));
        }
    }

    fn outcome(&mut self, index: usize) -> Option<Outcome> {
        let job = self.jobs.get(index)?;
        let push = self.pushes.get(job.push)?.id;
        let rate = self
            .plan
            .defects
            .iter()
            .filter(|defect| defect.label == job.label && push >= defect.from)
            .map(|defect| defect.rate)
            .fold(self.plan.background, f64::max);
        if self.random.chance(self.plan.infra) {
            return Some(Outcome::Infra);
        }
        let label = job.label.clone();
        let rates = self.tests.iter().enumerate().filter_map(|(index, test)| {
            let (_, rate) = test.rates.iter().find(|(runs, _)| *runs == label)?;
            (push >= test.push).then_some((index, *rate))
        });
        let rates: Vec<(usize, f64)> = rates.collect();
        let failed: Vec<usize> = rates
            .into_iter()
            .filter_map(|(index, rate)| self.random.chance(rate).then_some(index))
            .collect();
        if !failed.is_empty() {
            self.failed_tests.insert(index, failed);
            return Some(Outcome::Failed);
        }
        Some(if self.random.chance(rate) {
            Outcome::Failed
        } else {
            Outcome::Passed
        })
    }

    fn say(&mut self, index: usize, at: Timestamp) {
        if let Some(job) = self.jobs.get(index)
            && let Some(push) = self.pushes.get(job.push)
        {
            self.outgoing.push(messages::job(&self.plan.project, push, job, at));
        }
    }
}
