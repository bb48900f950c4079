//! All that a node has of one task: the placement it obeys, the runs that live, and what ended ones left behind.

use crate::{
    Action, RunId,
    lease::Lease,
    ports::{choose_ports, port_order, port_seed},
    run::{LEASE_ENDS, Run, Stage, Why},
    words::{brief, span},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};
use taffeta_model::{Assigned, DnsPolicy, Exit, Fence, Job, JobKind, Millis, PlacementStrategy, TaskId};

/// First delay before a restart; doubled each time.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(250);

/// Longest delay before a restart.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// A run that worked for this long has earned a restart after the first delay again.
pub const BACKOFF_RESET: Duration = Duration::from_secs(60);

/// Starts in a row that may find their ports taken before it counts as trouble and is backed off from.
pub const PORT_TRIES_MAX: u32 = 10;

/// Folders of ended runs above which a task is not started again: it bounds the table, and the disk, when their
/// removal does not succeed. Normally there is one, and one more for the moment of a restart.
const ENDED_MAX: usize = 4;

/// All that a node has of one task.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    /// What the newest set says; `None` if it does not list the task.
    pub(crate) wanted: Option<Wanted>,
    /// Runs that have not ended, oldest first. One at most, unless more were found at start.
    pub(crate) runs: Vec<Run>,
    /// Ended runs that still have a folder, in the order of their ends. The last one is kept for its logs.
    ended: Vec<Ended>,
    /// The newest grant of a lease.
    pub(crate) lease: Option<Lease>,
    /// Whether something of it here needed a lease, and its end has not been told.
    pub(crate) exclusive: bool,
}

/// A placement on its way.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) assigned: Arc<Assigned>,
    pub(crate) course: Course,
    /// How the last run under this placement ended.
    pub(crate) exit: Option<Exit>,
    /// Why no run lives, in words.
    pub(crate) reason: String,
    /// Restart number of the next run.
    next: u32,
    /// Runs that did not end by themselves, as one that was lost with a reboot: no try is used up by them. An agent that is
    /// restarted knows of those whose folders are there, which is the last one: what takes its machine down each time is
    /// given up all the same.
    spared: u32,
    /// Ends in a row without [`BACKOFF_RESET`] of work between them.
    crashes: u32,
    /// Starts in a row that found their ports taken.
    port_tries: u32,
    /// The ports that they found taken.
    taken: BTreeSet<u16>,
}

/// What is next for a placement of which no run lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// A start at this time.
    Start(Millis),
    /// A start as soon as another run's end, or the removal of a folder, makes room.
    Blocked,
    /// Nothing: the batch task has ended for good.
    Over,
}

#[derive(Debug)]
struct Ended {
    id: RunId,
    fence: Fence,
    restart: u32,
    /// How it ended by itself; `None` if it was stopped, or if nobody saw it end.
    verdict: Option<Verdict>,
    /// Whether the removal of its folder is under way.
    forgetting: bool,
}

/// How a run ended by itself.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) exit: Exit,
    /// What is known of it beyond that, to follow it.
    pub(crate) words: Option<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.words {
            Some(words) => write!(f, "{}: {words}", self.exit),
            None => self.exit.fmt(f),
        }
    }
}

impl Slot {
    /// Takes in a run that was found running.
    pub(crate) fn adopt(&mut self, run: Run) {
        self.exclusive |= run.exclusive;
        self.runs.push(run);
        self.runs.sort_by_key(|run| (run.fence, run.restart));
    }

    /// Takes in a run that was found ended.
    pub(crate) fn adopt_ended(&mut self, id: RunId, verdict: Option<Verdict>) {
        let (fence, restart) = (id.fence(), id.restart());
        self.ended.push(Ended { id, fence, restart, verdict, forgetting: false });
        self.ended.sort_by_key(|ended| (ended.fence, ended.restart));
    }

    /// Takes what a newly accepted set says of the task.
    pub(crate) fn want(&mut self, now: Millis, assigned: Assigned) {
        let assigned = match &self.wanted {
            // One placement is one definition: a set that was made while a new version rolls out may carry the new
            // job under the old placement, and a crash must not be what rolls it out.
            Some(old) if old.assigned.fence == assigned.fence && !runs_the_same(&old.assigned, &assigned) => return,
            Some(_) | None => Arc::new(assigned),
        };
        let fence = assigned.fence;
        self.exclusive |= assigned.job.exclusive && assigned.ended.is_none();
        for run in self.runs.iter_mut().filter(|run| run.fence == fence) {
            run.recognise(now, &assigned);
        }
        match &mut self.wanted {
            Some(old) if old.assigned.fence == fence => old.assigned = assigned,
            Some(_) | None => self.wanted = Some(self.begin(now, assigned)),
        }
        if let Some(wanted) = &mut self.wanted {
            wanted.obey_end();
        }
    }

