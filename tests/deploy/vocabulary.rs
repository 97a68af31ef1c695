//! The metrics, labels and label values that exist, and a check of queries against them.

use std::collections::BTreeSet;

use sheriffd::backends::Receipt;
use sheriffd::daemon::pipeline::NOT_APPLICABLE;
use sheriffd::dispatch::Outcome;
use sheriffd::engine::Discarded;
use sheriffd::event::{CaseKind, Reason};
use sheriffd::store::sqlite::PauseScope;
use sheriffd::telemetry::metric::{self, Kind, Metric};
use sheriffd::web::Readiness;
use sheriffd::wire::{Ignored, Unreadable};

use super::promql::names;

/// What Prometheus itself adds to every sample.
const TARGET_LABELS: [&str; 2] = ["instance", "job"];

/// Why a message cannot be read.
const UNREADABLE: [Unreadable; 7] = [
    Unreadable::TooLarge,
    Unreadable::NotUtf8,
    Unreadable::NotJson,
    Unreadable::WrongShape,
    Unreadable::WrongVersion,
    Unreadable::UnknownExchange,
    Unreadable::UnknownState,
];

/// Every reason that is kept with a dead letter.
pub fn dead_letter_reasons() -> Vec<&'static str> {
    let unreadable = UNREADABLE.map(Unreadable::as_str);
    [unreadable.as_slice(), &[NOT_APPLICABLE]].concat()
}

/// Every word that `sheriffd_events_discarded_total` can have as its reason.
pub fn discard_reasons() -> Vec<&'static str> {
    let ignored = [Ignored::NotOfInterest, Ignored::NoRun].map(Ignored::as_str);
    let discarded = [
        Discarded::NotWatched,
        Discarded::FactsUnknown,
        Discarded::Duplicate,
        Discarded::NoCaseKind,
    ]
    .map(Discarded::as_str);
    [dead_letter_reasons().as_slice(), &ignored, &discarded].concat()
}

/// Every result that a request can have.
pub fn results() -> Vec<&'static str> {
    let text = String::new;
    [
        Outcome::Accepted(Receipt::default()),
        Outcome::Refused(text()),
        Outcome::Later(Reason::NotYet, text(), None),
        Outcome::InDoubt(text()),
    ]
    .iter()
    .map(Outcome::as_str)
    .collect()
}

/// The metric that Prometheus shows under this name.
pub fn metric_of(exposed: &str) -> Option<&'static Metric> {
    metric::ALL
        .iter()
        .find(|metric| metric.exposed_names().iter().any(|name| name == exposed))
}

fn labels_of(exposed: &str) -> Option<Vec<&'static str>> {
    if exposed == "up" {
        return Some(TARGET_LABELS.to_vec());
    }
    let metric = metric_of(exposed)?;
    let bucket = matches!(metric.kind, Kind::Histogram { .. }) && exposed.ends_with("_bucket");
    Some(
        [
            metric.labels,
            TARGET_LABELS.as_slice(),
            if bucket { &["le"] } else { &[] },
        ]
        .concat(),
    )
}

/// The values that a label can have, where they are a closed set.
fn values_of(exposed: &str, label: &str) -> Option<Vec<&'static str>> {
    match (exposed, label) {
        ("sheriffd_events_discarded_total", "reason") => Some(discard_reasons()),
        (_, "reason") => Some(Reason::ALL.map(Reason::as_str).to_vec()),
        ("sheriffd_rules_reloads_total", "result") => Some(vec!["applied", "unchanged", "refused"]),
        (_, "result") => Some(results()),
        (_, "kind") => Some(CaseKind::ALL.iter().map(|kind| kind.as_str()).collect()),
        (_, "scope") => Some(PauseScope::ALL.map(PauseScope::as_str).to_vec()),
        ("sheriffd_reconciled_total", "what") => Some(vec!["push", "group", "run"]),
        (_, "part") => Some(Readiness::default().parts().map(|(name, _)| name).to_vec()),
        (_, "job") => Some(vec!["sheriffd"]),
        _ => None,
    }
}

/// Fails when a query names a metric, a label or a label's value that does not exist.
pub fn assert_query_names_what_exists(query: &str, place: &str) {
    let names = names(query);
    assert!(!names.selectors.is_empty(), "{place} names no metric: {query}");
    let mut usable: BTreeSet<&str> = BTreeSet::new();
    for selector in &names.selectors {
        let metric = &selector.metric;
        let labels = labels_of(metric).unwrap_or_else(|| panic!("{place}: there is no metric {metric}: {query}"));
        for (label, values) in &selector.matchers {
            assert!(
                labels.contains(&label.as_str()),
                "{place}: {metric} has no label {label}, only {labels:?}"
            );
            let Some(known) = values_of(metric, label) else {
                continue;
            };
            for value in values {
                assert!(
                    known.contains(&value.as_str()),
                    "{place}: {label} of {metric} is never {value:?}, only {known:?}"
                );
            }
        }
        usable.extend(labels);
    }
    for label in &names.grouping {
        assert!(
            usable.contains(label.as_str()),
            "{place} groups by {label}, which no metric of it has: {query}"
        );
    }
}
