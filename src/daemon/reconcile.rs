//! After messages may have been lost: what they said is fetched from where it is known for certain.
//!
//! In: since when messages may be missing. Out: pushes from the pushlog, and the runs of the pushes of that time, taken
//! through the very same path as messages: the latest of every task of a push's task group, or, where that is not to be
//! had, all that a Treeherder-compatible service lists. Never: a second effect of what is known already; more questions a
//! second or pushes than configured; the engine's work held up: everything goes in small batches.
//!
//! That a reconciliation is due is written into the store before it begins and taken out when it is done: a restart in
//! the middle begins it anew.

use std::sync::Arc;

use futures_core::future::BoxFuture;
use tokio::sync::{Notify, watch};

use super::observe_notes;
use super::pipeline::{Pipeline, Reading};
use crate::clock::Clock;
use crate::config::ReconcileSection;
use crate::current::Current;
use crate::engine::ledger::LedgerError;
use crate::enrich::{FactError, FactSource, GroupSource, PushQuery, TreeherderSource};
use crate::event::{Duration, Event, Project, PushId, Timestamp};
use crate::store::Handle;
use crate::store::sqlite::KnownPush;
use crate::telemetry::metric;
use crate::wire::JobRow;

/// The setting under which the store keeps since when messages may be missing.
const DUE_SINCE: &str = "reconcile_since";
/// Pushes asked for in one question.
const PUSHES_TOGETHER: u64 = 50;
/// Pushes before the newest known one that are asked for again: those that came out of order, or were lost before it.
const PUSHES_BACK: u64 = 20;
/// Pages of one group, at most: 200 tasks each.
const PAGES_OF_A_GROUP: u32 = 100;
/// Pages of jobs of one push, at most: 1,000 jobs each.
const PAGES_OF_A_PUSH: u32 = 50;
/// Runs that are taken together.
const RUNS_TOGETHER: usize = 200;
/// How long to wait before a source that did not answer is asked again, unless it says so itself.
const PATIENCE: Duration = Duration::from_secs(60);
/// Times one question is asked.
const TRIES: u32 = 5;

/// What a reconciliation found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reconciled {
    /// Pushes that the pushlog named.
    pub pushes: u64,
    /// Task groups that were looked through.
    pub groups: u64,
    /// Pushes whose jobs a Treeherder listed, for want of their task groups.
    pub lists: u64,
    /// Runs that they named.
    pub runs: u64,
    /// Pushes and groups that were left out, because of the bounds or because nobody answered.
    pub left_out: u64,
}

/// Why one did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The store is busy or damaged.
    #[error(transparent)]
    Store(#[from] LedgerError),
    /// It was told to stop.
    #[error("told to stop")]
    Stopped,
}

/// Fetches what was missed.
pub struct Reconciler {
    /// Where pushes come from.
    pub pushes: Arc<dyn FactSource>,
    /// Where runs come from; `None`: there are no task groups.
    pub groups: Option<GroupSource>,
    /// Where runs of pushes come from whose task groups are not to be had; `None`: nowhere.
    pub treeherder: Option<TreeherderSource>,
    /// The projects that are watched by name; empty: all that the store knows.
    pub projects: Vec<Project>,
    /// The bounds.
    pub settings: ReconcileSection,
}

/// Takes note that messages may be missing since the newest run that the store knows; earlier notes stay. Returns
/// whether one is due now.
///
/// # Errors
/// The store is busy or damaged.
pub async fn messages_may_be_missing(store: &Handle) -> Result<bool, LedgerError> {
    store
        .with(|store| {
            store.transact(|books| {
                if books.setting(DUE_SINCE)?.is_some() {
                    return Ok(true);
                }
                let Some(newest) = books.newest_run()? else {
                    return Ok(false);
                };
                books.set_setting(DUE_SINCE, &newest.0.to_string())?;
                Ok(true)
            })
        })
        .await
}

/// At the start: messages may be missing if the newest run is old, or an earlier reconciliation was not done.
///
/// # Errors
/// The store is busy or damaged.
pub async fn check_at_start(store: &Handle, after: Duration, now: Timestamp) -> Result<bool, LedgerError> {
    let (is_due, newest) = store
        .with(|store| store.transact(|books| Ok((books.setting(DUE_SINCE)?.is_some(), books.newest_run()?))))
        .await?;
    if is_due || newest.is_some_and(|newest| now.since(newest) > after) {
        return messages_may_be_missing(store).await;
    }
    Ok(false)
}

