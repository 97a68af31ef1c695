//! Task definitions: what the queue service knows of a job and messages do not carry.
//!
//! In: a definition's JSON (`queue.task`). Out: [`JobFacts`]. Never: fetching; telling a person's action from one of
//! ours (the definition does not know).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::json::{Text, error, object, read};
use super::place::{Place, project_of_url};
use super::tags::{Tags, platform_and_option};
use super::{DecodeError, Unreadable};
use sheriffd_event::{CausedBy, Chunk, JobFacts, Label, Revision, TaskId};

/// The parts of a definition that say something about the job.
#[derive(Deserialize)]
pub(super) struct Definition<'a> {
    #[serde(borrow, rename = "taskGroupId")]
    pub(super) group: Option<Text<'a>>,
    #[serde(borrow, rename = "workerType")]
    pub(super) worker_type: Option<Text<'a>>,
    #[serde(borrow, rename = "taskQueueId")]
    queue: Option<Text<'a>>,
    #[serde(borrow, default)]
    routes: Vec<Text<'a>>,
    #[serde(borrow)]
    pub(super) created: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) metadata: Metadata<'a>,
    #[serde(borrow, default)]
    tags: Tags<'a>,
    #[serde(borrow, default)]
    pub(super) extra: Extra<'a>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(borrow)]
    dependencies: Option<&'a RawValue>,
}

/// `metadata`, which every definition has.
#[derive(Deserialize)]
pub(super) struct Metadata<'a> {
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(borrow)]
    pub(super) owner: Option<Text<'a>>,
    #[serde(borrow)]
    source: Option<Text<'a>>,
}

/// `extra`: free-form for the queue. Only Treeherder's part is held to a shape.
#[derive(Default, Deserialize)]
pub(super) struct Extra<'a> {
    #[serde(borrow)]
    pub(super) treeherder: Option<Treeherder<'a>>,
    #[serde(borrow, rename = "treeherder-platform")]
    platform: Option<Text<'a>>,
    #[serde(borrow)]
    parent: Option<Text<'a>>,
    #[serde(borrow)]
    chunks: Option<&'a RawValue>,
    #[serde(borrow)]
    suite: Option<&'a RawValue>,
    #[serde(borrow)]
    action: Option<&'a RawValue>,
    #[serde(borrow, rename = "tasks_for")]
    tasks_for: Option<Text<'a>>,
}

/// `extra.treeherder`: how the job is shown.
#[derive(Default, Deserialize)]
pub(super) struct Treeherder<'a> {
    #[serde(borrow, rename = "jobKind")]
    pub(super) job_kind: Option<Text<'a>>,
    #[serde(borrow)]
    symbol: Option<Symbol<'a>>,
    #[serde(borrow, rename = "groupSymbol")]
    group_symbol: Option<Text<'a>>,
    #[serde(borrow, rename = "groupName")]
    pub(super) group_name: Option<Text<'a>>,
    #[serde(borrow, rename = "productName")]
    pub(super) product_name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) reason: Option<Text<'a>>,
    #[serde(borrow)]
    collection: Option<BTreeMap<Text<'a>, IgnoredAny>>,
    #[serde(borrow)]
    labels: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    pub(super) machine: Option<Machine<'a>>,
    tier: Option<u8>,
}

/// A symbol may be written as a number.
#[derive(Deserialize)]
#[serde(untagged, expecting = "text or a whole number")]
enum Symbol<'a> {
    Number(i64),
    #[serde(borrow)]
    Text(Text<'a>),
}

/// `extra.treeherder.machine`.
#[derive(Default, Deserialize)]
pub(super) struct Machine<'a> {
    #[serde(borrow)]
    platform: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) os: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) architecture: Option<Text<'a>>,
}

/// `extra.chunks`, as test tasks have it.
#[derive(Deserialize)]
struct Chunks {
    current: u32,
    total: u32,
}

/// `extra.suite`: a name today, a name with a flavour in older definitions.
#[derive(Deserialize)]
#[serde(untagged)]
enum Suite {
    Name(String),
    Flavoured { name: String, flavor: Option<String> },
}

/// How the symbols of runs end that gecko's backfill made.
const BACKFILLED: &str = "-bk";

/// `extra.action` of an action task.
#[derive(Deserialize)]
struct Action<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
}

/// `payload`, as far as workers agree on it.
#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    env: Option<BTreeMap<Text<'a>, &'a RawValue>>,
}

