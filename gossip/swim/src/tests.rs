mod cluster;
mod recorded;

use crate::{
    Effect, FACTS_MAX, Identity, Incarnation, InvalidConfig, MemberFact, MemberState, Members, PacketError, Swim,
    SwimConfig, codec, digest, packet,
    tests::cluster::{Cluster, Seen, identity},
};
use foca::{Header, Message};
use std::time::Duration;
use taffeta_model::{Liveness, MEMBERS_MAX, Millis, NodeId};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// When somebody first saw `of` so, after `since`.
fn first_seen(cluster: &Cluster, of: u64, after: Liveness, since: Millis) -> Option<Duration> {
    let seen = cluster.seen.iter().filter(|s| s.at >= since);
    seen.filter(|s| s.change.id == NodeId(of) && s.change.after == Some(after)).map(|s| s.at.since(since)).next()
}

#[test]
fn a_killed_member_is_suspected_then_down_everywhere_in_time() {
    for n in [3, 10, 50] {
        let (mut suspected, mut down) = (Vec::new(), Vec::new());
        for seed in 0..15 {
            let mut cluster = Cluster::formed(n, seed);
            cluster.run(millis(1000 + 37 * seed));
            let at = cluster.now;
            cluster.kill(n);
            assert!(cluster.run_until(millis(4500), |c| c.all_see(Liveness::Down, &[NodeId(n)])));
            suspected.push(first_seen(&cluster, n, Liveness::Suspect, at).expect("suspected before it was down"));
            down.push(cluster.now.since(at));
            assert!(cluster.nodes.values().all(Swim::sees_majority));
        }
        println!("{n} nodes: first suspicion {:?}, down everywhere {:?}", median(suspected.clone()), median(down));
        assert!(median(suspected) <= millis(1500));
    }
}

#[test]
fn the_first_suspicion_counts_when_a_member_is_down() {
    let mut cluster = Cluster::formed(5, 7);
    let at = cluster.now;
    cluster.kill(5);
    cluster.run_until(secs(5), |c| c.all_see(Liveness::Suspect, &[NodeId(5)]));
    let of = |c: &Cluster| c.nodes[&NodeId(1)].members()[&NodeId(5)];
    let suspect = of(&cluster);
    assert_eq!(suspect.suspect_since, Some(suspect.since));
    assert!(cluster.run_until(secs(5), |c| c.all_see(Liveness::Down, &[NodeId(5)])));
    let down = of(&cluster);
    assert_eq!(down.suspect_since, suspect.suspect_since);
    assert!(down.since > suspect.since && suspect.since > at);
}

#[test]
fn a_paused_member_that_resumes_refutes_and_blames_nobody() {
    for seed in 0..10 {
        let mut cluster = Cluster::formed(6, seed);
        cluster.paused.insert(NodeId(4));
        let suspected = cluster.run_until(secs(3), |c| c.sees(1, 4) == Some(Liveness::Suspect));
        assert!(suspected, "seed {seed}");
        let from = cluster.seen.len();
        cluster.resume(4);
        assert!(cluster.run_until(secs(2), |c| c.all_see(Liveness::Alive, &c.ids())), "seed {seed}");
        cluster.run(secs(5));
        let after = cluster.seen.split_off(from);
        let blamed = after.iter().find(|s| s.change.after != Some(Liveness::Alive) && s.change.id != NodeId(4));
        assert_eq!(blamed, None, "seed {seed}: the one that stood still must not suspect others");
        assert!(cluster.other_effects.is_empty(), "seed {seed}: it came back without a renewal");
        assert_eq!(cluster.nodes[&NodeId(1)].members()[&NodeId(4)].suspect_since, None);
    }
}

