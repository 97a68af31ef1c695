//! `tests:` to tests.
//!
//! In: one test as written; its shape was checked. Out: a [`RuleTest`]. Never: running it.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::code::Code;
use super::diagnostic::{Gathering, closest, one_of};
use super::field_table::OBJECT_FIELDS;
use super::fields::{EventKind, Field, field, fields_of};
use super::keys::TEST_STEP;
use super::read::duration;
use super::rule::{ExpectedCases, NO_MATCH, RuleTest, TestAction, TestExpectation, TestPush, TestRun, TestStep};
use super::value::{ObjectType, Type};
use super::yaml::{Node, Yaml};
use sheriffd_event::{Reason, RuleName, Timestamp, VerdictKind};

/// The most steps, runs or expectations of one test.
const MAX_PARTS: usize = 10_000;

/// Reads a test. `None` when it has errors.
pub(super) fn read(node: &Node, rules: &[&str], gathering: &mut Gathering) -> Option<RuleTest> {
    let name = node.get("name")?;
    let parts = |key: &str| node.get(key).map(Node::list).unwrap_or_default();
    for key in ["history", "pushes", "events", "expect"] {
        if parts(key).len() > MAX_PARTS {
            let message = format!("a test has at most {MAX_PARTS} entries under `{key}`");
            gathering.error(Code::TooComplex, name.span, message);
            return None;
        }
    }
    let steps: Vec<Option<TestStep>> = parts("events").iter().map(|node| step(node, gathering)).collect();
    let expectations: Vec<Option<TestExpectation>> = parts("expect")
        .iter()
        .map(|node| expectation(node, rules, gathering))
        .collect();
    let place = gathering.sources.locate(name.span);
    Some(RuleTest {
        name: name.text()?.to_owned(),
        file: place.file,
        line: place.line,
        at: node.get("at").and_then(Node::text).and_then(Timestamp::parse),
        history: parts("history").iter().map(run).collect::<Option<_>>()?,
        pushes: parts("pushes").iter().map(push).collect::<Option<_>>()?,
        limits: limits(node),
        tasks: parts("tasks")
            .iter()
            .filter_map(Node::text)
            .map(str::to_owned)
            .collect(),
        steps: steps.into_iter().collect::<Option<_>>()?,
        expectations: expectations.into_iter().collect::<Option<_>>()?,
    })
}

fn text(node: &Node, key: &str) -> Option<String> {
    node.get(key).and_then(Node::text).map(str::to_owned)
}

fn number(node: &Node, key: &str) -> Option<u64> {
    match node.get(key)?.value {
        Yaml::Int(number) => u64::try_from(number).ok(),
        _ => None,
    }
}

fn run(node: &Node) -> Option<TestRun> {
    Some(TestRun {
        label: text(node, "label")?,
        push: number(node, "push")?,
        outcome: text(node, "outcome")?,
        project: text(node, "project"),
        caused_by: text(node, "caused_by"),
        ago: duration(node.get("ago")),
    })
}

fn push(node: &Node) -> Option<TestPush> {
    Some(TestPush {
        push: number(node, "push")?,
        project: text(node, "project"),
        revision: text(node, "revision"),
        description: text(node, "description"),
        ago: duration(node.get("ago")),
    })
}

fn limits(node: &Node) -> BTreeMap<String, u64> {
    let entries = node.get("limits").map(Node::entries).unwrap_or_default();
    entries
        .iter()
        .filter_map(|(key, value)| match value.value {
            Yaml::Int(jobs) => Some((key.name.clone(), u64::try_from(jobs).ok()?)),
            _ => None,
        })
        .collect()
}

/// One step: exactly one of its keys.
fn step(node: &Node, gathering: &mut Gathering) -> Option<TestStep> {
    let [(key, value)] = node.entries() else {
        let message = format!("{} has exactly one key", TEST_STEP.what);
        gathering
            .error(Code::Conflict, node.first(), message)
            .expected(one_of(TEST_STEP.keys.iter().map(|key| key.name)));
        return None;
    };
    match key.name.as_str() {
        "file" => value.text().map(|file| TestStep::File(file.to_owned())),
        "after" => duration(Some(value)).map(TestStep::After),
        name => {
            let kind = EventKind::from_word(name)?;
            let fields = value.entries().iter().map(|(key, value)| match field(kind, &key.name) {
                Some(known) => Some((key.name.clone(), given(known, value, gathering)?)),
                None => {
                    let message = format!("a {} event has no field `{}`", kind.as_str(), key.name);
                    let best = closest(&key.name, fields_of(kind).map(|field| field.name));
                    let note = gathering.error(Code::UnknownField, key.span, message);
                    if let Some(best) = best {
                        note.suggest(format!("did you mean `{best}`?"));
                    }
                    None
                }
            });
            let fields: Vec<Option<(String, Json)>> = fields.collect();
            let fields: Option<BTreeMap<String, Json>> = fields.into_iter().collect();
            fields.map(|fields| TestStep::Event { kind, fields })
        }
    }
}

