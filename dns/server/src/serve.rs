//! UDP and TCP around a [`Responder`].

use crate::{
    BindError, Responder, ServeLimits,
    tcp::serve_tcp,
    udp::{DnsCounts, DnsMeter, UdpConfig, UdpServer, listen_udp},
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpListener, task::JoinHandle};

/// With port 0 the kernel chooses for TCP; UDP may find that port taken, so it is tried a few times.
const PORT_TRIES: usize = 16;
/// Connections that the kernel may hold until they are accepted: a burst of clients is not turned away.
const ACCEPT_QUEUE: i32 = 1024;
/// Pause after a socket error that may last (no descriptors left), so that it does not become a busy loop.
pub(crate) const ERROR_PAUSE: Duration = Duration::from_millis(50);

/// Sockets of a server to be: the port is held, and who asks waits.
#[derive(Debug)]
pub struct DnsSockets {
    local_addr: SocketAddr,
    udp: Vec<UdpSocket>,
    tcp: TcpListener,
}

impl DnsSockets {
    /// Listens; must be called within a tokio runtime. `config` says for how many threads.
    pub fn bind(address: SocketAddr, config: &UdpConfig) -> Result<Self, BindError> {
        let (udp, tcp, local_addr) = listen(address, config.thread_count())?;
        Ok(Self { local_addr, udp, tcp })
    }

    /// Where.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }
}

/// A DNS server on one address, UDP and TCP. Serves until it is dropped or shut down.
#[derive(Debug)]
pub struct DnsServer {
    local_addr: SocketAddr,
    udp: UdpServer,
    tasks: Vec<JoinHandle<()>>,
}

impl DnsServer {
    /// Listens and serves; must be called within a tokio runtime. Port 0 takes a free port, the same for both.
    pub fn bind(address: SocketAddr, responder: Arc<Responder>) -> Result<Self, BindError> {
        Self::bind_with(address, responder, ServeLimits::default())
    }

    /// As [`Self::bind`] with other limits.
    pub fn bind_with(address: SocketAddr, responder: Arc<Responder>, limits: ServeLimits) -> Result<Self, BindError> {
        Self::bind_configured(address, responder, limits, UdpConfig::default())
    }

    /// As [`Self::bind`] with other limits, and with wishes for datagrams.
    pub fn bind_configured(
        address: SocketAddr,
        responder: Arc<Responder>,
        limits: ServeLimits,
        config: UdpConfig,
    ) -> Result<Self, BindError> {
        Self::serve(DnsSockets::bind(address, &config)?, responder, limits, config)
    }

    /// Serves on sockets that listen already.
    pub fn serve(
        sockets: DnsSockets,
        responder: Arc<Responder>,
        limits: ServeLimits,
        config: UdpConfig,
    ) -> Result<Self, BindError> {
        let DnsSockets { local_addr, udp: sockets, tcp } = sockets;
        responder.listens_on(local_addr);
        responder.lets_idle(limits.idle);
        let udp = UdpServer::start(sockets, responder.clone(), config).map_err(|source| BindError {
            protocol: "UDP",
            address: local_addr,
            source,
        })?;
        let tasks = vec![tokio::spawn(serve_tcp(tcp, responder, limits))];
        Ok(Self { local_addr, udp, tasks })
    }

    /// What became of the datagrams until now.
    pub fn counts(&self) -> DnsCounts {
        self.udp.meter().counts()
    }

    /// Reads the same from elsewhere.
    pub fn meter(&self) -> DnsMeter {
        self.udp.meter().clone()
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

fn listen(address: SocketAddr, sockets: usize) -> Result<(Vec<UdpSocket>, TcpListener, SocketAddr), BindError> {
    let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        let tcp = listen_tcp(address).map_err(|source| BindError { protocol: "TCP", address, source })?;
        let local = tcp.local_addr().map_err(|source| BindError { protocol: "TCP", address, source })?;
        match listen_udp(local, sockets) {
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

pub(crate) fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for closed connections to be forgotten; two listeners are refused all the same.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(ACCEPT_QUEUE)?;
    TcpListener::from_std(socket.into())
}
