use super::{ring::Ring, *};

fn set_voters(voters: &[u64], why: Why) -> Change {
    Change::SetVoters { voters: ids(voters), stay: why != Why::Removal, why }
}

fn changes(run: Vec<(u64, Change)>) -> Vec<Change> {
    run.into_iter().map(|(_, change)| change).collect()
}

#[test]
fn one_machine_and_two_machines_have_one_voter() {
    let mut ring = Ring::of(&[""]);
    assert_eq!(ring.run(100), []);
    ring.join("");
    assert_eq!(changes(ring.run(100)), [Change::AddLearner(NodeId(2))], "the second follows, ready to vote");
}

#[test]
fn one_grows_to_three_in_one_step() {
    let mut ring = Ring::of(&[""; 4]);
    let expected = [
        Change::AddLearner(NodeId(2)),
        Change::AddLearner(NodeId(3)),
        set_voters(&[1, 2, 3], Why::Growth),
        Change::AddLearner(NodeId(4)),
    ];
    assert_eq!(changes(ring.run(100)), expected);
}

#[test]
fn five_vote_in_three_zones_and_three_in_fewer() {
    let ring = Ring::settled(&["a", "a", "b", "b", "b", "b", "b"]);
    assert_eq!((ring.voters().len(), ring.learners.len()), (3, 2));
    let mut ring = Ring::of(&["a", "b", "c", "a", "b", "c", "a", "b"]);
    let grown: Vec<Change> =
        changes(ring.run(300)).into_iter().filter(|c| matches!(c, Change::SetVoters { .. })).collect();
    let sizes = grown.iter().map(|c| if let Change::SetVoters { voters, .. } = c { voters.len() } else { 0 });
    assert!(sizes.eq([3, 5]), "in one step each: {grown:?}");
    assert_eq!(ring.learners.len(), STANDBYS);
}

#[test]
fn growth_waits_for_a_learner_that_lags_but_not_for_ever() {
    let mut ring = Ring::of(&["a", "b", "c", "a"]);
    ring.machine(3).complete = false;
    let made = ring.run(100);
    let grown = made.iter().find(|(_, c)| matches!(c, Change::SetVoters { .. }));
    let (at, change) = grown.expect("growth");
    assert_eq!(*change, set_voters(&[1, 2, 4], Why::Growth), "{made:?}");
    assert!(*at > LEARN_PATIENCE.as_secs(), "{made:?}");
}

#[test]
fn one_that_follows_well_stays_beside_two_that_never_catch_up() {
    let mut ring = Ring::of(&["a", "b", "c"]);
    (2..=3).for_each(|id| ring.machine(id).complete = false);
    ring.run(60);
    assert_eq!(ring.learners, ids(&[2, 3]));
    ring.join("d");
    let made = ring.run(600);
    assert!(ring.learners.contains(&NodeId(4)), "{made:?}");
    assert!(made.len() <= 3, "{made:?}");
    ring.machine(3).complete = true;
    ring.run(60);
    assert_eq!(ring.voters(), ids(&[1, 3, 4]));
}

#[test]
fn a_dead_voter_is_replaced_after_half_a_minute_by_a_warm_standby() {
    let mut ring = Ring::settled(&[""; 6]);
    assert_eq!(ring.voters(), ids(&[1, 2, 3]));
    ring.kill(2);
    let made = ring.run(400);
    let expected = [
        (31, set_voters(&[1, 3, 4], Why::Replacement)),
        (32, Change::AddLearner(NodeId(6))),
        (33, Change::RemoveLearner(NodeId(2))),
    ];
    assert_eq!(made, expected);
    ring.revive(2);
    assert_eq!(ring.run(400), [], "who comes back is a member without a vote");
}

#[test]
fn three_machines_keep_their_dead_voter() {
    let mut ring = Ring::settled(&[""; 3]);
    ring.kill(3);
    assert_eq!(ring.run(1_000), [], "there is nobody to take its place");
    ring.join("");
    let made = ring.run(100);
    let expected = [(1, Change::AddLearner(NodeId(4))), (12, set_voters(&[1, 2, 4], Why::Replacement))];
    assert_eq!(made, expected, "the one that is dead stays, lest there be no stand-by at all");
}

#[test]
fn a_ring_that_cannot_grow_replaces_its_dead_voter_and_spreads_the_others() {
    let mut ring = Ring::settled(&["a", "b", "b"]);
    ["c", "c"].iter().for_each(|zone| ring.join(zone));
    [3, 5].iter().for_each(|id| ring.kill(*id));
    let made = ring.run(200);
    assert!(made.iter().any(|(_, change)| *change == set_voters(&[1, 2, 4], Why::Replacement)), "{made:?}");
    let mut ring = Ring::settled(&["a", "b", "b"]);
    ["c", "c"].iter().for_each(|zone| ring.join(zone));
    ring.kill(5);
    let made = ring.run(200);
    assert!(made.iter().any(|(_, change)| *change == set_voters(&[1, 2, 4], Why::Spread)), "{made:?}");
}

