//! Performance alerts, in the words of Perfherder's `/api/performance/alertsummary/`: what is polled there, and what
//! `exchange/<user>/sheriffd/perf-alerts` takes.
//!
//! In: one alert summary, or a page of them (`results`), in Pulse's envelope or without. Out: one
//! [`Event::PerfAlert`](sheriffd_event::Event) for each alert that is still to be looked at. Never: related alerts (they are
//! in summaries of their own).
//!
//! A summary's `push_id` is a number of Perfherder's own; its `revision` names the push. Senders that know the pushes'
//! numbers and the job may give them: `push` and `previous_push` of a summary, `label` of an alert.

use serde::Deserialize;

use super::json::{Text, error, optional_time, read, without_envelope};
use super::{DecodeError, Decoded, Ignored, Unreadable, slug};
use sheriffd_event::{Event, Label, PerfAlert, Project, PushId, Revision, TaskId, Timestamp, series_name};

/// The most alerts of one message: a broken push raised 109 at once in the recorded data.
const MAX_ALERTS: usize = 5_000;

/// Perfherder's numbers for alerts that somebody has set aside: downstream of another tree, reassigned, invalid.
const SET_ASIDE: [u64; 3] = [1, 2, 3];

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    results: Option<Vec<Summary<'a>>>,
    #[serde(borrow)]
    next: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Summary<'a> {
    #[serde(borrow)]
    repository: Text<'a>,
    #[serde(borrow)]
    revision: Option<Text<'a>>,
    #[serde(borrow)]
    prev_push_revision: Option<Text<'a>>,
    push: Option<u64>,
    previous_push: Option<u64>,
    #[serde(borrow)]
    created: Option<Text<'a>>,
    #[serde(borrow)]
    alerts: Vec<Alert<'a>>,
}

#[derive(Deserialize)]
struct Alert<'a> {
    id: u64,
    #[serde(default)]
    status: u64,
    #[serde(borrow)]
    series_signature: Series<'a>,
    #[serde(default)]
    is_regression: bool,
    amount_pct: f64,
    #[serde(borrow)]
    taskcluster_metadata: Option<Task<'a>>,
    #[serde(borrow)]
    label: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Series<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    signature_hash: Option<Text<'a>>,
    #[serde(borrow)]
    machine_platform: Text<'a>,
    #[serde(borrow)]
    suite: Text<'a>,
    #[serde(borrow)]
    test: Option<Text<'a>>,
    #[serde(borrow, default)]
    extra_options: Option<Vec<Text<'a>>>,
}

#[derive(Deserialize)]
struct Task<'a> {
    #[serde(borrow)]
    task_id: Option<Text<'a>>,
}

/// Alerts of a page.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AlertPage {
    /// Those that are still to be looked at.
    pub alerts: Vec<PerfAlert>,
    /// The highest number of any alert, looked at or not.
    pub newest: Option<u64>,
    /// The lowest.
    pub oldest: Option<u64>,
    /// Whether there is a page after it.
    pub has_next: bool,
}

/// Reads a summary or a page of them.
pub(super) fn decode(body: &str) -> Result<Decoded, DecodeError> {
    let alerts = perf_alerts(without_envelope(body)?)?.alerts;
    Ok(match alerts.is_empty() {
        true => Decoded::Ignored(Ignored::NotOfInterest),
        false => Decoded::Events(
            alerts
                .into_iter()
                .map(|alert| Event::PerfAlert(Box::new(alert)))
                .collect(),
        ),
    })
}

/// Reads a summary or a page of them, as the service answers.
///
/// # Errors
/// It is not JSON of this form.
pub fn perf_alerts(text: &str) -> Result<AlertPage, DecodeError> {
    let page: Page = read(text)?;
    let has_next = page.next.is_some();
    let summaries = match page.results {
        Some(results) => results,
        None => vec![read(text)?],
    };
    let numbers = || {
        summaries
            .iter()
            .flat_map(|summary| &summary.alerts)
            .map(|alert| alert.id)
    };
    let mut found = AlertPage {
        alerts: Vec::new(),
        newest: numbers().max(),
        oldest: numbers().min(),
        has_next,
    };
    for summary in &summaries {
        let at = created(summary.created.as_ref())?;
        for alert in summary.alerts.iter().filter(|alert| !SET_ASIDE.contains(&alert.status)) {
            if found.alerts.len() == MAX_ALERTS {
                let detail = format!("there are more than {MAX_ALERTS} alerts in one message");
                return Err(error(Unreadable::TooLarge, detail));
            }
            found.alerts.push(event(summary, alert, at));
        }
    }
    Ok(found)
}

/// Perfherder writes times in UTC, without saying so.
fn created(text: Option<&Text<'_>>) -> Result<Option<Timestamp>, DecodeError> {
    let utc = text.and_then(|text| Timestamp::parse(&format!("{}Z", &**text)));
    match utc {
        Some(at) => Ok(Some(at)),
        None => optional_time(text, || "created".to_owned()),
    }
}

fn event(summary: &Summary<'_>, alert: &Alert<'_>, at: Option<Timestamp>) -> PerfAlert {
    let series = &alert.series_signature;
    let test = series.test.as_deref();
    let options = series.extra_options.iter().flatten().map(|option| &**option);
    let id = match (&series.signature_hash, series.id) {
        (Some(hash), _) => (**hash).into(),
        (None, Some(id)) => id.to_string().into(),
        (None, None) => series_name(&series.suite, test, []).into(),
    };
    let revision = |text: &Option<Text<'_>>| text.as_deref().filter(|text| !text.is_empty()).map(Revision::from);
    let task = alert
        .taskcluster_metadata
        .as_ref()
        .and_then(|task| task.task_id.as_deref());
    PerfAlert {
        id: alert.id,
        project: Project::from(&*summary.repository),
        series: id,
        push: summary.push.map(PushId),
        previous_push: summary.previous_push.map(PushId),
        platform: (*series.machine_platform).into(),
        test: series_name(&series.suite, test, []).into(),
        magnitude: alert.amount_pct.abs() / 100.0,
        regression: alert.is_regression,
        at,
        measure: Some(series_name(&series.suite, test, options).into()),
        revision: revision(&summary.revision),
        previous_revision: revision(&summary.prev_push_revision),
        label: alert.label.as_deref().map(Label::from),
        task: task.filter(|task| slug::to_uuid(task).is_some()).map(TaskId::from),
    }
}
