//! Whatever is lost, repeated or reordered, and whoever restarts or even writes two sets with one number: once digests
//! are compared for long enough, all catalogues are the same, and hold the newest set of each owner.

use super::{Checker, everyone, merge, publish};
use crate::{Catalogue, SignedSet};
use proptest::prelude::*;
use std::{collections::BTreeMap, sync::Arc};
use taffeta_model::NodeId;

const NODES: usize = 4;

#[derive(Clone, Debug)]
enum Op {
    /// The node has these tasks now.
    Publish(usize, Vec<u32>),
    /// A set that was ever written reaches a node, perhaps again, perhaps late.
    Deliver(prop::sample::Index, usize),
    /// The node starts again under the next epoch and has forgotten everything.
    Restart(usize),
    /// The node forgets everything and starts under the same epoch, as a restored disk does: it must not.
    Restore(usize),
    /// Two nodes compare digests.
    Exchange(usize, usize),
}

fn op() -> impl Strategy<Value = Op> {
    let node = || 0..NODES;
    prop_oneof![
        4 => (node(), prop::collection::vec(1..4u32, 0..3)).prop_map(|(n, mut tasks)| {
            tasks.sort_unstable();
            tasks.dedup();
            Op::Publish(n, tasks)
        }),
        6 => (any::<prop::sample::Index>(), node()).prop_map(|(set, to)| Op::Deliver(set, to)),
        1 => node().prop_map(Op::Restart),
        1 => node().prop_map(Op::Restore),
        2 => (node(), node()).prop_map(|(a, b)| Op::Exchange(a, b)),
    ]
}

struct World {
    nodes: Vec<Catalogue>,
    epochs: Vec<u64>,
    written: Vec<Arc<SignedSet>>,
}

impl World {
    fn id(node: usize) -> NodeId {
        NodeId(node as u64 + 1)
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Publish(n, tasks) => self.written.extend(publish(&mut self.nodes[n], n as u64 + 1, &tasks)),
            Op::Deliver(set, to) => {
                if !self.written.is_empty() {
                    let set = set.get(&self.written).clone();
                    drop(merge(&mut self.nodes[to], &set)); // its own newer set is an error, as it should be
                }
            }
            Op::Restart(n) => {
                self.epochs[n] += 1;
                self.nodes[n] = Catalogue::new(Self::id(n), self.epochs[n]);
            }
            Op::Restore(n) => self.nodes[n] = Catalogue::new(Self::id(n), self.epochs[n]),
            Op::Exchange(a, b) => drop(self.exchange(a, b, 1)),
        }
    }

    /// One exchange as over a stream; says whether it changed anything.
    fn exchange(&mut self, a: usize, b: usize, seed: u64) -> bool {
        let (ours, theirs) = (self.nodes[a].digest(), self.nodes[b].digest());
        let before = self.nodes[a].revision() + self.nodes[b].revision();
        for set in self.nodes[a].missing_from(&theirs, seed) {
            drop(self.nodes[b].merge(set, &Checker, &everyone));
        }
        for set in self.nodes[b].sets_of(&self.nodes[a].wants(&theirs), seed) {
            drop(self.nodes[a].merge(set, &Checker, &everyone));
        }
        assert!(self.nodes[b].wants(&ours).is_empty(), "all that was missing was sent");
        self.nodes[a].revision() + self.nodes[b].revision() != before
    }

    /// Every node starts again properly and publishes, then all compare with all until nothing changes.
    fn settle(&mut self) {
        for n in 0..NODES {
            self.apply(Op::Restart(n));
            self.apply(Op::Publish(n, vec![n as u32]));
        }
        self.compare_until_nothing_changes();
    }

    fn compare_until_nothing_changes(&mut self) {
        for round in 0..NODES as u64 + 1 {
            let pairs = (0..NODES).flat_map(|a| (0..NODES).map(move |b| (a, b))).filter(|(a, b)| a != b);
            if !pairs.fold(false, |changed, (a, b)| self.exchange(a, b, round) | changed) {
                return;
            }
        }
        panic!("no fixpoint");
    }
}

proptest! {
    #[test]
    fn any_order_and_repetition_of_merges_converges(ops in prop::collection::vec(op(), 0..80)) {
        let nodes = (0..NODES).map(|n| Catalogue::new(World::id(n), 1)).collect();
        let mut world = World { nodes, epochs: vec![1; NODES], written: vec![] };
        ops.into_iter().for_each(|op| world.apply(op));

        // Observers, who own nothing, agree whatever the owners did: those may have written two sets with one number.
        let mut newest = BTreeMap::new();
        for set in &world.written {
            let head = set.head().expect("written here");
            let held = newest.entry(head.owner).or_insert(head);
            if head.is_newer_than(held) {
                *held = head;
            }
        }
        let mut observers = [Catalogue::new(NodeId(90), 1), Catalogue::new(NodeId(91), 1)];
        world.written.iter().for_each(|set| drop(merge(&mut observers[0], set)));
        world.written.iter().rev().for_each(|set| drop(merge(&mut observers[1], set)));
        let heads: Vec<_> = newest.into_values().collect();
        prop_assert_eq!(&observers[0].digest().heads, &heads);
        prop_assert_eq!(&observers[1].digest().heads, &heads);

        world.settle();
        for node in &world.nodes {
            prop_assert_eq!(node.digest(), world.nodes[0].digest());
            let held: Vec<_> = node.owners().map(|set| (set.owner, set.records[0].task.index)).collect();
            let wanted: Vec<_> = (0..NODES).map(|n| (World::id(n), n as u32)).collect();
            prop_assert_eq!(held, wanted);
        }
    }
}
