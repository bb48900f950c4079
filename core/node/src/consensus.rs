//! Who leads and who votes as this node knows it, and the pull of its assigned set and directory through a voter.

use crate::{
    fabric::introduce,
    folder::{file, save},
    node::Core,
    wire::{Ask, Pull, Pulled, Told},
};
use std::{sync::Arc, time::Duration};
use taffeta_model::{Bug, Directory, NodeId, planted};
use tokio::time::{Instant, sleep, timeout};

/// How long a voter holds a pull back while there is no news. Shorter than the idle time-out of a connection.
const HOLD: Duration = Duration::from_secs(3);
/// When a pull counts as lost.
const PULL_LIMIT: Duration = Duration::from_secs(5);
/// Pause after a pull that failed.
const PULL_PAUSE: Duration = Duration::from_millis(200);
/// How long a leader may take to confirm with its quorum that it leads.
const CONFIRM_LIMIT: Duration = Duration::from_millis(800);
/// How often what consensus says of itself is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The consensus as this node knows it, whether or not it takes part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Consensus {
    /// The leader and its term, if one was heard of lately.
    pub(crate) leader: Option<(NodeId, u64)>,
    /// Whether this node leads.
    pub(crate) leads: bool,
    /// The voters.
    pub(crate) voters: Vec<NodeId>,
    /// Those who follow the log.
    pub(crate) learners: Vec<NodeId>,
    /// The generation.
    pub(crate) generation: u64,
}

impl Core {
    /// Whether a node votes or follows the log, by this node's own log or by what a voter told it.
    pub(crate) fn takes_part(&self, node: NodeId) -> bool {
        let own = self.consensus.borrow();
        own.voters.contains(&node) || own.learners.contains(&node) || self.remote.borrow().voters.contains(&node)
    }

    /// Answers a pull: at once if there is news, else when there is, or after [`HOLD`].
    pub(crate) async fn answer_pull(&self, node: NodeId, pull: &Pull) -> Pulled {
        let deadline = Instant::now() + HOLD;
        let mut applied = self.store.watch();
        let mut consensus = self.consensus.subscribe();
        loop {
            applied.borrow_and_update();
            let known = consensus.borrow_and_update().clone();
            let pulled = self.pulled(node, pull, &known).await;
            let news = pulled.assigned.is_some() || pulled.directory.is_some() || pulled.leader != pull.leader;
            if news || pull.confirm {
                return pulled;
            }
            let wait = async {
                tokio::select! {
                    _ = applied.changed() => {}
                    _ = consensus.changed() => {}
                }
            };
            if timeout(deadline.saturating_duration_since(Instant::now()), wait).await.is_err() {
                return pulled;
            }
        }
    }

    async fn pulled(&self, node: NodeId, pull: &Pull, known: &Consensus) -> Pulled {
        let confirmed = pull.confirm && known.leads && self.store.confirm_leadership(CONFIRM_LIMIT).await.is_ok();
        self.store.read(|state| {
            let member = state.members.get(&node);
            let newer = |m: &taffeta_model::Member| pull.assigned.is_none_or(|fence| m.assigned_fence > fence);
            let wanted = member.is_some_and(|m| newer(m) || confirmed);
            let stale = pull.directory.is_none_or(|fence| state.directory_fence > fence);
            Pulled {
                assigned: wanted.then(|| state.assigned_to(node)).flatten(),
                confirmed,
                directory: (stale && member.is_some()).then(|| state.directory()),
                voters: known.voters.clone(),
                leader: known.leader,
                generation: state.generation,
            }
        })
    }

    /// Pulls for ever.
    pub(crate) async fn run_pull(self: Arc<Self>) {
        let mut turn = 0usize;
        loop {
            let obeyed = self.tasks.obeyed();
            let consensus = self.consensus.borrow().clone();
            let confirm = !obeyed.confirmed;
            // A confirmation is the leader's to give; news any voter has.
            let target = match consensus.leader.filter(|_| confirm) {
                Some((leader, _)) => Some(leader),
                None => self.some_voter(&consensus, turn),
            };
            turn = turn.wrapping_add(1);
            let directory = Some(self.directory.borrow().fence).filter(|fence| *fence != Default::default());
            let pull = Pull {
                assigned: obeyed.fence.filter(|_| !planted(Bug::ObeyOldFence)),
                directory,
                leader: consensus.leader,
                confirm,
            };
            let asked = Instant::now();
            let pulled = self.pull_from(target, &pull).await;
            // Without news the voter holds the reply back. Where it does not (it knows another leader, or a confirmation
            // was asked for and could not be given), the next question waits, lest the two spin.
            let news = match pulled {
                Some(pulled) => self.take_pulled(pulled, target).await,
                None => false,
            };
            let news = news && !planted(Bug::ObeyOldFence);
            if !news && asked.elapsed() < PULL_PAUSE {
                sleep(PULL_PAUSE).await;
            }
        }
    }

