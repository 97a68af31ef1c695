//! A Treeherder-compatible service as a source of performance alerts: `/api/performance/alertsummary/`.
//!
//! In: the number of a page. Out: the page, newest alerts first, as the service wrote it. Never: a host that is not the
//! configured one, more than the configured bytes.

use std::time::Duration;

use reqwest::{Method, Request, Url};

use super::{FactError, fact_error};
use crate::net::Clock;
use crate::net::ask::settle;
use crate::net::http::{self, ClientError, Reuse};

/// The settings cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PerfherderError {
    /// The URL is none of a web server.
    #[error("`url` is `{0}`, but must be the http(s) URL of a Treeherder, as https://treeherder.example.org")]
    Url(String),
    /// The HTTP client failed.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// The source.
pub struct PerfherderSource {
    url: Url,
    max_bytes: usize,
    client: reqwest::Client,
    clock: Clock,
}

impl PerfherderSource {
    /// Makes ready to ask. Nothing is sent.
    ///
    /// # Errors
    /// The base URL is none of a web server, or the HTTP client cannot be set up.
    pub fn new(
        base: &str,
        timeout: Duration,
        max_bytes: usize,
        clock: Clock,
    ) -> Result<PerfherderSource, PerfherderError> {
        let bad = || PerfherderError::Url(http::quote(base));
        let mut url = Url::parse(base).map_err(|_| bad())?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(bad());
        }
        url.path_segments_mut()
            .map_err(|()| bad())?
            .pop_if_empty()
            .extend(["api", "performance", "alertsummary", ""]);
        Ok(PerfherderSource {
            url,
            max_bytes,
            client: http::client(timeout, Reuse::Keep)?,
            clock,
        })
    }

    /// A page of alert summaries, counted from 1, the newest first.
    ///
    /// # Errors
    /// The service does not answer, or with something else.
    pub async fn page(&self, number: u32) -> Result<String, FactError> {
        let what = format!("page {number} of the performance alerts");
        let mut url = self.url.clone();
        url.query_pairs_mut().append_pair("page", &number.to_string());
        let request = Request::new(Method::GET, url);
        let outcome = http::exchange(&self.client, request, self.max_bytes, (self.clock)()).await;
        let body = settle(&what, outcome).map_err(fact_error)?;
        String::from_utf8(body).map_err(|error| FactError::Malformed(format!("{what}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_must_be_a_web_server() {
        let made = |url: &str| PerfherderSource::new(url, Duration::from_secs(1), 1, crate::net::system_clock());
        assert!(matches!(made("ftp://x"), Err(PerfherderError::Url(_))));
        let source = made("https://treeherder.example.org").unwrap();
        assert_eq!(
            source.url.as_str(),
            "https://treeherder.example.org/api/performance/alertsummary/"
        );
    }
}
