//! The runs of a job that runs to an end: which one is under way, what waits, what was.

use crate::{AppName, Exit, Fence, JobName, UnixMillis};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};
use taffeta_calendar::{InvalidSchedule, rfc3339};

/// Most slots of one job that wait for the end of a run: a job that falls further behind never catches up.
pub const QUEUE_MAX: usize = 8;

/// Most failed instances of a past run that are listed; the rest is counted.
pub const FAILED_LISTED_MAX: usize = 5;

/// Most arguments of a run, and most bytes of them together: they travel with each of its tasks.
pub const ARGS_MAX: usize = 64;
/// See [`ARGS_MAX`].
pub const ARGS_BYTES_MAX: usize = 16 << 10;

/// The runs of a batch or cron job. Its tasks want machines while a run is under way, and else not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    /// Position of the newest change to this: what was decided on an older one is void.
    pub changed: Fence,
    /// When the job was deployed with its present schedule: where an empty start begins.
    pub since: UnixMillis,
    /// The newest slot that was decided about; at first the instant before [`Runs::since`].
    pub handled: UnixMillis,
    /// Slots that start when the present run has ended, the oldest first; at most [`QUEUE_MAX`].
    pub queue: Vec<UnixMillis>,
    /// The run that is under way.
    pub current: Option<Run>,
    /// How often a run ended with success.
    pub finished: u64,
    /// For a batch job that runs again after each run of others: those, and how many of their runs it has taken up.
    pub taken: BTreeMap<JobName, u64>,
    /// What was, the newest last; at most as many as the job's `history`.
    pub history: Vec<Past>,
}

/// A run that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// What it runs for.
    pub trigger: Trigger,
    /// When the first of its tasks was given a machine; its deadline counts from there.
    pub started: Option<UnixMillis>,
    /// Arguments that are appended to the job's own; at most [`ARGS_MAX`] of [`ARGS_BYTES_MAX`].
    pub args: Vec<String>,
}

/// What a run runs for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trigger {
    /// A batch job was deployed, changed, scaled up or restarted.
    Deploy,
    /// It was due then.
    Slot(UnixMillis),
    /// All that it comes after had finished once more.
    After,
    /// A person asked for it.
    ByHand {
        /// When.
        at: UnixMillis,
    },
}

/// A run, or slots without one, in the past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Past {
    /// A run.
    Ran {
        /// What it ran for.
        trigger: Trigger,
        /// When the first of its tasks was given a machine, if one ever was.
        started: Option<UnixMillis>,
        /// When it was over.
        ended: UnixMillis,
        /// How.
        end: RunEnd,
    },
    /// Slots in a row that did not run.
    Missed {
        /// The first of them.
        first: UnixMillis,
        /// The last of them.
        last: UnixMillis,
        /// How many.
        count: u32,
        /// Why.
        why: Missed,
    },
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunEnd {
    /// Each instance with success.
    Succeeded,
    /// Not so.
    Failed {
        /// Instances that failed, by index; at most [`FAILED_LISTED_MAX`].
        instances: Vec<(u32, Exit)>,
        /// How many more.
        more: u32,
    },
    /// The next slot took its place.
    Replaced,
    /// A newer version of the job took its place.
    Outdated,
    /// It had no instance, or has lost all by being scaled down.
    Empty,
}

/// Why a slot did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Missed {
    /// Nobody led the cluster in time.
    NoLeader,
    /// A run was under way.
    Overlap,
    /// [`QUEUE_MAX`] slots waited already.
    QueueFull,
    /// A newer slot was due by then, which does its work.
    Newer,
    /// The schedule was changed while it waited.
    Changed,
    /// The job had no instance.
    NoInstance,
}

/// The scheduler's decision about one job. It is void if the job's runs have changed since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firing {
    /// The app.
    pub app: AppName,
    /// The job.
    pub job: JobName,
    /// [`Runs::changed`] as the scheduler saw it.
    pub seen: Fence,
    /// The leader's date.
    pub now: UnixMillis,
    /// What happens.
    pub decision: Decision,
}

/// What happens to the runs of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// A run begins: for a slot, or after other jobs. It ends the present one if the job's overlap says so.
    Start(Trigger),
    /// A slot waits for the end of the present run.
    Queue(UnixMillis),
    /// Slots do not run.
    Miss {
        /// The first of them.
        first: UnixMillis,
        /// The last of them.
        last: UnixMillis,
        /// How many.
        count: u32,
        /// Why.
        why: Missed,
    },
    /// The first task of the run is given a machine.
    Placed,
    /// All tasks of the run have ended.
    Over,
    /// The run has taken longer than its deadline: its tasks are ended.
    Expired,
}

