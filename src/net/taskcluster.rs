//! Taskcluster's services: where they are, who asks, and how an artifact is fetched.
//!
//! In: a root URL, credentials, limits. Out: signed exchanges. Never: deciding what to ask for.
//!
//! The `taskcluster` crate names the API's addresses. The exchanges are our own: that crate's client asks
//! again by itself after a failure, POST included; reads bodies without a limit; drops `Retry-After`; and leaves the
//! query out of what it signs.

use std::fmt;
use std::io::Write;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request, Url};
use serde::Deserialize;
use serde_json::Value;

use super::ask::{AskError, settle};
use super::http::{self, Answer, Reuse, SendError};
use super::{Clock, Secret};
use crate::event::Timestamp;

/// Index paths of a push's decision task in Gecko's in-tree convention, tried in order; with `{project}`, `{revision}` and
/// `{push}`.
pub const DECISION_ROUTES: [&str; 2] = [
    "gecko.v2.{project}.revision.{revision}.taskgraph.decision",
    "gecko.v2.{project}.pushlog-id.{push}.decision",
];

/// Redirects followed from the queue to an artifact's store. Taskcluster needs one; a link artifact may add one more.
const MAX_REDIRECTS: usize = 4;

/// The largest answer of an API method that is read, in bytes. A page of 1,000 index entries or artifacts is under 1
/// MiB.
pub const MAX_API_ANSWER: usize = 4 * 1024 * 1024;

/// The largest page of a task group that is read, in bytes: definitions are up to some 50 KB each.
const MAX_GROUP_ANSWER: usize = 32 * 1024 * 1024;

/// Where Taskcluster deployments keep artifacts. A task's author may let an artifact point anywhere, into our own
/// network too: only these hosts, those of the configuration, and the deployment itself are followed to.
pub const DEFAULT_ARTIFACT_HOSTS: [&str; 4] = [
    "taskcluster-artifacts.net",
    "amazonaws.com",
    "storage.googleapis.com",
    "cloudfront.net",
];

/// Who we are to Taskcluster: permanent or temporary credentials.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The client id: `project/sheriffd/production`.
    pub client_id: String,
    /// The access token.
    pub access_token: Secret,
    /// The certificate of temporary credentials: the JSON text as Taskcluster issued it.
    #[serde(default)]
    pub certificate: Option<Secret>,
}

/// The configuration cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The root URL is no URL of a web server.
    #[error("`root_url` is `{0}`, but must be the http(s) URL of a Taskcluster deployment, as https://tc.example.com")]
    RootUrl(String),
    /// The certificate is not what Taskcluster issues.
    #[error("the certificate of client `{0}` is not the JSON object that Taskcluster issued with the access token")]
    Certificate(String),
    /// The access token cannot be used as a key.
    #[error("the access token of client `{0}` cannot be used as a signing key")]
    Token(String),
    /// The HTTP client failed.
    #[error(transparent)]
    Client(#[from] http::ClientError),
}

/// How to reach a deployment.
#[derive(Debug, Clone)]
pub struct Access {
    /// Its root URL.
    pub root_url: String,
    /// Who we are; `None` asks as anybody.
    pub credentials: Option<Credentials>,
    /// The scopes our requests are held to; `None`: all that the credentials have.
    pub authorized_scopes: Option<Vec<String>>,
    /// How long one exchange may take.
    pub timeout: Duration,
    /// Hosts that artifacts may be redirected to, their subdomains included, besides [`DEFAULT_ARTIFACT_HOSTS`].
    pub artifact_hosts: Vec<String>,
}

/// A deployment's services.
pub struct Services {
    index: taskcluster::Index,
    queue: taskcluster::Queue,
    hooks: taskcluster::Hooks,
    auth: taskcluster::Auth,
    root: Url,
    signer: Option<Signer>,
    artifact_hosts: Vec<String>,
    asking: reqwest::Client,
    acting: reqwest::Client,
    clock: Clock,
}

/// What signs requests (Hawk, <https://docs.taskcluster.net/docs/manual/design/apis/hawk>).
struct Signer {
    hawk: hawk::Credentials,
    ext: Option<String>,
    secrets: Vec<Secret>,
    expiry: Option<Timestamp>,
}

