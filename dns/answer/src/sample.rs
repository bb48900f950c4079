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
    fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.next()) * bound as u128;
        (wide >> 64) as usize
    }
}

/// `count` positions out of `0..len`, or all if there are fewer; every choice and order is equally likely.
/// Costs `count` steps, however large `len` is.
pub(crate) fn sample(len: usize, count: usize, random: &mut SplitMix) -> Vec<usize> {
    if len <= count * 4 { shuffled(len, count, random) } else { sparsely_shuffled(len, count, random) }
}

/// The beginning of a Fisher-Yates shuffle.
fn shuffled(len: usize, count: usize, random: &mut SplitMix) -> Vec<usize> {
    let mut positions: Vec<usize> = (0..len).collect();
    let count = count.min(len);
    for i in 0..count {
        let j = i + random.below(len - i);
        positions.swap(i, j);
    }
    positions.truncate(count);
    positions
}

/// The same, where only the places that something was swapped into are written down.
fn sparsely_shuffled(len: usize, count: usize, random: &mut SplitMix) -> Vec<usize> {
    let mut moved = BTreeMap::new();
    let step = |i| {
        let j = i + random.below(len - i);
        let here = moved.get(&i).copied().unwrap_or(i);
        moved.insert(j, here).unwrap_or(j)
    };
    (0..count.min(len)).map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sparse_shuffle_is_the_shuffle(len in 0..300usize, count in 0..150usize, seed in any::<u64>()) {
            let dense = shuffled(len, count, &mut SplitMix::new(seed));
            prop_assert_eq!(sparsely_shuffled(len, count, &mut SplitMix::new(seed)), dense);
        }
    }
}
