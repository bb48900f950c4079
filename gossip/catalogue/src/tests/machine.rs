//! The rules of one machine, message by message.

use super::{Checker, Keys, everyone, first_set, info, publish, publish_update, record};
use crate::{
    BUCKETS, Catalogue, DOWN_KEPT, FLOOD_PEERS_MAX, Head, MergeError, Message, Spread, SpreadEffect, Update, Way,
};
use std::{sync::Arc, time::Duration};
use taffeta_model::{Liveness, Millis, NodeId, TaskRecord};

const NOW: Millis = Millis(5_000);

/// Node 1 with so many peers, from node 2 on; what it did so far is done.
fn spread(peers: usize) -> Spread {
    let mut spread = Spread::new(NodeId(1), 1, 7);
    spread.set_peers(NOW, &(2..peers as u64 + 2).map(NodeId).collect::<Vec<_>>());
    drop(spread.take_effects());
    spread
}

fn handle(spread: &mut Spread, now: Millis, from: NodeId, message: Message) -> Vec<SpreadEffect> {
    spread.handle(now, from, message, &Checker, &everyone);
    spread.take_effects()
}

fn push(update: &Update) -> Message {
    Message::Push(vec![update.clone()])
}

/// What is sent, without how.
fn sent(effects: &[SpreadEffect]) -> Vec<(NodeId, &Message)> {
    let send = |effect| match effect {
        &SpreadEffect::Send { to, ref message, .. } => Some((to, message)),
        SpreadEffect::Changed(_) | SpreadEffect::Refused { .. } | SpreadEffect::Outranked(_) => None,
    };
    effects.iter().filter_map(send).collect()
}

/// Runs its timers up to and including this time.
fn run(spread: &mut Spread, until: Millis) -> Vec<SpreadEffect> {
    let mut effects = Vec::new();
    while let Some(at) = spread.next_timeout().filter(|at| *at <= until) {
        spread.handle_timeout(at);
        effects.extend(spread.take_effects());
    }
    effects
}

fn neighbours(spread: &Spread) -> Vec<NodeId> {
    spread.neighbours().map(|(peer, _)| peer).collect()
}

fn is_eager(spread: &Spread, peer: NodeId) -> bool {
    spread.neighbours().any(|(known, eager)| known == peer && eager)
}

fn after(millis: u64) -> Millis {
    NOW + Duration::from_millis(millis)
}

#[test]
fn news_goes_as_it_came_to_all_eager_neighbours_but_its_sender_and_its_owner() {
    let mut spread = spread(4);
    let update = Update::from(first_set(3, 1, &[1]));
    let effects = handle(&mut spread, NOW, NodeId(2), push(&update));
    assert_eq!(effects[0], SpreadEffect::Changed(NodeId(3)));
    assert_eq!(sent(&effects), [(NodeId(4), &push(&update)), (NodeId(5), &push(&update))]);
    assert!(handle(&mut spread, NOW, NodeId(4), push(&update)).is_empty(), "it is no news any more");
}

#[test]
fn news_within_ten_milliseconds_travels_in_one_message() {
    let mut spread = spread(2);
    for version in 1..=5 {
        let records = vec![TaskRecord { version, ..record(1) }];
        assert_eq!(spread.publish(NOW, info(NodeId(1)), records, &Keys(NodeId(1))), Ok(true));
    }
    let updates = |effects: &[SpreadEffect]| {
        let count = |(_, message): &(NodeId, &Message)| match message {
            Message::Push(updates) => updates.len(),
            other => panic!("{other:?}"),
        };
        sent(effects).iter().map(count).collect::<Vec<_>>()
    };
    assert_eq!(updates(&spread.take_effects()), [1, 1], "the first one at once");
    assert_eq!(updates(&run(&mut spread, after(10))), [4, 4]);
}

#[test]
fn a_gap_is_mended_by_asking_its_sender_for_the_whole_set_once() {
    let mut spread = spread(2);
    let mut owner = Catalogue::new(NodeId(3), 1);
    publish(&mut owner, 3, &[1, 2, 3, 4, 5]);
    let deltas: Vec<Update> = (6..9).map(|i| publish_update(&mut owner, 3, &[1, 2, 3, 4, i]).expect("new")).collect();
    let effects = handle(&mut spread, NOW, NodeId(2), Message::Push(deltas[1..].to_vec()));
    assert_eq!(sent(&effects), [(NodeId(2), &Message::Want(vec![NodeId(3)]))]);
    assert!(handle(&mut spread, after(5), NodeId(2), push(&deltas[2])).is_empty(), "an answer is waited for");
    let whole = Update::Whole(Arc::new(owner.get(NodeId(3)).expect("held").signed()));
    handle(&mut spread, after(9), NodeId(2), push(&whole));
    assert_eq!(spread.catalogue().get(NodeId(3)), owner.get(NodeId(3)));
    assert!(sent(&run(&mut spread, after(2_000))).iter().all(|(_, m)| !matches!(m, Message::Want(_))));
}

