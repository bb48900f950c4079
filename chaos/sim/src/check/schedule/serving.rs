//! That what we do ourselves never takes too many instances of a service away.

use super::Name;
use crate::{check::Broken, cluster::Cluster, machine::Machine};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use taffeta_model::{Cause, Fence, Job, JobKind, NodeId, Place, State};

/// Instances are counted this often: one that is replaced is away for longer.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Nothing must have happened to any machine or task for so long: then what is missing was taken by us.
const CALM: Duration = Duration::from_secs(5);

/// A service as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Service {
    count: u32,
    unavailable: u32,
    /// Whether it is asked after its health: else it serves from its start on.
    checked: bool,
    /// By index: where it is, under which fence, and whether DNS gives it out.
    on: BTreeMap<u32, (NodeId, Fence, bool)>,
    waiting: usize,
    /// Whether some are of an older version.
    updates: bool,
    /// Attempts of tasks that lost their machines.
    lost: BTreeMap<u32, u32>,
}

/// What answers of a service, by index: on which machine and under which fence.
type Answering = BTreeMap<u32, Vec<(usize, Fence)>>;

/// What serves, and what should.
#[derive(Default)]
pub(super) struct Serving {
    next: Duration,
    services: BTreeMap<Name, Service>,
    /// Those all of whose instances served where the log has them, and to whom nothing but our own doing has happened since.
    armed: BTreeSet<Name>,
}

impl Serving {
    /// Takes over where everything is.
    pub(super) fn learn(&mut self, state: &State) {
        let mut services = BTreeMap::new();
        for (app, known) in &state.apps {
            for (job, definition) in known.app.jobs.iter().filter(|(_, job)| job.kind == JobKind::Service) {
                let (policy, revision) = (&definition.update, known.revisions.get(job).copied().unwrap_or_default());
                let mut service = Service {
                    count: definition.count,
                    unavailable: policy.max_unavailable,
                    checked: definition.health.is_some(),
                    on: BTreeMap::new(),
                    waiting: 0,
                    updates: false,
                    lost: BTreeMap::new(),
                };
                for (id, task) in state.tasks.of_job(app, job) {
                    let current = task.revision == revision;
                    service.updates |= !current;
                    match task.place {
                        Place::On { node, fence } => {
                            let (its_app, _, _) = known.definition(job, task.revision);
                            let beside = |job: &Arc<Job>| job.update.blue_green && id.index > job.count;
                            let beside = its_app.jobs.get(job).is_some_and(beside);
                            let seen = !beside || known.was_promoted(job, task.revision);
                            service.on.insert(id.index, (node, fence, seen));
                        }
                        Place::Waiting { .. } => service.waiting += usize::from(id.index <= service.count),
                        Place::Ended { .. } => {}
                    }
                    if matches!(task.cause, Cause::MachineLost | Cause::MachineRemoved) {
                        service.lost.insert(id.index, task.attempt);
                    }
                }
                services.insert((app.clone(), job.clone()), service);
            }
        }
        let before = std::mem::replace(&mut self.services, services);
        let services = &self.services;
        self.armed.retain(|name| {
            let (Some(was), Some(is)) = (before.get(name), services.get(name)) else { return false };
            // A number that was just raised is not there yet; and for an update, those that fit nowhere are not missed.
            let same = (was.count, was.unavailable) == (is.count, is.unavailable);
            let lost = is.lost.iter().any(|(index, attempt)| was.lost.get(index) != Some(attempt));
            same && !lost && !(is.updates && is.waiting > 0)
        });
    }

    /// Counts.
    pub(super) fn step(&mut self, cluster: &Cluster) -> Result<(), Broken> {
        let now = cluster.now();
        let harmed = cluster.present().map(|m| harmed(now, m)).max().unwrap_or_default();
        if harmed >= now {
            self.armed.clear();
        }
        if now < self.next {
            return Ok(());
        }
        self.next = now + LOOK_EVERY;
        if now - harmed.min(now) < CALM {
            self.armed.clear();
            return Ok(());
        }
        self.invariant_our_own_doing_leaves_enough(cluster)
    }

    /// Updates, drains and those that make way never leave fewer that serve than the count less `max_unavailable`.
    fn invariant_our_own_doing_leaves_enough(&mut self, cluster: &Cluster) -> Result<(), Broken> {
        let now = cluster.now();
        let mut answering: BTreeMap<Name, Answering> = BTreeMap::new();
        for machine in cluster.present() {
            for (run, answers) in machine.tasks.living_runs(now) {
                let id = run.task();
                let name = (id.app, id.job);
                if !answers && self.services.get(&name).is_none_or(|service| service.checked) {
                    continue;
                }
                let of_service = answering.entry(name).or_default();
                of_service.entry(id.index).or_default().push((machine.number, run.fence()));
            }
        }
        for (name, service) in &self.services {
            let there = answering.remove(name).unwrap_or_default();
            let is_seen = |index: &u32, fence: Fence| {
                service.on.get(index).is_none_or(|(_, placed, seen)| *placed != fence || *seen)
            };
            let serve =
                there.iter().filter(|(index, runs)| runs.iter().any(|(_, fence)| is_seen(index, *fence))).count();
            let least = service.count.saturating_sub(service.unavailable) as usize;
            if self.armed.contains(name) && serve < least {
                let (app, job) = name;
                return Err(format!(
                    "{app}/{job}: {serve} serve and {least} have to, although nothing was taken but by us: {there:?} of {service:?}"
                ));
            }
            let at_home = |index: u32| {
                // One that DNS does not give out serves nobody: with it, the service is not whole yet.
                let Some((node, fence, true)) = service.on.get(&index) else { return false };
                let machine = cluster.machine_of(*node).map(|m| m.number);
                there.get(&index).is_some_and(|runs| runs.iter().any(|(i, of)| Some(*i) == machine && of == fence))
            };
            if service.count > 0 && (1..=service.count).all(at_home) {
                self.armed.insert(name.clone());
            }
        }
        Ok(())
    }
}

/// When something was done to a machine or its tasks last that the scheduler has not done.
fn harmed(now: Duration, machine: &Machine) -> Duration {
    let ill = machine.tasks.harmed().min(now);
    machine.harmed.max(machine.slandered).max(ill)
}
