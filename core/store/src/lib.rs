//! Replicated desired state: a log that a quorum has on disk, the state that it gives, and who leads.
//!
//! openraft does the consensus, redb the disk; both stay inside this crate. Left out on purpose: what the commands mean
//! (`taffeta-model`), who decides them (`taffeta-scheduler`), and how messages travel ([`Transport`]).

mod disk;
mod leadership;
mod log;
mod machine;
mod redb_disk;
mod rpc;
mod store;
mod types;
pub mod voters;

pub use disk::{Disk, Loaded, Op};
pub use leadership::Leadership;
pub use log::Driver;
pub use redb_disk::RedbDisk;
pub use rpc::{SendError, Transport};
pub use store::{OpenError, ReadError, SNAPSHOT_EVERY, Store, StoreConfig, WriteError};
