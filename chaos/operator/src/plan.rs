//! What an experiment would do to the cluster as it is, and whether it may. Pure: nothing is injected.

use crate::{
    blast::{Blast, Hit},
    fleet::Fleet,
    format::{Activity, Experiment, Place, Provider, Strike, silences},
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use taffeta_chaos_plan::{FaultKind, Target};

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
    /// What is only supposed of that, as it depends on what comes before.
    pub supposed: Option<String>,
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
            on: fleet.active_hits().into_iter().map(|hit| On { from: Duration::ZERO, end: FOR_EVER, hit }).collect(),
            drawn: BTreeMap::new(),
        };
        let mut strikes: Vec<PlannedStrike> =
            experiment.method.iter().filter_map(|activity| schedule.step(activity)).collect();
        schedule.wait_until_due();
        strikes.extend(experiment.rollbacks.iter().filter_map(|activity| schedule.step(activity)));
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

/// End of those that others have begun: it is not known here.
const FOR_EVER: Duration = Duration::MAX;

/// A fault while it is on.
struct On {
    from: Duration,
    end: Duration,
    hit: Hit,
}

/// Goes through the activities as time passes.
struct Schedule<'a> {
    fleet: &'a Fleet,
    seed: u64,
    at: Duration,
    on: Vec<On>,
    /// Who was drawn, by the activity's name and what it does: who refers to it strikes the same.
    drawn: BTreeMap<(String, String), Vec<String>>,
}

impl Schedule<'_> {
    fn step(&mut self, activity: &Activity) -> Option<PlannedStrike> {
        let at = self.at + activity.before;
        let (planned, took) = match &activity.provider {
            Provider::Strike(strike) => {
                let (planned, took) = self.strike(activity, strike, at);
                (Some(planned), took)
            }
            Provider::Http(_) | Provider::Process(_) | Provider::Look(_) => (None, Duration::ZERO),
        };
        // What goes on in the background keeps nobody waiting.
        if !activity.background {
            self.at = at + took + activity.after;
        }
        planned
    }

    /// Rollbacks begin when all that was done is over.
    fn wait_until_due(&mut self) {
        let ends = self.on.iter().map(|on| on.end).filter(|end| *end != FOR_EVER);
        self.at = ends.max().unwrap_or_default().max(self.at);
    }

    /// The faults that are on at a moment.
    fn on_at(&self, moment: Duration) -> impl Iterator<Item = &Hit> {
        self.on.iter().filter(move |on| on.from <= moment && moment < on.end).map(|on| &on.hit)
    }

    /// The cluster at a moment, as far as it can be foreseen: what is silenced then is dead, and has no tasks. In place of
    /// a leader that is dead, the first voter that is left leads.
    fn then(&self, moment: Duration) -> Fleet {
        let silent =
            |hit: &&Hit| hit.task.is_none() && silences(&hit.fault) && hit.fault.kind() != FaultKind::Partition;
        let dead: BTreeSet<&String> = self.on_at(moment).filter(silent).map(|hit| &hit.node).collect();
        let mut fleet = self.fleet.clone();
        for (_, machine) in fleet.machines.iter_mut().filter(|(name, _)| dead.contains(name)) {
            machine.alive = false;
        }
        fleet.tasks.retain(|task| !dead.contains(&task.node));
        if fleet.leader.as_ref().is_some_and(|leader| dead.contains(leader)) {
            let lives = |voter: &&String| fleet.machines.get(*voter).is_some_and(|machine| machine.alive);
            fleet.leader = fleet.voters.iter().find(lives).cloned();
        }
        fleet
    }

    /// What it does, and how long the next activity waits for it.
    fn strike(&mut self, activity: &Activity, strike: &Strike, at: Duration) -> (PlannedStrike, Duration) {
        let then = self.then(at);
        let mut planned = PlannedStrike {
            name: activity.name.clone(),
            fault: strike.to_string(),
            at_s: at.as_secs_f64(),
            lasts_s: strike.lasts.as_secs_f64(),
            hits: vec![],
            supposed: self.supposed(strike, &then),
            blast: Blast::default(),
            error: None,
        };
        let key = (activity.name.clone(), strike.to_string());
        let struck = match strike.aim(&then, self.seed, &activity.name, self.drawn.get(&key).map(Vec::as_slice)) {
            Ok(struck) => struck,
            Err(why) => {
                planned.error = Some(why);
                return (planned, Duration::ZERO);
            }
        };
        self.drawn.entry(key).or_insert_with(|| struck.nodes.clone());
        let (mut from, mut blasts) = (at, vec![]);
        for hits in struck.turns(strike) {
            planned.hits.extend(hits.iter().map(|hit| self.hit(hit)));
            let end = from + strike.lasts;
            // When it begins, and when those begin that come while it is on.
            let later = self.on.iter().map(|on| on.from).filter(|moment| from < *moment && *moment < end);
            let together = |moment| self.on_at(moment).chain(&hits).cloned().collect::<Vec<Hit>>();
            blasts.extend(later.chain([from]).map(|moment| Blast::of(&together(moment), self.fleet)));
            if !strike.is_instant() {
                self.on.extend(hits.into_iter().map(|hit| On { from, end, hit }));
            }
            from = end;
        }
        let taken = |blast: &Blast| (blast.votes.left, usize::MAX - blast.tasks.len());
        planned.blast = blasts.into_iter().min_by_key(taken).unwrap_or_default();
        (planned, if strike.one_by_one { from - at } else { Duration::ZERO })
    }

    /// That another one leads by then.
    fn supposed(&self, strike: &Strike, then: &Fleet) -> Option<String> {
        let targets = match &strike.place {
            Place::Nodes { target, except } => [Some(target), except.as_ref(), strike.peers.as_ref()],
            Place::Task(_) => [None, None, strike.peers.as_ref()],
        };
        let meant = targets.into_iter().flatten().any(|target| *target == Target::Leader);
        let leader = then.leader.as_deref().unwrap_or("nobody");
        (meant && then.leader != self.fleet.leader).then(|| format!("whoever leads then, as if that were {leader}"))
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
            (Some(machine), None) if machine.backends.is_empty() => {
                Some("it does not answer, and what can be done to it is not known".to_owned())
            }
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
