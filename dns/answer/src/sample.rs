//! A fair sample in random order from a seed.

use std::collections::BTreeMap;

/// SplitMix64 (Steele, Lea, Flood 2014). Good enough to spread load; nothing secret comes from it.
pub(crate) struct SplitMix(u64);

impl SplitMix {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, by the high half of a product: its bias is below `bound` / 2^64.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

/// Up to how many positions all are written down for a shuffle, which takes less than a table of some: the room for
/// them is kept, 32 KiB.
const DENSE_MAX: usize = 8192;

/// Fills `sample` with `count` positions out of `0..len`, or all if there are fewer; every choice and order is equally
/// likely. Costs `count` steps and at most [`DENSE_MAX`] short ones, however large `len` is.
pub(crate) fn sample(len: usize, count: usize, random: &mut SplitMix, sample: &mut Vec<u32>) {
    sample.clear();
    if len <= DENSE_MAX {
        sample.extend(0..len as u32);
        shuffle(sample, count, random);
        sample.truncate(count);
    } else {
        sparsely_shuffle(len, count, random, sample);
    }
}

/// Makes the first `count` a fair sample of all, in random order: the beginning of a Fisher-Yates shuffle.
pub(crate) fn shuffle(positions: &mut [u32], count: usize, random: &mut SplitMix) {
    let len = positions.len();
    // The last one of all has no choice.
    for i in 0..count.min(len.saturating_sub(1)) {
        let j = i + random.below((len - i) as u64) as usize;
        positions.swap(i, j);
    }
}

/// The same, where only the places that something was swapped into are written down.
fn sparsely_shuffle(len: usize, count: usize, random: &mut SplitMix, sample: &mut Vec<u32>) {
    let mut moved = BTreeMap::new();
    let step = |i: u32| {
        let j = i + random.below(len as u64 - u64::from(i)) as u32;
        let here = moved.get(&i).copied().unwrap_or(i);
        moved.insert(j, here).unwrap_or(j)
    };
    sample.extend((0..count.min(len) as u32).map(step));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sparse_shuffle_is_the_shuffle(len in 0..300usize, part in 0..100usize, seed in any::<u64>()) {
            let count = len * part / 100;
            let mut dense: Vec<u32> = (0..len as u32).collect();
            shuffle(&mut dense, count, &mut SplitMix::new(seed));
            let mut sparse = Vec::new();
            sparsely_shuffle(len, count, &mut SplitMix::new(seed), &mut sparse);
            prop_assert_eq!(&sparse, &dense[..count]);
        }
    }
}
