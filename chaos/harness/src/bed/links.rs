//! What becomes of a packet on its way: decided by a seed, and by nothing but what was sent that way before.

use rand::{Rng, SeedableRng, rngs::Xoshiro256PlusPlus};
use std::time::Duration;

/// How far behind its rate a way with a limited one may be: what would wait longer is dropped, as by a router.
const BACKLOG_MAX: Duration = Duration::from_millis(200);
/// How late a packet is that is overtaken: later than the next few.
const OVERTAKEN_BY: Duration = Duration::from_millis(20);

/// What packets from one machine to another meet; the way back is another one. At first nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Way {
    /// None arrives.
    pub cut: bool,
    /// How many get lost, 0 to 1.
    pub loss: f64,
    /// How late each is.
    pub delay: Duration,
    /// By how much more, at most; evenly drawn for each packet, so they may overtake each other.
    pub jitter: Duration,
    /// How many arrive twice, 0 to 1; the second one is as late as another packet might be.
    pub duplicate: f64,
    /// How many are overtaken by those that follow, 0 to 1.
    pub reorder: f64,
    /// How fast they leave, in thousands of bits per second; no limit if there is none.
    pub kbit_per_s: Option<u32>,
}

/// What has become of the packets of a way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sent.
    pub sent: u64,
    /// Dropped because the way was cut.
    pub cut: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Dropped as the way was too slow for them.
    pub crowded: u64,
    /// Doubled.
    pub doubled: u64,
}

/// When a packet arrives: never, once or twice.
pub(crate) type Arrivals = [Option<Duration>; 2];

/// All ways between so many machines.
#[derive(Debug)]
pub(crate) struct Links {
    machines: usize,
    /// From the first machine to each, then from the second, and so on.
    links: Vec<Link>,
}

#[derive(Debug)]
struct Link {
    way: Way,
    dice: Xoshiro256PlusPlus,
    /// When what was sent has left, if the rate is limited.
    free: Duration,
    tally: Tally,
}

impl Links {
    /// Each way throws dice of its own: what others send does not change what becomes of its packets.
    pub(crate) fn new(seed: u64, machines: usize) -> Self {
        let mut seeds = Xoshiro256PlusPlus::seed_from_u64(seed);
        let link = |dice| Link { way: Way::default(), dice, free: Duration::ZERO, tally: Tally::default() };
        let links = (0..machines * machines).map(|_| link(Xoshiro256PlusPlus::seed_from_u64(seeds.next_u64())));
        Self { machines, links: links.collect() }
    }

    /// The way from a machine to another one.
    pub(crate) fn way_mut(&mut self, from: usize, to: usize) -> &mut Way {
        &mut self.link(from, to).way
    }

    /// What has become of all packets so far.
    pub(crate) fn tally(&self) -> Tally {
        let mut all = Tally::default();
        for Link { tally, .. } in &self.links {
            all.sent += tally.sent;
            all.cut += tally.cut;
            all.lost += tally.lost;
            all.crowded += tally.crowded;
            all.doubled += tally.doubled;
        }
        all
    }

    /// Sends a packet of so many bytes.
    pub(crate) fn send(&mut self, now: Duration, from: usize, to: usize, bytes: usize) -> Arrivals {
        self.link(from, to).send(now, bytes)
    }

    fn link(&mut self, from: usize, to: usize) -> &mut Link {
        assert!(from < self.machines && to < self.machines, "{from} to {to} of {}", self.machines);
        &mut self.links[from * self.machines + to]
    }
}

impl Link {
    fn send(&mut self, now: Duration, bytes: usize) -> Arrivals {
        self.tally.sent += 1;
        // The same throws for each packet, whatever is on: a change of one fault leaves the others as they were.
        let (lost, doubled, overtaken) = (self.unit(), self.unit(), self.unit());
        let (first, second) = (self.unit(), self.unit());
        if self.way.cut {
            self.tally.cut += 1;
            return [None, None];
        }
        if lost < self.way.loss {
            self.tally.lost += 1;
            return [None, None];
        }
        let Some(left) = self.leave(now, bytes) else {
            self.tally.crowded += 1;
            return [None, None];
        };
        let late = if overtaken < self.way.reorder { OVERTAKEN_BY } else { Duration::ZERO };
        let arrival = |part: f64| Some(left + self.way.delay + self.way.jitter.mul_f64(part) + late);
        if doubled < self.way.duplicate {
            self.tally.doubled += 1;
            return [arrival(first), arrival(second)];
        }
        [arrival(first), None]
    }

    /// When the packet has left, or `None` if too many are before it.
    fn leave(&mut self, now: Duration, bytes: usize) -> Option<Duration> {
        let Some(kbit_per_s) = self.way.kbit_per_s else { return Some(now) };
        let start = self.free.max(now);
        if start - now > BACKLOG_MAX {
            return None;
        }
        self.free = start + Duration::from_secs_f64(bytes as f64 * 8.0 / (f64::from(kbit_per_s.max(1)) * 1e3));
        Some(self.free)
    }

    /// 0 to just below 1, evenly.
    fn unit(&mut self) -> f64 {
        (self.dice.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 // as many bits as an f64 holds
    }
}

#[cfg(test)]
mod tests;
