//! The other texts of a CI: task definitions, pushlogs, error summaries, tables of jobs, task graphs, recordings.

use serde_json::{Value, json};
use sheriffd::event::{CausedBy, Chunk, Outcome, Project, PushId, RunState};
use sheriffd::wire::{error_summary, job_row, pushlog, recorded, task, task_graph};

use crate::message::{records, settings, text};

/// A test task's definition, as gecko writes them.
fn definition() -> Value {
    json!({
        "provisionerId": "gecko-t", "workerType": "t-linux-large", "taskGroupId": "XrWNyFwpT2in-wLY9frb-w",
        "routes": ["tc-treeherder.v2.autoland.219d38523a321229f7f48aca6592f76b993fb1aa.88554"],
        "metadata": {
            "name": "test-linux64/debug-mochitest-e10s-3", "owner": "somebody@example.org", "description": "",
            "source": "https://hg.mozilla.org/integration/autoland/file/219d38523a321229f7f48aca6592f76b993fb1aa/a",
        },
        "tags": {"kind": "test", "label": "test-linux64/debug-mochitest-e10s-3"},
        "payload": {"env": {"GECKO_HEAD_REV": "918d7c84da371bda26460fb4b50f161d32107880",
                            "GECKO_HEAD_REPOSITORY": "https://hg.mozilla.org/integration/autoland"}},
        "extra": {
            "parent": "XrWNyFwpT2in-wLY9frb-w", "suite": "mochitest-plain-chunked",
            "chunks": {"current": 3, "total": 16},
            "treeherder": {"machine": {"platform": "linux64"}, "collection": {"debug": true}, "groupSymbol": "M",
                           "symbol": "3", "tier": 2, "jobKind": "test"},
        },
    })
}

fn facts(definition: &Value) -> sheriffd::event::JobFacts {
    task::facts(definition.to_string()).expect("a definition")
}

fn name<T: AsRef<str>>(name: &Option<T>) -> Option<&str> {
    name.as_ref().map(AsRef::as_ref)
}

#[test]
fn a_definition_tells_which_tasks_it_waits_for() {
    let needs = |dependencies: Value| {
        let mut definition = definition();
        definition["dependencies"] = dependencies;
        facts(&definition).needs
    };
    let build = "ZyNAZZR0SmOcgqC_k_wqsQ";
    assert_eq!(needs(json!([build])), Some(vec![build.into()]));
    assert_eq!(needs(json!([])), Some(Vec::new()));
    assert_eq!(needs(json!({"build": build})), None, "of another form: not known");
}

#[test]
fn a_definition_tells_everything_a_rule_asks_for() {
    let facts = facts(&definition());
    assert_eq!(
        (name(&facts.project), facts.push),
        (Some("autoland"), Some(PushId(88554)))
    );
    assert_eq!(name(&facts.revision), Some("219d38523a321229f7f48aca6592f76b993fb1aa"));
    assert_eq!(
        (name(&facts.label), facts.tier),
        (Some("test-linux64/debug-mochitest-e10s-3"), Some(2))
    );
    assert_eq!(
        (facts.platform.as_deref(), facts.option.as_deref()),
        (Some("linux64"), Some("debug"))
    );
    assert_eq!(
        (facts.suite.as_deref(), facts.chunk),
        (Some("mochitest-plain"), Some(Chunk { current: 3, total: 16 }))
    );
    assert_eq!(
        (facts.symbol.as_deref(), facts.group_symbol.as_deref()),
        (Some("3"), Some("M"))
    );
    assert_eq!(
        facts.series().map(|series| series.to_string()).as_deref(),
        Some("test-linux64/debug-mochitest-e10s")
    );
    assert_eq!(facts.caused_by, CausedBy::Push);
}

#[test]
fn without_a_treeherder_route_the_environment_tells_the_revision_and_defaults_hold() {
    let mut definition = definition();
    definition["routes"] = json!(["checks"]);
    definition["extra"] = json!({});
    definition["tags"] = json!({});
    let facts = facts(&definition);
    assert_eq!(name(&facts.project), Some("autoland"));
    assert_eq!(name(&facts.revision), Some("918d7c84da371bda26460fb4b50f161d32107880"));
    assert_eq!(name(&facts.label), Some("test-linux64/debug-mochitest-e10s-3"));
    assert_eq!(
        (facts.platform.as_deref(), facts.option.as_deref()),
        (Some("t-linux-large"), Some("opt"))
    );
    assert_eq!(
        (facts.tier, facts.group_symbol.as_deref(), facts.push),
        (Some(1), Some("?"), None)
    );
    assert_eq!((facts.caused_by, facts.parent), (CausedBy::Push, None));
}

