//! Everything between nodes: one QUIC endpoint, mutual TLS from the cluster's own CA, calls, pushes and datagrams.
//!
//! There is no plaintext path and no switch to make one. What a message means is none of this crate's business: it
//! carries bytes on named lanes between authenticated nodes, and lets a stranger with a join token call one lane only.
//! The socket, the dates and the randomness come from outside, so that a simulator can supply its own.

mod authority;
mod connection_id;
mod endpoint;
mod key;
mod peer;
mod pool;
mod seams;
mod tls;
mod token;

pub use authority::{Authority, CertificateError, SealedAuthority};
pub use endpoint::{Bytes, JoinError, Net, NetConfig, NetError, Service, Unjoined};
pub use key::{NodeKey, PublicKey, sha256};
pub use peer::{CallError, Lane, Peer};
pub use rustls::crypto::CryptoProvider;
pub use seams::{Clock, Entropy, SystemClock, SystemEntropy};
pub use tls::{Identity, TlsError, crypto};
pub use token::{InvalidToken, JoinToken};

/// Largest request or reply on any lane: a snapshot of the replicated state is the largest thing that is sent.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Largest datagram: what fits one packet at the pinned MTU of 1,200 bytes with room for QUIC's own headers.
pub const DATAGRAM_BYTES_MAX: usize = 1_120;
