//! What is counted, by name: for whoever watches the node's metrics.

use metrics::{Counter, counter};

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

impl Way {
    fn word(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Sealed => "sealed",
            Self::Call => "call",
        }
    }
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

/// The datagrams of a node. The counters are looked up by their names once: in an idle ring they count dozens of times a
/// second, and little else happens then.
pub(crate) struct Datagrams(Vec<(Way, Direction, Counter, Counter)>);

impl Datagrams {
    /// Counters of the recorder that is installed now.
    pub(crate) fn new() -> Self {
        let ways = [Way::Quic, Way::Sealed, Way::Call];
        let counters =
            ways.into_iter().flat_map(|way| [Direction::In, Direction::Out].map(|direction| (way, direction)));
        let counters = counters.map(|(way, direction)| {
            let (on, to) = (way.word(), direction.word());
            let datagrams = counter!("taffeta_net_datagrams_total", "way" => on, "direction" => to);
            (way, direction, datagrams, counter!("taffeta_net_datagram_bytes_total", "way" => on, "direction" => to))
        });
        Self(counters.collect())
    }

    /// One went out or was delivered; `bytes` is its contents alone.
    pub(crate) fn count(&self, way: Way, direction: Direction, bytes: usize) {
        let of = self.0.iter().find(|(on, to, ..)| (*on, *to) == (way, direction));
        let (.., datagrams, all_bytes) = of.expect("there are counters for each way in each direction");
        datagrams.increment(1);
        all_bytes.increment(bytes as u64);
    }
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
