//! The webhook backend against an HTTP server that writes down what it gets.

#[path = "common/fake_taskcluster.rs"]
mod fake_taskcluster;

use std::collections::BTreeMap;

use fake_taskcluster::{FakeTaskcluster, Fault};
use serde_json::json;
use sheriffd::backends::{
    ActionKey, Backend, DryRunBackend, Found, JobRequest, RequestError, WebhookBackend, WebhookError, WebhookSettings,
};
use sheriffd::event::{BackendName, CaseId, Label, Project, PushId, Revision, RunInput, TaskId, Timestamp};
use sheriffd::net::{Secret, system_clock};

fn request() -> JobRequest {
    JobRequest {
        key: ActionKey {
            case: CaseId(12),
            step: 1,
            slot: 3,
        },
        project: Project::from("org/repo"),
        push: PushId(77),
        revision: Revision::from("eec1748dad2e"),
        label: Label::from("test/opt-1 ü"),
        times: 2,
        existing: None,
        group: Some(TaskId::from("G")),
        input: RunInput {
            env: [("A".to_owned(), "b".to_owned())].into(),
            ..RunInput::default()
        },
        why: "case C12".to_owned(),
    }
}

fn settings(fake: &FakeTaskcluster) -> WebhookSettings {
    WebhookSettings {
        url: Secret::new(format!("{}/hook/${{label}}", fake.root_url())),
        timeout_seconds: 2,
        ..WebhookSettings::default()
    }
}

fn made(settings: WebhookSettings) -> Result<WebhookBackend, WebhookError> {
    WebhookBackend::new(BackendName::from("ci"), settings, system_clock())
}

fn refusal(settings: WebhookSettings) -> String {
    made(settings).err().expect("the settings cannot work").to_string()
}

fn answers(status: u16, body: &str) -> Fault {
    Fault::Answer {
        status,
        headers: BTreeMap::new(),
        body: body.to_owned(),
    }
}

#[tokio::test]
async fn without_a_body_template_all_fields_are_sent() {
    let fake = FakeTaskcluster::start().await;
    fake.fail("POST", "/hook", answers(202, ""));
    made(settings(&fake)).unwrap().request(&request()).await.unwrap();
    let sent = &fake.requests()[0];
    assert_eq!(sent.target, "/hook/test%2Fopt-1%20%C3%BC");
    assert_eq!(sent.headers["idempotency-key"], "sheriffd-C12.1.3");
    assert_eq!(sent.headers["content-type"], "application/json");
    assert_eq!(
        sent.body,
        json!({
            "key": "sheriffd-C12.1.3", "case": "C12", "step": 1, "slot": 3, "project": "org/repo", "push": 77,
            "revision": "eec1748dad2e", "label": "test/opt-1 ü", "times": 2, "existing": null, "group": "G",
            "env": {"A": "b"}, "preferences": {}, "action": null, "why": "case C12",
        })
    );
}

#[tokio::test]
async fn method_headers_and_body_are_as_the_templates_write_them() {
    let fake = FakeTaskcluster::start().await;
    fake.fail("PUT", "/hook", answers(200, ""));
    let settings = WebhookSettings {
        method: "PUT".to_owned(),
        headers: [
            ("Authorization".to_owned(), Secret::new("Bearer x")),
            ("X-Case".to_owned(), Secret::new("${case}")),
        ]
        .into(),
        body: Some(json!({"run": {"job": "${label}", "n": "${times}"}, "ref": "${project}@${revision}"})),
        instance: "second".to_owned(),
        ..settings(&fake)
    };
    made(settings).unwrap().request(&request()).await.unwrap();
    let sent = &fake.requests()[0];
    assert_eq!(
        (sent.headers["authorization"].as_str(), sent.headers["x-case"].as_str()),
        ("Bearer x", "C12")
    );
    assert_eq!(sent.headers["idempotency-key"], "second-C12.1.3");
    assert_eq!(
        sent.body,
        json!({"run": {"job": "test/opt-1 ü", "n": 2}, "ref": "org/repo@eec1748dad2e"})
    );
}

#[tokio::test]
async fn the_body_is_signed_with_the_secret() {
    let fake = FakeTaskcluster::start().await;
    fake.fail("POST", "/hook", answers(200, ""));
    let body = Some(json!({"a": 1}));
    // printf '{"a":1}' | openssl dgst -sha256 -hmac key
    let signature = "sha256=88a67f24bbcdaed0e6c997404bb79a743baf44c6bab2f4c27328e3009d22e342";
    made(WebhookSettings {
        body,
        secret: Some(Secret::new("key")),
        ..settings(&fake)
    })
    .unwrap()
    .request(&request())
    .await
    .unwrap();
    assert_eq!(fake.requests()[0].headers["x-sheriffd-signature-256"], signature);
}