#[test]
fn a_member_that_stood_still_does_not_carry_out_its_old_suspicions() {
    let mut tried = 0;
    for seed in 0..40 {
        let mut cluster = Cluster::formed(5, seed);
        cluster.group.insert(NodeId(3), 1);
        let suspected = |c: &Cluster| [1, 2, 4, 5].into_iter().any(|by| c.sees(by, 3) == Some(Liveness::Suspect));
        assert!(cluster.run_until(secs(4), suspected));
        cluster.group.clear();
        if cluster.sees(4, 3) != Some(Liveness::Suspect) {
            continue; // another was first, so that 4 will not give the verdict
        }
        tried += 1;
        cluster.paused.insert(NodeId(4));
        cluster.run(millis(1200)); // 3 refutes meanwhile: the news waits in the inbox of 4
        assert_eq!(cluster.sees(1, 3), Some(Liveness::Alive));
        cluster.resume(4);
        cluster.run(secs(3));
        let verdict = |s: &&Seen| s.change.id == NodeId(3) && s.change.after == Some(Liveness::Down);
        assert_eq!(cluster.seen.iter().find(verdict), None, "seed {seed}");
    }
    assert!(tried >= 3, "{tried} seeds made 4 the accuser");
}

#[test]
fn a_member_paused_beyond_the_verdict_renews_itself_and_returns() {
    for seed in 0..10 {
        let mut cluster = Cluster::formed(6, seed);
        cluster.paused.insert(NodeId(4));
        let others: Vec<u64> = vec![1, 2, 3, 5, 6];
        cluster.run_until(secs(6), |c| others.iter().all(|by| c.sees(*by, 4) == Some(Liveness::Down)));
        cluster.run(secs(20));
        cluster.resume(4);
        assert!(cluster.run_until(secs(3), |c| c.all_see(Liveness::Alive, &c.ids())), "seed {seed}");
        let me = cluster.nodes[&NodeId(4)].me();
        assert!(me.incarnation.renewal >= 1);
        assert!(cluster.other_effects.contains(&(NodeId(4), Effect::Renewed(me))));
        let flaps = cluster.other_effects.iter().filter(|(id, _)| *id != NodeId(4)).count();
        assert_eq!(flaps, 0, "seed {seed}: {:?}", cluster.other_effects);
    }
}

#[test]
fn a_member_that_is_not_heard_blames_nobody_for_ever() {
    let mut renewed = 0;
    for seed in 0..60 {
        let mut cluster = Cluster::formed(5, seed);
        cluster.mute.insert(NodeId(4));
        cluster.run(millis(1_500 + 50 * seed));
        cluster.mute.clear();
        let whole = |c: &Cluster| c.all_see(Liveness::Alive, &c.ids());
        assert!(cluster.run_until(secs(10), whole), "seed {seed}: {:?}", cluster.nodes[&NodeId(4)].members());
        renewed += usize::from(cluster.nodes[&NodeId(4)].me().incarnation.renewal > 0);
    }
    assert!(renewed >= 30, "{renewed} were declared down");
}

#[test]
fn a_healed_partition_merges_into_one_view_without_restarts() {
    for (n, cut, seeds) in [(2, 1, 5), (3, 1, 5), (5, 2, 5), (20, 10, 2), (50, 20, 1)] {
        let mut healing = Vec::new();
        for seed in 0..seeds {
            let mut cluster = Cluster::formed(n, seed);
            cluster.group = (1..=cut).map(|id| (NodeId(id), 1)).collect();
            cluster.run(secs(30));
            let here = cluster.nodes[&NodeId(n)].members();
            assert!((1..=cut).all(|id| here[&NodeId(id)].liveness == Liveness::Down));
            assert_eq!(cluster.nodes[&NodeId(n)].sees_majority(), (n - cut) * 2 > n);
            assert!(!cluster.nodes[&NodeId(1)].sees_majority());
            cluster.group.clear();
            let at = cluster.now;
            let merged = cluster.run_until(secs(60), |c| c.all_see(Liveness::Alive, &c.ids()));
            assert!(merged, "{n} nodes, seed {seed}: not one view after 60 s");
            healing.push(cluster.now.since(at));
            cluster.run(secs(10));
            assert!(cluster.all_see(Liveness::Alive, &cluster.ids()), "{n} nodes, seed {seed}: it does not last");
        }
        println!("{n} nodes: one view {:?} median, {:?} at most", median(healing.clone()), healing.iter().max());
    }
}

#[test]
fn members_that_all_stop_at_once_find_each_other_again() {
    for seed in 0..5 {
        let mut cluster = Cluster::formed(3, seed);
        (1..=3).for_each(|id| cluster.kill(id));
        cluster.run(secs(5));
        for id in 1..=3 {
            cluster.start(id, 2, 3);
            cluster.run(millis(700)); // the seeds are not there yet when the first one calls
        }
        assert!(cluster.run_until(secs(3), |c| c.all_see(Liveness::Alive, &c.ids())), "seed {seed}");
    }
}

