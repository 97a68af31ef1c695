//! Every field of every event: one table for the type checker, the matcher, the schema and the documentation.
//!
//! In: an event, and facts. Out: the value of a field, or `None` for *not known yet*. Never: an answer that the event
//! does not give: `None` in an event is passed on as unknown.

use std::sync::Arc;

use super::fields::{Access, EventKind, Field, ObjectField};
use super::value::{List, Object, ObjectType, Type, Value};
use sheriffd_event::{
    CausedBy, Changeset, Event, JobEvent, Label, PerfAlert, PushEvent, RequestEvent, RequestKind, Timestamp,
};

const JOB: &[EventKind] = &[EventKind::JobFinished, EventKind::JobRunning, EventKind::JobPending];
const FINISHED: &[EventKind] = &[EventKind::JobFinished];
const PUSH: &[EventKind] = &[EventKind::PushCreated];
const REQUEST: &[EventKind] = &[EventKind::RequestReceived];
const ALERT: &[EventKind] = &[EventKind::PerfAlert];
const TIMER: &[EventKind] = &[EventKind::Timer];

/// One row of the table; `words` is written only for fields of a closed set.
macro_rules! field {
    ($name:literal, $on:expr, $ty:expr, $doc:literal, words $words:expr, $get:expr) => {
        Field {
            name: $name,
            on: $on,
            ty: || $ty,
            words: $words,
            doc: $doc,
            access: Access::Event($get),
        }
    };
    ($name:literal, $on:expr, $ty:expr, $doc:literal, facts $get:expr) => {
        Field {
            name: $name,
            on: $on,
            ty: || $ty,
            words: &[],
            doc: $doc,
            access: Access::Facts($get),
        }
    };
    ($name:literal, $on:expr, $ty:expr, $doc:literal, $get:expr) => {
        Field {
            name: $name,
            on: $on,
            ty: || $ty,
            words: &[],
            doc: $doc,
            access: Access::Event($get),
        }
    };
}

fn job(event: &Event) -> Option<&JobEvent> {
    match event {
        Event::Job(job) => Some(job),
        _ => None,
    }
}

fn push(event: &Event) -> Option<&PushEvent> {
    match event {
        Event::Push(push) => Some(push),
        _ => None,
    }
}

fn request(event: &Event) -> Option<&RequestEvent> {
    match event {
        Event::Request(request) => Some(request),
        _ => None,
    }
}

fn alert(event: &Event) -> Option<&PerfAlert> {
    match event {
        Event::PerfAlert(alert) => Some(alert),
        _ => None,
    }
}

fn text<T: AsRef<str>>(text: Option<&T>) -> Option<Value<'_>> {
    text.map(|text| Value::text(text.as_ref()))
}

fn time(time: Option<Timestamp>) -> Option<Value<'static>> {
    time.map(Value::Time)
}

/// Numbers over 2^63 do not occur as identifiers; they would be taken for the largest one.
fn int(number: u64) -> Value<'static> {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// The changesets, when the message names any: an empty list means that it does not say.
fn changesets(event: &Event) -> Option<&[Changeset]> {
    push(event)
        .map(|push| push.changesets.as_slice())
        .filter(|list| !list.is_empty())
}

/// Whether a push brings another tree's work as a whole: it merges, or says that it uplifts.
fn is_uplift(event: &Event) -> Option<bool> {
    let uplifts = |c: &Changeset| {
        let head = c.description.lines().next().unwrap_or_default().to_ascii_lowercase();
        head.contains("uplift") || (c.parents.len() > 1 && head.starts_with("merge"))
    };
    changesets(event).map(|list| list.iter().any(uplifts))
}

