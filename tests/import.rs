//! `sheriffd import` as its users start it: tables of jobs in, history and counts out.

#[path = "common/command.rs"]
mod command;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/treeherder")
        .join(file)
}

/// A store in a folder of its own.
struct Store {
    folder: tempfile::TempDir,
}

impl Store {
    fn new() -> Store {
        Store {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn import(&self, tables: &[&Path], further: &[&str]) -> Value {
        let mut arguments = vec!["import".to_owned(), "--format=json".to_owned()];
        arguments.push(format!("--store={}", self.folder.path().join("history.db").display()));
        arguments.extend(tables.iter().map(|table| table.display().to_string()));
        arguments.extend(further.iter().map(|argument| (*argument).to_owned()));
        command::json(&arguments)
    }

    fn rows(&self, rows: &[Value], further: &[&str]) -> Value {
        let table = command::write_lines(self.folder.path(), "table.jsonl", rows.to_vec());
        self.import(&[&table], further)
    }
}

/// A finished job on a push of `autoland`.
fn row(task: &str, push: Option<u64>, revision: &str, landed: i64) -> Value {
    let mut row = json!({
        "project": "autoland", "revision": revision, "push_timestamp": landed, "platform": "linux",
        "platform_option": "opt", "job_type_name": "a-label", "job_type_symbol": "1", "task_id": task,
        "state": "completed", "result": "success",
    });
    if let Some(push) = push {
        row["push_id"] = push.into();
    }
    row
}

#[test]
fn importing_a_snapshot_again_changes_nothing() {
    let store = Store::new();
    let table = data("tree-2014-04-15a.jsonl.gz");
    let first = store.import(&[&table], &[]);
    assert_eq!(first["rows"], 2_499);
    let unfinished = first["skipped"]["unfinished"].as_u64().unwrap();
    assert_eq!(first["runs"].as_u64().unwrap() + unfinished, 2_499);
    assert_eq!(
        (&first["newRuns"], &first["newPushes"]),
        (&first["runs"], &first["pushes"])
    );
    assert_eq!(first["renumbered"], json!([]), "its numbers follow the times");
    let second = store.import(&[&table], &[]);
    assert_eq!((&second["newRuns"], &second["newPushes"]), (&json!(0), &json!(0)));
    assert_eq!(second["runs"], first["runs"]);
}

#[test]
fn numbers_that_contradict_the_times_are_dealt_out_anew_and_that_is_said() {
    let store = Store::new();
    let table = data("tree-2013-11-22.jsonl.gz");
    let imported = store.import(&[&table], &[]);
    assert_eq!(imported["pushes"], 9);
    assert_eq!(imported["renumbered"][0]["project"], "mozilla-inbound");
    assert_eq!(imported["renumbered"][0]["pushes"], 9);
    assert_eq!(
        store.import(&[&table], &[])["newPushes"],
        0,
        "the same numbers the second time"
    );
}

#[test]
fn pushes_without_numbers_follow_those_that_are_known() {
    let store = Store::new();
    store.rows(&[row("a", Some(40), "aaaaaaaaaaaa", 1_000)], &[]);
    let imported = store.rows(
        &[
            row("b", None, "bbbbbbbbbbbb", 3_000),
            row("c", None, "cccccccccccc", 2_000),
            row("d", None, "dddddddddddd", 500),
            row("e", None, "aaaaaaaaaaaa", 1_000),
        ],
        &[],
    );
    assert_eq!((&imported["runs"], &imported["newPushes"]), (&json!(3), &json!(2)));
    assert_eq!(
        imported["skipped"],
        json!({ "no-push-number": 1 }),
        "one landed before push 40"
    );
    // By their numbers now: the earlier one got the lower number.
    let imported = store.rows(
        &[
            row("f", Some(41), "cccccccccccc", 2_000),
            row("g", Some(42), "bbbbbbbbbbbb", 3_000),
        ],
        &[],
    );
    assert_eq!((&imported["runs"], &imported["newPushes"]), (&json!(2), &json!(0)));
}

#[test]
fn a_pushlog_gives_the_numbers_that_a_table_lacks() {
    let store = Store::new();
    let log = json!({ "pushes": { "7": { "changesets": ["aaaaaaaaaaaa"], "date": 1_000 } } });
    let pushes = command::write_lines(store.folder.path(), "pushes.json", [log]);
    let given = format!("--pushes={}", pushes.display());
    store.rows(
        &[row("a", None, "aaaaaaaaaaaa", 1_000)],
        &[&given, "--project=autoland"],
    );
    let imported = store.rows(&[row("b", Some(7), "aaaaaaaaaaaa", 1_000)], &[]);
    assert_eq!((&imported["runs"], &imported["newPushes"]), (&json!(1), &json!(0)));
}

#[test]
fn a_number_of_another_push_is_not_taken_over() {
    let store = Store::new();
    store.rows(&[row("a", Some(1), "aaaaaaaaaaaa", 1_000)], &[]);
    let imported = store.rows(&[row("b", Some(1), "bbbbbbbbbbbb", 2_000)], &[]);
    assert_eq!(imported["runs"], 0);
    assert_eq!(imported["skipped"], json!({ "push-number-taken": 1 }));
}

#[test]
fn rows_that_are_no_history_are_left_out_by_reason() {
    let store = Store::new();
    let mut homeless = row("a", Some(1), "aaaaaaaaaaaa", 1_000);
    homeless.as_object_mut().unwrap().remove("project");
    let mut running = row("b", Some(1), "aaaaaaaaaaaa", 1_000);
    running["state"] = "running".into();
    let mut pushless = row("c", None, "aaaaaaaaaaaa", 1_000);
    pushless.as_object_mut().unwrap().remove("revision");
    let rows = [homeless, running, pushless, json!({ "no": "job" })];
    let imported = store.rows(&rows, &[]);
    let expected = json!({ "no-project": 1, "unfinished": 1, "no-push": 1, "unreadable": 1 });
    assert_eq!((&imported["skipped"], &imported["runs"]), (&expected, &json!(0)));
    let named = imported["unreadable"][0].as_str().unwrap();
    assert!(named.contains("table.jsonl, line 4: "), "{named}");
    let imported = store.rows(&rows, &["--project=autoland"]);
    assert_eq!(imported["runs"], 1, "the row without a project has one now");
}

#[test]
fn people_read_what_was_done() {
    let store = Store::new();
    let output = command::sheriffd(&[
        "import".to_owned(),
        data("tree-2013-11-22.jsonl.gz").display().to_string(),
        format!("--store={}", store.folder.path().join("history.db").display()),
    ]);
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "1015 rows into ",
        "  9 pushes, 9 of them new",
        "the numbers of the 9 pushes of mozilla-inbound do not follow the times they landed: numbered anew by time",
        "left out: 380 unfinished: the job had not ended",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn a_table_that_cannot_be_read_is_named_before_a_store_is_made() {
    let store = Store::new();
    let path = store.folder.path().join("history.db");
    let given = format!("--store={}", path.display());
    let output = command::sheriffd(&["import", "nowhere.jsonl", &given]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        command::errors(&output).contains("nowhere.jsonl"),
        "{}",
        command::errors(&output)
    );
    assert!(!path.exists());
}
