//! `taffeta chaos`: faults on purpose, and whether the fabric withstands them.
//!
//! `plan`, `run`, `inject` and their like work on real nodes, in `operate`. The rest needs no node and no API: `sim` plays a whole cluster in this process, `sim --seeds` one child process
//! per seed, and `sim ring` the ring alone. Left out: what is done, which is `taffeta-chaos-operator`, `taffeta-sim` and
//! `taffeta-chaos-ring`.

mod args;
mod operate;
mod ring;
mod scenario;
mod sim;
mod sweep;
mod words;

pub(crate) use args::ChaosVerb;

use crate::{args::ApiFlags, failure::Outcome};
use args::{SimArgs, SimVerb};
use scenario::Scenario;
use taffeta_net::{Entropy, SystemEntropy};

/// Runs one verb. `before` are the flags before it, which those behind it beat.
pub(crate) fn run(before: ApiFlags, verb: ChaosVerb) -> Outcome {
    match verb {
        ChaosVerb::Plan(args) => operate::plan(before, *args),
        ChaosVerb::Run(args) => operate::run(before, *args),
        ChaosVerb::Inject(args) => operate::inject(before, *args),
        ChaosVerb::Stop(args) => operate::stop(before, args),
        ChaosVerb::Allow(args) => operate::allow(before, args),
        ChaosVerb::Status(args) => operate::status(before, args),
        ChaosVerb::Probe(args) => operate::probe(before, args),
        ChaosVerb::Export(args) => operate::export(before, &args),
        ChaosVerb::Gauntlet(args) => operate::gauntlet(before, args),
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
