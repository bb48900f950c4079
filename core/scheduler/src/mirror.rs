//! The state and the ring's view as the scheduler reads them: flat, numbered, and read anew only where they changed.

use crate::{
    Observed, RingView, Waiting, leases,
    machines::{MachineId, Machines, TaskRef},
    runs::Clock,
    teams::Teams,
    volumes::Volumes,
    windows::Windows,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use taffeta_model::{
    App, AppName, AppState, Exit, Fence, Job, JobKind, JobName, JobRef, Millis, NodeId, Place, PlacementStrategy,
    Resources, Rollout, Runs, State, TaskId, TeamName, UnixMillis, VolumeId, VolumeName,
};

/// Why tasks wait, by app and task; apps without such a task are left out.
pub type Waits = BTreeMap<AppName, Arc<BTreeMap<TaskId, Waiting>>>;

/// The scheduler of a node that leads. What it keeps could be read from its arguments at any time: a new one gives the
/// same plans, only later.
#[derive(Default)]
pub struct Scheduler {
    seen: Option<Fence>,
    seen_pool: Fence,
    /// The version that all members speak: below 2 no decision about runs can be written.
    pub(crate) level: u32,
    /// How many leases there are.
    pub(crate) leases: usize,
    /// The date less the leader's own time, by which timers were set.
    pub(crate) offset: i128,
    pub(crate) machines: Machines,
    /// By position; `None` where an app has gone.
    pub(crate) apps: Vec<Option<AppMirror>>,
    pub(crate) by_name: BTreeMap<AppName, usize>,
    holes: Vec<usize>,
    /// By the job that is named: the jobs that want to be apart from it.
    pub(crate) apart_of: BTreeMap<(AppName, JobName), BTreeSet<(usize, usize)>>,
    pub(crate) teams: Teams,
    pub(crate) volumes: Volumes,
    pub(crate) windows: Windows,
    /// Tasks on machines, those of the turn among them, by priority; revocable ones as below the lowest.
    pub(crate) by_priority: BTreeMap<Priority, usize>,
    /// Apps to be looked at.
    pub(crate) dirty: BTreeSet<usize>,
    /// Apps with a task that waits for room.
    pub(crate) blocked: BTreeSet<usize>,
    /// When apps are to be looked at though nothing changes.
    pub(crate) timers: BTreeSet<(Millis, usize)>,
    pub(crate) waits: Arc<Waits>,
    /// Tasks of the turn that have no slot yet.
    pub(crate) fresh: Vec<Fresh>,
    /// What apps would have, had all that was decided come to be: whoever is blocked is so beside that, or beside what they
    /// had before.
    pub(crate) expected: BTreeMap<usize, Layout>,
}

/// A task that was placed in this turn and has no slot yet: of a daemon, or one beside others for an update.
pub(crate) struct Fresh {
    pub(crate) id: TaskId,
    pub(crate) task: TaskRef,
    pub(crate) machine: MachineId,
    spec: Spec,
}

/// How often an app's tasks of each size are on each machine.
pub(crate) type Layout = BTreeMap<(MachineId, Size), usize>;

/// All that a task takes of a machine, and whose quota it counts against.
type Size = ((u64, u64, u64, u32), bool, Vec<(String, u64)>, Vec<u16>, Option<TeamName>);

/// An app.
pub(crate) struct AppMirror {
    pub(crate) app: Arc<App>,
    pub(crate) version: u64,
    pub(crate) rollout: Rollout,
    touched: Fence,
    /// In the order of their names.
    pub(crate) jobs: Vec<JobMirror>,
    pub(crate) timer: Option<Millis>,
}

/// A job of it.
pub(crate) struct JobMirror {
    pub(crate) name: JobName,
    /// Revision that its tasks should be of.
    pub(crate) revision: u64,
    pub(crate) spec: Spec,
    /// Whether the version that one would go back to has another revision.
    pub(crate) is_new: bool,
    /// What tasks of older revisions are.
    older: Vec<Older>,
    /// Of a job that runs to an end; without its history.
    pub(crate) runs: Option<Runs>,
    /// Of a cron job.
    pub(crate) clock: Option<Clock>,
    /// By index: machines that may still run the instance; nobody else gets it.
    pub(crate) leased: BTreeMap<u32, NodeId>,
    /// By rising index.
    pub(crate) slots: Vec<Slot>,
}

/// A job in a version before.
struct Older {
    revision: u64,
    /// Whether it was promoted.
    promoted: bool,
    app: Arc<App>,
    spec: Spec,
}

/// Which version of a job a task is of: 0 for the present one, else the position of an older one from 1.
pub(crate) type VersionId = usize;

/// What placing has to know of a job, besides its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) kind: JobKind,
    pub(crate) resources: Resources,
    pub(crate) custom: Vec<(String, u64)>,
    pub(crate) fixed_ports: Vec<u16>,
    pub(crate) priority: u8,
    pub(crate) revocable: bool,
    pub(crate) strategy: PlacementStrategy,
    pub(crate) has_health: bool,
    pub(crate) team: Option<TeamName>,
    pub(crate) exclusive: bool,
    /// Its volume, whose size is among the resources.
    pub(crate) volume: Option<VolumeName>,
}

