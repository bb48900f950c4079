//! Servers that have their turns in every round, so that what else the machine does falls on all of them.

use crate::{
    dns::{blast::Blast, pinned::Server, queries::Queries},
    figure::{Beside, median},
};
use anyhow::Result;
use std::time::Duration;

/// How rounds are made.
#[derive(Clone, Copy)]
pub(crate) struct Rounds {
    pub(crate) number: u8,
    /// Of each turn.
    pub(crate) time: Duration,
}

/// A server under one kind of load.
pub(crate) struct Entrant<'a> {
    server: &'a Server,
    queries: &'a Queries,
    pub(crate) blast: Blast,
    /// CPU time per query in us, of each round.
    samples: Vec<f64>,
    /// Replies of a snapshot older than that of a reply before it on the same socket.
    pub(crate) reordered: u64,
}

impl<'a> Entrant<'a> {
    /// Over datagrams.
    pub(crate) fn new(server: &'a Server, queries: &'a Queries) -> Result<Self> {
        Ok(Self::with(server, queries, Blast::new(server.address)?))
    }

    /// Over streams.
    pub(crate) fn streams(server: &'a Server, queries: &'a Queries) -> Result<Self> {
        Ok(Self::with(server, queries, Blast::streams(server.address)?))
    }

    fn with(server: &'a Server, queries: &'a Queries, blast: Blast) -> Self {
        Self { server, queries, blast, samples: Vec::new(), reordered: 0 }
    }

    fn turn(&mut self, time: Duration) -> Result<()> {
        let before = self.server.cpu()?;
        let tally = self.blast.saturate(self.queries, time)?;
        let used = self.server.cpu()? - before;
        tally.check(self.server.address)?;
        self.samples.push(used.as_secs_f64() * 1e6 / tally.answered as f64);
        self.reordered += tally.reordered;
        Ok(())
    }

    /// CPU time per query in us: the median.
    pub(crate) fn value(&self) -> f64 {
        median(&self.samples)
    }

    /// This one's figures as those of a peer of another.
    pub(crate) fn beside(&self, ours: &Self) -> Beside {
        let ratios: Vec<f64> = ours.samples.iter().zip(&self.samples).map(|(ours, peer)| ours / peer).collect();
        Beside { value: self.value(), ratio: median(&ratios) }
    }
}

/// Gives each its turns, those that there are. Before that each is asked every question, and has a turn that does not
/// count, so that caches are full.
pub(crate) fn hold<const N: usize>(entrants: [Option<&mut Entrant<'_>>; N], rounds: Rounds) -> Result<()> {
    let mut entrants: Vec<_> = entrants.into_iter().flatten().collect();
    for entrant in &mut entrants {
        entrant.blast.ask_each(entrant.queries)?.check(entrant.server.address)?;
        entrant.turn(rounds.time)?;
        entrant.samples.clear();
    }
    for _ in 0..rounds.number {
        for entrant in &mut entrants {
            entrant.turn(rounds.time)?;
        }
    }
    Ok(())
}
