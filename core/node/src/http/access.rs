//! Who may come in.
//!
//! Over TCP a request shows the administrator's token, as a bearer token or, for reading only, in the web page's
//! cookie. In open mode it needs none, so there a browser on this machine must not become a stranger's hand: a page
//! from elsewhere is known by its `Origin`, and one whose name was pointed at loopback by the name in `Host`.

use super::page;
use super::refusal::Refusal;
use super::server::Shared;
use crate::api::{ApiError, Backend, ErrorCode};
use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use hyper::header::{AUTHORIZATION, CACHE_CONTROL, COOKIE, HOST, HeaderValue, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use hyper::{HeaderMap, Method, StatusCode};
use std::net::{IpAddr, Ipv6Addr};
use tower_service::Service;

/// Where commands are run beside tasks: with GET, as all WebSockets are opened, though nothing is less of a look.
const COMMANDS: &str = "/v1/exec/";

/// Name of the web page's cookie.
pub(super) const COOKIE_NAME: &str = "taffeta_token";

/// The way by which a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// TCP.
    Tcp,
    /// The socket file, by its owner or root.
    Owner,
    /// The socket file, by another user, who got at it before its mode was set or was handed the connection.
    Stranger,
}

impl Door {
    /// The door of a peer on the socket file.
    pub(super) fn of_user(peer: u32, ours: u32) -> Self {
        if peer == ours || peer == 0 { Self::Owner } else { Self::Stranger }
    }
}

/// Lets a request in, to be answered by the router, or answers it here.
pub(super) async fn guard(shared: &Shared, door: Door, mut router: Router, request: Request) -> Response {
    let mut answer = match check(shared, door, &request) {
        Ok(()) => router.call(request).await.unwrap_or_else(|never| match never {}),
        Err(e) if e.code == ErrorCode::Unauthorized && request.uri().path() == "/" => page::login(None),
        Err(e) => Refusal::from(e).into_response(),
    };
    let headers = answer.headers_mut();
    // Everything here is of this moment and for this reader, and logs must not be taken for web pages.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if answer.status() == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert("www-authenticate", HeaderValue::from_static("Bearer realm=\"taffeta\""));
    }
    answer
}

fn check(shared: &Shared, door: Door, request: &Request) -> Result<(), ApiError> {
    match door {
        Door::Owner => Ok(()),
        Door::Stranger => {
            Err(ApiError::new(ErrorCode::Forbidden, "this socket is for the user who runs the node and for root")
                .help("use the HTTP address with TAFFETA_TOKEN"))
        }
        Door::Tcp if request.uri().path() == "/health" => Ok(()),
        Door::Tcp if shared.open => check_browser(request),
        // Whoever logs in has no token yet; the handler looks at the one that is sent.
        Door::Tcp if request.uri().path() == "/login" => Ok(()),
        Door::Tcp => check_token(shared.backend.as_ref(), request),
    }
}

fn check_token(backend: &dyn Backend, request: &Request) -> Result<(), ApiError> {
    let headers = request.headers();
    let refused = |message: &str| {
        Err(ApiError::new(ErrorCode::Unauthorized, message).help(
            "set TAFFETA_TOKEN to what is in admin.token in the node's data folder, and send it as `Authorization: Bearer TOKEN`",
        ))
    };
    if let Some(value) = headers.get(AUTHORIZATION) {
        let token =
            value.to_str().ok().and_then(|v| v.split_once(' ')).filter(|(s, _)| s.eq_ignore_ascii_case("bearer"));
        return match token {
            Some((_, token)) if backend.is_admin_token(token.trim()) => Ok(()),
            Some(_) => refused("this is not the administrator's token"),
            None => refused("the Authorization header holds no bearer token"),
        };
    }
    match cookie(headers) {
        // A cookie comes along by itself, so it may only read.
        Some(token) if backend.is_admin_token(token) => match *request.method() {
            Method::GET | Method::HEAD if !request.uri().path().starts_with(COMMANDS) => Ok(()),
            _ => refused("a change needs a bearer token; the web page's cookie may only read"),
        },
        Some(_) => refused("the web page's cookie is not the administrator's token"),
        None => refused("the API needs the administrator's token"),
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let pairs = headers.get_all(COOKIE).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(';'));
    pairs.filter_map(|pair| pair.trim().split_once('=')).find(|(name, _)| *name == COOKIE_NAME).map(|(_, value)| value)
}

fn check_browser(request: &Request) -> Result<(), ApiError> {
    let forbidden = |message: &str, help: &str| Err(ApiError::new(ErrorCode::Forbidden, message).help(help));
    // A request line with a whole URL overrides `Host` (RFC 9112, 3.2.2).
    let named = request.uri().authority().map(|a| a.as_str());
    let host = named.or_else(|| request.headers().get(HOST).and_then(|v| v.to_str().ok()));
    let Some(host) = host.filter(|h| is_address_or_localhost(h)) else {
        return forbidden(
            "without a token the API answers only when it is called by an IP address or as localhost",
            "use the node's IP address in the URL, or run it without --api-open",
        );
    };
    let same = |origin: &HeaderValue| {
        let origin = origin.to_str().ok().and_then(|o| o.strip_prefix("http://"));
        origin.is_some_and(|o| o.eq_ignore_ascii_case(host))
    };
    if request.headers().get_all(ORIGIN).iter().all(same) {
        Ok(())
    } else {
        forbidden("without a token the API does not answer web pages of other origins", "call it from its own page")
    }
}

/// Of a `Host`: an address or `localhost`, either with or without a port. Any name but these is somebody's to point at
/// this machine.
fn is_address_or_localhost(host: &str) -> bool {
    let is_port = |p: &str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit());
    if let Some(rest) = host.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        return address.parse::<Ipv6Addr>().is_ok() && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let name = match host.split_once(':') {
        Some((name, port)) if is_port(port) => name,
        Some(_) => return false,
        None => host,
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}
