//! Calls a service of the app by its name, and the next instance if one fails.

use crate::{
    order::Dice,
    resolver::{ResolveError, Resolver, Target},
};
use axum::body::{Body, Bytes};
use http_body_util::{BodyExt, Limited};
use hyper::{
    Request, StatusCode,
    client::conn::http1,
    header::{CONNECTION, HOST},
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use std::{error::Error, io, net::SocketAddr, time::Duration};
use thiserror::Error;
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

/// Instances tried for one request: with one machine gone and one overloaded the third still answers.
const TARGETS_MAX: usize = 3;
/// Time for one instance to connect and answer.
const TARGET_TIMEOUT: Duration = Duration::from_secs(1);
/// Time for the whole call, names included.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest reply read: twenty orders have some 4 KiB, and a broken instance must not fill our memory.
const REPLY_BYTES_MAX: usize = 64 * 1024;

/// A reply and where it came from.
#[derive(Debug, Serialize)]
pub(crate) struct Answered<T> {
    /// Address of the instance that answered.
    pub(crate) address: SocketAddr,
    /// Number of instances tried before, each of which failed.
    pub(crate) failed_over: usize,
    /// What it said.
    #[serde(flatten)]
    pub(crate) reply: T,
}

/// Why a call failed. Only GET is ever called, so that calling again is safe.
#[derive(Debug, Error)]
pub(crate) enum CallError {
    /// No instance was found.
    #[error("cannot resolve {0}")]
    Resolve(String, #[source] ResolveError),
    /// No instance answered; each with its reason.
    #[error("no instance answered: {}", .0.join("; "))]
    AllFailed(Vec<String>),
    /// The time was up.
    #[error("no answer within {} s", CALL_TIMEOUT.as_secs())]
    Late,
}

/// Why one instance failed; the next one is tried.
#[derive(Debug, Error)]
enum TargetError {
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("the connection broke")]
    Http(#[from] hyper::Error),
    #[error("status {0}")]
    Status(StatusCode),
    #[error("the reply cannot be read")]
    Body(#[source] Box<dyn Error + Send + Sync>),
    #[error("the reply is not what was expected")]
    Json(#[from] serde_json::Error),
    #[error("no answer within {} s", TARGET_TIMEOUT.as_secs())]
    Late,
}

/// GET of `path` from an instance behind the SRV name `name`.
pub(crate) async fn call<T: DeserializeOwned>(
    resolver: &Resolver,
    dice: &Dice,
    name: &str,
    path: &str,
) -> Result<Answered<T>, CallError> {
    let whole = async {
        let targets = resolver.targets(name, TARGETS_MAX, dice).await;
        first_answer(&targets.map_err(|e| CallError::Resolve(name.into(), e))?, path).await
    };
    timeout(CALL_TIMEOUT, whole).await.unwrap_or(Err(CallError::Late))
}

async fn first_answer<T: DeserializeOwned>(targets: &[Target], path: &str) -> Result<Answered<T>, CallError> {
    let mut failed = Vec::new();
    for target in targets {
        match timeout(TARGET_TIMEOUT, fetch(target, path)).await.unwrap_or(Err(TargetError::Late)) {
            Ok(reply) => return Ok(Answered { address: target.address, failed_over: failed.len(), reply }),
            Err(e) => failed.push(format!("{} ({}): {}", target.host, target.address, chain(&e))),
        }
    }
    Err(CallError::AllFailed(failed))
}

async fn fetch<T: DeserializeOwned>(target: &Target, path: &str) -> Result<T, TargetError> {
    let stream = TcpStream::connect(target.address).await.map_err(TargetError::Connect)?;
    let _ = stream.set_nodelay(true);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Dropped with this future, and the connection with it: one that hangs does not outlive its time-out.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request = Request::get(path)
        .header(HOST, target.address.to_string()) // not the name: what a peer gave may be no valid header
        .header(CONNECTION, "close")
        .body(Body::empty());
    let reply = sender.send_request(request.expect("an address and a path of ours are valid")).await?;
    if reply.status() != StatusCode::OK {
        return Err(TargetError::Status(reply.status()));
    }
    let body: Bytes =
        Limited::new(reply.into_body(), REPLY_BYTES_MAX).collect().await.map_err(TargetError::Body)?.to_bytes();
    Ok(serde_json::from_slice(&body)?)
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}