/// Reconciles whenever it is told that one is due, until it is told to stop; each time with the reconciler in force.
pub(super) async fn watch(
    reconciler: &Current<Reconciler>,
    pipeline: &Pipeline,
    clock: &dyn Clock,
    due: &Notify,
    work: &Notify,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            () = due.notified() => {}
        }
        match reconciler.get().run(pipeline, clock, stopping.clone()).await {
            Ok(found) => {
                let Reconciled {
                    pushes,
                    groups,
                    lists,
                    runs,
                    left_out,
                } = found;
                tracing::info!(
                    pushes,
                    groups,
                    lists,
                    runs,
                    left_out,
                    "reconciled with what the CI says"
                );
            }
            Err(ReconcileError::Stopped) => return,
            Err(error) => tracing::error!(%error, "not reconciled; tried again at the next start or loss"),
        }
        work.notify_one();
    }
}

impl Reconciler {
    /// Fetches everything that may be missing, if something may.
    ///
    /// # Errors
    /// See [`ReconcileError`]. What was fetched is in the books; the rest is fetched the next time.
    pub async fn run(
        &self,
        pipeline: &Pipeline,
        clock: &dyn Clock,
        stopping: watch::Receiver<bool>,
    ) -> Result<Reconciled, ReconcileError> {
        let store = pipeline.store();
        let since = store
            .with(|store| store.transact(|books| books.setting(DUE_SINCE)))
            .await?;
        let Some(since) = since.and_then(|text| text.parse().ok()).map(Timestamp) else {
            return Ok(Reconciled::default());
        };
        tracing::warn!(%since, "messages may be missing: asking the CI what happened");
        let mut pass = Pass {
            reconciler: self,
            pipeline,
            pace: Duration::from_secs_f64(1.0 / self.settings.requests_per_second.max(0.001)),
            stopping,
            found: Reconciled::default(),
        };
        let known = store.with(|store| store.transact(|books| books.projects())).await?;
        let projects = if self.projects.is_empty() {
            known
        } else {
            self.projects.clone()
        };
        for project in &projects {
            pass.fetch_pushes(project).await?;
        }
        if self.groups.is_some() || self.treeherder.is_some() {
            let landed_since = since.minus(self.settings.look_back);
            for push in pass.landed(&projects, landed_since, clock.now()).await? {
                pass.fetch_runs(&push).await?;
            }
        }
        let found = pass.found;
        store
            .with(|store| store.transact(|books| books.forget_setting(DUE_SINCE)))
            .await?;
        Ok(found)
    }
}

/// One reconciliation.
struct Pass<'a> {
    reconciler: &'a Reconciler,
    pipeline: &'a Pipeline,
    pace: Duration,
    stopping: watch::Receiver<bool>,
    found: Reconciled,
}

