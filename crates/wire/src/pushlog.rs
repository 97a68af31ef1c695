//! Pushes as sources of truth list them: a pushlog's answer, Treeherder's pushes, recordings of both.
//!
//! In: the JSON text of one answer, or one line of a recording. Out: [`PushEvent`]s, oldest first. Never: fetching.
//!
//! | form | what it is |
//! |---|---|
//! | `{"lastpushid": …, "pushes": {"<id>": {…}}}` | json-pushes, version 2 |
//! | `{"<id>": {…}}` | json-pushes, version 1 |
//! | `{"repo": …, "pushid": …, "push": {…}}` | one push of json-pushes, recorded |
//! | `{"results": […]}` | Treeherder's push list |
//! | `{"push": {"id": …, "revision": …}}` | one of those, recorded |
//! | `{"repository": …, "push_id": …, "revision": …}` | a push of a Treeherder snapshot, recorded |

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::json::{Text, TextOrNumber, error, object, read};
use super::{DecodeError, Unreadable};
use sheriffd_event::{Changeset, Project, PushEvent, PushId, Revision, Timestamp};

/// The outermost fields that tell the forms apart.
#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow)]
    pushes: Option<BTreeMap<Text<'a>, HgPush<'a>>>,
    #[serde(borrow)]
    results: Option<Vec<TreeherderPush<'a>>>,
    #[serde(borrow)]
    push: Option<&'a RawValue>,
    #[serde(borrow)]
    pushid: Option<TextOrNumber<'a>>,
    push_id: Option<IgnoredAny>,
    #[serde(borrow)]
    repo: Option<Text<'a>>,
    #[serde(borrow)]
    repository: Option<Text<'a>>,
}

/// A push of json-pushes.
#[derive(Deserialize)]
struct HgPush<'a> {
    #[serde(borrow)]
    changesets: Vec<HgChangeset<'a>>,
    date: Option<i64>,
    #[serde(borrow)]
    user: Option<Text<'a>>,
}

/// A changeset of json-pushes: its hash alone, or with its metadata (`full=1`).
#[derive(Deserialize)]
#[serde(untagged, expecting = "a hash, or a changeset with a field `node`")]
enum HgChangeset<'a> {
    Node(#[serde(borrow)] Cow<'a, str>),
    #[serde(borrow)]
    Full(FullChangeset<'a>),
}

/// A changeset of json-pushes with its metadata.
#[derive(Deserialize)]
struct FullChangeset<'a> {
    #[serde(borrow)]
    node: Text<'a>,
    #[serde(borrow)]
    author: Option<Text<'a>>,
    #[serde(borrow)]
    desc: Option<Text<'a>>,
    #[serde(borrow, default)]
    files: Vec<Text<'a>>,
    #[serde(borrow, default)]
    parents: Vec<Parent<'a>>,
}

/// A parent: its hash, or an object with it.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a hash, or an object with a field `node`")]
enum Parent<'a> {
    Node(#[serde(borrow)] Cow<'a, str>),
    Full {
        #[serde(borrow)]
        node: Cow<'a, str>,
    },
}

/// A push of Treeherder's API, or of a snapshot of its page.
#[derive(Deserialize)]
struct TreeherderPush<'a> {
    #[serde(alias = "push_id")]
    id: u64,
    #[serde(borrow)]
    revision: Text<'a>,
    #[serde(borrow)]
    author: Option<Text<'a>>,
    push_timestamp: Option<i64>,
    #[serde(borrow, default)]
    revisions: Vec<TreeherderRevision<'a>>,
}

/// One of a Treeherder push's commits.
#[derive(Deserialize)]
struct TreeherderRevision<'a> {
    #[serde(borrow)]
    revision: Text<'a>,
    #[serde(borrow)]
    author: Option<Text<'a>>,
    #[serde(borrow, alias = "comment")]
    comments: Option<Text<'a>>,
}

