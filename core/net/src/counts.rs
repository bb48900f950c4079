//! What is counted, by name: for whoever watches the node's metrics.

use metrics::counter;

/// What a datagram carries, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A packet of the ring in a QUIC datagram, on a live connection.
    Quic,
    /// A packet of the ring in a sealed datagram, without a connection.
    Sealed,
    /// A small call or its reply, in a sealed datagram.
    Call,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    In,
    Out,
}

impl Direction {
    fn word(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

/// A datagram went out or was delivered; `bytes` is its contents alone.
pub(crate) fn datagram(way: Way, direction: Direction, bytes: usize) {
    let way = match way {
        Way::Quic => "quic",
        Way::Sealed => "sealed",
        Way::Call => "call",
    };
    counter!("taffeta_net_datagrams_total", "way" => way, "direction" => direction.word()).increment(1);
    counter!("taffeta_net_datagram_bytes_total", "way" => way, "direction" => direction.word()).increment(bytes as u64);
}

/// A sealed datagram was lost at this node, for want of room in a queue or in the socket.
pub(crate) fn lost(direction: Direction) {
    counter!("taffeta_net_lost_total", "direction" => direction.word()).increment(1);
}

/// A datagram was refused.
pub(crate) fn refused(reason: &'static str) {
    counter!("taffeta_net_refused_total", "reason" => reason).increment(1);
}

/// What became of a first packet of a connection that somebody dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The handshake began.
    Accepted,
    /// The sender was asked to show that it receives at its address.
    Retried,
    /// It was passed over in silence.
    Ignored,
    /// The handshake failed, or who came of it was sent away.
    Refused,
}

/// Somebody dials. Who is refused was accepted before.
pub(crate) fn incoming(fate: Fate) {
    let fate = match fate {
        Fate::Accepted => "accepted",
        Fate::Retried => "retried",
        Fate::Ignored => "ignored",
        Fate::Refused => "refused",
    };
    counter!("taffeta_net_incoming_total", "fate" => fate).increment(1);
}
