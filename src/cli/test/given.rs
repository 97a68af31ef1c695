//! What a test writes, as the events and history it stands for.
//!
//! In: a [`RuleTest`]. Out: pushes, runs and events, complete: what is not written has a value that such a thing has in
//! life. Never: a guess at what is written as null: that is a fact that is not known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value as Json;

use crate::event::{
    BackendName, CausedBy, Changeset, Chunk, Duration, Event, JobEvent, JobFacts, Label, Outcome, PerfAlert, Project,
    PushEvent, PushId, RequestEvent, RequestKind, Revision, RunKey, RunState, Signature, TaskId, Tick, Timestamp,
    Worker, parse_duration,
};
use crate::rules::{Bug, EventKind, RuleTest, TestStep};

/// The project of what names none.
const PROJECT: &str = "autoland";
/// The label of an event that names none.
const LABEL: &str = "test-linux1804-64/opt-mochitest-1";
/// The push of an event that names none, where no other is named either.
const PUSH: u64 = 100;
/// The CI system of tests.
pub(super) const BACKEND: &str = "test";
/// From one push to the next.
const BETWEEN_PUSHES: Duration = Duration::from_secs(3600);
/// How long a run takes.
const RUN_TAKES: Duration = Duration::from_secs(600);
/// The most pushes that exist because they lie between two that are named; a typo must not fill the memory.
const MAX_PUSHES: u64 = 5_000;
/// When a test begins unless it says so: 2026-01-01T00:00:00Z.
const BEGINNING: Timestamp = Timestamp(1_767_225_600_000);

/// The values that are written for an event.
pub(super) type Fields = BTreeMap<String, Json>;

/// Makes events of what a test writes. Remembers which runs have begun, so that a later state is of the same run.
pub(super) struct Given<'t> {
    test: &'t RuleTest,
    /// The push of the first event that names one, else the highest of the test.
    first_push: u64,
    highest: u64,
    next_task: u32,
    begun: Vec<Begun>,
}

/// A run that has not ended.
struct Begun {
    project: Option<Project>,
    label: Option<Label>,
    push: Option<PushId>,
    run: RunKey,
    state: RunState,
}

