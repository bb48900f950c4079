//! What the machine promises, in a network of them.

use super::network::Network;
use crate::FLOOD_PEERS_MAX;

/// Changes at random nodes, evenly over the time.
fn change(network: &mut Network, changes: u64, millis: u64) {
    for _ in 0..changes {
        network.publish_anywhere();
        network.run(millis / changes);
    }
}

fn percentile(sorted: &[u64], percent: usize) -> u64 {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn arrivals(network: &Network) -> String {
    let mut sorted = network.arrivals.clone();
    sorted.sort_unstable();
    let at = |percent| percentile(&sorted, percent);
    format!("arrival p50 {} p99 {} max {} ms", at(50), at(99), at(100))
}

#[test]
fn every_change_reaches_all_also_if_messages_are_lost() {
    for size in [3, 8, 9, 40, 300] {
        for loss in [0.0, 0.02] {
            let mut network = Network::new(size, 7);
            network.loss = loss;
            change(&mut network, 200, 4_000);
            let after = network.run_until_equal(30_000);
            let copies = network.counts.updates as f64 / (200 * (size - 1)) as f64;
            println!(
                "{size} nodes, loss {loss}: all equal {after} ms after the last change, {copies:.2} copies, {}",
                arrivals(&network)
            );
            for node in &network.nodes {
                assert_eq!(node.catalogue().sets(), network.nodes[0].catalogue().sets());
            }
        }
    }
}

#[test]
fn the_eager_links_become_about_a_tree() {
    let mut network = Network::new(300, 1);
    change(&mut network, 1_000, 10_000);
    network.run(2_000);
    let eager: usize = network.nodes.iter().map(|n| n.neighbours().filter(|(_, eager)| *eager).count()).sum();
    network.reset_counts();
    change(&mut network, 1_000, 10_000);
    network.run(2_000);
    let copies = network.counts.updates as f64 / (1_000 * 299) as f64;
    println!("300 nodes after warm-up: {copies:.3} copies an update, {eager} eager ends, {}", arrivals(&network));
    println!("{:?}", network.counts);
    assert!(copies <= 1.5, "{copies}");
    assert!(network.counts.wholes < 1_000 * 299 / 20, "deltas fit");
}

#[test]
fn equal_seeds_give_equal_traces() {
    let trace = |seed| {
        let mut network = Network::new(40, seed);
        network.loss = 0.02;
        change(&mut network, 100, 2_000);
        network.run(10_000);
        network.trace
    };
    assert_eq!(trace(3), trace(3));
    assert_ne!(trace(3), trace(4));
}

#[test]
fn killed_neighbours_do_not_stop_spreading() {
    let mut network = Network::new(300, 5);
    change(&mut network, 500, 5_000);
    network.run(2_000);
    let mut worst = 0;
    for round in 0..5 {
        let origin = network.publish_anywhere();
        network.run_until_equal(2_000);
        let eager = network.nodes[origin].neighbours().filter(|(_, eager)| *eager).map(|(peer, _)| peer);
        let victim = eager.map(|peer| network.index(peer)).find(|peer| !network.dead.contains(peer));
        network.dead.insert(victim.expect("an eager neighbour"));
        network.publish(origin);
        let healed = network.run_until_equal(10_000);
        println!("round {round}: all have it after {healed} ms");
        worst = worst.max(healed);
        network.introduce();
    }
    assert!(worst < 1_000, "{worst}");
}

#[test]
fn two_halves_that_did_not_talk_converge_after_healing() {
    for size in [4, 40, 300] {
        let mut network = Network::new(size, 2);
        change(&mut network, 100, 2_000);
        network.run_until_equal(20_000);
        network.sides = (0..size).map(|node| node % 2).collect();
        network.introduce();
        change(&mut network, 300, 10_000);
        network.run(5_000);
        network.sides = vec![0; size];
        network.introduce();
        network.reset_counts();
        let healed = network.run_until_equal(30_000);
        println!("{size} nodes: healed in {healed} ms, {:?}", network.counts);
        assert!(healed < 10_000);
    }
}

#[test]
fn in_a_small_ring_nobody_is_ever_lazy() {
    let mut network = Network::new(FLOOD_PEERS_MAX + 1, 1);
    change(&mut network, 300, 3_000);
    assert!(network.nodes.iter().all(|node| node.neighbours().all(|(_, eager)| eager)));
    assert_eq!(network.counts.messages.get("prune"), None);
}

#[test]
fn at_rest_comparing_costs_next_to_nothing_and_under_load_little() {
    let mut network = Network::new(300, 9);
    for node in 0..300 {
        network.publish(node);
        network.run(10);
    }
    network.run_until_equal(20_000);
    network.run(5_000);
    network.reset_counts();
    network.run(60_000);
    let total: usize = network.counts.bytes.values().sum();
    println!("at rest: {:.1} bytes a node and second, {:?}", total as f64 / 300.0 / 60.0, network.counts.messages);
    assert!(total / 300 / 60 < 100);
    network.reset_counts();
    change(&mut network, 1_000, 10_000);
    let bytes = |kind| network.counts.bytes.get(kind).copied().unwrap_or_default();
    let mending: usize = ["summary", "buckets", "check", "heads"].into_iter().map(bytes).sum();
    println!("at 100 changes a second: {} bytes a node and second for comparing", mending / 300 / 10);
    println!("{:?}", network.counts);
    assert!(mending / 300 / 10 < 10_000);
}

#[test]
#[ignore = "takes five minutes: run it with --ignored"]
fn in_the_largest_ring_a_change_takes_less_than_a_second() {
    let mut network = Network::new(10_000, 1);
    change(&mut network, 100, 2_000);
    network.run(2_000);
    network.reset_counts();
    change(&mut network, 200, 2_000);
    network.run(2_000);
    let copies = network.counts.updates as f64 / (200 * 9_999) as f64;
    println!("10,000 nodes: {copies:.3} copies an update, {}", arrivals(&network));
    println!("{:?}", network.counts);
    assert!(copies <= 1.5 && network.arrivals.iter().all(|millis| *millis < 1_000));
}
