//! Plans drawn from a seed.

use crate::{
    check::{AT_MAX, FAULTS_MAX},
    dice::Dice,
    kind::FaultKind,
    plan::{FaultPlan, Planned},
    strain::Strain,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

#[cfg(test)]
mod tests;

/// Chance of a kind to take part in a run.
const TAKES_PART: f64 = 0.4;
/// Chance of what leaves a run little else to find: without a quorum nothing moves.
const TAKES_PART_RARE: f64 = 0.15;
/// Share of runs without any fault: what goes wrong there is no fault's doing.
const FAULT_FREE: f64 = 0.05;
/// Shortest and longest mean time between two faults of a kind, in milliseconds, for five nodes: recovery from most
/// faults takes some seconds, and a run some minutes.
const EVERY_MS: (f64, f64) = (8e3, 60e3);

/// What to draw from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwarmConfig {
    /// How many nodes there are, named `n1`, `n2` and so on; at least 1. More nodes get more faults, as the square
    /// root.
    pub nodes: usize,
    /// Faults begin within this time, at most [`AT_MAX`]. A plan that would exceed [`FAULTS_MAX`] ends with that many,
    /// earlier than this.
    pub lasts: Duration,
    /// What may be drawn; of these, what the simulator knows is.
    pub allowed: BTreeSet<FaultKind>,
}

/// One drawn run. Faults that all occur in all runs hide each other's bugs: nobody finds what needs many writes if
/// every run crashes early. So each run has a mixture of its own, in which many kinds are absent: A. Groce et al.,
/// "Swarm testing", ISSTA 2012; TigerBeetle's VOPR draws so too.
#[derive(Clone, Debug, PartialEq)]
pub struct Swarm {
    /// The kinds that take part, with the mean time between two of them. What takes a machine away for good, or takes
    /// long, happens a few times at most whatever this says; [`FaultKind::QuorumLost`] once.
    pub mixture: BTreeMap<FaultKind, Duration>,
    /// What came of it.
    pub plan: FaultPlan,
}

impl Swarm {
    /// The same seed and config give the same plan, on every platform. A kind that is no longer allowed leaves the
    /// faults of the others as they were, unless none of these takes part: so a failed run can be made smaller.
    pub fn draw(seed: u64, config: &SwarmConfig) -> Self {
        let mut dice = Dice::new(seed);
        let fault_free = dice.chance(FAULT_FREE);
        let fallback = dice.seed();
        let mut kinds: Vec<Share> =
            FaultKind::SIMULATED.map(|kind| Share::draw(kind, dice.seed(), config.nodes)).into();
        kinds.retain(|share| config.allowed.contains(&share.kind));
        if fault_free || kinds.is_empty() {
            return Self { mixture: BTreeMap::new(), plan: FaultPlan::default() };
        }
        if !kinds.iter().any(|share| share.takes_part) {
            let index = Dice::new(fallback).below(kinds.len());
            kinds[index].takes_part = true;
        }
        kinds.retain(|share| share.takes_part);
        let mixture = kinds.iter().map(|share| (share.kind, share.every)).collect();
        let mut faults: Vec<Planned> = kinds.into_iter().flat_map(|share| share.faults(config)).collect();
        faults.sort_by_key(|planned| planned.at); // stable: of equals the kind declared first
        faults.truncate(FAULTS_MAX);
        Self { mixture, plan: FaultPlan { faults } }
    }
}

/// One kind's part in a run.
struct Share {
    kind: FaultKind,
    takes_part: bool,
    every: Duration,
    dice: Dice,
}

impl Share {
    fn draw(kind: FaultKind, seed: u64, nodes: usize) -> Self {
        let mut dice = Dice::new(seed);
        let takes_part = dice.chance(if kind == FaultKind::QuorumLost { TAKES_PART_RARE } else { TAKES_PART });
        let every = dice.log_between(EVERY_MS.0, EVERY_MS.1) * stretch(nodes);
        Self { kind, takes_part, every: Duration::from_millis(every.round() as u64), dice }
    }

    fn faults(self, config: &SwarmConfig) -> Vec<Planned> {
        let end = config.lasts.min(AT_MAX);
        let mut strain = Strain::draw(self.dice, self.kind, config.nodes, self.every);
        let mut time = Duration::ZERO;
        let next = || {
            let planned = strain.after(time);
            time = planned.at;
            (time < end).then_some(planned)
        };
        std::iter::from_fn(next).take(count_max(self.kind)).collect()
    }
}

/// Most faults of a kind in a run. Each lost disk has to be made up for before the next one, and a restart of all
/// machines takes a minute.
fn count_max(kind: FaultKind) -> usize {
    match kind {
        FaultKind::QuorumLost | FaultKind::Upgrade => 1,
        FaultKind::Rolling | FaultKind::Copy | FaultKind::Remove | FaultKind::Rotate => 2,
        FaultKind::Wipe | FaultKind::Lag => 3,
        FaultKind::KillAgent
        | FaultKind::KillMachine
        | FaultKind::PowerCut
        | FaultKind::Stop
        | FaultKind::Pause
        | FaultKind::Slow
        | FaultKind::DiskFull
        | FaultKind::Partition
        | FaultKind::Loss
        | FaultKind::Delay
        | FaultKind::Duplicate
        | FaultKind::Reorder
        | FaultKind::ClockOffset
        | FaultKind::ClockDrift
        | FaultKind::TaskCrash
        | FaultKind::TaskHang
        | FaultKind::TaskIgnoreTerm
        | FaultKind::TaskFailHealth
        | FaultKind::Lie
        | FaultKind::Move
        | FaultKind::Bandwidth
        | FaultKind::Cpu
        | FaultKind::Memory
        | FaultKind::Dns
        | FaultKind::Drain
        | FaultKind::Leader => FAULTS_MAX,
    }
}

/// Twenty nodes see faults twice as often as five. Not below a fourth, at 80 nodes: the voters are five in any ring,
/// and about as many of the faults strike them.
fn stretch(nodes: usize) -> f64 {
    (5.0 / nodes.max(1) as f64).sqrt().max(0.25)
}
