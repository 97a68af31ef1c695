//! The Taskcluster backend against a deployment that speaks the recorded wire format.

#[path = "common/fake_taskcluster.rs"]
mod fake_taskcluster;
#[path = "common/recorded_push.rs"]
mod recorded_push;

use std::time::Duration;

use fake_taskcluster::{Artifact, FakeTaskcluster, Fault, Storage, check_signature};
use recorded_push::{
    CHAIN, GROUP, HOOK, LABEL, REVISION, TRIGGER, add_existing, answers, answers_with, backend, backend_with,
    chain_actions, chain_labels, recorded, recorded_json, request, settings, triggers, with_recorded_push,
};
use serde_json::{Value, json};
use sheriffd::backends::taskcluster::actions::{ActionKind, ActionsFile, Tags};
use sheriffd::backends::taskcluster::ask::{Call, call};
use sheriffd::backends::taskcluster::input::complete;
use sheriffd::backends::{Backend, Finding, JobRequest, RequestError, TaskclusterSettings};
use sheriffd::event::{Label, RunInput, TaskId};
use sheriffd::net::{Secret, system_clock};

// The recorded chain.

#[test]
fn the_recorded_labels_give_the_recorded_payload() {
    let file = ActionsFile::parse(chain_actions().as_bytes()).unwrap();
    let action = file.find("add-new-jobs", None).unwrap();
    let input = complete(action.schema.as_ref(), json!({"tasks": chain_labels()})).unwrap();
    let Call::Hook { group, id, payload } = call(
        &file,
        action,
        &TaskId::from(GROUP),
        None,
        &input,
        TaskId::from("unused"),
    )
    .unwrap() else {
        panic!("the recorded action is a hook");
    };
    assert_eq!(format!("{group}/{id}"), HOOK);
    assert_eq!(payload, recorded_json(&format!("{CHAIN}/4-trigger-hook-payload.json")));
}

#[tokio::test]
async fn a_request_goes_the_recorded_way_from_the_index_to_the_answer() {
    let fake = with_recorded_push().await;
    let answer = recorded_json(&format!("{CHAIN}/5-trigger-hook-answer.json"));
    fake.change(|world| world.hook_answer = Some(answer));
    let receipt = backend(&fake).request(&request()).await.unwrap();
    assert_eq!(receipt.action_task, Some(TaskId::from("eS8y7QVZQGmpUW9EAb3NxA")));
    assert_eq!(
        receipt.reference,
        Some(format!("{}/tasks/eS8y7QVZQGmpUW9EAb3NxA", fake.root_url()))
    );

    let index = recorded_json(&format!("{CHAIN}/2-index-lookup.json"));
    assert_eq!(index["taskId"], GROUP);
    let paths: Vec<String> = fake
        .requests()
        .into_iter()
        .map(|r| format!("{} {}", r.method, r.target))
        .collect();
    assert_eq!(
        paths,
        [
            format!("GET /api/index/v1/task/{}", index["namespace"].as_str().unwrap()),
            format!("GET /api/queue/v1/task/{GROUP}/artifacts/public%2Factions.json"),
            format!("GET /__store/{GROUP}/public/actions.json"),
            format!("GET /api/queue/v1/task/{GROUP}/artifacts/public%2Flabel-to-taskid.json"),
            format!("GET /api/queue/v1/task/{GROUP}/artifacts/public%2Ffull-task-graph.json"),
            format!("GET /__store/{GROUP}/public/full-task-graph.json"),
            "POST /api/hooks/v1/hooks/project-gecko/in-tree-action-1-generic%2Fea5d85cbef/trigger".to_owned(),
        ]
    );
    let mut expected = recorded_json(&format!("{CHAIN}/4-trigger-hook-payload.json"));
    expected["user"]["input"] = json!({"tasks": [LABEL]});
    assert_eq!(triggers(&fake)[0].body, expected);
}

#[tokio::test]
async fn the_second_request_for_a_push_asks_only_for_the_deed() {
    let fake = with_recorded_push().await;
    let backend = backend(&fake);
    let known = JobRequest {
        group: Some(TaskId::from(GROUP)),
        ..request()
    };
    backend.request(&known).await.unwrap();
    let before = fake.requests().len();
    backend.request(&known).await.unwrap();
    // The list of what runs on the push does not exist here, and may come to: it is looked for again.
    let after: Vec<String> = fake.requests()[before..].iter().map(|r| r.path.clone()).collect();
    assert_eq!(
        after,
        [
            format!("/api/queue/v1/task/{GROUP}/artifacts/public/label-to-taskid.json"),
            TRIGGER.to_owned()
        ]
    );
}

