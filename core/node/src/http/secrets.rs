//! Secrets, whose values come in and never go out, and the backup.

use super::body::{Segments, media_type, parse_query, parse_value, read_body, wrong_type};
use super::refusal::Refusal;
use super::server::Shared;
use crate::api::{ErrorBody, SecretView};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use hyper::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use hyper::{HeaderMap, StatusCode, Uri};
use serde::Deserialize;
use std::sync::Arc;
use taffeta_model::Secret;

/// The media type of a value and of a backup.
pub(super) const BYTES: &str = "application/octet-stream";

/// The secrets, by name, without their values.
#[utoipa::path(get, path = "/v1/secrets", responses((status = 200, body = Vec<SecretView>), (status = 503, body = ErrorBody)))]
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Result<Json<Vec<SecretView>>, Refusal> {
    Ok(Json(shared.backend.secrets().await?))
}

/// Sets a secret, or gives it a new version: the body is the value, 1 to 65,536 bytes. Running tasks keep theirs.
#[utoipa::path(put, path = "/v1/secrets/{name}", params(("name" = String, Path)),
    request_body(content = String, content_type = "application/octet-stream"),
    responses((status = 200, body = SecretView), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn set(
    State(shared): State<Arc<Shared>>,
    Segments(name): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<SecretView>, Refusal> {
    let name = parse_value("name", &name)?;
    // Its type must be said: a plain HTML form, which any web page may send, cannot say it.
    if media_type(&headers).as_deref() != Some(BYTES) {
        return Err(wrong_type(BYTES));
    }
    let value = Secret::new(read_body(body).await?);
    Ok(Json(shared.backend.set_secret(name, value).await?))
}

/// How a secret is removed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Removal {
    force: bool,
}

/// Removes a secret. One that apps use is removed only with `force=true`.
#[utoipa::path(delete, path = "/v1/secrets/{name}", params(("name" = String, Path), ("force" = Option<bool>, Query)),
    responses((status = 204), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub(super) async fn remove(
    State(shared): State<Arc<Shared>>,
    Segments(name): Segments<String>,
    uri: Uri,
) -> Result<StatusCode, Refusal> {
    let Removal { force } = parse_query(&uri)?;
    shared.backend.remove_secret(parse_value("name", &name)?, force).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A backup of the cluster: what every voter knows, with secrets encrypted, and the cluster's keys encrypted to its
/// recovery key.
#[utoipa::path(post, path = "/v1/backup",
    responses((status = 200, body = String, content_type = "application/octet-stream"), (status = 503, body = ErrorBody)))]
pub(super) async fn backup(State(shared): State<Arc<Shared>>) -> Result<Response, Refusal> {
    let file = shared.backend.backup().await?;
    let headers = [(CONTENT_TYPE, BYTES), (CONTENT_DISPOSITION, "attachment; filename=\"taffeta.backup\"")];
    Ok((headers, file).into_response())
}
