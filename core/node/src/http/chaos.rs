//! Faults on purpose.

use super::{
    body::{Segments, read_json, read_json_or_default},
    refusal::Refusal,
    server::Shared,
};
use crate::api::{CHAOS_TOKEN_HEADER, ChaosStopRequest, ChaosStopView, ChaosView, ErrorBody, FaultRequest, FaultView};
use axum::{Json, body::Body, extract::State};
use hyper::{HeaderMap, StatusCode};
use std::sync::Arc;

/// What is broken on purpose in the cluster, and what could be.
#[utoipa::path(get, path = "/v1/chaos", responses((status = 200, body = ChaosView)))]
pub(super) async fn show(State(shared): State<Arc<Shared>>) -> Result<Json<ChaosView>, Refusal> {
    Ok(Json(shared.backend.chaos().await?))
}

/// Brings a fault about on one machine, which undoes it in time whatever happens. Needs the chaos token of a machine
/// that has opted in, besides the API's own; with `dry_run` it only tells what would be done, and needs none.
#[utoipa::path(post, path = "/v1/chaos/faults", request_body = FaultRequest,
    params(("x-taffeta-chaos-token" = Option<String>, Header, description = "The chaos token")),
    responses((status = 200, body = FaultView), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub(super) async fn begin(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<FaultView>, Refusal> {
    let token = headers.get(CHAOS_TOKEN_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let request: FaultRequest = read_json(&headers, body).await?;
    Ok(Json(shared.backend.begin_fault(token, request).await?))
}

/// Undoes a fault now, and answers when it is undone, or could not be.
#[utoipa::path(delete, path = "/v1/chaos/faults/{id}", params(("id" = String, Path)),
    responses((status = 200, body = FaultView), (status = 404, body = ErrorBody)))]
pub(super) async fn end(
    State(shared): State<Arc<Shared>>,
    Segments(id): Segments<String>,
) -> Result<Json<FaultView>, Refusal> {
    Ok(Json(shared.backend.end_fault(id).await?))
}

/// Undoes all faults everywhere and lets no new one begin.
#[utoipa::path(post, path = "/v1/chaos/stop", request_body = Option<ChaosStopRequest>,
    responses((status = 200, body = ChaosStopView), (status = 400, body = ErrorBody)))]
pub(super) async fn stop(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ChaosStopView>, Refusal> {
    let request: ChaosStopRequest = read_json_or_default(&headers, body).await?;
    Ok(Json(shared.backend.stop_chaos(request).await?))
}

/// Lets faults be brought about again.
#[utoipa::path(post, path = "/v1/chaos/allow", responses((status = 204), (status = 503, body = ErrorBody)))]
pub(super) async fn allow(State(shared): State<Arc<Shared>>) -> Result<StatusCode, Refusal> {
    shared.backend.allow_chaos().await?;
    Ok(StatusCode::NO_CONTENT)
}
