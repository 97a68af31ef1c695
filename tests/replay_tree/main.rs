//! Real trees, replayed: for every failure exactly the missing pushes are asked for, once, or the reason why not is
//! named. The program's answer is compared with a plain oracle, record by record.

#[path = "../common/command.rs"]
mod command;
mod oracle;
mod page;
#[path = "../common/tree.rs"]
mod tree;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use self::oracle::{Done, Oracle, Verdict};
use self::tree::{Pace, Place, Snapshot, Step, Tree};

/// How the program learns of pushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pushes {
    /// From a recorded pushlog, before the stream.
    Pushlog,
    /// From the messages of the stream only.
    Messages,
}

/// One replay, with the program's answer and the oracle's.
struct Compared {
    answer: Value,
    verdicts: Vec<Verdict>,
    open_cases: usize,
}

/// A replay to be made.
struct Replay<'a> {
    tree: &'a Tree,
    steps: Vec<Step<'a>>,
    history: Option<(Snapshot, &'a Tree)>,
    pushes: Pushes,
    place: Place,
    batch: u32,
}

impl<'a> Replay<'a> {
    fn of(tree: &'a Tree) -> Replay<'a> {
        Replay {
            tree,
            steps: tree.steps(),
            history: None,
            pushes: Pushes::Pushlog,
            place: Place::Message,
            batch: 500,
        }
    }

    /// Runs the program and the oracle.
    fn run(&self) -> Compared {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let messages = self.steps.iter().map(|step| self.tree.message(step, self.place));
        let stream = command::write_lines(folder, "stream.jsonl", messages);
        let tasks = self.tree.jobs.iter().map(|job| self.tree.definition(job));
        let tasks = command::write_lines(folder, "tasks.jsonl", tasks);
        let pushlog = command::write_lines(folder, "pushes.jsonl", self.tree.pushlog());
        let rules = tree::data().join("rules/every-failure.yaml");
        let mut arguments = vec![
            "replay".into(),
            stream.display().to_string(),
            format!("--rules={}", rules.display()),
            format!("--tasks={}", tasks.display()),
            format!("--batch={}", self.batch),
            "--format=json".into(),
        ];
        let mut oracle = Oracle::default();
        if self.pushes == Pushes::Pushlog {
            arguments.push(format!("--pushes={}", pushlog.display()));
            oracle = Oracle::with_pushlog(&self.tree.pushes);
        }
        if let Some((snapshot, history)) = self.history {
            let store = import(folder, snapshot, history);
            arguments.push(format!("--store={}", store.display()));
            oracle.import(history);
        }
        for step in &self.steps {
            oracle.step(self.tree, step);
        }
        Compared {
            answer: command::json(&arguments),
            open_cases: oracle.open_cases(),
            verdicts: oracle.verdicts,
        }
    }
}

/// Imports a snapshot into a store, under the numbers that the generator gives its pushes.
fn import(folder: &Path, snapshot: Snapshot, tree: &Tree) -> PathBuf {
    let store = folder.join("history.db");
    let pushlog = command::write_lines(folder, "history.jsonl", tree.pushlog());
    let imported = command::json(&[
        "import".to_owned(),
        snapshot.table().display().to_string(),
        format!("--pushes={}", pushlog.display()),
        format!("--store={}", store.display()),
        "--format=json".into(),
    ]);
    let ended = tree.jobs.iter().filter(|job| job.end().is_some()).count();
    let coalesced_and_ended = imported["runs"].as_u64().unwrap();
    assert_eq!(coalesced_and_ended, ended as u64, "{imported}");
    store
}

impl Compared {
    /// The program's answer is the oracle's, record by record.
    fn check(&self) -> &Compared {
        let answer = &self.answer;
        let declined: Vec<Value> = self.verdicts.iter().filter_map(declined).collect();
        same(answer["declined"].as_array().unwrap(), &declined, "declined");
        let asked: Vec<Value> = self.verdicts.iter().flat_map(asked).collect();
        let requests: Vec<Value> = answer["requests"].as_array().unwrap().iter().map(essence).collect();
        same(&requests, &asked, "requests");
        let opened: Vec<Value> = self.verdicts.iter().filter_map(opened).collect();
        let cases: Vec<Value> = answer["cases"].as_array().unwrap().iter().map(essence).collect();
        same(&cases, &opened, "cases");
        let open = answer["cases"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|case| case.get("verdict").is_none());
        assert_eq!(open.count(), self.open_cases);
        let number = |name: &str| answer[name].as_u64().unwrap() as usize;
        assert_eq!(number("deadLetters"), 0, "{answer}");
        assert_eq!(number("waiting"), 0);
        assert_eq!(number("matched"), self.verdicts.len());
        assert_eq!(number("opened"), opened.len());
        assert_eq!(number("actions"), asked.len());
        assert_eq!(number("jobs"), asked.len());
        let mut seen = std::collections::BTreeSet::new();
        let once = |request: &Value| seen.insert(format!("{} {}", request["label"], request["push"]));
        assert!(requests.iter().all(once), "a job is asked for twice on a push");
        self
    }
}

fn rule(verdict: &Verdict) -> String {
    format!("{}s", verdict.kind)
}

fn declined(verdict: &Verdict) -> Option<Value> {
    let Done::No(reason) = verdict.done else { return None };
    let mut line = json!({
        "event": format!("{}/0", verdict.task), "rule": rule(verdict), "project": tree::PROJECT,
        "label": verdict.label, "push": verdict.push, "reason": reason,
    });
    if let Some(push) = verdict.last_good {
        line["lastGood"] = push.into();
    }
    if let Some(push) = verdict.first_bad {
        line["firstBad"] = push.into();
    }
    Some(line)
}

fn asked(verdict: &Verdict) -> Vec<Value> {
    if verdict.done != Done::Asked {
        return Vec::new();
    }
    let one = |push: &u64| json!({ "rule": rule(verdict), "label": verdict.label, "push": push, "times": 1 });
    verdict.missing.iter().map(one).collect()
}

fn opened(verdict: &Verdict) -> Option<Value> {
    let is_opened = matches!(verdict.done, Done::Asked | Done::Moot);
    is_opened.then(|| json!({ "rule": rule(verdict), "label": verdict.label, "push": verdict.push }))
}

/// The fields of a request or case that the oracle knows.
fn essence(line: &Value) -> Value {
    let known = ["rule", "label", "push", "times"];
    let fields = known
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), line.get(name)?.clone())));
    Value::Object(fields.collect())
}

