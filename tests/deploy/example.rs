//! The example configuration: sound as it is, complete, and right about every default.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use sheriffd::clock::{Clock, SystemClock};
use sheriffd::config::{Config, LoadOptions, Loaded};
use sheriffd::daemon::parts;
use sheriffd::rules::RuleSet;

use super::{path, read};

const EXAMPLE: &str = "deploy/sheriffd.example.toml";
/// Settings that the example sets to another value than their default.
const SET: [&str; 2] = ["store.path", "rules.paths"];

fn load(options: &LoadOptions) -> Loaded {
    Config::load(options).unwrap_or_else(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        panic!("{}", lines.join("\n"))
    })
}

/// The example with every setting in force, and its secrets in a folder of the test.
fn everything_set(folder: &std::path::Path, flags: &[&str]) -> Loaded {
    let is_setting = |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase() || c == '[');
    let mut text = String::new();
    for line in read(EXAMPLE).lines() {
        let line = line.strip_prefix('#').filter(|rest| is_setting(rest)).unwrap_or(line);
        let Some((before, name)) = line.split_once("\"file:/etc/sheriffd/credentials/") else {
            text += &format!("{line}\n");
            continue;
        };
        let name = name.trim_end_matches('"');
        // Three of them are looked into.
        let secret = match name {
            "notify-url" | "sheriffs-url" => "https://chat.example.com/hook",
            "taskcluster-certificate" => r#"{ "version": 1, "expiry": 1700000000000 }"#,
            _ => "a secret",
        };
        fs::write(folder.join(name), secret).unwrap();
        text += &format!("{before}\"file:{}/{name}\"\n", folder.display());
    }
    let file = folder.join("sheriffd.toml");
    fs::write(&file, text).unwrap();
    load(&LoadOptions {
        file: Some(file),
        environment: vec![("CI_AUTHORIZATION".to_owned(), "Bearer of news".to_owned())],
        set: flags.iter().map(|flag| (*flag).to_owned()).collect(),
    })
}

#[test]
fn the_example_is_a_sound_configuration_that_asks_for_nothing() {
    let loaded = load(&LoadOptions {
        file: Some(path(EXAMPLE)),
        ..LoadOptions::default()
    });
    assert!(!parts::can_ask(&loaded.config));
    let changed: Vec<&str> = loaded
        .explanation
        .entries
        .iter()
        .filter(|entry| entry.value != entry.default)
        .map(|entry| entry.key.as_str())
        .collect();
    assert_eq!(changed, SET);
}

#[test]
fn the_example_has_every_setting_with_its_default() {
    let folder = tempfile::tempdir().unwrap();
    let loaded = everything_set(folder.path(), &[]);
    let missing: Vec<&str> = loaded
        .explanation
        .entries
        .iter()
        .filter(|entry| entry.origin == sheriffd::config::Origin::Default)
        .map(|entry| entry.key.as_str())
        // A further webhook has the settings of [notify], and they stand there.
        .filter(|key| !key.starts_with("notify.sheriffs."))
        .collect();
    assert!(missing.is_empty(), "{EXAMPLE} lacks {missing:?}");
    for entry in &loaded.explanation.entries {
        if !entry.default.is_null() && entry.default != "***" && !SET.contains(&entry.key.as_str()) {
            // An empty default shows nothing: the example has an example.
            let is_empty = entry.default.as_array().is_some_and(Vec::is_empty)
                || entry.default.as_object().is_some_and(serde_json::Map::is_empty);
            assert!(
                is_empty || entry.value == entry.default,
                "the default of {} is {}",
                entry.key,
                entry.default
            );
        }
    }
}

#[test]
fn every_part_can_be_made_of_the_example() {
    let folder = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    for backend in ["dry-run", "taskcluster", "webhook"] {
        let config = everything_set(folder.path(), &[&format!("backend={backend}")]).config;
        if let Err(error) = parts::backend(&config, &clock) {
            panic!("{backend}: {error}");
        }
        if let Err(error) = parts::facts(&config, &clock) {
            panic!("{backend}: {error}");
        }
        match parts::trees(&config, &clock) {
            Ok(trees) => assert!(trees.is_some()),
            Err(error) => panic!("{backend}: {error}"),
        }
        match parts::hooks(&config, &RuleSet::parse(&[]).unwrap()) {
            Ok(hooks) => assert!(hooks.common.is_some()),
            Err(error) => panic!("{backend}: {error}"),
        }
    }
}

#[test]
fn every_setting_of_the_example_is_explained() {
    let text = read(EXAMPLE);
    let mut explained: BTreeSet<&str> = BTreeSet::new();
    let mut comment_above = false;
    for line in text.lines() {
        let is_comment = line.starts_with("# ");
        let is_section = line.starts_with('[') || line.starts_with("#[");
        assert!(!is_section || comment_above, "nothing explains {line}");
        if is_comment {
            explained.insert(line);
        }
        // A comment explains the settings below it up to the next comment.
        comment_above = is_comment || (comment_above && !line.is_empty());
        assert!(line.chars().count() <= 140, "too long: {line}");
    }
    assert!(!explained.is_empty());
}
