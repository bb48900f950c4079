//! Kills agents in the middle of starts: a plan names times, and a start lasts for milliseconds.
//!
//! As with the leaders that are killed at chosen instants, only the agent is killed, and is soon back: what it was to start
//! must be there once, whoever has made it.

use super::down;
use crate::{cluster::Cluster, machine::Rest, random::stream, tasks::Stage, trace::Event};
use rand::{RngExt, rngs::SmallRng};
use std::{collections::BTreeMap, time::Duration};
use taffeta_chaos_plan::FaultKind;

/// So often for each stage of a start in a run.
const KILLS_MAX: u32 = 2;

/// Between two kills machines get on.
const PAUSE: Duration = Duration::from_secs(5);

/// How often a start that has come so far is taken.
const TAKEN: f64 = 0.2;

/// Watches and strikes.
pub(crate) struct Interrupter {
    rng: SmallRng,
    struck: BTreeMap<Stage, u32>,
    rests_until: Duration,
}

impl Interrupter {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: stream(seed, "interrupter"), struck: BTreeMap::new(), rests_until: Duration::ZERO }
    }

    pub(crate) fn step(&mut self, cluster: &mut Cluster) {
        let now = cluster.now();
        let wanted = |stage: &Stage| self.struck.get(stage).is_none_or(|count| *count < KILLS_MAX);
        if now < self.rests_until || !Stage::ALL.iter().any(wanted) {
            return;
        }
        let starting = |i: &usize| {
            let machine = &cluster.machines[*i];
            let stages = machine.tasks.starts().into_values().filter(wanted);
            machine.runs().then(|| stages.max().map(|stage| (*i, stage))).flatten()
        };
        let Some((i, stage)) = cluster.places.iter().find_map(starting) else { return };
        if !self.rng.random_bool(TAKEN) {
            return;
        }
        *self.struck.entry(stage).or_default() += 1;
        self.rests_until = now + PAUSE;
        let back = now + Duration::from_millis(self.rng.random_range(300..2_000));
        let words = match stage {
            Stage::Asked => "before there is anything of a task",
            Stage::Begun => "while a shim makes a task",
            Stage::Made => "before it is told of a task",
        };
        cluster.tell(format!("{} is killed {words}", cluster.machines[i].name));
        cluster.site.run.note(now, Event::Fault, i as u64, FaultKind::KillAgent as u64, 2);
        down(cluster, i, |machine, site| machine.kill_alone(site, Rest::Until(back)));
    }
}
