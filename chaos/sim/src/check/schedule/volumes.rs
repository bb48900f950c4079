//! That data stays where it is, and its task with it.

use crate::{check::Broken, moments::Moment};
use std::collections::BTreeMap;
use taffeta_model::{Fence, NodeId, Place, State, TaskId, VolumeId};

/// Volumes as they were seen last.
#[derive(Default)]
pub(super) struct Volumes {
    known: BTreeMap<VolumeId, (NodeId, Fence)>,
    /// How often the data of each task was given up.
    dropped: BTreeMap<TaskId, u32>,
}

impl Volumes {
    /// From one state to a later one; `resets`: how often each task was to begin without its data.
    pub(super) fn follow(
        &mut self,
        state: &State,
        resets: &BTreeMap<TaskId, u32>,
        noted: &mut Vec<Moment>,
    ) -> Result<(), Broken> {
        self.invariant_data_is_given_up_only_when_asked(state, resets, noted)?;
        invariant_a_task_is_where_its_data_is(state, noted)
    }

    /// A volume stays on its machine until an operator gives it up, once for each time that he asks.
    fn invariant_data_is_given_up_only_when_asked(
        &mut self,
        state: &State,
        resets: &BTreeMap<TaskId, u32>,
        noted: &mut Vec<Moment>,
    ) -> Result<(), Broken> {
        let now = state.volumes.iter().map(|(id, volume)| (id.clone(), (volume.node, volume.born)));
        let before = std::mem::replace(&mut self.known, now.collect());
        for (id, (node, born)) in before {
            let now = self.known.get(&id);
            if now == Some(&(node, born)) {
                continue;
            }
            let dropped = self.dropped.entry(id.task.clone()).or_default();
            *dropped += 1;
            if *dropped > resets.get(&id.task).copied().unwrap_or_default() {
                return Err(format!(
                    "the data {id} was on {node} since {born}, is now {now:?}, and nobody has asked for it"
                ));
            }
            noted.push(Moment::VolumeReset);
        }
        Ok(())
    }
}

/// A task that has data is on the machine that has it, or waits.
fn invariant_a_task_is_where_its_data_is(state: &State, noted: &mut Vec<Moment>) -> Result<(), Broken> {
    for (id, task) in state.tasks.iter() {
        let Some(volume) = state.job_of(id).and_then(|job| job.volume.as_ref()) else { continue };
        let home = state.volumes.get(&VolumeId { task: id.clone(), name: volume.name.clone() });
        match (&task.place, home.map(|home| home.node)) {
            (Place::On { node, .. }, Some(home)) if *node == home => {}
            (Place::On { node, .. }, home) => return Err(format!("{id} is on {node}, and its data on {home:?}")),
            (Place::Waiting { .. }, Some(_)) => noted.push(Moment::VolumeAwaited),
            (Place::Waiting { .. }, None) | (Place::Ended { .. }, _) => {}
        }
    }
    Ok(())
}
