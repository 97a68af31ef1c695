//! What is wrong with a rule file, said so that it can be mended at once.
//!
//! In: a place in a source text and the facts. Out: [`Diagnostic`]s with file, line, column, source line, caret,
//! what was expected and a suggestion. Never: stopping at the first one.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::code::Code;

/// A part of a source file, in bytes. Made only by the parsers, so it always lies inside its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Span {
    /// The file, as numbered by [`Sources`].
    pub file: u32,
    /// The first byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

/// One rule file as it was read.
#[derive(Debug, Clone)]
struct Source {
    name: Arc<str>,
    text: Arc<str>,
    /// Where each line begins.
    lines: Vec<u32>,
}

/// The texts that spans point into.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    files: Vec<Source>,
}

impl Sources {
    /// Takes in a file; spans of it carry the returned number.
    pub fn add(&mut self, name: &str, text: &str) -> u32 {
        let starts = text
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'\n')
            .map(|(at, _)| to_u32(at + 1));
        let lines = std::iter::once(0).chain(starts).collect();
        self.files.push(Source {
            name: Arc::from(name),
            text: Arc::from(text),
            lines,
        });
        to_u32(self.files.len() - 1)
    }

    /// The text of a file.
    pub fn text(&self, file: u32) -> &str {
        self.files.get(file as usize).map_or("", |source| &source.text)
    }

    /// The file's name and the line and column (both from 1, columns in characters) where a span begins.
    pub fn locate(&self, span: Span) -> Location {
        let Some(source) = self.files.get(span.file as usize) else {
            return Location {
                file: Arc::from("?"),
                line: 1,
                column: 1,
                source: String::new(),
                width: 1,
            };
        };
        let line = source.lines.partition_point(|start| *start <= span.start).max(1);
        let begin = source.lines[line - 1] as usize;
        let rest = source.text.get(begin..).unwrap_or_default();
        let text = rest.lines().next().unwrap_or_default();
        let offset = floor_boundary(text, (span.start as usize).saturating_sub(begin));
        let end = floor_boundary(text, (span.end as usize).saturating_sub(begin).max(offset));
        Location {
            file: Arc::clone(&source.name),
            line: to_u32(line),
            column: to_u32(text[..offset].chars().count() + 1),
            source: text.to_owned(),
            width: to_u32(text[offset..end].chars().count().max(1)),
        }
    }
}

/// A span as people read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    pub file: Arc<str>,
    pub line: u32,
    pub column: u32,
    pub source: String,
    pub width: u32,
}

/// The largest character boundary of `text` that is not after `at`.
fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Offsets fit: files are refused far below 4 GiB ([`super::yaml::MAX_FILE_BYTES`]).
pub(crate) fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The rules cannot be used.
    Error,
    /// The rules can be used, but are probably not what was meant.
    Warning,
}

impl Severity {
    /// The word used in every output format.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Which kind of mistake: stable, for filters and documentation.
    pub code: Code,
    /// What is wrong, in one sentence with the facts in it.
    pub message: String,
    /// The file, as it was named on loading.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// The characters in question, on this line, at least 1.
    pub width: u32,
    /// The source line.
    pub source: String,
    /// What would be right here.
    pub expected: Option<String>,
    /// What was probably meant, or what to do.
    pub suggestion: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}[{}]: {}",
            self.severity.as_str(),
            self.code.as_str(),
            self.message
        )?;
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(f, "{margin}--> {}:{}:{}", self.file, self.line, self.column)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number} | {}", self.source)?;
        // Tabs are kept, so that the caret stands under its text whatever the width of a tab.
        let lead = self.source.chars().take((self.column as usize).saturating_sub(1));
        let pad: String = lead.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        writeln!(f, "{margin} | {pad}{}", "^".repeat(self.width as usize))?;
        if let Some(expected) = &self.expected {
            writeln!(f, "{margin} = expected: {expected}")?;
        }
        if let Some(suggestion) = &self.suggestion {
            writeln!(f, "{margin} = {suggestion}")?;
        }
        Ok(())
    }
}

/// The most diagnostics that are kept: a file that is something else altogether would yield one a line.
pub const MAX_DIAGNOSTICS: usize = 1_000;

