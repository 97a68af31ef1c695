//! Every metric the daemon has, by name: there are no others.
//!
//! Label values come from closed sets: words of our own enums, or names that the configuration holds (rules, budgets,
//! backends). Never a project's, label's, push's or user's name: those have no bound.

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, SharedString, Unit};

/// What a metric measures over time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A count that only grows.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// How often a value fell under each of these bounds.
    Histogram {
        /// The bounds, ascending.
        buckets: &'static [f64],
    },
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Its full name, as Prometheus sees it.
    pub name: &'static str,
    /// What it measures over time.
    pub kind: Kind,
    /// The unit of its values, where they have one.
    pub unit: Option<Unit>,
    /// What it says, for people.
    pub help: &'static str,
    /// The names of its labels, in the order in which values are given.
    pub labels: &'static [&'static str],
}

static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

impl Metric {
    /// The counter with these label values, in the order of `labels`. Worth keeping where it is used often.
    pub fn counter(&self, values: &[&str]) -> Counter {
        debug_assert_eq!(self.kind, Kind::Counter, "{}", self.name);
        let key = self.key(values);
        metrics::with_recorder(|recorder| recorder.register_counter(&key, &METADATA))
    }

    /// The gauge with these label values, in the order of `labels`.
    pub fn gauge(&self, values: &[&str]) -> Gauge {
        debug_assert_eq!(self.kind, Kind::Gauge, "{}", self.name);
        let key = self.key(values);
        metrics::with_recorder(|recorder| recorder.register_gauge(&key, &METADATA))
    }

    /// The histogram with these label values, in the order of `labels`.
    pub fn histogram(&self, values: &[&str]) -> Histogram {
        debug_assert!(matches!(self.kind, Kind::Histogram { .. }), "{}", self.name);
        let key = self.key(values);
        metrics::with_recorder(|recorder| recorder.register_histogram(&key, &METADATA))
    }

    /// The names that Prometheus shows for it: a histogram has three.
    pub fn exposed_names(&self) -> Vec<String> {
        match self.kind {
            Kind::Counter | Kind::Gauge => vec![self.name.to_owned()],
            Kind::Histogram { .. } => ["_bucket", "_sum", "_count"]
                .iter()
                .map(|end| format!("{}{end}", self.name))
                .collect(),
        }
    }

    pub(super) fn describe(&self) {
        let name = SharedString::const_str(self.name);
        let help = SharedString::const_str(self.help);
        metrics::with_recorder(|recorder| match self.kind {
            Kind::Counter => recorder.describe_counter(name.into(), self.unit, help),
            Kind::Gauge => recorder.describe_gauge(name.into(), self.unit, help),
            Kind::Histogram { .. } => recorder.describe_histogram(name.into(), self.unit, help),
        });
    }

    fn key(&self, values: &[&str]) -> Key {
        debug_assert_eq!(
            self.labels.len(),
            values.len(),
            "{} has the labels {:?}",
            self.name,
            self.labels
        );
        let labels = self
            .labels
            .iter()
            .zip(values)
            .map(|(label, value)| Label::new(*label, (*value).to_owned()));
        Key::from_parts(self.name, labels.collect::<Vec<_>>())
    }
}

/// From a message that was worked on at once to one that waited out an outage, in seconds.
const LAG_BUCKETS: &[f64] = &[
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0,
];
/// From a CI on this machine to one at its time limit, in seconds.
const ACTION_BUCKETS: &[f64] = &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// From one row to a batch on a slow disk, in seconds.
const TRANSACTION_BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Counter,
        unit: None,
        help,
        labels,
    }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        unit: None,
        help,
        labels,
    }
}

const fn seconds(
    name: &'static str,
    labels: &'static [&'static str],
    buckets: &'static [f64],
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind: Kind::Histogram { buckets },
        unit: Some(Unit::Seconds),
        help,
        labels,
    }
}