// How many jobs wait.

#[tokio::test]
async fn the_queue_is_asked_how_many_tasks_wait_at_older_deployments_too() {
    let fake = FakeTaskcluster::start().await;
    fake.change(|world| {
        world.pending.insert("gecko-t/t-linux".to_owned(), 412);
    });
    let backend = backend(&fake);
    assert_eq!(backend.pending("gecko-t/t-linux").await, Ok(Some(412)));
    assert_eq!(backend.pending("gecko-t/no-such").await, Ok(None));
    fake.change(|world| world.counts_the_old_way = true);
    assert_eq!(backend.pending("gecko-t/t-linux").await, Ok(Some(412)));
    let unavailable = Fault::Answer {
        status: 503,
        headers: [("retry-after".to_owned(), "7".to_owned())].into(),
        body: String::new(),
    };
    fake.fail("GET", "/api/queue/v1/task-queues/", unavailable);
    let error = backend.pending("gecko-t/t-linux").await.unwrap_err();
    assert!(
        matches!(error, RequestError::Busy { retry_after: Some(wait), .. } if wait.as_secs() == 7),
        "{error}"
    );
}

// Matching actions with tasks.

#[test]
fn recorded_tag_sets_match_recorded_tags_as_recorded() {
    let folder = "tests/data/taskcluster/actions";
    let tags =
        |name: &str| -> Tags { serde_json::from_value(recorded_json(&format!("{folder}/{name}.json"))).unwrap() };
    let matches = |sets: &str, tags: &Tags| {
        let context = recorded_json(&format!("{folder}/{sets}.json"));
        let file = json!({"version": 1, "actions": [{"name": "a", "kind": "task", "task": {}, "context": context}]});
        ActionsFile::parse(file.to_string().as_bytes())
            .unwrap()
            .find("a", Some(tags))
            .is_some()
    };
    assert!(matches(
        "sherlock-matchingTagSetList",
        &tags("sherlock-matchingTaskTags")
    ));
    assert!(!matches(
        "sherlock-mismatchingTagSetList",
        &tags("sherlock-mismatchingTaskTags")
    ));
}

#[test]
fn every_recorded_actions_file_is_read_and_its_actions_can_be_called() {
    let folder = "tests/data/taskcluster/actions";
    for (name, actions, hooks) in [
        ("treeherder-autoland-2020", 17, 17),
        ("fxci-config-level3", 9, 9),
        ("scriptworker-cotv3-2018", 9, 1),
    ] {
        let file = ActionsFile::parse(recorded(&format!("{folder}/{name}.json")).as_bytes()).unwrap();
        let is_hook = |kind: &ActionKind| matches!(kind, ActionKind::Hook { .. });
        assert_eq!(file.actions.len(), actions, "{name}");
        assert_eq!(
            file.actions.iter().filter(|action| is_hook(&action.kind)).count(),
            hooks,
            "{name}"
        );
        for action in &file.actions {
            // The one template that looks into its input looks for this.
            let input = json!({"release_promotion_flavor": "promote"});
            let rendered = call(&file, action, &TaskId::from("G"), None, &input, TaskId::from("own"));
            assert!(rendered.is_ok(), "{name}: {}: {rendered:?}", action.name);
        }
    }
}

#[test]
fn the_first_of_several_actions_of_a_name_that_fits_is_taken() {
    let file = ActionsFile::parse(chain_actions().as_bytes()).unwrap();
    let tags = |value: Value| -> Tags { serde_json::from_value(value).unwrap() };
    let has = |tags: Tags, property: &str| {
        let action = file.find("retrigger", Some(&tags)).unwrap();
        action
            .schema
            .as_ref()
            .is_some_and(|schema| schema.pointer(&format!("/properties/{property}")).is_some())
    };
    assert!(!has(tags(json!({"kind": "decision-task"})), "times"));
    assert!(has(tags(json!({"kind": "test", "retrigger": "true"})), "times"));
    assert!(!has(tags(json!({"kind": "test", "retrigger": "true"})), "force"));
    assert!(has(tags(json!({"kind": "build"})), "force"));
}

// Which action.

