//! One request over one connection, with every failure in words.

use super::ApiTarget;
use super::target::Endpoint;
use super::unix::ShortPath;
use crate::api::{ApiError, ErrorBody, ErrorCode};
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;

/// Most bytes of an answer that is read whole. The largest is `ps` of all tasks; a peer that sends more is no node.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Drives the connection; dropping it closes the connection.
pub(super) struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Who is asked, and how long is waited.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) target: ApiTarget,
    pub(super) endpoint: Endpoint,
    pub(super) time_limit: Duration,
}

impl Caller {
    /// Sends a request and reads the whole answer within the time limit. Fails if the status is not a success.
    pub(super) fn ask(&self, request: Request<Full<Bytes>>) -> BoxFuture<'_, Result<Response<Bytes>, ApiError>> {
        let whole = async move {
            let (answer, _driver) = self.send(request).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|e| self.failed("broke off its answer", &e.to_string()))?.to_bytes();
            self.check(Response::from_parts(head, body))
        };
        Box::pin(self.within_limit(whole))
    }

    /// Sends a request and returns as soon as the answer's head has come. Fails if the status is not a success. The
    /// time limit ends with the head: what follows takes as long as it takes.
    pub(super) fn open(
        &self,
        request: Request<Full<Bytes>>,
    ) -> BoxFuture<'_, Result<(Response<Incoming>, Driver), ApiError>> {
        let head = async move {
            let (answer, driver) = self.send(request).await?;
            if answer.status().is_success() || answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                return Ok((answer, driver));
            }
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|e| self.failed("broke off its answer", &e.to_string()))?.to_bytes();
            Err(self.refusal(head.status, &body))
        };
        Box::pin(self.within_limit(head))
    }

    async fn within_limit<T>(&self, work: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
        tokio::time::timeout(self.time_limit, work).await.unwrap_or_else(|_| {
            let message = format!("{} did not answer within {:?}", self.target, self.time_limit);
            Err(ApiError::new(ErrorCode::Timeout, message)
                .help("the node may be busy or without a leader: look at `taffeta status`, or ask another node"))
        })
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<(Response<Incoming>, Driver), ApiError> {
        match &self.endpoint {
            Endpoint::Tcp { host, port, .. } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|e| self.unreachable(&e))?;
                // A request is one small write that is waited for: never hold it back.
                let _ = stream.set_nodelay(true);
                self.exchange(stream, request).await
            }
            Endpoint::Unix(path) => {
                let short = ShortPath::of(path).map_err(|e| self.unreachable(&e))?;
                let stream = UnixStream::connect(short.as_path()).await.map_err(|e| self.unreachable(&e))?;
                self.exchange(stream, request).await
            }
        }
    }

    async fn exchange<S>(
        &self,
        stream: S,
        request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Driver), ApiError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let broken = |e: hyper::Error| self.failed("did not answer in HTTP", &e.to_string());
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Its failures also reach whoever waits for the answer or reads it.
        let driver = Driver(tokio::spawn(async move {
            let _ = connection.with_upgrades().await;
        }));
        Ok((sender.send_request(request).await.map_err(broken)?, driver))
    }

    fn check(&self, answer: Response<Bytes>) -> Result<Response<Bytes>, ApiError> {
        if answer.status().is_success() { Ok(answer) } else { Err(self.refusal(answer.status(), answer.body())) }
    }

    /// The node's own words, if it is a node.
    fn refusal(&self, status: StatusCode, body: &[u8]) -> ApiError {
        match serde_json::from_slice::<ErrorBody>(body) {
            Ok(body) => body.into(),
            Err(_) => self.stranger(&format!("HTTP {}", status.as_u16())),
        }
    }

    /// Somebody answers who is no node.
    pub(super) fn stranger(&self, what: &str) -> ApiError {
        let message = format!("what answers at {} is not a node's API: {what}", self.target);
        ApiError::new(ErrorCode::Failed, message).help("name the node's HTTP address with --api")
    }

    pub(super) fn failed(&self, what: &str, why: &str) -> ApiError {
        let message = format!("{} {what}: {why}", self.target);
        ApiError::new(ErrorCode::Failed, message).help("ask again; if it goes on, look at the node's own log")
    }

    fn unreachable(&self, e: &io::Error) -> ApiError {
        let target = &self.target;
        match e.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                ApiError::new(ErrorCode::Failed, format!("no node answers at {target}"))
                    .help("start one with `taffeta up`, or name another with --api")
            }
            io::ErrorKind::PermissionDenied => {
                ApiError::new(ErrorCode::Forbidden, format!("{target} may be opened by its owner only"))
                    .help("run this as the user who runs the node, or use --api with TAFFETA_TOKEN")
            }
            _ => ApiError::new(ErrorCode::Failed, format!("no node can be reached at {target}: {e}"))
                .help("check the address and the network, or name another node with --api"),
        }
    }
}
