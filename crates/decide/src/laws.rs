//! Laws of the contract: whatever a line holds within the ranges stated, its answer is one of finite numbers.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::schema;
use super::tests::{answer, answers};

/// Lines a law is tried on, for each kind.
const CASES: u32 = 48;

fn count() -> impl Strategy<Value = u32> {
    prop_oneof![3 => 0u32..4, 2 => 0u32..300, 2 => 0u32..=1_000_000, 1 => Just(u32::MAX)]
}

fn runs() -> impl Strategy<Value = Value> {
    (count(), count()).prop_map(|(failed, passed)| json!({"failed": failed, "passed": passed}))
}

/// A number from `low` to `high`, often one of them.
fn number(low: f64, high: f64) -> impl Strategy<Value = f64> {
    prop_oneof![2 => low..=high, 1 => Just(low), 1 => Just(high)]
}

fn integer(low: u32, high: u32) -> impl Strategy<Value = u32> {
    prop_oneof![2 => low..=high, 1 => Just(low), 1 => Just(high)]
}

/// An object of some of these keys: each may be left out.
fn some(keys: Vec<(&'static str, BoxedStrategy<Value>)>) -> impl Strategy<Value = Map<String, Value>> {
    let one = |(key, value): (&'static str, BoxedStrategy<Value>)| {
        proptest::option::of(value).prop_map(move |value| (key.to_owned(), value))
    };
    let pairs: Vec<_> = keys.into_iter().map(one).collect();
    pairs.prop_map(|pairs| {
        let given = pairs.into_iter().filter_map(|(key, value)| Some((key, value?)));
        given.collect()
    })
}

fn json_of<T: Into<Value> + std::fmt::Debug + 'static>(
    values: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Value> {
    values.prop_map(Into::into).boxed()
}

fn with(mut line: Value, keys: Map<String, Value>) -> Value {
    if let Some(object) = line.as_object_mut() {
        object.extend(keys);
    }
    line
}

fn find_culprit() -> impl Strategy<Value = Value> {
    let candidates = prop_oneof![4 => 1usize..24, 1 => Just(128), 1 => 1_000usize..1_100];
    candidates.prop_flat_map(|n| {
        let push = || 1..=n;
        let evidence = (push(), count(), count(), count()).prop_map(|(push, failed, passed, pending)| {
            json!({"push": push, "failed": failed, "passed": passed, "pending": pending})
        });
        let mass = prop_oneof![Just(0.0), Just(1e-300), Just(1e300), 0.0f64..=1.0];
        // Not all of them 0, and their sum finite.
        let prior =
            proptest::collection::vec(mass, n).prop_filter("a prior", |prior| prior.iter().sum::<f64>().is_normal());
        let rates = (number(0.0, 1.0), number(0.0, 1.0)).prop_map(|(p0, p1)| json!({"p0": p0, "p1": p1}));
        let params = some(vec![
            ("confidence", json_of(number(0.5, 0.9999))),
            ("parallel", json_of(integer(1, 16))),
            ("round_price", json_of(number(0.0, 1_000.0))),
            ("max_jobs", json_of(integer(0, u32::MAX))),
            ("min_rate", json_of(number(0.0, 0.9))),
        ]);
        let keys = some(vec![
            ("runnable", json_of(proptest::collection::vec(push(), 0..6))),
            ("prior", json_of(prior)),
            ("no_culprit_prior", json_of(number(0.0, 0.9999))),
            ("history", runs().boxed()),
            ("tail", runs().boxed()),
            ("rates", rates.boxed()),
            ("evidence", json_of(proptest::collection::vec(evidence, 0..10))),
            ("params", json_of(params.prop_map(Value::Object))),
            ("seed", json_of(any::<u64>())),
        ]);
        keys.prop_map(move |keys| with(json!({"kind": "find-culprit", "candidates": n}), keys))
    })
}

fn until_hit() -> impl Strategy<Value = Value> {
    let evidence = some(vec![
        ("failed", json_of(prop_oneof![Just(0u32), count()])),
        ("passed", json_of(count())),
        ("pending", json_of(count())),
    ]);
    let params = some(vec![
        ("confidence", json_of(number(0.5, 0.9999))),
        ("rate", json_of(number(1e-6, 0.999_999))),
        ("round_price", json_of(number(0.0, 1_000.0))),
        // The optimum takes time in proportion; what is to hold does not depend on it.
        ("max_jobs", json_of(integer(0, 200))),
    ]);
    some(vec![
        ("evidence", json_of(evidence.prop_map(Value::Object))),
        ("history", runs().boxed()),
        ("params", json_of(params.prop_map(Value::Object))),
    ])
    .prop_map(|keys| with(json!({"kind": "until-hit"}), keys))
}

fn validate() -> impl Strategy<Value = Value> {
    let platform = (0u32..5, count(), count(), count()).prop_map(|(platform, failed, passed, pending)| {
        json!({"platform": format!("p{platform}"), "failed": failed, "passed": passed, "pending": pending})
    });
    // `ok_rate` must be under `bad_rate`.
    let params = (
        number(1e-300, 0.001),
        number(0.002, 0.999_999),
        some(vec![
            ("alpha", json_of(number(1e-300, 0.499))),
            ("beta", json_of(number(1e-300, 0.499))),
            ("parallel", json_of(integer(1, 1_000))),
            ("max_jobs", json_of(integer(0, u32::MAX))),
        ]),
    );
    (proptest::collection::vec(platform, 1..8), params).prop_map(|(evidence, (ok, bad, others))| {
        let params = with(json!({"ok_rate": ok, "bad_rate": bad}), others);
        json!({"kind": "validate", "evidence": evidence, "params": params})
    })
}

fn values(most: usize) -> BoxedStrategy<Value> {
    let value = prop_oneof![
        4 => 90.0f64..110.0, 1 => Just(0.0), 1 => Just(100.0), 1 => -1e100f64..=1e100, 1 => -1e-300f64..=1e-300,
        1 => Just(1e100), 1 => Just(-1e100),
    ];
    prop_oneof![
        json_of(proptest::collection::vec(value, 0..most)),
        json_of(proptest::collection::vec(90.0f64..110.0, 0..most)),
        json_of(proptest::collection::vec(Just(100.0), 0..most)),
    ]
    .boxed()
}

fn find_perf_culprit() -> impl Strategy<Value = Value> {
    (1usize..12).prop_flat_map(|n| {
        let evidence = (1..=n, values(4), 0u32..3)
            .prop_map(|(push, values, pending)| json!({"push": push, "values": values, "pending": pending}));
        let params = some(vec![
            ("confidence", json_of(number(0.5, 0.9999))),
            ("min_shift", json_of(number(0.0001, 0.5))),
            ("parallel", json_of(integer(1, 4))),
            ("max_jobs", json_of(integer(0, u32::MAX))),
        ]);
        some(vec![
            ("history", values(60)),
            ("tail", values(6)),
            ("evidence", json_of(proptest::collection::vec(evidence, 0..6))),
            ("params", json_of(params.prop_map(Value::Object))),
            ("seed", json_of(any::<u64>())),
        ])
        .prop_map(move |keys| with(json!({"kind": "find-perf-culprit", "candidates": n}), keys))
    })
}

fn baseline() -> impl Strategy<Value = Value> {
    let params = some(vec![
        ("precision", json_of(number(1e-6, 1.0))),
        ("confidence", json_of(number(0.5, 0.9999))),
        ("max_jobs", json_of(integer(0, u32::MAX))),
    ]);
    some(vec![
        ("previous", values(40)),
        ("values", values(40)),
        ("pending", json_of(count())),
        ("params", json_of(params.prop_map(Value::Object))),
    ])
    .prop_map(|keys| with(json!({"kind": "baseline"}), keys))
}

/// NaN and infinity are written as `null`: there is none but where the contract has one.
fn has_stray_null(value: &Value, baseline: bool) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(|item| has_stray_null(item, baseline)),
        Value::Object(keys) => keys.iter().any(|(key, value)| match (key.as_str(), value) {
            ("verdict", Value::Null) => false,
            ("mean" | "half_width", Value::Null) if baseline => false,
            _ => has_stray_null(value, baseline),
        }),
        _ => false,
    }
}

