//! Replicated desired state: a log that a quorum has on disk, the state that it gives, and who leads.
//!
//! openraft does the consensus, segment files of our own are the log; both stay inside this crate. Left out on purpose: what the commands mean
//! (`taffeta-model`), who decides them (`taffeta-scheduler`), and how messages travel ([`Transport`]).

mod clock;
mod codec;
mod disk;
mod files;
mod fullness;
mod leadership;
mod log;
mod machine;
mod migrate;
mod recover;
mod redb_disk;
mod rpc;
mod seed;
mod segments;
mod slim;
mod store;
mod timers;
mod types;
pub mod voters;

pub use codec::{decode_state, encode_state};
pub use disk::{Disk, Gauge, Loaded, Op, is_full};
pub use files::{Files, FolderFiles, OpenFile};
pub use leadership::{Leadership, LeadershipWatch, MembershipPosition};
pub use log::Driver;
pub use migrate::migrate;
pub use recover::{Offline, Position, Stretch, Survey, survey_of_kept};
pub use rpc::{SendError, Transport};
pub use seed::seed;
pub use segments::{SegmentDisk, Sizes, WAY_BACK};
pub use store::{Insight, OpenError, ReadError, SNAPSHOT_EVERY, Store, StoreConfig, WriteError};
pub use timers::Timers;
