//! Where the volumes of tasks are. A volume outlives its task and its app: only what an operator says ends it.

use super::State;
use crate::{AppName, Fence, Job, JobName, NodeId, Refusal, TaskId, VolumeName};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Deref,
    sync::Arc,
};

/// Most volumes: as many as tasks, for the same reason. Those whose tasks have gone count, too.
pub const VOLUMES_MAX: usize = 100_000;

/// A volume: one name of one task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VolumeId {
    /// Whose it is.
    pub task: TaskId,
    /// Its name.
    pub name: VolumeName,
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.task, self.name)
    }
}

/// Where a volume is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeState {
    /// The machine, which may have been removed since.
    pub node: NodeId,
    /// What is counted for it, as the version of its task says that was placed last.
    pub size: u64,
    /// The placement that made it: one of the same name that was made again is another.
    pub born: Fence,
}

/// Volumes by id, at most [`VOLUMES_MAX`]. It reads as a map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volumes {
    all: BTreeMap<VolumeId, VolumeState>,
    by_machine: BTreeMap<NodeId, BTreeSet<VolumeId>>,
    /// Position of the newest change.
    changed: Fence,
}

impl Volumes {
    /// Position of the newest change.
    pub fn changed(&self) -> Fence {
        self.changed
    }

    /// The volumes of one task.
    pub fn of_task<'a>(&'a self, task: &'a TaskId) -> impl Iterator<Item = (&'a VolumeId, &'a VolumeState)> {
        let from = VolumeId { task: task.clone(), name: VolumeName::new("0").expect("a label") }; // the smallest there is
        self.all.range(from..).take_while(move |(id, _)| id.task == *task)
    }

    /// When the volumes on a machine were made.
    pub fn of_machine(&self, node: NodeId) -> BTreeMap<VolumeId, Fence> {
        let ids = self.by_machine.get(&node).into_iter().flatten();
        ids.filter_map(|id| Some((id.clone(), self.all.get(id)?.born))).collect()
    }

    /// Whether a task may come to the machine that has, or is to have, this volume there.
    pub(super) fn lets(&self, id: &VolumeId, node: NodeId) -> bool {
        self.all.get(id).map_or(self.all.len() < VOLUMES_MAX, |volume| volume.node == node)
    }

    /// The task was placed: its volume is there from now on.
    pub(super) fn place(&mut self, at: Fence, id: VolumeId, node: NodeId, size: u64) {
        let known = self.all.get(&id).copied();
        let volume = VolumeState { node, size, born: known.map_or(at, |known| known.born) };
        if known != Some(volume) {
            self.by_machine.entry(node).or_default().insert(id.clone());
            self.all.insert(id, volume);
            self.changed = at;
        }
    }

    fn remove(&mut self, at: Fence, id: &VolumeId) -> Option<NodeId> {
        let VolumeState { node, .. } = self.all.remove(id)?;
        if let Some(there) = self.by_machine.get_mut(&node) {
            there.remove(id);
            if there.is_empty() {
                self.by_machine.remove(&node);
            }
        }
        self.changed = at;
        Some(node)
    }
}

impl Deref for Volumes {
    type Target = BTreeMap<VolumeId, VolumeState>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl Serialize for Volumes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.all, self.changed).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Volumes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (all, changed) = <(BTreeMap<VolumeId, VolumeState>, Fence)>::deserialize(deserializer)?;
        let mut by_machine: BTreeMap<NodeId, BTreeSet<VolumeId>> = BTreeMap::new();
        for (id, volume) in &all {
            by_machine.entry(volume.node).or_default().insert(id.clone());
        }
        Ok(Self { all, by_machine, changed })
    }
}

impl State {
    /// The volume that the task is to have in the present version of its job.
    fn wanted_volume(&self, task: &TaskId) -> Option<VolumeId> {
        let name = self.job(task)?.volume.as_ref()?.name.clone();
        Some(VolumeId { task: task.clone(), name })
    }

    /// Refuses more volumes than are kept.
    pub(super) fn check_room_for_volumes(
        &self,
        app: &AppName,
        jobs: &BTreeMap<JobName, Arc<Job>>,
    ) -> Result<(), Refusal> {
        let of = |(job, definition): (&JobName, &Arc<Job>)| {
            let Some(volume) = &definition.volume else { return 0 };
            let known = |id: &&VolumeId| id.task.app == *app && id.task.job == *job && id.name == volume.name;
            let known = self.volumes.keys().filter(known).filter(|id| id.task.index <= definition.count).count();
            definition.count as usize - known
        };
        if self.volumes.len() + jobs.iter().map(of).sum::<usize>() > VOLUMES_MAX {
            return Err(Refusal::Full(VOLUMES_MAX, "volumes".into()));
        }
        Ok(())
    }

    /// The volume of that name of a task, or all of them.
    fn volumes_of(&self, task: &TaskId, name: Option<&VolumeName>) -> Result<Vec<VolumeId>, Refusal> {
        let ids = self.volumes.of_task(task).map(|(id, _)| id).filter(|id| name.is_none_or(|name| id.name == *name));
        let ids: Vec<VolumeId> = ids.cloned().collect();
        if ids.is_empty() {
            return Err(Refusal::UnknownVolume { task: task.clone(), name: name.cloned() });
        }
        Ok(ids)
    }

    /// Forgets where the task's data is: it begins with an empty volume, on any machine.
    pub(super) fn reset_volume(&mut self, at: Fence, task: &TaskId) -> Result<(), Refusal> {
        let in_use = |why: &str| Err(Refusal::VolumeInUse { task: task.clone(), why: why.into() });
        let Some(known) = self.tasks.get(task) else {
            self.volumes_of(task, None)?;
            return in_use("has ended for good: `taffeta volume remove` drops what it has left");
        };
        if known.node().is_some() {
            return in_use(
                "is placed where its volume is: scale its job down or stop its app, then `taffeta volume remove` drops it",
            );
        }
        // One that goes on in an older version waits for that version's.
        let older = self.job_of(task).and_then(|job| job.volume.as_ref());
        let older = older.map(|volume| VolumeId { task: task.clone(), name: volume.name.clone() });
        let id = self.wanted_volume(task).into_iter().chain(older).find(|id| self.volumes.contains_key(id));
        let id = id.ok_or_else(|| Refusal::UnknownVolume { task: task.clone(), name: None })?;
        self.drop_volume(at, &id);
        Ok(())
    }

    /// Drops volumes that no task uses.
    pub(super) fn remove_volume(&mut self, at: Fence, task: &TaskId, name: Option<&VolumeName>) -> Result<(), Refusal> {
        let ids = self.volumes_of(task, name)?;
        let present = self.job_of(task).and_then(|job| job.volume.as_ref()).map(|volume| volume.name.clone());
        let wanted = self.tasks.get(task).and_then(|_| self.wanted_volume(task)).map(|id| id.name);
        if ids.iter().any(|id| present.as_ref() == Some(&id.name) || wanted.as_ref() == Some(&id.name)) {
            let why = "is there and uses it: stop its app or scale its job down first; `taffeta volume reset` lets it begin \
                       with an empty one";
            return Err(Refusal::VolumeInUse { task: task.clone(), why: why.into() });
        }
        ids.iter().for_each(|id| self.drop_volume(at, id));
        Ok(())
    }

    fn drop_volume(&mut self, at: Fence, id: &VolumeId) {
        if let Some(node) = self.volumes.remove(at, id) {
            self.touch(at, node); // its set does not list it any more
        }
    }
}
