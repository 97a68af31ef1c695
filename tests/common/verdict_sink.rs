//! Whoever wants to be told of verdicts: an HTTP server that keeps what it is sent.

use std::sync::{Arc, Mutex};

use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;

/// The server. Dropping it ends it.
pub struct VerdictSink {
    port: u16,
    heard: Arc<Mutex<Vec<Value>>>,
    server: tokio::task::JoinHandle<()>,
}

impl VerdictSink {
    /// Starts it on a free port.
    pub async fn start() -> VerdictSink {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let keeping = Arc::clone(&heard);
        let keep = async move |Json(verdict): Json<Value>| keeping.lock().expect("nobody panics in here").push(verdict);
        let router = Router::new().route("/verdicts", post(keep));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("the server goes on") });
        VerdictSink { port, heard, server }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/verdicts", self.port)
    }

    /// What it was sent so far.
    pub fn heard(&self) -> Vec<Value> {
        self.heard.lock().expect("nobody panics in here").clone()
    }
}

impl Drop for VerdictSink {
    fn drop(&mut self) {
        self.server.abort();
    }
}
