//! recvmmsg(2) and sendmmsg(2), and the address that was asked (ip(7), `IP_PKTINFO`).

use super::batch::{BATCH, Envelope, QueryRoom, Received};
use nix::{
    cmsg_space, libc,
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrIn, SockaddrIn6, SockaddrLike,
        SockaddrStorage, recvmmsg, sendmsg, setsockopt, sockopt,
    },
};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket},
    os::fd::AsRawFd,
    sync::atomic::{AtomicBool, Ordering},
};

/// Full batches from one question after lost datagrams to the next: the answer needs headers made anew.
const FULL_BATCHES: u32 = 8;

/// The address that a query was sent to.
#[derive(Clone, Copy)]
pub(crate) enum Local {
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
}

/// Receives many datagrams at once.
pub(crate) struct Many {
    headers: Headers,
    /// Whether the socket has several addresses.
    is_wildcard: bool,
    /// Full batches since the headers were made.
    full: u32,
}

/// Addresses of the kernel's two forms.
enum Headers {
    V4(MultiHeaders<SockaddrIn>),
    V6(MultiHeaders<SockaddrIn6>),
}

impl Many {
    pub(crate) fn new(bound: SocketAddr) -> Self {
        Self { headers: Headers::new(bound.is_ipv4()), is_wildcard: bound.ip().is_unspecified(), full: 0 }
    }

    /// Waits for one datagram, and takes up to [`BATCH`] that are there.
    pub(crate) fn receive(
        &mut self,
        socket: &UdpSocket,
        queries: &mut [QueryRoom],
        envelopes: &mut [Envelope; BATCH],
        stopped: &AtomicBool,
    ) -> io::Result<Received> {
        if self.full >= FULL_BATCHES {
            // The kernel writes into the headers how much it told. Only new ones have room for the count of losses.
            self.headers = Headers::new(matches!(self.headers, Headers::V4(_)));
            self.full = 0;
        }
        let wildcard = self.is_wildcard;
        let received = match &mut self.headers {
            Headers::V4(headers) => receive(socket, headers, queries, envelopes, stopped, wildcard, v4),
            Headers::V6(headers) => receive(socket, headers, queries, envelopes, stopped, wildcard, v6),
        }?;
        self.full += u32::from(received.count == BATCH);
        Ok(received)
    }
}

impl Headers {
    fn new(is_v4: bool) -> Self {
        if is_v4 {
            Self::V4(MultiHeaders::preallocate(BATCH, Some(cmsg_space!(libc::in_pktinfo, u32))))
        } else {
            Self::V6(MultiHeaders::preallocate(BATCH, Some(cmsg_space!(libc::in6_pktinfo, u32))))
        }
    }
}

fn v4(address: &SockaddrIn) -> SocketAddr {
    SocketAddrV4::from(*address).into()
}

fn v6(address: &SockaddrIn6) -> SocketAddr {
    SocketAddrV6::from(*address).into()
}

fn receive<S: SockaddrLike + Copy>(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<S>,
    queries: &mut [QueryRoom],
    envelopes: &mut [Envelope; BATCH],
    stopped: &AtomicBool,
    is_wildcard: bool,
    address: impl Fn(&S) -> SocketAddr,
) -> io::Result<Received> {
    let mut rooms = queries.iter_mut();
    let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
        std::array::from_fn(|_| [IoSliceMut::new(&mut rooms.next().expect("as many as in a batch").0)]);
    let flags = MsgFlags::MSG_WAITFORONE;
    let messages = recvmmsg(socket.as_raw_fd(), headers, slices.iter_mut(), flags, None)?;
    let mut received = Received::default();
    // A socket that is shut down gives messages that nobody sent.
    if stopped.load(Ordering::Acquire) {
        return Ok(received);
    }
    for (envelope, message) in envelopes.iter_mut().zip(messages) {
        let Some(client) = message.address.as_ref().map(&address) else { continue };
        *envelope = Envelope { client, query_len: message.bytes, reply_len: 0, local: None };
        if is_wildcard {
            envelope.local = local(&message);
        }
        if received.count + 1 == BATCH {
            received.lost = lost(&message);
        }
        received.count += 1;
    }
    Ok(received)
}

