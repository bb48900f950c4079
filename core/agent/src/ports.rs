//! Which ports a run gets.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};
use taffeta_model::{Bug, PortSpec, TaskId, fnv1a, mix, planted};

/// The ports that are given to tasks: below the kernel's ephemeral range (from 32768), above what people pick.
pub const PORTS: RangeInclusive<u16> = 20_000..=31_999;

/// How many there are: 2^5 * 3 * 5^3.
const COUNT: u64 = 12_000;

/// The seed of a task's port order. Another attempt has another order, so that a task that was placed anew does not
/// run into what made its old ports unusable; restarts under one placement keep their ports where they can.
pub fn port_seed(task: &TaskId, attempt: u32) -> u64 {
    let text = format!("{task}#{attempt}");
    // FNV-1a: spreads short texts well, and needs no secret, as nobody gains by choosing ports.
    fnv1a(text.as_bytes())
}

/// Every port of [`PORTS`] exactly once, in an order that depends on the seed.
pub fn port_order(seed: u64) -> impl Iterator<Item = u16> {
    let start = mix(seed) % COUNT;
    // A step that shares no factor with the count visits every port before it comes back to the first.
    let mut step = (mix(seed.wrapping_add(1)) % COUNT) | 1;
    while step.is_multiple_of(3) || step.is_multiple_of(5) {
        step += 2; // ends at 11,999 at the latest
    }
    (0..COUNT).map(move |i| PORTS.start() + ((start + i * step) % COUNT) as u16)
}

/// Picks a run's ports: the fixed ones as they are, the others from `order`, past those that runs of this node use and
/// those that were found taken. The error says in words what stands in the way.
pub(crate) fn choose_ports(
    wanted: &[PortSpec],
    order: impl Iterator<Item = u16>,
    in_use: &BTreeMap<u16, TaskId>,
    taken: &BTreeSet<u16>,
) -> Result<Vec<(String, u16)>, String> {
    if planted(Bug::SamePortTwice) {
        let same = (*PORTS.start()..).zip(wanted);
        return Ok(same.map(|(number, p)| (p.name.clone(), p.fixed.unwrap_or(number))).collect());
    }
    let fixed: BTreeSet<u16> = wanted.iter().filter_map(|p| p.fixed).collect();
    let mut free = order.filter(|n| !in_use.contains_key(n) && !taken.contains(n) && !fixed.contains(n));
    let mut pick = |port: &PortSpec| match port.fixed {
        Some(number) => match in_use.get(&number) {
            Some(holder) => Err(format!("waits for port {number}, which {holder} has")),
            None => Ok((port.name.clone(), number)),
        },
        None => match free.next() {
            Some(number) => Ok((port.name.clone(), number)),
            None => Err(format!("waits for a free port of {} to {}", PORTS.start(), PORTS.end())),
        },
    };
    wanted.iter().map(&mut pick).collect()
}
