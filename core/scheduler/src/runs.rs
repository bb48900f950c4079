//! The part of a turn that begins and ends the runs of batch and cron jobs.

use crate::{
    Idle, Waiting,
    machines::TaskRef,
    mirror::{AppMirror, Scheduler, Standing},
    plan::{Pace, Turn, Want},
};
use std::{
    collections::{BTreeSet, VecDeque},
    num::NonZeroU32,
    time::Duration,
};
use taffeta_model::{
    Bug, Calendar, Decision, Firing, Job, Millis, Missed, MissedPolicy, Overlap, QUEUE_MAX, Recurrence, Runs, Schedule,
    Trigger, UnixMillis, planted,
};

/// How far the date may jump before timers that were set by it are set anew: no slot is late by more.
const JUMP: u128 = 500;

/// Most missed slots that are counted: those of a job that is due each second and lacked a leader for a quarter of an
/// hour.
const MISSED_COUNTED_MAX: usize = 1_000;

/// A preview lets so many of a job's tasks run at once that they all do in so many rounds: it has to come to an end.
const PREVIEW_ROUNDS_MAX: usize = 100;

/// The schedule of a cron job, compiled.
pub(crate) struct Clock {
    schedule: Schedule,
    since: UnixMillis,
    calendar: Result<Calendar, String>,
}

impl Clock {
    /// Takes over `known` if that is the same.
    pub(crate) fn new(schedule: &Schedule, since: UnixMillis, known: Option<Self>) -> Self {
        if let Some(known) = known.filter(|known| known.schedule == *schedule && known.since == since) {
            return known;
        }
        let calendar = schedule.calendar(since).map_err(|e| e.to_string());
        Self { schedule: schedule.clone(), since, calendar }
    }
}

impl Scheduler {
    /// Looks at all runs anew if the date has jumped.
    pub(crate) fn read_date(&mut self, now: Millis, date: UnixMillis) {
        let offset = i128::from(date.0) - i128::from(now.0);
        if self.offset.abs_diff(offset) > JUMP {
            self.offset = offset;
            let runs = |at: &&usize| self.app(**at).jobs.iter().any(|job| job.runs.is_some());
            let apps: Vec<usize> = self.by_name.values().filter(runs).copied().collect();
            self.dirty.extend(apps);
        }
    }
}

