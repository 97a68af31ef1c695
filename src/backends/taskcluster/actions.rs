//! `public/actions.json`: what can be done to a push and its tasks.
//!
//! In: the artifact of a decision task, version 1
//! (<https://docs.taskcluster.net/docs/manual/design/conventions/actions/spec>). Out: its actions in their order, and
//! which of them applies to a task or to the group. Never: rendering or asking.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::net::http::quote;

/// The tags of a task.
pub type Tags = Map<String, Value>;

/// The only version of the format there is.
const VERSION: u64 = 1;

/// The artifact is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionsError {
    /// It is not JSON, or not of the form.
    #[error("public/actions.json is not of the documented form: {0}")]
    Shape(String),
    /// Its version is not known.
    #[error("public/actions.json has version {0}, but only version 1 is known")]
    Version(u64),
}

/// What can be done to a push and its tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionsFile {
    /// Constants for the templates.
    pub variables: Map<String, Value>,
    /// The actions, in the order in which they are tried.
    pub actions: Vec<Action>,
}

/// One action.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// Its name; several actions may have the same for different contexts.
    pub name: String,
    /// The tag sets of the tasks it applies to. Empty: it applies to the task group.
    pub context: Vec<Tags>,
    /// The JSON Schema of its input; without one it takes none.
    pub schema: Option<Value>,
    /// How it is asked for.
    pub kind: ActionKind,
}

/// How an action is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum ActionKind {
    /// By firing a hook.
    Hook {
        /// The hook's group.
        group: String,
        /// The hook.
        id: String,
        /// The template of what the hook is given.
        payload: Value,
    },
    /// By creating a task (the older way).
    Task {
        /// The template of the task.
        definition: Value,
    },
    /// In a way that is not known here (which).
    Unknown(String),
}

/// The artifact as it is written.
#[derive(Deserialize)]
struct WireFile {
    version: u64,
    #[serde(default)]
    variables: Map<String, Value>,
    actions: Vec<WireAction>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireAction {
    name: String,
    context: Option<Vec<Tags>>,
    schema: Option<Value>,
    kind: String,
    hook_group_id: Option<String>,
    hook_id: Option<String>,
    hook_payload: Option<Value>,
    task: Option<Value>,
}

impl From<WireAction> for Action {
    fn from(wire: WireAction) -> Action {
        let kind = match (
            wire.kind.as_str(),
            wire.hook_group_id,
            wire.hook_id,
            wire.hook_payload,
            wire.task,
        ) {
            ("hook", Some(group), Some(id), Some(payload), _) => ActionKind::Hook { group, id, payload },
            ("task", _, _, _, Some(definition)) => ActionKind::Task { definition },
            ("hook", ..) => ActionKind::Unknown("hook, without all of hookGroupId, hookId and hookPayload".to_owned()),
            ("task", ..) => ActionKind::Unknown("task, without a task".to_owned()),
            _ => ActionKind::Unknown(wire.kind),
        };
        Action {
            name: wire.name,
            context: wire.context.unwrap_or_default(),
            schema: wire.schema,
            kind,
        }
    }
}

impl ActionsFile {
    /// Reads the artifact.
    pub fn parse(bytes: &[u8]) -> Result<ActionsFile, ActionsError> {
        let shape = |error: serde_json::Error| ActionsError::Shape(quote(&error.to_string()));
        let value: Value = serde_json::from_slice(bytes).map_err(shape)?;
        // The version comes first: another version may have another shape.
        match value.get("version").and_then(Value::as_u64) {
            Some(VERSION) | None => {}
            Some(other) => return Err(ActionsError::Version(other)),
        }
        let file: WireFile = serde_json::from_value(value).map_err(shape)?;
        if file.version != VERSION {
            return Err(ActionsError::Version(file.version));
        }
        Ok(ActionsFile {
            variables: file.variables,
            actions: file.actions.into_iter().map(Action::from).collect(),
        })
    }

    /// The first action of that name for a task with these tags, or with `None` for the task group. Actions of an
    /// unknown kind are passed over, as the format asks of its readers.
    pub fn find(&self, name: &str, tags: Option<&Tags>) -> Option<&Action> {
        let known = |action: &&Action| !matches!(action.kind, ActionKind::Unknown(_));
        self.actions
            .iter()
            .filter(known)
            .find(|action| action.name == name && action.applies_to(tags))
    }

