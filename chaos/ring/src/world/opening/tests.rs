use super::*;
use crate::{node::identity, records::common};
use taffeta_model::{Liveness, NodeId};
use taffeta_swim::Effect;

fn ring(nodes: u32, joiner: Option<u32>) -> Vec<Node> {
    let ids: Vec<NodeId> = (0..nodes).map(|n| NodeId(n.into())).collect();
    let all: Vec<Identity> = (0..).zip(&ids).map(|(n, id)| identity(*id, n)).collect();
    open(&all, &common(&ids, joiner), joiner, &(0..nodes.into()).collect::<Vec<u64>>())
}

#[test]
fn all_know_all_and_none_has_news_to_tell() {
    for nodes in [2, 7, 700] {
        for mut node in ring(nodes, None) {
            assert!(node.knows_all(nodes as usize));
            assert!(node.swim.members().values().all(|m| m.liveness == Liveness::Alive));
            // A packet of gossip would go out in the next 100 ms; a probe is not due before 500.
            while let Some(due) = node.swim.next_timeout().filter(|due| *due < Millis(500)) {
                node.swim.handle_timeout(due);
            }
            let sent = node.swim.take_effects().into_iter().filter(|e| matches!(e, Effect::Send { .. })).count();
            assert!(sent <= 1, "{sent}: a hash at most");
        }
    }
}

#[test]
fn who_is_to_join_is_known_to_nobody() {
    for (index, node) in (0..).zip(ring(5, Some(3))) {
        assert_eq!(node.swim.members().len(), if index == 3 { 0 } else { 3 });
        assert_eq!(node.spread.catalogue().sets().len(), if index == 3 { 0 } else { 4 });
        assert_eq!(node.is_there(), index != 3);
    }
}

#[test]
fn members_do_not_act_in_step() {
    let due: std::collections::BTreeSet<_> = ring(50, None).iter().map(|node| node.swim.next_timeout()).collect();
    assert!(due.len() > 30);
}
