//! How fast the ring notices, and what it pays for that.

use foca::{Config, PeriodicParams};
use std::{
    num::{NonZeroU8, NonZeroUsize},
    time::Duration,
};
use thiserror::Error;

/// Timing and sizes of the protocol. All members of a ring should use the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwimConfig {
    /// One member is probed in each period; whoever has not answered by its end, directly or through others, is
    /// suspected. At least twice `probe_timeout`. Fixed once the machine runs.
    pub probe_period: Duration,
    /// How long to wait for the direct answer before others are asked to probe; above the 99th percentile of the
    /// round trip. Fixed once the machine runs.
    pub probe_timeout: Duration,
    /// How many others are asked to probe; 3 outlasts ordinary loss.
    pub indirect_probes: u8,
    /// How long a suspect may refute before it is down. A node that stands still longer is declared down.
    pub suspicion: Duration,
    /// How often news are pushed while there are any.
    pub gossip_every: Duration,
    /// To how many members.
    pub gossip_fanout: u8,
    /// How often one piece of news is sent by one node; about ln(n) + 7 in a ring of n.
    pub transmissions_max: u8,
    /// Largest packet in bytes, sent or taken; 400 to 1400. Fixed once the machine runs.
    pub packet_bytes_max: usize,
    /// How often a random live member is asked for a sample of the ring. Mends what gossip lost in a small ring; in a
    /// large one it is rare, as a sample is a small part then.
    pub announce_every: Duration,
    /// How often all that is believed is compared with a random live member, by a hash: mends what gossip lost.
    pub push_pull_every: Duration,
    /// How many times slower than usual a node judges others at most, while it has signs of being slow itself.
    pub slowness_max: u8,
    /// How often members that are down, or seeds never met, are called: this heals partitions.
    pub reach_out_every: Duration,
    /// The same while no member is known to live; shorter, as nothing else goes on.
    pub reach_out_alone_every: Duration,
    /// How many are called at once.
    pub reach_out_fanout: u8,
}

