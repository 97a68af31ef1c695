//! Any CI system with an HTTP interface: one templated request a job.
//!
//! In: a [`JobRequest`]. Out: one HTTP request, as the configuration's templates write it. Never: a request without the
//! header `Idempotency-Key`, a host that does not come from the configuration.
//!
//! # Fields for the templates
//!
//! | `${…}` | what it is |
//! |---|---|
//! | `key` | the idempotency key: the same at every attempt of one request, never of two |
//! | `case`, `step`, `slot` | the case (`C12`), its round and the place in it, from 1 |
//! | `project`, `push`, `revision` | the push to run on; `push` is a number |
//! | `label`, `times` | the job, and how often (a number, 1 to 100) |
//! | `existing`, `group` | a task of the label that exists on the push, and the push's task group; null where unknown |
//! | `env`, `preferences` | objects of extra environment variables and preferences |
//! | `action` | the action asked for instead of the usual one, or null |
//! | `why` | one sentence for people |
//!
//! The form of templates is that of [`crate::net::template`]. Without a `body`, all fields are sent as one JSON object.
//!
//! # Taking back
//!
//! With a `cancel_url`, a task of ours that nobody needs any longer is taken back by a request of its own, which knows one
//! field, `${task}`; its body is the same as an object.
//!
//! # Signature
//!
//! With a `secret`, the header `X-Sheriffd-Signature-256` holds `sha256=` and the hexadecimal HMAC-SHA256 of the body,
//! as many forges sign their webhooks.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Request, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use super::outcome::{accepted, busy};
use super::{Backend, Finding, Found, Receipt, RequestError};
use crate::event::{BackendName, JobRequest, TaskId, Timestamp};
use crate::net::ask::{AskError, settle};
use crate::net::http::{self, ClientError, Reuse};
use crate::net::signature;
use crate::net::template::{Fields, JsonTemplate, Template, TemplateError};
use crate::net::{Clock, Secret};

/// The fields there are, in the order of the documentation.
const FIELDS: [&str; 15] = [
    "key",
    "case",
    "step",
    "slot",
    "project",
    "push",
    "revision",
    "label",
    "times",
    "existing",
    "group",
    "env",
    "preferences",
    "action",
    "why",
];

/// The field that templates of the cancelling request know.
const TASK: &str = "task";

/// The header with the idempotency key.
const KEY_HEADER: &str = "idempotency-key";

/// The header with the signature.
const SIGNATURE_HEADER: &str = "x-sheriffd-signature-256";

/// The largest answer that is read, in bytes: a receipt is small.
const MAX_ANSWER: usize = 256 * 1024;

/// A CI system that is asked by HTTP requests.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookSettings {
    /// Where to send the request: a template whose scheme, host and port are constant. Has no default. May hold a
    /// secret, and so is never printed.
    pub url: Secret,
    /// `POST`, `PUT` or `PATCH`.
    pub method: String,
    /// Further headers: templates, never printed.
    pub headers: BTreeMap<String, Secret>,
    /// The body: a JSON value whose strings are templates. Without it, all fields as one object.
    pub body: Option<Value>,
    /// The key of the signature. Without it nothing is signed.
    pub secret: Option<Secret>,
    /// Where to ask by GET whether a request was accepted: a template, with `${key}` in it. 200 means yes, 404 or 410
    /// no. Without it nobody can tell what became of a request whose answer was lost.
    pub lookup_url: Option<Secret>,
    /// Where a task that nobody needs any longer is taken back: a template with `${task}` in it. 404, 409 and 410 mean that
    /// there is nothing left to take back. Without it nothing is.
    pub cancel_url: Option<Secret>,
    /// How: `POST`, `PUT`, `PATCH` or, without a body, `DELETE`.
    pub cancel_method: String,
    /// Where the answer names the task that creates the jobs: a JSON pointer, `/task/id`. An answer without it is then
    /// in doubt. Runs whose parent is this task are known to be ours.
    pub task_pointer: Option<String>,
    /// Where the answer says what the CI calls the request: a JSON pointer.
    pub reference_pointer: Option<String>,
    /// The name of this daemon among those that ask this CI: part of every idempotency key.
    pub instance: String,
    /// How long one exchange may take, in seconds, 1 to 600.
    pub timeout_seconds: u64,
    /// How long after a request was sent a look-up that does not find it is believed, in seconds.
    pub find_settle_seconds: u64,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        WebhookSettings {
            url: Secret::new(""),
            method: "POST".to_owned(),
            headers: BTreeMap::new(),
            body: None,
            secret: None,
            lookup_url: None,
            cancel_url: None,
            cancel_method: "POST".to_owned(),
            task_pointer: None,
            reference_pointer: None,
            instance: "sheriffd".to_owned(),
            timeout_seconds: 30,
            find_settle_seconds: 60,
        }
    }
}

