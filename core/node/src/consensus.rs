//! Who leads and who votes as this node knows it, and the pull of its assigned set and directory through a voter.

use crate::{
    node::Core,
    place::mark_stale,
    removal::{LEFT_BEHIND, is_left_behind},
    wire::{Ask, Pull, Pulled, Told},
};
use std::{sync::Arc, time::Duration};
use taffeta_model::{AssignedSet, Bug, Directory, Fence, NodeId, planted};
use taffeta_net::{Net, PublicKey};
use taffeta_store::Leadership;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How long a voter holds a pull back while there is no news. Shorter than the idle time-out of a connection.
const HOLD: Duration = Duration::from_secs(3);
/// Between two looks for news at least, under load: a look for each of thousands of writes would cost as much as they do.
const LOOK_PAUSE: Duration = Duration::from_millis(5);
/// When a pull counts as lost.
const PULL_LIMIT: Duration = Duration::from_secs(5);
/// Pause after a pull that failed.
const PULL_PAUSE: Duration = Duration::from_millis(200);
/// How long a leader may take to confirm with its quorum that it leads.
const CONFIRM_LIMIT: Duration = Duration::from_millis(800);
/// How long a clean stop waits for others to take over what this node had in the consensus.
pub(crate) const PART_LIMIT: Duration = Duration::from_secs(2);
/// A leader whose disk is full tries to hand over at most so often: the heir's may be full, too.
const HAND_OVER_EVERY: Duration = Duration::from_secs(10);
/// How often it is looked at whether the leader is still heard of; all else is told at once.
const LOOK_EVERY: Duration = Duration::from_millis(500);

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
    /// Whether this node was taken out of it while it was away, so that its own log tells of the past.
    pub(crate) outside: bool,
    /// The generation.
    pub(crate) generation: u64,
}

/// Tells the endpoint the keys of members, so that packets to them need no connection.
pub(crate) fn introduce(net: &Net, me: NodeId, before: &Directory, now: &Directory) {
    if before.removed != now.removed && !planted(Bug::KeepRemoved) {
        // Before they are forgotten, so that their connections are closed with the reason.
        net.set_removed(now.removed.iter().copied().filter(|id| *id != me).collect());
    }
    for (id, member) in now.members.iter().filter(|(id, _)| **id != me && !before.members.contains_key(*id)) {
        if let Err(error) = net.set_peer_key(*id, PublicKey(member.public_key)) {
            tracing::warn!(node = %id, %error, "the key of a member was refused");
        }
    }
    for gone in before.members.keys().filter(|id| !now.members.contains_key(*id)) {
        net.forget_peer(*gone);
    }
}

impl Core {
    /// Whether a node votes or follows the log, by this node's own log or by what a voter told it.
    pub(crate) fn takes_part(&self, node: NodeId) -> bool {
        let own = self.consensus.borrow();
        let remote = self.remote.borrow();
        let either = [&own.voters, &own.learners, &remote.voters, &remote.learners];
        either.into_iter().any(|part| part.contains(&node))
    }

