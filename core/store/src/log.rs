//! The log: readable in memory, durable behind [`Disk`], with one writer that makes one sync of all that waits.

mod writer;

use crate::{
    codec::{decode_entry, stored},
    disk::{Disk, Loaded, Op},
    fullness::Fullness,
    types::{Entry, LogId, SnapshotMeta, TC, Vote},
};
use openraft::{
    OptionalSend,
    storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage},
};
use std::{
    collections::BTreeMap,
    fmt::Debug,
    io,
    ops::RangeBounds,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use taffeta_model::{Bug, planted};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::Instant,
};
use writer::{Done, Job, Writer};

/// The log is cut when its live entries take more than this, however few they are.
pub(crate) const LOG_BYTES_MAX: usize = 16 << 20;
/// One of so many parts of that is kept behind a snapshot.
const LOG_KEEP_PART: usize = 4;

/// What a heavy log could do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Excess {
    /// The last entry of it.
    pub(crate) last: u64,
    /// The last entry that the snapshot covers: what is behind it cannot go.
    pub(crate) covered: Option<u64>,
}

/// So many of the newest entries are also kept decoded: the state machine and followers that keep up read those, and as a
/// structure an entry takes some ten times its bytes.
const DECODED_MAX: u64 = 512;

/// Changes that wait for the writer. openraft has few appends under way; a full queue makes it wait.
const QUEUE_MAX: usize = 4_096;

/// Who runs the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// A thread of its own: a sync blocks.
    Thread,
    /// A task, for a simulation with virtual time; each sync takes this long.
    Task(Duration),
}

/// An entry of the log.
struct Kept {
    id: LogId,
    /// As it is on disk.
    bytes: Arc<[u8]>,
    /// If it is one of the newest.
    entry: Option<Entry>,
}

#[derive(Default)]
struct Contents {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    entries: BTreeMap<u64, Kept>,
    /// Bytes of all entries on disk.
    bytes: usize,
    snapshot: Option<(Vec<u8>, Vec<u8>)>,
    /// The last entry that the snapshot covers.
    covered: Option<LogId>,
}

impl Contents {
    fn insert(&mut self, entry: Entry, bytes: Arc<[u8]>) {
        let (id, size) = (entry.log_id, bytes.len());
        let before = self.entries.insert(id.index, Kept { id, bytes, entry: Some(entry) });
        self.bytes = self.bytes + size - before.map_or(0, |before| before.bytes.len());
        let old = id.index.checked_sub(DECODED_MAX).and_then(|old| self.entries.get_mut(&old));
        if let Some(old) = old {
            old.entry = None;
        }
    }

    /// Keeps the entries below an index.
    fn truncate(&mut self, from: u64) {
        let gone = self.entries.split_off(&from);
        self.bytes -= gone.values().map(|kept| kept.bytes.len()).sum::<usize>();
    }

    /// Keeps the entries from an index on.
    fn purge(&mut self, below: u64) {
        let left = self.entries.split_off(&below);
        let gone = std::mem::replace(&mut self.entries, left);
        self.bytes -= gone.values().map(|kept| kept.bytes.len()).sum::<usize>();
    }
}

/// The log store that openraft uses. Clones share one log.
#[derive(Clone)]
pub(crate) struct LogStore {
    contents: Arc<Mutex<Contents>>,
    queue: mpsc::Sender<Job>,
    /// Held while a snapshot is stored.
    saving: Arc<tokio::sync::Mutex<()>>,
    fullness: Arc<Fullness>,
    /// Told when the log has become longer than a snapshot ought to let it.
    heavy: Arc<Notify>,
}