#[test]
fn a_restart_with_a_higher_start_counter_is_alive_at_once() {
    let mut cluster = Cluster::formed(5, 3);
    cluster.kill(5);
    assert!(cluster.run_until(secs(5), |c| c.all_see(Liveness::Down, &[NodeId(5)])));
    cluster.start(5, 2, 5);
    assert!(cluster.run_until(secs(2), |c| c.all_see(Liveness::Alive, &c.ids())));
    assert!(cluster.nodes.values().all(|s| s.members().get(&NodeId(5)).is_none_or(|m| m.identity == identity(5, 2))));
    assert!(cluster.other_effects.is_empty());

    // Faster than any suspicion: only the incarnation shows it.
    cluster.kill(5);
    cluster.start(5, 3, 5);
    let newest = |c: &Cluster| c.nodes[&NodeId(1)].members()[&NodeId(5)].identity == identity(5, 3);
    assert!(cluster.run_until(secs(2), newest));
    assert!(cluster.run_until(secs(2), |c| c.all_see(Liveness::Alive, &c.ids())));
}

#[test]
fn a_start_counter_that_went_back_is_reported_and_can_be_raised() {
    let mut cluster = Cluster::formed(4, 5);
    cluster.kill(4);
    cluster.start(4, 9, 4);
    assert!(cluster.run_until(secs(5), |c| c.all_see(Liveness::Alive, &c.ids())));
    cluster.kill(4);
    assert!(cluster.run_until(secs(5), |c| c.all_see(Liveness::Down, &[NodeId(4)])));
    let before = cluster.packets;
    cluster.start(4, 2, 4); // a restored disk
    cluster.run(secs(10));
    assert!(cluster.packets - before < 4_000, "{} packets: declined without end", cluster.packets - before);
    assert_eq!(cluster.sees(1, 4), Some(Liveness::Down));

    let facts = cluster.nodes[&NodeId(1)].facts();
    cluster.on(4, |swim, now| swim.merge(now, &facts)).expect("few facts");
    let seen = Incarnation { start: 9, renewal: 0 };
    assert!(cluster.other_effects.contains(&(NodeId(4), Effect::Outranked(seen))));
    cluster.on(4, |swim, now| swim.raise_start(now, 10));
    assert!(cluster.run_until(secs(5), |c| c.all_see(Liveness::Alive, &c.ids())));
}

#[test]
fn a_member_that_has_resigned_does_not_contradict_its_farewell() {
    for seed in 0..5 {
        let mut cluster = Cluster::formed(5, seed);
        let incarnation = cluster.nodes[&NodeId(5)].me().incarnation;
        cluster.on(5, |swim, _| swim.resign());
        (1..5).for_each(|id| cluster.on(id, |swim, now| swim.mark_left(now, NodeId(5), incarnation)));
        cluster.run(millis(500)); // it hears of itself that it is down
        cluster.on(5, |swim, now| swim.leave(now));
        cluster.run(millis(500));
        assert_eq!(cluster.nodes[&NodeId(5)].me().incarnation, incarnation, "seed {seed}: it renewed itself");
        assert!((1..5).all(|by| cluster.sees(by, 5) == Some(Liveness::Left)), "seed {seed}");
    }
}

#[test]
fn a_farewell_is_known_everywhere_within_a_second() {
    for (n, seeds) in [(2, 5), (8, 5), (60, 3)] {
        for seed in 0..seeds {
            let mut cluster = Cluster::formed(n, seed);
            cluster.loss = 0.02;
            let at = cluster.now;
            cluster.on(n, |swim, now| swim.leave(now));
            cluster.run(millis(500));
            cluster.kill(n);
            let gone = cluster.run_until(millis(500), |c| c.all_see(Liveness::Left, &[NodeId(n)]));
            assert!(gone, "{n} nodes, seed {seed}");
            println!("{n} nodes: left everywhere within {:?}", cluster.now.since(at));
            cluster.run(secs(30));
            assert!(cluster.all_see(Liveness::Left, &[NodeId(n)]), "seed {seed}: stale news of it change nothing");
            cluster.start(n, 2, n as usize);
            assert!(cluster.run_until(secs(3), |c| c.all_see(Liveness::Alive, &c.ids())), "seed {seed}");
        }
    }
}

