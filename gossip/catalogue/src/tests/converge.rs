//! Whatever is lost, repeated or reordered, and whoever restarts or even writes two sets with one number: once digests
//! are compared for long enough, all catalogues are the same, and hold the newest set of each owner.

use super::{heads, merge, merge_update, publish_update};
use crate::{Catalogue, SignedSet, Update};
use proptest::prelude::*;
use std::{collections::BTreeMap, sync::Arc};
use taffeta_model::NodeId;

const NODES: usize = 4;

#[derive(Clone, Debug)]
enum Op {
    /// The node has these tasks now.
    Publish(usize, Vec<u32>),
    /// An update that was ever sent reaches a node, perhaps again, perhaps late.
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
    /// As they were sent: whole or not.
    sent: Vec<Update>,
}

impl World {
    fn id(node: usize) -> NodeId {
        NodeId(node as u64 + 1)
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Publish(n, tasks) => {
                if let Some(update) = publish_update(&mut self.nodes[n], n as u64 + 1, &tasks) {
                    self.sent.push(update);
                    self.written.push(Arc::new(self.nodes[n].get(Self::id(n)).expect("just published").signed()));
                }
            }
            Op::Deliver(update, to) => {
                if !self.sent.is_empty() {
                    let update = update.get(&self.sent);
                    drop(merge_update(&mut self.nodes[to], update)); // its own newer set is an error, as it should be
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
        let before = self.nodes[a].revision() + self.nodes[b].revision();
        self.fetch(a, b, seed);
        self.fetch(b, a, seed);
        self.nodes[a].revision() + self.nodes[b].revision() != before
    }

    /// One gets from another what it lacks.
    fn fetch(&mut self, to: usize, from: usize, seed: u64) {
        let theirs = heads(&self.nodes[from]);
        let wanted: Vec<NodeId> = theirs.iter().filter(|h| self.nodes[to].lacks(h)).map(|h| h.owner).collect();
        for set in self.nodes[from].sets_of(&wanted, seed) {
            drop(merge(&mut self.nodes[to], &set));
        }
        let lacks = |head: &&crate::Head| head.owner != Self::id(to) && self.nodes[to].lacks(head);
        assert_eq!(theirs.iter().find(lacks), None, "all that was missing was sent");
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
        let mut world = World { nodes, epochs: vec![1; NODES], written: vec![], sent: vec![] };
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
        let newest: Vec<_> = newest.into_values().collect();
        prop_assert_eq!(&heads(&observers[0]), &newest);
        prop_assert_eq!(&heads(&observers[1]), &newest);

        world.settle();
        for node in &world.nodes {
            prop_assert_eq!(node.digest_hash(), world.nodes[0].digest_hash());
            prop_assert_eq!(node.sets(), world.nodes[0].sets());
            let held: Vec<_> = node.sets().values().map(|set| (set.owner, set.records[0].task.index)).collect();
            let wanted: Vec<_> = (0..NODES).map(|n| (World::id(n), n as u32)).collect();
            prop_assert_eq!(held, wanted);
        }
    }
}
