//! Builds of Buildbot as pulsetranslator passed them on, `exchange/build/normalized`, until 2018.
//!
//! In: the body, in Pulse's envelope or without. Out: one [`Event::Job`](sheriffd_event::Event) for a build that ended.
//! Never: more than the translator understood.

use serde::Deserialize;

use super::buildbot::{outcome, platform_and_option};
use super::json::{Text, error, object, read, time, without_envelope};
use super::{DecodeError, Decoded, Unreadable, WireSettings};
use sheriffd_event::{Event, JobEvent, JobFacts, Label, Project, Revision, RunKey, RunState, TaskId, Worker};

/// The message.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    key: Text<'a>,
    #[serde(borrow)]
    buildername: Text<'a>,
    status: u8,
    #[serde(borrow)]
    timestamp: Text<'a>,
    #[serde(borrow)]
    tree: Option<Text<'a>>,
    #[serde(borrow)]
    revision: Option<Text<'a>>,
    #[serde(borrow)]
    platform: Option<Text<'a>>,
    #[serde(borrow)]
    buildtype: Option<Text<'a>>,
    #[serde(borrow)]
    slave: Option<Text<'a>>,
    #[serde(borrow)]
    test: Option<Text<'a>>,
}

/// Reads a message about a build.
pub(super) fn decode(body: &str, settings: &WireSettings) -> Result<Decoded, DecodeError> {
    let message = without_envelope(body)?;
    object(message)?;
    let message: Message = read(message)?;
    let Some((outcome, reason, retried)) = outcome(message.status) else {
        let detail = format!("status: {} is not a result code that is known", message.status);
        return Err(error(Unreadable::UnknownState, detail));
    };
    let at = time(&message.timestamp, || "timestamp".into())?;
    // The key is the raw message's: build.<builder>.<number>.<event>. Each master counts its own builds and is not
    // named, so the machine, which belongs to one master, stands in for it.
    let build = message.key.rsplit_once('.').map_or(&*message.key, |(build, _)| build);
    let slave = message.slave.as_deref();
    let platform = message
        .platform
        .as_deref()
        .map(|platform| platform_and_option(platform, false));
    let option = message.buildtype.as_deref().or(platform.map(|(_, option)| option));
    Ok(Decoded::Events(vec![Event::Job(Box::new(JobEvent {
        run: RunKey {
            backend: settings.backend.clone(),
            task: TaskId::from(format!("{}/{build}", slave.unwrap_or("-"))),
            run: 0,
        },
        group: None,
        state: RunState::Finished(outcome),
        reason: Some(reason.into()),
        latest: !retried,
        at,
        scheduled: None,
        started: None,
        resolved: Some(at),
        worker: slave.map(|slave| Worker {
            group: "".into(),
            id: slave.into(),
        }),
        pool: None,
        facts: JobFacts {
            project: message.tree.as_deref().map(Project::from),
            revision: message.revision.as_deref().map(Revision::from),
            label: Some(Label::from(&*message.buildername)),
            platform: platform.map(|(platform, _)| platform.into()),
            option: option.map(Into::into),
            kind: Some(if message.test.is_some() { "test" } else { "build" }.into()),
            suite: message.test.as_deref().map(Into::into),
            ..JobFacts::default()
        },
    }))]))
}
