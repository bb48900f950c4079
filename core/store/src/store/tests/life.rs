use super::{
    cluster::{Disks, in_time, timed},
    *,
};

on_both_disks!(
    a_killed_leader_is_followed_by_another_and_nothing_acknowledged_is_lost,
    all_killed_at_once_come_back_with_everything,
    a_lone_machine_comes_back_with_everything,
);

const ALL: [u64; 3] = [1, 2, 3];

fn others(id: u64) -> Vec<u64> {
    ALL.into_iter().filter(|other| *other != id).collect()
}

async fn a_killed_leader_is_followed_by_another_and_nothing_acknowledged_is_lost(disks: Disks) {
    let mut cluster = Cluster::of_three(disks).await;
    let mut held = 0;
    in_time(Duration::from_secs(3), async || {
        for id in held..held + 20 {
            cluster.write(&ALL, token(id)).await;
        }
        held += 20;
        let leader = cluster.leads(&ALL).await;
        let term = cluster.store(leader).leadership().term;
        cluster.kill(leader).await;
        let rest = others(leader);
        let (next, took) = timed(cluster.leads(&rest)).await;
        let next = cluster.store(next);
        next.confirm_leadership(Duration::from_secs(2)).await.unwrap();
        assert_eq!(next.read(|s| s.tokens.len() as u64), held);
        assert!(next.leadership().term > term);
        cluster.write(&rest, token(held)).await;
        cluster.start(leader).await;
        cluster.hold(&ALL, 0..held + 1).await;
        cluster.leads(&ALL).await;
        cluster.write(&ALL, token(held + 1)).await;
        held += 2;
        cluster.hold(&ALL, 0..held).await;
        took
    })
    .await;
}

async fn all_killed_at_once_come_back_with_everything(disks: Disks) {
    let mut cluster = Cluster::of_three(disks).await;
    for id in 0..20 {
        cluster.write(&ALL, token(id)).await;
    }
    for id in ALL {
        cluster.kill(id).await;
    }
    for id in ALL {
        cluster.start(id).await;
    }
    cluster.leads(&ALL).await;
    cluster.hold(&ALL, 0..20).await;
    cluster.write(&ALL, token(20)).await;
    cluster.hold(&ALL, 0..21).await;
}

