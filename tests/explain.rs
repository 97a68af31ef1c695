//! `sheriffd explain`: events, cases and actions of a store, and recorded messages.

#[path = "common/command.rs"]
mod command;

use std::path::Path;
use std::sync::Arc;

use command::{errors, json, sheriffd, write_lines};
use serde_json::{Value, json as value};
use sheriffd::engine::settings::EngineSettings;
use sheriffd::engine::{Engine, Patience};
use sheriffd::event::{
    ActionKey, CaseId, CausedBy, Event, JobEvent, JobFacts, Outcome, PushEvent, PushId, RunKey, RunState, TaskId,
    Timestamp,
};
use sheriffd::rules::RuleSet;
use sheriffd::store::sqlite::SqliteStore;

const RULES: &str = "version: 1
rules:
  - name: backfill
    description: What used to pass is backfilled.
    on: job.finished
    match: { outcome: failed, project: autoland }
    when: history.passed_before(event) && event.tier < 3
    open: { kind: find-culprit, max_jobs: 40 }
    mode: live
  - name: elsewhere
    description: Another tree, and greens at that.
    on: job.finished
    match: { outcome: passed, project: mozilla-beta, kind: build }
    open: { kind: until-hit, max_jobs: 4 }
";
const START: Timestamp = Timestamp(1_780_000_000_000);

/// A run as a message with all facts would tell of it.
fn run(task: &str, label: &str, push: u64, outcome: Outcome) -> JobEvent {
    JobEvent {
        run: RunKey {
            backend: "tc".into(),
            task: task.into(),
            run: 0,
        },
        group: None,
        state: RunState::Finished(outcome),
        reason: None,
        latest: true,
        at: START,
        scheduled: None,
        started: None,
        resolved: None,
        worker: None,
        pool: None,
        facts: JobFacts {
            project: Some("autoland".into()),
            label: Some(label.into()),
            push: Some(PushId(push)),
            platform: Some("linux".into()),
            tier: Some(1),
            kind: Some("test".into()),
            caused_by: CausedBy::Push,
            ..JobFacts::default()
        },
    }
}

/// A folder with rules and a store, in which a failure opened C1, one of its requests was accepted and its run came.
struct Installation(tempfile::TempDir);

impl Installation {
    /// The failure has opened C1, and nobody was asked yet.
    fn decided(rules: &str, settings: EngineSettings) -> (Installation, Engine, SqliteStore) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("rules.yaml"), rules).unwrap();
        let rules = Arc::new(RuleSet::parse(&[("rules.yaml", rules)]).unwrap());
        let mut engine = Engine::new(rules, settings);
        let mut store = SqliteStore::open(&folder.path().join("sheriffd.db")).unwrap();
        let pushes = (1..=5).map(|push| {
            Event::Push(Box::new(PushEvent {
                project: "autoland".into(),
                push: Some(PushId(push)),
                revision: format!("{push:012}").into(),
                at: None,
                user: None,
                changesets: Vec::new(),
            }))
        });
        let job = |event: JobEvent| Event::Job(Box::new(event));
        let runs = [
            job(run("green", "L", 1, Outcome::Passed)),
            job(run("other", "X", 2, Outcome::Passed)),
            job(run("orange", "L", 4, Outcome::Failed)),
        ];
        store
            .transact(|books| engine.apply(books, pushes.chain(runs).collect(), Patience::Fresh, START))
            .unwrap();
        (Installation(folder), engine, store)
    }

    /// One of the requests was accepted, and its run came.
    fn new(settings: EngineSettings) -> Installation {
        let (installation, mut engine, mut store) = Installation::decided(RULES, settings);
        let key = ActionKey {
            case: CaseId(1),
            step: 1,
            slot: 1,
        };
        store
            .transact(|books| {
                assert!(books.begin_sending(key, "tc", 0, START, START)?);
                books.accepted(key, Some(&TaskId::from("receipt")), Some("https://ci.example/1"), START)
            })
            .unwrap();
        let mut ours = run("ours", "L", 2, Outcome::Passed);
        ours.facts.caused_by = CausedBy::Unknown;
        ours.facts.parent = Some("receipt".into());
        let ours = Event::Job(Box::new(ours));
        store
            .transact(|books| engine.apply(books, vec![ours], Patience::Fresh, START))
            .unwrap();
        installation
    }

    fn report(&self, arguments: &[&str]) -> Value {
        let store = self.0.path().join("sheriffd.db");
        let set = format!("--set=store.path={}", store.display());
        json(&[&["report", &set, "--since=3650d", "--format=json"], arguments].concat())
    }

    fn arguments(&self, arguments: &[&str]) -> Vec<String> {
        let path = |name: &str| self.0.path().join(name).display().to_string();
        let own = [
            "explain".to_owned(),
            format!("--set=store.path={}", path("sheriffd.db")),
            format!("--rules={}", path("rules.yaml")),
        ];
        let given = arguments.iter().map(|argument| (*argument).to_owned());
        own.into_iter().chain(given).collect()
    }

    fn explains(&self, arguments: &[&str]) -> Value {
        json(&self.arguments(&[arguments, &["--format=json"]].concat()))
    }

    fn says(&self, arguments: &[&str]) -> String {
        let output = sheriffd(&self.arguments(arguments));
        assert!(output.status.success(), "{}", errors(&output));
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn an_event_is_explained_by_each_clause_with_the_values_it_saw() {
    let installation = Installation::new(EngineSettings::default());
    let answer = installation.explains(&["orange/0"]);
    let decision = &answer["decisions"][0];
    assert_eq!(
        (decision["rule"].as_str(), decision["result"].as_str()),
        (Some("backfill"), Some("opened"))
    );
    assert_eq!(decision["case"], 1);
    let clauses: Vec<(&str, &str)> = decision["detail"]["clauses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|clause| {
            (
                clause["text"].as_str().unwrap(),
                clause["seen"][0]["value"].as_str().unwrap(),
            )
        })
        .collect();
    assert!(
        clauses.contains(&("history.passed_before(event)", "true")),
        "{clauses:?}"
    );
    assert!(clauses.contains(&("event.tier < 3", "1")), "{clauses:?}");
    let said = installation.says(&["orange"]);
    assert!(said.contains("last good push 1, first bad push 4"), "{said}");
}

