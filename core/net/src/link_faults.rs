//! What is done on purpose to the packets of a node: the rules, and what they make of each packet.
//!
//! A rule has an end of its own, after which it does nothing even if nobody takes it away. Left out: the packets
//! themselves, which [`crate::FaultySocket`] holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Most rules at once: an experiment has a handful, and each packet meets all of them.
pub const RULES_MAX: usize = 32;

/// What waits longer than this for a slow link is lost, as in the buffer of a router.
const BACKLOG_MAX: Duration = Duration::from_secs(1);

/// How long packets are held back that are to be overtaken: longer than what is between two packets of one burst.
const HELD_BACK_MS: (f64, f64) = (5.0, 30.0);

/// What is wrong with some packets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LinkFault {
    /// They do not arrive at all.
    Cut {
        /// Those that come.
        incoming: bool,
        /// Those that go.
        outgoing: bool,
    },
    /// Some do not arrive.
    Loss {
        /// How many, 0 to 1.
        fraction: f64,
    },
    /// They are late by something between `by` and `by + jitter`, each way.
    Delay {
        /// At least this.
        by: Duration,
        /// And at most this besides.
        jitter: Duration,
    },
    /// Some arrive twice.
    Duplicate {
        /// How many, 0 to 1.
        fraction: f64,
    },
    /// Some are overtaken by later ones.
    Reorder {
        /// How many, 0 to 1.
        fraction: f64,
    },
    /// Those that go leave one after the other at this rate.
    Rate {
        /// Bytes per second, at least 1.
        bytes_per_s: u64,
    },
}

/// A fault, whose packets it strikes, and until when.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkRule {
    /// The other ends; `None`: everybody.
    pub peers: Option<BTreeSet<SocketAddr>>,
    /// What is wrong.
    pub fault: LinkFault,
    /// When it ends by itself.
    pub until: Instant,
}

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    In,
    Out,
}

/// After which times copies of a packet arrive; none: it is lost.
pub(crate) type Fate = [Option<Duration>; 2];

/// Lost.
const LOST: Fate = [None, None];

/// The rules of a socket, shared with whoever sets them.
#[derive(Debug)]
pub struct LinkFaults {
    on: AtomicBool,
    inside: Mutex<Inside>,
}

#[derive(Debug)]
struct Inside {
    rules: BTreeMap<String, LinkRule>,
    /// When the slow link of a rule has sent what waits for it.
    free_at: BTreeMap<String, Instant>,
    dice: u64,
}

impl LinkFaults {
    /// No rule; chances are drawn from this seed.
    pub fn new(seed: u64) -> Self {
        let inside = Inside { rules: BTreeMap::new(), free_at: BTreeMap::new(), dice: seed };
        Self { on: AtomicBool::new(false), inside: Mutex::new(inside) }
    }

    /// Sets a rule, in place of one of the same name. False, and nothing is changed, beyond [`RULES_MAX`].
    pub fn set(&self, name: &str, rule: LinkRule) -> bool {
        let mut inside = self.lock();
        let now = Instant::now();
        inside.rules.retain(|_, rule| rule.until > now);
        if inside.rules.len() >= RULES_MAX && !inside.rules.contains_key(name) {
            return false;
        }
        inside.rules.insert(name.into(), rule);
        self.on.store(true, Ordering::Release);
        true
    }

    /// Takes a rule away.
    pub fn remove(&self, name: &str) {
        let mut inside = self.lock();
        inside.rules.remove(name);
        inside.free_at.remove(name);
        self.on.store(!inside.rules.is_empty(), Ordering::Release);
    }