macro_rules! metrics_table {
    ($($(#[$doc:meta])+ $id:ident = $metric:expr;)+) => {
        $($(#[$doc])+ pub const $id: Metric = $metric;)+

        /// Every metric, in the order of the documentation.
        pub const ALL: &[Metric] = &[$($id),+];
    };
}

metrics_table! {
    /// `part`: `bus`, `store`, `rules`.
    READY = gauge(
        "sheriffd_ready", &["part"],
        "Whether a part that the daemon's work needs is there (1) or not (0).");
    /// `event`: the event's name in rules (`job.finished`, …).
    EVENTS_RECEIVED = counter(
        "sheriffd_events_received_total", &["event"],
        "Events read from messages, by the event's name in rules.");
    /// `reason`: why the message came to nothing: a word of `wire::Unreadable` or `wire::Ignored`,
    /// `not-applicable`, or one of `engine::Discarded`.
    EVENTS_DISCARDED = counter(
        "sheriffd_events_discarded_total", &["reason"],
        "Messages that came to nothing, by reason.");
    /// From what the message says happened to its commit.
    EVENT_LAG = seconds(
        "sheriffd_event_lag_seconds", &[], LAG_BUCKETS,
        "Time from what happened in the CI to its effects being stored.");
    /// Seconds since 1970; 0 before the first.
    LAST_EVENT = gauge(
        "sheriffd_last_event_timestamp_seconds", &[],
        "When the last event was stored, in seconds since 1970.");
    /// `rule`: its name in the configuration.
    RULE_EVALUATIONS = counter(
        "sheriffd_rule_evaluations_total", &["rule"],
        "Events that a rule was asked about, by rule.");
    /// `rule`: its name in the configuration.
    RULE_MATCHES = counter(
        "sheriffd_rule_matches_total", &["rule"],
        "Events that a rule matched, by rule.");
    /// `kind`: a word of `event::CaseKind`.
    CASES_OPENED = counter(
        "sheriffd_cases_opened_total", &["kind"],
        "Cases opened, by kind.");
    /// `kind`: a word of `event::CaseKind`.
    CASES_OPEN = gauge(
        "sheriffd_cases_open", &["kind"],
        "Cases that are open now, by kind.");
    /// `kind`, `verdict`: words of `event::CaseKind` and `event::VerdictKind`.
    CASES_CLOSED = counter(
        "sheriffd_cases_closed_total", &["kind", "verdict"],
        "Cases closed, by kind and verdict.");
    /// `rule`: its name or `by-hand`; `backend`: its name; `result`: a closed list of the dispatcher.
    ACTIONS = counter(
        "sheriffd_actions_total", &["rule", "backend", "result"],
        "Requests to the CI, by rule, backend and result.");
    /// `result`: a closed list of the dispatcher.
    CANCELLATIONS = counter(
        "sheriffd_cancellations_total", &["result"],
        "Jobs of ours that nobody needed any longer and that the CI was asked to cancel, by result.");
    /// `reason`: a closed list of the dispatcher.
    ACTIONS_SUPPRESSED = counter(
        "sheriffd_actions_suppressed_total", &["reason"],
        "Requests that were not made, by reason.");
    /// `result`: a closed list of the dispatcher.
    POOLS_COUNTED = counter(
        "sheriffd_pools_counted_total", &["result"],
        "Times that the CI was asked how many jobs wait in a worker pool, by result.");
    /// `backend`: its name in the configuration.
    ACTION_DURATION = seconds(
        "sheriffd_action_duration_seconds", &["backend"], ACTION_BUCKETS,
        "How long the CI took to answer a request, by backend.");
    /// Decided and not yet confirmed.
    OUTBOX_DEPTH = gauge(
        "sheriffd_outbox_depth", &[],
        "Requests that are decided and not yet confirmed by the CI.");
    /// 0 while there is none.
    OUTBOX_OLDEST = gauge(
        "sheriffd_outbox_oldest_age_seconds", &[],
        "Age of the oldest request that is not yet confirmed.");
    /// `budget`: its name in the configuration.
    BUDGET_REMAINING = gauge(
        "sheriffd_budget_remaining_jobs", &["budget"],
        "What may still be asked for in the current period, by budget, in what the budget counts.");
    /// 1 or 0.
    AMQP_CONNECTED = gauge(
        "sheriffd_amqp_connected", &[],
        "Whether messages can come from the broker (1) or not (0).");
    /// The first connection is none.
    AMQP_RECONNECTS = counter(
        "sheriffd_amqp_reconnects_total", &[],
        "Connections to the broker made after an earlier one was lost.");
    /// What the broker still keeps for us on the connection, without what has not been handed on yet.
    AMQP_UNACKED = gauge(
        "sheriffd_amqp_unacked", &[],
        "Messages taken from the broker and not acknowledged yet.");
    /// Each is followed by a reconciliation.
    AMQP_POSSIBLE_LOSSES = counter(
        "sheriffd_amqp_possible_losses_total", &[],
        "Times that messages may have been lost because the queue had been deleted.");
    /// `what`: `push`, `group` or `run`.
    RECONCILED = counter(
        "sheriffd_reconciled_total", &["what"],
        "What was fetched because messages may have been lost: pushes, task groups, lists of a Treeherder, runs.");
    /// Includes waiting for the lock.
    STORE_TRANSACTION = seconds(
        "sheriffd_store_transaction_duration_seconds", &[], TRANSACTION_BUCKETS,
        "How long a transaction of the store took.");
    /// `result`: `applied`, `unchanged`, `refused`.
    RULES_RELOADS = counter(
        "sheriffd_rules_reloads_total", &["result"],
        "Times the rules were read again while running, by result.");
    /// From the first look at the files to the rules being in force.
    RULES_RELOAD_DURATION = seconds(
        "sheriffd_rules_reload_duration_seconds", &[], TRANSACTION_BUCKETS,
        "How long reading the rules again took.");
    /// Seconds since 1970.
    RULES_LOADED = gauge(
        "sheriffd_rules_loaded_timestamp_seconds", &[],
        "When the rules in force were put in force, in seconds since 1970.");
    /// `version`: the hash of the rule set.
    RULES_INFO = gauge(
        "sheriffd_rules_info", &["version"],
        "The version of the rules: 1 for those in force, 0 for earlier ones of this process.");
    /// Always 1; `version`: of the program.
    BUILD_INFO = gauge(
        "sheriffd_build_info", &["version"],
        "The program's version; always 1.");
    /// `scope`: `all`, `rule`, `project`, `platform`, `backend`.
    PAUSED = gauge(
        "sheriffd_paused", &["scope"],
        "Pauses that are in force, by what they pause.");
    /// `scope`: `backend` or `platform`.
    BREAKERS_OPEN = gauge(
        "sheriffd_breakers_open", &["scope"],
        "Breakers that are open because requests or runs fail by infrastructure, by what they stop.");
    /// `backend`: its name in the configuration.
    BACKEND_REFUSED = gauge(
        "sheriffd_backend_refused", &["backend"],
        "Whether the CI refuses our credentials (1) or not (0).");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_is_prefixed_and_used_once_and_tells_its_kind() {
        let names: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            assert!(metric.name.starts_with("sheriffd_"), "{}", metric.name);
            assert_eq!(
                metric.kind == Kind::Counter,
                metric.name.ends_with("_total"),
                "{}",
                metric.name
            );
            assert_eq!(
                metric.unit == Some(Unit::Seconds),
                matches!(metric.kind, Kind::Histogram { .. })
            );
            assert!(metric.help.ends_with('.'), "{}", metric.help);
        }
    }

    #[test]
    fn buckets_ascend() {
        for metric in ALL {
            if let Kind::Histogram { buckets } = metric.kind {
                assert!(buckets.is_sorted(), "{}", metric.name);
            }
        }
    }

    #[test]
    fn a_histogram_is_shown_under_three_names() {
        assert_eq!(
            EVENT_LAG.exposed_names(),
            [
                "sheriffd_event_lag_seconds_bucket",
                "sheriffd_event_lag_seconds_sum",
                "sheriffd_event_lag_seconds_count"
            ]
        );
        assert_eq!(PAUSED.exposed_names(), ["sheriffd_paused"]);
    }
}
