//! What takes machines away for good or for long: copied disks, removals, lost quorums.

use super::down;
use crate::{
    cluster::Cluster,
    disk::Disk,
    machine::{Machine, Rest},
    moments::Moment,
    offline,
};
use rand::{rngs::SmallRng, seq::SliceRandom};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use taffeta_chaos_plan::CopyUse;
use taffeta_model::NodeId;
use taffeta_node::{Inspect, SurveyView};

/// What is under way.
#[derive(Default)]
pub(super) struct Losses {
    copies: Vec<Copied>,
    quorum: Option<Lost>,
}

/// A copied disk.
struct Copied {
    original: usize,
    used: Copying,
    until: Duration,
}

enum Copying {
    /// The machine that runs from the copy.
    Beside(usize),
    /// What is put into the original then.
    Instead(Option<Arc<Disk>>, Duration),
}

/// A quorum that is lost.
struct Lost {
    /// An operator recovers then.
    recover_at: Option<Duration>,
    until: Duration,
    down: BTreeSet<usize>,
}

impl Losses {
    /// Copies the disk of a machine.
    pub(super) fn copy(&mut self, cluster: &mut Cluster, i: usize, used: CopyUse, lasts: Duration) {
        let now = cluster.now();
        if !cluster.machines[i].disk.has_file("membership") {
            return cluster.tell("there is nothing to copy yet");
        }
        let used = match used {
            CopyUse::Beside => Copying::Beside(cluster.add_copy(i)),
            CopyUse::Instead if can_spare(cluster, i) && may_be_set_back(cluster, i) => {
                let disk = cluster.machines[i].disk.copy(i as u64 + 1);
                down(cluster, i, |machine, site| machine.kill(site, Rest::Until(now)));
                Copying::Instead(Some(disk), now + lasts / 2)
            }
            CopyUse::Instead => return cluster.tell("no other machine can be lost for good at present"),
        };
        self.copies.push(Copied { original: i, used, until: now + lasts });
    }

    /// Takes so many of these machines down that no majority of them is left.
    pub(super) fn lose_quorum(
        &mut self,
        cluster: &mut Cluster,
        of: &BTreeSet<usize>,
        lasts: Duration,
        rng: &mut SmallRng,
    ) {
        let now = cluster.now();
        let mut order: Vec<usize> = of.iter().copied().collect();
        order.shuffle(rng);
        order.truncate(of.len() / 2 + 1);
        let until = now + lasts;
        for i in &order {
            down(cluster, *i, |machine, site| {
                machine.switch_off(site, Rest::Until(until), None);
            });
        }
        let recover_at = Some(now + lasts / 2);
        self.quorum = Some(Lost { recover_at, until, down: order.into_iter().collect() });
    }

    /// Goes on with what is under way.
    pub(super) fn step(&mut self, cluster: &mut Cluster) {
        let now = cluster.now();
        self.copies.retain_mut(|copied| copied.step(cluster));
        if let Some(lost) = &mut self.quorum {
            if lost.recover_at.take_if(|at| *at <= now).is_some() {
                recover(cluster, &lost.down);
            }
            if lost.until <= now {
                self.quorum = None;
            }
        }
        // Whoever was on the side that is over comes back by itself, unless it only joined there.
        let left_behind: Vec<usize> = cluster.present().filter(|m| m.left_behind).map(|m| m.number).collect();
        left_behind.into_iter().for_each(|i| give_up_on(cluster, i));
    }

    /// Ends all at once.
    pub(super) fn heal(&mut self, cluster: &mut Cluster) {
        let over = std::mem::take(self);
        for copied in over.copies {
            match copied.used {
                Copying::Beside(copy) => end_copy(cluster, copy, copied.original),
                Copying::Instead(None, _) => give_up_on(cluster, copied.original),
                Copying::Instead(Some(_), _) => {}
            }
        }
    }
}

