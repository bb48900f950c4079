//! What a reply costs: the CPU time of a server per question that it has answered.

use crate::{
    dns::{
        SERVICES,
        contest::{Entrant, Rounds, hold},
        knot::Knot,
        pinned::Cores,
        product::{Product, Spec},
        queries::Queries,
        unbound::Unbound,
        upstream,
    },
    figure::{Figure, Report},
};
use anyhow::{Result, ensure};
use std::time::Instant;

const UNIT: &str = "us_cpu_per_query";

/// Where and how costs are measured, and where they are told.
pub(crate) struct Costs<'a> {
    pub(crate) cores: Cores,
    pub(crate) rounds: Rounds,
    pub(crate) report: &'a mut Report,
}

impl Costs<'_> {
    /// The product and Knot with the same zone and the same questions.
    pub(crate) fn beside_knot(&mut self, case: &'static str, queries: &Queries) -> Result<()> {
        let product = Product::start(self.cores, &Spec::with(SERVICES))?;
        let knot = Knot::start(self.cores, SERVICES)?;
        let mut ours = Entrant::new(&product.server, queries)?;
        let mut peer = knot.as_ref().map(|knot| Entrant::new(&knot.server, queries)).transpose()?;
        hold([Some(&mut ours), peer.as_mut()], self.rounds)?;
        let peer = peer.map(|peer| peer.beside(&ours));
        self.report.tell(Figure::new(case, ours.value(), UNIT).beside("knot", peer).at_most(0.9));
        Ok(())
    }

    /// The same on streams on which questions follow each other without waiting.
    pub(crate) fn streams(&mut self, case: &'static str, queries: &Queries) -> Result<()> {
        let product = Product::start(self.cores, &Spec::with(SERVICES))?;
        let knot = Knot::start(self.cores, SERVICES)?;
        let mut ours = Entrant::streams(&product.server, queries)?;
        let mut peer = knot.as_ref().map(|knot| Entrant::streams(&knot.server, queries)).transpose()?;
        hold([Some(&mut ours), peer.as_mut()], self.rounds)?;
        let peer = peer.map(|peer| peer.beside(&ours));
        self.report.tell(Figure::new(case, ours.value(), UNIT).beside("knot", peer).at_most(1.0));
        Ok(())
    }

    /// A large zone beside the usual one, and what the difference is for Knot.
    pub(crate) fn large(&mut self, case: [&'static str; 2], of: fn(u32) -> Queries, services: u32) -> Result<()> {
        let (few, many) = (of(SERVICES), of(services));
        let small = Product::start(self.cores, &Spec::with(SERVICES))?;
        let large = Product::start(self.cores, &Spec::with(services))?;
        let mut small = Entrant::new(&small.server, &few)?;
        let mut large = Entrant::new(&large.server, &many)?;
        let knots = (Knot::start(self.cores, SERVICES)?, Knot::start(self.cores, services)?);
        let mut knot_small = knots.0.as_ref().map(|knot| Entrant::new(&knot.server, &few)).transpose()?;
        let mut knot_large = knots.1.as_ref().map(|knot| Entrant::new(&knot.server, &many)).transpose()?;
        hold([Some(&mut small), Some(&mut large), knot_small.as_mut(), knot_large.as_mut()], self.rounds)?;
        let figure = Figure::new(case[0], large.value(), UNIT);
        self.report.tell(figure.beside("own_small", Some(small.beside(&large))).at_most(1.2));
        if let (Some(small), Some(large)) = (knot_small, knot_large) {
            let figure = Figure::new(case[1], large.value(), UNIT);
            self.report.tell(figure.beside("knot_small", Some(small.beside(&large))));
        }
        Ok(())
    }

    /// A zone that changes 100 times a second beside one that does not.
    pub(crate) fn changing(&mut self, case: [&'static str; 2], queries: Queries) -> Result<()> {
        let queries = queries.counting();
        let calm = Product::start(self.cores, &Spec::with(SERVICES))?;
        let start = Instant::now();
        let changing = Product::start(self.cores, &Spec { changes: true, ..Spec::with(SERVICES) })?;
        let (mut calm, mut changing) =
            (Entrant::new(&calm.server, &queries)?, Entrant::new(&changing.server, &queries)?);
        hold([Some(&mut calm), Some(&mut changing)], self.rounds)?;
        let per_second = f64::from(changing.blast.newest()) / start.elapsed().as_secs_f64();
        ensure!(per_second > 90.0, "only {per_second:.0} changes a second were made");
        let figure = Figure::new(case[0], changing.value(), UNIT);
        self.report.tell(figure.beside("own_calm", Some(calm.beside(&changing))).at_most(1.2));
        self.report.tell(Figure::new(case[1], changing.reordered as f64, "replies").at_most(0.0));
        Ok(())
    }

    /// Names that do not exist, beside our own A and beside Knot.
    pub(crate) fn unknown(&mut self) -> Result<()> {
        let (known, unknown) = (Queries::addresses(SERVICES), Queries::unknown(1));
        let product = Product::start(self.cores, &Spec::with(SERVICES))?;
        let knot = Knot::start(self.cores, SERVICES)?;
        let mut a = Entrant::new(&product.server, &known)?;
        let mut nxdomain = Entrant::new(&product.server, &unknown)?;
        let mut peer = knot.as_ref().map(|knot| Entrant::new(&knot.server, &unknown)).transpose()?;
        hold([Some(&mut a), Some(&mut nxdomain), peer.as_mut()], self.rounds)?;
        let figure = Figure::new("nxdomain", nxdomain.value(), UNIT);
        self.report.tell(figure.beside("own_a", Some(a.beside(&nxdomain))).at_most(1.0));
        let peer = peer.map(|peer| peer.beside(&nxdomain));
        self.report.tell(Figure { case: "nxdomain_knot", ..figure }.beside("knot", peer));
        Ok(())
    }

    /// Names of others that were asked for before, beside unbound.
    pub(crate) fn forwarded(&mut self) -> Result<()> {
        let queries = Queries::foreign();
        let upstream = upstream::start()?;
        let spec = Spec { upstream: Some(upstream), ..Spec::with(SERVICES) };
        let mut product = Product::start(self.cores, &spec)?;
        let mut unbound = Unbound::start(self.cores, upstream)?;
        for server in [Some(&mut product.server), unbound.as_mut().map(|u| &mut u.server)].into_iter().flatten() {
            for packet in &queries.packets {
                server.wait_for(packet, |reply| queries.expected.is(reply))?;
            }
        }
        let mut ours = Entrant::new(&product.server, &queries)?;
        let mut peer = unbound.as_ref().map(|unbound| Entrant::new(&unbound.server, &queries)).transpose()?;
        hold([Some(&mut ours), peer.as_mut()], self.rounds)?;
        let peer = peer.map(|peer| peer.beside(&ours));
        let most = 1.0 / 0.8; // 0.8 of unbound's speed
        self.report.tell(Figure::new("forwarded", ours.value(), UNIT).beside("unbound", peer).at_most(most));
        Ok(())
    }
}
