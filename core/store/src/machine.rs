//! The state machine: committed entries in, the replicated state out.

use crate::{
    codec::{decode_snapshot, encode_snapshot},
    log::{LogStore, bad},
    types::{LogId, Snapshot, SnapshotData, SnapshotMeta, StoredMembership, TC},
};
use futures::{Stream, TryStreamExt};
use openraft::{
    EntryPayload, OptionalSend,
    storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine},
};
use serde::{Deserialize, Serialize};
use std::{
    io,
    io::Cursor,
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};
use taffeta_model::{Bug, Fence, Outcome, State, planted};
use tokio::sync::watch;

/// What is replicated, with its place in the log. This is also the contents of a snapshot.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Replicated<S = State> {
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
    pub(crate) state: S,
}

impl Replicated {
    /// Applies the next entry.
    pub(crate) fn apply(&mut self, entry: crate::types::Entry) -> Outcome {
        self.applied = Some(entry.log_id);
        let at =
            Fence { generation: self.state.generation, term: entry.log_id.leader_id.term, index: entry.log_id.index };
        let outcome = match entry.payload {
            EntryPayload::Blank => Outcome::Done(at),
            EntryPayload::Normal(request) => self.state.apply(at, &request.command),
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
                Outcome::Done(at)
            }
        };
        self.state.applied = at;
        outcome
    }
}

/// The state machine that openraft drives. Clones share one state.
#[derive(Clone)]
pub(crate) struct Machine {
    replicated: Arc<RwLock<Replicated>>,
    log: LogStore,
    /// Position of the newest applied entry; whoever waits for changes watches it.
    applied: watch::Sender<Fence>,
    /// Snapshots that came from a leader.
    installed: Arc<AtomicU64>,
}

impl Machine {
    pub(crate) fn open(log: LogStore) -> io::Result<Self> {
        let replicated = match log.snapshot() {
            Some((_, contents)) => decode_snapshot(&contents)?,
            None => Replicated::default(),
        };
        let applied = watch::Sender::new(replicated.state.applied);
        Ok(Self { replicated: Arc::new(RwLock::new(replicated)), log, applied, installed: Arc::default() })
    }

    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.replicated.read().expect("no panic while the state is held").state)
    }

    pub(crate) fn snapshots_installed(&self) -> u64 {
        self.installed.load(Ordering::Relaxed)
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Fence> {
        self.applied.subscribe()
    }

    fn apply_one(&self, entry: crate::types::Entry) -> Outcome {
        self.replicated.write().expect("no panic while the state is held").apply(entry)
    }

    fn announce(&self) {
        let at = self.read(|state| state.applied);
        self.applied.send_if_modified(|known| std::mem::replace(known, at) != at);
    }
}

/// Whether bytes from a peer are the contents of a snapshot.
pub(crate) fn check_snapshot(contents: &[u8]) -> Result<(), String> {
    decode_snapshot(contents).map(drop).map_err(|e| format!("not a snapshot: {e}"))
}

impl RaftSnapshotBuilder<TC> for Machine {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let (meta, contents) = {
            let replicated = self.replicated.read().expect("no panic while the state is held");
            let meta = SnapshotMeta { last_log_id: replicated.applied, last_membership: replicated.membership.clone() };
            let mut contents = encode_snapshot(&replicated)?;
            if planted(Bug::SnapshotInPart) {
                let mut part = replicated.clone();
                part.state.tokens.pop_last();
                contents = encode_snapshot(&part)?;
            }
            (meta, contents)
        };
        self.log.save_snapshot(&meta, contents.clone()).await?;
        Ok(Snapshot { meta, snapshot: Cursor::new(contents) })
    }
}

impl RaftStateMachine<TC> for Machine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let replicated = self.replicated.read().expect("no panic while the state is held");
        Ok((replicated.applied, replicated.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TC>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let outcome = self.apply_one(entry);
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        self.announce();
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        let contents = snapshot.into_inner();
        let replicated = decode_snapshot(&contents)?;
        self.log.save_snapshot(meta, contents).await?;
        *self.replicated.write().expect("no panic while the state is held") = replicated;
        self.installed.fetch_add(1, Ordering::Relaxed);
        self.announce();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let Some((about, contents)) = self.log.snapshot() else { return Ok(None) };
        Ok(Some(Snapshot { meta: postcard::from_bytes(&about).map_err(bad)?, snapshot: Cursor::new(contents) }))
    }
}
