//! Looks at the cluster several times a second, through machines that are not struck.

use crate::{fabric::Fabric, fleet::Fleet, probe::names_right, scene::Scene, timeline::Sample};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::{Instant, sleep_until};

/// Pause between two looks: a second is enough to lose a leader and find another one.
const EVERY: Duration = Duration::from_millis(200);
/// How long one machine may take before another one is asked.
const LOOK_LIMIT: Duration = Duration::from_millis(500);

/// Looks for ever; ends when it is dropped.
pub(crate) async fn watch(fabric: Fabric, scene: Scene) {
    loop {
        let next = Instant::now() + EVERY;
        let sample = look(&fabric, &scene).await;
        scene.timeline().add_sample(sample);
        sleep_until(next).await;
    }
}

/// One look. Where nobody answers, nobody leads and nothing serves.
pub(crate) async fn look(fabric: &Fabric, scene: &Scene) -> Sample {
    let silent = scene.silent();
    let fleet = fabric.fleet_of(&silent, LOOK_LIMIT, false).await.unwrap_or_default();
    let speaking: BTreeSet<String> = fleet.machines.keys().filter(|name| !silent.contains(name)).cloned().collect();
    let (serving, wanted) = on(&fleet, &speaking);
    let (right, asked) = names_right(&fleet, &speaking, |_| true, LOOK_LIMIT).await;
    Sample {
        at_s: scene.now().as_secs_f64(),
        leader: fleet.leader.filter(|leader| fleet.quorum && speaking.contains(leader)),
        quorum: fleet.quorum,
        serving,
        wanted,
        right,
        asked,
    }
}

/// Instances that serve on these machines, and that there are to be.
fn on(fleet: &Fleet, machines: &BTreeSet<String>) -> (usize, usize) {
    let there = Fleet {
        tasks: fleet.tasks.iter().filter(|task| machines.contains(&task.node)).cloned().collect(),
        wanted: fleet.wanted.clone(),
        ..Fleet::default()
    };
    there.strength(|_| true)
}