#[test]
fn a_farewell_that_the_member_itself_told_counts_at_once() {
    let mut cluster = Cluster::formed(5, 3);
    let incarnation = cluster.nodes[&NodeId(5)].me().incarnation;
    cluster.on(5, |swim, _| swim.resign());
    cluster.on(1, |swim, now| swim.mark_left(now, NodeId(5), incarnation));
    assert_eq!(cluster.sees(1, 5), Some(Liveness::Left));
    assert!(cluster.run_until(secs(1), |c| (1..5).all(|by| c.sees(by, 5) == Some(Liveness::Left))));
}

#[test]
fn a_member_that_answers_on_its_connection_is_not_suspected() {
    let suspected = |connections| {
        let mut cluster = Cluster::formed(4, 9);
        cluster.connections = connections;
        cluster.loss = 0.6; // few probes get through, direct or not
        cluster.run(secs(60));
        let of = |s: &&Seen| s.change.after == Some(Liveness::Suspect);
        (cluster.seen.iter().filter(of).count(), cluster.answered)
    };
    let (without, with) = (suspected(false), suspected(true));
    println!("suspicions: {without:?} without and {with:?} with connections");
    assert!(without.0 >= 20 && with.0 == 0 && with.1 >= 20);
}

#[test]
fn the_suspect_hears_of_it_first() {
    let mut tried = 0;
    for seed in 0..30 {
        let mut cluster = Cluster::formed(12, seed);
        cluster.run(millis(300 * seed % 500));
        cluster.paused.insert(NodeId(3));
        let seen = |c: &Cluster| (1..=12).find(|by| *by != 3 && c.sees(*by, 3) == Some(Liveness::Suspect));
        assert!(cluster.run_until(secs(3), |c| seen(c).is_some()));
        let accuser = seen(&cluster).expect("waited for it");
        cluster.resume(3);
        // Sooner than by gossip, which takes a round of 100 ms there and another one back.
        let refuted = cluster.run_until(millis(20), |c| c.sees(accuser, 3) == Some(Liveness::Alive));
        tried += usize::from(refuted);
    }
    assert!(tried >= 29, "only {tried} of 30 accusers were told at once");
}

#[test]
fn gossip_rests_while_there_is_nothing_to_tell_and_goes_on_at_once() {
    for seed in 0..10 {
        let mut cluster = Cluster::formed(6, seed);
        cluster.run(secs(10)); // the news of the beginning has been told
        let woken = cluster.woken;
        cluster.run(secs(60));
        let each = (cluster.woken - woken) / 6;
        // Two probes a second with their time-outs, and what happens every few seconds: gossip alone would be 600.
        assert!(each <= 300, "seed {seed}: a member was woken {each} times in a minute");
        let news = identity(9, 1);
        let facts = [MemberFact { identity: news, refutations: 0, liveness: Liveness::Alive }];
        cluster.on(1, |swim, now| swim.merge(now, &facts)).expect("good facts");
        let told = cluster.run_until(millis(450), |c| (2..=6).all(|id| c.sees(id, 9).is_some()));
        assert!(told, "seed {seed}: not everybody knows after four rounds");
    }
}

#[test]
fn a_node_that_hears_nobody_judges_more_slowly_and_recovers() {
    let mut cluster = Cluster::formed(8, 2);
    assert_eq!(cluster.nodes[&NodeId(8)].slowness(), 1);
    cluster.group.insert(NodeId(8), 1);
    cluster.run(secs(3));
    assert!(cluster.nodes[&NodeId(8)].slowness() >= 3);
    assert!((1..8).all(|id| cluster.nodes[&NodeId(id)].slowness() <= 2), "the others hear each other");
    cluster.group.clear();
    cluster.run(secs(60));
    assert!(cluster.all_see(Liveness::Alive, &cluster.ids()));
    assert_eq!(cluster.nodes[&NodeId(8)].slowness(), 1);
}

