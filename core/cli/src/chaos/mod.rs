//! `taffeta chaos`: faults on purpose, and whether the fabric withstands them.
//!
//! What is here needs no node and no API: `sim` plays a whole cluster in this process, `sim --seeds` one child process
//! per seed, and `sim ring` the ring alone. Left out: the simulators themselves, which are `taffeta-sim` and
//! `taffeta-chaos-ring`.

mod args;
mod ring;
mod scenario;
mod sim;
mod sweep;
mod words;

pub(crate) use args::ChaosVerb;

use crate::failure::Outcome;
use args::{SimArgs, SimVerb};
use scenario::Scenario;
use taffeta_net::{Entropy, SystemEntropy};

pub(crate) fn run(verb: ChaosVerb) -> Outcome {
    match verb {
        ChaosVerb::Sim(SimArgs { instead: Some(SimVerb::Ring(args)), .. }) => ring::run(&args),
        ChaosVerb::Sim(SimArgs { instead: None, flags }) => {
            let scenario = Scenario::read(&flags)?;
            match flags.seeds {
                Some(seeds) => sweep::run(scenario, seeds, flags.jobs, flags.output.format),
                None => sim::run(&scenario, flags.seed.unwrap_or_else(fresh_seed), flags.sweep, flags.output.format),
            }
        }
    }
}

/// One that nobody chose: short enough to be typed, and to survive programs that know no whole numbers above 2^53.
fn fresh_seed() -> u64 {
    let mut bytes = [0; 4];
    SystemEntropy.fill(&mut bytes);
    u32::from_le_bytes(bytes).into()
}
