//! What a set of faults takes away: tasks, shares of services, votes. Pure.

use crate::{fleet::Fleet, format::silences};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use taffeta_chaos_plan::{Fault, FaultKind};

/// Of so many messages lost, those who are asked for a vote, or to confirm a write, are heard too rarely.
const LOSS_MAX: f64 = 0.5;
/// So late, an answer comes after the next election has begun.
const DELAY_MAX: Duration = Duration::from_millis(500);

/// A fault on one machine, as far as what it takes away is concerned.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The machine.
    pub node: String,
    /// The fault.
    pub fault: Fault,
    /// The other ends of a network fault; everybody if empty.
    pub peers: Vec<String>,
    /// The task that is struck instead of the machine.
    pub task: Option<String>,
}

/// What faults that are on at the same time take away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Blast {
    /// Machines that are struck.
    pub nodes: Vec<String>,
    /// Tasks that are away: on machines that fall silent or are drained, or struck alone.
    pub tasks: Vec<String>,
    /// Of each service that has such tasks, how many, and of how many.
    pub services: BTreeMap<String, Share>,
    /// What is left of the votes.
    pub votes: Votes,
}

/// A part of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Instances that are met.
    pub met: usize,
    /// Instances that there are.
    pub of: usize,
}

/// The votes that are left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Votes {
    /// Voters.
    pub of: usize,
    /// Those that still hear each other and can write: of parted ones, the larger part.
    pub left: usize,
    /// More than half.
    pub needed: usize,
}

impl Votes {
    /// Whether nothing can be written any more.
    pub fn are_too_few(&self) -> bool {
        self.left < self.needed
    }
}

impl Blast {
    /// What these faults take away together, from the cluster as it is.
    pub fn of(hits: &[Hit], fleet: &Fleet) -> Self {
        let drained = hits.iter().filter(|hit| hit.fault.kind() == FaultKind::Drain).map(|hit| hit.node.clone());
        let away: BTreeSet<String> = silenced(hits, fleet).into_iter().chain(drained).collect();
        let alone: BTreeSet<&str> = hits.iter().filter_map(|hit| hit.task.as_deref()).collect();
        let met: Vec<_> =
            fleet.tasks.iter().filter(|task| away.contains(&task.node) || alone.contains(task.id.as_str())).collect();
        let mut services: BTreeMap<String, Share> = BTreeMap::new();
        for task in &met {
            let of = fleet.tasks.iter().filter(|other| other.service == task.service).count();
            services.entry(task.service.clone()).or_insert(Share { met: 0, of }).met += 1;
        }
        let nodes: BTreeSet<String> = hits.iter().map(|hit| hit.node.clone()).collect();
        Self {
            nodes: nodes.into_iter().collect(),
            tasks: met.iter().map(|task| task.id.clone()).collect(),
            services,
            votes: votes(hits, fleet),
        }
    }

    /// For people: `web/shop 1 of 3; 2 of 3 votes are left`.
    pub fn words(&self) -> String {
        let share = |(service, share): (&String, &Share)| format!("{service} {} of {}", share.met, share.of);
        let mut words: Vec<String> = self.services.iter().map(share).collect();
        if words.is_empty() {
            words.push("no service".into());
        }
        let Votes { of, left, needed } = self.votes;
        words.push(format!("{left} of {of} votes are left, {needed} are needed"));
        words.join("; ")
    }
}

fn votes(hits: &[Hit], fleet: &Fleet) -> Votes {
    let of = fleet.voters.len();
    let silent: BTreeSet<&str> = hits.iter().filter(|hit| takes_vote(hit)).map(|hit| hit.node.as_str()).collect();
    let able: Vec<&str> = fleet
        .voters
        .iter()
        .map(String::as_str)
        .filter(|voter| !silent.contains(voter) && fleet.machines.get(*voter).is_some_and(|machine| machine.alive))
        .collect();
    let left = largest_part(&able, |a, b| hits.iter().any(|hit| parts(hit, a, b)));
    Votes { of, left, needed: of / 2 + 1 }
}

/// The machines that neither serve nor vote while these are on: of a partition the side that cannot write, that is the
/// one with fewer voters.
pub(crate) fn silenced(hits: &[Hit], fleet: &Fleet) -> BTreeSet<String> {
    let mut silent = BTreeSet::new();
    // The hits of one partition have the same other ends.
    let mut parted: BTreeMap<&[String], BTreeSet<&String>> = BTreeMap::new();
    for hit in hits.iter().filter(|hit| hit.task.is_none() && silences(&hit.fault)) {
        if hit.fault.kind() == FaultKind::Partition {
            parted.entry(hit.peers.as_slice()).or_default().insert(&hit.node);
        } else {
            silent.insert(hit.node.clone());
        }
    }
    for struck in parted.values() {
        let inside = fleet.voters.iter().filter(|voter| struck.contains(voter)).count();
        let goes_on = inside > fleet.voters.len() / 2;
        silent.extend(fleet.machines.keys().filter(|name| struck.contains(name) != goes_on).cloned());
    }
    silent
}

/// Whether the machine cannot vote at all, whoever hears it: also one whose disk takes nothing.
fn takes_vote(hit: &Hit) -> bool {
    let kind = hit.fault.kind();
    hit.task.is_none() && (kind == FaultKind::DiskFull || silences(&hit.fault) && kind != FaultKind::Partition)
}

/// Whether machines do not hear each other under it, or too rarely or too late to agree on anything.
fn cuts(fault: &Fault) -> bool {
    matches!(fault, Fault::Partition { .. })
        || matches!(fault, Fault::Loss { fraction } if *fraction >= LOSS_MAX)
        || matches!(fault, Fault::Delay { by, jitter } if by.saturating_add(*jitter) >= DELAY_MAX)
}

/// Whether two machines do not hear each other because of it.
fn parts(hit: &Hit, a: &str, b: &str) -> bool {
    if !cuts(&hit.fault) {
        return false;
    }
    let other = |one: &str| hit.peers.is_empty() || hit.peers.iter().any(|peer| peer == one);
    hit.node == a && other(b) || hit.node == b && other(a)
}

/// How many of these hear each other, all of them all others, grown from each one in turn.
fn largest_part(nodes: &[&str], parted: impl Fn(&str, &str) -> bool) -> usize {
    let grown = nodes.iter().map(|first| {
        let mut part = vec![*first];
        for node in nodes {
            if node != first && part.iter().all(|other| !parted(node, other)) {
                part.push(node);
            }
        }
        part.len()
    });
    grown.max().unwrap_or_default()
}

#[cfg(test)]
mod tests;
