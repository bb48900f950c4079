//! The writer: the one who owns the disk, and makes one sync of all that waits.

use super::{Contents, QUEUE_MAX};
use crate::{
    disk::{Disk, Op, is_full},
    fullness::Fullness,
    types::TC,
};
use openraft::storage::IOFlushed;
use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};
use taffeta_model::{Bug, planted};
use tokio::sync::{mpsc, oneshot};

/// A batch is closed when it has grown to so many bytes: whoever came first does not wait for ever larger writes.
const BATCH_BYTES: usize = 4 << 20;

/// So many changes in one batch are a crowd. A leader under load has each write as a change of its own, a follower few
/// with many entries each.
const CROWD: usize = 8;

/// A crowd waits so long for more of it. Two followers of three voters make a write count without the leader, which would
/// sync three times as often as they do, and take the processor time from all else.
const CROWD_PAUSE: Duration = Duration::from_micros(400);

/// A full disk is tried again so often.
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// Who waits for a change.
pub(super) enum Done {
    Append(IOFlushed<TC>),
    Other(oneshot::Sender<io::Result<()>>),
    Nobody,
}

/// A change, and who waits for it.
pub(super) type Job = (Op, Done);

/// Owns the disk.
pub(super) struct Writer {
    pub(super) disk: Box<dyn Disk>,
    pub(super) jobs: mpsc::Receiver<Job>,
    pub(super) contents: Arc<Mutex<Contents>>,
    pub(super) fullness: Arc<Fullness>,
}

/// What one sync makes durable, and who waits for it.
#[derive(Default)]
struct Batch {
    ops: Vec<Op>,
    done: Vec<Done>,
    committed: Option<Vec<u8>>,
}

impl Writer {
    pub(super) fn run_in_thread(&mut self) {
        let mut crowded = false;
        while let Some(first) = self.jobs.blocking_recv() {
            if crowded {
                std::thread::sleep(CROWD_PAUSE);
            }
            let batch = self.take_batch(first);
            crowded = batch.ops.len() >= CROWD;
            let mut result = self.write(&batch);
            while self.waits(&result) {
                std::thread::sleep(TRY_AGAIN);
                result = self.write(&batch);
            }
            self.finish(batch, result);
        }
    }

    pub(super) async fn run_in_task(&mut self, sync: Duration) {
        while let Some(first) = self.jobs.recv().await {
            let batch = self.take_batch(first);
            tokio::time::sleep(sync).await; // a crash meanwhile loses the batch, as on a real disk
            let mut result = self.write(&batch);
            while self.waits(&result) {
                tokio::time::sleep(TRY_AGAIN).await;
                result = self.write(&batch);
            }
            self.finish(batch, result);
        }
    }

    fn take_batch(&mut self, first: Job) -> Batch {
        let mut batch = Batch::default();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some((op, done)) = next {
            bytes += size(&op);
            batch.ops.push(op);
            batch.done.push(done);
            let has_room = batch.ops.len() < QUEUE_MAX && bytes < BATCH_BYTES;
            next = if has_room { self.jobs.try_recv().ok() } else { None };
        }
        let committed = self.contents.lock().expect("no panic while the log is held").committed;
        batch.committed = committed.map(|id| postcard::to_stdvec(&id).expect("a log id is encodable"));
        batch
    }

    fn write(&mut self, batch: &Batch) -> io::Result<()> {
        let result = self.disk.commit(&batch.ops, batch.committed.clone());
        let lied = planted(Bug::AcknowledgeOnFullDisk) && result.as_ref().is_err_and(is_full);
        if lied { Ok(()) } else { result }
    }

    /// Whether the same is to be tried again: a full disk is no reason to end. Nobody waits for a store that is closed or
    /// was dropped.
    fn waits(&self, result: &io::Result<()>) -> bool {
        let full = result.as_ref().is_err_and(is_full) && !planted(Bug::EndOnFullDisk);
        self.fullness.set_stuck(full);
        full && !self.fullness.is_closed() && !self.jobs.is_closed()
    }

    fn finish(&self, batch: Batch, result: io::Result<()>) {
        if let Err(e) = &result {
            tracing::error!(error = %e, "the log could not be written");
        }
        for done in batch.done {
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
}

fn size(op: &Op) -> usize {
    match op {
        Op::Append(entries) => entries.iter().map(|(_, entry)| entry.len()).sum(),
        Op::Vote(bytes) | Op::Purge(_, bytes) => bytes.len(),
        Op::Truncate(_) | Op::Clear => 0,
        Op::Snapshot(about, contents) => about.len() + contents.len(),
    }
}
