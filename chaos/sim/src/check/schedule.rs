//! What the scheduler promises of its own doing: slots of cron jobs, updates and drains, who makes way for whom, and that
//! tasks stay with their data.

mod serving;
mod slots;
mod volumes;

use super::Broken;
use crate::{cluster::Cluster, moments::Moment};
use serving::Serving;
use slots::Ledger;
use std::collections::BTreeMap;
use taffeta_model::{AppName, Cause, JobName, Place, State, TaskId, TeamName};
use volumes::Volumes;

/// A job of an app.
type Name = (AppName, JobName);

/// What was seen of the newest state.
#[derive(Default)]
pub(super) struct Schedule {
    /// Generation and index of the entry that it was applied up to.
    at: (u64, u64),
    slots: BTreeMap<Name, Ledger>,
    tasks: BTreeMap<TaskId, (u32, Cause)>,
    /// Per team, the memory that it may have, and has.
    teams: BTreeMap<TeamName, (u64, u64)>,
    /// Versions by app, and whether each came back by itself, and which of its jobs were promoted.
    rollouts: BTreeMap<AppName, (u64, bool, usize)>,
    serving: Serving,
    volumes: Volumes,
}

impl Schedule {
    pub(super) fn step(&mut self, cluster: &mut Cluster) -> Result<(), Broken> {
        let mut noted = vec![];
        for machine in cluster.machines.iter().filter(|m| m.runs() && !m.is_copy && !m.outdated) {
            let look = |state: &State| {
                let at = (state.generation, state.applied.index);
                if at <= self.at || state.generation < cluster.generation {
                    return Ok(());
                }
                if at.0 > self.at.0 {
                    *self = Self::default(); // what the old side had is not what this one goes on with
                }
                self.at = at;
                self.follow(state, &cluster.resets, &mut noted)
            };
            machine.look(|inspect| inspect.state(look)).unwrap_or(Ok(()))?;
        }
        noted.into_iter().for_each(|moment| cluster.moments.note(moment));
        self.serving.step(cluster)
    }

    /// From one state to a later one; `resets`: how often each task was to begin without its data.
    fn follow(&mut self, state: &State, resets: &BTreeMap<TaskId, u32>, noted: &mut Vec<Moment>) -> Result<(), Broken> {
        self.invariant_each_slot_starts_once_or_is_told_as_missed(state, noted)?;
        self.invariant_nobody_makes_way_for_an_equal(state, noted)?;
        self.invariant_a_team_gets_no_more_than_its_quota(state, noted)?;
        self.volumes.follow(state, resets, noted)?;
        let before = std::mem::take(&mut self.rollouts);
        for (name, app) in &state.apps {
            let is = (app.version, app.rollout.returned.is_some(), app.rollout.promoted.len());
            if let Some(was) = before.get(name) {
                noted.extend((is.1 && is.0 > was.0).then_some(Moment::VersionReturned));
                noted.extend((is.0 == was.0 && is.2 > was.2).then_some(Moment::VersionPromoted));
            }
            self.rollouts.insert(name.clone(), is);
        }
        self.serving.learn(state);
        Ok(())
    }

    /// Each slot starts once, whoever leads, or is in the history with the reason.
    fn invariant_each_slot_starts_once_or_is_told_as_missed(
        &mut self,
        state: &State,
        noted: &mut Vec<Moment>,
    ) -> Result<(), Broken> {
        let mut before = std::mem::take(&mut self.slots);
        for (app, known) in &state.apps {
            for (job, runs) in &known.runs {
                let Some(cron) = known.app.jobs.get(job).and_then(|job| job.cron.as_ref()) else { continue };
                let name = (app.clone(), job.clone());
                let ledger = before.remove(&name).filter(|ledger| ledger.is_of(runs));
                let mut ledger = ledger.unwrap_or_else(|| Ledger::new(runs));
                ledger.follow(runs, cron, noted).map_err(|why| format!("{app}/{job}: {why}"))?;
                self.slots.insert(name, ledger);
            }
        }
        Ok(())
    }

    /// A task makes way only for one of a higher priority, or, if it is revocable, for one that is not.
    fn invariant_nobody_makes_way_for_an_equal(
        &mut self,
        state: &State,
        noted: &mut Vec<Moment>,
    ) -> Result<(), Broken> {
        let tasks: BTreeMap<TaskId, (u32, Cause)> =
            state.tasks.iter().map(|(id, task)| (id.clone(), (task.attempt, task.cause.clone()))).collect();
        let before = std::mem::replace(&mut self.tasks, tasks);
        for (id, task) in self.tasks.iter().filter(|(id, task)| before.get(id).is_some_and(|was| was != *task)) {
            match &task.1 {
                Cause::Preempted { by } => {
                    noted.push(Moment::TaskMadeWay);
                    let (Some(victim), Some(other)) = (state.job_of(id), state.job_of(by)) else { continue };
                    let revoked = victim.revocable && !other.revocable;
                    if victim.priority >= other.priority && !revoked {
                        let (low, high) = (victim.priority, other.priority);
                        return Err(format!("{id} of priority {low} made way for {by} of priority {high}"));
                    }
                }
                Cause::Drained => noted.push(Moment::DrainedAway),
                Cause::Waited | Cause::MachineLost | Cause::Outdated | Cause::MachineRemoved | Cause::Surplus => {}
            }
        }
        Ok(())
    }

    /// What the placed tasks of a team ask for grows only within its limits.
    fn invariant_a_team_gets_no_more_than_its_quota(
        &mut self,
        state: &State,
        noted: &mut Vec<Moment>,
    ) -> Result<(), Broken> {
        let before = std::mem::take(&mut self.teams);
        for (team, quota) in &state.quotas {
            let of_team = |id: &TaskId| state.apps.get(&id.app).is_some_and(|app| app.app.team.as_ref() == Some(team));
            let (mut used, mut least) = (0, u64::MAX);
            for (id, task) in state.tasks.iter().filter(|(id, _)| of_team(id)) {
                let memory = state.job_of(id).map_or(0, |job| job.resources.memory);
                match task.place {
                    Place::On { .. } => used += memory,
                    Place::Waiting { .. } => least = least.min(memory),
                    Place::Ended { .. } => {}
                }
            }
            let limit = quota.limit.memory;
            if least < u64::MAX && limit < u64::MAX && used + least > limit {
                noted.push(Moment::HeldByQuota);
            }
            if let Some((was_limit, was)) = before.get(team)
                && *was_limit == limit
                && used > limit
                && used > *was
            {
                return Err(format!("the team {team} was given {used} of {limit} bytes of memory, after {was}"));
            }
            self.teams.insert(team.clone(), (limit, used));
        }
        Ok(())
    }
}
