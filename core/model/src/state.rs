//! The replicated state: what the cluster has promised, and how a command changes it.

mod apps;
mod authorities;
mod chaos;
mod leases;
mod maintenance;
mod members;
mod quotas;
mod rebirth;
mod rollout;
mod runs;
mod secrets;
mod tasks;
mod volumes;

use crate::{
    App, AppName, Assigned, AssignedSet, ClusterId, Command, Directory, DirectoryJob, DirectoryMember, Exit, Fence,
    JobKind, JobName, Leased, Life, NodeId, NodeName, Outcome, Placement, Recovery, Refusal, Removal, Resources, Runs,
    SecretName, SecretPins, SecretState, TaskId, TeamName, TokenId, UnixMillis, Volume,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

pub use authorities::{AUTHORITIES_MAX, CERTIFICATE_BYTES_MAX, CertificateAuthority};
pub use chaos::{CHAOS_REASON_MAX, Chaos, ChaosBlock};
pub use maintenance::{Maintenance, WINDOW_MAX, WINDOW_MIN, WINDOWS_MAX, Window};
pub use quotas::{QUOTAS_MAX, Quota, SHARE_DEFAULT, SHARE_MAX};
pub use rollout::{KEPT_MAX, Kept, Rollout};
pub use tasks::Tasks;
pub use volumes::{VOLUMES_MAX, VolumeId, VolumeState, Volumes};

/// Most apps: bounds the directory, which every node holds.
pub const APPS_MAX: usize = 10_000;
/// Most tasks: bounds the state that each voter holds in memory and ships as a snapshot.
pub const TASKS_MAX: usize = 100_000;
/// Most instances besides its count that an update of a service may have, unless as many as there are.
pub const SURGE_MAX: u32 = 100;
/// Most members: what the ring is built for.
pub const MEMBERS_MAX: usize = 10_000;
/// Most tokens that are kept; expired ones make room.
pub const TOKENS_MAX: usize = 1_000;
/// Most removed members that are remembered; those of long ago make room, whose certificates have ended.
pub const REMOVED_MAX: usize = 1_000;

/// Everything that is replicated. Equal logs give equal states.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Identity; zero until [`Command::Init`] is applied.
    pub cluster: ClusterId,
    /// Raised by an operator's recovery; part of every fence.
    pub generation: u64,
    /// The recovery that began this generation; `None` in generation 0.
    pub recovery: Option<Recovery>,
    /// The version that all members speak, by [`Command::RaiseLevel`]; below that it is 1.
    pub level: u32,
    /// The newest known life of nodes that take or took part in consensus; members only.
    pub lives: BTreeMap<NodeId, Life>,
    /// SHA-256 of the certificate of the CA that signs: what new tokens pin.
    pub ca_hash: [u8; 32],
    /// The CAs that are believed, the one that signs last; empty until the first rotation, as every member knows the CA
    /// that it was born or joined with. At most [`AUTHORITIES_MAX`].
    pub authorities: Vec<CertificateAuthority>,
    /// Members that were removed, with the date; at most [`REMOVED_MAX`].
    pub removed: BTreeMap<NodeId, UnixMillis>,
    /// SHA-256 of the administrator's bearer token.
    pub admin_token_hash: [u8; 32],
    /// Members by id; at most [`MEMBERS_MAX`].
    pub members: BTreeMap<NodeId, Member>,
    /// Join tokens; at most [`TOKENS_MAX`].
    pub tokens: BTreeMap<TokenId, Token>,
    /// Apps; at most [`APPS_MAX`].
    pub apps: BTreeMap<AppName, AppState>,
    /// Every instance slot of every app; at most [`TASKS_MAX`].
    pub tasks: Tasks,
    /// Exclusive tasks that may still run on a machine, placed there or not any more; at most [`crate::LEASES_MAX`]. No
    /// other machine gets them.
    pub leased: BTreeMap<TaskId, Leased>,
    /// What teams may use; at most [`QUOTAS_MAX`].
    pub quotas: BTreeMap<TeamName, Quota>,
    /// Secrets, encrypted; at most [`crate::SECRETS_MAX`], and [`crate::SECRETS_BYTES_MAX`] of all their versions.
    pub secrets: BTreeMap<SecretName, SecretState>,
    /// The highest version of any secret that was removed: a name that comes back repeats none.
    pub secrets_removed: u64,
    /// What the key that wraps the secrets' keys is known by: voters compare it with what they are given.
    pub kek_hash: [u8; 32],
    /// Public half of the recovery key (X25519): backups hold the cluster's keys encrypted to it.
    pub recovery_key: [u8; 32],
    /// Position of the newest applied entry.
    pub applied: Fence,
    /// Position of the newest change to what [`State::directory`] gives.
    pub directory_fence: Fence,
    /// Position of the newest change to what members offer, or teams may use.
    pub pool_fence: Fence,
    /// Where volumes are; at most [`VOLUMES_MAX`].
    pub volumes: Volumes,
    /// Faults on purpose.
    pub chaos: Chaos,
}

