//! What runs hold of the machine. A task that was moved here may come before those that make room for it have ended:
//! then it waits for them. Ports are not looked at: a run's own are never given twice.

use crate::{AgentConfig, run::Stage, slot::Slot};
use std::collections::BTreeMap;
use taffeta_model::{Job, TaskId};

/// Of what there is only so much. Revocable tasks share the processors among themselves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Cpus { revocable: bool },
    Memory,
    Disk,
    Custom(String),
}

/// Room on the machine while something is being stopped.
pub(crate) struct Room {
    held: BTreeMap<Kind, u64>,
    /// What is being stopped, and what it holds.
    leaving: Vec<(TaskId, BTreeMap<Kind, u64>)>,
}

impl Room {
    /// As the runs of these slots leave it; a run of which nobody knows the job holds nothing. One that belongs to no
    /// placement of the newest set is being stopped once a leader has confirmed that set.
    pub(crate) fn of(slots: &BTreeMap<TaskId, Slot>, confirmed: bool) -> Self {
        let mut room = Self { held: BTreeMap::new(), leaving: vec![] };
        for (task, slot) in slots {
            let listed = slot.wanted.as_ref().map(|wanted| wanted.assigned.fence);
            for run in &slot.runs {
                let Some(assigned) = &run.assigned else { continue };
                room.put(&assigned.job);
                let stays = listed == Some(run.fence) || matches!(run.stage, Stage::Up { .. });
                if confirmed && !stays {
                    room.leaving.push((task.clone(), demands(&assigned.job)));
                }
            }
        }
        room
    }

    /// Something starts.
    pub(crate) fn put(&mut self, job: &Job) {
        for (kind, count) in demands(job) {
            let held = self.held.entry(kind).or_default();
            *held = held.saturating_add(count);
        }
    }

    /// For which tasks a start of this job has to wait, in words. What would be too much also without them is started:
    /// a machine that has shrunk goes on.
    pub(crate) fn wait(&self, config: &AgentConfig, job: &Job) -> Option<String> {
        let demands = demands(job);
        let is_short = |kind: &Kind| {
            let needed = demands.get(kind).copied().unwrap_or_default();
            let held = self.held.get(kind).copied().unwrap_or_default();
            needed > 0 && held.saturating_add(needed) > offered(config, kind)
        };
        let in_the_way = |(_, holds): &&(TaskId, BTreeMap<Kind, u64>)| holds.keys().any(is_short);
        let mut tasks = self.leaving.iter().filter(in_the_way).map(|(task, _)| task);
        let first = tasks.next()?;
        Some(match tasks.count() {
            0 => format!("waits for {first} to end"),
            more => format!("waits for {first} and {more} more to end"),
        })
    }
}

/// What the job asks for; nothing in it is 0.
fn demands(job: &Job) -> BTreeMap<Kind, u64> {
    let resources = &job.resources;
    let mut all = BTreeMap::from([
        (Kind::Cpus { revocable: job.revocable }, resources.cpus.0),
        (Kind::Memory, resources.memory),
        (Kind::Disk, resources.disk),
    ]);
    all.extend(job.custom.iter().map(|(name, count)| (Kind::Custom(name.clone()), *count)));
    all.retain(|_, count| *count > 0);
    all
}

fn offered(config: &AgentConfig, kind: &Kind) -> u64 {
    match kind {
        Kind::Cpus { .. } => config.capacity.cpus.0,
        Kind::Memory => config.capacity.memory,
        Kind::Disk => config.capacity.disk,
        Kind::Custom(name) => config.custom.get(name).copied().unwrap_or_default(),
    }
}
