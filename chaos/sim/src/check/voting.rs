//! Who votes: how that changes, and that nobody speaks who has forgotten what it acknowledged.

use super::Broken;
use crate::{cluster::Cluster, machine::Machine, moments::Moment};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use taffeta_model::NodeId;
use taffeta_node::Inspect;
use taffeta_store::Insight;

/// Whoever does not lead is looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A voter is replaced when it has been silent for half a minute. A little less, for what is seen only now and then.
const SILENT_MIN: Duration = Duration::from_secs(28);

/// Whoever stopped cleanly so long ago has handed its vote over.
const FAREWELL_MAX: Duration = Duration::from_secs(90);

/// A machine may have died without anybody knowing for so long.
const UNNOTICED_MAX: Duration = Duration::from_secs(10);

/// A quorum that is gone for so long is lost.
const LOST_AFTER: Duration = Duration::from_secs(10);

/// How long a node may run from a copied folder until it has found out.
const COPY_MAX: Duration = Duration::from_secs(10);

/// Words in the refusal of a copy.
const REFUSALS: [&str; 3] = ["was copied or moved", "is in use twice", "is an older copy"];

/// The sets of voters of a membership.
type Configs = Vec<BTreeSet<NodeId>>;

/// What is known of who votes.
#[derive(Default)]
pub(super) struct Voting {
    /// Whether logs are not compared with what was acknowledged.
    trusts_logs: bool,
    /// By machine, while it leads: its start, its term, and the membership in its log.
    led: BTreeMap<usize, (Duration, u64, (u64, u64), Configs)>,
    /// Up to which index of the present generation a node has told that it has the log on disk, of what is committed.
    acknowledged: BTreeMap<NodeId, u64>,
    generation: u64,
    /// When each machine was well last.
    well: BTreeMap<usize, Duration>,
    /// Memberships by their place in the log: the newest two; one, once it is known to be committed.
    newest: BTreeMap<(u64, u64), Configs>,
    /// When each copy was seen to run first.
    copies: BTreeMap<usize, Duration>,
    /// Machines whose copy was up while they were away, or took leave: it may have spoken in their place.
    stood_in_for: BTreeSet<usize>,
    told_lost: bool,
}

impl Voting {
    pub(super) fn new(trusts_logs: bool) -> Self {
        Self { trusts_logs, ..Self::default() }
    }

    pub(super) fn step(&mut self, cluster: &mut Cluster) -> Result<(), Broken> {
        let now = cluster.now();
        let all = now.as_millis().is_multiple_of(LOOK_EVERY.as_millis());
        let leader = cluster.led.map(|(i, _)| i);
        let mut noted = vec![];
        let mut outlived = BTreeSet::new();
        self.learn_who_stands_in(cluster);
        for machine in &cluster.machines {
            if machine.runs() && now - machine.disturbed > cluster.tick * 2 {
                self.well.insert(machine.number, now);
            }
            // In one step nobody makes a whole change of who votes, in the pause between two looks somebody may.
            let close = leader == Some(machine.number) || self.led.contains_key(&machine.number);
            let Some(id) = machine.id.filter(|_| machine.runs() && (all || close)) else { continue };
            let Some((generation, insight)) =
                machine.look(|inspect| (inspect.state(|state| state.generation), inspect.insight()))
            else {
                continue;
            };
            if generation > self.generation {
                // What the old side had acknowledged is not what this one goes on with.
                self.generation = generation;
                self.acknowledged.clear();
                self.newest.clear();
            }
            if generation < self.generation {
                let met = machine.look(Inspect::generation) >= Some(self.generation);
                noted.extend(met.then_some(Moment::OldSideFenced));
                continue;
            }
            // An older copy that has not been refused yet has not been heard either.
            if !machine.outdated
                && !self.trusts_logs
                && let Err(why) = self.invariant_no_id_forgets_what_it_acknowledged(machine, id, &insight)
            {
                // What its copy has acknowledged in its place it never had: then it is the older one of the two, and is to be
                // refused like any other.
                if !self.stood_in_for.contains(&machine.number) {
                    return Err(why);
                }
                outlived.insert(machine.number);
            }
            noted.extend(self.follow(cluster, machine, &insight)?);
        }
        outlived.into_iter().for_each(|i| cluster.machines[i].outdated = true);
        noted.into_iter().for_each(|moment| cluster.moments.note(moment));
        self.invariant_a_copy_is_refused(cluster)?;
        cluster.memberships = self.newest.values().cloned().collect();
        self.learn_whether_a_quorum_is_there(cluster);
        cluster.electorates = self.newest.values().flatten().cloned().collect();
        Ok(())
    }

