//! The input of an action: made from a request by what the action's schema has a place for, and checked against it.
//!
//! In: an action and what is wanted. Out: the input, or why this action cannot do it. Never: asking.

use jsonschema::PatternOptions;
use serde_json::{Map, Value, json};

use crate::event::{Label, Revision, RunInput};
use crate::net::http::quote;

use super::actions::Action;

/// What marks our runs where an action that limits a job to manifests wants a symbol for them.
const SYMBOL: &str = "sheriffd";

/// Breaches of a schema that are named; more would not help the reader.
const MAX_BREACHES: usize = 3;

/// Nesting of a schema that defaults are looked for in. Recorded ones have 3.
const MAX_DEPTH: usize = 16;

/// What is wanted of an action.
#[derive(Debug, Clone, Copy)]
pub struct Want<'a> {
    /// The jobs: one, or several that are to be asked for with one call.
    pub labels: &'a [Label],
    /// The push's head revision.
    pub revision: &'a Revision,
    /// How often, 1 to 100.
    pub times: u32,
    /// Extra input of the request.
    pub extra: &'a RunInput,
}

/// Why an action cannot do what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// The tree marks the task as not to be run again: its action would need to be forced. Nothing else should try.
    #[error("the tree does not let this kind of task be run again (its action `{0}` would have to be forced)")]
    Protected(String),
    /// It acts on the task group, and there is no way to say for which job.
    #[error("it has no input that names a job")]
    NoLabel,
    /// It takes one job a call.
    #[error("it takes one job a request, and {0} are wanted at once")]
    OneJob(usize),
    /// It runs a job once.
    #[error("it runs a job once a request, and {0} runs are wanted at once")]
    OnlyOnce(u32),
    /// It has no input of this kind.
    #[error("it takes no {0}")]
    NoPlace(&'static str),
    /// Its schema says no.
    #[error("its schema does not allow the input: {0}")]
    Schema(String),
    /// Its schema is no schema.
    #[error("its schema is not usable: {0}")]
    BadSchema(String),
}

/// The input with which `action` does what is wanted.
///
/// An input that the schema does not require is left out, its default with it: the action applies it, recorded
/// requests do the same, and some defaults are examples rather than values one would want (`retrigger-custom`).
/// What the schema requires and gives a default for is sent with that default.
pub fn input_for(action: &Action, want: &Want<'_>) -> Result<Value, InputError> {
    let none = Map::new();
    let properties = action
        .schema
        .as_ref()
        .and_then(|s| s.get("properties"))
        .and_then(Value::as_object)
        .unwrap_or(&none);
    let has = |name: &str| properties.contains_key(name);
    let for_group = action.context.is_empty();
    if !for_group && has("force") {
        return Err(InputError::Protected(action.name.clone()));
    }
    let mut input = Map::new();
    if has("requests") {
        let request = json!({"tasks": want.labels, "times": want.times});
        input.insert("requests".to_owned(), json!([request]));
    } else {
        if has("tasks") {
            input.insert("tasks".to_owned(), json!(want.labels));
        } else if has("label") {
            let [label] = want.labels else {
                return Err(InputError::OneJob(want.labels.len()));
            };
            input.insert("label".to_owned(), json!(label));
        } else if for_group {
            return Err(InputError::NoLabel);
        }
        match properties.get("times") {
            Some(times) if times.get("default").and_then(Value::as_u64) == Some(want.times.into()) => {}
            Some(_) => {
                input.insert("times".to_owned(), json!(want.times));
            }
            None if want.times > 1 => return Err(InputError::OnlyOnce(want.times)),
            None => {}
        }
    }
    for (values, names, what) in [
        (&want.extra.env, ["environment", "env"], "environment variables"),
        (&want.extra.preferences, ["preferences", "prefs"], "preferences"),
    ] {
        if !values.is_empty() {
            let name = names
                .into_iter()
                .find(|name| has(name))
                .ok_or(InputError::NoPlace(what))?;
            input.insert(name.to_owned(), json!(values));
        }
    }
    if !want.extra.manifests.is_empty() {
        if !has("test_manifests") {
            return Err(InputError::NoPlace("test manifests"));
        }
        input.insert("test_manifests".to_owned(), json!(want.extra.manifests));
        // gecko's `backfill-task` makes the new task's symbol of these two.
        for (name, value) in [("revision", want.revision.as_str()), ("symbol", SYMBOL)] {
            if has(name) {
                input.insert(name.to_owned(), json!(value));
            }
        }
    }
    complete(action.schema.as_ref(), Value::Object(input))
}

