//! Who votes is changed by one change after the other: each names the membership that it was planned for.

use super::{cluster::Disks, *};
use crate::voters::Why;

const ALL: [u64; 3] = [1, 2, 3];

fn address(id: u64) -> Option<SocketAddr> {
    Some(SocketAddr::from(([127, 0, 0, 1], u16::try_from(id).unwrap())))
}

fn votes(voters: &[u64]) -> Change {
    let voters = voters.iter().copied().map(NodeId).collect();
    Change::SetVoters { voters, stay: true, why: Why::Replacement }
}

/// Waits until nothing is under way, with so many learners beside three voters.
async fn settled(store: &Store, learners: usize) {
    until("no change is under way", || {
        let known = store.leadership();
        known.committed && known.configs.len() == 1 && (known.voters.len(), known.learners.len()) == (3, learners)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_for_a_membership_that_is_past_is_refused_and_changes_nothing() {
    let mut cluster = Cluster::of_three(Disks::memory()).await;
    cluster.start(4).await;
    let store = cluster.store(cluster.leads(&ALL).await);
    settled(&store, 0).await;
    let stale = store.leadership().position;
    store.change_voters(Change::AddLearner(NodeId(4)), address(4), stale).await.expect("it is the newest");
    settled(&store, 1).await;
    let now = store.leadership();
    assert_ne!(now.position, stale);
    // Of every kind, with a set of voters that would be good.
    let changes =
        [Change::AddLearner(NodeId(5)), Change::RemoveLearner(NodeId(4)), votes(&[1, 2]), votes(&[1, 2, 3, 4])];
    for change in changes {
        let refused = store.change_voters(change.clone(), address(5), stale).await;
        let why = refused.expect_err("it was planned for another membership");
        assert!(why.contains("mismatch"), "{change:?}: {why}");
    }
    let after = store.leadership();
    assert_eq!((after.position, after.voters, after.learners), (now.position, now.voters, now.learners));
    store.change_voters(Change::RemoveLearner(NodeId(4)), None, now.position).await.expect("as it is now, it is taken");
    cluster.write(&ALL, token(0)).await;
    cluster.hold(&ALL, 0..1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_changes_that_were_planned_at_once_one_goes_on() {
    let mut cluster = Cluster::of_three(Disks::memory()).await;
    for id in [4, 5] {
        cluster.start(id).await;
    }
    let leader = cluster.leads(&ALL).await;
    let store = cluster.store(leader);
    for (id, before) in [(4, 0), (5, 1)] {
        settled(&store, before).await;
        store.change_voters(Change::AddLearner(NodeId(id)), address(id), store.leadership().position).await.unwrap();
    }
    settled(&store, 2).await;
    let heirs = BTreeSet::from([4, 5].map(NodeId));
    until("both could vote", || store.leadership().caught_up.is_superset(&heirs)).await;
    let seen = store.leadership().position;
    let spared = ALL.into_iter().find(|id| *id != leader).unwrap();
    let heir = |heir: u64| ALL.into_iter().filter(|id| *id != spared).chain([heir]).collect::<Vec<_>>();
    let (one, other) = (heir(4), heir(5));
    let (first, second) = futures::future::join(
        store.change_voters(votes(&one), None, seen),
        store.change_voters(votes(&other), None, seen),
    )
    .await;
    assert_eq!([&first, &second].iter().filter(|made| made.is_ok()).count(), 1, "{first:?}, {second:?}");
    let made = if first.is_ok() { &one } else { &other };
    let expected: BTreeSet<NodeId> = made.iter().copied().map(NodeId).collect();
    until("the one that went on is complete, and the other left nothing behind", || {
        let known = store.leadership();
        known.committed && known.configs == [expected.clone()]
    })
    .await;
    cluster.write(made, token(0)).await;
    cluster.hold(made, 0..1).await;
}
