//! Datagrams: one in, at most one out.
//!
//! A thread per core, each with a socket of its own on the same port (`SO_REUSEPORT`: the kernel spreads clients over
//! them), blocks in one system call for a batch of queries, writes the replies from one snapshot, and sends them with
//! another. So replies of one socket never go back to an older snapshot, and between two system calls nothing waits:
//! names of others that are not in the cache become tasks of the runtime, and so do not hold up our own.

mod batch;
mod config;
mod counts;
mod listen;
#[cfg(target_os = "linux")]
mod many;
mod slip;
mod sockets;
mod worker;

#[cfg(test)]
mod tests;

pub use config::UdpConfig;
pub use counts::DnsCounts;
pub(crate) use listen::listen_udp;
pub use sockets::DnsMeter;
pub(crate) use sockets::UdpServer;
