//! The small commands, as people call them.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use sheriffd::engine::ledger::{CaseRow, Cases as _};
use sheriffd::store::sqlite::SqliteStore;

/// A made table of two jobs, as `sheriffd import` reads it.
const TABLE: &str = r#"{"snapshot":"made","repository":"autoland","push_id":1,"revision":"aaaaaaaaaaa1","push_timestamp":1780000000,"platform":"linux64","platform_option":"opt","group_symbol":"M","group_name":"Mochitest","type_symbol":"1","type_name":"Mochitest","job_id":1,"state":"completed","result":"success","failure_classification_id":1,"reason":"scheduler","machine":"m1"}
{"snapshot":"made","repository":"autoland","push_id":2,"revision":"aaaaaaaaaaa2","push_timestamp":1780000600,"platform":"linux64","platform_option":"opt","group_symbol":"M","group_name":"Mochitest","type_symbol":"1","type_name":"Mochitest","job_id":2,"state":"completed","result":"testfailed","failure_classification_id":1,"reason":"scheduler","machine":"m1"}
"#;

fn sheriffd(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sheriffd"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("SHERIFFD_CONFIG")
        .env("USER", "tester")
        .output()
        .expect("the program can be started")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder with a store in it, made by `sheriffd import`.
fn folder_with_store() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("table.jsonl"), TABLE).unwrap();
    let output = sheriffd(folder.path(), &["import", "table.jsonl", "--store", "sheriffd.db"]);
    assert!(output.status.success(), "{}", stderr(&output));
    folder
}

#[test]
fn a_pause_needs_a_reason_and_is_listed_until_it_is_resumed() {
    let folder = folder_with_store();
    let run = |arguments: &[&str]| sheriffd(folder.path(), arguments);
    assert!(stdout(&run(&["pause"])).contains("nothing is paused"));
    let refused = run(&["pause", "--project", "autoland"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("--reason"), "{}", stderr(&refused));
    let paused = run(&[
        "pause",
        "--project",
        "autoland",
        "--reason",
        "the tree burns",
        "--for",
        "2h",
    ]);
    assert!(paused.status.success(), "{}", stderr(&paused));
    let listed = stdout(&run(&["pause", "--format", "json"]));
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["pauses"][0]["name"], "autoland");
    assert_eq!(listed["pauses"][0]["owner"], "tester");
    assert_eq!(listed["pauses"][0]["reason"], "the tree burns");
    assert!(run(&["resume", "--project", "autoland"]).status.success());
    let nothing = run(&["resume", "--project", "autoland"]);
    assert_eq!(nothing.status.code(), Some(1), "there is none any more");
}

#[test]
fn commands_on_a_store_that_does_not_exist_say_so_and_make_none() {
    let folder = tempfile::tempdir().unwrap();
    for command in [
        &["case", "list"][..],
        &["pause"],
        &["deadletters", "list"],
        &["explain", "x"],
    ] {
        let output = sheriffd(folder.path(), command);
        assert_eq!(output.status.code(), Some(69), "{command:?}");
        assert!(stderr(&output).contains("sheriffd.db"), "{}", stderr(&output));
    }
    assert!(!folder.path().join("sheriffd.db").exists());
}

#[test]
fn an_empty_history_has_no_cases_and_no_dead_letters() {
    let folder = folder_with_store();
    let run = |arguments: &[&str]| sheriffd(folder.path(), arguments);
    assert!(stdout(&run(&["case", "list"])).contains("no cases"));
    assert!(stdout(&run(&["deadletters", "list"])).contains("no dead letters"));
    assert_eq!(run(&["case", "show", "C1"]).status.code(), Some(1));
    assert_eq!(run(&["case", "close", "C1", "--reason", "x"]).status.code(), Some(1));
    assert_eq!(run(&["explain", "A3dJ8bDIQRKzHiZBhM0c5Q/0"]).status.code(), Some(1));
    assert_eq!(run(&["deadletters", "show", "1"]).status.code(), Some(1));
}

