//! One query to one upstream resolver and its reply.

use crate::query::{HEADER, question_end};
use async_trait::async_trait;
use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

/// Packets that are no reply to our query are passed over, but each is another guess of a forger.
const STRAY_PACKETS_MAX: usize = 32;

/// Reaches upstream resolvers. The caller bounds the time; dropping the future gives the exchange up.
#[async_trait]
pub trait Exchange: Send + Sync + 'static {
    /// Sends a query by UDP and waits for the reply to it; packets that are no reply to it must be ignored.
    async fn udp(&self, upstream: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>>;

    /// The same by TCP.
    async fn tcp(&self, upstream: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>>;
}

/// Real sockets: each exchange has its own, with a port from the kernel that a forger would have to guess.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sockets;

#[async_trait]
impl Exchange for Sockets {
    async fn udp(&self, upstream: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        let any: SocketAddr = match upstream {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(upstream).await?;
        socket.send(query).await?;
        // We ask for at most 1232 bytes; a server that sends more is cut here and the reply is then malformed.
        let mut buffer = vec![0; 4096];
        for _ in 0..STRAY_PACKETS_MAX {
            let len = socket.recv(&mut buffer).await?;
            if is_reply(query, &buffer[..len]) {
                buffer.truncate(len);
                return Ok(buffer);
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "too many packets that are no reply"))
    }

    async fn tcp(&self, upstream: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(upstream).await?;
        let len = u16::try_from(query.len()).map_err(io::Error::other)?;
        stream.write_all(&[&len.to_be_bytes(), query].concat()).await?;
        let mut reply = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut reply).await?;
        Ok(reply)
    }
}

/// Whether a packet is a reply to the query: same id, QR set, and the same question but for its case.
pub(crate) fn is_reply(query: &[u8], reply: &[u8]) -> bool {
    let Some(end) = question_end(query) else { return false };
    if reply.len() < HEADER || reply[..2] != query[..2] || reply[2] & 0x80 == 0 {
        return false;
    }
    // A server that could not read the query leaves the question out (QDCOUNT 0) and gives an error.
    let without_question = reply[4..6] == [0, 0] && reply[3] & 0xf != 0;
    // Type and class are no letters, though they may look so.
    let (name, tail) = query[HEADER..end].split_at(end - HEADER - 4);
    let same = || {
        let echo = reply.get(HEADER..end).map(|e| e.split_at(name.len()));
        reply[4..6] == [0, 1] && echo.is_some_and(|(n, t)| n.eq_ignore_ascii_case(name) && t == tail)
    };
    without_question || same()
}