impl Pass<'_> {
    async fn rest(&mut self, span: Duration) -> Result<(), ReconcileError> {
        tokio::select! {
            _ = self.stopping.wait_for(|stop| *stop) => Err(ReconcileError::Stopped),
            () = tokio::time::sleep(span) => Ok(()),
        }
    }

    /// Asks one question at the pace that is allowed, and again when the source asks for patience. `None`: it has no
    /// answer.
    async fn ask<'q, T>(
        &mut self,
        what: &str,
        question: impl Fn() -> BoxFuture<'q, Result<T, FactError>> + Send,
    ) -> Result<Option<T>, ReconcileError> {
        for _ in 0..TRIES {
            self.rest(self.pace).await?;
            match question().await {
                Ok(answer) => return Ok(Some(answer)),
                Err(FactError::Later { retry_after, detail }) => {
                    tracing::warn!(what, %detail, "asked again later");
                    self.rest(retry_after.unwrap_or(PATIENCE)).await?;
                }
                Err(FactError::NoSource(_)) => return Ok(None),
                Err(error) => {
                    tracing::warn!(what, %error, "it cannot be had, and is left out");
                    self.found.left_out += 1;
                    return Ok(None);
                }
            }
        }
        self.found.left_out += 1;
        Ok(None)
    }

    async fn fetch_pushes(&mut self, project: &Project) -> Result<(), ReconcileError> {
        let name = project.clone();
        let newest = self
            .pipeline
            .store()
            .with(move |store| store.transact(|books| books.newest_push(&name)))
            .await?;
        let Some((newest, _)) = newest else { return Ok(()) };
        let first = newest.0.saturating_sub(PUSHES_BACK).max(1);
        let mut from = first;
        loop {
            let to = from + PUSHES_TOGETHER - 1;
            let query = PushQuery::Range {
                from: PushId(from),
                to: PushId(to),
            };
            let source = Arc::clone(&self.reconciler.pushes);
            let pushes = self
                .ask("pushes", || source.pushes(project, &query))
                .await?
                .unwrap_or_default();
            let highest = pushes.iter().filter_map(|push| push.push).max();
            self.found.pushes += pushes.len() as u64;
            metric::RECONCILED.counter(&["push"]).increment(pushes.len() as u64);
            let events: Vec<Event> = pushes.into_iter().map(|push| Event::Push(Box::new(push))).collect();
            if !events.is_empty() {
                let taken = self.pipeline.apply(Reading::of(events)).await?;
                observe_notes(&taken.notes);
            }
            match highest {
                // The last of the page is there: there may be more.
                Some(highest) if highest.0 >= to => from = to + 1,
                _ => return Ok(()),
            }
            if from - first >= self.reconciler.settings.max_pushes {
                tracing::warn!(%project, "more pushes were missed than are fetched");
                self.found.left_out += 1;
                return Ok(());
            }
        }
    }

    /// The pushes of a time, the newest first.
    async fn landed(
        &mut self,
        projects: &[Project],
        landed_since: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<KnownPush>, ReconcileError> {
        let names = projects.to_vec();
        let max = self.reconciler.settings.max_groups;
        let mut pushes = self
            .pipeline
            .store()
            .with(move |store| store.transact(|books| books.pushes_since(&names, landed_since, now, max + 1)))
            .await?;
        if pushes.len() > max as usize {
            tracing::warn!(max, "more pushes landed meanwhile than are looked through");
            self.found.left_out += 1;
            pushes.truncate(max as usize);
        }
        Ok(pushes)
    }

    /// Takes the runs of a push: those of its task group, or else those that a Treeherder lists.
    async fn fetch_runs(&mut self, push: &KnownPush) -> Result<(), ReconcileError> {
        let left_out = self.found.left_out;
        if let Some(source) = &self.reconciler.groups
            && self.look_through_group(source, push).await?
        {
            return Ok(());
        }
        if let Some(source) = &self.reconciler.treeherder {
            let had_it = self.look_through_list(source, push).await?;
            // It is one push, however many sources lack it, and none if one of them has it.
            let most = left_out + u64::from(!had_it);
            self.found.left_out = self.found.left_out.min(most);
        }
        Ok(())
    }

    /// Takes the runs of a push's task group; whether they were to be had.
    async fn look_through_group(&mut self, source: &GroupSource, push: &KnownPush) -> Result<bool, ReconcileError> {
        let group = match (&push.group, &push.revision) {
            (Some(group), _) => Some(group.clone()),
            (None, Some(revision)) => self
                .ask("decision task", || {
                    Box::pin(source.of_push(&push.project, push.push, revision))
                })
                .await?
                .flatten(),
            (None, None) => None,
        };
        let Some(group) = group else { return Ok(false) };
        let mut next: Option<String> = None;
        for _ in 0..PAGES_OF_A_GROUP {
            let page = self
                .ask("task group", || Box::pin(source.page(&group, next.as_deref())))
                .await?;
            let Some(page) = page else { return Ok(false) };
            if !page.messages.is_empty() {
                let taken = self.pipeline.take(&page.messages).await?;
                observe_notes(&taken.notes);
            }
            self.count_runs(page.messages.len());
            match page.next {
                Some(token) => next = Some(token),
                None => {
                    self.found.groups += 1;
                    metric::RECONCILED.counter(&["group"]).increment(1);
                    return Ok(true);
                }
            }
        }
        self.found.left_out += 1;
        Ok(true)
    }

    /// Takes the runs of a push that a Treeherder lists; whether they were to be had.
    async fn look_through_list(&mut self, source: &TreeherderSource, push: &KnownPush) -> Result<bool, ReconcileError> {
        let Some(revision) = &push.revision else {
            return Ok(false);
        };
        let project = &push.project;
        let number = self
            .ask("the push's number", || Box::pin(source.push(project, revision)))
            .await?
            .flatten();
        let Some(number) = number else { return Ok(false) };
        let wire = self.pipeline.wire();
        for page in 0..PAGES_OF_A_PUSH {
            let answer = self
                .ask("the push's jobs", || Box::pin(source.jobs(project, number, page, wire)))
                .await?;
            let Some((list, has_more)) = answer else {
                return Ok(false);
            };
            if list.unreadable > 0 {
                tracing::warn!(%project, push = push.push.0, unreadable = list.unreadable, "listed jobs cannot be read");
            }
            for rows in list.rows.chunks(RUNS_TOGETHER) {
                let events = rows.iter().map(|row| listed_job(row, push)).collect();
                let taken = self.pipeline.apply(Reading::of(events)).await?;
                observe_notes(&taken.notes);
            }
            self.count_runs(list.rows.len());
            if !has_more {
                self.found.lists += 1;
                metric::RECONCILED.counter(&["list"]).increment(1);
                return Ok(true);
            }
        }
        self.found.left_out += 1;
        Ok(false)
    }

    fn count_runs(&mut self, runs: usize) {
        self.found.runs += runs as u64;
        metric::RECONCILED.counter(&["run"]).increment(runs as u64);
    }
}

/// What a listed job says, on the push as the pushlog has it: a Treeherder numbers pushes in its own way.
fn listed_job(row: &JobRow, push: &KnownPush) -> Event {
    let mut job = row.job.clone();
    job.facts.project = Some(push.project.clone());
    job.facts.push = Some(push.push);
    job.facts.revision.clone_from(&push.revision);
    Event::Job(Box::new(job))
}