    /// The beginning of a placement, which may have runs already if this agent was restarted.
    fn begin(&self, now: Millis, assigned: Arc<Assigned>) -> Wanted {
        let fence = assigned.fence;
        let ended = self.ended.iter().rfind(|ended| ended.fence == fence);
        let live = self.runs.iter().rfind(|run| run.fence == fence).map(|run| run.restart);
        let next = live.max(ended.map(|ended| ended.restart)).map_or(0, |last| last.saturating_add(1));
        let spared = self.ended.iter().filter(|ended| ended.fence == fence && ended.verdict.is_none()).count();
        let mut wanted = Wanted {
            assigned,
            course: Course::Start(now),
            exit: None,
            reason: String::new(),
            next,
            spared: u32::try_from(spared).unwrap_or(u32::MAX),
            crashes: 0,
            port_tries: 0,
            taken: BTreeSet::new(),
        };
        if let Some(verdict) = ended.and_then(|ended| ended.verdict.as_ref()) {
            wanted.handle_exit(now, verdict, Duration::ZERO);
        }
        wanted
    }

    pub(crate) fn run_mut(&mut self, id: &RunId) -> Option<&mut Run> {
        self.runs.iter_mut().find(|run| run.id == *id)
    }

    /// Whether the run's process is being made.
    pub(crate) fn is_starting(&self, id: &RunId) -> bool {
        self.runs.iter().any(|run| run.id == *id && matches!(run.stage, Stage::Starting))
    }

    /// The run's process was made.
    pub(crate) fn handle_started(&mut self, id: &RunId) {
        let fence = self.run_mut(id).map(|run| run.fence);
        if let Some(wanted) = self.wanted.as_mut().filter(|w| Some(w.assigned.fence) == fence) {
            wanted.port_tries = 0;
            wanted.taken.clear();
        }
    }

    /// The run ended; tells whether it was one that lived.
    pub(crate) fn handle_exit(&mut self, now: Millis, id: &RunId, exit: Exit, words: Option<String>) -> bool {
        let Some(at) = self.runs.iter().position(|run| run.id == *id) else { return false };
        let run = self.runs.remove(at);
        let wanted = self.wanted.as_mut().filter(|wanted| wanted.assigned.fence == run.fence);
        let end = Verdict { exit, words };
        let verdict = match run.stage {
            Stage::Starting | Stage::Up { .. } if end.exit == Exit::LeaseEnded => None, // not the task's doing
            Stage::Starting | Stage::Up { .. } => Some(end.clone()),
            Stage::Draining { .. } | Stage::Terminating { .. } | Stage::Killed { .. } => None,
        };
        self.ended.push(Ended { id: run.id, fence: run.fence, restart: run.restart, verdict, forgetting: false });
        let Some(wanted) = wanted else { return true };
        match run.stage {
            Stage::Starting | Stage::Up { .. } if end.exit == Exit::LeaseEnded => {
                wanted.handle_stopped(now, &end.exit, Why::LeaseEnds);
            }
            Stage::Starting => wanted.handle_exit(now, &end, Duration::ZERO),
            Stage::Up { since, .. } => wanted.handle_exit(now, &end, now.since(since)),
            Stage::Draining { why, .. } | Stage::Terminating { why, .. } | Stage::Killed { why, .. } => {
                wanted.handle_stopped(now, &end.exit, why);
            }
        }
        true
    }

    /// The run was not made, as these ports are taken; tells whether it was one that was being made.
    pub(crate) fn handle_port_taken(&mut self, now: Millis, id: &RunId, ports: &[u16]) -> bool {
        if !self.is_starting(id) {
            return false;
        }
        let Some(at) = self.runs.iter().position(|run| run.id == *id) else { return false };
        let run = self.runs.remove(at);
        if let Some(wanted) = self.wanted.as_mut().filter(|wanted| wanted.assigned.fence == run.fence) {
            let mine = run.ports.iter().map(|(_, number)| *number);
            wanted.handle_port_taken(now, run.restart, mine.filter(|n| ports.is_empty() || ports.contains(n)));
        }
        true
    }