/// Who makes way for whom: a task for those whose priority is greater. A revocable one makes way for all that are not.
pub(crate) type Priority = (bool, u8);

/// One instance.
pub(crate) struct Slot {
    pub(crate) index: u32,
    pub(crate) attempt: u32,
    pub(crate) revision: u64,
    pub(crate) standing: Standing,
    /// When this scheduler first saw the placement.
    pub(crate) placed: Millis,
    /// When the leader first saw that its process had been made.
    pub(crate) begun: Option<Millis>,
    /// The machine that it is counted on, and as what: as by its standing, but for what the turn has decided so far.
    pub(crate) on: Option<MachineId>,
    pub(crate) version: VersionId,
}

/// Where a task stands, by the state and the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// On no machine. `anew` unless it lost a machine: it was never placed, or it is a batch task that runs again.
    Waiting { anew: bool },
    /// Ended for good (batch).
    Ended(Exit),
    /// On a machine, with its report about this very placement.
    On { machine: MachineId, fence: Fence, report: Option<Observed> },
}

impl Standing {
    pub(crate) fn machine(&self) -> Option<MachineId> {
        match self {
            Self::On { machine, .. } => Some(*machine),
            Self::Waiting { .. } | Self::Ended(_) => None,
        }
    }

    /// When the leader first saw what its report says, if its process has been made by then.
    fn begun(&self) -> Option<Millis> {
        match self {
            Self::On { report, .. } => report.as_ref().filter(|report| report.has_begun()).map(|report| report.since),
            Self::Waiting { .. } | Self::Ended(_) => None,
        }
    }
}

impl Scheduler {
    /// A scheduler that has read nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads what has changed.
    pub(crate) fn read(&mut self, now: Millis, state: &State, ring: &mut RingView) {
        let changes = ring.take_changes();
        let all = self.seen.is_none();
        if all || self.seen_pool != state.pool_fence {
            self.read_pool(state, ring);
        }
        if self.seen != Some(state.applied) {
            self.leases = state.leased.len();
            if self.volumes.read(state, &mut self.machines) {
                self.room_changed();
            }
            self.read_apps(now, state, ring);
            if self.level != state.spoken_level() {
                self.level = state.spoken_level();
                self.dirty.extend(self.by_name.values());
            }
        }
        if !all {
            for id in &changes.members {
                if let Some(at) = self.machines.position(*id) {
                    self.machine_changed(at, ring);
                }
            }
            for id in &changes.tasks {
                self.read_report(id, ring);
            }
        }
        (self.seen, self.seen_pool) = (Some(state.applied), state.pool_fence);
    }

