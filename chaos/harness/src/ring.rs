//! Many machines that form one ring, and what is measured of it: how long until all of them know of a start, of deaths
//! and of a farewell, and what they use while nothing happens. "Known" means that each machine's own API shows it.

use crate::{
    list::{Listed, Shown},
    machine::Cluster,
    usage::{cores_used, resident_mib},
    wait::within,
};
use std::{
    collections::BTreeSet,
    net::{IpAddr, UdpSocket},
    thread::{available_parallelism, sleep},
    time::{Duration, Instant},
};

/// What is promised: a complete view on all after the last start.
pub const COMPLETE_MAX: Duration = Duration::from_secs(5);
/// What is promised: the death of three known to all.
pub const KILLED_MAX: Duration = Duration::from_secs(4);
/// What is promised: a farewell known to all.
pub const LEFT_MAX: Duration = Duration::from_secs(1);
/// What is promised: processors in use by all together while nothing happens.
pub const IDLE_CORES_MAX: f64 = 0.5;

/// How long is waited for what should take seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// From the complete view to idleness: voters grow, and a node that was just started looks around for ten seconds.
const SETTLE: Duration = Duration::from_secs(12);
/// Machines that are on their way at once for each core: a join is some milliseconds of signing and syncing, and mostly
/// waiting.
const AT_ONCE_PER_CORE: usize = 8;
/// How many are killed in the same moment.
const VICTIMS: usize = 3;

/// A cluster whose machines all know each other.
pub struct Ring {
    cluster: Cluster,
    /// Machines that were killed and not brought back, or have left.
    gone: BTreeSet<usize>,
    /// From the start of the first machine to that of the last.
    pub start: Duration,
    /// From the start of the last machine until all showed all as alive.
    pub complete: Shown,
}

/// What the machines use while nothing happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Idle {
    /// Of each machine, of a core.
    pub cores: Vec<f64>,
    /// Of each machine, in MiB.
    pub resident_mib: Vec<f64>,
}

/// Machines that were killed in the same moment.
#[derive(Clone, Debug)]
pub struct Killed {
    /// Their roles before.
    pub roles: Vec<String>,
    /// From that moment until all others showed all of them as down, or who did not show it within a minute.
    pub known: Result<Shown, String>,
}

impl Ring {
    /// Why so many machines cannot be measured here; `None` if they can.
    pub fn lacks(machines: u8) -> Option<String> {
        if available_parallelism().map_or(1, usize::from) < 2 {
            return Some(format!("{machines} machines want two cores"));
        }
        let bound = UdpSocket::bind((IpAddr::from([127, 0, 0, machines]), 0));
        bound.err().map(|e| format!("loopback has no address 127.0.0.{machines}: {e}"))
    }

    /// As many machines on their way at a time as this machine bears.
    pub fn at_once() -> usize {
        available_parallelism().map_or(1, usize::from) * AT_ONCE_PER_CORE
    }

    /// Starts the machines, at most `at_once` of them on their way at any time, and waits until all know all. An error
    /// if that takes more than a minute.
    pub fn start(mut cluster: Cluster, machines: usize, at_once: usize) -> Result<Self, String> {
        let first = Instant::now();
        let last = cluster.start_paced(machines, at_once);
        let all: Vec<usize> = (0..machines).collect();
        let complete = cluster.until_shown(last, PATIENCE, &all, &all, "alive")?;
        Ok(Self { cluster, gone: BTreeSet::new(), start: last - first, complete })
    }

    /// Lets them settle, then looks at what they use in a window of time.
    pub fn idle(&self, window: Duration) -> Idle {
        sleep(SETTLE); // what is measured is idleness, which comes by itself
        let pids: Vec<u32> = self.cluster.machines.iter().filter_map(|m| m.pid()).collect();
        let cores = cores_used(&pids, window);
        Idle { cores, resident_mib: pids.iter().map(|pid| resident_mib(*pid)).collect() }
    }

    /// Kills three machines in the same moment and waits until all others know. The leader is among them in one round,
    /// another voter in the next, plain members alone in the third, and so on.
    pub fn kill_three(&mut self, round: usize) -> Killed {
        let list = self.led();
        let victims = victims(&list, round);
        let roles = victims.iter().map(|m| m.role.clone()).collect();
        let indexes: Vec<usize> = victims.iter().map(|m| self.cluster.index(&m.name)).collect();
        let moment = self.cluster.kill_at_once(&indexes);
        self.gone.extend(&indexes);
        Killed { roles, known: self.cluster.until_shown(moment, PATIENCE, &self.there(), &indexes, "down") }
    }

    /// Starts those that are gone again and waits until all know all. An error if that takes more than a minute.
    pub fn bring_back(&mut self) -> Result<Shown, String> {
        let moment = Instant::now();
        while let Some(index) = self.gone.pop_first() {
            self.cluster.machines[index].up_again();
        }
        let all = self.there();
        self.cluster.until_shown(moment, PATIENCE, &all, &all, "alive")
    }

    /// Ends a machine that takes no part in consensus, as systemd would; gives how long it took from then until all
    /// others showed that it has left. An error if that takes more than a minute.
    pub fn leave(&mut self) -> Result<Shown, String> {
        let list = self.led();
        let member = list.iter().rev().find(|m| m.role == "member").ok_or("all take part in consensus")?;
        let leaver = self.cluster.index(&member.name);
        let moment = Instant::now();
        self.cluster.machines[leaver].tell_to_end();
        self.gone.insert(leaver);
        let known = self.cluster.until_shown(moment, PATIENCE, &self.there(), &[leaver], "left");
        self.cluster.machines[leaver].terminate();
        known
    }

    fn there(&self) -> Vec<usize> {
        (0..self.cluster.machines.len()).filter(|index| !self.gone.contains(index)).collect()
    }

    /// Those that are alive, with their roles, once there is a leader.
    fn led(&self) -> Vec<Listed> {
        let led = within(PATIENCE, "a leader", || {
            let first = self.there()[0];
            let mut list = self.cluster.machines[first].listed()?;
            list.retain(|m| m.state == "alive");
            if list.iter().any(|m| m.role == "leader") { Ok(list) } else { Err("there is none".into()) }
        });
        led.0
    }
}

/// Never two voters, lest the quorum dies with them. Where there are too few members, learners take their place.
fn victims(list: &[Listed], round: usize) -> Vec<&Listed> {
    let wishes: [[&str; VICTIMS]; 3] =
        [["leader", "member", "member"], ["voter", "learner", "member"], ["member", "member", "member"]];
    let mut found: Vec<&Listed> = vec![];
    for wish in wishes[round % wishes.len()] {
        let free = |role: &str| list.iter().rev().find(|m| m.role == role && !found.contains(m));
        found.extend(free(wish).or_else(|| free("member")).or_else(|| free("learner")));
    }
    found
}

#[cfg(test)]
mod tests;