#[test]
fn a_head_that_was_heard_of_is_asked_for_if_its_set_does_not_come_and_of_another_if_nobody_answers() {
    let mut spread = spread(20);
    let (one, other) = (neighbours(&spread)[0], neighbours(&spread)[1]);
    let head = first_set(9, 1, &[1]).head().expect("a head");
    assert!(handle(&mut spread, NOW, one, Message::Have(vec![head])).is_empty());
    handle(&mut spread, NOW, other, Message::Have(vec![head]));
    let wants = |effects: &[SpreadEffect]| {
        let wanted = |(to, message): &(NodeId, &Message)| matches!(message, Message::Want(_)).then_some(*to);
        sent(effects).iter().filter_map(wanted).collect::<Vec<_>>()
    };
    assert!(wants(&run(&mut spread, after(199))).is_empty());
    assert_eq!(wants(&run(&mut spread, after(300))), [one]);
    assert_eq!(wants(&run(&mut spread, after(10_000))), [other, one, other], "four times in all");
    spread.handle(NOW, one, Message::Have(vec![head]), &Checker, &|_| false);
    assert!(wants(&run(&mut spread, after(20_000))).is_empty(), "its owner is not a member");
}

#[test]
fn who_pushes_only_what_is_known_becomes_lazy_and_eager_again_when_it_wants() {
    let mut spread = spread(20);
    let neighbours = neighbours(&spread);
    let (source, spare) = (neighbours[0], neighbours[1]);
    let mut effects = Vec::new();
    for owner in 30..33 {
        let update = push(&Update::from(first_set(owner, 1, &[1])));
        handle(&mut spread, NOW, source, update.clone());
        effects = handle(&mut spread, NOW, spare, update);
    }
    assert!(sent(&effects).contains(&(spare, &Message::Prune)));
    assert!(!is_eager(&spread, spare) && is_eager(&spread, source));

    drop(run(&mut spread, after(50)));
    let news = first_set(40, 1, &[1]);
    let effects = handle(&mut spread, after(60), source, push(&Update::from(Arc::clone(&news))));
    assert!(sent(&effects).iter().all(|(to, _)| *to != spare));
    let effects = run(&mut spread, after(160));
    let have = Message::Have(vec![news.head().expect("a head")]);
    assert!(sent(&effects).contains(&(spare, &have)), "it only hears of it");

    let effects = handle(&mut spread, after(170), spare, Message::Want(vec![NodeId(40)]));
    assert_eq!(sent(&effects), [(spare, &push(&Update::from(news)))]);
    assert!(is_eager(&spread, spare));
    handle(&mut spread, after(180), spare, Message::Prune);
    assert!(!is_eager(&spread, spare));
}

#[test]
fn the_last_eager_neighbour_and_the_owner_itself_are_not_pruned() {
    let mut spread = spread(20);
    let neighbours = neighbours(&spread);
    for peer in &neighbours[1..] {
        handle(&mut spread, NOW, *peer, Message::Prune);
    }
    let update = push(&Update::from(first_set(30, 1, &[1])));
    for _ in 0..10 {
        handle(&mut spread, NOW, neighbours[0], update.clone());
    }
    assert!(is_eager(&spread, neighbours[0]));

    let mut spread = self::spread(20);
    let own = push(&Update::from(first_set(neighbours[0].0, 1, &[1])));
    for _ in 0..10 {
        handle(&mut spread, NOW, neighbours[0], own.clone());
    }
    assert!(is_eager(&spread, neighbours[0]));
}

#[test]
fn in_a_small_ring_a_prune_is_ignored() {
    let mut spread = spread(FLOOD_PEERS_MAX);
    handle(&mut spread, NOW, NodeId(2), Message::Prune);
    assert!(is_eager(&spread, NodeId(2)));
}

#[test]
fn a_newer_set_of_our_own_is_asked_for_and_reported() {
    let mut spread = spread(3);
    let theirs = first_set(1, 9, &[4]);
    let head = theirs.head().expect("a head");
    handle(&mut spread, NOW, NodeId(2), Message::Have(vec![head]));
    let effects = run(&mut spread, after(300));
    assert!(sent(&effects).contains(&(NodeId(2), &Message::Want(vec![NodeId(1)]))));
    let effects = handle(&mut spread, after(310), NodeId(2), push(&Update::from(theirs)));
    assert_eq!(effects, [SpreadEffect::Outranked(head)]);
}

#[test]
fn what_is_refused_is_told_and_not_passed_on() {
    let mut spread = spread(3);
    let mut forged = (*first_set(3, 1, &[1])).clone();
    forged.signature = [0; 64];
    let effects = handle(&mut spread, NOW, NodeId(2), push(&Update::from(forged)));
    let error = MergeError::BadSignature(NodeId(3));
    assert_eq!(effects, [SpreadEffect::Refused { from: NodeId(2), owner: Some(NodeId(3)), error }]);
    assert!(spread.catalogue().sets().is_empty());
}

