//! Sockets that share a port.

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::{
    io,
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

/// A burst of clients must not overflow the socket while its thread is busy or does not run.
const BUFFER: usize = 1 << 20;
/// A thread sees that it is to stop by the shutdown of its socket. Where the system does not wake it for that, it looks
/// by itself as often as this.
const WAKE: Duration = Duration::from_secs(10);

/// Up to `count` sockets on one address, at least one. Another program that has the port is an error.
pub(crate) fn listen_udp(address: SocketAddr, count: usize) -> io::Result<Vec<UdpSocket>> {
    let first = open(address)?;
    // Without the option, so that the port must be free; with it from now on, so that the others may join.
    first.bind(&address.into())?;
    let mut sockets = vec![finish(first, address)?];
    if count > 1 && share_port(&sockets[0]).is_ok() {
        // One socket serves as well, only slower.
        sockets.extend((1..count).map_while(|_| join(address).ok()));
    }
    Ok(sockets)
}

fn join(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(address)?;
    share_port(&socket)?;
    socket.bind(&address.into())?;
    finish(socket, address)
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // The kernel may give less; what it gives is enough to serve.
    let _ = socket.set_recv_buffer_size(BUFFER);
    let _ = socket.set_send_buffer_size(BUFFER);
    Ok(socket)
}

fn finish(socket: Socket, address: SocketAddr) -> io::Result<UdpSocket> {
    socket.set_read_timeout(Some(WAKE))?;
    let socket = UdpSocket::from(socket);
    #[cfg(target_os = "linux")]
    super::many::tell_more(&socket, address)?;
    #[cfg(not(target_os = "linux"))]
    let _ = address;
    Ok(socket)
}

#[cfg(target_os = "linux")]
fn share_port(socket: &impl std::os::fd::AsFd) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt};
    Ok(setsockopt(socket, sockopt::ReusePort, &true)?)
}

/// Other systems do not spread clients over the sockets of a port.
#[cfg(not(target_os = "linux"))]
fn share_port<S>(_: &S) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Makes whoever waits for the socket return, now and always.
pub(crate) fn stop(socket: &UdpSocket) {
    // A socket without a peer is "not connected", and is shut down all the same.
    let _ = SockRef::from(socket).shutdown(std::net::Shutdown::Both);
}
