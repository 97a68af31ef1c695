//! `check` on every kind of mistake: the exact text that its user reads.
//!
//! `tests/check/NAME.yaml` is the mistake, `NAME.txt` what is said about it. With `SHERIFFD_BLESS=1` the texts are
//! written anew; read them before they are committed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sheriffd::cli::check::{FINE, Format, NOT_FINE, run};
use sheriffd::rules::RuleSet;

fn mistakes() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("tests/check")
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    files
}

fn checked(paths: &[PathBuf], format: Format, deny_warnings: bool) -> (u8, String) {
    let mut out = Vec::new();
    let code = run(paths, format, deny_warnings, &mut out).unwrap();
    (code, String::from_utf8(out).unwrap())
}

/// Whether the expected texts are to be written anew.
fn blessing() -> bool {
    std::env::var_os("SHERIFFD_BLESS").is_some()
}

#[test]
fn every_mistake_is_said_as_it_is_written_down() {
    let mut wrong = Vec::new();
    for path in mistakes() {
        let (code, said) = checked(std::slice::from_ref(&path), Format::Pretty, true);
        assert_eq!(code, NOT_FINE, "{} is no mistake", path.display());
        let golden = path.with_extension("txt");
        if blessing() {
            std::fs::write(&golden, &said).unwrap();
        } else if std::fs::read_to_string(&golden).unwrap_or_default() != said {
            wrong.push(format!("{}:\n{said}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn there_are_at_least_sixty_kinds_of_mistakes() {
    assert!(mistakes().len() >= 60);
}

#[test]
fn every_error_points_into_its_file() {
    for path in mistakes() {
        let text = std::fs::read_to_string(&path).unwrap();
        let Err(diagnostics) = RuleSet::load(&[&path]) else {
            continue;
        };
        for diagnostic in diagnostics.as_slice() {
            let line = text.lines().nth(diagnostic.line as usize - 1).unwrap_or_default();
            assert_eq!(line, diagnostic.source, "{}", path.display());
            let end = (diagnostic.column + diagnostic.width - 1) as usize;
            assert!(
                end <= line.chars().count() + 1,
                "{}: the caret is outside the line",
                path.display()
            );
        }
    }
}

#[test]
fn warnings_fail_only_where_they_are_denied() {
    let path = [PathBuf::from("tests/check/warn-description.yaml")];
    assert_eq!(checked(&path, Format::Pretty, false).0, FINE);
    assert_eq!(checked(&path, Format::Pretty, true).0, NOT_FINE);
}

#[test]
fn all_errors_of_all_files_are_said_at_once() {
    let paths = [
        "tests/check/mode-misspelt.yaml",
        "tests/check/name-bad.yaml",
        "tests/check/no-such-file.yaml",
    ];
    let (code, said) = checked(&paths.map(PathBuf::from), Format::Json, false);
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    let files: BTreeSet<&str> = report["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|d| d["file"].as_str())
        .collect();
    assert_eq!(files, BTreeSet::from(paths));
    assert_eq!((code, report["errors"].as_u64()), (NOT_FINE, Some(3)));
}

#[test]
fn the_json_form_has_everything_that_the_pretty_form_has() {
    let (_, said) = checked(&[PathBuf::from("tests/check/mode-misspelt.yaml")], Format::Json, false);
    insta::assert_snapshot!(said);
}

#[test]
fn the_sarif_form_names_the_place_and_the_rule() {
    let (_, said) = checked(&[PathBuf::from("tests/check/mode-misspelt.yaml")], Format::Sarif, false);
    let log: serde_json::Value = serde_json::from_str(&said).unwrap();
    let result = &log["runs"][0]["results"][0];
    assert_eq!(log["version"], "2.1.0");
    assert_eq!(result["ruleId"], "invalid-value");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "tests/check/mode-misspelt.yaml");
    assert_eq!(
        (
            place["region"]["startLine"].as_u64(),
            place["region"]["startColumn"].as_u64()
        ),
        (Some(6), Some(11))
    );
}

#[test]
fn the_github_form_is_one_command_a_diagnostic() {
    let (_, said) = checked(
        &[PathBuf::from("tests/check/mode-misspelt.yaml")],
        Format::Github,
        false,
    );
    insta::assert_snapshot!(said);
}

#[test]
fn rules_that_are_fine_are_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.yaml");
    std::fs::write(
        &path,
        "version: 1\nrules:\n  - name: r\n    description: d\n    on: job.finished\n    open: { \
    kind: until-hit, max_jobs: 1 }\n",
    )
    .unwrap();
    let (code, said) = checked(&[path], Format::Pretty, true);
    assert_eq!(code, FINE);
    assert!(
        said.starts_with("1 rule in 1 file: 0 errors, 0 warnings; version "),
        "{said}"
    );
}

/// The parts of the SARIF 2.1.0 schema (OASIS, sarif-schema-2.1.0.json) that a log of ours uses, as it has them: types,
/// what must be there, words, smallest numbers.
fn sarif_schema() -> serde_json::Value {
    serde_json::json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "required": ["version", "runs"],
        "properties": {
            "$schema": { "type": "string", "format": "uri" },
            "version": { "enum": ["2.1.0"] },
            "runs": { "type": "array", "items": { "$ref": "#/definitions/run" } },
        },
        "additionalProperties": false,
        "definitions": {
            "run": {
                "type": "object",
                "required": ["tool"],
                "properties": {
                    "tool": { "type": "object", "required": ["driver"], "additionalProperties": false, "properties": {
                        "driver": {
                            "type": "object", "required": ["name"], "additionalProperties": false,
                            "properties": {
                                "name": { "type": "string" },
                                "version": { "type": "string" },
                                "rules": { "type": "array", "uniqueItems": true, "items": {
                                    "type": "object", "required": ["id"], "additionalProperties": false,
                                    "properties": {
                                        "id": { "type": "string" },
                                        "shortDescription": { "$ref": "#/definitions/message" },
                                    },
                                } },
                            },
                        },
                    } },
                    "columnKind": { "enum": ["utf16CodeUnits", "unicodeCodePoints"] },
                    "results": { "type": "array", "items": { "$ref": "#/definitions/result" } },
                },
                "additionalProperties": false,
            },
            "message": {
                "type": "object", "required": ["text"], "additionalProperties": false,
                "properties": { "text": { "type": "string" } },
            },
            "result": {
                "type": "object", "required": ["message"], "additionalProperties": false,
                "properties": {
                    "ruleId": { "type": "string" },
                    "level": { "enum": ["none", "note", "warning", "error"] },
                    "message": { "$ref": "#/definitions/message" },
                    "locations": { "type": "array", "items": {
                        "type": "object", "additionalProperties": false,
                        "properties": { "physicalLocation": {
                            "type": "object", "required": ["artifactLocation"], "additionalProperties": false,
                            "properties": {
                                "artifactLocation": { "type": "object", "additionalProperties": false, "properties": {
                                    "uri": { "type": "string", "pattern": r"^[A-Za-z0-9._~/%-]+$" },
                                } },
                                "region": { "type": "object", "additionalProperties": false, "properties": {
                                    "startLine": { "type": "integer", "minimum": 1 },
                                    "startColumn": { "type": "integer", "minimum": 1 },
                                    "endColumn": { "type": "integer", "minimum": 1 },
                                    "snippet": { "$ref": "#/definitions/message" },
                                } },
                            },
                        } },
                    } },
                },
            },
        },
    })
}

#[test]
fn every_sarif_log_is_one_by_the_standard_and_names_only_rules_that_it_lists() {
    let schema = jsonschema::draft7::new(&sarif_schema()).unwrap();
    let (_, said) = checked(&mistakes(), Format::Sarif, false);
    let log: serde_json::Value = serde_json::from_str(&said).unwrap();
    let errors: Vec<String> = schema
        .iter_errors(&log)
        .map(|error| format!("{error} at {}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    let run = &log["runs"][0];
    let listed: BTreeSet<&str> = run["tool"]["driver"]["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["id"].as_str().unwrap())
        .collect();
    let results = run["results"].as_array().unwrap();
    assert!(results.len() >= 60);
    for result in results {
        assert!(listed.contains(result["ruleId"].as_str().unwrap()), "{result}");
        let region = &result["locations"][0]["physicalLocation"]["region"];
        assert!(
            region["endColumn"].as_u64() > region["startColumn"].as_u64(),
            "{region}"
        );
    }
}

#[test]
fn what_is_shipped_and_documented_has_no_errors_and_no_warnings() {
    let mut paths: Vec<PathBuf> = ["rules", "deploy/sheriffd.example.toml", "README.md"]
        .map(PathBuf::from)
        .to_vec();
    let documents = std::fs::read_dir("docs").unwrap().map(|entry| entry.unwrap().path());
    paths.extend(documents.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    let (code, said) = checked(&paths, Format::Json, false);
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, report["errors"].as_u64()), (FINE, Some(0)), "{said}");
    // An example of a budget needs no rule that draws on it, and one of a configuration no secret.
    for diagnostic in report["diagnostics"].as_array().unwrap() {
        let code = diagnostic["code"].as_str().unwrap();
        assert!(["unused-budget", "no-secret"].contains(&code), "{diagnostic}");
    }
    assert_eq!(report["configurations"], 1);
    assert!(report["blocks"].as_u64().unwrap() >= 7, "{said}");
}

#[test]
fn mistakes_in_documents_and_configurations_are_said_with_their_places_there() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let document = write(
        "a.md",
        "# A\n\n- an example:\n\n  ```yaml\n  version: 1\n  rules:\n    - name: r\n      description: d\n      on: \
         job.finshed\n      open: { kind: until-hit, max_jobs: 1 }\n  ```\n\n```toml sheriffd\n[broker]\nprefech = 3\n```\n",
    );
    let config = write(
        "b.toml",
        "[limits]\njobs_per_day = \"many\"\n\n[web]\ntoken = \"env:SHERIFFD_TEST_NO_SUCH_VARIABLE\"\n",
    );
    let broken = write("c.toml", "[limits\n");
    let (code, said) = checked(&[document, config, broken], Format::Json, false);
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    let found: Vec<(String, u64, u64, &str)> = report["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|diagnostic| {
            let file = Path::new(diagnostic["file"].as_str().unwrap()).file_name().unwrap();
            (
                file.to_str().unwrap().to_owned(),
                diagnostic["line"].as_u64().unwrap(),
                diagnostic["column"].as_u64().unwrap(),
                diagnostic["code"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("a.md", 10, 11, "invalid-value"),
        ("a.md", 16, 1, "unknown-key"),
        ("b.toml", 2, 1, "invalid-value"),
        ("b.toml", 5, 1, "no-secret"),
    ];
    let expected = expected.map(|(file, line, column, code)| (file.to_owned(), line, column, code));
    assert_eq!(found[..4], expected, "{said}");
    assert_eq!((found[4].0.as_str(), found[4].3), ("c.toml", "toml-syntax"), "{said}");
    assert_eq!(code, NOT_FINE);
    assert!(
        said.contains("did you mean `broker.prefetch`?") || said.contains("did you mean `prefetch`?"),
        "{said}"
    );
}