/// The value that a test gives a field.
fn given(field: &Field, value: &Node, gathering: &mut Gathering) -> Option<Json> {
    let ty = (field.ty)();
    let fits = match (&ty, &value.value) {
        (_, Yaml::Null) => true,
        (Type::Bool, Yaml::Bool(_)) | (Type::Int, Yaml::Int(_)) | (Type::Double, Yaml::Int(_) | Yaml::Float(_)) => true,
        (Type::Text, Yaml::Text(text)) => field.words.is_empty() || field.words.contains(&text.as_str()),
        (Type::Time, Yaml::Text(text)) => Timestamp::parse(text).is_some(),
        (Type::Duration, Yaml::Text(text)) => sheriffd_event::parse_duration(text).is_ok(),
        (Type::List(of), Yaml::List(items)) => {
            let known = gathering.count();
            items.iter().for_each(|item| element(of, item, field, gathering));
            if gathering.count() > known {
                return None;
            }
            true
        }
        _ => false,
    };
    if !fits {
        match value.text().filter(|_| !field.words.is_empty()) {
            Some(word) => {
                let message = format!("`{}` is never {word:?}", field.name);
                let note = gathering.error(Code::InvalidValue, value.span, message);
                let words = field.words.iter().copied();
                note.expected(one_of(words.clone())).did_you_mean(word, words);
            }
            None => {
                let message = format!("`{}` is of type {ty}, and this is {}", field.name, value.kind());
                gathering.error(Code::TypeMismatch, value.span, message);
            }
        }
        return None;
    }
    Some(json_of(value))
}

/// Checks one element of a list that a test gives a field.
fn element(of: &Type, item: &Node, field: &Field, gathering: &mut Gathering) {
    let fits = match (of, &item.value) {
        (Type::Text, Yaml::Text(_)) => true,
        // What failed is mostly a test alone.
        (Type::Object(ObjectType::Signature), Yaml::Text(_)) => true,
        (Type::Object(of), Yaml::Map(entries)) => {
            for (key, _) in entries {
                let fields = || {
                    OBJECT_FIELDS
                        .iter()
                        .filter(|field| field.of == *of)
                        .map(|field| field.name)
                };
                if !fields().any(|name| name == key.name) {
                    let message = format!("a {} has no field `{}`", of.as_str(), key.name);
                    let note = gathering.error(Code::UnknownField, key.span, message);
                    note.expected(one_of(fields())).did_you_mean(&key.name, fields());
                }
            }
            true
        }
        _ => false,
    };
    if !fits {
        let message = format!(
            "`{}` holds elements of type {of}, and this is {}",
            field.name,
            item.kind()
        );
        gathering.error(Code::TypeMismatch, item.span, message);
    }
}

fn json_of(node: &Node) -> Json {
    match &node.value {
        Yaml::Null => Json::Null,
        Yaml::Bool(value) => json!(value),
        Yaml::Int(value) => json!(value),
        Yaml::Float(value) => json!(value),
        Yaml::Text(value) => json!(value),
        Yaml::List(items) => items.iter().map(json_of).collect(),
        Yaml::Map(entries) => Json::Object(
            entries
                .iter()
                .map(|(key, value)| (key.name.clone(), json_of(value)))
                .collect(),
        ),
    }
}

fn expectation(node: &Node, rules: &[&str], gathering: &mut Gathering) -> Option<TestExpectation> {
    let rule = node.get("rule")?;
    let name = rule.text()?;
    if !rules.contains(&name) {
        let best = closest(name, rules.iter().copied());
        let note = gathering.error(Code::UnknownName, rule.span, format!("there is no rule `{name}`"));
        if let Some(best) = best {
            note.suggest(format!("did you mean `{best}`?"));
        }
        return None;
    }
    if let Some(verdict) = node.get("verdict")
        && let Some(word) = verdict.text()
        && !VerdictKind::ALL.iter().any(|known| known.as_str() == word)
    {
        let words = VerdictKind::ALL.iter().map(|known| known.as_str());
        let note = gathering.error(
            Code::InvalidValue,
            verdict.span,
            format!("there is no verdict `{word}`"),
        );
        note.expected(one_of(words.clone())).did_you_mean(word, words);
        return None;
    }
    if let Some(because) = node.get("because")
        && let Some(word) = because.text()
        && word != NO_MATCH
        && !Reason::ALL.iter().any(|known| known.as_str() == word)
    {
        let words = Reason::ALL.iter().map(|known| known.as_str()).chain([NO_MATCH]);
        let note = gathering.error(Code::InvalidValue, because.span, format!("there is no reason `{word}`"));
        note.expected(one_of(words.clone())).did_you_mean(word, words);
        return None;
    }
    let opened = node.get("opened").and_then(|opened| match opened.value {
        Yaml::Bool(any) => Some(ExpectedCases::Any(any)),
        Yaml::Int(count) => u32::try_from(count).ok().map(ExpectedCases::Exactly),
        _ => None,
    });
    let action = |node: &Node| {
        let times = number(node, "times")
            .and_then(|times| u32::try_from(times).ok())
            .unwrap_or(1);
        Some(TestAction {
            label: text(node, "label")?,
            push: number(node, "push")?,
            times,
        })
    };
    let actions = node
        .get("actions")
        .map(|actions| actions.items().iter().map(action).collect::<Option<Vec<_>>>());
    let actions = match actions {
        Some(actions) => Some(actions?),
        None => None,
    };
    Some(TestExpectation {
        rule: RuleName::from(name),
        opened,
        because: text(node, "because"),
        verdict: text(node, "verdict"),
        actions,
    })
}
