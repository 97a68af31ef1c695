//! `sheriffd test`: tests that stand beside rules, played on the real engine.
//!
//! `tests/rule_tests/holds.yaml` has a test for everything that a test can give and expect; `fails.yaml` has tests that
//! do not hold, and `fails.txt` what is said of them. With `SHERIFFD_BLESS=1` that text is written anew.

#[path = "common/command.rs"]
mod command;

use command::{errors, json, sheriffd, write_lines};
use serde_json::json as value;

const FAILS: &str = "tests/rule_tests/fails.yaml";
const SAID: &str = "tests/rule_tests/fails.txt";

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_tests_of_the_shipped_rules_hold_and_no_shipped_rule_is_without_one() {
    let report = json(&["test", "rules", "--format", "json"]);
    assert!(report["tests"].as_u64().unwrap() >= 3, "{report}");
    assert_eq!(report["untested"], serde_json::json!([]));
}

#[test]
fn everything_that_a_test_can_give_and_expect_holds_on_the_real_engine() {
    let output = sheriffd(&["test", "tests/rule_tests/holds.yaml"]);
    assert!(output.status.success(), "{}{}", said(&output), errors(&output));
}

#[test]
fn a_test_that_does_not_hold_says_what_was_expected_what_came_and_why() {
    let output = sheriffd(&["test", FAILS]);
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    let said = said(&output);
    if std::env::var_os("SHERIFFD_BLESS").is_some() {
        std::fs::write(SAID, &said).unwrap();
    }
    assert_eq!(said, std::fs::read_to_string(SAID).unwrap_or_default());
    assert!(said.ends_with("5 tests: 0 passed, 5 failed\n"), "{said}");
}

#[test]
fn the_same_tests_always_tell_the_same_story() {
    let story = || said(&sheriffd(&["test", FAILS, "--format", "json"]));
    assert_eq!(story(), story());
}

#[test]
fn programs_get_the_differences_and_every_decision_with_its_clauses() {
    let output = sheriffd(&["test", FAILS, "--format", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["failed"], 5);
    let first = &report["results"][0];
    assert_eq!(first["differences"][0]["what"], "opened");
    let clause = &first["moments"][0]["decisions"][0]["detail"]["clauses"][3];
    assert_eq!(clause["text"], "history.passed_before(event)");
    assert_eq!(clause["matched"], "false");
    assert!(
        report["results"][4]["error"]
            .as_str()
            .unwrap()
            .contains("no-such-message.json")
    );
}

#[test]
fn test_reporters_get_junit_with_a_case_a_test() {
    let output = sheriffd(&["test", FAILS, "--format", "junit"]);
    let text = said(&output);
    assert!(text.starts_with("<?xml version=\"1.0\""), "{text}");
    assert!(text.contains(r#"tests="5" failures="4" errors="1">"#), "{text}");
    assert_eq!(text.matches("<testcase ").count(), 5);
    assert_eq!(text.matches("<failure ").count(), 4);
    // Markup in what is said is escaped: the condition has `<` and `&&` in it.
    assert!(text.contains("&lt; 0.1") && !text.contains("< 0.1"), "{text}");
}

#[test]
fn a_name_chooses_tests() {
    let report = json(&[
        "test",
        "tests/rule_tests/holds.yaml",
        "--name",
        "budget",
        "--format",
        "json",
    ]);
    assert_eq!(report["tests"], 1);
}

#[test]
fn a_recording_of_several_messages_is_played_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let message = |id: &str, state: &str, label: &str| {
        value!({
            "exchange": format!("exchange/taskcluster-queue/v1/task-{state}"),
            "routingKey": "primary",
            "payload": {
                "runId": 0, "version": 1, "task": { "tags": { "label": label, "project": "autoland" } },
                "status": {
                    "taskId": id, "taskGroupId": id, "schedulerId": "s", "provisionerId": "p", "workerType": "w",
                    "deadline": "2026-01-03T00:00:00.000Z", "expires": "2027-01-01T00:00:00.000Z", "retriesLeft": 0,
                    "state": state,
                    "runs": [{
                        "runId": 0, "state": state, "reasonCreated": "scheduled", "reasonResolved": state,
                        "scheduled": "2026-01-02T00:00:00.000Z", "started": "2026-01-02T00:00:00.000Z",
                        "resolved": "2026-01-02T01:00:00.000Z", "workerGroup": "g", "workerId": "i",
                        "takenUntil": "2026-01-02T02:00:00.000Z",
                    }],
                },
            },
        })
    };
    let recorded = [message("first", "failed", "A"), message("second", "failed", "B")];
    write_lines(folder.path(), "recorded.jsonl", recorded);
    let rules = folder.path().join("rules.yaml");
    std::fs::write(
        &rules,
        "version: 1
rules:
  - name: r
    description: d
    on: job.finished
    match: { outcome: failed }
    open: { kind: until-hit, max_jobs: 1 }
tests:
  - name: both are looked at
    events: [{ file: recorded.jsonl }]
    expect: [{ rule: r, opened: 2 }]
",
    )
    .unwrap();
    let path = rules.to_str().unwrap();
    let output = sheriffd(&["test", path, "--format", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let moments: Vec<&str> = report["results"][0]["moments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|moment| moment["what"].as_str().unwrap())
        .collect();
    // What a message does not carry is unknown: the test fails, and shows both events.
    assert_eq!(
        moments,
        [
            "job.finished A on push unknown of autoland: failed",
            "job.finished B on push unknown of autoland: failed"
        ]
    );
}

#[test]
fn rules_that_cannot_be_used_are_not_tested() {
    let output = sheriffd(&["test", "tests/check/mode-misspelt.yaml"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(
        errors(&output).contains("tests/check/mode-misspelt.yaml:6:11"),
        "{}",
        errors(&output)
    );
}
