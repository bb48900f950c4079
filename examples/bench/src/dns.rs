//! DNS: what a reply costs beside other servers that have their turns in the same run.
//!
//! Each server has one core, and the load, which is ours too, another. What is compared is the CPU time that a server
//! uses per question it has answered while it has more to do than it can, so that neither the speed of the load nor
//! what else the machine does counts. Replies that are not right make a case fail.

mod blast;
mod contest;
mod cost;
mod flood;
mod knot;
mod lane;
mod latency;
mod pinned;
mod places;
mod product;
mod queries;
mod tally;
mod unbound;
mod upstream;
mod visible;
mod zone;

use self::{contest::Rounds, cost::Costs, pinned::Cores, queries::Queries};
use crate::{
    args::{DnsArgs, DnsCase},
    figure::Report,
};
use anyhow::{Result, ensure};
use clap::ValueEnum;
use std::time::Duration;

pub(crate) use self::product::{product_to_serve, serve};

/// Services of the zone in which most is measured.
const SERVICES: u32 = 1_000;

/// Measures every case that is wanted, also after one that could not be measured.
pub(crate) fn run(args: &DnsArgs, report: &mut Report) -> Result<()> {
    let cores = Cores::split()?;
    let all = DnsCase::value_variants();
    let mut failed = 0;
    for case in if args.cases.is_empty() { all } else { &args.cases } {
        if let Err(error) = measure(*case, args, cores, report) {
            eprintln!("{case:?} was not measured: {error:#}");
            failed += 1;
        }
    }
    ensure!(failed == 0, "{failed} cases were not measured");
    Ok(())
}

fn measure(case: DnsCase, args: &DnsArgs, cores: Cores, report: &mut Report) -> Result<()> {
    let rounds = Rounds { number: args.rounds, time: Duration::from_secs_f64(args.seconds) };
    let mut costs = Costs { cores, rounds, report };
    match case {
        DnsCase::A => costs.beside_knot("a", &Queries::addresses(SERVICES)),
        DnsCase::Srv => costs.beside_knot("srv", &Queries::services(SERVICES)),
        DnsCase::ALarge => costs.large(["a_large", "a_large_knot"], Queries::addresses, args.large),
        DnsCase::SrvLarge => costs.large(["srv_large", "srv_large_knot"], Queries::services, args.large),
        DnsCase::AChanging => costs.changing(["a_changing", "a_reordered"], Queries::addresses(SERVICES)),
        DnsCase::SrvChanging => costs.changing(["srv_changing", "srv_reordered"], Queries::services(SERVICES)),
        DnsCase::Nxdomain => costs.unknown(),
        DnsCase::Forwarded => costs.forwarded(),
        DnsCase::Tcp => costs.streams("tcp", &Queries::services(SERVICES)),
        DnsCase::ChangeVisible => visible::run(cores, args.large, report),
        DnsCase::Flood => flood::run(cores, rounds, report),
        DnsCase::Latency => latency::run(cores, rounds, report),
    }
}
