//! The server: accepts, serves and ends connections.

use super::access::{self, Door};
use super::bind::{Doors, HttpBindError, SocketFile, open_doors};
use super::routes::router;
use crate::api::Backend;
use axum::Router;
use axum::body::Body;
use futures::FutureExt;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Connections at a time over TCP: five hundred clients that keep theirs, and room. A connection costs some 20 KiB and a
/// descriptor, of which services begin with 1,024; more wait in the kernel's queue.
const TCP_CONNECTIONS_MAX: usize = 600;
/// The same over the socket file, where clients come and go.
const UNIX_CONNECTIONS_MAX: usize = 128;

/// How long a client may take to send a request's head, and how long a connection may be idle.
const HEAD_TIME_MAX: Duration = Duration::from_secs(30);

/// How long `shutdown` waits for requests that are under way.
const GRACE: Duration = Duration::from_secs(2);

/// How long a connection may still begin a request when the server ends. hyper closes one that has said nothing yet,
/// and its client, which may have sent all, would not know whether it was heard.
const FIRST_WORD: Duration = Duration::from_millis(50);

/// A pause after the system refused a connection (it has no descriptors left), lest the loop spins.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where and how the API is served.
#[derive(Clone, Default)]
pub(crate) struct HttpConfig {
    /// TCP address; port 0 lets the system choose. `None`: no TCP.
    pub(crate) listen: Option<SocketAddr>,
    /// Socket file, served without token to the user of this process and to root. Its folder must exist; a stale file
    /// is replaced. `None`: no such socket.
    pub(crate) unix_socket: Option<PathBuf>,
    /// Whether TCP needs no token. Refused unless `listen` is a loopback address.
    pub(crate) open: bool,
    /// Source of `/metrics`, which is empty without it.
    pub(crate) metrics: Option<PrometheusHandle>,
}

/// What handlers share.
pub(super) struct Shared {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) metrics: Option<PrometheusHandle>,
    pub(super) open: bool,
    /// Turns `true` when the server ends: streams that would never end must then.
    pub(super) ending: watch::Receiver<bool>,
}

impl Shared {
    /// Returns once the server ends.
    pub(super) async fn ended(&self) {
        // An error means that the server is gone already.
        let _ = self.ending.clone().wait_for(|ending| *ending).await;
    }
}

/// The running server. Serves until dropped, which cuts connections off, or shut down, which lets them finish.
pub(crate) struct HttpServer {
    local_addr: Option<SocketAddr>,
    ending: watch::Sender<bool>,
    /// The accept loops; each owns its connections.
    loops: JoinSet<()>,
    _socket: Option<SocketFile>,
}

impl HttpServer {
    /// Opens the doors and serves from then on. Must be called inside of a tokio runtime.
    pub(crate) fn bind(config: HttpConfig, backend: Arc<dyn Backend>) -> Result<Self, HttpBindError> {
        let Doors { tcp, unix } = open_doors(&config)?;
        let (ending, watched) = watch::channel(false);
        let shared = Arc::new(Shared { backend, metrics: config.metrics, open: config.open, ending: watched });
        let mut loops = JoinSet::new();
        let mut local_addr = None;
        if let Some(listener) = tcp {
            local_addr = listener.local_addr().ok();
            loops.spawn(accept_loop(Acceptor::Tcp(listener), shared.clone()));
        }
        let socket = unix.map(|(listener, file)| {
            loops.spawn(accept_loop(Acceptor::Unix(listener), shared.clone()));
            file
        });
        Ok(Self { local_addr, ending, loops, _socket: socket })
    }

    /// The TCP address, with the port that the system chose.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    /// Accepts nothing more, ends event and log streams, lets requests under way finish for up to 2 s, then cuts off.
    pub(crate) async fn shutdown(mut self) {
        self.ending.send_replace(true);
        let finished = async { while self.loops.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, finished).await.is_err() {
            self.loops.shutdown().await;
        }
    }
}

enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Acceptor {
    fn connections_max(&self) -> usize {
        match self {
            Self::Tcp(_) => TCP_CONNECTIONS_MAX,
            Self::Unix(_) => UNIX_CONNECTIONS_MAX,
        }
    }

    async fn accept(&self) -> io::Result<(Box<dyn Stream>, Door)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Answers are small and events are wanted at once.
                stream.set_nodelay(true)?;
                Ok((Box::new(stream), Door::Tcp))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let peer = stream.peer_cred()?.uid();
                Ok((Box::new(stream), Door::of_user(peer, rustix::process::geteuid().as_raw())))
            }
        }
    }
}

async fn accept_loop(acceptor: Acceptor, shared: Arc<Shared>) {
    let router = router(shared.clone());
    let mut connections = JoinSet::new();
    let mut ended = pin!(shared.ended());
    loop {
        tokio::select! {
            () = &mut ended => break,
            Some(_) = connections.join_next() => {}
            accepted = acceptor.accept(), if connections.len() < acceptor.connections_max() => match accepted {
                Ok((stream, door)) => {
                    connections.spawn(serve(stream, door, router.clone(), shared.clone()));
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection to the HTTP API was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    // New clients are refused from here on, while those that are being served finish; who is connected already, and only
    // waits to be accepted, is served, or else it could not tell whether its request was heard.
    while let Some(Ok((stream, door))) = acceptor.accept().now_or_never() {
        connections.spawn(serve(stream, door, router.clone(), shared.clone()));
    }
    drop(acceptor);
    while connections.join_next().await.is_some() {}
}

async fn serve(stream: Box<dyn Stream>, door: Door, router: Router, shared: Arc<Shared>) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX);
    let answer = service_fn(|request: Request<Incoming>| {
        let answered = access::guard(&shared, door, router.clone(), request.map(Body::new));
        answered.map(Ok::<_, Infallible>)
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), answer).with_upgrades());
    let served = tokio::select! {
        served = &mut connection => served,
        () = shared.ended() => match tokio::time::timeout(FIRST_WORD, &mut connection).await {
            Ok(served) => served,
            Err(_) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        },
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the HTTP API broke");
    }
}
