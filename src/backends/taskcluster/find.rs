//! Looking for a request whose answer was lost.
//!
//! In: the request as it was sent, when, and now. Out: whether it was done. Never: asking for it again, or guessing:
//! two action tasks alike, a list with gaps, a task that cannot be read are [`Found::CannotTell`].
//!
//! An action's input has no room for a mark of ours (schemas forbid further fields), so a request is known by what it
//! asked for and when: same group, same action, same task, identical input, created in the time window. Of jobs that were
//! asked for together each is in the list of one input: what holds the wanted job among others is its effect too.
//! The list of a hook's last fires names every task it made, at once; the index names action tasks once they have
//! ended, so it can prove that something was done and never that it was not.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::backends::outcome::busy;
use crate::backends::{Found, Receipt, RequestError};
use crate::event::{JobRequest, TaskId, Timestamp};
use crate::net::ask::AskError;

use super::TaskclusterBackend;
use super::ask::{Call, Prepared};
use super::settings::route;

/// Task definitions that are fetched for one search. A hook fires some ten times a minute at the busiest.
const MAX_CANDIDATES: usize = 100;

/// How far the CI's clock may be behind ours.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// When an action task has to have been created to be the one that is looked for.
#[derive(Debug, Clone, Copy)]
struct Window {
    from: Timestamp,
    to: Timestamp,
}

impl Window {
    fn contains(&self, at: Timestamp) -> bool {
        (self.from..=self.to).contains(&at)
    }
}

/// What an action task says it was asked to do.
#[derive(Debug, Clone, PartialEq)]
struct ActionTask {
    group: String,
    task: Option<String>,
    input: Value,
    name: Option<String>,
    callback: Option<String>,
    client: Option<String>,
    created: Timestamp,
}

/// The tasks that a list names.
struct Listed {
    tasks: BTreeSet<String>,
    /// Why the list may lack some, if it may.
    gap: Option<String>,
}

/// What was seen of a hook's work around a moment.
pub(super) struct Sighting {
    /// The hook: its group and its id.
    hook: (String, String),
    /// The action tasks that it made in the window.
    made: Vec<(String, ActionTask)>,
    /// Why some may be missing, if they may.
    gap: Option<String>,
    /// More tasks than are looked at, if there are.
    too_many: Option<usize>,
}

impl TaskclusterBackend {
    /// See [`crate::backends::Backend::find`]. `sighting`: what was seen for a request that was sent at the same moment, for
    /// the same push.
    pub(super) async fn look_for(
        &self,
        request: &JobRequest,
        prepared: &Prepared,
        sent_at: Timestamp,
        sighting: &mut Option<Sighting>,
    ) -> Result<Found, RequestError> {
        let settle = Duration::from_secs(self.settings.find_settle_seconds);
        let age = (self.clock)().since(sent_at);
        let not_done = || {
            if age >= settle {
                Ok(Found::NotDone)
            } else {
                let detail = format!(
                    "nothing is seen of it {} s after it was sent: too early to say",
                    age.as_secs()
                );
                Err(RequestError::Busy {
                    retry_after: Some(settle - age),
                    detail,
                })
            }
        };
        let hook = match &prepared.call {
            Call::Hook { group, id, .. } => (group.clone(), id.clone()),
            Call::Task { id, .. } => {
                return match self.services.status(id.as_str()).await {
                    Ok(_) => Ok(Found::Done(self.receipt(id.clone()))),
                    Err(AskError::Absent { .. }) => not_done(),
                    Err(error) => unanswered(error),
                };
            }
        };
        let window = Window {
            from: sent_at.minus(CLOCK_SKEW),
            to: sent_at.plus(Duration::from_secs(self.settings.find_window_seconds)),
        };
        let seen = match sighting.take().filter(|seen| seen.hook == hook) {
            Some(seen) => seen,
            None => self.see(request, hook, window).await?,
        };
        let seen = sighting.insert(seen);
        if let Some(count) = seen.too_many {
            return Ok(Found::CannotTell(format!(
                "{count} action tasks may be it, more than the {MAX_CANDIDATES} that are looked at"
            )));
        }
        let is_it = |made: &&(String, ActionTask)| self.is_effect_of(&made.1, prepared, window);
        let alike: Vec<&str> = seen.made.iter().filter(is_it).map(|(task, _)| task.as_str()).collect();
        match (alike.as_slice(), &seen.gap) {
            ([one], _) => Ok(Found::Done(self.receipt(TaskId::from(*one)))),
            ([], None) => not_done(),
            ([], Some(gap)) => Ok(Found::CannotTell(format!("no action task like it is seen, but {gap}"))),
            (many, _) => Ok(Found::CannotTell(format!(
                "{} action tasks are alike: {}; any of them may be it",
                many.len(),
                many.join(", ")
            ))),
        }
    }

