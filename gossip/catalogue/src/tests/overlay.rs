//! Who is whose neighbour.

use crate::{CYCLES, FLOOD_PEERS_MAX, neighbours};
use std::collections::{BTreeMap, BTreeSet};
use taffeta_model::{NodeId, mix};

type Graph = BTreeMap<NodeId, BTreeSet<NodeId>>;

fn members(count: u64) -> BTreeSet<NodeId> {
    (0..count).map(|n| NodeId(mix(n))).collect()
}

fn graph(members: &BTreeSet<NodeId>) -> Graph {
    let of = |me: &NodeId| {
        let alive: Vec<NodeId> = members.iter().copied().filter(|id| id != me).collect();
        (*me, neighbours(*me, &alive))
    };
    members.iter().map(of).collect()
}

/// Hops from the first member to the farthest; `None` if some cannot be reached.
fn eccentricity(graph: &Graph) -> Option<usize> {
    let mut reached = BTreeSet::from([*graph.keys().next()?]);
    let mut border: Vec<NodeId> = reached.iter().copied().collect();
    for hops in 0.. {
        border = border.iter().flat_map(|id| &graph[id]).copied().filter(|id| reached.insert(*id)).collect();
        if border.is_empty() {
            return (reached.len() == graph.len()).then_some(hops);
        }
    }
    None
}

#[test]
fn in_a_small_ring_all_are_neighbours() {
    let graph = graph(&members(FLOOD_PEERS_MAX as u64 + 1));
    assert!(graph.values().all(|peers| peers.len() == FLOOD_PEERS_MAX));
    assert!(neighbours(NodeId(1), &[]).is_empty());
}

#[test]
fn both_ends_are_neighbours_all_are_connected_and_the_degree_is_six_at_most() {
    for count in [10, 11, 40, 300, 2_000] {
        let graph = graph(&members(count));
        for (me, peers) in &graph {
            assert!(peers.iter().all(|peer| peer != me && graph[peer].contains(me)));
            assert!((2..=2 * CYCLES as usize).contains(&peers.len()), "{} of {count}", peers.len());
        }
        let hops = eccentricity(&graph).expect("connected");
        println!("{count} nodes: all within {hops} hops");
        assert!(hops <= 8);
    }
}

#[test]
fn one_leave_moves_six_links_at_most() {
    let before = members(300);
    for gone in before.iter().take(20) {
        let after = BTreeSet::from_iter(before.iter().copied().filter(|id| id != gone));
        let (old, new) = (graph(&before), graph(&after));
        let added = after.iter().flat_map(|id| new[id].difference(&old[id])).count() / 2;
        let lost = after.iter().map(|id| old[id].iter().filter(|p| *p != gone && !new[id].contains(p)).count());
        assert!(added <= CYCLES as usize, "{added} links");
        assert_eq!(lost.sum::<usize>(), 0, "who stays keeps its links");
    }
}
