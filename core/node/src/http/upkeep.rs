//! Volumes and maintenance windows.

use super::{
    body::{Segments, parse_query, parse_value, read_json},
    read::parse_task,
    refusal::Refusal,
    server::Shared,
};
use crate::api::{ErrorBody, MaintenanceRequest, MaintenanceView, VolumeView};
use axum::{Json, body::Body, extract::State};
use hyper::{HeaderMap, StatusCode, Uri};
use serde::Deserialize;
use std::sync::Arc;

/// The volumes, by task and name.
#[utoipa::path(get, path = "/v1/volumes", responses((status = 200, body = Vec<VolumeView>), (status = 503, body = ErrorBody)))]
pub(super) async fn volumes(State(shared): State<Arc<Shared>>) -> Result<Json<Vec<VolumeView>>, Refusal> {
    Ok(Json(shared.backend.volumes().await?))
}

/// Lets a task that waits for its data begin with an empty volume, on any machine. What it had is lost.
#[utoipa::path(post, path = "/v1/volumes/{app}/{task}/reset",
    params(("app" = String, Path, description = "`shop`"), ("task" = String, Path, description = "`db.1`")),
    responses((status = 204), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(super) async fn reset(
    State(shared): State<Arc<Shared>>,
    Segments((app, task)): Segments<(String, String)>,
) -> Result<StatusCode, Refusal> {
    shared.backend.reset_volume(parse_task(&app, &task)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RemoveQuery {
    name: Option<String>,
}

/// Drops what a task has left that is there no more, or one volume that it does not use. The data is lost.
#[utoipa::path(delete, path = "/v1/volumes/{app}/{task}",
    params(("app" = String, Path, description = "`shop`"), ("task" = String, Path, description = "`db.1`"),
        ("name" = Option<String>, Query, description = "Only the volume of this name")),
    responses((status = 204), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(super) async fn remove(
    State(shared): State<Arc<Shared>>,
    Segments((app, task)): Segments<(String, String)>,
    uri: Uri,
) -> Result<StatusCode, Refusal> {
    let query: RemoveQuery = parse_query(&uri)?;
    let name = query.name.map(|name| parse_value("name", &name)).transpose()?;
    shared.backend.remove_volume(parse_task(&app, &task)?, name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The maintenance windows, by machine.
#[utoipa::path(get, path = "/v1/maintenance",
    responses((status = 200, body = Vec<MaintenanceView>), (status = 503, body = ErrorBody)))]
pub(super) async fn windows(State(shared): State<Arc<Shared>>) -> Result<Json<Vec<MaintenanceView>>, Refusal> {
    Ok(Json(shared.backend.maintenance().await?))
}

/// Gives a machine a maintenance window, in which it counts as drained. One of the same schedule takes its place.
#[utoipa::path(post, path = "/v1/nodes/{node}/maintenance",
    params(("node" = String, Path, description = "Its name or id")), request_body = MaintenanceRequest,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn add_window(
    State(shared): State<Arc<Shared>>,
    Segments(node): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let request: MaintenanceRequest = read_json(&headers, body).await?;
    shared.backend.maintain(node, Some(request)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends all maintenance windows of a machine.
#[utoipa::path(delete, path = "/v1/nodes/{node}/maintenance",
    params(("node" = String, Path, description = "Its name or id")),
    responses((status = 204), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn end_windows(
    State(shared): State<Arc<Shared>>,
    Segments(node): Segments<String>,
) -> Result<StatusCode, Refusal> {
    shared.backend.maintain(node, None).await?;
    Ok(StatusCode::NO_CONTENT)
}