/// Everything that is wrong with a set of rule files, in the order of the text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// All of them, by file, line and column.
    pub fn as_slice(&self) -> &[Diagnostic] {
        &self.0
    }

    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.0.iter().filter(|d| d.severity == Severity::Error).count()
    }

    /// How many warnings there are.
    pub fn warnings(&self) -> usize {
        self.0.len() - self.errors()
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Diagnostic> for Diagnostics {
    /// By file, line and column.
    fn from_iter<I: IntoIterator<Item = Diagnostic>>(all: I) -> Diagnostics {
        let mut list: Vec<Diagnostic> = all.into_iter().collect();
        list.sort_by(|a, b| (&a.file, a.line, a.column, a.severity).cmp(&(&b.file, b.line, b.column, b.severity)));
        list.truncate(MAX_DIAGNOSTICS);
        Diagnostics(list)
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, diagnostic) in self.0.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// Where diagnostics are gathered while files are read.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    /// The texts.
    pub sources: Sources,
    found: Vec<(Span, Diagnostic)>,
}

impl Gathering {
    /// Adds an error; what is expected and suggested is added to the returned diagnostic.
    pub fn error(&mut self, code: Code, span: Span, message: impl Into<String>) -> Note<'_> {
        self.add(Severity::Error, code, span, message.into())
    }

    /// Adds a warning.
    pub fn warning(&mut self, code: Code, span: Span, message: impl Into<String>) -> Note<'_> {
        self.add(Severity::Warning, code, span, message.into())
    }

    fn add(&mut self, severity: Severity, code: Code, span: Span, message: String) -> Note<'_> {
        let place = self.sources.locate(span);
        let diagnostic = Diagnostic {
            severity,
            code,
            message,
            file: place.file,
            line: place.line,
            column: place.column,
            width: place.width,
            source: place.source,
            expected: None,
            suggestion: None,
        };
        self.found.push((span, diagnostic));
        let at = self.found.len() - 1;
        Note(&mut self.found[at].1)
    }

    /// How many were found so far.
    pub fn count(&self) -> usize {
        self.found.len()
    }

    /// Says what would have been right for those found after the first `known`.
    pub fn expect_instead(&mut self, known: usize, expected: &str) {
        for (_, diagnostic) in self.found.iter_mut().skip(known) {
            diagnostic.expected = Some(expected.to_owned());
        }
    }

    /// Whether an error was found.
    pub fn failed(&self) -> bool {
        self.found
            .iter()
            .any(|(_, diagnostic)| diagnostic.severity == Severity::Error)
    }

    /// Puts everything in the order of the text; says each thing once (an anchor may be read several times).
    pub fn finish(mut self) -> (Sources, Diagnostics) {
        self.found
            .sort_by_key(|(span, diagnostic)| (span.file, span.start, diagnostic.severity));
        let mut list: Vec<Diagnostic> = self.found.into_iter().map(|(_, diagnostic)| diagnostic).collect();
        list.dedup();
        list.truncate(MAX_DIAGNOSTICS);
        (self.sources, Diagnostics(list))
    }
}

/// A diagnostic that was just added and may be told more of.
pub(crate) struct Note<'a>(&'a mut Diagnostic);

impl Note<'_> {
    /// What would be right.
    pub fn expected(self, text: impl Into<String>) -> Self {
        self.0.expected = Some(text.into());
        self
    }

    /// What to do.
    pub fn suggest(self, text: impl Into<String>) -> Self {
        self.0.suggestion = Some(text.into());
        self
    }

    /// Suggests the candidate that is written most like `word`, if one is close.
    pub fn did_you_mean<'c>(self, word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Self {
        match closest(word, candidates) {
            Some(best) => self.suggest(format!("did you mean `{best}`?")),
            None => self,
        }
    }
}

/// The candidate most like `word`: at most a third of its letters differ, or one is the beginning of the other.
pub(crate) fn closest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let wanted = plain(word);
    let score = |candidate: &str| {
        let candidate = plain(candidate);
        let distance = strsim::damerau_levenshtein(&wanted, &candidate);
        let limit = (wanted.chars().count().max(candidate.chars().count()) / 3).max(1);
        // An abbreviation of three letters or more is as good as one slip of the finger.
        let abbreviated = wanted.len() >= 3 && (candidate.starts_with(&wanted) || wanted.starts_with(&candidate));
        if distance <= limit {
            Some(distance)
        } else if abbreviated {
            Some(limit)
        } else {
            None
        }
    };
    let scored = candidates
        .into_iter()
        .filter(|c| *c != word)
        .filter_map(|c| score(c).map(|s| (s, c)));
    scored.min_by_key(|(score, _)| *score).map(|(_, best)| best)
}

/// A list of words as prose: `a`, `b` or `c`.
pub(crate) fn one_of<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    let quoted: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        None => "nothing".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}
