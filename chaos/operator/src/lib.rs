//! Experiments against real nodes: faults on purpose, watched, undone and reported.
//!
//! [`format`] reads what is wanted, [`tolerance`] judges what is found; both are pure.

mod blast;
mod dice;
mod fleet;
pub mod format;
mod plan;
mod targets;
mod text;
mod tolerance;

pub use blast::{Blast, Hit, Share, Votes};
pub use fleet::{Fleet, Machine, Task};
pub use plan::{Limits, Plan, PlannedHit, PlannedStrike};
pub use targets::Struck;
pub use text::{FILE_BYTES_MAX, Wrong};
pub use tolerance::Tolerance;