impl<'a> Definition<'a> {
    /// Reads a definition.
    pub(super) fn read(text: &'a str) -> Result<Definition<'a>, DecodeError> {
        object(text)?;
        read(text)
    }

    /// The one place that the task's routes name.
    pub(super) fn place(&self) -> Option<Place<'_>> {
        Place::of_routes(self.routes.iter().map(|route| &**route))
    }

    /// Where the job runs: Treeherder's word for the machine, else the kind of worker.
    pub(super) fn platform(&self) -> Option<&str> {
        let machine = self.extra.treeherder.as_ref().and_then(|t| t.machine.as_ref());
        let named = machine.and_then(|machine| machine.platform.as_deref());
        let whole = || {
            self.extra
                .platform
                .as_deref()
                .and_then(platform_and_option)
                .map(|(platform, _)| platform)
        };
        let pool = || {
            self.queue
                .as_deref()
                .map(|queue| queue.rsplit('/').next().unwrap_or(queue))
        };
        named.or_else(whole).or(self.worker_type.as_deref()).or_else(pool)
    }

    /// The build options, sorted; `opt` when the definition names none.
    pub(super) fn options(&self) -> Vec<&str> {
        let treeherder = self.extra.treeherder.as_ref();
        let labels = treeherder
            .and_then(|t| t.labels.as_deref())
            .unwrap_or_default()
            .iter()
            .map(|label| &**label);
        let mut options: Vec<&str> = labels.collect();
        if options.is_empty() {
            let collection = treeherder.and_then(|t| t.collection.as_ref());
            options = collection.into_iter().flatten().map(|(option, _)| &**option).collect();
        }
        if options.is_empty() {
            let whole = self.extra.platform.as_deref().and_then(platform_and_option);
            options.push(whole.map_or("opt", |(_, option)| option));
        }
        options.sort_unstable();
        options.dedup();
        options
    }

    /// The job's symbol, when the definition is meant for Treeherder.
    pub(super) fn symbol(&self) -> Option<String> {
        self.extra
            .treeherder
            .as_ref()?
            .symbol
            .as_ref()
            .map(|symbol| match symbol {
                Symbol::Number(number) => number.to_string(),
                Symbol::Text(text) => text.to_string(),
            })
    }

    /// The group's symbol, `?` where the job has no group.
    pub(super) fn group_symbol(&self) -> &str {
        self.extra
            .treeherder
            .as_ref()
            .and_then(|t| t.group_symbol.as_deref())
            .unwrap_or("?")
    }

    /// The tier, 1 unless the definition says otherwise.
    pub(super) fn tier(&self) -> u8 {
        self.extra.treeherder.as_ref().and_then(|t| t.tier).unwrap_or(1)
    }

    /// The suite without variant and chunk.
    fn suite(&self) -> Option<String> {
        let whole = match serde_json::from_str(self.extra.suite?.get()).ok()? {
            Suite::Name(name) => name,
            Suite::Flavoured {
                name,
                flavor: Some(flavor),
            } if !flavor.starts_with(&name) => format!("{name}-{flavor}"),
            Suite::Flavoured { name, flavor } => flavor.unwrap_or(name),
        };
        Some(whole.strip_suffix("-chunked").unwrap_or(&whole).to_owned())
    }

    /// The chunk. A suite of one part is not chunked: its label carries no number.
    fn chunk(&self) -> Option<Chunk> {
        let Chunks { current, total } = serde_json::from_str(self.extra.chunks?.get()).ok()?;
        (total > 1 && (1..=total).contains(&current)).then_some(Chunk { current, total })
    }

    /// The action that made the task, or that the task is.
    fn action(&self) -> Option<String> {
        let own = || {
            let action: Action = serde_json::from_str(self.extra.action?.get()).ok()?;
            action.name.map(|name| name.to_string())
        };
        self.tags.action.as_deref().map(str::to_owned).or_else(own)
    }

    /// The tasks that have to end before it can run.
    fn needs(&self) -> Option<Vec<TaskId>> {
        let needs: Vec<Text> = serde_json::from_str(self.dependencies?.get()).ok()?;
        Some(needs.iter().map(|need| TaskId::from(&**need)).collect())
    }

