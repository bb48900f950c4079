//! Who should vote: a pure function of the members, of what the log says and of what the leader has seen, to at most one
//! change.
//!
//! One voter for one and two machines, three for three and four, three or five above (five with three zones or more, or
//! where five vote already), and two learners that follow the log as stand-bys. Members count until they are removed: a
//! farewell or a death never makes the set smaller, only `remove` does, by taking the member out of the state. Existing
//! voters are kept; a dead one is replaced only on the evidence of a majority, and slowly. Left out on purpose: how a
//! change is written (`Store::change_voters`), and any memory other than [`Evidence`].

mod choose;
mod evidence;

pub use evidence::Evidence;

use choose::Look;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};
use taffeta_model::{Bug, Liveness, Millis, NodeId, planted};

/// Learners that are kept as stand-bys: one may die before the other has taken a dead voter's place.
pub const STANDBYS: usize = 2;
/// A voter counts as dead once it has been down, and has acknowledged nothing, for this long: longer than a restart.
pub const DEAD_AFTER: Duration = Duration::from_secs(30);
/// A stand-by replaces a dead voter once its log has been complete for this long.
pub const CAUGHT_UP_FOR: Duration = Duration::from_secs(10);
/// From one replacement to the next. A ring that loses machines faster than this needs a person.
pub const BETWEEN_REPLACEMENTS: Duration = Duration::from_secs(60);
/// All must have been well for this long before voters are spread better over zones.
pub const WELL_FOR: Duration = Duration::from_secs(60);
/// Who acknowledged within this time answers. Some ten heartbeats in a LAN, eight on a slow network.
pub const FRESH: Duration = Duration::from_secs(2);
/// Who acknowledged within this time is there. Less than the pause between two heartbeats, so that only some looks find it so.
pub const JUST_NOW: Duration = Duration::from_millis(100);
/// A learner that has not caught up after this long is passed over for another machine.
pub const LEARN_PATIENCE: Duration = Duration::from_secs(30);
/// A node that said that it stops is not made a voter or stand-by anew for this long, unless it comes back.
pub const LEAVING_FOR: Duration = Duration::from_secs(10);

/// A member as the leader's ring sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The machine.
    pub id: NodeId,
    /// Its zone; machines without one share the empty zone.
    pub zone: String,
    /// What the ring thinks of it; one that was not met counts as down.
    pub liveness: Liveness,
}

/// What the leader sees at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// The leader itself.
    pub me: NodeId,
    /// All members, in the order of their joining, the dead included.
    pub members: Vec<Candidate>,
    /// Who votes by the newest entry about it: one set, or two while a change is half done.
    pub configs: Vec<BTreeSet<NodeId>>,
    /// Who follows the log without a vote.
    pub learners: BTreeSet<NodeId>,
    /// Whether that entry is committed.
    pub committed: bool,
    /// Whether a quorum has acknowledged the leader within an election's time.
    pub lease: bool,
    /// Followers and learners whose log is complete but for the last few entries.
    pub caught_up: BTreeSet<NodeId>,
    /// How long ago each of them acknowledged something; absent if it never did to this leader.
    pub silence: BTreeMap<NodeId, Duration>,
}

/// Why who votes is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The ring has grown.
    Growth,
    /// A member that votes was removed, or the ring has become smaller by that.
    Removal,
    /// A voter is dead.
    Replacement,
    /// Two voters share a zone although another zone has a fit machine.
    Spread,
    /// A voter is about to stop.
    Departure,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Growth => "the ring has grown",
            Self::Removal => "a member was removed",
            Self::Replacement => "a voter is dead",
            Self::Spread => "voters are spread over the zones",
            Self::Departure => "a voter is about to stop",
        })
    }
}

/// The one change to make now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Finish the half-done change that an earlier leader left behind: exactly these vote.
    Finish(BTreeSet<NodeId>),
    /// Let a machine follow the log.
    AddLearner(NodeId),
    /// Let a learner follow no more.
    RemoveLearner(NodeId),
    /// Let exactly these vote, by one joint change.
    SetVoters {
        /// The new set.
        voters: BTreeSet<NodeId>,
        /// Whether who loses its vote goes on following the log.
        stay: bool,
        /// The reason.
        why: Why,
    },
}

/// How many machines should vote in a ring of so many members in so many zones, where so many vote now.
pub fn wanted(members: usize, zones: usize, voters: usize) -> usize {
    match members {
        0..=2 => 1,
        3..=4 => 3,
        _ if zones >= 3 || voters > 3 => 5, // four vote for a moment after one of five was removed
        _ => 3,
    }
}

