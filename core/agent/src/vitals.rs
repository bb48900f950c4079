//! What is known about the health of a process that runs.

use crate::words::brief;
use std::time::Duration;
use taffeta_model::{Assigned, Bug, Health, HealthProbe, Millis, Phase, planted};

/// Time from one check to the next until the first has passed: a service is in DNS soon after it is ready.
pub const QUICK_CHECK: Duration = Duration::from_millis(100);

/// Shortest time without a passing check after which a run is restarted; ten check intervals if that is longer.
pub const UNHEALTHY_MIN: Duration = Duration::from_secs(30);

/// What is known about the health of a process that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Vitals {
    /// It was found running, and no accepted set has told yet what it is.
    Unknown,
    /// The job has no check: a process that runs is healthy.
    Unchecked,
    /// The job has a check.
    Checked {
        /// The check.
        health: Health,
        /// What the checks said.
        pulse: Pulse,
        /// The next one.
        next: NextCheck,
    },
}

/// What the checks said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pulse {
    /// Re-adopted at this time and not checked since. Other nodes may have it in their DNS still.
    Adopted(Millis),
    /// None has passed since this time; the text says why the last one failed.
    NotYet(Millis, String),
    /// The last ones passed, but for this number of failures in a row.
    Beats(u32),
    /// They fail since this time; the text says why.
    Fails(Millis, String),
}

/// When the next check is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextCheck {
    /// At this time.
    At(Millis),
    /// One is under way since this time: there is never a second one beside it.
    UnderWay(Millis),
}

impl Vitals {
    /// Of a process that was just made.
    pub(crate) fn of_new(now: Millis, assigned: &Assigned) -> Self {
        Self::with_pulse(now, assigned, Pulse::NotYet(now, String::new()))
    }

    /// Of a process that was found running.
    pub(crate) fn of_adopted(now: Millis, assigned: &Assigned) -> Self {
        Self::with_pulse(now, assigned, Pulse::Adopted(now))
    }

    fn with_pulse(now: Millis, assigned: &Assigned, pulse: Pulse) -> Self {
        match assigned.job.health.clone() {
            Some(health) => Self::Checked { health, pulse, next: NextCheck::At(now) },
            None => Self::Unchecked,
        }
    }

    /// The check that is to be made now, and its time limit; from then on it is under way.
    pub(crate) fn take_due(&mut self, now: Millis) -> Option<(HealthProbe, Duration)> {
        let Self::Checked { health, next, .. } = self else { return None };
        if !matches!(next, NextCheck::At(at) if *at <= now) {
            return None;
        }
        *next = NextCheck::UnderWay(now);
        Some((health.probe.clone(), health.timeout))
    }

    /// Takes the outcome of the check that was under way; tells whether the record may have changed.
    pub(crate) fn handle_check(&mut self, now: Millis, outcome: Result<(), String>) -> bool {
        let Self::Checked { health, pulse, next: next @ NextCheck::UnderWay(_) } = self else { return false };
        let before = pulse.clone();
        match outcome {
            Ok(()) => *pulse = Pulse::Beats(0),
            Err(why) => pulse.miss(now, brief(&why), health.failures),
        }
        if let NextCheck::UnderWay(since) = *next {
            *next = NextCheck::At(since + if pulse.ever_beat() { health.every } else { QUICK_CHECK });
        }
        before != *pulse
    }

    /// When the next check is to be made, if none is under way.
    pub(crate) fn check_at(&self) -> Option<Millis> {
        match self {
            Self::Checked { next: NextCheck::At(at), .. } => Some(*at),
            Self::Checked { next: NextCheck::UnderWay(_), .. } | Self::Unknown | Self::Unchecked => None,
        }
    }

    /// When a run without a pulse has had its time: it is to be restarted then.
    pub(crate) fn patience_ends(&self) -> Option<Millis> {
        let Self::Checked { health, pulse, .. } = self else { return None };
        match pulse {
            Pulse::Adopted(since) | Pulse::NotYet(since, _) | Pulse::Fails(since, _) => Some(*since + patience(health)),
            Pulse::Beats(_) => None,
        }
    }

    /// Since when there is no pulse, after there was one.
    pub(crate) fn fails_since(&self) -> Option<Millis> {
        match self {
            Self::Checked { pulse: Pulse::Fails(since, _), .. } => Some(*since),
            Self::Checked { .. } | Self::Unknown | Self::Unchecked => None,
        }
    }

    /// How long a run may be without a pulse.
    pub(crate) fn patience(&self) -> Duration {
        match self {
            Self::Checked { health, .. } => patience(health),
            Self::Unknown | Self::Unchecked => UNHEALTHY_MIN,
        }
    }

    /// Whether other nodes' DNS may give the run out, now or since before the agent was restarted.
    pub(crate) fn maybe_in_dns(&self) -> bool {
        match self {
            Self::Unknown | Self::Unchecked => true,
            Self::Checked { pulse, .. } => matches!(pulse, Pulse::Adopted(_) | Pulse::Beats(_)),
        }
    }

    /// Phase, whether it serves, and why.
    pub(crate) fn describe(&self) -> (Phase, bool, String) {
        match self {
            Self::Unknown => (Phase::Running, false, "found running; not yet known what it is".into()),
            Self::Unchecked => (Phase::Running, true, String::new()),
            Self::Checked { pulse, .. } => match pulse {
                Pulse::Adopted(_) => (Phase::Running, false, "found running; not checked yet".into()),
                Pulse::NotYet(_, why) if why.is_empty() => (Phase::Running, false, "not checked yet".into()),
                Pulse::NotYet(_, why) => (Phase::Running, false, format!("no health check has passed yet: {why}")),
                Pulse::Beats(_) => (Phase::Healthy, true, String::new()),
                Pulse::Fails(_, why) => {
                    (Phase::Unhealthy, planted(Bug::ServeUnhealthy), format!("the health check fails: {why}"))
                }
            },
        }
    }
}

impl Pulse {
    fn miss(&mut self, now: Millis, why: String, failures_max: u32) {
        *self = match *self {
            Self::Adopted(since) | Self::NotYet(since, _) => Self::NotYet(since, why),
            Self::Beats(failures) if failures + 1 < failures_max => Self::Beats(failures + 1),
            Self::Beats(_) => Self::Fails(now, why),
            Self::Fails(since, _) => Self::Fails(since, why),
        };
    }

    fn ever_beat(&self) -> bool {
        match self {
            Self::Adopted(_) | Self::NotYet(..) => false,
            Self::Beats(_) | Self::Fails(..) => true,
        }
    }
}

fn patience(health: &Health) -> Duration {
    UNHEALTHY_MIN.max(health.every.saturating_mul(10))
}
