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
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
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

/// How long a connection may still begin its first request when the server ends. hyper closes one that has said nothing
/// yet, and its client, which connected in order to ask and may have sent all, would not know whether it was heard.
const FIRST_WORD: Duration = Duration::from_millis(500);

/// The same for one that was answered before and is kept.
const NEXT_WORD: Duration = Duration::from_millis(50);

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
            Self::Tcp(listener) => over_tcp(listener.accept().await?.0),
            Self::Unix(listener) => over_unix(listener.accept().await?.0),
        }
    }

    /// Refuses new clients from here on. Gives those that are connected already and only wait to be accepted, of which
    /// tokio may not have heard: a client that is cut off there could not tell whether its request was heard.
    fn close(self) -> Vec<(Box<dyn Stream>, Door)> {
        let mut last = vec![];
        match self {
            Self::Tcp(listener) => {
                let Ok(listener) = listener.into_std() else { return last };
                while let Ok((stream, _)) = listener.accept() {
                    let made = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
                    last.extend(made.and_then(over_tcp));
                }
            }
            Self::Unix(listener) => {
                let Ok(listener) = listener.into_std() else { return last };
                while let Ok((stream, _)) = listener.accept() {
                    let made = stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream));
                    last.extend(made.and_then(over_unix));
                }
            }
        }
        last
    }
}

fn over_tcp(stream: TcpStream) -> io::Result<(Box<dyn Stream>, Door)> {
    // Answers are small and events are wanted at once.
    stream.set_nodelay(true)?;
    Ok((Box::new(stream), Door::Tcp))
}

fn over_unix(stream: UnixStream) -> io::Result<(Box<dyn Stream>, Door)> {
    let peer = stream.peer_cred()?.uid();
    Ok((Box::new(stream), Door::of_user(peer, rustix::process::geteuid().as_raw())))
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
    for (stream, door) in acceptor.close() {
        connections.spawn(serve(stream, door, router.clone(), shared.clone()));
    }
    while connections.join_next().await.is_some() {}
}

async fn serve(stream: Box<dyn Stream>, door: Door, router: Router, shared: Arc<Shared>) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX);
    let has_asked = AtomicBool::new(false);
    let answer = service_fn(|request: Request<Incoming>| {
        has_asked.store(true, Ordering::Relaxed);
        let answered = access::guard(&shared, door, router.clone(), request.map(Body::new));
        answered.map(Ok::<_, Infallible>)
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), answer).with_upgrades());
    let served = tokio::select! {
        served = &mut connection => served,
        () = shared.ended() => {
            let patience = if has_asked.load(Ordering::Relaxed) { NEXT_WORD } else { FIRST_WORD };
            match tokio::time::timeout(patience, &mut connection).await {
                Ok(served) => served,
                Err(_) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the HTTP API broke");
    }
}
