//! Watches for moments that a sweep must have met.

use crate::{cluster::Cluster, moments::Moment};
use std::{collections::BTreeMap, time::Duration};
use taffeta_model::{Exit, Liveness, NodeId, Phase, Place, TaskId};
use taffeta_node::Inspect;

/// What was seen last.
#[derive(Default)]
pub(super) struct Watch {
    next: Duration,
    leader: Option<usize>,
    leaderless: Duration,
    machines: BTreeMap<usize, Last>,
    places: BTreeMap<TaskId, (NodeId, u64)>,
}

#[derive(Default)]
struct Last {
    life: Duration,
    snapshots: u64,
    renewals: u32,
    ring: BTreeMap<NodeId, Liveness>,
    records: BTreeMap<TaskId, (Phase, u32)>,
    runs: Vec<String>,
}

/// Whoever was cut off for long gets its snapshot within this time.
const CAUGHT_UP_MAX: Duration = Duration::from_secs(20);

/// Often enough to see what lasts.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl Watch {
    pub(super) fn step(&mut self, cluster: &mut Cluster) {
        let now = cluster.now();
        if now < self.next {
            return;
        }
        self.next = now + LOOK_EVERY;
        self.watch_leader(cluster);
        for number in 0..cluster.machines.len() {
            self.watch_machine(cluster, number);
        }
        if cluster.present().all(|machine| machine.process().is_none()) {
            cluster.moments.note(Moment::AllDown);
        }
    }

    fn watch_leader(&mut self, cluster: &mut Cluster) {
        let now = cluster.now();
        let leading = cluster.leader();
        let leader = leading.as_ref().map(|(i, _)| *i);
        if let Some((i, leadership)) = leading {
            let generation = cluster.machines[i].look(|inspect| inspect.state(|state| state.generation));
            // An old side that has not heard that it is over may lead, too.
            if generation >= Some(cluster.generation) {
                cluster.voters = leadership.voters;
            }
        }
        if leader.is_some() {
            self.leaderless = now;
        } else if now - self.leaderless > Duration::from_secs(2) {
            cluster.moments.note(Moment::NoLeader);
        }
        if let Some(new) = leader.filter(|new| self.leader != Some(*new)) {
            let name = cluster.machines[new].name.clone();
            let term = cluster.leader().map_or(0, |(_, leadership)| leadership.term);
            cluster.tell(format!("{name} leads in term {term}"));
            cluster.site.run.note(now, crate::trace::Event::Leader, new as u64, 0, term);
            if let Some(old) = self.leader {
                cluster.moments.note(Moment::LeaderChanged);
                if cluster.machines[old].process().is_some_and(|process| process.is_stopping()) {
                    cluster.moments.note(Moment::LeaderHandedOver);
                }
            }
            self.leader = leader;
        }
        if let Some(i) = leader {
            self.watch_state(cluster, i);
        }
    }

    /// What the leader's state tells.
    fn watch_state(&mut self, cluster: &mut Cluster, leader: usize) {
        let mut places = BTreeMap::new();
        let mut noted = vec![];
        let before = std::mem::take(&mut self.places);
        cluster.machines[leader].look(|inspect| {
            inspect.state(|state| {
                for (id, task) in &state.tasks {
                    match &task.place {
                        Place::On { node, .. } => {
                            if let Some((was, revision)) = before.get(id).filter(|(was, _)| was != node) {
                                let dead = cluster.machine_of(*was).is_none_or(|m| !m.runs());
                                noted.extend((*revision == task.revision && dead).then_some(Moment::TaskMoved));
                            }
                            if before.get(id).is_some_and(|(_, revision)| *revision != task.revision) {
                                noted.push(Moment::TaskReplaced);
                            }
                            places.insert(id.clone(), (*node, task.revision));
                        }
                        Place::Waiting { .. } if task.attempt > 0 => noted.push(Moment::TaskWaited),
                        Place::Waiting { .. } => {}
                        Place::Ended { exit, .. } => {
                            if before.contains_key(id) {
                                noted.push(if exit.is_success() { Moment::BatchFinished } else { Moment::BatchFailed });
                            }
                        }
                    }
                }
            });
        });
        self.places = places;
        noted.into_iter().for_each(|moment| cluster.moments.note(moment));
    }

    fn watch_machine(&mut self, cluster: &mut Cluster, number: usize) {
        let (now, machine) = (cluster.now(), &cluster.machines[number]);
        let last = self.machines.entry(number).or_default();
        let mut noted = vec![];
        let up = machine.process().is_some();
        let runs: Vec<String> = machine.tasks.living().iter().map(|run| run.id.to_string()).collect();
        if !up && machine.has_power() && last.runs.iter().any(|run| !runs.contains(run)) {
            noted.push(Moment::TaskEndedUnseen);
        }
        let fresh = last.life != machine.started;
        machine.look(|inspect| {
            if fresh {
                *last = Last { life: machine.started, runs: std::mem::take(&mut last.runs), ..Last::default() };
                noted.extend(beginnings(inspect, last, machine.name.as_str()));
            }
            let snapshots = last.snapshots;
            noted.extend(news(inspect, last));
            let lately = !machine.lagged.is_zero() && now - machine.lagged < CAUGHT_UP_MAX;
            noted.extend((lately && last.snapshots > snapshots).then_some(Moment::LaggardCaughtUp));
        });
        if fresh && up && machine.condition() != crate::machine::Condition::default() {
            noted.push(Moment::JoinedUnderFaults);
        }
        if machine.tasks.leases_run_out() > 0 {
            noted.push(Moment::LeaseRanOut);
        }
        if machine.tasks.kills_of_deaf() > 0 {
            noted.push(Moment::TermIgnored);
        }
        let seen = machine.tasks.seen();
        for (count, moment) in [
            (seen.starts_lost, Moment::StartLost),
            (seen.starts_unseen, Moment::StartedUnseen),
            (seen.starts_untold, Moment::StartUntold),
            (seen.shims_killed_in_start, Moment::ShimKilledInStart),
            (seen.shims_killed, Moment::ShimKilled),
            (seen.orphans_killed, Moment::OrphanKilled),
            (seen.orphans_found, Moment::OrphanFound),
        ] {
            noted.extend((count > 0).then_some(moment));
        }
        last.runs = runs;
        noted.into_iter().for_each(|moment| cluster.moments.note(moment));
    }
}

