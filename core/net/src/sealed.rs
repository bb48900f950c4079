//! Sealed datagrams: packets of the ring to peers without a connection, and small calls to those with one, encrypted and
//! authenticated without a handshake.
//!
//! A probe of a random member of a large cluster meets a peer that was last spoken to minutes ago. A handshake for each
//! costs a millisecond of CPU and a round trip, and loses the probe's time limit to one lost packet. Here two nodes that
//! know one another's public key share a secret already: X25519 (RFC 7748) between the keys that their Ed25519
//! identities give (birational map, RFC 7748 section 4.1; that one key pair may serve both is shown by Thormarker, "On
//! using the same key pair for Ed25519 and an X25519 based KEM", 2021). From it HKDF (RFC 5869) draws one key for each
//! cluster, direction and session of the sender, and ChaCha20-Poly1305 (RFC 8439) seals under it.
//!
//! ```text
//! kind | sender 8 | start 6 | session random 8 | counter 6 | ciphertext | tag 16        (integers big-endian)
//! ```
//!
//! The whole header is authenticated. The kind is 0x11 for a packet of the ring, 0x12 for a small call, 0x13 for the
//! reply to one; a node from before there were calls takes those for malformed. The first byte has the bit 0x40 clear,
//! which every QUIC packet has set (RFC 9443), and so both share one socket.
//!
//! **Nonces.** The counter goes up with each datagram that leaves, to whomever; a session begins at each start of the
//! process, with a higher start counter and fresh randomness. So no key meets a counter twice, not even if a copy of
//! the data folder runs elsewhere: its randomness differs, hence its keys.
//!
//! **What an attacker on the network can do:** see who sends to whom, how much and when; drop, delay and repeat
//! datagrams. A repeated one is refused within the receiver's memory: the newest session of each sender and the last 64
//! counters in it, and nothing older. That memory ends with the receiver's process, or when it forgets the sender: before
//! the sender is heard again, a datagram recorded earlier passes once more. It is then old news of the ring, which
//! incarnation numbers refute, or a call that does no harm when it is made twice, and the first authentic datagram of a
//! newer session or counter ends it. **What they cannot do:** read or alter a packet, invent one, turn one round or to
//! another receiver or cluster, or make us send to an address of their choice: the source address of a datagram is never
//! looked at, and replies go where the ring knows the node to be. An unknown sender costs a table look-up, a forged seal
//! one decryption, one of a newer session two derivations of keys besides, and, once for each known peer, one X25519.
//!
//! **What is missing on purpose:** forward secrecy. Who obtains a node's key can read the ring's packets it has
//! exchanged, which hold names, addresses and liveness, and its heartbeats, which hold terms and positions of the log; never
//! secrets.

mod keys;
mod window;

use crate::{
    DATAGRAM_BYTES_MAX,
    key::{NodeKey, PublicKey},
};
use bytes::Bytes;
use keys::{Agreement, Pair, SessionKey};
use ring::hmac;
use std::collections::BTreeMap;
use taffeta_model::{ClusterId, MEMBERS_MAX, NodeId};
use thiserror::Error;
use window::Window;

/// First byte, sender, start, session random, counter.
pub(crate) const HEADER_BYTES: usize = 1 + 8 + 6 + 8 + 6;
/// Tag of Poly1305.
pub(crate) const TAG_BYTES: usize = 16;
/// Largest sealed datagram. With the headers of IPv6 and UDP it fits the pinned MTU of QUIC and every link's.
pub(crate) const SEALED_BYTES_MAX: usize = HEADER_BYTES + DATAGRAM_BYTES_MAX + TAG_BYTES;
/// Start counters and datagram counters have six bytes on the wire: nine years at a million datagrams a second.
const COUNTER_MAX: u64 = (1 << 48) - 1;

/// One life of a sender: its start counter, and randomness against copies of a data folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Session {
    /// The start counter, at most 2^48 - 1.
    pub start: u64,
    /// Drawn at the start of the session.
    pub random: [u8; 8],
}

/// What a sealed datagram holds, told by its first byte, whose bit 0x40 is clear: not QUIC. All are of version 1, the only
/// one so far: whoever speaks a later version of the protocol takes them, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A packet of the ring.
    Packet,
    /// A small call.
    Call,
    /// The reply to one.
    Reply,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Packet, Self::Call, Self::Reply];

    fn byte(self) -> u8 {
        match self {
            Self::Packet => 0x11,
            Self::Call => 0x12,
            Self::Reply => 0x13,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.byte() == byte)
    }
}

