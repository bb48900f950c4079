//! What teams may use of the pool.

use super::body::{Segments, parse_value, read_json};
use super::refusal::Refusal;
use super::server::Shared;
use crate::api::{ErrorBody, QuotaRequest, QuotaView};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use hyper::{HeaderMap, StatusCode};
use std::sync::Arc;

/// The quotas, by team, with what is used of them.
#[utoipa::path(get, path = "/v1/quotas", responses((status = 200, body = Vec<QuotaView>), (status = 503, body = ErrorBody)))]
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Result<Json<Vec<QuotaView>>, Refusal> {
    Ok(Json(shared.backend.quotas().await?))
}

/// Sets what the tasks of a team's apps may ask for together, instead of what was set before. Running tasks go on.
#[utoipa::path(put, path = "/v1/quotas/{team}", params(("team" = String, Path)), request_body = QuotaRequest,
    responses((status = 200, body = QuotaView), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn set(
    State(shared): State<Arc<Shared>>,
    Segments(team): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<QuotaView>, Refusal> {
    let team = parse_value("team", &team)?;
    let request: QuotaRequest = read_json(&headers, body).await?;
    Ok(Json(shared.backend.set_quota(team, request).await?))
}

/// Lets a team use what there is.
#[utoipa::path(delete, path = "/v1/quotas/{team}", params(("team" = String, Path)),
    responses((status = 204), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn remove(
    State(shared): State<Arc<Shared>>,
    Segments(team): Segments<String>,
) -> Result<StatusCode, Refusal> {
    shared.backend.remove_quota(parse_value("team", &team)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
