//! Kills the leader at the instants that matter to the scheduler: in the middle of what it has decided, or is about to.
//!
//! A plan names times, and these instants last for milliseconds: so somebody watches the leader's state, and strikes when a
//! step of an update, a drain or a preemption was just committed, a version was promoted, settled or given up, or a slot of
//! a cron job is due. Only the agent is killed, and is soon back: no task is lost, and whatever is missed then is the new
//! leader's fault.

use super::down;
use crate::{cluster::Cluster, machine::Rest, moments::Moment, random::stream, time::date, trace::Event};
use rand::{RngExt, rngs::SmallRng};
use std::{collections::BTreeMap, time::Duration};
use taffeta_chaos_plan::FaultKind;
use taffeta_model::{AppName, AppState, Cause, Fence, State, TaskId, UnixMillis};

/// So often for each kind of instant in a run.
const KILLS_MAX: u32 = 2;

/// The same for what happens to a version as a whole: the other kinds need a leader that gets on.
const KILLS_OF_VERSION_MAX: u32 = 1;

/// Between two kills the cluster gets on.
const PAUSE: Duration = Duration::from_secs(3);

/// How often an instant is taken.
const TAKEN: f64 = 0.4;

/// What is being done when the leader is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Instant {
    /// A step of an update was committed: an instance was replaced, or one beside the others went.
    Update,
    /// A slot is due, or its run was just begun.
    Slot,
    /// All instances of a job have come to work in its version.
    Settlement,
    /// A task has just left a drained machine.
    Drain,
    /// A task has just made way for another.
    Preemption,
    /// A version was promoted.
    Promotion,
    /// A version was given up, and the one before is back.
    Return,
}

impl Instant {
    fn moment(self) -> Moment {
        match self {
            Self::Update => Moment::LeaderKilledInUpdate,
            Self::Slot => Moment::LeaderKilledAtSlot,
            Self::Drain => Moment::LeaderKilledInDrain,
            Self::Preemption => Moment::LeaderKilledInPreemption,
            Self::Promotion => Moment::LeaderKilledAtPromotion,
            Self::Settlement => Moment::LeaderKilledAtSettlement,
            Self::Return => Moment::LeaderKilledAtReturn,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Update => "a step of an update is made",
            Self::Slot => "a cron job is due",
            Self::Drain => "a task leaves a drained machine",
            Self::Preemption => "a task makes way",
            Self::Promotion => "a version is promoted",
            Self::Settlement => "an update comes to its end",
            Self::Return => "a version is given up",
        }
    }

    /// Whether it is about a version as a whole.
    fn is_of_version(self) -> bool {
        match self {
            Self::Promotion | Self::Settlement | Self::Return => true,
            Self::Update | Self::Slot | Self::Drain | Self::Preemption => false,
        }
    }
}

/// How far the present version of an app has got.
#[derive(Clone, Copy)]
struct Progress {
    version: u64,
    returned: bool,
    promoted: usize,
    settled: usize,
}

impl Progress {
    fn of(app: &AppState) -> Self {
        let rollout = &app.rollout;
        Self {
            version: app.version,
            returned: rollout.returned.is_some(),
            promoted: rollout.promoted.len(),
            settled: rollout.settled.len(),
        }
    }

    /// What has happened on the way to a later one.
    fn until(self, later: Self) -> Option<Instant> {
        if later.version != self.version {
            return later.returned.then_some(Instant::Return);
        }
        // What has settled counts as promoted.
        let settled = (later.settled > self.settled).then_some(Instant::Settlement);
        settled.or_else(|| (later.promoted > self.promoted).then_some(Instant::Promotion))
    }
}

/// What was seen of the leader's state last.
#[derive(Default)]
struct Seen {
    applied: Fence,
    tasks: BTreeMap<TaskId, (u32, Cause)>,
    versions: BTreeMap<AppName, Progress>,
    /// The next slot of any cron job, and the newest that was decided about.
    next: Option<UnixMillis>,
    handled: UnixMillis,
}

/// Watches and strikes.
pub(crate) struct Director {
    rng: SmallRng,
    /// For the instants of versions.
    of_versions: SmallRng,
    seen: Seen,
    /// How often it has struck at each kind of instant.
    struck: BTreeMap<Instant, u32>,
    /// The slot that it waited for last.
    awaited: UnixMillis,
    rests_until: Duration,
}

