//! The contract, line by line: what `docs/decide.md` promises.

use std::io::{self, BufRead, BufReader, Cursor, Write};
use std::thread;

use serde_json::{Value, json};

use super::{Summary, run, schema};

/// The answers to these lines, and the summary.
pub(super) fn answers(input: &str) -> (Vec<Value>, Summary) {
    let mut output = Vec::new();
    let summary = run(Cursor::new(input.to_owned()), &mut output).unwrap();
    let text = String::from_utf8(output).unwrap();
    (
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        summary,
    )
}

pub(super) fn answer(line: Value) -> Value {
    let (answers, _) = answers(&format!("{line}\n"));
    assert_eq!(answers.len(), 1);
    answers.into_iter().next().unwrap()
}

fn error(line: Value) -> String {
    let answer = answer(line);
    answer["error"]
        .as_str()
        .unwrap_or_else(|| panic!("no error in {answer}"))
        .to_owned()
}

/// One line of each kind with every key that the contract knows.
fn full_lines() -> Vec<Value> {
    vec![
        json!({"kind": "find-culprit", "candidates": 128, "runnable": [1, 2, 64, 80, 128], "prior": vec![1.0; 128],
            "no_culprit_prior": 0.4, "history": {"failed": 2, "passed": 198}, "tail": {"failed": 4, "passed": 16},
            "rates": {"p0": 0.01, "p1": 0.2}, "evidence": [{"push": 64, "failed": 1, "passed": 3, "pending": 2}],
            "params": {"confidence": 0.95, "parallel": 8, "round_price": 4, "max_jobs": 300, "min_rate": 0.05},
            "seed": 1}),
        json!({"kind": "until-hit", "evidence": {"failed": 0, "passed": 6, "pending": 0},
            "history": {"failed": 0, "passed": 0},
            "params": {"confidence": 0.95, "rate": 0.02, "round_price": 1, "max_jobs": 100}}),
        json!({"kind": "validate", "evidence": [{"platform": "linux", "failed": 0, "passed": 10, "pending": 0}],
            "params": {"ok_rate": 0.002, "bad_rate": 0.05, "alpha": 0.01, "beta": 0.05, "parallel": 6,
                "max_jobs": 400}}),
        json!({"kind": "find-perf-culprit", "candidates": 16, "history": [100.0, 101.0, 99.5], "tail": [110.0, 111.0],
            "evidence": [{"push": 3, "values": [101.2, 99.8], "pending": 0}],
            "params": {"confidence": 0.95, "min_shift": 0.02, "parallel": 1, "max_jobs": 500}, "seed": 1}),
        json!({"kind": "baseline", "previous": [100.0, 101.0, 99.0], "values": [105.0, 106.0], "pending": 1,
            "params": {"precision": 0.01, "confidence": 0.95, "max_jobs": 200}}),
    ]
}

#[test]
fn every_kind_answers_its_full_line_with_runs_and_no_verdict() {
    for line in full_lines() {
        let answer = answer(line.clone());
        assert_eq!(answer["verdict"], Value::Null, "{line}");
        assert!(!answer["run"].as_array().unwrap().is_empty(), "{line}: {answer}");
        assert!(answer["why"].as_str().is_some_and(|why| !why.is_empty()));
    }
}

#[test]
fn everything_optional_can_be_left_out() {
    for line in [
        json!({"kind": "find-culprit", "candidates": 8}),
        json!({"kind": "until-hit"}),
        json!({"kind": "validate", "evidence": [{"platform": "linux"}]}),
        json!({"kind": "find-perf-culprit", "candidates": 8}),
        json!({"kind": "baseline"}),
    ] {
        let answer = answer(line.clone());
        assert!(!answer["run"].as_array().unwrap().is_empty(), "{line}: {answer}");
    }
}