/// A machine that belongs to the cluster, dead or alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Bound to the key.
    pub id: NodeId,
    /// Unique.
    pub name: NodeName,
    /// Where the fabric reaches it.
    pub address: SocketAddr,
    /// Its Ed25519 public key.
    pub public_key: [u8; 32],
    /// Its zone; empty if it has none.
    pub zone: String,
    /// Free attributes.
    pub attributes: BTreeMap<String, String>,
    /// What it offers to tasks.
    pub capacity: Resources,
    /// Countable resources that it names itself, as `gpu`, and how many it has; at most [`crate::CUSTOM_MAX`].
    pub custom: BTreeMap<String, u64>,
    /// Whether its tasks are to move elsewhere and no new ones come.
    pub draining: bool,
    /// When it counts as drained besides; at most [`WINDOWS_MAX`].
    pub maintenance: Vec<Maintenance>,
    /// Position of its joining: members are ordered by it.
    pub joined: Fence,
    /// Position of the newest decision about its tasks.
    pub assigned_fence: Fence,
}

/// A join token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// SHA-256 of its secret.
    pub secret_hash: [u8; 32],
    /// When it ends.
    pub expires: UnixMillis,
    /// How often it may be used; `None` for any number.
    pub uses: Option<u32>,
    /// How often it was used.
    pub used: u32,
    /// What it lets its holder become.
    pub role: TokenRole,
    /// When it was minted, for people.
    pub created: UnixMillis,
}

/// What a token lets its holder become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenRole {
    /// A node.
    #[default]
    Node,
}

impl TokenRole {
    /// As on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
        }
    }
}

impl std::str::FromStr for TokenRole {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "node" => Ok(Self::Node),
            other => Err(format!("there is no role `{other}`; expected `node`")),
        }
    }
}

/// A deployed app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppState {
    /// As deployed, with the counts as scaled.
    pub app: Arc<App>,
    /// 1 at first, raised by each deploy.
    pub version: u64,
    /// When this version was deployed.
    pub deployed_at: UnixMillis,
    /// Per job, the version and restart that its tasks should be of: raised by a deploy that changes the job and by
    /// `restart`.
    pub revisions: BTreeMap<JobName, u64>,
    /// Per job that has any, the versions of its secrets: the newest at the deploy or restart that made its revision.
    pub secrets: BTreeMap<JobName, SecretPins>,
    /// How far the present version has got.
    pub rollout: Rollout,
    /// Versions before it, the newest first; at most [`KEPT_MAX`].
    pub kept: Vec<Kept>,
    /// Per batch and cron job, its runs. A job of version 1 has none until its app is deployed again: its tasks want
    /// machines as ever, and it has no deadline.
    pub runs: BTreeMap<JobName, Runs>,
    /// Position of the newest change to it or to any of its tasks.
    pub touched: Fence,
}