#[test]
fn an_event_that_no_rule_looked_at_is_told_which_field_of_the_nearest_rules_said_no() {
    let installation = Installation::new(EngineSettings::default());
    let answer = installation.explains(&["other/0"]);
    assert_eq!(answer["decisions"], value!([]));
    let rules = &answer["unmatched"][0]["rules"];
    assert_eq!((&rules[0]["rule"], &rules[0]["no"]), (&value!("backfill"), &value!(1)));
    let clauses = rules[0]["clauses"].as_array().unwrap();
    let no: Vec<&Value> = clauses.iter().filter(|clause| clause["matched"] == "false").collect();
    assert_eq!(no.len(), 1);
    assert_eq!(
        no[0]["seen"][0],
        value!({ "what": "event.outcome", "value": "\"passed\"" })
    );
    // The history does not keep the kind: it is unknown, and neither yes nor no.
    let elsewhere = rules[1]["clauses"].as_array().unwrap();
    let kind = elsewhere
        .iter()
        .find(|clause| clause["seen"][0]["what"] == "event.kind")
        .unwrap();
    assert_eq!(kind["matched"], "unknown");
    let said = installation.says(&["other/0"]);
    assert!(
        said.contains("rule backfill: one field of its `match` said no"),
        "{said}"
    );
}

#[test]
fn a_sample_of_events_that_no_rule_looked_at_is_kept_with_all_its_facts() {
    let everything = EngineSettings {
        sample: 1.0,
        ..EngineSettings::default()
    };
    let installation = Installation::new(everything);
    let answer = installation.explains(&["other/0"]);
    let rules = answer["unmatched"][0]["rules"].as_array().unwrap();
    let elsewhere = rules.iter().find(|rule| rule["rule"] == "elsewhere").unwrap();
    let clauses = elsewhere["clauses"].as_array().unwrap();
    let kind = clauses
        .iter()
        .find(|clause| clause["seen"][0]["what"] == "event.kind")
        .unwrap();
    assert_eq!(
        (&kind["matched"], &kind["seen"][0]["value"]),
        (&value!("false"), &value!("\"test\""))
    );
    // Pushes are few: each is kept, and once.
    let answer = installation.explains(&["push/autoland/3"]);
    let events = answer["unmatched"].as_array().unwrap();
    assert_eq!(events.len(), 1, "{answer}");
    let said = installation.says(&["push/autoland/3"]);
    assert!(
        said.contains("kept as a sample of events that no rule looked at"),
        "{said}"
    );
}

#[test]
fn a_case_is_explained_by_its_rule_evidence_numbers_requests_receipts_and_runs() {
    let installation = Installation::new(EngineSettings::default());
    let answer = installation.explains(&["C1"]);
    assert_eq!(answer["decisions"][0]["event"], "orange/0");
    let version = RuleSet::parse(&[("rules.yaml", RULES)]).unwrap().version().to_owned();
    let action = &answer["actions"][0];
    assert_eq!(action["ruleVersion"], value!(version));
    assert_eq!(
        (&action["state"], &action["receipt"]),
        (&value!("accepted"), &value!("receipt"))
    );
    assert_eq!(action["runs"][0]["run"], "ours/0");
    assert_eq!(action["runs"][0]["state"], "passed");
    let of_push = |push: u64| {
        let evidence = answer["evidence"].as_array().unwrap();
        evidence.iter().find(|row| row["push"] == push).unwrap().clone()
    };
    assert_eq!(
        (of_push(2)["passed"].as_u64(), of_push(4)["failed"].as_u64()),
        (Some(1), Some(1))
    );
    let numbers = answer["numbers"].as_array().unwrap();
    let sum: f64 = numbers
        .iter()
        .filter(|number| number["what"].as_str().unwrap().starts_with("P("))
        .map(|number| number["value"].as_f64().unwrap())
        .sum();
    assert!((sum - 1.0).abs() < 0.05, "the posterior is whole: {numbers:?}");
    let said = installation.says(&["C1"]);
    for fact in [
        "by rule backfill in version",
        "P(culprit is push 4)",
        "C1.1.1 L on push 2 x1: accepted",
        "run ours/0: passed",
    ] {
        assert!(said.contains(fact), "{fact} is not in:\n{said}");
    }
}