    /// The run was not made, as something was not to be had; tells whether it was one that was being made.
    pub(crate) fn handle_withheld(&mut self, now: Millis, id: &RunId, why: &str) -> bool {
        let starting = self.is_starting(id);
        let Some(at) = self.runs.iter().position(|run| starting && run.id == *id) else { return false };
        let run = self.runs.remove(at);
        if let Some(wanted) = self.wanted.as_mut().filter(|wanted| wanted.assigned.fence == run.fence) {
            wanted.next = run.restart; // nothing was made, so the run has not been
            let delay = wanted.delay_next(now);
            wanted.reason = format!("{}; tried again in {}", brief(why), span(delay));
        }
        true
    }

    /// The run's folder is gone.
    pub(crate) fn handle_forgotten(&mut self, id: &RunId) {
        self.ended.retain(|ended| ended.id != *id);
    }

    /// Plans the removal of what nobody needs any more: every ended run but the last, and that one too if the task has
    /// left (`gone`).
    pub(crate) fn plan_forget(&mut self, gone: bool, actions: &mut Vec<Action>) {
        let kept = if gone { 0 } else { 1 };
        let superfluous = self.ended.len().saturating_sub(kept);
        for ended in self.ended[..superfluous].iter_mut().filter(|ended| !ended.forgetting) {
            ended.forgetting = true;
            actions.push(Action::Forget { run: ended.id.clone() });
        }
    }

    /// Whether a start is due.
    pub(crate) fn start_is_due(&self, now: Millis) -> bool {
        let course = self.wanted.as_ref().map(|wanted| wanted.course);
        let due = match course {
            Some(Course::Start(at)) => at <= now,
            Some(Course::Blocked) => true,
            Some(Course::Over) | None => false,
        };
        due && self.runs.is_empty()
    }

    /// Starts the next run of a slot whose start is due at this time, or says in the reason what it waits for, be it what `wait` says.
    /// Gives the action and whether the record may have changed.
    pub(crate) fn plan_start(
        &mut self,
        now: Millis,
        task: &TaskId,
        in_use: &BTreeMap<u16, TaskId>,
        wait: impl FnOnce(&Job) -> Option<String>,
    ) -> (Option<Action>, bool) {
        let lease = self.lease_to_start(now);
        let Some(wanted) = &mut self.wanted else { return (None, false) };
        let assigned = wanted.assigned.clone();
        let order = port_order(port_seed(task, assigned.attempt));
        let ports = if self.ended.len() > ENDED_MAX {
            Err(format!("waits until the folders of {} ended runs are removed", self.ended.len()))
        } else if assigned.job.exclusive && lease.is_none() {
            let lost = Some(LEASE_ENDS).filter(|ends| wanted.reason.starts_with(ends));
            Err(lost.unwrap_or("waits for the leader to grant its lease").to_owned())
        } else if let Some(reason) = wait(&assigned.job) {
            Err(reason)
        } else {
            choose_ports(&assigned.job.ports, order, in_use, &wanted.taken)
        };
        match ports {
            Ok(ports) => {
                let run = RunId::new(task, assigned.fence, wanted.next);
                wanted.next = wanted.next.saturating_add(1);
                wanted.reason.clear();
                let lease = lease.filter(|_| assigned.job.exclusive).map(|lease| lease.stamp);
                self.runs.push(Run::starting(run.clone(), assigned.clone(), ports.clone(), lease));
                (Some(Action::Start { run, task: task.clone(), assigned, ports, lease }), true)
            }
            Err(reason) => {
                let changed = wanted.course != Course::Blocked || wanted.reason != reason;
                wanted.course = Course::Blocked;
                wanted.reason = reason;
                (None, changed)
            }
        }
    }

    /// Whether nothing is left of the task here.
    pub(crate) fn is_empty(&self) -> bool {
        self.wanted.is_none() && self.runs.is_empty() && self.ended.is_empty() && !self.exclusive
    }

    /// The runs that have a folder which stays, oldest first. One that is being started has none yet, and may have none for
    /// long, as while what it needs is downloaded.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &RunId> {
        let ended = self.ended.iter().filter(|ended| !ended.forgetting).map(|ended| &ended.id);
        let made = self.runs.iter().filter(|run| !matches!(run.stage, Stage::Starting));
        ended.chain(made.map(|run| &run.id))
    }
}

impl Wanted {
    /// Restarts under this placement.
    pub(crate) fn restarts(&self) -> u32 {
        self.next.saturating_sub(1)
    }

