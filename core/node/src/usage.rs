//! What tasks of this node use, for whoever leads.

use crate::{
    node::Core,
    wire::{Gauge, Metered, Told},
};
use futures::{StreamExt, stream};
use std::{net::SocketAddr, time::Duration};
use taffeta_model::{Metric, TaskId};

/// Most tasks that are asked about at once: as many as a large machine runs.
pub(crate) const GAUGES_MAX: usize = 2_000;
/// Tasks that are looked at at a time.
const AT_ONCE: usize = 16;
/// How long a task may take to say its metric, and how much it may say.
const METRIC_LIMIT: Duration = Duration::from_secs(1);
const METRIC_BYTES_MAX: usize = 4 << 20;

impl Core {
    /// What is asked for, of the tasks that run here.
    pub(crate) async fn usage_here(&self, asked: Vec<Gauge>) -> Told {
        if asked.len() > GAUGES_MAX {
            return Told::No;
        }
        let metered = stream::iter(asked).map(|gauge| self.meter(gauge)).buffer_unordered(AT_ONCE);
        Told::Usage(metered.filter_map(std::future::ready).collect().await)
    }

    async fn meter(&self, gauge: Gauge) -> Option<Metered> {
        let Gauge { task, metric } = gauge;
        let run = self.tasks.runs_of(task.clone()).await.pop()?;
        let usage = self.executor.usage(run.as_str()).await;
        let metric = match metric {
            Some(metric) => self.metric(&task, &metric).await,
            None => None,
        };
        let (cpu, memory) = (usage.map(|usage| usage.cpu), usage.map(|usage| usage.memory));
        Some(Metered { task, run: run.as_str().into(), at: self.epoch.elapsed(), cpu, memory, metric })
    }

    async fn metric(&self, task: &TaskId, metric: &Metric) -> Option<f64> {
        let address = {
            let records = self.tasks.records();
            let records = records.borrow();
            let record = records.iter().find(|record| record.task == *task)?;
            let port = record.ports.iter().find(|(name, _)| **name == *metric.port)?.1;
            SocketAddr::new(record.address, port)
        };
        match self.prober.read(address, &metric.path, METRIC_BYTES_MAX, METRIC_LIMIT).await {
            Ok(text) => sum_of(&String::from_utf8_lossy(&text), &metric.name),
            Err(why) => {
                tracing::debug!(%task, why, "a task does not say its metric");
                None
            }
        }
    }
}

/// The sum of all series of this name in Prometheus' text format; `None` if there is none with a number.
fn sum_of(text: &str, name: &str) -> Option<f64> {
    let values = text.lines().filter_map(|line| value_of(line.trim_start().strip_prefix(name)?));
    let finite: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    (!finite.is_empty()).then(|| finite.iter().sum())
}

/// The number in the rest of a line behind the name: `{labels} VALUE [TIMESTAMP]`.
fn value_of(rest: &str) -> Option<f64> {
    let rest = match rest.strip_prefix('{') {
        Some(labels) => &labels[end_of_labels(labels)?..],
        None => rest,
    };
    let rest = rest.strip_prefix([' ', '\t'])?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The position behind the brace that ends the labels; in quotes it is a part of a value.
fn end_of_labels(labels: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in labels.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '}' if !quoted => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::sum_of;

    #[test]
    fn all_series_of_a_metric_are_summed_up() {
        let text = "# HELP jobs Jobs.\n# TYPE jobs gauge\njobs{queue=\"a} b \\\" c\",n=\"1\"} 3\njobs{queue=\"b\"} 4.5 1700000000\n\
                    jobs_total 99\n  jobs 1\njobs{queue=\"c\"} NaN\n";
        assert_eq!(sum_of(text, "jobs"), Some(8.5));
        assert_eq!(sum_of(text, "jobs_total"), Some(99.0));
        assert_eq!(sum_of(text, "job"), None);
        assert_eq!(sum_of("jobs{ 3\njobs x\njobs", "jobs"), None);
    }
}
