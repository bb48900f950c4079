//! The form that asks for the token, and the cookie that keeps it.

use super::document;
use crate::api::{ApiError, ErrorCode};
use crate::http::access::COOKIE_NAME;
use crate::http::body::{media_type, read_body, wrong_type};
use crate::http::refusal::Refusal;
use crate::http::server::Shared;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use hyper::header::{LOCATION, SET_COOKIE};
use hyper::{HeaderMap, StatusCode};
use maud::html;
use std::sync::Arc;

/// The form, with what was wrong before. Its status says that a token is needed.
pub(in crate::http) fn login(wrong: Option<&str>) -> Response {
    let mut answer = document(
        "Taffeta",
        &html! {
            form.login method="post" action="/login" {
                h1 { "Taffeta" }
                @if let Some(wrong) = wrong { p.bad role="alert" { (wrong) } }
                label for="token" { "Administrator's token" }
                input #token name="token" type="password" autocomplete="current-password" required autofocus;
                button { "Show the fabric" }
                p { "It is in " code { "admin.token" } " in the node's data folder." }
            }
        },
    );
    *answer.status_mut() = StatusCode::UNAUTHORIZED;
    answer
}

/// Takes the token out of the form and keeps it in a cookie, which may only read.
#[utoipa::path(post, path = "/login", security(()),
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "`token=TOKEN`"),
    responses((status = 303, description = "To the web page, with its cookie"),
        (status = 401, body = String, content_type = "text/html", description = "The form again")))]
pub(in crate::http) async fn take_login(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    const FORM: &str = "application/x-www-form-urlencoded";
    if media_type(&headers).as_deref() != Some(FORM) {
        return Err(wrong_type(FORM));
    }
    let body = read_body(body).await?;
    let token = form_value(&body, "token").unwrap_or_default();
    let token = token.trim();
    if !shared.backend.is_admin_token(token) {
        return Ok(login(Some("This is not the administrator's token.")));
    }
    // Only characters that a cookie can hold as they are (RFC 6265, 4.1.1); tokens have no others.
    if !token.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b',' | b';' | b'\\')) {
        return Err(ApiError::new(ErrorCode::Failed, "the administrator's token cannot be kept in a cookie").into());
    }
    let cookie = format!("{COOKIE_NAME}={token}; Path=/; HttpOnly; SameSite=Strict");
    Ok((StatusCode::SEE_OTHER, [(LOCATION, "/"), (SET_COOKIE, &cookie)]).into_response())
}

/// A value of a form as browsers send it.
fn form_value(body: &[u8], name: &str) -> Option<String> {
    let body = std::str::from_utf8(body).ok()?;
    let (_, value) = body.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?;
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(bytes).ok()
}