/// The settings cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// A URL is none, or its host is not constant.
    #[error("`{0}` must be an http(s) URL whose scheme, host and port have no placeholders, followed by a path")]
    Url(&'static str),
    /// A template is not sound.
    #[error("`{name}`: {error}")]
    Template {
        /// The setting.
        name: String,
        /// What is wrong.
        error: TemplateError,
    },
    /// The method does not act.
    #[error("`{name}` is `{method}`, but must be one of {among}")]
    Method {
        /// The setting.
        name: &'static str,
        /// What it is.
        method: String,
        /// What it may be.
        among: String,
    },
    /// A header cannot be set.
    #[error("header `{0}` cannot be set: it is no header name, or is one that sheriffd sets itself")]
    Header(String),
    /// A URL that is for one thing does not name it.
    #[error("`{name}` has no `${{{field}}}`: it could not tell one {thing} from another")]
    Indistinct {
        /// The setting.
        name: &'static str,
        /// The field that it lacks.
        field: &'static str,
        /// What it is for.
        thing: &'static str,
    },
    /// A JSON pointer is none.
    #[error("`{name}` is `{pointer}`, but must be a JSON pointer, which begins with a slash: /task/id")]
    Pointer {
        /// The setting.
        name: &'static str,
        /// What it is.
        pointer: String,
    },
    /// The time-out is out of its range.
    #[error("`timeout_seconds` is {0}, but must be 1 to 600")]
    Timeout(u64),
    /// The HTTP client failed.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// The backend.
pub struct WebhookBackend {
    name: BackendName,
    settings: WebhookSettings,
    url: Template,
    method: Method,
    headers: Vec<(HeaderName, Template)>,
    body: Option<JsonTemplate>,
    lookup: Option<Template>,
    cancel: Option<(Method, Template)>,
    acting: reqwest::Client,
    asking: reqwest::Client,
    clock: Clock,
}

impl WebhookBackend {
    /// Makes ready to ask. Nothing is sent.
    pub fn new(name: BackendName, settings: WebhookSettings, clock: Clock) -> Result<Self, WebhookError> {
        if !(1..=600).contains(&settings.timeout_seconds) {
            return Err(WebhookError::Timeout(settings.timeout_seconds));
        }
        for (name, pointer) in [
            ("task_pointer", &settings.task_pointer),
            ("reference_pointer", &settings.reference_pointer),
        ] {
            if let Some(pointer) = pointer.as_ref().filter(|pointer| !pointer.starts_with('/')) {
                return Err(WebhookError::Pointer {
                    name,
                    pointer: pointer.clone(),
                });
            }
        }
        let method = method_of("method", &settings.method, &[Method::POST, Method::PUT, Method::PATCH])?;
        let lookup = settings
            .lookup_url
            .as_ref()
            .map(|url| url_that_names("lookup_url", url, "key", &FIELDS, "request"))
            .transpose()?;
        let cancel = settings
            .cancel_url
            .as_ref()
            .map(|url| {
                let methods = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
                let how = method_of("cancel_method", &settings.cancel_method, &methods)?;
                Ok::<_, WebhookError>((how, url_that_names("cancel_url", url, TASK, &[TASK], "task")?))
            })
            .transpose()?;
        let template_error = |name: &str| {
            let name = name.to_owned();
            move |error| WebhookError::Template { name, error }
        };
        let mut headers = Vec::new();
        for (name, value) in &settings.headers {
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| WebhookError::Header(name.clone()))?;
            if matches!(
                header.as_str(),
                KEY_HEADER | SIGNATURE_HEADER | "content-length" | "host"
            ) {
                return Err(WebhookError::Header(name.clone()));
            }
            let value = Template::parse(value.expose(), &FIELDS).map_err(template_error(name))?;
            headers.push((header, value));
        }
        let body = settings
            .body
            .as_ref()
            .map(|body| JsonTemplate::parse(body, &FIELDS))
            .transpose();
        let timeout = Duration::from_secs(settings.timeout_seconds);
        Ok(WebhookBackend {
            name,
            url: url_template("url", &settings.url, &FIELDS)?,
            method,
            headers,
            body: body.map_err(template_error("body"))?,
            lookup,
            cancel,
            acting: http::client(timeout, Reuse::Fresh)?,
            asking: http::client(timeout, Reuse::Keep)?,
            clock,
            settings,
        })
    }

    /// Who is asked, for messages: the host only, since paths of webhooks are often secrets.
    fn who(&self) -> String {
        let host = Url::parse(self.url.beginning())
            .ok()
            .and_then(|url| url.host_str().map(str::to_owned));
        format!("webhook `{}` at {}", self.name, host.unwrap_or_default())
    }

    fn build(&self, request: &JobRequest) -> Result<Request, RequestError> {
        let fields = fields(request, &self.settings.instance);
        let url = address(&self.url, &fields)?;
        let body = self
            .body
            .as_ref()
            .map_or_else(|| Value::Object(fields.clone()), |body| body.value(&fields));
        self.signed(Request::new(self.method.clone(), url), Some(body), &fields)
    }

    /// The request with its headers, its body if it has one, and the signature of it.
    fn signed(&self, mut built: Request, body: Option<Value>, fields: &Fields) -> Result<Request, RequestError> {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let headers = built.headers_mut();
        self.set_headers(headers, fields)?;
        if let Some(secret) = &self.settings.secret {
            headers.insert(
                SIGNATURE_HEADER,
                header("the signature", &signature(secret, body.as_bytes()))?,
            );
        }
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *built.body_mut() = Some(body.into());
        }
        Ok(built)
    }

    fn set_headers(&self, headers: &mut HeaderMap, fields: &Fields) -> Result<(), RequestError> {
        for (name, template) in &self.headers {
            let mut value = header(name.as_str(), &template.text(fields))?;
            value.set_sensitive(true);
            headers.insert(name.clone(), value);
        }
        let key = fields.get("key").and_then(Value::as_str).unwrap_or_default();
        headers.insert(KEY_HEADER, header(KEY_HEADER, key)?);
        Ok(())
    }

    /// The receipt in an answer's body. An answer without what the configuration says is there is no receipt: it is
    /// returned as a sentence.
    fn receipt(&self, body: &[u8], location: Option<&str>) -> Result<Receipt, String> {
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let at = |pointer: &Option<String>| match pointer {
            None => Ok(None),
            Some(pointer) => match json.pointer(pointer) {
                Some(Value::String(text)) => Ok(Some(text.clone())),
                Some(Value::Number(number)) => Ok(Some(number.to_string())),
                _ => {
                    let beginning = http::quote(&String::from_utf8_lossy(body));
                    Err(format!("{} answered without `{pointer}`: {beginning}", self.who()))
                }
            },
        };
        let task = at(&self.settings.task_pointer)?;
        let reference = at(&self.settings.reference_pointer)?.or_else(|| location.map(str::to_owned));
        Ok(Receipt {
            action_task: task.map(TaskId::from),
            reference: reference.map(|text| http::quote(&text)),
        })
    }
}