#[tokio::test]
async fn a_job_that_is_on_the_push_is_retriggered_as_often_as_wanted() {
    let fake = with_recorded_push().await;
    let existing = add_existing(
        &fake,
        "KkDeSaLFSq-OFo1QGc-hGQ",
        GROUP,
        json!({"kind": "test", "retrigger": "true"}),
    );
    let request = JobRequest {
        existing: Some(existing),
        times: 5,
        ..request()
    };
    backend(&fake).request(&request).await.unwrap();
    let payload = &triggers(&fake)[0].body;
    assert_eq!(payload["decision"]["action"]["name"], "retrigger");
    assert_eq!(
        payload["user"],
        json!({"input": {"times": 5}, "taskGroupId": GROUP, "taskId": "KkDeSaLFSq-OFo1QGc-hGQ"})
    );
}

#[tokio::test]
async fn a_job_of_another_push_that_was_pulled_in_is_added_instead() {
    let fake = with_recorded_push().await;
    let existing = add_existing(
        &fake,
        "KkDeSaLFSq-OFo1QGc-hGQ",
        "another-group",
        json!({"retrigger": "true"}),
    );
    backend(&fake)
        .request(&JobRequest {
            existing: Some(existing),
            ..request()
        })
        .await
        .unwrap();
    assert_eq!(triggers(&fake)[0].body["decision"]["action"]["name"], "add-new-jobs");
}

#[tokio::test]
async fn an_existing_job_that_has_expired_is_added_instead() {
    let fake = with_recorded_push().await;
    let existing = Some(TaskId::from("KkDeSaLFSq-OFo1QGc-hGQ"));
    backend(&fake)
        .request(&JobRequest { existing, ..request() })
        .await
        .unwrap();
    assert_eq!(triggers(&fake)[0].body["decision"]["action"]["name"], "add-new-jobs");
}

#[tokio::test]
async fn a_task_that_would_have_to_be_forced_or_schedules_others_is_left_alone() {
    let fake = with_recorded_push().await;
    for (tags, words) in [
        (json!({"kind": "build-signing"}), "would have to be forced"),
        (json!({"kind": "decision-task"}), "would schedule other jobs anew"),
    ] {
        let existing = add_existing(&fake, "KkDeSaLFSq-OFo1QGc-hGQ", GROUP, tags);
        let error = backend(&fake)
            .request(&JobRequest {
                existing: Some(existing),
                ..request()
            })
            .await
            .unwrap_err();
        assert!(
            matches!(&error, RequestError::NotPossible(why) if why.contains(words)),
            "{error}"
        );
    }
    assert!(fake.deeds().is_empty());
}

#[tokio::test]
async fn extra_environment_goes_to_the_custom_action_of_that_era() {
    let fake = with_recorded_push().await;
    let existing = add_existing(
        &fake,
        "KkDeSaLFSq-OFo1QGc-hGQ",
        GROUP,
        json!({"test-type": "mochitest"}),
    );
    let input = RunInput {
        env: [("MOZ_LOG".to_owned(), "sync".to_owned())].into(),
        ..RunInput::default()
    };
    let request = JobRequest {
        existing: Some(existing),
        input,
        ..request()
    };
    backend(&fake).request(&request).await.unwrap();
    let payload = &triggers(&fake)[0].body;
    assert_eq!(payload["decision"]["action"]["name"], "retrigger-mochitest");
    assert_eq!(
        payload["user"]["input"],
        json!({"environment": {"MOZ_LOG": "sync"}, "path": ""})
    );
}

#[tokio::test]
async fn an_action_asked_for_by_name_is_taken_or_its_absence_is_said() {
    let fake = with_recorded_push().await;
    let existing = add_existing(
        &fake,
        "KkDeSaLFSq-OFo1QGc-hGQ",
        GROUP,
        json!({"kind": "test", "retrigger": "true"}),
    );
    let named = |action: &str| {
        let input = RunInput {
            action: Some(action.to_owned()),
            ..RunInput::default()
        };
        JobRequest {
            existing: Some(existing.clone()),
            input,
            ..request()
        }
    };
    let backend = backend(&fake);
    backend.request(&named("isolate-test-failures")).await.unwrap();
    assert_eq!(
        triggers(&fake)[0].body["decision"]["action"]["name"],
        "isolate-test-failures"
    );
    let error = backend.request(&named("make-coffee")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "not possible: no action of task group {GROUP} can run {LABEL}: there is no `make-coffee` for this task; \
             there is no `make-coffee` for the push"
        )
    );
}

