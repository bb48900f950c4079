//! What all services answer alike: health, and errors in the fabric's own shape.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

/// The service's own liveness, and nothing else: a broken dependency must not take its callers out of DNS.
pub(crate) async fn health() -> &'static str {
    "ok"
}

/// `{"error":{"code","message","help","field"}}`.
pub(crate) fn refuse(
    status: StatusCode,
    code: &str,
    message: impl AsRef<str>,
    help: &str,
    field: Option<&str>,
) -> Response {
    let body = json!({"error": {"code": code, "message": message.as_ref(), "help": help, "field": field}});
    (status, Json(body)).into_response()
}
