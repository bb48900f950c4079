//! Experiments against real nodes: faults on purpose, watched, undone and reported.
//!
//! Pure: [`mod@format`] reads what is wanted, [`Fleet`] is the cluster at one moment, [`Plan`] aims the faults and tells what
//! they take away, [`Tolerance`] judges what is found. With the world: [`Fabric`] speaks to the nodes and [`run`] performs
//! an experiment. Left out: how a node hurts itself and heals, which is the node's own (`taffeta-node`).

mod blast;
mod dice;
pub mod dns;
mod export;
mod fabric;
mod fleet;
pub mod format;
mod gauntlet;
mod load;
mod plan;
mod probe;
mod ready;
mod report;
mod run;
mod scene;
mod single;
mod targets;
mod text;
mod timeline;
mod tolerance;
mod watch;

pub use blast::{Blast, Hit, Share, Votes};
pub use export::Command;
pub use fabric::Fabric;
pub use fleet::{Fleet, Machine, Task};
pub use gauntlet::{Gauntlet, Row, Scoreboard, gauntlet};
pub use load::{Written, sweep_writes};
pub use plan::{Limits, Plan, PlannedHit, PlannedStrike};
pub use probe::{find, is_tolerated};
pub use ready::{READY, Ready, find_ready};
pub use run::{Done, Looked, Options, Report, State, Stretch, Tell, Verdict, run};
pub use single::{NotInjected, Single, ask, inject};
pub use targets::Struck;
pub use text::{FILE_BYTES_MAX, Wrong};
pub use timeline::{Request, Sample, Span, Tally, Timeline};
pub use tolerance::Tolerance;
