//! Tells somebody of verdicts: a webhook for all, or the one that a rule names.
//!
//! In: a closed case. Out: an HTTP request with a JSON body, signed where a key is set. Never: deciding whether it was
//! heard: the notice stays in the store until this says so, and the body carries a key by which a repeat is known.

use std::collections::BTreeMap;

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};

use crate::engine::ledger::CaseRow;
use crate::event::{Duration, Timestamp};
use crate::net::http::{self, ClientError, Reuse};
use crate::net::signature;
use crate::net::template::{Fields, JsonTemplate, TemplateError};
use crate::secret::Secret;

/// The fields that a template may use.
pub const FIELDS: [&str; 20] = [
    "key",
    "instance",
    "case",
    "kind",
    "verdict",
    "why",
    "project",
    "label",
    "signature",
    "push",
    "pushes",
    "revisions",
    "probability",
    "rule",
    "series",
    "shift",
    "levels",
    "rate",
    "platforms",
    "sharedBy",
];
/// The largest answer that is read; nothing in it matters but its status.
const MAX_ANSWER: usize = 64 * 1024;
/// The header with the body's signature.
const SIGNATURE_HEADER: &str = "x-sheriffd-signature-256";
/// The header with the key by which a repeat is known.
const KEY_HEADER: &str = "idempotency-key";

/// Where verdicts are told.
pub struct VerdictHook {
    url: Secret,
    template: Option<JsonTemplate>,
    secret: Option<Secret>,
    instance: String,
    client: reqwest::Client,
}

/// All webhooks of the configuration.
#[derive(Default)]
pub struct Hooks {
    /// The one for cases whose rule names none.
    pub common: Option<VerdictHook>,
    /// Those that rules name.
    pub named: BTreeMap<String, VerdictHook>,
}

impl Hooks {
    /// Whether nobody is to be told of anything.
    pub fn is_empty(&self) -> bool {
        self.common.is_none() && self.named.is_empty()
    }

    /// Who is told of a case's verdict: the webhook that its rule names; the common one where it names none, or one
    /// that the configuration does not have (any more).
    pub fn of(&self, case: &CaseRow) -> Option<&VerdictHook> {
        let named = case.notify.as_deref().and_then(|name| self.named.get(name));
        named.or(self.common.as_ref())
    }
}

/// The webhook cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// The template names a field that does not exist.
    #[error("notify.template: {0}")]
    Template(#[from] TemplateError),
    /// The HTTP client failed.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl VerdictHook {
    /// Makes ready. Nothing is sent.
    ///
    /// # Errors
    /// The template is not sound.
    pub fn new(
        url: Secret,
        template: Option<&Value>,
        secret: Option<Secret>,
        timeout: Duration,
        instance: &str,
    ) -> Result<VerdictHook, HookError> {
        Ok(VerdictHook {
            url,
            template: template
                .map(|template| JsonTemplate::parse(template, &FIELDS))
                .transpose()?,
            secret,
            instance: instance.to_owned(),
            client: http::client(timeout, Reuse::Keep)?,
        })
    }

    /// Tells of one verdict, or of what an open case has found so far: its `verdict` is null then.
    ///
    /// # Errors
    /// Nobody took it, in words for a log (the address is not in them: it may be a secret).
    pub async fn tell(&self, case: &CaseRow, now: Timestamp) -> Result<(), String> {
        let fields = fields(case, &self.instance);
        // News of an open case is another message than its verdict.
        let key = match case.verdict {
            Some(_) => format!("{}-{}", self.instance, case.id),
            None => format!("{}-{}-{}", self.instance, case.id, case.found.levels.len()),
        };
        let body = match &self.template {
            Some(template) => template.value(&fields),
            None => Value::Object(fields),
        }
        .to_string()
        .into_bytes();
        let mut request = self
            .client
            .post(self.url.expose())
            .header(CONTENT_TYPE, "application/json");
        if let Ok(key) = HeaderValue::from_str(&key) {
            request = request.header(KEY_HEADER, key);
        }
        if let Some(secret) = &self.secret {
            request = request.header(SIGNATURE_HEADER, signature(secret, &body));
        }
        let request = request
            .body(body)
            .build()
            .map_err(|error| error.without_url().to_string())?;
        let answer = http::exchange(&self.client, request, MAX_ANSWER, now)
            .await
            .map_err(|error| error.to_string())?;
        match answer.is_success() {
            true => Ok(()),
            false => Err(format!("HTTP {}: {}", answer.status, answer.quote())),
        }
    }
}

fn fields(case: &CaseRow, instance: &str) -> Fields {
    let verdict = case.verdict.as_ref();
    let interval = |ends: Option<(f64, f64)>| ends.map(|(low, high)| json!({ "low": low, "high": high }));
    let pushes = verdict.map(|verdict| verdict.pushes.as_slice()).unwrap_or_default();
    let values = [
        json!(format!("{instance}-{}", case.id)),
        json!(instance),
        json!(case.id.to_string()),
        json!(case.params.kind()),
        json!(verdict.map(|verdict| verdict.kind)),
        json!(case.why),
        json!(case.subject.project),
        json!(case.subject.label),
        json!(case.subject.signature.as_ref().map(ToString::to_string)),
        json!(case.push),
        json!(pushes.iter().map(|named| named.push).collect::<Vec<_>>()),
        json!(pushes.iter().map(|named| &named.revision).collect::<Vec<_>>()),
        json!(verdict.and_then(|verdict| verdict.probability)),
        json!(case.cause.rule_name()),
        json!(case.subject.series),
        json!(interval(case.found.shift)),
        json!(case.found.levels),
        json!(interval(case.found.rate)),
        json!(case.found.platforms),
        json!(case.shared_by.iter().map(|sharer| &sharer.label).collect::<Vec<_>>()),
    ];
    FIELDS.iter().map(|name| (*name).to_owned()).zip(values).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_labels_that_share_a_search_are_told_with_its_verdict() {
        let sharer = |label: &str| {
            json!({
                "label": label, "platform": "mac", "push": 15, "rule": "backfill", "fate": "covered",
                "run": { "backend": "tc", "task": "fail", "run": 0 },
            })
        };
        let search: CaseRow = serde_json::from_value(json!({
            "id": 7, "cause": { "rule": { "name": "backfill", "version": "0" } }, "mode": "live", "budget": null,
            "subject": { "project": "autoland", "label": "A" }, "label": "A", "platform": "linux",
            "params": { "kind": "find-culprit" }, "push": 14, "opened_by": null, "opened_at": "2026-06-01T10:00:00Z",
            "wake_at": null, "verdict": null, "closed_at": null, "why": "", "throttle_key": "",
            "shared_by": [sharer("B"), sharer("C")],
        }))
        .unwrap();
        let told = fields(&search, "sheriffd");
        assert_eq!(told["sharedBy"], json!(["B", "C"]));
        assert_eq!(told.len(), FIELDS.len());
    }
}
