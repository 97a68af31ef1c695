//! A bug tracker that speaks Bugzilla's REST API, over HTTP on a free port.

use std::sync::{Arc, Mutex};

use axum::extract::RawQuery;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

/// The tracker. Dropping it ends it.
pub struct Tracker {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Tracker {
    /// Starts it with these bugs: number, summary, keywords, whiteboard.
    pub async fn start(bugs: &[(u64, &str, &[&str], &str)]) -> Tracker {
        let bugs: Vec<Value> = bugs
            .iter()
            .map(|(id, summary, keywords, whiteboard)| {
                json!({"id": id, "summary": summary, "keywords": keywords, "whiteboard": whiteboard, "status": "NEW"})
            })
            .collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        let answer = async move |RawQuery(query): RawQuery| {
            let query = query.unwrap_or_default();
            let values = |name: &str| -> Vec<String> {
                let pairs = url_pairs(&query);
                pairs
                    .into_iter()
                    .filter(|(key, _)| key == name)
                    .map(|(_, value)| value)
                    .collect()
            };
            let (ids, texts) = (values("id"), values("summary"));
            kept.lock().unwrap().push(query);
            let is_wanted = |bug: &&Value| {
                let summary = bug["summary"].as_str().unwrap_or_default();
                ids.contains(&bug["id"].to_string()) || texts.iter().any(|text| summary.contains(text.as_str()))
            };
            let found: Vec<&Value> = bugs.iter().filter(is_wanted).collect();
            Json(json!({"bugs": found}))
        };
        let router = Router::new().route("/rest/bug", get(answer));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Tracker { port, asked, server }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How often it was asked.
    pub fn questions(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn url_pairs(query: &str) -> Vec<(String, String)> {
    let url = reqwest::Url::parse(&format!("http://x/?{query}")).unwrap();
    url.query_pairs()
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect()
}
