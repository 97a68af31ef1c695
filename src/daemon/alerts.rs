//! New performance alerts: a Treeherder-compatible service is asked now and then, and what is new goes the way of messages.
//!
//! In: a service. Out: events in the books. Never: an alert from before the first look, an alert a second time.
//!
//! The number of the newest alert that was applied lies in the store. It is written after the alerts are, so what a crash
//! interrupts comes again, and the engine knows alerts that it has had.

use std::sync::Arc;

use tokio::sync::watch;

use super::pipeline::{Pipeline, Taken};
use super::{observe_notes, observe_taken};
use crate::clock::Clock;
use crate::engine::ledger::LedgerError;
use crate::enrich::{FactError, PerfherderSource};
use crate::event::{Duration, Event, PerfAlert};
use crate::wire::{self, DecodeError};

/// The setting under which the store keeps the number of the newest alert.
const CURSOR: &str = "perf-alerts";
/// Pages that are read in one look: a service that was out of reach for long has no more to say than that.
const MAX_PAGES: u32 = 20;

/// Asks a service until it is told to stop.
pub(super) async fn watch<P: AsRef<Pipeline> + Send + Sync>(
    source: PerfherderSource,
    shared: Arc<P>,
    clock: Arc<dyn Clock>,
    every: Duration,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let rest = match look(&source, (*shared).as_ref()).await {
            Ok(taken) => {
                observe_taken(&taken, clock.now());
                observe_notes(&taken.notes);
                every
            }
            Err(Trouble::Source(FactError::Later { retry_after, detail })) => {
                tracing::warn!(%detail, "performance alerts cannot be had now");
                every.max(retry_after.unwrap_or_default())
            }
            Err(trouble) => {
                tracing::warn!(error = %trouble, "performance alerts are not known");
                every
            }
        };
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(rest) => {}
        }
    }
}

/// Why the alerts could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The service does not answer, or with something else.
    #[error(transparent)]
    Source(#[from] FactError),
    /// Its answer cannot be read.
    #[error("the performance alerts: {0}")]
    Answer(#[from] DecodeError),
    /// The store is busy or damaged.
    #[error(transparent)]
    Store(#[from] LedgerError),
}

/// Looks once. The first time ever, nothing is taken: only what comes later is news.
///
/// # Errors
/// See [`Trouble`]; what was not taken is taken the next time.
pub async fn look(source: &PerfherderSource, pipeline: &Pipeline) -> Result<Taken, Trouble> {
    let store = pipeline.store();
    let kept = store
        .with(|store| store.transact(|books| books.setting(CURSOR)))
        .await?;
    let cursor: Option<u64> = kept.and_then(|text| text.parse().ok());
    let mut newest = cursor;
    let mut news: Vec<PerfAlert> = Vec::new();
    for number in 1..=MAX_PAGES {
        let page = wire::perf_alerts(&source.page(number).await?)?;
        newest = newest.max(page.newest);
        let is_news = |alert: &PerfAlert| cursor.is_some_and(|cursor| alert.id > cursor);
        news.extend(page.alerts.into_iter().filter(is_news));
        // The newest come first: a page with one that is no news is the last with any.
        let goes_on = page.has_next && cursor.is_some_and(|cursor| page.oldest.is_none_or(|oldest| oldest > cursor));
        if !goes_on {
            break;
        }
    }
    news.sort_by_key(|alert| alert.id);
    let events = news
        .into_iter()
        .map(|alert| Event::PerfAlert(Box::new(alert)))
        .collect();
    let taken = pipeline.apply_events(events).await?;
    if let Some(newest) = newest.filter(|_| newest != cursor) {
        store
            .with(move |store| store.transact(|books| books.set_setting(CURSOR, &newest.to_string())))
            .await?;
    }
    Ok(taken)
}
