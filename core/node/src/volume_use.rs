//! What volumes take of the disk: told to whoever lists them, and said when one has grown beyond its size.

use crate::{
    api::VolumeView,
    node::Core,
    volumes::Made,
    wire::{Ask, Told, VolumeUse},
};
use futures::{StreamExt, stream};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use taffeta_model::NodeId;
use tokio::time::sleep_until;

/// How often it is looked how large the volumes are: a look reads every folder of them.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How long a machine may take to look, for somebody who waits.
const ASK_LIMIT: Duration = Duration::from_secs(3);
/// Machines that are asked at a time.
const AT_ONCE: usize = 16;

impl Core {
    /// Looks at the volumes for ever, and says which have grown beyond their size.
    pub(crate) async fn run_volume_use(self: std::sync::Arc<Self>) {
        let mut over = BTreeSet::new();
        loop {
            sleep_until(self.next_beat(LOOK_EVERY)).await;
            let taken = self.volumes_here().await;
            self.tell_growth(&mut over, &taken);
        }
    }

    /// What the volumes of this machine take.
    pub(crate) async fn volumes_here(&self) -> Vec<VolumeUse> {
        self.tasks.volumes_taken().await
    }

    /// The same list with what each volume takes, as far as its machine says so in time.
    pub(crate) async fn with_use(&self, mut views: Vec<VolumeView>) -> Vec<VolumeView> {
        let named: BTreeSet<&String> = views.iter().filter_map(|view| view.node.as_ref()).collect();
        let members = self.directory.borrow().members.clone();
        let nodes: Vec<NodeId> =
            members.iter().filter(|(_, member)| named.contains(&member.name.to_string())).map(|(id, _)| *id).collect();
        let asked = stream::iter(nodes).map(|node| async move { self.volumes_of(node).await });
        let taken: Vec<Vec<VolumeUse>> = asked.buffer_unordered(AT_ONCE).collect().await;
        let taken: BTreeMap<(String, String, String), VolumeUse> = taken
            .into_iter()
            .flatten()
            .map(|taken| ((taken.id.task.to_string(), taken.id.name.to_string(), taken.born.to_string()), taken))
            .collect();
        for view in &mut views {
            let key = (view.task.clone(), view.name.clone(), view.born.clone());
            let Some(taken) = taken.get(&key) else { continue };
            view.used = taken.bytes;
            view.over = taken.bytes.is_some_and(|bytes| bytes > view.size);
            view.limit = Some(if taken.enforced { "quota" } else { "measured" }.into());
        }
        views
    }

    async fn volumes_of(&self, node: NodeId) -> Vec<VolumeUse> {
        if node == self.me {
            return self.volumes_here().await;
        }
        // A node of an earlier release does not know the question.
        match self.ask(node, &Ask::Volumes, ASK_LIMIT).await {
            Ok(Told::Volumes(taken)) => taken,
            Ok(_) | Err(_) => vec![],
        }
    }

    /// Says it once when a volume has grown beyond its size, and again after it was smaller.
    fn tell_growth(&self, over: &mut BTreeSet<Made>, taken: &[VolumeUse]) {
        let sizes = self.tasks.volume_sizes();
        let mut now = BTreeSet::new();
        for VolumeUse { id, born, bytes, .. } in taken {
            let made = (id.clone(), *born);
            let Some((bytes, size)) = bytes.zip(sizes.get(&made).copied()).filter(|(bytes, size)| bytes > size) else {
                continue;
            };
            if !over.contains(&made) {
                let message = format!("{id} takes {bytes} bytes of the disk and has asked for {size}");
                tracing::warn!(message);
                self.events.tell(self.clock.date(), "volume.over", id.task.to_string(), message);
            }
            now.insert(made);
        }
        *over = now;
    }
}