fn local<S>(message: &RecvMsg<'_, '_, S>) -> Option<Local> {
    message.cmsgs().ok()?.find_map(|told| match told {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(Local::V4(info)),
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(Local::V6(info)),
        _ => None, // the kernel's, of which there are many
    })
}

fn lost<S>(message: &RecvMsg<'_, '_, S>) -> Option<u32> {
    message.cmsgs().ok()?.find_map(|told| match told {
        ControlMessageOwned::RxqOvfl(lost) => Some(lost),
        _ => None, // the kernel's, of which there are many
    })
}

/// Sends replies; gives the number of those that could not be sent. One that the kernel refuses does not hold up the
/// others.
pub(crate) fn send_many<'a>(socket: &UdpSocket, replies: impl Iterator<Item = (&'a [u8], &'a Envelope)>) -> usize {
    let (mut together, mut failed) = (Vec::with_capacity(BATCH), 0);
    for (reply, envelope) in replies {
        match envelope.local {
            None => together.push((SocketAddrAny::from(envelope.client), [IoSlice::new(reply)])),
            Some(local) => failed += usize::from(send_from(socket, reply, envelope.client, local).is_err()),
        }
    }
    failed + send_together(socket, &together)
}

fn send_together(socket: &UdpSocket, replies: &[(SocketAddrAny, [IoSlice<'_>; 1])]) -> usize {
    let mut nothing: Vec<SendAncillaryBuffer<'_, '_, '_>> =
        replies.iter().map(|_| SendAncillaryBuffer::default()).collect();
    let mut headers: Vec<MMsgHdr<'_>> = replies
        .iter()
        .zip(&mut nothing)
        .map(|((client, reply), nothing)| MMsgHdr::new_with_addr(client, reply, nothing))
        .collect();
    let (mut rest, mut failed) = (&mut headers[..], 0);
    while !rest.is_empty() {
        // The first one's failure is told, the others' end the call early.
        let done = match sendmmsg(socket, rest, SendFlags::DONTWAIT) {
            Ok(sent) => sent.max(1),
            Err(_) => {
                failed += 1;
                1
            }
        };
        rest = &mut rest[done..];
    }
    failed
}

/// From the address that was asked. sendmmsg(2) has no safe form that tells each message's.
fn send_from(socket: &UdpSocket, reply: &[u8], client: SocketAddr, local: Local) -> nix::Result<()> {
    let (slice, flags, client) = ([IoSlice::new(reply)], MsgFlags::MSG_DONTWAIT, SockaddrStorage::from(client));
    let fd = socket.as_raw_fd();
    match local {
        Local::V4(info) => {
            // The route decides over the interface.
            let info = libc::in_pktinfo { ipi_ifindex: 0, ..info };
            sendmsg(fd, &slice, &[ControlMessage::Ipv4PacketInfo(&info)], flags, Some(&client))
        }
        Local::V6(info) => sendmsg(fd, &slice, &[ControlMessage::Ipv6PacketInfo(&info)], flags, Some(&client)),
    }
    .map(drop)
}

/// One reply, later, from the address that was asked if that is known.
pub(crate) fn send_later(socket: &UdpSocket, reply: &[u8], envelope: &Envelope) -> io::Result<()> {
    match envelope.local {
        Some(local) => Ok(send_from(socket, reply, envelope.client, local)?),
        None => {
            let address = SocketAddrAny::from(envelope.client);
            Ok(rustix::net::sendto(socket, reply, SendFlags::DONTWAIT, &address).map(drop)?)
        }
    }
}

/// Asks the kernel to tell the address that is asked, if there are several, and how many datagrams were lost.
pub(crate) fn tell_more(socket: &UdpSocket, bound: SocketAddr) -> io::Result<()> {
    setsockopt(socket, sockopt::RxqOvfl, &1)?;
    if bound.ip().is_unspecified() {
        if bound.is_ipv4() {
            setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?;
        } else {
            setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        }
    }
    Ok(())
}
