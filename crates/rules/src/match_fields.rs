//! `match:` to tests of fields.
//!
//! In: the mapping as written, the kinds of events, the shared lists. Out: for each kind the [`FieldMatch`]es, or every
//! error. Never: a field that the event does not have, a value that the field cannot have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::code::Code;
use super::diagnostic::{Gathering, Span, closest, one_of};
use super::expr::NamedList;
use super::fields::{EventKind, Field, field, fields_of};
use super::matching::{FieldMatch, Glob, MAX_GLOB, Range, Test};
use super::value::{Type, Value};
use super::yaml::{Node, Yaml};

/// What is needed to read `match:`.
pub(super) struct Reader<'r> {
    pub kind: EventKind,
    pub lists: &'r BTreeMap<String, NamedList>,
    pub gathering: &'r mut Gathering,
    /// The lists that were named.
    pub used: &'r mut BTreeSet<String>,
}

impl Reader<'_> {
    /// Reads all fields. The guard on infra outcomes is added here, so that it cannot be forgotten.
    pub fn read(&mut self, written: Option<&Node>) -> Vec<FieldMatch> {
        let mut matches: Vec<FieldMatch> = Vec::new();
        for (key, value) in written.map(Node::entries).unwrap_or_default() {
            match field(self.kind, &key.name) {
                Some(found) if found.is_matchable() => {
                    let matched = self.field(found, value);
                    if matched.is_contradictory() {
                        let message = format!("no value of `{}` is both wanted and not refused", key.name);
                        self.gathering.warning(Code::NeverMatches, value.span, message);
                    }
                    matches.push(matched);
                }
                Some(found) => {
                    let ty = (found.ty)();
                    let message = format!("`{}` ({ty}) cannot stand in `match`", key.name);
                    let hint = format!("ask for it in `when`: `event.{}`", key.name);
                    self.gathering
                        .error(Code::UnknownField, key.span, message)
                        .suggest(hint);
                }
                None => self.unknown(&key.name, key.span),
            }
        }
        matches.extend(infra_guard(self.kind, &matches));
        matches
    }

    fn unknown(&mut self, name: &str, span: Span) {
        let message = format!("a {} event has no field `{name}`", self.kind.as_str());
        let names = || {
            fields_of(self.kind)
                .filter(|field| field.is_matchable())
                .map(|field| field.name)
        };
        let elsewhere: Vec<&str> = EventKind::ALL
            .into_iter()
            .filter(|kind| field(*kind, name).is_some())
            .map(EventKind::as_str)
            .collect();
        let plain = name
            .strip_prefix("event.")
            .filter(|plain| field(self.kind, plain).is_some());
        let note = self.gathering.error(Code::UnknownField, span, message);
        if let Some(plain) = plain {
            note.suggest(format!("in `match`, fields stand without `event.`: `{plain}`"));
        } else if let Some(best) = closest(name, names()) {
            note.suggest(format!("did you mean `{best}`?"));
        } else if !elsewhere.is_empty() {
            note.suggest(format!("it is a field of {} events", one_of(elsewhere)));
        } else {
            note.expected(one_of(names()));
        }
    }

    fn field(&mut self, field: &'static Field, value: &Node) -> FieldMatch {
        let mut matched = FieldMatch {
            field,
            any: Vec::new(),
            none: Vec::new(),
            guard: false,
        };
        if matches!(&value.value, Yaml::List(items) if items.is_empty()) {
            let message = format!("`{}` is an empty list, which no event matches", field.name);
            self.gathering
                .error(Code::NeverMatches, value.span, message)
                .suggest("leave the field out to match every value");
        }
        for item in value.items() {
            self.item(&mut matched, item, false);
        }
        matched
    }

    /// One value, pattern, `{ not: … }` or `{ list: … }`.
    fn item(&mut self, matched: &mut FieldMatch, item: &Node, negated: bool) {
        match &item.value {
            Yaml::Map(entries) => {
                if entries.is_empty() {
                    let message = format!("a value of `{}` is an empty mapping", matched.field.name);
                    self.gathering
                        .error(Code::MissingKey, item.span, message)
                        .expected("a value, a list of values, `{ not: … }` or `{ list: name }`");
                }
                for (key, value) in entries {
                    match key.name.as_str() {
                        "not" if matches!(&value.value, Yaml::List(items) if items.is_empty()) => {
                            let message = format!("`not` of `{}` is an empty list", matched.field.name);
                            self.gathering
                                .error(Code::InvalidValue, value.span, message)
                                .suggest("leave the field out to match every value");
                        }
                        "not" if !negated => value.items().iter().for_each(|item| self.item(matched, item, true)),
                        "list" => self.list(matched, value, negated),
                        other => {
                            let message = format!("a value of `{}` has no key `{other}`", matched.field.name);
                            let note = self.gathering.error(Code::UnknownKey, key.span, message);
                            note.expected("a value, a list of values, `{ not: … }` or `{ list: name }`")
                                .did_you_mean(other, ["not", "list"]);
                        }
                    }
                }
            }
            Yaml::Text(text) if (Type::Text == (matched.field.ty)()) => match text.strip_prefix('!') {
                Some(rest) if !negated => self.text(matched, rest.trim_start(), item.span, true),
                _ => self.text(matched, text, item.span, negated),
            },
            _ => {
                if let Some(test) = self.plain(matched.field, item) {
                    matched.add(test, negated);
                }
            }
        }
    }

    fn list(&mut self, matched: &mut FieldMatch, name: &Node, negated: bool) {
        let Some(text) = name.text() else {
            self.gathering
                .error(Code::WrongType, name.span, "`list` is the name of a list")
                .expected("`{ list: name }`");
            return;
        };
        let Some(list) = self.lists.get(text) else {
            let note = self
                .gathering
                .error(Code::UnknownName, name.span, format!("there is no list `{text}`"));
            match closest(text, self.lists.keys().map(String::as_str)) {
                Some(best) => note.suggest(format!("did you mean `{best}`?")),
                None => note.suggest("write it under `lists:` at the top of the file"),
            };
            return;
        };
        self.used.insert(text.to_owned());
        let ty = (matched.field.ty)();
        if !ty.accepts(&list.element) {
            let message = format!(
                "the list `{text}` has elements of type {}, and `{}` is of type {ty}",
                list.element, matched.field.name
            );
            self.gathering.error(Code::TypeMismatch, name.span, message);
            return;
        }
        if list.values.is_empty() {
            matched.add(Test::Nothing, negated);
        }
        for value in list.values.iter() {
            match value {
                Value::Text(text) => self.text(matched, text, name.span, negated),
                Value::Int(number) => matched.add(Test::Int(*number), negated),
                Value::Double(number) => matched.add(Test::Range(Range::exactly(*number)), negated),
                Value::Bool(truth) => matched.add(Test::Bool(*truth), negated),
                // Lists hold scalars only.
                Value::Duration(_) | Value::Time(_) | Value::List(_) | Value::Object(_) => {}
            }
        }
    }

    fn text(&mut self, matched: &mut FieldMatch, text: &str, span: Span, negated: bool) {
        let field = matched.field;
        if text.trim().is_empty() {
            self.gathering
                .error(Code::InvalidValue, span, format!("`{}` cannot be empty", field.name));
            return;
        }
        if text.chars().count() > MAX_GLOB {
            let message = format!("a value of `{}` has at most {MAX_GLOB} characters", field.name);
            self.gathering.error(Code::TooComplex, span, message);
            return;
        }
        if (text.starts_with('/') && text.ends_with('/') && text.len() > 2) || text.starts_with('^') {
            let message =
                format!("{text:?} looks like a regular expression, and `match` has patterns with `*` and `?`");
            let hint = format!("ask for it in `when`: `event.{}.matches(…)`", field.name);
            self.gathering.error(Code::InvalidValue, span, message).suggest(hint);
            return;
        }
        if let (Some(open), Some(close)) = (text.find('{'), text.rfind('}'))
            && open < close
        {
            let message = format!("`{}` in a pattern has no meaning", &text[open..=close]);
            self.gathering
                .error(Code::InvalidValue, span, message)
                .suggest("write a list of patterns: [\"a-*\", \"b-*\"]");
            return;
        }
        if Glob::is_pattern(text) {
            if !field.words.is_empty() && !field.words.iter().any(|word| Glob::new(text).is_match(word)) {
                let message = format!("no value of `{}` fits {text:?}", field.name);
                self.gathering
                    .error(Code::InvalidValue, span, message)
                    .expected(one_of(field.words.iter().copied()));
            }
            matched.add(Test::Glob(Glob::new(text)), negated);
            return;
        }
        if !field.words.is_empty() && !field.words.contains(&text) {
            let message = format!("`{}` is never {text:?}", field.name);
            let note = self
                .gathering
                .error(Code::InvalidValue, span, message)
                .expected(one_of(field.words.iter().copied()));
            note.did_you_mean(text, field.words.iter().copied());
            return;
        }
        matched.add(Test::Text(Arc::from(text)), negated);
    }

    /// A value of a field that is no text.
    fn plain(&mut self, field: &'static Field, item: &Node) -> Option<Test> {
        let ty = (field.ty)();
        match (&ty, &item.value) {
            (Type::Int, Yaml::Int(number)) => return Some(Test::Int(*number)),
            (Type::Double, Yaml::Int(_) | Yaml::Float(_)) => {
                return item.number().map(|n| Test::Range(Range::exactly(n)));
            }
            (Type::Bool, Yaml::Bool(truth)) => return Some(Test::Bool(*truth)),
            (Type::Int | Type::Double, Yaml::Text(text)) => return self.range(field, text, item.span),
            _ => {}
        }
        let message = format!("`{}` is of type {ty}, and this is {}", field.name, item.kind());
        let note = self.gathering.error(Code::TypeMismatch, item.span, message);
        match ty {
            Type::Text => note.expected("a text").suggest("put it in quotes to make it a text"),
            Type::Bool => note.expected("true or false"),
            _ => note.expected("a number, or a range such as \">= 2\" or \"1..3\""),
        };
        None
    }

    /// `>= 2`, `< 0.5`, `1..3`.
    fn range(&mut self, field: &'static Field, text: &str, span: Span) -> Option<Test> {
        const EXPECTED: &str = "a number, or a range such as \">= 2\" or \"1..3\"";
        let bound = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        let range = if let Some((low, high)) = text.split_once("..") {
            let closed = |end: &str| {
                if end.trim().is_empty() {
                    Some(None)
                } else {
                    bound(end).map(|n| Some((n, true)))
                }
            };
            closed(low).zip(closed(high)).map(|(low, high)| Range { low, high })
        } else {
            let sign = ["<=", ">=", "<", ">"]
                .into_iter()
                .find(|sign| text.trim_start().starts_with(sign));
            sign.and_then(|sign| {
                let number = bound(&text.trim_start()[sign.len()..])?;
                let end = Some((number, sign.ends_with('=')));
                Some(if sign.starts_with('<') {
                    Range { low: None, high: end }
                } else {
                    Range { low: end, high: None }
                })
            })
        };
        match range {
            Some(range) if range.is_empty() => {
                let message = format!("no number is in the range {text:?}");
                self.gathering
                    .error(Code::NeverMatches, span, message)
                    .suggest("the lower bound stands first: \"1..3\"");
                None
            }
            Some(range) if range.low.is_none() && range.high.is_none() => {
                self.gathering
                    .error(Code::InvalidValue, span, "a range needs a bound")
                    .expected(EXPECTED);
                None
            }
            Some(range) => Some(Test::Range(range)),
            None => {
                let message = format!("`{}` is a number, and {text:?} is neither one nor a range", field.name);
                let note = self
                    .gathering
                    .error(Code::TypeMismatch, span, message)
                    .expected(EXPECTED);
                if text.parse::<f64>().is_ok() {
                    note.suggest(format!("leave out the quotes: `{text}`"));
                }
                None
            }
        }
    }
}

impl FieldMatch {
    fn add(&mut self, test: Test, negated: bool) {
        let list = if negated { &mut self.none } else { &mut self.any };
        if !list.contains(&test) {
            list.push(test);
        }
    }
}

/// Infra outcomes match only where a rule asks for `infra`: unless it does, they are refused.
fn infra_guard(kind: EventKind, matches: &[FieldMatch]) -> Option<FieldMatch> {
    let outcome = field(kind, "outcome")?;
    let infra = Test::Text(Arc::from("infra"));
    let asked = matches
        .iter()
        .any(|matched| std::ptr::eq(matched.field, outcome) && matched.any.contains(&infra));
    (!asked).then(|| FieldMatch {
        field: outcome,
        any: Vec::new(),
        none: vec![infra],
        guard: true,
    })
}
