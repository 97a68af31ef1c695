//! Documentation, schema and shipped rules agree with the code. With `SHERIFFD_BLESS=1` what is generated is written
//! anew.

use std::path::PathBuf;

use sheriffd::cli::check::{FINE, Format, run};
use sheriffd::rules::{Code, Mode, RuleSet, json_schema, reference};

const DOCUMENT: &str = "docs/rules.md";
const SCHEMA: &str = "rules/rules.schema.json";

fn blessing() -> bool {
    std::env::var_os("SHERIFFD_BLESS").is_some()
}

/// Compares a file with what it should be, or writes it.
fn assert_current(path: &str, wanted: &str) {
    if blessing() {
        std::fs::write(path, wanted).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == wanted,
        "{path} is not current: run this test with SHERIFFD_BLESS=1, and read what changed"
    );
}

#[test]
fn the_tables_of_the_reference_are_those_of_the_code() {
    let mut text = std::fs::read_to_string(DOCUMENT).unwrap();
    for (name, table) in reference::tables() {
        let marker = format!("<!-- table: {name} -->\n");
        let begin = text.find(&marker).unwrap_or_else(|| panic!("no marker for {name}")) + marker.len();
        let end = begin + text[begin..].find("<!-- end -->").unwrap();
        text.replace_range(begin..end, &format!("\n{table}\n"));
    }
    assert_current(DOCUMENT, &text);
}

