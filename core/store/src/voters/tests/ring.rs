//! A naive ring of machines: who lives, who votes, who follows, and what a leader among them would see.

use super::*;

/// One machine.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) id: u64,
    pub(super) zone: String,
    pub(super) alive: bool,
    /// Whether its log is as long as the leader's; a dead machine's may be.
    pub(super) complete: bool,
    pub(super) silent_since: Option<Millis>,
    pub(super) removed: bool,
}

/// The machines, the log's membership, and one leader's memory.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    pub(super) now: Millis,
    pub(super) machines: Vec<Machine>,
    pub(super) configs: Vec<BTreeSet<NodeId>>,
    pub(super) learners: BTreeSet<NodeId>,
    pub(super) leader: u64,
    pub(super) evidence: Evidence,
    /// What the leader can reach; `None`: all that live.
    pub(super) reach: Option<BTreeSet<u64>>,
}

impl Ring {
    /// Machines 1, 2, ... in these zones; the first one votes and leads.
    pub(super) fn of(zones: &[&str]) -> Self {
        let mut ring = Self {
            now: Millis(1_000),
            machines: vec![],
            configs: vec![ids(&[1])],
            learners: ids(&[]),
            leader: 1,
            evidence: Evidence::default(),
            reach: None,
        };
        zones.iter().for_each(|zone| ring.join(zone));
        ring
    }

    /// The same after all changes were made and a long time has passed.
    pub(super) fn settled(zones: &[&str]) -> Self {
        let mut ring = Self::of(zones);
        ring.run(300);
        ring
    }

    pub(super) fn join(&mut self, zone: &str) {
        let id = self.machines.len() as u64 + 1;
        let zone = zone.into();
        self.machines.push(Machine { id, zone, alive: true, complete: true, silent_since: None, removed: false });
    }

    pub(super) fn machine(&mut self, id: u64) -> &mut Machine {
        self.machines.iter_mut().find(|m| m.id == id).expect("a machine")
    }

    pub(super) fn kill(&mut self, id: u64) {
        self.machine(id).alive = false;
    }

    pub(super) fn revive(&mut self, id: u64) {
        self.machine(id).alive = true;
    }

    pub(super) fn reaches(&self, machine: &Machine) -> bool {
        let in_reach = |reach: &BTreeSet<u64>| machine.id == self.leader || reach.contains(&machine.id);
        machine.alive && self.reach.as_ref().is_none_or(in_reach)
    }

    pub(super) fn answers(&self, id: NodeId) -> bool {
        self.machines.iter().any(|m| m.id == id.0 && self.reaches(m))
    }

    /// Whether a majority of each of these sets answers the leader.
    pub(super) fn has_quorum(&self, configs: &[BTreeSet<NodeId>]) -> bool {
        configs.iter().all(|set| set.iter().filter(|id| self.answers(**id)).count() >= majority(set.len()))
    }

    pub(super) fn voters(&self) -> BTreeSet<NodeId> {
        self.configs.iter().flatten().copied().collect()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Machine> {
        self.machines.iter().filter(|m| !m.removed)
    }

    /// Another machine leads, and knows nothing.
    pub(super) fn lead(&mut self, leader: u64) {
        (self.leader, self.evidence) = (leader, Evidence::default());
    }

    pub(super) fn observation(&self) -> Observation {
        let candidate = |m: &Machine| Candidate {
            id: NodeId(m.id),
            zone: m.zone.clone(),
            liveness: if self.reaches(m) { Liveness::Alive } else { Liveness::Down },
        };
        let silence = |m: &Machine| {
            (NodeId(m.id), m.silent_since.map_or(Duration::from_millis(50), |since| self.now.since(since)))
        };
        Observation {
            me: NodeId(self.leader),
            members: self.members().map(candidate).collect(),
            configs: self.configs.clone(),
            learners: self.learners.clone(),
            committed: true,
            lease: self.has_quorum(&self.configs),
            caught_up: self.machines.iter().filter(|m| m.complete).map(|m| NodeId(m.id)).collect(),
            silence: self.machines.iter().map(silence).collect(),
        }
    }

    /// A second passes; gives the change that the leader makes.
    pub(super) fn step(&mut self) -> Option<Change> {
        self.now = self.now + Duration::from_secs(1);
        let (now, reached): (_, Vec<bool>) = (self.now, self.machines.iter().map(|m| self.reaches(m)).collect());
        for (machine, reached) in self.machines.iter_mut().zip(reached) {
            machine.silent_since = if reached { None } else { machine.silent_since.or(Some(now)) };
        }
        let seen = self.observation();
        self.evidence.observe(self.now, &seen);
        let change = plan(self.now, &seen, &self.evidence)?;
        self.make(&change);
        Some(change)
    }

    /// Does what openraft does with a change, if a quorum lets it.
    pub(super) fn make(&mut self, change: &Change) {
        self.evidence.note_change(self.now, change);
        match change {
            Change::Finish(voters) => {
                self.learners.extend(self.voters().difference(voters));
                self.configs = vec![voters.clone()];
            }
            Change::AddLearner(id) => drop(self.learners.insert(*id)),
            Change::RemoveLearner(id) => drop(self.learners.remove(id)),
            Change::SetVoters { voters, stay, .. } => {
                let before = self.voters();
                self.learners.retain(|id| !voters.contains(id));
                if *stay {
                    self.learners.extend(before.difference(voters));
                }
                self.configs = vec![voters.clone()];
            }
        }
        if !self.voters().contains(&NodeId(self.leader)) {
            let heir = self.voters().into_iter().find(|id| self.answers(*id)).expect("a voter that answers");
            self.lead(heir.0);
        }
    }

    /// So many seconds; gives the changes with the second in which each was made.
    pub(super) fn run(&mut self, seconds: u64) -> Vec<(u64, Change)> {
        (1..=seconds).filter_map(|second| Some((second, self.step()?))).collect()
    }
}
