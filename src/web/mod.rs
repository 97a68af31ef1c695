//! Pages, API, health, metrics.
//!
//! In: HTTP requests. Out: what the store says, as HTML and JSON. Never: a change without the token (see [`mod@write`]); a
//! secret; a request that takes the store longer than a page of rows, or the labels of a project.

mod page;
mod write;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Deserialize;
use serde_json::json;

use crate::catalog;
use crate::clock::Clock;
use crate::engine::ledger::{CaseRow, Cases as _, Labels as _, LedgerError, Pushes as _};
use crate::engine::settings::EngineSettings;
use crate::event::{CaseId, Duration, Project, PushId};
use crate::rules::{Rule, RuleSet};
use crate::secret::Secret;
use crate::store::Handle;
use crate::store::sqlite::CaseFilter;
use crate::telemetry::metric;

pub use write::{Reload, ReloadOutcome};

/// How often the metrics' histograms are drained.
const UPKEEP: Duration = Duration::from_secs(5);
/// Cases on a page, unless asked for otherwise.
const PAGE: u32 = 50;
/// Cases on a page at most.
const LARGEST_PAGE: u32 = 500;

/// Whether the daemon can do its work. Health (`/healthz`) only says that the process answers.
#[derive(Debug, Default)]
pub struct Readiness {
    /// The broker is connected and the queue is being read.
    pub bus: AtomicBool,
    /// The last transaction of the store succeeded.
    pub store: AtomicBool,
    /// Rules are in force.
    pub rules: AtomicBool,
}

impl Readiness {
    /// Says that everything is there.
    pub fn all_there(&self) {
        for part in [&self.bus, &self.store, &self.rules] {
            part.store(true, Ordering::Relaxed);
        }
    }

    /// Whether everything is there.
    pub fn is_ready(&self) -> bool {
        self.missing().is_empty()
    }

    /// What is missing.
    pub fn missing(&self) -> Vec<&'static str> {
        self.parts()
            .into_iter()
            .filter(|(_, is_there)| !is_there)
            .map(|(name, _)| name)
            .collect()
    }

    /// Each part by its name, and whether it is there.
    pub fn parts(&self) -> [(&'static str, bool); 3] {
        [("bus", &self.bus), ("store", &self.store), ("rules", &self.rules)]
            .map(|(name, is_there)| (name, is_there.load(Ordering::Relaxed)))
    }
}

/// What the pages read.
#[derive(Clone)]
pub struct WebState {
    /// The store.
    pub store: Handle,
    /// The metrics of this process.
    pub metrics: PrometheusHandle,
    /// Whether it can work.
    pub readiness: Arc<Readiness>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The rule set's version and names with their modes, for the page.
    pub rules: Arc<std::sync::RwLock<RulesShown>>,
    /// Who reads the rules again; `None`: there are no files to read.
    pub reload: Option<Arc<dyn Reload>>,
    /// What a request that changes something must know; `None`: no request may.
    pub token: Option<Secret>,
    /// What the engine is told that opens cases for requests; `None`: none are.
    pub engine: Option<Arc<EngineSettings>>,
}

/// The rules as the page shows them.
#[derive(Debug, Clone, Default)]
pub struct RulesShown {
    /// The hash of the rule set.
    pub version: String,
    /// Name, kind, mode, description.
    pub rules: Vec<(String, String, String, String)>,
}

impl RulesShown {
    /// What the page shows of a rule set.
    pub fn of(rules: &RuleSet) -> RulesShown {
        let shown = |rule: &Rule| {
            let description = rule.description.as_deref().unwrap_or_default().to_owned();
            (
                rule.name.to_string(),
                rule.open.kind().to_string(),
                rule.mode.as_str().to_owned(),
                description,
            )
        };
        RulesShown {
            version: rules.version().to_owned(),
            rules: rules.rules().iter().map(shown).collect(),
        }
    }
}

/// Serves the pages until the process ends. Returns the address, with the port that was taken for 0.
///
/// # Errors
/// The address is taken, or not ours.
pub async fn serve(listen: SocketAddr, state: WebState) -> std::io::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .map_err(|error| std::io::Error::new(error.kind(), format!("{listen} cannot be listened on: {error}")))?;
    let address = listener.local_addr()?;
    let metrics = state.metrics.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            metrics.run_upkeep();
        }
    });
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router(state)).await {
            tracing::error!(%error, "the pages are not served any more");
        }
    });
    Ok(address)
}

/// All pages.
pub fn router(state: WebState) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/cases/{id}", get(case_page))
        .route("/api/summary", get(summary))
        .route("/api/cases", get(cases).post(write::open_case))
        .route("/api/cases/{id}", get(case))
        .route("/api/catalog", get(catalog_of))
        .route("/api/rules/reload", post(write::reload))
        .route("/api/explain/{*event}", get(explain))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(state)
}

