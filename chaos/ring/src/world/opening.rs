//! The common start: every node gets all members by [`Swim::merge`], and has told them on before the run begins.
//!
//! Foca passes on what it is told. Ten thousand facts at every node would be minutes of packets that nobody needs, so
//! the machine starts under a config that sends each only once and each millisecond, and these packets are dropped;
//! then it gets the real one. Nothing of it is left but the table.

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{ops::RangeInclusive, thread, time::Duration};
use taffeta_model::Millis;
use taffeta_swim::{Effect, Identity, MemberFact, Swim, SwimConfig};

/// Facts in one merge: news wait in a list that Foca walks for each of them, and the table is compared after each merge.
const PIECE: usize = 256;
/// Packets that a piece of news needs, and more.
const FANOUT: u8 = 16;
/// Starts are spread over one period of probes, first announcements over the time between two.
const STARTS: RangeInclusive<u64> = 0..=499;

/// Machines of all members, which know each other. Each is made from its own seed, on as many threads as there are
/// processors: a large ring takes minutes.
#[expect(clippy::disallowed_methods, reason = "only its own seed decides on a machine; all are joined in order")]
pub(crate) fn open(facts: &[MemberFact], seeds: &[u64]) -> Vec<Swim> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let jobs: Vec<(Identity, u64)> = facts.iter().map(|fact| fact.identity).zip(seeds.iter().copied()).collect();
    let open_all = |jobs: &[(Identity, u64)]| jobs.iter().map(|(me, seed)| open_one(*me, facts, *seed)).collect();
    thread::scope(|scope| {
        let open_all = &open_all;
        let parts = jobs.chunks(jobs.len().div_ceil(threads));
        let workers: Vec<_> = parts.map(|part| scope.spawn(move || -> Vec<Swim> { open_all(part) })).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("it does not panic")).collect()
    })
}

fn open_one(me: Identity, facts: &[MemberFact], seed: u64) -> Swim {
    let mut rng = SmallRng::seed_from_u64(seed);
    let lan = SwimConfig::lan(facts.len());
    let opening = SwimConfig {
        transmissions_max: 1,
        gossip_every: Duration::from_millis(1),
        gossip_fanout: FANOUT,
        announce_every: lan.announce_every.mul_f64(rng.random_range(0.1..1.0)),
        ..lan
    };
    let mut now = Millis(rng.random_range(STARTS));
    let mut swim = Swim::new(now, me, opening, rng.random()).expect("a preset");
    for piece in facts.chunks(PIECE) {
        swim.merge(now, piece).expect("room for a ring");
        now = tell(&mut swim, now);
    }
    swim.set_config(SwimConfig::lan(facts.len())).expect("only what may change");
    swim
}

/// Lets it speak until it has nothing to say; ends, as each packet takes away from what there is.
fn tell(swim: &mut Swim, mut now: Millis) -> Millis {
    loop {
        now = now + Duration::from_millis(1);
        swim.take_effects();
        swim.handle_timeout(now);
        if !swim.take_effects().iter().any(|effect| matches!(effect, Effect::Send { .. })) {
            return now;
        }
    }
}

#[cfg(test)]
mod tests;
