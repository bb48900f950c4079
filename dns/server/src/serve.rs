//! UDP and TCP around a [`Responder`].

use crate::{BindError, Responder, Transport, responder::Step};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

/// Queries are small; one longer than this is cut and so refused as malformed.
const MAX_UDP_QUERY: usize = 4096;
/// A burst of clients must not overflow the socket while the node is busy elsewhere.
const RECEIVE_BUFFER: usize = 1 << 20;
/// With port 0 the kernel chooses for TCP; UDP may find that port taken, so it is tried a few times.
const PORT_TRIES: usize = 16;
/// Pause after a socket error that may last (no descriptors left), so that it does not become a busy loop.
const ERROR_PAUSE: Duration = Duration::from_millis(50);

/// Bounds on TCP clients.
#[derive(Clone, Copy, Debug)]
pub struct ServeLimits {
    /// Connections at once; 128, each up to 64 KiB. More wait in the kernel's queue.
    pub tcp_connections_max: usize,
    /// How long a connection may take to bring its next whole query, or to take a reply; 10 s (RFC 7766 section 6.2.3).
    pub tcp_idle: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self { tcp_connections_max: 128, tcp_idle: Duration::from_secs(10) }
    }
}

/// A DNS server on one address, UDP and TCP. Serves until it is dropped or shut down.
#[derive(Debug)]
pub struct DnsServer {
    local_addr: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl DnsServer {
    /// Listens and serves; must be called within a tokio runtime. Port 0 takes a free port, the same for both.
    pub fn bind(address: SocketAddr, responder: Arc<Responder>) -> Result<Self, BindError> {
        Self::bind_with(address, responder, ServeLimits::default())
    }

    /// As [`Self::bind`] with other limits.
    pub fn bind_with(address: SocketAddr, responder: Arc<Responder>, limits: ServeLimits) -> Result<Self, BindError> {
        let (udp, tcp, local_addr) = listen(address)?;
        responder.listens_on(local_addr);
        let tasks = vec![
            tokio::spawn(serve_udp(Arc::new(udp), responder.clone())),
            tokio::spawn(serve_tcp(tcp, responder, limits)),
        ];
        Ok(Self { local_addr, tasks })
    }

    /// Where it listens, with the port that was found for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops serving; when it returns the port is free.
    pub async fn shut_down(mut self) {
        for task in std::mem::take(&mut self.tasks) {
            task.abort();
            // Cancelled is what we asked for.
            let _ = task.await;
        }
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn listen(address: SocketAddr) -> Result<(UdpSocket, TcpListener, SocketAddr), BindError> {
    let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        let tcp = listen_tcp(address).map_err(|source| BindError { protocol: "TCP", address, source })?;
        let local = tcp.local_addr().map_err(|source| BindError { protocol: "TCP", address, source })?;
        match listen_udp(local) {
            Ok(udp) => return Ok((udp, tcp, local)),
            Err(source) => {
                tries -= 1;
                if tries == 0 || source.kind() != io::ErrorKind::AddrInUse {
                    return Err(BindError { protocol: "UDP", address: local, source });
                }
            }
        }
    }
}

fn listen_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // The kernel may give less; what it gives is enough to serve.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for closed connections to be forgotten; two listeners are refused all the same.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    TcpListener::from_std(socket.into())
}

/// Answers of our own are sent from this loop; only what waits for an upstream gets a task, bounded by the relay.
async fn serve_udp(socket: Arc<UdpSocket>, responder: Arc<Responder>) {
    let mut relays = JoinSet::new();
    let mut buffer = vec![0; MAX_UDP_QUERY];
    loop {
        let (len, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "DNS socket");
                sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        while relays.try_join_next().is_some() {}
        match responder.begin(&buffer[..len], client.ip(), Transport::Udp) {
            Step::Done(reply) => send(&socket, reply, client).await,
            Step::Relay(relay) => {
                let socket = socket.clone();
                relays.spawn(async move { send(&socket, relay.run().await, client).await });
            }
        }
    }
}

/// A client that is gone is its own affair.
async fn send(socket: &UdpSocket, reply: Option<Vec<u8>>, client: SocketAddr) {
    if let Some(reply) = reply
        && let Err(error) = socket.send_to(&reply, client).await
    {
        tracing::debug!(%error, %client, "DNS reply not sent");
    }
}

async fn serve_tcp(listener: TcpListener, responder: Arc<Responder>, limits: ServeLimits) {
    let places = Arc::new(Semaphore::new(limits.tcp_connections_max));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, client)) => {
                let responder = responder.clone();
                connections.spawn(async move {
                    serve_connection(stream, client.ip(), &responder, limits.tcp_idle).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "DNS connection not accepted");
                sleep(ERROR_PAUSE).await;
            }
        }
    }
}

/// Queries of one connection, answered in order (RFC 7766 section 6.2.1.1 allows any), until it closes, idles or errs.
async fn serve_connection(mut stream: TcpStream, client: IpAddr, responder: &Responder, idle: Duration) {
    // Replies are whole; waiting for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    while let Ok(Ok(query)) = timeout(idle, read_query(&mut stream)).await {
        let Some(reply) = responder.respond(&query, client, Transport::Tcp).await else { return };
        let Ok(len) = u16::try_from(reply.len()) else { return };
        let framed = [&len.to_be_bytes(), &reply[..]].concat();
        let Ok(Ok(())) = timeout(idle, stream.write_all(&framed)).await else { return };
    }
}

async fn read_query(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut query = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut query).await?;
    Ok(query)
}