    fn read_pool(&mut self, state: &State, ring: &RingView) {
        let mut changed = false;
        for member in state.members.values() {
            if self.machines.read(member, ring.member(member.id)) {
                changed = true;
                if let Some(at) = self.machines.position(member.id) {
                    self.touch_machine(at);
                }
            }
            if let Some(at) = self.machines.position(member.id) {
                self.windows.read(at, &member.maintenance);
            }
        }
        let gone: Vec<MachineId> =
            self.machines.members().filter(|at| !state.members.contains_key(&self.machines.all[*at].id)).collect();
        for at in gone {
            self.touch_machine(at);
            for task in self.machines.all[at].tasks.clone() {
                self.lift(task); // the state has them wait by now, which is read below
            }
            self.volumes.forget(at);
            self.windows.forget(at);
        }
        changed |= self.machines.retain(|id| state.members.contains_key(&id));
        changed |= self.teams.read(&state.quotas);
        if changed {
            self.machines_changed();
        }
    }

    fn machine_changed(&mut self, at: MachineId, ring: &RingView) {
        let view = ring.member(self.machines.all[at].id);
        let was_open = self.machines.is_open(at);
        self.machines.see(at, view);
        if was_open != self.machines.is_open(at) {
            self.machines_changed();
        }
        self.touch_machine(at);
    }

    /// The machine's maintenance window is open until then, or not any more.
    pub(crate) fn maintain(&mut self, at: MachineId, until: Option<UnixMillis>) {
        if self.machines.maintain(at, until) {
            self.machines_changed();
            self.touch_machine(at);
        }
    }

    fn touch_machine(&mut self, at: MachineId) {
        self.dirty.extend(self.machines.all[at].tasks.iter().map(|task| task.app));
    }

    /// A task may fit now that did not.
    fn room_changed(&mut self) {
        self.dirty.extend(&self.blocked);
    }

    /// The same; besides, daemons are wanted on each machine that takes them.
    fn machines_changed(&mut self) {
        self.room_changed();
        for (i, app) in self.apps.iter().enumerate() {
            let daemon = |job: &JobMirror| job.spec.kind == JobKind::Daemon;
            if app.as_ref().is_some_and(|app| app.jobs.iter().any(daemon)) {
                self.dirty.insert(i);
            }
        }
    }

    fn read_apps(&mut self, now: Millis, state: &State, ring: &RingView) {
        let gone: Vec<AppName> = self.by_name.keys().filter(|name| !state.apps.contains_key(*name)).cloned().collect();
        for name in gone {
            self.forget_app(&name);
        }
        for (name, app) in &state.apps {
            let known = self.by_name.get(name).and_then(|at| self.apps[*at].as_ref());
            if known.is_none_or(|known| known.touched != app.touched || !Arc::ptr_eq(&known.app, &app.app)) {
                self.read_app(now, name, app, (state, ring));
            }
        }
    }

    fn forget_app(&mut self, name: &AppName) {
        let Some(at) = self.by_name.remove(name) else { return };
        self.lift_app(at);
        self.apps[at] = None;
        self.expected.remove(&at);
        self.holes.push(at);
        self.dirty.remove(&at);
        self.blocked.remove(&at);
        self.timers.retain(|(_, app)| *app != at);
        if self.waits.contains_key(name) {
            Arc::make_mut(&mut self.waits).remove(name);
        }
        self.room_changed();
    }

    /// Lifts all its tasks and what it wants to be apart from.
    fn lift_app(&mut self, at: usize) {
        let Some(app) = &self.apps[at] else { return };
        let mut tasks = vec![];
        for (j, job) in app.jobs.iter().enumerate() {
            let on = |(_, slot): &(usize, &Slot)| slot.on.is_some();
            tasks.extend(job.slots.iter().enumerate().filter(on).map(|(k, _)| TaskRef { app: at, job: j, slot: k }));
            for target in app.app.jobs.get(&job.name).into_iter().flat_map(|job| &job.apart) {
                if let Some(apart) = self.apart_of.get_mut(&target_of(&app.app.name, target)) {
                    apart.remove(&(at, j));
                }
            }
        }
        self.apart_of.retain(|_, from| !from.is_empty());
        for task in tasks {
            self.lift(task);
        }
    }