fn holds(line: Value) -> Result<(), TestCaseError> {
    let answer = answer(line.clone());
    prop_assert!(answer["error"].is_null(), "{line}: {answer}");
    prop_assert!(!has_stray_null(&answer, line["kind"] == "baseline"), "{line}: {answer}");
    let why = answer["why"].as_str().unwrap_or_default();
    prop_assert!(!why.contains("NaN") && !why.contains("inf"), "{line}: {why}");
    let asks = answer["run"].as_array().map_or(0, Vec::len);
    prop_assert!(
        answer["verdict"].is_null() || asks == 0,
        "a verdict, and runs: {answer}"
    );
    let requests = jsonschema::validator_for(&schema()).unwrap();
    prop_assert!(requests.is_valid(&line), "answered, but not of the schema: {line}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_find_culprit_line_is_answered_in_finite_numbers(line in find_culprit()) { holds(line)?; }

    #[test]
    fn any_until_hit_line_is_answered_in_finite_numbers(line in until_hit()) { holds(line)?; }

    #[test]
    fn any_validate_line_is_answered_in_finite_numbers(line in validate()) { holds(line)?; }

    #[test]
    fn any_find_perf_culprit_line_is_answered_in_finite_numbers(line in find_perf_culprit()) { holds(line)?; }

    #[test]
    fn any_baseline_line_is_answered_in_finite_numbers(line in baseline()) { holds(line)?; }

    #[test]
    fn any_bytes_are_answered_or_refused_line_by_line(text in "[ -~]{0,40}(\n[ -~]{0,40}){0,4}") {
        let (answers, summary) = answers(&text);
        let lines = text.lines().filter(|line| !line.trim_ascii().is_empty()).count();
        prop_assert_eq!(answers.len(), lines);
        prop_assert_eq!(summary.decided + summary.refused, lines as u64);
    }

    #[test]
    fn a_line_has_the_same_answer_alone_as_among_others(lines in proptest::collection::vec(
        prop_oneof![until_hit().boxed(), validate().boxed(), baseline().boxed()], 1..6,
    )) {
        let all: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let (together, _) = answers(&all);
        for (line, of_all) in lines.into_iter().zip(together) {
            prop_assert_eq!(answer(line), of_all);
        }
    }
}
