//! Weighted sampling without replacement.

use crate::sample::SplitMix;

/// Weights by position, as a tree of sums (Fenwick 1994) that is drawn from in logarithmic time.
#[derive(Clone, Debug)]
pub(crate) struct Weights {
    /// Of each position the sum of as many weights up to it as its number (from 1) has in its lowest bit.
    sums: Box<[u64]>,
    total: u64,
    /// How many are above zero; never none.
    positive: usize,
}

impl Weights {
    /// At least one weight is above zero.
    pub(crate) fn new(weights: Vec<u64>) -> Self {
        let (total, positive) = (weights.iter().sum(), weights.iter().filter(|w| **w > 0).count());
        let mut sums = weights;
        for at in 1..=sums.len() {
            let above = at + lowest_bit(at);
            if above <= sums.len() {
                sums[above - 1] += sums[at - 1];
            }
        }
        Self { sums: sums.into(), total, positive }
    }

    /// How many positions are ever drawn.
    pub(crate) fn positive(&self) -> usize {
        self.positive
    }

    /// Whether a position is ever drawn.
    pub(crate) fn has(&self, position: usize) -> bool {
        weight(&self.sums, position) > 0
    }

    /// Draws up to `count` positions into `drawn`, each with a chance in proportion to its weight among those that
    /// are left. Those without weight are never drawn. `sums` is room for a copy.
    pub(crate) fn draw(&self, count: usize, random: &mut SplitMix, sums: &mut Vec<u64>, drawn: &mut Vec<u32>) {
        drawn.clear();
        sums.clear();
        sums.extend_from_slice(&self.sums);
        let mut total = self.total;
        for _ in 0..count.min(self.positive) {
            let (position, weight) = find(sums, random.below(total));
            drawn.push(position as u32);
            total -= weight;
            take(sums, position, weight);
        }
    }
}

/// The position where the sum of weights passes `point`, and its weight.
fn find(sums: &[u64], point: u64) -> (usize, u64) {
    let (mut at, mut rest) = (0, point);
    let mut step = sums.len().next_power_of_two();
    while step > 0 {
        if at + step <= sums.len() && sums[at + step - 1] <= rest {
            at += step;
            rest -= sums[at - 1];
        }
        step /= 2;
    }
    (at, weight(sums, at))
}

/// The weight of one position: its sum without those that the sum takes in.
fn weight(sums: &[u64], position: usize) -> u64 {
    let (mut weight, end) = (sums[position], position + 1 - lowest_bit(position + 1));
    let mut at = position;
    while at > end {
        weight -= sums[at - 1];
        at -= lowest_bit(at);
    }
    weight
}

fn take(sums: &mut [u64], position: usize, weight: u64) {
    let mut at = position + 1;
    while at <= sums.len() {
        sums[at - 1] -= weight;
        at += lowest_bit(at);
    }
}

fn lowest_bit(number: usize) -> usize {
    number & number.wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same by a walk of all weights for each draw.
    fn naive(mut weights: Vec<u64>, count: usize, random: &mut SplitMix) -> Vec<u32> {
        let positive = weights.iter().filter(|w| **w > 0).count();
        let draw = |_| {
            let mut point = random.below(weights.iter().sum());
            let position = weights
                .iter()
                .position(|w| {
                    point < *w || {
                        point -= w;
                        false
                    }
                })
                .unwrap();
            weights[position] = 0;
            position as u32
        };
        (0..count.min(positive)).map(draw).collect()
    }

    proptest! {
        #[test]
        fn drawing_is_a_walk_of_all_weights(
            weights in prop::collection::vec(0..50u64, 1..80), count in 0..90usize, seed in any::<u64>(),
        ) {
            prop_assume!(weights.iter().any(|w| *w > 0));
            let (mut sums, mut drawn) = (Vec::new(), Vec::new());
            Weights::new(weights.clone()).draw(count, &mut SplitMix::new(seed), &mut sums, &mut drawn);
            prop_assert_eq!(drawn, naive(weights, count, &mut SplitMix::new(seed)));
        }
    }
}
