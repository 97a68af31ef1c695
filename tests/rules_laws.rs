//! Laws of the rule language: what must hold for every input.

mod rules_common;

use proptest::prelude::*;
use rules_common::{Given, condition, event, job};
use sheriffd::event::{Chunk, Event, Label, Outcome, Project, PushId, RunState};
use sheriffd::rules::{Matched, NoFacts, RuleIndex, RuleSet, Tracing, parse_cel_duration, show_duration};

/// Words that rule files and expressions are made of, so that random texts get far into the parsers.
fn fragment() -> impl Strategy<Value = String> {
    let words = [
        "version: 1\n",
        "rules:\n",
        "  - name: r\n",
        "    on: job.finished\n",
        "    match: ",
        "    when: ",
        "    open: ",
        "{",
        "}",
        "[",
        "]",
        "(",
        ")",
        ":",
        ",",
        "&a ",
        "*a",
        "!",
        "|\n      ",
        ">-\n      ",
        "\"",
        "'",
        "\\",
        "#",
        "- ",
        "kind: find-culprit",
        "max_jobs: ",
        "1",
        "-1",
        "0.5",
        "9223372036854775807",
        "event",
        ".",
        "tier",
        "label",
        "signatures",
        "exists",
        "all",
        "map",
        "x",
        "&&",
        "||",
        "==",
        "<",
        "in",
        "?",
        "+",
        "%",
        "/",
        "history.failure_rate(event, duration(\"14d\"))",
        "matches(\"a*\")",
        "has(",
        "size(",
        "é",
        "\u{feff}",
        "\n",
        "\t",
        " ",
        "<<: ",
        "null",
        "true",
        "~",
    ];
    prop_oneof![8 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => ".{0,6}"]
}

fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(fragment(), 0..40).prop_map(|parts| parts.concat())
}

fn words() -> impl Strategy<Value = String> {
    let words = [
        "event",
        ".",
        "tier",
        "label",
        "groups",
        "signatures",
        "bugs",
        "at",
        "duration",
        "(",
        ")",
        "[",
        "]",
        ",",
        "&&",
        "||",
        "!",
        "==",
        "<",
        "in",
        "+",
        "-",
        "*",
        "/",
        "%",
        "?",
        ":",
        "1",
        "2.5",
        "\"a\"",
        "true",
        "x",
        "exists",
        "all",
        "filter",
        "map",
        "size",
        "has",
        "startsWith",
        "matches",
        "history",
        "passed_before",
        "string",
        "int",
        "test",
    ];
    proptest::collection::vec(proptest::sample::select(words.to_vec()), 1..24).prop_map(|words| words.concat())
}

fn file(when: &str) -> String {
    let indented = when.replace('\n', "\n      ");
    format!(
        "version: 1\nrules:\n  - name: r\n    on: job.finished\n    when: |\n      {indented}\n    open: {{ kind: \
        until-hit, max_jobs: 1 }}\n"
    )
}

/// A field of `match:` with some values.
fn match_field() -> impl Strategy<Value = (&'static str, String)> {
    let label = "(test|build|\\*|t\\?st)-(a|b|\\*)(-[0-2]|\\*)?";
    prop_oneof![
        (
            Just("project"),
            "(\\[autoland\\]|\\[autoland, try\\]|try|\\{ not: try \\}|\"\\*\")"
        ),
        (
            Just("label"),
            proptest::collection::vec(label, 1..3).prop_map(|list| {
                let quoted: Vec<String> = list.iter().map(|item| format!("\"{item}\"")).collect();
                format!("[{}]", quoted.join(", "))
            })
        ),
        (Just("label"), label.prop_map(|label| format!("[\"!{label}\"]"))),
        (Just("tier"), "(1|\\[1, 2\\]|\">= 2\"|\"1\\.\\.2\"|\"< 2\")"),
        (
            Just("push"),
            (0..20_u64, 0..5_u64).prop_map(|(low, width)| format!("\"{low}..{}\"", low + width))
        ),
        (Just("outcome"), "(failed|passed|infra|\\[failed, infra\\]|\"!failed\")"),
        (Just("latest"), "(true|false)"),
        (Just("chunk"), "(1|2|\"\\.\\.2\")"),
    ]
}

fn rule_set() -> impl Strategy<Value = RuleSet> {
    let fields = proptest::collection::hash_map(0..8_u8, match_field(), 0..4);
    proptest::collection::vec(fields, 1..20).prop_map(|rules| {
        let mut text = "version: 1\nrules:\n".to_owned();
        for (n, fields) in rules.iter().enumerate() {
            let mut written: Vec<(&str, &str)> = Vec::new();
            for (name, value) in fields.values() {
                if written.iter().all(|(known, _)| known != name) {
                    written.push((name, value));
                }
            }
            let fields: Vec<String> = written.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            text += &format!(
                "  - name: r{n}\n    on: job.finished\n    match: {{ {} }}\n    open: {{ kind: \
            until-hit, max_jobs: 1 }}\n",
                fields.join(", ")
            );
        }
        RuleSet::parse(&[("rules.yaml", &text)]).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
    })
}