#[test]
fn of_several_repositories_the_head_is_not_guessed() {
    let mut definition = definition();
    definition["routes"] = json!([]);
    definition["metadata"]["source"] = json!("https://example.org/unknown");
    definition["payload"] = json!({"env": {"VPN_HEAD_REV": "a".repeat(40), "TASKGRAPH_HEAD_REV": "b".repeat(40)}});
    assert_eq!(name(&facts(&definition).revision), Some("a".repeat(40).as_str()));
    definition["payload"]["env"]["OTHER_HEAD_REV"] = json!("c".repeat(40));
    let facts = facts(&definition);
    assert_eq!((facts.revision, facts.project), (None, None));
}

#[test]
fn a_task_of_an_action_is_not_known_to_be_the_push_s() {
    let mut by_parent = definition();
    by_parent["extra"]["parent"] = json!("KnBj0KLcTjuyNaTxt5LVqw");
    let by_parent = facts(&by_parent);
    assert_eq!(
        (name(&by_parent.parent), by_parent.caused_by),
        (Some("KnBj0KLcTjuyNaTxt5LVqw"), CausedBy::Unknown)
    );
    let mut by_tag = definition();
    by_tag["tags"]["action"] = json!("backfill-task");
    let by_tag = facts(&by_tag);
    assert_eq!(
        (by_tag.action.as_deref(), by_tag.caused_by),
        (Some("backfill-task"), CausedBy::Unknown)
    );
    let mut itself = definition();
    itself["extra"]["action"] = json!({"name": "retrigger", "context": {}});
    let itself = facts(&itself);
    assert_eq!(
        (itself.action.as_deref(), itself.caused_by),
        (Some("retrigger"), CausedBy::Unknown)
    );
    for mark in ["symbol", "groupSymbol"] {
        let mut by_symbol = definition();
        by_symbol["extra"]["treeherder"][mark] = json!("M-f3a9c1-bk");
        assert_eq!(facts(&by_symbol).caused_by, CausedBy::Unknown, "{mark}");
    }
    let mut may_be_retriggered = definition();
    may_be_retriggered["tags"]["retrigger"] = json!("true");
    assert_eq!(facts(&may_be_retriggered).caused_by, CausedBy::Push);
}

#[test]
fn a_suite_of_one_part_is_not_chunked_and_older_forms_of_suite_are_read() {
    let mut definition = definition();
    definition["extra"]["chunks"] = json!({"current": 1, "total": 1});
    definition["extra"]["suite"] = json!({"name": "mochitest", "flavor": "browser-chrome-chunked"});
    let facts = facts(&definition);
    assert_eq!(
        (facts.chunk, facts.suite.as_deref()),
        (None, Some("mochitest-browser-chrome"))
    );
}

#[test]
fn every_recorded_definition_is_read() {
    for record in records("taskcluster/tasks.jsonl") {
        let record: Value = serde_json::from_str(&record).expect("JSON");
        let facts = facts(&record["task"]);
        let has_route = record["task"]["routes"].to_string().contains("tc-treeherder.v2");
        assert_eq!(
            facts.revision.is_some() && facts.project.is_some(),
            has_route || facts.revision.is_some()
        );
        let own_action = !record["task"]["extra"]["action"].is_null();
        assert_eq!(facts.caused_by == CausedBy::Unknown, own_action, "{}", record["source"]);
    }
}

#[test]
fn a_definition_that_is_none_is_refused() {
    for text in [
        &b"{}"[..],
        b"[]",
        b"null",
        b"",
        b"\xff",
        br#"{"metadata": {"name": 1}}"#,
    ] {
        assert!(task::facts(text).is_err());
    }
}

