//! The instance slots, and which machine has which of them: a machine's set is asked for far more often than changed.

use super::Task;
use crate::{AppName, JobName, NodeId, TaskId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
};

/// Tasks by id. It reads as a map; it is changed by the methods here, which keep the index by machine right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tasks {
    all: BTreeMap<TaskId, Task>,
    /// By [`Task::machine`].
    by_machine: BTreeMap<NodeId, BTreeSet<TaskId>>,
}

impl Tasks {
    /// Adds a task, or puts another in its place.
    pub fn insert(&mut self, id: TaskId, task: Task) {
        let now = task.machine();
        let before = self.all.insert(id.clone(), task).and_then(|old| old.machine());
        self.moved(&id, before, now);
    }

    /// Takes a task out.
    pub fn remove(&mut self, id: &TaskId) -> Option<Task> {
        let task = self.all.remove(id)?;
        self.moved(id, task.machine(), None);
        Some(task)
    }

    /// Changes a task; `None` if there is no such task.
    pub fn update<R>(&mut self, id: &TaskId, change: impl FnOnce(&mut Task) -> R) -> Option<R> {
        let task = self.all.get_mut(id)?;
        let before = task.machine();
        let result = change(task);
        let now = task.machine();
        self.moved(id, before, now);
        Some(result)
    }

    /// The tasks that run on the machine, or whose output is kept there.
    pub fn of_machine(&self, node: NodeId) -> impl Iterator<Item = (&TaskId, &Task)> {
        self.by_machine.get(&node).into_iter().flatten().filter_map(|id| self.all.get_key_value(id))
    }

    /// The tasks of one app, in order.
    pub fn of_app(&self, app: &AppName) -> impl Iterator<Item = (&TaskId, &Task)> {
        self.all.range(first_task(app)..).take_while(move |(id, _)| id.app == *app)
    }

    /// The tasks of one job, in order.
    pub fn of_job(&self, app: &AppName, job: &JobName) -> impl Iterator<Item = (&TaskId, &Task)> {
        let task = |index| TaskId { app: app.clone(), job: job.clone(), index };
        self.all.range(task(0)..=task(u32::MAX))
    }

    fn moved(&mut self, id: &TaskId, before: Option<NodeId>, now: Option<NodeId>) {
        if before == now {
            return;
        }
        if let Some(before) = before
            && let Some(tasks) = self.by_machine.get_mut(&before)
        {
            tasks.remove(id);
            if tasks.is_empty() {
                self.by_machine.remove(&before);
            }
        }
        if let Some(now) = now {
            self.by_machine.entry(now).or_default().insert(id.clone());
        }
    }
}

impl Deref for Tasks {
    type Target = BTreeMap<TaskId, Task>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl<'a> IntoIterator for &'a Tasks {
    type Item = (&'a TaskId, &'a Task);
    type IntoIter = std::collections::btree_map::Iter<'a, TaskId, Task>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.iter()
    }
}

impl FromIterator<(TaskId, Task)> for Tasks {
    fn from_iter<I: IntoIterator<Item = (TaskId, Task)>>(tasks: I) -> Self {
        let mut all = Self::default();
        tasks.into_iter().for_each(|(id, task)| all.insert(id, task));
        all
    }
}

impl Serialize for Tasks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.all.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Tasks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(BTreeMap::<TaskId, Task>::deserialize(deserializer)?.into_iter().collect())
    }
}

/// Smallest id of the app's tasks.
fn first_task(app: &AppName) -> TaskId {
    let job = JobName::new("0").expect("a label"); // the smallest there is
    TaskId { app: app.clone(), job, index: 0 }
}
