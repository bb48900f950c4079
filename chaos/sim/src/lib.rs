//! The whole cluster in one thread, on virtual time, from one seed.
//!
//! Every node is the code that ships: ring, QUIC, consensus, scheduler, agent, DNS, the verbs of its API. What it touches
//! is simulated behind the seams of `taffeta_node::World`: the wire, the disk, the clock, randomness, tasks. A run first
//! breaks things as its seed says while clients work, and checks every promise after every step; then it heals a
//! majority, leaves the rest broken, and demands progress. `docs/simulator.md` tells how to add to it.
//!
//! Left out: what is below the seams (sockets, kernel, processes, the real disk), which the end-to-end tests are for, and
//! rings of more than fifteen nodes, which `taffeta-chaos-ring` is for.

mod check;
mod cluster;
mod crypto;
mod disk;
mod dns;
mod executor;
mod faults;
mod goal;
mod machine;
mod moments;
mod offline;
mod panics;
mod process;
mod random;
mod report;
mod run;
mod tasks;
mod time;
mod trace;
mod wire;
mod workload;

pub use moments::{Moment, Moments};
pub use report::{Report, Verdict};
pub use run::{InvalidSim, LASTS_MAX, NODES, SimConfig, run};
