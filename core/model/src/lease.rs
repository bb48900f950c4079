//! Leases of exclusive tasks: how long one may run without a word of the leader's, and who may still run one.

use crate::{Fence, Job, NodeId};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long an exclusive task goes on undisturbed without a renewal. One length for every cluster, since the holder and
/// each leader must count the same, and long enough for the slowest change of leaders: in a ring over wide areas one takes
/// up to 5 s until all know it, and the next renewal comes within 2 s.
pub const LEASE_BASE: Duration = Duration::from_secs(8);

/// How often a holder asks anew: three in a row may be lost.
pub const LEASE_EVERY: Duration = Duration::from_secs(2);

/// The part of a lease in which a task leaves DNS before it is told to end: what the default TTL asks for. Where the TTL
/// is longer, clients may know the address of an exclusive task for a moment after its end.
pub const LEASE_DNS: Duration = Duration::from_secs(2);

/// Most exclusive tasks of a cluster: a leader looks at all of them a few times each second, and keeps a time for each.
pub const LEASES_MAX: usize = 10_000;

/// Which machine may still run an exclusive task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leased {
    /// The machine.
    pub node: NodeId,
    /// Its newest placement there.
    pub fence: Fence,
    /// How long a grant holds: the longest of its placements there.
    pub lasts: Duration,
}

impl Job {
    /// How long one grant of an exclusive task holds, from the moment that its machine asked: [`LEASE_BASE`] in which it
    /// works, [`LEASE_DNS`] in which it leaves DNS, and its grace between SIGTERM and SIGKILL. After that nothing of it
    /// runs, whatever has become of the network and of the agent.
    pub fn lease(&self) -> Duration {
        LEASE_BASE.saturating_add(LEASE_DNS).saturating_add(self.grace)
    }
}
