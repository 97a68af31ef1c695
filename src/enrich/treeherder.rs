//! A Treeherder-compatible service as a source of jobs by its own numbers: people's requests name them so.
//!
//! In: a project and a number. Out: the job's task, label and revision. Never: a host that is not the configured one.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Method, Request, Url};

use super::{FactError, FactSource, NamedJob, fact_error};
use crate::event::Project;
use crate::net::Clock;
use crate::net::ask::settle;
use crate::net::http::{self, ClientError, Reuse};
use crate::wire::{numbered_job, numbered_push};

/// The largest answer that is read, in bytes: a push of 200 revisions has some 100 KB.
const MAX_ANSWER: usize = 2 * 1024 * 1024;

/// The settings cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeherderError {
    /// The URL is none of a web server.
    #[error(
        "`treeherder_url` is `{0}`, but must be the http(s) URL of a Treeherder, as https://treeherder.example.org"
    )]
    Url(String),
    /// The HTTP client failed.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// The source.
pub struct TreeherderSource {
    url: Url,
    client: reqwest::Client,
    clock: Clock,
}

impl TreeherderSource {
    /// Makes ready to ask. Nothing is sent.
    ///
    /// # Errors
    /// The base URL is none of a web server, or the HTTP client cannot be set up.
    pub fn new(base: &str, timeout: Duration, clock: Clock) -> Result<TreeherderSource, TreeherderError> {
        let bad = || TreeherderError::Url(http::quote(base));
        let url = Url::parse(base).map_err(|_| bad())?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(bad());
        }
        Ok(TreeherderSource {
            url,
            client: http::client(timeout, Reuse::Keep)?,
            clock,
        })
    }

    /// What the service says of one of a project's things.
    async fn ask(&self, project: &Project, kind: &str, number: u64) -> Result<String, FactError> {
        let what = format!(
            "{kind} {number} of {project} at {}",
            self.url.host_str().unwrap_or_default()
        );
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            let number = number.to_string();
            path.pop_if_empty()
                .extend(["api", "project", project.as_str(), kind, number.as_str(), ""]);
        }
        let outcome = http::exchange(&self.client, Request::new(Method::GET, url), MAX_ANSWER, (self.clock)()).await;
        let body = settle(&what, outcome).map_err(fact_error)?;
        String::from_utf8(body).map_err(|error| FactError::Malformed(format!("{what}: {error}")))
    }
}

#[async_trait]
impl FactSource for TreeherderSource {
    async fn job(&self, project: &Project, number: u64) -> Result<NamedJob, FactError> {
        let malformed =
            |what: String| move |error: crate::wire::DecodeError| FactError::Malformed(format!("{what}: {error}"));
        let job = numbered_job(&self.ask(project, "jobs", number).await?)
            .map_err(malformed(format!("job {number} of {project}")))?;
        let revision = numbered_push(&self.ask(project, "push", job.push).await?)
            .map_err(malformed(format!("push {} of {project}", job.push)))?;
        Ok(NamedJob {
            task: job.task,
            label: job.label,
            revision,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_must_be_a_web_server() {
        let made = |url: &str| TreeherderSource::new(url, Duration::from_secs(1), crate::net::system_clock()).map(drop);
        assert!(matches!(made("ftp://x"), Err(TreeherderError::Url(_))));
        assert_eq!(made("https://treeherder.example.org"), Ok(()));
    }
}
