//! A source of facts, asked politely: every fact once, not too fast, not too many at a time.
//!
//! In: questions, many of them the same. Out: remembered answers, or those of the source behind. Never: two equal
//! questions under way at once, more memory than its bounds, or a question to a source that asked to be left alone.
//!
//! What never changes (a task's definition, a finished run's artifacts, landed pushes) is kept until something newer
//! needs the room. What may still come to be (an absent thing, a range of pushes not all landed) is kept for a while.
//! Trouble is not kept, but a source that names a time to come back is left alone until then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::Deserialize;
use tokio::sync::{Semaphore, watch};

use super::pace::TokenBucket;
use super::{BugQuery, FactError, FactSource, FailureFacts, GraphQuery, NamedJob, PushQuery};
use crate::event::{BackendName, Bug, JobFacts, Measurement, Project, PushEvent, RunKey, TaskGraph, TaskId};

/// How a source may be asked.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheSettings {
    /// Answers kept in memory: about 2 KB each for tasks.
    pub capacity: usize,
    /// How long "there is no such thing" is believed, in seconds.
    pub absent_seconds: u64,
    /// Questions a second in the long run, over 0.
    pub per_second: f64,
    /// Questions at once after a pause, 1 or more.
    pub burst: u32,
    /// Questions under way at a time, 1 or more.
    pub concurrent: usize,
    /// Questions waiting or under way at most. Further ones are told to come back: their events wait in the inbox.
    pub max_waiting: usize,
}

impl Default for CacheSettings {
    fn default() -> Self {
        CacheSettings {
            capacity: 10_000,
            absent_seconds: 300,
            per_second: 20.0,
            burst: 40,
            concurrent: 8,
            max_waiting: 2_000,
        }
    }
}

/// How long somebody waits who came when too many were waiting.
const COME_BACK: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Question {
    Task(BackendName, TaskId),
    Failures(RunKey),
    Pushes(Project, PushQuery),
    Added(Project, Arc<str>),
    Bugs(BugQuery),
    Graph(Project, GraphQuery),
    Values(RunKey),
    Job(Project, u64),
}

#[derive(Debug, Clone)]
enum Fact {
    Task(Arc<JobFacts>),
    Failures(Arc<FailureFacts>),
    Pushes(Arc<Vec<PushEvent>>),
    Added(Arc<Vec<Arc<str>>>),
    Bugs(Arc<Vec<Bug>>),
    Graph(Arc<TaskGraph>),
    Values(Arc<Vec<Measurement>>),
    Job(Arc<NamedJob>),
}

type Answer = Result<Fact, FactError>;

/// An answer that is kept.
#[derive(Debug, Clone)]
struct Kept {
    answer: Answer,
    /// Until when it is believed; `None`: for good.
    until: Option<Instant>,
}

impl Kept {
    /// The answer, while it is believed.
    fn at(&self, now: Instant) -> Option<Answer> {
        self.until.is_none_or(|until| now < until).then(|| self.answer.clone())
    }
}

struct State {
    kept: crate::lru::Lru<Question, Kept>,
    under_way: HashMap<Question, watch::Receiver<Option<Answer>>>,
    bucket: TokenBucket,
    quiet_until: Option<Instant>,
}

struct Shared {
    source: Arc<dyn FactSource>,
    settings: CacheSettings,
    slots: Semaphore,
    state: Mutex<State>,
}

/// A source of facts behind a cache.
#[derive(Clone)]
pub struct CachedSource(Arc<Shared>);

impl CachedSource {
    /// Puts a cache before `source`.
    pub fn new(source: Arc<dyn FactSource>, settings: CacheSettings) -> CachedSource {
        let state = State {
            kept: crate::lru::Lru::new(settings.capacity),
            under_way: HashMap::new(),
            bucket: TokenBucket::new(settings.per_second, settings.burst, Instant::now()),
            quiet_until: None,
        };
        let slots = Semaphore::new(settings.concurrent.clamp(1, Semaphore::MAX_PERMITS));
        CachedSource(Arc::new(Shared {
            source,
            settings,
            slots,
            state: Mutex::new(state),
        }))
    }

    async fn ask(&self, question: Question) -> Answer {
        let mut answer = match self.0.look(&question)? {
            Look::Kept(answer) => return answer,
            Look::UnderWay(answer) => answer,
            Look::Ours(sender, answer) => {
                // On a task of its own: whoever asked first may go away, and others wait for the same answer.
                tokio::spawn(
                    Flight {
                        shared: self.0.clone(),
                        question,
                    }
                    .run(sender),
                );
                answer
            }
        };
        match answer.wait_for(Option::is_some).await.map(|answer| answer.clone()) {
            Ok(Some(answer)) => answer,
            Ok(None) | Err(_) => {
                let detail = "the question was given up before its answer came".to_owned();
                Err(FactError::Later {
                    retry_after: None,
                    detail,
                })
            }
        }
    }
}

