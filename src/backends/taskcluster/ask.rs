//! From a request to the one call that carries it out.
//!
//! In: what a push offers, the request, and the task of the same label that exists on the push. Out: the call, rendered
//! and checked. Never: asking; the same input always gives the same call.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::event::{JobRequest, Label, TaskId};
use crate::net::taskcluster::slug_id;

use super::actions::{Action, ActionKind, ActionsFile, Tags};
use super::input::{InputError, Want, input_for};
use super::render::render;
use super::settings::TaskclusterSettings;

/// Kinds of tasks that make other tasks: running one again would schedule a whole push anew.
const SCHEDULING_KINDS: [&str; 3] = ["decision-task", "action-callback", "cron-task"];

/// A task that exists on the push.
#[derive(Debug, Clone, PartialEq)]
pub struct Existing {
    /// The task.
    pub task: TaskId,
    /// Its definition.
    pub definition: Value,
}

impl Existing {
    /// The task group it belongs to.
    pub fn group(&self) -> Option<&str> {
        self.definition.get("taskGroupId").and_then(Value::as_str)
    }

    /// Its tags; a task without any has none.
    fn tags(&self) -> Tags {
        self.definition
            .get("tags")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
    }
}

/// A request made ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// The action's name.
    pub action: String,
    /// The task group it acts in.
    pub group: TaskId,
    /// The task it acts on, if it acts on one.
    pub task: Option<TaskId>,
    /// Its input.
    pub input: Value,
    /// What to send.
    pub call: Call,
}

/// What is sent for an action.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// Fire a hook.
    Hook {
        /// Its group.
        group: String,
        /// Its id.
        id: String,
        /// What it is given.
        payload: Value,
    },
    /// Create a task.
    Task {
        /// Its id, the same for every attempt of one request: a second attempt cannot create a second task.
        id: TaskId,
        /// Its definition.
        definition: Value,
    },
}

/// Makes a request ready, or says why no action of the push can do it, naming each that was looked at.
pub fn prepare(
    settings: &TaskclusterSettings,
    file: &ActionsFile,
    group: &TaskId,
    request: &JobRequest,
    existing: Option<&Existing>,
) -> Result<Prepared, String> {
    let tags = existing.map(Existing::tags);
    if let Some(kind) = tags.as_ref().and_then(|tags| tags.get("kind")).and_then(Value::as_str)
        && SCHEDULING_KINDS.contains(&kind)
    {
        return Err(format!(
            "{} is a {kind}: running it again would schedule other jobs anew",
            request.label
        ));
    }
    let want = Want {
        labels: std::slice::from_ref(&request.label),
        revision: &request.revision,
        times: request.times,
        extra: &request.input,
    };
    let mut reasons = Vec::new();
    for (name, of_task) in candidates(settings, request, existing.is_some()) {
        let context = if of_task { tags.as_ref() } else { None };
        let Some(action) = file.find(name, context) else {
            reasons.push(format!(
                "there is no `{name}` for {}",
                if of_task { "this task" } else { "the push" }
            ));
            continue;
        };
        match input_for(action, &want) {
            Ok(input) => {
                let target = existing.filter(|_| of_task);
                return finish(settings, file, action, group, request, target, input);
            }
            Err(error @ InputError::Protected(_)) => return Err(error.to_string()),
            Err(error) => reasons.push(format!("`{name}`: {error}")),
        }
    }
    if reasons.is_empty() {
        reasons.push("other environment variables or preferences need a run of this job on this push".to_owned());
    }
    Err(format!(
        "no action of task group {group} can run {}: {}",
        request.label,
        reasons.join("; ")
    ))
}

