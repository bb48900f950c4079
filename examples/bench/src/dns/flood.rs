//! What a flood from one address does to those at other addresses.

use crate::{
    dns::{
        SERVICES,
        blast::Blast,
        contest::Rounds,
        pinned::Cores,
        product::{Product, Spec},
        queries::Queries,
        tally::Tally,
    },
    figure::{Beside, Figure, Report, median, percentile},
};
use anyhow::{Result, ensure};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

/// Questions per second of all who do not flood.
const RATE: f64 = 2_000.0;

/// Rounds with a flood to the server, and with one of the same size to nobody, so that only what the server makes of it
/// is different.
pub(crate) fn run(cores: Cores, rounds: Rounds, report: &mut Report) -> Result<()> {
    let queries = Queries::addresses(SERVICES);
    let product = Product::start(cores, &Spec::with(SERVICES))?;
    let server = product.server.address;
    let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let turn = |flooded: SocketAddr| Blast::beside_flood(server, flooded)?.steady(&queries, rounds.time, RATE);
    let (mut calm, mut flooded) = (Sample::default(), Sample::default());
    for _ in 0..rounds.number {
        calm.add(&turn(nobody.local_addr()?)?)?;
        flooded.add(&turn(server)?)?;
    }
    report.tell(Figure::new("flood_unanswered", median(&flooded.unanswered), "%").at_most(20.0));
    report.tell(Figure::new("no_flood_unanswered", median(&calm.unanswered), "%"));
    let ratios: Vec<f64> = flooded.p50_us.iter().zip(&calm.p50_us).map(|(flooded, calm)| flooded / calm).collect();
    let peer = Beside { value: median(&calm.p50_us), ratio: median(&ratios) };
    report.tell(Figure::new("flood_p50", median(&flooded.p50_us), "us").beside("no_flood", Some(peer)).at_most(1.2));
    Ok(())
}

#[derive(Default)]
struct Sample {
    /// In percent.
    unanswered: Vec<f64>,
    p50_us: Vec<f64>,
}

impl Sample {
    fn add(&mut self, tally: &Tally) -> Result<()> {
        let Tally { answered, lost, wrong, took_us, .. } = tally;
        ensure!(*wrong == 0, "{wrong} replies are wrong");
        self.unanswered.push(100.0 * *lost as f64 / (answered + lost) as f64);
        // Who has no reply at all waits for ever.
        self.p50_us.push(if took_us.is_empty() { f64::INFINITY } else { percentile(took_us, 0.5) });
        Ok(())
    }
}
