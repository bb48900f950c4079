//! What came out.

use serde::Serialize;
use std::{fmt, time::Duration};

/// The figures of one run. Its JSON is part of the contract with scripts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RingReport {
    /// The seed that gave it.
    pub seed: u64,
    /// Members, the joiner included.
    pub nodes: usize,
    /// Over the kills: from the kill until half of the survivors (members that are never killed, without the joiner)
    /// have it as down. `None` if nobody was killed, or for one of them it was not reached.
    pub know50: Option<Percentiles>,
    /// The same until 99 % of the survivors have it so.
    pub know99: Option<Percentiles>,
    /// How often a member came to have another as suspect that was running and not standing still at that moment.
    /// Each observer's verdict counts, also one that reaches it when the suspected member has just gone on.
    pub false_suspect: u64,
    /// The same for down.
    pub false_down: u64,
    /// How often a survivor came to have as down a member that stood still, before or after it went on.
    pub stalled_down: u64,
    /// From the moment when those that stood still go on until the last such verdict was taken back. `None` if there
    /// was none.
    pub reversed_ms: Option<u64>,
    /// Such verdicts that stand at the end.
    pub unreversed: u64,
    /// Bytes that a node sends a second while nothing happens: UDP and IP headers, QUIC's, tags, acknowledgements and
    /// handshakes included.
    pub idle_bytes_per_s: f64,
    /// Packets, counted so.
    pub idle_packets_per_s: f64,
    /// Over eight changes at different nodes, one a second: from the publication of a changed set until 99 % of the
    /// nodes hold it. `None` if for one of them it was not reached.
    pub change99: Option<Percentiles>,
    /// The same for each of the changes of the burst.
    pub burst99: Option<Percentiles>,
    /// Until half of the nodes hold a change of the burst.
    pub burst50: Option<Percentiles>,
    /// Changes of the burst.
    pub burst_changes: usize,
    /// Bits that a node sends and receives a second during the burst, both together and everything included, also what
    /// it would send anyway. What is lost counts as received. `None` without a burst.
    pub change_bits_per_s: Option<f64>,
    /// How often a node is sent a change of the burst on average: 1 is the least.
    pub messages_per_change: Option<f64>,
    /// From the joiner's first packet until it holds all members and all sets. `None` if none joined, or it got not
    /// all.
    pub join_ms: Option<u64>,
    /// What the joiner got by then: lists of members and sets, without headers.
    pub join_bytes: Option<u64>,
    /// An estimate of what a node's gossip occupies: see the crate's documentation.
    pub memory_bytes_per_node: u64,
    /// Hash of kind, from, to, bytes and virtual time of every event, in hexadecimal; equal for equal seeds.
    pub trace: String,
}

/// Of a few times, by nearest rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// Half are not above.
    pub median_ms: u64,
    /// 99 of 100 are not above; the largest if there are fewer.
    pub p99_ms: u64,
    /// None is above.
    pub max_ms: u64,
}

impl Percentiles {
    pub(crate) fn of(times: Vec<Duration>) -> Option<Self> {
        let mut ms: Vec<u64> = times.iter().map(|time| time.as_millis() as u64).collect();
        ms.sort_unstable();
        let at = |percent: usize| ms.get((ms.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(Self { median_ms: at(50)?, p99_ms: at(99)?, max_ms: at(100)? })
    }
}

impl RingReport {
    fn times(&self) -> [(&'static str, Option<Percentiles>); 5] {
        [
            ("kill known to half", self.know50),
            ("kill known to 99 %", self.know99),
            ("changed set held by 99 %", self.change99),
            ("in the burst, held by half", self.burst50),
            ("in the burst, held by 99 %", self.burst99),
        ]
    }

    fn numbers(&self) -> [(&'static str, Option<f64>); 13] {
        let whole = |n: u64| Some(n as f64);
        [
            ("false verdicts: suspect", whole(self.false_suspect)),
            ("false verdicts: down", whole(self.false_down)),
            ("standing still, held for down", whole(self.stalled_down)),
            ("the last taken back after, ms", self.reversed_ms.and_then(whole)),
            ("not taken back", whole(self.unreversed)),
            ("idle bytes/s of a node", Some(self.idle_bytes_per_s)),
            ("idle packets/s of a node", Some(self.idle_packets_per_s)),
            ("changes in the burst", whole(self.burst_changes as u64)),
            ("in the burst, bits/s of a node", self.change_bits_per_s),
            ("copies of a change to a node", self.messages_per_change),
            ("joined after, ms", self.join_ms.and_then(whole)),
            ("bytes for the joiner", self.join_bytes.and_then(whole)),
            ("memory of a node, KiB", Some(self.memory_bytes_per_node as f64 / 1024.0)),
        ]
    }
}

impl fmt::Display for RingReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ring of {} nodes, seed {}, trace {}", self.nodes, self.seed, self.trace)?;
        write!(f, "{:<34}{:>10}{:>10}{:>10}", "ms", "median", "p99", "max")?;
        for (what, times) in self.times() {
            match times {
                Some(t) => write!(f, "\n{what:<34}{:>10}{:>10}{:>10}", t.median_ms, t.p99_ms, t.max_ms)?,
                None => write!(f, "\n{what:<34}{:>10}{:>10}{:>10}", "-", "-", "-")?,
            }
        }
        for (what, number) in self.numbers() {
            match number {
                Some(n) if n.fract() == 0.0 || n >= 1_000.0 => write!(f, "\n{what:<34}{n:>10.0}")?,
                Some(n) => write!(f, "\n{what:<34}{n:>10.2}")?,
                None => write!(f, "\n{what:<34}{:>10}", "-")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
