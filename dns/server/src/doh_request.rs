//! One request of DNS over HTTPS and its response.

use crate::{Responder, Transport};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hickory_proto::{
    op::Message,
    rr::{RData, Record},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Bytes},
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE},
};
use std::{error::Error, net::IpAddr, sync::Arc, time::Duration};
use tokio::time::timeout;

const PATH: &str = "/dns-query";
const MEDIA_TYPE: &str = "application/dns-message";
/// Longest DNS message.
const QUERY_MAX: usize = 65535;

/// What a request is answered with.
pub(crate) struct Door {
    pub(crate) responder: Arc<Responder>,
    pub(crate) client: IpAddr,
    /// How long a body may take.
    pub(crate) whole_query: Duration,
}

/// Answers a request. What is no DNS query gets the status that says why.
pub(crate) async fn answer<B>(request: Request<B>, door: &Door) -> Response<Full<Bytes>>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
{
    let query = match read(request, door).await {
        Ok(query) => query,
        Err(status) => return refusal(status),
    };
    match door.responder.respond(&query, door.client, Transport::Https).await {
        Some(reply) => found(reply),
        None => refusal(StatusCode::BAD_REQUEST),
    }
}

async fn read<B>(request: Request<B>, door: &Door) -> Result<Bytes, StatusCode>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
{
    if request.uri().path() != PATH {
        return Err(StatusCode::NOT_FOUND);
    }
    match *request.method() {
        Method::GET => from_url(request.uri().query()).ok_or(StatusCode::BAD_REQUEST),
        Method::POST => {
            let media_type = request.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
            if !media_type.split(';').next().is_some_and(|m| m.trim().eq_ignore_ascii_case(MEDIA_TYPE)) {
                return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
            }
            let body = Limited::new(request.into_body(), QUERY_MAX).collect();
            let body = timeout(door.whole_query, body).await.map_err(|_| StatusCode::REQUEST_TIMEOUT)?;
            Ok(body.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?.to_bytes())
        }
        // Methods are the client's words, not an enum of ours.
        _ => Err(StatusCode::METHOD_NOT_ALLOWED),
    }
}

/// The parameter `dns`, in base64url without padding (RFC 8484 section 4.1).
fn from_url(parameters: Option<&str>) -> Option<Bytes> {
    let encoded = parameters?.split('&').find_map(|p| p.strip_prefix("dns="))?;
    let query = URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).ok()?;
    Some(query.into())
}

fn found(reply: Vec<u8>) -> Response<Full<Bytes>> {
    let fresh = format!("max-age={}", max_age(&reply));
    Response::builder()
        .header(CONTENT_TYPE, MEDIA_TYPE)
        .header(CACHE_CONTROL, fresh)
        .body(Full::new(reply.into()))
        .expect("headers are of printable characters")
}

fn refusal(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(status);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response = response.header(ALLOW, "GET, POST");
    }
    response.body(Full::default()).expect("headers are of printable characters")
}

/// Seconds that a reply may be kept by HTTP caches: no longer than its shortest-lived record, and a negative one than
/// its SOA says (RFC 8484 section 5.1).
fn max_age(reply: &[u8]) -> u32 {
    let Ok(message) = Message::from_vec(reply) else { return 0 };
    let negative = |soa: &Record| match &soa.data {
        RData::SOA(data) => Some(soa.ttl.min(data.minimum)),
        // Of all types of records only one tells.
        _ => None,
    };
    let shortest = message.answers.iter().map(|r| r.ttl).min();
    shortest.or_else(|| message.authorities.iter().find_map(negative)).unwrap_or(0)
}

#[cfg(test)]
#[path = "doh_request_tests.rs"]
mod tests;
