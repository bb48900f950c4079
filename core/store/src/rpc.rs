//! Consensus messages between voters: encoded here, carried by a [`Transport`].

use crate::{
    codec::decode_sent,
    log::LogStore,
    machine,
    types::{Entry, LogId, Raft, Snapshot, SnapshotData, SnapshotMeta, TC, Vote},
};
use async_trait::async_trait;
use futures::{Stream, StreamExt, stream};
use openraft::{
    BasicNode, EntryPayload, OptionalSend,
    base::{BoxFuture, BoxStream},
    errors::{RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{RPCOption, RaftNetworkFactory, stream_append_sequential, v2::RaftNetworkV2},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{
    borrow::Cow,
    fmt,
    future::Future,
    io::{self, Cursor},
    sync::Arc,
    time::Duration,
};
use taffeta_model::NodeId;
use tokio::task::yield_now;

/// As many writers as this are worth waiting for.
const MANY_ENTRIES: usize = 4;
/// For so many turns of the scheduler: in one they are answered, in the next their requests come in.
const TURNS_FOR_OTHERS: usize = 3;

/// Carries bytes to a voter and its reply back.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends a request; gives up after `limit`.
    async fn send(&self, to: NodeId, request: Vec<u8>, limit: Duration) -> Result<Vec<u8>, SendError>;

    /// The same for a small request that may be answered twice, such as a heartbeat, if there is a cheaper way for those.
    async fn send_brief(&self, to: NodeId, request: Vec<u8>, limit: Duration) -> Result<Vec<u8>, SendError> {
        self.send(to, request, limit).await
    }
}

/// Why there was no reply, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendError(pub String);

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SendError {}

#[derive(Serialize, Deserialize)]
pub(crate) enum Call<'a> {
    #[serde(borrow)]
    Append(Append<'a>),
    Vote(VoteRequest<TC>),
    PreVote(VoteRequest<TC>),
    Snapshot(Vote, SnapshotMeta, Vec<u8>),
    Transfer(TransferLeaderRequest<TC>),
}

impl Call<'_> {
    /// Small, and to answer it twice is to answer it once: a heartbeat, or how far the log is committed.
    fn is_brief(&self) -> bool {
        match self {
            Self::Append(append) => append.entries.is_empty(),
            Self::Vote(_) | Self::PreVote(_) | Self::Snapshot(..) | Self::Transfer(_) => false,
        }
    }
}

/// openraft's append, with its entries as they are stored: each behind the version of its encoding, so that a node reads what
/// one of an earlier version sends.
#[derive(Serialize, Deserialize)]
pub(crate) struct Append<'a> {
    pub(crate) vote: Vote,
    pub(crate) prev: Option<LogId>,
    #[serde(borrow)]
    pub(crate) entries: Vec<Encoded<'a>>,
    pub(crate) committed: Option<LogId>,
}

/// An entry of the log, encoded. Where it comes in it lies in the message.
pub(crate) struct Encoded<'a>(pub(crate) Cow<'a, [u8]>);

impl Serialize for Encoded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Encoded<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(|bytes| Self(bytes.into()))
    }
}

impl Append<'_> {
    /// A request, its entries encoded.
    pub(crate) fn of<'a>(request: &AppendEntriesRequest<TC>, encoded: &'a [Arc<[u8]>]) -> Append<'a> {
        let AppendEntriesRequest { vote, prev_log_id: prev, entries: _, leader_commit: committed } = request;
        let entries = encoded.iter().map(|bytes| Encoded(Cow::Borrowed(bytes))).collect();
        Append { vote: *vote, prev: *prev, entries, committed: *committed }
    }

    fn decode(self) -> io::Result<AppendEntriesRequest<TC>> {
        let entries = self.entries.iter().map(|Encoded(bytes)| decode_sent(bytes)).collect::<io::Result<_>>()?;
        let (prev_log_id, leader_commit) = (self.prev, self.committed);
        Ok(AppendEntriesRequest { vote: self.vote, prev_log_id, entries, leader_commit })
    }
}

#[derive(Serialize, Deserialize)]
enum Reply {
    Append(AppendEntriesResponse<TC>),
    Vote(VoteResponse<TC>),
    Snapshot(SnapshotResponse<TC>),
    Transfer(TransferLeaderResponse<TC>),
}