/// Reads the pushes of one answer or one recorded line. `project` is the tree that was asked for; a recorded line that
/// names its own tree is believed instead. Pushes without changesets are left out.
///
/// The numbers are the source's own: a pushlog's and Treeherder's numbers of one push differ, so a project's pushes
/// have to come from one kind of source.
///
/// # Errors
/// The text is of none of the forms above; the explanation names the field.
pub fn pushes(text: &str, project: &Project) -> Result<Vec<PushEvent>, DecodeError> {
    object(text)?;
    let own_or = |own: Option<Text<'_>>| own.as_deref().map_or_else(|| project.clone(), Project::from);
    let mut found: Vec<PushEvent> = match read::<Outer>(text)? {
        Outer {
            pushes: Some(pushes), ..
        } => numbered(pushes, project)?,
        Outer {
            results: Some(results), ..
        } => results.into_iter().map(|push| from_treeherder(push, project)).collect(),
        Outer {
            push: Some(push),
            pushid: Some(id),
            repo,
            ..
        } => from_pushlog(number(&id)?, read(push.get())?, &own_or(repo))
            .into_iter()
            .collect(),
        Outer { push: Some(push), .. } => vec![from_treeherder(read(push.get())?, project)],
        Outer {
            push_id: Some(_),
            repository,
            ..
        } => vec![from_treeherder(read(text)?, &own_or(repository))],
        _ => numbered(read(text)?, project)?,
    };
    found.sort_by_key(|push| push.push);
    Ok(found)
}

/// Reads pushes that are keyed by their numbers.
fn numbered(pushes: BTreeMap<Text<'_>, HgPush<'_>>, project: &Project) -> Result<Vec<PushEvent>, DecodeError> {
    let mut found = Vec::with_capacity(pushes.len());
    for (id, push) in pushes {
        found.extend(from_pushlog(number(&TextOrNumber::Text(id.0))?, push, project));
    }
    Ok(found)
}

fn number(id: &TextOrNumber<'_>) -> Result<PushId, DecodeError> {
    id.number().map(PushId).ok_or_else(|| {
        error(
            Unreadable::WrongShape,
            format!("{:?} is not the number of a push", id.text()),
        )
    })
}

/// `None` for a push without changesets: they were hidden since (as on `try`), so nothing can run on it.
fn from_pushlog(id: PushId, push: HgPush<'_>, project: &Project) -> Option<PushEvent> {
    let changesets: Vec<Changeset> = push
        .changesets
        .into_iter()
        .map(|changeset| match changeset {
            HgChangeset::Node(node) => Changeset {
                node: node.into(),
                ..Changeset::default()
            },
            HgChangeset::Full(full) => Changeset {
                node: (&*full.node).into(),
                author: owned(full.author),
                description: owned(full.desc),
                files: full.files.iter().map(|file| (&**file).into()).collect(),
                parents: full
                    .parents
                    .into_iter()
                    .map(|parent| match parent {
                        Parent::Node(node) | Parent::Full { node } => node.into(),
                    })
                    .collect(),
                added: None,
            },
        })
        .collect();
    // A pushlog lists changesets in the order they landed: the last is the head.
    let revision = Revision::from(&*changesets.last()?.node);
    Some(PushEvent {
        project: project.clone(),
        push: Some(id),
        revision,
        at: push.date.map(Timestamp::from_seconds),
        user: push.user.map(|user| (&*user).into()),
        changesets,
    })
}

fn from_treeherder(push: TreeherderPush<'_>, project: &Project) -> PushEvent {
    // Treeherder lists the head first; here the order is that of landing.
    let changesets = push.revisions.into_iter().rev().map(|revision| Changeset {
        node: (&*revision.revision).into(),
        author: owned(revision.author),
        description: owned(revision.comments),
        ..Changeset::default()
    });
    PushEvent {
        project: project.clone(),
        push: Some(PushId(push.id)),
        revision: Revision::from(&*push.revision),
        at: push.push_timestamp.map(Timestamp::from_seconds),
        user: push.author.map(|author| (&*author).into()),
        changesets: changesets.collect(),
    }
}

fn owned(text: Option<Text<'_>>) -> Arc<str> {
    text.as_deref().unwrap_or_default().into()
}

/// The answer to `json-rev`, as far as it is used here.
#[derive(Deserialize)]
struct HgRevision<'a> {
    #[serde(borrow)]
    files: Vec<HgFile<'a>>,
}

/// A file of a changeset with what became of it: `added`, `modified`, `removed`.
#[derive(Deserialize)]
struct HgFile<'a> {
    #[serde(borrow)]
    file: Text<'a>,
    #[serde(borrow)]
    status: Text<'a>,
}

/// Reads which files a changeset adds, from the answer to `json-rev`.
///
/// # Errors
/// The text is not such an answer.
pub fn added_files(text: &str) -> Result<Vec<Arc<str>>, DecodeError> {
    object(text)?;
    let revision: HgRevision<'_> = read(text)?;
    let added = revision.files.iter().filter(|file| &*file.status == "added");
    Ok(added.map(|file| (&*file.file).into()).collect())
}
