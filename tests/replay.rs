//! `sheriffd replay` as its users start it: recordings in, decisions and counts out.

#[path = "common/command.rs"]
mod command;

use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sheriffd::event::Timestamp;

const LABEL: &str = "test-linux1804-64/opt-mochitest-1";
const RULES: &str = "
version: 1
rules:
  - name: every-failure
    on: job.finished
    match: { outcome: failed, kind: test }
    open: { kind: find-culprit, parallel: 8, max_jobs: 40 }
";

fn data(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file);
    path.display().to_string()
}

fn slug(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(name)[..16])
}

/// A small tree: messages and definitions, written as they are told.
struct Story {
    project: &'static str,
    minute: i64,
    messages: Vec<Value>,
    definitions: Vec<Value>,
}

impl Story {
    fn on(project: &'static str) -> Story {
        Story {
            project,
            minute: 0,
            messages: Vec::new(),
            definitions: Vec::new(),
        }
    }

    /// The job ran on the push that scheduled it, and ended so.
    fn ran(self, push: u64, end: &str) -> Story {
        let group = slug(&format!("group {push}"));
        self.ran_for(push, end, &group)
    }

    /// A task with this parent ran the job on a push, and ended so.
    fn ran_for(mut self, push: u64, end: &str, parent: &str) -> Story {
        let task = slug(&format!("{} {push} {}", self.project, self.minute));
        let group = slug(&format!("group {push}"));
        let route = format!("tc-treeherder.v2.{}.{push:040x}.{push}", self.project);
        let tags = json!({ "kind": "test", "label": LABEL, "project": self.project });
        self.definitions.push(json!({ "taskId": task, "task": {
            "taskGroupId": group, "routes": [route], "tags": tags,
            "metadata": { "name": LABEL, "owner": "nobody@example.org", "source": "", "description": "" },
            "extra": { "parent": parent, "treeherder": { "tier": 1, "machine": { "platform": "linux1804-64" } } },
        } }));
        let begun = self.minute;
        for (kind, state) in [("pending", "pending"), ("running", "running"), (end, end)] {
            let time = |minute: i64| Timestamp::from_seconds(1_780_000_000 + 60 * minute).to_string();
            let mut run = json!({ "runId": 0, "state": state, "reasonCreated": "scheduled", "scheduled": time(begun) });
            if kind != "pending" {
                run["started"] = time(begun + 1).into();
            }
            if kind == end {
                run["resolved"] = time(begun + 2).into();
                run["reasonResolved"] = end.into();
            }
            self.messages.push(json!({
                "exchange": format!("exchange/taskcluster-queue/v1/task-{kind}"),
                "routingKey": format!("primary.{task}.0._._._._._.{group}._"),
                "cc": [format!("route.{route}")],
                "payload": {
                    "version": 1, "runId": 0, "task": { "tags": tags },
                    "status": { "taskId": task, "taskGroupId": group, "taskQueueId": "a/b", "runs": [run] },
                },
            }));
        }
        self.minute += 3;
        self
    }

    /// A push landed.
    fn landed(mut self, push: u64) -> Story {
        self.messages.push(json!({
            "exchange": "exchange/hgpushes/v1",
            "routingKey": format!("integration/{}", self.project),
            "payload": { "heads": [format!("{push:040x}")], "pushlog_pushes": [{ "pushid": push }] },
        }));
        self
    }

    fn write(&self, folder: &Path) -> Files {
        let rules = folder.join("rules.yaml");
        std::fs::write(&rules, RULES).unwrap();
        Files {
            stream: command::write_lines(folder, "stream.jsonl", self.messages.clone()),
            tasks: command::write_lines(folder, "tasks.jsonl", self.definitions.clone()),
            rules,
        }
    }

    /// Replays the story with its definitions and these further arguments.
    fn replay(&self, further: &[&str]) -> Value {
        let folder = tempfile::tempdir().unwrap();
        let files = self.write(folder.path());
        command::json(&files.arguments(&files.stream, further))
    }
}

struct Files {
    stream: PathBuf,
    tasks: PathBuf,
    rules: PathBuf,
}

impl Files {
    fn arguments(&self, stream: &Path, further: &[&str]) -> Vec<String> {
        let mut arguments = vec![
            "replay".to_owned(),
            stream.display().to_string(),
            format!("--rules={}", self.rules.display()),
            format!("--tasks={}", self.tasks.display()),
            "--format=json".to_owned(),
        ];
        arguments.extend(further.iter().map(|argument| (*argument).to_owned()));
        arguments
    }
}

