//! `sheriffd catalog` and `GET /api/catalog`.

use serde_json::Value;

use crate::eventually::eventually;
use crate::world::{LINUX, TALOS, WINDOWS, World};

#[tokio::test]
async fn the_api_answers_what_the_command_prints() {
    let world = World::of_yesterday().await;
    let printed = world.json(&["catalog", "--project", "autoland"]);
    let labels: Vec<&str> = printed["tests"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|test| test["label"].as_str())
        .collect();
    assert_eq!(labels, [LINUX, TALOS, WINDOWS]);
    let daemon = world.daemon();
    let address = eventually("the pages are served", async || daemon.address()).await;
    let get = async |query: &str| {
        let answer = reqwest::get(format!("http://{address}/api/catalog?{query}"))
            .await
            .unwrap();
        let status = answer.status().as_u16();
        (status, answer.json::<Value>().await.unwrap_or_default())
    };
    assert_eq!(get("project=autoland").await, (200, printed));
    for (query, status) in [
        ("project=elsewhere", 404),
        ("project=autoland&push=15", 404),
        ("", 400),
        ("project=x&y=1", 400),
    ] {
        assert_eq!(get(query).await.0, status, "{query}");
    }
    let (code, said) = world.says(&["catalog", "--project", "autoland", "--push", "15"]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("no task graph of push 15 of autoland was fetched"),
        "{said}"
    );
}
