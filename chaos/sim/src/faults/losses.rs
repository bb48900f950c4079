//! What takes machines away for good or for long: copied disks, removals, lost quorums.

use super::down;
use crate::{
    able,
    cluster::Cluster,
    disk::Disk,
    machine::{Machine, Rest},
    moments::Moment,
    offline,
};
use rand::{rngs::SmallRng, seq::SliceRandom};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use taffeta_chaos_plan::CopyUse;

/// A machine of which it is not certain that it may come back must be ready within this time, or another takes its place.
const PROBATION: Duration = Duration::from_secs(30);

/// What is under way.
#[derive(Default)]
pub(super) struct Losses {
    copies: Vec<Copied>,
    quorum: Option<Lost>,
    /// Machines whose place another one takes then, unless they are ready.
    on_probation: Vec<(usize, Duration)>,
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
    recovered: bool,
}

impl Losses {
    /// Copies the disk of a machine.
    pub(super) fn copy(&mut self, cluster: &mut Cluster, i: usize, used: CopyUse, lasts: Duration) {
        let now = cluster.now();
        let used = match used {
            CopyUse::Beside => Copying::Beside(cluster.add_copy(i)),
            CopyUse::Instead if can_spare(cluster, i) => {
                let disk = cluster.machines[i].disk.copy(i as u64 + 1);
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
        let recover_at = able::RECOVERS.then_some(now + lasts / 2);
        self.quorum = Some(Lost { recover_at, until, down: order.into_iter().collect(), recovered: false });
    }

    /// Goes on with what is under way.
    pub(super) fn step(&mut self, cluster: &mut Cluster) {
        let now = cluster.now();
        self.copies.retain_mut(|copied| copied.step(cluster, &mut self.on_probation));
        if let Some(lost) = &mut self.quorum {
            if lost.recover_at.take_if(|at| *at <= now).is_some() {
                lost.recovered = recover(cluster, &lost.down);
            }
            if lost.until <= now {
                if lost.recovered {
                    self.on_probation.extend(lost.down.iter().map(|i| (*i, now + PROBATION)));
                }
                self.quorum = None;
            }
        }
        let (due, left) = std::mem::take(&mut self.on_probation).into_iter().partition(|(_, at)| *at <= now);
        self.on_probation = left;
        for (i, _) in due {
            give_up_on(cluster, i);
        }
    }

    /// Ends all at once.
    pub(super) fn heal(&mut self, cluster: &mut Cluster) {
        let over = std::mem::take(self);
        for copied in over.copies {
            match copied.used {
                Copying::Beside(copy) => switch_off(cluster, copy),
                Copying::Instead(None, _) => give_up_on(cluster, copied.original),
                Copying::Instead(Some(_), _) => {}
            }
        }
        let doubtful = over.quorum.filter(|lost| lost.recovered).map(|lost| lost.down).unwrap_or_default();
        over.on_probation.into_iter().map(|(i, _)| i).chain(doubtful).for_each(|i| give_up_on(cluster, i));
    }
}

impl Copied {
    /// Goes on; `false` once it is over.
    fn step(&mut self, cluster: &mut Cluster, on_probation: &mut Vec<(usize, Duration)>) -> bool {
        let now = cluster.now();
        match &mut self.used {
            Copying::Beside(copy) if self.until <= now => {
                switch_off(cluster, *copy);
                return false;
            }
            Copying::Beside(_) => {}
            Copying::Instead(disk, at) => {
                if *at <= now
                    && let Some(disk) = disk.take()
                {
                    if cluster.machines[self.original].is_gone() || !can_spare(cluster, self.original) {
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
                    on_probation.push((self.original, now));
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

/// Whether the cluster can do without this machine for good: of all that vote, most are left.
pub(super) fn can_spare(cluster: &Cluster, i: usize) -> bool {
    let votes = |m: &&Machine| m.id.is_some_and(|id| cluster.voters.contains(&id));
    let lost = cluster.machines.iter().filter(votes).filter(|m| m.is_gone() || m.number == i || m.outdated).count();
    lost <= cluster.voters.len().saturating_sub(1) / 2
}

/// A new machine takes the place of one that is not ready.
fn give_up_on(cluster: &mut Cluster, i: usize) {
    let Some(place) = cluster.places.iter().position(|at| *at == i) else { return };
    if !cluster.is_ready(i) {
        cluster.tell(format!("{} does not come back", cluster.machines[i].name));
        switch_off(cluster, i);
        cluster.replace(place);
    }
}

/// An operator recovers the cluster on the survivor that knows most.
fn recover(cluster: &mut Cluster, down: &BTreeSet<usize>) -> bool {
    let votes = |m: &&Machine| m.id.is_some_and(|id| cluster.voters.contains(&id));
    let survivors = cluster.present().filter(votes).filter(|m| !down.contains(&m.number));
    let known = survivors.filter_map(|m| Some((m.look(|inspect| inspect.insight().last)?, m.number)));
    let Some((_, i)) = known.max() else { return false };
    cluster.machines[i].kill(&cluster.site, Rest::Told);
    let recovered = offline::recover(&cluster.machines[i]);
    let name = cluster.machines[i].name.clone();
    match &recovered {
        Ok(generation) => {
            cluster.tell(format!("the cluster goes on from {name}, in generation {generation}"));
            cluster.moments.note(Moment::ClusterRecovered);
        }
        Err(why) => cluster.tell(format!("the cluster could not be recovered on {name}: {why}")),
    }
    cluster.machines[i].start(&cluster.site);
    recovered.is_ok()
}
