//! Builds of Buildbot masters, `exchange/build/` (2013: `org.mozilla.exchange.build`), until 2018.
//!
//! In: the routing key `build.<builder>.<number>.<event>`, and the body. Out: one [`Event::Job`](sheriffd_event::Event)
//! for a build that ended. Never: steps; suites and chunks, which only a builder's name tells, in a dozen manners.
//!
//! A build's identity is its master, builder and number: all messages of one build name the same run.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{Text, error, object, read, time, without_envelope};
use super::{DecodeError, Decoded, Ignored, Unreadable, WireSettings};
use sheriffd_event::{
    Event, JobEvent, JobFacts, Label, Outcome, Project, Revision, RunKey, RunState, TaskId, Timestamp, Worker,
};

/// The message inside the envelope.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    build: Build<'a>,
    results: Option<u8>,
}

/// A build.
#[derive(Deserialize)]
struct Build<'a> {
    #[serde(borrow, rename = "builderName")]
    builder: Text<'a>,
    number: u64,
    #[serde(borrow)]
    slave: Option<Text<'a>>,
    results: Option<u8>,
    #[serde(borrow, default)]
    times: Vec<Option<Text<'a>>>,
    #[serde(borrow)]
    properties: Vec<(Text<'a>, &'a RawValue, &'a RawValue)>,
}

impl Build<'_> {
    /// A property that is text; `None` when it is missing, null, empty or of another type.
    fn property(&self, name: &str) -> Option<String> {
        let (_, value, _) = self.properties.iter().find(|(key, ..)| &**key == name)?;
        let text: Option<Cow<'_, str>> = serde_json::from_str(value.get()).ok()?;
        text.map(Cow::into_owned).filter(|text| !text.is_empty())
    }
}

/// How a Buildbot result code reads here: 0 success, 1 warnings, 2 failure, 3 skipped, 4 exception, 5 retry,
/// 6 cancelled (Buildbot's manual, "Build Result Codes"). Warnings are test failures at Mozilla. With it: the code's
/// word, and whether another build takes this one's place.
pub(super) fn outcome(code: u8) -> Option<(Outcome, &'static str, bool)> {
    Some(match code {
        0 => (Outcome::Passed, "success", false),
        1 => (Outcome::Failed, "warnings", false),
        2 => (Outcome::Failed, "failure", false),
        3 => (Outcome::Cancelled, "skipped", false),
        4 => (Outcome::Infra, "exception", false),
        5 => (Outcome::Infra, "retry", true),
        6 => (Outcome::Cancelled, "cancelled", false),
        _ => return None,
    })
}

/// Splits a platform property into platform and option: `linux64-debug` is `linux64`, `debug`.
pub(super) fn platform_and_option(platform: &str, pgo: bool) -> (&str, &'static str) {
    for option in ["debug", "asan", "tsan", "pgo"] {
        if let Some(bare) = platform.strip_suffix(option).and_then(|rest| rest.strip_suffix('-')) {
            return (bare, option);
        }
    }
    (platform, if pgo { "pgo" } else { "opt" })
}

/// Reads a message about a build.
pub(super) fn decode(routing_key: &str, body: &str, settings: &WireSettings) -> Result<Decoded, DecodeError> {
    // A build goes through many events; only its end is told in full.
    let event = routing_key.rsplit('.').next().unwrap_or_default();
    if !matches!(event, "" | "finished" | "log_uploaded") {
        return Ok(Decoded::Ignored(Ignored::NotOfInterest));
    }
    let message = without_envelope(body)?;
    object(message)?;
    let Message { build, results } = read(message)?;
    let Some(code) = build.results.or(results) else {
        return Ok(Decoded::Ignored(Ignored::NotOfInterest));
    };
    let Some((outcome, reason, retried)) = outcome(code) else {
        return Err(error(
            Unreadable::UnknownState,
            format!("build.results: {code} is not a result code that is known"),
        ));
    };
    let moment = |index: usize| -> Result<Option<Timestamp>, DecodeError> {
        let text = build.times.get(index).and_then(Option::as_ref);
        text.map(|text| time(text, || format!("build.times[{index}]")))
            .transpose()
    };
    let (started, ended) = (moment(0)?, moment(1)?);
    let Some(at) = ended.or(started) else {
        return Err(error(Unreadable::WrongShape, "build.times: is empty"));
    };
    let master = build.property("master");
    let master = master
        .as_deref()
        .and_then(|url| url.split("//").nth(1)?.split([':', '/', '.']).next());
    let task = format!("{}/{}/{}", master.unwrap_or("-"), &*build.builder, build.number);
    let label = build
        .property("buildername")
        .unwrap_or_else(|| build.builder.to_string());
    let pgo = build.property("pgo_build").is_some_and(|value| value == "True") || label.contains(" pgo ");
    let platform = build.property("platform");
    let platform = platform.as_deref().map(|platform| platform_and_option(platform, pgo));
    let option = if label.contains(" debug ") {
        Some("debug")
    } else {
        platform.map(|(_, option)| option)
    };
    let kind = if label.contains(" test ") || label.contains(" talos ") {
        "test"
    } else {
        "build"
    };
    Ok(Decoded::Events(vec![Event::Job(Box::new(JobEvent {
        run: RunKey {
            backend: settings.backend.clone(),
            task: TaskId::from(task),
            run: 0,
        },
        group: None,
        state: RunState::Finished(outcome),
        reason: Some(reason.into()),
        latest: !retried,
        at,
        scheduled: None,
        started,
        resolved: ended,
        worker: build.slave.as_deref().map(|slave| Worker {
            group: "".into(),
            id: slave.into(),
        }),
        pool: None,
        facts: JobFacts {
            project: build.property("branch").map(Project::from),
            revision: build.property("revision").map(Revision::from),
            label: Some(Label::from(label)),
            platform: platform.map(|(platform, _)| platform.into()),
            option: option.map(Into::into),
            kind: Some(kind.into()),
            ..JobFacts::default()
        },
    }))]))
}