    /// Whether there may be a rule.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    /// What becomes of a packet of so many bytes.
    pub(crate) fn fate(&self, peer: SocketAddr, way: Way, bytes: usize, now: Instant) -> Fate {
        self.lock().fate(peer, way, bytes, now)
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn fate(&mut self, peer: SocketAddr, way: Way, bytes: usize, now: Instant) -> Fate {
        let Self { rules, free_at, dice } = self;
        let (mut late, mut twice) = (Duration::ZERO, false);
        let meets = |rule: &LinkRule| rule.until > now && rule.peers.as_ref().is_none_or(|peers| peers.contains(&peer));
        for (name, rule) in rules.iter().filter(|(_, rule)| meets(rule)) {
            match rule.fault {
                LinkFault::Cut { incoming, outgoing } => match way {
                    Way::In if incoming => return LOST,
                    Way::Out if outgoing => return LOST,
                    Way::In | Way::Out => {}
                },
                LinkFault::Loss { fraction } => {
                    if draw(dice) < fraction {
                        return LOST;
                    }
                }
                LinkFault::Delay { by, jitter } => late += by + jitter.mul_f64(draw(dice)),
                LinkFault::Duplicate { fraction } => twice |= draw(dice) < fraction,
                LinkFault::Reorder { fraction } => {
                    if draw(dice) < fraction {
                        let (least, most) = HELD_BACK_MS;
                        late += Duration::from_secs_f64((least + (most - least) * draw(dice)) / 1e3);
                    }
                }
                LinkFault::Rate { bytes_per_s } => {
                    if way == Way::Out {
                        let free = free_at.get(name).copied().unwrap_or(now).max(now);
                        if free - now > BACKLOG_MAX {
                            return LOST;
                        }
                        let free = free + Duration::from_secs_f64(bytes as f64 / bytes_per_s.max(1) as f64);
                        free_at.insert(name.clone(), free);
                        late += free - now;
                    }
                }
            }
        }
        [Some(late), twice.then_some(late)]
    }
}

/// 0 to 1, without 1: SplitMix64, which needs to be fair and not secret.
fn draw(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 1_000;

    fn peer(number: u8) -> SocketAddr {
        ([127, 0, 0, number], 7400).into()
    }

    fn rule(fault: LinkFault) -> LinkRule {
        LinkRule { peers: None, fault, until: Instant::now() + Duration::from_secs(60) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_is_of_one_way_and_of_the_named_ends_alone() {
        let faults = LinkFaults::new(1);
        let cut = LinkFault::Cut { incoming: true, outgoing: false };
        assert!(faults.set("a", LinkRule { peers: Some([peer(2)].into()), ..rule(cut) }));
        let now = Instant::now();
        let arrives = |number, way| faults.fate(peer(number), way, BYTES, now) != LOST;
        assert!(!arrives(2, Way::In));
        assert!(arrives(2, Way::Out) && arrives(3, Way::In) && arrives(3, Way::Out));
        faults.remove("a");
        assert!(arrives(2, Way::In) && !faults.is_on());
    }

    #[tokio::test(start_paused = true)]
    async fn a_rule_ends_by_itself() {
        let faults = LinkFaults::new(1);
        let until = Instant::now() + Duration::from_secs(3);
        faults.set("a", LinkRule { until, ..rule(LinkFault::Loss { fraction: 1.0 }) });
        assert_eq!(faults.fate(peer(2), Way::In, BYTES, Instant::now()), LOST);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_ne!(faults.fate(peer(2), Way::In, BYTES, Instant::now()), LOST);
    }

    #[tokio::test(start_paused = true)]
    async fn about_as_many_packets_are_struck_as_was_said() {
        let now = Instant::now();
        let count = |fault, struck: fn(Fate) -> bool| {
            let faults = LinkFaults::new(7);
            faults.set("a", rule(fault));
            (0..10_000).filter(|_| struck(faults.fate(peer(2), Way::In, BYTES, now))).count()
        };
        let lost = count(LinkFault::Loss { fraction: 0.2 }, |fate| fate == LOST);
        assert!((1_850..2_150).contains(&lost), "{lost}");
        let twice = count(LinkFault::Duplicate { fraction: 0.1 }, |fate| fate[1].is_some());
        assert!((900..1_100).contains(&twice), "{twice}");
        let held = count(LinkFault::Reorder { fraction: 0.5 }, |fate| fate[0] > Some(Duration::ZERO));
        assert!((4_800..5_200).contains(&held), "{held}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_link_lets_packets_wait_and_loses_those_that_would_wait_too_long() {
        let faults = LinkFaults::new(1);
        faults.set("a", rule(LinkFault::Rate { bytes_per_s: 10_000 }));
        let now = Instant::now();
        let fates: Vec<Fate> = (0..20).map(|_| faults.fate(peer(2), Way::Out, BYTES, now)).collect();
        let waits: Vec<u128> = fates.iter().filter_map(|fate| fate[0]).map(|wait| wait.as_millis()).collect();
        assert_eq!(waits, [100, 200, 300, 400, 500, 600, 700, 800, 900, 1_000, 1_100]);
        assert_eq!(faults.fate(peer(2), Way::In, BYTES, now)[0], Some(Duration::ZERO), "what comes is not slower");
    }

    #[tokio::test(start_paused = true)]
    async fn rules_are_bounded() {
        let faults = LinkFaults::new(1);
        for number in 0..RULES_MAX {
            assert!(faults.set(&number.to_string(), rule(LinkFault::Loss { fraction: 0.0 })));
        }
        assert!(!faults.set("more", rule(LinkFault::Loss { fraction: 0.0 })));
        assert!(faults.set("0", rule(LinkFault::Loss { fraction: 1.0 })), "in place of another");
    }
}
