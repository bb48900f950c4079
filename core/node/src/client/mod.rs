//! How a program speaks to a node: one method for each verb, over TCP with a token or over the node's own socket.
//!
//! One connection a request: callers are command lines and nodes that pass a verb on, to whom a pool would be one more
//! thing that can be stale. Left out: TLS (the API is for loopback and trusted networks; between nodes there is QUIC),
//! and any retry, which only the caller can know to be safe.

mod connect;
mod exec;
mod probe;
mod read;
mod stream;
mod target;
mod unix;
mod verbs;
pub(crate) mod websocket;

#[cfg(test)]
mod tests;

pub use exec::{ExecReceiver, ExecSender};
pub use probe::{http_probe, tcp_probe};
pub use read::http_read;
pub use stream::{ByteStream, EventStream, LogStream, Received};
pub use target::ApiTarget;
pub use verbs::ApiClient;

pub(crate) use unix::ShortPath;
