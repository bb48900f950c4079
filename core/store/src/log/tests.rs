use super::*;
use crate::{disk::Op, store::tests::MemoryDisk, types::Request};
use openraft::EntryPayload;
use openraft::vote::RaftLeaderId as _;
use taffeta_model::Command;

fn at(index: u64) -> SnapshotMeta {
    let last = LogId::new(openraft::impls::leader_id_std::LeaderId::new(1, 1).to_committed(), index);
    SnapshotMeta { last_log_id: Some(last), ..SnapshotMeta::default() }
}

#[tokio::test]
async fn an_older_snapshot_never_takes_the_place_of_a_newer_one() {
    let disk = MemoryDisk::default();
    let log = LogStore::open(Box::new(disk.clone()), Driver::Thread).unwrap();
    for (index, contents) in [(5, b"five"), (10, b"ten."), (7, b"late")] {
        log.save_snapshot(&at(index), contents.to_vec()).await.unwrap();
    }
    assert_eq!(log.snapshot().unwrap().1, b"ten.");
    assert_eq!(disk.contents.lock().unwrap().snapshot.as_ref().unwrap().1, b"ten.");
    let again = LogStore::open(Box::new(disk.clone()), Driver::Thread).unwrap();
    again.save_snapshot(&at(9), b"late".to_vec()).await.unwrap();
    assert_eq!(again.snapshot().unwrap().1, b"ten.");
}

#[tokio::test]
async fn an_entry_is_read_as_it_was_however_old_it_is() {
    let count = 3 * DECODED_MAX;
    let id = |index| LogId { index, ..at(0).last_log_id.unwrap() };
    let entry = |index: u64| {
        let command = Command::RaiseLevel(u32::try_from(index).unwrap());
        Entry { log_id: id(index), payload: EntryPayload::Normal(Request::new(command)) }
    };
    let bytes = |entry: &Entry| stored(entry).unwrap().to_vec();
    let disk = MemoryDisk::default();
    disk.contents.lock().unwrap().log = (0..count).map(|index| (index, bytes(&entry(index)))).collect();
    let mut log = LogStore::open(Box::new(disk.clone()), Driver::Thread).unwrap();
    let decoded = log.lock().entries.values().filter(|kept| kept.entry.is_some()).count();
    assert_eq!(decoded as u64, DECODED_MAX);
    let read = log.try_get_log_entries(0..count).await.unwrap();
    let stored = &disk.contents.lock().unwrap().log;
    assert_eq!(read.len(), stored.len());
    for (read, (index, stored)) in read.iter().zip(stored) {
        assert_eq!((read.log_id.index, &bytes(read)), (*index, stored));
    }
    // What is sent is what is stored; one that another has taken the place of is encoded anew.
    assert!(log.encoded(&read).unwrap().iter().zip(stored.values()).all(|(sent, stored)| **sent == **stored));
    let other = Entry { payload: EntryPayload::Blank, ..entry(count - 1) };
    let moved = Entry { log_id: LogId { index: count, ..other.log_id }, ..other };
    assert_eq!(*log.encoded(std::slice::from_ref(&moved)).unwrap()[0], *bytes(&moved));
    log.lock().truncate(count - 1);
    assert_eq!(*log.encoded(std::slice::from_ref(&read[count as usize - 1])).unwrap()[0], *stored[&(count - 1)]);
    let held: usize = stored.range(..count - 1).map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(log.lock().bytes, held);
}

/// Counts commits, each of which is a sync.
struct Counting(Arc<Mutex<Vec<usize>>>);

impl Disk for Counting {
    fn load(&mut self) -> io::Result<Loaded> {
        Ok(Loaded::default())
    }
    fn commit(&mut self, ops: &[Op], _committed: Option<Vec<u8>>) -> io::Result<()> {
        self.0.lock().unwrap().push(ops.len());
        Ok(())
    }
}

#[tokio::test]
async fn all_that_waits_is_one_sync() {
    let commits = Arc::new(Mutex::new(vec![]));
    let driver = Driver::Task(Duration::from_millis(5));
    let log = LogStore::open(Box::new(Counting(Arc::clone(&commits))), driver).unwrap();
    let writes = (0..50).map(|n| log.commit(Op::Truncate(n)));
    for written in futures::future::join_all(writes).await {
        written.unwrap();
    }
    assert_eq!(*commits.lock().unwrap(), [50]);
}