#[test]
fn a_voter_that_acknowledges_is_not_dead_whatever_the_ring_says() {
    let mut ring = Ring::settled(&[""; 5]);
    ring.kill(2);
    for _ in 0..200 {
        ring.now = ring.now + Duration::from_secs(1);
        let mut seen = ring.observation();
        seen.silence.insert(NodeId(2), Duration::from_millis(60));
        ring.evidence.observe(ring.now, &seen);
        assert_eq!(plan(ring.now, &seen, &ring.evidence), None);
    }
}

#[test]
fn a_restart_within_half_a_minute_changes_nothing() {
    let mut ring = Ring::settled(&[""; 6]);
    for id in [2, 3, 4] {
        ring.kill(id);
        assert_eq!(ring.run(25), []);
        ring.revive(id);
        assert_eq!(ring.run(5), []);
    }
}

#[test]
fn a_new_leader_and_one_that_was_paused_wait_anew() {
    let mut ring = Ring::settled(&[""; 5]);
    ring.kill(3);
    assert_eq!(ring.run(25), []);
    ring.lead(2);
    assert_eq!(ring.run(25), [], "it has seen nothing yet");
    ring.now = ring.now + Duration::from_secs(60);
    assert_eq!(ring.run(25), [], "who slept has seen nothing");
    assert_eq!(ring.run(10).len(), 1);
}

#[test]
fn a_minute_lies_between_two_replacements() {
    let mut ring = Ring::settled(&["a", "b", "c", "a", "b", "c", "a"]);
    assert_eq!((ring.voters().len(), ring.learners.len()), (5, 2));
    let dead: Vec<u64> = ring.voters().iter().map(|id| id.0).filter(|id| *id != 1).take(2).collect();
    dead.iter().for_each(|id| ring.kill(*id));
    let made = ring.run(300);
    let replaced: Vec<u64> = made
        .iter()
        .filter(|(_, c)| matches!(c, Change::SetVoters { why: Why::Replacement, .. }))
        .map(|(at, _)| *at)
        .collect();
    assert!(replaced.len() == 2 && replaced[1] - replaced[0] >= 60, "{made:?}");
}

#[test]
fn a_removed_voter_is_taken_out_at_once_and_does_not_stay() {
    let mut ring = Ring::settled(&[""; 4]);
    ring.machine(2).removed = true;
    assert_eq!(ring.run(100), [(1, set_voters(&[1, 3, 4], Why::Removal))]);
    let mut ring = Ring::settled(&[""; 3]);
    ring.machine(3).removed = true;
    assert_eq!(ring.run(100), [(1, set_voters(&[1], Why::Removal)), (2, Change::AddLearner(NodeId(2)))]);
    assert_eq!((ring.voters(), ring.learners.clone()), (ids(&[1]), ids(&[2])));
}

#[test]
fn where_too_few_live_for_five_voters_three_remain_and_not_four() {
    let mut ring = Ring::settled(&["a", "b", "c", "a", "c", "b"]);
    (ring.configs, ring.learners) = (vec![ids(&[1, 2, 3])], ids(&[4, 5]));
    ring.kill(6);
    ring.machine(3).removed = true;
    assert_eq!(ring.step(), Some(set_voters(&[1, 2, 5], Why::Removal)), "of five members one is dead");
    ring.run(500);
    assert_eq!(ring.voters(), ids(&[1, 2, 5]), "four would survive no more deaths than three");
}

#[test]
fn a_removed_leader_takes_itself_out() {
    let mut ring = Ring::settled(&[""; 4]);
    ring.machine(1).removed = true;
    assert_eq!(changes(ring.run(50)), [set_voters(&[2, 3, 4], Why::Removal)]);
    assert_ne!(ring.leader, 1);
}

#[test]
fn a_removed_learner_goes() {
    let mut ring = Ring::settled(&[""; 5]);
    ring.machine(5).removed = true;
    assert_eq!(ring.run(50), [(1, Change::RemoveLearner(NodeId(5)))]);
}

#[test]
fn a_joint_change_left_behind_is_finished_first() {
    let mut ring = Ring::settled(&[""; 5]);
    ring.configs = vec![ids(&[1, 2, 3]), ids(&[1, 2, 4])];
    ring.machine(3).removed = true;
    assert_eq!(ring.step(), Some(Change::Finish(ids(&[1, 2, 4]))));
}

#[test]
fn nothing_is_changed_while_a_change_is_under_way() {
    let mut ring = Ring::settled(&[""; 5]);
    ring.machine(3).removed = true;
    let seen = Observation { committed: false, ..ring.observation() };
    ring.evidence.observe(ring.now, &seen);
    assert_eq!(plan(ring.now, &seen, &ring.evidence), None);
    assert_eq!(plan_departure(ring.now, &seen, &ring.evidence, NodeId(1)), None);
}

