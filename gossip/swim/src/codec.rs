//! The ring's packets as bytes, and what can be learnt from watching Foca encode and decode them.
//!
//! A header names its receiver without the address, which the receiver knows: 32 bytes for a probe without news. Foca
//! has no notification of suspicion, of a probe or of its own incarnation, but all of these pass through its codec.

use crate::{Identity, Incarnation};
use bytes::{Buf, BufMut};
use foca::{Codec, Header, Member, Message, State};
use serde::{Deserialize, Serialize};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
};
use taffeta_model::NodeId;

/// Fixed width: ids are hashes, for which a variable width costs more.
type WireId = [u8; 8];

#[derive(Serialize, Deserialize)]
pub(crate) struct WireIdentity(WireId, u64, u32, SocketAddr);

#[derive(Serialize, Deserialize)]
pub(crate) enum WireMessage {
    Ping(u8),
    Ack(u8),
    PingReq(WireIdentity, u8),
    IndirectPing(WireIdentity, u8),
    IndirectAck(WireIdentity, u8),
    ForwardedAck(WireIdentity, u8),
    Announce,
    Feed,
    Gossip,
    Broadcast,
    TurnUndead,
}

#[derive(Serialize, Deserialize)]
struct WireHeader {
    src: WireIdentity,
    src_incarnation: u16,
    dst: (WireId, u64, u32),
    message: WireMessage,
}

#[derive(Serialize, Deserialize)]
struct WireMember(WireIdentity, u16, u8);

impl From<&Identity> for WireIdentity {
    fn from(i: &Identity) -> Self {
        Self(i.id.0.to_be_bytes(), i.incarnation.start, i.incarnation.renewal, i.address)
    }
}

impl From<WireIdentity> for Identity {
    fn from(WireIdentity(id, start, renewal, address): WireIdentity) -> Self {
        Self { id: NodeId(u64::from_be_bytes(id)), address, incarnation: Incarnation { start, renewal } }
    }
}

/// Why bytes are no header or member.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("no room left in the packet")]
    NoRoom(#[from] io::Error),
    #[error("not in the format of this version")]
    Format(#[from] postcard::Error),
    #[error("an unknown state of a member: {0}")]
    UnknownState(u8),
}

fn put(value: &impl Serialize, buf: impl BufMut) -> Result<(), CodecError> {
    postcard::to_io(value, buf.writer()).map(drop).map_err(CodecError::Format)
}

fn take<T: for<'a> Deserialize<'a>>(mut buf: impl Buf) -> Result<T, CodecError> {
    let (value, rest) = postcard::take_from_bytes(buf.chunk())?;
    let taken = buf.chunk().len() - rest.len();
    buf.advance(taken);
    Ok(value)
}

pub(crate) fn put_header(header: &Header<Identity>, buf: impl BufMut) -> Result<(), CodecError> {
    let dst = &header.dst;
    let message = match &header.message {
        Message::Ping(n) => WireMessage::Ping(*n),
        Message::Ack(n) => WireMessage::Ack(*n),
        Message::PingReq { target, probe_number } => WireMessage::PingReq(target.into(), *probe_number),
        Message::IndirectPing { origin, probe_number } => WireMessage::IndirectPing(origin.into(), *probe_number),
        Message::IndirectAck { target, probe_number } => WireMessage::IndirectAck(target.into(), *probe_number),
        Message::ForwardedAck { origin, probe_number } => WireMessage::ForwardedAck(origin.into(), *probe_number),
        Message::Announce => WireMessage::Announce,
        Message::Feed => WireMessage::Feed,
        Message::Gossip => WireMessage::Gossip,
        Message::Broadcast => WireMessage::Broadcast,
        Message::TurnUndead => WireMessage::TurnUndead,
    };
    let wire = WireHeader {
        src: (&header.src).into(),
        src_incarnation: header.src_incarnation,
        dst: (dst.id.0.to_be_bytes(), dst.incarnation.start, dst.incarnation.renewal),
        message,
    };
    put(&wire, buf)
}

/// Reads a header that came to `me`.
pub(crate) fn take_header(me: &Identity, buf: impl Buf) -> Result<Header<Identity>, CodecError> {
    let wire: WireHeader = take(buf)?;
    let (id, start, renewal) = wire.dst;
    let id = NodeId(u64::from_be_bytes(id));
    // The address of another, whom the packet should not have reached, does not matter.
    let address = if id == me.id { me.address } else { SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)) };
    let message = match wire.message {
        WireMessage::Ping(n) => Message::Ping(n),
        WireMessage::Ack(n) => Message::Ack(n),
        WireMessage::PingReq(target, n) => Message::PingReq { target: target.into(), probe_number: n },
        WireMessage::IndirectPing(origin, n) => Message::IndirectPing { origin: origin.into(), probe_number: n },
        WireMessage::IndirectAck(target, n) => Message::IndirectAck { target: target.into(), probe_number: n },
        WireMessage::ForwardedAck(origin, n) => Message::ForwardedAck { origin: origin.into(), probe_number: n },
        WireMessage::Announce => Message::Announce,
        WireMessage::Feed => Message::Feed,
        WireMessage::Gossip => Message::Gossip,
        WireMessage::Broadcast => Message::Broadcast,
        WireMessage::TurnUndead => Message::TurnUndead,
    };
    Ok(Header {
        src: wire.src.into(),
        src_incarnation: wire.src_incarnation,
        dst: Identity { id, address, incarnation: Incarnation { start, renewal } },
        message,
    })
}