/// Every field of every event.
pub static FIELDS: &[Field] = &[
    // Runs.
    field!("project", JOB, Type::Text, "The tree the run belongs to.", |e| text(
        job(e)?.facts.project.as_ref()
    )),
    field!(
        "label",
        JOB,
        Type::Text,
        "The job's name, with its chunk number.",
        |e| text(job(e)?.facts.label.as_ref())
    ),
    field!(
        "series",
        JOB,
        Type::Text,
        "The label without its chunk number: what stays the same when chunks move.",
        |e| {
            let facts = &job(e)?.facts;
            let label = facts.label.as_ref()?.as_str();
            let chunk = facts
                .chunk
                .and_then(|chunk| label.strip_suffix(&format!("-{}", chunk.current)));
            Some(Value::text(chunk.unwrap_or(label)))
        }
    ),
    field!(
        "outcome",
        FINISHED,
        Type::Text,
        "How the run ended. Infra outcomes match only where `match.outcome` names `infra`.",
        words & ["passed", "failed", "infra", "cancelled"],
        |e| job(e)?.outcome().map(|outcome| Value::text(outcome.as_str()))
    ),
    field!(
        "reason",
        FINISHED,
        Type::Text,
        "The CI's own word for how it ended: `claim-expired`, `deadline-exceeded`, ….",
        |e| text(job(e)?.reason.as_ref())
    ),
    field!(
        "caused_by",
        JOB,
        Type::Text,
        "Who made the run happen.",
        words & ["push", "person", "sheriffd"],
        |e| match job(e)?.facts.caused_by {
            CausedBy::Unknown => None,
            known => Some(Value::text(known.as_str())),
        }
    ),
    field!("platform", JOB, Type::Text, "The platform: `linux1804-64-qr`.", |e| {
        text(job(e)?.facts.platform.as_ref())
    }),
    field!(
        "option",
        JOB,
        Type::Text,
        "The build option: `opt`, `debug`, `asan`.",
        |e| text(job(e)?.facts.option.as_ref())
    ),
    field!("tier", JOB, Type::Int, "1 to 3; lower is more important.", |e| job(e)?
        .facts
        .tier
        .map(|tier| Value::Int(tier.into()))),
    field!(
        "kind",
        JOB,
        Type::Text,
        "`test`, `build`, `other`, or the task graph's kind.",
        |e| text(job(e)?.facts.kind.as_ref())
    ),
    field!(
        "suite",
        JOB,
        Type::Text,
        "The test suite without variant and chunk: `mochitest-browser-chrome`.",
        |e| text(job(e)?.facts.suite.as_ref())
    ),
    field!("variant", JOB, Type::Text, "The test variant.", |e| text(
        job(e)?.facts.variant.as_ref()
    )),
    field!(
        "chunk",
        JOB,
        Type::Int,
        "The part of a chunked suite, from 1; unknown for suites without chunks.",
        |e| job(e)?.facts.chunk.map(|chunk| Value::Int(chunk.current.into()))
    ),
    field!("symbol", JOB, Type::Text, "Treeherder's job symbol.", |e| text(
        job(e)?.facts.symbol.as_ref()
    )),
    field!(
        "group_symbol",
        JOB,
        Type::Text,
        "Treeherder's group symbol; `?` where the job has no group.",
        |e| text(job(e)?.facts.group_symbol.as_ref())
    ),
    field!(
        "classification",
        JOB,
        Type::Text,
        "The sheriffs' classification of the failure: `not classified`, `intermittent`, `infra`, ….",
        |e| text(job(e)?.facts.classification.as_ref())
    ),
    field!(
        "signatures",
        FINISHED,
        Type::Object(ObjectType::Signature).list(),
        "What failed in the run; empty where its artifacts name nothing.",
        |e| job(e)?
            .facts
            .signatures
            .as_deref()
            .map(|list| Value::List(List::Signatures(list)))
    ),
    field!(
        "groups",
        FINISHED,
        Type::Text.list(),
        "The test groups (manifests) that ran.",
        |e| job(e)?
            .facts
            .groups
            .as_deref()
            .map(|list| Value::List(List::Texts(list)))
    ),
    field!(
        "bugs",
        FINISHED,
        Type::Object(ObjectType::Bug).list(),
        "The bugs that the failure is known by.",
        facts | e,
        facts | facts.bugs(e).map(|list| Value::List(List::Bugs(list)))
    ),
    field!(
        "revision",
        JOB,
        Type::Text,
        "The head revision of the push it ran for.",
        |e| text(job(e)?.facts.revision.as_ref())
    ),
    field!("push", JOB, Type::Int, "The number of the push it ran for.", |e| job(
        e
    )?
    .facts
    .push
    .map(|push| int(push.0))),
    field!(
        "backend",
        JOB,
        Type::Text,
        "The CI system, as the configuration names it.",
        |e| text(Some(&job(e)?.run.backend))
    ),
    field!("task", JOB, Type::Text, "The task's id.", |e| text(Some(
        &job(e)?.run.task
    ))),
    field!(
        "run",
        JOB,
        Type::Int,
        "The number of the run in its task, from 0.",
        |e| Some(Value::Int(job(e)?.run.run.into()))
    ),
    field!(
        "latest",
        JOB,
        Type::Bool,
        "Whether this is the task's latest run: a retried run is followed by another.",
        |e| Some(Value::Bool(job(e)?.latest))
    ),
    field!(
        "action",
        JOB,
        Type::Text,
        "The action that made the task, when its tags say so: `backfill-task`.",
        |e| text(job(e)?.facts.action.as_ref())
    ),
    field!(
        "pool",
        JOB,
        Type::Text,
        "The queue of machines: `gecko-t/t-linux-large`.",
        |e| text(job(e)?.pool.as_ref())
    ),
    field!(
        "worker",
        JOB,
        Type::Text,
        "The machine's id, once one took the run.",
        |e| job(e)?.worker.as_ref().map(|worker| Value::text(&worker.id))
    ),
    field!(
        "worker_group",
        JOB,
        Type::Text,
        "The machine's group (region or data centre).",
        |e| job(e)?.worker.as_ref().map(|worker| Value::text(&worker.group))
    ),
    field!(
        "at",
        JOB,
        Type::Time,
        "When the run reached its state, by the CI's clock.",
        |e| Some(Value::Time(job(e)?.at))
    ),
    field!("scheduled", JOB, Type::Time, "When it was scheduled.", |e| time(
        job(e)?.scheduled
    )),
    field!("started", JOB, Type::Time, "When it started.", |e| time(
        job(e)?.started
    )),
    field!("duration", FINISHED, Type::Duration, "How long it ran.", |e| {
        let job = job(e)?;
        Some(Value::Duration(job.resolved?.0.checked_sub(job.started?.0)?))
    }),
    // Pushes.
    field!("project", PUSH, Type::Text, "The tree it landed in.", |e| text(Some(
        &push(e)?.project
    ))),
    field!(
        "push",
        PUSH,
        Type::Int,
        "Its number; unknown where the source has none (GitHub).",
        |e| push(e)?.push.map(|id| int(id.0))
    ),
    field!("revision", PUSH, Type::Text, "The head revision after it.", |e| text(
        Some(&push(e)?.revision)
    )),
    field!("user", PUSH, Type::Text, "Who pushed.", |e| text(
        push(e)?.user.as_ref()
    )),
    field!(
        "description",
        PUSH,
        Type::Text,
        "The commit message of its last changeset.",
        |e| changesets(e)?
            .last()
            .map(|changeset| Value::text(&changeset.description))
    ),
    field!(
        "changesets",
        PUSH,
        Type::Object(ObjectType::Changeset).list(),
        "What it holds, oldest first.",
        |e| changesets(e).map(|list| Value::List(List::Changesets(list)))
    ),
    field!(
        "files",
        PUSH,
        Type::Text.list(),
        "Every file that its changesets touch; a file may stand there twice.",
        |e| {
            let files = changesets(e)?.iter().flat_map(|changeset| &changeset.files);
            Some(Value::List(List::Values(files.map(|file| Value::text(file)).collect())))
        }
    ),
    field!(
        "tests_added",
        PUSH,
        Type::Text.list(),
        "The paths of the tests that it adds; unknown until the changesets have been asked for.",
        |e| {
            let tests = push(e)?.tests_added()?;
            Some(Value::List(List::Values(
                tests.into_iter().map(|test| Value::text(test)).collect(),
            )))
        }
    ),
    field!(
        "is_backout",
        PUSH,
        Type::Bool,
        "Whether one of its changesets backs others out.",
        |e| changesets(e).map(|list| Value::Bool(list.iter().any(Changeset::is_backout)))
    ),
    field!(
        "is_merge",
        PUSH,
        Type::Bool,
        "Whether one of its changesets has several parents.",
        |e| changesets(e).map(|list| Value::Bool(list.iter().any(|changeset| changeset.parents.len() > 1)))
    ),
    field!(
        "is_uplift",
        PUSH,
        Type::Bool,
        "Whether a message says `uplift` in its first line, or a merge changeset's begins with `merge`.",
        |e| is_uplift(e).map(Value::Bool)
    ),
    field!("at", PUSH, Type::Time, "When it landed, by the server's clock.", |e| {
        time(push(e)?.at)
    }),
    // Requests of people.
    field!("project", REQUEST, Type::Text, "The project it is for.", |e| text(
        Some(&request(e)?.project)
    )),
    field!(
        "kind",
        REQUEST,
        Type::Text,
        "What is asked for.",
        words & ["backfill", "fill", "all-talos", "add", "cancel-all"],
        |e| Some(Value::text(request(e)?.kind.as_str()))
    ),
    field!(
        "push",
        REQUEST,
        Type::Int,
        "The push it is for, when it is named by number.",
        |e| request(e)?.push.map(|id| int(id.0))
    ),
    field!(
        "revision",
        REQUEST,
        Type::Text,
        "The push it is for, when it is named by revision.",
        |e| text(request(e)?.revision.as_ref())
    ),
    field!("requester", REQUEST, Type::Text, "Who asks.", |e| text(
        request(e)?.requester.as_ref()
    )),
    field!(
        "label",
        REQUEST,
        Type::Text,
        "The one label it names.",
        |e| match &request(e)?.kind {
            RequestKind::Backfill { label, .. } => text(label.as_ref()),
            RequestKind::AddJobs { labels } => match labels.as_slice() {
                [label] => text(Some(label)),
                _ => None,
            },
            _ => None,
        }
    ),
    field!(
        "labels",
        REQUEST,
        Type::Text.list(),
        "The labels it names; empty for requests that name none.",
        |e| Some(Value::List(List::Labels(request_labels(&request(e)?.kind))))
    ),
    field!(
        "times",
        REQUEST,
        Type::Int,
        "How often each job is to run.",
        |e| match &request(e)?.kind {
            RequestKind::AllTalos { times } => Some(Value::Int((*times).into())),
            _ => Some(Value::Int(1)),
        }
    ),
    // Performance alerts.
    field!("project", ALERT, Type::Text, "The project of the series.", |e| text(
        Some(&alert(e)?.project)
    )),
    field!("id", ALERT, Type::Int, "The alert's number at its source.", |e| Some(
        int(alert(e)?.id)
    )),
    field!(
        "series",
        ALERT,
        Type::Text,
        "The series, as its source identifies it.",
        |e| text(Some(&alert(e)?.series))
    ),
    field!("platform", ALERT, Type::Text, "The platform of the series.", |e| text(
        Some(&alert(e)?.platform)
    )),
    field!(
        "test",
        ALERT,
        Type::Text,
        "Suite and test: `tp5o responsiveness`.",
        |e| text(Some(&alert(e)?.test))
    ),
    field!(
        "magnitude",
        ALERT,
        Type::Double,
        "Relative change as a fraction of the old value (0.05 is five percent), never negative.",
        |e| Some(Value::Double(alert(e)?.magnitude))
    ),
    field!(
        "regression",
        ALERT,
        Type::Bool,
        "Whether the change is for the worse.",
        |e| Some(Value::Bool(alert(e)?.regression))
    ),
    field!("push", ALERT, Type::Int, "The first push with the new values.", |e| {
        alert(e)?.push.map(|id| int(id.0))
    }),
    field!(
        "previous_push",
        ALERT,
        Type::Int,
        "The last push with the old values.",
        |e| alert(e)?.previous_push.map(|id| int(id.0))
    ),
    field!("at", ALERT, Type::Time, "When it was raised.", |e| time(alert(e)?.at)),
    // Scheduled rules.
    field!(
        "at",
        TIMER,
        Type::Time,
        "The minute that the schedule names; the last one, where several were missed.",
        |e| match e {
            Event::Timer(tick) => Some(Value::Time(tick.at)),
            _ => None,
        }
    ),
];

