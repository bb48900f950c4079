//! Clients that write one after the other for a while, the same for whatever is measured.

use super::VALUE_BYTES;
use crate::figure::percentile;
use anyhow::{Result, ensure};
use std::{fmt, future::Future, time::Duration};
use tokio::{task::LocalSet, time::Instant};

/// What can be written to.
pub(crate) trait Target {
    /// A connection or a share of one; one write at a time.
    type Writer: Writer + 'static;

    /// So many writers, connected.
    fn writers(&self, count: usize) -> impl Future<Output = Result<Vec<Self::Writer>>>;
}

/// One client.
pub(crate) trait Writer {
    /// Replaces the value of this client's key, and waits until that is acknowledged.
    fn write(&mut self, value: &[u8; VALUE_BYTES]) -> impl Future<Output = Result<()>>;
}

/// Writers of one target.
pub(crate) struct Load<W> {
    writers: Vec<W>,
}

/// What a turn came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// Writes acknowledged, of all clients together.
    pub(crate) per_second: f64,
    /// Half of the writes took no longer.
    pub(crate) p50_ms: f64,
    /// All but a hundredth took no longer.
    pub(crate) p99_ms: f64,
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} writes/s (p50 {:.2} ms, p99 {:.2} ms)", self.per_second, self.p50_ms, self.p99_ms)
    }
}

impl<W: Writer + 'static> Load<W> {
    /// Connects the writers.
    pub(crate) async fn new<T: Target<Writer = W>>(target: &T, count: usize) -> Result<Self> {
        Ok(Self { writers: target.writers(count).await? })
    }

    /// All write for so long, and finish what they have begun.
    pub(crate) async fn turn(self, lasts: Duration) -> Result<Turn> {
        let local = LocalSet::new();
        let begin = Instant::now();
        let tasks = self
            .writers
            .into_iter()
            .enumerate()
            .map(|(number, writer)| local.spawn_local(write_until(writer, number, begin + lasts)));
        let tasks: Vec<_> = tasks.collect();
        let times = local.run_until(async move {
            let mut all: Vec<f64> = vec![];
            for task in tasks {
                all.extend(task.await??);
            }
            anyhow::Ok(all)
        });
        let times = times.await?;
        let took = begin.elapsed();
        ensure!(!times.is_empty(), "nothing was written in {lasts:?}");
        Ok(Turn {
            per_second: times.len() as f64 / took.as_secs_f64(),
            p50_ms: percentile(&times, 0.5),
            p99_ms: percentile(&times, 0.99),
        })
    }
}

/// Gives how long each write took, in milliseconds.
async fn write_until(mut writer: impl Writer, number: usize, end: Instant) -> Result<Vec<f64>> {
    let mut times = vec![];
    let mut value = [b'x'; VALUE_BYTES];
    loop {
        let begin = Instant::now();
        if begin >= end {
            return Ok(times);
        }
        // No two values are equal.
        let mark = format!("{number:08}{:08}", times.len());
        value[..mark.len()].copy_from_slice(mark.as_bytes());
        writer.write(&value).await?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
}
