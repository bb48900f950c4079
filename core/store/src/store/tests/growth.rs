use super::{cluster::Disks, *};
use taffeta_model::AppName;

on_both_disks!(
    a_lone_machine_writes_and_reads,
    one_grows_to_three_in_one_step_and_all_have_the_writes,
    a_learner_catches_up_over_a_purged_log_and_a_restart_finds_it_all,
);

async fn a_lone_machine_writes_and_reads(disks: Disks) {
    let cluster = Cluster::born(disks).await;
    let store = cluster.store(1);
    let mut applied = store.watch();
    let before = *applied.borrow_and_update();
    let at = cluster.write(&[1], token(1)).await;
    assert!(at > before && at.term > 0);
    assert!(store.read(|s| s.applied >= at && s.tokens.len() == 1));
    timeout(cluster::LIMIT, applied.changed()).await.expect("whoever watches is told").unwrap();
    store.confirm_leadership(Duration::from_secs(1)).await.unwrap();
    assert!(store.is_initialised().await);
    assert!(store.initialise("127.0.0.1:1".parse().unwrap()).await.is_err(), "a life begins once");
    let refused = store.write(Command::Stop { app: AppName::new("none").unwrap() }, cluster::LIMIT).await;
    assert!(matches!(refused, Ok(Outcome::Refused(_))), "{refused:?}");
}

async fn one_grows_to_three_in_one_step_and_all_have_the_writes(disks: Disks) {
    let mut cluster = Cluster::born(disks).await;
    for id in 0..5 {
        cluster.write(&[1], token(id)).await;
    }
    cluster.start(2).await;
    cluster.start(3).await;
    assert!(!cluster.store(2).is_initialised().await);
    let mut changes = cluster.grow(&[1, 2, 3]).await;
    changes.dedup(); // asked for again while the metrics were late
    let three = BTreeSet::from([1, 2, 3].map(NodeId));
    let expected = [Change::AddLearner(NodeId(2)), Change::AddLearner(NodeId(3)), Change::SetVoters(three.clone())];
    assert_eq!(changes, expected);
    for id in 5..10 {
        cluster.write(&[1, 2, 3], token(id)).await;
    }
    cluster.hold(&[1, 2, 3], 0..10).await;
    until("all know the voters", || {
        [1, 2, 3].iter().all(|id| {
            let known = cluster.store(*id).leadership();
            known.voters == three && known.learners.is_empty()
        })
    })
    .await;
}

async fn a_learner_catches_up_over_a_purged_log_and_a_restart_finds_it_all(disks: Disks) {
    let mut cluster = Cluster::born(disks).await;
    let store = cluster.store(1);
    for id in 0..20 {
        cluster.write(&[1], token(id)).await;
    }
    let small = Command::Stop { app: AppName::new("none").unwrap() };
    for _ in 0..(SNAPSHOT_EVERY / 200 + 1) {
        let writes = (0..200).map(|_| store.write(small.clone(), cluster::LIMIT));
        for written in futures::future::join_all(writes).await {
            written.unwrap();
        }
    }
    let purged = |store: &Store| store.raft.metrics().borrow_watched().purged.map_or(0, |id| id.index);
    until("the log is purged", || purged(&store) > SNAPSHOT_EVERY - SNAPSHOT_EVERY / SNAPSHOT_KEEP_PART - 500).await;
    cluster.start(2).await;
    store.change_voters(Change::AddLearner(NodeId(2)), Some("127.0.0.1:2".parse().unwrap())).await.unwrap();
    cluster.hold(&[1, 2], 0..20).await;
    until("it counts as caught up", || store.leadership().caught_up.contains(&NodeId(2))).await;
    cluster.write(&[1], token(20)).await;
    cluster.hold(&[1, 2], 0..21).await;
    let whole = store.read(Clone::clone);
    drop(store);
    cluster.kill(1).await;
    cluster.kill(2).await;
    cluster.start(1).await;
    cluster.start(2).await;
    cluster.leads(&[1, 2]).await;
    cluster.hold(&[1, 2], 0..21).await;
    let again = cluster.store(1).read(Clone::clone);
    assert_eq!(State { applied: whole.applied, ..again }, whole);
}