/// What precedes the ciphertext. Nothing in it may be believed before the seal is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What is sealed.
    pub kind: Kind,
    /// Who claims to have sent it.
    pub sender: NodeId,
    /// The sender's session.
    pub session: Session,
    /// Number of the datagram in the session, at most 2^48 - 1.
    pub counter: u64,
}

/// Why a datagram was refused. Nothing was changed and nothing is sent back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Refused {
    /// It has not the form of a sealed datagram.
    #[error("it is no sealed datagram")]
    Malformed,
    /// It is larger than any that a node sends.
    #[error("it is too large")]
    Oversized,
    /// No key is known for the sender.
    #[error("no key is known for its sender")]
    UnknownSender,
    /// The seal does not open: another key, another cluster, or altered on the way.
    #[error("its seal does not open")]
    BadSeal,
    /// It was here before, or is too late to tell.
    #[error("it was here before")]
    Replay,
    /// The sender has been heard in a newer session, or in another one of the same start.
    #[error("its session is over")]
    OldSession,
}

/// Why a key was not taken. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum KeyRefused {
    /// The node's id is not the hash of the key.
    #[error("the key is not that of node {0}")]
    NotTheNodes(NodeId),
    /// As many keys are known as a cluster may have members.
    #[error("{MEMBERS_MAX} keys are known, and forgetting one must come first")]
    TooMany,
}

impl Refused {
    /// One word for counting.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Oversized => "oversized",
            Self::UnknownSender => "unknown_sender",
            Self::BadSeal => "bad_seal",
            Self::Replay => "replay",
            Self::OldSession => "old_session",
        }
    }
}

impl Header {
    /// Reads the header of a whole datagram, and checks the datagram's form and size.
    pub fn read(datagram: &[u8]) -> Result<Self, Refused> {
        if datagram.len() > SEALED_BYTES_MAX {
            return Err(Refused::Oversized);
        }
        let (header, sealed) = datagram.split_first_chunk::<HEADER_BYTES>().ok_or(Refused::Malformed)?;
        let kind = Kind::from_byte(header[0]).filter(|_| sealed.len() >= TAG_BYTES).ok_or(Refused::Malformed)?;
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte));
        let random = header[15..23].try_into().expect("eight bytes");
        Ok(Self {
            kind,
            sender: NodeId(number(&header[1..9])),
            session: Session { start: number(&header[9..15]), random },
            counter: number(&header[23..29]),
        })
    }

    fn write(self) -> [u8; HEADER_BYTES] {
        let mut header = [self.kind.byte(); HEADER_BYTES];
        header[1..9].copy_from_slice(&self.sender.0.to_be_bytes());
        header[9..15].copy_from_slice(&self.session.start.to_be_bytes()[2..]);
        header[15..23].copy_from_slice(&self.session.random);
        header[23..29].copy_from_slice(&self.counter.to_be_bytes()[2..]);
        header
    }
}

/// Seals and opens. A machine without I/O; the datagrams come and go elsewhere.
pub(crate) struct Seals {
    me: NodeId,
    agreement: Agreement,
    /// Draws the randomness of sessions.
    seed: hmac::Key,
    drawn: u64,
    session: Session,
    /// Number of the next datagram of the session. One for all peers: a peer that is forgotten and met again cannot set
    /// it back.
    counter: u64,
    /// At most [`MEMBERS_MAX`].
    peers: BTreeMap<NodeId, Peer>,
}

struct Peer {
    public: PublicKey,
    /// Made at the first datagram from or to the peer, since it is dear.
    pair: Option<Pair>,
    /// Seals for the peer in our present session.
    sealing: Option<SessionKey>,
    /// The newest session in which the peer was heard.
    heard: Option<Heard>,
}

struct Heard {
    session: Session,
    key: SessionKey,
    window: Window,
}

impl Seals {
    /// `start` must be higher than in any earlier life of the node; `seed` must be of this life alone.
    pub(crate) fn new(cluster: ClusterId, key: &NodeKey, seed: &[u8; 32], start: u64) -> Self {
        let mut seals = Self {
            me: key.public().node_id(),
            agreement: Agreement::new(cluster, key),
            seed: hmac::Key::new(hmac::HMAC_SHA256, &[&seed[..], b"sealed sessions"].concat()),
            drawn: 0,
            session: Session { start: 0, random: [0; 8] },
            counter: 0,
            peers: BTreeMap::new(),
        };
        seals.begin_session(start);
        seals
    }

