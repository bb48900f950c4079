//! What is to be broken, where, when and for how long: pure data, drawn from a seed or written by a person.
//!
//! A [`FaultPlan`] is a list of [`Planned`] faults in the order of their beginning. The simulator performs it on
//! virtual nodes, the operator's tool on real ones; so a target may be a role, such as the leader, which whoever
//! performs the plan looks up when the fault begins. [`Swarm::draw`] makes a plan from a seed, each with its own
//! mixture of faults. Left out on purpose: how a fault is brought about, how it is healed, and whether the fabric
//! withstood it.

mod check;
mod dice;
mod fault;
mod kind;
mod millis;
mod plan;
mod strain;
mod swarm;
mod target;

pub use check::{
    AT_MAX, CLOCK_OFFSET_MS_MAX, CPU_WORKERS_MAX, DELAY_MAX, DRIFT_PPM_MAX, FAULTS_MAX, InvalidFault, InvalidPlan,
    KBIT_PER_S_MAX, LASTS_MAX, MEMORY_MAX, SLOW_FACTOR_MAX,
};
pub use fault::{CopyUse, DnsInstead, Fault, PartitionShape};
pub use kind::{FaultKind, UnknownWord};
pub use plan::{FaultPlan, Planned};
pub use swarm::{Swarm, SwarmConfig};
pub use target::{InvalidTarget, Target};