impl Turn<'_> {
    /// Decides about the runs of each job of the app, one thing at a time.
    pub(crate) fn move_runs(&mut self, app: usize) {
        if !self.may_fire() {
            return;
        }
        for j in 0..self.s.app(app).jobs.len() {
            if self.is_full() {
                return;
            }
            if let Some(decision) = self.next_decision(app, j) {
                self.fire(app, j, decision);
            }
        }
    }

    /// In the plan that gives a run its first machine, it has started.
    pub(crate) fn tell_placed(&mut self) {
        let placed: BTreeSet<(usize, usize)> =
            self.decided.iter().filter(|(_, to)| to.is_some()).map(|(task, _)| (task.app, task.job)).collect();
        if !self.may_fire() {
            return;
        }
        for app in self.apps.clone() {
            for j in (0..self.s.app(app).jobs.len()).filter(|j| placed.contains(&(app, *j))) {
                let runs = self.s.app(app).jobs[j].runs.as_ref();
                let waits = runs.and_then(|runs| runs.current.as_ref()).is_some_and(|run| run.started.is_none());
                if waits && !self.fired.contains_key(&(app, j)) {
                    self.fire(app, j, Decision::Placed);
                }
            }
        }
    }

    /// Whether all members know of runs, and the leader knows the date.
    fn may_fire(&self) -> bool {
        self.s.level >= 2 && self.ring.date() > UnixMillis::default()
    }

    fn fire(&mut self, app: usize, j: usize, decision: Decision) {
        let mirror = self.s.app(app);
        let (job, now) = (&mirror.jobs[j], self.ring.date());
        let Some(runs) = &job.runs else { return };
        let firing = Firing { app: mirror.app.name.clone(), job: job.name.clone(), seen: runs.changed, now, decision };
        let idle = match firing.decision {
            Decision::Start(_) => Some(Idle::Begins),
            Decision::Over | Decision::Expired => Some(Idle::Over),
            Decision::Queue(_) | Decision::Miss { .. } | Decision::Placed => None,
        };
        self.fired.insert((app, j), idle);
        self.firings.push(firing);
    }

    fn next_decision(&mut self, app: usize, j: usize) -> Option<Decision> {
        let (date, mirror) = (self.ring.date(), self.s.app(app));
        let (job, definition) = (&mirror.jobs[j], mirror.definition(j));
        let runs = job.runs.as_ref()?;
        let mut wake = None;
        let decision = match &runs.current {
            Some(run) => {
                let met = |met: fn(&Standing) -> bool| job.slots.iter().map(|slot| &slot.standing).any(met);
                let placed = met(|standing| !matches!(standing, Standing::Waiting { .. }));
                let over = !met(|standing| !matches!(standing, Standing::Ended(_)));
                let due = run.started.zip(definition.deadline).map(|(started, deadline)| started + deadline);
                if placed && run.started.is_none() {
                    Some(Decision::Placed)
                } else if over {
                    Some(Decision::Over)
                } else if due.is_some_and(|due| due <= date) {
                    Some(Decision::Expired)
                } else {
                    wake = due;
                    None
                }
            }
            None if !runs.taken.is_empty() => {
                lagging(mirror, runs).is_none().then_some(Decision::Start(Trigger::After))
            }
            None => runs.queue.first().map(|slot| Decision::Start(Trigger::Slot(*slot))),
        };
        let decision = decision.or_else(|| {
            let calendar = job.clock.as_ref()?.calendar.as_ref().ok()?;
            let fresh = planted(Bug::FireTwice) && self.now < self.ring.leader_since() + Duration::from_secs(3);
            let handled = if fresh { UnixMillis(runs.handled.0.saturating_sub(1)) } else { runs.handled };
            let next = calendar.next_after(handled)?;
            if next > date {
                wake = Some(wake.map_or(next, |other| next.min(other)));
                return None;
            }
            Some(Due { calendar, runs, job: definition, cron: definition.cron.as_ref()?, date }.decide(next))
        });
        if let Some(at) = wake {
            self.wake(app, self.now + Duration::from_millis(at.0 - date.0.min(at.0)));
        }
        decision
    }

    /// Why no run of the job is under way, if none is, or if it is about to begin or end.
    pub(crate) fn idle(&self, app: usize, j: usize) -> Option<Idle> {
        if let Some(Some(idle)) = self.fired.get(&(app, j)) {
            return Some(idle.clone());
        }
        let mirror = self.s.app(app);
        let job = &mirror.jobs[j];
        let runs = job.runs.as_ref().filter(|runs| runs.current.is_none())?;
        Some(match &job.clock {
            _ if self.s.level < 2 => Idle::OldMembers,
            Some(Clock { calendar: Err(why), .. }) => Idle::Unreadable(why.clone()),
            Some(Clock { calendar: Ok(calendar), .. }) => {
                calendar.next_after(runs.handled).map_or(Idle::NoSlot, Idle::Due)
            }
            None => lagging(mirror, runs).unwrap_or(Idle::Over),
        })
    }

    /// All tasks of the job that are on no machine wait for this.
    pub(crate) fn wait_all(&mut self, app: usize, j: usize, why: &Waiting) {
        for k in 0..self.s.app(app).jobs[j].slots.len() {
            let task = TaskRef { app, job: j, slot: k };
            if matches!(self.s.slot(task).standing, Standing::Waiting { .. }) {
                self.wait(task, why.clone());
            }
        }
    }

    fn at_once(&self, app: usize, j: usize, most: NonZeroU32) -> usize {
        let most = most.get() as usize;
        match self.pace {
            Pace::OneByOne => most,
            Pace::AllAtOnce => most.max(self.s.app(app).jobs[j].slots.len().div_ceil(PREVIEW_ROUNDS_MAX)),
        }
    }

    /// Lets no more tasks of a job want machines than may be on them at once.
    pub(crate) fn limit(&mut self, app: usize, j: usize, wants: &mut VecDeque<Want>) {
        let Some(most) = self.s.app(app).definition(j).parallel else { return };
        let on = self.s.app(app).jobs[j].slots.iter().filter(|slot| slot.on.is_some()).count();
        let lost = wants.iter().filter(|want| want.lost).count(); // they are let in already
        let mut room = self.at_once(app, j, most).saturating_sub(on + lost);
        let mut waiting = vec![];
        wants.retain(|want| {
            let goes = want.lost || room > 0;
            room -= usize::from(goes && !want.lost);
            if !goes {
                waiting.push(want.task);
            }
            goes
        });
        waiting.into_iter().for_each(|task| self.wait(task, Waiting::Parallel { most: most.get() }));
    }
}

