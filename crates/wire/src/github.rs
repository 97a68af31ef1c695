//! Events of GitHub repositories as Taskcluster relays them, `exchange/taskcluster-github/v1/…`: `push`,
//! `pull-request`, `release`.
//!
//! In: the kind (the exchange's last part) and the body. Out: an [`Event::Push`](sheriffd_event::Event) for a push to a
//! branch, and for a new head of a pull request, which is a tree of its own: project `org/repo/pull/<number>`. Never: a
//! push number, which GitHub has not; commit times, which are the authors' clocks'.

use serde::Deserialize;

use super::json::{Text, error, read_v1};
use super::{DecodeError, Decoded, Ignored, Unreadable};
use sheriffd_event::{Changeset, Event, Project, PushEvent, Revision, Timestamp};

/// The message. `body` is GitHub's own event, which messages before 2019 lack.
#[derive(Deserialize)]
struct Message<'a> {
    version: u64,
    #[serde(borrow)]
    organization: Text<'a>,
    #[serde(borrow)]
    repository: Text<'a>,
    #[serde(borrow)]
    action: Option<Text<'a>>,
    #[serde(borrow, default)]
    details: Details<'a>,
    #[serde(borrow)]
    body: Option<Body<'a>>,
}

/// `details`: flat, dotted names.
#[derive(Default, Deserialize)]
struct Details<'a> {
    #[serde(borrow, rename = "event.head.sha")]
    head: Option<Text<'a>>,
    #[serde(borrow, rename = "event.head.ref")]
    head_ref: Option<Text<'a>>,
    #[serde(borrow, rename = "event.head.user.login")]
    user: Option<Text<'a>>,
    #[serde(borrow, rename = "event.pullNumber")]
    pull: Option<super::json::TextOrNumber<'a>>,
}

/// The parts of GitHub's event that say something here.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    after: Option<Text<'a>>,
    #[serde(borrow, rename = "ref")]
    reference: Option<Text<'a>>,
    #[serde(default)]
    deleted: bool,
    #[serde(borrow, default)]
    commits: Vec<Commit<'a>>,
    repository: Option<Repository>,
    #[serde(borrow)]
    pull_request: Option<PullRequest<'a>>,
}

/// `repository` of a push event.
#[derive(Deserialize)]
struct Repository {
    pushed_at: Option<PushedAt>,
}

/// When the server took the push: seconds in push events, text elsewhere.
#[derive(Deserialize)]
#[serde(untagged, expecting = "seconds since 1970, or RFC 3339 text")]
enum PushedAt {
    Seconds(i64),
    Text(String),
}

/// `pull_request`.
#[derive(Deserialize)]
struct PullRequest<'a> {
    #[serde(borrow)]
    updated_at: Option<Text<'a>>,
}

/// An entry of `commits[]`.
#[derive(Deserialize)]
struct Commit<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    message: Option<Text<'a>>,
    #[serde(borrow)]
    author: Option<Author<'a>>,
    #[serde(borrow, default)]
    added: Vec<Text<'a>>,
    #[serde(borrow, default)]
    modified: Vec<Text<'a>>,
    #[serde(borrow, default)]
    removed: Vec<Text<'a>>,
}

/// A commit's author.
#[derive(Deserialize)]
struct Author<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
}

/// Reads a message of the exchange `exchange/taskcluster-github/v1/<kind>`.
pub(super) fn decode(kind: &str, body: &str) -> Result<Decoded, DecodeError> {
    if !matches!(kind, "push" | "pull-request" | "release") {
        return Err(error(
            Unreadable::UnknownExchange,
            format!("no format is known for GitHub messages of kind {kind:?}"),
        ));
    }
    let message: Message = read_v1(body)?;
    if message.version != 1 {
        return Err(super::json::version_error(&message.version.to_string()));
    }
    // The relay writes a dot in a name as a percent sign, for the sake of routing keys.
    let repository = format!("{}/{}", &*message.organization, &*message.repository).replace('%', ".");
    match kind {
        "push" => push(&message, &repository),
        "pull-request" => pull_request(&message, &repository),
        // A release names a tag on what landed before.
        _ => Ok(Decoded::Ignored(Ignored::NotOfInterest)),
    }
}

fn push(message: &Message<'_>, repository: &str) -> Result<Decoded, DecodeError> {
    let body = message.body.as_ref();
    let reference = message
        .details
        .head_ref
        .as_deref()
        .or(body.and_then(|body| body.reference.as_deref()));
    let head = message
        .details
        .head
        .as_deref()
        .or(body.and_then(|body| body.after.as_deref()));
    let Some(head) = head else {
        return Err(error(Unreadable::WrongShape, "details: has no field `event.head.sha`"));
    };
    // Deleting a branch is told as a push of the hash of zeroes.
    let deleted = body.is_some_and(|body| body.deleted) || head.bytes().all(|b| b == b'0');
    if deleted || reference.is_some_and(|reference| reference.starts_with("refs/tags/")) {
        return Ok(Decoded::Ignored(Ignored::NotOfInterest));
    }
    let at = body
        .and_then(|body| body.repository.as_ref()?.pushed_at.as_ref())
        .and_then(|at| match at {
            PushedAt::Seconds(seconds) => Some(Timestamp::from_seconds(*seconds)),
            PushedAt::Text(text) => Timestamp::parse(text),
        });
    let commits = body.map(|body| body.commits.as_slice()).unwrap_or_default();
    Ok(one(
        message,
        Project::from(repository),
        head,
        at,
        commits.iter().map(changeset).collect(),
    ))
}

fn pull_request(message: &Message<'_>, repository: &str) -> Result<Decoded, DecodeError> {
    if !matches!(message.action.as_deref(), Some("opened" | "reopened" | "synchronize")) {
        return Ok(Decoded::Ignored(Ignored::NotOfInterest));
    }
    let number = message
        .details
        .pull
        .as_ref()
        .and_then(super::json::TextOrNumber::number);
    let (Some(head), Some(number)) = (message.details.head.as_deref(), number) else {
        return Err(error(
            Unreadable::WrongShape,
            "details: lacks `event.head.sha` or `event.pullNumber`",
        ));
    };
    let updated = message
        .body
        .as_ref()
        .and_then(|body| body.pull_request.as_ref()?.updated_at.as_deref());
    let project = Project::from(format!("{repository}/pull/{number}"));
    Ok(one(
        message,
        project,
        head,
        updated.and_then(Timestamp::parse),
        Vec::new(),
    ))
}

fn one(
    message: &Message<'_>,
    project: Project,
    head: &str,
    at: Option<Timestamp>,
    changesets: Vec<Changeset>,
) -> Decoded {
    Decoded::Events(vec![Event::Push(Box::new(PushEvent {
        project,
        push: None,
        revision: Revision::from(head),
        at,
        user: message.details.user.as_deref().map(Into::into),
        changesets,
    }))])
}

fn changeset(commit: &Commit<'_>) -> Changeset {
    let author = commit
        .author
        .as_ref()
        .and_then(|author| author.name.as_deref())
        .unwrap_or_default();
    let files = commit.added.iter().chain(&commit.modified).chain(&commit.removed);
    Changeset {
        node: (&*commit.id).into(),
        author: author.into(),
        description: commit.message.as_deref().unwrap_or_default().into(),
        files: files.map(|file| (&**file).into()).collect(),
        parents: Vec::new(),
        added: Some(commit.added.iter().map(|file| (&**file).into()).collect()),
    }
}
