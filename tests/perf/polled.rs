//! Alerts that are polled from a Treeherder-compatible service.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::Query;
use axum::routing::get;
use serde_json::{Value, json};
use sheriffd::daemon::alerts::look;
use sheriffd::enrich::PerfherderSource;
use sheriffd::net::system_clock;

use crate::tree::{TP5O, Tree, meter, plan};

const RULES: &str = "
version: 1
rules:
  - name: perf-regression
    on: perf.alert
    open: { kind: find-perf-culprit, max_jobs: 20 }
    mode: shadow
";

/// Two summaries a page, the newest first, one alert in each.
async fn service(alerts: Arc<Mutex<Vec<u64>>>, asked: Arc<Mutex<Vec<u32>>>) -> String {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let answer = move |Query(query): Query<std::collections::HashMap<String, u32>>| {
        let page = query["page"];
        asked.lock().expect("the pages").push(page);
        let all = alerts.lock().expect("the alerts").clone();
        let shown = all.iter().rev().skip(2 * (page as usize - 1)).take(2);
        let results: Vec<Value> = shown.map(|id| summary(*id)).collect();
        let next = (all.len() > 2 * page as usize).then_some("http://next");
        async move { Json(json!({ "count": all.len(), "next": next, "previous": null, "results": results })) }
    };
    let router = Router::new().route("/api/performance/alertsummary/", get(answer));
    tokio::spawn(async move { axum::serve(listener, router).await.expect("the server goes on") });
    format!("http://127.0.0.1:{port}")
}

fn summary(id: u64) -> Value {
    json!({
        "id": id, "repository": "autoland", "push": 29, "previous_push": 21, "revision": "abc",
        "alerts": [{
            "id": id, "is_regression": true, "amount_pct": 6.0,
            "series_signature": { "machine_platform": "linux2404-64", "suite": format!("suite-{id}"), "test": null },
        }],
    })
}

#[tokio::test]
async fn only_what_is_new_since_the_first_look_is_taken_and_pages_are_read_as_far_as_they_are_new() {
    let mut tree = Tree::new(plan(1, vec![meter(TP5O, "tp5o", 0.01, &[])]), RULES);
    tree.rest().await;
    let alerts = Arc::new(Mutex::new(vec![1, 2, 3]));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let url = service(Arc::clone(&alerts), Arc::clone(&asked)).await;
    let source = PerfherderSource::new(&url, Duration::from_secs(5), 1 << 20, system_clock()).expect("a source");
    let events = async || {
        let taken = look(&source, &tree.pipeline).await.expect("it can be had");
        taken.events.get("perf.alert").copied().unwrap_or(0)
    };
    assert_eq!(events().await, 0);
    assert_eq!(*asked.lock().expect("the pages"), [1]);
    assert_eq!(events().await, 0);
    // Three new ones lie on two pages; the third page is not asked for.
    alerts.lock().expect("the alerts").extend([4, 5, 6]);
    asked.lock().expect("the pages").clear();
    assert_eq!(events().await, 3);
    assert_eq!(*asked.lock().expect("the pages"), [1, 2]);
    assert_eq!(events().await, 0);
}
