//! From what happened to metrics and log lines.

use std::collections::BTreeMap;

use super::pipeline::Taken;
use crate::dispatch::limits::Brakes;
use crate::dispatch::{Counted, Outcome, Round, are_credentials_refused, open_breakers};
use crate::engine::Note;
use crate::engine::ledger::{DecisionResult, LedgerError};
use crate::event::{BackendName, Timestamp};
use crate::store::sqlite::{Books, PauseScope};
use crate::telemetry::metric;

/// Counts a batch of deliveries.
pub fn observe_taken(taken: &Taken, now: Timestamp) {
    for (event, count) in &taken.events {
        metric::EVENTS_RECEIVED.counter(&[event]).increment(*count);
    }
    for (reason, count) in taken.ignored.iter().chain(&taken.dead) {
        metric::EVENTS_DISCARDED.counter(&[reason]).increment(*count);
    }
    if let Some(latest) = taken.latest {
        metric::EVENT_LAG.histogram(&[]).record(now.since(latest).as_secs_f64());
        metric::LAST_EVENT.gauge(&[]).set(now.as_seconds());
    }
}

/// Counts and logs what happened to cases.
pub fn observe_notes(notes: &[Note]) {
    let mut discarded: BTreeMap<&str, u64> = BTreeMap::new();
    for note in notes {
        match note {
            Note::Discarded(why) => *discarded.entry(why.as_str()).or_default() += 1,
            Note::Waits(_) => {}
            Note::Decided(decision) => {
                metric::RULE_EVALUATIONS.counter(&[&decision.rule]).increment(1);
                match decision.result {
                    DecisionResult::Opened => metric::RULE_MATCHES.counter(&[&decision.rule]).increment(1),
                    DecisionResult::No(reason) => {
                        metric::ACTIONS_SUPPRESSED.counter(&[reason.as_str()]).increment(1);
                        tracing::debug!(event = %decision.event, rule = %decision.rule, %reason, "opens nothing");
                    }
                }
            }
            Note::Opened(case) => {
                metric::CASES_OPENED
                    .counter(&[case.params.kind().as_str()])
                    .increment(1);
                tracing::info!(case = %case.id, kind = %case.params.kind(), about = %case.subject,
                    rule = case.cause.rule_name(), "a case is opened");
            }
            Note::HeldBack(case, reason) => {
                metric::ACTIONS_SUPPRESSED.counter(&[reason.as_str()]).increment(1);
                tracing::info!(case = %case.id, %reason, about = %case.subject, "a case asks for nothing");
            }
            Note::Asked(case, requests) => {
                let jobs: u32 = requests.iter().map(|request| request.times).sum();
                tracing::info!(case = %case.id, jobs, why = %case.why, shadow = case.is_shadow(), "a case asks for jobs");
            }
            Note::Established(case, levels) => {
                for level in levels {
                    tracing::info!(case = %case.id, about = %case.subject, %level, "a baseline is established");
                }
            }
            Note::Closed(case) => {
                let verdict = case.verdict.as_ref().map_or("", |verdict| verdict.kind.as_str());
                metric::CASES_CLOSED
                    .counter(&[case.params.kind().as_str(), verdict])
                    .increment(1);
                tracing::info!(case = %case.id, verdict, why = %case.why, about = %case.subject, "a case is closed");
            }
        }
    }
    for (reason, count) in discarded {
        metric::EVENTS_DISCARDED.counter(&[reason]).increment(count);
    }
}

/// Counts and logs a round of the dispatcher.
pub fn observe_round(round: &Round, backend: &BackendName) {
    for (request, rule, outcome, took) in &round.done {
        metric::ACTIONS
            .counter(&[rule, backend.as_str(), outcome.as_str()])
            .increment(1);
        metric::ACTION_DURATION
            .histogram(&[backend.as_str()])
            .record(took.as_secs_f64());
        if let Outcome::Later(reason, ..) = outcome {
            metric::ACTIONS_SUPPRESSED.counter(&[reason.as_str()]).increment(1);
        }
        tracing::info!(action = %request.key, push = %request.push, label = %request.label, times = request.times,
            result = outcome.as_str(), detail = outcome.detail(), "a request");
    }
    for (task, result) in &round.cancelled {
        metric::CANCELLATIONS.counter(&[result.as_str()]).increment(1);
        tracing::info!(%task, result = result.as_str(), "a job that nobody needs any longer");
    }
    for (pool, counted) in &round.counted {
        metric::POOLS_COUNTED.counter(&[counted.as_str()]).increment(1);
        match counted {
            Counted::Pending(pending) => tracing::debug!(%pool, pending, "jobs that wait in a worker pool"),
            Counted::CannotTell => {
                tracing::info!(%pool, "the CI does not tell how many jobs wait there: what messages told counts");
            }
            Counted::Failed(why) => {
                tracing::warn!(%pool, %why, "the CI did not tell how many jobs wait there: what messages told counts");
            }
        }
    }
    for (request, reason) in &round.held {
        metric::ACTIONS_SUPPRESSED.counter(&[reason.as_str()]).increment(1);
        tracing::info!(action = %request.key, push = %request.push, label = %request.label, %reason, "held back");
    }
}

/// Sets the gauges that the store knows.
///
/// # Errors
/// The store is busy or damaged.
pub fn observe_store(
    books: &mut Books<'_>,
    brakes: &Brakes,
    backend: &BackendName,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let (depth, oldest) = books.outbox_depth()?;
    metric::OUTBOX_DEPTH.gauge(&[]).set(depth as f64);
    metric::OUTBOX_OLDEST
        .gauge(&[])
        .set(oldest.map_or(0.0, |at| now.since(at).as_secs_f64()));
    let open = books.open_by_kind()?;
    for kind in crate::event::CaseKind::ALL {
        let count = open
            .iter()
            .find(|(name, _)| name == kind.as_str())
            .map_or(0, |(_, count)| *count);
        metric::CASES_OPEN.gauge(&[kind.as_str()]).set(count as f64);
    }
    for (budget, left) in brakes.budgets_left(books, now)? {
        metric::BUDGET_REMAINING.gauge(&[&budget]).set(left as f64);
    }
    for (scope, open) in open_breakers(books, brakes, backend.as_str(), now)? {
        metric::BREAKERS_OPEN.gauge(&[scope.as_str()]).set(open as f64);
    }
    let refused = are_credentials_refused(books, backend.as_str(), now)?;
    metric::BACKEND_REFUSED
        .gauge(&[backend.as_str()])
        .set(if refused { 1.0 } else { 0.0 });
    let pauses = books.pauses(now)?;
    for scope in PauseScope::ALL {
        let count = pauses.iter().filter(|pause| pause.scope == scope).count();
        metric::PAUSED.gauge(&[scope.as_str()]).set(count as f64);
    }
    Ok(())
}
