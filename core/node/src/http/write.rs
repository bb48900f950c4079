//! The changing verbs.

use super::body::{
    Segments, media_type, parse_json, parse_query, parse_value, read_body, read_json, read_json_or_default, wrong_type,
};
use super::refusal::Refusal;
use super::server::Shared;
use crate::api::{
    ApiError, DeployRequest, Deployed, DrainRequest, ErrorBody, ErrorCode, FinishRequest, PlanView, RestartRequest,
    ScaleRequest, TokenRequest, TokenView,
};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use hyper::{HeaderMap, StatusCode, Uri};
use serde::Deserialize;
use std::sync::Arc;
use taffeta_model::{AppName, JobName, TokenId};

/// Applies an app file. The answer means that it is on the disks of a quorum.
#[utoipa::path(post, path = "/v1/apps",
    request_body(content((DeployRequest = "application/json"), (String = "application/toml"))),
    responses((status = 200, body = Deployed), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn deploy(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Deployed>, Refusal> {
    let request = read_app_file(&headers, body).await?;
    Ok(Json(shared.backend.deploy(request).await?))
}

/// What a deploy would change. Changes nothing.
#[utoipa::path(post, path = "/v1/plan",
    request_body(content((DeployRequest = "application/json"), (String = "application/toml"))),
    responses((status = 200, body = PlanView), (status = 400, body = ErrorBody)))]
pub(super) async fn plan(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PlanView>, Refusal> {
    let request = read_app_file(&headers, body).await?;
    Ok(Json(shared.backend.plan(request).await?))
}

/// Ends an app.
#[utoipa::path(delete, path = "/v1/apps/{app}", params(("app" = String, Path)),
    responses((status = 204), (status = 404, body = ErrorBody)))]
pub(super) async fn stop(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<String>,
) -> Result<StatusCode, Refusal> {
    shared.backend.stop(parse_value("app", &app)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Another number of instances.
#[utoipa::path(post, path = "/v1/apps/{app}/scale", params(("app" = String, Path)), request_body = ScaleRequest,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn scale(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let app: AppName = parse_value("app", &app)?;
    let request: ScaleRequest = read_json(&headers, body).await?;
    parse_value::<JobName>("service", &request.service)?;
    shared.backend.scale(app, request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Starts the instances of one job, or without a body of all jobs, anew.
#[utoipa::path(post, path = "/v1/apps/{app}/restart", params(("app" = String, Path)),
    request_body = Option<RestartRequest>,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn restart(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let app: AppName = parse_value("app", &app)?;
    let request: RestartRequest = read_json_or_default(&headers, body).await?;
    let job = request.service.map(|job| parse_value::<JobName>("service", &job)).transpose()?;
    shared.backend.restart(app, job).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Mints a join token: shown once, never stored. Without a body one for any number of nodes within an hour.
#[utoipa::path(post, path = "/v1/tokens", request_body = Option<TokenRequest>,
    responses((status = 200, body = TokenView), (status = 400, body = ErrorBody)))]
pub(super) async fn create_token(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<TokenView>, Refusal> {
    let request: TokenRequest = read_json_or_default(&headers, body).await?;
    Ok(Json(shared.backend.create_token(request).await?))
}

/// Lets a join token be good for nothing.
#[utoipa::path(delete, path = "/v1/tokens/{id}",
    params(("id" = String, Path, description = "16 hexadecimal digits")),
    responses((status = 204), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn revoke_token(
    State(shared): State<Arc<Shared>>,
    Segments(id): Segments<String>,
) -> Result<StatusCode, Refusal> {
    shared.backend.revoke_token(parse_value::<TokenId>("id", &id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RemoveQuery {
    #[serde(default)]
    force: bool,
}

/// Takes a machine out of the cluster for good: its identity is refused from now on.
#[utoipa::path(delete, path = "/v1/nodes/{node}",
    params(("node" = String, Path, description = "Its name or id"),
        ("force" = Option<bool>, Query, description = "Even if it is running")),
    responses((status = 204), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(super) async fn remove_node(
    State(shared): State<Arc<Shared>>,
    Segments(node): Segments<String>,
    uri: Uri,
) -> Result<StatusCode, Refusal> {
    let query: RemoveQuery = parse_query(&uri)?;
    shared.backend.remove_node(node, query.force).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets a machine's services move elsewhere, and no new tasks come to it; with `off` ends that. Batch tasks run to their
/// end there, and daemons stay.
#[utoipa::path(post, path = "/v1/nodes/{node}/drain",
    params(("node" = String, Path, description = "Its name or id")), request_body = Option<DrainRequest>,
    responses((status = 204), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn drain_node(
    State(shared): State<Arc<Shared>>,
    Segments(node): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let request: DrainRequest = read_json_or_default(&headers, body).await?;
    shared.backend.drain_node(node, request.off).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets a new CA sign from now on. The former one is believed until every member has a certificate of the new one.
#[utoipa::path(post, path = "/v1/ca/rotate",
    responses((status = 204), (status = 409, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn rotate_authority(State(shared): State<Arc<Shared>>) -> Result<StatusCode, Refusal> {
    shared.backend.rotate_authority().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends the former CA, which otherwise happens by itself.
#[utoipa::path(post, path = "/v1/ca/finish", request_body = Option<FinishRequest>,
    responses((status = 204), (status = 403, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(super) async fn finish_rotation(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let request: FinishRequest = read_json_or_default(&headers, body).await?;
    shared.backend.finish_rotation(request.force).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An app file, alone as TOML or with the files that it ships as JSON.
async fn read_app_file(headers: &HeaderMap, body: Body) -> Result<DeployRequest, Refusal> {
    match media_type(headers).as_deref() {
        Some("application/json") => parse_json(&read_body(body).await?),
        Some("application/toml") => {
            let file = String::from_utf8(read_body(body).await?).map_err(|e| {
                let message = format!("the app file is not UTF-8: byte {}", e.utf8_error().valid_up_to());
                ApiError::new(ErrorCode::Invalid, message).field("file")
            })?;
            Ok(DeployRequest { file, files: Default::default() })
        }
        Some(_) | None => Err(wrong_type("application/toml (the app file alone) or application/json")),
    }
}