/// Makes several requests ready as one call: they differ in nothing but their labels, and none is of a task that exists.
/// Says why none of the push's actions can take them together.
pub fn prepare_together(
    settings: &TaskclusterSettings,
    file: &ActionsFile,
    group: &TaskId,
    requests: &[&JobRequest],
) -> Result<Prepared, String> {
    let Some(first) = requests.first() else {
        return Err("there are none".to_owned());
    };
    let labels: Vec<Label> = requests.iter().map(|request| request.label.clone()).collect();
    let want = Want {
        labels: &labels,
        revision: &first.revision,
        times: first.times,
        extra: &first.input,
    };
    let mut reasons = Vec::new();
    for (name, _) in candidates(settings, first, false) {
        let Some(action) = file.find(name, None) else { continue };
        // A task that we create ourselves is known by the key of one request.
        if matches!(action.kind, ActionKind::Task { .. }) {
            reasons.push(format!("`{name}` is one task a request"));
            continue;
        }
        match input_for(action, &want) {
            Ok(input) => return finish(settings, file, action, group, first, None, input),
            Err(error) => reasons.push(format!("`{name}`: {error}")),
        }
    }
    Err(format!(
        "no action of task group {group} takes {} jobs at once: {}",
        labels.len(),
        reasons.join("; ")
    ))
}

/// The actions to try, in order, each with whether it is to act on the existing task or on the group.
fn candidates<'a>(settings: &'a TaskclusterSettings, request: &'a JobRequest, existing: bool) -> Vec<(&'a str, bool)> {
    let both = |names: &'a [String]| {
        names
            .iter()
            .flat_map(|name| [(name.as_str(), true), (name.as_str(), false)])
    };
    let all: Vec<(&str, bool)> = if let Some(name) = &request.input.action {
        vec![(name, true), (name, false)]
    } else if !request.input.manifests.is_empty() {
        let names = settings.manifest_actions.iter();
        names.map(|name| (name.as_str(), false)).collect()
    } else if !request.input.env.is_empty() || !request.input.preferences.is_empty() {
        settings
            .custom_actions
            .iter()
            .map(|name| (name.as_str(), true))
            .collect()
    } else {
        let add = settings.add_actions.iter().map(|name| (name.as_str(), false));
        if existing {
            both(&settings.retrigger_actions).chain(add).collect()
        } else {
            add.collect()
        }
    };
    all.into_iter().filter(|(_, of_task)| existing || !of_task).collect()
}

fn finish(
    settings: &TaskclusterSettings,
    file: &ActionsFile,
    action: &Action,
    group: &TaskId,
    request: &JobRequest,
    target: Option<&Existing>,
    input: Value,
) -> Result<Prepared, String> {
    let own = task_id(&request.key.idempotency_key(&settings.instance));
    let call = call(file, action, group, target, &input, own)?;
    let task = target.map(|target| target.task.clone());
    Ok(Prepared {
        action: action.name.clone(),
        group: group.clone(),
        task,
        input,
        call,
    })
}

/// The call of an action, its template filled in. `own` is the id of the task that it creates, if it creates one
/// itself.
pub fn call(
    file: &ActionsFile,
    action: &Action,
    group: &TaskId,
    target: Option<&Existing>,
    input: &Value,
    own: TaskId,
) -> Result<Call, String> {
    let mut context: Map<String, Value> = file.variables.clone();
    context.insert("taskGroupId".to_owned(), json!(group));
    context.insert("taskId".to_owned(), json!(target.map(|target| &target.task)));
    context.insert(
        "task".to_owned(),
        target.map_or(Value::Null, |target| target.definition.clone()),
    );
    context.insert("ownTaskId".to_owned(), json!(own));
    context.insert("input".to_owned(), input.clone());
    let context = Value::Object(context);
    let rendered = |template: &Value| {
        render(template, &context).map_err(|error| {
            format!(
                "the template of action `{}` of task group {group} fails: {error}",
                action.name
            )
        })
    };
    match &action.kind {
        ActionKind::Hook { group, id, payload } => Ok(Call::Hook {
            group: group.clone(),
            id: id.clone(),
            payload: rendered(payload)?,
        }),
        ActionKind::Task { definition } => Ok(Call::Task {
            id: own,
            definition: rendered(definition)?,
        }),
        ActionKind::Unknown(kind) => Err(format!("action `{}` is of a kind not known here: {kind}", action.name)),
    }
}

/// The id of the task that a request creates, made from its idempotency key.
fn task_id(key: &str) -> TaskId {
    let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    TaskId::from(slug_id(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_id_of_a_request_is_always_the_same_and_of_another_request_another() {
        assert_eq!(task_id("sheriffd-C1.1.1"), task_id("sheriffd-C1.1.1"));
        assert_ne!(task_id("sheriffd-C1.1.1"), task_id("sheriffd-C1.1.2"));
    }
}
