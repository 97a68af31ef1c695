//! A tree in the books of a test: `tree.push(3)`, `run("L").on(3).failed()`.

use std::sync::Arc;

use sheriffd::cases;
use sheriffd::engine::ledger::{
    ActionRow, ActionState, Actions as _, CaseRow, Cases as _, DecisionResult, Pushes as _,
};
use sheriffd::engine::settings::EngineSettings;
use sheriffd::engine::{Engine, Note, Patience};
use sheriffd::event::{
    BackendName, CaseId, CausedBy, Changeset, Chunk, Duration, Event, JobEvent, JobFacts, Label, Outcome, Project,
    PushEvent, PushId, Reason, Revision, RunKey, RunState, Signature, TaskId, Timestamp,
};
use sheriffd::rules::RuleSet;
use sheriffd::store::sqlite::{CaseFilter, SqliteStore};

/// Backfills every orange of a test, live.
pub const BACKFILL: &str = "
version: 1
rules:
  - name: backfill
    description: Find the push that broke a test.
    on: job.finished
    match: { outcome: failed }
    open: { kind: find-culprit, max_depth: 20, parallel: 8, max_jobs: 40 }
    mode: live
";

/// When the tests begin.
pub const START: Timestamp = Timestamp(1_780_000_000_000);

/// A run to be told of.
pub struct Run {
    task: String,
    label: String,
    push: u64,
    project: String,
    parent: Option<String>,
    caused_by: CausedBy,
    latest: bool,
    at: Timestamp,
    lasted: Option<Duration>,
    facts: JobFacts,
}

/// A run of a label, scheduled with push 1 unless said otherwise.
pub fn run(label: &str) -> Run {
    Run {
        task: String::new(),
        label: label.to_owned(),
        push: 1,
        project: "autoland".to_owned(),
        parent: None,
        caused_by: CausedBy::Push,
        latest: true,
        at: START,
        lasted: None,
        facts: JobFacts::default(),
    }
}

impl Run {
    pub fn on(mut self, push: u64) -> Run {
        self.push = push;
        self
    }

    pub fn platform(mut self, platform: &str) -> Run {
        self.facts.platform = Some(platform.into());
        self
    }

    pub fn of(mut self, project: &str) -> Run {
        self.project = project.to_owned();
        self
    }

    /// When it reached its state.
    pub fn at(mut self, at: Timestamp) -> Run {
        self.at = at;
        self
    }

    /// How long it was on a machine.
    pub fn lasting(mut self, span: Duration) -> Run {
        self.lasted = Some(span);
        self
    }

    pub fn tier(mut self, tier: u8) -> Run {
        self.facts.tier = Some(tier);
        self
    }

    pub fn task(mut self, task: &str) -> Run {
        self.task = task.to_owned();
        self
    }

    /// Made by an action task, whoever asked for it.
    pub fn made_by(mut self, action_task: &str) -> Run {
        self.parent = Some(action_task.to_owned());
        self.caused_by = CausedBy::Unknown;
        self
    }

    /// From a message that does not tell who made it.
    pub fn of_unknown_cause(mut self) -> Run {
        self.caused_by = CausedBy::Unknown;
        self
    }

    pub fn chunk(mut self, current: u32) -> Run {
        self.facts.chunk = Some(Chunk { current, total: 9 });
        self
    }

    /// What failed, in which group, and the groups that ran.
    pub fn with_failure(mut self, group: &str, test: &str) -> Run {
        self.facts.signatures = Some(vec![Signature {
            group: Some(group.into()),
            test: test.into(),
        }]);
        self.facts.groups = Some(vec![group.into()]);
        self
    }

    /// Several things that failed, each with its group; these groups ran.
    pub fn with_failures(mut self, failures: &[(&str, &str)]) -> Run {
        let signature = |(group, test): &(&str, &str)| Signature {
            group: Some((*group).into()),
            test: (*test).into(),
        };
        self.facts.signatures = Some(failures.iter().map(signature).collect());
        self.facts.groups = Some(failures.iter().map(|(group, _)| Arc::from(*group)).collect());
        self
    }

    /// Groups that ran besides.
    pub fn with_more_groups(mut self, groups: &[&str]) -> Run {
        let more = groups.iter().map(|group| Arc::from(*group));
        self.facts.groups.get_or_insert_default().extend(more);
        self
    }

