//! Delay, loss, and what the transport costs: figures of `taffeta-net` between two nodes on one machine, counted by a
//! relay between them, and 28 bytes of IPv4 and UDP a packet.
//!
//! Left out: bandwidth, congestion, packets that overtake each other within a connection.

use crate::pool::{DIAL_TIMEOUT, Pool, Way};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::time::Duration;
use taffeta_model::Millis;

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
/// Packets of the first and second flight, of which none may be lost.
const FLIGHT_PACKETS: i32 = 3;
/// After this a lost flight of a dial is repeated (three initial round trips of 50 ms), then after twice that, and so on.
const DIAL_RETRY: Duration = Duration::from_millis(150);
/// After this a lost packet of a stream is repeated: round trip, its variation, and the peer's delay of 25 ms.
const STREAM_RETRY: Duration = Duration::from_millis(35);

/// What was sent, acknowledgements and dials included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) bytes: u64,
    pub(crate) packets: u64,
}

/// The way between all nodes.
pub(crate) struct Network {
    pool: Pool,
    rng: SmallRng,
    loss: f64,
    datagrams: u64,
    /// Of all nodes together.
    pub(crate) sent: Traffic,
}

impl Network {
    pub(crate) fn new(nodes: usize, loss: f64, seed: u64) -> Self {
        let rng = SmallRng::seed_from_u64(seed);
        Self { pool: Pool::new(nodes), rng, loss, datagrams: 0, sent: Traffic::default() }
    }

    /// When a datagram arrives; `None` if it is lost. `answers`: whether the peer runs, or will run again.
    pub(crate) fn send_datagram(
        &mut self,
        now: Millis,
        (from, to): (u32, u32),
        bytes: usize,
        answers: bool,
    ) -> Option<Millis> {
        let leaves = self.connect(now, from, to, answers)?;
        self.charge(bytes as u64 + OVERHEAD, 1);
        self.datagrams += 1;
        if self.datagrams.is_multiple_of(2) {
            self.charge(ACK, 1);
        }
        (!self.is_lost()).then(|| leaves + self.delay())
    }

    /// When all of a message arrives on a stream; `None` if there is no connection.
    pub(crate) fn send_stream(
        &mut self,
        now: Millis,
        (from, to): (u32, u32),
        bytes: usize,
        answers: bool,
    ) -> Option<Millis> {
        let leaves = self.connect(now, from, to, answers)?;
        let mut packets = 1 + bytes.div_ceil(STREAM_PAYLOAD) as u64; // the first one opens the stream
        self.charge(bytes as u64, 0);
        let mut arrives = leaves + self.delay();
        loop {
            self.charge(packets * OVERHEAD + packets.div_ceil(2) * ACK, packets + packets.div_ceil(2));
            packets = (0..packets).filter(|_| self.is_lost()).count() as u64;
            if packets == 0 {
                return Some(arrives);
            }
            self.charge(packets * (STREAM_PAYLOAD as u64).min(bytes as u64), 0);
            arrives = arrives + STREAM_RETRY;
        }
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
        self.pool.note_dial(now, now + took, from, to);
        Some(now + took)
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
