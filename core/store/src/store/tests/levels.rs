//! Commands of a version that not all members speak, or that this node does not.

use super::*;

fn drain() -> Command {
    Command::Drain { node: NodeId(1), on: true }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_above_the_level_is_refused_and_not_written() {
    let cluster = Cluster::born(cluster::Disks::memory()).await;
    cluster.write(&[1], token(1)).await;
    let store = cluster.store(1);
    let before = store.insight().last;
    assert_eq!(store.write(drain(), cluster::LIMIT).await, Ok(Outcome::Refused(Refusal::AboveLevel(2))));
    assert_eq!(store.insight().last, before, "nothing was written");
    // What is of the level is written; and once the level is raised, so is the drain.
    assert_eq!(cluster.write(&[1], Command::RaiseLevel(2)).await.index, before + 1);
    let drained = store.write(drain(), cluster::LIMIT).await;
    assert!(matches!(&drained, Ok(Outcome::Refused(Refusal::UnknownMember(_)))), "by the state: {drained:?}");
    assert_eq!(store.insight().last, before + 2);
}

/// A leader that is wrong about the level must not get a command past a node that cannot read it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_an_older_version_takes_no_newer_command() {
    let mut cluster = Cluster::born(cluster::Disks::memory()).await;
    cluster.start(2).await;
    cluster.speaks = 1;
    cluster.start(3).await;
    cluster.grow(&[1, 2, 3]).await;
    let leader = cluster.leads(&[1, 2]).await;
    let raised = cluster.write(&[1, 2], Command::RaiseLevel(2)).await;
    until("all have applied that", || (1..=3).all(|id| cluster.store(id).read(|state| state.applied >= raised))).await;
    let last = cluster.store(3).insight().last;
    let drained = cluster.store(leader).write(drain(), cluster::LIMIT).await;
    assert!(matches!(&drained, Ok(Outcome::Refused(Refusal::UnknownMember(_)))), "{drained:?}");
    until("the older one refuses it", || cluster.refusal_of(3).is_some()).await;
    let why = cluster.refusal_of(3).unwrap();
    assert!(why.contains("version 2") && why.contains("speaks only 1"), "{why}");
    assert_eq!(cluster.store(3).insight().last, last, "it has not written it");
    // Upgraded, it follows.
    cluster.kill(3).await;
    cluster.speaks = VERSION;
    cluster.start(3).await;
    cluster.write(&[1, 2], token(1)).await;
    cluster.hold(&[1, 2, 3], 1..2).await;
}