/// It was green on push 11 and is orange on push 14; the CI skipped it on 12 and 13.
fn skipped_twice() -> Story {
    let story = Story::on("autoland").landed(11).ran(11, "completed");
    story.landed(12).landed(13).landed(14).ran(14, "failed")
}

fn asked(answer: &Value) -> Vec<u64> {
    let requests = answer["requests"].as_array().unwrap();
    requests
        .iter()
        .map(|request| request["push"].as_u64().unwrap())
        .collect()
}

fn reasons(answer: &Value) -> Vec<&str> {
    let declined = answer["declined"].as_array().unwrap();
    declined.iter().map(|line| line["reason"].as_str().unwrap()).collect()
}

/// The answer without what differs between two runs of the same.
fn timeless(mut answer: Value) -> Value {
    answer["seconds"] = Value::Null;
    answer
}

#[test]
fn recorded_task_messages_are_all_read_and_open_nothing_without_their_history() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.yaml");
    std::fs::write(&rules, RULES.replace(", kind: test", "")).unwrap();
    let recording = data("pulse/taskcluster-queue.jsonl");
    let answer = command::json(&[
        "replay".to_owned(),
        recording.clone(),
        format!("--tasks={}", data("taskcluster/tasks.jsonl")),
        format!("--rules={}", rules.display()),
        "--format=json".to_owned(),
    ]);
    let text = std::fs::read_to_string(recording).unwrap();
    let failures = text.lines().filter(|line| line.contains("v1/task-failed\"")).count() as u64;
    let expected = json!({ "job.pending": 9, "job.running": 9, "job.finished": 21 });
    assert_eq!(answer["events"], expected);
    let number = |name: &str| answer[name].as_u64().unwrap();
    assert_eq!(
        (number("decoded"), number("deadLetters"), number("matched")),
        (39, 0, failures)
    );
    assert_eq!(
        (number("opened"), number("actions"), number("jobs"), number("waiting")),
        (0, 0, 0, 0)
    );
    assert_eq!(answer["suppressed"], json!({ "facts-unknown": failures }));
}

#[test]
fn recordings_of_other_sources_are_read_too() {
    let counts = |file: &str, exchange: Option<&str>| {
        let mut arguments = vec!["replay".to_owned(), data(file), "--format=json".to_owned()];
        arguments.extend(exchange.map(|exchange| format!("--exchange={exchange}")));
        let answer = command::json(&arguments);
        (
            answer["decoded"].as_u64().unwrap(),
            answer["deadLetters"].as_u64().unwrap(),
        )
    };
    assert_eq!(counts("pulse/github.jsonl", None), (5, 0));
    assert_eq!(
        counts("pulse/hgpushes-v1.json", None),
        (1, 0),
        "one message over many lines"
    );
    assert_eq!(counts("pulse/hgpushes-v2.json", None), (1, 0));
    assert_eq!(counts("pulse/buildbot-build.jsonl", None), (5, 0));
    assert_eq!(counts("pulse/treeherder-requests.jsonl", None), (20, 0));
    let (jobs, builds) = ("exchange/taskcluster-treeherder/v1/jobs", "exchange/build/normalized");
    assert_eq!(counts("pulse/treeherder-jobs.jsonl", Some(jobs)), (15, 0));
    assert_eq!(counts("pulse/buildbot-normalized.jsonl", Some(builds)), (3, 0));
    assert_eq!(
        counts("pulse/buildbot-normalized.jsonl", None),
        (0, 3),
        "nothing tells the exchange"
    );
}

#[test]
fn skipped_pushes_between_green_and_orange_are_asked_for_once() {
    let answer = skipped_twice().replay(&[]);
    assert_eq!(asked(&answer), [12, 13]);
    assert_eq!(
        (&answer["opened"], &answer["actions"], &answer["jobs"]),
        (&json!(1), &json!(2), &json!(2))
    );
    let request = &answer["requests"][0];
    assert_eq!(request["revision"], json!(format!("{:040x}", 12)));
    assert_eq!(request["state"], "accepted");
    assert_eq!(answer["cases"][0]["id"], "C1");
    assert_eq!(answer["cases"][0]["kind"], "find-culprit");
}

