//! Machines that are stopped cleanly and started again, one after the other, as for an upgrade.

use super::down;
use crate::{cluster::Cluster, machine::Rest, moments::Moment};
use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

/// A machine that is not ready again after this time is left as it is, and the next one is stopped.
const PATIENCE: Duration = Duration::from_secs(40);

/// Each machine is away for so long if nothing else is said.
const AWAY: Duration = Duration::from_secs(1);

/// One restart of all.
pub(super) struct Roll {
    left: VecDeque<usize>,
    away: Duration,
    /// Whether each machine is of the newer version when it is back.
    upgrade: bool,
    /// The machine that is away, and since when.
    current: Option<(usize, Duration)>,
    /// Whether all were ready again in time so far.
    whole: bool,
}

impl Roll {
    pub(super) fn new(machines: &BTreeSet<usize>, away: Option<Duration>, upgrade: bool) -> Self {
        let left = machines.iter().copied().collect();
        Self { left, away: away.unwrap_or(AWAY), upgrade, current: None, whole: machines.len() > 1 }
    }

    /// Goes on; `false` once it is over.
    pub(super) fn step(&mut self, cluster: &mut Cluster) -> bool {
        let now = cluster.now();
        if let Some((i, since)) = self.current {
            let machine = &cluster.machines[i];
            let back = machine.started > since && cluster.is_ready(i);
            if !back && !machine.is_gone() && now - since < PATIENCE {
                return true;
            }
            self.whole &= back;
            self.current = None;
        }
        let Some(next) = self.left.pop_front() else {
            if self.whole {
                cluster.tell("every machine was restarted in turn");
                cluster.moments.note(Moment::RolledThrough);
            }
            return false;
        };
        if cluster.machines[next].process().is_none() {
            self.whole = false; // something else has taken it down, and brings it back
            return true;
        }
        let back = Rest::Until(now + self.away);
        down(cluster, next, |machine, site| machine.stop(site, back));
        if self.upgrade {
            cluster.machines[next].newer = true;
            let old = cluster.present().any(|machine| !machine.newer && machine.process().is_some());
            if old {
                cluster.moments.note(Moment::TwoVersions);
            }
        }
        self.current = Some((next, now));
        true
    }
}