impl Services {
    /// Makes ready to ask. Nothing is sent.
    pub fn new(access: Access, clock: Clock) -> Result<Services, SetupError> {
        let Access {
            root_url,
            credentials,
            authorized_scopes,
            timeout,
            artifact_hosts,
        } = access;
        let bad = || SetupError::RootUrl(http::quote(&root_url));
        let text = root_url.trim_end_matches('/');
        let root = Url::parse(text).map_err(|_| bad())?;
        if !matches!(root.scheme(), "http" | "https") || root.host_str().is_none() {
            return Err(bad());
        }
        let defaults = DEFAULT_ARTIFACT_HOSTS.iter().map(|host| (*host).to_owned());
        // Our own clients first: what keeps them from being made (no certificates of authorities) keeps the crate's
        // from it too, whose error would be taken for one of the URL.
        let (asking, acting) = (
            http::client(timeout, Reuse::Keep)?,
            http::client(timeout, Reuse::Fresh)?,
        );
        Ok(Services {
            index: taskcluster::Index::new(text).map_err(|_| bad())?,
            queue: taskcluster::Queue::new(text).map_err(|_| bad())?,
            hooks: taskcluster::Hooks::new(text).map_err(|_| bad())?,
            auth: taskcluster::Auth::new(text).map_err(|_| bad())?,
            root,
            signer: credentials
                .map(|c| Signer::new(c, authorized_scopes.as_deref()))
                .transpose()?,
            artifact_hosts: artifact_hosts.into_iter().chain(defaults).collect(),
            asking,
            acting,
            clock,
        })
    }

    /// The client id that signs, if any does.
    pub fn client_id(&self) -> Option<&str> {
        self.signer.as_ref().map(|signer| signer.hawk.id.as_str())
    }

    /// When temporary credentials end.
    pub fn credentials_end(&self) -> Option<Timestamp> {
        self.signer.as_ref().and_then(|signer| signer.expiry)
    }

    /// The deployment's host, for messages.
    pub fn host(&self) -> &str {
        self.root.host_str().unwrap_or_default()
    }

    /// The page where people see a task.
    pub fn task_page(&self, task: &str) -> String {
        format!("{}/tasks/{task}", self.root.as_str().trim_end_matches('/'))
    }

    /// Asks whether the deployment answers at all (`queue.ping`).
    pub async fn ping(&self) -> Result<Vec<u8>, AskError> {
        self.get("the queue service", self.queue.ping_url()).await
    }

    /// The scopes that our requests have (`auth.currentScopes`): `{"scopes": […]}`.
    pub async fn current_scopes(&self) -> Result<Vec<u8>, AskError> {
        self.get("the list of our scopes", self.auth.currentScopes_url()).await
    }

    /// The task at an index path (`index.findTask`): `{"taskId": …}`.
    pub async fn find_task(&self, path: &str) -> Result<Vec<u8>, AskError> {
        self.get(&format!("the index entry {path}"), self.index.findTask_url(path))
            .await
    }

    /// The tasks right under an index path (`index.listTasks`), one page: `{"tasks": […], "continuationToken": …}`.
    pub async fn indexed_tasks(&self, path: &str) -> Result<Vec<u8>, AskError> {
        self.get(
            &format!("the list of index entries under {path}"),
            self.index.listTasks_url(path, None, None),
        )
        .await
    }

    /// A task's definition (`queue.task`).
    pub async fn task(&self, task: &str) -> Result<Vec<u8>, AskError> {
        self.get(&format!("task {task}"), self.queue.task_url(task)).await
    }

    /// A task's state (`queue.status`).
    pub async fn status(&self, task: &str) -> Result<Vec<u8>, AskError> {
        self.get(&format!("the status of task {task}"), self.queue.status_url(task))
            .await
    }

    /// How many tasks wait in a task queue: `{"pendingTasks": …}`. `queue.taskQueueCounts`, and `queue.pendingTasks` at
    /// deployments that are too old for it.
    pub async fn pending_tasks(&self, task_queue: &str) -> Result<Vec<u8>, AskError> {
        let what = format!("the number of tasks that wait in {task_queue}");
        match self.get(&what, self.queue.taskQueueCounts_url(task_queue)).await {
            Err(AskError::Absent { .. }) => self.get(&what, self.queue.pendingTasks_url(task_queue)).await,
            outcome => outcome,
        }
    }

