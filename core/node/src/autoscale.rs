//! The leader lets services grow and shrink with their load: it asks the machines what tasks use, and decides.

use crate::{
    node::Core,
    usage::GAUGES_MAX,
    wire::{Ask, Gauge, Metered, Told},
};
use futures::future::join_all;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use taffeta_model::{Command, NodeId, Outcome, State, TaskId};
use taffeta_scheduler::{Autoscaler, Load};
use tokio::time::sleep_until;

/// Between two looks at the loads.
const EVERY: Duration = Duration::from_secs(5);
/// How long a machine may take to answer.
const ASK_LIMIT: Duration = Duration::from_secs(3);
/// How long one command may take.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// Processor time within less than this says little.
const SPAN_MIN: Duration = Duration::from_secs(1);

/// What a leader remembers between looks.
#[derive(Default)]
struct Looks {
    scaler: Autoscaler,
    before: BTreeMap<TaskId, Before>,
}

/// What a run had used at the look before.
struct Before {
    run: String,
    at: Duration,
    cpu: Duration,
}

impl Core {
    /// Scales services whenever this node leads.
    pub(crate) async fn run_autoscale(self: Arc<Self>) {
        let mut leading: Option<(u64, Looks)> = None;
        loop {
            sleep_until(self.next_beat(EVERY)).await;
            let (leads, leader) = {
                let known = self.consensus.borrow();
                (known.leads && !*self.leaving.borrow(), known.leader)
            };
            let Some((_, term)) = leader.filter(|_| leads) else {
                leading = None;
                continue;
            };
            let asked = self.store.read(gauges);
            if asked.is_empty() {
                leading = None;
                continue;
            }
            if leading.as_ref().is_none_or(|(before, _)| *before != term) {
                leading = Some((term, Looks::default()));
            }
            if let Some((_, looks)) = &mut leading {
                self.scale_by_load(looks, asked).await;
            }
        }
    }

    async fn scale_by_load(&self, looks: &mut Looks, asked: BTreeMap<NodeId, Vec<Gauge>>) {
        let asked = asked.into_iter().map(|(node, gauges)| async move {
            if node == self.me {
                return self.usage_here(gauges).await;
            }
            self.ask(node, &Ask::Usage(gauges), ASK_LIMIT).await.unwrap_or(Told::No)
        });
        let told = join_all(asked).await.into_iter();
        let metered = told.flat_map(|told| if let Told::Usage(metered) = told { metered } else { vec![] });
        let loads = looks.loads(metered);
        let now = self.now();
        let commands = self.store.read(|state| looks.scaler.decide(now, state, &loads));
        for command in commands {
            let Command::Autoscale { app, job, seen_count, count, reason } = command.clone() else { continue };
            match self.store.write(command, WRITE_LIMIT).await {
                Ok(Outcome::Done(_)) => {
                    let message = format!("{app}/{job} goes from {seen_count} to {count} instances: {reason}");
                    tracing::info!(message);
                    self.events.tell(self.clock.date(), "service.scaled", format!("{app}/{job}"), message);
                }
                Ok(Outcome::Refused(why)) => tracing::debug!(%why, "a decision was outdated"),
                Err(error) => tracing::warn!(%error, "a decision could not be written"),
            }
        }
    }
}

impl Looks {
    fn loads(&mut self, metered: impl Iterator<Item = Metered>) -> BTreeMap<TaskId, Load> {
        let mut before = std::mem::take(&mut self.before);
        let load = |metered: Metered| {
            let Metered { task, run, at, cpu, memory, metric } = metered;
            let known = before.remove(&task).filter(|before| before.run == run);
            let used = known.zip(cpu).and_then(|(before, cpu)| {
                let span = at.saturating_sub(before.at);
                (span >= SPAN_MIN).then(|| cpu.saturating_sub(before.cpu).as_secs_f64() / span.as_secs_f64())
            });
            if let Some(cpu) = cpu {
                self.before.insert(task.clone(), Before { run, at, cpu });
            }
            (task, Load { cpu: used, memory, metric })
        };
        metered.map(load).collect()
    }
}

/// The instances of services that are scaled by their load, by machine.
fn gauges(state: &State) -> BTreeMap<NodeId, Vec<Gauge>> {
    let mut gauges: BTreeMap<NodeId, Vec<Gauge>> = BTreeMap::new();
    if state.spoken_level() < 2 {
        return gauges;
    }
    for (app, deployed) in &state.apps {
        for (name, job) in &deployed.app.jobs {
            let Some(scale) = &job.autoscale else { continue };
            for (task, known) in state.tasks.of_job(app, name) {
                let Some(node) = known.node().filter(|_| task.index <= job.count) else { continue };
                let of_node = gauges.entry(node).or_default();
                if of_node.len() < GAUGES_MAX {
                    of_node.push(Gauge { task: task.clone(), metric: scale.metric.clone() });
                }
            }
        }
    }
    gauges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_counted_from_look_to_look_of_one_run() {
        let task: TaskId = "shop/web.1".parse().unwrap();
        let metered = |run: &str, at, cpu| Metered {
            task: task.clone(),
            run: run.into(),
            at: Duration::from_millis(at),
            cpu: Some(Duration::from_millis(cpu)),
            memory: Some(7),
            metric: None,
        };
        let mut looks = Looks::default();
        let mut cpu = |run: &str, at, cpu| looks.loads(std::iter::once(metered(run, at, cpu)))[&task].cpu;
        assert_eq!(cpu("a", 1_000, 500), None);
        assert_eq!(cpu("a", 3_000, 1_500), Some(0.5));
        assert_eq!(cpu("a", 3_500, 1_900), None, "too short");
        assert_eq!(cpu("b", 6_000, 100), None, "another run");
        assert_eq!(cpu("b", 8_000, 100), Some(0.0));
        assert_eq!(looks.loads(std::iter::empty()), BTreeMap::new());
        assert!(looks.before.is_empty(), "what is gone is forgotten");
    }
}
