//! The part of a turn that replaces outdated tasks, and moves those of drained machines.

use crate::{
    UNSEEN_GRACE, Waiting,
    choose::Rules,
    machines::{MachineId, TaskRef},
    mirror::{Slot, Standing, VersionId},
    order::{Earlier, serves, unmet},
    plan::{Pace, Turn},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use taffeta_model::{Bug, Cause, Command, JobKind, Millis, TaskId, UpdatePolicy, planted};

/// How much longer an instance may take to work that has files to fetch, as long as they have not come: the time that a
/// machine gives to one, unless it is told otherwise (`--fetch-timeout`).
const FETCH_MAX: Duration = Duration::from_secs(600);

/// A task that is to be replaced, with its machine and why.
struct Due {
    task: TaskRef,
    machine: MachineId,
    cause: Cause,
    serves: bool,
    /// Why it stays of its version for now; it moves all the same if its machine is drained.
    held: Option<Waiting>,
}

/// How far a job is on its way to its present version.
#[derive(Default)]
struct Roll {
    /// Outdated ones, and those on drained machines, by index.
    due: Vec<Due>,
    /// Those beyond the count, which are there for the update.
    surge: Vec<TaskRef>,
    /// Those within the count that are of the present version and serve.
    settled: usize,
    /// Since when all that come before the promotion have worked; `None` if one has not yet.
    tried_since: Option<Millis>,
    /// One that has not worked for too long, or when the first would be so.
    late: Option<TaskRef>,
    late_at: Option<Millis>,
}

impl Turn<'_> {
    pub(crate) fn replace_outdated(&mut self, app: usize) {
        if (0..self.s.app(app).jobs.len()).any(|job| self.go_back(app, job)) {
            return; // of the version that is given up nothing more is decided
        }
        for job in 0..self.s.app(app).jobs.len() {
            if self.s.app(app).jobs[job].spec.kind.is_batch() {
                self.replace_batch(app, job);
            } else {
                self.roll(app, job);
            }
        }
    }

    /// Nobody is served by a batch task: all that is outdated is replaced at once.
    fn replace_batch(&mut self, app: usize, job: usize) {
        if self.s.app(app).jobs[job].recurs() {
            return; // its next run is of the newer version
        }
        let due = self.look(app, job).due;
        if due.is_empty() {
            return;
        }
        let unmet = unmet(self.s, app, job, Earlier::Batch);
        for Due { task, machine, cause, .. } in due {
            match &unmet {
                Some(unmet) => self.hold(task, &cause, Waiting::After(unmet.clone())),
                None => drop(self.replace(task, machine, cause, 0)),
            }
        }
    }

    fn roll(&mut self, app: usize, job: usize) {
        let roll = self.look(app, job);
        let policy = self.s.app(app).definition(job).update.clone();
        if !roll.due.is_empty()
            && let Some(unmet) = unmet(self.s, app, job, Earlier::Batch)
        {
            for due in roll.due {
                self.hold(due.task, &due.cause, Waiting::After(unmet.clone()));
            }
            return;
        }
        let crowd = self.raise(app, job, &policy, &roll);
        self.promote(app, job, &policy, &roll);
        let settled = roll.due.is_empty() && roll.settled == self.wanted(app, job);
        if settled && !crowd {
            self.end_surge(app, job, &roll);
        }
        let mut may = match self.pace {
            Pace::AllAtOnce => usize::MAX,
            Pace::OneByOne if planted(Bug::IgnoreUnavailable) => usize::MAX,
            Pace::OneByOne => self.spare(app, job, true),
        };
        let count = self.s.app(app).definition(job).count;
        for Due { task, machine, cause, serves, held } in roll.due {
            let beside = self.s.app(app).jobs[job].spec.kind == JobKind::Service && self.s.slot(task).index > count;
            if beside && !crowd {
                if self.has_placed_beside(task, machine) {
                    self.wake(app, self.now);
                } else if !serves || may > 0 {
                    self.lift(task);
                    self.remove(task, Cause::Surplus); // of a version that was given up, and not needed by this one
                    may -= usize::from(serves);
                }
                continue;
            }
            let drained = cause == Cause::Drained;
            let version = if held.is_some() { self.s.slot(task).version } else { 0 };
            match held {
                Some(why) if !drained || (serves && may == 0) => self.hold(task, &cause, why),
                _ if serves && may == 0 => {}
                _ => {
                    if self.replace(task, machine, cause, version) && serves {
                        may = may.saturating_sub(1);
                    }
                }
            }
        }
    }

    /// A machine has one instance of a daemon. A service that became one may have left several: one that serves stays.
    pub(crate) fn thin_out(&mut self, app: usize, job: usize) {
        let mut there: BTreeMap<MachineId, Vec<TaskRef>> = BTreeMap::new();
        for (slot, known) in self.s.app(app).jobs[job].slots.iter().enumerate() {
            let task = TaskRef { app, job, slot };
            if let Some(machine) = known.on.filter(|_| !self.decided.contains_key(&task)) {
                there.entry(machine).or_default().push(task);
            }
        }
        let mut surplus = vec![];
        for tasks in there.into_values().filter(|tasks| tasks.len() > 1) {
            let stays = tasks.iter().copied().find(|task| self.serves(*task)).unwrap_or(tasks[0]);
            surplus.extend(tasks.into_iter().filter(|task| *task != stays));
        }
        surplus.sort(); // the order in which machines were met says nothing
        for task in surplus {
            if self.is_full() {
                return;
            }
            self.lift(task);
            self.remove(task, Cause::Surplus);
        }
    }

    /// Sorts the tasks of a job.
    fn look(&mut self, app: usize, job: usize) -> Roll {
        let mut roll = Roll::default();
        let kind = self.s.app(app).jobs[job].spec.kind;
        let (count, policy, fetches) = {
            let definition = self.s.app(app).definition(job);
            (definition.count, definition.update.clone(), !definition.fetch.is_empty())
        };
        let (mut tried, mut since) = (0, Millis(0));
        for slot in 0..self.s.app(app).jobs[job].slots.len() {
            let task = TaskRef { app, job, slot };
            let beside = kind == JobKind::Service && self.s.slot(task).index > count;
            if beside {
                roll.surge.push(task);
            }
            if self.decided.contains_key(&task) {
                continue;
            }
            let Slot { standing, index, revision, placed, begun, .. } = self.s.slot(task);
            let Standing::On { machine, report, .. } = standing else { continue };
            let (machine, placed, begun, index) = (*machine, *placed, *begun, *index);
            let (silent, steady) = (report.is_none(), report.as_ref().map_or(Millis(0), |report| report.since));
            if !self.s.machines.all[machine].is_alive() {
                continue; // its machine is back soon, or it moves soon
            }
            let current = *revision == self.s.job(task).revision;
            let draining = self.s.machines.all[machine].draining() && kind == JobKind::Service;
            let serves = self.serves(task);
            if current {
                let first = if policy.blue_green { beside } else { index <= policy.canary };
                if serves {
                    roll.settled += usize::from(!beside);
                    tried += u32::from(first);
                    since = since.max(if first { steady } else { Millis(0) });
                } else {
                    let from = match begun {
                        Some(begun) if fetches => begun.max(placed),
                        None if fetches => placed + FETCH_MAX,
                        Some(_) | None => placed,
                    };
                    let at = from + policy.healthy_within;
                    roll.late_at = Some(roll.late_at.map_or(at, |earlier| earlier.min(at)));
                    if self.now >= at {
                        roll.late = roll.late.or(Some(task));
                    }
                }
                if !draining {
                    continue;
                }
            } else if !serves && silent && !self.knows_all(app) {
                continue;
            }
            let cause = if draining { Cause::Drained } else { Cause::Outdated };
            let held = if current { None } else { self.held(task) };
            let serves = serves && !kind.is_batch() && !self.is_hidden(task);
            roll.due.push(Due { task, machine, cause, serves, held });
        }
        self.let_one_stand_in(app, job, &mut roll.due);
        let first = if policy.blue_green { count } else { policy.canary.min(count) };
        roll.tried_since = (first > 0 && tried >= first).then_some(since);
        roll
    }

    /// A canary cannot begin while none that works may be missing. Then one that does not work stands in for it, as it serves
    /// nobody: or both would wait for one another, and what is broken could not be mended by an update. The next one only when
    /// all that are of the newer version work.
    fn let_one_stand_in(&self, app: usize, job: usize, due: &mut [Due]) {
        let definition = self.s.app(app).definition(job);
        let is_held = |due: &Due| matches!(due.held, Some(Waiting::Unpromoted { .. }));
        let is_canary = |due: &Due| {
            let slot = self.s.slot(due.task);
            slot.index <= definition.update.canary && slot.revision != self.s.job(due.task).revision
        };
        let begins = |due: &Due| is_canary(due) && due.held.is_none() && due.serves;
        if !due.iter().any(is_held) || !due.iter().any(begins) || self.spare(app, job, true) > 0 {
            return;
        }
        let known = &self.s.app(app).jobs[job];
        let is_new = |slot: &Slot| slot.revision == known.revision && matches!(slot.standing, Standing::On { .. });
        let mut newer =
            known.slots.iter().enumerate().filter(|(_, slot)| slot.index <= definition.count && is_new(slot));
        if newer.any(|(slot, _)| !self.serves(TaskRef { app, job, slot })) {
            return;
        }
        let ill = due.iter_mut().find(|due| is_held(due) && !due.serves && self.holder(due.task).is_none());
        ill.into_iter().for_each(|ill| ill.held = None);
    }

    /// Why an outdated task of a service stays of its version for now.
    fn held(&self, task: TaskRef) -> Option<Waiting> {
        let app = self.s.app(task.app);
        let definition = app.definition(task.job);
        if definition.kind.is_batch() {
            return None;
        }
        let (policy, promoted) = (&definition.update, app.rollout.promoted.contains(&app.jobs[task.job].name));
        if app.rollout.paused {
            Some(Waiting::Paused)
        } else if promoted || self.pace == Pace::AllAtOnce || self.is_hidden(task) {
            None // nobody is served by one that was never seen
        } else if policy.blue_green && self.s.slot(task).index <= definition.count {
            Some(Waiting::Unpromoted { first: definition.count, by_hand: policy.promote.is_none() })
        } else if policy.canary > 0 && self.s.slot(task).index > policy.canary {
            Some(Waiting::Unpromoted { first: policy.canary, by_hand: policy.promote.is_none() })
        } else {
            None
        }
    }

    /// The version that a task gets which has no machine.
    pub(crate) fn version_for(&self, task: TaskRef) -> VersionId {
        let slot = self.s.slot(task);
        let never_ran = matches!(slot.standing, Standing::Waiting { anew: true });
        if !never_ran && self.held(task).is_some() { slot.version } else { 0 }
    }

    /// How many instances there should be; of a daemon, as many as there are.
    fn wanted(&self, app: usize, job: usize) -> usize {
        match self.s.app(app).jobs[job].spec.kind {
            JobKind::Daemon => self.s.app(app).jobs[job].slots.len(),
            JobKind::Service | JobKind::Batch { .. } | JobKind::Cron { .. } => {
                self.s.app(app).definition(job).count as usize
            }
        }
    }

    /// How many more instances that serve a job may lose now by our own doing. For its own update, instances that wait
    /// because they fit nowhere are not missed: a newer version may be what makes them fit.
    pub(crate) fn spare(&self, app: usize, job: usize, for_itself: bool) -> usize {
        let definition = self.s.app(app).definition(job);
        let (count, unavailable) = (self.wanted(app, job), definition.update.max_unavailable as usize);
        let daemon = definition.kind == JobKind::Daemon;
        let (mut serving, mut missing) = (0, 0);
        for slot in 0..self.s.app(app).jobs[job].slots.len() {
            let task = TaskRef { app, job, slot };
            let known = self.s.slot(task);
            if self.decided.contains_key(&task) {
                continue; // on its way, or on its way out
            }
            let within = daemon || known.index as usize <= count;
            match &known.standing {
                // One that may still run where it was is on its way.
                Standing::Waiting { .. } => missing += usize::from(within && for_itself && self.holder(task).is_none()),
                // A daemon is down for as long as its machine.
                Standing::On { machine, .. } if daemon && !self.s.machines.all[*machine].is_alive() => missing += 1,
                Standing::On { .. } | Standing::Ended(_) => {
                    serving += usize::from(self.serves(task) && !self.is_hidden(task) && self.is_given(task));
                }
            }
        }
        (serving + unavailable).saturating_sub(count.saturating_sub(missing))
    }

    pub(crate) fn serves(&self, task: TaskRef) -> bool {
        let job = self.s.job(task);
        serves(self.s, job, &job.slots[task.slot])
    }

    /// Whether DNS does not give the task out: it came beside others, and its version was never promoted.
    fn is_hidden(&self, task: TaskRef) -> bool {
        let (app, slot) = (self.s.app(task.app), self.s.slot(task));
        let definition = app.definition_of(task.job, slot.version);
        definition.update.blue_green && slot.index > definition.count && !app.is_promoted(task.job, slot.version)
    }

    /// Whether its machine lets DNS give it out. One that was just promoted is hidden there until that machine has heard.
    fn is_given(&self, task: TaskRef) -> bool {
        matches!(&self.s.slot(task).standing, Standing::On { report: Some(report), .. } if report.serving)
    }

    /// Starts instances besides the others, as far as the policy has it. Gives whether such are wanted now.
    fn raise(&mut self, app: usize, job: usize, policy: &UpdatePolicy, roll: &Roll) -> bool {
        let mirror = self.s.app(app);
        if mirror.jobs[job].spec.kind != JobKind::Service || mirror.rollout.paused || self.pace == Pace::AllAtOnce {
            return !roll.surge.is_empty() && mirror.rollout.paused;
        }
        let count = mirror.definition(job).count;
        let within = |due: &&Due| self.s.slot(due.task).index <= count;
        let outdated = roll.due.iter().filter(within).any(|due| due.cause == Cause::Outdated || due.held.is_some());
        let free = roll.due.iter().filter(within).filter(|due| due.held.is_none()).count();
        let wanted = match policy.blue_green {
            true if outdated => count as usize, // once promoted they serve while the others are replaced
            // For a drain, where none may be missing.
            true => free.min(usize::from(policy.max_unavailable == 0)),
            false => free.min(policy.max_surge as usize),
        };
        // Those beside of the version before, once promoted, may be all that serves, and cannot be replaced then: the newer
        // ones come beside them, too, or there would never be enough of them to be promoted.
        let needed = |due: &&Due| due.serves && self.s.slot(due.task).index > count;
        let kept = if policy.blue_green && outdated && self.spare(app, job, true) == 0 {
            roll.due.iter().filter(needed).count()
        } else {
            0
        };
        let there = roll.surge.len() - kept;
        let known = &self.s.app(app).jobs[job];
        let mut taken: BTreeSet<u32> = known.slots.iter().map(|slot| slot.index).collect();
        taken.extend(known.leased.keys()); // they may run still, from when the job was exclusive
        let held = known.leased.range(count + 1..).next().map(|(_, node)| *node);
        let left = known.slots.iter().filter(|slot| slot.index > count && slot.revision != known.revision).count();
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        let most = if policy.blue_green { count.saturating_add(left) } else { policy.max_surge };
        let mut indexes = (count + 1..=count.saturating_add(most)).filter(|index| !taken.contains(index));
        for _ in there..wanted {
            if self.is_full() {
                break;
            }
            let placed = match (indexes.next(), held) {
                (Some(index), _) => self.place_new(app, job, index),
                (None, Some(node)) => Err(self.leased_on(node)),
                (None, None) => break,
            };
            if let Err(why) = placed {
                self.s.blocked.insert(app);
                // The first that is to be replaced says why that does not begin.
                if let Some(due) = roll.due.first().filter(|_| policy.blue_green || policy.max_unavailable == 0) {
                    self.hold(due.task, &due.cause, Waiting::Beside(Box::new(why)));
                }
                break;
            }
        }
        wanted > 0
    }

    /// A new slot of the present version, on the best machine.
    fn place_new(&mut self, app: usize, job: usize, index: u32) -> Result<(), Waiting> {
        let spec = self.s.app(app).jobs[job].spec.clone();
        if let Some(over) = self.s.teams.over(&spec) {
            return Err(Waiting::over_quota(&spec, over));
        }
        let rules = Rules::new(self.s, app, job, 0);
        let at = rules.best(self.s).ok_or_else(|| rules.why(self.s))?;
        let id = TaskId { app: self.s.app(app).app.name.clone(), job: self.s.app(app).jobs[job].name.clone(), index };
        self.place_fresh(id, (app, job), at);
        Ok(())
    }

    /// The update is over: those beside the others go.
    fn end_surge(&mut self, app: usize, job: usize, roll: &Roll) {
        for task in &roll.surge {
            if self.decided.contains_key(task) || self.is_full() {
                continue;
            }
            let Some(at) = self.s.slot(*task).on else { continue };
            let just_came =
                self.needing(at, *task).any(|other| self.is_fresh(other) || self.decided.contains_key(&other));
            if just_came {
                self.wake(app, self.now); // to be with it; from the next turn on it may be alone
            } else {
                self.lift(*task);
                self.remove(*task, Cause::Surplus);
            }
        }
        let mirror = self.s.app(app);
        let name = mirror.jobs[job].name.clone();
        if roll.surge.is_empty() && !mirror.rollout.settled.contains(&name) && !mirror.rollout.paused {
            let (app_name, seen_version) = (mirror.app.name.clone(), mirror.version);
            self.order(app, Command::Settle { app: app_name, job: name, seen_version });
        }
    }

    /// Promotes the newer version when those that came first have worked for long enough.
    fn promote(&mut self, app: usize, job: usize, policy: &UpdatePolicy, roll: &Roll) {
        let mirror = self.s.app(app);
        let name = &mirror.jobs[job].name;
        let waits = roll.due.iter().any(|due| due.held.is_some());
        let (Some(after), Some(since)) = (policy.promote, roll.tried_since) else { return };
        if !waits || mirror.rollout.paused || mirror.rollout.promoted.contains(name) {
            return;
        }
        if self.now >= since + after {
            let (app_name, job) = (mirror.app.name.clone(), Some(name.clone()));
            let seen_version = Some(mirror.version);
            self.order(app, Command::Promote { app: app_name, job, seen_version });
        } else {
            self.wake(app, since + after);
        }
    }

    /// Gives the present version up when an instance of it has not worked for too long; gives whether it does.
    fn go_back(&mut self, app: usize, job: usize) -> bool {
        let mirror = self.s.app(app);
        let policy = &mirror.definition(job).update;
        let (within, may) = (policy.healthy_within, policy.rollback && !mirror.jobs[job].spec.kind.is_batch());
        let settled = mirror.rollout.settled.contains(&mirror.jobs[job].name);
        let came_back = mirror.rollout.returned.is_some();
        if !may || settled || came_back || !mirror.jobs[job].is_new || self.pace == Pace::AllAtOnce {
            return false;
        }
        let roll = self.look(app, job);
        let Some(late) = roll.late else {
            if let Some(at) = roll.late_at {
                self.wake(app, at);
            }
            return false;
        };
        let mirror = self.s.app(app);
        let reason =
            format!("{} of version {} did not work within {within:?}", self.s.id(late).short(), mirror.version);
        let (app_name, seen_version, now) = (mirror.app.name.clone(), Some(mirror.version), self.ring.date());
        self.order(app, Command::Rollback { app: app_name, seen_version, to: None, reason: Some(reason), now });
        true
    }

    /// Whether this leader has led for so long that a task without a report really does nothing: a new one that took
    /// silence for idleness would replace all instances of a job at once.
    fn knows_all(&mut self, app: usize) -> bool {
        let due = self.ring.leader_since() + UNSEEN_GRACE;
        if self.now < due {
            self.wake(app, due);
        }
        self.now >= due
    }

    /// Replaces a task, on the same machine if that takes it. Gives whether it was replaced.
    fn replace(&mut self, task: TaskRef, machine: MachineId, cause: Cause, version: VersionId) -> bool {
        if self.is_full() {
            return false;
        }
        let (was, had) = (self.s.slot(task).version, self.s.spec(task).clone());
        self.lift(task); // what it has is free for what replaces it
        let rules = Rules::new(self.s, task.app, task.job, version);
        let spec = rules.spec(self.s);
        // A team that has more than its quota by now may go on as it is.
        let more = had.team != spec.team || had.custom != spec.custom || !had.resources.fits(&spec.resources);
        let over = self.s.teams.over(spec).filter(|_| more).map(|over| Waiting::over_quota(spec, over));
        let to = if let Some(why) = over {
            Err(why)
        } else if let Some(volume) = self.s.volume_of(task, version) {
            self.seek_volume(task, &rules, &volume, false)
        } else if rules.admit(self.s, machine) {
            Ok(machine)
        } else if self.s.job(task).spec.kind == JobKind::Daemon {
            if rules.lets_stay(self.s, machine) {
                Err(rules.why(self.s))
            } else if self.has_placed_beside(task, machine) {
                self.put(task, machine, was);
                self.wake(task.app, self.now);
                return false;
            } else {
                self.remove(task, cause); // the machine matches no more
                return true;
            }
        } else {
            self.choose(task, version)
        };
        match to {
            Ok(to) if to != machine && self.may_run_elsewhere(task, Some(version)) => {
                if self.has_placed_beside(task, machine) {
                    self.put(task, machine, was);
                    self.wake(task.app, self.now);
                    return false;
                }
                self.let_go(task, cause);
                true
            }
            Ok(to) => {
                self.place(task, to, cause, version);
                true
            }
            Err(why) => {
                self.put(task, machine, was);
                self.hold(task, &cause, why);
                self.s.blocked.insert(task.app);
                false
            }
        }
    }

    /// Whether this turn has placed something that may count on the task: an instance of its job, or a task on its machine.
    /// Removals are carried out first, so that one which is only removed goes in the next turn then.
    fn has_placed_beside(&self, task: TaskRef, machine: MachineId) -> bool {
        let (app, job) = (&self.s.app(task.app).app.name, &self.s.job(task).name);
        let node = self.s.machines.all[machine].id;
        self.placements.iter().any(|new| new.node == node || (&new.task.app, &new.task.job) == (app, job))
    }

    fn hold(&mut self, task: TaskRef, cause: &Cause, why: Waiting) {
        let why = Box::new(why);
        let held = if *cause == Cause::Drained { Waiting::Drained(why) } else { Waiting::Outdated(why) };
        self.wait(task, held);
    }
}
