//! One UDP socket for QUIC and for sealed datagrams, told apart by a bit of the first byte (RFC 9443).

use crate::{
    counts::{self, Direction},
    sealed::Header,
};
use bytes::Bytes;
use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::sync::mpsc;

/// Set in the first byte of every packet of QUIC, unless both ends agree to grease it, which ours never do.
const QUIC_BIT: u8 = 0x40;

/// Sealed datagrams that wait to be opened: a burst of the ring, or 1.2 MB of an attacker's. More are lost.
const INBOX_MAX: usize = 1_024;

/// QUIC's socket, out of which the sealed datagrams have been taken.
///
/// They are put into an inbox and opened elsewhere: QUIC's endpoint is locked while it reads from its socket, and
/// whatever a packet of the ring sets off may need the endpoint.
#[derive(Debug)]
pub(crate) struct SharedSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    /// Whether it takes addresses of IPv6 only.
    is_v6: bool,
    inbox: mpsc::Sender<Bytes>,
}

impl SharedSocket {
    /// The socket, and where its sealed datagrams come out: those that have the form of one.
    pub(crate) fn new(inner: Arc<dyn AsyncUdpSocket>) -> (Self, mpsc::Receiver<Bytes>) {
        let (inbox, outlet) = mpsc::channel(INBOX_MAX);
        let is_v6 = inner.local_addr().is_ok_and(|address| address.is_ipv6());
        (Self { inner, is_v6, inbox }, outlet)
    }

    /// Sends a datagram now or never.
    pub(crate) fn send(&self, address: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let destination = match address.ip() {
            IpAddr::V4(ip) if self.is_v6 => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
            IpAddr::V4(_) | IpAddr::V6(_) => address,
        };
        let transmit = Transmit { destination, ecn: None, contents: datagram, segment_size: None, src_ip: None };
        self.inner.try_send(&transmit)
    }

    fn take(&self, datagram: &[u8]) {
        if let Err(refused) = Header::read(datagram) {
            return counts::refused(refused.word());
        }
        if self.inbox.try_send(Bytes::copy_from_slice(datagram)).is_err() {
            counts::lost(Direction::In);
        }
    }
}

impl AsyncUdpSocket for SharedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    /// May give buffers of no length, where all was ours. QUIC's endpoint passes over them and counts them as work, so
    /// that it asks again, and yields in time, just as with packets of its own; to ask here again would let a flood of
    /// sealed datagrams hold its task.
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let filled = ready!(self.inner.poll_recv(cx, buffers, metas))?;
        for (buffer, meta) in buffers.iter_mut().zip(metas.iter_mut()).take(filled) {
            meta.len = part(&mut buffer[..meta.len], meta.stride, |datagram| self.take(datagram));
        }
        Poll::Ready(Ok(filled))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

/// Moves QUIC's packets to the front of the buffer and hands out the others; gives the bytes that are QUIC's.
///
/// The kernel may have joined datagrams of one sender (GRO): each has `stride` bytes, except that the last may have
/// fewer. Order is kept, so what is left has the same form.
fn part(buffer: &mut [u8], stride: usize, mut hand_out: impl FnMut(&[u8])) -> usize {
    let stride = if stride == 0 { buffer.len() } else { stride };
    let (mut start, mut kept) = (0, 0);
    while start < buffer.len() {
        let end = (start + stride).min(buffer.len());
        if buffer[start] & QUIC_BIT == 0 {
            hand_out(&buffer[start..end]);
        } else {
            buffer.copy_within(start..end, kept);
            kept += end - start;
        }
        start = end;
    }
    kept
}

#[cfg(test)]
mod tests;