/// How many of so many make a majority.
pub fn majority(of: usize) -> usize {
    of / 2 + 1
}

/// The next change, if any.
pub fn plan(now: Millis, seen: &Observation, evidence: &Evidence) -> Option<Change> {
    let newest = seen.configs.last()?;
    if !seen.lease || !seen.committed {
        return None; // without a quorum nothing can be changed, and two changes at once must not be
    }
    if seen.configs.len() > 1 {
        return (!planted(Bug::LeaveJoint)).then(|| Change::Finish(newest.clone()));
    }
    let look = Look::new(now, seen, evidence, newest);
    if !look.sees_majority() {
        return None;
    }
    if let Some(removed) = seen.learners.iter().find(|id| !look.is_member(**id)) {
        return Some(Change::RemoveLearner(*removed));
    }
    let wanted = wanted(seen.members.len(), look.zones(), newest.len());
    let next = if newest.len() < 3 { wanted.min(3) } else { wanted };
    let here: BTreeSet<NodeId> = newest.iter().copied().filter(|id| look.is_member(*id)).collect();
    if here.len() < newest.len() || here.len() > wanted {
        return plan_removal(&look, &here, wanted).or_else(|| plan_standby(&look));
    }
    let grows = newest.len() < next;
    if grows && let Some(change) = plan_growth(&look, next) {
        return Some(change);
    }
    // Where there are too few living machines to grow, and for as long as they learn, the dead are replaced all the same.
    if let Some(dead) = newest.iter().copied().find(|id| look.is_dead(*id) && !planted(Bug::KeepDeadVoter)) {
        return plan_replacement(&look, dead).or_else(|| plan_standby(&look));
    }
    let standby = plan_standby(&look);
    if grows && can_grow(&look, next) {
        return standby; // whom it waits for must not be sent away
    }
    standby.or_else(|| plan_farewell(&look, grows)).or_else(|| plan_spread(&look))
}

/// The change that lets a voter stop: a stand-by takes its vote. `None` if there is none that is fit, or the only
/// voter asks: with it goes the only copy of the CA's key that is sure.
pub fn plan_departure(now: Millis, seen: &Observation, evidence: &Evidence, leaving: NodeId) -> Option<Change> {
    let [voters] = seen.configs.as_slice() else { return None };
    let look = Look::new(now, seen, evidence, voters);
    if !seen.lease || !seen.committed || !look.sees_majority() || voters.len() < 3 || !voters.contains(&leaving) {
        return None;
    }
    let keep: BTreeSet<NodeId> = voters.iter().copied().filter(|id| *id != leaving).collect();
    // A stand-by may have died and nobody knows yet. A change that waits for one that is gone lets no other be made, also when
    // who stops comes back: where those who stay have no majority without the stand-by, it has to have spoken just now.
    let sure = look.is_safe_without(&keep, voters.len());
    let fit = |id| id != leaving && look.is_fit(id, Duration::ZERO) && (sure || look.silent_for(id) < JUST_NOW);
    let heir = look.choose(&keep, 1, fit);
    let voters: BTreeSet<NodeId> = keep.into_iter().chain(heir.first().copied()).collect();
    let safe = !heir.is_empty() && look.is_safe(&voters);
    safe.then_some(Change::SetVoters { voters, stay: true, why: Why::Departure })
}

/// A member that votes was removed: it is taken out at once, if need be without a successor.
fn plan_removal(look: &Look<'_>, here: &BTreeSet<NodeId>, wanted: usize) -> Option<Change> {
    let voters: BTreeSet<NodeId> = if here.len() > wanted {
        let first: BTreeSet<NodeId> = here.iter().copied().filter(|id| *id == look.seen.me).collect();
        let answering = look.choose_among(&first, wanted - first.len(), here, |id| look.answers(id));
        first.into_iter().chain(answering).collect()
    } else {
        let up_to = |count: usize| {
            let fit = look.choose(here, count.saturating_sub(here.len()), |id| look.is_fit(id, Duration::ZERO));
            here.iter().copied().chain(fit).collect::<BTreeSet<_>>()
        };
        let all = up_to(wanted);
        // As in growth: four survive no more deaths than three, and would stay four if the fifth never comes.
        if all.len() < wanted { up_to(wanted.min(3)) } else { all }
    };
    let stay = here.len() == look.voters.len(); // a removed member does not stay
    look.is_safe(&voters).then_some(Change::SetVoters { voters, stay, why: Why::Removal })
}

