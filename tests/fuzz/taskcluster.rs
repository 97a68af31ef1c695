//! What a Taskcluster deployment says: actions of a push with their templates and schemas, and answers over HTTP.

use std::collections::BTreeMap;

use serde_json::json;
use sheriffd::backends::taskcluster::actions::ActionsFile;
use sheriffd::backends::taskcluster::ask::call;
use sheriffd::backends::taskcluster::input::complete;
use sheriffd::event::TaskId;

use crate::mutate::{mutated, pick};
use crate::{cases, corpus};

/// Files of actions: the recorded one, and small ones with a template each.
fn actions_files() -> Vec<Vec<u8>> {
    let mut all = corpus("tests/data/taskcluster/add-new-jobs-chain", "3-actions.json");
    for template in [
        json!({"$if": "taskGroupId == 'x'", "then": {"$eval": "input.tasks"}, "else": "${taskId}"}),
        json!({"$map": {"$eval": "input.tasks"}, "each(x,i)": {"$merge": [{"a": "${x}"}, {"$let": {"b": {"$eval": "i * 2"}}, "in": {"c": {"$eval": "b"}}}]}}),
        json!({"$sort": [3, 1, 2], "by(x)": "-x"}),
        json!({"$json": {"$fromNow": "2 hours 3 minutes"}}),
        json!({"$flattenDeep": [[1, [2]], {"$reverse": [1, 2]}], "$switch": {"true": 1}}),
    ] {
        let action = json!({
            "kind": "hook", "name": "a", "title": "a", "description": "a", "context": [{}],
            "hookGroupId": "g", "hookId": "h", "hookPayload": { "user": template },
            "schema": { "type": "object", "properties": { "tasks": { "type": "array", "items": { "type": "string",
                "pattern": "^(a+)+$" } } }, "additionalProperties": false },
        });
        all.push(
            json!({ "version": 1, "variables": { "a": 1 }, "actions": [action] })
                .to_string()
                .into_bytes(),
        );
    }
    all
}

#[test]
fn actions_and_their_templates() {
    let all = actions_files();
    let small: Vec<&Vec<u8>> = all.iter().filter(|file| file.len() < 4_000).collect();
    cases(
        "actions",
        3_000,
        |random| {
            // The recorded one is large: most of its mutations change what nobody looks at.
            let sound = if random.chance(0.1) {
                &all[0]
            } else {
                *pick(random, &small)
            };
            let other = *pick(random, &small);
            mutated(random, sound, other)
        },
        |case| {
            let file = match ActionsFile::parse(case) {
                Ok(file) => file,
                Err(error) => return crate::is_presentable(&error.to_string()),
            };
            let names = ["add-new-jobs", "retrigger-multiple", "backfill", "a"];
            for action in names.iter().filter_map(|name| file.find(name, None)) {
                let input = json!({ "tasks": ["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"], "times": 1 });
                let input = match complete(action.schema.as_ref(), input) {
                    Ok(input) => input,
                    Err(error) => return crate::is_presentable(&error.to_string()),
                };
                let group = TaskId::from("fzO32Yv0QGuYP7UEh9t8TA");
                if let Err(error) = call(&file, action, &group, None, &input, TaskId::from("a")) {
                    crate::is_presentable(&error.to_string());
                }
            }
        },
    );
}

/// Heads of answers, mutated together with the bodies.
#[test]
fn http_answers_of_a_service() {
    use std::io::{Read as _, Write as _};
    use std::sync::{Arc, Mutex};

    use sheriffd::enrich::{FactSource as _, QueueSettings, QueueSource};
    use sheriffd::event::BackendName;
    use sheriffd::net::system_clock;

    let body = r#"{"provisionerId": "a", "tags": {"label": "b", "kind": "test"}, "metadata": {"name": "b"}}"#;
    let sound = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nretry-after: 3\r\n\r\n{body}",
        body.len()
    );
    let others = [
        "HTTP/1.1 303 See Other\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-encoding: gzip\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 429 Too Many\r\nretry-after: 99999999999999999999\r\n\r\n\u{1b}[2Jgo away",
    ];
    let mut all: Vec<Vec<u8>> = others.iter().map(|text| text.as_bytes().to_vec()).collect();
    all.push(sound.into_bytes());

    let answer: Arc<Mutex<Vec<u8>>> = Arc::default();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let root_url = format!("http://{}", listener.local_addr().expect("an address"));
    let given = Arc::clone(&answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut asked = [0; 4096];
            // Whatever was asked; a peer that is gone already does not matter.
            let _ = stream.read(&mut asked);
            let _ = stream.write_all(&given.lock().unwrap().clone());
        }
    });
    let settings = QueueSettings {
        root_url,
        timeout_seconds: 2,
        ..QueueSettings::default()
    };
    let backend = BackendName::from("ci");
    let source = QueueSource::new(backend.clone(), settings, system_clock()).expect("the settings are sound");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    cases(
        "http-answers",
        1_000,
        |random| {
            let sound = pick(random, &all);
            let other = pick(random, &all);
            mutated(random, sound, other)
        },
        |case| {
            *answer.lock().unwrap() = case.to_vec();
            let asked = runtime.block_on(source.task(&backend, &TaskId::from("fzO32Yv0QGuYP7UEh9t8TA")));
            if let Err(error) = asked {
                crate::is_presentable(&error.to_string());
            }
        },
    );
}

/// Keeps the fake's own module used: its requests are what the next test mutates.
#[tokio::test]
async fn artifacts_of_a_run() {
    use sheriffd::enrich::{FactSource as _, QueueSettings, QueueSource};
    use sheriffd::event::{BackendName, RunKey};
    use sheriffd::net::system_clock;
    use sheriffd::stats::random::Random;

    use crate::fake_taskcluster::{Artifact, FakeTaskcluster, Storage};

    let fake = FakeTaskcluster::start().await;
    let backend = BackendName::from("ci");
    let settings = QueueSettings {
        root_url: fake.root_url(),
        max_summary_bytes: 100_000,
        ..QueueSettings::default()
    };
    let source = QueueSource::new(backend.clone(), settings, system_clock()).expect("the settings are sound");
    let all = crate::lines("tests/data/errorsummary", ".log");
    let run = RunKey {
        backend,
        task: TaskId::from("fzO32Yv0QGuYP7UEh9t8TA"),
        run: 0,
    };
    for seed in 0..100 * crate::told("FUZZ_TIMES", 1) {
        let mut random = Random::new(seed + crate::told("FUZZ_SEED", 0) * 1_000_000_007);
        let sound = pick(&mut random, &all);
        let other = pick(&mut random, &all);
        let content = String::from_utf8_lossy(&mutated(&mut random, sound, other)).into_owned();
        let storage = match random.below(3) {
            0 => Storage::Inline,
            1 => Storage::Redirected,
            _ => Storage::Elsewhere("http://169.254.169.254/latest/meta-data".into()),
        };
        fake.change(|world| {
            let artifact = Artifact {
                content,
                storage,
                gzip: random.chance(0.5),
            };
            let name = "public/test_info/a_errorsummary.log".to_owned();
            world
                .artifacts
                .insert(run.task.to_string(), BTreeMap::from([(name, artifact)]));
        });
        if let Err(error) = source.failures(&run).await {
            crate::is_presentable(&error.to_string());
        }
    }
}
