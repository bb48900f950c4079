//! Machines made of real processes on loopback addresses, killed on purpose: what end-to-end tests and benchmarks are
//! written with.
//!
//! A machine is a `taffeta up` with its data folder, on an address and a port of its own, and with everything that it
//! started: killing the machine kills all of it at once. What tests and benchmarks measure is measured here. A [`Bed`]
//! gives each machine a network, a disk and a group of its own, a [`Fleet`] a kernel of its own (docs/test-bed.md). Left out:
//! what is expected of the survivors, which is the tests' own, and faults inside of a process, which are the
//! simulator's.

mod bed;
mod client;
mod command;
mod disk;
mod dns;
mod fleet;
mod group;
mod http;
mod keeper;
mod list;
mod machine;
mod place;
mod recorder;
mod ring;
mod sweep;
mod usage;
mod verb;
mod wait;

pub use bed::{Bed, Tally, Way};
pub use client::{Client, NoReply};
pub use disk::Disk;
pub use dns::{Reply, ask};
pub use fleet::Fleet;
pub use http::get;
pub use keeper::keep;
pub use list::{Listed, Shown};
pub use machine::{Cluster, Machine, Ports};
pub use recorder::Recorder;
pub use ring::{COMPLETE_MAX, IDLE_CORES_MAX, Idle, KILLED_MAX, Killed, LEFT_MAX, Ring};
pub use sweep::{groups_of, sweep, sweep_orphans};
pub use usage::{changed_since, cores_used, resident_mib, wakeups, written_bytes};
pub use verb::Output;
pub use wait::{eventually, within};
