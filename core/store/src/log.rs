//! The log: readable in memory, durable behind [`Disk`], with one writer that makes one sync of all that waits.

use crate::{
    disk::{Disk, Loaded, Op},
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
use tokio::sync::{mpsc, oneshot};

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

enum Done {
    Append(IOFlushed<TC>),
    Other(oneshot::Sender<io::Result<()>>),
    Nobody,
}

type Job = (Op, Done);

#[derive(Default)]
struct Contents {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    entries: BTreeMap<u64, Entry>,
    snapshot: Option<(Vec<u8>, Vec<u8>)>,
    /// The last entry that the snapshot covers.
    covered: Option<LogId>,
}

/// The log store that openraft uses. Clones share one log.
#[derive(Clone)]
pub(crate) struct LogStore {
    contents: Arc<Mutex<Contents>>,
    queue: mpsc::Sender<Job>,
    /// Held while a snapshot is stored.
    saving: Arc<tokio::sync::Mutex<()>>,
}

impl LogStore {
    /// Reads what is stored and starts the writer.
    pub(crate) fn open(mut disk: Box<dyn Disk>, driver: Driver) -> io::Result<Self> {
        let contents = Arc::new(Mutex::new(decode(disk.load()?)?));
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let shared = Arc::clone(&contents);
        match driver {
            Driver::Thread => {
                let name = std::thread::Builder::new().name("taffeta-log".into());
                #[expect(clippy::disallowed_methods, reason = "the real writer; a simulator asks for Driver::Task")]
                name.spawn(move || write_in_thread(&mut *disk, jobs, &shared))?;
            }
            Driver::Task(sync) => {
                tokio::spawn(write_in_task(disk, jobs, shared, sync));
            }
        }
        Ok(Self { contents, queue, saving: Arc::default() })
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

fn write_in_thread(disk: &mut dyn Disk, mut jobs: mpsc::Receiver<Job>, contents: &Mutex<Contents>) {
    while let Some(first) = jobs.blocking_recv() {
        let batch = take_batch(first, &mut jobs);
        flush(disk, batch, contents);
    }
}

async fn write_in_task(
    mut disk: Box<dyn Disk>,
    mut jobs: mpsc::Receiver<Job>,
    contents: Arc<Mutex<Contents>>,
    sync: Duration,
) {
    while let Some(first) = jobs.recv().await {
        let batch = take_batch(first, &mut jobs);
        tokio::time::sleep(sync).await; // a crash meanwhile loses the batch, as on a real disk
        flush(&mut *disk, batch, &contents);
    }
}

fn take_batch(first: Job, jobs: &mut mpsc::Receiver<Job>) -> Vec<Job> {
    let mut batch = vec![first];
    while batch.len() < QUEUE_MAX
        && let Ok(next) = jobs.try_recv()
    {
        batch.push(next);
    }
    batch
}

fn flush(disk: &mut dyn Disk, batch: Vec<Job>, contents: &Mutex<Contents>) {
    let committed = contents.lock().expect("no panic while the log is held").committed;
    let committed = committed.map(|id| postcard::to_stdvec(&id).expect("a log id is encodable"));
    let (ops, done): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
    let result = disk.commit(&ops, committed);
    if let Err(e) = &result {
        tracing::error!(error = %e, "the log could not be written");
    }
    for done in done {
        let result = match &result {
            Ok(()) => Ok(()),
            Err(e) => Err(io::Error::new(e.kind(), e.to_string())),
        };
        match done {
            Done::Append(callback) => callback.io_completed(result),
            Done::Other(sender) => {
                let _ = sender.send(result);
            }
            Done::Nobody => {}
        }
    }
}

fn decode(loaded: Loaded) -> io::Result<Contents> {
    fn one<T: serde::de::DeserializeOwned>(bytes: Option<Vec<u8>>) -> io::Result<Option<T>> {
        bytes.map(|b| postcard::from_bytes(&b).map_err(bad)).transpose()
    }
    let mut entries = BTreeMap::new();
    for (index, bytes) in loaded.log {
        entries.insert(index, postcard::from_bytes(&bytes).map_err(bad)?);
    }
    let purged: Option<LogId> = one(loaded.purged)?;
    let about: Option<SnapshotMeta> = one(loaded.snapshot.as_ref().map(|(about, _)| about.clone()))?;
    let covered = about.and_then(|meta| meta.last_log_id);
    check_whole(&entries, purged, covered)?;
    let (vote, committed) = (one(loaded.vote)?, one(loaded.committed)?);
    Ok(Contents { vote, committed, purged, entries, snapshot: loaded.snapshot, covered })
}

/// Refuses a log with a hole: openraft would go on with what is left, and acknowledged writes would be gone.
fn check_whole(entries: &BTreeMap<u64, Entry>, purged: Option<LogId>, covered: Option<LogId>) -> io::Result<()> {
    let missing = |what: String| Err(io::Error::new(io::ErrorKind::InvalidData, what));
    if purged > covered {
        return missing("the log was purged further than the snapshot goes".into());
    }
    let first = covered.map_or(0, |id| id.index + 1);
    for (expected, (index, entry)) in (first..).zip(entries.range(first..)) {
        if *index != expected || entry.log_id.index != expected {
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
        Ok(self.lock().entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.lock().vote)
    }
}

impl RaftLogStorage<TC> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TC>> {
        let contents = self.lock();
        let last = contents.entries.values().next_back().map(|entry| entry.log_id);
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
                encoded.push((entry.log_id.index, postcard::to_stdvec(&entry).map_err(bad)?));
                contents.entries.insert(entry.log_id.index, entry);
            }
        }
        self.submit(Op::Append(encoded), Done::Append(callback)).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.map_or(0, |id| id.index + 1);
        self.lock().entries.split_off(&from);
        self.commit(Op::Truncate(from)).await
    }

    async fn purge(&mut self, to: LogId) -> io::Result<()> {
        {
            let mut contents = self.lock();
            contents.purged = Some(to);
            let kept = contents.entries.split_off(&(to.index + 1));
            contents.entries = kept;
        }
        self.submit(Op::Purge(to.index, postcard::to_stdvec(&to).map_err(bad)?), Done::Nobody).await
    }
}

#[cfg(test)]
mod tests;
