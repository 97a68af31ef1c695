//! A Mercurial pushlog as a source of pushes
//! (<https://mozilla-version-control-tools.readthedocs.io/en/latest/hgmo/pushlog.html>).
//!
//! In: a project and which of its pushes. Out: those pushes with their changesets. Never: a host that is not the
//! configured one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Method, Request, Url};
use serde::Deserialize;

use super::{FactError, FactSource, PushQuery, fact_error};
use crate::event::{Project, PushEvent};
use crate::net::Clock;
use crate::net::ask::settle;
use crate::net::http::{self, ClientError, Reuse, SendError};
use crate::wire;

/// Pushes asked for in one exchange.
const PAGE: u64 = 100;

/// Pushes asked for in one question: the deepest look back that a case may make.
const MAX_PUSHES: u64 = 1_000;

/// A server with pushlogs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PushlogSettings {
    /// The server: `https://hg.mozilla.org`. Has no default.
    pub base_url: String,
    /// The repository's path at the server by project, where it is not the project's name:
    /// `autoland = "integration/autoland"`.
    pub paths: BTreeMap<String, String>,
    /// How long one exchange may take, in seconds, 1 to 600.
    pub timeout_seconds: u64,
    /// The largest answer that is read, in bytes. A merge of thousands of changesets has tens of megabytes.
    pub max_bytes: usize,
}

impl Default for PushlogSettings {
    fn default() -> Self {
        PushlogSettings {
            base_url: String::new(),
            paths: BTreeMap::new(),
            timeout_seconds: 60,
            max_bytes: 64 * 1024 * 1024,
        }
    }
}

/// The settings cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushlogError {
    /// The base URL is no URL of a web server.
    #[error("`base_url` is `{0}`, but must be the http(s) URL of a server with pushlogs, as https://hg.example.org")]
    BaseUrl(String),
    /// The HTTP client failed.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// The source.
pub struct PushlogSource {
    base: Url,
    paths: BTreeMap<String, String>,
    max_bytes: usize,
    client: reqwest::Client,
    clock: Clock,
}

impl PushlogSource {
    /// Makes ready to ask. Nothing is sent.
    pub fn new(settings: PushlogSettings, clock: Clock) -> Result<PushlogSource, PushlogError> {
        let bad = || PushlogError::BaseUrl(http::quote(&settings.base_url));
        let base = Url::parse(&settings.base_url).map_err(|_| bad())?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(bad());
        }
        let client = http::client(Duration::from_secs(settings.timeout_seconds.clamp(1, 600)), Reuse::Keep)?;
        Ok(PushlogSource {
            base,
            paths: settings.paths,
            max_bytes: settings.max_bytes,
            client,
            clock,
        })
    }

    /// The address of a question about a repository. The project's name comes from messages: it can only ever be a path
    /// at the server.
    fn url(&self, project: &Project, page: &[&str], query: &[(&str, &str)]) -> Result<Url, FactError> {
        let path = self
            .paths
            .get(project.as_str())
            .map_or(project.as_str(), String::as_str);
        let absent = || FactError::Absent(format!("repository with the path `{}`", http::quote(path)));
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(absent());
        }
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| absent())?
            .pop_if_empty()
            .extend(path.split('/'))
            .extend(page);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    async fn text(&self, what: &str, url: Url) -> Result<String, FactError> {
        let request = Request::new(Method::GET, url);
        let outcome: Result<_, SendError> = http::exchange(&self.client, request, self.max_bytes, (self.clock)()).await;
        let body = settle(what, outcome).map_err(fact_error)?;
        String::from_utf8(body).map_err(|error| FactError::Malformed(format!("{what}: {error}")))
    }

    async fn ask(&self, project: &Project, query: &[(&str, &str)]) -> Result<Vec<PushEvent>, FactError> {
        let question: Vec<String> = query.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let what = format!("the pushlog of {project} for {}", http::quote(&question.join(", ")));
        let query: Vec<(&str, &str)> = [("version", "2"), ("full", "1")]
            .into_iter()
            .chain(query.iter().copied())
            .collect();
        let text = self.text(&what, self.url(project, &["json-pushes"], &query)?).await?;
        wire::pushlog::pushes(&text, project).map_err(|error| FactError::Malformed(format!("{what}: {error}")))
    }
}

#[async_trait]
impl FactSource for PushlogSource {
    async fn pushes(&self, project: &Project, query: &PushQuery) -> Result<Vec<PushEvent>, FactError> {
        match query {
            PushQuery::Revision(revision) => {
                let wanted = revision.as_str();
                let mut pushes = self.ask(project, &[("changeset", wanted)]).await?;
                // The pushlog names the push that holds the changeset; its head may be another.
                pushes.retain(|push| push.revision.as_str().starts_with(wanted) || wanted == push.revision.as_str());
                if pushes.is_empty() {
                    return Err(FactError::Absent(format!(
                        "push of {project} with the head {}",
                        http::quote(wanted)
                    )));
                }
                Ok(pushes)
            }
            PushQuery::Range { from, to } => {
                let count = to.0.saturating_sub(from.0).saturating_add(1);
                if count > MAX_PUSHES {
                    return Err(FactError::Malformed(format!(
                        "pushes {from} to {to} of {project} are {count}, more than the {MAX_PUSHES} of one question"
                    )));
                }
                let mut pushes = Vec::new();
                let mut next = Some(from.0).filter(|first| *first <= to.0);
                while let Some(first) = next {
                    let end = to.0.min(first.saturating_add(PAGE - 1));
                    // `startID` is the push before the first one wanted.
                    let (start, last) = (first.saturating_sub(1).to_string(), end.to_string());
                    pushes.extend(self.ask(project, &[("startID", &start), ("endID", &last)]).await?);
                    next = (end < to.0).then(|| end + 1);
                }
                pushes.retain(|push| push.push.is_some_and(|push| (*from..=*to).contains(&push)));
                Ok(pushes)
            }
        }
    }

    async fn added(&self, project: &Project, node: &str) -> Result<Vec<Arc<str>>, FactError> {
        let what = format!("changeset {} of {project}", http::quote(node));
        let text = self.text(&what, self.url(project, &["json-rev", node], &[])?).await?;
        wire::pushlog::added_files(&text).map_err(|error| FactError::Malformed(format!("{what}: {error}")))
    }
}
