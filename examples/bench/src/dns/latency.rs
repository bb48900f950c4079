//! How long replies take when the server is not busy.

use crate::{
    dns::{
        SERVICES,
        blast::Blast,
        contest::Rounds,
        knot::Knot,
        pinned::{Cores, Server},
        product::{Product, Spec},
        queries::Queries,
    },
    figure::{Beside, Figure, Report, median, percentile},
};
use anyhow::Result;

/// Questions per second: some percent of what a server can do.
const RATE: f64 = 5_000.0;

/// The product and Knot.
pub(crate) fn run(cores: Cores, rounds: Rounds, report: &mut Report) -> Result<()> {
    let queries = Queries::services(SERVICES);
    let product = Product::start(cores, &Spec::with(SERVICES))?;
    let knot = Knot::start(cores, SERVICES)?;
    let (mut own, mut peer) = (Samples::default(), Samples::default());
    for _ in 0..rounds.number {
        own.add(&product.server, &queries, rounds)?;
        if let Some(knot) = &knot {
            peer.add(&knot.server, &queries, rounds)?;
        }
    }
    for (case, own, peer) in [("srv_p50", &own.p50_us, &peer.p50_us), ("srv_p99", &own.p99_us, &peer.p99_us)] {
        let ratios: Vec<f64> = own.iter().zip(peer).map(|(own, peer)| own / peer).collect();
        let beside = knot.as_ref().map(|_| Beside { value: median(peer), ratio: median(&ratios) });
        report.tell(Figure::new(case, median(own), "us").beside("knot", beside));
    }
    Ok(())
}

#[derive(Default)]
struct Samples {
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
}

impl Samples {
    fn add(&mut self, server: &Server, queries: &Queries, rounds: Rounds) -> Result<()> {
        let tally = Blast::new(server.address)?.steady(queries, rounds.time, RATE)?;
        tally.check(server.address)?;
        self.p50_us.push(percentile(&tally.took_us, 0.5));
        self.p99_us.push(percentile(&tally.took_us, 0.99));
        Ok(())
    }
}
