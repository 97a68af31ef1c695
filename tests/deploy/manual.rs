//! docs/operations.md and docs/security.md: their tables are those of the program, their commands exist.

use std::collections::BTreeSet;

use sheriffd::event::Reason;
use sheriffd::telemetry::metric::{self, Kind};

use super::vocabulary::discard_reasons;
use super::{assert_is_command, path, read};

const OPERATIONS: &str = "docs/operations.md";

/// The table between `<!-- table: name -->` and `<!-- end -->`.
fn table<'a>(text: &'a str, name: &str) -> &'a str {
    let begin = format!("<!-- table: {name} -->");
    let (_, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{begin} is missing"));
    let (table, _) = rest.split_once("<!-- end -->").expect("the table has an end");
    table.trim_matches('\n')
}

/// The first cells of a table's rows, without their back-quotes.
fn first_cells(table: &str) -> Vec<&str> {
    table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| line.split('`').nth(1))
        .collect()
}

#[test]
fn the_table_of_metrics_is_that_of_the_program() {
    let mut rows = "| metric | type | labels | what it says |\n|---|---|---|---|\n".to_owned();
    for metric in metric::ALL {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram { .. } => "histogram",
        };
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        rows += &format!(
            "| `{}` | {kind} | {} | {} |\n",
            metric.name,
            labels.join(", "),
            metric.help
        );
    }
    let manual = read(OPERATIONS);
    let shown = table(&manual, "metrics");
    assert!(
        shown == rows.trim_end(),
        "the table of metrics in {OPERATIONS} must be\n\n{rows}"
    );
}

#[test]
fn every_reason_for_doing_nothing_is_explained_by_the_words_of_the_program() {
    let manual = read(OPERATIONS);
    let table = table(&manual, "reasons");
    assert_eq!(first_cells(table), Reason::ALL.map(Reason::as_str));
    for reason in Reason::ALL {
        let row = table
            .lines()
            .find(|line| line.starts_with(&format!("| `{reason}` |")))
            .unwrap();
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells[1], reason.sentence(), "{reason}");
        assert!(
            cells[2].ends_with('.'),
            "{reason}: what to do is a sentence: {}",
            cells[2]
        );
    }
}

#[test]
fn every_reason_why_a_message_came_to_nothing_is_explained() {
    let manual = read(OPERATIONS);
    assert_eq!(first_cells(table(&manual, "discards")), discard_reasons());
}

#[test]
fn every_command_in_the_manuals_is_one_of_the_program() {
    let mut commands = BTreeSet::new();
    for manual in [OPERATIONS, "docs/security.md", "docs/guide.md", "README.md"] {
        let text = read(manual);
        for behind in text.split("sheriffd ").skip(1) {
            // Two words at most: a command and a command of it. Prose goes on with words that are none.
            let words: Vec<&str> = behind.split([' ', '`', '\n']).take(2).collect();
            commands.insert((
                manual,
                words[0].to_owned(),
                words.get(1).copied().unwrap_or_default().to_owned(),
            ));
        }
    }
    let known = ["case", "deadletters"];
    let mut checked = 0;
    for (manual, first, second) in &commands {
        let quoted = read(manual).contains(&format!("`sheriffd {first}"))
            || read(manual).contains(&format!("\nsheriffd {first}"))
            || read(manual).contains(&format!("\n    sheriffd {first}"));
        if !quoted {
            continue;
        }
        let words: Vec<&str> = match known.contains(&first.as_str()) {
            true => vec![first, second],
            false => vec![first],
        };
        assert_is_command(&words, manual);
        checked += 1;
    }
    assert!(checked > 5, "only {checked} commands were found");
}

#[test]
fn links_between_the_manuals_lead_somewhere() {
    for manual in [OPERATIONS, "docs/security.md"] {
        let text = read(manual);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let linked = if file.is_empty() {
                path(manual)
            } else {
                path("docs").join(file)
            };
            assert!(linked.exists(), "{manual} links to {target}");
            if !anchor.is_empty() {
                let linked = std::fs::read_to_string(linked).unwrap();
                let is_anchor = |line: &str| {
                    let title = line.trim_start_matches('#').trim().to_lowercase();
                    let kept: String = title
                        .chars()
                        .filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-' || *c == '_')
                        .collect();
                    line.starts_with('#') && kept.replace(' ', "-") == anchor
                };
                assert!(linked.lines().any(is_anchor), "{manual} links to {target}");
            }
        }
    }
}

#[test]
fn no_library_that_is_banned_is_part_of_the_program() {
    let deny: toml::Table = read("deny.toml").parse().unwrap();
    let lock: toml::Table = read("Cargo.lock").parse().unwrap();
    let used: BTreeSet<&str> = lock["package"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    let banned = deny["bans"]["deny"].as_array().unwrap();
    assert!(!banned.is_empty());
    for entry in banned {
        let name = entry["crate"].as_str().unwrap();
        assert!(!used.contains(name), "{name}: {}", entry["reason"]);
    }
}
