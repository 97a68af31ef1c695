//! What ought to be decided on a recorded tree: said again, plainly, from the rules for people.
//!
//! A failure of a job is looked at when it is told. Then:
//!
//! 1. an open case about the job: it joins;
//! 2. no earlier push on which the job passed and did not fail: nothing to start from;
//! 3. a closed case about the job that was opened on a later push than that one: it is explained;
//! 4. between the last good and the first bad push no push without any run (asked for, waiting, ended): nothing is
//!    missing, or all that is missing is under way;
//! 5. otherwise a case is opened, and every such push is asked for, once.
//!
//! A case about a push that was backed out ends when the job is green from the backout on.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{End, Job, Push, State, Step, Tree};

/// What happened to one failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The task that failed.
    pub task: String,
    /// Its label.
    pub label: String,
    /// `test` or `build`.
    pub kind: &'static str,
    /// The push it ran for.
    pub push: u64,
    /// The last push before it with passes and no failure.
    pub last_good: Option<u64>,
    /// The first push after that one with a failure. `None` where nobody asks: the failure joins a case.
    pub first_bad: Option<u64>,
    /// Pushes between the two without any run.
    pub missing: Vec<u64>,
    /// What is done.
    pub done: Done,
}

/// What is done about a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// A case is opened, and the missing pushes are asked for.
    Asked,
    /// A case is opened and ends at once: the push it is about was backed out, and the job is green since.
    Moot,
    /// Nothing, for this reason.
    No(&'static str),
}

/// Runs of a job on a push.
#[derive(Debug, Clone, Default)]
struct Runs {
    passed: u32,
    failed: u32,
    under_way: BTreeSet<String>,
}

/// A case about a job.
#[derive(Debug)]
struct Case {
    push: u64,
    open: bool,
}

/// The books of the oracle.
#[derive(Default)]
pub struct Oracle<'a> {
    pushes: BTreeMap<u64, &'a Push>,
    runs: BTreeMap<String, BTreeMap<u64, Runs>>,
    cases: BTreeMap<String, Vec<Case>>,
    /// Whether pushes are known by their changesets: otherwise no backout is seen.
    reads_changesets: bool,
    /// What happened to each failure, in order.
    pub verdicts: Vec<Verdict>,
}