#[test]
fn a_comparison_brings_what_gossip_lost() {
    let patient = SwimConfig { suspicion: secs(60), ..SwimConfig::lan(300) }; // nobody answers here
    let mut full = Swim::new(Millis(0), identity(1, 1), patient.clone(), 1).expect("a good config");
    let mut lacking = Swim::new(Millis(0), identity(2, 1), patient, 2).expect("a good config");
    let fact = |id| MemberFact { identity: identity(id, 1), refutations: 0, liveness: Liveness::Alive };
    full.merge(Millis(0), &(2..=300).map(fact).collect::<Vec<_>>()).expect("few facts");
    let known: Vec<_> = (1..=300).filter(|id| id % 100 != 0 && *id != 2).map(fact).collect();
    lacking.merge(Millis(0), &known).expect("few facts");
    full.take_effects();
    lacking.take_effects();
    // Only what the comparison sends gets through; whom the fuller one meets first does not matter.
    let sends = |effects: Vec<Effect>| -> Vec<(NodeId, Vec<u8>)> {
        let packet = |e| if let Effect::Send { to, packet } = e { Some((to.id, packet)) } else { None };
        effects.into_iter().filter_map(packet).filter(|(_, p)| p[0] != 0).collect()
    };
    (0..=100).for_each(|step| full.handle_timeout(Millis(100 * step)));
    // Whomever it has asked: the lacking one answers in its place.
    let (asked, digest) = sends(full.take_effects()).remove(0);
    assert_eq!(digest.len(), 9);
    lacking.handle_packet(Millis(10_000), NodeId(1), &digest).expect("a good packet");
    let (_, parts) = sends(lacking.take_effects()).remove(0);
    full.handle_packet(Millis(10_000), asked, &parts).expect("a good packet");
    let exchange = full.take_effects().into_iter().find_map(|e| match e {
        Effect::Exchange { with, parts, facts } => Some((with, parts, facts)),
        _ => None,
    });
    let (with, parts, facts) = exchange.expect("they differ");
    assert_eq!((with, parts.count_ones() <= 3), (asked, true), "100, 200 and 300 are in three parts at most");
    assert!(facts.len() < 60, "{} facts, though three are lacking", facts.len());
    lacking.merge(Millis(10_000), &facts).expect("few facts");
    assert_eq!(lacking.members().len(), 299);
    let back = lacking.facts_in(parts);
    full.merge(Millis(10_000), &back).expect("few facts");
    full.take_effects();
    lacking.handle_packet(Millis(10_001), NodeId(1), &digest).expect("a good packet");
    assert!(sends(lacking.take_effects()).is_empty(), "they believe the same now");
}

#[test]
fn a_seed_that_is_given_last_is_called_however_many_are_remembered() {
    let mut swim = alone();
    swim.join(Millis(0), &(100..300).map(|id| identity(id, 0)).collect::<Vec<_>>());
    swim.take_effects();
    swim.join(Millis(10), &[identity(7, 0)]);
    let to: Vec<NodeId> = sent_to(&mut swim);
    assert_eq!(to, [NodeId(7)]);
    // It stays among those that are called again.
    let again: Vec<NodeId> = (1..=60)
        .flat_map(|s| {
            swim.handle_timeout(Millis(s * 100));
            sent_to(&mut swim)
        })
        .collect();
    assert!(again.contains(&NodeId(7)), "{again:?}");
}

fn sent_to(swim: &mut Swim) -> Vec<NodeId> {
    let to = |e| if let Effect::Send { to, .. } = e { Some(to.id) } else { None };
    swim.take_effects().into_iter().filter_map(to).collect()
}

#[test]
fn parts_that_nobody_asked_for_are_not_looked_at() {
    let patient = SwimConfig { suspicion: secs(60), ..SwimConfig::lan(10) };
    let mut swim = Swim::new(Millis(0), identity(1, 1), patient, 1).expect("a good config");
    let known: Members = (2..=3).map(|id| (NodeId(id), MemberState::known(identity(id, 1), Millis(0)))).collect();
    swim.begin_with(Millis(0), &known);
    let parts = packet::join(packet::Kind::Parts, &[7; 8 * digest::PARTS]);
    let exchanges = |swim: &mut Swim, now, from| {
        swim.handle_packet(Millis(now), NodeId(from), &parts).expect("a good packet");
        swim.take_effects().into_iter().filter(|e| matches!(e, Effect::Exchange { .. })).count()
    };
    assert_eq!((exchanges(&mut swim, 1, 2), exchanges(&mut swim, 1, 3)), (0, 0));
    (0..=105).for_each(|step| swim.handle_timeout(Millis(100 * step))); // it has asked one of the two
    swim.take_effects();
    let answered = exchanges(&mut swim, 10_600, 2) + exchanges(&mut swim, 10_600, 3);
    assert_eq!(answered, 1);
    assert_eq!(exchanges(&mut swim, 10_601, 2) + exchanges(&mut swim, 10_601, 3), 0, "and only once");
}