#[tokio::test]
async fn an_input_that_no_schema_allows_is_refused_before_anything_is_asked_for() {
    let fake = with_recorded_push().await;
    let error = backend(&fake)
        .request(&JobRequest {
            times: 101,
            ..request()
        })
        .await
        .unwrap_err();
    assert!(
        matches!(&error, RequestError::NotPossible(why) if why.contains("`/times`: 101 is greater than the maximum")),
        "{error}"
    );
    assert!(fake.deeds().is_empty());
}

#[tokio::test]
async fn an_unknown_label_is_refused_with_near_matches() {
    let fake = with_recorded_push().await;
    let label = Label::from("test-linux64/debug-xpcshel-e10s-6");
    let error = backend(&fake)
        .request(&JobRequest { label, ..request() })
        .await
        .unwrap_err();
    let RequestError::NotPossible(why) = error else {
        panic!("{error}")
    };
    assert!(
        why.contains("is not among the 13 labels of public/full-task-graph.json"),
        "{why}"
    );
    assert!(why.contains(&format!("near are `{LABEL}`")), "{why}");
    assert!(fake.deeds().is_empty());
}

// Where the push's actions come from.

#[tokio::test]
async fn compressed_and_inline_artifacts_are_read_too() {
    let fake = with_recorded_push().await;
    for (storage, gzip) in [
        (Storage::Redirected, true),
        (Storage::Inline, false),
        (Storage::Inline, true),
    ] {
        fake.change(|world| {
            let artifact = Artifact {
                content: chain_actions(),
                storage,
                gzip,
            };
            world
                .artifacts
                .get_mut(GROUP)
                .unwrap()
                .insert("public/actions.json".to_owned(), artifact);
        });
        backend(&fake).request(&request()).await.unwrap();
    }
    assert_eq!(triggers(&fake).len(), 3);
}

#[tokio::test]
async fn an_artifact_that_leads_into_our_own_network_is_not_followed() {
    let fake = with_recorded_push().await;
    let trap = FakeTaskcluster::start().await;
    fake.change(|world| {
        let storage = Storage::Elsewhere(format!("{}/secret", trap.root_url()));
        let artifact = Artifact {
            storage,
            ..Artifact::default()
        };
        world
            .artifacts
            .get_mut(GROUP)
            .unwrap()
            .insert("public/actions.json".to_owned(), artifact);
    });
    let error = backend(&fake).request(&request()).await.unwrap_err();
    assert!(
        matches!(&error, RequestError::NotPossible(why) if why.contains("`artifact_hosts`")),
        "{error}"
    );
    assert!(trap.requests().is_empty());
}

#[tokio::test]
async fn an_actions_file_over_the_limit_is_not_read_to_its_end() {
    let fake = with_recorded_push().await;
    let backend = backend_with(
        TaskclusterSettings {
            max_actions_bytes: 2_000,
            ..settings(&fake)
        },
        system_clock(),
    );
    let error = backend.request(&request()).await.unwrap_err();
    assert!(
        matches!(&error, RequestError::NotPossible(why) if why.contains("more than 2000 bytes")),
        "{error}"
    );
}

#[tokio::test]
async fn a_push_without_a_decision_task_is_to_be_asked_for_later() {
    let fake = FakeTaskcluster::start().await;
    let error = backend(&fake).request(&request()).await.unwrap_err();
    let RequestError::NotYet(why) = error else {
        panic!("{error}")
    };
    assert!(why.contains("gecko.v2.try.pushlog-id.455023.decision"), "{why}");
    assert!(fake.deeds().is_empty());
}

#[tokio::test]
async fn a_push_can_be_found_by_its_number_where_its_revision_is_not_indexed() {
    let fake = with_recorded_push().await;
    fake.change(|world| {
        world.index.clear();
        world
            .index
            .insert("gecko.v2.try.pushlog-id.455023.decision".to_owned(), GROUP.to_owned());
    });
    backend(&fake).request(&request()).await.unwrap();
}

#[tokio::test]
async fn a_decision_task_without_actions_makes_it_impossible() {
    let fake = with_recorded_push().await;
    fake.change(|world| world.artifacts.clear());
    let error = backend(&fake).request(&request()).await.unwrap_err();
    assert!(
        matches!(&error, RequestError::NotPossible(why) if why.contains("it failed, or has expired")),
        "{error}"
    );
}

