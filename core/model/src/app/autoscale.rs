//! How many instances of a service there are, by what they are loaded with.

use super::{COUNT_MAX, Job, JobKind};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Longest that a service is watched before it shrinks: bounds what the leader remembers of it.
pub const DOWN_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// Longest name of a metric; those of Prometheus' own exporters have half of it.
const METRIC_BYTES_MAX: usize = 128;

/// Largest target of a metric, in thousandths: sums over all instances stay exact.
pub const TARGET_MAX: u64 = 1_000_000_000_000;

/// Between which bounds, and by what, the number of instances follows the load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Autoscale {
    /// Fewest instances; at least 1, as one that is not there says nothing of its load.
    pub min: u32,
    /// Most instances.
    pub max: u32,
    /// Processor time that an instance should use on the average, in thousandths of the `cpus` it asks for.
    pub cpu: Option<u32>,
    /// Memory that an instance should use on the average, in thousandths of the `memory` it asks for.
    pub memory: Option<u32>,
    /// What each instance says of itself.
    pub metric: Option<Metric>,
    /// Time between a change and the next growth: what new instances do to the load is seen by then.
    pub up_after: Duration,
    /// It shrinks to the most that were needed within this time; at most [`DOWN_AFTER_MAX`].
    pub down_after: Duration,
}

/// A number that each instance gives over HTTP, in the text format of Prometheus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// Its name; all series of this name are summed up.
    pub name: String,
    /// Path, beginning with `/`.
    pub path: String,
    /// Name of the port.
    pub port: String,
    /// What it should be on the average, in thousandths.
    pub target: u64,
}

impl Default for Autoscale {
    fn default() -> Self {
        let (up_after, down_after) = (Duration::from_secs(30), Duration::from_secs(5 * 60));
        Self { min: 1, max: 1, cpu: None, memory: None, metric: None, up_after, down_after }
    }
}

impl Autoscale {
    /// The count within the bounds that is nearest to this one.
    pub fn clamp(&self, count: u32) -> u32 {
        count.clamp(self.min, self.max.max(self.min))
    }

    /// The error says which field of the job it is about.
    pub(super) fn check(&self, job: &Job) -> Result<(), (&'static str, String)> {
        let Self { min, max, cpu, memory, metric, up_after, down_after } = self;
        if job.kind != JobKind::Service {
            return Err(("autoscale", format!("only a service is scaled, not a {} job", job.kind.table())));
        }
        if !(1..=COUNT_MAX).contains(min) || !(*min..=COUNT_MAX).contains(max) {
            return Err(("autoscale", format!("min = {min}, max = {max}; expected 1 <= min <= max <= {COUNT_MAX}")));
        }
        if !(*min..=*max).contains(&job.count) {
            return Err(("count", format!("{}; `autoscale` keeps it from {min} to {max}", job.count)));
        }
        if cpu.is_none() && memory.is_none() && metric.is_none() {
            return Err(("autoscale", "expected at least one of `cpu`, `memory` and `metric`".into()));
        }
        if cpu.is_some_and(|target| target == 0) || memory.is_some_and(|target| !(1..=1000).contains(&target)) {
            return Err(("autoscale", "expected `cpu` above 0, and `memory` above 0 and at most 1".into()));
        }
        if *up_after > DOWN_AFTER_MAX || *down_after > DOWN_AFTER_MAX {
            return Err(("autoscale", "`up_after` and `down_after`: at most 1h is allowed".into()));
        }
        metric.as_ref().map_or(Ok(()), |metric| metric.check(job)).map_err(|message| ("autoscale", message))
    }
}

impl Metric {
    fn check(&self, job: &Job) -> Result<(), String> {
        let Self { name, path, port, target } = self;
        let first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
        let fits = name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit());
        if !fits || name.len() > METRIC_BYTES_MAX {
            return Err(format!("`{name}` is not a metric's name: letters, digits, `_` and `:`, no digit first"));
        }
        if !path.starts_with('/') || path.bytes().any(|b| !b.is_ascii_graphic()) {
            return Err(format!("`{path}` is not a path: it begins with `/` and has no spaces"));
        }
        if !job.ports.iter().any(|known| known.name == *port) {
            return Err(format!("`{port}` is not one of the job's ports"));
        }
        if !(1..=TARGET_MAX).contains(target) {
            return Err("expected a `target` above 0 and at most 1000000000".into());
        }
        Ok(())
    }
}
