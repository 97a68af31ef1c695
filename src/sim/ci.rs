//! The simulated CI behind the borders of the real one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::plan::{NewTest, Plan};
use super::world::{Push, SimEvent, World};
use crate::backends::{Apart, Backend, Finding, Found, JobRequest, Receipt, RequestError};
use crate::bus::{Batch, Bus, BusError};
use crate::clock::{Clock, ManualClock};
use crate::enrich::{FactError, FactSource, FailureFacts, GraphQuery, PushQuery};
use crate::event::{
    BackendName, Delivery, Duration, JobFacts, Measurement, Project, PushEvent, RunKey, TaskGraph, TaskId, Timestamp,
};
use crate::wire;

/// The name of the simulated CI as a backend.
const NAME: &str = "sim";
/// Requests that it takes with one call at most.
const TOGETHER: usize = 100;

/// A simulated CI. Clones share one world.
#[derive(Clone)]
pub struct SimCi {
    world: Arc<Mutex<World>>,
    queue: Arc<Mutex<VecDeque<Delivery>>>,
    clock: Arc<ManualClock>,
    name: BackendName,
}

impl SimCi {
    /// A CI at the beginning of its plan, with a clock that shows that moment.
    pub fn new(plan: Plan) -> SimCi {
        let start = plan.start;
        SimCi::of(World::new(plan), start)
    }

    fn of(world: World, start: Timestamp) -> SimCi {
        let clock = Arc::new(ManualClock::new(start));
        SimCi {
            world: Arc::new(Mutex::new(world)),
            queue: Arc::new(Mutex::new(VecDeque::new())),
            clock,
            name: BackendName::from(NAME),
        }
    }

    /// The same, with pushes that add tests.
    pub fn with_tests(plan: Plan, tests: Vec<NewTest>) -> SimCi {
        let start = plan.start;
        SimCi::of(World::new(plan).with_tests(tests), start)
    }

    /// The same, with a detector that raises an alert when a series steps.
    pub fn with_tests_and_detector(plan: Plan, tests: Vec<NewTest>) -> SimCi {
        let start = plan.start;
        SimCi::of(World::new(plan).with_tests(tests).with_detector(), start)
    }

    /// Its clock.
    pub fn clock(&self) -> Arc<ManualClock> {
        Arc::clone(&self.clock)
    }

    /// Its name as a backend.
    pub fn name(&self) -> &BackendName {
        &self.name
    }

    /// When the next thing happens.
    pub fn next_at(&self) -> Option<Timestamp> {
        self.world().next_at()
    }

    /// Moves the clock to the next thing that happens, and lets it happen: its messages are on the bus then.
    pub fn step(&self) -> Option<(Timestamp, SimEvent)> {
        let mut world = self.world();
        let (at, event) = world.step()?;
        self.clock.set(at);
        let messages = world.take_outgoing();
        drop(world);
        lock(&self.queue).extend(messages);
        Some((at, event))
    }

    /// Jobs made so far: on request, and in all.
    pub fn jobs(&self) -> (u64, usize) {
        let world = self.world();
        (world.asked(), world.job_count())
    }

    /// Tasks that were taken back.
    pub fn cancelled(&self) -> usize {
        self.world().cancelled()
    }

    /// The bus of this CI.
    pub fn bus(&self) -> SimBus {
        SimBus {
            queue: Arc::clone(&self.queue),
            next_tag: 1,
        }
    }

    /// The side of this CI that takes requests.
    pub fn backend(&self) -> SimBackend {
        SimBackend(self.clone())
    }

    /// The side of this CI that answers questions.
    pub fn facts(&self) -> SimFacts {
        SimFacts(self.clone())
    }

    fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }
}

/// A panic elsewhere does not make the simulated world less true.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The simulated CI as a source of messages.
pub struct SimBus {
    queue: Arc<Mutex<VecDeque<Delivery>>>,
    next_tag: u64,
}

#[async_trait]
impl Bus for SimBus {
    async fn next(&mut self, max: usize, _linger: Duration, _idle: Duration) -> Result<Batch, BusError> {
        let mut queue = lock(&self.queue);
        let count = max.min(queue.len());
        let mut deliveries: Vec<Delivery> = queue.drain(..count).collect();
        for delivery in &mut deliveries {
            delivery.tag = self.next_tag;
            self.next_tag += 1;
        }
        Ok(if deliveries.is_empty() {
            Batch::Idle
        } else {
            Batch::Deliveries(deliveries)
        })
    }