struct Failure(StatusCode, String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Failure {
        Failure(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

fn no_case(id: &str) -> Failure {
    Failure(StatusCode::NOT_FOUND, format!("there is no case {id}"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseQuery {
    open: Option<bool>,
    project: Option<String>,
    limit: Option<u32>,
}

async fn list(state: &WebState, query: CaseQuery) -> Result<Vec<CaseRow>, LedgerError> {
    let filter = CaseFilter {
        open: query.open,
        project: query.project,
        limit: query.limit.unwrap_or(PAGE).min(LARGEST_PAGE),
    };
    state
        .store
        .with(move |store| store.transact(|books| books.cases(&filter)))
        .await
}

/// A case with everything it asked for.
async fn one(state: &WebState, id: &str) -> Result<(CaseRow, Vec<serde_json::Value>), Failure> {
    let number: CaseId = id.parse().map_err(|_| no_case(id))?;
    state
        .store
        .with(move |store| store.transact(|books| Ok((books.case(number)?, books.case_requests(number.0)?))))
        .await
        .map_err(Failure::from)
        .and_then(|(case, requests)| case.map(|case| (case, requests)).ok_or_else(|| no_case(id)))
}

async fn index(State(state): State<WebState>) -> Result<Html<String>, Failure> {
    let open = list(
        &state,
        CaseQuery {
            open: Some(true),
            project: None,
            limit: None,
        },
    )
    .await?;
    let closed = list(
        &state,
        CaseQuery {
            open: Some(false),
            project: None,
            limit: None,
        },
    )
    .await?;
    let now = state.clock.now();
    let (summary, pauses) = state
        .store
        .with(move |store| store.transact(|books| Ok((books.summary()?, books.pauses(now)?))))
        .await?;
    let rules = state
        .rules
        .read()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .clone();
    let missing = state.readiness.missing();
    Ok(Html(page::index(
        &open, &closed, &summary, &pauses, &rules, &missing, now,
    )))
}

async fn case_page(State(state): State<WebState>, Path(id): Path<String>) -> Result<Html<String>, Failure> {
    let (case, requests) = one(&state, &id).await?;
    Ok(Html(page::case(&case, &requests, state.clock.now())))
}

async fn summary(State(state): State<WebState>) -> Result<Json<serde_json::Value>, Failure> {
    let summary = state
        .store
        .with(|store| store.transact(|books| books.summary()))
        .await?;
    Ok(Json(json!(summary)))
}

async fn cases(
    State(state): State<WebState>,
    Query(query): Query<CaseQuery>,
) -> Result<Json<serde_json::Value>, Failure> {
    Ok(Json(json!({ "cases": list(&state, query).await? })))
}

async fn case(State(state): State<WebState>, Path(id): Path<String>) -> Result<Json<serde_json::Value>, Failure> {
    let (case, requests) = one(&state, &id).await?;
    Ok(Json(json!({ "case": case, "actions": requests })))
}

async fn explain(State(state): State<WebState>, Path(event): Path<String>) -> Result<Json<serde_json::Value>, Failure> {
    let decisions = state
        .store
        .with(move |store| store.transact(|books| books.decisions_on(&event)))
        .await?;
    Ok(Json(json!({ "decisions": decisions })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogQuery {
    project: String,
    push: Option<u64>,
}

/// The same as `sheriffd catalog --format json`.
async fn catalog_of(
    State(state): State<WebState>,
    Query(query): Query<CatalogQuery>,
) -> Result<Json<serde_json::Value>, Failure> {
    let project = Project::from(query.project.as_str());
    let push = query.push.map(PushId);
    let known = state.store.with(move |store| {
        store.transact(|books| match push {
            Some(push) => books.graph_of(&project, push),
            None => Ok(Some(catalog::of_history(books.labels_of(&project)?))),
        })
    });
    match known.await? {
        Some(graph) if push.is_some() || !graph.jobs.is_empty() => Ok(Json(json!({ "tests": catalog::tests(&graph) }))),
        _ => {
            let what = push.map_or("jobs", |_| "task graph of that push");
            let why = format!("no {what} of project {} is known", query.project);
            Err(Failure(StatusCode::NOT_FOUND, why))
        }
    }
}

async fn metrics(State(state): State<WebState>) -> impl IntoResponse {
    for (part, is_there) in state.readiness.parts() {
        metric::READY.gauge(&[part]).set(if is_there { 1.0 } else { 0.0 });
    }
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        state.metrics.render(),
    )
}

async fn readyz(State(state): State<WebState>) -> Response {
    let missing = state.readiness.missing();
    if missing.is_empty() {
        return "ready\n".into_response();
    }
    (
        StatusCode::SERVICE_UNAVAILABLE,
        format!("not ready: {}\n", missing.join(", ")),
    )
        .into_response()
}