#[test]
fn an_unknown_key_is_an_error_wherever_it_stands() {
    for line in full_lines() {
        let mut odd = line.clone();
        odd["extra"] = json!(1);
        assert!(error(odd).contains("unknown field `extra`"));
        let mut odd = line.clone();
        odd["params"]["extra"] = json!(1);
        assert!(error(odd).contains("unknown field `extra`"));
        let mut odd = line;
        match odd["evidence"].is_array() {
            true => odd["evidence"][0]["extra"] = json!(1),
            false => odd["evidence"]["extra"] = json!(1),
        }
        assert!(error(odd).contains("unknown field `"));
    }
    for (line, key) in [(0, "history"), (0, "tail"), (0, "rates"), (1, "history")] {
        let mut odd = full_lines()[line].clone();
        odd[key]["extra"] = json!(1);
        assert!(error(odd).contains("unknown field `extra`"), "{key}");
    }
}

#[test]
fn a_key_given_twice_is_an_error() {
    let (answers, _) = answers(r#"{"kind":"find-culprit","candidates":8,"candidates":9}"#);
    assert!(
        answers[0]["error"]
            .as_str()
            .unwrap()
            .contains("duplicate field `candidates`"),
        "{answers:?}"
    );
}

#[test]
fn six_passes_into_a_hunt_six_more_are_asked_for() {
    let line = json!({"kind": "until-hit", "evidence": {"failed": 0, "passed": 6},
        "params": {"confidence": 0.95, "rate": 0.02, "round_price": 1, "max_jobs": 100}});
    let answer = answer(line);
    assert_eq!(
        (&answer["run"], &answer["verdict"]),
        (&json!([{"times": 6}]), &Value::Null)
    );
}

#[test]
fn a_search_with_nothing_to_run_ends_and_one_with_all_pending_waits() {
    let all: Vec<Value> = (1..=8).map(|push| json!({"push": push, "pending": 1})).collect();
    let waiting = answer(json!({"kind": "find-culprit", "candidates": 8, "evidence": all}));
    assert_eq!((&waiting["run"], &waiting["verdict"]), (&json!([]), &Value::Null));
    let stuck = answer(json!({"kind": "find-culprit", "candidates": 8, "runnable": []}));
    assert_eq!(stuck["verdict"]["kind"], "undecided");
    let alone = answer(
        json!({"kind": "find-culprit", "candidates": 1, "history": {"passed": 200},
        "evidence": [{"push": 1, "failed": 3}]}),
    );
    assert_eq!(alone["verdict"]["pushes"], json!([1]));
}

#[test]
fn what_is_not_worth_finding_is_no_culprit() {
    // One orange on a young history, and nothing since.
    let line = |min_rate: f64| {
        json!({"kind": "find-culprit", "candidates": 12, "history": {"passed": 6},
            "evidence": [{"push": 12, "failed": 1, "passed": 24}], "params": {"min_rate": min_rate}})
    };
    assert_eq!(answer(line(0.0))["verdict"], Value::Null);
    assert_eq!(answer(line(0.3))["verdict"]["kind"], "no-culprit");
}

#[test]
fn a_bad_line_is_answered_in_its_place_and_the_rest_goes_on() {
    let good = json!({"kind": "until-hit"}).to_string();
    let input = format!("{good}\nnot json\n\n{{\"kind\":\"dance\"}}\n{good}");
    let (answers, summary) = answers(&input);
    assert_eq!(summary, Summary { decided: 2, refused: 2 });
    assert_eq!(
        answers[1],
        json!({"error": "not a request: expected ident (column 2)", "line": 2})
    );
    assert_eq!(answers[2]["line"], 4);
    assert_eq!(
        answers[2]["error"],
        "`kind` is `dance`, but must be one of find-culprit, until-hit, validate, find-perf-culprit, baseline"
    );
    assert_eq!(answers[0], answers[3]);
}

#[test]
fn a_line_without_end_is_refused_and_skipped() {
    let long = " ".repeat(5 << 20);
    let (answers, summary) = answers(&format!("{long}\n{}\n", json!({"kind": "until-hit"})));
    assert_eq!(summary, Summary { decided: 1, refused: 1 });
    assert_eq!(
        answers[0],
        json!({"error": "the line is longer than 4194304 bytes", "line": 1})
    );
}

#[test]
fn numbers_out_of_range_are_refused_with_their_range() {
    let line = json!({"kind": "find-culprit", "candidates": 8, "evidence": [{"push": 9}]});
    assert_eq!(
        error(line),
        "push 9 is none of the candidates: they are numbered 1 to 8"
    );
    let line = json!({"kind": "until-hit", "params": {"rate": 0}});
    assert_eq!(error(line), "`rate` is 0, but must be over 0 and under 1");
    let line = json!({"kind": "validate", "evidence": []});
    assert_eq!(error(line), "0 platforms are named, but there must be 1 to 1000");
    let line = json!({"kind": "baseline", "params": {"precision": 2}});
    assert_eq!(error(line), "`precision` is 2, but must be 0.000001 to 1");
    let line = json!({"kind": "find-culprit", "candidates": 8, "evidence": [{"push": 1, "failed": -1}]});
    assert!(error(line).starts_with("not a request: invalid value: integer `-1`, expected u32 (column "));
}

#[test]
fn a_culprit_is_named_with_its_probability() {
    let line = json!({"kind": "find-culprit", "candidates": 4, "history": {"passed": 100}, "tail": {"failed": 10},
        "evidence": [{"push": 2, "passed": 3}, {"push": 3, "failed": 3}]});
    let answer = answer(line);
    assert_eq!(answer["run"], json!([]));
    assert_eq!(answer["verdict"]["kind"], "culprit");
    assert_eq!(answer["verdict"]["pushes"], json!([3]));
    assert!(answer["verdict"]["probability"].as_f64().unwrap() > 0.95);
    let posterior = &answer["posterior"];
    let masses = posterior["pushes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|push| push["mass"].as_f64().unwrap());
    let sum = masses.sum::<f64>() + posterior["no_culprit"].as_f64().unwrap();
    assert!((sum - 1.0).abs() < 1e-5, "{sum}");
}

#[test]
fn a_failure_as_frequent_before_as_after_has_no_culprit() {
    let line = json!({"kind": "find-culprit", "candidates": 16, "history": {"failed": 40, "passed": 60},
        "tail": {"failed": 8, "passed": 12}});
    assert_eq!(answer(line)["verdict"]["kind"], "no-culprit");
}

#[test]
fn a_spent_budget_is_undecided_and_names_who_is_left() {
    let line = json!({"kind": "find-culprit", "candidates": 16, "history": {"passed": 50}, "tail": {"failed": 9},
        "evidence": [{"push": 8, "failed": 2}], "params": {"max_jobs": 2}});
    let verdict = &answer(line)["verdict"];
    assert_eq!(verdict["kind"], "undecided");
    assert!(!verdict["pushes"].as_array().unwrap().is_empty());
}

#[test]
fn a_hunt_ends_with_a_hit_or_with_not_reproducible() {
    let hit = answer(json!({"kind": "until-hit", "evidence": {"failed": 1, "passed": 3, "pending": 2}}));
    assert_eq!((&hit["run"], &hit["verdict"]), (&json!([]), &json!({"kind": "hit"})));
    let not = answer(json!({"kind": "until-hit", "evidence": {"passed": 60}}));
    assert_eq!(
        not["verdict"],
        json!({"kind": "not-reproducible", "rate_below": 0.02, "confidence": 0.95})
    );
}

#[test]
fn a_new_test_is_stable_flaky_or_broken_on_the_platforms_named() {
    let verdict = |failed: u32, passed: u32| {
        let linux = json!({"platform": "linux", "failed": failed, "passed": passed});
        answer(json!({"kind": "validate", "evidence": [linux]}))["verdict"].clone()
    };
    assert_eq!(verdict(0, 61)["kind"], "stable");
    assert_eq!(verdict(3, 9)["kind"], "flaky");
    assert_eq!(verdict(6, 0)["kind"], "broken");
    assert_eq!(verdict(6, 0)["platforms"], json!(["linux"]));
    assert_eq!(verdict(6, 0)["rate"]["high"], 1.0);
}

#[test]
fn a_perf_culprit_is_named_with_the_interval_of_its_shift() {
    let line = json!({"kind": "find-perf-culprit", "candidates": 3, "history": [100, 101, 99, 100, 100.5, 99.5],
        "tail": [110, 111], "evidence": [{"push": 1, "values": [100, 100.4]}, {"push": 2, "values": [110.2, 110.5]}]});
    let verdict = &answer(line)["verdict"];
    assert_eq!((&verdict["kind"], &verdict["pushes"]), (&json!("culprit"), &json!([2])));
    let (low, high) = (
        verdict["shift"]["low"].as_f64().unwrap(),
        verdict["shift"]["high"].as_f64().unwrap(),
    );
    assert!(low > 0.05 && high < 0.16, "{low} {high}");
}

#[test]
fn a_baseline_is_established_with_mean_half_width_and_number() {
    let values: Vec<f64> = (0..8).map(|i| 100.0 + 0.1 * f64::from(i)).collect();
    let verdict = &answer(json!({"kind": "baseline", "values": values}))["verdict"];
    assert_eq!((&verdict["kind"], &verdict["n"]), (&json!("established"), &json!(8)));
    assert!((verdict["mean"].as_f64().unwrap() - 100.35).abs() < 1e-9);
    assert!(verdict["half_width"].as_f64().unwrap() < 1.0);
}

#[test]
fn the_schema_accepts_what_is_accepted_and_describes_every_answer() {
    let schema = schema();
    let requests = jsonschema::validator_for(&schema).unwrap();
    let mut of_answers = schema.clone();
    of_answers["oneOf"] = json!([{ "$ref": "#/definitions/answer" }]);
    let replies = jsonschema::validator_for(&of_answers).unwrap();
    for line in full_lines() {
        assert!(requests.is_valid(&line), "{line}");
        let reply = answer(line.clone());
        assert!(replies.is_valid(&reply), "{reply}");
        let mut odd = line;
        odd["extra"] = json!(1);
        assert!(!requests.is_valid(&odd), "{odd}");
        assert!(replies.is_valid(&answer(odd)));
    }
    for line in [
        json!({"kind": "until-hit", "evidence": {"failed": 1}}),
        json!({"kind": "validate", "evidence": [{"platform": "linux", "failed": 6}]}),
        json!({"kind": "find-culprit", "candidates": 4, "params": {"max_jobs": 0}}),
        json!({"kind": "find-perf-culprit", "candidates": 4, "params": {"max_jobs": 0}}),
        json!({"kind": "baseline", "params": {"max_jobs": 0}}),
    ] {
        let reply = answer(line);
        assert!(reply["verdict"].is_object() && replies.is_valid(&reply), "{reply}");
    }
}

#[test]
fn the_examples_of_the_documentation_are_answered() {
    let text = include_str!("../../../docs/decide.md");
    let blocks: Vec<String> = text
        .split("```json")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .map(|block| block.lines().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(blocks.len(), 5);
    let (answers, summary) = answers(&blocks.join("\n"));
    assert_eq!(summary, Summary { decided: 5, refused: 0 }, "{answers:?}");
}

#[test]
fn answers_stand_in_the_order_of_the_lines_however_many_there_are() {
    let line = |n: usize| match n % 7 {
        0 => "nonsense\n".to_owned(),
        _ => format!("{}\n", json!({"kind": "find-culprit", "candidates": n})),
    };
    let input: String = (1..=300).map(line).collect();
    let (answers, summary) = answers(&input);
    assert_eq!((summary.decided, summary.refused), (258, 42));
    for (index, answer) in answers.iter().enumerate() {
        match (index + 1) % 7 {
            0 => assert_eq!(answer["line"], index + 1, "{answer}"),
            _ => assert_eq!(answer["posterior"]["pushes"].as_array().map(Vec::len), Some(index + 1)),
        }
    }
}

#[test]
fn who_waits_for_an_answer_before_writing_the_next_line_gets_it() {
    let (questions, mut ask) = io::pipe().unwrap();
    let (replies, tell) = io::pipe().unwrap();
    let command = thread::spawn(move || run(BufReader::new(questions), tell).unwrap());
    let mut replies = BufReader::new(replies).lines();
    for candidates in [3, 5] {
        writeln!(ask, "{}", json!({"kind": "find-culprit", "candidates": candidates})).unwrap();
        let reply: Value = serde_json::from_str(&replies.next().unwrap().unwrap()).unwrap();
        assert_eq!(reply["posterior"]["pushes"].as_array().map(Vec::len), Some(candidates));
    }
    drop(ask);
    assert_eq!(command.join().unwrap().decided, 2);
}