    fn read_app(&mut self, now: Millis, name: &AppName, deployed: &AppState, (state, ring): (&State, &RingView)) {
        let at = match self.by_name.get(name) {
            Some(at) => *at,
            None => {
                let at = self.holes.pop().unwrap_or_else(|| {
                    self.apps.push(None);
                    self.apps.len() - 1
                });
                self.by_name.insert(name.clone(), at);
                at
            }
        };
        let timer = self.apps[at].as_ref().and_then(|app| app.timer);
        let placed = self.placed(at);
        let before = self.before(at);
        let avoided = self.avoided(at);
        self.lift_app(at);
        let mut clocks: BTreeMap<JobName, Clock> = self.apps[at].iter_mut().flat_map(AppMirror::take_clocks).collect();
        let mut new = |(name, job): (&JobName, &Arc<Job>)| new_job(name, job, deployed, clocks.remove(name));
        let mut jobs: Vec<JobMirror> = deployed.app.jobs.iter().map(&mut new).collect();
        leases::read(&mut jobs, state, name);
        let mut j = 0;
        for (id, task) in state.tasks.of_app(name) {
            while jobs.get(j).is_some_and(|job| job.name < id.job) {
                j += 1;
            }
            let Some(job) = jobs.get_mut(j).filter(|job| job.name == id.job) else { continue };
            let standing = match &task.place {
                Place::Waiting { last } => Standing::Waiting { anew: last.is_none() },
                Place::Ended { exit, .. } => Standing::Ended(exit.clone()),
                Place::On { node, fence } => match self.machines.position(*node) {
                    Some(machine) => {
                        let report = report(ring, id, *node, *fence);
                        Standing::On { machine, fence: *fence, report }
                    }
                    None => Standing::Waiting { anew: false }, // placed by a later entry than the one that removed it
                },
            };
            let (attempt, revision, index) = (task.attempt, task.revision, id.index);
            let version = job.version(revision, deployed);
            let (placed, begun) = placed.get(&(j, index, attempt)).copied().unwrap_or((now, None));
            let begun = begun.or_else(|| standing.begun());
            job.slots.push(Slot { index, attempt, revision, standing, placed, begun, on: None, version });
        }
        for (j, job) in jobs.iter().enumerate() {
            for target in deployed.app.jobs.get(&job.name).into_iter().flat_map(|job| &job.apart) {
                self.apart_of.entry(target_of(name, target)).or_default().insert((at, j));
            }
        }
        let mut on = vec![];
        for (j, job) in jobs.iter().enumerate() {
            for (k, slot) in job.slots.iter().enumerate() {
                if let Standing::On { machine, .. } = slot.standing {
                    on.push((TaskRef { app: at, job: j, slot: k }, machine, slot.version));
                }
            }
        }
        self.apps[at] = Some(AppMirror {
            app: Arc::clone(&deployed.app),
            version: deployed.version,
            rollout: deployed.rollout.clone(),
            touched: deployed.touched,
            jobs,
            timer,
        });
        on.into_iter().for_each(|(task, machine, version)| self.put(task, machine, version));
        self.dirty.insert(at);
        let near = |other: &&usize| avoided.contains(*other) || self.names(**other, name);
        let near: Vec<usize> = self.blocked.iter().filter(near).copied().collect();
        self.dirty.extend(near);
        self.compare(&before, at);
    }

    /// When the placements that the mirror has of the app were first seen, and their processes: by job, index and attempt.
    fn placed(&self, at: usize) -> BTreeMap<(usize, u32, u32), (Millis, Option<Millis>)> {
        let jobs = self.apps[at].iter().flat_map(|app| app.jobs.iter().enumerate());
        let times = |slot: &Slot| (slot.placed, slot.begun);
        jobs.flat_map(|(j, job)| job.slots.iter().map(move |slot| ((j, slot.index, slot.attempt), times(slot))))
            .collect()
    }

