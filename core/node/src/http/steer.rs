//! Verbs that steer how an app gets from one version to the next, and runs by hand.

use super::{
    body::{Segments, parse_value, read_json, read_json_or_default},
    refusal::Refusal,
    server::Shared,
};
use crate::api::{ErrorBody, PromoteRequest, RollbackRequest, RunRequest, Steer};
use axum::{body::Body, extract::State};
use hyper::{HeaderMap, StatusCode};
use std::sync::Arc;
use taffeta_model::JobName;

async fn steer(shared: &Shared, app: &str, steer: Steer) -> Result<StatusCode, Refusal> {
    shared.backend.steer(parse_value("app", app)?, steer).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Goes back to a version before: without a body the newest that was not given up.
#[utoipa::path(post, path = "/v1/apps/{app}/rollback", params(("app" = String, Path)),
    request_body = Option<RollbackRequest>,
    responses((status = 204), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn rollback(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let request: RollbackRequest = read_json_or_default(&headers, body).await?;
    steer(&shared, &app, Steer::Rollback { to: request.version }).await
}

/// Stops the replacing of older instances for now.
#[utoipa::path(post, path = "/v1/apps/{app}/pause", params(("app" = String, Path)),
    responses((status = 204), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn pause(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<String>,
) -> Result<StatusCode, Refusal> {
    steer(&shared, &app, Steer::Pause).await
}

/// Goes on with a paused update.
#[utoipa::path(post, path = "/v1/apps/{app}/resume", params(("app" = String, Path)),
    responses((status = 204), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn resume(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<String>,
) -> Result<StatusCode, Refusal> {
    steer(&shared, &app, Steer::Resume).await
}

/// Lets the newer version of one job, or without a body of all, take over from the one before.
#[utoipa::path(post, path = "/v1/apps/{app}/promote", params(("app" = String, Path)),
    request_body = Option<PromoteRequest>,
    responses((status = 204), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn promote(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let request: PromoteRequest = read_json_or_default(&headers, body).await?;
    let job = request.service.map(|job| parse_value::<JobName>("service", &job)).transpose()?;
    steer(&shared, &app, Steer::Promote { job }).await
}

/// Runs a batch or cron job now, once.
#[utoipa::path(post, path = "/v1/apps/{app}/run", params(("app" = String, Path)), request_body = RunRequest,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn run(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let RunRequest { job, args } = read_json(&headers, body).await?;
    steer(&shared, &app, Steer::Run { job: parse_value::<JobName>("job", &job)?, args }).await
}