/// A case of a rule that waits for the word of a sheriff.
fn case_awaiting_approval() -> CaseRow {
    serde_json::from_value(serde_json::json!({
        "id": 0,
        "cause": { "rule": { "name": "hunt", "version": "0123456789abcdef" } },
        "mode": "live",
        "budget": null,
        "subject": { "project": "autoland", "label": "L", "signature": null },
        "label": "L",
        "platform": "linux",
        "params": { "kind": "until-hit", "max_jobs": 60 },
        "push": 14,
        "opened_by": null,
        "opened_at": "2026-06-01T10:00:00Z",
        "wake_at": null,
        "verdict": null,
        "closed_at": null,
        "why": "awaiting approval by sheriffs",
        "throttle_key": "",
        "approval": {
            "by": "sheriffs",
            "expires": "9000-01-01T00:00:00Z",
            "estimate": { "jobs": 60, "hours": 20.5 },
        },
    }))
    .unwrap()
}

#[test]
fn a_case_that_waits_for_approval_says_what_it_may_cost_and_is_approved_once() {
    let folder = folder_with_store();
    let run = |arguments: &[&str]| sheriffd(folder.path(), arguments);
    let mut store = SqliteStore::open(&folder.path().join("sheriffd.db")).unwrap();
    let id = store
        .transact(|books| books.open_case(&case_awaiting_approval()))
        .unwrap();
    drop(store);
    let id = id.to_string();
    assert!(stdout(&run(&["case", "list"])).contains("awaiting approval"));
    let shown = stdout(&run(&["case", "show", &id]));
    assert!(
        shown.contains("by sheriffs until 9000-01-01T00:00:00Z (up to 60 jobs, 20.5 machine-hours)"),
        "{shown}"
    );
    let approved = run(&["case", "approve", &id, "--as", "a sheriff"]);
    assert!(approved.status.success(), "{}", stderr(&approved));
    let shown = stdout(&run(&["case", "show", &id]));
    assert!(shown.contains("by a sheriff (up to 60 jobs"), "{shown}");
    let again = run(&["case", "approve", &id]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("waits for approval"), "{}", stderr(&again));
}

#[test]
fn a_search_names_the_labels_that_share_it_and_what_its_end_means_for_them() {
    let folder = folder_with_store();
    let mut search = serde_json::to_value(case_awaiting_approval()).unwrap();
    search["params"] = serde_json::json!({ "kind": "find-culprit" });
    search["shared_by"] = serde_json::json!([
        { "label": "M", "platform": "mac", "push": 14, "run": { "backend": "tc", "task": "fail-m", "run": 0 }, "rule": "backfill", "fate": "covered" },
        { "label": "W", "platform": "windows", "push": 15, "run": { "backend": "tc", "task": "fail-w", "run": 0 }, "rule": "backfill", "fate": "on-its-own" },
    ]);
    let search: CaseRow = serde_json::from_value(search).unwrap();
    let mut store = SqliteStore::open(&folder.path().join("sheriffd.db")).unwrap();
    let id = store.transact(|books| books.open_case(&search)).unwrap().to_string();
    drop(store);
    let shown = stdout(&sheriffd(folder.path(), &["case", "show", &id]));
    assert!(shown.contains("shared by  M on push 14: explained by it"), "{shown}");
    assert!(shown.contains("W on push 15: looked at on its own"), "{shown}");
    let explained = stdout(&sheriffd(folder.path(), &["explain", &id]));
    assert!(
        explained.contains("shared by   M, seen on push 14 in run fail-m/0: explained by it"),
        "{explained}"
    );
}

#[test]
fn an_unknown_setting_is_an_error_with_a_suggestion() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bad.toml"), "[broker]\npasword = \"env:X\"\n").unwrap();
    let output = sheriffd(folder.path(), &["config", "--config", "bad.toml"]);
    assert_eq!(output.status.code(), Some(78));
    let text = stderr(&output);
    assert!(
        text.contains("bad.toml:2") && text.contains("pasword") && text.contains("password"),
        "{text}"
    );
}

#[test]
fn settings_are_shown_with_their_origin_and_secrets_masked() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("c.toml"),
        "[broker]\nuser = \"me\"\npassword = \"literal:hunter2\"\n",
    )
    .unwrap();
    let output = sheriffd(
        folder.path(),
        &["config", "--config", "c.toml", "--set", "limits.jobs_per_hour=7"],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("broker.password = \"***\""), "{text}");
    assert!(
        text.lines()
            .any(|line| line.starts_with("limits.jobs_per_hour = 7") && line.contains("--set")),
        "{text}"
    );
}

