//! What the tasks of this node use, for people and for whoever collects metrics.

use crate::{
    api::{UsageView, WhyView},
    node::Core,
    wire::{Ask, Told},
};
use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use std::{fmt::Write, time::Duration};
use taffeta_isolation_plan::{Pressure, Stall, Usage};
use taffeta_model::{NodeId, TaskId};

/// Most tasks of which a node shows figures: as many as a large machine runs. It bounds what a collector of metrics has to
/// keep, each task being a label of some twenty series.
const TASKS_MAX: usize = 2_000;
/// Tasks that are looked at at a time.
const AT_ONCE: usize = 16;
/// Ended runs of a task that are asked for what became of them: more do not keep their folders.
const ENDS_MAX: usize = 4;
/// How long another node may take to give the figures of a task: `why` has more to say than that.
const FIGURES_LIMIT: Duration = Duration::from_millis(800);

/// What a node says of one of its tasks. Travels as JSON, so that a field more or less does no harm.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Figures {
    /// Of the newest process.
    usage: Option<UsageView>,
    /// Of the last one that ended, beyond its exit.
    end: Option<String>,
}

/// A series: name, kind, what it is, and how it is had from the figures.
type Family = (&'static str, &'static str, &'static str, fn(&Usage) -> Option<f64>);

const FAMILIES: [Family; 13] = [
    ("cpu_seconds_total", "counter", "Processor time.", |u| Some(u.cpu.as_secs_f64())),
    ("memory_bytes", "gauge", "Memory, without what the kernel would give back at once.", |u| Some(u.memory as f64)),
    ("memory_peak_bytes", "gauge", "Most memory at any time.", |u| number(u.memory_peak)),
    ("memory_max_bytes", "gauge", "Limit of memory.", |u| number(u.memory_max)),
    ("pids", "gauge", "Processes and threads.", |u| number(u.pids)),
    ("pids_max", "gauge", "Limit of processes and threads.", |u| number(u.pids_max)),
    ("forks_refused_total", "counter", "Forks refused at that limit.", |u| number(u.forks_refused)),
    ("oom_kills_total", "counter", "Processes killed for want of memory.", |u| number(u.oom_kills)),
    ("periods_total", "counter", "Periods of its quota in which it ran.", |u| number(Some(u.throttled?.periods))),
    ("throttled_periods_total", "counter", "Those in which it had to stop.", |u| number(Some(u.throttled?.throttled))),
    ("throttled_seconds_total", "counter", "Time that its quota held it up.", |u| {
        Some(u.throttled?.time.as_secs_f64())
    }),
    ("read_bytes_total", "counter", "Bytes read from disks.", |u| number(Some(u.disks?.read))),
    ("written_bytes_total", "counter", "Bytes written to disks.", |u| number(Some(u.disks?.written))),
];

fn number(counted: Option<u64>) -> Option<f64> {
    counted.map(|n| n as f64)
}

impl Core {
    /// The figures of all tasks of this node in Prometheus' text format.
    pub(crate) async fn figures_text(&self) -> String {
        let mut tasks: Vec<TaskId> = {
            let records = self.tasks.records();
            let records = records.borrow();
            records.iter().filter(|record| record.pid.is_some()).map(|record| record.task.clone()).collect()
        };
        let left_out = tasks.len().saturating_sub(TASKS_MAX);
        tasks.truncate(TASKS_MAX);
        let counted = stream::iter(tasks).map(|task| async move {
            let usage = self.usage_of_task(&task).await?;
            Some((task, usage))
        });
        let counted = counted.buffered(AT_ONCE).filter_map(std::future::ready);
        let mut text = text_of(&counted.collect::<Vec<_>>().await);
        if left_out > 0 {
            let _ =
                writeln!(text, "# TYPE taffeta_tasks_without_figures gauge\ntaffeta_tasks_without_figures {left_out}");
        }
        text
    }

    async fn usage_of_task(&self, task: &TaskId) -> Option<Usage> {
        let run = self.tasks.runs_of(task.clone()).await.pop()?;
        self.executor.usage(run.as_str()).await
    }

    /// What this node says of a task that it has.
    pub(crate) async fn figures_here(&self, task: &TaskId) -> Figures {
        let usage = self.usage_of_task(task).await.map(|usage| UsageView::from(&usage));
        let runs = self.tasks.runs_of(task.clone()).await;
        for run in runs.iter().rev().take(ENDS_MAX) {
            if let Some(end) = self.executor.end_words(run.as_str()).await {
                return Figures { usage, end: Some(end) };
            }
        }
        Figures { usage, end: None }
    }

    /// Adds to `why` what the task's machine says of it; nothing if it does not answer.
    pub(crate) async fn add_figures(&self, task: TaskId, why: &mut WhyView) {
        let Some(node) = why.node.as_deref().and_then(|name| self.member_named(name)) else { return };
        let figures = if node == self.me {
            self.figures_here(&task).await
        } else {
            match self.ask(node, &Ask::Figures(task), FIGURES_LIMIT).await {
                Ok(Told::Document(Ok(json))) => serde_json::from_slice(&json).unwrap_or_default(),
                Ok(_) | Err(_) => return, // an older version, or no time
            }
        };
        figures.add_to(why);
    }

    fn member_named(&self, name: &str) -> Option<NodeId> {
        let directory = self.directory.borrow();
        directory.members.iter().find(|(_, member)| member.name.as_str() == name).map(|(id, _)| *id)
    }
}

impl Figures {
    fn add_to(self, why: &mut WhyView) {
        let end = self.end.filter(|end| !why.reasons.iter().any(|reason| reason.contains(end.as_str())));
        if let Some(end) = end {
            match why.reasons.iter_mut().find(|reason| reason.starts_with("its last process")) {
                Some(reason) => *reason += &format!(": {end}"),
                None => why.reasons.push(format!("of its last process: {end}")),
            }
        }
        why.reasons.extend(self.usage.iter().flat_map(UsageView::words));
        why.usage = self.usage;
    }
}

/// One family after the other, as the format wants it. Names of tasks need no escape: they are made of DNS labels.
fn text_of(counted: &[(TaskId, Usage)]) -> String {
    let mut text = String::new();
    for (name, kind, help, value) in FAMILIES {
        let values: Vec<_> = counted.iter().filter_map(|(task, usage)| Some((task, value(usage)?))).collect();
        if values.is_empty() {
            continue;
        }
        let _ = writeln!(text, "# HELP taffeta_task_{name} {help}\n# TYPE taffeta_task_{name} {kind}");
        for (task, value) in values {
            let _ = writeln!(text, "taffeta_task_{name}{{task=\"{task}\"}} {value}");
        }
    }
    add_pressure(&mut text, counted, "pressure_seconds_total", "counter", "Time spent waiting.", |stall| {
        stall.total.as_secs_f64()
    });
    add_pressure(&mut text, counted, "pressure_ratio", "gauge", "Share of the last 10 s spent waiting.", |stall| {
        f64::from(stall.avg10) / 10_000.0
    });
    text
}

fn add_pressure(
    text: &mut String,
    counted: &[(TaskId, Usage)],
    name: &str,
    kind: &str,
    help: &str,
    value: fn(&Stall) -> f64,
) {
    let mut begun = false;
    for (task, pressures) in counted.iter().filter_map(|(task, usage)| Some((task, usage.pressures?))) {
        if !std::mem::replace(&mut begun, true) {
            let _ = writeln!(text, "# HELP taffeta_task_{name} {help}\n# TYPE taffeta_task_{name} {kind}");
        }
        for (what, Pressure { some, full }) in
            [("cpu", pressures.cpu), ("memory", pressures.memory), ("io", pressures.io)]
        {
            for (part, stall) in [("some", some), ("full", full)] {
                let labels = format!("task=\"{task}\",resource=\"{what}\",part=\"{part}\"");
                let _ = writeln!(text, "taffeta_task_{name}{{{labels}}} {}", value(&stall));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use taffeta_isolation_plan::{Pressures, Throttled};

    #[test]
    fn a_series_is_there_for_what_is_counted_and_for_nothing_else() {
        let task: TaskId = "shop/web.2".parse().unwrap();
        let plain = Usage { cpu: Duration::from_millis(1500), memory: 7, ..Usage::default() };
        let text = text_of(&[(task.clone(), plain)]);
        assert!(text.contains("# TYPE taffeta_task_cpu_seconds_total counter\ntaffeta_task_cpu_seconds_total{task=\"shop/web.2\"} 1.5\n"), "{text}");
        assert!(!text.contains("throttled") && !text.contains("pressure") && !text.contains("pids"), "{text}");

        let stall = Stall { avg10: 250, total: Duration::from_secs(3) };
        let pressures = Pressures { io: Pressure { some: stall, full: Stall::default() }, ..Pressures::default() };
        let throttled = Throttled { periods: 9, throttled: 4, time: Duration::from_millis(250) };
        let rich = Usage { pressures: Some(pressures), throttled: Some(throttled), ..plain };
        let text = text_of(&[(task, rich)]);
        for line in [
            "taffeta_task_throttled_seconds_total{task=\"shop/web.2\"} 0.25",
            "taffeta_task_pressure_seconds_total{task=\"shop/web.2\",resource=\"io\",part=\"some\"} 3",
            "taffeta_task_pressure_ratio{task=\"shop/web.2\",resource=\"io\",part=\"some\"} 0.025",
        ] {
            assert!(text.lines().any(|has| has == line), "{line} in {text}");
        }
        let mut families: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        families.sort_unstable();
        families.dedup();
        assert_eq!(families.len(), text.matches("# TYPE ").count(), "each family once");
        assert_eq!(text_of(&[]), "");
    }

    #[test]
    fn the_end_of_the_last_process_is_told_once() {
        let why = |reasons: &[&str]| WhyView {
            task: "shop/web.2".into(),
            state: "running".into(),
            node: None,
            reasons: reasons.iter().map(|s| (*s).to_owned()).collect(),
            usage: None,
        };
        let figures = || Figures { usage: None, end: Some("its limit of 64 MiB was reached".into()) };
        let mut running = why(&["it is on n1", "its last process killed: out of memory"]);
        figures().add_to(&mut running);
        assert_eq!(running.reasons[1], "its last process killed: out of memory: its limit of 64 MiB was reached");
        let mut waiting = why(&["killed: out of memory: its limit of 64 MiB was reached; restart 1 in 250 ms"]);
        figures().add_to(&mut waiting);
        assert_eq!(waiting.reasons.len(), 1);
    }
}
