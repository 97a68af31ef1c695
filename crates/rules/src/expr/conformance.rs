//! cel-spec's conformance suite (`tests/simple`): what falls into this language has the value that the suite says, and
//! what does not is refused when a rule is loaded, never computed to something else.
//!
//! The cases are in tests/data/cel, one file for each of the suite's; docs/cel.md has the table that is checked here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value as Json;

use super::{Run, Scope, compile_value};
use crate::facts::NoFacts;
use crate::fields::EventKind;
use crate::value::{Type, Value};
use sheriffd_event::{Event, Project, PushEvent, Revision};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/cel");
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cel.md");

/// Why a case of the suite does not apply, by the word in the data.
const LEFT_OUT: [(&str, &str); 13] = [
    (
        "maps",
        "maps, messages and their fields: an event has fields, and nothing else has",
    ),
    (
        "dyn",
        "`dyn`, and types as values: every type is known when a rule is loaded",
    ),
    (
        "one-type",
        "values of several types in one place: an error when a rule is loaded",
    ),
    ("unsigned", "unsigned numbers"),
    ("bytes", "bytes"),
    ("null", "`null`: whether a fact is known is asked with `has`"),
    ("variables", "variables, functions and containers of the suite's own"),
    ("functions", "functions that this language does not have"),
    ("two-variables", "macros with two variables"),
    ("literals", "`duration` and `timestamp` of something that is no literal"),
    ("nanoseconds", "times finer than a millisecond: they are rounded"),
    ("last-day", "the last 26 hours of the year 9999"),
    (
        "deduced-types",
        "the type of an empty list, which nothing here can ask for",
    ),
];

/// What is left out without being refused: the language has it, and says something else of it.
const NOT_REFUSED: [&str; 2] = ["nanoseconds", "deduced-types"];

/// The suite's files that hold no case of this language, with the number of their cases and why.
const WITHOUT_CASES: [(&str, usize, &str); 17] = [
    ("bindings_ext", 5, "the extension `cel.bind`"),
    ("block_ext", 37, "the extension `cel.block`"),
    ("broken", 0, "its own cases are known to be broken"),
    ("dynamic", 226, "protocol buffers' dynamic values"),
    ("encoders_ext", 4, "the extension for base64"),
    ("enums", 85, "protocol buffers' enums"),
    ("fields", 60, "maps, messages and variables"),
    ("macros2", 46, "macros with two variables"),
    ("math_ext", 199, "the extension `math`"),
    ("namespace", 3, "containers of variables"),
    ("network_ext", 0, "an extension newer than the version named"),
    (
        "optionals",
        70,
        "optional values: a fact that is not known makes a condition unknown",
    ),
    ("proto2", 108, "messages"),
    ("proto2_ext", 18, "messages"),
    ("proto3", 75, "messages"),
    ("unknowns", 0, "it holds no case"),
    ("wrappers", 36, "messages"),
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    section: String,
    name: String,
    expr: String,
    #[serde(default)]
    value: Option<Json>,
    #[serde(default)]
    error: bool,
    #[serde(default)]
    left_out: Option<String>,
}

/// The cases of every file, by its name.
fn suite() -> BTreeMap<String, Vec<Case>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(FOLDER).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let cases = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        files.insert(name, cases);
    }
    files
}

/// What the language says to an expression: its type and value as the suite writes it, an error, or that it is
/// refused.
#[derive(Debug, PartialEq)]
enum Said {
    Value(Json),
    Error,
    Refused,
}

fn say(text: &str) -> Said {
    let event = Event::Push(Box::new(PushEvent {
        project: Project::from("autoland"),
        push: None,
        revision: Revision::from("0123456789ab"),
        at: None,
        user: None,
        changesets: Vec::new(),
    }));
    let lists = BTreeMap::new();
    let scope = Scope {
        kinds: &[EventKind::PushCreated],
        lists: &lists,
        estimate: false,
        each: None,
    };
    let Some((program, ty)) = compile_value(text, scope).0 else {
        return Said::Refused;
    };
    match Run::new(&event, &NoFacts, None).eval(&program) {
        Ok(value) => {
            assert!(
                ty.accepts(&type_of(&value)),
                "{text} is said to be {ty}, and is {value}"
            );
            Said::Value(as_json(&value))
        }
        Err(_) => Said::Error,
    }
}

fn type_of(value: &Value<'_>) -> Type {
    match value {
        Value::Bool(_) => Type::Bool,
        Value::Int(_) => Type::Int,
        Value::Double(_) => Type::Double,
        Value::Text(_) => Type::Text,
        Value::Duration(_) => Type::Duration,
        Value::Time(_) => Type::Time,
        Value::List(list) => list.get(0).map_or(Type::Any, |first| type_of(&first)).list(),
        Value::Object(_) => unreachable!("a push without changesets has none"),
    }
}