/// `input` with the defaults that `schema` requires, if the schema allows it.
pub fn complete(schema: Option<&Value>, mut input: Value) -> Result<Value, InputError> {
    let Some(schema) = schema else { return Ok(input) };
    fill(schema, &mut input, MAX_DEPTH);
    // A linear regex engine: the schema is somebody else's. Without a resolver, `$ref` reaches nothing outside.
    let validator = jsonschema::options()
        .with_pattern_options(PatternOptions::regex())
        .build(schema)
        .map_err(|error| InputError::BadSchema(quote(&error.to_string())))?;
    let breaches: Vec<String> = validator
        .iter_errors(&input)
        .take(MAX_BREACHES)
        .map(|error| {
            let place = error.instance_path().to_string();
            if place.is_empty() {
                quote(&error.to_string())
            } else {
                format!("`{place}`: {}", quote(&error.to_string()))
            }
        })
        .collect();
    if breaches.is_empty() {
        Ok(input)
    } else {
        Err(InputError::Schema(breaches.join("; ")))
    }
}

/// Puts in the defaults of required properties that are missing.
fn fill(schema: &Value, value: &mut Value, depth: usize) {
    if depth == 0 {
        return;
    }
    match value {
        Value::Object(object) => {
            let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
                return;
            };
            let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
            for name in required.filter_map(Value::as_str) {
                if let (false, Some(default)) = (
                    object.contains_key(name),
                    properties.get(name).and_then(|property| property.get("default")),
                ) {
                    object.insert(name.to_owned(), default.clone());
                }
            }
            for (name, member) in object {
                if let Some(property) = properties.get(name) {
                    fill(property, member, depth - 1);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| fill(schema, item, depth - 1));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::taskcluster::actions::{ActionKind, Tags};
    use proptest::prelude::*;

    fn action(context: Vec<Tags>, schema: Option<Value>) -> Action {
        Action {
            name: "a".to_owned(),
            context,
            schema,
            kind: ActionKind::Task {
                definition: Value::Null,
            },
        }
    }

    fn made(action: &Action, times: u32, extra: &RunInput) -> Result<Value, InputError> {
        input_for(
            action,
            &Want {
                labels: &[Label::from("L")],
                revision: &Revision::from("0123456789ab"),
                times,
                extra,
            },
        )
    }

    fn env(name: &str, value: &str) -> RunInput {
        RunInput {
            env: [(name.to_owned(), value.to_owned())].into(),
            ..RunInput::default()
        }
    }

    #[test]
    fn the_schema_says_where_the_job_goes() {
        let plain = RunInput::default();
        let adds = action(
            vec![],
            Some(json!({"properties": {"tasks": {"type": "array"}, "times": {"default": 1}}})),
        );
        assert_eq!(made(&adds, 1, &plain), Ok(json!({"tasks": ["L"]})));
        assert_eq!(made(&adds, 4, &plain), Ok(json!({"tasks": ["L"], "times": 4})));
        let many = action(vec![], Some(json!({"properties": {"requests": {"type": "array"}}})));
        assert_eq!(
            made(&many, 4, &plain),
            Ok(json!({"requests": [{"tasks": ["L"], "times": 4}]}))
        );
        let one = action(vec![Tags::new()], Some(json!({"properties": {"times": {}}})));
        assert_eq!(made(&one, 2, &plain), Ok(json!({"times": 2})));
    }

    #[test]
    fn several_jobs_are_one_input_where_the_schema_has_a_place_for_them() {
        let of = |schema: Value| {
            let labels = ["A", "B"].map(Label::from);
            let want = Want {
                labels: &labels,
                revision: &Revision::from("0123456789ab"),
                times: 2,
                extra: &RunInput::default(),
            };
            input_for(&action(vec![], Some(schema)), &want)
        };
        let list = json!({"properties": {"tasks": {"type": "array"}, "times": {"default": 1}}});
        assert_eq!(of(list), Ok(json!({"tasks": ["A", "B"], "times": 2})));
        let requests = json!({"properties": {"requests": {"type": "array"}}});
        assert_eq!(
            of(requests),
            Ok(json!({"requests": [{"tasks": ["A", "B"], "times": 2}]}))
        );
        let one = json!({"properties": {"label": {"type": "string"}, "times": {}}});
        assert_eq!(of(one), Err(InputError::OneJob(2)));
        let few = json!({"properties": {"tasks": {"type": "array", "maxItems": 1}, "times": {}}});
        assert!(matches!(of(few), Err(InputError::Schema(_))));
    }

    #[test]
    fn what_has_no_place_is_refused_and_not_dropped() {
        let group = action(vec![], Some(json!({"properties": {"times": {}}})));
        assert_eq!(made(&group, 1, &RunInput::default()), Err(InputError::NoLabel));
        let bare = action(vec![Tags::new()], None);
        assert_eq!(made(&bare, 2, &RunInput::default()), Err(InputError::OnlyOnce(2)));
        assert_eq!(
            made(&bare, 1, &env("A", "b")),
            Err(InputError::NoPlace("environment variables"))
        );
    }

    #[test]
    fn manifests_go_to_the_action_that_has_a_place_for_them() {
        let only = RunInput {
            manifests: vec!["dom/test/mochitest.toml".to_owned()],
            ..RunInput::default()
        };
        let backfill = action(
            vec![],
            Some(json!({"properties": {"label": {}, "revision": {}, "symbol": {}, "test_manifests": {}, "times": {}}})),
        );
        assert_eq!(
            made(&backfill, 2, &only),
            Ok(json!({
                "label": "L", "revision": "0123456789ab", "symbol": "sheriffd", "times": 2,
                "test_manifests": ["dom/test/mochitest.toml"],
            }))
        );
        let adds = action(vec![], Some(json!({"properties": {"tasks": {}, "times": {}}})));
        assert_eq!(made(&adds, 1, &only), Err(InputError::NoPlace("test manifests")));
    }

    #[test]
    fn a_task_that_would_have_to_be_forced_is_left_alone() {
        let forced = action(
            vec![Tags::new()],
            Some(json!({"properties": {"times": {}, "force": {}}})),
        );
        assert_eq!(
            made(&forced, 1, &RunInput::default()),
            Err(InputError::Protected("a".to_owned()))
        );
    }

    #[test]
    fn required_defaults_are_sent_and_others_are_left_to_the_action() {
        let schema = json!({"type": "object", "additionalProperties": false, "required": ["path"], "properties": {
            "path": {"type": "string", "default": ""},
            "preferences": {"type": "object", "default": {"an.example": "1"}},
            "environment": {"type": "object"},
        }});
        let made = made(&action(vec![Tags::new()], Some(schema)), 1, &env("MOZ_LOG", "sync"));
        assert_eq!(made, Ok(json!({"path": "", "environment": {"MOZ_LOG": "sync"}})));
    }

    #[test]
    fn a_breach_is_named_with_its_place() {
        let schema = json!({"properties": {"times": {"type": "integer", "maximum": 10}}});
        let error = made(&action(vec![Tags::new()], Some(schema)), 11, &RunInput::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "its schema does not allow the input: `/times`: 11 is greater than the maximum of 10"
        );
    }

    #[test]
    fn a_schema_that_is_none_is_named_so() {
        let error = complete(Some(&json!({"type": 7})), json!({})).unwrap_err();
        assert!(matches!(error, InputError::BadSchema(_)), "{error}");
    }

    proptest! {
        /// Law: completing what is complete changes nothing.
        #[test]
        fn completing_twice_is_completing_once(have in prop::collection::btree_map("[a-c]", 0i32..9, 0..3)) {
            let schema = json!({"required": ["a", "b"], "properties": {
                "a": {"default": 1}, "b": {"type": "integer"}, "c": {"default": 3}}});
            if let Ok(once) = complete(Some(&schema), json!(have)) {
                prop_assert_eq!(complete(Some(&schema), once.clone()), Ok(once));
            }
        }
    }
}
