//! Looks at the cluster several times a second, through machines that are not struck.

use crate::{
    fabric::Fabric,
    fleet::Fleet,
    probe::{Names, names_of, names_right},
    scene::Scene,
    timeline::Sample,
};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::{Instant, sleep_until};

/// Pause between two looks: a second is enough to lose a leader and find another one.
const EVERY: Duration = Duration::from_millis(200);
/// How long one machine may take before another one is asked.
const LOOK_LIMIT: Duration = Duration::from_millis(500);

/// Looks for ever; ends when it is dropped. `names` is what they were to give at the look before.
pub(crate) async fn watch(fabric: Fabric, scene: Scene, mut names: Option<Names>) {
    loop {
        let next = Instant::now() + EVERY;
        let sample = look(&fabric, &scene, &mut names).await;
        scene.timeline().add_sample(sample);
        sleep_until(next).await;
    }
}

/// One look; `names` is what they were to give at the last one. Where nobody answers, nobody leads, nothing serves and no
/// name is right, of all that there was to be.
pub(crate) async fn look(fabric: &Fabric, scene: &Scene, names: &mut Option<Names>) -> Sample {
    let silent = scene.silent();
    let before = scene.timeline().samples.last().cloned().unwrap_or_default();
    let unseen = |at_s: f64| Sample { at_s, leader: None, quorum: false, serving: 0, right: 0, ..before.clone() };
    let Ok(fleet) = fabric.fleet_of(&silent, LOOK_LIMIT, false).await else {
        return unseen(scene.now().as_secs_f64());
    };
    let speaking: BTreeSet<String> = fleet.machines.keys().filter(|name| !silent.contains(name)).cloned().collect();
    if speaking.is_empty() {
        return unseen(scene.now().as_secs_f64()); // who still answers is about to fall silent
    }
    let (serving, wanted) = on(&fleet, &speaking);
    let expected = names_of(&fleet, &speaking, |_| true);
    let (right, asked) = names_right(&fleet, &speaking, &expected, LOOK_LIMIT).await;
    let has_changed = names.as_ref().is_some_and(|before| *before != expected);
    *names = Some(expected);
    Sample {
        at_s: scene.now().as_secs_f64(),
        leader: fleet.leader.filter(|leader| fleet.quorum && speaking.contains(leader)),
        quorum: fleet.quorum,
        serving,
        wanted,
        right,
        asked,
        changes: before.changes + usize::from(has_changed),
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

#[cfg(test)]
mod tests {
    use super::look;
    use crate::{fabric::Fabric, scene::Scene, timeline::Sample};
    use taffeta_node::client::{ApiClient, ApiTarget};

    #[tokio::test]
    async fn where_nobody_answers_all_is_away_that_was_there() {
        let nobody = ApiClient::new(ApiTarget::Http("http://127.0.0.1:1".into()), None).unwrap();
        let (fabric, scene) = (Fabric::new(nobody, None, vec![]), Scene::new());
        let whole = Sample {
            leader: Some("n1".into()),
            quorum: true,
            serving: 7,
            wanted: 7,
            right: 5,
            asked: 5,
            ..Sample::default()
        };
        scene.timeline().add_sample(whole.clone());
        let seen = look(&fabric, &scene, &mut None).await;
        assert_eq!((seen.serving, seen.right, seen.quorum, &seen.leader), (0, 0, false, &None));
        assert_eq!((seen.wanted, seen.asked), (whole.wanted, whole.asked));
    }
}
