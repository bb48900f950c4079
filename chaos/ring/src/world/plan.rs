//! Draws a world from its seed: who is there, what happens to whom and when.

use super::{COMPARE_EVERY, World, opening};
use crate::{
    RingConfig,
    config::Timeline,
    event::{Event, Queue},
    network::Network,
    node::{Ids, Node, identity},
    tally::Tally,
    trace::Trace,
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::collections::BTreeSet;
use taffeta_model::{Liveness, Millis, NodeId};
use taffeta_swim::MemberFact;

/// Who the faults and changes meet.
struct Plan {
    ids: Ids,
    victims: Vec<u32>,
    stalled: Vec<u32>,
    owners: Vec<u32>,
}

impl World {
    /// All members, which know each other, at time zero.
    pub(crate) fn open(config: &RingConfig) -> Self {
        let mut rng = SmallRng::seed_from_u64(config.seed);
        let timeline = config.timeline();
        let Plan { ids, victims, stalled, owners } = Plan::draw(config, &timeline, &mut rng);
        let queue = fill(config, &timeline, &victims, &stalled, &owners, &mut rng);
        let network = Network::new(config.nodes, config.loss, rng.random());
        let nodes = members(&ids, &owners, &mut rng);
        let mut world = Self {
            now: Millis(0),
            ids,
            nodes,
            queue,
            network,
            tally: Tally::new(config.nodes, &victims, &owners),
            trace: Trace::new(),
            timeline,
            connections_per_node: 0.0,
        };
        (0..config.nodes as u32).for_each(|index| world.arm(index));
        world
    }
}

impl Plan {
    fn draw(config: &RingConfig, timeline: &Timeline, rng: &mut SmallRng) -> Self {
        let mut ids = BTreeSet::new(); // as random as the hashes that ids are
        while ids.len() < config.nodes {
            ids.insert(NodeId(rng.random()));
        }
        let mut indexes: Vec<u32> = (0..config.nodes as u32).collect();
        let victims = draw(&mut indexes, config.kill, rng);
        let some = |fraction: f64| (fraction * config.nodes as f64).round().max(1.0) as usize;
        let stalled = draw(&mut indexes.clone(), config.stall.map_or(0, |stall| some(stall.fraction)), rng);
        let changes = (timeline.changes.end - timeline.changes.start) as usize;
        let owners = draw(&mut (0..config.nodes as u32).collect(), changes, rng);
        Self { ids: Ids(ids.into_iter().collect()), victims, stalled, owners }
    }
}

/// Takes `count` of them at random, or all if there are fewer.
fn draw(from: &mut Vec<u32>, count: usize, rng: &mut SmallRng) -> Vec<u32> {
    (0..count.min(from.len())).map(|_| from.swap_remove(rng.random_range(0..from.len()))).collect()
}

fn fill(
    config: &RingConfig,
    timeline: &Timeline,
    victims: &[u32],
    stalled: &[u32],
    owners: &[u32],
    rng: &mut SmallRng,
) -> Queue {
    let mut queue = Queue::default();
    for index in 0..config.nodes as u32 {
        queue.add(Millis(rng.random_range(1..=COMPARE_EVERY.as_millis() as u64)), Event::Tick(index));
    }
    for (second, owner) in timeline.changes.clone().zip(owners) {
        queue.add(Millis(second * 1000 + rng.random_range(1..1000)), Event::Publish(*owner));
    }
    for victim in victims {
        queue.add(Millis(rng.random_range(timeline.kills.clone())), Event::Kill(*victim));
    }
    for (index, (begin, end)) in stalled.iter().flat_map(|index| timeline.stall.map(|stall| (*index, stall))) {
        queue.add(begin, Event::Stall(index));
        queue.add(end, Event::Resume(index));
    }
    queue
}

fn members(ids: &Ids, owners: &[u32], rng: &mut SmallRng) -> Vec<Node> {
    let fact = |(index, id): (u32, &NodeId)| MemberFact {
        identity: identity(*id, index),
        refutations: 0,
        liveness: Liveness::Alive,
    };
    let facts: Vec<MemberFact> = (0..).zip(&ids.0).map(fact).collect();
    let seeds: Vec<u64> = facts.iter().map(|_| rng.random()).collect();
    let machines = opening::open(&facts, &seeds);
    let mut nodes: Vec<Node> =
        ids.0.iter().zip(machines).map(|(id, swim)| Node::new(*id, swim, rng.random())).collect();
    owners.iter().for_each(|owner| World::know(&mut nodes, *owner, ids));
    nodes
}
