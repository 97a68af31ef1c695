//! The compiled rule set: what the engine asks.
//!
//! In: rule files; then events and facts. Out: the rules that can match an event, and for each whether it does and
//! why. Never: opening anything.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::code::Code;
use super::diagnostic::{Diagnostics, Gathering, Span, to_u32};
use super::expr::{EvalError, Run, Seen, Stop};
use super::facts::Facts;
use super::fields::EventKind;
use super::index::{Entry, Index};
use super::lint;
use super::matching::{FieldMatch, Matched, Test};
use super::read;
use super::rule::{Budget, Condition, Mode, Rule, RuleIndex, RuleTest};
use super::value::Value;
use super::yaml::MAX_FILE_BYTES;
use sheriffd_event::{Event, Outcome};

/// The most files of a rule set.
const MAX_FILES: usize = 10_000;

/// Whether an evaluation keeps what it saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracing {
    /// Only the result.
    Off,
    /// Every clause with the values it saw.
    On,
}

/// One part of a rule that had to hold, and what it saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Clause {
    /// The part as written: a field of `match`, or a part of `when` between `&&`.
    pub text: String,
    /// Its place in the text of `when`, in bytes; `None` for fields of `match`.
    pub span: Option<(usize, usize)>,
    /// Whether it held.
    pub matched: Matched,
    /// What it looked at.
    pub seen: Vec<Seen>,
    /// Why it is unknown or could not be computed, as a sentence.
    pub note: Option<String>,
}

/// What a rule says to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// Whether it matches. `Unknown` never counts as true; the engine may ask again when more is known.
    pub matched: Matched,
    /// The facts that were missed, by field or function name, when it is unknown.
    pub unknown: Vec<&'static str>,
    /// Why the condition could not be computed; it then counts as not met.
    pub error: Option<EvalError>,
    /// Every part with what it saw; empty unless asked for.
    pub trace: Vec<Clause>,
}

/// The most elements of a rule's `for_each` that are looked at on one event.
pub const MAX_ELEMENTS: usize = 200;

/// Whether a person must approve a case before it asks for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Whether; also where that is not known or cannot be computed.
    pub needed: bool,
    /// The parts of `approve: { when: … }` with what they saw.
    pub trace: Vec<Clause>,
}

/// What the rules need to hear of one kind of event, for bindings at a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingHint {
    /// The kind of event.
    pub event: EventKind,
    /// For finished runs the outcomes that some rule can match; empty for other events.
    pub outcomes: Vec<Outcome>,
    /// The projects that some rule can match; `None`: any.
    pub projects: Option<BTreeSet<String>>,
}

/// All rules, checked and compiled. Read-only: a reload makes a new one.
#[derive(Debug)]
pub struct RuleSet {
    version: String,
    files: Vec<Arc<str>>,
    rules: Vec<Rule>,
    budgets: Vec<Budget>,
    tests: Vec<RuleTest>,
    warnings: Diagnostics,
    /// One for each kind of event, in the order of [`EventKind::ALL`].
    indexes: Vec<Index>,
}

impl RuleSet {
    /// Reads rule files, and all `*.yaml` and `*.yml` files of folders (and their folders). The names in diagnostics
    /// are the paths as given.
    ///
    /// # Errors
    /// Everything that is wrong with any of the files; nothing is used then.
    pub fn load<P: AsRef<Path>>(paths: &[P]) -> Result<RuleSet, Diagnostics> {
        let mut gathering = Gathering::default();
        let mut files = Vec::new();
        for path in paths {
            collect(path.as_ref(), &mut files, &mut gathering);
        }
        files.sort();
        files.dedup();
        let numbers: Vec<u32> = files.iter().filter_map(|path| add_file(path, &mut gathering)).collect();
        compile(&numbers, gathering)
    }

    /// Compiles rule files that are given as name and text.
    ///
    /// # Errors
    /// Everything that is wrong with any of the files.
    pub fn parse(files: &[(&str, &str)]) -> Result<RuleSet, Diagnostics> {
        let mut gathering = Gathering::default();
        let numbers: Vec<u32> = files
            .iter()
            .map(|(name, text)| gathering.sources.add(name, text))
            .collect();
        compile(&numbers, gathering)
    }

    /// The first 16 hexadecimal digits of the SHA-256 of all files: the same texts under the same names in the same
    /// order have the same version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The files, as named on loading, in their order.
    pub fn files(&self) -> &[Arc<str>] {
        &self.files
    }

