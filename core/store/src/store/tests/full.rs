use super::{
    cluster::{Disks, in_time, timed},
    *,
};
use crate::rpc::Call;
use openraft::RaftSnapshotBuilder as _;

const ALL: [u64; 3] = [1, 2, 3];

/// At once, and before anything is proposed.
async fn is_refused(store: &Store, id: u64) {
    in_time(Duration::from_millis(100), async || {
        let (refused, took) = timed(store.write(token(id), cluster::LIMIT)).await;
        assert_eq!(refused, Err(WriteError::DiskFull));
        took
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_and_goes_on_by_itself_when_there_is_room() {
    let mut cluster = Cluster::born(Disks::room()).await;
    for id in 0..5 {
        cluster.write(&[1], token(id)).await;
    }
    let (store, files) = (cluster.store(1), cluster.memory_files(1));
    files.set_room(Some(1_000));
    until("it is noticed", || store.disk_full_since().is_some()).await;
    let since = store.disk_full_since();
    is_refused(&store, 5).await;
    store.confirm_leadership(cluster::LIMIT).await.unwrap();
    assert_eq!(store.read(|s| s.tokens.len()), 5);
    assert!(store.leadership().is_leader && store.leadership().failed.is_none());
    assert_eq!(store.disk_full_since(), since);
    files.set_room(None);
    until("there is room", || store.disk_full_since().is_none()).await;
    cluster.write(&[1], token(5)).await;
    drop(store);
    cluster.kill(1).await;
    cluster.start(1).await;
    cluster.leads(&[1]).await;
    cluster.hold(&[1], 0..6).await;
}

/// A quota shows only when it is used up: a write is under way then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_under_way_when_the_room_ran_out_is_done_when_there_is_some() {
    let mut cluster = Cluster::born(Disks::room()).await;
    cluster.write(&[1], token(0)).await;
    let (store, files) = (cluster.store(1), cluster.memory_files(1));
    files.set_quota(Some(0));
    let unknown = store.write(token(1), Duration::from_millis(500)).await;
    assert_eq!(unknown, Err(WriteError::NoQuorum));
    until("it is noticed", || store.disk_full_since().is_some()).await;
    is_refused(&store, 9).await;
    assert_eq!(store.read(|s| s.tokens.len()), 1);
    in_time(Duration::from_millis(50), async || {
        let (known, took) = timed(async { store.leadership() }).await;
        assert!(known.failed.is_none(), "{known:?}");
        took
    })
    .await;
    files.set_quota(None);
    cluster.hold(&[1], 0..2).await;
    cluster.write(&[1], token(2)).await;
    drop(store);
    cluster.kill(1).await;
    cluster.start(1).await;
    cluster.hold(&[1], 0..3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_room_hands_over_and_comes_along_when_it_has_some() {
    let cluster = Cluster::of_three(Disks::room()).await;
    cluster.write(&ALL, token(0)).await;
    let leader = cluster.leads(&ALL).await;
    let (store, files) = (cluster.store(leader), cluster.memory_files(leader));
    let rest: Vec<u64> = ALL.into_iter().filter(|id| *id != leader).collect();
    until("somebody can take over", || rest.iter().any(|id| store.leadership().caught_up.contains(&NodeId(*id)))).await;
    files.set_room(Some(0));
    until("it is noticed", || store.disk_full_since().is_some()).await;
    is_refused(&store, 9).await;
    store.hand_over(Duration::from_secs(2)).await;
    cluster.leads(&rest).await;
    cluster.write(&rest, token(1)).await;
    cluster.write(&rest, token(2)).await;
    // Its vote cannot be stored, and consensus waits for that there; nothing else does.
    assert!(store.leadership().failed.is_none());
    assert_eq!(store.read(|s| s.tokens.len()), 1);
    files.set_room(None);
    cluster.hold(&ALL, 0..3).await;
    cluster.leads(&ALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_without_room_does_not_hold_up_the_others() {
    let cluster = Cluster::of_three(Disks::room()).await;
    cluster.write(&ALL, token(0)).await;
    let leader = cluster.leads(&ALL).await;
    let follower = ALL.into_iter().find(|id| *id != leader).unwrap();
    cluster.memory_files(follower).set_quota(Some(0));
    for id in 1..20 {
        cluster.write(&[leader], token(id)).await;
    }
    let store = cluster.store(follower);
    until("it knows", || store.disk_full_since().is_some()).await;
    assert!(store.leadership().failed.is_none());
    cluster.memory_files(follower).set_quota(None);
    cluster.hold(&ALL, 0..20).await;
}

/// The leader takes the answer for an acknowledgement of all that the snapshot covers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_confirmed_only_when_what_it_covers_is_on_disk() {
    let cluster = Cluster::of_three(Disks::room()).await;
    cluster.write(&ALL, token(0)).await;
    let leader = cluster.leads(&ALL).await;
    let follower = ALL.into_iter().find(|id| *id != leader).unwrap();
    let (leading, store) = (cluster.store(leader), cluster.store(follower));
    cluster.memory_files(follower).set_quota(Some(0));
    let at = cluster.write(&[leader], token(1)).await;
    until("it has applied what it could not store yet", || store.read(|state| state.applied >= at)).await;
    let snapshot = leading.machine.clone().build_snapshot().await.unwrap();
    assert!(snapshot.meta.last_log_id.is_some_and(|last| last.index >= at.index));
    let vote = leading.raft.metrics().borrow_watched().vote;
    let request = postcard::to_stdvec(&Call::Snapshot(vote, snapshot.meta, snapshot.snapshot.into_inner())).unwrap();
    let early = timeout(Duration::from_millis(500), store.answer(&request)).await;
    assert!(early.is_err(), "confirmed with nothing on disk: {early:?}");
    cluster.memory_files(follower).set_quota(None);
    timeout(cluster::LIMIT, store.answer(&request)).await.expect("there is room").unwrap();
    assert!(store.insight().last >= at.index);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_waits_for_room_can_be_ended_and_loses_nothing_that_was_acknowledged() {
    let mut cluster = Cluster::born(Disks::room()).await;
    cluster.write(&[1], token(0)).await;
    let files = cluster.memory_files(1);
    files.set_quota(Some(0));
    let unknown = cluster.store(1).write(token(1), Duration::from_millis(300)).await;
    assert_eq!(unknown, Err(WriteError::NoQuorum));
    let ((), took) = timed(cluster.kill(1)).await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    files.set_quota(None);
    cluster.start(1).await;
    cluster.leads(&[1]).await;
    cluster.hold(&[1], 0..1).await;
}