    /// The tasks of a group (`queue.listTaskGroup`), the page named by the page before, of at most `limit` tasks:
    /// `{"tasks": [{"status": …, "task": …}], "continuationToken": …}`.
    pub async fn task_group(&self, group: &str, page: Option<&str>, limit: u32) -> Result<Vec<u8>, AskError> {
        let url = self.queue.listTaskGroup_url(group, page, Some(&limit.to_string()));
        self.get_up_to(&format!("the list of task group {group}"), url, MAX_GROUP_ANSWER)
            .await
    }

    /// The artifacts of a run (`queue.listArtifacts`), the page named by the page before: `{"artifacts": [{"name": …}],
    /// "continuationToken": …}`.
    pub async fn artifacts(&self, task: &str, run: u32, page: Option<&str>) -> Result<Vec<u8>, AskError> {
        let url = self.queue.listArtifacts_url(task, &run.to_string(), page, None);
        self.get(&format!("the list of artifacts of run {task}/{run}"), url)
            .await
    }

    /// The last times a hook fired (`hooks.listLastFires`), newest first, one page: `{"lastFires": […]}`.
    pub async fn last_fires(&self, group: &str, hook: &str) -> Result<Vec<u8>, AskError> {
        let url = self.hooks.listLastFires_url(group, hook, None, None);
        self.get(&format!("the list of last fires of hook {group}/{hook}"), url)
            .await
    }

    /// An artifact: of the run, or of the task's latest run. At most `max` bytes, decompressed.
    pub async fn artifact(&self, task: &str, run: Option<u32>, name: &str, max: usize) -> Result<Vec<u8>, AskError> {
        let mut bytes = http::Bounded::new(max);
        self.artifact_into(task, run, name, &mut bytes).await?;
        Ok(bytes.into_bytes())
    }

    /// Like [`Services::artifact`], the content going into `sink`, which sets the limit by failing.
    pub async fn artifact_into<W: Write + Send>(
        &self,
        task: &str,
        run: Option<u32>,
        name: &str,
        sink: &mut W,
    ) -> Result<(), AskError> {
        let what = format!("artifact {name} of task {task}");
        let wrong = |detail: String| AskError::Wrong {
            what: what.clone(),
            detail,
        };
        let url = match run {
            Some(run) => self.queue.getArtifact_url(task, &run.to_string(), name),
            None => self.queue.getLatestArtifact_url(task, name),
        };
        let mut url = parse(url).map_err(wrong)?;
        let mut request = self.signed(Method::GET, url.clone(), None);
        for _ in 0..=MAX_REDIRECTS {
            let outcome = match request {
                Ok(request) => http::exchange_into(&self.asking, request, sink, (self.clock)()).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(answer) if answer.is_redirect() => url = self.follow(&url, &answer).map_err(wrong)?,
                outcome => return settle(&what, outcome.map(|a| self.redacted(a))).map(|_| ()),
            }
            // A store's address carries its own permission, and stores refuse requests with two of them.
            request = Ok(Request::new(Method::GET, url.clone()));
        }
        Err(wrong(format!("it is redirected more than {MAX_REDIRECTS} times")))
    }

    /// Fires a hook (`hooks.triggerHook`), once, on a connection of its own.
    pub async fn trigger_hook(&self, group: &str, hook: &str, payload: &Value) -> Result<Answer, SendError> {
        self.act(
            Method::POST,
            &["api", "hooks", "v1", "hooks", group, hook, "trigger"],
            payload,
        )
        .await
    }

    /// Creates a task under an id of our choice (`queue.createTask`), once, on a connection of its own.
    pub async fn create_task(&self, task: &str, definition: &Value) -> Result<Answer, SendError> {
        self.act(Method::PUT, &["api", "queue", "v1", "task", task], definition)
            .await
    }

    /// Cancels a task (`queue.cancelTask`). Asking again for the same does no harm.
    pub async fn cancel_task(&self, task: &str) -> Result<Answer, SendError> {
        let path = ["api", "queue", "v1", "task", task, "cancel"];
        self.act(Method::POST, &path, &Value::Object(serde_json::Map::new()))
            .await
    }

    async fn get<E: fmt::Display>(&self, what: &str, url: Result<String, E>) -> Result<Vec<u8>, AskError> {
        self.get_up_to(what, url, MAX_API_ANSWER).await
    }

    async fn get_up_to<E: fmt::Display>(
        &self,
        what: &str,
        url: Result<String, E>,
        max: usize,
    ) -> Result<Vec<u8>, AskError> {
        let url = parse(url).map_err(|detail| AskError::Wrong {
            what: what.to_owned(),
            detail,
        })?;
        let outcome = match self.signed(Method::GET, url, None) {
            Ok(request) => http::exchange(&self.asking, request, max, (self.clock)()).await,
            Err(error) => Err(error),
        };
        settle(what, outcome.map(|answer| self.redacted(answer)))
    }