    /// The head revision and the project that the task's environment names, by `<NAME>_HEAD_REV` and
    /// `<NAME>_HEAD_REPOSITORY`. Only when it is sure which repository is meant: gecko's, or the only one besides
    /// taskgraph's own.
    fn head(&self) -> Option<(Revision, Option<String>)> {
        let payload: Payload = serde_json::from_str(self.payload?.get()).ok()?;
        let env = payload.env?;
        let text = |name: &str| {
            let (_, value) = env.iter().find(|(key, _)| &***key == name)?;
            serde_json::from_str::<String>(value.get())
                .ok()
                .filter(|value| !value.is_empty())
        };
        let mut prefixes = env.keys().filter_map(|key| key.strip_suffix("_HEAD_REV"));
        let prefix = if prefixes.clone().any(|prefix| prefix == "GECKO") {
            "GECKO"
        } else {
            let mut others = prefixes.by_ref().filter(|prefix| *prefix != "TASKGRAPH");
            match (others.next(), others.next()) {
                (Some(only), None) => only,
                _ => return None,
            }
        };
        let revision = text(&format!("{prefix}_HEAD_REV"))?;
        Some((Revision::from(revision), text(&format!("{prefix}_HEAD_REPOSITORY"))))
    }

    /// Who made the task happen, as far as the definition tells.
    fn caused_by(&self, action: Option<&str>) -> CausedBy {
        let by_action = action.is_some()
            || self.extra.action.is_some()
            || matches!(self.extra.tasks_for.as_deref(), Some("action" | "pr-action"))
            || self.symbol().is_some_and(|symbol| symbol.ends_with(BACKFILLED))
            || self.group_symbol().ends_with(BACKFILLED);
        match (&self.extra.parent, &self.group) {
            _ if by_action => CausedBy::Unknown,
            (None, _) => CausedBy::Push,
            (Some(parent), Some(group)) if parent == group => CausedBy::Push,
            _ => CausedBy::Unknown,
        }
    }

    /// Everything the definition says of its job.
    fn facts(&self) -> JobFacts {
        let mut facts = JobFacts::default();
        self.tags.fill(&mut facts);
        let label = self.tags.label.as_deref().unwrap_or(&self.metadata.name);
        facts.label = Some(Label::from(label));
        match self.place() {
            Some(place) => place.fill(&mut facts),
            None => {
                let head = self.head();
                let repository = head.as_ref().and_then(|(_, repository)| repository.as_deref());
                let source = || self.metadata.source.as_deref().and_then(project_of_url);
                facts.project = facts
                    .project
                    .or_else(|| repository.and_then(project_of_url))
                    .or_else(source);
                facts.revision = head.map(|(revision, _)| revision);
            }
        }
        facts.platform = self.platform().map(Into::into);
        facts.option = Some(self.options().join(" ").into());
        facts.tier = Some(self.tier());
        let job_kind = self.extra.treeherder.as_ref().and_then(|t| t.job_kind.as_deref());
        facts.kind = facts.kind.or_else(|| job_kind.map(Into::into));
        facts.suite = facts.suite.or_else(|| self.suite().map(Into::into));
        facts.chunk = self.chunk();
        facts.symbol = self.symbol().map(Into::into);
        facts.group_symbol = Some(self.group_symbol().into());
        facts.parent = self.extra.parent.as_deref().map(TaskId::from);
        facts.action = self.action().map(Into::into);
        facts.caused_by = self.caused_by(facts.action.as_deref());
        facts.needs = self.needs();
        facts
    }
}

/// Reads what a task's definition says of its job.
///
/// Place: the one `tc-treeherder.v2` route; without one the repository and revision of the task's environment
/// (`GECKO_HEAD_REV`, or another `*_HEAD_REV` when there is only one), then the project of the tags or of the source's
/// address; unknown otherwise. Platform, option (default `opt`), tier (default 1), symbols: `extra.treeherder`.
/// Caused by: [`CausedBy::Push`] when the task's parent is its group or it has none, and no action had a hand in it;
/// otherwise unknown, with the parent set.
///
/// # Errors
/// The definition is not UTF-8, not JSON, or lacks `metadata.name`.
pub fn facts(definition: impl AsRef<[u8]>) -> Result<JobFacts, DecodeError> {
    let text = std::str::from_utf8(definition.as_ref())
        .map_err(|e| error(Unreadable::NotUtf8, format!("the task definition is not UTF-8: {e}")))?;
    Ok(Definition::read(text)?.facts())
}