    async fn ack(&mut self, _tag: u64) -> Result<(), BusError> {
        Ok(())
    }

    async fn close(&mut self) {}
}

/// The simulated CI as something that can be asked for jobs.
pub struct SimBackend(SimCi);

#[async_trait]
impl Backend for SimBackend {
    fn name(&self) -> &BackendName {
        &self.0.name
    }

    async fn request(&self, request: &JobRequest) -> Result<Receipt, RequestError> {
        let now = self.0.clock.now();
        match self.0.world().request(request, now) {
            Ok(task) => Ok(receipt(task)),
            Err(why) => Err(RequestError::NotPossible(why)),
        }
    }

    fn most_together(&self) -> usize {
        TOGETHER
    }

    async fn request_together(&self, requests: &[JobRequest]) -> Result<Vec<Result<Receipt, RequestError>>, Apart> {
        let now = self.0.clock.now();
        let task = self.0.world().request_together(requests, now).map_err(Apart)?;
        Ok(requests.iter().map(|_| Ok(receipt(task.clone()))).collect())
    }

    async fn find(&self, request: &JobRequest, _sent_at: Timestamp) -> Result<Found, RequestError> {
        let found = self.0.world().action_of(request);
        Ok(found.map_or(Found::NotDone, |task| Found::Done(receipt(task))))
    }

    async fn cancel(&self, task: &TaskId) -> Result<(), RequestError> {
        let now = self.0.clock.now();
        let mut world = self.0.world();
        world.cancel(task, now);
        let messages = world.take_outgoing();
        drop(world);
        lock(&self.0.queue).extend(messages);
        Ok(())
    }

    async fn check(&self) -> Vec<Finding> {
        Vec::new()
    }
}

fn receipt(task: TaskId) -> Receipt {
    Receipt {
        reference: None,
        action_task: Some(task),
    }
}

/// The simulated CI as a source of facts.
pub struct SimFacts(SimCi);

#[async_trait]
impl FactSource for SimFacts {
    async fn task(&self, _backend: &BackendName, task: &TaskId) -> Result<JobFacts, FactError> {
        let definition = self
            .0
            .world()
            .definition(task)
            .ok_or_else(|| FactError::Absent(format!("task {task}")))?;
        wire::task::facts(definition.to_string()).map_err(|error| FactError::Malformed(error.to_string()))
    }

    async fn failures(&self, run: &RunKey) -> Result<FailureFacts, FactError> {
        let failures = self.0.world().failures(&run.task);
        let (signatures, groups) = failures.ok_or(FactError::NoSource("what failed in a run"))?;
        Ok(FailureFacts { signatures, groups })
    }

    async fn pushes(&self, project: &Project, query: &PushQuery) -> Result<Vec<PushEvent>, FactError> {
        let wanted = |push: &Push| match query {
            PushQuery::Revision(revision) => push.revision == *revision,
            PushQuery::Range { from, to } => (*from..=*to).contains(&push.id),
        };
        let mut pushes = Vec::new();
        for (answer, files) in self.0.world().landed(wanted) {
            let mut found = wire::pushlog::pushes(&answer.to_string(), project)
                .map_err(|error| FactError::Malformed(error.to_string()))?;
            for changeset in found.iter_mut().flat_map(|push| &mut push.changesets) {
                changeset.files.clone_from(&files);
            }
            pushes.append(&mut found);
        }
        Ok(pushes)
    }

    async fn added(&self, _project: &Project, node: &str) -> Result<Vec<Arc<str>>, FactError> {
        Ok(self.0.world().added(node))
    }

    async fn graph(&self, _project: &Project, query: &GraphQuery) -> Result<TaskGraph, FactError> {
        let now = self.0.clock.now();
        let graph = self.0.world().graph(query.push, &query.places, now);
        graph.ok_or_else(|| FactError::Absent(format!("decision task of push {}", query.push)))
    }

    async fn values(&self, run: &RunKey) -> Result<Vec<Measurement>, FactError> {
        let artifact = self
            .0
            .world()
            .artifact(&run.task)
            .ok_or_else(|| FactError::Absent(format!("results of run {run}")))?;
        wire::perfherder_data(artifact.to_string().as_bytes()).map_err(|error| FactError::Malformed(error.to_string()))
    }
}
