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

#[test]
fn every_rule_file_of_the_reference_can_be_used() {
    let text = std::fs::read_to_string(DOCUMENT).unwrap();
    let blocks: Vec<&str> = text
        .split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(blocks.len() >= 5);
    for block in blocks {
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
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let mut texts: Vec<String> = document
        .split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect();
    for file in ["rules/backfill.yaml", "rules/until-hit.yaml"] {
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
    let of_shape = [
        Code::UnknownKey,
        Code::MissingKey,
        Code::WrongType,
        Code::OutOfRange,
        Code::NotSupported,
    ];
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