/// The whole growth in one joint change, as soon as the learners have caught up.
fn plan_growth(look: &Look<'_>, wanted: usize) -> Option<Change> {
    let missing = wanted - look.voters.len();
    let chosen = look.choose(look.voters, missing, |id| look.is_hopeful(id));
    if let Some(new) = chosen.iter().find(|id| !look.seen.learners.contains(id)) {
        return Some(Change::AddLearner(*new));
    }
    let complete = chosen.len() == missing && chosen.iter().all(|id| look.is_fit(*id, Duration::ZERO));
    let voters: BTreeSet<NodeId> = look.voters.iter().copied().chain(chosen).collect();
    (complete && look.is_safe(&voters)).then_some(Change::SetVoters { voters, stay: true, why: Why::Growth })
}

/// Whether there are enough living machines, ready to vote or not.
fn can_grow(look: &Look<'_>, wanted: usize) -> bool {
    let missing = wanted - look.voters.len();
    look.choose(look.voters, missing, |id| look.is_hopeful(id)).len() == missing
}

fn plan_replacement(look: &Look<'_>, dead: NodeId) -> Option<Change> {
    let keep: BTreeSet<NodeId> = look.voters.iter().copied().filter(|id| *id != dead).collect();
    let heir = look.choose(&keep, 1, |id| look.is_hopeful(id));
    let heir = *heir.first()?;
    if !look.seen.learners.contains(&heir) {
        return Some(Change::AddLearner(heir)); // in a better zone than the stand-bys that are there
    }
    let voters: BTreeSet<NodeId> = keep.into_iter().chain([heir]).collect();
    let rested = look.evidence.replaced().is_none_or(|at| look.now.since(at) >= BETWEEN_REPLACEMENTS);
    let ready = rested && look.is_fit(heir, CAUGHT_UP_FOR) && look.is_safe(&voters);
    ready.then_some(Change::SetVoters { voters, stay: true, why: Why::Replacement })
}

/// The stand-bys as they should be: those who help most should a voter die, the living first.
fn standbys(look: &Look<'_>) -> Vec<NodeId> {
    let there: BTreeSet<NodeId> = look.voters.iter().copied().filter(|id| !look.is_dead(*id)).collect();
    look.choose(&there, STANDBYS, |id| {
        let follows = look.seen.learners.contains(&id);
        if follows { !look.is_lost(id) } else { look.is_alive(id) && !look.is_leaving(id) }
    })
}

/// Lets a machine follow the log if there are too few stand-bys, or not where they should be.
fn plan_standby(look: &Look<'_>) -> Option<Change> {
    let new = standbys(look).into_iter().find(|id| !look.seen.learners.contains(id));
    new.map(Change::AddLearner)
}

/// Lets a learner go that is one too many. Only when nothing else is to be done: until then it may be needed; and where
/// voters are missing, whoever may become one is, or it would be sent away and asked again without end.
fn plan_farewell(look: &Look<'_>, grows: bool) -> Option<Change> {
    let standbys = standbys(look);
    let needed = |id: &NodeId| standbys.contains(id) || grows && look.is_hopeful(*id);
    let spare = look.seen.learners.iter().copied().filter(|id| !needed(id));
    // A dead stand-by is better than none: it may come back.
    spare.skip(STANDBYS.saturating_sub(standbys.len())).last().map(Change::RemoveLearner)
}

/// Gives one voter's place to a stand-by in a zone without a voter.
fn plan_spread(look: &Look<'_>) -> Option<Change> {
    if !look.evidence.is_well(look.now) {
        return None;
    }
    let heirs = look.choose(look.voters, 1, |id| look.is_fit(id, CAUGHT_UP_FOR));
    let heir = *heirs.first()?;
    let in_zone = |zone: &str| look.voters.iter().filter(|id| look.zone(**id) == zone).count();
    if in_zone(look.zone(heir)) > 0 {
        return None;
    }
    let crowded = |id: &&NodeId| **id != look.seen.me && in_zone(look.zone(**id)) > 1;
    let spared = look.voters.iter().rev().find(crowded)?;
    let voters: BTreeSet<NodeId> = look.voters.iter().copied().filter(|id| id != spared).chain([heir]).collect();
    look.is_safe(&voters).then_some(Change::SetVoters { voters, stay: true, why: Why::Spread })
}

#[cfg(test)]
mod tests;
