use super::{cluster::Disks, *};
use std::sync::atomic::Ordering;

/// A lone machine with ten writes, stopped; and what its disk holds.
async fn stopped() -> (Cluster, MemoryDisk) {
    let cluster = Cluster::born(Disks::memory()).await;
    for id in 0..10 {
        cluster.write(&[1], token(id)).await;
    }
    let Disks::Memory(disks) = &cluster.disks else { unreachable!("on memory") };
    let disk = disks[&NodeId(1)].clone();
    cluster.kill(1).await;
    (cluster, disk)
}

async fn refused(harm: impl FnOnce(&mut Loaded)) {
    let (mut cluster, disk) = stopped().await;
    harm(&mut disk.contents.lock().unwrap());
    let before = disk.contents.lock().unwrap().clone();
    match cluster.open(1).await {
        Err(OpenError::Disk(e)) => assert_eq!(e.kind(), io::ErrorKind::InvalidData, "{e}"),
        Err(e) => panic!("another error: {e}"),
        Ok(_) => panic!("a damaged log was opened"),
    }
    assert_eq!(*disk.contents.lock().unwrap(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unharmed_log_opens() {
    let (mut cluster, _) = stopped().await;
    cluster.start(1).await;
    cluster.leads(&[1]).await;
    cluster.hold(&[1], 0..10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_with_a_missing_entry_is_refused() {
    refused(|disk| assert!(disk.log.remove(&5).is_some())).await;
    refused(|disk| assert!(disk.log.remove(&0).is_some())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_with_an_entry_at_another_place_is_refused() {
    refused(|disk| {
        let sixth = disk.log[&6].clone();
        disk.log.insert(5, sixth);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_mean_nothing_are_refused() {
    refused(|disk| drop(disk.log.insert(5, vec![0xff; 3]))).await;
    refused(|disk| disk.vote = Some(vec![0xff; 30])).await;
    refused(|disk| disk.committed = Some(vec![0xff; 30])).await;
    refused(|disk| disk.snapshot = Some((vec![0xff; 30], vec![]))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_without_its_snapshot_is_refused() {
    refused(|disk| {
        disk.purged = disk.committed.clone();
        assert!(disk.purged.is_some());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_ends_consensus_here_and_says_why() {
    let cluster = Cluster::born(Disks::memory()).await;
    cluster.write(&[1], token(0)).await;
    let Disks::Memory(disks) = &cluster.disks else { unreachable!("on memory") };
    disks[&NodeId(1)].failing.store(true, Ordering::Relaxed);
    let store = cluster.store(1);
    let failed = store.write(token(1), Duration::from_secs(1)).await;
    assert!(matches!(failed, Err(WriteError::Ended(_) | WriteError::NoQuorum)), "{failed:?}");
    until("the end is told", || store.leadership().failed.is_some()).await;
    let why = store.leadership().failed.unwrap();
    assert!(why.contains("on fire"), "{why}");
    assert!(!store.leadership().is_leader);
    assert_eq!(store.read(|s| s.tokens.len()), 1);
}
