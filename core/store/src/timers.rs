//! How quickly consensus judges, and how patient it is.

use std::time::Duration;

/// Time-outs of the consensus. All members should use the same. An election begins, without news of a leader, after
/// `election_max` and a random time from `election_min` to `election_max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// From one heartbeat of the leader to the next, in whole beats ([`taffeta_model::next_beat`]); openraft gives each as
    /// long to be answered.
    pub heartbeat: Duration,
    /// Longer than a heartbeat.
    pub election_min: Duration,
    /// A leader that no quorum has acknowledged for this long accepts no more writes until one has.
    pub election_max: Duration,
    /// How long a follower may take to answer an append, its sync included: much longer than a heartbeat, or else a
    /// disk that is slow for a moment would have everything sent anew.
    pub append_limit: Duration,
    /// Who was not heard of for this long leads no more, as far as anybody is told. Longer than an election takes.
    pub silence: Duration,
}

impl Timers {
    /// Machines within some milliseconds of each other: another one leads about half a second after a leader's death, when
    /// two or three heartbeats were missed. More of them would find it no sooner, and wake all machines more often.
    pub const LAN: Self = Self {
        heartbeat: Duration::from_millis(192),
        election_min: Duration::from_millis(200),
        election_max: Duration::from_millis(300),
        append_limit: Duration::from_millis(1_000),
        silence: Duration::from_millis(1_000),
    };
    /// Machines on several continents, or behind links that stall: after about two seconds.
    pub const WAN: Self = Self {
        heartbeat: Duration::from_millis(256),
        election_min: Duration::from_millis(750),
        election_max: Duration::from_millis(1_500),
        append_limit: Duration::from_millis(5_000),
        silence: Duration::from_millis(4_000),
    };
}