/// The rule files that the reference shows.
fn blocks_of_the_reference() -> Vec<String> {
    let text = std::fs::read_to_string(DOCUMENT).unwrap();
    let blocks = text.split("```yaml\n").skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

#[test]
fn every_rule_file_of_the_reference_can_be_used() {
    let blocks = blocks_of_the_reference();
    assert!(blocks.len() >= 5);
    for block in &blocks {
        let set = RuleSet::parse(&[("docs/rules.md", block)]).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(
            set.warnings()
                .as_slice()
                .iter()
                .all(|warning| warning.code == Code::UnusedBudget),
            "{}",
            set.warnings()
        );
    }
}

#[test]
fn the_schema_in_the_repository_is_current() {
    assert_current(SCHEMA, &format!("{:#}\n", json_schema()));
}

#[test]
fn shipped_rules_have_no_errors_and_no_warnings() {
    let mut said = Vec::new();
    let code = run(&["rules"], Format::Pretty, true, &mut said).unwrap();
    assert_eq!(code, FINE, "{}", String::from_utf8_lossy(&said));
}

#[test]
fn shipped_rules_are_in_shadow_until_their_owner_says_live() {
    let set = RuleSet::load(&["rules"]).unwrap();
    assert!(set.rules().len() >= 2);
    assert!(
        set.rules()
            .iter()
            .all(|rule| rule.mode == Mode::Shadow && rule.budget.is_some())
    );
    assert!(!set.tests().is_empty());
}

/// YAML as JSON, for the schema: the schema sees what an editor sees.
fn as_json(text: &str) -> Option<serde_json::Value> {
    serde_saphyr::from_str(text).ok()
}

#[test]
fn the_schema_accepts_what_the_parser_accepts() {
    let schema = jsonschema::draft7::new(&json_schema()).unwrap();
    let mut texts = blocks_of_the_reference();
    for file in ["rules/backfill.yaml", "rules/until-hit.yaml", "rules/validate.yaml"] {
        texts.push(std::fs::read_to_string(file).unwrap());
    }
    for text in texts {
        let json = as_json(&text).unwrap();
        let errors: Vec<String> = schema
            .iter_errors(&json)
            .map(|e| format!("{} at {}", e, e.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{errors:?}\n{text}");
    }
}

#[test]
fn the_schema_refuses_the_mistakes_of_shape_that_the_parser_refuses() {
    let schema = jsonschema::draft7::new(&json_schema()).unwrap();
    // What a schema can see: keys, types and ranges. Names, fields of an event and expressions are the parser's.
    let of_shape = [Code::UnknownKey, Code::MissingKey, Code::WrongType, Code::OutOfRange];
    let mut seen = 0;
    for entry in std::fs::read_dir("tests/check").unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let Some(json) = as_json(&text) else { continue };
        let errors = match RuleSet::load(&[&path]) {
            Ok(_) => {
                assert!(schema.is_valid(&json), "{} only has warnings", path.display());
                continue;
            }
            Err(errors) => errors,
        };
        let template = text.contains("${{");
        if !template && errors.as_slice().iter().any(|error| of_shape.contains(&error.code)) {
            seen += 1;
            assert!(!schema.is_valid(&json), "the schema accepts {}", path.display());
        }
    }
    assert!(seen >= 25, "{seen}");
}

/// Every file of rules that is anywhere in the repository, as text: sound ones, and mistakes.
fn corpus() -> Vec<String> {
    let mut texts: Vec<String> = ["rules/backfill.yaml", "rules/until-hit.yaml"]
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    texts.extend(blocks_of_the_reference());
    texts.push(EVERY_KEY_OF_A_TEST.to_owned());
    texts
}

const EVERY_KEY_OF_A_TEST: &str = "version: 1
rules:
  - { name: r, description: d, on: [job.finished, job.running], open: { kind: until-hit, max_jobs: 1, batch: auto } }
tests:
  - name: t
    at: \"2026-06-01T10:00:00Z\"
    history: [{ label: L, push: 1, outcome: passed, project: p, caused_by: person, ago: 1h }]
    pushes: [{ push: 1, project: p, revision: abc, description: d, ago: 1h }]
    limits: { jobs_per_hour: 1, jobs_per_push: 2 }
    tasks: [tasks.jsonl]
    events: [{ after: 5m }, { file: message.json }]
    expect: [{ rule: r, opened: 1, because: lineage, verdict: hit, actions: [{ label: L, push: 1, times: 2 }] }]
";

/// What people write in the place of something else.
fn replacements() -> Vec<serde_json::Value> {
    use serde_json::json;
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!("word"),
        json!("  "),
        json!([]),
        json!(["word"]),
        json!({}),
        json!({ "word": 1 }),
    ]
}

/// All files that come of one by a change in one place: a key left out, a key too many, a value of another kind.
fn mutations(whole: &serde_json::Value) -> Vec<serde_json::Value> {
    use serde_json::Value;
    fn places(at: &Value, pointer: String, found: &mut Vec<String>) {
        match at {
            Value::Object(map) => map.iter().for_each(|(key, value)| {
                let key = key.replace('~', "~0").replace('/', "~1");
                places(value, format!("{pointer}/{key}"), found);
            }),
            // One element of a list is like the others.
            Value::Array(list) => list
                .iter()
                .take(1)
                .for_each(|value| places(value, format!("{pointer}/0"), found)),
            _ => {}
        }
        found.push(pointer);
    }
    let mut found = Vec::new();
    places(whole, String::new(), &mut found);
    let mut all = Vec::new();
    for pointer in found {
        for replacement in replacements() {
            let mut mutant = whole.clone();
            *mutant.pointer_mut(&pointer).unwrap() = replacement;
            all.push(mutant);
        }
        if let Some(Value::Object(map)) = whole.pointer(&pointer) {
            for key in map.keys() {
                let mut mutant = whole.clone();
                mutant
                    .pointer_mut(&pointer)
                    .unwrap()
                    .as_object_mut()
                    .unwrap()
                    .remove(key);
                all.push(mutant);
            }
            let mut mutant = whole.clone();
            mutant.pointer_mut(&pointer).unwrap()["surplus"] = Value::from(1);
            all.push(mutant);
        }
    }
    all
}

#[test]
fn schema_and_parser_agree_on_every_change_in_one_place_of_every_file() {
    let schema = jsonschema::draft7::new(&json_schema()).unwrap();
    // What a schema can see. Names, fields of an event and expressions are the parser's.
    let of_shape = [Code::UnknownKey, Code::MissingKey, Code::WrongType, Code::OutOfRange];
    let (mut refused, mut accepted) = (0, 0);
    let mut disagreements = Vec::new();
    for text in corpus() {
        for mutant in mutations(&as_json(&text).unwrap()) {
            // JSON is YAML.
            let text = mutant.to_string();
            let parsed = RuleSet::parse(&[("mutant.yaml", &text)]);
            match (parsed, schema.is_valid(&mutant)) {
                (Ok(_), true) => accepted += 1,
                (Err(errors), true) => {
                    let seen = errors.as_slice().iter().find(|error| of_shape.contains(&error.code));
                    if let Some(error) = seen {
                        disagreements.push(format!("only the parser refuses: {} in {text}", error.message));
                    }
                }
                (Ok(_), false) => {
                    let error = schema.iter_errors(&mutant).next().map(|error| error.to_string());
                    disagreements.push(format!("only the schema refuses: {error:?} in {text}"));
                }
                (Err(_), false) => refused += 1,
            }
        }
    }
    disagreements.truncate(20);
    assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
    assert!(
        refused > 1_000 && accepted > 100,
        "{refused} refused, {accepted} accepted"
    );
}
