//! The readers of messages, definitions, logs and recordings.

use sheriffd::event::{BackendName, Delivery, Project};
use sheriffd::wire::{
    DEFAULT_MAX_BODY, WireSettings, decode, error_summary, job_list, job_row, number_of_push, numbered_job,
    numbered_push, pushlog, recorded, task, task_graph,
};

use crate::mutate::{mutated, pick};
use crate::{cases, is_presentable, lines};

const EXCHANGES: [&str; 12] = [
    "exchange/taskcluster-queue/v1/task-pending",
    "exchange/taskcluster-queue/v1/task-failed",
    "exchange/taskcluster-queue/v1/task-exception",
    "exchange/hgpushes/v1",
    "exchange/hgpushes/v2",
    "exchange/taskcluster-github/v1/push",
    "exchange/taskcluster-github/v1/pull-request",
    "exchange/taskcluster-treeherder/v1/jobs",
    "exchange/treeherder/v1/job-actions",
    "exchange/treeherder/v1/resultset-actions",
    "exchange/build/",
    "exchange/build/normalized",
];

fn settings() -> WireSettings {
    WireSettings {
        backend: BackendName::from("firefox-ci"),
        max_body: DEFAULT_MAX_BODY,
    }
}

/// The recorded messages, each with its exchange.
fn messages() -> Vec<Delivery> {
    let mut all = Vec::new();
    for line in lines("tests/data/pulse", ".jsonl") {
        let text = String::from_utf8(line).expect("recordings are UTF-8");
        for fallback in [None, Some(EXCHANGES[7]), Some(EXCHANGES[11])] {
            if let Ok(Some(delivery)) = recorded::delivery(&text, 1, fallback) {
                all.push(delivery);
                break;
            }
        }
    }
    assert!(all.len() > 50, "{} recorded messages", all.len());
    all
}

#[test]
fn messages_on_the_bus() {
    let all = messages();
    let settings = settings();
    cases(
        "messages",
        8_000,
        |random| {
            let sound = pick(random, &all);
            // The exchange's number, then what the case needs besides the body.
            let mut case = vec![random.below(EXCHANGES.len() + 1) as u8];
            let own = random.below(all.len()).to_le_bytes();
            case.extend(&own[..2]);
            let other = &pick(random, &all).body;
            case.extend(mutated(random, &sound.body, other));
            case
        },
        |case| {
            let (head, body) = case.split_at(3);
            let sound = &all[usize::from(u16::from_le_bytes([head[1], head[2]]))];
            let exchange = EXCHANGES
                .get(usize::from(head[0]))
                .map_or(&*sound.exchange, |exchange| *exchange);
            let delivery = Delivery {
                exchange: exchange.into(),
                body: body.to_vec().into(),
                ..sound.clone()
            };
            if let Err(error) = decode(&delivery, &settings) {
                is_presentable(&error.to_string());
            }
        },
    );
}

#[test]
fn routing_keys_and_routes() {
    let all = messages();
    // A key is read as its exchange says: one message of each.
    let mut each: Vec<&Delivery> = all.iter().collect();
    each.sort_by_key(|delivery| &delivery.exchange);
    each.dedup_by_key(|delivery| &delivery.exchange);
    let settings = settings();
    cases(
        "routes",
        4_000,
        |random| {
            let sound = pick(random, &all);
            let key = sound.cc.first().unwrap_or(&sound.routing_key);
            mutated(
                random,
                key.as_bytes(),
                b"route.tc-treeherder.v2.autoland.0123456789abcdef.18446744073709551616",
            )
        },
        |key| {
            let key = String::from_utf8_lossy(key);
            for sound in &each {
                let delivery = Delivery {
                    routing_key: key.as_ref().into(),
                    cc: vec![key.as_ref().into(), format!("route.{key}").into()],
                    ..(*sound).clone()
                };
                if let Err(error) = decode(&delivery, &settings) {
                    is_presentable(&error.to_string());
                }
            }
        },
    );
}

#[test]
fn definitions_pushlogs_tables_graphs_and_recordings() {
    let mut all = lines("tests/data/taskcluster", "tasks.jsonl");
    all.extend(lines("tests/data/hg", ".jsonl"));
    let rows: Vec<Vec<u8>> = lines("tests/data/treeherder", ".jsonl")
        .into_iter()
        .step_by(20)
        .collect();
    all.extend(
        rows.iter()
            .step_by(5)
            .map(|row| [b"{\"results\": [", &row[..], b"]}"].concat()),
    );
    all.extend(rows);
    all.extend(lines("tests/data/pulse", ".jsonl"));
    all.extend(crate::corpus("tests/data/taskcluster/add-new-jobs-chain", ".json"));
    all.retain(|line| line.len() < 100_000);
    let settings = settings();
    let project = Project::from("autoland");
    cases(
        "records",
        8_000,
        |random| {
            let sound: &Vec<u8> = pick(random, &all);
            let other: &Vec<u8> = pick(random, &all);
            mutated(random, sound, other)
        },
        |case| {
            let mut refusals = Vec::new();
            refusals.extend(task::facts(case).err());
            if let Ok(text) = std::str::from_utf8(case) {
                refusals.extend(pushlog::pushes(text, &project).err());
                refusals.extend(recorded::delivery(text, 1, None).err());
                refusals.extend(job_row(text, None, &settings).err());
                refusals.extend(job_list(text, &project, &settings).err());
                refusals.extend(number_of_push(text, "0123456789ab").err());
                refusals.extend(numbered_job(text).err());
                refusals.extend(numbered_push(text).err());
                refusals.extend(task_graph::full_task_graph(text).err());
                refusals.extend(task_graph::label_to_task_id(text).err());
            }
            for refusal in refusals {
                is_presentable(&refusal.to_string());
            }
        },
    );
}

#[test]
fn error_summaries() {
    let all = lines("tests/data/errorsummary", ".log");
    cases(
        "errorsummary",
        4_000,
        |random| {
            let mut case = Vec::new();
            for _ in 0..=random.below(4) {
                let sound = pick(random, &all);
                let other = pick(random, &all);
                case.extend(mutated(random, sound, other));
                case.push(b'\n');
            }
            case
        },
        |case| {
            error_summary(case);
        },
    );
}
