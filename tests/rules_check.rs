//! `check` on every kind of mistake: the exact text that its user reads.
//!
//! `tests/check/NAME.yaml` is the mistake, `NAME.txt` what is said about it. With `SHERIFFD_BLESS=1` the texts are
//! written anew; read them before they are committed.

use std::collections::BTreeSet;
use std::path::PathBuf;

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
