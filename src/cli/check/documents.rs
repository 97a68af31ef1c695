//! What stands in Markdown and in configuration files, for `sheriffd check`.
//!
//! In: paths. Out: diagnostics with the places in those files. Never: the process's own configuration: that is one of
//! its files, or none.
//!
//! In Markdown a fenced block is looked at when it is `yaml` and begins with `version: 1`, or when `sheriffd` stands
//! behind its language: `yaml sheriffd` for rules, `toml sheriffd` for a configuration. Each block is taken by itself. One
//! that is wrong on purpose has `mistakes` there.

use std::path::Path;
use std::sync::Arc;

use crate::config::{Config, ConfigError, LoadOptions, Origin};
use crate::rules::{Code, Diagnostic, RuleSet, Severity};

/// The largest document that is read, in bytes.
const MAX_DOCUMENT: u64 = 4 << 20;

/// What is in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Rules,
    Configuration,
}

/// A fenced block, with as many empty lines before it as there are lines above it in its document: places in it are
/// places in the document.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Block {
    language: Language,
    text: String,
}

/// Checks every block of a Markdown document; returns what is wrong, and how many blocks there are.
pub(super) fn markdown(path: &Path) -> (Vec<Diagnostic>, usize) {
    let name = path.to_string_lossy();
    let text = match read(path) {
        Ok(text) => text,
        Err(diagnostic) => return (vec![*diagnostic], 0),
    };
    let blocks = blocks(&text);
    let said = blocks.iter().flat_map(|block| match block.language {
        Language::Rules => match RuleSet::parse(&[(&*name, &block.text)]) {
            Ok(set) => set.warnings().as_slice().to_vec(),
            Err(errors) => errors.as_slice().to_vec(),
        },
        Language::Configuration => Config::check_text(path, &block.text, &environment())
            .iter()
            .map(|error| diagnostic(error, path, &block.text))
            .collect(),
    });
    (said.collect(), blocks.len())
}

/// Checks a configuration file with its drop-ins, as it is without the settings of this process.
pub(super) fn configuration(path: &Path) -> Vec<Diagnostic> {
    let text = match read(path) {
        Ok(text) => text,
        Err(diagnostic) => return vec![*diagnostic],
    };
    let options = LoadOptions {
        file: Some(path.to_owned()),
        environment: environment(),
        set: Vec::new(),
    };
    diagnostics_of(Config::load(&options).err().unwrap_or_default(), path, &text)
}

/// What is wrong with a configuration, as diagnostics.
pub(super) fn diagnostics_of(errors: Vec<ConfigError>, path: &Path, text: &str) -> Vec<Diagnostic> {
    errors.iter().map(|error| diagnostic(error, path, text)).collect()
}

/// The variables that `env:` references may name; those that set settings are left out.
fn environment() -> Vec<(String, String)> {
    let mut variables = LoadOptions::of_process(None, Vec::new()).environment;
    variables.retain(|(name, _)| !name.starts_with(crate::config::ENVIRONMENT_PREFIX));
    variables
}

fn read(path: &Path) -> Result<String, Box<Diagnostic>> {
    let size = std::fs::metadata(path)
        .map(|metadata| metadata.len())
        .unwrap_or_default();
    let wrong = |why: String| Box::new(at(path, 1, 1, "", Code::Unreadable, why));
    if size > MAX_DOCUMENT {
        return Err(wrong(format!(
            "the file has {size} bytes, more than the limit of {MAX_DOCUMENT}"
        )));
    }
    std::fs::read_to_string(path).map_err(|error| wrong(format!("the file cannot be read: {error}")))
}

fn at(path: &Path, line: usize, column: usize, source: &str, code: Code, message: String) -> Diagnostic {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Diagnostic {
        severity: Severity::Error,
        code,
        message,
        file: Arc::from(path.to_string_lossy()),
        line: number(line),
        column: number(column),
        width: 1,
        source: source.to_owned(),
        expected: None,
        suggestion: None,
    }
}

