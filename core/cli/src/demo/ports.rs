//! Whether the demo's addresses are free: another demo, or a real node, may have them.

use crate::failure::{Failure, Outcome};
use std::{
    io,
    net::{Ipv4Addr, TcpListener, UdpSocket},
};
use taffeta_node::{DNS_PORT, FABRIC_PORT, HTTP_PORT};

/// Fails if one of the ports of these nodes is taken. Nothing has been started yet.
pub(super) fn ensure_free(nodes: u8) -> Outcome {
    for number in 1..=nodes {
        let ip = Ipv4Addr::new(127, 0, 0, number);
        let tried = [
            (FABRIC_PORT, "UDP", UdpSocket::bind((ip, FABRIC_PORT)).map(drop)),
            (HTTP_PORT, "TCP", TcpListener::bind((ip, HTTP_PORT)).map(drop)),
            (DNS_PORT, "UDP", UdpSocket::bind((ip, DNS_PORT)).map(drop)),
            (DNS_PORT, "TCP", TcpListener::bind((ip, DNS_PORT)).map(drop)),
        ];
        for (port, protocol, bound) in tried {
            bound.map_err(|e| taken(&format!("{protocol} {ip}:{port}"), &e))?;
        }
    }
    Ok(())
}

fn taken(address: &str, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::AddrInUse {
        return Failure::failed(format!("{address} is in use: another demo or node runs on this machine"))
            .help("end it first; `ss -lnptu` shows who listens");
    }
    Failure::failed(format!("cannot listen on {address}: {error}"))
}
