//! What the API changes. Everything here needs the token of the configuration.
//!
//! In: `POST` requests with `Authorization: Bearer TOKEN`. Out: what came of them. Never: a change without a token: the
//! address may be the machine's own, but other users and the pages of any web site that somebody visits on it reach it
//! too.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use subtle::ConstantTimeEq as _;

use super::{Failure, WebState};
use crate::engine::{Answer, Engine};
use crate::event::{OpenRequest, Project, PushId, RequestEvent, RequestKind, Revision};
use crate::rules::{Diagnostics, Difference, RuleSet};
use crate::secret::Secret;

/// What came of reading the rules again.
#[derive(Debug)]
pub enum ReloadOutcome {
    /// Other rules are in force.
    Applied {
        /// Their version.
        version: String,
        /// The version before.
        was: String,
        /// How many rules there are.
        rules: usize,
        /// What changed.
        difference: Difference,
    },
    /// The files say what they said.
    Unchanged {
        /// The version in force.
        version: String,
    },
    /// They cannot be used: the rules in force stay.
    Refused(Diagnostics),
}

impl ReloadOutcome {
    /// The word used in metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            ReloadOutcome::Applied { .. } => "applied",
            ReloadOutcome::Unchanged { .. } => "unchanged",
            ReloadOutcome::Refused(_) => "refused",
        }
    }
}

/// Reads the rules again: the daemon does, the demo has no files to read.
pub trait Reload: Send + Sync {
    /// Reads them; blocks for as long as that takes.
    fn reload(&self) -> ReloadOutcome;
}

/// Whether the request may change anything; if not, the answer.
fn authorised(token: Option<&Secret>, headers: &HeaderMap) -> Result<(), Failure> {
    let Some(token) = token else {
        let why = "nothing can be changed here: set web.token to a secret, and send it as `Authorization: Bearer`";
        return Err(Failure(StatusCode::FORBIDDEN, why.to_owned()));
    };
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    // The time it takes tells nothing of how much of the token was right, only whether its length was.
    if bool::from(given.trim().as_bytes().ct_eq(token.expose().as_bytes())) {
        Ok(())
    } else {
        let why = "the token is missing or not the right one";
        Err(Failure(StatusCode::UNAUTHORIZED, why.to_owned()))
    }
}

/// A case that is asked for: where, and which.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CaseBody {
    project: Project,
    push: Option<PushId>,
    revision: Option<Revision>,
    requester: Option<Arc<str>>,
    case: OpenRequest,
}

/// Opens a case, as the commands do: `{"project": …, "push": …, "case": {"params": {"kind": "add", …}}}`.
pub(super) async fn open_case(
    State(state): State<WebState>,
    headers: HeaderMap,
    body: Result<Json<CaseBody>, JsonRejection>,
) -> Result<Response, Failure> {
    authorised(state.token.as_ref(), &headers)?;
    let Some(settings) = state.engine.clone() else {
        let why = "this process opens no cases for requests";
        return Err(Failure(StatusCode::NOT_FOUND, why.to_owned()));
    };
    let unsound = |why: String| Failure(StatusCode::UNPROCESSABLE_ENTITY, why);
    let Json(body) = body.map_err(|rejection| unsound(rejection.body_text()))?;
    let breaches: Vec<String> = body.case.params.check().iter().map(ToString::to_string).collect();
    if !breaches.is_empty() {
        return Err(unsound(breaches.join("; ")));
    }
    let request = RequestEvent {
        project: body.project,
        push: body.push,
        revision: body.revision,
        requester: body.requester,
        kind: RequestKind::Open(Box::new(body.case)),
    };
    // No rule has a say in what a person opens.
    let rules = RuleSet::parse(&[]).map_err(|error| Failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let mut engine = Engine::new(Arc::new(rules), (*settings).clone());
    let now = state.clock.now();
    let answer = state
        .store
        .with(move |store| store.transact(|books| engine.open(books, request, now)))
        .await?;
    let status = match answer {
        Answer::Opened { .. } => StatusCode::CREATED,
        Answer::Joined { .. } => StatusCode::OK,
        Answer::Waits { .. } => StatusCode::ACCEPTED,
        Answer::Refused { .. } => StatusCode::CONFLICT,
    };
    Ok((status, Json(answer)).into_response())
}

pub(super) async fn reload(State(state): State<WebState>, headers: HeaderMap) -> Result<Response, Failure> {
    authorised(state.token.as_ref(), &headers)?;
    let Some(reload) = state.reload.as_ref().map(Arc::clone) else {
        let why = "this process reads no rule files";
        return Err(Failure(StatusCode::NOT_FOUND, why.to_owned()));
    };
    let outcome = tokio::task::spawn_blocking(move || reload.reload())
        .await
        .map_err(|error| Failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let word = outcome.as_str();
    Ok(match outcome {
        ReloadOutcome::Applied {
            version,
            was,
            rules,
            difference,
        } => Json(json!({
            "result": word, "version": version, "was": was, "rules": rules, "difference": difference,
        }))
        .into_response(),
        ReloadOutcome::Unchanged { version } => Json(json!({ "result": word, "version": version })).into_response(),
        ReloadOutcome::Refused(diagnostics) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            Json(json!({ "result": word, "diagnostics": diagnostics })),
        )
            .into_response(),
    })
}
