//! A client that does what an operator is asked to do to the cluster itself, and insists until it is done.

use super::{Ending, Question, pause};
use crate::{cluster::Cluster, moments::Moment, random::stream};
use rand::rngs::SmallRng;
use std::{sync::Arc, time::Duration};
use taffeta_model::{NodeId, NodeName};
use taffeta_node::api::{ApiError, Backend, ErrorCode};

/// Pause before it is said again.
const INSISTS: Duration = Duration::from_secs(1);

/// A client gives up after this, and asks another node.
const PATIENCE: Duration = Duration::from_secs(20);

/// Something that is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chore {
    /// A machine is gone for good.
    Remove(NodeName, NodeId),
    /// The certificate authority is to be another one.
    Rotate,
}

pub(super) struct Administrator {
    rng: SmallRng,
    next: Duration,
    asking: Option<(Duration, Question<()>)>,
}

impl Administrator {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: stream(seed, "administrator"), next: Duration::ZERO, asking: None }
    }

    pub(super) fn step(&mut self, cluster: &mut Cluster) {
        let now = cluster.now();
        if let Some((began, question)) = &mut self.asking {
            let ending = question.ending(cluster);
            if ending.is_none() && now - *began <= PATIENCE {
                return;
            }
            self.asking = None;
            self.next = now + pause(&mut self.rng, INSISTS);
            if let Some(Ending::Done(())) = ending
                && let Some(chore) = cluster.chores.pop_front()
            {
                finished(cluster, chore);
            }
        }
        let Some(chore) = cluster.chores.front().cloned().filter(|_| now >= self.next) else { return };
        self.next = now + pause(&mut self.rng, INSISTS);
        let question = Question::ask(cluster, &mut self.rng, |backend| perform(backend, chore));
        self.asking = question.map(|question| (now, question));
    }
}

fn finished(cluster: &mut Cluster, chore: Chore) {
    match chore {
        Chore::Remove(name, id) => {
            cluster.tell(format!("the administrator removed {name}"));
            cluster.removed.insert(id);
            cluster.moments.note(Moment::MemberRemoved);
        }
        Chore::Rotate => {
            cluster.tell("the administrator replaced the certificate authority");
            cluster.moments.note(Moment::AuthorityRotated);
        }
    }
}

async fn perform(_: Arc<dyn Backend>, chore: Chore) -> Result<(), ApiError> {
    let verb = match chore {
        Chore::Remove(..) => "remove",
        Chore::Rotate => "ca rotate",
    };
    Err(ApiError::new(ErrorCode::NotFound, format!("this version of the product has no verb `{verb}`")))
}
