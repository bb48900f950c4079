//! Delay, loss, bandwidth, and what the transport costs: figures of `taffeta-net` between two nodes on one machine,
//! counted by a relay between them, and 28 bytes of IPv4 and UDP a packet.
//!
//! Left out: packets that overtake each other within a connection, a limit on what waits for a link.

mod link;

use crate::pool::{DIAL_TIMEOUT, Pool, Way};
use link::{Link, PACKET_US, wire_us};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::time::Duration;
use taffeta_model::Millis;

/// IPv4 and UDP.
const IP_UDP: u64 = 28;
/// What a packet has more that is sealed for a peer without a connection: header, nonce and authentication tag.
const SEAL: u64 = 45;
/// A datagram of 100 bytes makes a packet of 136: header of 1-RTT with an 8 byte connection id, frame, authentication
/// tag. With IPv4 and UDP. Packets of streams have the same within a few bytes.
const OVERHEAD: u64 = 64;
/// A packet that only acknowledges; one comes back for every second packet.
const ACK: u64 = 60;
/// What a packet of a stream carries at the pinned 1,200 bytes.
const STREAM_PAYLOAD: usize = 1_150;
/// What a dial sends: two padded Initials, then certificate, proof and acknowledgements; no session is resumed.
const DIAL: Traffic = Traffic { bytes: 3_600, packets: 4 };
/// What is sent back: a padded Initial, certificate and proof, tickets, connection ids.
const DIAL_ANSWER: Traffic = Traffic { bytes: 1_870, packets: 5 };
/// A first packet again.
const INITIAL: Traffic = Traffic { bytes: 1_228, packets: 1 };
/// A certificate's proof made and checked, at both ends.
const DIAL_WORK: Duration = Duration::from_millis(1);
/// Packets of the first and second flight, of which none may be lost.
const FLIGHT_PACKETS: i32 = 3;
/// After this a lost flight of a dial is repeated (three initial round trips of 50 ms), then after twice that, and so on.
const DIAL_RETRY: Duration = Duration::from_millis(150);
/// After this a lost packet of a stream is repeated: round trip, its variation, and the peer's delay of 25 ms.
const STREAM_RETRY: Duration = Duration::from_millis(35);
/// What a stream may send before the first acknowledgement, and twice as much in each round trip that follows.
const WINDOW: u64 = 12_000;
/// Between two nodes and back, on average.
const ROUND_TRIP: Duration = Duration::from_millis(4);
/// Up to this size a ring dials also for a packet: soon all are connected.
const MESH_MAX: usize = 16;

/// What was sent, acknowledgements and dials included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) bytes: u64,
    pub(crate) packets: u64,
}

/// A stream on which messages arrive in order.
pub(crate) struct Stream {
    from: u32,
    /// When the first byte can leave.
    opened: Millis,
    /// Sent so far, with headers.
    bytes: u64,
    /// When the last message so far arrives.
    arrived: Millis,
}

/// The way between all nodes.
pub(crate) struct Network {
    pool: Pool,
    links: Vec<Link>,
    rng: SmallRng,
    loss: f64,
    datagrams: u64,
    /// Of all nodes together.
    pub(crate) sent: Traffic,
}

impl Network {
    pub(crate) fn new(nodes: usize, loss: f64, seed: u64) -> Self {
        Self {
            pool: Pool::new(nodes),
            links: vec![Link::default(); nodes],
            rng: SmallRng::seed_from_u64(seed),
            loss,
            datagrams: 0,
            sent: Traffic::default(),
        }
    }

    /// When a packet of the ring arrives; `None` if it is lost. It takes a live connection if there is one, else it
    /// goes sealed by itself. `answers`: whether the peer runs, or will run again.
    pub(crate) fn send_packet(
        &mut self,
        now: Millis,
        (from, to): (u32, u32),
        bytes: usize,
        answers: bool,
    ) -> Option<Millis> {
        let way = self.pool.way(now, from, to);
        if way == Way::Dial && self.links.len() <= MESH_MAX {
            self.dial(now, from, to, answers);
        }
        let size = bytes as u64 + if way == Way::Open { OVERHEAD } else { IP_UDP + SEAL };
        self.charge(size, 1);
        if way == Way::Open {
            self.datagrams += 1;
            self.acknowledge(u64::from(self.datagrams.is_multiple_of(2)));
        }
        let leaves = self.links[from as usize].send(now, 1, size);
        (!self.is_lost()).then(|| leaves + self.delay())
    }

    /// When all of a message arrives on a stream of its own; `None` if there is no connection.
    pub(crate) fn send_stream(&mut self, now: Millis, way: (u32, u32), bytes: usize, answers: bool) -> Option<Millis> {
        let mut stream = self.open_stream(now, way, answers)?;
        Some(self.send_part(now, &mut stream, bytes))
    }