/// A setting that cannot work. Nothing was changed; correct the named field.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidConfig {
    /// A duration or count is zero.
    #[error("{0} must not be zero")]
    Zero(&'static str),
    /// The indirect probes would have no time.
    #[error("probe_period ({period:?}) must be at least twice probe_timeout ({timeout:?})")]
    ProbePeriod {
        /// As given.
        period: Duration,
        /// As given.
        timeout: Duration,
    },
    /// Too small for a header with some news, or larger than a datagram.
    #[error("packet_bytes_max is {0}; expected 400 to 1400")]
    PacketBytes(usize),
    /// A field that the running machine cannot change.
    #[error("{0} cannot be changed while the machine runs; begin a new one")]
    Fixed(&'static str),
}

impl SwimConfig {
    /// For machines within a few milliseconds of each other; `n` is the expected size of the ring.
    /// Measured at 1,000 simulated members with 2 % loss: a kill is known to 99 % of them in 2.1 s median, 4.1 s at most.
    pub fn lan(n: usize) -> Self {
        Self {
            probe_period: Duration::from_millis(500),
            probe_timeout: Duration::from_millis(150),
            indirect_probes: 3,
            suspicion: suspicion(n, Duration::from_secs(1)),
            gossip_every: Duration::from_millis(100),
            gossip_fanout: 3,
            transmissions_max: transmissions(n),
            packet_bytes_max: 1100, // fits a QUIC datagram at the smallest MTU, 1200, with about 60 to spare
            announce_every: announce(n, Duration::from_secs(10)),
            push_pull_every: Duration::from_secs(10),
            slowness_max: 8,
            reach_out_every: Duration::from_secs(5),
            reach_out_alone_every: Duration::from_secs(1),
            reach_out_fanout: 3,
        }
    }

    /// For machines on several continents, or behind links that stall.
    pub fn wan(n: usize) -> Self {
        Self {
            probe_period: Duration::from_secs(2),
            probe_timeout: Duration::from_millis(700),
            suspicion: suspicion(n, Duration::from_secs(5)),
            gossip_every: Duration::from_millis(300),
            gossip_fanout: 4,
            announce_every: announce(n, Duration::from_secs(30)),
            push_pull_every: Duration::from_secs(30),
            reach_out_every: Duration::from_secs(15),
            reach_out_alone_every: Duration::from_secs(3),
            ..Self::lan(n)
        }
    }

    /// Checks ranges; the machine does it before it takes a config.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let durations = [
            ("probe_period", self.probe_period),
            ("probe_timeout", self.probe_timeout),
            ("suspicion", self.suspicion),
            ("gossip_every", self.gossip_every),
            ("announce_every", self.announce_every),
            ("push_pull_every", self.push_pull_every),
            ("reach_out_every", self.reach_out_every),
            ("reach_out_alone_every", self.reach_out_alone_every),
        ];
        let counts = [
            ("indirect_probes", self.indirect_probes),
            ("gossip_fanout", self.gossip_fanout),
            ("transmissions_max", self.transmissions_max),
            ("reach_out_fanout", self.reach_out_fanout),
            ("slowness_max", self.slowness_max),
        ];
        // The machine counts in milliseconds: less than one is a timer that fires for ever.
        let zeros = durations.iter().filter(|(_, d)| d.as_millis() == 0).map(|(name, _)| *name);
        if let Some(name) = zeros.chain(counts.iter().filter(|(_, c)| *c == 0).map(|(name, _)| *name)).next() {
            return Err(InvalidConfig::Zero(name));
        }
        if self.probe_period < self.probe_timeout * 2 {
            return Err(InvalidConfig::ProbePeriod { period: self.probe_period, timeout: self.probe_timeout });
        }
        if !(400..=1400).contains(&self.packet_bytes_max) {
            return Err(InvalidConfig::PacketBytes(self.packet_bytes_max));
        }
        Ok(())
    }

    /// Checks that a running machine may go over to `next`.
    pub(crate) fn check_change(&self, next: &Self) -> Result<(), InvalidConfig> {
        next.check()?;
        if self.probe_period != next.probe_period {
            return Err(InvalidConfig::Fixed("probe_period"));
        }
        if self.probe_timeout != next.probe_timeout {
            return Err(InvalidConfig::Fixed("probe_timeout"));
        }
        if self.packet_bytes_max != next.packet_bytes_max {
            return Err(InvalidConfig::Fixed("packet_bytes_max"));
        }
        Ok(())
    }

    /// As Foca takes it. Calling members that are down is our own timer, since Foca's stops when it is alone.
    pub(crate) fn to_foca(&self) -> Config {
        let count = |n: u8| NonZeroUsize::new(n.into()).unwrap_or(NonZeroUsize::MIN);
        Config {
            probe_period: self.probe_period,
            probe_rtt: self.probe_timeout,
            num_indirect_probes: count(self.indirect_probes),
            max_transmissions: NonZeroU8::new(self.transmissions_max).unwrap_or(NonZeroU8::MIN),
            suspect_to_down_after: self.suspicion,
            // Remembered for good: a late packet must not raise the dead. Bounded by the number of nodes.
            remove_down_after: None,
            max_packet_size: NonZeroUsize::new(self.packet_bytes_max - 1).unwrap_or(NonZeroUsize::MIN), // less its kind
            notify_down_members: true,
            periodic_announce: Some(PeriodicParams { frequency: self.announce_every, num_members: count(1) }),
            periodic_announce_to_down_members: None,
            periodic_gossip: Some(PeriodicParams {
                frequency: self.gossip_every,
                num_members: count(self.gossip_fanout),
            }),
        }
    }
}

/// `base` x max(1, log10(n) - 2): news needs longer through a large ring, and so does its refutation.
fn suspicion(n: usize, base: Duration) -> Duration {
    base.mul_f64((log10(n) - 2.0).max(1.0))
}

/// A sample holds about fifty members: as often as `base` in rings of that size, and less often in larger ones.
fn announce(n: usize, base: Duration) -> Duration {
    base * (n / 50).clamp(1, 100) as u32
}

/// A piece of news that everyone sends T times misses a given member with a chance of about e^-T: with ln(n) + 7 one
/// verdict in a thousand misses anyone. (4 log10(n), the usual figure, misses someone in one of twenty at n = 50.)
fn transmissions(n: usize) -> u8 {
    ((n.max(1) as f64).ln() + 7.0).ceil().min(40.0) as u8
}

fn log10(n: usize) -> f64 {
    (n.max(1) as f64).log10()
}
