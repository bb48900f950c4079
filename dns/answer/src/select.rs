//! Which records of an RRset are given, and in which order.

use crate::{
    MAX_RRSET,
    machines::{Here, Machines, UNKNOWN},
    sample::{SplitMix, sample, shuffle},
    sets::Ranking,
    zone::RrSet,
};
use std::net::IpAddr;

/// Largest step that a priority has above that of the client's machine: clients need no more of them.
const STEP_MAX: u8 = 5;

/// One record that is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pick {
    /// Its position in the set.
    pub(crate) position: u32,
    /// What is added to the priority of SRV, SVCB and HTTPS records: how far the instance is from the client, if the
    /// order is by nearness. 0: on its machine; 1: in its zone; 2 to 5: further and further; else 0.
    pub(crate) step: u8,
}

/// Where a question comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Viewpoint<'a> {
    pub(crate) machines: &'a Machines,
    pub(crate) client: Option<IpAddr>,
}

/// Selects; keeps its room from one question to the next.
#[derive(Debug, Default)]
pub(crate) struct Selector {
    picks: Vec<Pick>,
    positions: Vec<u32>,
    sums: Vec<u64>,
    ranks: Vec<u8>,
}

impl Selector {
    /// The records of a set that are given, in their order. The same set, viewpoint and random numbers give the same;
    /// a set of one takes no random number unless it is weighted.
    pub(crate) fn select(&mut self, set: &RrSet<'_>, from: Viewpoint<'_>, random: &mut SplitMix) -> &[Pick] {
        self.picks.clear();
        let equal = |position: &u32| Pick { position: *position, step: 0 };
        match set {
            RrSet::List(list) => {
                let (len, limit) = (list.records.len(), usize::from(list.limit));
                match &list.ranking {
                    Ranking::Equal => sample(len, limit, random, &mut self.positions),
                    Ranking::Weighted(weights) => weights.draw(limit, random, &mut self.sums, &mut self.positions),
                    Ranking::Near(spots) => {
                        let here = from.machines.here(from.client);
                        self.rank(len, spots.iter().map(|(position, spot)| (*position, spot.rank(here))));
                        self.nearest(limit, random);
                        return &self.picks;
                    }
                }
            }
            RrSet::Pointers(_) | RrSet::Kinds(_) | RrSet::Kind(..) => {
                sample(set.len(), MAX_RRSET, random, &mut self.positions);
            }
        }
        self.picks.extend(self.positions.iter().map(equal));
        &self.picks
    }

    /// Of several instances behind one record the nearest counts.
    fn rank(&mut self, len: usize, ranked: impl Iterator<Item = (u32, u8)>) {
        self.ranks.clear();
        self.ranks.resize(len, UNKNOWN);
        for (position, rank) in ranked {
            let known = &mut self.ranks[position as usize];
            *known = rank.min(*known);
        }
    }

    /// The first `limit` by rank, at random among equals: a counting sort, then a shuffle of each rank's.
    fn nearest(&mut self, limit: usize, random: &mut SplitMix) {
        let mut ends = [0u32; 256];
        self.ranks.iter().for_each(|rank| ends[usize::from(*rank)] += 1);
        let mut sum = 0;
        for end in &mut ends {
            sum += *end;
            *end = sum - *end;
        }
        // Now each holds the beginning of its rank's; filling moves it to the end.
        self.positions.clear();
        self.positions.resize(self.ranks.len(), 0);
        for (position, rank) in (0u32..).zip(&self.ranks) {
            let end = &mut ends[usize::from(*rank)];
            self.positions[*end as usize] = position;
            *end += 1;
        }
        let mut begin = 0;
        while begin < self.positions.len().min(limit) {
            let rank = self.ranks[self.positions[begin] as usize];
            let end = ends[usize::from(rank)] as usize;
            let count = (end - begin).min(limit - begin);
            shuffle(&mut self.positions[begin..end], count, random);
            let step = rank.min(STEP_MAX);
            let picks = self.positions[begin..begin + count].iter().map(|position| Pick { position: *position, step });
            self.picks.extend(picks);
            begin += count;
        }
    }
}

impl crate::machines::Spot {
    /// How far it is: 0 on the client's machine, 1 in its zone, then by distance, unknown distances last.
    pub(crate) fn rank(self, here: Here) -> u8 {
        if self.machine.is_some() && self.machine == here.machine {
            0
        } else if self.zone.is_some() && self.zone == here.zone {
            1
        } else {
            self.distance.map_or(UNKNOWN, |d| d.saturating_add(2).min(UNKNOWN - 1))
        }
    }
}