/// The version of a command among these entries that a node does not speak.
fn above(entries: &[Entry], speaks: u32) -> Option<u32> {
    let level = |entry: &Entry| match &entry.payload {
        EntryPayload::Normal(request) => request.command.level(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 1,
    };
    entries.iter().map(level).find(|level| *level > speaks)
}

/// Answers a message of another voter. The flag tells whether it was the present leader's: an append or a
/// snapshot that was not refused for an older term. No command is taken of a version that this node does not speak: an older
/// binary could not read it, and no leader may send it one.
pub(crate) async fn answer(raft: &Raft, speaks: u32, request: &[u8]) -> Result<(Vec<u8>, bool), String> {
    let unread = |e: &dyn fmt::Display| format!("not a consensus message: {e}");
    let call: Call<'_> = postcard::from_bytes(request).map_err(|e| unread(&e))?;
    let failed = |e: &dyn fmt::Display| e.to_string();
    let (reply, from_leader) = match call {
        Call::Append(append) => {
            let r = append.decode().map_err(|e| unread(&e))?;
            if let Some(level) = above(&r.entries, speaks) {
                return Err(format!(
                    "a command of version {level} of the protocol, and this node speaks only {speaks}"
                ));
            }
            let reply = raft.append_entries(r).await.map_err(|e| failed(&e))?;
            let present = !matches!(reply, AppendEntriesResponse::HigherVote(_));
            (Reply::Append(reply), present)
        }
        Call::Vote(r) => (Reply::Vote(raft.vote(r).await.map_err(|e| failed(&e))?), false),
        Call::PreVote(r) => (Reply::Vote(raft.pre_vote(r).await.map_err(|e| failed(&e))?), false),
        Call::Snapshot(vote, meta, contents) => {
            machine::check_snapshot(&contents)?; // openraft would take a snapshot that fails to install for a dead disk
            let last = meta.last_log_id;
            let snapshot = Snapshot { meta, snapshot: Cursor::new(contents) };
            let mut reply = raft.install_full_snapshot(vote, snapshot).await.map_err(|e| failed(&e))?;
            if reply.vote == vote {
                reply.vote = flushed(raft, vote, last).await?;
            }
            let present = reply.vote == vote;
            (Reply::Snapshot(reply), present)
        }
        Call::Transfer(r) => (Reply::Transfer(raft.handle_transfer_leader(r).await.map_err(|e| failed(&e))?), false),
    };
    Ok((postcard::to_stdvec(&reply).map_err(|e| e.to_string())?, from_leader))
}

/// Waits until this node has on disk what a snapshot covers, and gives the vote by then. openraft confirms a snapshot at
/// once that goes no further than what it knows to be committed, although a full or slow disk may not have those entries
/// yet; the leader takes that for an acknowledgement, and ends in a panic when a restart shows a shorter log. An append, even
/// an empty one, is answered only once all before it is on disk.
async fn flushed(raft: &Raft, vote: Vote, last: Option<LogId>) -> Result<Vote, String> {
    let behind = AppendEntriesRequest { vote, prev_log_id: last, entries: vec![], leader_commit: None };
    match raft.append_entries(behind).await.map_err(|e| e.to_string())? {
        AppendEntriesResponse::Success => Ok(vote),
        AppendEntriesResponse::HigherVote(higher) => Ok(higher),
        AppendEntriesResponse::PartialSuccess(_) | AppendEntriesResponse::Conflict => {
            Err("the log has changed meanwhile".into())
        }
    }
}

/// Makes a [`Line`] to each voter.
pub(crate) struct Lines {
    pub(crate) transport: Arc<dyn Transport>,
    /// Has the entries as they are sent.
    pub(crate) log: LogStore,
    pub(crate) append_limit: Duration,
}

/// One voter at the other end of a [`Transport`].
pub(crate) struct Line {
    transport: Arc<dyn Transport>,
    log: LogStore,
    to: NodeId,
    append_limit: Duration,
}

impl RaftNetworkFactory<TC> for Lines {
    type Network = Line;
    async fn new_client(&mut self, target: u64, _node: &BasicNode) -> Line {
        let (transport, log) = (Arc::clone(&self.transport), self.log.clone());
        Line { transport, log, to: NodeId(target), append_limit: self.append_limit }
    }
}

impl Line {
    async fn call(&self, call: &Call<'_>, limit: Duration) -> Result<Reply, SendError> {
        let request = postcard::to_stdvec(call).map_err(|e| SendError(e.to_string()))?;
        let reply = if call.is_brief() {
            self.transport.send_brief(self.to, request, limit).await?
        } else {
            self.transport.send(self.to, request, limit).await?
        };
        postcard::from_bytes(&reply).map_err(|e| SendError(format!("not a consensus reply: {e}")))
    }
}

/// What becomes of appends, one after the other.
type Appended<'s> = BoxStream<'s, Result<StreamAppendResult<TC>, RPCError<TC>>>;

/// Appends, before each of which whoever else has work gets a turn, if the one before was of many entries: their writers
/// have just been answered and come again, and all that come are one append and one sync.
fn gathering<S>(input: S) -> impl Stream<Item = AppendEntriesRequest<TC>> + OptionalSend + Unpin + 'static
where
    S: Stream<Item = AppendEntriesRequest<TC>> + OptionalSend + Unpin + 'static,
{
    Box::pin(stream::unfold((input, 0), |(mut input, before)| async move {
        if before >= MANY_ENTRIES {
            for _ in 0..TURNS_FOR_OTHERS {
                yield_now().await;
            }
        }
        let append = input.next().await?;
        let entries = append.entries.len();
        Some((append, (input, entries)))
    }))
}

/// Every failure is `Unreachable`, which backs off; openraft retries the other kind at once and would spin.
fn unreachable<E: std::error::Error + 'static>(e: &E) -> RPCError<TC> {
    RPCError::Unreachable(Unreachable::new(e))
}