    /// Whether a job of the app must be with one of another, or apart from it.
    fn names(&self, app: usize, other: &AppName) -> bool {
        let jobs = self.apps[app].iter().flat_map(|app| app.app.jobs.values());
        jobs.flat_map(|job| job.with.iter().chain(&job.apart)).any(|target| target.app.as_ref() == Some(other))
    }

    /// The apps from which a job of this one is apart.
    fn avoided(&self, at: usize) -> BTreeSet<usize> {
        let jobs = self.apps[at].iter().flat_map(|app| app.app.jobs.values());
        let apps = jobs.flat_map(|job| &job.apart).filter_map(|target| target.app.as_ref());
        apps.filter_map(|app| self.by_name.get(app).copied()).collect()
    }

    /// What those that are blocked know of the app.
    fn before(&mut self, at: usize) -> Layout {
        let expected = self.expected.remove(&at);
        if self.blocked.is_empty() {
            return Layout::new();
        }
        let mut most = self.layout(at);
        for (place, count) in expected.into_iter().flatten() {
            let known = most.entry(place).or_default();
            *known = count.max(*known);
        }
        most
    }

    /// Where the app has less than before, there is room.
    fn compare(&mut self, before: &Layout, at: usize) {
        if !before.is_empty() {
            let now = self.layout(at);
            if before.iter().any(|(place, count)| now.get(place).is_none_or(|now| now < count)) {
                self.room_changed();
            }
        }
    }

    pub(crate) fn layout(&self, at: usize) -> Layout {
        let mut layout = Layout::new();
        for job in self.apps[at].iter().flat_map(|app| &app.jobs) {
            for (machine, slot) in job.slots.iter().filter_map(|slot| Some((slot.on?, slot))) {
                *layout.entry((machine, job.spec_of(slot.version).size())).or_default() += 1;
            }
        }
        for fresh in self.fresh.iter().filter(|fresh| fresh.task.app == at) {
            *layout.entry((fresh.machine, fresh.spec.size())).or_default() += 1;
        }
        layout
    }

    fn read_report(&mut self, id: &TaskId, ring: &RingView) {
        let Some(at) = self.by_name.get(&id.app).copied() else { return };
        let Some(app) = self.apps[at].as_mut() else { return };
        let Ok(j) = app.jobs.binary_search_by(|job| job.name.cmp(&id.job)) else { return };
        let Ok(k) = app.jobs[j].slots.binary_search_by_key(&id.index, |slot| slot.index) else { return };
        let slot = &mut app.jobs[j].slots[k];
        let Standing::On { machine, fence, report: known } = &mut slot.standing else { return };
        let now = report(ring, id, self.machines.all[*machine].id, *fence);
        if *known != now {
            *known = now;
            slot.begun = slot.begun.or_else(|| slot.standing.begun());
            self.dirty.insert(at);
        }
    }

    pub(crate) fn app(&self, at: usize) -> &AppMirror {
        self.apps[at].as_ref().expect("only apps that are there are looked at")
    }

    pub(crate) fn app_mut(&mut self, at: usize) -> &mut AppMirror {
        self.apps[at].as_mut().expect("only apps that are there are looked at")
    }

    pub(crate) fn job(&self, task: TaskRef) -> &JobMirror {
        &self.app(task.app).jobs[task.job]
    }

    pub(crate) fn slot(&self, task: TaskRef) -> &Slot {
        &self.job(task).slots[task.slot]
    }

    pub(crate) fn put_fresh(&mut self, id: TaskId, (app, job): (usize, usize), machine: MachineId) {
        let task = TaskRef { app, job, slot: usize::MAX - self.fresh.len() };
        let spec = self.app(app).jobs[job].spec.clone();
        self.machines.put(machine, &spec, task);
        self.teams.put(&spec);
        *self.by_priority.entry(spec.priority()).or_default() += 1;
        self.fresh.push(Fresh { id, task, machine, spec });
    }

