//! A treestatus service as a source of which trees are open
//! (<https://treestatus.mozilla-releng.net>; the same API is part of Lando).
//!
//! In: nothing. Out: every tree it knows, with its status. Never: a host that is not the configured one.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Method, Request, Url};
use serde::Deserialize;

use super::{FactError, fact_error};
use crate::event::Project;
use crate::net::Clock;
use crate::net::ask::settle;
use crate::net::http::{self, ClientError, Reuse};

/// The largest answer that is read, in bytes: a hundred trees with their reasons take some 40 KB.
const MAX_ANSWER: usize = 1024 * 1024;

/// Characters of a tree's reason that are kept.
const MAX_REASON: usize = 300;

/// The settings cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeStatusError {
    /// The URL is none of a web server.
    #[error("`url` is `{0}`, but must be the http(s) URL of a treestatus service")]
    Url(String),
    /// The HTTP client failed.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Whether a tree takes landings, as its sheriffs say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The tree.
    pub project: Project,
    /// `open`, `closed`, `approval required`, or another word of the service.
    pub status: String,
    /// Why, for people.
    pub reason: String,
}

/// The source.
pub struct TreeStatusSource {
    url: Url,
    client: reqwest::Client,
    clock: Clock,
}

#[derive(Deserialize)]
struct WireAnswer {
    result: BTreeMap<String, WireTree>,
}

#[derive(Deserialize)]
struct WireTree {
    status: String,
    #[serde(default)]
    reason: Option<String>,
}

impl TreeStatusSource {
    /// Makes ready to ask. Nothing is sent.
    ///
    /// # Errors
    /// The base URL is none of a web server, or the HTTP client cannot be set up.
    pub fn new(base: &str, timeout: Duration, clock: Clock) -> Result<TreeStatusSource, TreeStatusError> {
        let bad = || TreeStatusError::Url(http::quote(base));
        let mut url = Url::parse(base).map_err(|_| bad())?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(bad());
        }
        url.path_segments_mut()
            .map_err(|()| bad())?
            .pop_if_empty()
            .push("trees");
        Ok(TreeStatusSource {
            url,
            client: http::client(timeout, Reuse::Keep)?,
            clock,
        })
    }

    /// Every tree that the service knows.
    ///
    /// # Errors
    /// The service does not answer, or with something else.
    pub async fn trees(&self) -> Result<Vec<Tree>, FactError> {
        let what = "the list of trees";
        let request = Request::new(Method::GET, self.url.clone());
        let outcome = http::exchange(&self.client, request, MAX_ANSWER, (self.clock)()).await;
        let body = settle(what, outcome).map_err(fact_error)?;
        trees(&body).map_err(|error| FactError::Malformed(format!("{what}: {error}")))
    }
}

fn trees(body: &[u8]) -> Result<Vec<Tree>, serde_json::Error> {
    let answer: WireAnswer = serde_json::from_slice(body)?;
    let tree = |(name, tree): (String, WireTree)| Tree {
        project: Project::from(name),
        status: tree.status,
        reason: tree.reason.unwrap_or_default().chars().take(MAX_REASON).collect(),
    };
    Ok(answer.result.into_iter().map(tree).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_read_with_status_and_reason() {
        let body = br#"{"result": {
            "autoland": {"category": "development", "log_id": 1, "message_of_the_day": "", "reason": "bustage",
                "status": "closed", "tags": ["checkin_test"], "tree": "autoland"},
            "try": {"reason": null, "status": "open", "tree": "try"}}}"#;
        let tree = |project: &str, status: &str, reason: &str| Tree {
            project: project.into(),
            status: status.into(),
            reason: reason.into(),
        };
        assert_eq!(
            trees(body).unwrap(),
            [tree("autoland", "closed", "bustage"), tree("try", "open", "")]
        );
        assert!(trees(b"<html>").is_err() && trees(b"{}").is_err());
    }

    #[test]
    fn the_service_must_be_a_web_server() {
        let made = |url: &str| TreeStatusSource::new(url, Duration::from_secs(1), crate::net::system_clock());
        assert!(matches!(made("ftp://x"), Err(TreeStatusError::Url(_))));
        let source = made("https://treestatus.example.org/api/").unwrap();
        assert_eq!(source.url.as_str(), "https://treestatus.example.org/api/trees");
    }
}