#[test]
fn the_shipped_rules_act_as_if_live() {
    let folder = tempfile::tempdir().unwrap();
    let files = skipped_twice().write(folder.path());
    let mut arguments = files.arguments(&files.stream, &[]);
    arguments.retain(|argument| !argument.starts_with("--rules"));
    let answer = command::json(&arguments);
    assert_eq!(asked(&answer), [12, 13]);
    assert_eq!(answer["cases"][0]["rule"], "backfill-new-orange");
}

#[test]
fn a_second_orange_of_the_same_job_joins() {
    let answer = skipped_twice().ran(15, "failed").replay(&[]);
    assert_eq!(asked(&answer), [12, 13]);
    assert_eq!((reasons(&answer), &answer["joined"]), (vec!["joined"], &json!(1)));
}

#[test]
fn a_stream_replayed_twice_in_a_row_opens_and_asks_nothing_new() {
    let folder = tempfile::tempdir().unwrap();
    let files = skipped_twice().write(folder.path());
    let once = command::json(&files.arguments(&files.stream, &[]));
    let stream = files.stream.display().to_string();
    let twice = command::json(&files.arguments(&files.stream, &[&stream]));
    for name in [
        "opened",
        "actions",
        "jobs",
        "cases",
        "requests",
        "declined",
        "matched",
        "suppressed",
    ] {
        assert_eq!(once[name], twice[name], "{name}");
    }
    assert_eq!(
        twice["decoded"].as_u64(),
        once["decoded"].as_u64().map(|count| 2 * count)
    );
    assert_eq!(twice["discarded"], json!({ "duplicate": 1 }), "the failure, told again");
}

#[test]
fn messages_of_a_run_that_overtake_each_other_change_nothing() {
    let straight = skipped_twice();
    let mut crossed = skipped_twice();
    let states: Vec<usize> = (0..crossed.messages.len())
        .filter(|index| crossed.messages[*index]["exchange"].as_str().unwrap().contains("queue"))
        .collect();
    for run in states.chunks(3) {
        // Ended, then pending, then running.
        crossed.messages.swap(run[0], run[2]);
        crossed.messages.swap(run[1], run[2]);
    }
    assert_ne!(straight.messages, crossed.messages);
    let (straight, crossed) = (straight.replay(&[]), crossed.replay(&[]));
    assert_eq!(
        (&straight["requests"], &straight["declined"]),
        (&crossed["requests"], &crossed["declined"])
    );
}

#[test]
fn lines_and_messages_that_cannot_be_read_are_counted_and_stop_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let files = skipped_twice().write(folder.path());
    let mut bytes = b"no JSON\n{\"payload\": {}}\n\xff\xfe\n\n[1]\n".to_vec();
    bytes.extend(std::fs::read(&files.stream).unwrap());
    for message in [
        json!({ "exchange": "exchange/nobody/knows", "payload": {} }),
        json!({ "exchange": "exchange/taskcluster-queue/v1/task-failed", "payload": { "version": 1 } }),
        json!({ "exchange": "exchange/taskcluster-queue/v1/task-failed", "payload": { "version": 7, "status": {} } }),
        json!({ "exchange": "exchange/taskcluster-queue/v1/artifact-created", "payload": { "version": 1 } }),
    ] {
        bytes.extend(format!("{message}\n").bytes());
    }
    let stream = folder.path().join("garbage.jsonl");
    std::fs::write(&stream, bytes).unwrap();
    let answer = command::json(&files.arguments(&stream, &[]));
    assert_eq!(asked(&answer), [12, 13]);
    assert_eq!(answer["deadLetters"], 7);
    let unreadable = answer["unreadable"].as_object().unwrap();
    assert_eq!(
        (&unreadable["bad-line"], &unreadable["unknown-exchange"]),
        (&json!(4), &json!(1))
    );
    assert_eq!(unreadable.values().filter_map(Value::as_u64).sum::<u64>(), 7);
    assert_eq!(answer["ignored"], json!({ "not-of-interest": 1 }));
}

#[test]
fn compressed_recordings_and_standard_input_say_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let files = skipped_twice().write(folder.path());
    let bytes = std::fs::read(&files.stream).unwrap();
    let plain = timeless(command::json(&files.arguments(&files.stream, &[])));
    let compressed = folder.path().join("stream.jsonl.gz");
    let mut encoder = GzEncoder::new(std::fs::File::create(&compressed).unwrap(), Compression::fast());
    encoder.write_all(&bytes).unwrap();
    encoder.finish().unwrap();
    assert_eq!(timeless(command::json(&files.arguments(&compressed, &[]))), plain);
    let piped = command::sheriffd_reading(&files.arguments(Path::new("-"), &[]), &bytes);
    assert_eq!(timeless(command::read(&piped)), plain);
}

