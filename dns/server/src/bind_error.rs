//! Why the server could not listen.

use std::{io, net::SocketAddr};
use thiserror::Error;

/// The server does not listen; nothing was left open. The text says where and what to do.
#[derive(Debug, Error)]
#[error("cannot listen for DNS on {protocol} {address}: {}", advice(.protocol, .source))]
pub struct BindError {
    /// `UDP`, `TCP`, or which of the encrypted ones.
    pub protocol: &'static str,
    /// The address that was wanted.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

fn advice(protocol: &str, error: &io::Error) -> String {
    let flag = match protocol {
        "DNS over TLS" => "--dns-tls",
        "DNS over HTTPS" => "--dns-https",
        "DNS over QUIC" => "--dns-quic",
        _ => "--dns",
    };
    let (why, what) = match error.kind() {
        io::ErrorKind::AddrInUse => ("another program has this port; stop it or", "another"),
        io::ErrorKind::PermissionDenied => {
            ("not permitted; ports below 1024 need root or CAP_NET_BIND_SERVICE, or", "a higher one")
        }
        io::ErrorKind::AddrNotAvailable => ("this machine does not have the address;", "one of its own"),
        _ => ("the system refused it;", "another address"),
    };
    format!("{why} choose {what} with {flag}")
}
