//! Our reading of task messages held against Treeherder's own, record by record.
//!
//! `data/taskcluster/treeherder-reading.jsonl` is what Treeherder made of the messages in `data/pulse`, given the
//! definitions in `data/taskcluster`. Every field that both have must agree; a field that cannot be compared, and a
//! record that disagrees, has to be in a list here with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};
use sheriffd::event::{BackendName, Event, JobEvent};
use sheriffd::wire::{DEFAULT_MAX_BODY, Decoded, WireSettings, decode, recorded, task, treeherder_reading};

/// Fields of Treeherder's reading that a message and a definition do not determine.
const NOT_COMPARED: [(&str, &str); 3] = [
    (
        "log_references",
        "an address at the CI's own host, which the message does not carry",
    ),
    (
        "perfherder_data_references",
        "artifacts of the run, always empty in the recording",
    ),
    ("superseded", "a notion of Buildbot's, always empty for Taskcluster"),
];

/// Records on which the two readings differ: task, field, reason.
const DISAGREEMENTS: [(&str, &str, &str); 0] = [];

fn lines(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

fn settings() -> WireSettings {
    WireSettings {
        backend: BackendName::from("firefox-ci"),
        max_body: DEFAULT_MAX_BODY,
    }
}

/// The events of the recorded messages, by task.
fn events() -> BTreeMap<String, JobEvent> {
    let one = |line: Value| {
        let delivery = recorded::delivery(&line.to_string(), 1, None)
            .expect("a recording")
            .expect("a message");
        match decode(&delivery, &settings()).expect("a task message") {
            Decoded::Events(events) => match events.as_slice() {
                [Event::Job(job)] => (job.run.task.to_string(), (**job).clone()),
                other => panic!("not one job: {other:?}"),
            },
            Decoded::Ignored(ignored) => panic!("ignored: {ignored:?}"),
        }
    };
    lines("pulse/taskcluster-queue.jsonl").into_iter().map(one).collect()
}

/// The definitions, by task.
fn definitions() -> BTreeMap<String, String> {
    let named = |line: &Value| Some((line["taskId"].as_str()?.to_owned(), line["task"].to_string()));
    lines("taskcluster/tasks.jsonl").iter().filter_map(named).collect()
}

/// Treeherder's record, flat and without the fields that cannot be compared.
fn theirs(record: &Value) -> Map<String, Value> {
    let mut fields = record["job"]["job"].as_object().expect("a job").clone();
    for (name, value) in record["job"].as_object().expect("a record") {
        if name != "job" {
            fields.insert(name.clone(), value.clone());
        }
    }
    for (name, _) in NOT_COMPARED {
        assert!(
            fields.remove(name).is_some(),
            "{name} is not a field of the recording any more"
        );
    }
    fields
}

/// Our reading in the same shape.
fn ours(job: &JobEvent, definition: &str) -> Map<String, Value> {
    let reading = treeherder_reading(job, definition)
        .expect("a definition")
        .expect("a task for Treeherder");
    let mut fields = serde_json::to_value(&reading)
        .expect("JSON")
        .as_object()
        .expect("an object")
        .clone();
    // Our project is in the route; theirs is the table that the record came from, which the recording does not name.
    fields.remove("project");
    fields.retain(|_, value| !value.is_null());
    let mut take = |name: &str| fields.remove(name).expect("a field");
    let platform = json!({
        "platform": take("platform"), "os_name": take("os_name"), "architecture": take("architecture"),
    });
    let options: Map<String, Value> = reading
        .option_collection
        .iter()
        .map(|option| (option.clone(), Value::Bool(true)))
        .collect();
    fields.insert("build_platform".into(), platform.clone());
    fields.insert("machine_platform".into(), platform);
    fields.insert("option_collection".into(), options.into());
    fields
}

#[test]
fn every_field_of_every_record_agrees_with_treeherder() {
    let (events, definitions) = (events(), definitions());
    let mut found = BTreeSet::new();
    let records = lines("taskcluster/treeherder-reading.jsonl");
    assert!(!records.is_empty());
    for record in &records {
        let id = record["taskId"].as_str().expect("a task id");
        let (theirs, ours) = (theirs(record), ours(&events[id], &definitions[id]));
        for name in theirs.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
            let (theirs, ours) = (theirs.get(name), ours.get(name));
            if theirs != ours {
                println!("{id} {name}: Treeherder reads {theirs:?}, we read {ours:?}");
                found.insert((id.to_owned(), name.clone()));
            }
        }
    }
    let named: BTreeSet<_> = DISAGREEMENTS
        .iter()
        .map(|(id, name, _)| (id.to_string(), name.to_string()))
        .collect();
    assert_eq!(found, named);
}

#[test]
fn the_facts_that_rules_see_agree_with_treeherder_too() {
    let (events, definitions) = (events(), definitions());
    for record in lines("taskcluster/treeherder-reading.jsonl") {
        let id = record["taskId"].as_str().expect("a task id");
        let mut facts = events[id].facts.clone();
        facts.fill_from(&task::facts(&definitions[id]).expect("a definition"));
        let theirs = theirs(&record);
        let options = theirs["option_collection"]
            .as_object()
            .expect("options")
            .keys()
            .cloned()
            .collect::<Vec<_>>();
        assert_eq!(
            facts.revision.as_ref().map(|r| r.as_str()),
            theirs["revision"].as_str(),
            "{id}"
        );
        assert_eq!(
            facts.platform.as_deref(),
            theirs["machine_platform"]["platform"].as_str(),
            "{id}"
        );
        assert_eq!(facts.option.as_deref(), Some(options.join(" ").as_str()), "{id}");
        assert_eq!(facts.tier.map(u64::from), theirs["tier"].as_u64(), "{id}");
        assert_eq!(
            facts.label.as_ref().map(|l| l.as_str()),
            theirs["name"].as_str(),
            "{id}"
        );
        assert_eq!(facts.symbol.as_deref(), theirs["job_symbol"].as_str(), "{id}");
        assert_eq!(facts.group_symbol.as_deref(), theirs["group_symbol"].as_str(), "{id}");
    }
}
