//! A fair sample in random order from a seed.

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
pub(crate) fn sample(len: usize, count: usize, random: &mut SplitMix) -> Vec<usize> {
    let mut positions: Vec<usize> = (0..len).collect();
    let count = count.min(len);
    for i in 0..count {
        let j = i + random.below(len - i);
        positions.swap(i, j);
    }
    positions.truncate(count);
    positions
}
