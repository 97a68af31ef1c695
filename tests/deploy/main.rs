//! What people deploy, and the manual they read while doing it, agree with the program.

mod alerts;
mod container;
mod dashboard;
mod demo;
mod example;
mod manual;
mod metrics;
mod promql;
mod systemd;
mod vocabulary;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A path in the repository.
fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// A file of the repository.
fn read(relative: &str) -> String {
    fs::read_to_string(path(relative)).unwrap_or_else(|error| panic!("{relative} cannot be read: {error}"))
}

/// A YAML file of the repository.
fn yaml(relative: &str) -> Value {
    serde_saphyr::from_str(&read(relative)).unwrap_or_else(|error| panic!("{relative} is not YAML: {error}"))
}

/// The texts of a list; one text stands for a list of itself.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// The program, run with these arguments and nothing of the environment but the search path.
fn sheriffd<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sheriffd"))
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .output()
        .expect("the program can be started")
}

/// Fails unless these words are a command of the program: `case list`, `run`.
fn assert_is_command(words: &[&str], found_in: &str) {
    let asked = sheriffd(&[words, &["--help"]].concat());
    assert!(
        asked.status.success(),
        "{found_in} tells people to run `sheriffd {}`: {}",
        words.join(" "),
        String::from_utf8_lossy(&asked.stderr)
    );
}

/// Runs Prometheus's own checker in `deploy/`, and fails with what it says.
fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(path("deploy"))
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "promtool cannot be started ({error}), and these tests need the real one: run \
                 scripts/install-test-deps.sh"
            )
        });
    assert!(
        output.status.success(),
        "promtool {}:\n{}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
