//! A node's part in the consensus: open it, write to it when it leads, read it, watch it.

use crate::{
    disk::Disk,
    leadership::Leadership,
    log::{Driver, LogStore},
    machine::Machine,
    rpc::{self, Lines, Transport},
    types::{Raft, Request, Runtime},
    voters::Change,
};
use openraft::{
    BasicNode, Config, Instant as _, ReadPolicy, ServerState, SnapshotPolicy,
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
use taffeta_model::{Command, Fence, NodeId, Outcome, State};
use thiserror::Error;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

/// Time-outs of the consensus in milliseconds; the pair that was measured to fail over in about a second
/// (heartbeats also bound an append's round trip, sync included).
const HEARTBEAT_MS: u64 = 100;
const ELECTION_MIN_MS: u64 = 300;
const ELECTION_MAX_MS: u64 = 600;
/// A leader that was not heard of for this long is not told to anybody. Longer than an election takes to begin.
const LEADER_SILENCE: Duration = Duration::from_millis(1_000);
/// A snapshot after this many entries bounds both the replay at start and the log's size.
pub const SNAPSHOT_EVERY: u64 = 5_000;
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
}

impl Store {
    /// Reads the log and takes part; a store that was never initialised waits to be made a learner or voter.
    pub async fn open(config: StoreConfig) -> Result<Self, OpenError> {
        let log = LogStore::open(config.disk, config.driver)?;
        let machine = Machine::open(log.clone())?;
        let id = config.id;
        let starting = openraft::Raft::new(
            id.0,
            raft_config(config.snapshot_every)?,
            Lines(config.transport),
            log,
            machine.clone(),
        );
        let raft = Runtime::scope(config.seed, starting).await.map_err(|e| OpenError::Consensus(e.to_string()))?;
        Ok(Self { id, raft, machine, heard: Arc::default() })
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

    /// Answers a consensus message of another voter.
    pub async fn answer(&self, request: &[u8]) -> Result<Vec<u8>, String> {
        let (reply, from_leader) = rpc::answer(&self.raft, request).await?;
        if from_leader {
            *self.heard.lock().expect("no panic while it is held") = Some(Instant::now());
        }
        Ok(reply)
    }

    /// Writes a command. `Ok` means that a quorum has it on disk and that it is applied here.
    pub async fn write(&self, command: Command, limit: Duration) -> Result<Outcome, WriteError> {
        let written = timeout(limit, self.raft.client_write(Request(command))).await;
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
        let quorum = alone || acknowledged.is_some_and(|at| at.elapsed() < LEADER_SILENCE);
        let is_leader = led_here.is_some() && quorum && applied.term == metrics.current_term;
        let heard = *self.heard.lock().expect("no panic while it is held");
        let recently = heard.is_some_and(|at| at.elapsed() < LEADER_SILENCE);
        let other = metrics.current_leader.map(NodeId).filter(|leader| *leader != self.id && recently);
        let last = metrics.last_log_index.unwrap_or_default();
        let behind = |index: u64| last.saturating_sub(index);
        let caught_up = metrics.replication.iter().flatten().filter_map(|(id, matched)| {
            matched.as_ref().filter(|m| behind(m.index) <= CAUGHT_UP_LAG).map(|_| NodeId(*id))
        });
        let membership = metrics.membership_config.membership();
        Leadership {
            leader: if is_leader { Some(self.id) } else { other },
            is_leader,
            term: metrics.current_term,
            voters: membership.voter_ids().map(NodeId).collect(),
            learners: membership.learner_ids().map(NodeId).collect(),
            caught_up: caught_up.collect(),
            failed: metrics.running_state.err().map(|e| e.to_string()),
        }
    }

    /// Makes one change of who votes; refused if the membership has changed since it was looked at.
    pub async fn change_voters(&self, change: Change, address: Option<SocketAddr>) -> Result<(), String> {
        match change {
            Change::AddLearner(id) => {
                let node = BasicNode::new(address.map(|a| a.to_string()).unwrap_or_default());
                self.raft.add_learner(id.0, node, false).await.map(drop).map_err(|e| e.to_string())
            }
            Change::SetVoters(voters) => {
                let seen = *self.raft.metrics().borrow_watched().membership_config.log_id();
                let voters: BTreeSet<u64> = voters.into_iter().map(|id| id.0).collect();
                let unchanged = Precondition::LastMembershipLogId { last_membership_log_id: seen };
                let change = self.raft.change_membership_if(voters, false, [unchanged]);
                change.await.map(drop).map_err(|e| e.to_string())
            }
        }
    }

    /// Hands the leadership to another voter, so that a clean stop costs no election. Does nothing unless this leads.
    pub async fn hand_over(&self) {
        let leadership = self.leadership();
        let heir = leadership.voters.iter().find(|id| **id != self.id && leadership.caught_up.contains(id));
        if let Some(heir) = heir.filter(|_| leadership.is_leader) {
            let _ = self.raft.trigger().transfer_leader(heir.0).await;
        }
    }

    /// Ends this node's part.
    pub async fn shutdown(&self) {
        let _ = self.raft.shutdown().await;
    }
}

fn raft_config(snapshot_every: u64) -> Result<Arc<Config>, OpenError> {
    let config = Config {
        cluster_name: "taffeta".into(),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: ELECTION_MIN_MS,
        election_timeout_max: ELECTION_MAX_MS,
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