/// What a node that has just come up tells.
fn beginnings(inspect: &Inspect, last: &Last, name: &str) -> Vec<Moment> {
    let mut noted = vec![];
    let voter = inspect.leadership().voters.contains(&inspect.id());
    noted.extend((voter && inspect.leadership().term > 0).then_some(Moment::VoterRestarted));
    noted.extend((!last.runs.is_empty()).then_some(Moment::TaskReadopted));
    noted.extend(name.contains('-').then_some(Moment::WipedCameBack));
    noted
}

/// What has changed since the last look.
fn news(inspect: &Inspect, last: &mut Last) -> Vec<Moment> {
    let mut noted = vec![];
    let snapshots = inspect.snapshots_installed();
    noted.extend((snapshots > last.snapshots).then_some(Moment::SnapshotInstalled));
    last.snapshots = snapshots;
    let renewals = inspect.renewals();
    noted.extend((renewals > last.renewals).then_some(Moment::DownRefuted));
    last.renewals = renewals;
    let ring = inspect.ring();
    for (id, liveness) in &ring {
        match (last.ring.get(id), liveness) {
            (Some(Liveness::Suspect), Liveness::Alive) => noted.push(Moment::SuspicionRefuted),
            (Some(Liveness::Alive), Liveness::Left) => noted.push(Moment::MachineLeft),
            _ => {}
        }
    }
    last.ring = ring;
    let sets = inspect.sets();
    let own = sets.get(&inspect.id()).map(|set| set.records.as_slice()).unwrap_or_default();
    let mut records = BTreeMap::new();
    for record in own {
        let before = last.records.get(&record.task);
        let crashed = before.is_some_and(|(_, restarts)| record.restarts > *restarts);
        noted.extend((crashed && record.exit != Some(Exit::Code(0))).then_some(Moment::TaskCrashed));
        let was_healthy = before.is_some_and(|(phase, _)| *phase == Phase::Healthy);
        noted.extend((was_healthy && record.phase == Phase::Unhealthy).then_some(Moment::TaskUnhealthy));
        let stopped = before.is_some_and(|(phase, _)| *phase != Phase::Stopping) && record.phase == Phase::Stopping;
        let away = record.reason.contains("no longer assigned");
        noted.extend((stopped && away).then_some(Moment::OldCopyStopped));
        let run_out = record.reason.starts_with("its lease was not renewed");
        noted.extend((stopped && run_out).then_some(Moment::LeaseRanOut));
        records.insert(record.task.clone(), (record.phase, record.restarts));
    }
    last.records = records;
    noted
}