/// The first job that has to finish once more before a job that comes after it runs again.
fn lagging(mirror: &AppMirror, runs: &Runs) -> Option<Idle> {
    runs.taken.iter().find_map(|(name, taken)| {
        let earlier = mirror.job(name)?;
        let finished = earlier.runs.as_ref().map_or(0, |runs| runs.finished);
        (finished <= *taken).then(|| Idle::After { earlier: name.clone(), kind: earlier.spec.kind })
    })
}

/// A cron job that has slots to be decided about.
struct Due<'a> {
    calendar: &'a Calendar,
    runs: &'a Runs,
    job: &'a Job,
    cron: &'a Recurrence,
    date: UnixMillis,
}

impl Due<'_> {
    /// What happens to the oldest of the slots that are due, or to several of them for one reason.
    fn decide(&self, first: UnixMillis) -> Decision {
        let last = self.last(self.date).unwrap_or(first);
        if self.job.count == 0 {
            return self.miss(first, last, Missed::NoInstance);
        }
        if self.is_late(first) {
            let late = UnixMillis(self.date.0.saturating_sub(millis(self.cron.epsilon) + 1));
            let newest = self.last(late).unwrap_or(first);
            let made_up = self.cron.missed == MissedPolicy::Run && newest == last;
            match self.before(newest) {
                _ if !made_up => return self.miss(first, newest, Missed::NoLeader),
                Some(before) => return self.miss(first, before, Missed::NoLeader),
                None => {}
            }
        }
        match (self.cron.overlap, self.runs.current.is_some()) {
            (Overlap::Skip, true) => self.miss(first, last, Missed::Overlap),
            (Overlap::Queue, true) if self.runs.queue.len() < QUEUE_MAX => Decision::Queue(first),
            (Overlap::Queue, true) => self.miss(first, last, Missed::QueueFull),
            (Overlap::Skip | Overlap::Queue, false) => Decision::Start(Trigger::Slot(first)),
            (Overlap::Replace, _) => match self.before(last) {
                Some(before) => self.miss(first, before, Missed::Newer),
                None => Decision::Start(Trigger::Slot(last)),
            },
        }
    }

    fn is_late(&self, slot: UnixMillis) -> bool {
        slot + self.cron.epsilon < self.date
    }

    /// The last slot up to and with `until` that is to be decided about.
    fn last(&self, until: UnixMillis) -> Option<UnixMillis> {
        self.calendar.last(self.runs.handled, until)
    }

    /// The one before `slot`.
    fn before(&self, slot: UnixMillis) -> Option<UnixMillis> {
        self.last(UnixMillis(slot.0.saturating_sub(1)))
    }

    fn miss(&self, first: UnixMillis, last: UnixMillis, why: Missed) -> Decision {
        let slots = self.calendar.slots(self.runs.handled, last, MISSED_COUNTED_MAX);
        Decision::Miss { first, last, count: u32::try_from(slots.len()).unwrap_or(u32::MAX), why }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