    async fn act(&self, method: Method, path: &[&str], body: &Value) -> Result<Answer, SendError> {
        let mut url = self.root.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => segments.pop_if_empty().extend(path),
            Err(()) => return Err(SendError::NotSent("the root URL cannot have a path".to_owned())),
        };
        let request = self.signed(method, url, Some(body.to_string()))?;
        let answer = http::exchange(&self.acting, request, MAX_API_ANSWER, (self.clock)()).await?;
        Ok(self.redacted(answer))
    }

    /// A request to the deployment, signed when we have credentials.
    fn signed(&self, method: Method, url: Url, body: Option<String>) -> Result<Request, SendError> {
        let mut request = Request::new(method, url);
        if let Some(signer) = &self.signer {
            let header = signer.header(request.method().as_str(), request.url(), body.as_deref())?;
            request.headers_mut().insert(AUTHORIZATION, header);
        }
        if let Some(body) = body {
            request
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static(JSON_TYPE));
            *request.body_mut() = Some(body.into());
        }
        Ok(request)
    }

    /// Where a redirect leads, if it may be followed there.
    fn follow(&self, from: &Url, answer: &Answer) -> Result<Url, String> {
        let location = answer.location.as_deref().ok_or("it is redirected to nowhere")?;
        let url = from
            .join(location)
            .map_err(|error| format!("it is redirected to no URL: {error}"))?;
        let host = url.host_str().unwrap_or_default();
        let known = self.artifact_hosts.iter().any(|known| is_within(host, known)) && url.scheme() == "https";
        if known || url.origin() == self.root.origin() {
            Ok(url)
        } else {
            let (scheme, host) = (url.scheme(), http::quote(host));
            Err(format!(
                "it is redirected to {scheme}://{host}, which is not among the configured `artifact_hosts`"
            ))
        }
    }

    /// An answer without our secrets, should it repeat them.
    fn redacted(&self, mut answer: Answer) -> Answer {
        if let (Some(signer), false) = (&self.signer, answer.is_success()) {
            let words = String::from_utf8_lossy(&answer.body).into_owned();
            answer.body = signer
                .secrets
                .iter()
                .fold(words, |words, secret| secret.redact(&words))
                .into_bytes();
        }
        answer
    }
}

/// The media type of what we send.
const JSON_TYPE: &str = "application/json";

impl Signer {
    fn new(credentials: Credentials, authorized_scopes: Option<&[String]>) -> Result<Signer, SetupError> {
        let Credentials {
            client_id,
            access_token,
            certificate,
        } = credentials;
        let mut ext = serde_json::Map::new();
        let mut expiry = None;
        if let Some(certificate) = &certificate {
            let bad = || SetupError::Certificate(client_id.clone());
            let value: Value = serde_json::from_str(certificate.expose()).map_err(|_| bad())?;
            let end = value.get("expiry").and_then(Value::as_i64).ok_or_else(bad)?;
            expiry = Some(Timestamp(end));
            ext.insert("certificate".to_owned(), value);
        }
        if let Some(scopes) = authorized_scopes {
            ext.insert("authorizedScopes".to_owned(), scopes.into());
        }
        let key =
            hawk::Key::new(access_token.expose(), hawk::SHA256).map_err(|_| SetupError::Token(client_id.clone()))?;
        Ok(Signer {
            hawk: hawk::Credentials { id: client_id, key },
            ext: (!ext.is_empty()).then(|| STANDARD.encode(Value::Object(ext).to_string())),
            secrets: std::iter::once(access_token).chain(certificate).collect(),
            expiry,
        })
    }

