//! What has to become of the service that keeps data: it serves where its data is, or waits if that is gone.

use super::planned::missing_of;
use crate::{
    cluster::Cluster,
    workload::{KEEP, Workload, volume_of},
};
use taffeta_model::{AppName, JobName, NodeId, State, TaskId};

/// What is still missing, in words.
pub(super) fn missing(cluster: &Cluster, state: &State, workload: &Workload) -> Option<String> {
    if !workload.keeps_data() {
        return None;
    }
    let (app, job) = (AppName::new(KEEP.0).expect("a label"), JobName::new(KEEP.1).expect("a label"));
    let Some(known) = state.apps.get(&app) else { return Some(format!("{app} is not deployed")) };
    let wanted = known.revisions.get(&job).copied();
    // Nobody brings data back from a machine that is gone, and to one that is drained comes nothing new.
    let serves = |node: NodeId| {
        let takes = state.members.get(&node).is_some_and(|member| !member.draining);
        takes && cluster.machine_of(node).is_some_and(|machine| cluster.places.contains(&machine.number))
    };
    (1..=KEEP.2).map(|index| TaskId { app: app.clone(), job: job.clone(), index }).find_map(|id| {
        let home = state.volumes.get(&volume_of(id.clone())).map(|volume| volume.node);
        if home.is_none_or(serves) { missing_of(cluster, state, &id, wanted) } else { None }
    })
}