impl LogStore {
    /// Reads what is stored and starts the writer.
    pub(crate) fn open(mut disk: Box<dyn Disk>, driver: Driver) -> io::Result<Self> {
        let mut contents = decode(disk.load()?)?;
        if planted(Bug::ForgetLog) {
            contents.committed = None;
            let kept = contents.entries.len().saturating_sub(20).max(1);
            contents.entries = std::mem::take(&mut contents.entries).into_iter().take(kept).collect();
        }
        let contents = Arc::new(Mutex::new(contents));
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let fullness = Arc::new(Fullness::new(disk.gauge()));
        let mut writer = Writer { disk, jobs, contents: Arc::clone(&contents), fullness: Arc::clone(&fullness) };
        match driver {
            Driver::Thread => {
                let name = std::thread::Builder::new().name("taffeta-log".into());
                #[expect(clippy::disallowed_methods, reason = "the real writer; a simulator asks for Driver::Task")]
                name.spawn(move || writer.run_in_thread())?;
            }
            Driver::Task(sync) => {
                tokio::spawn(async move { writer.run_in_task(sync).await });
            }
        }
        Ok(Self { contents, queue, saving: Arc::default(), fullness, heavy: Arc::default() })
    }

    /// Whether the disk is full.
    pub(crate) fn fullness(&self) -> Arc<Fullness> {
        Arc::clone(&self.fullness)
    }

    /// Since when the disk has been full.
    pub(crate) fn full_since(&self) -> Option<Instant> {
        self.fullness.since()
    }

    /// Lets go of what waits for room on the disk: it fails. Nothing else is disturbed.
    pub(crate) fn close(&self) {
        self.fullness.close();
    }

    /// Resolves when the log has grown beyond [`LOG_BYTES_MAX`], or may be cut now that it has.
    pub(crate) async fn heavy(&self) {
        self.heavy.notified().await;
    }

    /// Where a log that is too heavy had better be cut: what is kept then, for followers that are a little late, is at most
    /// a quarter of what it may weigh. `None` if it is light.
    pub(crate) fn excess(&self) -> Option<Excess> {
        let contents = self.lock();
        if contents.bytes <= LOG_BYTES_MAX {
            return None;
        }
        let mut kept = 0;
        let is_kept = |entry: &&Kept| {
            kept += entry.bytes.len();
            kept <= LOG_BYTES_MAX / LOG_KEEP_PART
        };
        let kept = contents.entries.values().rev().take_while(is_kept).count();
        let last = contents.entries.keys().rev().nth(kept)?;
        Some(Excess { last: *last, covered: contents.covered.map(|id| id.index) })
    }

    /// These entries as they are on disk.
    pub(crate) fn encoded(&self, entries: &[Entry]) -> io::Result<Vec<Arc<[u8]>>> {
        let contents = self.lock();
        let one = |entry: &Entry| match contents.entries.get(&entry.log_id.index) {
            Some(kept) if kept.id == entry.log_id => Ok(Arc::clone(&kept.bytes)),
            Some(_) | None => stored(entry), // it was cut off meanwhile
        };
        entries.iter().map(one).collect()
    }

    /// Metadata and contents of the newest snapshot.
    pub(crate) fn snapshot(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        self.lock().snapshot.clone()
    }

    /// Stores a snapshot; durable when this returns, since the log is purged after it.
    ///
    /// openraft builds snapshots in a task of their own: while one is encoded, a newer one may come from the leader, be
    /// stored, and the log be purged up to it. The older one must not take its place then, or a restart would find a
    /// hole between snapshot and log.
    pub(crate) async fn save_snapshot(&self, meta: &SnapshotMeta, contents: Vec<u8>) -> io::Result<()> {
        let _alone = self.saving.lock().await;
        if meta.last_log_id < self.lock().covered {
            return Ok(());
        }
        let about = postcard::to_stdvec(meta).map_err(bad)?;
        self.commit(Op::Snapshot(about.clone(), contents.clone())).await?;
        let mut held = self.lock();
        held.snapshot = Some((about, contents));
        held.covered = meta.last_log_id;
        if held.bytes > LOG_BYTES_MAX {
            self.heavy.notify_one();
        }
        Ok(())
    }

    async fn commit(&self, op: Op) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        self.submit(op, Done::Other(sender)).await?;
        receiver.await.map_err(|_| gone())?
    }

    async fn submit(&self, op: Op, done: Done) -> io::Result<()> {
        self.queue.send((op, done)).await.map_err(|_| gone())
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().expect("no panic while the log is held")
    }
}

