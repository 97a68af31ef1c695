//! Pushes to Mercurial repositories, `exchange/hgpushes/v1` and `v2`.
//!
//! In: the routing key (the repository's path) and the body, in Pulse's envelope or without. Out: an
//! [`Event::Push`](sheriffd_event::Event) for every push whose head the message tells. Never: the message's `time` and
//! addresses, which have been seen wrong; the pushlog has the true ones.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{Text, error, object, read, without_envelope};
use super::place::{project_of_path, project_of_url};
use super::{DecodeError, Decoded, Ignored, Unreadable};
use sheriffd_event::{Event, Project, PushEvent, PushId, Revision};

/// A message of version 2: the kind of change, and what changed.
#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// What changed: the body of version 1, the `data` of version 2.
#[derive(Deserialize)]
struct Changes<'a> {
    #[serde(borrow)]
    repo_url: Option<Text<'a>>,
    #[serde(borrow)]
    heads: Vec<Text<'a>>,
    #[serde(borrow)]
    pushlog_pushes: Vec<Push<'a>>,
}

/// An entry of `pushlog_pushes[]`.
#[derive(Deserialize)]
struct Push<'a> {
    pushid: u64,
    #[serde(borrow)]
    user: Option<Text<'a>>,
}

/// Reads a message of version 1.
pub(super) fn decode_v1(routing_key: &str, body: &str) -> Result<Decoded, DecodeError> {
    let message = without_envelope(body)?;
    object(message)?;
    events(routing_key, read(message)?)
}

/// Reads a message of version 2; kinds other than `changegroup.1` say nothing of pushes.
pub(super) fn decode_v2(routing_key: &str, body: &str) -> Result<Decoded, DecodeError> {
    let message = without_envelope(body)?;
    object(message)?;
    let Typed { kind, data } = read(message)?;
    if &*kind != "changegroup.1" {
        return Ok(Decoded::Ignored(Ignored::NotOfInterest));
    }
    let Some(data) = data else {
        return Err(error(Unreadable::WrongShape, "a changegroup.1 has no field `data`"));
    };
    object(data.get())?;
    events(routing_key, read(data.get())?)
}

fn events(routing_key: &str, changes: Changes<'_>) -> Result<Decoded, DecodeError> {
    let named = || changes.repo_url.as_deref().and_then(project_of_url);
    let Some(project) = project_of_path(routing_key).or_else(named) else {
        return Err(error(
            Unreadable::WrongShape,
            "neither the routing key nor repo_url names a repository",
        ));
    };
    let Changes {
        heads,
        pushlog_pushes: mut pushes,
        ..
    } = changes;
    if pushes.is_empty() {
        return Ok(Decoded::Ignored(Ignored::NotOfInterest));
    }
    let Some(newest) = heads.last() else {
        return Err(error(
            Unreadable::WrongShape,
            "heads: is empty, though pushlog_pushes is not",
        ));
    };
    pushes.sort_by_key(|push| push.pushid);
    let event = |push: &Push<'_>, head: &str| {
        Event::Push(Box::new(PushEvent {
            project: Project::clone(&project),
            push: Some(PushId(push.pushid)),
            revision: Revision::from(head),
            at: None,
            user: push.user.as_deref().map(|user| user.trim().into()),
            changesets: Vec::new(),
        }))
    };
    // With a head a push (side by side, as on `try`) they pair up. Otherwise only the newest push's head is told:
    // an older one is known once the pushlog is asked.
    let events = match heads.len() == pushes.len() {
        true => pushes
            .iter()
            .zip(&heads)
            .map(|(push, head)| event(push, head))
            .collect(),
        false => pushes.last().map(|push| event(push, newest)).into_iter().collect(),
    };
    Ok(Decoded::Events(events))
}
