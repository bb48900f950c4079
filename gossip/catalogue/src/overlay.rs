//! Who is whose neighbour.
//!
//! Up to [`FLOOD_PEERS_MAX`] peers, all are. In larger rings all live members are laid out on [`CYCLES`] cycles, each
//! ordered by a different mix of their ids; neighbours are those next to each other on any of them. Such a union of
//! random Hamiltonian cycles is connected, has a degree of six at most, and with high probability any two members are
//! O(log n) hops apart (Friedman 1991; as used by Law and Siu 2003). Both ends compute the same from the same members,
//! and a member that comes or goes moves at most six links.

use std::collections::BTreeSet;
use taffeta_model::{NodeId, mix};

/// Up to so many peers all are neighbours: a small ring then knows within one hop.
pub const FLOOD_PEERS_MAX: usize = 8;

/// Cycles of a larger ring: two are connected too, but the third makes a tree of short ways likely and lets two
/// neighbours die at once.
pub const CYCLES: u64 = 3;

/// The neighbours of `me` among `alive`, which does not hold `me`. Takes time in proportion to their number.
pub fn neighbours(me: NodeId, alive: &[NodeId]) -> BTreeSet<NodeId> {
    if alive.len() <= FLOOD_PEERS_MAX {
        return alive.iter().copied().collect();
    }
    (0..CYCLES).flat_map(|cycle| beside(me, alive, cycle)).collect()
}

/// Who comes before and after `me` on one cycle.
fn beside(me: NodeId, alive: &[NodeId], cycle: u64) -> [NodeId; 2] {
    let place = |id: NodeId| (mix(id.0 ^ mix(cycle)), id);
    let mine = place(me);
    // Seen from `me`, the next one is the least of those that are greater or else the least of all.
    let next = |id: NodeId| (place(id) < mine, place(id));
    let mut least = next(alive[0]);
    let mut most = least;
    for id in alive {
        let at = next(*id);
        least = least.min(at);
        most = most.max(at);
    }
    [least.1.1, most.1.1]
}
