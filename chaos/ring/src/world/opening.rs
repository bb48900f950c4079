//! The common start: every node knows all members and all sets and has nothing to tell of them, as in a ring that has been
//! at peace for a while. What is equal shares its memory.

use crate::{
    node::{Condition, Node},
    records::EPOCH,
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{ops::RangeInclusive, thread};
use taffeta_catalogue::{Catalogue, Spread};
use taffeta_model::Millis;
use taffeta_swim::{Identity, MemberState, Members, Swim, SwimConfig};

/// Starts are spread over one period of probes, first announcements over the time between two.
const STARTS: RangeInclusive<u64> = 0..=499;

/// What all know.
struct Common<'a> {
    members: Members,
    sets: &'a Catalogue,
    joiner: Option<u32>,
}

/// All members, which know each other but for one that is still to join. Each is made from its own seed, on as many
/// threads as there are processors: Foca looks through all that it knows for each member that it is told, so a large
/// ring takes minutes.
#[expect(clippy::disallowed_methods, reason = "only its own seed decides on a member; all are joined in order")]
pub(crate) fn open(all: &[Identity], sets: &Catalogue, joiner: Option<u32>, seeds: &[u64]) -> Vec<Node> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let present = (0..).zip(all).filter(|(index, _)| Some(*index) != joiner);
    let members = present.map(|(_, identity)| (identity.id, MemberState::known(*identity, Millis(0)))).collect();
    let common = Common { members, sets, joiner };
    let jobs: Vec<(u32, Identity, u64)> = (0..).zip(all).zip(seeds).map(|((n, me), seed)| (n, *me, *seed)).collect();
    let open_all = |jobs: &[(u32, Identity, u64)]| jobs.iter().map(|job| common.open(*job)).collect();
    thread::scope(|scope| {
        let open_all = &open_all;
        let parts = jobs.chunks(jobs.len().div_ceil(threads));
        let workers: Vec<_> = parts.map(|part| scope.spawn(move || -> Vec<Node> { open_all(part) })).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("it does not panic")).collect()
    })
}

impl Common<'_> {
    fn open(&self, (index, me, seed): (u32, Identity, u64)) -> Node {
        let mut rng = SmallRng::seed_from_u64(seed);
        let lan = SwimConfig::lan(self.members.len());
        let announce_every = lan.announce_every.mul_f64(rng.random_range(0.1..1.0));
        let now = Millis(rng.random_range(STARTS));
        let opening = SwimConfig { announce_every, ..lan };
        let mut swim = Swim::new(now, me, opening, rng.random()).expect("a preset");
        if self.joiner == Some(index) {
            swim.set_config(lan).expect("only what may change");
            let spread = Spread::new(me.id, EPOCH, rng.random());
            return Node::new(index, swim, spread, Condition::Absent);
        }
        swim.begin_with(now, &self.members);
        swim.set_config(lan).expect("only what may change");
        let spread = Spread::begin_with(me.id, EPOCH, rng.random(), self.sets);
        Node::new(index, swim, spread, Condition::Running)
    }
}

#[cfg(test)]
mod tests;