#[test]
fn sets_of_a_snapshot_are_taken_and_nobody_is_told() {
    let mut spread = spread(3);
    let sets = (5..8).map(|owner| (*first_set(owner, 1, &[1])).clone()).collect();
    spread.handle_snapshot(NodeId(2), sets, &Checker, &everyone);
    assert_eq!(spread.take_effects(), [5, 6, 7].map(|owner| SpreadEffect::Changed(NodeId(owner))));
    assert_eq!(spread.catalogue().sets().len(), 3);
}

#[test]
fn equal_hashes_need_no_answer_and_differing_ones_a_bounded_number() {
    let mut spread = spread(20);
    let hash = spread.catalogue().digest_hash();
    assert!(handle(&mut spread, NOW, NodeId(2), Message::Summary { hash, owners: 0 }).is_empty());
    let differing = Message::Summary { hash: hash ^ 1, owners: 0 };
    let stranger = NodeId(99);
    let effects = handle(&mut spread, NOW, stranger, differing.clone());
    let is_datagram = |effect: &SpreadEffect| matches!(effect, SpreadEffect::Send { way: Way::Datagram, .. });
    assert!(effects.iter().all(is_datagram) && effects.len() == BUCKETS / 256);
    let answers = (0..1_000).filter(|_| !handle(&mut spread, NOW, stranger, differing.clone()).is_empty()).count();
    assert_eq!(answers, 31);
    assert!(!handle(&mut spread, after(1_000), stranger, differing).is_empty(), "the next second is another");
}

#[test]
fn a_dropped_set_is_neither_asked_for_nor_pushed_when_heads_are_compared() {
    let (mut ours, mut theirs) = (spread(2), Spread::new(NodeId(2), 1, 8));
    let set = first_set(9, 1, &[1]);
    for spread in [&mut ours, &mut theirs] {
        spread.handle_snapshot(NodeId(3), vec![(*set).clone()], &Checker, &everyone);
    }
    let now = NOW + DOWN_KEPT;
    theirs.expire(now, &|_| Some((Liveness::Down, NOW)), &everyone);
    assert_eq!(theirs.take_effects().last(), Some(&SpreadEffect::Changed(NodeId(9))));
    drop(ours.take_effects());
    let bucket = (0..BUCKETS as u16).find(|b| ours.catalogue().heads_in(*b).count() > 0).expect("one is held");
    let heads_of = |spread: &mut Spread| {
        let check = Message::Check(vec![(bucket, crate::ShortHash(1))]);
        let effects = handle(spread, now, NodeId(5), check);
        let message = sent(&effects)[0].1.clone();
        assert!(matches!(message, Message::Heads { .. }));
        message
    };
    let (from_ours, from_theirs) = (heads_of(&mut ours), heads_of(&mut theirs));
    assert!(handle(&mut ours, now, NodeId(2), from_theirs).is_empty(), "it is not offered");
    handle(&mut theirs, now, NodeId(1), from_ours);
    let later = run(&mut theirs, now + Duration::from_secs(1));
    assert!(sent(&later).iter().all(|(_, message)| !matches!(message, Message::Want(_))));
}

#[test]
fn buckets_that_differed_only_for_a_moment_are_not_pursued() {
    let mut spread = spread(2);
    let mut ahead = Catalogue::new(NodeId(3), 1);
    let set = publish(&mut ahead, 3, &[1]).expect("new");
    let hashes: Vec<_> = (0..BUCKETS as u16).map(|bucket| ahead.bucket_hash(bucket)).collect();
    let is_check = |(_, message): &(NodeId, &Message)| matches!(message, Message::Check(_));
    let buckets = Message::Buckets { first: 0, hashes };

    handle(&mut spread, NOW, NodeId(2), buckets.clone());
    let effects = run(&mut spread, after(1_000));
    assert_eq!(sent(&effects).into_iter().filter(is_check).count(), 1, "it lasts");

    handle(&mut spread, after(2_000), NodeId(2), buckets);
    handle(&mut spread, after(2_010), NodeId(2), push(&Update::from(set)));
    let effects = run(&mut spread, after(4_000));
    assert!(!sent(&effects).iter().any(is_check), "it was just under way");
}

#[test]
fn tables_stay_bounded_whatever_a_peer_says() {
    let mut spread = spread(2);
    let heads = |from: u64| (from..from + 20_000).map(|n| Head { owner: NodeId(n), epoch: 1, seq: 1, content: n });
    for from in [0, 20_000] {
        handle(&mut spread, NOW, NodeId(2), Message::Have(heads(from).collect()));
    }
    let effects = run(&mut spread, after(300));
    let wanted = |(_, message): (NodeId, &Message)| match message {
        Message::Want(owners) => owners.len(),
        _ => 0,
    };
    assert_eq!(sent(&effects).into_iter().map(wanted).sum::<usize>(), taffeta_model::MEMBERS_MAX);
}
