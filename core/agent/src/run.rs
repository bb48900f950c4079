//! One run from its start to its end.

use crate::{Action, FoundRun, RunId, vitals::Vitals};
use std::{mem, sync::Arc, time::Duration};
use taffeta_model::{Assigned, BootMillis, Bug, Fence, Millis, UnixMillis, planted};

/// Time after which SIGKILL is sent again if the run has not ended: a process in an uninterruptible call outlives one.
pub const KILL_AGAIN: Duration = Duration::from_secs(5);

/// Time between SIGTERM and SIGKILL for a run of which nobody knows the job any more.
const GRACE_UNKNOWN: Duration = Duration::from_secs(10);

/// Why an exclusive task was stopped.
pub(crate) const LEASE_ENDS: &str = "its lease was not renewed: this machine has heard of no leader for too long";

/// One run from its start to its end.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) id: RunId,
    /// The placement it was started for.
    pub(crate) fence: Fence,
    /// How many runs that placement had before it.
    pub(crate) restart: u32,
    /// What it runs; `None` for a run that was found and that no accepted set has listed.
    pub(crate) assigned: Option<Arc<Assigned>>,
    pub(crate) ports: Vec<(String, u16)>,
    pub(crate) pid: Option<u32>,
    pub(crate) started_at: Option<UnixMillis>,
    /// What is being done for it before its process is made, in words; empty if that is nothing worth telling.
    pub(crate) doing: String,
    /// What is not in force of its isolation, in words.
    pub(crate) not_isolated: Vec<String>,
    /// Whether it has a lease.
    pub(crate) exclusive: bool,
    /// The end of the lease that its supervisor was told last.
    pub(crate) told: Option<BootMillis>,
    pub(crate) stage: Stage,
}

/// Where a run is on its way.
#[derive(Debug)]
pub(crate) enum Stage {
    /// Its process is being made.
    Starting,
    /// Its process runs.
    Up {
        /// Since when, as far as this agent knows.
        since: Millis,
        /// How well.
        vitals: Vitals,
    },
    /// It is out of DNS; SIGTERM follows when nobody can know its address any more.
    Draining { why: Why, until: Millis },
    /// SIGTERM was sent; SIGKILL follows.
    Terminating { why: Why, kill_at: Millis },
    /// SIGKILL was sent.
    Killed { why: Why, again_at: Millis },
}

/// Why a run is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The task does not belong to this machine any more.
    Unassigned,
    /// Another placement, or a newer run, takes its place.
    Replaced,
    /// The run of its job was ended for good, as by its deadline.
    Ended,
    /// Its lease is about to end.
    LeaseEnds,
    /// It had no pulse for too long.
    Unhealthy {
        /// For people.
        words: String,
        /// How long it had worked before.
        worked: Duration,
    },
}

impl Run {
    /// A run whose process is being made.
    pub(crate) fn starting(
        id: RunId,
        assigned: Arc<Assigned>,
        ports: Vec<(String, u16)>,
        told: Option<BootMillis>,
    ) -> Self {
        let (fence, restart, exclusive) = (assigned.fence, id.restart(), assigned.job.exclusive);
        let (assigned, stage) = (Some(assigned), Stage::Starting);
        let (pid, started_at, doing, not_isolated) = (None, None, String::new(), vec![]);
        Self { id, fence, restart, assigned, ports, pid, started_at, doing, not_isolated, exclusive, told, stage }
    }

    /// A run that was found running.
    pub(crate) fn found(now: Millis, found: FoundRun, pid: u32, started_at: UnixMillis) -> Self {
        let FoundRun { run: id, ports, exclusive, .. } = found;
        let stage = Stage::Up { since: now, vitals: Vitals::Unknown };
        let (fence, restart) = (id.fence(), id.restart());
        let (pid, started_at, assigned, told) = (Some(pid), Some(started_at), None, None);
        let (doing, not_isolated) = (String::new(), vec![]);
        Self { id, fence, restart, assigned, ports, pid, started_at, doing, not_isolated, exclusive, told, stage }
    }

    /// An accepted set lists the placement that this is a run of.
    pub(crate) fn recognise(&mut self, now: Millis, assigned: &Arc<Assigned>) {
        if let Stage::Up { vitals: vitals @ Vitals::Unknown, .. } = &mut self.stage {
            *vitals = Vitals::of_adopted(now, assigned);
        }
        self.assigned = Some(assigned.clone());
    }

    /// Its process was made.
    pub(crate) fn become_up(&mut self, now: Millis, pid: u32, started_at: UnixMillis, not_isolated: Vec<String>) {
        let (Stage::Starting, Some(assigned)) = (&self.stage, &self.assigned) else { return };
        self.stage = Stage::Up { since: now, vitals: Vitals::of_new(now, assigned) };
        self.pid = Some(pid);
        self.started_at = Some(started_at);
        self.not_isolated = not_isolated;
    }

