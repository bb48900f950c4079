//! Tasks that have data: each goes where its volume is, or nowhere; and what volumes take of the machines' disks.

use crate::{
    NodeLacks, Waiting,
    choose::Rules,
    leases::Lease,
    machines::{MachineId, Machines, TaskRef},
    mirror::{Scheduler, VersionId},
    plan::{Turn, Want},
};
use std::collections::{BTreeMap, VecDeque};
use taffeta_model::{Fence, NodeId, State, TaskId, VolumeId};

/// The volumes that are somewhere. Their sizes are counted on their machines: as a part of what their tasks ask for
/// while those are there, and here while they are not.
#[derive(Default)]
pub(crate) struct Volumes {
    all: BTreeMap<VolumeId, Held>,
    seen: Fence,
}

struct Held {
    node: NodeId,
    /// `None` if it was removed.
    machine: Option<MachineId>,
    size: u64,
    /// Whether it is counted here.
    counted: bool,
}

impl Volumes {
    /// Reads what has changed; to be called before tasks are read, which then count their volumes themselves. Gives
    /// whether there may be room now where there was none.
    pub(crate) fn read(&mut self, state: &State, machines: &mut Machines) -> bool {
        if self.seen == state.volumes.changed() {
            return false;
        }
        self.seen = state.volumes.changed();
        let gone: Vec<VolumeId> = self.all.keys().filter(|id| !state.volumes.contains_key(id)).cloned().collect();
        for id in &gone {
            self.release(machines, id);
            self.all.remove(id);
        }
        let mut changed = !gone.is_empty();
        for (id, volume) in state.volumes.iter() {
            let known = self.all.get(id).map(|known| (known.node, known.size));
            if known == Some((volume.node, volume.size)) {
                continue;
            }
            changed = true;
            // One that its task counts is counted by that; a new one will be.
            let by_task = known.is_some_and(|(node, _)| node == volume.node) && !self.release(machines, id);
            self.release(machines, id);
            let machine = machines.position(volume.node);
            self.all.insert(id.clone(), Held { node: volume.node, machine, size: volume.size, counted: false });
            if !by_task {
                self.hold(machines, id);
            }
        }
        changed
    }

    /// Machines that are about to be forgotten have nothing any more.
    pub(crate) fn forget(&mut self, machine: MachineId) {
        for held in self.all.values_mut().filter(|held| held.machine == Some(machine)) {
            (held.machine, held.counted) = (None, true);
        }
    }

    /// The machine of a volume that is somewhere; `Some(None)` if that was removed.
    fn machine(&self, id: &VolumeId) -> Option<Option<MachineId>> {
        self.all.get(id).map(|held| held.machine)
    }

    /// Counts it here.
    pub(crate) fn hold(&mut self, machines: &mut Machines, id: &VolumeId) {
        let Some(held) = self.all.get_mut(id).filter(|held| !held.counted) else { return };
        held.counted = true;
        if let Some(machine) = held.machine {
            machines.reserve(machine, held.size);
        }
    }

    /// Undoes [`Volumes::hold`]; gives whether it was counted here.
    pub(crate) fn release(&mut self, machines: &mut Machines, id: &VolumeId) -> bool {
        let Some(held) = self.all.get_mut(id).filter(|held| held.counted) else { return false };
        held.counted = false;
        if let Some(machine) = held.machine {
            machines.unreserve(machine, held.size);
        }
        true
    }

    /// The task comes to the machine: it counts the volume from now on, if that is there.
    pub(crate) fn come(&mut self, machines: &mut Machines, id: &VolumeId, to: MachineId) {
        if self.machine(id) == Some(Some(to)) {
            self.release(machines, id);
        }
    }
}

impl Scheduler {
    /// The volume that the task would have in that version, if it is somewhere already.
    pub(crate) fn volume_of(&self, task: TaskRef, version: VersionId) -> Option<VolumeId> {
        let (app, job) = (self.app(task.app), self.job(task));
        let name = job.spec_of(version).volume.clone()?;
        let task = TaskId { app: app.app.name.clone(), job: job.name.clone(), index: job.slots.get(task.slot)?.index };
        let id = VolumeId { task, name };
        self.volumes.all.contains_key(&id).then_some(id)
    }
}

impl Turn<'_> {
    /// Places those whose volumes are somewhere already: each goes there or waits. The others stay. They come first: one
    /// that may go anywhere must not take the only place of one that may not. Gives whether the plan is full.
    pub(crate) fn place_at_volumes(
        &mut self,
        (app, j, version): (usize, usize, VersionId),
        wants: &mut VecDeque<Want>,
    ) -> bool {
        if self.s.app(app).jobs[j].spec_of(version).volume.is_none() {
            return false;
        }
        let (bound, others): (Vec<Want>, Vec<Want>) =
            wants.drain(..).partition(|want| self.s.volume_of(want.task, version).is_some());
        wants.extend(others);
        if bound.is_empty() {
            return false;
        }
        let mut rules = Rules::new(self.s, app, j, version);
        for want in bound {
            if self.is_full() {
                return true;
            }
            let Some(id) = self.s.volume_of(want.task, version) else { continue };
            if let Some(why) = self.lease_before_volume(want.task, &rules, &id) {
                self.leave(app, &VecDeque::from([want]), &why);
                continue;
            }
            let spec = self.s.app(app).jobs[j].spec_of(version);
            let over = self.s.teams.over(spec).map(|over| Waiting::over_quota(spec, over));
            match over.map_or_else(|| self.seek_volume(want.task, &rules, &id, true), Err) {
                Ok(to) => {
                    self.place(want.task, to, want.cause(), version);
                    self.new_leases += usize::from(rules.spec(self.s).exclusive);
                    rules.moved(self.s, to, true);
                }
                Err(why) => self.leave(app, &VecDeque::from([want]), &why),
            }
        }
        false
    }

    /// What leases say against the machine of the volume: another one may still run the task, or there may be no more.
    fn lease_before_volume(&mut self, task: TaskRef, rules: &Rules, id: &VolumeId) -> Option<Waiting> {
        if let Some(holder) = self.holder(task) {
            let home = self.s.volumes.machine(id).flatten().map(|at| self.s.machines.all[at].id);
            return (home != Some(holder)).then(|| self.leased_on(holder));
        }
        match self.lease_of(task, rules) {
            Lease::Withheld(why) => Some(why),
            Lease::Free | Lease::Held(_) => None,
        }
    }

    /// The machine of the volume if it takes the task, which has been lifted, or can be made to; else why not.
    pub(crate) fn seek_volume(
        &mut self,
        task: TaskRef,
        rules: &Rules,
        id: &VolumeId,
        others_may_go: bool,
    ) -> Result<MachineId, Waiting> {
        let wait = |on| Waiting::Volume { task: id.task.clone(), name: id.name.clone(), on };
        let Some(at) = self.s.volumes.machine(id).flatten() else { return Err(wait(None)) };
        // What is reserved for it is for it.
        let s = &mut *self.s;
        let counted = s.volumes.release(&mut s.machines, id);
        let mut takes = rules.admit(self.s, at);
        if !takes && others_may_go {
            takes = self.make_room(task, rules, Some(at)).is_ok();
        }
        let lacks = if takes { vec![] } else { rules.lacks(self.s, at) };
        let s = &mut *self.s;
        if counted {
            s.volumes.hold(&mut s.machines, id);
        }
        if takes {
            return Ok(at);
        }
        Err(wait(Some(Box::new(NodeLacks { node: s.machines.all[at].name.clone(), lacks }))))
    }
}
