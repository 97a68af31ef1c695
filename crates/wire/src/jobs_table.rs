//! Tables of jobs, as Treeherder was given them, answers them, or showed them: history for `sheriffd import`.
//!
//! In: one row (a line of JSON Lines, or an element of an API's answer). Out: a [`JobRow`]. Never: a label that the row
//! does not imply, or a time whose zone it leaves open.
//!
//! | form | label |
//! |---|---|
//! | a row of Treeherder's jobs API, bare or as `{"job": …}` | the job type's name |
//! | a job as submitted, 2025: `{"project", "revision", "job": …}` | its name |
//! | the same, 2013-11: `{"project", "resultset_id", "job": …}` | the builder's name |
//! | the same, earlier in 2013: `{"sources", "job": …}` | platform, option and suite |
//! | a row of a snapshot of the page, 2013–2014 | platform, option, group and symbol: its place on the page |

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::buildbot;
use super::json::{Text, TextOrNumber, error, object, read};
use super::{DecodeError, Unreadable, WireSettings, slug};
use sheriffd_event::{
    JobEvent, JobFacts, Label, Outcome, Project, PushId, Revision, RunKey, RunState, TaskId, Timestamp, Worker,
};

/// A job of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    /// The job in the state the table shows. `at` is the latest time the row has, the push's for want of another.
    pub job: JobEvent,
    /// When its push landed.
    pub pushed: Option<Timestamp>,
    /// The job that ran in this one's stead. Such a job is cancelled here, whatever the table shows: an outcome belongs
    /// to the push it ran for.
    pub coalesced_to: Option<Arc<str>>,
}

/// The fields around the job, or those of a flat row.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    job: Option<&'a RawValue>,
    #[serde(borrow, default)]
    sources: Vec<Source<'a>>,
    #[serde(borrow, alias = "repository")]
    project: Option<Text<'a>>,
    #[serde(borrow)]
    revision: Option<Text<'a>>,
    #[serde(alias = "push_id")]
    resultset_id: Option<u64>,
    #[serde(borrow)]
    push_timestamp: Option<Moment<'a>>,
}

/// An entry of `sources[]`, 2013: a push.
#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow)]
    repository: Option<Text<'a>>,
    #[serde(borrow)]
    revision: Option<Text<'a>>,
    #[serde(borrow)]
    push_timestamp: Option<Moment<'a>>,
}

/// The job itself, in the words of any form.
#[derive(Deserialize)]
struct Job<'a> {
    #[serde(borrow, alias = "id")]
    job_id: Option<TextOrNumber<'a>>,
    #[serde(borrow)]
    job_guid: Option<Text<'a>>,
    #[serde(borrow)]
    task_id: Option<Text<'a>>,
    retry_id: Option<u32>,
    push_id: Option<u64>,
    #[serde(borrow)]
    push_revision: Option<Text<'a>>,
    #[serde(borrow)]
    buildername: Option<Text<'a>>,
    #[serde(borrow, alias = "job_type_name")]
    name: Option<Text<'a>>,
    #[serde(borrow, alias = "job_type_symbol", alias = "type_symbol")]
    job_symbol: Option<Text<'a>>,
    #[serde(borrow, alias = "job_group_symbol")]
    group_symbol: Option<Text<'a>>,
    #[serde(borrow)]
    platform: Option<Text<'a>>,
    #[serde(borrow)]
    platform_option: Option<Text<'a>>,
    #[serde(borrow)]
    machine_platform: Option<MachinePlatform<'a>>,
    #[serde(borrow, default)]
    option_collection: BTreeMap<Text<'a>, IgnoredAny>,
    tier: Option<u8>,
    #[serde(borrow)]
    state: Option<Text<'a>>,
    #[serde(borrow)]
    result: Option<TextOrNumber<'a>>,
    #[serde(borrow, alias = "machine_name")]
    machine: Option<Text<'a>>,
    failure_classification_id: Option<u64>,
    #[serde(borrow)]
    coalesced_to: Option<Text<'a>>,
    #[serde(borrow)]
    submit_timestamp: Option<Moment<'a>>,
    #[serde(borrow)]
    start_timestamp: Option<Moment<'a>>,
    #[serde(borrow)]
    end_timestamp: Option<Moment<'a>>,
    #[serde(borrow)]
    last_modified: Option<Text<'a>>,
}

/// `machine_platform`.
#[derive(Deserialize)]
struct MachinePlatform<'a> {
    #[serde(borrow)]
    platform: Option<Text<'a>>,
}