    /// Begins a session of a higher start counter: after the node has learnt that its own was set back, and that others
    /// have heard it in later sessions. A start that is not higher changes nothing.
    pub(crate) fn raise_start(&mut self, start: u64) {
        if start > self.session.start {
            self.begin_session(start);
        }
    }

    fn begin_session(&mut self, start: u64) {
        self.drawn += 1;
        let tag = hmac::sign(&self.seed, &self.drawn.to_be_bytes());
        let random = tag.as_ref()[..8].try_into().expect("8 of 32 bytes");
        self.session = Session { start: start.min(COUNTER_MAX), random };
        self.counter = 0;
        for peer in self.peers.values_mut() {
            peer.sealing = None;
        }
    }

    /// Learns a peer's key. The node's own is passed over.
    pub(crate) fn set_key(&mut self, node: NodeId, public: PublicKey) -> Result<(), KeyRefused> {
        if public.node_id() != node {
            return Err(KeyRefused::NotTheNodes(node));
        }
        let known = self.peers.get(&node).is_some_and(|peer| peer.public == public);
        if known || node == self.me {
            return Ok(());
        }
        if self.peers.len() >= MEMBERS_MAX && !self.peers.contains_key(&node) {
            return Err(KeyRefused::TooMany);
        }
        self.peers.insert(node, Peer { public, pair: None, sealing: None, heard: None });
        Ok(())
    }

    /// Whether a peer's key is known.
    pub(crate) fn knows(&self, node: NodeId) -> bool {
        self.peers.contains_key(&node)
    }

    /// Forgets a peer's key: it is an unknown sender from now on.
    pub(crate) fn forget(&mut self, node: NodeId) {
        self.peers.remove(&node);
    }

    /// Seals what is sent to a peer. `None` if no key is known for it, the packet is too large, or the session is used up.
    pub(crate) fn seal(&mut self, node: NodeId, kind: Kind, packet: &[u8]) -> Option<Vec<u8>> {
        if packet.len() > DATAGRAM_BYTES_MAX || self.counter > COUNTER_MAX {
            return None;
        }
        let peer = self.peers.get_mut(&node)?;
        if peer.sealing.is_none() {
            peer.sealing =
                Some(peer.pair(&self.agreement)?.key_of(&self.agreement.public(), &peer.public, self.session));
        }
        let header = Header { kind, sender: self.me, session: self.session, counter: self.counter };
        self.counter += 1;
        peer.sealing.as_ref().map(|key| key.seal(header.counter, header.write(), packet))
    }

    /// Opens a datagram: gives its sender and what it holds, once.
    pub(crate) fn open(&mut self, datagram: &[u8]) -> Result<(NodeId, Kind, Bytes), Refused> {
        let header = Header::read(datagram)?;
        let peer = self.peers.get_mut(&header.sender).ok_or(Refused::UnknownSender)?;
        let (key, newer) = match &peer.heard {
            Some(heard) if heard.session == header.session => {
                heard.window.check(header.counter)?;
                (heard.key, false)
            }
            Some(heard) if heard.session.start >= header.session.start => return Err(Refused::OldSession),
            Some(_) | None => {
                let pair = peer.pair(&self.agreement).ok_or(Refused::UnknownSender)?;
                (pair.key_of(&peer.public, &self.agreement.public(), header.session), true)
            }
        };
        let (header_bytes, sealed) = datagram.split_at(HEADER_BYTES);
        let packet = key.open(header.counter, header_bytes, sealed).ok_or(Refused::BadSeal)?;
        // Only now, when the seal has opened, may the datagram move what is remembered of its sender.
        if newer {
            peer.heard = Some(Heard { session: header.session, key, window: Window::default() });
        }
        if let Some(heard) = &mut peer.heard {
            heard.window.mark(header.counter);
        }
        Ok((header.sender, header.kind, packet))
    }
}

impl Peer {
    /// The secret shared with the peer. `None` if its key is no point of the curve that gives one.
    fn pair(&mut self, agreement: &Agreement) -> Option<Pair> {
        if self.pair.is_none() {
            self.pair = agreement.pair(&self.public);
        }
        self.pair
    }
}

#[cfg(test)]
mod tests;
