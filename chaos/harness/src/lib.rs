//! Machines made of real processes on loopback addresses, killed on purpose: what end-to-end tests are written with.
//!
//! A machine is a `taffeta up` with its data folder, on an address and a port of its own, and with everything that it
//! started: killing the machine kills all of it at once. Left out: what is expected of the survivors, which is the
//! tests' own, and faults inside of a process, which are the simulator's.

mod dns;
mod http;
mod machine;
mod wait;

pub use dns::{Reply, ask};
pub use http::get;
pub use machine::{Cluster, Machine, Output, Ports};
pub use wait::{eventually, within};