#[tokio::test]
async fn a_task_group_of_another_push_is_not_acted_in() {
    let fake = with_recorded_push().await;
    let other = chain_actions().replace(REVISION, "c7766d0b4a121985a8b07e6721d66ccab57bbf76");
    fake.change(|world| world.add_artifact("other-group", "public/actions.json", &other));
    let wrong_group = JobRequest {
        group: Some(TaskId::from("other-group")),
        ..request()
    };
    backend(&fake).request(&wrong_group).await.unwrap();
    assert_eq!(triggers(&fake)[0].body["user"]["taskGroupId"], GROUP);
}

#[tokio::test]
async fn trouble_before_the_deed_is_never_in_doubt() {
    let index = "/api/index/v1/task/";
    let busy = |error: &RequestError| matches!(error, RequestError::Busy { .. });
    let refused = |error: &RequestError| matches!(error, RequestError::Refused(_));
    let seven = Some(Duration::from_secs(7));
    let later = |error: &RequestError| matches!(error, RequestError::Busy { retry_after, .. } if *retry_after == seven);
    type Test<'a> = &'a dyn Fn(&RequestError) -> bool;
    let cases: [(Fault, Test<'_>); 7] = [
        (answers(500, "oops"), &busy),
        (answers(503, ""), &busy),
        (answers_with(429, ("retry-after", "7"), ""), &later),
        (answers(403, r#"{"message": "no"}"#), &refused),
        (Fault::Hang { acts: false }, &busy),
        (Fault::Close { acts: false }, &busy),
        (Fault::CloseMidway { acts: false }, &busy),
    ];
    for (fault, expected) in cases {
        let fake = with_recorded_push().await;
        fake.fail("GET", index, fault.clone());
        let error = backend(&fake).request(&request()).await.unwrap_err();
        assert!(expected(&error), "{fault:?}: {error}");
        assert!(fake.deeds().is_empty());
    }
}

#[tokio::test]
async fn a_deployment_that_is_not_there_is_busy() {
    let fake = with_recorded_push().await;
    let backend = backend(&fake);
    drop(fake);
    let error = backend.request(&request()).await.unwrap_err();
    assert!(matches!(error, RequestError::Busy { .. }), "{error}");
}

// The deed, and its answer.

#[tokio::test]
async fn every_answer_to_the_deed_has_one_meaning_and_none_is_asked_for_again() {
    let scopes = json!({
        "code": "InsufficientScopes",
        "message": "Client ID project/sheriffd does not have sufficient scopes and is missing the following scopes:\n\n\
                    ```\nhooks:trigger-hook:project-gecko/x\n```\n\n---\n\n* payload: {}",
    });
    let scopes = scopes.to_string();
    let cases: [(Fault, &str, &str); 14] = [
        (
            answers(400, r#"{"message": "payload does not match"}"#),
            "not possible",
            "payload does not match",
        ),
        (
            answers(401, r#"{"message": "bad the-access-token"}"#),
            "refused",
            "bad ***",
        ),
        (answers(403, &scopes), "refused", "hooks:trigger-hook:project-gecko/x"),
        (
            answers(404, r#"{"message": "no such hook"}"#),
            "not possible",
            "no such hook",
        ),
        (answers(409, "{}"), "in doubt", "409"),
        (answers_with(429, ("retry-after", "17"), ""), "busy", "429"),
        (answers(500, "<html>oops</html>"), "in doubt", "<html>oops</html>"),
        (answers(503, ""), "in doubt", "503"),
        (
            answers_with(303, ("location", "https://example.org/"), ""),
            "refused",
            "https://example.org/",
        ),
        (Fault::Hang { acts: true }, "in doubt", "time-out"),
        (Fault::Close { acts: true }, "in doubt", "did not answer"),
        (Fault::CloseMidway { acts: true }, "in doubt", "lost half way"),
        (
            answers(200, "<html>\nhello\u{7}</html>"),
            "in doubt",
            "<html> hello </html>",
        ),
        (
            answers(200, r#"{"status": {"taskId": 7}}"#),
            "in doubt",
            "without naming a task",
        ),
    ];
    for (fault, kind, words) in cases {
        let fake = with_recorded_push().await;
        fake.fail("POST", TRIGGER, fault.clone());
        let error = backend(&fake).request(&request()).await.unwrap_err().to_string();
        assert!(error.starts_with(kind) && error.contains(words), "{fault:?}: {error}");
        assert!(
            !error.contains("payload: {}") && !error.contains("the-access-token"),
            "{error}"
        );
        assert_eq!(triggers(&fake).len(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn retry_after_is_handed_on() {
    let fake = with_recorded_push().await;
    fake.fail("POST", TRIGGER, answers_with(429, ("retry-after", "17"), ""));
    let error = backend(&fake).request(&request()).await.unwrap_err();
    let expected = Some(Duration::from_secs(17));
    assert!(matches!(error, RequestError::Busy { retry_after, .. } if retry_after == expected));
}

#[tokio::test]
async fn a_task_id_at_the_top_of_the_answer_is_found_too() {
    let fake = with_recorded_push().await;
    fake.fail("POST", TRIGGER, answers(200, r#"{"taskId": "eS8y7QVZQGmpUW9EAb3NxA"}"#));
    let receipt = backend(&fake).request(&request()).await.unwrap();
    assert_eq!(receipt.action_task, Some(TaskId::from("eS8y7QVZQGmpUW9EAb3NxA")));
}

// Credentials.

#[tokio::test]
async fn every_request_to_the_deployment_is_signed_and_none_to_a_store() {
    let fake = with_recorded_push().await;
    backend(&fake).request(&request()).await.unwrap();
    for request in fake.requests() {
        if request.path.starts_with("/__store/") {
            assert!(!request.headers.contains_key("authorization"), "{}", request.path);
        } else {
            check_signature(&request, &fake.root_url(), "project/sheriffd", "the-access-token");
        }
    }
}

#[tokio::test]
async fn temporary_credentials_and_authorized_scopes_are_sent_along() {
    let fake = with_recorded_push().await;
    let certificate = r#"{"version":1,"scopes":["a:b"],"start":1,"expiry":4102444800000,"seed":"s","signature":"x"}"#;
    let mut settings = settings(&fake);
    settings.credentials.as_mut().unwrap().certificate = Some(Secret::new(certificate));
    settings.authorized_scopes = Some(vec!["hooks:trigger-hook:project-gecko/*".to_owned()]);
    backend_with(settings, system_clock())
        .request(&request())
        .await
        .unwrap();
    let ext = check_signature(
        &triggers(&fake)[0],
        &fake.root_url(),
        "project/sheriffd",
        "the-access-token",
    );
    assert_eq!(ext["certificate"], serde_json::from_str::<Value>(certificate).unwrap());
    assert_eq!(ext["authorizedScopes"], json!(["hooks:trigger-hook:project-gecko/*"]));
}

#[tokio::test]
async fn doctor_names_missing_credentials_scopes_and_services() {
    let fake = with_recorded_push().await;
    let ok = |findings: Vec<Finding>| findings.iter().map(|f| f.ok).collect::<Vec<_>>();
    assert_eq!(ok(backend(&fake).check().await), [true, true, false]);
    fake.change(|world| world.scopes = vec!["hooks:trigger-hook:project-gecko/*".to_owned()]);
    assert_eq!(ok(backend(&fake).check().await), [true, true, true]);
    let anybody = TaskclusterSettings {
        credentials: None,
        ..settings(&fake)
    };
    assert_eq!(ok(backend_with(anybody, system_clock()).check().await), [true, false]);
    let backend = backend(&fake);
    drop(fake);
    assert_eq!(ok(backend.check().await), [false, true, false]);
}

#[tokio::test]
async fn a_task_that_nobody_needs_is_cancelled_by_a_signed_request_and_a_task_that_is_gone_is_no_error() {
    let fake = with_recorded_push().await;
    let backend = backend(&fake);
    let path = format!("/api/queue/v1/task/{GROUP}/cancel");
    for (status, ok) in [(200, true), (404, true), (409, true), (403, false)] {
        fake.fail("POST", &path, answers(status, "{\"status\": {}}"));
        assert_eq!(backend.cancel(&TaskId::from(GROUP)).await.is_ok(), ok, "{status}");
    }
    let asked: Vec<_> = fake
        .requests()
        .into_iter()
        .filter(|request| request.path == path)
        .collect();
    assert_eq!(asked.len(), 4, "each once");
    check_signature(&asked[0], &fake.root_url(), "project/sheriffd", "the-access-token");
}
