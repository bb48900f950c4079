//! The reading verbs.

use super::body::{Segments, parse_query, parse_value};
use super::refusal::Refusal;
use super::server::Shared;
use crate::api::{
    ApiError, AppView, AuthoritiesView, ErrorBody, ErrorCode, LeaderView, NodeView, ResolveView, ServiceView,
    StatusView, TaskView, TokenEntry, WhyView, ZoneView,
};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use hyper::Uri;
use hyper::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use taffeta_model::{AppName, TaskId};
use utoipa::ToSchema;

/// The node's process is alive and answers.
#[derive(Serialize, ToSchema)]
pub(super) struct HealthView {
    /// `ok`.
    status: &'static str,
}

/// Whether the node's API answers.
#[utoipa::path(get, path = "/health", security(()), responses((status = 200, body = HealthView)))]
pub(super) async fn health() -> Json<HealthView> {
    Json(HealthView { status: "ok" })
}

/// The node's figures for Prometheus.
#[utoipa::path(get, path = "/metrics", responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    shared.backend.measure();
    let mut text = shared.metrics.as_ref().map(|handle| handle.render()).unwrap_or_default();
    text += &shared.backend.figures().await;
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// The state of the cluster as this node knows it.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = StatusView)))]
pub(super) async fn status(State(shared): State<Arc<Shared>>) -> Result<Json<StatusView>, Refusal> {
    Ok(Json(shared.backend.status().await?))
}

/// The leader, or `null` if none is known.
#[utoipa::path(get, path = "/v1/leader", responses((status = 200, body = Option<LeaderView>)))]
pub(super) async fn leader(State(shared): State<Arc<Shared>>) -> Result<Json<Option<LeaderView>>, Refusal> {
    Ok(Json(shared.backend.leader().await?))
}

/// The machines, by name.
#[utoipa::path(get, path = "/v1/nodes", responses((status = 200, body = Vec<NodeView>)))]
pub(super) async fn nodes(State(shared): State<Arc<Shared>>) -> Result<Json<Vec<NodeView>>, Refusal> {
    Ok(Json(shared.backend.nodes().await?))
}

/// The join tokens, the one that ends first at the top.
#[utoipa::path(get, path = "/v1/tokens", responses((status = 200, body = Vec<TokenEntry>)))]
pub(super) async fn tokens(State(shared): State<Arc<Shared>>) -> Result<Json<Vec<TokenEntry>>, Refusal> {
    Ok(Json(shared.backend.tokens().await?))
}

/// The cluster's CAs: which one signs, and for whom a rotation waits.
#[utoipa::path(get, path = "/v1/ca", responses((status = 200, body = AuthoritiesView)))]
pub(super) async fn authorities(State(shared): State<Arc<Shared>>) -> Result<Json<AuthoritiesView>, Refusal> {
    Ok(Json(shared.backend.authorities().await?))
}

/// The apps, by name.
#[utoipa::path(get, path = "/v1/apps", responses((status = 200, body = Vec<AppView>)))]
pub(super) async fn apps(State(shared): State<Arc<Shared>>) -> Result<Json<Vec<AppView>>, Refusal> {
    Ok(Json(shared.backend.apps().await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PsQuery {
    app: Option<String>,
}

/// The tasks of all apps or of one, by id.
#[utoipa::path(get, path = "/v1/ps", params(("app" = Option<String>, Query, description = "Only of this app")),
    responses((status = 200, body = Vec<TaskView>)))]
pub(super) async fn ps(State(shared): State<Arc<Shared>>, uri: Uri) -> Result<Json<Vec<TaskView>>, Refusal> {
    let query: PsQuery = parse_query(&uri)?;
    let app = query.app.map(|app| parse_value::<AppName>("app", &app)).transpose()?;
    Ok(Json(shared.backend.tasks(app).await?))
}

/// The services with their instances, by name.
#[utoipa::path(get, path = "/v1/services", responses((status = 200, body = Vec<ServiceView>)))]
pub(super) async fn services(State(shared): State<Arc<Shared>>) -> Result<Json<Vec<ServiceView>>, Refusal> {
    Ok(Json(shared.backend.services().await?))
}

/// Why a task is where it is.
#[utoipa::path(get, path = "/v1/why/{app}/{task}",
    params(("app" = String, Path, description = "`shop`"), ("task" = String, Path, description = "`web.2`")),
    responses((status = 200, body = WhyView), (status = 404, body = ErrorBody)))]
pub(super) async fn why(
    State(shared): State<Arc<Shared>>,
    Segments((app, task)): Segments<(String, String)>,
) -> Result<Json<WhyView>, Refusal> {
    Ok(Json(shared.backend.why(parse_task(&app, &task)?).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResolveQuery {
    #[serde(rename = "type")]
    record_type: Option<String>,
}

/// What DNS answers, and why.
#[utoipa::path(get, path = "/v1/dns/{name}",
    params(("name" = String, Path, description = "`web.shop.fabric.internal`"),
        ("type" = Option<String>, Query, description = "`A` by default")),
    responses((status = 200, body = ResolveView)))]
pub(super) async fn resolve(
    State(shared): State<Arc<Shared>>,
    Segments(name): Segments<String>,
    uri: Uri,
) -> Result<Json<ResolveView>, Refusal> {
    let query: ResolveQuery = parse_query(&uri)?;
    let record_type = query.record_type.unwrap_or_else(|| "A".into());
    Ok(Json(shared.backend.resolve(name, record_type).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ZoneQuery {
    after: Option<usize>,
    limit: Option<usize>,
}

/// Records in a part of the zone, unless it is told: some hundred kilobytes.
const PART: usize = 1_000;
/// Most records in a part: a few megabytes.
const PART_MAX: usize = 10_000;

/// All records of the zone, part by part.
#[utoipa::path(get, path = "/v1/dns",
    params(("after" = Option<usize>, Query, description = "`next` of the part before"),
        ("limit" = Option<usize>, Query, description = "Records in the part, 1 to 10000; 1000 by default")),
    responses((status = 200, body = ZoneView), (status = 400, body = ErrorBody)))]
pub(super) async fn zone(State(shared): State<Arc<Shared>>, uri: Uri) -> Result<Json<ZoneView>, Refusal> {
    let query: ZoneQuery = parse_query(&uri)?;
    let limit = query.limit.unwrap_or(PART);
    if !(1..=PART_MAX).contains(&limit) {
        let wrong = ApiError::new(ErrorCode::Invalid, format!("expected a limit from 1 to {PART_MAX}, found {limit}"));
        return Err(wrong.field("limit").into());
    }
    Ok(Json(shared.backend.zone(query.after.unwrap_or(0), limit).await?))
}

/// `shop` and `web.2` of a path.
pub(super) fn parse_task(app: &str, task: &str) -> Result<TaskId, Refusal> {
    parse_value("task", &format!("{app}/{task}"))
}