    /// All rules, those that are off included, in the order of the files.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule at a place. Places come from this rule set only; another's may name another rule or none.
    pub fn rule(&self, index: RuleIndex) -> Option<&Rule> {
        self.rules.get(index.0)
    }

    /// The place of the rule of this name.
    pub fn find(&self, name: &str) -> Option<RuleIndex> {
        self.rules
            .iter()
            .position(|rule| rule.name.as_str() == name)
            .map(RuleIndex)
    }

    /// All budgets, by name.
    pub fn budgets(&self) -> &[Budget] {
        &self.budgets
    }

    /// The tests that stand beside the rules.
    pub fn tests(&self) -> &[RuleTest] {
        &self.tests
    }

    /// What is probably not meant so, though it can be used.
    pub fn warnings(&self) -> &Diagnostics {
        &self.warnings
    }

    /// The rules whose `match` does not say no, in their order; rules that are off are left out. Facts that are not
    /// known yet do not exclude a rule.
    pub fn candidates(&self, event: &Event) -> Vec<RuleIndex> {
        let found = self
            .index(EventKind::of(event))
            .map(|index| index.candidates(event))
            .unwrap_or_default();
        found.into_iter().map(|rule| RuleIndex(rule as usize)).collect()
    }

    fn index(&self, kind: EventKind) -> Option<&Index> {
        EventKind::ALL
            .iter()
            .position(|known| *known == kind)
            .and_then(|at| self.indexes.get(at))
    }

    /// Whether a rule matches an event, `match` and `when` together. Without tracing nothing is written down.
    ///
    /// A rule that is not for this kind of event does not match. The mode of the rule, lineage and budgets are the
    /// engine's business.
    pub fn evaluate(&self, rule: RuleIndex, event: &Event, facts: &dyn Facts, tracing: Tracing) -> Evaluation {
        let mut result = Evaluation::open();
        let kind = EventKind::of(event);
        let fields = self
            .rule(rule)
            .and_then(|rule| rule.matches.iter().find(|(of, _)| *of == kind));
        let (Some(rule), Some((_, fields))) = (self.rule(rule), fields) else {
            result.matched = Matched::False;
            return result;
        };
        for field in fields {
            result.take_field(field, event, tracing);
            if result.matched == Matched::False && tracing == Tracing::Off {
                return result;
            }
        }
        if let Some(when) = &rule.when {
            let run = Run::new(event, facts, (tracing == Tracing::On).then_some(&*when.text));
            result.take_condition(when, run, tracing);
        }
        result
    }

    /// The elements that a rule is applied to one by one on this event, at most one more than [`MAX_ELEMENTS`]; `None`
    /// for a rule without `for_each`.
    ///
    /// # Errors
    /// The list is not known yet, or cannot be computed.
    pub fn elements<'a>(
        &'a self,
        rule: RuleIndex,
        event: &'a Event,
        facts: &'a dyn Facts,
    ) -> Result<Option<Vec<Value<'a>>>, Stop> {
        let Some(list) = self.rule(rule).and_then(|rule| rule.for_each.as_ref()) else {
            return Ok(None);
        };
        match Run::new(event, facts, None).eval(&list.expr)? {
            Value::List(list) => Ok(Some(list.iter().take(MAX_ELEMENTS + 1).collect())),
            // The checker lets only lists through.
            _ => Ok(Some(Vec::new())),
        }
    }

    /// Whether a person must approve the case that a rule opens on this event; `facts` know the estimate. `None` for
    /// a rule without `approve`.
    pub fn approval<'a>(
        &'a self,
        rule: RuleIndex,
        event: &'a Event,
        facts: &'a dyn Facts,
        each: Option<&Value<'a>>,
    ) -> Option<Approval> {
        let approve = self.rule(rule)?.approve.as_ref()?;
        let Some(when) = &approve.when else {
            return Some(Approval {
                needed: true,
                trace: Vec::new(),
            });
        };
        let mut run = Run::new(event, facts, Some(&when.text));
        if let Some(each) = each {
            run = run.with_each(each.clone());
        }
        let mut said = Evaluation::open();
        said.take_condition(when, run, Tracing::On);
        Some(Approval {
            needed: said.matched != Matched::False || said.error.is_some(),
            trace: said.trace,
        })
    }

    /// Whether some rule that is not off can match events of this project.
    pub fn could_match_project(&self, project: &str) -> bool {
        self.active().any(|rule| {
            rule.matches.iter().any(|(_, fields)| {
                let wanted = fields.iter().find(|matched| matched.field.name == "project");
                wanted.is_none_or(|matched| matched.accepts(&Value::text(project)))
            })
        })
    }

    /// The kinds of events that some rule that is not off looks at.
    pub fn wants_event_kinds(&self) -> BTreeSet<EventKind> {
        self.active().flat_map(|rule| rule.on.iter().copied()).collect()
    }

    /// What has to be heard of each kind of event: never less than what could match.
    pub fn binding_hints(&self) -> Vec<BindingHint> {
        let mut hints: Vec<BindingHint> = Vec::new();
        for (kind, fields) in self.active().flat_map(|rule| &rule.matches) {
            let (outcomes, projects) = (outcomes_of(*kind, fields), projects_of(fields));
            match hints.iter_mut().find(|hint| hint.event == *kind) {
                None => hints.push(BindingHint {
                    event: *kind,
                    outcomes,
                    projects,
                }),
                Some(hint) => {
                    hint.projects = match (hint.projects.take(), projects) {
                        (Some(known), Some(more)) => Some(&known | &more),
                        _ => None,
                    };
                    for outcome in outcomes {
                        if !hint.outcomes.contains(&outcome) {
                            hint.outcomes.push(outcome);
                        }
                    }
                }
            }
        }
        hints
    }

    fn active(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| rule.mode != Mode::Off)
    }
}

