//! Finding a port that nobody uses.

use std::net::{IpAddr, TcpListener, UdpSocket};

/// Most candidates that are tried: a machine where so many in a row are taken has another problem.
const CANDIDATES_MAX: usize = 1000;

/// The first of the candidates that nobody uses, TCP or UDP, on `addr`; give the unspecified address to ask for all of
/// the machine's. Nothing is reserved: by the time a task binds it, it may be taken, and the next attempt gets another.
pub fn free_port(candidates: impl Iterator<Item = u16>, addr: IpAddr) -> Option<u16> {
    let free = |port: &u16| TcpListener::bind((addr, *port)).is_ok() && UdpSocket::bind((addr, *port)).is_ok();
    candidates.filter(|port| *port != 0).take(CANDIDATES_MAX).find(free)
}