fn mismatched() -> SendError {
    SendError("a reply to another question".into())
}

impl RaftNetworkV2<TC> for Line {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TC>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TC>, RPCError<TC>> {
        // openraft gives an append as long as a heartbeat, which a sync may take longer than. It ends a heartbeat itself.
        let limit = self.append_limit.max(option.hard_ttl());
        let encoded = self.log.encoded(&rpc.entries).map_err(|e| unreachable(&SendError(e.to_string())))?;
        match self.call(&Call::Append(Append::of(&rpc, &encoded)), limit).await.map_err(|e| unreachable(&e))? {
            Reply::Append(reply) => Ok(reply),
            Reply::Vote(_) | Reply::Snapshot(_) | Reply::Transfer(_) => Err(unreachable(&mismatched())),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<Appended<'s>, RPCError<TC>>>
    where
        S: Stream<Item = AppendEntriesRequest<TC>> + OptionalSend + Unpin + 'static,
    {
        stream_append_sequential(self, gathering(input), option)
    }

    async fn vote(&mut self, rpc: VoteRequest<TC>, option: RPCOption) -> Result<VoteResponse<TC>, RPCError<TC>> {
        match self.call(&Call::Vote(rpc), option.hard_ttl()).await.map_err(|e| unreachable(&e))? {
            Reply::Vote(reply) => Ok(reply),
            Reply::Append(_) | Reply::Snapshot(_) | Reply::Transfer(_) => Err(unreachable(&mismatched())),
        }
    }

    async fn pre_vote(&mut self, rpc: VoteRequest<TC>, option: RPCOption) -> Result<VoteResponse<TC>, RPCError<TC>> {
        match self.call(&Call::PreVote(rpc), option.hard_ttl()).await.map_err(|e| unreachable(&e))? {
            Reply::Vote(reply) => Ok(reply),
            Reply::Append(_) | Reply::Snapshot(_) | Reply::Transfer(_) => Err(unreachable(&mismatched())),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TC>, StreamingError<TC>> {
        let call = Call::Snapshot(vote, snapshot.meta, snapshot.snapshot.into_inner());
        let failed = |e: &SendError| StreamingError::Unreachable(Unreachable::new(e));
        let reply = tokio::select! {
            reply = self.call(&call, option.hard_ttl()) => reply.map_err(|e| failed(&e))?,
            closed = cancel => return Err(StreamingError::Closed(closed)),
        };
        match reply {
            Reply::Snapshot(reply) => Ok(reply),
            Reply::Append(_) | Reply::Vote(_) | Reply::Transfer(_) => Err(failed(&mismatched())),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TC>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TC>, RPCError<TC>> {
        match self.call(&Call::Transfer(request), option.hard_ttl()).await.map_err(|e| unreachable(&e))? {
            Reply::Transfer(reply) => Ok(reply),
            Reply::Append(_) | Reply::Vote(_) | Reply::Snapshot(_) => Err(unreachable(&mismatched())),
        }
    }
}

#[cfg(test)]
mod tests;