#[test]
fn check_says_what_is_wrong_and_where() {
    let folder = tempfile::tempdir().unwrap();
    let rule = "version: 1\nrules:\n  - name: r\n    on: job.finished\n    match: { outcom: failed }\n    \
                open: { kind: find-culprit, max_jobs: 4 }\n";
    std::fs::write(folder.path().join("rule.yaml"), rule).unwrap();
    let output = sheriffd(folder.path(), &["check", "rule.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(text.contains("rule.yaml:5:14") && text.contains("outcome"), "{text}");
}

#[test]
fn decide_answers_a_line_with_a_line() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sheriffd"))
        .arg("decide")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let question = r#"{"kind":"find-culprit","candidates":16,"history":{"failed":0,"passed":50},"evidence":[{"push":16,"failed":1,"passed":0}],"params":{"confidence":0.95,"parallel":1,"max_jobs":50},"seed":1}"#;
    writeln!(child.stdin.take().unwrap(), "{question}\nnonsense").unwrap();
    let output = child.wait_with_output().unwrap();
    let lines: Vec<serde_json::Value> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["run"].as_array().unwrap().len(), 1);
    assert!(lines[0]["verdict"].is_null());
    assert!(lines[1]["error"].is_string());
    assert_eq!(output.status.code(), Some(1), "one line could not be answered");
}

#[test]
fn schemas_and_completions_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    for of in ["rules", "decide"] {
        let output = sheriffd(folder.path(), &["schema", of]);
        let schema: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#", "{of}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            stdout(&sheriffd(folder.path(), &["completions", shell])).contains("deadletters"),
            "{shell}"
        );
    }
}

