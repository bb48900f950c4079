//! The seams: everything through which a node touches the world. A simulator supplies its own.

use crate::{
    client::{http_probe, http_read, tcp_probe},
    folder::Folder,
};
use async_trait::async_trait;
use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use taffeta_dns_server::Upstreams;
use taffeta_isolation_plan::Executor;
use taffeta_net::{Clock, Entropy, FabricSocket};
use taffeta_store::{Driver, Files, Sizes};

/// What a node is put into. The real one is made by [`crate::Fabric::start`]; any other goes to
/// [`crate::Fabric::start_in`].
pub struct World {
    /// The date.
    pub clock: Arc<dyn Clock>,
    /// Keys, secrets, seeds.
    pub entropy: Arc<dyn Entropy>,
    /// Cipher suites and the randomness of TLS.
    pub crypto: Arc<taffeta_net::CryptoProvider>,
    /// The fabric's UDP socket, bound.
    pub socket: Arc<dyn quinn::AsyncUdpSocket>,
    /// Small files.
    pub folder: Arc<dyn Folder>,
    /// The log's files.
    pub log: Arc<dyn Files>,
    /// Their sizes.
    pub log_sizes: Sizes,
    /// Who writes the log.
    pub driver: Driver,
    /// Starts and ends processes.
    pub executor: Arc<dyn Executor>,
    /// Health checks over the network.
    pub prober: Arc<dyn Prober>,
    /// Who is asked about names outside of the fabric.
    pub upstreams: Upstreams,
    /// Where the API's socket file is put; `None`: there is none.
    pub api_socket: Option<PathBuf>,
    /// Folder that comes first in the search path of tasks.
    pub programs: Option<PathBuf>,
    /// Entries of the log from one snapshot to the next.
    pub snapshot_every: u64,
}

/// Health checks over the network, and ports.
#[async_trait]
pub trait Prober: Send + Sync + 'static {
    /// GET of a path; the reason in words if it does not answer with 200 to 399 in time.
    async fn http(&self, address: SocketAddr, path: &str, limit: Duration) -> Result<(), String>;
    /// The body that a GET of a path is answered with, of at most `bytes_max`; the reason in words if there is none in time.
    async fn read(&self, address: SocketAddr, path: &str, bytes_max: usize, limit: Duration)
    -> Result<Vec<u8>, String>;
    /// A TCP connection.
    async fn tcp(&self, address: SocketAddr, limit: Duration) -> Result<(), String>;
    /// Whether nobody listens on the port, on any address of the machine.
    fn is_free(&self, port: u16) -> bool;
}

/// The machine's network.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemProber;

#[async_trait]
impl Prober for SystemProber {
    async fn http(&self, address: SocketAddr, path: &str, limit: Duration) -> Result<(), String> {
        http_probe(address, path, limit).await
    }

    async fn read(
        &self,
        address: SocketAddr,
        path: &str,
        bytes_max: usize,
        limit: Duration,
    ) -> Result<Vec<u8>, String> {
        http_read(address, path, bytes_max, limit).await
    }

    async fn tcp(&self, address: SocketAddr, limit: Duration) -> Result<(), String> {
        tcp_probe(address, limit).await
    }

    fn is_free(&self, port: u16) -> bool {
        let any = (Ipv4Addr::UNSPECIFIED, port);
        TcpListener::bind(any).is_ok() && UdpSocket::bind(any).is_ok()
    }
}

/// Binds the fabric's UDP socket for real, with buffers that outlast a burst.
pub(crate) fn bind_socket(address: SocketAddr) -> io::Result<Arc<dyn quinn::AsyncUdpSocket>> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::DGRAM, None)?;
    let _ = socket.set_recv_buffer_size(1 << 20); // what the kernel allows is good enough
    let _ = socket.set_send_buffer_size(1 << 20);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(Arc::new(FabricSocket::new(socket.into())?))
}