    /// The `Authorization` header of one request.
    fn header(&self, method: &str, url: &Url, body: Option<&str>) -> Result<HeaderValue, SendError> {
        let failed = |_| SendError::NotSent("the request could not be signed".to_owned());
        let hash = body
            .map(|body| hawk::PayloadHasher::hash(JSON_TYPE, hawk::SHA256, body))
            .transpose();
        let hash = hash.map_err(failed)?;
        let request = hawk::RequestBuilder::from_url(method, url).map_err(failed)?;
        let request = request.hash(hash.as_deref()).ext(self.ext.as_deref()).request();
        let header = request.make_header(&self.hawk).map_err(failed)?;
        let mut value = HeaderValue::from_str(&format!("Hawk {header}"))
            .map_err(|_| SendError::NotSent("the client id has characters that no header can carry".to_owned()))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

fn parse<E: fmt::Display>(url: Result<String, E>) -> Result<Url, String> {
    let url = url.map_err(|error| http::quote(&error.to_string()))?;
    Url::parse(&url).map_err(|error| error.to_string())
}

/// Whether `host` is `domain` or under it.
fn is_within(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        && !domain.is_empty()
}

/// A task id made from 16 bytes: a version 4 UUID in URL-safe base64, its first bit cleared so that it never begins
/// with a dash (<https://docs.taskcluster.net/docs/manual/tasks/task-ids>).
pub fn slug_id(mut bytes: [u8; 16]) -> String {
    bytes[0] &= 0x7f;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The host and path of a URL without user, password, query and fragment: what may be shown.
pub fn shown(url: &Url) -> String {
    format!(
        "{}://{}{}",
        url.scheme(),
        url.host_str().unwrap_or_default(),
        url.path()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn access(root_url: &str) -> Access {
        Access {
            root_url: root_url.to_owned(),
            credentials: None,
            authorized_scopes: None,
            timeout: Duration::from_secs(1),
            artifact_hosts: vec!["artifacts.example.com".to_owned()],
        }
    }

    fn services() -> Services {
        Services::new(access("https://tc.example.com/"), super::super::system_clock()).unwrap()
    }

    fn redirect(location: &str) -> Answer {
        Answer {
            status: 303,
            retry_after: None,
            location: Some(location.to_owned()),
            body: Vec::new(),
            cut: None,
        }
    }

    #[test]
    fn a_root_url_must_be_of_a_web_server() {
        for bad in ["", "tc.example.com", "ftp://tc.example.com", "file:///etc"] {
            let error = Services::new(access(bad), super::super::system_clock()).err();
            assert_eq!(error, Some(SetupError::RootUrl(bad.to_owned())));
        }
    }

    #[test]
    fn a_certificate_must_be_what_taskcluster_issued() {
        let credentials = |certificate: &str| Credentials {
            client_id: "project/x".to_owned(),
            access_token: Secret::new("t"),
            certificate: Some(Secret::new(certificate)),
        };
        let made = |certificate: &str| {
            let access = Access {
                credentials: Some(credentials(certificate)),
                ..access("https://tc.example.com")
            };
            Services::new(access, super::super::system_clock()).map(|services| services.credentials_end())
        };
        assert_eq!(made("nonsense"), Err(SetupError::Certificate("project/x".to_owned())));
        assert_eq!(
            made(r#"{"version":1,"expiry":1700000000000}"#),
            Ok(Some(Timestamp(1_700_000_000_000)))
        );
    }

    #[test]
    fn artifacts_are_followed_to_their_stores_and_nowhere_else() {
        let services = services();
        let from = Url::parse("https://tc.example.com/api/queue/v1/task/x/artifacts/y").unwrap();
        for good in [
            "https://tc.example.com/elsewhere",
            "/elsewhere",
            "https://firefoxci.taskcluster-artifacts.net/x/0/y",
            "https://bucket.s3.us-west-2.amazonaws.com/x",
            "https://artifacts.example.com/x",
        ] {
            assert!(services.follow(&from, &redirect(good)).is_ok(), "{good}");
        }
        for bad in [
            "http://169.254.169.254/latest/meta-data",
            "http://localhost:8080/",
            "https://evilamazonaws.com/",
            "https://tc.example.com:8443/",
            "http://artifacts.example.com/x",
            "file:///etc/passwd",
        ] {
            assert!(services.follow(&from, &redirect(bad)).is_err(), "{bad}");
        }
    }

    proptest! {
        /// Law: whatever the bytes, the id is one that Taskcluster accepts.
        #[test]
        fn every_slug_id_has_taskclusters_form(bytes: [u8; 16]) {
            let id = slug_id(bytes);
            // As the queue's own schemas write it.
            let form = "^[A-Za-z0-9_-]{8}[Q-T][A-Za-z0-9_-][CGKOSWaeimquy26-][A-Za-z0-9_-]{10}[AQgw]$";
            let form = regex::Regex::new(form).unwrap();
            prop_assert!(form.is_match(&id) && !id.starts_with('-'), "{}", id);
        }
    }
}
