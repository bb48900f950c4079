//! Response rate limiting (Vixie, Schryver 2012), as BIND, NSD and Knot have it.
//!
//! Who forges the address of a victim in queries makes us send replies to the victim. So a network gets at most so many
//! replies of a kind in a second; of those in excess every second one is sent cut short, which is no longer than the
//! query and makes an honest client come by TCP, and the others are not sent.

use super::{mix, mix_address};
use std::{
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
};

/// Sets of buckets. With [`LANES`] in each: 16,384 networks and kinds at once, in 128 KiB. A network that finds no room
/// takes that of the one that was longest silent, and begins with a full bucket: somebody else then got as much as they.
const SETS: usize = 4096;
const LANES: usize = 4;
/// Parts of a bucket: a tag that tells networks apart, milliseconds, tokens, and whether the next excess reply is cut.
const TIME_BITS: u32 = 20;
const TOKEN_BITS: u32 = 23;
const TAG_BITS: u32 = 64 - TIME_BITS - TOKEN_BITS - 1;
/// Highest rate that fits.
const RATE_MAX: u32 = (1 << TOKEN_BITS) - 1;
/// Another thread may have read the clock so much later.
const THREADS_APART_MS: u64 = 1000;
/// Threads that collide on one bucket try again so often; then the reply is sent.
const TRIES: usize = 4;

/// Kinds of replies that are counted apart, so that a flood of one does not cost the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Data,
    NoData,
    NxDomain,
    Error,
}

/// What is to be done with a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Send,
    /// Cut short.
    Slip,
    Drop,
}

/// Buckets of tokens that all threads of a server share.
#[derive(Debug)]
pub(crate) struct RateLimit {
    /// Replies in a second, and at once; 0: no limit.
    rate: u32,
    secret: u64,
    sets: Box<[[AtomicU64; LANES]]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    tag: u64,
    at_ms: u64,
    tokens: u64,
    cuts_next: bool,
}

impl Kind {
    /// Of a reply.
    pub(crate) fn of(reply: &[u8]) -> Self {
        match reply.get(3).map(|flags| flags & 0xf) {
            Some(0) if reply.get(6..8) == Some(&[0, 0]) => Self::NoData,
            Some(0) => Self::Data,
            Some(3) => Self::NxDomain,
            Some(_) | None => Self::Error,
        }
    }
}

impl RateLimit {
    /// `secret` keeps anybody from choosing networks that share a bucket with a victim's.
    pub(crate) fn new(rate: u32, secret: u64) -> Self {
        let sets = if rate == 0 { 0 } else { SETS };
        let sets = (0..sets).map(|_| Default::default()).collect();
        Self { rate: rate.min(RATE_MAX), secret, sets }
    }

    /// Whether there is a limit.
    pub(crate) fn is_on(&self) -> bool {
        self.rate > 0
    }

    /// Takes a token for a reply, if there is one.
    pub(crate) fn check(&self, now_ms: u64, client: IpAddr, kind: Kind) -> Verdict {
        if !self.is_on() {
            return Verdict::Send;
        }
        let key = mix(mix_address(self.secret, network(client)), kind as u64);
        let (set, tag) = (&self.sets[key as usize % SETS], key >> (64 - TAG_BITS));
        let now_ms = now_ms & mask(TIME_BITS);
        for _ in 0..TRIES {
            let (lane, bucket) = self.find(set, tag, now_ms);
            let (next, verdict) = self.take(bucket.map_or_else(|| self.full(tag, now_ms), Bucket::read), now_ms);
            let before = bucket.unwrap_or_else(|| set[lane].load(Ordering::Relaxed));
            if set[lane].compare_exchange_weak(before, next.written(), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return verdict;
            }
        }
        Verdict::Send
    }

    /// The lane of a network, with what is written there; or the lane to take for it.
    fn find(&self, set: &[AtomicU64; LANES], tag: u64, now_ms: u64) -> (usize, Option<u64>) {
        let mut oldest = (0, 0);
        for (lane, word) in set.iter().enumerate() {
            let word = word.load(Ordering::Relaxed);
            let bucket = Bucket::read(word);
            if word != 0 && bucket.tag == tag {
                return (lane, Some(word));
            }
            let age = if word == 0 { u64::MAX } else { bucket.age_ms(now_ms) };
            if age > oldest.1 {
                oldest = (lane, age);
            }
        }
        (oldest.0, None)
    }

    fn full(&self, tag: u64, now_ms: u64) -> Bucket {
        Bucket { tag, at_ms: now_ms, tokens: self.rate.into(), cuts_next: true }
    }

    fn take(&self, bucket: Bucket, now_ms: u64) -> (Bucket, Verdict) {
        let rate = u64::from(self.rate);
        let more = bucket.age_ms(now_ms) * rate / 1000;
        // Time that gave no whole token is kept for the next.
        let at_ms = if more > 0 { now_ms } else { bucket.at_ms };
        let tokens = (bucket.tokens + more).min(rate);
        let bucket = Bucket { at_ms, tokens, ..bucket };
        match tokens.checked_sub(1) {
            Some(tokens) => (Bucket { tokens, ..bucket }, Verdict::Send),
            None => {
                let verdict = if bucket.cuts_next { Verdict::Slip } else { Verdict::Drop };
                (Bucket { cuts_next: !bucket.cuts_next, ..bucket }, verdict)
            }
        }
    }
}

impl Bucket {
    fn read(word: u64) -> Self {
        Self {
            cuts_next: word & 1 == 1,
            tokens: word >> 1 & mask(TOKEN_BITS),
            at_ms: word >> (1 + TOKEN_BITS) & mask(TIME_BITS),
            tag: word >> (1 + TOKEN_BITS + TIME_BITS),
        }
    }

    fn written(self) -> u64 {
        let time = self.at_ms << (1 + TOKEN_BITS);
        self.tag << (1 + TOKEN_BITS + TIME_BITS) | time | self.tokens << 1 | u64::from(self.cuts_next)
    }

    /// The clock goes round in 17 minutes. Who was silent for as long may have to wait a moment for tokens.
    fn age_ms(self, now_ms: u64) -> u64 {
        let age = now_ms.wrapping_sub(self.at_ms) & mask(TIME_BITS);
        if age > mask(TIME_BITS) - THREADS_APART_MS { 0 } else { age }
    }
}

fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

/// The 24 bits of IPv4 and the 56 of IPv6 that one customer has as a rule, marked by their family.
fn network(client: IpAddr) -> u128 {
    match client.to_canonical() {
        IpAddr::V4(v4) => u128::from(v4.to_bits() >> 8),
        IpAddr::V6(v6) => v6.to_bits() >> 72 | 1 << 127,
    }
}