    pub fn with_groups(mut self, groups: &[&str]) -> Run {
        self.facts.signatures = Some(Vec::new());
        self.facts.groups = Some(groups.iter().map(|group| Arc::from(*group)).collect());
        self
    }

    pub fn passed(self) -> Event {
        self.ended(Outcome::Passed)
    }

    pub fn failed(self) -> Event {
        self.ended(Outcome::Failed)
    }

    pub fn ended(self, outcome: Outcome) -> Event {
        self.state(RunState::Finished(outcome))
    }

    pub fn state(self, state: RunState) -> Event {
        let task = if self.task.is_empty() {
            format!(
                "{}@{}#{}",
                self.label,
                self.push,
                self.parent.as_deref().unwrap_or("push")
            )
        } else {
            self.task
        };
        let facts = JobFacts {
            project: Some(Project::from(self.project)),
            label: Some(Label::from(self.label)),
            push: Some(PushId(self.push)),
            revision: Some(Tree::revision(self.push)),
            platform: self.facts.platform.clone().or_else(|| Some("linux".into())),
            parent: self.parent.map(TaskId::from),
            caused_by: self.caused_by,
            ..self.facts
        };
        Event::Job(Box::new(JobEvent {
            run: RunKey {
                backend: BackendName::from("tc"),
                task: TaskId::from(task),
                run: 0,
            },
            group: Some(TaskId::from(format!("group-{}", self.push))),
            state,
            reason: None,
            latest: self.latest,
            at: self.at,
            scheduled: None,
            started: self.lasted.map(|span| self.at.minus(span)),
            resolved: self.lasted.map(|_| self.at),
            worker: None,
            pool: None,
            facts,
        }))
    }
}

/// Books, an engine and a clock.
pub struct Tree {
    engine: Engine,
    store: SqliteStore,
    now: Timestamp,
    /// Everything that happened.
    pub notes: Vec<Note>,
}

impl Tree {
    /// A tree with pushes 1 to `pushes`, and rules.
    pub fn new(pushes: u64, rules: &str) -> Tree {
        Tree::with_settings(pushes, rules, EngineSettings::default())
    }

    pub fn with_settings(pushes: u64, rules: &str, settings: EngineSettings) -> Tree {
        let rules = RuleSet::parse(&[("rules.yaml", rules)]).unwrap_or_else(|errors| panic!("{errors}"));
        let mut tree = Tree {
            engine: Engine::new(Arc::new(rules), settings),
            store: SqliteStore::in_memory().unwrap(),
            now: START,
            notes: Vec::new(),
        };
        for push in 1..=pushes {
            tree.land(push, "autoland", "");
        }
        tree
    }

    pub fn revision(push: u64) -> Revision {
        Revision::from(format!("{push:040x}").replace('0', "1"))
    }

    /// A push lands, with a commit message.
    pub fn land(&mut self, push: u64, project: &str, message: &str) {
        self.land_at(push, project, message, Some(self.now));
    }

    /// A push lands, and its message may not say when: those on the bus do not.
    pub fn land_at(&mut self, push: u64, project: &str, message: &str, at: Option<Timestamp>) {
        let changeset = Changeset {
            description: message.into(),
            ..Changeset::default()
        };
        self.land_changesets(push, project, at, vec![changeset]);
    }

    /// A push lands, and touches these files.
    pub fn land_with(&mut self, push: u64, files: &[&str]) {
        let changeset = Changeset {
            files: files.iter().map(|file| Arc::from(*file)).collect(),
            ..Changeset::default()
        };
        self.land_changesets(push, "autoland", Some(self.now), vec![changeset]);
    }

    /// A push lands, and its message does not say what it holds.
    pub fn land_unknown(&mut self, push: u64) {
        self.land_changesets(push, "autoland", Some(self.now), Vec::new());
    }

    fn land_changesets(&mut self, push: u64, project: &str, at: Option<Timestamp>, changesets: Vec<Changeset>) {
        self.see([Event::Push(Box::new(PushEvent {
            project: Project::from(project),
            push: Some(PushId(push)),
            revision: Tree::revision(push),
            at,
            user: None,
            changesets,
        }))]);
    }