#[test]
fn a_run_that_an_action_made_opens_nothing() {
    let story = Story::on("autoland").ran(11, "completed").landed(12);
    let answer = story.ran_for(13, "failed", &slug("an action task")).replay(&[]);
    assert_eq!((asked(&answer), reasons(&answer)), (vec![], vec!["person"]));
}

#[test]
fn a_run_of_unknown_parentage_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let files = skipped_twice().write(folder.path());
    let mut arguments = files.arguments(&files.stream, &[]);
    arguments.retain(|argument| !argument.starts_with("--tasks"));
    let answer = command::json(&arguments);
    assert_eq!((asked(&answer), reasons(&answer)), (vec![], vec!["lineage-unknown"]));
    assert_eq!(answer["waiting"], 0);
}

#[test]
fn nothing_is_bisected_on_try() {
    let story = Story::on("try").ran(11, "completed").landed(12).ran(13, "failed");
    let answer = story.replay(&[]);
    assert_eq!((asked(&answer), reasons(&answer)), (vec![], vec!["not-linear"]));
}

#[test]
fn what_a_limit_holds_back_is_named() {
    let answer = skipped_twice().replay(&["--set=limits.jobs_per_day=1"]);
    let states: Vec<&Value> = answer["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["state"])
        .collect();
    assert_eq!(states, ["accepted", "queued"]);
    assert_eq!(answer["requests"][1]["reason"], "limit");
    assert_eq!(answer["suppressed"], json!({ "limit": 1 }));
}

#[test]
fn pushes_from_a_file_are_known_before_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    let pushes = folder.path().join("pushes.json");
    let push = |number: u64| json!({ "changesets": [format!("{number:040x}")], "date": 1_780_000_000 + number });
    let log = json!({ "lastpushid": 14, "pushes": { "11": push(11), "12": push(12), "13": push(13), "14": push(14) } });
    std::fs::write(&pushes, format!("{log:#}")).unwrap();
    let given = format!("--pushes={}", pushes.display());
    let story = Story::on("autoland").ran(11, "completed").ran(14, "failed");
    assert_eq!(
        reasons(&story.replay(&[])),
        ["no-gap"],
        "nobody told of the pushes between"
    );
    assert_eq!(asked(&story.replay(&[&given, "--project=autoland"])), [12, 13]);
    let files = story.write(folder.path());
    let output = command::sheriffd(&files.arguments(&files.stream, &[&given]));
    assert_eq!(output.status.code(), Some(2));
    assert!(
        command::errors(&output).contains("--project"),
        "{}",
        command::errors(&output)
    );
}

#[test]
fn a_store_gives_its_history_and_is_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table.jsonl");
    let row = json!({
        "project": "autoland", "revision": format!("{:040x}", 11), "push_id": 11, "push_timestamp": 1_779_990_000,
        "platform": "linux1804-64", "platform_option": "opt", "job_type_name": LABEL, "job_type_symbol": "1",
        "task_id": slug("an earlier run"), "state": "completed", "result": "success",
    });
    std::fs::write(&table, format!("{row}\n")).unwrap();
    let store = folder.path().join("history.db");
    let given = format!("--store={}", store.display());
    let imported = command::json(&["import", &table.display().to_string(), &given, "--format=json"]);
    assert_eq!(
        (&imported["runs"], &imported["pushes"]),
        (&json!(1), &json!(1)),
        "{imported}"
    );
    let before = std::fs::read(&store).unwrap();
    let story = Story::on("autoland").landed(12).landed(13).ran(14, "failed");
    assert_eq!(reasons(&story.replay(&[])), ["no-last-good"]);
    assert_eq!(asked(&story.replay(&[&given])), [12, 13]);
    assert_eq!(
        asked(&story.replay(&[&given])),
        [12, 13],
        "a replay leaves nothing behind"
    );
    assert!(std::fs::read(&store).unwrap() == before);
}