#[test]
fn a_leader_that_sees_no_majority_of_the_ring_changes_nothing() {
    let mut ring = Ring::settled(&[""; 9]);
    ring.kill(3);
    ring.reach = Some(BTreeSet::from([1, 2, 4, 5]));
    assert!(ring.has_quorum(&ring.configs.clone()), "it could write");
    assert_eq!(ring.run(500), []);
}

#[test]
fn a_free_zone_is_preferred_even_if_its_machine_follows_not_yet() {
    let mut ring = Ring::settled(&["a", "b", "a", "a"]);
    assert_eq!((ring.voters(), ring.learners.clone()), (ids(&[1, 2, 3]), ids(&[4])));
    ring.kill(2);
    ring.run(20);
    ring.join("b");
    ring.machine(5).complete = false;
    assert_eq!(changes(ring.run(20)), [Change::AddLearner(NodeId(5))], "4 is ready, but 5 has a zone of its own");
    ring.machine(5).complete = true;
    let made = changes(ring.run(15));
    assert_eq!(made.first(), Some(&set_voters(&[1, 3, 5], Why::Replacement)), "{made:?}");
}

#[test]
fn voters_that_share_a_zone_are_spread_one_at_a_time_and_slowly() {
    let mut ring = Ring::settled(&["a", "b", "c", "a", "b"]);
    assert_eq!(ring.voters().len(), 5);
    ring.join("d");
    ring.join("e");
    let made = ring.run(600);
    let spread: Vec<u64> = made
        .iter()
        .filter(|(_, c)| matches!(c, Change::SetVoters { why: Why::Spread, .. }))
        .map(|(at, _)| *at)
        .collect();
    assert!(spread.len() == 2 && spread[1] - spread[0] >= WELL_FOR.as_secs(), "{made:?}");
    assert!(ring.voters().contains(&NodeId(1)), "the leader keeps its vote");
    let zones: BTreeSet<String> = ring.voters().iter().map(|id| ring.machine(id.0).zone.clone()).collect();
    assert_eq!(zones.len(), 5);
}

#[test]
fn who_stops_gives_its_vote_to_a_standby_and_comes_back_as_one() {
    let mut ring = Ring::settled(&[""; 5]);
    let seen = ring.observation();
    ring.evidence.note_leaving(ring.now, NodeId(2));
    let change = plan_departure(ring.now, &seen, &ring.evidence, NodeId(2)).expect("a stand-by is there");
    assert_eq!(change, set_voters(&[1, 3, 4], Why::Departure));
    ring.make(&change);
    ring.kill(2);
    assert_eq!(ring.run(20), [], "nobody is brought in for a restart");
    ring.revive(2);
    assert_eq!(ring.run(100), []);
    assert_eq!(ring.learners, ids(&[2, 5]), "a stand-by");
}

#[test]
fn a_vote_on_which_all_would_hang_goes_only_to_one_that_has_just_spoken() {
    let mut ring = Ring::settled(&[""; 5]); // 1, 2 and 3 vote, 4 and 5 stand by
    let heir = |ring: &Ring, silent: &[u64]| {
        let mut seen = ring.observation();
        seen.silence.extend(silent.iter().map(|id| (NodeId(*id), JUST_NOW * 2)));
        plan_departure(ring.now, &seen, &ring.evidence, NodeId(2))
    };
    assert_eq!(heir(&ring, &[4]), Some(set_voters(&[1, 3, 4], Why::Departure)), "1 and 3 can do without it");
    ring.kill(3);
    ring.run(5);
    assert_eq!(heir(&ring, &[]), Some(set_voters(&[1, 3, 4], Why::Departure)), "2 may go for good");
    assert_eq!(heir(&ring, &[4]), Some(set_voters(&[1, 3, 5], Why::Departure)), "4 may be gone");
    assert_eq!(heir(&ring, &[4, 5]), None);
}

#[test]
fn nobody_takes_the_vote_of_who_stops_if_nobody_is_fit() {
    let mut ring = Ring::settled(&[""; 3]);
    assert_eq!(plan_departure(ring.now, &ring.observation(), &ring.evidence, NodeId(2)), None, "no stand-by");
    ring.join("");
    ring.machine(4).complete = false;
    ring.run(5);
    assert_eq!(plan_departure(ring.now, &ring.observation(), &ring.evidence, NodeId(2)), None, "it lags");
    ring.machine(4).complete = true;
    ring.run(5);
    assert!(plan_departure(ring.now, &ring.observation(), &ring.evidence, NodeId(2)).is_some());
    assert_eq!(plan_departure(ring.now, &ring.observation(), &ring.evidence, NodeId(4)), None, "it has no vote");
    let pair = Ring::settled(&[""; 2]);
    assert_eq!(plan_departure(pair.now, &pair.observation(), &pair.evidence, NodeId(1)), None, "the only voter");
}