    /// Answers a pull: at once if there is news, else when there is, or after [`HOLD`].
    pub(crate) async fn answer_pull(&self, node: NodeId, pull: &Pull) -> Pulled {
        let deadline = Instant::now() + HOLD;
        let mut applied = self.store.watch();
        let mut consensus = self.consensus.subscribe();
        loop {
            let look = Instant::now();
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
                sleep_until(look + LOOK_PAUSE).await;
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
            // Whoever joined a side that is over learns so by a directory without it.
            let left_behind = member.is_none() && pull.directory.is_some_and(|f| f.generation < state.generation);
            Pulled {
                assigned: wanted.then(|| state.assigned_to(node)).flatten(),
                confirmed,
                directory: (stale && (member.is_some() || left_behind)).then(|| state.directory()),
                voters: known.voters.clone(),
                learners: known.learners.clone(),
                leader: known.leader,
                date: self.dates.agreed(),
                level: state.spoken_level(),
            }
        })
    }

    /// Pulls for ever.
    pub(crate) async fn run_pull(self: Arc<Self>) {
        let (mut turn, mut led) = (0usize, Instant::now());
        loop {
            let obeyed = self.tasks.obeyed();
            let consensus = self.consensus.borrow().clone();
            let confirm = !obeyed.confirmed;
            if consensus.leader.is_some() {
                led = Instant::now();
            } else if planted(Bug::StopWithoutQuorum) && led.elapsed() > HOLD * 6 {
                let fence = obeyed.fence.map(|fence| Fence { index: fence.index + 1, ..fence });
                self.tasks
                    .accept(AssignedSet { fence: fence.unwrap_or_default(), ..AssignedSet::default() }, true)
                    .await;
            }
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
    /// consensus knows of no voter; any other member can name them. Whoever hears of no leader asks others now and then: a
    /// voter may have been taken out while it was away, which its own log does not tell, and to any other node all voters
    /// that it knows may have been replaced meanwhile.
    fn some_voter(&self, consensus: &Consensus, turn: usize) -> Option<NodeId> {
        let ring = self.ring.state();
        let votes = consensus.voters.contains(&self.me);
        let others = if planted(Bug::FindNoVoter) && !votes { vec![] } else { ring.alive() };
        if consensus.leader.is_none() && !turn.is_multiple_of(2) && !others.is_empty() {
            return Some(others[turn / 2 % others.len()]);
        }
        if votes {
            return Some(self.me);
        }
        // If the leader dies, whoever waits for its answer learns last who is the next one.
        let is_leader = |id: &NodeId| consensus.leader.is_some_and(|(leader, _)| leader == *id);
        let voters = consensus.voters.iter().filter(|id| consensus.voters.len() == 1 || !is_leader(id));
        let (mut candidates, dead): (Vec<NodeId>, Vec<NodeId>) =
            voters.partition(|id| ring.liveness(**id).is_none_or(|l| l == taffeta_model::Liveness::Alive));
        if candidates.is_empty() {
            // Others may vote by now: after a recovery a node knows of one voter, which may have died since. Whose
            // generation is older is not heard in the ring, and has to ask whom it remembers.
            let remembered = || self.directory.borrow().members.keys().copied().filter(|id| *id != self.me).collect();
            let members = || Some(ring.alive()).filter(|alive| !alive.is_empty()).unwrap_or_else(remembered);
            candidates = dead;
            candidates.extend(if planted(Bug::FindNoVoter) { vec![] } else { members() });
        }
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
        if let Err(why) = self.check_level(pulled.level) {
            self.fail(why);
            return false;
        }
        let mut news = pulled.directory.is_some();
        if let Some(directory) = pulled.directory {
            self.take_directory(directory);
        }
        if from != Some(self.me) && !pulled.voters.is_empty() {
            if !pulled.voters.contains(&self.me) {
                self.dates.hear(Some(pulled.date));
            }
            self.remote.send_if_modified(|known| {
                let heard = known.heard.replace(Instant::now());
                let new = Remote {
                    leader: pulled.leader,
                    voters: pulled.voters.clone(),
                    learners: pulled.learners.clone(),
                    heard: known.heard,
                };
                let before = std::mem::replace(known, new);
                heard.is_none() || Remote { heard: known.heard, ..before } != *known
            });
        }
        if let Some(assigned) = pulled.assigned {
            news = self.tasks.accept(assigned, pulled.confirmed).await;
        }
        news
    }

    /// Takes over what the replicated state has of generation and lives: it is this node's own log.
    fn look_at_lives(&self) {
        let recovery = self.store.read(|state| {
            self.lives.learn(self.me, &state.lives);
            state.recovery.clone()
        });
        if let Some(recovery) = recovery {
            self.generation.adopt(&recovery);
        }
    }

    /// A later life of this node is known, so its folder is an older copy: it may not speak again, ever.
    async fn end_over(&self) {
        self.store.shutdown().await;
        let refusal = mark_stale(&*self.folder);
        self.fail(format!("{refusal}; {}", refusal.help.as_deref().unwrap_or_default()));
    }

    /// Takes a newer directory in use and stores it.
    pub(crate) fn take_directory(&self, directory: Directory) {
        let mut left_behind = false;
        let newer = self.directory.send_if_modified(|known| {
            let newer = directory.fence > known.fence;
            left_behind = newer && is_left_behind(self.me, known, &directory);
            if newer && !left_behind {
                introduce(self.net(), self.me, known, &directory);
                *known = Arc::new(directory.clone());
            }
            newer && !left_behind
        });
        if left_behind {
            // The older directory stays, so that the next start finds the same.
            self.removed.send_replace(Some(LEFT_BEHIND));
        }
        if !newer || left_behind {
            return;
        }
        self.believe(&directory);
        self.take_removed(&directory);
        // The ring knows better where a member is that it has met. It calls the others.
        let ring = self.ring.state();
        let unmet = directory.members.iter().filter(|(id, _)| **id != self.me && ring.liveness(**id).is_none());
        let unmet: Vec<_> = unmet.map(|(id, member)| (*id, member.address)).collect();
        for (id, address) in &unmet {
            self.net().set_address(*id, *address);
        }
        self.ring.meet(unmet);
        self.store_directory(&directory);
    }

    /// Keeps [`Consensus`] up to date, and ends the process's part when consensus has failed for good.
    pub(crate) async fn run_consensus(self: Arc<Self>) {
        let (mut news, mut remote) = (self.store.watch_leadership(), self.remote.subscribe());
        let mut handed_over: Option<Instant> = None;
        loop {
            let leadership = self.store.leadership();
            if let Some(why) = &leadership.failed {
                self.fail(format!("consensus has ended on this node: {why}"));
                return;
            }
            self.look_at_lives();
            if self.lives.is_over() {
                self.end_over().await;
                return;
            }
            let may_hand_over = handed_over.is_none_or(|at| at.elapsed() >= HAND_OVER_EVERY);
            let full = self.store.disk_full_since().is_some();
            if leadership.is_leader && may_hand_over && (full || has_lost_vote(&leadership, self.me)) {
                let why = if full { "its disk is full" } else { "it has no vote any more" };
                tracing::warn!(why, "this node leads, and another voter may lead instead");
                handed_over = Some(Instant::now());
                let store = self.store.clone();
                tokio::spawn(async move { store.hand_over(PART_LIMIT / 2).await });
            }
            let told = remote.borrow_and_update().clone();
            let now = self.consensus_now(leadership, told);
            self.consensus.send_if_modified(|known| {
                if now.leader != known.leader && now.leader.is_some() {
                    tracing::info!(leader = ?now.leader, "the leader is known");
                }
                let changed = *known != now;
                *known = now;
                changed
            });
            tokio::select! {
                () = news.changed() => {}
                Ok(()) = remote.changed() => {}
                () = sleep_until(self.next_beat(LOOK_EVERY)) => {}
            }
        }
    }

    /// What this node's own log says if it takes part, else what others told it.
    pub(crate) fn consensus_now(&self, own: Leadership, told: Remote) -> Consensus {
        let is_in = own.voters.contains(&self.me) || own.learners.contains(&self.me);
        let fresh = told.heard.is_some_and(|at| at.elapsed() < PULL_LIMIT);
        if is_in && own.leader.is_some() && told.heard.is_some() {
            // The leader itself is heard: what others told before is of the past.
            self.remote.send_if_modified(|known| {
                known.heard = None;
                false
            });
        }
        // A leader tells nothing to those whom it has taken out; others do.
        let outside = is_in && own.leader.is_none() && fresh && told.leader.is_some() && !told.names(self.me);
        if is_in && !outside {
            return Consensus {
                leader: own.leader.map(|id| (id, own.term)),
                leads: own.is_leader,
                voters: own.voters.into_iter().collect(),
                learners: own.learners.into_iter().collect(),
                outside,
                generation: self.generation.number(),
            };
        }
        Consensus {
            leader: told.leader.filter(|_| fresh),
            leads: false,
            voters: told.voters,
            learners: told.learners,
            outside,
            generation: self.generation.number(),
        }
    }

    /// Before a clean stop: lets another voter lead, and a stand-by have this node's vote. At most
    /// [`PART_LIMIT`]; without a stand-by the vote stays.
    pub(crate) async fn give_up_part(&self) {
        if planted(Bug::KeepVoteOnStop) {
            return;
        }
        let given = async {
            self.store.hand_over(PART_LIMIT / 2).await;
            let votes = self.store.leadership().voters;
            if !votes.contains(&self.me) || votes.len() < 3 {
                return;
            }
            let mut known = self.consensus.subscribe();
            let other = known.wait_for(|c| c.leader.is_some_and(|(leader, _)| leader != self.me)).await;
            let Some((leader, _)) = other.ok().and_then(|c| c.leader) else { return };
            match self.ask(leader, &Ask::Depart, PART_LIMIT).await {
                Ok(Told::Yes) => tracing::info!("a stand-by has this node's vote now"),
                Ok(_) => tracing::info!("there is no stand-by that could vote for this node"),
                Err(error) => tracing::info!(%error, "this node's vote could not be given to a stand-by"),
            }
        };
        let _ = timeout(PART_LIMIT, given).await;
    }
}

/// Whether it is settled that a node has no vote. openraft lets one that still follows the log lead on: without the keys
/// that voters hold, and without a chance to be made a voter again.
fn has_lost_vote(leadership: &Leadership, node: NodeId) -> bool {
    leadership.committed && leadership.configs.len() == 1 && !leadership.voters.contains(&node)
}

/// What voters told a node that takes no part in the consensus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) leader: Option<(NodeId, u64)>,
    pub(crate) voters: Vec<NodeId>,
    pub(crate) learners: Vec<NodeId>,
    pub(crate) heard: Option<Instant>,
}

impl Remote {
    /// Whether the node takes part by what was told.
    fn names(&self, node: NodeId) -> bool {
        self.voters.contains(&node) || self.learners.contains(&node)
    }
}
