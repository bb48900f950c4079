use super::*;
use crate::node::identity;
use taffeta_model::{Liveness, NodeId};

fn ring(nodes: u32) -> Vec<Swim> {
    let fact =
        |n: u32| MemberFact { identity: identity(NodeId(n.into()), n), refutations: 0, liveness: Liveness::Alive };
    let facts: Vec<MemberFact> = (0..nodes).map(fact).collect();
    open(&facts, &(0..nodes.into()).collect::<Vec<u64>>())
}

#[test]
fn all_know_all_and_none_has_news_to_tell() {
    for nodes in [2, 7, 700] {
        for mut swim in ring(nodes) {
            assert_eq!(swim.members().len() as u32, nodes - 1);
            assert!(swim.members().values().all(|m| m.liveness == Liveness::Alive));
            // A packet of gossip would go out in the next 100 ms; a probe is not due before 500.
            while let Some(due) = swim.next_timeout().filter(|due| *due < Millis(500)) {
                swim.handle_timeout(due);
            }
            assert!(swim.take_effects().is_empty());
        }
    }
}

#[test]
fn members_do_not_act_in_step() {
    let due: std::collections::BTreeSet<_> = ring(50).iter().map(Swim::next_timeout).collect();
    assert!(due.len() > 30);
}