/// Seconds since 1970 as a number or as text. Text of 14 digits is a date in a zone that nothing tells.
#[derive(Deserialize)]
#[serde(untagged, expecting = "seconds since 1970, as a number or as text")]
enum Moment<'a> {
    Seconds(f64),
    Text(#[serde(borrow)] Cow<'a, str>),
}

impl Moment<'_> {
    /// The moment; `None` for zero, which stands for *not yet*, and for what cannot be placed in time.
    fn at(&self) -> Option<Timestamp> {
        let seconds = match self {
            Moment::Seconds(seconds) => *seconds,
            Moment::Text(text) if text.len() <= 11 => text.parse().ok()?,
            Moment::Text(_) => return None,
        };
        // Whole milliseconds below 2^53 are exact; beyond, the cast saturates and the guard refuses.
        (seconds > 0.0 && seconds < 1e11).then_some(Timestamp((seconds * 1000.0) as i64))
    }
}

/// Reads one row. `project` is the tree that was asked for; a row that names its own is believed instead.
///
/// Times that contradict each other (rows of 2013 give starts in another time zone) are left out.
///
/// # Errors
/// The row is of none of the forms above, has an unknown state or result, or nothing to place it in time.
pub fn job_row(text: &str, project: Option<&Project>, settings: &WireSettings) -> Result<JobRow, DecodeError> {
    object(text)?;
    let frame: Frame = read(text)?;
    let job: Job = read(frame.job.map_or(text, RawValue::get))?;
    let source = frame.sources.first();
    let own = source
        .and_then(|source| source.repository.as_ref())
        .or(frame.project.as_ref());
    let project = own.map(|own| Project::from(&**own)).or_else(|| project.cloned());
    let pushed = source
        .and_then(|source| source.push_timestamp.as_ref())
        .or(frame.push_timestamp.as_ref())
        .and_then(Moment::at);
    let revision = source
        .and_then(|source| source.revision.as_deref())
        .or(frame.revision.as_deref())
        .or(job.push_revision.as_deref());

    let coalesced = job.coalesced_to.as_deref();
    let (state, reason, retried) = match coalesced {
        Some(_) => (
            RunState::Finished(Outcome::Cancelled),
            Some(Cow::Borrowed("coalesced")),
            false,
        ),
        None => state(&job)?,
    };
    let [submitted, mut started, mut ended] = [&job.submit_timestamp, &job.start_timestamp, &job.end_timestamp]
        .map(|time| time.as_ref().and_then(Moment::at));
    match state {
        RunState::Pending => (started, ended) = (None, None),
        RunState::Running => ended = None,
        RunState::Finished(_) => started = started.filter(|started| ended.is_none_or(|ended| *started <= ended)),
    }
    // Short answers of the API have no other time than this one: UTC, without saying so.
    let modified = || Timestamp::parse(&format!("{}Z", job.last_modified.as_deref()?));
    let Some(at) = ended.or(started).or(submitted).or_else(modified).or(pushed) else {
        return Err(error(
            Unreadable::WrongShape,
            "the row has no time, neither of the job nor of its push",
        ));
    };
    let run = run(&job, project.as_ref(), settings)?;
    let facts = facts(&job, project, revision, frame.resultset_id.or(job.push_id))?;
    let machine = job.machine.as_deref().filter(|machine| *machine != "unknown");
    Ok(JobRow {
        job: JobEvent {
            run,
            group: None,
            state,
            reason: reason.map(Into::into),
            latest: !retried,
            at,
            scheduled: submitted,
            started,
            resolved: ended,
            worker: machine.map(|machine| Worker {
                group: "".into(),
                id: machine.into(),
            }),
            pool: None,
            facts,
        },
        pushed,
        coalesced_to: coalesced.map(Into::into),
    })
}