#[test]
fn too_many_facts_are_cut_between_parts() {
    let mut swim = Swim::new(Millis(0), identity(1, 1), SwimConfig::lan(6_000), 1).expect("a preset");
    let known: Members = (2..=6_000).map(|id| (NodeId(id), MemberState::known(identity(id, 1), Millis(0)))).collect();
    swim.begin_with(Millis(0), &known);
    let some = swim.facts_in(u64::MAX);
    assert!(some.len() <= FACTS_MAX && some.len() > FACTS_MAX - 200, "{}", some.len());
    let parts = |facts: &[MemberFact]| facts.iter().fold(0u64, |bits, f| bits | 1 << digest::part(f.identity.id));
    assert_eq!(swim.facts_in(parts(&some)).len(), some.len(), "each part that is in there is there whole");
}

#[test]
fn of_two_processes_with_the_same_start_one_gives_way() {
    let mut cluster = Cluster::formed(5, 2); // the news passes it by where the ring has tired of it
    cluster.kill(5);
    assert!(cluster.run_until(secs(5), |c| c.all_see(Liveness::Down, &[NodeId(5)])));
    // Another machine goes on with a copy of the folder: the same start, another address.
    cluster.start(5, 2, 5);
    assert!(cluster.run_until(secs(3), |c| c.all_see(Liveness::Alive, &c.ids())));
    let elsewhere = Identity { address: "127.0.9.9:7400".parse().expect("an address"), ..identity(5, 2) };
    let fact = MemberFact { identity: elsewhere, refutations: 0, liveness: Liveness::Alive };
    cluster.on(1, |swim, now| swim.merge(now, &[fact])).expect("one fact");
    let told = |c: &Cluster| c.other_effects.contains(&(NodeId(5), Effect::Outranked(elsewhere.incarnation)));
    assert!(cluster.run_until(secs(3), told), "the one with the lower address is told");
    assert_eq!(cluster.nodes[&NodeId(1)].members()[&NodeId(5)].identity, elsewhere, "all settle on the other");
}

#[test]
fn a_ring_across_continents_neither_errs_nor_sleeps() {
    for seed in 0..3 {
        let mut cluster = Cluster::formed_far_apart(12, seed);
        cluster.loss = 0.02;
        cluster.run(secs(120));
        let down = cluster.seen.iter().find(|s| s.change.after == Some(Liveness::Down));
        assert_eq!(down, None, "seed {seed}");
        let at = cluster.now;
        cluster.kill(12);
        assert!(cluster.run_until(secs(30), |c| c.all_see(Liveness::Down, &[NodeId(12)])), "seed {seed}");
        println!("down everywhere after {:?}", cluster.now.since(at));
    }
}

#[test]
fn the_farewell_of_an_earlier_life_is_ignored() {
    let mut cluster = Cluster::formed(3, 1);
    cluster.kill(3);
    cluster.start(3, 2, 3);
    assert!(cluster.run_until(secs(5), |c| c.all_see(Liveness::Alive, &c.ids()) && c.sees(1, 3).is_some()));
    cluster.run(secs(1));
    cluster.on(1, |swim, now| swim.mark_left(now, NodeId(3), Incarnation { start: 1, renewal: 4 }));
    assert_eq!(cluster.sees(1, 3), Some(Liveness::Alive));
}

#[test]
fn loss_alone_makes_no_member_down() {
    for seed in 0..3 {
        let mut cluster = Cluster::formed(10, seed);
        cluster.loss = 0.02;
        cluster.run(secs(120));
        let down = cluster.seen.iter().find(|s| s.change.after == Some(Liveness::Down));
        assert_eq!(down, None, "seed {seed}");
        assert!(cluster.other_effects.is_empty());
    }
}