#[async_trait]
impl Backend for WebhookBackend {
    fn name(&self) -> &BackendName {
        &self.name
    }

    async fn request(&self, request: &JobRequest) -> Result<Receipt, RequestError> {
        let built = self.build(request)?;
        let mut outcome = http::exchange(&self.acting, built, MAX_ANSWER, (self.clock)()).await;
        // 303 after a request that acts: it was done, and its result is over there (RFC 9110, section 15.4.4).
        if let Ok(answer) = &mut outcome
            && answer.status == 303
        {
            answer.status = 201;
        }
        let answer = accepted(&self.who(), outcome)?;
        self.receipt(&answer.body, answer.location.as_deref())
            .map_err(RequestError::InDoubt)
    }

    async fn find(&self, request: &JobRequest, sent_at: Timestamp) -> Result<Found, RequestError> {
        let Some(lookup) = &self.lookup else {
            let why = format!("{} has no `lookup_url` to ask what became of the request", self.who());
            return Ok(Found::CannotTell(why));
        };
        let fields = fields(request, &self.settings.instance);
        let mut built = Request::new(Method::GET, address(lookup, &fields)?);
        self.set_headers(built.headers_mut(), &fields)?;
        let outcome = http::exchange(&self.asking, built, MAX_ANSWER, (self.clock)()).await;
        let what = format!("the request at {}", self.who());
        match settle(&what, outcome) {
            Ok(body) => Ok(self.receipt(&body, None).map_or_else(Found::CannotTell, Found::Done)),
            Err(AskError::Absent { .. }) => {
                let settle = Duration::from_secs(self.settings.find_settle_seconds);
                let age = (self.clock)().since(sent_at);
                if age >= settle {
                    return Ok(Found::NotDone);
                }
                let detail = format!(
                    "{what} is not known there {} s after it was sent: too early",
                    age.as_secs()
                );
                Err(RequestError::Busy {
                    retry_after: Some(settle - age),
                    detail,
                })
            }
            Err(error @ AskError::Later { .. }) => Err(busy(error)),
            Err(error) => Ok(Found::CannotTell(error.to_string())),
        }
    }

