//! A store that nobody runs: what it knows, and how it becomes the beginning of a new generation after the quorum was lost
//! for good.
//!
//! What is done here is done in one commit: all of it or nothing. Left out: who may do it, the proof that goes with it,
//! and how those of the old generation learn of it (`taffeta-node`).

use crate::{
    codec::{decode_entry, decode_snapshot, encode_snapshot},
    disk::{Disk, Loaded, Op},
    log::{bad, check_whole},
    machine::Replicated,
    types::{Entry, LogId, SnapshotMeta, StoredMembership, Vote},
};
use openraft::{BasicNode, Membership, vote::RaftLeaderId as _};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
};
use taffeta_model::{Fence, NodeId, Recovery, State};

/// A place in the log. The later of two, by term and then by index, is of the log that knows more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The leader's term.
    pub term: u64,
    /// The number of the entry.
    pub index: u64,
}

/// Entries of one term, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Their term.
    pub term: u64,
    /// Index of the first.
    pub first: u64,
    /// Index of the last.
    pub last: u64,
}

/// What a store knows.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Highest term that it has voted in or seen.
    pub term: u64,
    /// The last entry, committed or not.
    pub last: Option<Position>,
    /// The newest that it knew to be committed; more may be.
    pub committed: Option<Position>,
    /// What its snapshot covers.
    pub covered: Option<Position>,
    /// The entries that it holds.
    pub log: Vec<Stretch>,
    /// The voters of its last membership, committed or not.
    pub voters: BTreeSet<NodeId>,
    /// Those who followed without a vote.
    pub learners: BTreeSet<NodeId>,
    /// The state that all of its entries give, committed or not.
    pub state: State,
}

/// A store that is looked at, and perhaps changed, while no node runs on it.
pub struct Offline {
    disk: Box<dyn Disk>,
    loaded: Loaded,
    survey: Survey,
}

impl Offline {
    /// Reads all of it. An error if it is damaged: nothing can be decided on bad data.
    pub fn open(mut disk: Box<dyn Disk>) -> io::Result<Self> {
        let loaded = disk.load()?;
        let survey = survey(&loaded)?;
        Ok(Self { disk, loaded, survey })
    }

    /// What it knows.
    pub fn survey(&self) -> &Survey {
        &self.survey
    }

    /// Makes this store the only voter of the generation that `recovery` begins, and gives the position at which it
    /// begins. Every entry that is here is kept, also one that was perhaps not committed: it may have been
    /// acknowledged. `above` is the highest term that is known of elsewhere. When this returns, all is durable.
    ///
    /// How openraft sees it: the log has been replaced by a snapshot which ends in a membership entry of a term that
    /// nobody has seen, so the snapshot's last log id, the purged one and that of the membership are one. The vote is
    /// this node's for that term, not committed, so no log id is above it and the node has to elect itself, which its
    /// own vote suffices for. Followers have none of this log, as it was purged, and get the snapshot.
    pub fn recover(
        mut self,
        node: NodeId,
        address: SocketAddr,
        recovery: Recovery,
        above: u64,
    ) -> io::Result<Position> {
        let Survey { term, last, ref mut state, .. } = self.survey;
        let term = term.max(last.map_or(0, |at| at.term)).max(above).checked_add(1).ok_or_else(used_up)?;
        let index = last.map_or(Some(0), |at| at.index.checked_add(1)).ok_or_else(used_up)?;
        let vote = Vote::new(term, node.0);
        let id = LogId::new(vote.leader_id().to_committed(), index);
        let only = Membership::new(vec![BTreeSet::from([node.0])], BTreeMap::from([(node.0, BasicNode::new(address))]));
        let membership = StoredMembership::new(Some(id), only.map_err(bad)?);
        state.recover(Fence { generation: recovery.generation, term, index }, recovery);
        let replicated = Replicated { applied: Some(id), membership: membership.clone(), state: std::mem::take(state) };
        let meta = SnapshotMeta { last_log_id: Some(id), last_membership: membership };
        let encoded = postcard::to_stdvec(&id).map_err(bad)?;
        let first = self.loaded.log.keys().next().copied().unwrap_or(index);
        let ops = [
            Op::Truncate(first),
            Op::Snapshot(postcard::to_stdvec(&meta).map_err(bad)?, encode_snapshot(&replicated)?),
            Op::Purge(index, encoded.clone()),
            Op::Vote(postcard::to_stdvec(&vote).map_err(bad)?),
        ];
        self.disk.commit(&ops, Some(encoded))?;
        Ok(Position { term, index })
    }

