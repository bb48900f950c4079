//! What nodes publish and hold.

use super::{Broken, Checker};
use crate::{cluster::Cluster, machine::Machine, trace::hash_words};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use taffeta_agent::RunId;
use taffeta_catalogue::{OwnerSet, SignedSet};
use taffeta_model::NodeId;
use taffeta_node::{Inspect, Sets};

impl Checker {
    pub(super) fn check_catalogue(
        &mut self,
        cluster: &Cluster,
        machine: &Machine,
        inspect: &Inspect,
    ) -> Result<(), Broken> {
        let sets = inspect.sets();
        let seen = self.seen.entry(machine.number).or_default();
        if seen.sets.as_ref().is_some_and(|before| Arc::ptr_eq(before, &sets)) {
            return Ok(());
        }
        seen.sets = Some(Arc::clone(&sets));
        for signed in inspect.signed_sets() {
            let Some(head) = signed.head() else { continue };
            let signature = hash_words(&signed.signature);
            if self.verified.insert((head.owner, head.epoch, head.seq, head.content ^ signature)) {
                invariant_records_come_from_their_owner(machine, inspect, &signed, head.owner)?;
                let set = sets.get(&head.owner).ok_or("a set that is held and not shown")?;
                self.invariant_records_are_of_own_placements(machine, set)?;
            }
        }
        self.learn_serving(cluster, machine, &sets);
        Ok(())
    }

    /// A record has one writer, the node that runs the task: so each is about something that was placed there.
    fn invariant_records_are_of_own_placements(&self, machine: &Machine, set: &OwnerSet) -> Result<(), Broken> {
        let placed = |task, fence| self.placements.contains(&(task, set.owner, fence));
        match set.records.iter().find(|record| !placed(record.task.clone(), record.fence)) {
            Some(record) => Err(format!(
                "{}: {} publishes {} under {}, which was never placed there",
                machine.name, set.owner, record.task, record.fence
            )),
            None => Ok(()),
        }
    }

    /// Remembers since when a machine gives out each of its own instances.
    fn learn_serving(&mut self, cluster: &Cluster, machine: &Machine, sets: &Sets) {
        let Some(own) = machine.id.and_then(|id| sets.get(&id)) else { return };
        let now = cluster.now();
        let given: BTreeMap<(usize, String), Duration> = own
            .records
            .iter()
            .filter(|record| record.serving && record.pid.is_some())
            .map(|record| {
                let run = RunId::new(&record.task, record.fence, record.restarts);
                let key = (machine.number, run.to_string());
                let since = self.serving.get(&key).copied().unwrap_or(now);
                (key, since)
            })
            .collect();
        self.serving.retain(|(number, _), _| *number != machine.number);
        self.serving.extend(given);
    }
}

/// Owners sign what they publish, so that a relay cannot forge it.
fn invariant_records_come_from_their_owner(
    machine: &Machine,
    inspect: &Inspect,
    set: &SignedSet,
    owner: NodeId,
) -> Result<(), Broken> {
    if inspect.is_signed_by(set, owner) {
        Ok(())
    } else {
        Err(format!("{}: holds a set of {owner} that {owner} has not signed", machine.name))
    }
}