#[test]
fn people_read_a_line_a_decision_and_a_summary() {
    let folder = tempfile::tempdir().unwrap();
    let files = skipped_twice().ran(15, "failed").write(folder.path());
    let mut arguments = files.arguments(&files.stream, &[]);
    arguments.retain(|argument| !argument.starts_with("--format"));
    let output = command::sheriffd(&arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "would ask  C1 test-linux1804-64/opt-mochitest-1 on push 12, push 13: ",
        "would not  autoland test-linux1804-64/opt-mochitest-1 on push 15 ",
        "joined: an open case has this subject",
        "actions          2  requests for 2 jobs would have been sent",
        "C1 find-culprit autoland test-linux1804-64/opt-mochitest-1 push 14: open - waits for 2 jobs",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn a_recording_that_breaks_off_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.jsonl.gz");
    std::fs::write(&broken, b"\x1f\x8b\x08 and no more").unwrap();
    let output = command::sheriffd(&["replay".to_owned(), broken.display().to_string()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        command::errors(&output).contains("broken.jsonl.gz"),
        "{}",
        command::errors(&output)
    );
}

#[test]
fn what_cannot_be_used_is_named() {
    let missing = data("nowhere.jsonl");
    let recording = data("pulse/github.jsonl");
    for (arguments, code) in [
        (vec!["replay".to_owned(), missing.clone()], 2),
        (vec!["replay".to_owned(), recording.clone(), missing.clone()], 2),
        (
            vec!["replay".to_owned(), recording.clone(), format!("--tasks={missing}")],
            2,
        ),
        (
            vec!["replay".to_owned(), recording.clone(), format!("--pushes={missing}")],
            2,
        ),
        (
            vec!["replay".to_owned(), recording.clone(), format!("--rules={missing}")],
            78,
        ),
        (vec!["replay".to_owned(), recording, format!("--store={missing}")], 2),
    ] {
        let output = command::sheriffd(&arguments);
        let errors = command::errors(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(errors.contains("nowhere.jsonl"), "{arguments:?}: {errors}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn two_rule_sets_are_compared_by_what_they_open_and_what_it_costs_a_day_and_platform() {
    let folder = tempfile::tempdir().unwrap();
    let story = Story::on("autoland")
        .landed(1)
        .landed(2)
        .landed(3)
        .landed(4)
        .ran(1, "completed")
        .ran(3, "failed")
        .ran(4, "failed");
    let files = story.write(folder.path());
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let until_hit = RULES.replace(
        "kind: find-culprit, parallel: 8, max_jobs: 40",
        "kind: until-hit, batch: 2, max_jobs: 4",
    );
    let both = format!(
        "{RULES}{}",
        until_hit
            .split_once("rules:\n")
            .unwrap()
            .1
            .replace("every-failure", "hunt")
    );
    let old = write("old.yaml", RULES);
    let new = write("new.yaml", &both);
    let compare = |old: &str, new: &str| {
        command::json(&[
            "replay".to_owned(),
            files.stream.display().to_string(),
            format!("--tasks={}", files.tasks.display()),
            "--format=json".to_owned(),
            "--diff".to_owned(),
            old.to_owned(),
            new.to_owned(),
        ])
    };
    let more = compare(&old, &new);
    let count = |answer: &Value, what: &str| answer[what].as_array().unwrap().len();
    assert_eq!(
        (count(&more, "newly"), count(&more, "noLonger"), count(&more, "stay")),
        (1, 0, 1),
        "{more}"
    );
    assert_eq!(more["newly"][0]["rule"], "hunt");
    assert_eq!((&more["oldJobs"], &more["newJobs"]), (&json!(1), &json!(3)), "{more}");
    let cost = &more["costs"][0];
    assert_eq!(
        (&cost["platform"], &cost["day"]),
        (&json!("linux1804-64"), &json!("2026-05-28")),
        "{more}"
    );
    assert_eq!((&cost["left"], &cost["right"]), (&json!(1), &json!(3)), "{more}");
    // The other way round, and with itself.
    let fewer = compare(&new, &old);
    assert_eq!((count(&fewer, "newly"), count(&fewer, "noLonger")), (0, 1), "{fewer}");
    let same = compare(&new, &new);
    assert_eq!(
        (count(&same, "newly"), count(&same, "noLonger"), count(&same, "stay")),
        (0, 0, 2),
        "{same}"
    );
    // A rule of another name that opens the same opens nothing new.
    let renamed = write("renamed.yaml", &RULES.replace("every-failure", "each-failure"));
    let renamed = compare(&old, &renamed);
    assert_eq!((count(&renamed, "newly"), count(&renamed, "stay")), (0, 1), "{renamed}");
}