impl Copied {
    /// Goes on; `false` once it is over.
    fn step(&mut self, cluster: &mut Cluster) -> bool {
        let now = cluster.now();
        match &mut self.used {
            Copying::Beside(copy) if self.until <= now => {
                end_copy(cluster, *copy, self.original);
                return false;
            }
            Copying::Beside(_) => {}
            Copying::Instead(disk, at) => {
                if *at <= now
                    && let Some(disk) = disk.take()
                {
                    let spare = can_spare(cluster, self.original) && may_be_set_back(cluster, self.original);
                    if cluster.machines[self.original].is_gone() || !spare {
                        return false;
                    }
                    down(cluster, self.original, |machine, site| {
                        machine.switch_off(site, Rest::Told, None);
                        machine.disk = disk;
                        machine.outdated = true;
                        machine.start(site);
                    });
                }
                if self.until <= now {
                    give_up_on(cluster, self.original);
                    return false;
                }
            }
        }
        true
    }
}

fn switch_off(cluster: &mut Cluster, i: usize) {
    cluster.machines[i].switch_off(&cluster.site, Rest::Ever, None);
}

/// Switches a copy off. Where the original was away, its copy may have been let in instead: then the original's disk is the
/// older copy now, and another machine takes its place.
fn end_copy(cluster: &mut Cluster, copy: usize, original: usize) {
    if cluster.machines[copy].look(|_| ()).is_some() || cluster.machines[original].disk.has_file("stale") {
        cluster.machines[original].outdated = true;
        give_up_on(cluster, original);
    }
    switch_off(cluster, copy);
}

/// Whether the cluster can do without this machine for good: of all that vote, most are left, in both sets if a change of
/// who votes is half done.
pub(super) fn can_spare(cluster: &Cluster, i: usize) -> bool {
    let lost = |m: &&Machine| m.is_gone() || m.number == i || m.outdated;
    let lost: BTreeSet<NodeId> = cluster.machines.iter().filter(lost).filter_map(|m| m.id).collect();
    cluster.electorates.iter().all(|voters| voters.intersection(&lost).count() <= voters.len().saturating_sub(1) / 2)
}

/// Whether an older copy of this machine's disk would be told from the disk: it follows the log, what it does now is heard,
/// and all machines are of the newer version.
fn may_be_set_back(cluster: &Cluster, i: usize) -> bool {
    let machine = &cluster.machines[i];
    machine.look(Inspect::follows) == Some(true) && cluster.is_ready(i) && cluster.present().all(|m| m.newer)
}

/// A new machine takes the place of one that is lost, or will soon be refused.
fn give_up_on(cluster: &mut Cluster, i: usize) {
    let Some(place) = cluster.places.iter().position(|at| *at == i) else { return };
    let Machine { outdated, left_behind, .. } = cluster.machines[i];
    if outdated || left_behind || !cluster.is_ready(i) {
        cluster.tell(format!("{} does not come back", cluster.machines[i].name));
        switch_off(cluster, i);
        cluster.replace(place);
    }
}

/// An operator stops the survivors, compares what they know, and recovers the cluster on the one that knows most.
fn recover(cluster: &mut Cluster, down: &BTreeSet<usize>) {
    let votes = |m: &&Machine| m.id.is_some_and(|id| cluster.voters.contains(&id));
    let survives = |m: &&Machine| m.process().is_some() && !m.outdated && !down.contains(&m.number);
    let survivors: Vec<usize> = cluster.present().filter(votes).filter(survives).map(|m| m.number).collect();
    for i in &survivors {
        cluster.machines[*i].kill(&cluster.site, Rest::Told);
    }
    let known: BTreeMap<usize, SurveyView> =
        survivors.iter().filter_map(|i| Some((*i, offline::survey(&cluster.machines[*i]).ok()?))).collect();
    // Whoever knows less than another is refused.
    let recovered = known.keys().find_map(|i| {
        let others: Vec<SurveyView> = known.iter().filter(|(of, _)| *of != i).map(|(_, view)| view.clone()).collect();
        Some((*i, offline::recover(&cluster.machines[*i], &others).ok()?))
    });
    match recovered {
        Some((i, generation)) => {
            let name = &cluster.machines[i].name;
            cluster.tell(format!("the cluster goes on from {name}, in generation {generation}"));
            cluster.moments.note(Moment::ClusterRecovered);
        }
        None => {
            cluster.tell("the cluster could not be recovered: no survivor knows most and holds the CA key");
        }
    }
    for i in survivors {
        cluster.machines[i].start(&cluster.site);
    }
}
