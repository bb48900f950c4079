//! A client that reads what it may: the answers are checked for being answers.

use super::{Question, pause};
use crate::{cluster::Cluster, random::stream};
use rand::{RngExt, rngs::SmallRng};
use std::time::Duration;

/// Pause between two looks.
const THINKS: Duration = Duration::from_secs(2);

pub(super) struct Reader {
    rng: SmallRng,
    next: Duration,
    asking: Option<Question<()>>,
}

impl Reader {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: stream(seed, "reader"), next: Duration::ZERO, asking: None }
    }

    pub(super) fn step(&mut self, cluster: &mut Cluster) {
        if let Some(question) = &mut self.asking {
            if question.ending(cluster).is_none() {
                return;
            }
            self.asking = None;
        }
        if cluster.now() < self.next {
            return;
        }
        self.next = cluster.now() + pause(&mut self.rng, THINKS);
        let what = self.rng.random_range(0..6);
        self.asking = Question::ask(cluster, &mut self.rng, |backend| async move {
            match what {
                0 => backend.status().await.map(drop),
                1 => backend.nodes().await.map(drop),
                2 => backend.apps().await.map(drop),
                3 => backend.services().await.map(drop),
                4 => backend.leader().await.map(drop),
                _ => {
                    for task in backend.tasks(None).await?.into_iter().take(3) {
                        let id = format!("{}/{}", task.app, task.task);
                        if let Ok(id) = id.parse() {
                            backend.why(id).await?;
                        }
                    }
                    Ok(())
                }
            }
        });
    }
}