impl<'a> Oracle<'a> {
    /// One that knows these pushes from the beginning, with their changesets.
    pub fn with_pushlog(pushes: &'a [Push]) -> Oracle<'a> {
        Oracle {
            pushes: pushes.iter().map(|push| (push.number, push)).collect(),
            reads_changesets: true,
            ..Oracle::default()
        }
    }

    /// Takes the ended jobs of a tree as history. Their pushes are known then.
    pub fn import(&mut self, tree: &'a Tree) {
        for job in &tree.jobs {
            match job.end() {
                Some(End::Passed) => self.of(job).passed += 1,
                Some(End::Failed) => self.of(job).failed += 1,
                Some(End::Exception(_)) | None => {}
            }
            if job.end().is_some() {
                self.pushes.entry(job.push).or_insert_with(|| tree.push(job.push));
            }
        }
    }

    fn of(&mut self, job: &Job) -> &mut Runs {
        self.runs
            .entry(job.label.clone())
            .or_default()
            .entry(job.push)
            .or_default()
    }

    /// Takes one step of the stream of a tree.
    pub fn step(&mut self, tree: &'a Tree, step: &Step<'a>) {
        let (job, state) = match *step {
            Step::Landed(push) => {
                self.pushes.insert(push.number, push);
                return;
            }
            Step::Job(job, state) => (job, state),
        };
        self.pushes.entry(job.push).or_insert_with(|| tree.push(job.push));
        let runs = self.of(job);
        match state {
            State::Pending | State::Running => {
                runs.under_way.insert(job.task.clone());
            }
            State::Ended => {
                runs.under_way.remove(&job.task);
                match job.end() {
                    Some(End::Passed) => runs.passed += 1,
                    Some(End::Failed) => runs.failed += 1,
                    Some(End::Exception(_)) | None => {}
                }
            }
        }
        if state == State::Ended && job.end() == Some(End::Failed) {
            let verdict = self.consider(job);
            self.verdicts.push(verdict);
        }
        self.close_moot(&job.label);
    }

    /// Last good, first bad, and what is missing between them, before a failure on a push.
    fn gap(&self, label: &str, push: u64) -> (Option<u64>, u64, Vec<u64>, bool) {
        let nothing = Runs::default();
        let on = |number: &u64| {
            self.runs
                .get(label)
                .and_then(|runs| runs.get(number))
                .unwrap_or(&nothing)
        };
        let before: Vec<u64> = self.pushes.range(..push).map(|(number, _)| *number).collect();
        let is_good = |number: &&u64| on(number).passed > 0 && on(number).failed == 0;
        let last_good = before.iter().rev().find(is_good).copied();
        let after_good = || {
            before
                .iter()
                .copied()
                .filter(|number| last_good.is_none_or(|good| *number > good))
        };
        let first_bad = after_good().find(|number| on(number).failed > 0).unwrap_or(push);
        let between: Vec<u64> = after_good().filter(|number| *number < first_bad).collect();
        let untouched = |runs: &Runs| runs.passed + runs.failed == 0 && runs.under_way.is_empty();
        let missing = between.iter().copied().filter(|number| untouched(on(number))).collect();
        let waits = between.iter().any(|number| !on(number).under_way.is_empty());
        (last_good, first_bad, missing, waits)
    }

    fn consider(&mut self, job: &Job) -> Verdict {
        let (last_good, first_bad, missing, waits) = self.gap(&job.label, job.push);
        let cases = self.cases.entry(job.label.clone()).or_default();
        let joins = cases.iter().any(|case| case.open);
        let done = match last_good {
            _ if joins => Done::No("joined"),
            None => Done::No("no-last-good"),
            Some(good) if cases.iter().any(|case| case.push > good) => Done::No("explained"),
            Some(_) if missing.is_empty() && waits => Done::No("in-flight"),
            Some(_) if missing.is_empty() => Done::No("no-gap"),
            Some(_) => {
                cases.push(Case {
                    push: job.push,
                    open: true,
                });
                Done::Asked
            }
        };
        let moot = done == Done::Asked && self.is_moot(&job.label, job.push);
        Verdict {
            task: job.task.clone(),
            label: job.label.clone(),
            kind: job.kind,
            push: job.push,
            last_good: last_good.filter(|_| !joins),
            first_bad: (!joins).then_some(first_bad),
            missing: if joins { Vec::new() } else { missing },
            done: if moot { Done::Moot } else { done },
        }
    }

    /// Whether a push that may have done it was backed out, and the job is green from the backout on.
    fn is_moot(&self, label: &str, seen_on: u64) -> bool {
        let (last_good, first_bad, ..) = self.gap(label, seen_on);
        let suspects = self.pushes.range(last_good.map_or(0, |good| good + 1)..=first_bad);
        let backout = suspects.filter_map(|(_, push)| self.backout_of(push)).next();
        let Some(backout) = backout else { return false };
        let since = self.runs.get(label).into_iter().flat_map(|runs| runs.range(backout..));
        let (passed, failed) = since.fold((0, 0), |(passed, failed), (_, runs)| {
            (passed + runs.passed, failed + runs.failed)
        });
        passed > 0 && failed == 0
    }

    /// The first later push that says it backs this one out.
    fn backout_of(&self, push: &Push) -> Option<u64> {
        let says = |later: &&&Push| {
            later
                .changesets
                .iter()
                .any(|(_, text)| text.to_lowercase().starts_with("backed out") && text.contains(push.revision.as_str()))
        };
        let later = self.pushes.range(push.number + 1..).map(|(_, later)| later);
        later
            .filter(|_| self.reads_changesets)
            .find(says)
            .map(|later| later.number)
    }

    fn close_moot(&mut self, label: &str) {
        let open = self
            .cases
            .get(label)
            .and_then(|cases| cases.iter().position(|case| case.open));
        let Some(index) = open else { return };
        let seen_on = self.cases[label][index].push;
        if self.is_moot(label, seen_on) {
            self.cases.get_mut(label).unwrap()[index].open = false;
        }
    }

    /// Cases that are open at the end.
    pub fn open_cases(&self) -> usize {
        self.cases.values().flatten().filter(|case| case.open).count()
    }
}