    /// What a hook did in the window.
    async fn see(
        &self,
        request: &JobRequest,
        hook: (String, String),
        window: Window,
    ) -> Result<Sighting, RequestError> {
        let Listed { mut tasks, mut gap } = self.fired(&hook.0, &hook.1, window).await?;
        if gap.is_some() {
            tasks.extend(self.indexed(request).await?);
        }
        let too_many = (tasks.len() > MAX_CANDIDATES).then_some(tasks.len());
        let mut made = Vec::new();
        for task in tasks.into_iter().filter(|_| too_many.is_none()) {
            match self.services.task(&task).await {
                Ok(bytes) => made.extend(ActionTask::read(&bytes).map(|read| (task, read))),
                Err(error @ AskError::Later { .. }) => return Err(busy(error)),
                Err(error) => {
                    gap.get_or_insert(error.to_string());
                }
            }
        }
        Ok(Sighting {
            hook,
            made,
            gap,
            too_many,
        })
    }

    /// The tasks that a hook made in the window.
    async fn fired(&self, group: &str, hook: &str, window: Window) -> Result<Listed, RequestError> {
        let bytes = match self.services.last_fires(group, hook).await {
            Ok(bytes) => bytes,
            Err(error @ AskError::Later { .. }) => return Err(busy(error)),
            Err(error) => {
                return Ok(Listed {
                    tasks: BTreeSet::new(),
                    gap: Some(error.to_string()),
                });
            }
        };
        let list: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let Some(fires) = list.get("lastFires").and_then(Value::as_array) else {
            let gap = Some(format!(
                "the list of last fires of hook {group}/{hook} is not of the documented form"
            ));
            return Ok(Listed {
                tasks: BTreeSet::new(),
                gap,
            });
        };
        let mut listed = Listed {
            tasks: BTreeSet::new(),
            gap: None,
        };
        let mut oldest = Timestamp(i64::MAX);
        for fire in fires {
            let text = |name: &str| fire.get(name).and_then(Value::as_str);
            let Some(at) = text("taskCreateTime").and_then(Timestamp::parse) else {
                listed.gap = Some(format!("an entry of the last fires of hook {group}/{hook} has no time"));
                continue;
            };
            oldest = oldest.min(at);
            // An entry with another result than success made no task.
            if let (true, Some("success"), Some(task)) = (window.contains(at), text("result"), text("taskId")) {
                listed.tasks.insert(task.to_owned());
            }
        }
        let more = list
            .get("continuationToken")
            .and_then(Value::as_str)
            .is_some_and(|token| !token.is_empty());
        if more && oldest >= window.from {
            listed.gap = Some(format!(
                "the list of last fires of hook {group}/{hook} does not reach back far enough"
            ));
        }
        Ok(listed)
    }

    /// The ended action tasks of the push.
    async fn indexed(&self, request: &JobRequest) -> Result<BTreeSet<String>, RequestError> {
        let mut tasks = BTreeSet::new();
        for template in &self.settings.action_routes {
            let bytes = match self.services.indexed_tasks(&route(template, request)).await {
                Ok(bytes) => bytes,
                Err(error @ AskError::Later { .. }) => return Err(busy(error)),
                // Nothing is concluded from what the index does not say.
                Err(_) => continue,
            };
            let list: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let entries = list.get("tasks").and_then(Value::as_array);
            let ids = entries
                .into_iter()
                .flatten()
                .filter_map(|entry| entry.get("taskId")?.as_str());
            tasks.extend(ids.map(str::to_owned));
        }
        Ok(tasks)
    }

    fn is_effect_of(&self, made: &ActionTask, prepared: &Prepared, window: Window) -> bool {
        let same_name = match (&made.name, &made.callback) {
            (Some(name), _) => *name == prepared.action,
            (None, Some(callback)) => callback_of(prepared) == Some(callback),
            (None, None) => false,
        };
        let ours = match (&made.client, self.services.client_id()) {
            (Some(client), Some(us)) => client == us,
            _ => true,
        };
        same_name
            && ours
            && window.contains(made.created)
            && made.group == prepared.group.as_str()
            && made.task.as_deref() == prepared.task.as_ref().map(TaskId::as_str)
            && holds(&made.input, &prepared.input)
    }
}

/// Whether an action's input asks for what another one asks for, the jobs among others perhaps and all else the same.
fn holds(made: &Value, asked: &Value) -> bool {
    let (Value::Object(made), Value::Object(asked)) = (made, asked) else {
        return made == asked;
    };
    let has_all = |made: &Value, asked: &Value, is_alike: fn(&Value, &Value) -> bool| match (made, asked) {
        (Value::Array(made), Value::Array(asked)) => {
            asked.iter().all(|asked| made.iter().any(|made| is_alike(made, asked)))
        }
        _ => made == asked,
    };
    made.len() == asked.len()
        && asked.iter().all(|(name, asked)| {
            made.get(name).is_some_and(|made| match name.as_str() {
                "tasks" => has_all(made, asked, |made, asked| made == asked),
                "requests" => has_all(made, asked, holds),
                _ => made == asked,
            })
        })
}

