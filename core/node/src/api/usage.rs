//! What a task uses, as people see it.

use serde::{Deserialize, Serialize};
use taffeta_isolation_plan::{Pressure, Usage};
use utoipa::ToSchema;

/// What a task's newest process uses, or has used, by the kernel's counters; `null` is what they do not count on its machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct UsageView {
    /// Processor time since it was started.
    pub cpu_seconds: f64,
    /// Memory, without what the kernel would give back at once.
    pub memory_bytes: u64,
    /// Most memory at any time.
    pub memory_peak_bytes: Option<u64>,
    /// Its limit of memory.
    pub memory_max_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Its limit of them.
    pub pids_max: Option<u64>,
    /// Forks that were refused at that limit.
    pub forks_refused: Option<u64>,
    /// Processes that were killed for want of memory.
    pub oom_kills: Option<u64>,
    /// What its quota of processor time held up; `null` as well without a quota.
    pub throttled: Option<ThrottledView>,
    /// Bytes read from disks.
    pub read_bytes: Option<u64>,
    /// Bytes written to disks.
    pub written_bytes: Option<u64>,
    /// How long it waited for what it lacked.
    pub pressure: Option<PressuresView>,
}

/// What a quota of processor time held up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ThrottledView {
    /// Periods in which it ran.
    pub periods: u64,
    /// Those of them in which it had to stop.
    pub throttled: u64,
    /// For how long, on all processors together.
    pub seconds: f64,
}

/// Pressure by what was lacking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PressuresView {
    /// Processors.
    pub cpu: PressureView,
    /// Memory.
    pub memory: PressureView,
    /// Disks.
    pub io: PressureView,
}

/// How long a task waited for one thing: `some` while a part of it waited, `full` while all of it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PressureView {
    /// Percent of the last ten seconds.
    pub some_avg10: f64,
    /// Since it was started.
    pub some_seconds: f64,
    /// Percent of the last ten seconds.
    pub full_avg10: f64,
    /// Since it was started.
    pub full_seconds: f64,
}

impl From<&Usage> for UsageView {
    fn from(usage: &Usage) -> Self {
        Self {
            cpu_seconds: usage.cpu.as_secs_f64(),
            memory_bytes: usage.memory,
            memory_peak_bytes: usage.memory_peak,
            memory_max_bytes: usage.memory_max,
            pids: usage.pids,
            pids_max: usage.pids_max,
            forks_refused: usage.forks_refused,
            oom_kills: usage.oom_kills,
            throttled: usage.throttled.map(|held| ThrottledView {
                periods: held.periods,
                throttled: held.throttled,
                seconds: held.time.as_secs_f64(),
            }),
            read_bytes: usage.disks.map(|disks| disks.read),
            written_bytes: usage.disks.map(|disks| disks.written),
            pressure: usage.pressures.map(|pressures| PressuresView {
                cpu: (&pressures.cpu).into(),
                memory: (&pressures.memory).into(),
                io: (&pressures.io).into(),
            }),
        }
    }
}

impl From<&Pressure> for PressureView {
    fn from(pressure: &Pressure) -> Self {
        Self {
            some_avg10: f64::from(pressure.some.avg10) / 100.0,
            some_seconds: pressure.some.total.as_secs_f64(),
            full_avg10: f64::from(pressure.full.avg10) / 100.0,
            full_seconds: pressure.full.total.as_secs_f64(),
        }
    }
}

impl UsageView {
    /// The same in words, a line for each thing that is worth one.
    pub(crate) fn words(&self) -> Vec<String> {
        let of =
            |most: Option<u64>, unit: fn(u64) -> String| most.map(|n| format!(" of {}", unit(n))).unwrap_or_default();
        let peak = self.memory_peak_bytes.map(|peak| format!(", {} at most", mebibytes(peak))).unwrap_or_default();
        let memory = format!("{}{}{peak}", mebibytes(self.memory_bytes), of(self.memory_max_bytes, mebibytes));
        let mut lines =
            vec![format!("it has used {:.1} s of processor time, and {memory} of memory", self.cpu_seconds)];
        if let Some(held) = self.throttled.filter(|held| held.throttled > 0) {
            let ThrottledView { periods, throttled, seconds } = held;
            lines.push(format!(
                "its quota of processor time held it up in {throttled} of {periods} periods, for {seconds:.1} s"
            ));
        }
        if let Some(refused) = self.forks_refused.filter(|refused| *refused > 0) {
            let (now, most) = (self.pids.unwrap_or_default(), of(self.pids_max, |n| n.to_string()));
            lines.push(format!("{refused} times it could start no process: it has {now}{most} that it may have"));
        }
        if let Some(kills) = self.oom_kills.filter(|kills| *kills > 0) {
            lines.push(format!("the kernel has killed {kills} of its processes for want of memory"));
        }
        if let Some(PressuresView { cpu, memory, io }) = self.pressure {
            let waits = [("processors", cpu), ("memory", memory), ("disks", io)];
            let waits = waits.iter().filter(|(_, pressure)| pressure.some_avg10 >= WORTH_PERCENT);
            let waits = waits.map(|(what, pressure)| format!("for {what} {:.0} %", pressure.some_avg10));
            let waits: Vec<String> = waits.collect();
            if !waits.is_empty() {
                lines.push(format!("of the last 10 s it waited {}", waits.join(", ")));
            }
        }
        lines
    }
}

/// Percent of the time above which waiting is worth a word.
const WORTH_PERCENT: f64 = 10.0;

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use taffeta_isolation_plan::{Pressures, Stall, Throttled};

    #[test]
    fn only_what_is_worth_a_word_is_told() {
        let calm = Usage { cpu: Duration::from_millis(1540), memory: 3 << 20, ..Usage::default() };
        let words = UsageView::from(&calm).words();
        assert_eq!(words, ["it has used 1.5 s of processor time, and 3.0 MiB of memory"]);
        let stall = Stall { avg10: 4_250, total: Duration::from_secs(2) };
        let cpu = Pressure { some: stall, full: Stall::default() };
        let busy = Usage {
            memory_max: Some(64 << 20),
            memory_peak: Some(9 << 20),
            pids: Some(8),
            pids_max: Some(8),
            forks_refused: Some(3),
            oom_kills: Some(0),
            throttled: Some(Throttled { periods: 50, throttled: 40, time: Duration::from_millis(3_210) }),
            pressures: Some(Pressures { cpu, ..Pressures::default() }),
            ..calm
        };
        let wanted = [
            "it has used 1.5 s of processor time, and 3.0 MiB of 64.0 MiB, 9.0 MiB at most of memory",
            "its quota of processor time held it up in 40 of 50 periods, for 3.2 s",
            "3 times it could start no process: it has 8 of 8 that it may have",
            "of the last 10 s it waited for processors 42 %",
        ];
        assert_eq!(UsageView::from(&busy).words(), wanted);
    }
}