#[test]
fn the_same_seed_makes_the_same_trace() {
    let trace = |seed| {
        let mut cluster = Cluster::formed(12, seed);
        cluster.loss = 0.05;
        cluster.kill(7);
        cluster.run(secs(10));
        (cluster.packets, cluster.seen)
    };
    assert_eq!(trace(11), trace(11));
    assert_ne!(trace(11), trace(12));
}

#[test]
fn a_member_list_brings_a_joiner_everyone_at_once() {
    let mut cluster = Cluster::formed(20, 2);
    cluster.kill(20);
    assert!(cluster.run_until(secs(5), |c| c.all_see(Liveness::Down, &[NodeId(20)])));
    let facts = cluster.nodes[&NodeId(3)].facts();
    assert_eq!(facts.len(), 20);
    cluster.start(21, 1, 21);
    cluster.on(21, |swim, now| swim.adopt(now, &facts)).expect("few facts");
    let joiner = &cluster.nodes[&NodeId(21)];
    assert_eq!(joiner.members().len(), 20);
    assert_eq!(cluster.sees(21, 20), Some(Liveness::Down));
    let (facts, before) = (joiner.facts(), joiner.revision());
    cluster.on(21, |swim, now| swim.merge(now, &facts)).expect("few facts");
    assert_eq!(cluster.nodes[&NodeId(21)].revision(), before, "what is known already changes nothing");
}

#[test]
fn a_ring_that_is_known_from_the_start_needs_no_news() {
    let known: Members = (1..=30).map(|id| (NodeId(id), MemberState::known(identity(id, 1), Millis(0)))).collect();
    let mut swim = Swim::new(Millis(0), identity(7, 1), SwimConfig::lan(30), 1).expect("a preset");
    swim.begin_with(Millis(0), &known);
    swim.check_sums();
    assert_eq!(swim.members().len(), 29);
    let sends: Vec<Effect> = (0..=6)
        .flat_map(|step| {
            swim.handle_timeout(Millis(100 * step));
            swim.take_effects()
        })
        .collect();
    let probes = sends.iter().filter(|e| matches!(e, Effect::Send { .. })).count();
    assert!((1..5).contains(&probes), "it probes and tells nothing: {probes} packets");
}

#[test]
fn the_revision_stands_while_nothing_changes() {
    let mut cluster = Cluster::formed(5, 4);
    cluster.run(secs(3));
    let revisions = |c: &Cluster| c.nodes.values().map(Swim::revision).collect::<Vec<_>>();
    let before = revisions(&cluster);
    cluster.run(secs(30));
    assert_eq!(revisions(&cluster), before);
    cluster.kill(5);
    cluster.run(secs(5));
    assert!(revisions(&cluster).iter().zip(before).all(|(after, before)| *after > before));
}

#[test]
fn only_a_member_that_is_gone_can_be_forgotten() {
    let mut cluster = Cluster::formed(4, 4);
    assert!(!cluster.on(1, |swim, now| swim.forget(now, NodeId(4))));
    cluster.kill(4);
    assert!(cluster.run_until(secs(5), |c| c.all_see(Liveness::Down, &[NodeId(4)])));
    assert!(cluster.on(1, |swim, now| swim.forget(now, NodeId(4))));
    assert_eq!(cluster.sees(1, 4), None);
    assert_eq!(cluster.nodes[&NodeId(1)].facts().len(), 3);
}

fn alone() -> Swim {
    Swim::new(Millis(0), identity(1, 1), SwimConfig::lan(3), 1).expect("a preset")
}

