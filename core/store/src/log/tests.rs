use super::*;
use crate::{disk::Op, store::tests::MemoryDisk};
use openraft::vote::RaftLeaderId as _;

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
