//! What a run was, for people and for scripts.

use crate::moments::Moments;
use serde::{Serialize, Serializer, ser::SerializeStruct};
use std::{collections::BTreeMap, fmt, time::Duration};
use taffeta_chaos_plan::FaultKind;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every promise was kept, and progress was made.
    Pass,
    /// A promise was broken.
    Wrong,
    /// No progress was made although nothing was broken any more.
    Stuck,
    /// The code panicked.
    Crash,
}

impl Verdict {
    /// The exit code of the command line.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Crash => 127,
            Self::Stuck => 128,
            Self::Wrong => 129,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Wrong => "wrong",
            Self::Stuck => "stuck",
            Self::Crash => "crash",
        })
    }
}

/// A run that has ended. As JSON: `seed`, `nodes`, `verdict`, `why`, `virtual_s`, `real_s`, `faults` and `sometimes` by
/// name with how often, `writes` by what became of them, `slowest_write_ms`, `events`, `trace` in hexadecimal, `repeat`.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Number of nodes.
    pub nodes: usize,
    /// Time under faults.
    pub lasts: Duration,
    /// The verdict.
    pub verdict: Verdict,
    /// What was wrong.
    pub why: Option<String>,
    /// Virtual time that passed.
    pub virtual_time: Duration,
    /// Real time that it took.
    pub real_time: Duration,
    /// Faults that were performed, by kind.
    pub faults: BTreeMap<FaultKind, u64>,
    /// How often the interesting was met.
    pub sometimes: Moments,
    /// Hash of all that happened: equal for equal seeds.
    pub trace: u64,
    /// Number of events in the trace.
    pub events: u64,
    /// What became of the writes.
    pub writes: BTreeMap<&'static str, usize>,
    /// The longest time until a write was acknowledged.
    pub slowest_write: Duration,
    /// What happened, for people.
    pub timeline: Vec<(Duration, String)>,
    /// Every event in words, if that was asked for.
    pub words: Option<Vec<String>>,
}

impl Report {
    /// The command that does the same again.
    pub fn repeat(&self) -> String {
        let minutes = self.lasts.as_secs_f64() / 60.0;
        format!("taffeta chaos sim --seed {} --nodes {} --minutes {minutes}", self.seed, self.nodes)
    }

    /// Virtual time by real time.
    pub fn speed(&self) -> f64 {
        self.virtual_time.as_secs_f64() / self.real_time.as_secs_f64().max(1e-9)
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let faults: BTreeMap<String, u64> = self.faults.iter().map(|(kind, n)| (kind.to_string(), *n)).collect();
        let mut s = serializer.serialize_struct("Report", 13)?;
        s.serialize_field("seed", &self.seed)?;
        s.serialize_field("nodes", &self.nodes)?;
        s.serialize_field("verdict", &self.verdict)?;
        s.serialize_field("why", &self.why)?;
        s.serialize_field("virtual_s", &self.virtual_time.as_secs_f64())?;
        s.serialize_field("real_s", &self.real_time.as_secs_f64())?;
        s.serialize_field("faults", &faults)?;
        s.serialize_field("sometimes", &self.sometimes)?;
        s.serialize_field("writes", &self.writes)?;
        s.serialize_field("slowest_write_ms", &self.slowest_write.as_millis())?;
        s.serialize_field("events", &self.events)?;
        s.serialize_field("trace", &format!("{:016x}", self.trace))?;
        s.serialize_field("repeat", &self.repeat())?;
        s.end()
    }
}