async fn a_lone_machine_comes_back_with_everything(disks: Disks) {
    let mut cluster = Cluster::born(disks).await;
    for life in 0..5 {
        cluster.write(&[1], token(life)).await;
        let term = cluster.store(1).leadership().term;
        cluster.kill(1).await;
        cluster.start(1).await;
        assert!(cluster.store(1).is_initialised().await);
        cluster.leads(&[1]).await;
        let known = cluster.store(1).leadership();
        assert!(known.term > term, "no term is led twice: {term}, {known:?}");
        let held = cluster.store(1).read(|s| s.tokens.len() as u64);
        assert_eq!(held, life + 1, "whoever leads has applied all that was acknowledged");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_names_the_leader_instead_of_writing() {
    let cluster = Cluster::of_three(Disks::memory()).await;
    let leader = cluster.leads(&ALL).await;
    for id in others(leader) {
        let refused = cluster.store(id).write(token(1), cluster::LIMIT).await;
        assert_eq!(refused, Err(WriteError::NotLeader(Some(NodeId(leader)))));
        let refused = cluster.store(id).confirm_leadership(cluster::LIMIT).await;
        assert_eq!(refused, Err(ReadError::NotLeader(Some(NodeId(leader)))));
    }
    assert_eq!(cluster.store(leader).read(|s| s.tokens.len()), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_a_quorum_says_so() {
    in_time(Duration::from_millis(1_600), without_a_quorum).await;
}

/// What it takes a leader to say so.
async fn without_a_quorum() -> Duration {
    let mut cluster = Cluster::of_three(Disks::memory()).await;
    cluster.write(&ALL, token(0)).await;
    let leader = cluster.leads(&ALL).await;
    let store = cluster.store(leader);
    for id in others(leader) {
        cluster.kill(id).await;
    }
    let (refused, took) = timed(store.write(token(1), Duration::from_millis(500))).await;
    assert_eq!(refused, Err(WriteError::NoQuorum));
    let ((), more) = timed(until("no leader is told", || store.leadership().leader.is_none())).await;
    assert!(!store.leadership().is_leader);
    let read = store.confirm_leadership(Duration::from_millis(300)).await;
    assert!(matches!(read, Err(ReadError::NoQuorum | ReadError::NotLeader(_))), "{read:?}");
    assert_eq!(store.read(|s| s.tokens.len()), 1, "what was decided can still be read");
    cluster.start(others(leader)[0]).await;
    let both = [leader, others(leader)[0]];
    cluster.leads(&both).await;
    cluster.write(&both, token(1)).await;
    cluster.hold(&both, 0..2).await;
    // A second of the limit is for the refusal, what is left of it for the rest.
    took + more.max(Duration::from_millis(600))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_alone_knows_no_leader_and_writes_nothing() {
    in_time(Duration::from_millis(1_600), follower_alone).await;
}

/// What it takes a follower to know no leader.
async fn follower_alone() -> Duration {
    let cluster = Cluster::of_three(Disks::memory()).await;
    let leader = cluster.leads(&ALL).await;
    let [alone, other] = others(leader)[..] else { unreachable!("two others") };
    let store = cluster.store(alone);
    cluster.kill(leader).await;
    cluster.kill(other).await;
    let ((), took) = timed(until("no leader is told", || store.leadership().leader.is_none())).await;
    let refused = store.write(token(1), Duration::from_millis(300)).await;
    assert!(matches!(refused, Err(WriteError::NotLeader(_) | WriteError::NoQuorum)), "{refused:?}");
    assert_eq!(store.read(|s| s.tokens.len()), 0);
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_gives_way_and_its_open_write_does_not_fork_the_log() {
    let cluster = Cluster::of_three(Disks::memory()).await;
    cluster.write(&ALL, token(0)).await;
    let old = cluster.leads(&ALL).await;
    let term = cluster.store(old).leadership().term;
    cluster.cut(&[old]);
    let lost = cluster.store(old).write(token(500), Duration::from_millis(300)).await;
    assert_eq!(lost, Err(WriteError::NoQuorum));
    let rest = others(old);
    cluster.leads(&rest).await;
    cluster.write(&rest, token(1)).await;
    until("the old leader knows that it leads no more", || !cluster.store(old).leadership().is_leader).await;
    cluster.cut(&[]);
    cluster.leads(&ALL).await;
    cluster.write(&ALL, token(2)).await;
    cluster.hold(&ALL, 0..3).await;
    assert!(cluster.store(old).leadership().term > term);
}

/// With pre-votes a machine that heard nobody for a while does not unseat a leader that works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_was_cut_off_does_not_unseat_the_leader() {
    let mut unseated = vec![];
    // A machine that stands still for long enough unseats its leader as well, once or twice.
    while unseated.len() < 3 {
        let cluster = Cluster::of_three(Disks::memory()).await;
        let leader = cluster.leads(&ALL).await;
        let term = cluster.store(leader).leadership().term;
        let follower = others(leader)[0];
        cluster.cut(&[follower]);
        until("it knows no leader", || cluster.store(follower).leadership().leader.is_none()).await;
        cluster.write(&others(follower), token(0)).await;
        cluster.cut(&[]);
        cluster.hold(&ALL, 0..1).await;
        let after = (cluster.leads(&ALL).await, cluster.store(leader).leadership().term);
        if after == (leader, term) {
            return;
        }
        unseated.push(((leader, term), after));
    }
    panic!("unseated each time: {unseated:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_stop_hands_the_leadership_over() {
    let cluster = Cluster::of_three(Disks::memory()).await;
    let leader = cluster.leads(&ALL).await;
    let rest = others(leader);
    let store = cluster.store(leader);
    until("somebody can take over", || {
        !store.leadership().caught_up.is_disjoint(&rest.iter().map(|i| NodeId(*i)).collect())
    })
    .await;
    store.hand_over(cluster::LIMIT).await;
    until("another leads", || rest.iter().any(|id| cluster.store(*id).leadership().is_leader)).await;
    let next = cluster.leads(&ALL).await;
    assert_ne!(next, leader);
    cluster.write(&ALL, token(0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_from_a_peer_is_an_error_and_changes_nothing() {
    let cluster = Cluster::born(Disks::memory()).await;
    let store = cluster.store(1);
    for request in [&b""[..], b"\xff\xff\xff", &[0; 100], &[3; 40]] {
        let _ = store.answer(request).await; // some are messages by chance; none may harm
    }
    assert!(store.answer(b"").await.is_err() && store.answer(b"\xff\xff\xff").await.is_err());
    cluster.write(&[1], token(0)).await;
    assert_eq!(store.leadership().failed, None);
}