    /// Where pushes of `autoland` touch files, as far as the books know.
    pub fn touched(&mut self) -> Vec<(u64, Option<Vec<String>>)> {
        let all = (PushId(0), PushId(u64::MAX));
        let rows = self
            .store
            .transact(|books| books.touched_between(&Project::from("autoland"), all.0, all.1));
        rows.unwrap().into_iter().map(|row| (row.push.0, row.folders)).collect()
    }

    /// The numbers that a case rests on, each with what it is.
    pub fn numbers(&mut self, case: CaseId) -> Vec<(String, f64)> {
        let (engine, now) = (&mut self.engine, self.now);
        let numbers = self.store.transact(|books| {
            let case = books.case(case)?.expect("there is such a case");
            let evidence = engine.evidence_of(books, &case, now)?;
            Ok(cases::numbers(&case.params, &evidence))
        });
        numbers
            .unwrap()
            .into_iter()
            .map(|number| (number.what, number.value))
            .collect()
    }

    pub fn now(&self) -> Timestamp {
        self.now
    }

    pub fn wait(&mut self, span: Duration) {
        self.now = self.now.plus(span);
    }

    /// Messages come, and lack nothing that could be fetched.
    pub fn see(&mut self, events: impl IntoIterator<Item = Event>) {
        self.see_with(events, Patience::Settled);
    }

    pub fn see_with(&mut self, events: impl IntoIterator<Item = Event>, patience: Patience) {
        let (engine, now) = (&mut self.engine, self.now);
        let events = events.into_iter().collect();
        let notes = self
            .store
            .transact(|books| engine.apply(books, events, patience, now))
            .unwrap();
        self.notes.extend(notes);
    }

    /// Cases whose time has come are looked at again.
    pub fn wake(&mut self) {
        let (engine, now) = (&mut self.engine, self.now);
        let notes = self.store.transact(|books| engine.wake(books, now, 100)).unwrap();
        self.notes.extend(notes);
    }

    /// Other rules are put in force.
    pub fn reload(&mut self, rules: &str) {
        let rules = RuleSet::parse(&[("rules.yaml", rules)]).unwrap_or_else(|errors| panic!("{errors}"));
        self.engine.set_rules(Arc::new(rules));
    }

    /// A person approves a case. Whether it was waiting for that.
    pub fn approve(&mut self, case: CaseId, who: &str) -> bool {
        let (engine, now) = (&mut self.engine, self.now);
        let approved = self.store.transact(|books| engine.approve(books, case, who, now));
        approved.unwrap().is_some()
    }

    /// A person closes a case.
    pub fn withdraw(&mut self, case: CaseId) {
        let (engine, now) = (&mut self.engine, self.now);
        let closed = self.store.transact(|books| engine.withdraw(books, case, "enough", now));
        assert!(closed.unwrap().is_some());
    }

