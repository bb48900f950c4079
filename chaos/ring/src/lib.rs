//! The ring alone, in an event queue: membership and catalogue of up to ten thousand nodes from one seed.
//!
//! Nodes are the real machines, [`taffeta_swim::Swim`] and [`taffeta_catalogue::Spread`], driven as `taffeta-node`
//! drives them; network, connections, processors and clock are modelled. [`run`] plays a timeline and gives figures.
//! It is the cheap tier: what a whole node does is `taffeta-sim`'s business. What has to come out, and what did, is in
//! `docs/ring.md`.
//!
//! # Timeline
//!
//! All members know each other and hold each other's sets at the start, ten records each, and have nothing left to
//! tell. Then, as far as the config asks for it:
//!
//! | seconds | what happens |
//! |---|---|
//! | 0 to 5 | neighbours connect |
//! | 5 to 15 | nothing: the idle figures |
//! | 15 to 23 | each second a random node publishes a changed set |
//! | 26 to 36 | many do |
//! | then 2 | members are killed, then 8 s for the verdicts |
//! | then | some stand still, then 5 s for the verdicts and for taking them back |
//! | then | one joins, and has 8 s |
//!
//! # What is modelled, and what is not
//!
//! A packet takes 1 to 3 ms and is lost with the given chance. To a peer without a live connection a packet of the ring
//! goes sealed by itself, 73 bytes more and 10 us of the processor at each end; with one as a datagram in it. Messages
//! of the catalogue and exchanges of members take a stream, for which a peer is dialled first: about 5.5 kB, half a
//! millisecond of the processor at each end, a round trip, and for each lost flight a retransmission time. A connection
//! ends after 30 s without traffic; a node keeps 512 of them. In rings of up to 16 members a packet dials as well.
//!
//! A node has one processor and a link of 1 Gbit/s each way, both with a queue. A set costs 100 us to check, which is
//! mostly its signature, and a fact about a member 10 us where many come at once. A stream's congestion window doubles
//! with each round trip, and where packets are lost does not exceed what Mathis and others found. Not modelled: what
//! the machines' own turns take, a limit on queues, packets that overtake each other within a connection, the path's
//! own bandwidth.
//!
//! Signatures are hashes. Sets that are equal share their memory, which nobody but the allocator can tell. Sets of the
//! dead are not dropped.
//!
//! # Memory of a node
//!
//! [`RingReport::memory_bytes_per_node`] counts what a process of its own would allocate, where nothing is shared:
//! the protocol library's list and this fabric's map of members; of the catalogue the map of sets, the sets with all
//! that they point to, and the buckets; maps with a fill of two thirds, allocations as glibc rounds them; and 37 KiB for
//! each end of a live connection, as measured with quinn, at the end of the idle time.
//!
//! # Size
//!
//! Each node has its own list of all members, 64 bytes for each, so memory grows with the square of the size. The start
//! takes about the cube: the protocol library looks through its list for each member that it is told. Nothing here asks
//! whether there is enough memory; `docs/ring.md` tells what runs took.

mod config;
mod event;
mod memory;
mod network;
mod node;
mod pool;
mod records;
mod report;
mod tally;
mod trace;
mod world;

pub use config::{InvalidRing, RingConfig, Stall};
pub use report::{Percentiles, RingReport};

use std::time::Duration;
use world::World;

/// Plays the timeline and gives its figures. `progress` is told of each virtual second that has passed, first of none
/// when all members are there, which takes a large part of the time in a large ring.
///
/// ```
/// # use taffeta_chaos_ring::{RingConfig, run};
/// let config = RingConfig { kill: 1, seconds: 40, ..RingConfig::quiet(5, 1) };
/// let report = run(&config, &mut |_| {}).unwrap();
/// assert!(report.know99.is_some() && report.false_down == 0);
/// ```
pub fn run(config: &RingConfig, progress: &mut dyn FnMut(Duration)) -> Result<RingReport, InvalidRing> {
    config.check()?;
    let mut world = World::open(config);
    progress(Duration::ZERO);
    for second in 1..=config.seconds {
        world.run_until(second);
        progress(Duration::from_secs(second));
    }
    Ok(world.report(config))
}

#[cfg(test)]
mod tests;