/// A packet that node 2 sends to node 1.
fn packet_from_2() -> Vec<u8> {
    let mut two = Swim::new(Millis(0), identity(2, 1), SwimConfig::lan(3), 2).expect("a preset");
    two.join(Millis(0), &[identity(1, 1)]);
    match two.take_effects().remove(0) {
        Effect::Send { packet, .. } => packet,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_packet_from_another_than_it_says_is_refused() {
    let mut swim = alone();
    let wrong = PacketError::WrongSender { claimed: NodeId(2), actual: NodeId(3) };
    assert_eq!(swim.handle_packet(Millis(5), NodeId(3), &packet_from_2()), Err(wrong));
    assert!(swim.members().is_empty() && swim.take_effects().is_empty());
    assert_eq!(swim.handle_packet(Millis(5), NodeId(2), &packet_from_2()), Ok(()));
    assert_eq!(swim.members().len(), 1);
}

#[test]
fn a_node_does_not_talk_to_its_own_earlier_life() {
    let mut swim = Swim::new(Millis(0), identity(1, 2), SwimConfig::lan(3), 1).expect("a preset");
    let ask = |target: Identity| {
        let message = Message::PingReq { target, probe_number: 1 };
        let header = Header { src: identity(2, 1), src_incarnation: 0, dst: identity(1, 2), message };
        let mut packet = Vec::new();
        codec::put_header(&header, &mut packet).expect("it fits");
        packet::join(packet::Kind::Swim, &packet)
    };
    let sent = |swim: &mut Swim| -> Vec<NodeId> {
        let to = |e| if let Effect::Send { to, .. } = e { Some(to.id) } else { None };
        swim.take_effects().into_iter().filter_map(to).collect()
    };
    swim.handle_packet(Millis(1), NodeId(2), &ask(identity(3, 1))).expect("a good packet");
    assert_eq!(sent(&mut swim), [NodeId(3)]);
    swim.handle_packet(Millis(1), NodeId(2), &ask(identity(1, 1))).expect("a good packet");
    assert_eq!(sent(&mut swim), []);
}

#[test]
fn damaged_packets_change_nothing_and_never_panic() {
    let mut swim = alone();
    let good = packet_from_2();
    for length in 0..good.len() {
        assert!(swim.handle_packet(Millis(5), NodeId(2), &good[..length]).is_err(), "cut to {length}");
    }
    let longer = [&good[..], &[0, 1, 7]].concat();
    assert!(matches!(swim.handle_packet(Millis(5), NodeId(2), &longer), Err(PacketError::Malformed(_))));
    let large = vec![0; 1101];
    let too_large = PacketError::TooLarge { bytes: 1101, max: 1100 };
    assert_eq!(swim.handle_packet(Millis(5), NodeId(2), &large), Err(too_large));
    assert!(swim.members().is_empty());
    for byte in 0..good.len() {
        for bit in 0..8 {
            let mut flipped = good.clone();
            flipped[byte] ^= 1 << bit;
            let mut swim = alone();
            let taken = swim.handle_packet(Millis(5), NodeId(2), &flipped);
            assert!(taken.is_ok() || swim.members().is_empty());
        }
    }
}

#[test]
fn a_ring_takes_no_more_members_than_its_limit() {
    let mut swim = alone();
    let fact = |id: usize| MemberFact {
        identity: Identity::seed(NodeId(10 + id as u64), "127.0.0.1:1".parse().expect("an address")),
        refutations: 0,
        liveness: Liveness::Alive,
    };
    let facts: Vec<_> = (0..=MEMBERS_MAX).map(fact).collect();
    assert_eq!(swim.merge(Millis(1), &facts), Err(PacketError::TooManyMembers(MEMBERS_MAX)));
    assert!(swim.members().is_empty());
}

#[test]
fn a_config_that_cannot_work_is_refused() {
    let zero = SwimConfig { suspicion: Duration::ZERO, ..SwimConfig::lan(3) };
    assert_eq!(zero.check(), Err(InvalidConfig::Zero("suspicion")));
    let short = SwimConfig { probe_period: millis(200), ..SwimConfig::lan(3) };
    assert_eq!(short.check(), Err(InvalidConfig::ProbePeriod { period: millis(200), timeout: millis(150) }));
    assert_eq!(SwimConfig::wan(10_000).check(), Ok(()));

    let mut swim = alone();
    assert_eq!(swim.set_config(SwimConfig::wan(3)), Err(InvalidConfig::Fixed("probe_period")));
    assert_eq!(swim.set_config(SwimConfig::lan(5_000)), Ok(()));
}

#[test]
fn suspicion_grows_with_the_ring() {
    assert_eq!(SwimConfig::lan(3).suspicion, secs(1));
    assert_eq!(SwimConfig::lan(1_000).suspicion, secs(1));
    assert_eq!(SwimConfig::lan(10_000).suspicion, secs(2));
}
