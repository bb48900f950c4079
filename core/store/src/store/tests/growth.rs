use super::{
    cluster::{Disks, in_time, timed},
    *,
};
use crate::voters::Why;
use std::path::Path;
use taffeta_model::{AppName, TokenId};

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
    let growth = Change::SetVoters { voters: three.clone(), stay: true, why: Why::Growth };
    let expected = [Change::AddLearner(NodeId(2)), Change::AddLearner(NodeId(3)), growth];
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
    let (new, address) = (Change::AddLearner(NodeId(2)), "127.0.0.1:2".parse().unwrap());
    store.change_voters(new, Some(address), store.leadership().position).await.unwrap();
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

fn bytes_in(folder: &Path) -> u64 {
    let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap());
    // A file may be removed while it is looked at.
    entries.map(|e| if e.path().is_dir() { bytes_in(&e.path()) } else { e.metadata().map_or(0, |m| m.len()) }).sum()
}

/// Writes so many commands that change nothing, a thousand under way at a time; gives the most bytes that the folder held.
async fn write_many(cluster: &Cluster, many: u64) -> u64 {
    let Disks::Files(folder) = &cluster.disks else { unreachable!("on files") };
    let store = cluster.store(1);
    let small = Command::Stop { app: AppName::new("none").unwrap() };
    let mut most = 0;
    for _ in 0..many / 1_000 {
        let writes = (0..1_000).map(|_| store.write(small.clone(), cluster::LIMIT));
        for written in futures::future::join_all(writes).await {
            written.unwrap();
        }
        most = most.max(bytes_in(folder.path()));
    }
    most
}

/// The folder holds at most what 16 MiB of live entries and the two segments at its ends take, and two snapshots.
const FOLDER_MAX: u64 = 32 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_after_a_million_commands_is_quick_and_the_folder_stays_small() {
    let mut cluster = Cluster::born(Disks::files()).await;
    cluster.write(&[1], token(0)).await;
    let most = write_many(&cluster, 1_000_000).await;
    assert!(most < FOLDER_MAX, "{most} bytes");
    in_time(Duration::from_secs(2), async || {
        cluster.kill(1).await;
        let ((), took) = timed(async {
            cluster.start(1).await;
            cluster.leads(&[1]).await;
        })
        .await;
        println!("restart {took:?}, at most {most} bytes");
        took
    })
    .await;
    cluster.hold(&[1], 0..1).await;
    assert!(cluster.store(1).read(|s| s.applied.index) >= 1_000_000);
}

/// A few entries may be as long as many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_of_long_entries_is_cut_by_its_bytes() {
    let cluster = Cluster::born(Disks::files()).await;
    let Disks::Files(folder) = &cluster.disks else { unreachable!("on files") };
    let store = cluster.store(1);
    // Refused, so that the state does not grow; the entry is stored all the same.
    let long = |n: usize| Command::Join {
        token: TokenId(1),
        secret_hash: [0; 32],
        now: UnixMillis(0),
        member: member(&"x".repeat(400_000 + n)),
    };
    for n in 0..300 {
        let _ = store.write(long(n), cluster::LIMIT).await.unwrap();
    }
    // It is cut beside the writes, which may be faster for a moment.
    until("of some 120 MB little is left", || bytes_in(folder.path()) < FOLDER_MAX).await;
}

fn member(zone: &str) -> taffeta_model::Member {
    taffeta_model::Member {
        id: NodeId(9),
        name: taffeta_model::NodeName::new("n9").unwrap(),
        address: "127.0.0.1:9".parse().unwrap(),
        public_key: [0; 32],
        zone: zone.into(),
        attributes: BTreeMap::new(),
        capacity: taffeta_model::Resources::default(),
        custom: Default::default(),
        draining: false,
        maintenance: vec![],
        joined: Fence::default(),
        assigned_fence: Fence::default(),
    }
}