/// State, the table's word for the result, and whether another run took this one's place.
fn state<'a>(job: &'a Job<'_>) -> Result<(RunState, Option<Cow<'a, str>>, bool), DecodeError> {
    let unknown = |what: &str| {
        let (state, result) = (
            job.state.as_deref().unwrap_or("missing"),
            job.result.as_ref().map(TextOrNumber::text),
        );
        error(
            Unreadable::UnknownState,
            format!("{what}: state {state:?} with result {result:?} is not known"),
        )
    };
    match job.state.as_deref() {
        Some("pending") => return Ok((RunState::Pending, None, false)),
        Some("running") => return Ok((RunState::Running, None, false)),
        // `TODO` is what the rows of 2013 say of completed jobs.
        Some("completed" | "finished" | "TODO") => {}
        _ => return Err(unknown("state")),
    }
    let (outcome, reason, retried) = match &job.result {
        Some(TextOrNumber::Number(code)) => u8::try_from(*code)
            .ok()
            .and_then(buildbot::outcome)
            .map(|(outcome, reason, retried)| (outcome, Cow::Borrowed(reason), retried))
            .ok_or_else(|| unknown("result"))?,
        Some(TextOrNumber::Text(text)) => {
            let outcome = match &**text {
                "success" => Outcome::Passed,
                "testfailed" | "busted" => Outcome::Failed,
                "exception" | "retry" => Outcome::Infra,
                "usercancel" | "superseded" | "skipped" => Outcome::Cancelled,
                _ => return Err(unknown("result")),
            };
            (outcome, Cow::Borrowed(&**text), text == "retry")
        }
        None => return Err(unknown("result")),
    };
    Ok((RunState::Finished(outcome), Some(reason), retried))
}

/// The run: the task where there is one, else the job's hash, else its number in its project.
fn run(job: &Job<'_>, project: Option<&Project>, settings: &WireSettings) -> Result<RunKey, DecodeError> {
    let (guid, guid_run) = match job.job_guid.as_deref() {
        Some(guid) => match guid.rsplit_once('/') {
            Some((guid, run)) => (Some(guid), run.parse().ok()),
            None => (Some(guid), None),
        },
        None => (None, None),
    };
    let task = match (&job.task_id, guid, &job.job_id) {
        (Some(task), ..) => task.to_string(),
        (None, Some(guid), _) => slug::from_uuid(guid).unwrap_or_else(|| guid.to_owned()),
        (None, None, Some(id)) => format!("{}/{}", project.map_or("-", |project| project.as_str()), id.text()),
        (None, None, None) => {
            return Err(error(
                Unreadable::WrongShape,
                "the row has none of `task_id`, `job_guid`, `job_id`",
            ));
        }
    };
    let run = job.retry_id.or(guid_run).unwrap_or(0);
    Ok(RunKey {
        backend: settings.backend.clone(),
        task: TaskId::from(task),
        run,
    })
}

fn facts(
    job: &Job<'_>,
    project: Option<Project>,
    revision: Option<&str>,
    push: Option<u64>,
) -> Result<JobFacts, DecodeError> {
    let machine = job
        .machine_platform
        .as_ref()
        .and_then(|machine| machine.platform.as_deref());
    let platform = machine.or(job.platform.as_deref()).unwrap_or("unknown");
    let options: Vec<&str> = job.option_collection.keys().map(|option| &**option).collect();
    let (platform, option) = match (job.platform_option.as_deref(), options.is_empty()) {
        (Some(option), _) => (platform, option.to_owned()),
        (None, false) => (platform, options.join(" ")),
        // Snapshots of 2013 write both in one: `android-4-0 opt`.
        (None, true) => match platform.rsplit_once(' ') {
            Some((platform, option)) => (platform, option.to_owned()),
            None => (platform, "opt".to_owned()),
        },
    };
    let group = job.group_symbol.as_deref().unwrap_or("?");
    let symbol = job.job_symbol.as_deref();
    let label = match (&job.buildername, &job.name, symbol) {
        (Some(builder), ..) => builder.to_string(),
        // Today's names hold platform and option already.
        (None, Some(name), Some(_)) => name.to_string(),
        (None, Some(name), None) => format!("{platform}/{option} {}", &**name),
        (None, None, Some(symbol)) if group == "?" => format!("{platform}/{option} {symbol}"),
        (None, None, Some(symbol)) => format!("{platform}/{option} {group}({symbol})"),
        (None, None, None) => {
            return Err(error(Unreadable::WrongShape, "the row has neither a name nor a symbol"));
        }
    };
    Ok(JobFacts {
        project,
        revision: revision.map(Revision::from),
        push: push.map(PushId),
        label: Some(Label::from(label)),
        platform: Some(platform.into()),
        option: Some(option.into()),
        tier: job.tier,
        symbol: symbol.map(Into::into),
        group_symbol: Some(group.into()),
        classification: job.failure_classification_id.and_then(classification).map(Into::into),
        ..JobFacts::default()
    })
}

/// The name of a sheriffs' classification, by Treeherder's number.
fn classification(id: u64) -> Option<&'static str> {
    Some(match id {
        1 => "not classified",
        2 => "fixed by commit",
        3 => "expected fail",
        4 => "intermittent",
        5 => "infra",
        6 => "new failure not classified",
        7 => "autoclassified intermittent",
        8 => "intermittent needs bugid",
        _ => return None,
    })
}