    /// The revision the actions are for, where a template of taskgraph's form says so.
    pub fn revision(&self) -> Option<&str> {
        self.actions.iter().find_map(|action| match &action.kind {
            ActionKind::Hook { payload, .. } => payload.pointer("/decision/push/revision")?.as_str(),
            ActionKind::Task { definition } => definition.pointer("/$let/push/revision")?.as_str(),
            ActionKind::Unknown(_) => None,
        })
    }

    /// Whether the actions are known to be for another push than the one with this head revision. Abbreviated hashes
    /// are compared as far as they go.
    pub fn is_for_another(&self, revision: &str) -> bool {
        self.revision()
            .is_some_and(|ours| !ours.starts_with(revision) && !revision.starts_with(ours))
    }
}

impl Action {
    /// Whether it applies to a task with these tags, or with `None` to the task group: for a task, one of its tag sets
    /// has to be a subset of the tags.
    pub fn applies_to(&self, tags: Option<&Tags>) -> bool {
        match tags {
            None => self.context.is_empty(),
            Some(tags) => self
                .context
                .iter()
                .any(|set| set.iter().all(|(tag, value)| tags.get(tag) == Some(value))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn action(context: Value) -> Action {
        let wire = json!({"name": "a", "kind": "task", "task": {}, "context": context});
        Action::from(serde_json::from_value::<WireAction>(wire).unwrap())
    }

    fn tags(value: Value) -> Tags {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn an_empty_tag_set_applies_to_every_task_and_no_tag_set_to_the_group() {
        let any = tags(json!({"kind": "test"}));
        assert!(action(json!([{}])).applies_to(Some(&any)) && !action(json!([{}])).applies_to(None));
        assert!(action(json!([])).applies_to(None) && !action(json!([])).applies_to(Some(&any)));
    }

    #[test]
    fn all_tags_of_one_set_have_to_be_there() {
        let both = action(json!([{"kind": "test", "os": "linux"}]));
        assert!(both.applies_to(Some(&tags(json!({"kind": "test", "os": "linux", "more": "x"})))));
        assert!(!both.applies_to(Some(&tags(json!({"kind": "test"})))));
        assert!(!both.applies_to(Some(&tags(json!({"kind": "test", "os": "windows"})))));
    }

    #[test]
    fn other_versions_and_forms_are_refused() {
        let parse = |value: Value| ActionsFile::parse(value.to_string().as_bytes());
        assert_eq!(
            parse(json!({"version": 2, "whatever": []})),
            Err(ActionsError::Version(2))
        );
        assert!(matches!(parse(json!({"actions": []})), Err(ActionsError::Shape(_))));
        assert!(matches!(parse(json!([])), Err(ActionsError::Shape(_))));
        assert!(matches!(ActionsFile::parse(b"{"), Err(ActionsError::Shape(_))));
    }

    #[test]
    fn an_action_of_an_unknown_kind_spoils_only_itself() {
        let file = json!({"version": 1, "actions": [
            {"name": "a", "kind": "carrier-pigeon", "context": []},
            {"name": "b", "kind": "hook", "context": [], "hookGroupId": "g", "hookId": "h", "hookPayload": {}},
        ]});
        let file = ActionsFile::parse(file.to_string().as_bytes()).unwrap();
        assert_eq!(file.actions[0].kind, ActionKind::Unknown("carrier-pigeon".to_owned()));
        assert!(matches!(file.actions[1].kind, ActionKind::Hook { .. }));
        assert_eq!(file.find("a", None), None);
        assert_eq!(file.find("b", None), Some(&file.actions[1]));
    }

    proptest! {
        /// Law: no bytes make it panic.
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = ActionsFile::parse(&bytes);
        }

        /// Law: more tags on a task never take an action from it.
        #[test]
        fn a_task_with_more_tags_has_no_fewer_actions(
            sets in prop::collection::vec(prop::collection::btree_map("[a-c]", "[x-y]", 0..3), 0..3),
            have in prop::collection::btree_map("[a-c]", "[x-y]", 0..3),
        ) {
            let action = action(json!(sets));
            let few = tags(json!(have));
            let mut more = few.clone();
            more.insert("d".to_owned(), json!("z"));
            prop_assert!(!action.applies_to(Some(&few)) || action.applies_to(Some(&more)));
        }
    }
}
