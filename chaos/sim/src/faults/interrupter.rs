//! Kills agents and shims in the middle of starts: a plan names times, and a start lasts for milliseconds.
//!
//! As with the leaders that are killed at chosen instants, only the agent is killed, and is soon back: what it was to start
//! must be there once, whoever has made it. A shim that is killed leaves nothing of the start, and its agent another try.

use super::down;
use crate::{cluster::Cluster, machine::Rest, random::stream, tasks::Stage, trace::Event};
use rand::{RngExt, rngs::SmallRng};
use std::{collections::BTreeMap, time::Duration};
use taffeta_chaos_plan::FaultKind;

/// So often for each victim in a run.
const KILLS_MAX: u32 = 2;

/// Between two kills machines get on.
const PAUSE: Duration = Duration::from_secs(5);

/// How often a start that has come so far is taken.
const TAKEN: f64 = 0.2;

/// Who is killed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    /// The agent, when its start has come so far.
    Agent(Stage),
    /// The shim that makes the process.
    Shim,
}

impl Victim {
    /// Whom a start of this stage can lose.
    fn of(stage: Stage) -> impl Iterator<Item = Self> {
        let shim = (stage == Stage::Begun).then_some(Self::Shim);
        [Self::Agent(stage)].into_iter().chain(shim)
    }
}

/// Watches and strikes.
pub(crate) struct Interrupter {
    rng: SmallRng,
    struck: BTreeMap<Victim, u32>,
    rests_until: Duration,
}

impl Interrupter {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: stream(seed, "interrupter"), struck: BTreeMap::new(), rests_until: Duration::ZERO }
    }

    pub(crate) fn step(&mut self, cluster: &mut Cluster) {
        let now = cluster.now();
        let wanted = |victim: &Victim| self.struck.get(victim).is_none_or(|count| *count < KILLS_MAX);
        if now < self.rests_until || !Stage::ALL.into_iter().flat_map(Victim::of).any(|victim| wanted(&victim)) {
            return;
        }
        let starting = |i: &usize| {
            let machine = &cluster.machines[*i];
            let starts = machine.tasks.starts().into_iter().map(|(run, stage)| (stage, run));
            let starts = starts.filter(|(stage, _)| Victim::of(*stage).any(|victim| wanted(&victim)));
            machine.runs().then(|| starts.max().map(|(stage, run)| (*i, stage, run))).flatten()
        };
        let Some((i, stage, run)) = cluster.places.iter().find_map(starting) else { return };
        let victims: Vec<Victim> = Victim::of(stage).filter(wanted).collect();
        if !self.rng.random_bool(TAKEN) {
            return;
        }
        let victim = victims[self.rng.random_range(0..victims.len())];
        if victim == Victim::Shim && !cluster.machines[i].tasks.lose_birth(now, &run) {
            return; // the run is there from an earlier start
        }
        *self.struck.entry(victim).or_default() += 1;
        self.rests_until = now + PAUSE;
        let name = &cluster.machines[i].name;
        match victim {
            Victim::Shim => cluster.tell(format!("a shim of {name} is killed while it makes a task")),
            Victim::Agent(stage) => {
                let words = match stage {
                    Stage::Asked => "before there is anything of a task",
                    Stage::Begun => "while a shim makes a task",
                    Stage::Made => "before it is told of a task",
                };
                cluster.tell(format!("{name} is killed {words}"));
                let back = now + Duration::from_millis(self.rng.random_range(300..2_000));
                cluster.site.run.note(now, Event::Fault, i as u64, FaultKind::KillAgent as u64, 2);
                down(cluster, i, |machine, site| machine.kill_alone(site, Rest::Until(back)));
            }
        }
    }
}
