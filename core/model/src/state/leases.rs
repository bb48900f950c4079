//! Which machines may still run exclusive tasks. A placement takes the lease, and only the end of what runs there gives it
//! back, as told by the machine itself or by the time that has passed: neither a removal nor the end of the app, of its
//! flag or of the machine's membership does.

use super::State;
use crate::{Fence, Job, LEASES_MAX, Leased, NodeId, TaskId};
use std::collections::BTreeMap;

/// By task; at most [`LEASES_MAX`].
pub(super) type Leases = BTreeMap<TaskId, Leased>;

/// Whether the task may go to the machine: nobody else may still run it, and if it is `exclusive`, there is room for one
/// more lease.
pub(super) fn may_go(leases: &Leases, id: &TaskId, node: NodeId, exclusive: bool) -> bool {
    match leases.get(id) {
        Some(leased) => leased.node == node,
        None => !exclusive || leases.len() < LEASES_MAX,
    }
}

/// The machine may run the task from now on. What it ran of it before may have had a longer lease.
pub(super) fn take(leases: &mut Leases, id: &TaskId, node: NodeId, fence: Fence, job: &Job) {
    let before = leases.get(id).map(|leased| leased.lasts).unwrap_or_default();
    leases.insert(id.clone(), Leased { node, fence, lasts: job.lease().max(before) });
}

/// A task leaves its machine that is to be exclusive from now on and was not when it was placed. It has no lease that would
/// end it there, so this holds only as long as the machine learns of the removal in time.
pub(super) fn leave(leases: &mut Leases, id: &TaskId, on: (NodeId, Fence), job: Option<&Job>) {
    if let Some(job) = job.filter(|job| job.exclusive && may_go(leases, id, on.0, true) && !leases.contains_key(id)) {
        take(leases, id, on.0, on.1, job);
    }
}

impl State {
    /// Nothing of these placements runs any more. One that is not the newest of its task changes nothing.
    pub(super) fn release(&mut self, at: Fence, released: &[(TaskId, Fence)]) {
        for (id, fence) in released {
            if self.leased.get(id).is_some_and(|leased| leased.fence == *fence) {
                self.leased.remove(id);
                self.apps.get_mut(&id.app).into_iter().for_each(|app| app.touched = at);
            }
        }
    }
}