    pub(crate) fn lift_fresh(&mut self) {
        while let Some(Fresh { task, machine, spec, .. }) = self.fresh.pop() {
            self.machines.lift(machine, &spec, task);
            self.teams.lift(&spec);
            self.discount(spec.priority());
        }
    }

    /// What the task is counted as.
    pub(crate) fn spec(&self, task: TaskRef) -> &Spec {
        self.job(task).spec_of(self.slot(task).version)
    }

    pub(crate) fn id(&self, task: TaskRef) -> TaskId {
        if let Some(fresh) = self.fresh.iter().find(|fresh| fresh.task == task) {
            return fresh.id.clone();
        }
        let app = self.app(task.app);
        let job = &app.jobs[task.job];
        TaskId { app: app.app.name.clone(), job: job.name.clone(), index: job.slots[task.slot].index }
    }

    /// Counts the task on the machine, in that version.
    pub(crate) fn put(&mut self, task: TaskRef, machine: MachineId, version: VersionId) {
        let app = self.apps[task.app].as_mut().expect("only apps that are there are looked at");
        let job = &mut app.jobs[task.job];
        (job.slots[task.slot].on, job.slots[task.slot].version) = (Some(machine), version);
        let spec = job.spec_of(version);
        if let Some(name) = &spec.volume {
            let id = volume_id(&app.app.name, job.name.clone(), job.slots[task.slot].index, name);
            self.volumes.come(&mut self.machines, &id, machine);
        }
        self.machines.put(machine, spec, task);
        self.teams.put(spec);
        *self.by_priority.entry(spec.priority()).or_default() += 1;
    }

    /// The task is on no machine, and of that version when it comes to one.
    pub(crate) fn forget_version(&mut self, task: TaskRef, version: VersionId) {
        self.app_mut(task.app).jobs[task.job].slots[task.slot].version = version;
    }

    /// Undoes [`Scheduler::put`]; gives the machine.
    pub(crate) fn lift(&mut self, task: TaskRef) -> Option<MachineId> {
        let app = self.apps[task.app].as_mut().expect("only apps that are there are looked at");
        let job = &mut app.jobs[task.job];
        let machine = job.slots[task.slot].on.take()?;
        let spec = job.spec_of(job.slots[task.slot].version);
        self.machines.lift(machine, spec, task);
        if let Some(name) = &spec.volume {
            let id = volume_id(&app.app.name, job.name.clone(), job.slots[task.slot].index, name);
            self.volumes.hold(&mut self.machines, &id);
        }
        self.teams.lift(spec);
        let priority = spec.priority();
        self.discount(priority);
        Some(machine)
    }

    /// One task less of that priority is on a machine.
    fn discount(&mut self, priority: Priority) {
        if let Some(count) = self.by_priority.get_mut(&priority) {
            *count -= 1;
            if *count == 0 {
                self.by_priority.remove(&priority);
            }
        }
    }
}

impl AppMirror {
    pub(crate) fn job(&self, name: &JobName) -> Option<&JobMirror> {
        self.jobs.binary_search_by(|job| job.name.cmp(name)).ok().map(|j| &self.jobs[j])
    }

    /// What was compiled of its schedules, so that it need not be again.
    fn take_clocks(&mut self) -> impl Iterator<Item = (JobName, Clock)> {
        self.jobs.iter_mut().filter_map(|job| Some((job.name.clone(), job.clock.take()?)))
    }

    pub(crate) fn definition(&self, j: usize) -> &Job {
        self.definition_of(j, 0)
    }

    pub(crate) fn definition_of(&self, j: usize, version: VersionId) -> &Job {
        let job = &self.jobs[j];
        let app = version.checked_sub(1).map_or(&self.app, |older| &job.older[older].app);
        app.jobs.get(&job.name).expect("a mirror has the jobs of its app")
    }

    /// Whether that version of the job was promoted.
    pub(crate) fn is_promoted(&self, j: usize, version: VersionId) -> bool {
        let job = &self.jobs[j];
        version
            .checked_sub(1)
            .map_or_else(|| self.rollout.promoted.contains(&job.name), |older| job.older[older].promoted)
    }
}

