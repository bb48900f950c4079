//! A node's part in the consensus: open it, write to it when it leads, read it, watch it.

mod insight;

pub use insight::Insight;

use crate::{
    clock::Clock,
    disk::Disk,
    leadership::{self, Leadership, LeadershipWatch, MembershipPosition},
    log::{Driver, LogStore},
    machine::Machine,
    rpc::{self, Lines, Transport},
    slim::slim,
    timers::Timers,
    types::{Raft, Request, Runtime},
    voters::Change,
};
use futures::future::BoxFuture;
use openraft::{
    BasicNode, ChangeMembers, Config, Instant as _, ReadPolicy, ServerState, SnapshotPolicy,
    async_runtime::WatchReceiver,
    errors::{ClientWriteError, RaftError},
    raft::Precondition,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use taffeta_model::{BEAT, Bug, Command, Fence, NodeId, Outcome, Refusal, State, planted};
use thiserror::Error;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, timeout},
};

/// A snapshot after this many entries bounds both the replay at start and the log's size; one is also made when the entries
/// take more than 16 MiB. Not more often: while one is written, nothing else is.
pub const SNAPSHOT_EVERY: u64 = 20_000;
/// Of these entries one in so many is kept behind a snapshot, for followers that are a little late.
const SNAPSHOT_KEEP_PART: u64 = 5;
/// Requests and notices under way inside of openraft, which sets the room aside at start: its own 65,536 cost 25 MiB.
const CHANNEL_SIZE: u64 = 1_024;
const SNAPSHOT_TIMEOUT_MS: u64 = 10_000;
/// A learner this many entries behind counts as caught up.
const CAUGHT_UP_LAG: u64 = 64;

/// What a store is made of.
pub struct StoreConfig {
    /// This node.
    pub id: NodeId,
    /// Where the log is kept.
    pub disk: Box<dyn Disk>,
    /// Who writes it.
    pub driver: Driver,
    /// Seeds election time-outs.
    pub seed: u64,
    /// Carries messages to other voters.
    pub transport: Arc<dyn Transport>,
    /// Entries from one snapshot to the next; [`SNAPSHOT_EVERY`] is what a node uses.
    pub snapshot_every: u64,
    /// How quickly it judges.
    pub timers: Timers,
    /// From when beats are counted ([`taffeta_model::next_beat`]).
    pub epoch: Instant,
    /// The newest version of the protocol that this node speaks: it takes no command of a newer one.
    pub speaks: u32,
}

/// Why the store did not open. Nothing was changed.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The log could not be read.
    #[error("the log could not be read")]
    Disk(#[from] io::Error),
    /// openraft refused to start.
    #[error("consensus did not start: {0}")]
    Consensus(String),
}

/// Why a command was not written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WriteError {
    /// This node does not lead. Nothing was written; ask the one that is named, if one is.
    #[error("this node does not lead")]
    NotLeader(Option<NodeId>),
    /// This node's disk is full. Nothing was written, and nothing is until there is room.
    #[error("the disk of this node is full")]
    DiskFull,
    /// No quorum acknowledged in time. The command may or may not take effect later.
    #[error("no majority of the voters acknowledged in time")]
    NoQuorum,
    /// Consensus has ended here. The command may or may not take effect.
    #[error("consensus has ended on this node: {0}")]
    Ended(String),
}

/// Why a read could not be made linearizable.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// This node does not lead.
    #[error("this node does not lead")]
    NotLeader(Option<NodeId>),
    /// No quorum confirmed the leadership in time.
    #[error("no majority of the voters answered in time")]
    NoQuorum,
}

/// A node's part in the consensus. Clones are one.
#[derive(Clone)]
pub struct Store {
    id: NodeId,
    raft: Raft,
    machine: Machine,
    heard: Arc<Mutex<Option<Instant>>>,
    heard_anew: watch::Sender<()>,
    heard_again: Arc<Notify>,
    timers: Timers,
    speaks: u32,
    log: LogStore,
    /// Tasks that end with the last clone.
    _tasks: Arc<JoinSet<()>>,
}

