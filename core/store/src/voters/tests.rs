use super::*;
use proptest::{collection::btree_set, prelude::*};

fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

fn members(alive: &[(u64, bool)]) -> Vec<Candidate> {
    alive.iter().map(|&(id, alive)| Candidate { id: NodeId(id), alive }).collect()
}

/// Applies changes until there is none: what the leader's loop does, with learners that catch up at once.
fn settle(members: &[Candidate], voters: &mut BTreeSet<NodeId>, learners: &mut BTreeSet<NodeId>) -> Vec<Change> {
    let mut changes = vec![];
    while let Some(change) = plan(members, voters, learners, learners) {
        match &change {
            Change::AddLearner(id) => assert!(learners.insert(*id), "{id} is made a learner twice"),
            Change::SetVoters(set) => {
                learners.retain(|id| !set.contains(id));
                voters.clone_from(set);
            }
        }
        changes.push(change);
        assert!(changes.len() < 20, "no end: {changes:?}");
    }
    changes
}

#[test]
fn one_machine_and_two_machines_have_one_voter() {
    let (mut voters, mut learners) = (ids(&[1]), ids(&[]));
    assert_eq!(settle(&members(&[(1, true)]), &mut voters, &mut learners), []);
    let second = settle(&members(&[(1, true), (2, true)]), &mut voters, &mut learners);
    assert_eq!(second, [Change::AddLearner(NodeId(2))], "the second follows, ready to vote");
    assert_eq!(voters, ids(&[1]));
}

#[test]
fn three_machines_have_three_voters_in_one_step() {
    let (mut voters, mut learners) = (ids(&[1]), ids(&[]));
    let changes = settle(&members(&[(1, true), (2, true), (3, true), (4, true)]), &mut voters, &mut learners);
    let expected = [Change::AddLearner(NodeId(2)), Change::AddLearner(NodeId(3)), Change::SetVoters(ids(&[1, 2, 3]))];
    assert_eq!(changes, expected);
    assert_eq!(settle(&members(&[(1, true), (2, false), (3, false)]), &mut voters, &mut learners), []);
}

#[test]
fn a_dead_machine_is_passed_over() {
    let (mut voters, mut learners) = (ids(&[1]), ids(&[2]));
    let members = members(&[(1, true), (2, false), (3, true), (4, true)]);
    settle(&members, &mut voters, &mut learners);
    assert_eq!(voters, ids(&[1, 3, 4]));
}

#[test]
fn growth_waits_for_a_learner_that_lags() {
    let members = members(&[(1, true), (2, true), (3, true)]);
    assert_eq!(plan(&members, &ids(&[1]), &ids(&[2, 3]), &ids(&[2])), None);
}

proptest! {
    #[test]
    fn the_set_of_voters_only_grows_and_only_by_the_fit(
        alive in prop::collection::vec(any::<bool>(), 0..7),
        voters in btree_set(0_u64..7, 0..5),
        learners in btree_set(0_u64..7, 0..5),
        caught_up in btree_set(0_u64..7, 0..7),
    ) {
        let members: Vec<_> =
            alive.iter().enumerate().map(|(i, &alive)| Candidate { id: NodeId(i as u64), alive }).collect();
        let wrap = |set: BTreeSet<u64>| set.into_iter().map(NodeId).collect::<BTreeSet<_>>();
        let (voters, learners, caught_up) = (wrap(voters), wrap(learners), wrap(caught_up));
        let fit = |id: NodeId| members.iter().any(|m| m.id == id && m.alive);
        match plan(&members, &voters, &learners, &caught_up) {
            None => {}
            Some(Change::AddLearner(id)) => {
                prop_assert!(fit(id) && !voters.contains(&id) && !learners.contains(&id));
                prop_assert!(!voters.is_empty() && voters.len() < VOTERS);
            }
            Some(Change::SetVoters(set)) => {
                prop_assert!(set.is_superset(&voters) && set.len() == VOTERS && voters.len() < VOTERS);
                prop_assert!(!voters.is_empty() && members.len() >= VOTERS);
                for id in set.difference(&voters) {
                    prop_assert!(fit(*id) && learners.contains(id) && caught_up.contains(id));
                }
            }
        }
    }

    #[test]
    fn three_live_machines_always_end_with_three_voters_and_two_with_one(
        alive in prop::collection::vec(any::<bool>(), 1..7),
        first in any::<prop::sample::Index>(),
        learners in btree_set(0_u64..7, 0..3),
    ) {
        let mut members: Vec<_> =
            alive.iter().enumerate().map(|(i, &alive)| Candidate { id: NodeId(i as u64), alive }).collect();
        let first = first.index(members.len());
        members[first].alive = true; // it leads
        let mut voters = BTreeSet::from([members[first].id]);
        let mut learners = learners.into_iter().map(NodeId).filter(|id| !voters.contains(id)).collect();
        let live = members.iter().filter(|m| m.alive).count();
        let changes = settle(&members, &mut voters, &mut learners);
        let steps = changes.iter().filter(|c| matches!(c, Change::SetVoters(_))).count();
        prop_assert_eq!((voters.len(), steps), if live >= VOTERS { (VOTERS, 1) } else { (1, 0) });
    }
}
