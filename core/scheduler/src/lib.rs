//! Decides which task runs on which machine: the replicated state and the ring's view go in, commands come out.
//!
//! Pure: equal inputs give equal plans. What a [`Scheduler`] remembers from one plan to the next is what it has read of
//! its inputs, no decision, so that a new leader goes on where the old one stopped. Left out on purpose: how commands are
//! committed (`taffeta-store`), who probes a machine that seems dead, and who starts a task (`taffeta-agent`).

mod autoscale;
mod choose;
mod fair;
mod fields;
mod impossible;
mod leases;
mod machines;
mod mirror;
mod order;
mod plan;
mod preempt;
mod preview;
mod ring;
mod runs;
mod teams;
mod update;
mod volumes;
mod waiting;
mod windows;

pub use autoscale::{Autoscaler, Load};
pub use impossible::{Hopeless, Impossible, impossible};
pub use mirror::{Scheduler, Waits};
pub use plan::{MOVES_MAX, Plan, UNSEEN_GRACE, plan};
pub use preview::{Change, Preview, preview};
pub use ring::{MemberView, Observed, RingView};
pub use waiting::{Blocked, Idle, Lack, NODES_LISTED_MAX, NoRoom, NodeLacks, Unmet, Waiting};

#[cfg(test)]
mod tests;
