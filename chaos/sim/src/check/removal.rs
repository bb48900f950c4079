//! That nobody listens to a machine that was removed.

use super::{Broken, calm_since};
use crate::cluster::Cluster;
use std::time::Duration;

/// A machine that was removed and is switched on again has learnt it, and has ended, within this time.
const REFUSED_MAX: Duration = Duration::from_secs(20);

/// Whoever was removed is refused by all; it learns why from a voter as soon as it speaks, and ends.
pub(super) fn invariant_a_removed_machine_is_refused(cluster: &Cluster) -> Result<(), Broken> {
    let Some((_, led)) = cluster.led else { return Ok(()) };
    let now = cluster.now();
    let stays = |since: Duration| now - since > REFUSED_MAX;
    match cluster.machines.iter().find(|m| m.removed && m.runs() && stays(calm_since(m).max(led))) {
        Some(machine) => Err(format!("{} was removed, and goes on as if it were not", machine.name)),
        None => Ok(()),
    }
}