#[test]
fn doctor_names_what_would_not_work() {
    let folder = folder_with_store();
    std::fs::create_dir(folder.path().join("rules")).unwrap();
    // Nobody listens on port 9 of this machine.
    let output = sheriffd(
        folder.path(),
        &["doctor", "--format", "json", "--set", "broker.url=amqp://127.0.0.1:9"],
    );
    assert_eq!(output.status.code(), Some(1));
    let answer: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let bad: Vec<&serde_json::Value> = answer["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["ok"] == false)
        .collect();
    assert_eq!(answer["bad"], bad.len());
    assert!(
        bad.iter()
            .any(|finding| finding["what"].as_str().unwrap().contains("127.0.0.1:9")),
        "{answer}"
    );
    let store = answer["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["what"] == "store")
        .unwrap();
    assert!(store["detail"].as_str().unwrap().contains("2 runs"), "{store}");
}

#[test]
fn what_others_wrote_moves_no_cursor() {
    let folder = folder_with_store();
    let run = |arguments: &[&str]| sheriffd(folder.path(), arguments);
    let reason = "\x1b[2J\rall is well\u{9b}A";
    assert!(run(&["pause", "--reason", reason]).status.success());
    let listed = stdout(&run(&["pause"]));
    assert!(listed.contains("all is well"), "{listed}");
    assert!(
        !listed.contains(|c: char| c.is_control() && c != '\n' && c != '\t'),
        "{listed:?}"
    );
    let json: serde_json::Value = serde_json::from_str(&stdout(&run(&["pause", "--format", "json"]))).unwrap();
    assert!(json["pauses"][0]["reason"].as_str().unwrap().contains("all is well"));
    let refused = run(&["explain", "\x1b]0;title\x07"]);
    assert!(!stderr(&refused).contains('\x1b'), "{}", stderr(&refused));
}

/// The label of the made table's jobs, as the import names it.
fn label_of_the_table(folder: &Path) -> String {
    let connection = rusqlite::Connection::open(folder.join("sheriffd.db")).unwrap();
    connection
        .query_row("SELECT label FROM labels", [], |row| row.get(0))
        .unwrap()
}

#[test]
fn a_person_opens_a_case_and_a_second_request_joins_it() {
    let folder = folder_with_store();
    let label = label_of_the_table(folder.path());
    let run = |arguments: &[&str]| sheriffd(folder.path(), arguments);
    let arguments = [
        "until-hit",
        "--project",
        "autoland",
        "--push",
        "2",
        "--label",
        &label,
        "--batch",
        "3",
        "--env",
        "MOZ_LOG=all:5",
        "--max-jobs",
        "9",
        "--format",
        "json",
    ];
    let opened = run(&arguments);
    assert!(opened.status.success(), "{}", stderr(&opened));
    let opened: serde_json::Value = serde_json::from_str(&stdout(&opened)).unwrap();
    assert_eq!(opened["state"], "opened");
    assert_eq!(opened["case"]["params"]["kind"], "until-hit");
    assert_eq!(opened["case"]["params"]["max_jobs"], 9);
    assert_eq!(opened["case"]["params"]["input"]["env"]["MOZ_LOG"], "all:5");
    assert_eq!(opened["case"]["cause"]["person"]["name"], "tester");
    let again: serde_json::Value = serde_json::from_str(&stdout(&run(&arguments))).unwrap();
    assert_eq!(again["state"], "joined");
    assert_eq!(again["case"]["id"], opened["case"]["id"]);
    let shown = stdout(&run(&["case", "show", "1"]));
    assert!(shown.contains("push 2 x3"), "the first batch is in the outbox: {shown}");
}

#[test]
fn a_case_that_cannot_be_opened_is_refused_with_the_reason() {
    let folder = folder_with_store();
    let run = |arguments: &[&str]| sheriffd(folder.path(), arguments);
    let on_try = run(&["culprit", "--project", "try", "--push", "2", "--label", "L"]);
    assert_eq!(on_try.status.code(), Some(1));
    assert!(stdout(&on_try).contains("not-linear"), "{}", stdout(&on_try));
    let nowhere = run(&[
        "culprit",
        "--project",
        "autoland",
        "--revision",
        "bbbbbbbbbbbb",
        "--label",
        "L",
    ]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(stdout(&nowhere).contains("--push"), "{}", stdout(&nowhere));
    let out_of_range = run(&[
        "culprit",
        "--project",
        "autoland",
        "--push",
        "2",
        "--label",
        "L",
        "--confidence",
        "1.5",
    ]);
    assert_eq!(out_of_range.status.code(), Some(2));
    assert!(
        stderr(&out_of_range).contains("0.5 to 0.9999"),
        "{}",
        stderr(&out_of_range)
    );
    let unlabelled = run(&["culprit", "--project", "autoland", "--push", "2"]);
    assert_eq!(unlabelled.status.code(), Some(2), "{}", stderr(&unlabelled));
}

#[test]
fn what_is_not_known_yet_waits_for_the_daemon_and_the_command_says_so() {
    let folder = folder_with_store();
    let output = sheriffd(
        folder.path(),
        &[
            "culprit",
            "--project",
            "autoland",
            "--revision",
            "bbbbbbbbbbbb",
            "--label",
            "L",
            "--set",
            "enrich.pushlog_url=https://hg.example.org/{project}",
        ],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("waits"), "{}", stdout(&output));
}

#[test]
fn check_reads_the_configuration_and_the_rules_that_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    std::fs::create_dir(folder.path().join("mine")).unwrap();
    let rules = "version: 1
rules:
  - name: r
    description: d
    on: job.finished
    match: { outcome: failed }
    open: { kind: until-hit, max_jobs: 1 }
";
    let config = "[rules]\npaths = [\"mine\"]\n";
    write("mine/r.yaml", rules);
    write("sheriffd.toml", config);
    let check = |arguments: &[&str]| {
        let output = sheriffd(
            folder.path(),
            &[&["check", "--config", "sheriffd.toml"], arguments].concat(),
        );
        (output.status.code(), stdout(&output))
    };
    let (code, said) = check(&[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.starts_with("1 rule in 1 file, 1 configuration: 0 errors, 0 warnings"),
        "{said}"
    );

    write("mine/r.yaml", &rules.replace("outcome", "outcom"));
    let (code, said) = check(&[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("mine/r.yaml:6:14"), "{said}");

    // Named rules are checked with the configuration, not in its place.
    write("mine/r.yaml", rules);
    write("sheriffd.toml", &format!("{config}wach = false\n"));
    for arguments in [&[][..], &["mine"]] {
        let (code, said) = check(arguments);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("sheriffd.toml:3:1") && said.contains("watch`?"), "{said}");
    }
}
