//! The ring alone, in an event queue: membership and catalogue of up to ten thousand nodes from one seed.
//!
//! Nodes are the real machines, [`taffeta_swim::Swim`] and [`taffeta_catalogue::Catalogue`], driven as `taffeta-node`
//! drives them; network, pool of connections and clock are modelled. [`run`] plays a fixed timeline and gives figures.
//! It is the cheap tier: what a whole node does is `taffeta-sim`'s business.
//!
//! # Timeline
//!
//! All members know each other at the start, as after a join, and have nothing left to tell. Seconds 0 to 5: pools
//! warm up. 5 to 15: idle. 15 to 20: each second a random node publishes a changed set. 21 to 23: members are killed.
//! From 30 on (21 if nobody is killed): some stand still. What follows shows what comes of it.
//!
//! # What is modelled, and what is not
//!
//! A packet takes 1 to 3 ms and is lost with the given chance. Connections cost what those of `taffeta-net` do, see
//! `network.rs`: a peer without a live one is dialled first, which takes about 5.5 kB, a round trip, and for each lost
//! flight a retransmission time; it ends after 5 s without traffic. There is no limit on bandwidth and no queue, and a
//! turn takes no time, so a node that is slow because its table is large does not show. Sets of the dead are not dropped.
//!
//! Of the catalogue only the sets that change are held; the others would be the same everywhere, so they change
//! neither whether two hashes agree nor what a peer lacks. The digest of all is charged in full.
//!
//! # Size
//!
//! Every node holds all members, about 230 bytes for each, so memory grows with the square, and the common start with
//! almost the cube of the size. Measured with this version on 2 cores, three members killed, 1 % loss:
//!
//! | nodes | virtual time | memory | real time | of it for the start |
//! |---|---|---|---|---|
//! | 200 | 30 s | 0.03 GB | 0.3 s | 0.1 s |
//! | 1,000 | 60 s | 0.3 GB | 7 s | 1 s |
//! | 3,000 | 60 s | 2.3 GB | 56 s | 17 s |
//! | 8,000 | 30 s | 14.7 GB | 510 s | 366 s |
//! | 10,000 | 30 s | 22.8 GB | 722 s | 498 s |
//!
//! Ten thousand therefore need a machine of 24 GiB for themselves. Nothing here asks whether there is enough.

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
/// let config = RingConfig { nodes: 5, kill: 1, loss: 0.0, stall: None, seconds: 30, seed: 1 };
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
