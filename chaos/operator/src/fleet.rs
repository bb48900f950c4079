//! The cluster as a plan needs it: machines, voters, tasks, and who can be hurt how. Pure; `fabric` gathers it.

use crate::blast::Hit;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};
use taffeta_node::api::{
    AppView, ChaosBackendView, ChaosBlockView, ChaosView, FaultState, FaultView, NodeView, Role, StatusView, TaskView,
};

/// The cluster at one moment.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    /// Name of the machine that has told this.
    pub told_by: Option<String>,
    /// The machines that have not left, by name.
    pub machines: BTreeMap<String, Machine>,
    /// Name of the leader, if one is known.
    pub leader: Option<String>,
    /// Names of the voters.
    pub voters: BTreeSet<String>,
    /// Whether writes are possible.
    pub quorum: bool,
    /// The tasks that have a machine.
    pub tasks: Vec<Task>,
    /// How many instances each service is to have, by `service/app`.
    pub wanted: BTreeMap<String, usize>,
    /// Why new faults are refused, if they are.
    pub blocked: Option<ChaosBlockView>,
    /// The faults that the machines know of.
    pub faults: Vec<FaultView>,
}

/// A machine.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Empty if it has none.
    pub zone: String,
    /// Whether the ring believes it alive.
    pub alive: bool,
    /// Whether it has opted in to be hurt.
    pub chaos: bool,
    /// Where others may reach its API, if it listens there.
    pub http: Option<SocketAddr>,
    /// Where others may reach its DNS, if it listens there.
    pub dns: Option<SocketAddr>,
    /// What can be done to it.
    pub backends: Vec<ChaosBackendView>,
}

/// A task on its machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Task {
    /// `shop/web.2`.
    pub id: String,
    /// `web/shop`.
    pub service: String,
    /// Its machine.
    pub node: String,
    /// Whether it serves: healthy, or running without a check.
    pub serves: bool,
    /// Its address and first port, if it has both.
    pub at: Option<SocketAddr>,
}

impl Fleet {
    /// What the API has told.
    pub fn of(
        status: &StatusView,
        nodes: &[NodeView],
        tasks: &[TaskView],
        apps: &[AppView],
        chaos: &ChaosView,
    ) -> Self {
        let mut fleet = Self {
            told_by: Some(status.node.clone()),
            leader: status.leader.clone(),
            voters: nodes
                .iter()
                .filter(|n| matches!(n.role, Role::Leader | Role::Voter))
                .map(|n| n.name.clone())
                .collect(),
            quorum: status.quorum,
            tasks: tasks.iter().filter_map(task).collect(),
            wanted: wanted(apps),
            blocked: chaos.blocked.clone(),
            faults: chaos.faults.clone(),
            ..Self::default()
        };
        if fleet.voters.is_empty() {
            fleet.voters = status.voters.iter().cloned().collect();
        }
        for node in nodes.iter().filter(|node| node.state != "left") {
            let told = chaos.nodes.iter().find(|told| told.node == node.name);
            let machine = Machine {
                zone: node.zone.clone(),
                alive: matches!(node.state.as_str(), "alive" | "draining"),
                chaos: told.is_some_and(|told| told.chaos),
                http: reachable(node.http.as_deref(), &node.address),
                dns: reachable(node.dns.as_deref(), &node.address),
                backends: told.map(|told| told.backends.clone()).unwrap_or_default(),
            };
            fleet.machines.insert(node.name.clone(), machine);
        }
        fleet.forget_shared();
        fleet
    }

    /// An address that several machines have, as 127.0.0.1 is by default, leads to whoever asks there: of them only the
    /// machine that has told this may be meant.
    fn forget_shared(&mut self) {
        let http = shared(self.machines.values().filter_map(|machine| machine.http));
        let dns = shared(self.machines.values().filter_map(|machine| machine.dns));
        for (name, machine) in &mut self.machines {
            let is_own = |at: &SocketAddr| Some(name) == self.told_by.as_ref() && at.ip().is_loopback();
            machine.http = machine.http.filter(|at| !http.contains(at) || is_own(at));
            machine.dns = machine.dns.filter(|at| !dns.contains(at) || is_own(at));
        }
    }

    /// Addresses at which a machine is reached by itself alone.
    pub(crate) fn forget_loopback(&mut self) {
        for machine in self.machines.values_mut() {
            machine.http = machine.http.filter(|at| !at.ip().is_loopback());
            machine.dns = machine.dns.filter(|at| !at.ip().is_loopback());
        }
    }

    /// Names of the machines that are alive.
    pub fn alive(&self) -> Vec<&str> {
        self.machines.iter().filter(|(_, machine)| machine.alive).map(|(name, _)| name.as_str()).collect()
    }

    /// Faults that are on.
    pub fn active(&self) -> impl Iterator<Item = &FaultView> {
        self.faults.iter().filter(|fault| matches!(fault.state, FaultState::Active | FaultState::NotUndone))
    }

    /// The same, as far as what they take away is concerned.
    pub fn active_hits(&self) -> Vec<Hit> {
        let hit = |view: &FaultView| Hit {
            node: view.node.clone(),
            fault: view.fault,
            peers: view.peers.clone(),
            task: view.task.clone(),
        };
        self.active().map(hit).collect()
    }

    /// Instances that serve and that there are to be, over all services that this chooses.
    pub fn strength(&self, chosen: impl Fn(&str) -> bool) -> (usize, usize) {
        let wanted: usize = self.wanted.iter().filter(|(service, _)| chosen(service)).map(|(_, count)| count).sum();
        let serving = |(service, count): (&String, &usize)| {
            let there = self.tasks.iter().filter(|task| task.serves && task.service == *service).count();
            there.min(*count)
        };
        (self.wanted.iter().filter(|(service, _)| chosen(service)).map(serving).sum(), wanted)
    }
}

/// Where a listener is asked: one on all addresses of its machine, at the address by which the machine is known.
fn reachable(listener: Option<&str>, machine: &str) -> Option<SocketAddr> {
    let listener: SocketAddr = listener?.parse().ok()?;
    if !listener.ip().is_unspecified() {
        return Some(listener);
    }
    let machine: SocketAddr = machine.parse().ok()?;
    Some(SocketAddr::new(machine.ip(), listener.port())).filter(|at| !at.ip().is_unspecified())
}

/// Those that are there more than once.
fn shared(all: impl Iterator<Item = SocketAddr>) -> BTreeSet<SocketAddr> {
    let mut seen = BTreeSet::new();
    all.filter(|at| !seen.insert(*at)).collect()
}

fn task(view: &TaskView) -> Option<Task> {
    let serves = view.state == "healthy" || view.state == "running" && view.reason.is_empty();
    let address = view.address.as_ref().and_then(|address| address.parse().ok());
    let port = view.ports.get("http").or_else(|| view.ports.values().next());
    Some(Task {
        id: format!("{}/{}", view.app, view.task),
        service: format!("{}/{}", view.service, view.app),
        node: view.node.clone()?,
        serves: serves && view.kind == "service",
        at: address.zip(port).map(|(ip, port)| SocketAddr::new(ip, *port)),
    })
}

/// `service/app`, as targets are written.
fn wanted(apps: &[AppView]) -> BTreeMap<String, usize> {
    let jobs = apps.iter().flat_map(|app| app.jobs.iter().map(move |job| (app, job)));
    let services = jobs.filter(|(_, job)| job.kind == "service" && job.count > 0);
    services.map(|(app, job)| (format!("{}/{}", job.name, app.app), job.count as usize)).collect()
}

#[cfg(test)]
mod tests;
