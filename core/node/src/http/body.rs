//! Reading what a client sends: bodies, queries and path segments, each failure with the field that is wrong.

use super::refusal::Refusal;
use crate::api::{ApiError, ErrorCode};
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequestParts, Path, Query};
use http_body_util::BodyExt;
use hyper::header::CONTENT_TYPE;
use hyper::http::request::Parts;
use hyper::{HeaderMap, StatusCode, Uri};
use serde::de::DeserializeOwned;
use std::error::Error;
use std::str::FromStr;
use std::time::Duration;

/// Most bytes of a body: an app file with its shipped files (at most 4 MiB of them, a third more as base64) fits.
pub(super) const BODY_BYTES_MAX: usize = 8 << 20;

/// Of a body that is too long this much is taken and thrown away: answering while the client still writes would make
/// it see a broken connection instead of the answer. Beyond that the connection is cut.
const EXCESS_BYTES_MAX: usize = 4 * BODY_BYTES_MAX;

/// A client that takes longer to send a body is stuck.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// The whole body.
pub(super) async fn read_body(body: Body) -> Result<Vec<u8>, Refusal> {
    let late =
        || Refusal::invalid(StatusCode::REQUEST_TIMEOUT, format!("the body did not come within {BODY_TIME_MAX:?}"));
    tokio::time::timeout(BODY_TIME_MAX, collect(body)).await.map_err(|_| late())?
}

async fn collect(mut body: Body) -> Result<Vec<u8>, Refusal> {
    let mut kept = Vec::new();
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Refusal::invalid(StatusCode::BAD_REQUEST, format!("the body broke off: {e}")))?;
        let Some(data) = frame.data_ref() else { continue };
        length = length.saturating_add(data.len());
        if length <= BODY_BYTES_MAX {
            kept.extend_from_slice(data);
        } else {
            kept = Vec::new();
        }
        if length > EXCESS_BYTES_MAX {
            break;
        }
    }
    if length > BODY_BYTES_MAX {
        let message = format!("the body is longer than {} MiB", BODY_BYTES_MAX >> 20);
        return Err(Refusal::invalid(StatusCode::PAYLOAD_TOO_LARGE, message)
            .help("ship large files as an image, or let the task fetch them"));
    }
    Ok(kept)
}

/// The media type without its parameters, in lower case.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// A JSON body. Its type must be said: a plain HTML form, which any web page may send, cannot say it.
pub(super) async fn read_json<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, Refusal> {
    if media_type(headers).as_deref() != Some("application/json") {
        return Err(wrong_type("application/json"));
    }
    parse_json(&read_body(body).await?)
}

/// The same, with an empty body for the defaults.
pub(super) async fn read_json_or_default<T: DeserializeOwned + Default>(
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Refusal> {
    if media_type(headers).is_some() {
        return read_json(headers, body).await;
    }
    if read_body(body).await?.is_empty() { Ok(T::default()) } else { Err(wrong_type("application/json")) }
}

/// The body is of another type than can be read.
pub(super) fn wrong_type(wanted: &str) -> Refusal {
    Refusal::invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("the body must be sent as {wanted}"))
        .help(format!("add the header `Content-Type: {}`", wanted.split(' ').next().unwrap_or_default()))
}

pub(super) fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    Json::<T>::from_bytes(bytes).map(|Json(value)| value).map_err(|rejection| {
        let cause = rejection.source().map(ToString::to_string).unwrap_or_default();
        match rejection {
            JsonRejection::JsonDataError(_) => wrong_field("the body", &cause).into(),
            _ => ApiError::new(ErrorCode::Invalid, format!("the body is not JSON: {cause}")).into(),
        }
    })
}

/// The variable segments of a path, percent-decoded.
pub(super) struct Segments<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(segments)) => Ok(Self(segments)),
            Err(rejection) => Err(Refusal::invalid(StatusCode::BAD_REQUEST, rejection.body_text())),
        }
    }
}

/// The query of a URL. Unknown keys are errors: a mistyped filter would show everything.
pub(super) fn parse_query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Refusal> {
    Query::try_from_uri(uri).map(|Query(value)| value).map_err(|rejection| {
        let cause = rejection.source().map(ToString::to_string).unwrap_or_default();
        wrong_field("the query", &cause).into()
    })
}

/// A name or other value out of the path or the body.
pub(super) fn parse_value<T: FromStr<Err: ToString>>(field: &str, text: &str) -> Result<T, Refusal> {
    text.parse().map_err(|e: T::Err| ApiError::new(ErrorCode::Invalid, e.to_string()).field(field).into())
}

/// Words a decoder's error. Its text is `PATH: WHAT`, where the path is missing if it is the whole that is wrong, and
/// a missing or unknown field is named in WHAT between backticks.
fn wrong_field(place: &str, cause: &str) -> ApiError {
    let (path, what) = match cause.split_once(": ") {
        Some((path, what)) if is_path(path) => (path, what),
        Some(_) | None => ("", cause),
    };
    let named = what.strip_prefix("missing field `").or_else(|| what.strip_prefix("unknown field `"));
    let named = named.and_then(|rest| rest.split('`').next()).unwrap_or_default();
    // For an unknown key the path ends with that key already.
    let field = match (path, named) {
        ("", named) => named.to_owned(),
        (path, "") => path.to_owned(),
        (path, named) if path == named || path.ends_with(&format!(".{named}")) => path.to_owned(),
        (path, named) => format!("{path}.{named}"),
    };
    let error = ApiError::new(ErrorCode::Invalid, format!("{place} is wrong: {cause}"));
    if field.is_empty() { error } else { error.field(field) }
}

/// Whether the text before the first colon can be a path of fields rather than the beginning of a sentence such as
/// `invalid type: ...`.
fn is_path(text: &str) -> bool {
    !text.is_empty() && !text.contains(' ')
}