    /// A health check of it ended; tells whether its record may have changed. One that ends after the stop began says
    /// nothing any more.
    pub(crate) fn handle_check(&mut self, now: Millis, outcome: Result<(), String>) -> bool {
        match &mut self.stage {
            Stage::Up { vitals, .. } => vitals.handle_check(now, outcome),
            Stage::Starting | Stage::Draining { .. } | Stage::Terminating { .. } | Stage::Killed { .. } => false,
        }
    }

    /// Goes as far as the time allows; tells whether its record may have changed. While its process is being made
    /// there is nothing to stop yet: that waits until it is known what became of it.
    pub(crate) fn step(&mut self, now: Millis, drain: Duration, stop: Option<Why>, actions: &mut Vec<Action>) -> bool {
        match mem::replace(&mut self.stage, Stage::Starting) {
            Stage::Starting => false,
            Stage::Up { since, mut vitals } => match stop {
                Some(why) if vitals.maybe_in_dns() && !planted(Bug::EndWhileGiven) => {
                    self.stage = Stage::Draining { why, until: now + drain };
                    true
                }
                Some(why) => {
                    self.become_terminating(now, why, actions);
                    true
                }
                None => {
                    if let Some((probe, timeout)) = vitals.take_due(now) {
                        actions.push(Action::Check { run: self.id.clone(), probe, ports: self.ports.clone(), timeout });
                    }
                    self.stage = Stage::Up { since, vitals };
                    false
                }
            },
            Stage::Draining { why, until } if until <= now => {
                self.become_terminating(now, why, actions);
                false
            }
            Stage::Terminating { why, kill_at: at } | Stage::Killed { why, again_at: at } if at <= now => {
                actions.push(Action::Kill { run: self.id.clone() });
                self.stage = Stage::Killed { why, again_at: now + KILL_AGAIN };
                false
            }
            same @ (Stage::Draining { .. } | Stage::Terminating { .. } | Stage::Killed { .. }) => {
                self.stage = same;
                false
            }
        }
    }

    fn become_terminating(&mut self, now: Millis, why: Why, actions: &mut Vec<Action>) {
        actions.push(Action::Terminate { run: self.id.clone() });
        self.stage = Stage::Terminating { why, kill_at: now + self.grace() };
    }

    /// Time between SIGTERM and SIGKILL.
    pub(crate) fn grace(&self) -> Duration {
        self.assigned.as_ref().map_or(GRACE_UNKNOWN, |a| a.job.grace)
    }

    /// Passes on that its lease lasts longer, while it is to run on.
    pub(crate) fn extend(&mut self, until: BootMillis, actions: &mut Vec<Action>) {
        if matches!(self.stage, Stage::Up { .. }) && self.exclusive && self.told < Some(until) {
            self.told = Some(until);
            actions.push(Action::Extend { run: self.id.clone(), until });
        }
    }

    /// Why the run is to be restarted, if it has been without a pulse for too long.
    pub(crate) fn lost_patience(&self, now: Millis) -> Option<Why> {
        let Stage::Up { since, vitals } = &self.stage else { return None };
        vitals.patience_ends().filter(|end| *end <= now)?;
        let (_, _, reason) = vitals.describe();
        let words = format!("unhealthy for {}: {reason}", crate::words::span(vitals.patience()));
        // One that never worked has worked for no time, however long it was given.
        let worked = vitals.fails_since().map_or(Duration::ZERO, |end| end.since(*since));
        Some(Why::Unhealthy { words, worked })
    }

    /// When something is to be done for it. Before `patient_until` it is not restarted for want of a pulse; `None` if it
    /// is not restarted at all.
    pub(crate) fn wake(&self, patient_until: Option<Millis>) -> Option<Millis> {
        match &self.stage {
            Stage::Starting => None,
            Stage::Up { vitals, .. } => {
                let restart = vitals.patience_ends().zip(patient_until).map(|(end, until)| end.max(until));
                vitals.check_at().into_iter().chain(restart).min()
            }
            Stage::Draining { until: at, .. }
            | Stage::Terminating { kill_at: at, .. }
            | Stage::Killed { again_at: at, .. } => Some(*at),
        }
    }
}

impl Why {
    /// For people.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Unassigned => "no longer assigned to this machine".into(),
            Self::Replaced => "makes way for a newer placement".into(),
            Self::Ended => "its run was ended".into(),
            Self::LeaseEnds => LEASE_ENDS.into(),
            Self::Unhealthy { words, .. } => format!("restarted: {words}"),
        }
    }
}
