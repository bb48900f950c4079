//! Everything between nodes: one QUIC endpoint, mutual TLS from the cluster's own CA, calls, pushes and datagrams.
//!
//! Connections are few and kept while in use. Packets of the ring, which go to peers at random, need none: they go as
//! sealed datagrams on the same socket. So do small calls beside a live connection, to
//! spare idle machines what a stream costs.
//!
//! There is no plaintext path and no switch to make one. What a message means is none of this crate's business: it
//! carries bytes on named lanes between authenticated nodes, and lets a stranger with a join token call one lane only.
//! Nodes are known by the SPIFFE URI of a certificate that lives for a day. What a node shows and believes can change at
//! any time ([`Credentials`]); what a peer may do is decided anew at each call ([`Peer`], [`Lane`]).
//! The socket, the dates and the randomness come from outside, so that a simulator can supply its own.

mod authority;
mod brief;
mod certified;
mod close;
mod connection_id;
mod counts;
mod credentials;
mod endpoint;
mod fabric_socket;
mod faulty_socket;
mod frame;
mod handshakes;
mod key;
mod link;
mod link_faults;
mod net;
mod packed;
mod peer;
mod pool;
mod pulse;
mod quic_runtime;
mod redial;
mod refusal;
mod sealed;
mod seams;
mod serve;
mod shared_socket;
mod stream;
mod talk;
mod tls;
mod token;

pub use authority::{Authority, CROSSES_MAX, CertificateError, Lives, SealedAuthority, signed_by_authority};
pub use credentials::{Credentials, Identity};
pub use endpoint::{Bytes, CONNECTIONS_MAX, JoinError, NetConfig, NetError, Service, Unjoined};
pub use fabric_socket::FabricSocket;
pub use faulty_socket::FaultySocket;
pub use frame::{FRAME_BYTES_MAX, Frame, FrameDecoder, FrameError};
pub use key::{NodeKey, PublicKey, sha256};
pub use link_faults::{LinkFault, LinkFaults, LinkRule, RULES_MAX};
pub use net::Net;
pub use peer::{CallError, Lane, Peer};
pub use quic_runtime::FabricRuntime;
pub use refusal::{Grounds, HOLDERS_MAX, Refusal, RefusedFor};
pub use rustls::crypto::CryptoProvider;
pub use sealed::{Header as SealedHeader, KeyRefused, Kind as SealedKind, Refused, Session};
pub use seams::{Clock, Entropy, SystemClock, SystemEntropy};
pub use stream::{FrameSink, Frames};
pub use talk::{Hears, Talk};
pub use tls::{TlsError, crypto, server_name, spiffe_id};
pub use token::{InvalidToken, JoinToken};

/// Largest request or reply on any lane: a snapshot of the replicated state is the largest thing that is sent.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Largest packet of the ring: what fits one QUIC packet at the pinned MTU of 1,200 bytes beside its headers. Sealed, it
/// has 1,165 bytes.
pub const DATAGRAM_BYTES_MAX: usize = 1_120;

#[cfg(test)]
mod tests;
