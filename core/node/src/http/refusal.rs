//! An error as an answer: always an [`ErrorBody`], whatever went wrong.

use crate::api::{ApiError, ErrorBody, ErrorCode};
use axum::Json;
use axum::response::{IntoResponse, Response};
use hyper::{Method, StatusCode, Uri};

/// An error with its status.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: ApiError,
}

impl Refusal {
    /// A wrong request whose status says more than 400 does.
    pub(super) fn invalid(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, error: ApiError::new(ErrorCode::Invalid, message) }
    }

    /// The same with advice.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.error = self.error.help(help);
        self
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, error }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(ErrorBody::from(self.error))).into_response()
    }
}

/// The answer to a path that is no route.
pub(super) async fn unknown_route(uri: Uri) -> Refusal {
    let message = format!("there is no `{}` in this API", uri.path());
    ApiError::new(ErrorCode::NotFound, message).help("all routes are in /v1/openapi.json").into()
}

/// The answer to a route that does not know the method. axum adds which it knows, as `Allow`.
pub(super) async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    let message = format!("`{}` does not take {method}", uri.path());
    Refusal::invalid(StatusCode::METHOD_NOT_ALLOWED, message)
        .help("the Allow header and /v1/openapi.json say what it takes")
}
