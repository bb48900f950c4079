//! What one kind of fault is like in one run: how often, how long, how hard, and where.

use crate::{
    check::unsuited,
    dice::Dice,
    fault::{CopyUse, Fault, PartitionShape},
    kind::FaultKind,
    plan::Planned,
    target::Target,
};
use std::time::Duration;

const LASTS_MIN: Duration = Duration::from_millis(1);
/// So that a run of a few minutes sees recoveries too.
const LASTS_MAX: Duration = Duration::from_secs(30);

/// The faults of one kind in one run resemble each other, those of another run do not.
pub(crate) struct Strain {
    dice: Dice,
    nodes: usize,
    every: Duration,
    lasts: Duration,
    for_good: bool,
    typical: Fault,
}

impl Strain {
    /// `every`: the mean time between two faults.
    pub(crate) fn draw(mut dice: Dice, kind: FaultKind, nodes: usize, every: Duration) -> Self {
        let lasts = Duration::from_millis(dice.log_between(300.0, 20_000.0).round() as u64);
        let instant = matches!(kind, FaultKind::TaskCrash | FaultKind::Rotate);
        let for_good = instant || kind == FaultKind::ClockOffset && dice.chance(0.25);
        let typical = typical(kind, &mut dice);
        Self { dice, nodes, every, lasts, for_good, typical }
    }

    /// The next fault after that time; arrivals are a Poisson process.
    pub(crate) fn after(&mut self, time: Duration) -> Planned {
        let at = time.saturating_add(self.dice.exponential_duration(self.every));
        let lasts = self.dice.exponential_duration(self.lasts).clamp(LASTS_MIN, LASTS_MAX);
        let fault = vary(self.typical, &mut self.dice);
        let lasts = fit(&fault, lasts);
        let target = draw_target(&fault, self.nodes, &mut self.dice);
        Planned { at, lasts: (!self.for_good).then_some(lasts), target, fault }
    }
}

fn typical(kind: FaultKind, dice: &mut Dice) -> Fault {
    match kind {
        FaultKind::KillAgent => Fault::KillAgent,
        FaultKind::KillMachine => Fault::KillMachine,
        FaultKind::PowerCut => Fault::PowerCut,
        FaultKind::Stop => Fault::Stop,
        FaultKind::Wipe => Fault::Wipe,
        FaultKind::Pause => Fault::Pause,
        FaultKind::Slow => Fault::Slow { factor: dice.log_between(2.0, 20.0).round() as u32 },
        FaultKind::DiskFull => Fault::DiskFull,
        FaultKind::Partition => Fault::Partition { shape: draw_shape(dice) },
        FaultKind::Loss => Fault::Loss { fraction: dice.log_between(0.01, 0.4) },
        FaultKind::Delay => {
            let by = dice.log_between(5.0, 400.0);
            Fault::Delay { by: millis(by), jitter: millis(by * dice.unit()) }
        }
        FaultKind::Duplicate => Fault::Duplicate { fraction: dice.log_between(0.01, 0.3) },
        FaultKind::Reorder => Fault::Reorder { fraction: dice.log_between(0.01, 0.3) },
        FaultKind::ClockOffset => {
            let seconds = dice.chance(0.75);
            let ms = if seconds { dice.log_between(50.0, 10e3) } else { dice.log_between(10e3, 1200e3) };
            Fault::ClockOffset { by_ms: signed(ms, dice) }
        }
        FaultKind::ClockDrift => {
            let quartz = dice.chance(0.8); // real clocks stay within 500 ppm; the rest are broken ones
            let ppm = if quartz { dice.between(1.0, 500.0) } else { dice.log_between(500.0, 50e3) };
            Fault::ClockDrift { ppm: signed(ppm, dice) }
        }
        FaultKind::TaskCrash => Fault::TaskCrash,
        FaultKind::TaskHang => Fault::TaskHang,
        FaultKind::TaskIgnoreTerm => Fault::TaskIgnoreTerm,
        FaultKind::TaskFailHealth => Fault::TaskFailHealth,
        FaultKind::Lie => Fault::Lie,
        FaultKind::Move => Fault::Move,
        FaultKind::Rolling => Fault::Rolling,
        FaultKind::Copy => Fault::Copy { used: CopyUse::ALL[dice.below(CopyUse::ALL.len())] },
        FaultKind::QuorumLost => Fault::QuorumLost,
        FaultKind::Lag => Fault::Lag,
        FaultKind::Upgrade => Fault::Upgrade,
        FaultKind::Remove => Fault::Remove,
        FaultKind::Rotate => Fault::Rotate,
        FaultKind::Bandwidth
        | FaultKind::Cpu
        | FaultKind::Memory
        | FaultKind::Dns
        | FaultKind::Drain
        | FaultKind::Leader => unreachable!("only what the simulator knows is drawn"),
    }
}