#[tokio::test]
async fn the_receipt_is_read_where_the_pointers_say() {
    let fake = FakeTaskcluster::start().await;
    let settings = WebhookSettings {
        task_pointer: Some("/task/id".to_owned()),
        reference_pointer: Some("/number".to_owned()),
        ..settings(&fake)
    };
    let backend = made(settings).unwrap();
    fake.fail("POST", "/hook", answers(200, r#"{"task": {"id": "T"}, "number": 7}"#));
    let receipt = backend.request(&request()).await.unwrap();
    assert_eq!(
        (receipt.action_task, receipt.reference.as_deref()),
        (Some(TaskId::from("T")), Some("7"))
    );
    fake.fail("POST", "/hook", answers(200, "<html>hello</html>"));
    let error = backend.request(&request()).await.unwrap_err();
    assert!(
        matches!(&error, RequestError::InDoubt(why) if why.contains("<html>hello</html>")),
        "{error}"
    );
}

#[tokio::test]
async fn answers_mean_what_they_mean_for_every_backend() {
    let fake = FakeTaskcluster::start().await;
    let backend = made(settings(&fake)).unwrap();
    let retry = Fault::Answer {
        status: 503,
        headers: [("retry-after".to_owned(), "5".to_owned())].into(),
        body: String::new(),
    };
    let other = Fault::Answer {
        status: 303,
        headers: [("location".to_owned(), "/runs/9".to_owned())].into(),
        body: String::new(),
    };
    for (fault, expected) in [
        (other, "done"),
        (answers(403, "no"), "refused"),
        (answers(404, "no"), "not possible"),
        (answers(409, "again"), "in doubt"),
        (answers(429, "slow down"), "busy"),
        (retry, "busy"),
        (answers(502, ""), "in doubt"),
        (Fault::Hang { acts: true }, "in doubt"),
        (Fault::Close { acts: true }, "in doubt"),
    ] {
        fake.fail("POST", "/hook", fault.clone());
        let outcome = backend.request(&request()).await;
        let said = outcome.map_or_else(|error| error.to_string(), |_| "done".to_owned());
        assert!(said.starts_with(expected), "{fault:?}: {said}");
    }
    assert_eq!(fake.requests().len(), 9);
    drop(fake);
    assert!(matches!(
        backend.request(&request()).await,
        Err(RequestError::Busy { .. })
    ));
}

#[tokio::test]
async fn a_lost_request_is_looked_up_by_its_key() {
    let fake = FakeTaskcluster::start().await;
    let lookup_url = Some(Secret::new(format!("{}/lookup?key=${{key}}", fake.root_url())));
    let backend = made(WebhookSettings {
        lookup_url,
        ..settings(&fake)
    })
    .unwrap();
    let now = system_clock()();
    let find = async |fault, sent_at| {
        fake.fail("GET", "/lookup", fault);
        backend.find(&request(), sent_at).await
    };
    assert!(matches!(find(answers(200, "{}"), now).await, Ok(Found::Done(_))));
    assert_eq!(find(answers(404, ""), Timestamp(0)).await, Ok(Found::NotDone));
    assert!(matches!(
        find(answers(404, ""), now).await,
        Err(RequestError::Busy {
            retry_after: Some(_),
            ..
        })
    ));
    assert!(matches!(
        find(answers(500, ""), Timestamp(0)).await,
        Err(RequestError::Busy { .. })
    ));
    assert!(matches!(
        find(answers(403, ""), Timestamp(0)).await,
        Ok(Found::CannotTell(_))
    ));
    assert_eq!(fake.requests()[0].target, "/lookup?key=sheriffd-C12.1.3");
    let blind = made(settings(&fake)).unwrap();
    assert!(matches!(
        blind.find(&request(), Timestamp(0)).await,
        Ok(Found::CannotTell(_))
    ));
}

#[tokio::test]
async fn a_task_that_nobody_needs_is_taken_back_where_the_ci_can_and_one_that_is_over_is_no_error() {
    let fake = FakeTaskcluster::start().await;
    let cancelling = |method: &str| WebhookSettings {
        cancel_url: Some(Secret::new(format!("{}/cancel/${{task}}", fake.root_url()))),
        cancel_method: method.to_owned(),
        headers: [("Authorization".to_owned(), Secret::new("Bearer x"))].into(),
        secret: Some(Secret::new("key")),
        ..settings(&fake)
    };
    let task = TaskId::from("a/b");
    for (method, body) in [("POST", json!({"task": "a/b"})), ("DELETE", json!(null))] {
        let backend = made(cancelling(method)).unwrap();
        let cancel = async |fault| {
            fake.fail(method, "/cancel", fault);
            backend.cancel(&task).await
        };
        for (status, taken_back) in [(200, true), (404, true), (409, true), (410, true), (400, false)] {
            let answer = cancel(answers(status, "")).await;
            assert_eq!(answer.is_ok(), taken_back, "{method} {status}: {answer:?}");
        }
        assert!(matches!(cancel(answers(503, "")).await, Err(RequestError::InDoubt(_))));
        let sent = fake.requests().pop().unwrap();
        assert_eq!((sent.target.as_str(), &sent.body), ("/cancel/a%2Fb", &body));
        assert_eq!(sent.headers["idempotency-key"], "sheriffd-cancel-a/b");
        assert_eq!(sent.headers["authorization"], "Bearer x");
        assert!(sent.headers["x-sheriffd-signature-256"].starts_with("sha256="));
    }

    assert_eq!(
        refusal(cancelling("GET")),
        "`cancel_method` is `GET`, but must be one of POST, PUT, PATCH, DELETE"
    );
    let blunt = Some(Secret::new("https://ci.example.org/cancel"));
    assert!(
        refusal(WebhookSettings {
            cancel_url: blunt,
            ..settings(&fake)
        })
        .starts_with("`cancel_url` has no `${task}`")
    );
    let unable = made(settings(&fake)).unwrap().cancel(&task).await;
    assert!(matches!(unable, Err(RequestError::NotPossible(why)) if why.contains("`cancel_url`")));
}

#[tokio::test]
async fn settings_that_cannot_work_are_named() {
    let fake = FakeTaskcluster::start().await;
    let with = |change: &dyn Fn(&mut WebhookSettings)| {
        let mut settings = settings(&fake);
        change(&mut settings);
        refusal(settings)
    };
    for host in [
        "",
        "ci.example.org/",
        "https://${project}.example.org/",
        "https://ci.example.org",
        "file:///etc/${label}",
    ] {
        assert!(
            with(&|s| s.url = Secret::new(host)).starts_with("`url` must be an http(s) URL"),
            "{host}"
        );
    }
    assert_eq!(
        with(&|s| s.body = Some(json!({"x": "${lable}"}))).split(';').next(),
        Some("`body`: `${lable}` is no field (did you mean `label`?)")
    );
    assert_eq!(
        with(&|s| s.method = "GET".to_owned()),
        "`method` is `GET`, but must be one of POST, PUT, PATCH"
    );
    let key = |s: &mut WebhookSettings| s.headers = [("Idempotency-Key".to_owned(), Secret::new("1"))].into();
    assert!(with(&key).starts_with("header `Idempotency-Key` cannot be set"));
    let lookup = |s: &mut WebhookSettings| s.lookup_url = Some(Secret::new("https://ci.example.org/${push}"));
    assert!(with(&lookup).starts_with("`lookup_url` has no `${key}`"));
    assert!(with(&|s| s.task_pointer = Some("task".to_owned())).contains("must be a JSON pointer"));
    assert_eq!(
        with(&|s| s.timeout_seconds = 601),
        "`timeout_seconds` is 601, but must be 1 to 600"
    );
}

#[tokio::test]
async fn names_from_messages_cannot_climb_the_address_or_break_a_header() {
    let fake = FakeTaskcluster::start().await;
    let backend = made(settings(&fake)).unwrap();
    let climbing = JobRequest {
        label: Label::from(".."),
        ..request()
    };
    assert!(matches!(
        backend.request(&climbing).await,
        Err(RequestError::NotPossible(_))
    ));
    let headers = [("X-Label".to_owned(), Secret::new("${label}"))].into();
    let backend = made(WebhookSettings {
        headers,
        ..settings(&fake)
    })
    .unwrap();
    let breaking = JobRequest {
        label: Label::from("a\r\nX-Admin: yes"),
        ..request()
    };
    assert!(matches!(
        backend.request(&breaking).await,
        Err(RequestError::NotPossible(_))
    ));
    assert!(fake.requests().is_empty());
}

#[test]
fn settings_are_read_and_never_printed() {
    let settings: WebhookSettings = serde_json::from_value(json!({
        "url": "https://ci.example.org/secret-path/${label}",
        "headers": {"Authorization": "Bearer hunter2"},
        "secret": "hunter3",
    }))
    .unwrap();
    let printed = format!("{settings:?}");
    assert!(
        !["secret-path", "hunter2", "hunter3"]
            .iter()
            .any(|secret| printed.contains(secret)),
        "{printed}"
    );
    let unknown = serde_json::from_value::<WebhookSettings>(json!({"uri": "x"})).unwrap_err();
    assert!(unknown.to_string().contains("unknown field `uri`"), "{unknown}");
}

#[tokio::test]
async fn a_dry_run_accepts_everything_and_does_nothing() {
    let backend = DryRunBackend::new(BackendName::from("tc"));
    let receipt = backend.request(&request()).await.unwrap();
    assert_eq!(
        (receipt.action_task, receipt.reference.as_deref()),
        (None, Some("dry-run"))
    );
    assert_eq!(backend.find(&request(), Timestamp(0)).await, Ok(Found::NotDone));
    assert!(backend.check().await.iter().all(|finding| finding.ok));
}

#[tokio::test]
async fn doctor_says_whether_lost_answers_can_be_cleared_up() {
    let fake = FakeTaskcluster::start().await;
    let findings = made(settings(&fake)).unwrap().check().await;
    assert_eq!(
        findings.iter().map(|finding| finding.ok).collect::<Vec<_>>(),
        [true, false]
    );
}