/// An error of a configuration with its place, where it has one in this file.
fn diagnostic(error: &ConfigError, path: &Path, text: &str) -> Diagnostic {
    let (file, line) = match error.origin() {
        Some(Origin::File { path, line }) => (path.as_path(), *line),
        _ => (path, 1),
    };
    // A drop-in is another text.
    let other = if file == path {
        None
    } else {
        std::fs::read_to_string(file).ok()
    };
    let source = other
        .as_deref()
        .unwrap_or(text)
        .lines()
        .nth(line - 1)
        .unwrap_or_default();
    let key_of = |key: &str| {
        let name = key.rsplit('.').next().unwrap_or(key).trim_matches('"').to_owned();
        let before = source.find(&name).map_or(0, |at| source[..at].chars().count());
        (before + 1, name.chars().count().max(1))
    };
    let place = |code: Code, key: &str, message: String| {
        let (column, width) = key_of(key);
        Diagnostic {
            width: u32::try_from(width).unwrap_or(1),
            ..at(file, line, column, source, code, message)
        }
    };
    match error {
        ConfigError::Unknown { key, suggestion, .. } => Diagnostic {
            suggestion: suggestion.as_ref().map(|name| format!("did you mean `{name}`?")),
            ..place(Code::UnknownKey, key, format!("there is no setting `{key}`"))
        },
        ConfigError::Value {
            key,
            got,
            expected,
            detail,
            ..
        } => Diagnostic {
            expected: Some(expected.clone()),
            suggestion: detail.clone(),
            ..place(Code::InvalidValue, key, format!("`{key}` is {got}"))
        },
        // Whether the secret is there is a matter of the machine that the daemon runs on.
        ConfigError::Secret { key, reason, .. } => Diagnostic {
            severity: Severity::Warning,
            suggestion: Some("it must be there where the daemon runs: `sheriffd doctor` tries it".to_owned()),
            ..place(Code::NoSecret, key, format!("the secret `{key}` {reason}"))
        },
        ConfigError::Syntax {
            path,
            line,
            column,
            reason,
        } => {
            let source = text.lines().nth(line - 1).unwrap_or_default();
            at(path, *line, *column, source, Code::TomlSyntax, reason.clone())
        }
        ConfigError::Unreadable { path, .. } => at(path, 1, 1, "", Code::Unreadable, error.to_string()),
        ConfigError::Flag(_) | ConfigError::Conflict(_) => at(path, 1, 1, "", Code::Conflict, error.to_string()),
    }
}

/// The fenced blocks that are ours (CommonMark 0.31, section 4.5), indented ones in lists too.
fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some((fence, info)) = opening(line) else { continue };
        let mut body = String::new();
        for (_, line) in lines.by_ref() {
            let trimmed = line.trim();
            if trimmed.len() >= fence.len()
                && trimmed.starts_with(fence)
                && trimmed.trim_matches(marker(fence)).is_empty()
            {
                break;
            }
            body.push_str(line);
            body.push('\n');
        }
        if let Some(language) = language(info, &body) {
            let text = "\n".repeat(number + 1) + &body;
            blocks.push(Block { language, text });
        }
    }
    blocks
}

fn marker(fence: &str) -> char {
    if fence.starts_with('~') { '~' } else { '`' }
}

/// The fence that a line opens, and what stands behind it.
fn opening(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let marker = line.chars().next().filter(|marker| matches!(marker, '`' | '~'))?;
    let length = line.chars().take_while(|character| *character == marker).count();
    let (fence, info) = line.split_at(length);
    // Backticks in the info string mean that the line is text.
    (length >= 3 && !(marker == '`' && info.contains('`'))).then_some((fence, info.trim()))
}

fn language(info: &str, body: &str) -> Option<Language> {
    let mut words = info.split_whitespace();
    let language = words.next()?;
    let marks: Vec<&str> = words.collect();
    // Wrong on purpose.
    if marks.contains(&"mistakes") {
        return None;
    }
    let is_marked = marks.contains(&"sheriffd");
    let first = body
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'));
    match language {
        "yaml" | "yml" if is_marked || first == Some("version: 1") => Some(Language::Rules),
        "toml" if is_marked => Some(Language::Configuration),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_ours_by_their_first_line_or_their_mark_and_keep_their_lines() {
        let text = "# A\n\n```yaml\nversion: 1\nrules: []\n```\n\n````md\n```yaml\nversion: 1\n```\n````\n- x\n  ```toml \
                    sheriffd\n  backend = \"dry-run\"\n  ```\n~~~yaml\nversion: 1 # not the same line\n~~~\n```yaml\nkind: \
                    Pod\n```\n```yaml sheriffd\nrules: []\n";
        let found = blocks(text);
        let line_of = |block: &Block, what: &str| block.text.lines().position(|line| line.trim() == what);
        let languages: Vec<Language> = found.iter().map(|block| block.language).collect();
        assert_eq!(languages, [Language::Rules, Language::Configuration, Language::Rules]);
        assert_eq!(line_of(&found[0], "version: 1"), Some(3));
        assert_eq!(line_of(&found[1], "backend = \"dry-run\""), Some(14));
        assert_eq!(line_of(&found[2], "rules: []"), Some(23));
    }
}
