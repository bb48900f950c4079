//! The quorum was lost for good.

use super::{cluster::Disks, *};
use crate::{Offline, recover::survey_of_kept};
use taffeta_model::{ClusterId, Recovery};

on_both_disks!(
    a_survivor_leads_alone_and_takes_the_others_back_under_their_ids,
    a_survivor_that_lags_leads_and_what_it_lacks_is_gone_everywhere,
    an_entry_that_was_perhaps_not_committed_is_kept,
);

fn recovery(generation: u64, node: u64) -> Recovery {
    let date = UnixMillis(generation);
    Recovery { cluster: ClusterId(1), generation, node: NodeId(node), date, signature: vec![0; 64] }
}

async fn recover(cluster: &mut Cluster, id: u64, generation: u64, above: u64) -> Fence {
    let offline = Offline::open(cluster.disks.open(NodeId(id)).await).unwrap();
    let before = offline.survey().clone();
    let at = offline.recover(NodeId(id), "127.0.0.1:1".parse().unwrap(), recovery(generation, id), above).unwrap();
    assert!(at.term > before.term && Some(at) > before.last && at.term > above);
    Fence { generation, term: at.term, index: at.index }
}

async fn forget(cluster: &mut Cluster, id: u64) {
    let mut offline = Offline::open(cluster.disks.open(NodeId(id)).await).unwrap();
    let (last, kept) = (offline.survey().last, offline.kept().unwrap());
    offline.forget().unwrap();
    drop(offline);
    assert_eq!(survey_of_kept(&kept).unwrap().last, last, "what was dropped can be looked at");
    let again = Offline::open(cluster.disks.open(NodeId(id)).await).unwrap();
    assert_eq!((again.survey().last, again.survey().term), (None, 0));
}

async fn a_survivor_leads_alone_and_takes_the_others_back_under_their_ids(disks: Disks) {
    let mut cluster = Cluster::of_three(disks).await;
    for id in 0..20 {
        cluster.write(&[1, 2, 3], token(id)).await;
    }
    cluster.hold(&[1, 2, 3], 0..20).await; // whoever leads, the first has them all
    for id in 1..=3 {
        cluster.kill(id).await;
    }
    let began = recover(&mut cluster, 1, 1, 77).await;
    cluster.start(1).await;
    assert_eq!(cluster.leads(&[1]).await, 1);
    let state = cluster.store(1).read(Clone::clone);
    assert_eq!((state.generation, state.recovery, state.directory_fence), (1, Some(recovery(1, 1)), began));
    assert!(cluster.write(&[1], token(20)).await > began);
    forget(&mut cluster, 2).await;
    forget(&mut cluster, 3).await;
    cluster.start(2).await;
    cluster.start(3).await;
    cluster.grow(&[1, 2, 3]).await;
    cluster.hold(&[1, 2, 3], 0..21).await;
    // They vote: without the one that was recovered the others go on.
    cluster.kill(1).await;
    let at = cluster.write(&[2, 3], token(21)).await;
    assert_eq!(at.generation, 1);
    cluster.start(1).await;
    cluster.hold(&[1, 2, 3], 0..22).await;
}

async fn a_survivor_that_lags_leads_and_what_it_lacks_is_gone_everywhere(disks: Disks) {
    let mut cluster = Cluster::of_three(disks).await;
    for id in 0..5 {
        cluster.write(&[1, 2, 3], token(id)).await;
    }
    cluster.hold(&[1, 2, 3], 0..5).await;
    let lost = if cluster.leads(&[1, 2, 3]).await == 3 { 2 } else { 3 };
    let others: Vec<u64> = (1..=3).filter(|id| *id != lost).collect();
    cluster.kill(lost).await;
    for id in 5..40 {
        cluster.write(&others, token(id)).await;
    }
    for id in &others {
        cluster.kill(*id).await;
    }
    recover(&mut cluster, lost, 1, 0).await;
    cluster.start(lost).await;
    cluster.write(&[lost], token(5)).await;
    for id in &others {
        forget(&mut cluster, *id).await;
        cluster.start(*id).await;
    }
    cluster.grow(&[lost, others[0], others[1]]).await;
    cluster.hold(&[1, 2, 3], 0..6).await;
    assert!(cluster.store(lost).leadership().failed.is_none(), "the others' ids had longer logs before");
}

async fn an_entry_that_was_perhaps_not_committed_is_kept(disks: Disks) {
    let mut cluster = Cluster::of_three(disks).await;
    cluster.write(&[1, 2, 3], token(0)).await;
    let leader = cluster.leads(&[1, 2, 3]).await;
    let others: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    cluster.cut(&others);
    let written = cluster.store(leader).write(token(1), Duration::from_millis(300)).await;
    assert_eq!(written, Err(WriteError::NoQuorum));
    for id in 1..=3 {
        cluster.kill(id).await;
    }
    let offline = Offline::open(cluster.disks.open(NodeId(leader)).await).unwrap();
    let survey = offline.survey().clone();
    assert!(survey.last > survey.committed, "{:?} {:?}", survey.last, survey.committed);
    assert_eq!(survey.state.tokens.len(), 2, "what its entries give, committed or not");
    assert_eq!(survey.voters.len(), 3);
    assert_eq!(survey.log.last().map(|stretch| stretch.last), survey.last.map(|at| at.index));
    drop(offline);
    recover(&mut cluster, leader, 1, 0).await;
    cluster.start(leader).await;
    cluster.leads(&[leader]).await;
    cluster.hold(&[leader], 0..2).await;
    // It can be lost and recovered once more.
    cluster.kill(leader).await;
    recover(&mut cluster, leader, 2, 0).await;
    cluster.start(leader).await;
    assert_eq!(cluster.write(&[leader], token(2)).await.generation, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_leaves_the_store_as_it_was() {
    let cluster = Cluster::born(Disks::memory()).await;
    cluster.write(&[1], token(0)).await;
    cluster.kill(1).await;
    let Disks::Memory(disks) = &cluster.disks else { panic!("in memory") };
    let disk = disks[&NodeId(1)].clone();
    let before = disk.contents.lock().unwrap().clone();
    disk.failing.store(true, std::sync::atomic::Ordering::Relaxed);
    let offline = Offline::open(Box::new(disk.clone())).unwrap();
    offline.recover(NodeId(1), "127.0.0.1:1".parse().unwrap(), recovery(1, 1), 0).unwrap_err();
    assert_eq!(*disk.contents.lock().unwrap(), before);
}