fn same(answer: &[Value], oracle: &[Value], what: &str) {
    for (number, (answer, oracle)) in answer.iter().zip(oracle).enumerate() {
        assert_eq!(answer, oracle, "{what} {number}");
    }
    assert_eq!(answer.len(), oracle.len(), "{what}");
}

#[test]
fn every_failure_of_april_2014_gets_its_missing_pushes_or_a_reason() {
    let tree = Tree::read(Snapshot::April2014Later, Pace::OneByOne);
    let compared = Replay::of(&tree).run();
    compared.check();
    page::check(&tree, &compared.verdicts);
}

#[test]
fn every_failure_of_november_2013_gets_its_missing_pushes_or_a_reason() {
    let tree = Tree::read(Snapshot::November2013, Pace::OneByOne);
    Replay::of(&tree).run().check();
}

#[test]
fn what_is_under_way_counts_as_done() {
    let tree = Tree::read(Snapshot::April2014Later, Pace::Overlapping);
    let compared = Replay::of(&tree).run();
    compared.check();
    let in_flight = |verdict: &Verdict| verdict.done == Done::No("in-flight");
    assert!(
        compared.verdicts.iter().any(in_flight),
        "the stream holds no such failure"
    );
}

#[test]
fn pushes_that_are_known_from_messages_alone_are_enough() {
    for snapshot in [Snapshot::April2014Later, Snapshot::November2013] {
        let tree = Tree::read(snapshot, Pace::OneByOne);
        let replay = Replay {
            pushes: Pushes::Messages,
            ..Replay::of(&tree)
        };
        replay.run().check();
    }
}

#[test]
fn routes_that_stand_in_definitions_alone_are_enough() {
    let tree = Tree::read(Snapshot::April2014Later, Pace::Overlapping);
    let replay = Replay {
        place: Place::Definition,
        ..Replay::of(&tree)
    };
    replay.run().check();
}

#[test]
fn an_imported_snapshot_is_the_history_of_the_minutes_after_it() {
    let earlier = Tree::read(Snapshot::April2014, Pace::OneByOne);
    let later = Tree::read(Snapshot::April2014Later, Pace::OneByOne);
    let replay = Replay {
        steps: later.steps_since(&earlier),
        history: Some((Snapshot::April2014, &earlier)),
        ..Replay::of(&later)
    };
    let compared = replay.run();
    compared.check();
    assert_eq!(compared.verdicts.len(), 2, "two jobs failed in these minutes");
}

#[test]
fn an_imported_snapshot_does_not_get_in_the_way_of_its_own_stream() {
    let tree = Tree::read(Snapshot::November2013, Pace::OneByOne);
    let replay = Replay {
        history: Some((Snapshot::November2013, &tree)),
        ..Replay::of(&tree)
    };
    replay.run().check();
}

#[test]
fn the_result_does_not_depend_on_how_many_messages_are_applied_together() {
    let tree = Tree::read(Snapshot::November2013, Pace::OneByOne);
    for place in [Place::Message, Place::Definition] {
        let answers = [1, 7, 10_000].map(|batch| {
            let replay = Replay {
                batch,
                place,
                ..Replay::of(&tree)
            };
            let mut answer = replay.run().answer;
            answer["seconds"] = Value::Null;
            answer
        });
        assert_eq!(answers[0], answers[1]);
        assert_eq!(answers[0], answers[2]);
    }
}