    /// Ids are never used again: whoever speaks under one has all that was acknowledged under it.
    fn invariant_no_id_forgets_what_it_acknowledged(
        &mut self,
        machine: &Machine,
        id: NodeId,
        insight: &Insight,
    ) -> Result<(), Broken> {
        for (id, index) in &insight.acknowledged {
            let known = self.acknowledged.entry(*id).or_default();
            *known = (*known).max((*index).min(insight.committed));
        }
        match self.acknowledged.get(&id) {
            Some(acknowledged) if insight.last < *acknowledged => Err(format!(
                "{}: its log ends at {}, although it has acknowledged {acknowledged}",
                machine.name, insight.last
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Remembers whose copy is up while the original is not heard.
    fn learn_who_stands_in(&mut self, cluster: &Cluster) {
        for copy in cluster.machines.iter().filter(|m| m.is_copy && m.look(|_| ()).is_some()) {
            let original = cluster.machines.iter().find(|m| m.name == copy.name && !m.is_copy);
            let away = |m: &&Machine| m.process().is_none_or(|process| process.is_stopping());
            self.stood_in_for.extend(original.filter(away).map(|m| m.number));
        }
    }

    /// Follows the membership in a leader's log from one step to the next.
    fn follow(&mut self, cluster: &Cluster, machine: &Machine, insight: &Insight) -> Result<Vec<Moment>, Broken> {
        let mut noted = vec![];
        if !insight.configs.is_empty() {
            self.newest.insert(insight.membership, insight.configs.clone());
            while self.newest.len() > 2 {
                self.newest.pop_first();
            }
            if insight.committed >= insight.membership.0 {
                self.newest = self.newest.split_off(&insight.membership);
            }
        }
        if !insight.leads {
            self.led.remove(&machine.number);
            return Ok(noted);
        }
        let fresh = (machine.started, insight.term, insight.membership, insight.configs.clone());
        let Some((started, term, at, configs)) = self.led.insert(machine.number, fresh) else { return Ok(noted) };
        if (started, term) != (machine.started, insight.term) || at == insight.membership {
            return Ok(noted);
        }
        if insight.committed < at.0 {
            let (new, old) = (insight.membership.0, at.0);
            return Err(format!("{}: changes who votes at {new} while the change at {old} is under way", machine.name));
        }
        match (configs.as_slice(), insight.configs.as_slice()) {
            ([before], [after]) if before == after => {}
            ([before], [same, after]) if before == same => {
                noted.extend(self.judge(cluster, machine, before, after)?);
            }
            ([_, before], [after]) if before == after => {
                let began = at.1 == insight.term;
                noted.extend((!began).then_some(Moment::ChangeLeftOver));
            }
            ([a, b], [c, d]) if a == c && b == d => {}
            (before, after) => {
                let (before, after) = (words(cluster, before), words(cluster, after));
                return Err(format!("{}: who votes goes from {before} to {after} in one step", machine.name));
            }
        }
        Ok(noted)
    }

    /// A change from one set of voters to the next.
    fn judge(
        &self,
        cluster: &Cluster,
        machine: &Machine,
        before: &BTreeSet<NodeId>,
        after: &BTreeSet<NodeId>,
    ) -> Result<Option<Moment>, Broken> {
        let change = || {
            let (before, after) = (before.clone(), after.clone());
            format!("{}: {} vote instead of {}", machine.name, words(cluster, &[after]), words(cluster, &[before]))
        };
        invariant_death_never_shrinks_the_set(cluster, before, after).map_err(|why| format!("{}: {why}", change()))?;
        self.invariant_most_of_the_voters_live(cluster, after).map_err(|why| format!("{}: {why}", change()))?;
        self.invariant_a_voter_is_replaced_on_evidence(cluster, before, after)
            .map_err(|why| format!("{}: {why}", change()))
    }

    /// No change makes a set of which most are dead, and nobody comes to vote who is not there.
    fn invariant_most_of_the_voters_live(&self, cluster: &Cluster, after: &BTreeSet<NodeId>) -> Result<(), Broken> {
        let now = cluster.now();
        let lives = |id: &&NodeId| {
            let there = |m: &Machine| m.process().is_some() || now - m.died < UNNOTICED_MAX;
            cluster.machine_of(**id).is_some_and(there)
        };
        let living = after.iter().filter(lives).count();
        if living > after.len() / 2 { Ok(()) } else { Err(format!("only {living} of them live")) }
    }

    /// A voter is replaced only when it has long been dead, or has left, or was removed, or for the sake of the zones; and
    /// only one at a time. With one that was removed others may go: four members have three voters, where five had five.
    fn invariant_a_voter_is_replaced_on_evidence(
        &self,
        cluster: &Cluster,
        before: &BTreeSet<NodeId>,
        after: &BTreeSet<NodeId>,
    ) -> Result<Option<Moment>, Broken> {
        let now = cluster.now();
        let gone: Vec<NodeId> = before.difference(after).copied().collect();
        if gone.iter().any(|id| cluster.removed.contains(id)) {
            return Ok(None);
        }
        if gone.len() > 1 {
            return Err(format!("{} at once lose their votes", gone.len()));
        }
        let zones = |ids: &BTreeSet<NodeId>| {
            ids.iter().filter_map(|id| cluster.machine_of(*id)).map(|m| m.zone.as_str()).collect::<BTreeSet<_>>().len()
        };
        for id in gone {
            let Some(machine) = cluster.machine_of(id) else { continue };
            let left = !machine.stopped.is_zero() && now - machine.stopped < FAREWELL_MAX;
            if zones(after) > zones(before) {
                continue;
            }
            if left {
                return Ok(Some(Moment::VoteHandedOver));
            }
            let silent = now - self.well.get(&machine.number).copied().unwrap_or_default();
            if silent < SILENT_MIN {
                return Err(format!("{} was well {silent:?} ago", machine.name));
            }
            return Ok(Some(Moment::VoterReplaced));
        }
        Ok(None)
    }

    /// A copied data folder is refused: its node does not stay.
    fn invariant_a_copy_is_refused(&mut self, cluster: &mut Cluster) -> Result<(), Broken> {
        let now = cluster.now();
        let mut refused = 0;
        for ended in &cluster.ended {
            let machine = &cluster.machines[ended.machine];
            refused += u32::from(is_refused_copy(machine, &ended.why));
        }
        for machine in cluster.machines.iter().filter(|m| m.is_copy || m.outdated) {
            if machine.look(|_| ()).is_none() || machine.disturbed == now {
                self.copies.remove(&machine.number);
                continue;
            }
            let since = *self.copies.entry(machine.number).or_insert(now);
            if now - since > COPY_MAX {
                return Err(format!("{} runs from a copied folder, and nobody minds", machine.name));
            }
        }
        (0..refused).for_each(|_| cluster.moments.note(Moment::CopyRefused));
        Ok(())
    }

    /// Remembers since when no majority of the voters runs, by either of the newest two memberships.
    fn learn_whether_a_quorum_is_there(&mut self, cluster: &mut Cluster) {
        let now = cluster.now();
        let runs = |m: &&Machine| m.process().is_some() && !m.is_copy;
        cluster.ran.extend(cluster.machines.iter().filter(runs).filter_map(|m| Some((m.id?, now))));
        let there = cluster.most_ran_since(now);
        match cluster.quorum_lost {
            Some(_) | None if there => (cluster.quorum_lost, self.told_lost) = (None, false),
            None => cluster.quorum_lost = Some(now),
            Some(since) if now - since > LOST_AFTER && !self.told_lost => {
                self.told_lost = true;
                cluster.moments.note(Moment::QuorumLost);
            }
            Some(_) => {}
        }
    }
}

/// Whether it ran from a copied folder and ended because that was found out.
pub(super) fn is_refused_copy(machine: &Machine, why: &str) -> bool {
    (machine.is_copy || machine.outdated) && REFUSALS.iter().any(|words| why.contains(words))
}

/// Death never shrinks the set of voters: only the removal of a member may.
fn invariant_death_never_shrinks_the_set(
    cluster: &Cluster,
    before: &BTreeSet<NodeId>,
    after: &BTreeSet<NodeId>,
) -> Result<(), Broken> {
    if after.len() < before.len() && cluster.removed.is_empty() {
        return Err("nobody was removed, and they are fewer".into());
    }
    Ok(())
}

fn words(cluster: &Cluster, sets: &[BTreeSet<NodeId>]) -> String {
    let name = |id: &NodeId| cluster.machine_of(*id).map_or_else(|| id.to_string(), |m| m.name.to_string());
    let set = |set: &BTreeSet<NodeId>| format!("{{{}}}", set.iter().map(name).collect::<Vec<_>>().join(", "));
    sets.iter().map(set).collect::<Vec<_>>().join(" and ")
}
