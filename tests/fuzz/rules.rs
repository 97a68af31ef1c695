//! Rule files and their conditions; cases given to `sheriffd decide`.

use sheriffd::rules::{NoFacts, RuleSet, Tracing};

use crate::mutate::{mutated, pick};
use crate::{cases, corpus};

#[test]
fn rule_files() {
    let mut all = corpus("tests/check", ".yaml");
    all.extend(corpus("rules", ".yaml"));
    all.extend(corpus("tests/data/rules", ".yaml"));
    cases(
        "rules",
        6_000,
        |random| {
            let sound = pick(random, &all);
            let other = pick(random, &all);
            mutated(random, sound, other)
        },
        |case| {
            let text = String::from_utf8_lossy(case);
            match RuleSet::parse(&[("fuzz.yaml", &text)]) {
                Ok(_) => {}
                Err(diagnostics) => assert!(!diagnostics.to_string().is_empty()),
            }
        },
    );
}

/// Conditions, each a line.
const CONDITIONS: &str = r#"history.passed_before(event) && history.failure_rate(event, duration("14d")) < 0.02
event.label.matches("^test-(linux|windows)[0-9]+-64/(opt|debug)-.*$") || event.tier in [1, 2]
event.signatures.exists(s, s.test.startsWith("dom/") && !s.test.contains("\u00e9"))
!(event.push > 12 && event.push < 9223372036854775807) || event.platform == "linux64"
size(event.label) + 3 * (4 - 2) % 5 / 1 >= 0 ? true : event.option != "debug"
event.at.getHours("Europe/Berlin") >= 8 && event.at.getDayOfWeek("UTC") in [1, 2, 3, 4, 5]
event.signatures.all(s, s.group.endsWith(".toml")) && event.signatures.exists(s, s.test in ["a", "b"])
history.runs(event) > 3 && history.in_flight(event) == 0 && !history.failed_before(event)
((((((event.tier))))) < 3) == !!!false && -1 < -(-1) && 0.5e3 >= 1.0"#;

#[test]
fn conditions_are_read_and_evaluated_within_their_fuel() {
    let all: Vec<Vec<u8>> = CONDITIONS.lines().map(|line| line.as_bytes().to_vec()).collect();
    let events = events();
    cases(
        "conditions",
        12_000,
        |random| {
            let sound = pick(random, &all);
            let other = pick(random, &all);
            mutated(random, sound, other)
        },
        |case| {
            let condition = String::from_utf8_lossy(case).replace(['\n', '\r'], " ");
            let text = format!(
                "version: 1\nrules:\n  - name: fuzz\n    on: job.finished\n    match: {{ outcome: failed }}\n    when: '{}'\n    \
                 open: {{ kind: find-culprit, max_jobs: 1 }}\n",
                condition.replace('\'', "''")
            );
            if let Ok(rules) = RuleSet::parse(&[("fuzz.yaml", &text)]) {
                for event in &events {
                    for index in rules.candidates(event) {
                        rules.evaluate(index, event, &NoFacts, Tracing::On);
                    }
                }
            }
        },
    );
}

/// Recorded failures as events.
fn events() -> Vec<sheriffd::event::Event> {
    use sheriffd::event::BackendName;
    use sheriffd::wire::{DEFAULT_MAX_BODY, Decoded, WireSettings, decode, recorded};
    let settings = WireSettings {
        backend: BackendName::from("ci"),
        max_body: DEFAULT_MAX_BODY,
    };
    let mut events = Vec::new();
    for line in crate::lines("tests/data/pulse", "taskcluster-queue.jsonl") {
        let text = String::from_utf8(line).expect("recordings are UTF-8");
        let delivery = recorded::delivery(&text, 1, None)
            .expect("a recording")
            .expect("a message");
        if let Ok(Decoded::Events(read)) = decode(&delivery, &settings) {
            events.extend(read);
        }
    }
    assert!(!events.is_empty());
    events
}

#[test]
fn cases_given_to_decide() {
    let line = r#"{"id": "a", "kind": "find-culprit", "candidates": 8, "evidence": [{"push": 1, "passed": 1},
        {"push": 8, "failed": 1}], "params": {"confidence": 0.9, "parallel": 2, "max_jobs": 20, "round_price": 2.0}}"#
        .replace('\n', " ");
    cases(
        "decide",
        1_500,
        |random| mutated(random, line.as_bytes(), line.as_bytes()),
        |case| {
            let mut answers = Vec::new();
            let decided = sheriffd::decide::run(std::io::Cursor::new(case.to_vec()), &mut answers);
            if decided.is_ok() {
                assert!(std::str::from_utf8(&answers).is_ok());
            }
        },
    );
}