    async fn cancel(&self, task: &TaskId) -> Result<(), RequestError> {
        let Some((method, url)) = &self.cancel else {
            let why = format!("{} has no `cancel_url` to take tasks back", self.who());
            return Err(RequestError::NotPossible(why));
        };
        let named = Fields::from_iter([(TASK.to_owned(), json!(task))]);
        let built = Request::new(method.clone(), address(url, &named)?);
        let body = (*method != Method::DELETE).then_some(Value::Object(named));
        // Headers are templates of requests for jobs: here they have the key, and nothing else to fill in.
        let key = format!("{}-cancel-{task}", self.settings.instance);
        let built = self.signed(built, body, &Fields::from_iter([("key".to_owned(), json!(key))]))?;
        let outcome = http::exchange(&self.acting, built, MAX_ANSWER, (self.clock)()).await;
        let is_over = |status| matches!(status, 303 | 404 | 409 | 410);
        if outcome.as_ref().is_ok_and(|answer| is_over(answer.status)) {
            return Ok(());
        }
        accepted(&self.who(), outcome).map(drop)
    }

    /// Says where requests would go. The address is not tried: there is no request to it that is known to do nothing.
    async fn check(&self) -> Vec<Finding> {
        let who = self.who();
        let lookup = match &self.lookup {
            Some(_) => Finding {
                what: format!("{who}: lost answers"),
                ok: true,
                detail: "are looked up".to_owned(),
            },
            None => {
                let detail = "cannot be cleared up: set `lookup_url`, where the CI has one".to_owned();
                Finding {
                    what: format!("{who}: lost answers"),
                    ok: false,
                    detail,
                }
            }
        };
        vec![
            Finding {
                what: who,
                ok: true,
                detail: "the settings are sound; the address was not tried".to_owned(),
            },
            lookup,
        ]
    }
}

/// The values of the fields for one request.
fn fields(request: &JobRequest, instance: &str) -> Fields {
    let values = [
        json!(request.key.idempotency_key(instance)),
        json!(request.key.case.to_string()),
        json!(request.key.step),
        json!(request.key.slot),
        json!(request.project),
        json!(request.push),
        json!(request.revision),
        json!(request.label),
        json!(request.times),
        json!(request.existing),
        json!(request.group),
        json!(request.input.env),
        json!(request.input.preferences),
        json!(request.input.action),
        json!(request.why),
    ];
    FIELDS.iter().map(|name| (*name).to_owned()).zip(values).collect()
}

/// The method of a setting, if it is one of these.
fn method_of(name: &'static str, method: &str, among: &[Method]) -> Result<Method, WebhookError> {
    let found = among.iter().find(|known| known.as_str() == method).cloned();
    found.ok_or_else(|| WebhookError::Method {
        name,
        method: method.to_owned(),
        among: among.iter().map(Method::as_str).collect::<Vec<_>>().join(", "),
    })
}

/// A URL template whose host is constant and that has this field in it, which tells one `thing` from another.
fn url_that_names(
    name: &'static str,
    url: &Secret,
    field: &'static str,
    fields: &[&'static str],
    thing: &'static str,
) -> Result<Template, WebhookError> {
    let template = url_template(name, url, fields)?;
    let names = template.fields().any(|there| there == field);
    names
        .then_some(template)
        .ok_or(WebhookError::Indistinct { name, field, thing })
}

/// A URL template whose host is constant.
fn url_template(name: &'static str, url: &Secret, fields: &[&'static str]) -> Result<Template, WebhookError> {
    let template = Template::parse(url.expose(), fields).map_err(|error| WebhookError::Template {
        name: name.to_owned(),
        error,
    })?;
    let beginning = template.beginning();
    let after_scheme = beginning.split_once("://").map(|(_, rest)| rest);
    let parsed = Url::parse(beginning)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"));
    // A slash after the host: what follows can only be path and query, whatever is filled in.
    match (after_scheme, parsed) {
        (Some(rest), Some(_)) if rest.contains('/') => Ok(template),
        _ => Err(WebhookError::Url(name)),
    }
}

/// The URL for one request. A field that is `.` or `..` would climb the path, percent-encoded or not.
fn address(template: &Template, fields: &Fields) -> Result<Url, RequestError> {
    for name in template.fields() {
        if let Some(value @ ("." | "..")) = fields.get(name).and_then(Value::as_str) {
            return Err(RequestError::NotPossible(format!(
                "the {name} is `{value}`, which no URL can carry"
            )));
        }
    }
    Url::parse(&template.url(fields))
        .map_err(|error| RequestError::NotPossible(format!("the request's address is no URL: {error}")))
}

fn header(name: &str, value: &str) -> Result<HeaderValue, RequestError> {
    HeaderValue::from_str(value)
        .map_err(|_| RequestError::NotPossible(format!("header `{name}` would hold characters that no header can")))
}