    /// A stream for several messages in order; `None` if there is no connection.
    pub(crate) fn open_stream(&mut self, now: Millis, (from, to): (u32, u32), answers: bool) -> Option<Stream> {
        let opened = self.connect(now, from, to, answers)?;
        self.charge(OVERHEAD, 1); // the first packet opens it
        Some(Stream { from, opened, bytes: 0, arrived: opened })
    }

    /// When all of the message has arrived.
    pub(crate) fn send_part(&mut self, now: Millis, stream: &mut Stream, bytes: usize) -> Millis {
        let mut packets = bytes.div_ceil(STREAM_PAYLOAD) as u64;
        let size = bytes as u64 + packets * OVERHEAD;
        stream.bytes += size;
        let leaves = self.links[stream.from as usize].send(now, packets, size).max(stream.opened);
        let paced = stream.opened + self.window_time(stream.bytes).max(Duration::from_micros(wire_us(stream.bytes)));
        let mut arrives = (leaves.max(paced) + self.delay()).max(stream.arrived);
        self.charge(bytes as u64, 0);
        loop {
            self.charge(packets * OVERHEAD, packets);
            self.acknowledge(packets.div_ceil(2));
            packets = (0..packets).filter(|_| self.is_lost()).count() as u64;
            if packets == 0 {
                break;
            }
            self.charge(packets * (STREAM_PAYLOAD as u64).min(bytes as u64), 0);
            arrives = arrives + STREAM_RETRY;
        }
        stream.arrived = arrives;
        arrives
    }

    /// Whether there is a connection at this moment; it counts as traffic.
    pub(crate) fn is_connected(&mut self, now: Millis, (from, to): (u32, u32)) -> bool {
        self.pool.way(now, from, to) == Way::Open
    }

    /// A node's processor takes a message that is so much work beside its packet; `Some` if it is not free before then,
    /// and took nothing.
    pub(crate) fn busy_until(&mut self, now: Millis, at: u32, work_us: u64) -> Option<Millis> {
        let link = &mut self.links[at as usize];
        let free = link.free_at();
        if free > now {
            return Some(free);
        }
        link.spend(now, PACKET_US + work_us);
        None
    }

    /// Live connection ends of all nodes.
    pub(crate) fn connection_ends(&self, now: Millis) -> usize {
        self.pool.live_ends(now)
    }

    /// When a packet can leave; `None` if the peer cannot be reached.
    fn connect(&mut self, now: Millis, from: u32, to: u32, answers: bool) -> Option<Millis> {
        match self.pool.way(now, from, to) {
            Way::Open => Some(now),
            Way::Wait(opens) => Some(opens),
            Way::Failing => None,
            Way::Dial => self.dial(now, from, to, answers),
        }
    }

    fn dial(&mut self, now: Millis, from: u32, to: u32, answers: bool) -> Option<Millis> {
        let mut took = self.delay() + self.delay();
        let mut retry = DIAL_RETRY;
        let flight_lost = 1.0 - (1.0 - self.loss).powi(FLIGHT_PACKETS);
        let first = if answers { DIAL } else { INITIAL };
        self.charge(first.bytes, first.packets);
        while !answers || self.rng.random_bool(flight_lost) {
            took += retry;
            retry *= 2;
            if took >= DIAL_TIMEOUT {
                self.pool.note_failure(now, from, to);
                return None;
            }
            self.charge(INITIAL.bytes, INITIAL.packets);
        }
        self.charge(DIAL_ANSWER.bytes, DIAL_ANSWER.packets);
        let opens = now + took + DIAL_WORK;
        self.pool.note_dial(now, opens, from, to);
        Some(opens)
    }

    /// Round trips until the congestion window has let so many bytes through: it doubles until a loss, and then keeps
    /// to what Mathis and others found for this rate of loss (The Macroscopic Behavior of TCP, 1997).
    fn window_time(&self, bytes: u64) -> Duration {
        let most = if self.loss > 0.0 { (1.22 * STREAM_PAYLOAD as f64 / self.loss.sqrt()) as u64 } else { u64::MAX };
        let (mut window, mut left, mut trips) = (WINDOW.min(most.max(1)), bytes, 0);
        while left > window && window < most {
            left -= window;
            window = (window * 2).min(most);
            trips += 1;
        }
        if left > window {
            trips += (left / window) as u32; // the window does not grow any more
        }
        ROUND_TRIP * trips
    }

    fn acknowledge(&mut self, packets: u64) {
        self.charge(packets * ACK, packets);
    }

    fn charge(&mut self, bytes: u64, packets: u64) {
        self.sent.bytes += bytes;
        self.sent.packets += packets;
    }

    fn delay(&mut self) -> Duration {
        Duration::from_millis(self.rng.random_range(1..=3))
    }

    fn is_lost(&mut self) -> bool {
        self.rng.random_bool(self.loss)
    }
}

#[cfg(test)]
mod tests;
