//! Lists and budgets: what all rule files share.
//!
//! In: `lists:` and `budgets:` as written; their shapes were checked. Out: named lists and budgets. Never: two of one
//! name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::code::Code;
use super::diagnostic::Span;
use super::expr::{NamedList, an};
use super::read::Reader;
use super::rule::{Budget, BudgetScope, Counted};
use super::value::{Type, Value};
use super::yaml::{Key, Node, Yaml};

/// The name of a budget that counts failures without saying so.
const ATTENTION: &str = "attention";

impl Reader<'_> {
    /// Reads a shared list.
    pub(super) fn list(&mut self, key: &Key, node: &Node) {
        let identifier = key.name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && key
                .name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !identifier {
            let message = format!("a list cannot be called `{}`", key.name);
            let note = self.gathering.error(Code::InvalidValue, key.span, message);
            note.expected("letters, digits and `_`, so that it can be written `lists.name`")
                .suggest(format!("did you mean `{}`?", key.name.replace('-', "_")));
            return;
        }
        let Yaml::List(items) = &node.value else { return };
        let values: Vec<Value<'static>> = items.iter().filter_map(constant).collect();
        let types: Vec<Type> = values.iter().map(type_of).collect();
        let mut element = types.first().cloned().unwrap_or(Type::Any);
        if let Some(odd) = types.iter().position(|ty| *ty != element) {
            let message = format!(
                "the list `{}` mixes types: its first element is {}, this is {}",
                key.name,
                an(&element),
                an(&types[odd])
            );
            let span = items.get(odd).map_or(node.span, |item| item.span);
            self.gathering
                .error(Code::TypeMismatch, span, message)
                .suggest("put numbers in quotes to make them texts");
            // Goes with everything, so that nothing else is said about it.
            element = Type::Any;
        }
        let list = NamedList {
            element,
            values: values.into(),
        };
        if let Some((_, first)) = self.read.lists.get(&key.name) {
            self.duplicate("list", &key.name, key.span, *first);
        } else {
            self.read.lists.insert(key.name.clone(), (list, key.span));
        }
    }

    /// Reads a budget.
    pub(super) fn budget(&mut self, key: &Key, node: &Node) {
        let per = match node.get("per").and_then(Node::text) {
            Some("project") => BudgetScope::Project,
            Some("platform") => BudgetScope::Platform,
            Some("rule") => BudgetScope::Rule,
            Some("label") => BudgetScope::Label,
            // What cannot be read was said already; under its name it is still known.
            _ => BudgetScope::All,
        };
        // The name says what it is for, unless the budget says something else.
        let by_name = match key.name.as_str() {
            ATTENTION => Counted::Failures,
            _ => Counted::Jobs,
        };
        let counts = node.get("counts").and_then(Node::text);
        let counts = Counted::ALL
            .into_iter()
            .find(|counted| counts == Some(counted.as_str()))
            .unwrap_or(by_name);
        let daily = node.get("daily").unwrap_or(node);
        let jobs = |node: &Node| match node.value {
            Yaml::Int(number) => u32::try_from(number).ok(),
            _ => None,
        };
        let mut special: BTreeMap<String, u32> = daily
            .entries()
            .iter()
            .filter_map(|(key, node)| Some((key.name.clone(), jobs(node)?)))
            .collect();
        let default = special.remove("default").or_else(|| jobs(daily));
        if node.get("per").and_then(Node::text) == Some("all") && !special.is_empty() {
            let message = "a budget for `all` has one account, so one number";
            self.gathering
                .error(Code::Conflict, daily.span, message)
                .expected("`daily: 200`");
        }
        let budget = Budget {
            name: Arc::from(key.name.as_str()),
            counts,
            per,
            default,
            special,
        };
        if let Some((_, first)) = self.read.budgets.get(&key.name) {
            self.duplicate("budget", &key.name, key.span, *first);
        } else {
            self.read.budgets.insert(key.name.clone(), (budget, key.span));
        }
    }

    fn duplicate(&mut self, what: &str, name: &str, span: Span, first: Span) {
        let place = self.gathering.sources.locate(first);
        let note = self
            .gathering
            .error(Code::DuplicateName, span, format!("there are two {what}s `{name}`"));
        note.suggest(format!(
            "the first is in {}:{}: rename one of them",
            place.file, place.line
        ));
    }
}

/// An element of a shared list.
fn constant(node: &Node) -> Option<Value<'static>> {
    Some(match &node.value {
        Yaml::Bool(truth) => Value::Bool(*truth),
        Yaml::Int(number) => Value::Int(*number),
        Yaml::Float(number) => Value::Double(*number),
        Yaml::Text(text) => Value::Text(text.clone().into()),
        Yaml::Null | Yaml::List(_) | Yaml::Map(_) => return None,
    })
}

fn type_of(value: &Value<'_>) -> Type {
    match value {
        Value::Bool(_) => Type::Bool,
        Value::Int(_) => Type::Int,
        Value::Double(_) => Type::Double,
        _ => Type::Text,
    }
}