#[test]
fn json_pushes_of_both_versions_are_the_same_pushes_in_the_order_of_their_numbers() {
    let pushes = r#"{"9": {"changesets": ["aaaaaaaaaaaa", "b1b1b1b1b1b1"], "date": 1378287663, "user": "u@example.org"},
                     "10": {"changesets": [{"node": "cccccccccccc", "desc": "Backed out changeset b1b1b1b1b1b1",
                            "author": "u", "files": ["a/b"], "parents": ["b1b1b1b1b1b1"]}], "date": 1378290798},
                     "11": {"changesets": [], "date": 1378290799}}"#;
    let project = Project::from("autoland");
    let one = pushlog::pushes(pushes, &project).expect("version 1");
    let two = pushlog::pushes(&format!(r#"{{"lastpushid": 11, "pushes": {pushes}}}"#), &project).expect("version 2");
    assert_eq!(one, two);
    let numbers: Vec<_> = one.iter().map(|push| push.push.map(|id| id.0)).collect();
    assert_eq!(
        numbers,
        [Some(9), Some(10)],
        "the push whose changesets are hidden is left out"
    );
    assert_eq!(one[0].revision.as_str(), "b1b1b1b1b1b1");
    assert_eq!(one[1].changesets[0].backs_out(), ["b1b1b1b1b1b1"]);
    assert_eq!(pushlog::pushes(r#"{"pushes": {}}"#, &project), Ok(Vec::new()));
}

#[test]
fn every_recorded_push_has_its_head_as_its_last_changeset() {
    for file in [
        "hg/json-pushes.jsonl",
        "treeherder/pushes.jsonl",
        "treeherder/push-jobs-pushes.jsonl",
    ] {
        for record in records(file) {
            let pushes = pushlog::pushes(&record, &Project::from("elsewhere")).expect("a push");
            let [push] = pushes.as_slice() else {
                panic!("{file}: not one push")
            };
            let head = push.changesets.last().expect("a changeset");
            assert_eq!(&*head.node, push.revision.as_str(), "{file}");
            assert!(push.push.is_some() && push.at.is_some());
        }
    }
}

#[test]
fn a_failing_run_s_summary_names_each_failed_test_once_with_its_group() {
    let summary = error_summary(text("errorsummary/mochitest-browser-chrome_2_errorsummary.log").as_bytes());
    let signatures: Vec<_> = summary
        .signatures
        .iter()
        .map(|s| (s.group.as_deref(), &*s.test))
        .collect();
    let group = Some("browser/base/content/test/popups/browser.ini");
    assert_eq!(
        signatures,
        [
            (group, "browser/base/content/test/popups/browser_fullscreen.js"),
            (group, "browser/base/content/test/popups/browser_videoSelection.js"),
        ]
    );
    assert_eq!((summary.groups.len(), summary.bad_lines), (29, 0));
}

#[test]
fn a_run_cut_short_names_what_failed_but_no_group_that_ran() {
    let summary = error_summary(text("errorsummary/mochitest-browser-chrome_infra_errorsummary.log").as_bytes());
    assert_eq!(
        summary.signatures.iter().map(|s| &*s.test).collect::<Vec<_>>(),
        ["automation.py"]
    );
    assert!(summary.groups.is_empty());
}

#[test]
fn text_beyond_the_basic_plane_is_read_as_it_is() {
    let summary = error_summary(text("errorsummary/plain-chunked_errorsummary_astral.log").as_bytes());
    assert!(summary.signatures[0].test.ends_with(".html 🍆"));
}

#[test]
fn known_intermittents_expected_results_bad_lines_and_the_group_default_are_passed_over() {
    let log = br#"{"action": "test_result", "test": "known", "group": "g", "status": "FAIL", "known_intermittent": ["FAIL"]}
{"action": "test_result", "test": "expected", "group": "g", "status": "FAIL", "expected": "FAIL"}
{"action": "test_result", "test": "other status", "group": "g", "status": "CRASH", "known_intermittent": ["FAIL"]}
{"action": "test_result", "test": "no group", "group": "default", "status": "FAIL", "expected": "PASS", "known_intermittent": []}
{"action": "test_result", "test": "unexpected pass", "group": "h", "status": "PASS", "expected": "FAIL"}
{"action": "crash", "test": "t", "group": "g", "signature": "[@ mozilla::Crash]"}
{"action": "log", "level": "ERROR", "message": "nothing"}
{"action": "group_result", "group": "skipped", "status": "SKIP"}
{"action": "group_result", "group": "default", "status": "OK"}
{"action": "group_result", "group": "broken", "status": "ERROR"}
{"action": "test_res
"#;
    let mut log = log.to_vec();
    log.extend(b"\xff\xfe\n");
    let summary = error_summary(&log);
    let tests: Vec<_> = summary
        .signatures
        .iter()
        .map(|s| (s.group.as_deref(), &*s.test))
        .collect();
    assert_eq!(
        tests,
        [
            (None, "no group"),
            (Some("g"), "[@ mozilla::Crash]"),
            (Some("g"), "other status"),
            (Some("h"), "unexpected pass")
        ]
    );
    assert_eq!(
        summary.groups.iter().map(|g| &**g).collect::<Vec<_>>(),
        ["broken", "g", "h"]
    );
    assert_eq!(summary.bad_lines, 2);
}

#[test]
fn every_row_of_the_recorded_tables_is_read() {
    let mut table = String::new();
    for file in [
        "jobs-2013-04a",
        "jobs-2013-04b",
        "jobs-2013-06",
        "jobs-2013-11",
        "jobs-2025-02",
        "jobs-api",
        "job-map",
        "push-jobs-2013-11-22",
        "push-jobs-2014-04-15b",
    ] {
        for record in records(&format!("treeherder/{file}.jsonl")) {
            let row = job_row(&record, Some(&Project::from("asked-for")), &settings()).expect(file);
            let facts = &row.job.facts;
            table.push_str(&format!(
                "{file}: {} {} {} {} {} {} at {}\n",
                row.job.run,
                name(&facts.project).unwrap_or("-"),
                facts.push.map_or_else(
                    || name(&facts.revision).unwrap_or("-").to_owned(),
                    |push| push.to_string()
                ),
                name(&facts.label).unwrap_or("-"),
                row.job.state.as_str(),
                row.job.reason.as_deref().unwrap_or("-"),
                row.job.at,
            ));
        }
    }
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("job-tables", table);
    });
}

#[test]
fn a_coalesced_job_has_no_outcome_of_its_own() {
    let row = json!({"repository": "mozilla-inbound", "push_id": 24, "revision": "4c3a28d61f75",
        "push_timestamp": 1397593247,
        "platform": "linux64", "platform_option": "debug", "group_symbol": "M", "type_symbol": "1", "job_id": 6794,
        "state": "completed", "result": "success", "coalesced_to": "69017f069d04d0aeb534c0523fdc67a03ef66629"});
    let row = job_row(&row.to_string(), None, &settings()).expect("a row");
    assert_eq!(row.job.state, RunState::Finished(Outcome::Cancelled));
    assert_eq!(
        row.coalesced_to.as_deref(),
        Some("69017f069d04d0aeb534c0523fdc67a03ef66629")
    );
    assert_eq!(name(&row.job.facts.label), Some("linux64/debug M(1)"));
}

#[test]
fn a_task_graph_tells_labels_and_what_they_need() {
    let graph = json!({
        "build-linux64/opt": {"kind": "build", "label": "build-linux64/opt",
            "attributes": {}, "dependencies": {}, "task": {"payload": {}}},
        "test-linux64/opt-xpcshell-1": {"kind": "test", "label": "test-linux64/opt-xpcshell-1",
            "attributes": {"test_platform": "linux64/opt", "test_manifests": ["a/xpcshell.toml"]},
            "dependencies": {"build": "build-linux64/opt"}, "task": {}},
    });
    let graph = task_graph::full_task_graph(&graph.to_string()).expect("a graph");
    let test = &graph["test-linux64/opt-xpcshell-1"];
    assert_eq!(
        test.dependencies.iter().map(|label| label.as_str()).collect::<Vec<_>>(),
        ["build-linux64/opt"]
    );
    assert_eq!(
        (test.kind.as_deref(), test.test_platform.as_deref()),
        (Some("test"), Some("linux64/opt"))
    );
    assert_eq!(
        test.manifests.iter().map(|manifest| &**manifest).collect::<Vec<_>>(),
        ["a/xpcshell.toml"]
    );
    let tasks = task_graph::label_to_task_id(r#"{"build-linux64/opt": "A3dJ8bDIQRKzHiZBhM0c5Q"}"#).expect("tasks");
    assert_eq!(tasks["build-linux64/opt"].as_str(), "A3dJ8bDIQRKzHiZBhM0c5Q");
}

#[test]
fn a_recorded_line_is_the_message_it_was() {
    let line = r#"{"exchange": "exchange/x", "routingKey": null, "cc": ["route.a", "route.b"], "redelivered": true,
                   "payload": {"a": 1}}"#;
    let delivery = recorded::delivery(line, 7, None)
        .expect("a recording")
        .expect("a message");
    assert_eq!(
        (
            &*delivery.exchange,
            &*delivery.routing_key,
            delivery.redelivered,
            delivery.tag
        ),
        ("exchange/x", "", true, 7)
    );
    assert_eq!(
        delivery.cc.iter().map(|key| &**key).collect::<Vec<_>>(),
        ["route.a", "route.b"]
    );
    assert_eq!(&delivery.body[..], br#"{"a": 1}"#);
    assert_eq!(recorded::delivery(" \t", 1, None), Ok(None));
    let by_envelope = r#"{"message": {"payload": {},
        "_meta": {"exchange": "exchange/build/", "routing_key": "build.a.1.finished"}}}"#;
    let delivery = recorded::delivery(by_envelope, 1, Some("exchange/other"))
        .expect("a recording")
        .expect("a message");
    assert_eq!(
        (&*delivery.exchange, &*delivery.routing_key),
        ("exchange/build/", "build.a.1.finished")
    );
    for bad in [
        "[]",
        "{}",
        "nonsense",
        r#"{"exchange": "exchange/x"}"#,
        r#"{"payload": {}}"#,
    ] {
        assert!(recorded::delivery(bad, 1, None).is_err(), "{bad}");
    }
}
