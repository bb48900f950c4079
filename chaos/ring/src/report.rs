//! What came out.

use serde::Serialize;
use std::{fmt, time::Duration};

/// The figures of one run. Its JSON is part of the contract with scripts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RingReport {
    /// The seed that gave it.
    pub seed: u64,
    /// Members at the start.
    pub nodes: usize,
    /// Over the kills: from the kill until half of the survivors (members that are never killed) have it as down.
    /// `None` if nobody was killed, or for one of them it was not reached.
    pub know50: Option<Percentiles>,
    /// The same until 99 % of the survivors have it so.
    pub know99: Option<Percentiles>,
    /// How often a member came to have another as suspect that was running and not standing still at that moment.
    /// Each observer's verdict counts, also one that reaches it when the suspected member has just gone on.
    pub false_suspect: u64,
    /// The same for down.
    pub false_down: u64,
    /// Bytes that a node sends a second while nothing happens: UDP and IP headers, QUIC's, tags, acknowledgements and
    /// handshakes included.
    pub idle_bytes_per_s: f64,
    /// Packets, counted so.
    pub idle_packets_per_s: f64,
    /// Over five changes at different nodes: from the publication of a changed set until 99 % of the nodes hold it.
    /// `None` if for one of them it was not reached.
    pub change99: Option<Percentiles>,
    /// Bits that a node sends a second beyond the idle ones, while one node in the ring changes its set each second;
    /// acknowledgements and handshakes included. A set is one of ten tasks, about 900 bytes.
    pub change_bits_per_s: f64,
    /// An estimate of what a node's gossip occupies. Tables are counted as entries times their size in memory: the
    /// protocol library's list, this fabric's map and the catalogue's with a fill of two thirds, each set both as it
    /// travels and decoded; and 37 KiB for each end of a live connection in the idle time, as measured with quinn.
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

impl fmt::Display for RingReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ring of {} nodes, seed {}, trace {}", self.nodes, self.seed, self.trace)?;
        writeln!(f, "{:<34}{:>10}{:>10}{:>10}", "ms", "median", "p99", "max")?;
        let times = [
            ("kill known to half", self.know50),
            ("kill known to 99 %", self.know99),
            ("changed set held by 99 %", self.change99),
        ];
        for (what, times) in times {
            match times {
                Some(t) => writeln!(f, "{what:<34}{:>10}{:>10}{:>10}", t.median_ms, t.p99_ms, t.max_ms)?,
                None => writeln!(f, "{what:<34}{:>10}{:>10}{:>10}", "-", "-", "-")?,
            }
        }
        writeln!(f, "{:<34}{:>10}", "false verdicts: suspect", self.false_suspect)?;
        writeln!(f, "{:<34}{:>10}", "false verdicts: down", self.false_down)?;
        writeln!(f, "{:<34}{:>10.0}", "idle bytes/s of a node", self.idle_bytes_per_s)?;
        writeln!(f, "{:<34}{:>10.1}", "idle packets/s of a node", self.idle_packets_per_s)?;
        writeln!(f, "{:<34}{:>10.0}", "changes: more bits/s of a node", self.change_bits_per_s)?;
        write!(f, "{:<34}{:>10.1}", "memory of a node, KiB", self.memory_bytes_per_node as f64 / 1024.0)
    }
}

#[cfg(test)]
mod tests;