impl Store {
    /// Reads the log and takes part; a store that was never initialised waits to be made a learner or voter.
    pub fn open(config: StoreConfig) -> BoxFuture<'static, Result<Self, OpenError>> {
        Box::pin(Self::begin(config)) // boxed, or each crate that awaits it would compile all of openraft
    }

    async fn begin(config: StoreConfig) -> Result<Self, OpenError> {
        let log = LogStore::open(config.disk, config.driver)?;
        let machine = Machine::open(log.clone())?;
        let (id, speaks) = (config.id, config.speaks);
        let starting = openraft::Raft::new(
            id.0,
            raft_config(config.snapshot_every, config.timers)?,
            Lines { transport: config.transport, log: log.clone(), append_limit: config.timers.append_limit },
            log.clone(),
            machine.clone(),
        );
        let raft = Runtime::scope(config.seed, starting).await.map_err(|e| OpenError::Consensus(e.to_string()))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(slim(log.clone(), raft.clone()));
        let (heard, heard_anew) = (Arc::default(), watch::Sender::new(()));
        let (fullness, timers, epoch) = (log.fullness(), config.timers, config.epoch);
        let heard_again = Arc::new(Notify::new());
        let clock = Clock {
            raft: raft.clone(),
            fullness,
            heard: Arc::clone(&heard),
            heard_again: Arc::clone(&heard_again),
            timers,
            epoch,
        };
        tasks.spawn(clock.run());
        let tasks = Arc::new(tasks);
        Ok(Self { id, raft, machine, heard, heard_anew, heard_again, timers, speaks, log, _tasks: tasks })
    }

    /// Whether a log exists: a node that is in the middle of its life.
    pub async fn is_initialised(&self) -> bool {
        self.raft.is_initialized().await.unwrap_or(false)
    }

    /// Makes this node the only voter of a new cluster. Fails on a store that has a log.
    pub async fn initialise(&self, address: SocketAddr) -> Result<(), OpenError> {
        let members = BTreeMap::from([(self.id.0, BasicNode::new(address))]);
        self.raft.initialize(members).await.map_err(|e| OpenError::Consensus(e.to_string()))
    }

    /// Answers a consensus message of another voter. While consensus waits for room on the disk, questions must not pile
    /// up: nobody waits longer for an answer than for the longest one, that to a snapshot.
    pub async fn answer(&self, request: &[u8]) -> Result<Vec<u8>, String> {
        let answer = rpc::answer(&self.raft, self.speaks, request);
        let answer = timeout(Duration::from_millis(SNAPSHOT_TIMEOUT_MS), answer).await;
        let (reply, from_leader) = answer.map_err(|_| "no answer in time: is the disk full?".to_owned())??;
        if from_leader {
            let before = self.heard.lock().expect("no panic while it is held").replace(Instant::now());
            let silence = before.map_or(Duration::MAX, |at| at.elapsed());
            if silence >= self.timers.silence {
                self.heard_anew.send_replace(());
            }
            if silence >= BEAT {
                self.heard_again.notify_one();
            }
        }
        Ok(reply)
    }

    /// Writes a command. `Ok` means that a quorum has it on disk and that it is applied here; a command of a higher level
    /// than all members speak is refused without being written.
    pub async fn write(&self, command: Command, limit: Duration) -> Result<Outcome, WriteError> {
        if command.level() > self.read(State::spoken_level) && !planted(Bug::WriteAboveLevel) {
            return Ok(Outcome::Refused(Refusal::AboveLevel(command.level())));
        }
        if self.disk_full_since().is_some() {
            return Err(WriteError::DiskFull); // refused before it is proposed
        }
        let written = timeout(limit, self.raft.client_write(Request::new(command))).await;
        match written.map_err(|_| WriteError::NoQuorum)? {
            Ok(response) => Ok(response.data),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => {
                Err(WriteError::NotLeader(to.leader_id.map(NodeId)))
            }
            Err(RaftError::APIError(_)) => Err(WriteError::NoQuorum), // given up by a change of leader: unknown
            Err(RaftError::Fatal(e)) => Err(WriteError::Ended(e.to_string())),
        }
    }

    /// Confirms with a quorum that this node leads and has applied all that was acknowledged before.
    pub async fn confirm_leadership(&self, limit: Duration) -> Result<(), ReadError> {
        let confirmed = timeout(limit, self.raft.ensure_linearizable(ReadPolicy::ReadIndex)).await;
        match confirmed.map_err(|_| ReadError::NoQuorum)? {
            Ok(_) => Ok(()),
            Err(e) => match e.forward_to_leader() {
                Some(to) => Err(ReadError::NotLeader(to.leader_id.map(NodeId))),
                None => Err(ReadError::NoQuorum),
            },
        }
    }

    /// Looks at the state as applied here: the newest on the leader, perhaps older elsewhere.
    pub fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.machine.read(look)
    }

    /// Changes whenever an entry has been applied.
    pub fn watch(&self) -> watch::Receiver<Fence> {
        self.machine.watch()
    }

    /// Snapshots that a leader has sent to this node since it started.
    pub fn snapshots_installed(&self) -> u64 {
        self.machine.snapshots_installed()
    }

    /// Tells when [`Store::leadership`] may have changed.
    pub fn watch_leadership(&self) -> LeadershipWatch {
        LeadershipWatch::new(&self.raft, &self.machine, &self.heard_anew)
    }

    /// Who leads, as known now.
    pub fn leadership(&self) -> Leadership {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let applied = self.machine.read(|state| state.applied);
        // After a restart the stored vote still names this node until the next election, so the vote is not enough; and
        // a core that has ended leaves its last metrics behind.
        let leading = metrics.state == ServerState::Leader && metrics.running_state.is_ok();
        let led_here = self.raft.as_leader().ok().filter(|_| leading);
        let acknowledged = led_here.as_ref().and_then(|l| l.last_quorum_acked());
        let alone = metrics.membership_config.voter_ids().count() == 1;
        let quorum = alone || acknowledged.is_some_and(|at| at.elapsed() < self.timers.silence);
        let is_leader = led_here.is_some() && quorum && applied.term == metrics.current_term;
        let heard = *self.heard.lock().expect("no panic while it is held");
        let recently = heard.is_some_and(|at| at.elapsed() < self.timers.silence);
        let other = metrics.current_leader.map(NodeId).filter(|leader| *leader != self.id && recently);
        let last = metrics.last_log_index.unwrap_or_default();
        let behind = |index: u64| last.saturating_sub(index);
        let caught_up = metrics.replication.iter().flatten().filter_map(|(id, matched)| {
            matched.as_ref().filter(|m| behind(m.index) <= CAUGHT_UP_LAG).map(|_| NodeId(*id))
        });
        let membership = metrics.membership_config.membership();
        let set = |config: &BTreeSet<u64>| config.iter().copied().map(NodeId).collect::<BTreeSet<_>>();
        Leadership {
            leader: if is_leader { Some(self.id) } else { other },
            is_leader,
            term: metrics.current_term,
            voters: membership.voter_ids().map(NodeId).collect(),
            learners: membership.learner_ids().map(NodeId).collect(),
            caught_up: caught_up.collect(),
            silence: leadership::silence(&metrics),
            configs: membership.get_joint_config().iter().map(set).collect(),
            committed: metrics.committed_membership_config.log_id() == metrics.membership_config.log_id(),
            lease: is_leader && (alone || acknowledged.is_some_and(|at| at.elapsed() < self.timers.election_max)),
            position: MembershipPosition(*metrics.membership_config.log_id()),
            failed: metrics.running_state.err().map(|e| e.to_string()),
        }
    }

    /// Makes one change of who votes; refused if the membership is another than the one at `seen`, which the change was
    /// planned for. `address` is a new learner's.
    pub async fn change_voters(
        &self,
        change: Change,
        address: Option<SocketAddr>,
        seen: MembershipPosition,
    ) -> Result<(), String> {
        let raw = |voters: BTreeSet<NodeId>| voters.into_iter().map(|id| id.0).collect::<BTreeSet<u64>>();
        let (members, stay) = match change {
            Change::AddLearner(id) => {
                let node = BasicNode::new(address.map(|a| a.to_string()).unwrap_or_default());
                (ChangeMembers::AddNodes(BTreeMap::from([(id.0, node)])), true)
            }
            Change::RemoveLearner(id) => (ChangeMembers::RemoveNodes(BTreeSet::from([id.0])), true),
            Change::Finish(voters) => (ChangeMembers::ReplaceAllVoters(raw(voters)), true),
            Change::SetVoters { voters, stay, why: _ } => (ChangeMembers::ReplaceAllVoters(raw(voters)), stay),
        };
        let unchanged = Precondition::LastMembershipLogId { last_membership_log_id: seen.0 };
        let change = self.raft.change_membership_if(members, stay, [unchanged]);
        change.await.map(drop).map_err(|e| e.to_string())
    }

    /// Tells the followers at once, as a heartbeat would, how far the log is committed.
    pub async fn announce(&self) {
        let _ = self.raft.trigger().heartbeat().await;
    }

    /// Hands the leadership to another voter, so that a clean stop costs no election, and waits at most `limit` until
    /// that one leads: to one that answers and has the most of the log, since who lacks an entry declines. Does nothing
    /// unless this leads.
    pub async fn hand_over(&self, limit: Duration) {
        let leadership = self.leadership();
        let heirs = leadership.voters.iter().filter(|id| **id != self.id && leadership.caught_up.contains(id));
        let lags = self.lags();
        let heir = heirs.min_by_key(|id| {
            let silence = leadership.silence.get(id).copied().unwrap_or(Duration::MAX);
            (silence >= self.timers.election_max, lags.get(id).copied().unwrap_or(u64::MAX), silence)
        });
        let Some(heir) = heir.filter(|_| leadership.is_leader) else { return };
        let mut news = self.watch_leadership();
        let _ = self.raft.trigger().transfer_leader(heir.0).await;
        let led_by_another = async {
            while self.leadership().leader.is_none_or(|leader| leader == self.id) {
                news.changed().await;
            }
        };
        let _ = timeout(limit, led_by_another).await;
    }

    /// By how many entries each follower is behind, where this leads.
    fn lags(&self) -> BTreeMap<NodeId, u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let last = metrics.last_log_index.unwrap_or_default();
        let followers = metrics.replication.iter().flatten();
        followers.filter_map(|(id, at)| Some((NodeId(*id), last.saturating_sub(at.as_ref()?.index)))).collect()
    }

    /// Since when this node's disk has been full: it refuses writes meanwhile, and goes on by itself when there is room.
    pub fn disk_full_since(&self) -> Option<Instant> {
        self.log.full_since()
    }

    /// Ends this node's part. What waits for room on a full disk is given up.
    pub async fn shutdown(&self) {
        self.log.close();
        let _ = self.raft.shutdown().await;
    }
}

fn raft_config(snapshot_every: u64, timers: Timers) -> Result<Arc<Config>, OpenError> {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let config = Config {
        cluster_name: "taffeta".into(),
        heartbeat_interval: ms(timers.heartbeat),
        election_timeout_min: ms(timers.election_min),
        election_timeout_max: ms(timers.election_max),
        enable_pre_vote: Some(true),
        // A leader that comes back in its old term without an election is safe only with a durable state machine.
        enable_leader_restore: Some(false),
        install_snapshot_timeout: SNAPSHOT_TIMEOUT_MS,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(snapshot_every),
        max_in_snapshot_log_to_keep: snapshot_every / SNAPSHOT_KEEP_PART,
        api_channel_size: Some(CHANNEL_SIZE),
        notification_channel_size: Some(CHANNEL_SIZE),
        ..Config::default()
    };
    config.validate().map(Arc::new).map_err(|e| OpenError::Consensus(e.to_string()))
}

#[cfg(test)]
pub(crate) mod tests;