impl JobMirror {
    pub(crate) fn spec_of(&self, version: VersionId) -> &Spec {
        version.checked_sub(1).map_or(&self.spec, |older| &self.older[older].spec)
    }

    /// The version of tasks of this revision.
    fn version(&mut self, revision: u64, deployed: &AppState) -> VersionId {
        if revision == self.revision {
            return 0;
        }
        if let Some(known) = self.older.iter().position(|older| older.revision == revision) {
            return known + 1;
        }
        let kept = deployed.kept.iter().find(|kept| kept.revisions.get(&self.name) == Some(&revision));
        let Some((app, job)) = kept.and_then(|kept| Some((&kept.app, kept.app.jobs.get(&self.name)?))) else {
            return 0; // not known any more, or the same but for a restart
        };
        // Whose an app is does not depend on the version.
        let spec = Spec { team: deployed.app.team.clone(), ..new_spec(job, app) };
        let promoted = deployed.was_promoted(&self.name, revision);
        self.older.push(Older { revision, promoted, app: Arc::clone(app), spec });
        self.older.len()
    }
}

impl Spec {
    pub(crate) fn priority(&self) -> Priority {
        (!self.revocable, self.priority)
    }

    fn size(&self) -> Size {
        let r = &self.resources;
        let resources = (r.cpus.0, r.memory, r.disk, r.ports);
        (resources, self.revocable, self.custom.clone(), self.fixed_ports.clone(), self.team.clone())
    }
}

impl JobMirror {
    /// Whether it runs again and again by itself.
    pub(crate) fn recurs(&self) -> bool {
        self.clock.is_some() || self.runs.as_ref().is_some_and(|runs| !runs.taken.is_empty())
    }
}

fn new_job(name: &JobName, job: &Job, deployed: &AppState, clock: Option<Clock>) -> JobMirror {
    let revision = deployed.revisions.get(name).copied().unwrap_or_default();
    let spec = new_spec(job, &deployed.app);
    let before = deployed.kept.iter().find(|kept| kept.failed.is_none());
    let is_new = before.is_some_and(|kept| kept.revisions.get(name) != Some(&revision));
    let runs = deployed.runs.get(name).map(Runs::outline);
    let since = runs.as_ref().map(|runs| runs.since).unwrap_or_default();
    let clock = job.cron.as_ref().map(|cron| Clock::new(&cron.schedule, since, clock));
    let leased = BTreeMap::new();
    JobMirror { name: name.clone(), revision, spec, is_new, older: vec![], runs, clock, leased, slots: vec![] }
}

fn new_spec(job: &Job, app: &App) -> Spec {
    Spec {
        kind: job.kind,
        resources: job.demand(),
        custom: job.custom.iter().map(|(name, count)| (name.clone(), *count)).collect(),
        fixed_ports: job.ports.iter().filter_map(|port| port.fixed).collect(),
        priority: job.priority,
        revocable: job.revocable,
        strategy: job.strategy,
        has_health: job.health.is_some(),
        team: app.team.clone(),
        exclusive: job.exclusive,
        volume: job.volume.as_ref().map(|volume| volume.name.clone()),
    }
}

fn volume_id(app: &AppName, job: JobName, index: u32, name: &VolumeName) -> VolumeId {
    VolumeId { task: TaskId { app: app.clone(), job, index }, name: name.clone() }
}

/// The node's report about this placement; an older one is about a process that is on its way out.
fn report(ring: &RingView, id: &TaskId, node: NodeId, fence: Fence) -> Option<Observed> {
    ring.reports(id).iter().find(|report| report.node == node && report.fence == fence).cloned()
}

/// The job that `target` names, said by a job of `app`.
pub(crate) fn target_of(app: &AppName, target: &JobRef) -> (AppName, JobName) {
    (target.app.clone().unwrap_or_else(|| app.clone()), target.job.clone())
}
