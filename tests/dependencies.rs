//! What the program is made of: licences, sources and libraries that `deny.toml` allows, checked with cargo alone.
//!
//! `cargo deny check` checks more (known holes, versions taken back) and needs the network; this runs everywhere.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

/// The packages that the program is built of on Linux, tests included, as cargo resolved them.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let used: BTreeSet<&str> = metadata["resolve"]["nodes"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|node| node["id"].as_str())
        .collect();
    let all = metadata["packages"].as_array().expect("a list");
    let used: Vec<Value> = all
        .iter()
        .filter(|package| package["id"].as_str().is_some_and(|id| used.contains(id)))
        .cloned()
        .collect();
    assert!(used.len() > 100, "{} packages", used.len());
    used
}

fn deny() -> toml::Value {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deny.toml")).expect("deny.toml is there");
    toml::from_str(&text).expect("deny.toml is TOML")
}

fn texts(list: &toml::Value) -> Vec<String> {
    let text = |value: &toml::Value| value.as_str().map(str::to_owned);
    list.as_array().expect("a list").iter().filter_map(text).collect()
}

/// Whether an SPDX expression is satisfied by these licences.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    // Old manifests write `MIT/Apache-2.0`.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let answer = any(&words, &mut at, allowed);
    assert_eq!(at, words.len(), "{expression}");
    answer
}

fn any(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut answer = all(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        answer |= all(words, at, allowed);
    }
    answer
}

fn all(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut answer = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        answer &= one(words, at, allowed);
    }
    answer
}

fn one(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let word = words[*at];
    *at += 1;
    if word == "(" {
        let answer = any(words, at, allowed);
        assert_eq!(words[*at], ")");
        *at += 1;
        return answer;
    }
    if words.get(*at) == Some(&"WITH") {
        // An exception only gives more rights.
        *at += 2;
    }
    allowed.iter().any(|licence| licence == word)
}

#[test]
fn expressions_of_licences_are_read_as_spdx_defines_them() {
    let allowed = ["MIT".to_owned(), "Zlib".to_owned()];
    for (expression, is) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("(GPL-3.0 OR Zlib) AND MIT", true),
        ("GPL-3.0 OR Zlib AND MIT", true),
        ("MIT/GPL-3.0", true),
        ("MIT WITH LLVM-exception", true),
    ] {
        assert_eq!(is_allowed(expression, &allowed), is, "{expression}");
    }
}

#[test]
fn every_library_has_a_licence_that_is_allowed() {
    let deny = deny();
    let allowed = texts(&deny["licenses"]["allow"]);
    let wrong: Vec<String> = packages()
        .iter()
        .filter(|package| {
            !package["license"]
                .as_str()
                .is_some_and(|licence| is_allowed(licence, &allowed))
        })
        .map(|package| format!("{} {}", package["name"], package["license"]))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_library_that_is_forbidden_and_none_from_elsewhere_is_part_of_it() {
    let deny = deny();
    let banned: Vec<&str> = deny["bans"]["deny"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|entry| entry["crate"].as_str())
        .collect();
    for package in packages() {
        let name = package["name"].as_str().expect("a name");
        assert!(!banned.contains(&name), "{name} is forbidden by deny.toml");
        match package["source"].as_str() {
            None => {
                let is_ours = name == env!("CARGO_PKG_NAME") || name.starts_with("sheriffd-");
                assert!(
                    is_ours,
                    "{name} is local, and only the packages of the workspace are to be"
                );
            }
            Some(source) => assert!(source.starts_with("registry+"), "{name} is from {source}"),
        }
    }
}

#[test]
fn what_is_in_twice_is_known() {
    // Two versions of a library are a price that the requirements of others set. A new pair has to be seen: it is added
    // here, or avoided.
    let mut names: Vec<String> = packages()
        .iter()
        .map(|package| package["name"].as_str().unwrap_or_default().to_owned())
        .collect();
    names.sort();
    let twice: BTreeSet<&str> = names
        .windows(2)
        .filter(|pair| pair[0] == pair[1])
        .map(|pair| pair[0].as_str())
        .collect();
    let known: BTreeSet<&str> = KNOWN_TWICE.into_iter().collect();
    let new: Vec<&&str> = twice.difference(&known).collect();
    assert!(new.is_empty(), "in more than one version, and not known: {new:?}");
}

/// Libraries of which there is more than one version.
const KNOWN_TWICE: [&str; 16] = [
    "base64",
    "bit-set",
    "bit-vec",
    "cpufeatures",
    "getrandom",
    "hashbrown",
    "nom",
    "rand",
    "rand_core",
    "syn",
    "synstructure",
    "thiserror",
    "thiserror-impl",
    "toml",
    "toml_datetime",
    "winnow",
];