fn any_event() -> impl Strategy<Value = Event> {
    let outcome = proptest::sample::select(vec![
        Outcome::Passed,
        Outcome::Failed,
        Outcome::Infra,
        Outcome::Cancelled,
    ]);
    (
        proptest::option::weighted(0.8, "(autoland|try|beta)"),
        proptest::option::weighted(0.8, "(test|build|tést)-(a|b|c)(-[0-3])?"),
        proptest::option::weighted(0.8, 1..4_u8),
        proptest::option::weighted(0.8, 0..24_u64),
        outcome,
        any::<bool>(),
        proptest::option::weighted(0.5, 1..4_u32),
    )
        .prop_map(|(project, label, tier, push, outcome, latest, chunk)| {
            let mut job = job();
            job.state = RunState::Finished(outcome);
            job.latest = latest;
            job.facts.project = project.map(Project::from);
            job.facts.label = label.map(Label::from);
            job.facts.tier = tier;
            job.facts.push = push.map(PushId);
            job.facts.chunk = chunk.map(|current| Chunk { current, total: 3 });
            event(job)
        })
}

/// A condition, as a tree that can be written down and computed without the language.
#[derive(Debug, Clone)]
enum Number {
    Literal(i64),
    Tier,
    Push,
    Chunk,
    Apply(char, Box<Number>, Box<Number>),
}

#[derive(Debug, Clone)]
enum Truth {
    Literal(bool),
    HasChunk,
    Compare(&'static str, Number, Number),
    In(Number, Vec<i64>),
    Not(Box<Truth>),
    And(Vec<Truth>),
    Or(Vec<Truth>),
    Choose(Box<Truth>, Box<Truth>, Box<Truth>),
}

/// Why the reference has no value; unknown goes before error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Missing {
    Error,
    Unknown,
}

fn number() -> impl Strategy<Value = Number> {
    let leaf = prop_oneof![
        (-3..4_i64).prop_map(Number::Literal),
        Just(Number::Literal(i64::MAX)),
        Just(Number::Tier),
        Just(Number::Push),
        Just(Number::Chunk)
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        (
            proptest::sample::select(vec!['+', '-', '*', '/', '%']),
            inner.clone(),
            inner,
        )
            .prop_map(|(op, a, b)| Number::Apply(op, Box::new(a), Box::new(b)))
    })
}

fn truth() -> impl Strategy<Value = Truth> {
    let compare = proptest::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let leaf = prop_oneof![
        1 => any::<bool>().prop_map(Truth::Literal),
        1 => Just(Truth::HasChunk),
        6 => (compare, number(), number()).prop_map(|(op, a, b)| Truth::Compare(op, a, b)),
        2 => (number(), proptest::collection::vec(-2..3_i64, 1..4)).prop_map(|(a, list)| Truth::In(a, list)),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let some = proptest::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            inner.clone().prop_map(|of| Truth::Not(Box::new(of))),
            some.clone().prop_map(Truth::And),
            some.prop_map(Truth::Or),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| Truth::Choose(
                Box::new(a),
                Box::new(b),
                Box::new(c)
            )),
        ]
    })
}

impl Number {
    fn written(&self) -> String {
        match self {
            Number::Literal(n) if *n < 0 => format!("({n})"),
            Number::Literal(n) => n.to_string(),
            Number::Tier => "event.tier".to_owned(),
            Number::Push => "event.push".to_owned(),
            Number::Chunk => "event.chunk".to_owned(),
            Number::Apply(op, a, b) => format!("({} {op} {})", a.written(), b.written()),
        }
    }

    /// With tier 1, push 14, and a chunk that is not known.
    fn value(&self) -> Result<i64, Missing> {
        match self {
            Number::Literal(n) => Ok(*n),
            Number::Tier => Ok(1),
            Number::Push => Ok(14),
            Number::Chunk => Err(Missing::Unknown),
            Number::Apply(op, a, b) => {
                let (a, b) = (i128::from(a.value()?), i128::from(b.value()?));
                let exact = match op {
                    '+' => a + b,
                    '-' => a - b,
                    '*' => a * b,
                    _ if b == 0 => return Err(Missing::Error),
                    '/' => a / b,
                    _ => a % b,
                };
                i64::try_from(exact).map_err(|_| Missing::Error)
            }
        }
    }
}