    /// Runs under this placement that count against its retries.
    fn tries(&self) -> u32 {
        self.next.saturating_sub(self.spared)
    }

    /// A run ended by itself after it worked for a while.
    fn handle_exit(&mut self, now: Millis, end: &Verdict, worked: Duration) {
        self.exit = Some(end.exit.clone());
        match self.assigned.job.kind {
            JobKind::Batch { .. } | JobKind::Cron { .. } if end.exit.is_success() => self.become_over(end.to_string()),
            JobKind::Batch { retries } | JobKind::Cron { retries } if self.tries() > retries => {
                let tries =
                    if retries == 0 { String::new() } else { format!(" in the last of {} tries", self.tries()) };
                self.become_over(format!("{}{tries}", brief(&end.to_string())));
            }
            JobKind::Batch { .. } | JobKind::Cron { .. } | JobKind::Service | JobKind::Daemon => {
                self.back_off(now, &end.to_string(), worked);
            }
        }
    }

    /// A run ended that was told to.
    fn handle_stopped(&mut self, now: Millis, exit: &Exit, why: Why) {
        self.exit = Some(exit.clone());
        self.spared = self.spared.saturating_add(u32::from(!matches!(why, Why::Unhealthy { .. } | Why::Ended)));
        match why {
            Why::Unhealthy { words, worked } => self.back_off(now, &words, worked),
            Why::Unassigned | Why::Replaced => self.course = Course::Start(now),
            Why::LeaseEnds => {
                self.course = Course::Start(now);
                self.reason = LEASE_ENDS.into();
            }
            Why::Ended => {} // and that is known
        }
    }

    /// What the leader knows to have ended for good is not run again, not even on a machine that has lost its folder.
    fn obey_end(&mut self) {
        if let Some(exit) = self.assigned.ended.clone().filter(|_| self.course != Course::Over) {
            self.become_over(brief(&exit.to_string()));
            self.exit = Some(exit);
        }
    }

    fn become_over(&mut self, reason: String) {
        self.course = Course::Over;
        self.reason = reason;
    }

    fn back_off(&mut self, now: Millis, what: &str, worked: Duration) {
        if worked >= BACKOFF_RESET {
            self.crashes = 0;
        }
        let delay = self.delay_next(now);
        self.reason = format!("{}; restart {} in {}", brief(what), self.next, span(delay));
    }

    /// Counts one more crash and sets the time of the next start.
    fn delay_next(&mut self, now: Millis) -> Duration {
        let doubled = BACKOFF_FIRST.saturating_mul(1 << self.crashes.min(16));
        self.crashes = self.crashes.saturating_add(1);
        let delay = doubled.min(BACKOFF_MAX);
        self.course = Course::Start(now + delay);
        delay
    }

    /// A start found ports taken: the same run is started with others. A fixed port has no others, and a machine where
    /// try after try fails is in trouble; both are backed off from. It is never the task's failure.
    fn handle_port_taken(&mut self, now: Millis, restart: u32, taken: impl Iterator<Item = u16>) {
        self.next = restart; // nothing was made, so the run has not been
        self.course = Course::Start(now);
        self.port_tries += 1;
        self.taken.extend(taken);
        let fixed = self.assigned.job.ports.iter().filter_map(|p| p.fixed).find(|n| self.taken.contains(n));
        let what = match fixed {
            Some(number) => format!("another program has port {number}"),
            None if self.port_tries >= PORT_TRIES_MAX => format!("{PORT_TRIES_MAX} starts in a row found ports taken"),
            None => return,
        };
        self.port_tries = 0;
        self.taken.clear();
        let delay = self.delay_next(now);
        self.reason = format!("{what}; tried again in {}", span(delay));
    }
}

/// Whether a run of `old` is also a run of `new`: all is the same but what only the scheduler and DNS look at.
fn runs_the_same(old: &Assigned, new: &Assigned) -> bool {
    let neutral = |assigned: &Assigned| Job {
        count: 0,
        after: vec![],
        constraints: vec![],
        prefer: vec![],
        strategy: PlacementStrategy::default(),
        priority: 0,
        update: taffeta_model::UpdatePolicy::default(),
        reschedule_after: Duration::ZERO,
        dns: DnsPolicy::default(),
        cron: None,
        deadline: None,
        parallel: None,
        history: 0,
        ..assigned.job.clone()
    };
    (&old.files, &old.secrets, old.volume) == (&new.files, &new.secrets, new.volume) && neutral(old) == neutral(new)
}