pub(crate) fn put_member(member: &Member<Identity>, buf: impl BufMut) -> Result<(), CodecError> {
    let state = match member.state() {
        State::Alive => 0,
        State::Suspect => 1,
        State::Down => 2,
    };
    put(&WireMember(member.id().into(), member.incarnation(), state), buf)
}

pub(crate) fn take_member(buf: impl Buf) -> Result<Member<Identity>, CodecError> {
    let WireMember(id, incarnation, state) = take(buf)?;
    let state = match state {
        0 => State::Alive,
        1 => State::Suspect,
        2 => State::Down,
        unknown => return Err(CodecError::UnknownState(unknown)),
    };
    Ok(Member::new(id.into(), incarnation, state))
}

/// Foca has no word for a farewell: a member that leaves calls itself down with as many refutations as no living one
/// has, and so it is passed on.
pub(crate) const FAREWELL: u16 = u16::MAX;

/// A probe under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    pub(crate) target: Identity,
    pub(crate) number: u8,
    /// Directly, or through another.
    pub(crate) answered: bool,
}

/// What passed through the codec.
pub(crate) struct Notes {
    pub(crate) me: Identity,
    /// How many suspicions this node has refuted under its present identity, as last told to anyone.
    pub(crate) refutations: u16,
    /// Foca encodes each update that it has applied, to pass it on: so these are the changes of its table.
    pub(crate) applied: Vec<Member<Identity>>,
    /// The last header began a list of members as they are. Foca sends it last of all that a call makes it do.
    listing: bool,
    pub(crate) probe: Option<Probe>,
    /// What this node says of itself now is its farewell.
    pub(crate) leaving: bool,
}

/// Foca's codec.
#[derive(Clone)]
pub(crate) struct RingCodec(Arc<Mutex<Notes>>);

impl RingCodec {
    pub(crate) fn new(me: Identity) -> Self {
        let notes = Notes { me, refutations: 0, applied: Vec::new(), listing: false, probe: None, leaving: false };
        Self(Arc::new(Mutex::new(notes)))
    }

    pub(crate) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().expect("no panic while notes are held")
    }

    /// A call into Foca begins.
    pub(crate) fn begin(&self) {
        self.notes().listing = false;
    }
}

impl Codec<Identity> for RingCodec {
    type Error = CodecError;

    fn encode_header(&mut self, header: &Header<Identity>, buf: impl BufMut) -> Result<(), CodecError> {
        let mut notes = self.notes();
        notes.listing = header.message == Message::Feed;
        notes.refutations = header.src_incarnation;
        if let Message::Ping(number) = header.message {
            notes.probe = Some(Probe { target: header.dst, number, answered: false });
        }
        put_header(header, buf)
    }

    fn decode_header(&mut self, buf: impl Buf) -> Result<Header<Identity>, CodecError> {
        let mut notes = self.notes();
        let header = take_header(&notes.me, buf)?;
        let answers = match &header.message {
            Message::Ack(number) => Some((header.src, *number)),
            Message::ForwardedAck { origin, probe_number } => Some((*origin, *probe_number)),
            Message::Ping(_)
            | Message::PingReq { .. }
            | Message::IndirectPing { .. }
            | Message::IndirectAck { .. }
            | Message::Announce
            | Message::Feed
            | Message::Gossip
            | Message::Broadcast
            | Message::TurnUndead => None,
        };
        if let (Some(probe), Some((who, number))) = (&mut notes.probe, answers) {
            probe.answered |= probe.target == who && probe.number == number;
        }
        Ok(header)
    }

    fn encode_member(&mut self, member: &Member<Identity>, buf: impl BufMut) -> Result<(), CodecError> {
        let mut notes = self.notes();
        if !notes.listing {
            notes.applied.push(member.clone());
        }
        if notes.leaving && *member.id() == notes.me && member.state() == State::Down {
            return put_member(&Member::new(notes.me, FAREWELL, State::Down), buf);
        }
        put_member(member, buf)
    }

    fn decode_member(&mut self, buf: impl Buf) -> Result<Member<Identity>, CodecError> {
        take_member(buf)
    }
}