impl Director {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: stream(seed, "director"),
            of_versions: stream(seed, "director of versions"),
            seen: Seen::default(),
            struck: BTreeMap::new(),
            awaited: UnixMillis(0),
            rests_until: Duration::ZERO,
        }
    }

    /// It may strike as often again.
    pub(crate) fn begin_anew(&mut self) {
        self.struck.clear();
    }

    pub(crate) fn step(&mut self, cluster: &mut Cluster) {
        let now = cluster.now();
        let Some((leader, _)) = cluster.led else { return };
        let seen = &mut self.seen;
        let instant = cluster.machines[leader].look(|inspect| inspect.state(|state| seen.look(state))).flatten();
        let due = self.seen.next.filter(|next| *next <= date(now) && *next > self.awaited);
        self.awaited = due.unwrap_or(self.awaited);
        let Some(instant) = instant.or_else(|| due.map(|_| Instant::Slot)) else { return };
        let struck = self.struck.entry(instant).or_default();
        let (rng, most) = match instant.is_of_version() {
            true => (&mut self.of_versions, KILLS_OF_VERSION_MAX),
            false => (&mut self.rng, KILLS_MAX),
        };
        if now < self.rests_until || *struck >= most || !rng.random_bool(TAKEN) {
            return;
        }
        *struck += 1;
        self.rests_until = now + PAUSE;
        let back = now + Duration::from_millis(rng.random_range(300..2_000));
        cluster.tell(format!("{} is killed as it leads and {}", cluster.machines[leader].name, instant.words()));
        cluster.site.run.note(now, Event::Fault, leader as u64, FaultKind::KillAgent as u64, 1);
        cluster.moments.note(instant.moment());
        down(cluster, leader, |machine, site| machine.kill_alone(site, Rest::Until(back)));
    }
}

impl Seen {
    /// What has just been done, if it is one of the instants; of several, the rarest.
    fn look(&mut self, state: &State) -> Option<Instant> {
        if state.applied == self.applied {
            return None;
        }
        self.applied = state.applied;
        let tasks: BTreeMap<TaskId, (u32, Cause)> =
            state.tasks.iter().map(|(id, task)| (id.clone(), (task.attempt, task.cause.clone()))).collect();
        let before = std::mem::replace(&mut self.tasks, tasks);
        let mut instants: Vec<Instant> = vec![];
        for (id, task) in &self.tasks {
            if before.get(id).is_none_or(|was| was == task) {
                continue;
            }
            instants.extend(match &task.1 {
                Cause::Outdated => Some(Instant::Update),
                Cause::Drained => Some(Instant::Drain),
                Cause::Preempted { .. } => Some(Instant::Preemption),
                Cause::Waited | Cause::MachineLost | Cause::MachineRemoved | Cause::Surplus => None,
            });
        }
        let beside = |id: &TaskId| {
            let job = state.apps.get(&id.app).and_then(|app| app.app.jobs.get(&id.job));
            job.is_some_and(|job| id.index > job.count && (job.update.max_surge > 0 || job.update.blue_green))
        };
        let left = before.keys().any(|id| !self.tasks.contains_key(id) && beside(id));
        instants.extend(left.then_some(Instant::Update));
        let versions = state.apps.iter().map(|(name, app)| (name.clone(), Progress::of(app))).collect();
        let earlier = std::mem::replace(&mut self.versions, versions);
        let steps = self.versions.iter().filter_map(|(name, is)| earlier.get(name)?.until(*is));
        instants.extend(steps);
        let runs = || {
            let cron = state.apps.values().flat_map(|app| app.runs.iter().map(move |(name, runs)| (app, name, runs)));
            cron.filter_map(|(app, name, runs)| Some((app.app.jobs.get(name).filter(|job| job.cron.is_some())?, runs)))
        };
        self.next = runs().filter_map(|(job, runs)| runs.next(job).ok().flatten()).min();
        let handled = runs().map(|(_, runs)| runs.handled).max().unwrap_or_default();
        let decided = std::mem::replace(&mut self.handled, handled) < handled;
        instants.into_iter().max().or_else(|| decided.then_some(Instant::Slot))
    }
}
