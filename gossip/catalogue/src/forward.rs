//! To whom a new set is passed on.

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use taffeta_model::NodeId;

/// Up to so many peers all get a new set at once: a small ring then knows within one hop.
pub const FLOOD_PEERS_MAX: usize = 8;

/// In larger rings so many random ones do. That reaches about 98 of 100 nodes; the others get it by comparing digests.
pub const FORWARD_PEERS: usize = 4;

/// The peers to which a set that was new here is pushed: never its owner, nor `from`, who sent it. Whoever got a set
/// that was not [`crate::Merged::New`] forwards nothing, which ends the flood.
pub fn forward(owner: NodeId, from: NodeId, peers: &[NodeId], seed: u64) -> Vec<NodeId> {
    let mut others: Vec<NodeId> = peers.iter().copied().filter(|peer| *peer != owner && *peer != from).collect();
    if peers.len() <= FLOOD_PEERS_MAX {
        return others;
    }
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut choose = |_| others.swap_remove(rng.random_range(0..others.len()));
    (0..FORWARD_PEERS).map(&mut choose).collect() // at least 7 are left of 9
}
