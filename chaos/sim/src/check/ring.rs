//! What nodes believe of each other, against who is really there.

use super::{Broken, calm_since};
use crate::{cluster::Cluster, machine::Machine, moments::Moment};
use std::{collections::BTreeMap, time::Duration};
use taffeta_model::{Liveness, NodeId};

/// Views are compared with the truth this often.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long two machines that are well and can reach each other may think otherwise: a verdict that was given before is
/// taken back when the member hears of it, at the latest when it is called again, which takes five seconds and may fail.
const VIEW_MAX: Duration = Duration::from_secs(20);

/// For how long a lie may make a live machine seem down: it renews itself at most once in a second.
const LIE_MAX: Duration = Duration::from_secs(6);

/// Compares views.
#[derive(Default)]
pub(super) struct Views {
    next: Duration,
}

impl Views {
    pub(super) fn step(&mut self, cluster: &mut Cluster) -> Result<(), Broken> {
        let now = cluster.now();
        if now < self.next {
            return Ok(());
        }
        self.next = now + LOOK_EVERY;
        let mut heard = false;
        for asked in cluster.present().filter(|m| m.runs()) {
            let Some(ring) = asked.look(|inspect| inspect.ring()) else { continue };
            for other in cluster.machines.iter().filter(|m| m.number != asked.number) {
                let Some(seen) = other.id.and_then(|id| ring.get(&id)).copied() else { continue };
                let slandered = other.runs() && now - other.slandered < LIE_MAX && !other.slandered.is_zero();
                heard |= slandered && seen == Liveness::Down;
            }
            if now - calm_since(asked) > VIEW_MAX {
                judge(cluster, asked, &ring)?;
            }
        }
        if heard {
            cluster.moments.note(Moment::LieWasHeard);
        }
        Ok(())
    }
}

fn judge(cluster: &Cluster, asked: &Machine, ring: &BTreeMap<NodeId, Liveness>) -> Result<(), Broken> {
    for other in cluster.machines.iter().filter(|m| m.number != asked.number) {
        let Some(id) = other.id else { continue };
        invariant_a_live_member_is_not_down_for_long(cluster, asked, other, ring.get(&id).copied())?;
        invariant_a_dead_member_is_not_alive_for_long(cluster, asked, other, ring.get(&id).copied())?;
    }
    Ok(())
}

/// Views are equal some bounded time after everything is well, and a member that lives and can be reached is never down
/// for longer than that.
fn invariant_a_live_member_is_not_down_for_long(
    cluster: &Cluster,
    asked: &Machine,
    other: &Machine,
    seen: Option<Liveness>,
) -> Result<(), Broken> {
    let now = cluster.now();
    let is_up = other.runs() && cluster.places.contains(&other.number) && other.look(|_| ()).is_some();
    let leaves = other.process().is_some_and(crate::process::Process::is_stopping);
    let well = now - calm_since(other) > VIEW_MAX && now.saturating_sub(other.slandered) > LIE_MAX;
    if is_up && !leaves && well && !matches!(seen, Some(Liveness::Alive | Liveness::Suspect)) {
        return Err(format!("{} has {} as {seen:?}, although both have long been well", asked.name, other.name));
    }
    Ok(())
}

/// A member that is dead is known to be so.
fn invariant_a_dead_member_is_not_alive_for_long(
    cluster: &Cluster,
    asked: &Machine,
    other: &Machine,
    seen: Option<Liveness>,
) -> Result<(), Broken> {
    let now = cluster.now();
    let dead = other.process().is_none() && now - other.died > VIEW_MAX;
    // Who judges has to be able to hear of it from somebody, or to find out itself, for as long.
    let others_calm = cluster.present().filter(|m| m.runs()).all(|m| now - calm_since(m) > VIEW_MAX);
    if dead && others_calm && matches!(seen, Some(Liveness::Alive | Liveness::Suspect)) {
        return Err(format!("{} has {} as {seen:?}, although it is dead", asked.name, other.name));
    }
    Ok(())
}
