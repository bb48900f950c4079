//! What an experiment would do to the cluster as it is, and whether it may. Pure: nothing is injected.

use crate::{
    blast::{Blast, Hit},
    fleet::Fleet,
    format::{Activity, Experiment, Place, Strike},
};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// What an experiment would do.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The experiment's title.
    pub title: String,
    /// What decides the draws: give it again with `--seed` to strike the same.
    pub seed: u64,
    /// The faults, in their order.
    pub strikes: Vec<PlannedStrike>,
    /// Why it may not be run, in words; empty if it may.
    pub refusals: Vec<String>,
    /// Whether one of the refusals is that no quorum would be left.
    pub breaks_quorum: bool,
}

/// One fault of it.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedStrike {
    /// Name of the activity.
    pub name: String,
    /// The fault in words.
    pub fault: String,
    /// Earliest beginning, in seconds from the start: pauses are counted, what probes and commands take is not.
    pub at_s: f64,
    /// How long it lasts, in seconds.
    pub lasts_s: f64,
    /// Who is struck, and by what.
    pub hits: Vec<PlannedHit>,
    /// What it takes away together with those that are still on.
    pub blast: Blast,
    /// Why nobody can be struck, if so.
    pub error: Option<String>,
}

/// A fault on one machine.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedHit {
    /// The machine.
    pub node: String,
    /// The other ends of a network fault; everybody if empty.
    pub peers: Vec<String>,
    /// What does it there; empty while unknown.
    pub backend: String,
    /// What would be done, command by command.
    pub commands: Vec<String>,
    /// Why the machine cannot be struck so, if so.
    pub refused: Option<String>,
    #[serde(skip)]
    pub(crate) hit: Option<Hit>,
}

/// What a person may allow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Faults may take the quorum away.
    pub allow_quorum_loss: bool,
}

impl Plan {
    /// The plan for this cluster.
    pub fn new(experiment: &Experiment, fleet: &Fleet, seed: u64, limits: Limits) -> Self {
        let mut schedule = Schedule {
            fleet,
            seed,
            at: Duration::ZERO,
            on: fleet.active_hits().into_iter().map(|hit| (Duration::MAX, hit)).collect(),
            drawn: BTreeMap::new(),
        };
        let strikes: Vec<PlannedStrike> = experiment
            .method
            .iter()
            .chain(&experiment.rollbacks)
            .filter_map(|activity| schedule.step(activity))
            .collect();
        let mut refusals = vec![];
        if let Some(blocked) = &fleet.blocked {
            let why = if blocked.reason.is_empty() { String::new() } else { format!(": {}", blocked.reason) };
            refusals.push(format!(
                "faults are blocked since {} ({}){why}; `taffeta chaos allow` lifts it",
                blocked.at, blocked.by
            ));
        }
        for strike in &strikes {
            refusals.extend(strike.error.iter().map(|why| format!("{}: {why}", strike.name)));
            let refused =
                |hit: &PlannedHit| hit.refused.as_ref().map(|why| format!("{}: {}: {why}", strike.name, hit.node));
            refusals.extend(strike.hits.iter().filter_map(refused));
        }
        let broken = strikes.iter().find(|strike| strike.error.is_none() && strike.blast.votes.are_too_few());
        let breaks_quorum = broken.is_some() && !limits.allow_quorum_loss;
        if let Some(strike) = broken.filter(|_| breaks_quorum) {
            let votes = strike.blast.votes;
            let what = format!(
                "{}: the quorum would break: {} of {} voters would be left, {} are needed; --allow-quorum-loss allows it",
                strike.name, votes.left, votes.of, votes.needed
            );
            refusals.push(what);
        }
        Self { title: experiment.title.clone(), seed, strikes, refusals, breaks_quorum }
    }
}

/// Goes through the activities as time passes.
struct Schedule<'a> {
    fleet: &'a Fleet,
    seed: u64,
    at: Duration,
    /// Faults with their ends. Of those that others have begun the end is not known here.
    on: Vec<(Duration, Hit)>,
    /// Who was drawn by an activity: who refers to it strikes the same.
    drawn: BTreeMap<String, Vec<String>>,
}

impl Schedule<'_> {
    fn step(&mut self, activity: &Activity) -> Option<PlannedStrike> {
        self.at += activity.before;
        let planned = match &activity.provider {
            crate::format::Provider::Strike(strike) => Some(self.strike(activity, strike)),
            crate::format::Provider::Http(_)
            | crate::format::Provider::Process(_)
            | crate::format::Provider::Look(_) => None,
        };
        self.at += activity.after;
        planned
    }

    fn strike(&mut self, activity: &Activity, strike: &Strike) -> PlannedStrike {
        let at = self.at;
        self.on.retain(|(end, _)| *end > at);
        let mut planned = PlannedStrike {
            name: activity.name.clone(),
            fault: strike.to_string(),
            at_s: at.as_secs_f64(),
            lasts_s: strike.lasts.as_secs_f64(),
            hits: vec![],
            blast: Blast::default(),
            error: None,
        };
        let struck = match strike.aim(self.fleet, self.seed, &activity.name) {
            Ok(struck) => struck,
            Err(why) => {
                planned.error = Some(why);
                return planned;
            }
        };
        let nodes = match self.drawn.get(&activity.name) {
            Some(before) if struck.drawn => before.clone(),
            Some(_) | None => struck.nodes,
        };
        self.drawn.insert(activity.name.clone(), nodes.clone());
        let task = match &strike.place {
            Place::Task(task) => Some(task.clone()),
            Place::Nodes { .. } => None,
        };
        let hits: Vec<Hit> = nodes
            .iter()
            .map(|node| Hit {
                node: node.clone(),
                fault: strike.fault,
                peers: struck.peers.clone(),
                task: task.clone(),
            })
            .collect();
        planned.hits = hits.iter().map(|hit| self.hit(hit)).collect();
        let others: Vec<Hit> = self.on.iter().map(|(_, hit)| hit.clone()).collect();
        // One by one, never two of them are on at once.
        let together: Vec<Vec<Hit>> =
            if strike.one_by_one { hits.iter().map(|h| vec![h.clone()]).collect() } else { vec![hits.clone()] };
        let blasts = together.into_iter().map(|hits| Blast::of(&[others.clone(), hits].concat(), self.fleet));
        planned.blast =
            blasts.min_by_key(|blast| (blast.votes.left, usize::MAX - blast.tasks.len())).unwrap_or_default();
        if strike.one_by_one {
            self.at += strike.lasts * u32::try_from(hits.len()).unwrap_or(u32::MAX);
        } else if !strike.is_instant() {
            self.on.extend(hits.into_iter().map(|hit| (at + strike.lasts, hit)));
        }
        planned
    }

    fn hit(&self, hit: &Hit) -> PlannedHit {
        let machine = self.fleet.machines.get(&hit.node);
        let kind = hit.fault.kind().to_string();
        let backend = machine.and_then(|machine| machine.backends.iter().find(|backend| backend.fault == kind));
        let refused = match (machine, backend) {
            (Some(machine), _) if !machine.chaos => {
                Some("it has not opted in; start it with `chaos = true` (--chaos, TAFFETA_CHAOS)".to_owned())
            }
            (_, Some(backend)) => backend.refused.clone(),
            (_, None) => Some(format!("it does not know the fault `{kind}`")),
        };
        PlannedHit {
            node: hit.node.clone(),
            peers: hit.peers.clone(),
            backend: backend.map(|backend| backend.backend.clone()).unwrap_or_default(),
            commands: vec![],
            refused,
            hit: Some(hit.clone()),
        }
    }
}

#[cfg(test)]
mod tests;