    /// All that is stored, in one piece, to be kept where [`Offline::forget`] follows.
    pub fn kept(&self) -> io::Result<Vec<u8>> {
        postcard::to_stdvec(&self.loaded).map_err(bad)
    }

    /// Drops everything: the store is that of a node that has never taken part.
    ///
    /// For a node whose cluster was recovered without it. That it comes back under the id that it had is safe, though a
    /// node that loses its log under its id stops openraft's leader otherwise: the leader remembers how far a follower
    /// had got only while the follower is in its membership, and the new generation's begins without it, so nothing is
    /// remembered of it there. Its vote may go, too: no message of the old generation is answered any more, and in the
    /// new one it has not voted.
    pub fn forget(&mut self) -> io::Result<()> {
        self.disk.commit(&[Op::Clear], None)?;
        (self.loaded, self.survey) = (Loaded::default(), Survey::default());
        Ok(())
    }

    /// The disk, for a node to run on: it need not read again what was read here.
    pub fn into_disk(self) -> Box<dyn Disk> {
        Box::new(Read { disk: self.disk, loaded: Some(self.loaded) })
    }
}

/// A disk that has been read.
struct Read {
    disk: Box<dyn Disk>,
    loaded: Option<Loaded>,
}

impl Disk for Read {
    fn load(&mut self) -> io::Result<Loaded> {
        self.loaded.take().map_or_else(|| self.disk.load(), Ok)
    }

    fn commit(&mut self, ops: &[Op], committed: Option<Vec<u8>>) -> io::Result<()> {
        self.disk.commit(ops, committed)
    }
}

/// What is known by what [`Offline::kept`] gave: an old log that lies beside the present one.
pub fn survey_of_kept(bytes: &[u8]) -> io::Result<Survey> {
    survey(&postcard::from_bytes(bytes).map_err(bad)?)
}

fn survey(loaded: &Loaded) -> io::Result<Survey> {
    fn one<T: serde::de::DeserializeOwned>(bytes: Option<&Vec<u8>>) -> io::Result<Option<T>> {
        bytes.map(|b| postcard::from_bytes(b).map_err(bad)).transpose()
    }
    let mut entries = BTreeMap::new();
    for (index, bytes) in &loaded.log {
        entries.insert(*index, decode_entry(bytes)?);
    }
    let snapshot = loaded.snapshot.as_ref();
    let meta: Option<SnapshotMeta> = one(snapshot.map(|(about, _)| about))?;
    let covered = meta.and_then(|meta| meta.last_log_id);
    let purged: Option<LogId> = one(loaded.purged.as_ref())?;
    check_whole(entries.iter().map(|(index, entry)| (*index, entry.log_id)), purged, covered)?;
    let mut replicated = match snapshot {
        Some((_, contents)) => decode_snapshot(contents)?,
        None => Replicated::default(),
    };
    let log = stretches(&entries);
    let last = entries.values().next_back().map(|entry| entry.log_id).max(covered).map(position);
    let unapplied = covered.map_or(0, |id| id.index + 1);
    for (_, entry) in entries.split_off(&unapplied) {
        replicated.apply(entry);
    }
    let vote: Option<Vote> = one(loaded.vote.as_ref())?;
    let committed: Option<LogId> = one(loaded.committed.as_ref())?;
    let membership = replicated.membership.membership();
    Ok(Survey {
        term: vote.map_or(0, |vote| vote.leader_id().term),
        last,
        committed: committed.max(covered).map(position),
        covered: covered.map(position),
        log,
        voters: membership.voter_ids().map(NodeId).collect(),
        learners: membership.learner_ids().map(NodeId).collect(),
        state: replicated.state,
    })
}

fn stretches(entries: &BTreeMap<u64, Entry>) -> Vec<Stretch> {
    let mut all: Vec<Stretch> = vec![];
    for entry in entries.values() {
        let Position { term, index } = position(entry.log_id);
        match all.last_mut() {
            Some(stretch) if stretch.term == term && stretch.last + 1 == index => stretch.last = index,
            Some(_) | None => all.push(Stretch { term, first: index, last: index }),
        }
    }
    all
}

fn position(id: LogId) -> Position {
    Position { term: id.leader_id.term, index: id.index }
}

fn used_up() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the numbers of terms or entries are used up: the log is damaged")
}
