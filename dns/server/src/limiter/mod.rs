//! Who gets how much: a rate limit on replies, so that this server is no weapon against others, and fair shares of a
//! socket that loses queries, so that one client cannot starve the rest.
//!
//! Tables of a fixed size; nothing here takes memory or waits.

mod fairness;
mod rate;

pub(crate) use fairness::Fairness;
pub(crate) use rate::{Kind, RateLimit, Verdict};

#[cfg(test)]
mod fairness_tests;
#[cfg(test)]
mod rate_tests;

/// Spreads numbers over a table in a way that only who knows the secret can foresee (the finisher of SplitMix64).
fn mix(secret: u64, number: u64) -> u64 {
    let mut z = number.wrapping_add(secret).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The same of an address.
fn mix_address(secret: u64, address: u128) -> u64 {
    mix(mix(secret, address as u64), (address >> 64) as u64)
}
