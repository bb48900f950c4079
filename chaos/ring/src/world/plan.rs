//! Draws a world from its seed: who is there, what happens to whom and when.

use super::{World, opening};
use crate::{
    RingConfig,
    config::Timeline,
    event::{Event, Queue, What},
    network::Network,
    node::{Ids, Node, identity},
    records::common,
    tally::{Changes, Phase, Tally, Verdicts},
    trace::Trace,
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::collections::{BTreeMap, BTreeSet};
use taffeta_model::{Millis, NodeId};
use taffeta_swim::Identity;

/// Who the faults and changes meet.
struct Plan {
    ids: Ids,
    /// Not there at the start.
    joiner: Option<u32>,
    victims: Vec<u32>,
    stalled: Vec<u32>,
    /// Of the single changes.
    owners: Vec<u32>,
}

impl World {
    /// All members, which know each other, at time zero.
    pub(crate) fn open(config: &RingConfig) -> Self {
        let mut rng = SmallRng::seed_from_u64(config.seed);
        let timeline = config.timeline();
        let plan = Plan::draw(config, &timeline, &mut rng);
        let queue = plan.fill(config, &timeline, &mut rng);
        let network = Network::new(config.nodes, config.loss, rng.random());
        let nodes = members(&plan, &mut rng);
        let observers = config.nodes - usize::from(config.join);
        let wakes = timeline.stall.map(|(_, end)| end);
        let mut world = Self {
            now: Millis(0),
            ids: plan.ids,
            nodes,
            queue,
            network,
            tally: Tally::new(
                Verdicts::new(observers, &plan.victims, &plan.stalled, wakes),
                Changes::new(config.nodes, observers),
                &timeline.burst,
            ),
            trace: Trace::new(),
            timeline,
            newest: BTreeMap::new(),
            connections_per_node: 0.0,
        };
        (0..config.nodes as u32).for_each(|at| world.wake(at));
        world
    }

    fn wake(&mut self, at: u32) {
        let due = self.nodes[at as usize].arm(Millis(0));
        due.into_iter().for_each(|due| self.queue.add(due, Event { at, what: What::Timer }));
    }
}

impl Plan {
    fn draw(config: &RingConfig, timeline: &Timeline, rng: &mut SmallRng) -> Self {
        let mut ids = BTreeSet::new(); // as random as the hashes that ids are
        while ids.len() < config.nodes {
            ids.insert(NodeId(rng.random()));
        }
        let mut indexes: Vec<u32> = (0..config.nodes as u32).collect();
        let joiner = draw(&mut indexes, usize::from(config.join), rng).pop();
        let owners = draw(&mut indexes.clone(), (timeline.changes.end - timeline.changes.start) as usize, rng);
        let victims = draw(&mut indexes, config.kill, rng);
        let some = |fraction: f64| (fraction * config.nodes as f64).round().max(1.0) as usize;
        let stalled = draw(&mut indexes, config.stall.map_or(0, |stall| some(stall.fraction)), rng);
        Self { ids: Ids(ids.into_iter().collect()), joiner, victims, stalled, owners }
    }

    fn fill(&self, config: &RingConfig, timeline: &Timeline, rng: &mut SmallRng) -> Queue {
        let mut queue = Queue::default();
        let mut add = |at: Millis, index: u32, what: What| queue.add(at, Event { at: index, what });
        for (second, owner) in timeline.changes.clone().zip(&self.owners) {
            add(Millis(second * 1000 + rng.random_range(1..1000)), *owner, What::Publish(Phase::Single));
        }
        let burst = timeline.burst.start * 1000..timeline.burst.end * 1000;
        let count = (config.changes_per_second * (timeline.burst.end - timeline.burst.start) as f64).ceil() as usize;
        for _ in 0..count {
            let owner = self.draw_present(config, rng);
            add(Millis(rng.random_range(burst.clone())), owner, What::Publish(Phase::Burst));
        }
        for victim in &self.victims {
            add(Millis(rng.random_range(timeline.kills.clone())), *victim, What::Kill);
        }
        for (joiner, at) in self.joiner.into_iter().zip(timeline.join) {
            let seed = (0..).find(|index| *index != joiner && !self.victims.contains(index)).expect("one survives");
            add(at, joiner, What::Join { seed });
        }
        for (index, (begin, end)) in self.stalled.iter().flat_map(|index| timeline.stall.map(|stall| (*index, stall))) {
            add(begin, index, What::Stall);
            add(end, index, What::Resume);
        }
        queue
    }

    fn draw_present(&self, config: &RingConfig, rng: &mut SmallRng) -> u32 {
        loop {
            let index = rng.random_range(0..config.nodes as u32);
            if self.joiner != Some(index) {
                return index;
            }
        }
    }
}

/// Takes `count` of them at random, or all if there are fewer.
fn draw(from: &mut Vec<u32>, count: usize, rng: &mut SmallRng) -> Vec<u32> {
    (0..count.min(from.len())).map(|_| from.swap_remove(rng.random_range(0..from.len()))).collect()
}

fn members(plan: &Plan, rng: &mut SmallRng) -> Vec<Node> {
    let ids = &plan.ids.0;
    let all: Vec<Identity> = (0..).zip(ids).map(|(index, id)| identity(*id, index)).collect();
    let seeds: Vec<u64> = all.iter().map(|_| rng.random()).collect();
    let sets = common(ids, plan.joiner);
    opening::open(&all, &sets, plan.joiner, &seeds)
}