/// One instance slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Counts placements.
    pub attempt: u32,
    /// Revision of the job that the present attempt runs; older than [`AppState::revisions`] means: to be replaced.
    pub revision: u64,
    /// Where it is.
    pub place: Place,
    /// The machine that the placement before was on, if it was another one.
    pub moved_from: Option<NodeId>,
    /// Why it was placed where it is, or lost its place.
    pub cause: Cause,
}

/// Why a task was placed, or lost its place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// It had no machine.
    #[default]
    Waited,
    /// Its machine did not answer any more.
    MachineLost,
    /// It was of an older version, or a restart was asked for.
    Outdated,
    /// Its machine was drained.
    Drained,
    /// It made way for a task of a higher priority, or for one that is not revocable.
    Preempted {
        /// That task.
        by: TaskId,
    },
    /// Its machine was removed from the cluster.
    MachineRemoved,
    /// It was there for an update, which is over.
    Surplus,
}

/// Where a task is, as far as it has been decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// Nowhere yet.
    Waiting {
        /// The machine that it was on before, if any.
        last: Option<NodeId>,
    },
    /// On a machine.
    On {
        /// The machine.
        node: NodeId,
        /// Position of the placement.
        fence: Fence,
    },
    /// Ended for good (batch). Its machine keeps the output until the task runs again or goes.
    Ended {
        /// The machine that it ended on, which may have been removed since.
        node: NodeId,
        /// Position of the placement that it ended under.
        fence: Fence,
        /// How.
        exit: Exit,
    },
}

impl Task {
    /// A task that was never placed.
    pub fn new(revision: u64) -> Self {
        Self { attempt: 0, revision, place: Place::Waiting { last: None }, moved_from: None, cause: Cause::Waited }
    }

    /// The machine that the task is on, if it is placed.
    pub fn node(&self) -> Option<NodeId> {
        match self.place {
            Place::On { node, .. } => Some(node),
            Place::Waiting { .. } | Place::Ended { .. } => None,
        }
    }

    /// The machine that has anything of the task: it runs there, or its output is kept there.
    pub fn machine(&self) -> Option<NodeId> {
        match self.place {
            Place::On { node, .. } | Place::Ended { node, .. } => Some(node),
            Place::Waiting { .. } => None,
        }
    }
}