fn request_labels(kind: &RequestKind) -> &[Label] {
    match kind {
        RequestKind::Backfill { label, .. } => label.as_slice(),
        RequestKind::AddJobs { labels } => labels,
        RequestKind::Open(open) => open.label.as_slice(),
        RequestKind::FillPush | RequestKind::AllTalos { .. } | RequestKind::CancelAll => &[],
    }
}

/// One row of the table of things.
macro_rules! part {
    ($of:ident, $name:literal, $ty:expr, $doc:literal, |$thing:ident| $get:expr) => {
        ObjectField {
            of: ObjectType::$of,
            name: $name,
            ty: || $ty,
            doc: $doc,
            get: |object| match object {
                Object::$of($thing) => $get,
                _ => None,
            },
        }
    };
}

fn texts(list: &[Arc<str>]) -> Option<Value<'_>> {
    Some(Value::List(List::Texts(list)))
}

/// Every field of every thing inside events.
pub static OBJECT_FIELDS: &[ObjectField] = &[
    part!(
        Signature,
        "test",
        Type::Text,
        "The test path, or the crash signature.",
        |s| Some(Value::text(&s.test))
    ),
    part!(
        Signature,
        "group",
        Type::Text,
        "The test group (manifest) that held the failure.",
        |s| text(s.group.as_ref())
    ),
    part!(Bug, "id", Type::Int, "Its number.", |b| Some(int(b.id))),
    part!(Bug, "keywords", Type::Text.list(), "Its keywords.", |b| texts(
        &b.keywords
    )),
    part!(
        Bug,
        "whiteboard",
        Type::Text,
        "Its whiteboard; empty where there is none.",
        |b| Some(Value::text(&b.whiteboard))
    ),
    part!(Bug, "summary", Type::Text, "Its one-line summary.", |b| Some(
        Value::text(&b.summary)
    )),
    part!(
        Bug,
        "status",
        Type::Text,
        "Its status, in the tracker's word: `NEW`, `RESOLVED`.",
        |b| Some(Value::text(&b.status))
    ),
    part!(Changeset, "node", Type::Text, "Its hash.", |c| Some(Value::text(
        &c.node
    ))),
    part!(Changeset, "author", Type::Text, "Its author, as recorded.", |c| Some(
        Value::text(&c.author)
    )),
    part!(Changeset, "description", Type::Text, "The commit message.", |c| Some(
        Value::text(&c.description)
    )),
    part!(Changeset, "files", Type::Text.list(), "The files it touched.", |c| {
        texts(&c.files)
    }),
    part!(
        Changeset,
        "parents",
        Type::Text.list(),
        "The hashes of its parents; two or more mean a merge.",
        |c| texts(&c.parents)
    ),
    part!(
        Changeset,
        "is_backout",
        Type::Bool,
        "Whether its message says that it backs others out.",
        |c| Some(Value::Bool(c.is_backout()))
    ),
    part!(Estimate, "jobs", Type::Int, "Jobs the case may ask for.", |e| Some(
        Value::Int(e.jobs.into())
    )),
    part!(
        Estimate,
        "hours",
        Type::Double,
        "Machine-hours of those jobs, by the mean duration of the label's runs; unknown while none has ended.",
        |e| e.hours.map(Value::Double)
    ),
];