/// The name that an action has in the tree's own code, where a payload of taskgraph's form says so.
fn callback_of(prepared: &Prepared) -> Option<&str> {
    match &prepared.call {
        Call::Hook { payload, .. } => payload.pointer("/decision/action/cb_name")?.as_str(),
        Call::Task { definition, .. } => definition.pointer("/payload/env/ACTION_CALLBACK")?.as_str(),
    }
}

impl ActionTask {
    /// Reads a task definition; `None` when it is not one of an action. taskgraph's own environment variables come
    /// before `extra`, which trees fill less carefully.
    fn read(definition: &[u8]) -> Option<ActionTask> {
        let task: Value = serde_json::from_slice(definition).ok()?;
        let text = |path: &str| task.pointer(path).and_then(Value::as_str);
        let json = |path: &str| text(path).and_then(|text| serde_json::from_str::<Value>(text).ok());
        let extra = |name: &str| task.pointer(&format!("/extra/action/context/{name}")).cloned();
        let group = text("/payload/env/ACTION_TASK_GROUP_ID").map(str::to_owned);
        Some(ActionTask {
            group: group.or_else(|| extra("taskGroupId")?.as_str().map(str::to_owned))?,
            task: json("/payload/env/ACTION_TASK_ID")
                .or_else(|| extra("taskId"))?
                .as_str()
                .map(str::to_owned),
            input: json("/payload/env/ACTION_INPUT").or_else(|| extra("input"))?,
            name: text("/extra/action/name").map(str::to_owned),
            callback: text("/payload/env/ACTION_CALLBACK").map(str::to_owned),
            client: text("/metadata/description").and_then(client_in),
            created: Timestamp::parse(text("/created")?)?,
        })
    }
}

/// The client that gecko's action tasks name in their description: ``… triggered by clientID `x` ``.
fn client_in(description: &str) -> Option<String> {
    let (_, rest) = description.split_once("clientID `")?;
    rest.split_once('`').map(|(client, _)| client.to_owned())
}

/// A search that could not be finished.
fn unanswered(error: AskError) -> Result<Found, RequestError> {
    match error {
        AskError::Later { .. } => Err(busy(error)),
        other => Ok(Found::CannotTell(other.to_string())),
    }
}

impl TaskclusterBackend {
    /// The receipt for an action task.
    pub(super) fn receipt(&self, task: TaskId) -> Receipt {
        let reference = Some(self.services.task_page(task.as_str()));
        Receipt {
            action_task: Some(task),
            reference,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_action_task_says_what_it_was_asked_to_do() {
        let definition = json!({
            "created": "2018-12-19T19:26:57.706Z",
            "metadata": {"description": "Create a clone.\nAction triggered by clientID `project/x`"},
            "payload": {"env": {
                "ACTION_TASK_GROUP_ID": "G", "ACTION_TASK_ID": "\"T\"", "ACTION_INPUT": "{\"times\":2}",
                "ACTION_CALLBACK": "retrigger",
            }},
            "extra": {"action": {"name": "retrigger", "context": {"taskGroupId": "decision_task_id"}}},
        });
        let read = ActionTask::read(definition.to_string().as_bytes()).unwrap();
        assert_eq!((read.group.as_str(), read.task.as_deref()), ("G", Some("T")));
        assert_eq!(read.input, json!({"times": 2}));
        assert_eq!(read.client.as_deref(), Some("project/x"));
    }

    #[test]
    fn a_job_that_was_asked_for_among_others_was_asked_for() {
        let one = json!({"tasks": ["B"], "times": 2});
        assert!(holds(&json!({"tasks": ["A", "B"], "times": 2}), &one));
        assert!(holds(&one, &one));
        assert!(!holds(&json!({"tasks": ["A", "C"], "times": 2}), &one));
        assert!(!holds(&json!({"tasks": ["A", "B"], "times": 3}), &one));
        assert!(
            !holds(&json!({"tasks": ["A", "B"]}), &one),
            "other inputs have to be there"
        );
        assert!(
            !holds(&json!({"tasks": ["A", "B"], "times": 2, "x": 1}), &one),
            "and no further ones"
        );
        assert!(!holds(&json!({"tasks": "B", "times": 2}), &one));
        let requests = json!({"requests": [{"tasks": ["B"], "times": 2}]});
        assert!(holds(
            &json!({"requests": [{"tasks": ["B", "C"], "times": 2}]}),
            &requests
        ));
        assert!(!holds(&json!({"requests": [{"tasks": ["B"], "times": 1}]}), &requests));
        assert!(holds(&json!({"times": 2}), &json!({"times": 2})));
        assert!(!holds(&json!([1]), &json!([2])));
    }

    #[test]
    fn a_task_of_no_action_is_none() {
        for definition in [
            "{}",
            "[]",
            "x",
            r#"{"created":"2018-12-19T19:26:57Z","payload":{"env":{}}}"#,
        ] {
            assert_eq!(ActionTask::read(definition.as_bytes()), None);
        }
    }
}