#[test]
fn an_action_is_explained_by_its_case_receipt_and_runs() {
    let installation = Installation::new(EngineSettings::default());
    let said = installation.says(&["C1.1.1"]);
    for fact in [
        "accepted",
        "receipt receipt",
        "run ours/0: passed",
        "rule        backfill in version",
        "sheriffd explain C1",
    ] {
        assert!(said.contains(fact), "{fact} is not in:\n{said}");
    }
    for nothing in ["C9", "C1.9.9", "no-such-task/0"] {
        let output = sheriffd(&installation.arguments(&[nothing]));
        assert_eq!(output.status.code(), Some(1), "{nothing}");
        assert!(
            errors(&output).contains(nothing.trim_end_matches("/0")),
            "{}",
            errors(&output)
        );
    }
}

#[test]
fn a_recorded_message_is_explained_with_recorded_facts_and_needs_no_store() {
    let data = |name: &str| Path::new("tests/rule_tests").join(name).display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.yaml");
    let text = RULES.replace(
        "outcome: failed, project: autoland",
        "project: autoland, outcome: passed, chunk: 8",
    );
    std::fs::write(&rules, text.replace("mozilla-beta", "autoland")).unwrap();
    let arguments = [
        "explain".to_owned(),
        format!("--file={}", data("recorded-message.json")),
        format!("--tasks={}", data("recorded-task.jsonl")),
        format!("--rules={}", rules.display()),
        "--format=json".to_owned(),
    ];
    let answer = json(&arguments);
    let decision = &answer["decisions"][0];
    // Nothing passed before in a history that is empty.
    assert_eq!(
        (&decision["rule"], &decision["result"]),
        (&value!("backfill"), &value!("condition-false"))
    );
}

#[test]
fn a_recorded_message_that_no_rule_is_for_is_told_what_said_no() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.yaml");
    std::fs::write(&rules, RULES).unwrap();
    let message = value!({
        "exchange": "exchange/hgpushes/v1", "routingKey": "try",
        "payload": { "heads": ["0123456789ab"], "pushlog_pushes": [{ "pushid": 7 }] },
    });
    let file = write_lines(folder.path(), "push.jsonl", [message]);
    let output = sheriffd(&[
        "explain",
        "--file",
        file.to_str().unwrap(),
        "--rules",
        rules.to_str().unwrap(),
    ]);
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{}", errors(&output));
    assert!(said.contains("no rule's `match` lets this through"), "{said}");
    assert!(
        said.contains("push.created") && said.contains("no rule looks at such events"),
        "{said}"
    );
}

#[test]
fn a_report_says_what_live_rules_asked_for_and_what_rules_in_shadow_would_have() {
    let (live, ..) = Installation::decided(RULES, EngineSettings::default());
    let report = live.report(&[]);
    let rule = &report["rules"][0];
    assert_eq!(
        (&rule["rule"], &rule["shadow"]),
        (&value!("backfill"), &value!(false)),
        "{report}"
    );
    assert_eq!(
        (&rule["cases"], &rule["jobs"], &rule["verdicts"]["open"]),
        (&value!(1), &value!(2), &value!(1))
    );
    let cost = value!({ "day": "2026-05-28", "platform": "linux", "left": 2, "right": 0 });
    assert_eq!(report["costs"], value!([cost]));
    assert_eq!(live.report(&["--shadow"])["rules"], value!([]), "nothing is in shadow");

    let (shadow, ..) = Installation::decided(&RULES.replace("mode: live", "mode: shadow"), EngineSettings::default());
    let report = shadow.report(&["--shadow", "--rule=backfill"]);
    assert_eq!(
        (&report["rules"][0]["shadow"], &report["rules"][0]["jobs"]),
        (&value!(true), &value!(2)),
        "{report}"
    );
    let cost = value!({ "day": "2026-05-28", "platform": "linux", "left": 0, "right": 2 });
    assert_eq!(report["costs"], value!([cost]));
    assert_eq!(shadow.report(&["--rule=other"])["rules"], value!([]));
}
