//! Commands of a version that not all members speak, or that this node does not.

use super::*;
use crate::{
    rpc::{Append, Call, Encoded},
    types::{LogId, Vote},
};
use openraft::Membership;
use taffeta_model::{AppName, TokenId, v1};

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

/// One entry in an encoding, at an index.
fn appended(index: u64, entry: Vec<u8>) -> Vec<u8> {
    let at = |index| LogId::new_term_index(1, index);
    let prev = index.checked_sub(1).map(at);
    let entries = vec![Encoded(entry.into())];
    let append = Append { vote: Vote::new_committed(1, 1), prev, entries, committed: Some(at(index)) };
    postcard::to_stdvec(&Call::Append(append)).unwrap()
}

/// A leader of an earlier version sends its entries in that one's encoding: a position, and the number of what is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_in_an_older_encoding_is_read_and_applied_and_in_a_newer_one_refused() {
    let mut cluster = Cluster::new(cluster::Disks::memory());
    cluster.start(2).await;
    let store = cluster.store(2);
    let nodes = [1, 2].map(|n| (n, BasicNode::new(format!("127.0.0.1:{n}"))));
    let membership = Membership::new(vec![BTreeSet::from([1])], BTreeMap::from(nodes)).unwrap();
    let token = v1::Token { secret_hash: [7; 32], expires: UnixMillis(u64::MAX), uses: Some(2), used: 1 };
    let at = |index| LogId::new_term_index(1, index);
    let first = postcard::to_stdvec(&(at(0), 2_u32, membership)).unwrap();
    let second = postcard::to_stdvec(&(at(1), 1_u32, v1::Command::CreateToken { id: TokenId(3), token })).unwrap();
    store.answer(&appended(0, first)).await.unwrap();
    store.answer(&appended(1, second)).await.unwrap();
    until("it is applied", || store.read(|state| state.tokens.contains_key(&TokenId(3)))).await;
    let stop = v1::Command::Stop { app: AppName::new("shop").unwrap() };
    let newer = [vec![0, 9], postcard::to_stdvec(&(at(2), 1_u32, stop)).unwrap()].concat();
    let refused = store.answer(&appended(2, newer)).await.unwrap_err();
    assert!(refused.contains("newer version"), "{refused}");
    assert_eq!(store.insight().last, 1);
}