fn decode(loaded: Loaded) -> io::Result<Contents> {
    fn one<T: serde::de::DeserializeOwned>(bytes: Option<Vec<u8>>) -> io::Result<Option<T>> {
        bytes.map(|b| postcard::from_bytes(&b).map_err(bad)).transpose()
    }
    let mut contents = Contents::default();
    for (index, bytes) in loaded.log {
        let entry = decode_entry(&bytes)?;
        if entry.log_id.index != index {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("entry {index} of the log is another one")));
        }
        contents.insert(entry, bytes.into());
    }
    let purged: Option<LogId> = one(loaded.purged)?;
    let about: Option<SnapshotMeta> = one(loaded.snapshot.as_ref().map(|(about, _)| about.clone()))?;
    let covered = about.and_then(|meta| meta.last_log_id);
    check_whole(contents.entries.iter().map(|(index, kept)| (*index, kept.id)), purged, covered)?;
    let (vote, committed) = (one(loaded.vote)?, one(loaded.committed)?);
    Ok(Contents { vote, committed, purged, snapshot: loaded.snapshot, covered, ..contents })
}

/// Refuses a log with a hole: openraft would go on with what is left, and acknowledged writes would be gone.
pub(crate) fn check_whole(
    entries: impl IntoIterator<Item = (u64, LogId)>,
    purged: Option<LogId>,
    covered: Option<LogId>,
) -> io::Result<()> {
    let missing = |what: String| Err(io::Error::new(io::ErrorKind::InvalidData, what));
    if purged > covered {
        return missing("the log was purged further than the snapshot goes".into());
    }
    let first = covered.map_or(0, |id| id.index + 1);
    for (expected, (index, id)) in (first..).zip(entries.into_iter().skip_while(|(index, _)| *index < first)) {
        if index != expected || id.index != expected {
            return missing(format!("entry {expected} of the log is missing"));
        }
    }
    Ok(())
}

pub(crate) fn bad(e: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, e)
}

fn gone() -> io::Error {
    io::Error::other("the log's writer has ended")
}

impl RaftLogReader<TC> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let read = |kept: &Kept| kept.entry.clone().ok_or_else(|| Arc::clone(&kept.bytes));
        let found: Vec<_> = self.lock().entries.range(range).map(|(_, kept)| read(kept)).collect();
        found.into_iter().map(|entry| entry.or_else(|bytes| decode_entry(&bytes))).collect()
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.lock().vote)
    }
}

impl RaftLogStorage<TC> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TC>> {
        let contents = self.lock();
        let last = contents.entries.values().next_back().map(|kept| kept.id);
        Ok(LogState { last_purged_log_id: contents.purged, last_log_id: last.or(contents.purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let op = Op::Vote(postcard::to_stdvec(vote).map_err(bad)?);
        if !planted(Bug::ForgetVote) {
            self.commit(op).await?;
        }
        self.lock().vote = Some(*vote);
        Ok(())
    }

    /// Rides on the next commit: it only shortens the replay after a restart.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.lock().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TC>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut encoded = vec![];
        {
            let mut contents = self.lock();
            for entry in entries {
                let bytes = stored(&entry)?;
                encoded.push((entry.log_id.index, bytes.to_vec()));
                contents.insert(entry, bytes);
            }
            if contents.bytes > LOG_BYTES_MAX {
                self.heavy.notify_one();
            }
        }
        self.submit(Op::Append(encoded), Done::Append(callback)).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.map_or(0, |id| id.index + 1);
        self.lock().truncate(from);
        self.commit(Op::Truncate(from)).await
    }

    async fn purge(&mut self, to: LogId) -> io::Result<()> {
        {
            let mut contents = self.lock();
            contents.purged = Some(to);
            contents.purge(to.index + 1);
        }
        self.submit(Op::Purge(to.index, postcard::to_stdvec(&to).map_err(bad)?), Done::Nobody).await
    }
}

#[cfg(test)]
mod tests;
