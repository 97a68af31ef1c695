//! A bug tracker as a source of bugs: the REST API of Bugzilla
//! (<https://bugzilla.readthedocs.io/en/latest/api/core/v1/bug.html>), and of whatever speaks it.
//!
//! In: a bug's number, or texts that summaries may hold. Out: bugs. Never: writing; a host that is not the configured one.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, Request, Url};
use serde::Deserialize;

use super::{BugQuery, FactError, FactSource, fact_error};
use crate::event::Bug;
use crate::net::Clock;
use crate::net::ask::settle;
use crate::net::http::{self, ClientError, Reuse, SendError};
use crate::secret::Secret;

/// What is asked of each bug.
const FIELDS: &str = "id,keywords,whiteboard,summary,status";

/// Bugs in one answer: more than this are known by a text that says nothing.
const MOST_BUGS: &str = "100";

/// The largest answer that is read, in bytes: a hundred bugs with these fields have some 60 KB.
const MAX_ANSWER: usize = 2 * 1024 * 1024;

/// The settings cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BugSourceError {
    /// The URL is none of a web server.
    #[error("`url` is `{0}`, but must be the http(s) URL of a bug tracker, as https://bugzilla.example.org")]
    Url(String),
    /// The key cannot stand in a header.
    #[error("`api_key` holds characters that no HTTP header may hold")]
    Key,
    /// The HTTP client failed.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// The source.
pub struct BugSource {
    url: Url,
    key: Option<HeaderValue>,
    client: reqwest::Client,
    clock: Clock,
}

#[derive(Deserialize)]
struct WireAnswer {
    bugs: Vec<WireBug>,
}

#[derive(Deserialize)]
struct WireBug {
    id: u64,
    #[serde(default)]
    keywords: Vec<Arc<str>>,
    #[serde(default)]
    whiteboard: Option<Arc<str>>,
    #[serde(default)]
    summary: Option<Arc<str>>,
    #[serde(default)]
    status: Option<Arc<str>>,
}

impl BugSource {
    /// Makes ready to ask. Nothing is sent.
    ///
    /// # Errors
    /// The URL is none of a web server, the key is unusable, or the HTTP client cannot be set up.
    pub fn new(base: &str, key: Option<&Secret>, timeout: Duration, clock: Clock) -> Result<BugSource, BugSourceError> {
        let bad = || BugSourceError::Url(http::quote(base));
        let mut url = Url::parse(base).map_err(|_| bad())?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(bad());
        }
        url.path_segments_mut()
            .map_err(|()| bad())?
            .pop_if_empty()
            .extend(["rest", "bug"]);
        let key = match key {
            None => None,
            Some(key) => {
                let mut value = HeaderValue::from_str(key.expose()).map_err(|_| BugSourceError::Key)?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(BugSource {
            url,
            key,
            client: http::client(timeout, Reuse::Keep)?,
            clock,
        })
    }

    fn request(&self, query: &BugQuery) -> Request {
        let mut url = self.url.clone();
        {
            let mut pairs = url.query_pairs_mut();
            match query {
                BugQuery::Numbered(number) => {
                    pairs.append_pair("id", &number.to_string());
                }
                BugQuery::About(texts) => {
                    pairs.extend_pairs(texts.iter().map(|text| ("summary", &**text)));
                    pairs.append_pair("limit", MOST_BUGS);
                }
            }
            pairs.append_pair("include_fields", FIELDS);
        }
        let mut request = Request::new(Method::GET, url);
        if let Some(key) = &self.key {
            let name = HeaderName::from_static("x-bugzilla-api-key");
            request.headers_mut().insert(name, key.clone());
        }
        request
    }
}

fn bugs(body: &[u8]) -> Result<Vec<Bug>, serde_json::Error> {
    let answer: WireAnswer = serde_json::from_slice(body)?;
    let bug = |bug: WireBug| Bug {
        id: bug.id,
        keywords: bug.keywords,
        whiteboard: bug.whiteboard.unwrap_or_default(),
        summary: bug.summary.unwrap_or_default(),
        status: bug.status.unwrap_or_default(),
    };
    Ok(answer.bugs.into_iter().map(bug).collect())
}

#[async_trait]
impl FactSource for BugSource {
    async fn bugs(&self, query: &BugQuery) -> Result<Vec<Bug>, FactError> {
        let what = match query {
            BugQuery::Numbered(number) => format!("bug {number}"),
            BugQuery::About(texts) => format!("bugs about {}", http::quote(&texts.join(", "))),
        };
        let request = self.request(query);
        let outcome: Result<_, SendError> = http::exchange(&self.client, request, MAX_ANSWER, (self.clock)()).await;
        let body = settle(&what, outcome).map_err(fact_error)?;
        bugs(&body).map_err(|error| FactError::Malformed(format!("{what}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(base: &str) -> Result<BugSource, BugSourceError> {
        BugSource::new(base, None, Duration::from_secs(1), crate::net::system_clock())
    }

    #[test]
    fn several_texts_are_one_question() {
        let source = source("https://bugs.example.org/tracker/").unwrap();
        let query = BugQuery::About(vec!["dom/a b.html".into(), "/css/c.html".into()]);
        assert_eq!(
            source.request(&query).url().as_str(),
            "https://bugs.example.org/tracker/rest/bug?summary=dom%2Fa+b.html&summary=%2Fcss%2Fc.html&limit=100\
             &include_fields=id%2Ckeywords%2Cwhiteboard%2Csummary%2Cstatus"
        );
        assert!(matches!(super::tests::source("mailto:x"), Err(BugSourceError::Url(_))));
    }

    #[test]
    fn what_a_bug_lacks_is_empty() {
        let body = br#"{"bugs": [{"id": 7, "keywords": ["intermittent-failure"], "summary": "s", "status": "NEW",
            "whiteboard": "[stockwell]"}, {"id": 8}], "total": 2}"#;
        let found = bugs(body).unwrap();
        assert_eq!(
            (found[0].id, &*found[0].keywords[0], &*found[0].whiteboard),
            (7, "intermittent-failure", "[stockwell]")
        );
        assert_eq!(
            found[1],
            Bug {
                id: 8,
                ..Bug::default()
            }
        );
        assert!(bugs(br#"{"error": true, "code": 102, "message": "denied"}"#).is_err());
    }
}
