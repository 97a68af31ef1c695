//! How the daemon shows what it does: metrics, logs, and its state to the service manager.
//!
//! In: settings; numbers from all parts. Out: the Prometheus page's text, log lines, `sd_notify` messages. Never: a
//! secret, a label without a bound on its values, a metric that [`metric::ALL`] does not list.

mod logging;
pub mod metric;
pub mod service;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

pub use self::logging::{LogFormat, check_log_filter, install_logging, redact_url};
use self::metric::Kind;

/// Telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Something has installed a recorder of metrics in this process before.
    #[error("the recorder of metrics cannot be installed: {0}")]
    Metrics(String),
    /// Something has installed a log subscriber in this process before.
    #[error("logging cannot be installed: {0}")]
    Logging(String),
    /// The log filter cannot be read.
    #[error("`{filter}` is no log filter: {reason}; write a level, as in `info`, or `info,sheriffd::bus=debug`")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Installs the recorder of metrics for this process, describes every metric, and starts those without labels at
/// zero, so that they can be seen (and alerted on) before their first event.
///
/// The caller runs [`PrometheusHandle::run_upkeep`] every few seconds: histograms are drained by it.
pub fn install_metrics() -> Result<PrometheusHandle, TelemetryError> {
    let refused = |error: metrics_exporter_prometheus::BuildError| TelemetryError::Metrics(error.to_string());
    let mut builder = PrometheusBuilder::new();
    for metric in metric::ALL {
        if let Kind::Histogram { buckets } = metric.kind {
            builder = builder
                .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)
                .map_err(refused)?;
        }
    }
    let handle = builder.install_recorder().map_err(refused)?;
    for metric in metric::ALL {
        metric.describe();
        if metric.labels.is_empty() {
            match metric.kind {
                Kind::Counter => metric.counter(&[]).absolute(0),
                Kind::Gauge => metric.gauge(&[]).set(0.0),
                Kind::Histogram { .. } => drop(metric.histogram(&[])),
            }
        }
    }
    Ok(handle)
}
