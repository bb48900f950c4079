//! The ring at forty machines of real processes: how fast all of them know, and what they use while nothing happens.

mod support;

use std::time::Duration;
use support::{alone, binary};
use taffeta_harness::{COMPLETE_MAX, Cluster, IDLE_CORES_MAX, KILLED_MAX, LEFT_MAX, Ring};

const MACHINES: u8 = 40;

/// The four promises about a ring of forty machines on one machine of two cores.
#[derive(Debug)]
struct Seen {
    /// From the last start until all show all as alive.
    complete: Duration,
    /// Of all machines together, while nothing happens.
    idle_cores: f64,
    /// From the death of three, the leader among them, until all others show them as down.
    killed: Duration,
    /// From the signal to one until all others show that it has left.
    left: Duration,
}

impl Seen {
    fn is_kept(&self) -> bool {
        self.complete <= COMPLETE_MAX
            && self.killed <= KILLED_MAX
            && self.left <= LEFT_MAX
            && self.idle_cores <= IDLE_CORES_MAX
    }
}

fn measure() -> Seen {
    let mut ring =
        Ring::start(Cluster::new(binary()), usize::from(MACHINES), Ring::at_once()).expect("a complete ring");
    let idle = ring.idle(Duration::from_secs(10));
    let killed = ring.kill_three(0);
    let known = killed.known.expect("a death that all know of");
    println!("the death of {} was last known to {} (before: {})", killed.roles.join(", "), known.last, known.before);
    let left = ring.leave().expect("a farewell that all know of");
    println!("the farewell was last known to {} (before: {})", left.last, left.before);
    Seen { complete: ring.complete.took, idle_cores: idle.cores.iter().sum(), killed: known.took, left: left.took }
}

#[test]
fn forty_machines_know_of_starts_deaths_and_farewells_in_time_and_idle_on_half_a_core() {
    let _alone = alone();
    if let Some(why) = Ring::lacks(MACHINES) {
        eprintln!("SKIPPED: {MACHINES} machines cannot be measured here: {why}");
        return;
    }
    // Whatever else this machine does counts against these times. So the first miss may be the machine's, the second is
    // ours.
    let mut seen = measure();
    println!("{seen:?}");
    if !seen.is_kept() {
        seen = measure();
        println!("and once more: {seen:?}");
    }
    assert!(seen.is_kept(), "{seen:?}");
}