impl Evaluation {
    /// Nothing was asked yet.
    fn open() -> Evaluation {
        Evaluation {
            matched: Matched::True,
            unknown: Vec::new(),
            error: None,
            trace: Vec::new(),
        }
    }

    /// Takes in a condition, clause by clause.
    fn take_condition<'a>(&mut self, condition: &'a Condition, mut run: Run<'a>, tracing: Tracing) {
        for clause in condition.expr.clauses() {
            let truth = run.truth(clause);
            self.take_truth(truth);
            if tracing == Tracing::On {
                let span = clause.span();
                self.trace.push(Clause {
                    text: condition.text.get(span.clone()).unwrap_or_default().to_owned(),
                    span: Some((span.start, span.end)),
                    matched: truth.map_or_else(Stop::as_matched, Matched::from),
                    seen: run.take_seen(),
                    note: truth.err().map(|stop| stop.to_string()),
                });
            } else if self.matched == Matched::False && self.error.is_none() {
                break;
            }
        }
        // Unknown goes before error: what is not known yet may still make it true or false.
        if self.error.is_some() && self.matched == Matched::True {
            self.matched = Matched::False;
        }
    }

    fn take_field(&mut self, field: &FieldMatch, event: &Event, tracing: Tracing) {
        let matched = field.test(event);
        self.matched = self.matched.and(matched);
        if matched == Matched::Unknown {
            self.unknown.push(field.field.name);
        }
        if tracing == Tracing::On {
            let value = field
                .field
                .of_event(event)
                .map_or_else(|| "unknown".to_owned(), |value| value.to_string());
            let note = match (matched, field.guard) {
                (Matched::Unknown, _) => Some(Stop::Unknown(field.field.name).to_string()),
                (Matched::False, true) => {
                    Some("infra outcomes match only where `match.outcome` names `infra`".to_owned())
                }
                _ => None,
            };
            self.trace.push(Clause {
                text: field.to_string(),
                span: None,
                matched,
                seen: vec![Seen {
                    what: format!("event.{}", field.field.name),
                    value,
                }],
                note,
            });
        }
    }

    fn take_truth(&mut self, truth: Result<bool, Stop>) {
        match truth {
            Ok(value) => self.matched = self.matched.and(value.into()),
            Err(Stop::Unknown(name)) => {
                self.matched = self.matched.and(Matched::Unknown);
                if !self.unknown.contains(&name) {
                    self.unknown.push(name);
                }
            }
            Err(Stop::Error(error)) => self.error = self.error.or(Some(error)),
        }
    }
}

impl Stop {
    /// An error counts as not met.
    pub(super) fn as_matched(self) -> Matched {
        match self {
            Stop::Unknown(_) => Matched::Unknown,
            Stop::Error(_) => Matched::False,
        }
    }
}

/// The outcomes that fields let through; empty for events without one.
fn outcomes_of(kind: EventKind, fields: &[FieldMatch]) -> Vec<Outcome> {
    if kind != EventKind::JobFinished {
        return Vec::new();
    }
    let all = [Outcome::Passed, Outcome::Failed, Outcome::Infra, Outcome::Cancelled];
    let accepts = |outcome: &Outcome| {
        let mut tests = fields.iter().filter(|matched| matched.field.name == "outcome");
        tests.all(|matched| matched.accepts(&Value::text(outcome.as_str())))
    };
    all.into_iter().filter(accepts).collect()
}