    /// Why cases asked for nothing, in order.
    pub fn held_back(&self) -> Vec<&'static str> {
        self.notes
            .iter()
            .filter_map(|note| match note {
                Note::HeldBack(_, reason) => Some(reason.as_str()),
                _ => None,
            })
            .collect()
    }

    /// The CI takes everything that was asked for, each with an action task of its own: `action-C1.1.2`.
    pub fn ci_accepts(&mut self) {
        let now = self.now;
        self.store
            .transact(|books| {
                for due in books.queued(now, 1_000)? {
                    let key = due.request.key;
                    books.begin_sending(key, "tc", 0, now, now.plus(Duration::from_secs(60)))?;
                    books.accepted(key, Some(&TaskId::from(format!("action-{key}"))), None, now)?;
                }
                Ok(())
            })
            .unwrap();
    }

    /// The CI takes everything that was asked for, and does not say which tasks make the jobs.
    pub fn ci_accepts_without_a_name(&mut self) {
        let now = self.now;
        self.store
            .transact(|books| {
                for due in books.queued(now, 1_000)? {
                    let key = due.request.key;
                    books.begin_sending(key, "tc", 0, now, now.plus(Duration::from_secs(60)))?;
                    books.accepted(key, None, None, now)?;
                }
                Ok(())
            })
            .unwrap();
    }

    /// Everything that waits is given up because of a pause that drops.
    pub fn a_person_drops_everything(&mut self) {
        let now = self.now;
        self.store
            .transact(|books| {
                for due in books.queued(now, 1_000)? {
                    let key = due.request.key;
                    books.drop_queued(key, Reason::Paused, "a person: enough", now)?;
                    books.wake_case(key, now)?;
                }
                Ok(())
            })
            .unwrap();
    }

    /// Everything that was accepted ran nothing, and the CI says that it did its part.
    pub fn ci_has_run_nothing(&mut self) {
        let now = self.now;
        self.store
            .transact(|books| {
                for missing in books.missing(now.plus(Duration::from_secs(1)), now, 1_000)? {
                    let key = missing.due.request.key;
                    books.overdue(key, "none of its jobs appeared", now)?;
                    books.wake_case(key, now)?;
                }
                Ok(())
            })
            .unwrap();
    }

    /// Everything that is queued is marked as being sent, and no answer comes.
    pub fn ci_is_being_asked(&mut self) {
        let now = self.now;
        self.store
            .transact(|books| {
                for due in books.queued(now, 1_000)? {
                    books.begin_sending(due.request.key, "tc", 0, now, now.plus(Duration::from_secs(60)))?;
                }
                Ok(())
            })
            .unwrap();
    }

    pub fn cases(&mut self) -> Vec<CaseRow> {
        let filter = CaseFilter {
            limit: 100,
            ..CaseFilter::default()
        };
        self.store.transact(|books| books.cases(&filter)).unwrap()
    }

    pub fn only_case(&mut self) -> CaseRow {
        let mut cases = self.cases();
        assert_eq!(cases.len(), 1, "{cases:#?}");
        cases.remove(0)
    }

    pub fn actions(&mut self, case: CaseId) -> Vec<ActionRow> {
        self.store.transact(|books| books.actions_of(case)).unwrap()
    }

    /// What was asked for over all cases: (push, times), in order.
    pub fn asked(&mut self) -> Vec<(u64, u32)> {
        let mut cases = self.cases();
        cases.reverse();
        let mut asked = Vec::new();
        for case in cases {
            let actions = self.actions(case.id);
            asked.extend(
                actions
                    .iter()
                    .filter(|action| !matches!(action.state, ActionState::Dropped | ActionState::Refused))
                    .map(|action| (action.push.0, action.times)),
            );
        }
        asked
    }

    /// The words of what the rules made of the events, in order.
    pub fn decided(&self) -> Vec<&'static str> {
        self.notes
            .iter()
            .filter_map(|note| match note {
                Note::Decided(decision) => Some(decision.result.as_str()),
                _ => None,
            })
            .collect()
    }

    pub fn last_decision(&self) -> DecisionResult {
        let last = self.notes.iter().rev().find_map(|note| match note {
            Note::Decided(decision) => Some(decision.result),
            _ => None,
        });
        last.expect("no rule looked at anything")
    }

    /// Messages come that may still wait for facts.
    pub fn see_fresh(&mut self, events: impl IntoIterator<Item = Event>) {
        self.see_with(events, Patience::Fresh);
    }

    /// The words of the decisions after so many notes.
    pub fn decided_since(&self, notes: usize) -> Vec<&'static str> {
        let decided = |note: &Note| match note {
            Note::Decided(decision) => Some(decision.result.as_str()),
            _ => None,
        };
        self.notes.iter().skip(notes).filter_map(decided).collect()
    }

    /// What the last decision says for people.
    pub fn last_detail(&self) -> serde_json::Value {
        let last = self.notes.iter().rev().find_map(|note| match note {
            Note::Decided(decision) => Some(decision.detail.clone()),
            _ => None,
        });
        last.expect("nothing was decided")
    }

    /// Events that were not kept for this reason.
    pub fn discarded(&self, why: &str) -> usize {
        let is_such = |note: &&Note| matches!(note, Note::Discarded(reason) if reason.as_str() == why);
        self.notes.iter().filter(is_such).count()
    }

    pub fn waits(&self) -> usize {
        self.notes.iter().filter(|note| matches!(note, Note::Waits(_))).count()
    }

    /// The verdict's word of a case.
    pub fn verdict(&mut self, case: CaseId) -> Option<&'static str> {
        let case = self.store.transact(|books| books.case(case)).unwrap().unwrap();
        case.verdict.map(|verdict| verdict.kind.as_str())
    }
}