impl State {
    /// Applies the entry at position `at`. A refused command changes nothing but [`State::applied`].
    pub fn apply(&mut self, at: Fence, command: &Command) -> Outcome {
        self.applied = at;
        match self.try_apply(at, command) {
            Ok(()) => Outcome::Done(at),
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    fn try_apply(&mut self, at: Fence, command: &Command) -> Result<(), Refusal> {
        match command {
            Command::Init { cluster, ca_hash, admin_token_hash, member, kek_hash, recovery_key } => {
                if self.cluster != ClusterId::default() {
                    return Err(Refusal::AlreadyInitialised);
                }
                self.add_member(at, member)?;
                self.cluster = *cluster;
                self.ca_hash = *ca_hash;
                self.admin_token_hash = *admin_token_hash;
                self.kek_hash = *kek_hash;
                self.recovery_key = *recovery_key;
                Ok(())
            }
            Command::RaiseLevel(level) => {
                self.level = self.level.max(*level); // a late one of an earlier leader changes nothing
                Ok(())
            }
            Command::Started { node, life } => self.started(*node, *life),
            Command::Join { token, secret_hash, now, member } => self.join(at, *token, secret_hash, *now, member),
            Command::Refresh { node, address, capacity, custom, attributes, zone } => {
                self.refresh(at, *node, *address, (*capacity, custom), attributes, zone)
            }
            Command::CreateToken { id, token } => self.create_token(*id, token),
            Command::RevokeToken { id } => self.revoke_token(*id),
            Command::RemoveMember { node, now } => self.remove_member(at, *node, *now),
            Command::RotateAuthority { former, next } => self.rotate_authority(at, former, next),
            Command::FinishRotation { former } => self.finish_rotation(at, former),
            Command::Deploy { app, now } => self.deploy(at, app, *now),
            Command::Scale { app, job, count } => self.scale(at, app, job, *count),
            Command::Autoscale { app, job, seen_count, count, .. } => {
                self.autoscale(at, app, job, (*seen_count, *count))
            }
            Command::Stop { app } => self.stop(at, app),
            Command::Restart { app, job } => self.restart(at, app, job.as_ref()),
            Command::Place(placements) => {
                placements.iter().for_each(|p| self.place(at, p));
                Ok(())
            }
            Command::Remove(removals) => {
                removals.iter().for_each(|r| self.remove(at, r));
                Ok(())
            }
            Command::Finish { task, fence, exit } => self.finish(at, task, *fence, exit),
            Command::SetSecret { name, version, bytes, envelope, now } => {
                self.set_secret(name, *version, (*bytes, envelope), *now)
            }
            Command::RemoveSecret { name, force } => self.remove_secret(name, *force),
            Command::SetQuota { team, quota } => self.set_quota(at, team, quota),
            Command::RemoveQuota { team } => self.remove_quota(at, team),
            Command::Rollback { app, seen_version, to, reason, now } => {
                self.rollback(at, app, *seen_version, *to, reason.as_deref(), *now)
            }
            Command::Pause { app, on } => self.pause(at, app, *on),
            Command::Promote { app, job, seen_version } => self.promote(at, app, job.as_ref(), *seen_version),
            Command::Settle { app, job, seen_version } => self.settle(at, app, job, *seen_version),
            Command::Drain { node, on } => self.drain(at, *node, *on),
            Command::Fire(firings) => {
                firings.iter().for_each(|f| self.fire(at, f));
                Ok(())
            }
            Command::Run { app, job, args, now } => self.run(at, app, job, args, *now),
            Command::Release(released) => {
                self.release(at, released);
                Ok(())
            }
            Command::Maintain { node, window } => self.maintain(at, *node, window.as_ref()),
            Command::ResetVolume { task } => self.reset_volume(at, task),
            Command::RemoveVolume { task, name } => self.remove_volume(at, task, name.as_ref()),
            Command::BlockChaos(block) => self.block_chaos(at, block.as_ref()),
            Command::OptIntoChaos { node, token } => self.opt_into_chaos(at, *node, *token),
        }
    }

    /// The version that all members speak: no command of a higher one is written.
    pub fn spoken_level(&self) -> u32 {
        self.level.max(1)
    }

    /// Begins a new generation, offline, at a position above all of the old one. Every node's set and the directory
    /// count as changed: whoever obeyed an entry that is not in this log any more obeys what is, instead.
    pub fn recover(&mut self, at: Fence, recovery: Recovery) {
        self.generation = recovery.generation;
        self.recovery = Some(recovery);
        self.applied = at;
        self.directory_fence = at;
        self.pool_fence = at;
        self.members.values_mut().for_each(|member| member.assigned_fence = at);
    }

    fn place(&mut self, at: Fence, placement: &Placement) {
        let Placement { task: id, seen_attempt, node, cause, older } = placement;
        let Some(app) = self.apps.get_mut(&id.app) else { return };
        let (Some(revision), true) = (app.revisions.get(&id.job).copied(), self.members.contains_key(node)) else {
            return;
        };
        if app.runs.get(&id.job).is_some_and(|runs| runs.current.is_none()) {
            return; // the run that it was placed for is over
        }
        let revision = if *older { self.tasks.get(id).map_or(revision, |task| task.revision) } else { revision };
        let definition = app.definition(&id.job, revision).0.jobs.get(&id.job);
        let exclusive = definition.filter(|job| job.exclusive);
        if !leases::may_go(&self.leased, id, *node, exclusive.is_some()) {
            return;
        }
        let may_be_new = app.app.jobs.get(&id.job).is_some_and(|job| match job.kind {
            JobKind::Daemon => true, // the scheduler knows which machines match
            JobKind::Service => {
                // Beside what an earlier version left beside, if that is all that serves.
                let left = |(known, task): (&TaskId, &Task)| known.index > job.count && task.revision != revision;
                let left = || self.tasks.of_job(&id.app, &id.job).filter(|known| left(*known)).count();
                let left = || u32::try_from(left()).unwrap_or(u32::MAX);
                let update = &job.update;
                let more = if update.blue_green { job.count.saturating_add(left()) } else { update.max_surge };
                id.index > job.count && id.index <= job.count.saturating_add(more)
            }
            JobKind::Batch { .. } | JobKind::Cron { .. } => false,
        });
        if may_be_new && *seen_attempt == 0 && !self.tasks.contains_key(id) {
            if self.tasks.len() >= TASKS_MAX || !(1..=2 * crate::COUNT_MAX).contains(&id.index) {
                return;
            }
            self.tasks.insert(id.clone(), Task::new(revision));
        }
        let volume = app.definition(&id.job, revision).0.jobs.get(&id.job).and_then(|job| job.volume.clone());
        let volume = volume.map(|Volume { name, size, at: _ }| (VolumeId { task: id.clone(), name }, size));
        if volume.as_ref().is_some_and(|(volume, _)| !self.volumes.lets(volume, *node)) {
            return; // its data is elsewhere
        }
        let before = self.tasks.update(id, |task| {
            if task.attempt != *seen_attempt || matches!(task.place, Place::Ended { .. }) {
                return None;
            }
            let before = task.node();
            let last = match task.place {
                Place::On { node, .. } | Place::Ended { node, .. } => Some(node),
                Place::Waiting { last } => last,
            };
            let moved_from = last.filter(|last| last != node);
            let place = Place::On { node: *node, fence: at };
            *task = Task { attempt: task.attempt + 1, revision, place, moved_from, cause: cause.clone() };
            Some(before)
        });
        if let Some(before) = before.flatten() {
            if let Some(job) = exclusive {
                leases::take(&mut self.leased, id, *node, at, job);
            }
            app.touched = at;
            if let Some((volume, size)) = volume {
                self.volumes.place(at, volume, *node, size);
            }
            before.into_iter().chain([*node]).for_each(|n| self.touch(at, n));
        }
    }

    fn remove(&mut self, at: Fence, removal: &Removal) {
        let Removal { task: id, seen_attempt, cause } = removal;
        let Some(app) = self.apps.get_mut(&id.app) else { return };
        let Some(task) = self.tasks.get(id).filter(|task| task.attempt == *seen_attempt) else { return };
        let Place::On { node, fence } = task.place else { return };
        app.touched = at;
        let job = app.app.jobs.get(&id.job).map(Arc::as_ref);
        leases::leave(&mut self.leased, id, (node, fence), job);
        let fleeting = |job: &crate::Job| match job.kind {
            JobKind::Daemon => true, // its slot is nothing without its machine
            JobKind::Service => id.index > job.count,
            JobKind::Batch { .. } | JobKind::Cron { .. } => false,
        };
        if job.is_some_and(fleeting) {
            self.tasks.remove(id);
        } else {
            self.tasks.update(id, |task| {
                task.place = Place::Waiting { last: Some(node) };
                task.cause = cause.clone();
            });
        }
        self.touch(at, node);
    }

    fn finish(&mut self, at: Fence, id: &TaskId, ended: Fence, exit: &Exit) -> Result<(), Refusal> {
        let app = self.apps.get_mut(&id.app).ok_or(Refusal::Outdated)?;
        let is_batch = app.app.jobs.get(&id.job).is_some_and(|job| job.kind.is_batch());
        let recurs = app.recurs(&id.job);
        let wanted = app.revisions.get(&id.job).copied();
        let task = self.tasks.get(id).ok_or(Refusal::Outdated)?;
        let Place::On { node, fence } = task.place else { return Err(Refusal::Outdated) };
        if fence != ended || !is_batch {
            return Err(Refusal::Outdated); // a service has no end: it is restarted
        }
        app.touched = at;
        self.tasks.update(id, |task| {
            // What ended is an older definition if the job was changed or restarted meanwhile: then it runs again, unless
            // it will do so by itself.
            task.place = if recurs || wanted == Some(task.revision) {
                Place::Ended { node, fence, exit: exit.clone() }
            } else {
                Place::Waiting { last: Some(node) }
            };
        });
        self.release(at, &[(id.clone(), fence)]); // its machine says that it has ended
        self.touch(at, node);
        Ok(())
    }

    /// Marks that the node's assigned set changed.
    fn touch(&mut self, at: Fence, node: NodeId) {
        if let Some(member) = self.members.get_mut(&node) {
            member.assigned_fence = at;
        }
    }

    /// Everything that `node` has to run; `None` if it is not a member.
    pub fn assigned_to(&self, node: NodeId) -> Option<AssignedSet> {
        let fence = self.members.get(&node)?.assigned_fence;
        let tasks =
            self.tasks.of_machine(node).filter_map(|(id, task)| Some((id.clone(), self.assigned(id, task)?))).collect();
        Some(AssignedSet { fence, tasks, volumes: Some(self.volumes.of_machine(node)) })
    }

    fn assigned(&self, id: &TaskId, task: &Task) -> Option<Assigned> {
        let (fence, ended) = match &task.place {
            Place::Waiting { .. } => return None,
            Place::On { fence, .. } => (*fence, None),
            Place::Ended { fence, exit, .. } => (*fence, Some(exit.clone())),
        };
        let state = self.apps.get(&id.app)?;
        let (app, version, secrets) = state.definition(&id.job, task.revision);
        let job = crate::Job::clone(app.jobs.get(&id.job)?);
        let files = job.files.iter().filter_map(|f| Some((f.clone(), app.files.get(f)?.clone()))).collect();
        let secrets = secrets.get(&id.job).cloned().unwrap_or_default();
        let hidden = state.is_hidden(id, task);
        let run = state.runs.get(&id.job).and_then(|runs| runs.current.as_ref()).filter(|_| ended.is_none());
        let args = run.map(|run| run.args.clone()).unwrap_or_default();
        let volume = job.volume.as_ref().map(|volume| VolumeId { task: id.clone(), name: volume.name.clone() });
        let volume = volume.and_then(|volume| self.volumes.get(&volume)).map(|volume| volume.born);
        Some(Assigned { attempt: task.attempt, version, fence, job, files, hidden, ended, args, secrets, volume })
    }

    /// The names and members that every node knows.
    pub fn directory(&self) -> Directory {
        let member =
            |m: &Member| DirectoryMember { name: m.name.clone(), address: m.address, public_key: m.public_key };
        Directory {
            fence: self.directory_fence,
            apps: self.apps.iter().map(|(name, a)| (name.clone(), directory_jobs(&a.app).collect())).collect(),
            members: self.members.iter().map(|(id, m)| (*id, member(m))).collect(),
            admin_token_hash: self.admin_token_hash,
            removed: self.removed.keys().copied().collect::<BTreeSet<_>>(),
            authorities: self.authorities.clone(),
            chaos: self.chaos.clone(),
        }
    }

    /// The job that a task is an instance of, in its present version.
    pub fn job(&self, id: &TaskId) -> Option<&crate::Job> {
        self.apps.get(&id.app)?.app.jobs.get(&id.job).map(Arc::as_ref)
    }

    /// The job in the version that the task is of.
    pub fn job_of(&self, id: &TaskId) -> Option<&crate::Job> {
        let (app, _, _) = self.apps.get(&id.app)?.definition(&id.job, self.tasks.get(id)?.revision);
        app.jobs.get(&id.job).map(Arc::as_ref)
    }
}

/// What the directory holds of an app.
fn directory_jobs(app: &App) -> impl Iterator<Item = (JobName, DirectoryJob)> {
    let entry = |job: &crate::Job| DirectoryJob {
        kind: job.kind,
        ports: job.ports.iter().map(|p| p.name.clone()).collect(),
        count: job.count,
        dns: job.dns,
    };
    app.jobs.iter().map(move |(name, job)| (name.clone(), entry(job)))
}

#[cfg(test)]
mod tests;