/// What is known of a question when it is asked.
enum Look {
    Kept(Answer),
    UnderWay(watch::Receiver<Option<Answer>>),
    Ours(watch::Sender<Option<Answer>>, watch::Receiver<Option<Answer>>),
}

impl Shared {
    /// The state. Poisoning is of no consequence: it is sound between any two statements that change it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, question: &Question) -> Result<Look, FactError> {
        let now = Instant::now();
        let mut state = self.state();
        if let Some(answer) = state.kept.get(question).and_then(|kept| kept.at(now)) {
            return Ok(Look::Kept(answer));
        }
        if let Some(answer) = state.under_way.get(question) {
            return Ok(Look::UnderWay(answer.clone()));
        }
        if let Some(until) = state.quiet_until.filter(|until| now < *until) {
            return Err(left_alone(until - now));
        }
        if state.under_way.len() >= self.settings.max_waiting {
            let detail = format!("{} questions are waiting already", state.under_way.len());
            return Err(FactError::Later {
                retry_after: Some(COME_BACK),
                detail,
            });
        }
        let (sender, receiver) = watch::channel(None);
        state.under_way.insert(question.clone(), receiver.clone());
        Ok(Look::Ours(sender, receiver))
    }

    /// Waits for the turn of one question, at most as many at a time as there are slots, none while the source is left
    /// alone.
    async fn fetch(&self, question: &Question) -> Answer {
        // The semaphore is never closed; were it, asking without a slot is the lesser harm.
        let _slot = self.slots.acquire().await;
        loop {
            let now = Instant::now();
            let wait = {
                let mut state = self.state();
                if let Some(until) = state.quiet_until.filter(|until| now < *until) {
                    return Err(left_alone(until - now));
                }
                state.bucket.take(now)
            };
            match wait {
                Ok(()) => break,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
        match question {
            Question::Task(backend, task) => self.source.task(backend, task).await.map(|f| Fact::Task(Arc::new(f))),
            Question::Failures(run) => self.source.failures(run).await.map(|f| Fact::Failures(Arc::new(f))),
            Question::Values(run) => self.source.values(run).await.map(|f| Fact::Values(Arc::new(f))),
            Question::Job(project, number) => self.source.job(project, *number).await.map(|f| Fact::Job(Arc::new(f))),
            Question::Pushes(project, query) => self
                .source
                .pushes(project, query)
                .await
                .map(|f| Fact::Pushes(Arc::new(f))),
            Question::Added(project, node) => self.source.added(project, node).await.map(|f| Fact::Added(Arc::new(f))),
            Question::Bugs(query) => self.source.bugs(query).await.map(|f| Fact::Bugs(Arc::new(f))),
            Question::Graph(project, query) => self
                .source
                .graph(project, query)
                .await
                .map(|f| Fact::Graph(Arc::new(f))),
        }
    }
}

fn left_alone(wait: Duration) -> FactError {
    let detail = "the source asked to be left alone for now".to_owned();
    FactError::Later {
        retry_after: Some(wait),
        detail,
    }
}

/// A question under way. However it ends, by panic too, it is under way no longer.
struct Flight {
    shared: Arc<Shared>,
    question: Question,
}

impl Flight {
    async fn run(self, sender: watch::Sender<Option<Answer>>) {
        let answer = self.shared.fetch(&self.question).await;
        let now = Instant::now();
        let mut state = self.shared.state();
        if let Err(FactError::Later {
            retry_after: Some(wait),
            ..
        }) = &answer
        {
            let until = now + *wait;
            state.quiet_until = Some(state.quiet_until.map_or(until, |already| already.max(until)));
        }
        if let Some(until) = keep_until(
            &self.question,
            &answer,
            now + Duration::from_secs(self.shared.settings.absent_seconds),
        ) {
            state.kept.insert(
                self.question.clone(),
                Kept {
                    answer: answer.clone(),
                    until,
                },
            );
        }
        // Kept first, then no longer under way: nobody finds neither. Nobody waiting any more is no error.
        state.under_way.remove(&self.question);
        drop(state);
        let _ = sender.send(Some(answer));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.shared.state().under_way.remove(&self.question);
    }
}

/// How long an answer is kept: `None` not at all, `Some(None)` for good, else until `for_now`.
fn keep_until(question: &Question, answer: &Answer, for_now: Instant) -> Option<Option<Instant>> {
    match (question, answer) {
        (Question::Pushes(_, PushQuery::Range { to, .. }), Ok(Fact::Pushes(pushes))) => {
            let all_landed = pushes.iter().any(|push| push.push == Some(*to));
            Some((!all_landed).then_some(for_now))
        }
        // Bugs get keywords and whiteboards while they live.
        (Question::Bugs(_), Ok(_)) => Some(Some(for_now)),
        // It is large, and whoever asked writes it down.
        (Question::Graph(..), Ok(_)) => None,
        (_, Ok(_)) => Some(None),
        (_, Err(FactError::Absent(_))) => Some(Some(for_now)),
        (_, Err(FactError::Later { .. } | FactError::Malformed(_) | FactError::NoSource(_))) => None,
    }
}

/// What was asked for, out of what was answered. Answers are kept by their questions: another kind cannot be there.
fn mismatch() -> FactError {
    FactError::Malformed("the cache holds an answer to another kind of question".to_owned())
}

#[async_trait]
impl FactSource for CachedSource {
    async fn task(&self, backend: &BackendName, task: &TaskId) -> Result<JobFacts, FactError> {
        match self.ask(Question::Task(backend.clone(), task.clone())).await? {
            Fact::Task(facts) => Ok((*facts).clone()),
            _ => Err(mismatch()),
        }
    }

    async fn failures(&self, run: &RunKey) -> Result<FailureFacts, FactError> {
        match self.ask(Question::Failures(run.clone())).await? {
            Fact::Failures(facts) => Ok((*facts).clone()),
            _ => Err(mismatch()),
        }
    }

    async fn pushes(&self, project: &Project, query: &PushQuery) -> Result<Vec<PushEvent>, FactError> {
        match self.ask(Question::Pushes(project.clone(), query.clone())).await? {
            Fact::Pushes(pushes) => Ok((*pushes).clone()),
            _ => Err(mismatch()),
        }
    }

    async fn added(&self, project: &Project, node: &str) -> Result<Vec<Arc<str>>, FactError> {
        match self.ask(Question::Added(project.clone(), node.into())).await? {
            Fact::Added(files) => Ok((*files).clone()),
            _ => Err(mismatch()),
        }
    }

    async fn bugs(&self, query: &BugQuery) -> Result<Vec<Bug>, FactError> {
        match self.ask(Question::Bugs(query.clone())).await? {
            Fact::Bugs(bugs) => Ok((*bugs).clone()),
            _ => Err(mismatch()),
        }
    }

    async fn graph(&self, project: &Project, query: &GraphQuery) -> Result<TaskGraph, FactError> {
        match self.ask(Question::Graph(project.clone(), query.clone())).await? {
            Fact::Graph(graph) => Ok((*graph).clone()),
            _ => Err(mismatch()),
        }
    }

    async fn job(&self, project: &Project, number: u64) -> Result<NamedJob, FactError> {
        match self.ask(Question::Job(project.clone(), number)).await? {
            Fact::Job(job) => Ok((*job).clone()),
            _ => Err(mismatch()),
        }
    }

    async fn values(&self, run: &RunKey) -> Result<Vec<Measurement>, FactError> {
        match self.ask(Question::Values(run.clone())).await? {
            Fact::Values(values) => Ok((*values).clone()),
            _ => Err(mismatch()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{PushId, Revision};

    fn push(number: u64) -> PushEvent {
        PushEvent {
            project: Project::from("p"),
            push: Some(PushId(number)),
            revision: Revision::from("r"),
            at: None,
            user: None,
            changesets: Vec::new(),
        }
    }

    #[test]
    fn what_may_still_come_to_be_is_kept_for_a_while_only() {
        let later = Instant::now() + Duration::from_secs(60);
        let range = Question::Pushes(
            Project::from("p"),
            PushQuery::Range {
                from: PushId(1),
                to: PushId(2),
            },
        );
        let pushes = |numbers: &[u64]| Ok(Fact::Pushes(Arc::new(numbers.iter().map(|n| push(*n)).collect())));
        assert_eq!(keep_until(&range, &pushes(&[1, 2]), later), Some(None));
        assert_eq!(keep_until(&range, &pushes(&[1]), later), Some(Some(later)));
        let task = Question::Task(BackendName::from("b"), TaskId::from("t"));
        assert_eq!(
            keep_until(&task, &Err(FactError::Absent("task t".into())), later),
            Some(Some(later))
        );
        assert_eq!(keep_until(&task, &Err(FactError::Malformed("x".into())), later), None);
    }

    #[test]
    fn an_answer_is_believed_until_its_time_is_up() {
        let now = Instant::now();
        let absent: Answer = Err(FactError::Absent("task t".into()));
        let kept = Kept {
            answer: absent,
            until: Some(now + Duration::from_secs(1)),
        };
        assert!(kept.at(now).is_some());
        assert!(kept.at(now + Duration::from_secs(1)).is_none());
    }
}
