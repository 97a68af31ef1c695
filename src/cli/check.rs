//! `sheriffd check`: what is wrong with rule files, all of it at once.
//!
//! In: paths of rule files or folders. Out: every error and warning, for people, programs, code scanners or GitHub, and
//! the exit code. Never: changing anything.

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};

use crate::rules::{Code, Diagnostic, Diagnostics, RuleSet, Severity};

/// How the result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people: source line and caret.
    #[default]
    Pretty,
    /// One JSON object: `errors`, `warnings`, `version`, `diagnostics`.
    Json,
    /// SARIF 2.1.0, for code scanners.
    Sarif,
    /// GitHub's workflow commands: annotations on a pull request.
    Github,
}

/// Exit code: the rules can be used.
pub const FINE: u8 = 0;
/// Exit code: they cannot, or have warnings that were to be denied.
pub const NOT_FINE: u8 = 1;

/// Checks rules and writes what is wrong; returns the exit code, [`FINE`] or [`NOT_FINE`].
///
/// # Errors
/// Only when the output cannot be written.
pub fn run<P: AsRef<Path>>(paths: &[P], format: Format, deny_warnings: bool, out: &mut dyn Write) -> io::Result<u8> {
    let result = RuleSet::load(paths);
    let (diagnostics, set) = match &result {
        Ok(set) => (set.warnings(), Some(set)),
        Err(diagnostics) => (diagnostics, None),
    };
    match format {
        Format::Pretty => pretty(diagnostics, set, out)?,
        Format::Json => {
            let report = json!({
                "errors": diagnostics.errors(),
                "warnings": diagnostics.warnings(),
                "version": set.map(RuleSet::version),
                "rules": set.map(|set| set.rules().len()),
                "diagnostics": diagnostics,
            });
            writeln!(out, "{report:#}")?;
        }
        Format::Sarif => writeln!(out, "{:#}", sarif(diagnostics))?,
        Format::Github => diagnostics
            .as_slice()
            .iter()
            .try_for_each(|diagnostic| github(diagnostic, out))?,
    }
    let denied = deny_warnings && diagnostics.warnings() > 0;
    Ok(if diagnostics.errors() > 0 || denied {
        NOT_FINE
    } else {
        FINE
    })
}

fn pretty(diagnostics: &Diagnostics, set: Option<&RuleSet>, out: &mut dyn Write) -> io::Result<()> {
    if !diagnostics.is_empty() {
        writeln!(out, "{diagnostics}")?;
    }
    let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let found = format!(
        "{}, {}",
        count(diagnostics.errors(), "error"),
        count(diagnostics.warnings(), "warning")
    );
    match set {
        Some(set) => {
            let (rules, files) = (count(set.rules().len(), "rule"), count(set.files().len(), "file"));
            writeln!(out, "{rules} in {files}: {found}; version {}", set.version())
        }
        None => writeln!(out, "{found}: the rules cannot be used"),
    }
}

/// One workflow command (GitHub Actions, "Workflow commands"): `::error file=…,line=…,col=…::message`.
fn github(diagnostic: &Diagnostic, out: &mut dyn Write) -> io::Result<()> {
    let text = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |value: &str| text(value).replace(':', "%3A").replace(',', "%2C");
    let mut message = diagnostic.message.clone();
    if let Some(expected) = &diagnostic.expected {
        message.push_str(&format!("\nexpected: {expected}"));
    }
    if let Some(suggestion) = &diagnostic.suggestion {
        message.push_str(&format!("\n{suggestion}"));
    }
    writeln!(
        out,
        "::{} file={},line={},col={},endColumn={},title={}::{}",
        diagnostic.severity.as_str(),
        property(&diagnostic.file),
        diagnostic.line,
        diagnostic.column,
        diagnostic.column + diagnostic.width,
        property(diagnostic.code.as_str()),
        text(&message)
    )
}

/// A SARIF log with one run (OASIS SARIF 2.1.0, sections 3.13 and 3.27).
fn sarif(diagnostics: &Diagnostics) -> Value {
    let rules: Vec<Value> = Code::ALL
        .iter()
        .map(|code| json!({ "id": code.as_str(), "shortDescription": { "text": code.meaning() } }))
        .collect();
    let results: Vec<Value> = diagnostics.as_slice().iter().map(sarif_result).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "sheriffd check", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn sarif_result(diagnostic: &Diagnostic) -> Value {
    let mut text = diagnostic.message.clone();
    let expected = diagnostic.expected.as_ref().map(|text| format!("expected: {text}"));
    for more in [expected.as_ref(), diagnostic.suggestion.as_ref()]
        .into_iter()
        .flatten()
    {
        text.push_str("; ");
        text.push_str(more);
    }
    let level = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    json!({
        "ruleId": diagnostic.code.as_str(),
        "level": level,
        "message": { "text": text },
        "locations": [{
            "physicalLocation": {
                "artifactLocation": { "uri": uri(&diagnostic.file) },
                "region": {
                    "startLine": diagnostic.line,
                    "startColumn": diagnostic.column,
                    "endColumn": diagnostic.column + diagnostic.width,
                    "snippet": { "text": diagnostic.source },
                },
            },
        }],
    })
}

/// A path as a relative reference: what a URI cannot hold is percent-encoded (RFC 3986, section 2.1).
fn uri(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/');
    path.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}
