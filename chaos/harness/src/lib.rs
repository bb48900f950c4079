//! Machines made of real processes on loopback addresses, killed on purpose: what end-to-end tests and benchmarks are
//! written with.
//!
//! A machine is a `taffeta up` with its data folder, on an address and a port of its own, and with everything that it
//! started: killing the machine kills all of it at once. What tests and benchmarks measure is measured here. Left out:
//! what is expected of the survivors, which is the tests' own, and faults inside of a process, which are the
//! simulator's.

mod client;
mod disk;
mod dns;
mod http;
mod list;
mod machine;
mod recorder;
mod ring;
mod sweep;
mod usage;
mod wait;

pub use client::{Client, NoReply};
pub use disk::Disk;
pub use dns::{Reply, ask};
pub use http::get;
pub use list::{Listed, Shown};
pub use machine::{Cluster, Machine, Output, Ports};
pub use recorder::Recorder;
pub use ring::{COMPLETE_MAX, IDLE_CORES_MAX, Idle, KILLED_MAX, Killed, LEFT_MAX, Ring};
pub use sweep::{groups_of, sweep, sweep_orphans};
pub use usage::{changed_since, cores_used, resident_mib, written_bytes};
pub use wait::{eventually, within};