impl Runs {
    /// Runs of a job that is new.
    pub(crate) fn new(at: Fence, now: UnixMillis) -> Self {
        let handled = UnixMillis(now.0.saturating_sub(1)); // an empty start is due at the deployment itself
        Self { changed: at, since: now, handled, ..Self::default() }
    }

    /// The next slot of a cron job that has not been decided about.
    ///
    /// Fails only if the schedule was stored by a node with another time zone database.
    pub fn next(&self, job: &crate::Job) -> Result<Option<UnixMillis>, InvalidSchedule> {
        let Some(cron) = &job.cron else { return Ok(None) };
        Ok(cron.schedule.calendar(self.since)?.next_after(self.handled))
    }

    /// The same without its history and arguments, which no decision looks at.
    pub fn outline(&self) -> Self {
        let run = |run: &Run| Run { trigger: run.trigger, started: run.started, args: vec![] };
        Self {
            changed: self.changed,
            since: self.since,
            handled: self.handled,
            queue: self.queue.clone(),
            current: self.current.as_ref().map(run),
            finished: self.finished,
            taken: self.taken.clone(),
            history: vec![],
        }
    }

    /// Remembers slots that did not run; those after others with the same reason are counted with them.
    pub(crate) fn miss(&mut self, first: UnixMillis, last: UnixMillis, count: u32, why: Missed, most: u8) {
        if let Some(Past::Missed { last: before, count: counted, why: known, .. }) = self.history.last_mut()
            && *known == why
        {
            (*before, *counted) = (last, counted.saturating_add(count));
        } else {
            self.remember(Past::Missed { first, last, count, why }, most);
        }
    }

    pub(crate) fn remember(&mut self, past: Past, most: u8) {
        self.history.push(past);
        self.forget(most);
    }

    pub(crate) fn forget(&mut self, most: u8) {
        let superfluous = self.history.len().saturating_sub(most.into());
        self.history.drain(..superfluous);
    }

    /// The present run is over.
    pub(crate) fn end(&mut self, now: UnixMillis, end: RunEnd, most: u8) {
        let Some(Run { trigger, started, .. }) = self.current.take() else { return };
        self.finished += u64::from(end == RunEnd::Succeeded);
        self.remember(Past::Ran { trigger, started, ended: now, end }, most);
    }
}

impl Run {
    pub(crate) fn new(trigger: Trigger, args: Vec<String>) -> Self {
        Self { trigger, started: None, args }
    }
}

impl RunEnd {
    /// By how each instance ended that did not succeed.
    pub(crate) fn of(failed: impl IntoIterator<Item = (u32, Exit)>) -> Self {
        let mut failed = failed.into_iter();
        let instances: Vec<(u32, Exit)> = failed.by_ref().take(FAILED_LISTED_MAX).collect();
        let more = u32::try_from(failed.count()).unwrap_or(u32::MAX);
        if instances.is_empty() { Self::Succeeded } else { Self::Failed { instances, more } }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deploy => f.write_str("deployed"),
            Self::Slot(slot) => write!(f, "due {}", rfc3339(*slot)),
            Self::After => f.write_str("after the jobs before it"),
            Self::ByHand { at } => write!(f, "asked for at {}", rfc3339(*at)),
        }
    }
}

impl fmt::Display for Past {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ran { trigger, started, ended, end } => {
                write!(f, "{trigger}, ")?;
                match started {
                    Some(started) => write!(f, "started {}, ", rfc3339(*started))?,
                    None => f.write_str("never started, ")?,
                }
                write!(f, "ended {}: {end}", rfc3339(*ended))
            }
            Self::Missed { first, count: 1, why, .. } => write!(f, "missed {}: {why}", rfc3339(*first)),
            Self::Missed { first, last, count, why } => {
                write!(f, "missed {count} from {} to {}: {why}", rfc3339(*first), rfc3339(*last))
            }
        }
    }
}

impl fmt::Display for RunEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded => f.write_str("ok"),
            Self::Replaced => f.write_str("replaced by the next slot"),
            Self::Outdated => f.write_str("replaced by a newer version"),
            Self::Empty => f.write_str("without an instance"),
            Self::Failed { instances, more } => {
                f.write_str("failed: ")?;
                for (i, (index, exit)) in instances.iter().enumerate() {
                    write!(f, "{}{index} {exit}", if i > 0 { ", " } else { "" })?;
                }
                if *more > 0 { write!(f, " and {more} more") } else { Ok(()) }
            }
        }
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoLeader => "nobody led the cluster in time",
            Self::Overlap => "a run was under way",
            Self::QueueFull => "too many slots waited already",
            Self::Newer => "a newer slot was due by then",
            Self::Changed => "the schedule was changed while it waited",
            Self::NoInstance => "the job had no instance",
        })
    }
}