/// A value as the suite writes it: protocol buffers' JSON.
fn as_json(value: &Value<'_>) -> Json {
    use serde_json::json;
    match value {
        Value::Bool(value) => json!({ "boolValue": value }),
        Value::Int(value) => json!({ "int64Value": value.to_string() }),
        Value::Double(value) if value.is_finite() => json!({ "doubleValue": value }),
        Value::Double(value) if value.is_nan() => json!({ "doubleValue": "NaN" }),
        Value::Double(value) => json!({ "doubleValue": if *value > 0.0 { "Infinity" } else { "-Infinity" } }),
        Value::Text(text) => json!({ "stringValue": text }),
        Value::List(list) if list.is_empty() => json!({ "listValue": {} }),
        Value::List(list) => json!({ "listValue": { "values": list.iter().map(|v| as_json(&v)).collect::<Vec<_>>() } }),
        Value::Duration(ms) => message("Duration", &super::super::value::duration_in_seconds(*ms)),
        Value::Time(time) => message("Timestamp", &time.to_string()),
        Value::Object(_) => unreachable!("a push without changesets has none"),
    }
}

fn message(name: &str, value: &str) -> Json {
    let name = format!("type.googleapis.com/google.protobuf.{name}");
    serde_json::json!({ "objectValue": { "@type": name, "value": value } })
}

/// Doubles that are whole are written as whole numbers in the data.
fn same(wanted: &Json, got: &Json) -> bool {
    match (wanted.get("doubleValue"), got.get("doubleValue")) {
        (Some(wanted), Some(got)) if wanted.is_number() => wanted.as_f64() == got.as_f64(),
        _ => wanted == got,
    }
}

#[test]
fn what_falls_into_the_language_has_the_value_that_cel_spec_says() {
    let mut wrong = String::new();
    let mut seen = 0;
    for (file, cases) in suite() {
        for case in cases.iter().filter(|case| case.left_out.is_none()) {
            let said = say(&case.expr);
            let right = match (&said, &case.value) {
                (Said::Value(got), Some(wanted)) => !case.error && same(wanted, got),
                // An error that CEL finds when it computes is here found when the rule is loaded, or then.
                (Said::Error | Said::Refused, None) => case.error,
                _ => false,
            };
            seen += 1;
            if !right {
                let place = format!("{file}/{}/{}", case.section, case.name);
                writeln!(wrong, "{place}: {}\n  wanted {:?}, got {said:?}", case.expr, case.value).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(seen > 500, "{seen}");
}

#[test]
fn what_is_left_out_of_the_language_is_refused() {
    for (file, cases) in suite() {
        for case in &cases {
            let Some(why) = &case.left_out else { continue };
            assert!(LEFT_OUT.iter().any(|(word, _)| word == why), "{why}");
            if !NOT_REFUSED.contains(&why.as_str()) {
                let place = format!("{file}/{}/{}", case.section, case.name);
                assert_eq!(say(&case.expr), Said::Refused, "{place}: {}", case.expr);
            }
        }
    }
}

/// The table of the document: every file of the suite, with how many of its cases apply.
fn table() -> String {
    let suite = suite();
    let mut rows: BTreeMap<&str, String> = BTreeMap::new();
    for (file, cases) in &suite {
        let left_out = cases.iter().filter(|case| case.left_out.is_some()).count();
        let reasons: Vec<String> = LEFT_OUT
            .iter()
            .filter_map(|(word, _)| {
                let count = cases
                    .iter()
                    .filter(|case| case.left_out.as_deref() == Some(word))
                    .count();
                (count > 0).then(|| format!("{word} {count}"))
            })
            .collect();
        let mut sections: Vec<&str> = Vec::new();
        for case in cases.iter().filter(|case| case.left_out.is_none()) {
            if !sections.contains(&case.section.as_str()) {
                sections.push(&case.section);
            }
        }
        let row = format!(
            "| `{file}` | {} | {} | {} | {} |\n",
            cases.len(),
            cases.len() - left_out,
            reasons.join(", "),
            sections.join(", ")
        );
        rows.insert(file, row);
    }
    for (file, cases, why) in WITHOUT_CASES {
        let row = format!("| `{file}` | {cases} | 0 | {why} | |\n");
        assert!(rows.insert(file, row).is_none(), "{file} has cases");
    }
    let mut text =
        "| file | cases | apply | left out | sections with cases that apply |\n|---|---|---|---|---|\n".to_owned();
    text.extend(rows.into_values());
    text += "\n| word | what is left out |\n|---|---|\n";
    for (word, meaning) in LEFT_OUT {
        writeln!(text, "| {word} | {meaning} |").unwrap();
    }
    text
}

#[test]
fn the_list_of_what_applies_is_complete_and_current() {
    let text = std::fs::read_to_string(Path::new(DOCUMENT)).unwrap();
    let marker = "<!-- table: conformance -->\n";
    let begin = text.find(marker).unwrap() + marker.len();
    let end = begin + text[begin..].find("<!-- end -->").unwrap();
    let wanted = format!("{}\n{}\n{}", &text[..begin], table(), &text[end..]);
    if std::env::var_os("SHERIFFD_BLESS").is_some() {
        std::fs::write(DOCUMENT, &wanted).unwrap();
    } else {
        assert!(
            text == wanted,
            "{DOCUMENT} is not current: run this test with SHERIFFD_BLESS=1"
        );
    }
}