impl<'t> Given<'t> {
    /// Looks through a test.
    pub(super) fn new(test: &'t RuleTest) -> Given<'t> {
        let named = test.steps.iter().filter_map(|step| match step {
            TestStep::Event { fields, .. } => number(fields, "push"),
            TestStep::File(_) | TestStep::After(_) => None,
        });
        let (first, of_events) = (named.clone().next(), named.max());
        let of_history = test.history.iter().map(|run| run.push);
        let of_pushes = test.pushes.iter().map(|push| push.push);
        let highest = of_history.chain(of_pushes).chain(of_events).max().unwrap_or(PUSH);
        Given {
            test,
            first_push: first.unwrap_or(highest),
            highest,
            next_task: 0,
            begun: Vec::new(),
        }
    }

    /// When the test begins.
    pub(super) fn beginning(&self) -> Timestamp {
        self.test.at.unwrap_or(BEGINNING)
    }

    /// When a push landed: an hour for each that came after it before the first event's.
    fn landed(&self, push: u64) -> Timestamp {
        let hours = u32::try_from(self.first_push.saturating_sub(push)).unwrap_or(u32::MAX);
        self.beginning().minus(BETWEEN_PUSHES.saturating_mul(hours))
    }

    /// The pushes that exist from the beginning: in each project of the test those it describes, and all between the
    /// lowest and the highest number; but not those that land in the test.
    pub(super) fn pushes(&self) -> Vec<PushEvent> {
        let mut numbers: BTreeMap<Project, BTreeSet<u64>> = BTreeMap::new();
        let mut landing: BTreeSet<(Project, u64)> = BTreeSet::new();
        let mut note = |project: Option<&str>, push: u64| {
            let project = Project::from(project.unwrap_or(PROJECT));
            numbers.entry(project).or_default().insert(push);
        };
        for run in &self.test.history {
            note(run.project.as_deref(), run.push);
        }
        for push in &self.test.pushes {
            note(push.project.as_deref(), push.push);
        }
        for step in &self.test.steps {
            let TestStep::Event { kind, fields } = step else {
                continue;
            };
            let project = text(fields, "project").unwrap_or_else(|| PROJECT.to_owned());
            let Some(push) = number(fields, "push").or((kind.is_job()).then_some(self.highest)) else {
                continue;
            };
            note(Some(&project), push);
            if *kind == EventKind::PushCreated {
                landing.insert((Project::from(project), push));
            }
        }
        let mut pushes = Vec::new();
        for (project, named) in numbers {
            let (Some(low), Some(high)) = (named.first().copied(), named.last().copied()) else {
                continue;
            };
            let all: Vec<u64> = if high - low < MAX_PUSHES {
                (low..=high).collect()
            } else {
                named.into_iter().collect()
            };
            let of_project = all
                .into_iter()
                .filter(|push| !landing.contains(&(project.clone(), *push)));
            pushes.extend(of_project.map(|push| self.push(&project, push)));
        }
        pushes
    }

    fn push(&self, project: &Project, number: u64) -> PushEvent {
        let described = self
            .test
            .pushes
            .iter()
            .find(|push| push.push == number && push.project.as_deref().unwrap_or(PROJECT) == project.as_str());
        let revision = described.and_then(|push| push.revision.as_deref());
        let changeset = |description: &String| Changeset {
            node: revision.map_or_else(|| revision_of(number).as_str().into(), Into::into),
            description: description.as_str().into(),
            ..Changeset::default()
        };
        let ago = described.and_then(|push| push.ago);
        PushEvent {
            project: project.clone(),
            push: Some(PushId(number)),
            revision: revision.map_or_else(|| revision_of(number), Revision::from),
            at: Some(ago.map_or_else(|| self.landed(number), |ago| self.beginning().minus(ago))),
            user: None,
            changesets: described
                .and_then(|push| push.description.as_ref())
                .map(changeset)
                .into_iter()
                .collect(),
        }
    }

    /// The head revision of a push in this test.
    fn revision(&self, project: &Project, push: u64) -> Revision {
        self.push(project, push).revision
    }

    /// The runs that ended before the first event.
    pub(super) fn history(&mut self) -> Vec<JobEvent> {
        let test = self.test;
        test.history
            .iter()
            .map(|run| {
                let project = Project::from(run.project.as_deref().unwrap_or(PROJECT));
                let at = match run.ago {
                    Some(ago) => self.beginning().minus(ago),
                    // The run of a push ends before the next one lands, and before the first event.
                    None => self.landed(run.push).minus(RUN_TAKES),
                };
                let mut facts = facts_of_label(&run.label);
                facts.revision = Some(self.revision(&project, run.push));
                facts.project = Some(project);
                facts.push = Some(PushId(run.push));
                facts.tier = Some(1);
                facts.caused_by = causer(run.caused_by.as_deref().unwrap_or("push"));
                let outcome = outcome(&run.outcome);
                job(self.new_run(), RunState::Finished(outcome), at, RUN_TAKES, facts)
            })
            .collect()
    }

    fn new_run(&mut self) -> RunKey {
        self.next_task += 1;
        RunKey {
            backend: BackendName::from(BACKEND),
            task: TaskId::from(format!("task-{}", self.next_task)),
            run: 0,
        }
    }

    /// One event. `receipt` is the CI's task that made the runs we asked for, by label and push.
    pub(super) fn event(
        &mut self,
        kind: EventKind,
        fields: &Fields,
        now: Timestamp,
        receipt: impl FnOnce(&Label, PushId) -> Option<TaskId>,
    ) -> Event {
        match kind {
            EventKind::JobPending => self.job(RunState::Pending, fields, now, receipt),
            EventKind::JobRunning => self.job(RunState::Running, fields, now, receipt),
            EventKind::JobFinished => {
                let outcome = outcome(text(fields, "outcome").as_deref().unwrap_or("failed"));
                self.job(RunState::Finished(outcome), fields, now, receipt)
            }
            EventKind::PushCreated => self.landing(fields, now),
            EventKind::RequestReceived => request(fields),
            EventKind::PerfAlert => alert(fields, now),
            // No test can write one: schedules are met by letting time pass.
            EventKind::Timer => Event::Timer(Box::new(Tick {
                rule: text(fields, "rule").unwrap_or_default().into(),
                at: now,
            })),
        }
    }

    fn job(
        &mut self,
        state: RunState,
        fields: &Fields,
        now: Timestamp,
        receipt: impl FnOnce(&Label, PushId) -> Option<TaskId>,
    ) -> Event {
        let label = or(fields, "label", || {
            text(fields, "series").or_else(|| Some(LABEL.to_owned()))
        });
        let mut facts = label.as_deref().map(facts_of_label).unwrap_or_default();
        facts.project = or(fields, "project", || Some(PROJECT.to_owned())).map(Project::from);
        facts.push = unless_written(fields, "push", |value| value.as_u64(), || Some(self.highest)).map(PushId);
        let of_push = facts.project.as_ref().zip(facts.push);
        let revision = of_push.map(|(project, push)| self.revision(project, push.0));
        facts.revision = unless_written(
            fields,
            "revision",
            |value| value.as_str().map(Revision::from),
            || revision,
        );
        let tier = |value: &Json| value.as_u64().and_then(|tier| u8::try_from(tier).ok());
        facts.tier = unless_written(fields, "tier", tier, || Some(1));
        let known = std::mem::take(&mut facts.platform);
        facts.platform = or(fields, "platform", || known.map(|text| text.to_string())).map(Into::into);
        let known = std::mem::take(&mut facts.option);
        facts.option = or(fields, "option", || known.map(|text| text.to_string())).map(Into::into);
        let known = std::mem::take(&mut facts.kind);
        facts.kind = or(fields, "kind", || known.map(|text| text.to_string())).map(Into::into);
        let known = facts.chunk;
        let chunk = |value: &Json| {
            let current = u32::try_from(value.as_u64()?).ok()?;
            Some(Chunk { current, total: 0 })
        };
        facts.chunk = unless_written(fields, "chunk", chunk, || known);
        let own = |name: &str| text(fields, name).map(Arc::<str>::from);
        facts.suite = own("suite");
        facts.variant = own("variant");
        facts.symbol = own("symbol");
        facts.group_symbol = own("group_symbol");
        facts.classification = own("classification");
        facts.action = own("action");
        facts.signatures = list(fields, "signatures").map(|items| items.iter().filter_map(signature).collect());
        facts.groups = list(fields, "groups").map(texts);
        match fields.get("caused_by") {
            Some(Json::Null) => {}
            None => facts.caused_by = CausedBy::Push,
            Some(word) => facts.caused_by = causer(word.as_str().unwrap_or_default()),
        }
        // A run of ours is known by the task that made it; its cause is then for the engine to find out, as in life.
        if let (CausedBy::Sheriffd, Some(label), Some(push)) = (facts.caused_by, &facts.label, facts.push)
            && let Some(task) = receipt(label, push)
        {
            facts.caused_by = CausedBy::Unknown;
            facts.parent = Some(task);
        }
        let run = self.run_of(fields, &facts, state);
        let written = text(fields, "duration").and_then(|text| parse_duration(&text).ok());
        let took = written.unwrap_or(RUN_TAKES);
        let at = moment(fields, "at").unwrap_or(now);
        let mut event = job(run, state, at, took, facts);
        event.scheduled = moment(fields, "scheduled").or(event.scheduled);
        event.started = moment(fields, "started").or(event.started);
        event.reason = own("reason");
        event.pool = own("pool");
        event.latest = fields.get("latest").and_then(Json::as_bool).unwrap_or(true);
        event.worker = own("worker").map(|id| Worker {
            group: own("worker_group").unwrap_or_default(),
            id,
        });
        Event::Job(Box::new(event))
    }

    /// The run that an event is about: the one it names, else one of the same job that has begun, else a new one.
    fn run_of(&mut self, fields: &Fields, facts: &JobFacts, state: RunState) -> RunKey {
        let begun = self.begun.iter().position(|begun| {
            begun.label == facts.label
                && begun.push == facts.push
                && begun.project == facts.project
                && begun.state < state
        });
        let mut run = match begun.map(|index| self.begun.remove(index).run) {
            Some(run) => run,
            None => self.new_run(),
        };
        if let Some(task) = text(fields, "task") {
            run.task = TaskId::from(task);
        }
        if let Some(backend) = text(fields, "backend") {
            run.backend = BackendName::from(backend);
        }
        if let Some(number) = number(fields, "run").and_then(|number| u32::try_from(number).ok()) {
            run.run = number;
        }
        if !matches!(state, RunState::Finished(_)) {
            self.begun.push(Begun {
                project: facts.project.clone(),
                label: facts.label.clone(),
                push: facts.push,
                run: run.clone(),
                state,
            });
        }
        run
    }

    fn landing(&mut self, fields: &Fields, now: Timestamp) -> Event {
        let project = Project::from(text(fields, "project").unwrap_or_else(|| PROJECT.to_owned()));
        let next = self.highest + 1;
        let push = unless_written(fields, "push", |value| value.as_u64(), || Some(next));
        self.highest = self.highest.max(push.unwrap_or_default());
        let number = push.unwrap_or_default();
        let revision = text(fields, "revision").map_or_else(|| self.revision(&project, number), Revision::from);
        Event::Push(Box::new(PushEvent {
            project,
            push: push.map(PushId),
            at: moment(fields, "at").or(Some(now)),
            user: text(fields, "user").map(Into::into),
            changesets: changesets(fields, &revision),
            revision,
        }))
    }
}

/// What a push holds: the changesets that are written, else one with what is written of the whole.
fn changesets(fields: &Fields, revision: &Revision) -> Vec<Changeset> {
    let written = |name: &str| fields.get(name).and_then(Json::as_bool) == Some(true);
    if let Some(items) = list(fields, "changesets") {
        return items.iter().map(|item| changeset(item, revision)).collect();
    }
    let added = list(fields, "tests_added").map(texts);
    let files = match (list(fields, "files").map(texts), &added) {
        (None, Some(added)) => Some(added.clone()),
        (files, _) => files,
    };
    let description = text(fields, "description").or_else(|| match () {
        () if written("is_backout") => Some("Backed out a changeset".to_owned()),
        () if written("is_merge") => Some("Merge".to_owned()),
        () if written("is_uplift") => Some("Uplift".to_owned()),
        () => None,
    });
    let parents = if written("is_merge") {
        vec!["1".repeat(12).into(), "2".repeat(12).into()]
    } else {
        Vec::new()
    };
    if files.is_none() && description.is_none() && parents.is_empty() {
        let says_no = ["is_backout", "is_merge", "is_uplift"]
            .iter()
            .any(|name| fields.contains_key(*name));
        if !says_no {
            return Vec::new();
        }
    }
    vec![Changeset {
        node: revision.as_str().into(),
        author: text(fields, "user").unwrap_or_default().into(),
        description: description.unwrap_or_default().into(),
        files: files.unwrap_or_default(),
        parents,
        added,
    }]
}

fn changeset(item: &Json, revision: &Revision) -> Changeset {
    let own = |name: &str| item[name].as_str().map(Arc::<str>::from);
    let many = |name: &str| item[name].as_array().map(|items| texts(items)).unwrap_or_default();
    Changeset {
        node: own("node").unwrap_or_else(|| revision.as_str().into()),
        author: own("author").unwrap_or_default(),
        description: own("description").unwrap_or_default(),
        files: many("files"),
        parents: many("parents"),
        added: item["added"].as_array().map(|items| texts(items)),
    }
}

fn request(fields: &Fields) -> Event {
    let labels = || -> Vec<Label> {
        let many = list(fields, "labels").map(texts).unwrap_or_default();
        let one = text(fields, "label").map(Label::from);
        many.iter().map(|label| Label::from(&**label)).chain(one).collect()
    };
    let times = number(fields, "times")
        .and_then(|times| u32::try_from(times).ok())
        .unwrap_or(1);
    let kind = match text(fields, "kind").as_deref() {
        Some("fill") => RequestKind::FillPush,
        Some("all-talos") => RequestKind::AllTalos { times },
        Some("add") => RequestKind::AddJobs { labels: labels() },
        Some("cancel-all") => RequestKind::CancelAll,
        _ => RequestKind::Backfill {
            job: None,
            task: None,
            label: labels().into_iter().next(),
        },
    };
    Event::Request(Box::new(RequestEvent {
        project: Project::from(text(fields, "project").unwrap_or_else(|| PROJECT.to_owned())),
        push: number(fields, "push").map(PushId),
        revision: text(fields, "revision").map(Revision::from),
        requester: or(fields, "requester", || Some("somebody".to_owned())).map(Into::into),
        kind,
    }))
}

fn alert(fields: &Fields, now: Timestamp) -> Event {
    let own =
        |name: &str, otherwise: &str| Arc::<str>::from(text(fields, name).unwrap_or_else(|| otherwise.to_owned()));
    Event::PerfAlert(Box::new(PerfAlert {
        id: number(fields, "id").unwrap_or(1),
        project: Project::from(text(fields, "project").unwrap_or_else(|| PROJECT.to_owned())),
        series: own("series", "1"),
        push: number(fields, "push").map(PushId),
        previous_push: number(fields, "previous_push").map(PushId),
        platform: own("platform", "linux1804-64"),
        test: own("test", "tp5o responsiveness"),
        magnitude: fields.get("magnitude").and_then(Json::as_f64).unwrap_or(0.05),
        regression: fields.get("regression").and_then(Json::as_bool).unwrap_or(true),
        at: moment(fields, "at").or(Some(now)),
        measure: None,
        revision: text(fields, "revision").map(Revision::from),
        previous_revision: None,
        label: text(fields, "label").map(Label::from),
        task: None,
    }))
}

fn job(run: RunKey, state: RunState, at: Timestamp, took: Duration, facts: JobFacts) -> JobEvent {
    let has_ended = matches!(state, RunState::Finished(_));
    let started = match state {
        RunState::Pending => None,
        RunState::Running => Some(at),
        RunState::Finished(_) => Some(at.minus(took)),
    };
    JobEvent {
        run,
        group: None,
        state,
        reason: None,
        latest: true,
        at,
        scheduled: started.or(Some(at)),
        started,
        resolved: has_ended.then_some(at),
        worker: None,
        pool: None,
        facts,
    }
}

/// What a label tells of its job: `test-linux1804-64/opt-mochitest-1` has platform, option, kind and chunk in it.
fn facts_of_label(label: &str) -> JobFacts {
    let (kind, rest) = match label.split_once('-') {
        Some((kind @ ("test" | "build"), rest)) => (kind, rest),
        _ => ("test", label),
    };
    let (platform, option) = match rest.split_once('/') {
        Some((platform, rest)) => (Some(platform), rest.split('-').next()),
        None => (None, None),
    };
    let number = label.rsplit_once('-').and_then(|(_, last)| last.parse().ok());
    JobFacts {
        label: Some(Label::from(label)),
        platform: platform.map(Into::into),
        option: option.map(Into::into),
        kind: Some(kind.into()),
        chunk: number
            .filter(|_| kind == "test")
            .map(|current| Chunk { current, total: 0 }),
        ..JobFacts::default()
    }
}

/// The head revision of a push that names none: its number in twelve digits, so that a backout can name it.
fn revision_of(push: u64) -> Revision {
    Revision::from(format!("{push:012}"))
}

fn outcome(word: &str) -> Outcome {
    match word {
        "passed" => Outcome::Passed,
        "infra" => Outcome::Infra,
        "cancelled" => Outcome::Cancelled,
        // The reader lets no other word through.
        _ => Outcome::Failed,
    }
}

fn causer(word: &str) -> CausedBy {
    match word {
        "push" => CausedBy::Push,
        "person" => CausedBy::Person,
        "sheriffd" => CausedBy::Sheriffd,
        _ => CausedBy::Unknown,
    }
}

/// The bugs that are written for an event; `None`: nothing is said of any.
pub(super) fn bugs(fields: &Fields) -> Option<Vec<Bug>> {
    let bug = |item: &Json| Bug {
        id: item["id"].as_u64().unwrap_or_default(),
        keywords: item["keywords"]
            .as_array()
            .map(|items| texts(items))
            .unwrap_or_default(),
        whiteboard: item["whiteboard"].as_str().unwrap_or_default().into(),
        summary: item["summary"].as_str().unwrap_or_default().into(),
        status: item["status"].as_str().unwrap_or("NEW").into(),
    };
    list(fields, "bugs").map(|items| items.iter().map(bug).collect())
}

fn signature(item: &Json) -> Option<Signature> {
    let (test, group) = match item {
        Json::String(test) => (test.as_str(), None),
        other => (other["test"].as_str()?, other["group"].as_str()),
    };
    Some(Signature {
        group: group.map(Into::into),
        test: test.into(),
    })
}

fn text(fields: &Fields, name: &str) -> Option<String> {
    fields.get(name).and_then(Json::as_str).map(str::to_owned)
}

fn number(fields: &Fields, name: &str) -> Option<u64> {
    fields.get(name).and_then(Json::as_u64)
}

fn moment(fields: &Fields, name: &str) -> Option<Timestamp> {
    fields.get(name).and_then(Json::as_str).and_then(Timestamp::parse)
}

fn list<'f>(fields: &'f Fields, name: &str) -> Option<&'f [Json]> {
    fields.get(name).and_then(Json::as_array).map(Vec::as_slice)
}

fn texts(items: &[Json]) -> Vec<Arc<str>> {
    items.iter().filter_map(Json::as_str).map(Into::into).collect()
}

/// What is written, read by `read`; `otherwise` where nothing is, and nothing where null is.
fn unless_written<T>(
    fields: &Fields,
    name: &str,
    read: impl FnOnce(&Json) -> Option<T>,
    otherwise: impl FnOnce() -> Option<T>,
) -> Option<T> {
    match fields.get(name) {
        None => otherwise(),
        Some(written) => read(written),
    }
}

fn or(fields: &Fields, name: &str, otherwise: impl FnOnce() -> Option<String>) -> Option<String> {
    unless_written(fields, name, |value| value.as_str().map(str::to_owned), otherwise)
}