impl Truth {
    fn written(&self) -> String {
        let joined = |list: &[Truth], sign: &str| list.iter().map(Truth::written).collect::<Vec<_>>().join(sign);
        match self {
            Truth::Literal(value) => value.to_string(),
            Truth::HasChunk => "has(event.chunk)".to_owned(),
            Truth::Compare(op, a, b) => format!("({} {op} {})", a.written(), b.written()),
            Truth::In(a, list) => format!("({} in {list:?})", a.written()),
            Truth::Not(of) => format!("!{}", of.written()),
            Truth::And(list) => format!("({})", joined(list, " && ")),
            Truth::Or(list) => format!("({})", joined(list, " || ")),
            Truth::Choose(a, b, c) => format!("({} ? {} : {})", a.written(), b.written(), c.written()),
        }
    }

    fn value(&self) -> Result<bool, Missing> {
        match self {
            Truth::Literal(value) => Ok(*value),
            Truth::HasChunk => Ok(false),
            Truth::Compare(op, a, b) => {
                let (a, b) = (a.value()?, b.value()?);
                Ok(match *op {
                    "==" => a == b,
                    "!=" => a != b,
                    "<" => a < b,
                    "<=" => a <= b,
                    ">" => a > b,
                    _ => a >= b,
                })
            }
            Truth::In(a, list) => a.value().map(|a| list.contains(&a)),
            Truth::Not(of) => of.value().map(|value| !value),
            Truth::And(list) => logic(list, false),
            Truth::Or(list) => logic(list, true),
            Truth::Choose(a, b, c) => {
                if a.value()? {
                    b.value()
                } else {
                    c.value()
                }
            }
        }
    }
}

fn logic(list: &[Truth], decisive: bool) -> Result<bool, Missing> {
    let values: Vec<Result<bool, Missing>> = list.iter().map(Truth::value).collect();
    if values.contains(&Ok(decisive)) {
        return Ok(decisive);
    }
    match values.iter().filter_map(|value| value.err()).max() {
        Some(reason) => Err(reason),
        None => Ok(!decisive),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_parser_panic_and_every_error_has_a_place(text in text()) {
        if let Err(diagnostics) = RuleSet::parse(&[("rules.yaml", &text)]) {
            prop_assert!(diagnostics.errors() > 0);
            for diagnostic in diagnostics.as_slice() {
                prop_assert!(diagnostic.line >= 1 && diagnostic.column >= 1 && !diagnostic.message.is_empty());
            }
            let _ = diagnostics.to_string();
        }
    }

    #[test]
    fn no_condition_makes_the_language_panic(when in prop_oneof![words(), ".{0,40}", text()]) {
        if let Ok(set) = RuleSet::parse(&[("rules.yaml", &file(&when))]) {
            for facts in [Given::default(), Given::settled()] {
                set.evaluate(RuleIndex(0), &event(job()), &facts, Tracing::On);
            }
        }
    }

    #[test]
    fn a_condition_says_what_its_tree_computes(tree in truth()) {
        let mut job = job();
        job.facts.chunk = None;
        let said = condition(&tree.written(), &event(job), &NoFacts);
        let expected = match tree.value() {
            Ok(value) => Matched::from(value),
            Err(Missing::Unknown) => Matched::Unknown,
            Err(Missing::Error) => Matched::False,
        };
        prop_assert_eq!(said, expected, "{}", tree.written());
    }

    #[test]
    fn tracing_never_changes_the_answer(tree in truth()) {
        let set = RuleSet::parse(&[("rules.yaml", &file(&tree.written()))]).unwrap();
        let event = event(job());
        let off = set.evaluate(RuleIndex(0), &event, &NoFacts, Tracing::Off);
        let on = set.evaluate(RuleIndex(0), &event, &NoFacts, Tracing::On);
        prop_assert_eq!(off.matched, on.matched);
    }

    #[test]
    fn the_index_finds_exactly_the_rules_that_do_not_say_no(
        set in rule_set(), events in proptest::collection::vec(any_event(), 1..20)
    ) {
        for event in &events {
            let one_by_one: Vec<RuleIndex> = (0..set.rules().len())
                .map(RuleIndex)
                .filter(|rule| set.evaluate(*rule, event, &NoFacts, Tracing::Off).matched != Matched::False)
                .collect();
            prop_assert_eq!(set.candidates(event), one_by_one, "{:?}", event);
        }
    }

    #[test]
    fn a_duration_is_read_as_it_is_shown(ms in -1_000_000_000_000_i64..1_000_000_000_000) {
        prop_assert_eq!(parse_cel_duration(&show_duration(ms)), Some(ms));
    }
}
