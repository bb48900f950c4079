//! Why the server could not listen.

use std::{io, net::SocketAddr};
use thiserror::Error;

/// The server does not listen; nothing was left open. The text says where and what to do.
#[derive(Debug, Error)]
#[error("cannot listen for DNS on {protocol} {address}: {}", advice(.source))]
pub struct BindError {
    /// `UDP` or `TCP`.
    pub protocol: &'static str,
    /// The address that was wanted.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program has this port; stop it or choose another with --dns",
        io::ErrorKind::PermissionDenied => {
            "not permitted; ports below 1024 need root or CAP_NET_BIND_SERVICE, or choose a higher one with --dns"
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have the address; choose one of its own with --dns",
        _ => "the system refused it; choose another address with --dns",
    }
}
