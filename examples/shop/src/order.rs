//! In which order a client tries the targets of an SRV answer (RFC 2782), from a seed.

use hickory_proto::rr::rdata::SRV;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Numbers from a seed (SplitMix64), good enough to spread load; nothing secret hangs on them.
#[derive(Debug)]
pub(crate) struct Dice(AtomicU64);

impl Dice {
    /// The same seed gives the same numbers.
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// A number from 0 to `most`, both included.
    fn up_to(&self, most: u64) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        most.checked_add(1).map_or(z, |sides| z % sides)
    }
}

/// Lowest priority first; within one, each next target is drawn by weight.
pub(crate) fn in_order<'a>(mut records: Vec<&'a SRV>, dice: &Dice) -> Vec<&'a SRV> {
    // The RFC leaves open how equals stand before the draw. Without a shuffle the first of several targets that all
    // have weight 0 would be drawn every time.
    for i in (1..records.len()).rev() {
        records.swap(i, index(dice.up_to(i as u64)));
    }
    records.sort_by_key(|srv| (srv.priority, srv.weight != 0));
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(first) = records.first() {
        let group = records.partition_point(|srv| srv.priority == first.priority);
        ordered.push(records.remove(drawn(&records[..group], dice)));
    }
    ordered
}

/// Position of the first record whose running sum of weights reaches a number drawn from 0 to the whole sum.
fn drawn(group: &[&SRV], dice: &Dice) -> usize {
    let sum: u64 = group.iter().map(|srv| u64::from(srv.weight)).sum();
    let mut left = dice.up_to(sum);
    for (position, srv) in group.iter().enumerate() {
        match left.checked_sub(u64::from(srv.weight)) {
            None | Some(0) => return position,
            Some(rest) => left = rest,
        }
    }
    0
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("not above a length")
}

#[cfg(test)]
mod tests;
