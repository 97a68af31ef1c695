//! `sheriffd check`: what is wrong with rules and configurations, all of it at once.
//!
//! In: paths of rule files or folders, configurations, documents with rules in them. Out: every error and warning, for
//! people, programs, code scanners or GitHub, and the exit code. Never: changing anything.

mod documents;

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};

use crate::config::{Config, LoadOptions};
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

/// What was looked at and what was found.
struct Checked {
    diagnostics: Diagnostics,
    /// The rule files together, when there are some and they can be used.
    set: Option<RuleSet>,
    /// Whether there are rule files at all.
    has_rules: bool,
    /// Blocks of Markdown documents.
    blocks: usize,
    /// Configuration files.
    configurations: usize,
}

/// Checks rules (files and folders), configurations (`*.toml`) and the blocks of documents (`*.md`), and writes what is
/// wrong; returns the exit code, [`FINE`] or [`NOT_FINE`].
///
/// # Errors
/// Only when the output cannot be written.
pub fn run<P: AsRef<Path>>(paths: &[P], format: Format, deny_warnings: bool, out: &mut dyn Write) -> io::Result<u8> {
    let paths: Vec<&Path> = paths.iter().map(AsRef::as_ref).collect();
    write(&look_at(&paths, None), format, deny_warnings, out)
}

/// The same, and with it a configuration file, whatever its name ends in.
///
/// # Errors
/// Only when the output cannot be written.
pub fn run_beside<P: AsRef<Path>>(
    configuration: &Path,
    paths: &[P],
    format: Format,
    deny_warnings: bool,
    out: &mut dyn Write,
) -> io::Result<u8> {
    let paths: Vec<&Path> = paths.iter().map(AsRef::as_ref).collect();
    let said = documents::configuration(configuration);
    write(&look_at(&paths, Some(said)), format, deny_warnings, out)
}

/// The same for a configuration as the daemon would read it, and the rules that it names.
///
/// # Errors
/// Only when the output cannot be written.
pub fn run_configured(
    options: &LoadOptions,
    format: Format,
    deny_warnings: bool,
    out: &mut dyn Write,
) -> io::Result<u8> {
    let checked = match Config::load(options) {
        Ok(loaded) => {
            let paths: Vec<&Path> = loaded.config.rules.paths.iter().map(AsRef::as_ref).collect();
            look_at(&paths, Some(Vec::new()))
        }
        Err(errors) => {
            let path = options.file.as_deref().unwrap_or(Path::new("configuration"));
            let text = std::fs::read_to_string(path).unwrap_or_default();
            // Which rules are meant is not known.
            look_at(&[], Some(documents::diagnostics_of(errors, path, &text)))
        }
    };
    write(&checked, format, deny_warnings, out)
}

/// `configured`: what is wrong with the configuration in force, when it was looked at.
fn look_at(paths: &[&Path], configured: Option<Vec<Diagnostic>>) -> Checked {
    let is = |path: &&&Path, extension: &str| path.extension().is_some_and(|found| found == extension);
    let documents: Vec<&&Path> = paths.iter().filter(|path| is(path, "md")).collect();
    let configurations: Vec<&&Path> = paths.iter().filter(|path| is(path, "toml")).collect();
    let rules: Vec<&&Path> = paths
        .iter()
        .filter(|path| !is(path, "md") && !is(path, "toml"))
        .collect();
    let mut checked = Checked {
        diagnostics: Diagnostics::default(),
        set: None,
        has_rules: !rules.is_empty(),
        blocks: 0,
        configurations: configurations.len() + usize::from(configured.is_some()),
    };
    let mut found = configured.unwrap_or_default();
    if checked.has_rules {
        match RuleSet::load(&rules) {
            Ok(set) => {
                found.extend_from_slice(set.warnings().as_slice());
                checked.set = Some(set);
            }
            Err(errors) => found.extend_from_slice(errors.as_slice()),
        }
    }
    for path in documents {
        let (said, blocks) = documents::markdown(path);
        found.extend(said);
        checked.blocks += blocks;
    }
    for path in configurations {
        found.extend(documents::configuration(path));
    }
    checked.diagnostics = found.into_iter().collect();
    checked
}

fn write(checked: &Checked, format: Format, deny_warnings: bool, out: &mut dyn Write) -> io::Result<u8> {
    let diagnostics = &checked.diagnostics;
    match format {
        Format::Pretty => pretty(checked, out)?,
        Format::Json => {
            let report = json!({
                "errors": diagnostics.errors(),
                "warnings": diagnostics.warnings(),
                "version": checked.set.as_ref().map(RuleSet::version),
                "rules": checked.set.as_ref().map(|set| set.rules().len()),
                "blocks": checked.blocks,
                "configurations": checked.configurations,
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

fn pretty(checked: &Checked, out: &mut dyn Write) -> io::Result<()> {
    let diagnostics = &checked.diagnostics;
    if !diagnostics.is_empty() {
        writeln!(out, "{diagnostics}")?;
    }
    let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let found = format!(
        "{}, {}",
        count(diagnostics.errors(), "error"),
        count(diagnostics.warnings(), "warning")
    );
    let mut looked_at = Vec::new();
    if let Some(set) = &checked.set {
        let (rules, files) = (count(set.rules().len(), "rule"), count(set.files().len(), "file"));
        looked_at.push(format!("{rules} in {files}"));
    }
    if checked.configurations > 0 {
        looked_at.push(count(checked.configurations, "configuration"));
    }
    if checked.blocks > 0 {
        looked_at.push(count(checked.blocks, "block"));
    }
    match &checked.set {
        Some(set) => writeln!(out, "{}: {found}; version {}", looked_at.join(", "), set.version()),
        None if checked.has_rules => writeln!(out, "{found}: the rules cannot be used"),
        None if looked_at.is_empty() => writeln!(out, "{found}"),
        None => writeln!(out, "{}: {found}", looked_at.join(", ")),
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
