//! A client that does what an operator is asked to do to the cluster itself, and insists until it is done.

use super::{Ending, Question, pause};
use crate::{cluster::Cluster, moments::Moment, random::stream};
use rand::rngs::SmallRng;
use std::{sync::Arc, time::Duration};
use taffeta_model::{NodeId, NodeName};
use taffeta_net::JoinToken;
use taffeta_node::{
    Inspect,
    api::{ApiError, Backend, ErrorCode, TokenRequest},
};

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
    /// Machines that join need a token that names the present certificate authority.
    Mint,
}

pub(super) struct Administrator {
    rng: SmallRng,
    next: Duration,
    asking: Option<(Duration, Question<Option<JoinToken>>)>,
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
            self.hear(cluster, ending);
        }
        if now < self.next {
            return;
        }
        if !is_done(cluster, &Chore::Mint) && !cluster.chores.contains(&Chore::Mint) {
            cluster.chores.push_back(Chore::Mint);
        }
        let Some(chore) = cluster.chores.front().cloned() else { return };
        self.next = now + pause(&mut self.rng, INSISTS);
        if let Chore::Remove(_, id) = chore {
            cluster.removed.insert(id); // it may take effect although nobody says so
        }
        let question = Question::ask(cluster, &mut self.rng, |backend| perform(backend, chore));
        self.asking = question.map(|question| (now, question));
    }

    /// No more changes: only what was begun is brought to its end, and a new authority nobody waits for.
    pub(super) fn settle(&mut self, cluster: &mut Cluster) {
        if cluster.chores.front() == Some(&Chore::Rotate) {
            self.asking = None;
        }
        cluster.chores.retain(|chore| *chore != Chore::Rotate);
    }

    fn hear(&mut self, cluster: &mut Cluster, ending: Option<Ending<Option<JoinToken>>>) {
        let Some(chore) = cluster.chores.pop_front() else { return };
        match ending {
            Some(Ending::Done(Some(token))) => {
                // A node that has not heard of the newest authority names the one before: then it is asked for again.
                let addresses = cluster.site.join.take().map(|(_, addresses)| addresses).unwrap_or_default();
                cluster.site.join = Some((token, addresses));
            }
            Some(Ending::Done(None)) => finished(cluster, chore),
            _ if is_done(cluster, &chore) => finished(cluster, chore),
            // The rotation before it goes on until every member, those that are dead too, has been seen with the new one.
            Some(Ending::Refused(error)) if chore == Chore::Rotate && error.code == ErrorCode::Conflict => {}
            // Another chore may be what this one waits for.
            Some(Ending::Refused(_) | Ending::Unknown) | None => cluster.chores.push_back(chore),
        }
    }
}

/// Whether there is nothing to do, or it was done although the reply was lost: by what the leader knows.
fn is_done(cluster: &Cluster, chore: &Chore) -> bool {
    let pinned = cluster.site.join.as_ref().map(|(token, _)| token.ca_hash);
    let leader = cluster.leader().map(|(i, _)| &cluster.machines[i]);
    let done = |inspect: &Inspect| {
        inspect.state(|state| match chore {
            Chore::Remove(_, id) => !state.members.contains_key(id),
            Chore::Rotate => false,
            Chore::Mint => pinned == Some(state.ca_hash),
        })
    };
    leader.and_then(|machine| machine.look(done)).unwrap_or(*chore == Chore::Mint)
}

fn finished(cluster: &mut Cluster, chore: Chore) {
    match chore {
        Chore::Remove(name, _) => {
            cluster.tell(format!("the administrator removed {name}"));
            cluster.moments.note(Moment::MemberRemoved);
            cluster.switch_on_removed(&name);
        }
        Chore::Rotate => {
            cluster.tell("the administrator replaced the certificate authority");
            cluster.moments.note(Moment::AuthorityRotated);
        }
        Chore::Mint => {}
    }
}

async fn perform(backend: Arc<dyn Backend>, chore: Chore) -> Result<Option<JoinToken>, ApiError> {
    match chore {
        Chore::Remove(_, id) => backend.remove_node(id.to_string(), false).await.map(|()| None),
        Chore::Rotate => backend.rotate_authority().await.map(|()| None),
        Chore::Mint => {
            let request = TokenRequest { role: None, ttl_seconds: Some(300 * 86_400), uses: None };
            let token = backend.create_token(request).await?.token;
            token.parse().map(Some).map_err(|e| ApiError::new(ErrorCode::Failed, format!("{token}: {e}")))
        }
    }
}