/// The projects that fields name exactly; `None` when they allow others.
fn projects_of(fields: &[FieldMatch]) -> Option<BTreeSet<String>> {
    let matched = fields.iter().find(|matched| matched.field.name == "project")?;
    if matched.any.is_empty() {
        return None;
    }
    let name = |test: &Test| match test {
        Test::Text(text) => Some(text.to_string()),
        Test::Glob(_) | Test::Int(_) | Test::Range(_) | Test::Bool(_) | Test::Nothing => None,
    };
    matched.any.iter().map(name).collect()
}

fn compile(files: &[u32], mut gathering: Gathering) -> Result<RuleSet, Diagnostics> {
    let read = read::read(files, &mut gathering);
    let failed = gathering.failed();
    // Of rules that cannot be read, warnings would be guesses.
    if !failed {
        lint::check(&read, &mut gathering);
    }
    let (sources, diagnostics) = gathering.finish();
    if failed {
        return Err(diagnostics);
    }
    let mut hash = Sha256::new();
    let mut names = Vec::new();
    for file in files {
        let name = sources
            .locate(Span {
                file: *file,
                start: 0,
                end: 0,
            })
            .file;
        for part in [&*name, sources.text(*file)] {
            // The length first: no two lists of texts have the same bytes.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        names.push(name);
    }
    let version = hash
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let rules: Vec<Rule> = read.rules.into_iter().map(|(rule, _)| rule).collect();
    let indexes = EventKind::ALL
        .iter()
        .map(|kind| Index::new(entries(*kind, &rules)))
        .collect();
    let budgets = read.budgets.into_values().map(|(budget, _)| budget).collect();
    Ok(RuleSet {
        version,
        files: names,
        rules,
        budgets,
        tests: read.tests,
        warnings: diagnostics,
        indexes,
    })
}

/// The rules that look at a kind of event.
fn entries(kind: EventKind, rules: &[Rule]) -> Vec<Entry> {
    let active = rules.iter().enumerate().filter(|(_, rule)| rule.mode != Mode::Off);
    let entry = |(at, rule): (usize, &Rule)| {
        let (_, matches) = rule.matches.iter().find(|(of, _)| *of == kind)?;
        Some(Entry {
            rule: to_u32(at),
            matches: matches.clone(),
        })
    };
    active.filter_map(entry).collect()
}

/// The files that [`RuleSet::load`] would read now, in their order.
pub fn rule_files<P: AsRef<Path>>(paths: &[P]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        // What cannot be read is said when the rules are loaded.
        collect(path.as_ref(), &mut files, &mut Gathering::default());
    }
    files.sort();
    files.dedup();
    files
}

/// The deepest folder that is looked into.
const MAX_FOLDERS: usize = 16;

/// The rule files at a path.
fn collect(path: &Path, files: &mut Vec<PathBuf>, gathering: &mut Gathering) {
    if !path.is_dir() {
        files.push(path.to_path_buf());
        return;
    }
    let mut folders = vec![(path.to_path_buf(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                unreadable(&folder, &format!("the folder cannot be read: {error}"), gathering);
                continue;
            }
        };
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path();
            let is_rule_file = path
                .extension()
                .is_some_and(|extension| extension == "yaml" || extension == "yml");
            if path.is_dir() && depth < MAX_FOLDERS {
                folders.push((path, depth + 1));
            } else if is_rule_file && files.len() < MAX_FILES {
                files.push(path);
            }
        }
    }
}

/// Reads a file into the sources.
fn add_file(path: &Path, gathering: &mut Gathering) -> Option<u32> {
    let size = std::fs::metadata(path).map(|metadata| metadata.len()).unwrap_or(0);
    if size > MAX_FILE_BYTES as u64 {
        let message = format!("the file has {size} bytes, more than the limit of {MAX_FILE_BYTES}");
        unreadable(path, &message, gathering);
        return None;
    }
    match std::fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => Some(gathering.sources.add(&path.to_string_lossy(), &text)),
        Ok(Err(error)) => {
            let at = error.utf8_error().valid_up_to();
            unreadable(path, &format!("the file is not UTF-8 from byte {at} on"), gathering);
            None
        }
        Err(error) => {
            unreadable(path, &format!("the file cannot be read: {error}"), gathering);
            None
        }
    }
}

fn unreadable(path: &Path, message: &str, gathering: &mut Gathering) {
    let file = gathering.sources.add(&path.to_string_lossy(), "");
    gathering.error(Code::Unreadable, Span { file, start: 0, end: 0 }, message);
}
