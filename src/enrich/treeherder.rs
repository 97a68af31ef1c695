//! A Treeherder-compatible service as a source of jobs: by its own numbers, as people's requests name them, and of a push, after
//! messages were lost.
//!
//! In: a project and a number, or a revision. Out: the job's task, label and revision; the jobs of a push, a page at a time.
//! Never: a host that is not the configured one.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Method, Request, Url};

use super::{FactError, FactSource, NamedJob, fact_error};
use crate::event::{Project, Revision};
use crate::net::Clock;
use crate::net::ask::settle;
use crate::net::http::{self, ClientError, Reuse};
use crate::wire::{DecodeError, JobList, WireSettings, job_list, number_of_push, numbered_job, numbered_push};

/// The largest answer about one thing that is read, in bytes: a push of 200 revisions has some 100 KB.
const MAX_ANSWER: usize = 2 * 1024 * 1024;
/// The largest page of jobs that is read, in bytes: a job has about 1 KB.
const MAX_PAGE: usize = 16 * 1024 * 1024;
/// Jobs of a page.
const PAGE: u32 = 1_000;

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
    async fn one(&self, project: &Project, kind: &str, number: u64) -> Result<String, FactError> {
        self.ask(project, &[kind, &number.to_string()], &[], MAX_ANSWER).await
    }

    /// What the service answers at a path of a project, with a query.
    async fn ask(
        &self,
        project: &Project,
        path: &[&str],
        query: &[(&str, &str)],
        most: usize,
    ) -> Result<String, FactError> {
        let what = format!(
            "{} of {project} at {}",
            path.join(" "),
            self.url.host_str().unwrap_or_default()
        );
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            let beginning = ["api", "project", project.as_str()];
            segments.pop_if_empty().extend(beginning.iter().chain(path)).push("");
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let outcome = http::exchange(&self.client, Request::new(Method::GET, url), most, (self.clock)()).await;
        let body = settle(&what, outcome).map_err(fact_error)?;
        String::from_utf8(body).map_err(|error| FactError::Malformed(format!("{what}: {error}")))
    }

    /// The service's number of a push; `None`: it knows no such push.
    ///
    /// # Errors
    /// It does not answer, or with something else.
    pub async fn push(&self, project: &Project, revision: &Revision) -> Result<Option<u64>, FactError> {
        let revision = revision.as_str();
        let text = self
            .ask(project, &["push"], &[("revision", revision)], MAX_ANSWER)
            .await?;
        number_of_push(&text, revision).map_err(malformed(format!("pushes {revision} of {project}")))
    }

    /// A page of the jobs of a push, from 0, and whether there may be another one. `push` is the service's number of it.
    ///
    /// # Errors
    /// It does not answer, or with something else.
    pub async fn jobs(
        &self,
        project: &Project,
        push: u64,
        page: u32,
        settings: &WireSettings,
    ) -> Result<(JobList, bool), FactError> {
        let [push, count, offset] =
            [push, PAGE.into(), u64::from(page) * u64::from(PAGE)].map(|number| number.to_string());
        let query = [("push_id", &*push), ("count", &count), ("offset", &offset)];
        let text = self.ask(project, &["jobs"], &query, MAX_PAGE).await?;
        let jobs =
            job_list(&text, project, settings).map_err(malformed(format!("jobs of push {push} of {project}")))?;
        let is_full = jobs.len() >= PAGE as usize;
        Ok((jobs, is_full))
    }
}

fn malformed(what: String) -> impl Fn(DecodeError) -> FactError {
    move |error| FactError::Malformed(format!("{what}: {error}"))
}

#[async_trait]
impl FactSource for TreeherderSource {
    async fn job(&self, project: &Project, number: u64) -> Result<NamedJob, FactError> {
        let job = numbered_job(&self.one(project, "jobs", number).await?)
            .map_err(malformed(format!("job {number} of {project}")))?;
        let revision = numbered_push(&self.one(project, "push", job.push).await?)
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