    /// This node itself if it votes, else the voters in turn. A member that was started anew and takes no part in the
    /// consensus knows of no voter; any other member can name them.
    fn some_voter(&self, consensus: &Consensus, turn: usize) -> Option<NodeId> {
        if consensus.voters.contains(&self.me) {
            return Some(self.me);
        }
        let ring = self.ring.state();
        let (alive, others): (Vec<NodeId>, Vec<NodeId>) = consensus
            .voters
            .iter()
            .partition(|id| ring.liveness(**id).is_none_or(|l| l == taffeta_model::Liveness::Alive));
        // Whose generation is older is not heard in the ring, and has to ask whom it remembers.
        let remembered = || self.directory.borrow().members.keys().copied().filter(|id| *id != self.me).collect();
        let members = || Some(ring.alive()).filter(|alive| !alive.is_empty()).unwrap_or_else(remembered);
        let known = [alive, others].into_iter().find(|some| !some.is_empty());
        let candidates = known.unwrap_or_else(|| if planted(Bug::FindNoVoter) { vec![] } else { members() });
        candidates.get(turn % candidates.len().max(1)).copied()
    }

    async fn pull_from(&self, target: Option<NodeId>, pull: &Pull) -> Option<Pulled> {
        let target = target?;
        if target == self.me {
            return Some(self.answer_pull(self.me, pull).await);
        }
        match self.ask(target, &Ask::Pull(pull.clone()), PULL_LIMIT).await {
            Ok(Told::Pulled(pulled)) => Some(*pulled),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(%target, %error, "the assigned set could not be pulled");
                None
            }
        }
    }

    /// Takes what was pulled; gives whether there was anything new, and all of it is in use now.
    async fn take_pulled(&self, pulled: Pulled, from: Option<NodeId>) -> bool {
        let mut news = pulled.directory.is_some();
        if let Some(directory) = pulled.directory {
            self.take_directory(directory);
        }
        if from != Some(self.me) && !pulled.voters.is_empty() {
            self.remote.send_if_modified(|known| {
                let new = (pulled.leader, pulled.voters.clone(), pulled.generation);
                let changed = (known.leader, &known.voters, known.generation) != (new.0, &new.1, new.2);
                (known.leader, known.voters, known.generation) = new;
                known.heard = Some(Instant::now());
                changed
            });
        }
        if let Some(assigned) = pulled.assigned {
            news = self.tasks.accept(assigned, pulled.confirmed).await;
        }
        news
    }

    /// Takes a newer directory in use and stores it.
    pub(crate) fn take_directory(&self, directory: Directory) {
        let newer = self.directory.send_if_modified(|known| {
            let newer = directory.fence > known.fence;
            if newer {
                introduce(self.net(), self.me, known, &directory);
                *known = Arc::new(directory.clone());
            }
            newer
        });
        if !newer {
            return;
        }
        // The ring knows better where a member is that it has met. It calls the others.
        let ring = self.ring.state();
        let unmet = directory.members.iter().filter(|(id, _)| **id != self.me && ring.liveness(**id).is_none());
        let unmet: Vec<_> = unmet.map(|(id, member)| (*id, member.address)).collect();
        for (id, address) in &unmet {
            self.net().set_address(*id, *address);
        }
        self.ring.meet(unmet);
        if let Err(error) = save(&*self.folder, file::DIRECTORY, &directory) {
            tracing::error!(%error, "the directory could not be stored");
        }
    }

    /// Keeps [`Consensus`] up to date, and ends the process's part when consensus has failed for good.
    pub(crate) async fn run_consensus(self: Arc<Self>) {
        loop {
            let leadership = self.store.leadership();
            if let Some(why) = &leadership.failed {
                self.fail(format!("consensus has ended on this node: {why}"));
                return;
            }
            let generation = self.store.read(|state| state.generation);
            let takes_part = leadership.voters.contains(&self.me) || leadership.learners.contains(&self.me);
            let now = if takes_part {
                Consensus {
                    leader: leadership.leader.map(|id| (id, leadership.term)),
                    leads: leadership.is_leader,
                    voters: leadership.voters.into_iter().collect(),
                    learners: leadership.learners.into_iter().collect(),
                    generation,
                }
            } else {
                let remote = self.remote.borrow().clone();
                let fresh = remote.heard.is_some_and(|at| at.elapsed() < PULL_LIMIT);
                Consensus {
                    leader: remote.leader.filter(|_| fresh),
                    leads: false,
                    voters: remote.voters,
                    learners: vec![],
                    generation: remote.generation,
                }
            };
            self.generation.learn(now.generation);
            self.consensus.send_if_modified(|known| {
                if now.leader != known.leader && now.leader.is_some() {
                    tracing::info!(leader = ?now.leader, "the leader is known");
                }
                let changed = *known != now;
                *known = now;
                changed
            });
            sleep(LOOK_EVERY).await;
        }
    }
}

/// What voters told a node that takes no part in the consensus.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remote {
    pub(crate) leader: Option<(NodeId, u64)>,
    pub(crate) voters: Vec<NodeId>,
    pub(crate) generation: u64,
    pub(crate) heard: Option<Instant>,
}