/// The same a fifth weaker to a fourth stronger, but within the range that [`typical`] draws from.
fn vary(fault: Fault, dice: &mut Dice) -> Fault {
    let by = dice.log_between(0.8, 1.25);
    // Thousandths, so that a plan in a file is easy to read.
    let vary_fraction = |fraction: f64, max: f64| ((fraction * by).clamp(0.01, max) * 1e3).round() / 1e3;
    let vary_signed = |n: i64, max: f64| (n as f64 * by).clamp(-max, max).round() as i64;
    match fault {
        Fault::Slow { factor } => Fault::Slow { factor: (f64::from(factor) * by).clamp(2.0, 20.0).round() as u32 },
        Fault::Partition { .. } if dice.chance(0.3) => Fault::Partition { shape: draw_shape(dice) },
        Fault::Loss { fraction } => Fault::Loss { fraction: vary_fraction(fraction, 0.4) },
        Fault::Duplicate { fraction } => Fault::Duplicate { fraction: vary_fraction(fraction, 0.3) },
        Fault::Reorder { fraction } => Fault::Reorder { fraction: vary_fraction(fraction, 0.3) },
        Fault::Delay { by: delay, jitter } => {
            let delay = millis((delay.as_millis() as f64 * by).clamp(5.0, 400.0));
            Fault::Delay { by: delay, jitter: millis(jitter.as_millis() as f64 * by).min(delay) }
        }
        Fault::ClockOffset { by_ms } => Fault::ClockOffset { by_ms: vary_signed(by_ms, 1200e3) },
        Fault::ClockDrift { ppm } => Fault::ClockDrift { ppm: vary_signed(ppm, 50e3) },
        Fault::KillAgent
        | Fault::KillMachine
        | Fault::PowerCut
        | Fault::Stop
        | Fault::Wipe
        | Fault::Pause
        | Fault::DiskFull
        | Fault::Partition { .. }
        | Fault::TaskCrash
        | Fault::TaskHang
        | Fault::TaskIgnoreTerm
        | Fault::TaskFailHealth
        | Fault::Lie
        | Fault::Move
        | Fault::Rolling
        | Fault::Copy { .. }
        | Fault::QuorumLost
        | Fault::Lag
        | Fault::Upgrade
        | Fault::Remove
        | Fault::Rotate
        | Fault::Bandwidth { .. }
        | Fault::Cpu { .. }
        | Fault::Memory { .. }
        | Fault::Dns { .. }
        | Fault::Drain
        | Fault::Leader => fault,
    }
}

/// What takes its time gets it, and what does its part many times does not take for ever.
fn fit(fault: &Fault, lasts: Duration) -> Duration {
    let (least, most) = match fault {
        Fault::Rolling | Fault::Upgrade => (1, 3_000), // of each machine
        Fault::QuorumLost => (20_000, 60_000),
        Fault::Lag => (12_000, 45_000),
        Fault::Copy { .. } => (8_000, 30_000),
        Fault::KillAgent
        | Fault::KillMachine
        | Fault::PowerCut
        | Fault::Stop
        | Fault::Wipe
        | Fault::Pause
        | Fault::Slow { .. }
        | Fault::DiskFull
        | Fault::Partition { .. }
        | Fault::Loss { .. }
        | Fault::Delay { .. }
        | Fault::Duplicate { .. }
        | Fault::Reorder { .. }
        | Fault::ClockOffset { .. }
        | Fault::ClockDrift { .. }
        | Fault::TaskCrash
        | Fault::TaskHang
        | Fault::TaskIgnoreTerm
        | Fault::TaskFailHealth
        | Fault::Lie
        | Fault::Move
        | Fault::Remove
        | Fault::Rotate
        | Fault::Bandwidth { .. }
        | Fault::Cpu { .. }
        | Fault::Memory { .. }
        | Fault::Dns { .. }
        | Fault::Drain
        | Fault::Leader => return lasts,
    };
    let long = if least > 1 { lasts + Duration::from_millis(least) } else { lasts };
    long.min(Duration::from_millis(most))
}

/// Of 100 faults 45 strike any one node and 20 the leader. Without a quorum nothing moves, and a run that only stands
/// still finds nothing: what may take the quorum away is rare.
fn draw_target(fault: &Fault, nodes: usize, dice: &mut Dice) -> Target {
    let target = match dice.below(100) {
        0..45 => Target::One,
        45..65 => Target::Leader,
        65..80 => Target::Node(format!("n{}", 1 + dice.below(nodes))),
        80..92 => Target::Minority,
        92..96 => Target::Voters,
        96..98 => Target::Majority,
        _ => Target::All,
    };
    // A lost disk is one voter less for good until it is replaced: two at once may be beyond what any quorum survives.
    // It is one member that lies. And machines that all move at once know of nobody where anybody is.
    let one = matches!(fault, Fault::Wipe | Fault::Lie | Fault::Move | Fault::Copy { .. } | Fault::Lag | Fault::Remove);
    let all = matches!(fault, Fault::Rolling | Fault::Upgrade | Fault::Rotate);
    if *fault == Fault::QuorumLost {
        Target::Voters
    } else if all {
        Target::All
    } else if one || unsuited(fault, &target).is_some() {
        Target::One
    } else {
        target
    }
}

fn draw_shape(dice: &mut Dice) -> PartitionShape {
    PartitionShape::ALL[dice.below(PartitionShape::ALL.len())]
}

fn millis(ms: f64) -> Duration {
    Duration::from_millis(ms.round() as u64)
}

fn signed(size: f64, dice: &mut Dice) -> i64 {
    let size = size.round() as i64;
    if dice.chance(0.5) { size } else { -size }
}
