//! The replicated state: what the cluster has promised, and how a command changes it.

use crate::{
    App, AppName, Assigned, AssignedSet, ClusterId, Command, Directory, DirectoryJob, DirectoryMember, Exit, Fence,
    JobName, NodeId, NodeName, Outcome, Placement, Refusal, Removal, Resources, TaskId, TokenId, UnixMillis,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::SocketAddr};

/// Most apps: bounds the directory, which every node holds.
pub const APPS_MAX: usize = 10_000;
/// Most tasks: bounds the state that each voter holds in memory and ships as a snapshot.
pub const TASKS_MAX: usize = 100_000;
/// Most members: what the ring is built for.
pub const MEMBERS_MAX: usize = 10_000;
/// Most tokens that are kept; expired ones make room.
pub const TOKENS_MAX: usize = 1_000;

/// Everything that is replicated. Equal logs give equal states.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Identity; zero until [`Command::Init`] is applied.
    pub cluster: ClusterId,
    /// Raised by an operator's recovery; part of every fence.
    pub generation: u64,
    /// SHA-256 of the CA certificate.
    pub ca_hash: [u8; 32],
    /// SHA-256 of the administrator's bearer token.
    pub admin_token_hash: [u8; 32],
    /// Members by id; at most [`MEMBERS_MAX`].
    pub members: BTreeMap<NodeId, Member>,
    /// Join tokens; at most [`TOKENS_MAX`].
    pub tokens: BTreeMap<TokenId, Token>,
    /// Apps; at most [`APPS_MAX`].
    pub apps: BTreeMap<AppName, AppState>,
    /// Every instance slot of every app; at most [`TASKS_MAX`].
    pub tasks: BTreeMap<TaskId, Task>,
    /// Position of the newest applied entry.
    pub applied: Fence,
    /// Position of the newest change to what [`State::directory`] gives.
    pub directory_fence: Fence,
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
}

/// A deployed app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppState {
    /// As deployed, with the counts as scaled.
    pub app: App,
    /// 1 at first, raised by each deploy.
    pub version: u64,
    /// When this version was deployed.
    pub deployed_at: UnixMillis,
    /// Per job, the version and restart that its tasks should be of: raised by a deploy that changes the job and by
    /// `restart`.
    pub revisions: BTreeMap<JobName, u64>,
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
    /// Ended for good (batch).
    Ended {
        /// The machine that it ended on.
        node: NodeId,
        /// How.
        exit: Exit,
    },
}

impl Task {
    /// The machine that the task is on, if it is placed.
    pub fn node(&self) -> Option<NodeId> {
        match self.place {
            Place::On { node, .. } => Some(node),
            Place::Waiting { .. } | Place::Ended { .. } => None,
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
            Command::Init { cluster, ca_hash, admin_token_hash, member } => {
                if self.cluster != ClusterId::default() {
                    return Err(Refusal::AlreadyInitialised);
                }
                self.cluster = *cluster;
                self.ca_hash = *ca_hash;
                self.admin_token_hash = *admin_token_hash;
                self.add_member(at, member)
            }
            Command::Join { token, secret_hash, now, member } => {
                self.check_token(*token, secret_hash, *now)?;
                let rejoins = self.members.contains_key(&member.id);
                self.add_member(at, member)?;
                if let Some(token) = self.tokens.get_mut(token).filter(|_| !rejoins) {
                    token.used += 1; // a join that is asked twice, since its answer was lost, counts once
                }
                Ok(())
            }
            Command::Refresh { node, address, capacity, attributes, zone } => {
                self.refresh(at, *node, *address, *capacity, attributes, zone)
            }
            Command::CreateToken { id, token } => self.create_token(*id, token),
            Command::Deploy { app, now } => self.deploy(at, app, *now),
            Command::Scale { app, job, count } => self.scale(at, app, job, *count),
            Command::Stop { app } => self.stop(at, app),
            Command::Restart { app, job } => self.restart(app, job.as_ref()),
            Command::Place(placements) => {
                placements.iter().for_each(|p| self.place(at, p));
                Ok(())
            }
            Command::Remove(removals) => {
                removals.iter().for_each(|r| self.remove(at, r));
                Ok(())
            }
            Command::Finish { task, fence, exit } => self.finish(at, task, *fence, exit),
        }
    }

    fn add_member(&mut self, at: Fence, member: &Member) -> Result<(), Refusal> {
        if let Some(known) = self.members.get(&member.id) {
            if known.public_key != member.public_key {
                return Err(Refusal::KeyMismatch(member.id));
            }
        } else if self.members.len() >= MEMBERS_MAX {
            return Err(Refusal::Full(MEMBERS_MAX, "members".into()));
        }
        for other in self.members.values().filter(|other| other.id != member.id) {
            if other.name == member.name {
                return Err(Refusal::NameTaken(member.name.to_string(), other.id));
            }
            if other.address == member.address {
                return Err(Refusal::AddressTaken(member.address, other.name.to_string()));
            }
        }
        let joined = self.members.get(&member.id).map_or(at, |known| known.joined);
        let assigned_fence = self.members.get(&member.id).map_or(at, |known| known.assigned_fence);
        self.members.insert(member.id, Member { joined, assigned_fence, ..member.clone() });
        self.directory_fence = at;
        Ok(())
    }

    fn check_token(&self, id: TokenId, secret_hash: &[u8; 32], now: UnixMillis) -> Result<(), Refusal> {
        let token = self.tokens.get(&id).ok_or(Refusal::UnknownToken)?;
        if token.secret_hash != *secret_hash {
            return Err(Refusal::WrongSecret);
        }
        if token.expires <= now {
            return Err(Refusal::TokenExpired((now.0 - token.expires.0) / 1000));
        }
        match token.uses {
            Some(uses) if token.used >= uses => Err(Refusal::TokenUsedUp(uses)),
            Some(_) | None => Ok(()),
        }
    }

    fn refresh(
        &mut self,
        at: Fence,
        node: NodeId,
        address: SocketAddr,
        capacity: Resources,
        attributes: &BTreeMap<String, String>,
        zone: &str,
    ) -> Result<(), Refusal> {
        if let Some(other) = self.members.values().find(|m| m.address == address && m.id != node) {
            return Err(Refusal::AddressTaken(address, other.name.to_string()));
        }
        let member = self.members.get_mut(&node).ok_or(Refusal::UnknownMember(node))?;
        member.address = address;
        member.capacity = capacity;
        member.attributes = attributes.clone();
        member.zone = zone.into();
        self.directory_fence = at;
        Ok(())
    }

    fn create_token(&mut self, id: TokenId, token: &Token) -> Result<(), Refusal> {
        if self.tokens.len() >= TOKENS_MAX {
            // Tokens live an hour by default: the one that ends first is the one least missed.
            let first = self.tokens.iter().min_by_key(|(_, t)| t.expires).map(|(id, _)| *id);
            first.and_then(|id| self.tokens.remove(&id));
        }
        self.tokens.insert(id, token.clone());
        Ok(())
    }

    fn deploy(&mut self, at: Fence, app: &App, now: UnixMillis) -> Result<(), Refusal> {
        app.check().map_err(|e| Refusal::Invalid { field: e.field, message: e.message })?;
        let old = self.apps.get(&app.name);
        if old.is_none() && self.apps.len() >= APPS_MAX {
            return Err(Refusal::Full(APPS_MAX, "apps".into()));
        }
        let others = self.tasks.keys().filter(|t| t.app != app.name).count();
        if others + app.jobs.values().map(|j| j.count as usize).sum::<usize>() > TASKS_MAX {
            return Err(Refusal::Full(TASKS_MAX, "tasks".into()));
        }
        let version = old.map_or(1, |old| old.version + 1);
        let mut revisions = BTreeMap::new();
        for (name, job) in &app.jobs {
            let kept = old.and_then(|old| {
                let same = old.app.jobs.get(name).is_some_and(|was| runs_the_same(was, &old.app, job, app));
                old.revisions.get(name).copied().filter(|_| same)
            });
            revisions.insert(name.clone(), kept.unwrap_or(at.index));
        }
        self.apps.insert(app.name.clone(), AppState { app: app.clone(), version, deployed_at: now, revisions });
        self.fit_tasks(at, &app.name);
        self.directory_fence = at;
        Ok(())
    }

    fn scale(&mut self, at: Fence, app: &AppName, job: &JobName, count: u32) -> Result<(), Refusal> {
        let others = self.tasks.keys().filter(|t| t.app != *app || t.job != *job).count();
        let state = self.apps.get_mut(app).ok_or_else(|| Refusal::UnknownApp(app.clone()))?;
        let known = state.app.jobs.get_mut(job).ok_or_else(|| Refusal::UnknownJob(app.clone(), job.clone()))?;
        if others + count as usize > TASKS_MAX || count > 10_000 {
            return Err(Refusal::Full(TASKS_MAX, "tasks".into()));
        }
        known.count = count;
        self.fit_tasks(at, app);
        self.directory_fence = at;
        Ok(())
    }

    fn stop(&mut self, at: Fence, app: &AppName) -> Result<(), Refusal> {
        self.apps.remove(app).ok_or_else(|| Refusal::UnknownApp(app.clone()))?;
        self.fit_tasks(at, app);
        self.directory_fence = at;
        Ok(())
    }

    fn restart(&mut self, app: &AppName, job: Option<&JobName>) -> Result<(), Refusal> {
        let index = self.applied.index;
        let state = self.apps.get_mut(app).ok_or_else(|| Refusal::UnknownApp(app.clone()))?;
        if let Some(job) = job.filter(|job| !state.app.jobs.contains_key(*job)) {
            return Err(Refusal::UnknownJob(app.clone(), job.clone()));
        }
        for (name, revision) in &mut state.revisions {
            if job.is_none_or(|job| job == name) {
                *revision = index;
            }
        }
        for (id, task) in &mut self.tasks {
            let ended = matches!(task.place, Place::Ended { .. });
            if ended && id.app == *app && job.is_none_or(|job| *job == id.job) {
                task.place = Place::Waiting { last: None }; // a batch job runs again
            }
        }
        Ok(())
    }

    /// Makes the app's instance slots match its jobs: new ones wait, superfluous ones go.
    fn fit_tasks(&mut self, at: Fence, app: &AppName) {
        let state = self.apps.get(app);
        let wanted = |id: &TaskId| {
            let job = state.and_then(|s| s.app.jobs.get(&id.job));
            job.is_some_and(|job| (1..=job.count).contains(&id.index))
        };
        let range = first_task(app)..;
        let gone: Vec<TaskId> = self
            .tasks
            .range(range)
            .map(|(id, _)| id)
            .take_while(|id| id.app == *app)
            .filter(|id| !wanted(id))
            .cloned()
            .collect();
        for (name, job) in state.iter().flat_map(|s| &s.app.jobs) {
            for index in 1..=job.count {
                let id = TaskId { app: app.clone(), job: name.clone(), index };
                let revision = state.and_then(|s| s.revisions.get(name).copied()).unwrap_or_default();
                let task = self.tasks.entry(id).or_insert_with(|| Task {
                    attempt: 0,
                    revision,
                    place: Place::Waiting { last: None },
                });
                // A batch job whose definition changed runs again.
                if matches!(task.place, Place::Ended { .. }) && task.revision != revision {
                    task.place = Place::Waiting { last: None };
                }
            }
        }
        for id in gone {
            if let Some(node) = self.tasks.remove(&id).and_then(|task| task.node()) {
                self.touch(at, node);
            }
        }
    }

    fn place(&mut self, at: Fence, placement: &Placement) {
        let Placement { task: id, seen_attempt, node } = placement;
        let revision = self.apps.get(&id.app).and_then(|a| a.revisions.get(&id.job)).copied();
        let (Some(revision), true) = (revision, self.members.contains_key(node)) else { return };
        let Some(task) = self.tasks.get_mut(id) else { return };
        if task.attempt != *seen_attempt || matches!(task.place, Place::Ended { .. }) {
            return;
        }
        let before = task.node();
        *task = Task { attempt: task.attempt + 1, revision, place: Place::On { node: *node, fence: at } };
        before.into_iter().chain([*node]).for_each(|n| self.touch(at, n));
    }

    fn remove(&mut self, at: Fence, removal: &Removal) {
        let Some(task) = self.tasks.get_mut(&removal.task) else { return };
        let Some(node) = task.node().filter(|_| task.attempt == removal.seen_attempt) else { return };
        task.place = Place::Waiting { last: Some(node) };
        self.touch(at, node);
    }

    fn finish(&mut self, at: Fence, id: &TaskId, ended: Fence, exit: &Exit) -> Result<(), Refusal> {
        let task = self.tasks.get_mut(id).ok_or(Refusal::Outdated)?;
        let Place::On { node, fence } = task.place else { return Err(Refusal::Outdated) };
        if fence != ended {
            return Err(Refusal::Outdated);
        }
        task.place = Place::Ended { node, exit: exit.clone() };
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
        let mine = self.tasks.iter().filter(|(_, task)| task.node() == Some(node));
        let tasks = mine.filter_map(|(id, task)| Some((id.clone(), self.assigned(id, task)?))).collect();
        Some(AssignedSet { fence, tasks })
    }

    fn assigned(&self, id: &TaskId, task: &Task) -> Option<Assigned> {
        let Place::On { fence, .. } = task.place else { return None };
        let state = self.apps.get(&id.app)?;
        let job = state.app.jobs.get(&id.job)?.clone();
        let files = job.files.iter().filter_map(|f| Some((f.clone(), state.app.files.get(f)?.clone()))).collect();
        Some(Assigned { attempt: task.attempt, version: state.version, fence, job, files })
    }

    /// The names and members that every node knows.
    pub fn directory(&self) -> Directory {
        let entry = |job: &crate::Job| DirectoryJob {
            kind: job.kind,
            ports: job.ports.iter().map(|p| p.name.clone()).collect(),
            count: job.count,
        };
        let jobs = |a: &AppState| a.app.jobs.iter().map(|(name, job)| (name.clone(), entry(job))).collect();
        let member =
            |m: &Member| DirectoryMember { name: m.name.clone(), address: m.address, public_key: m.public_key };
        Directory {
            fence: self.directory_fence,
            apps: self.apps.iter().map(|(name, a)| (name.clone(), jobs(a))).collect(),
            members: self.members.iter().map(|(id, m)| (*id, member(m))).collect(),
            admin_token_hash: self.admin_token_hash,
        }
    }

    /// The job that a task is an instance of.
    pub fn job(&self, id: &TaskId) -> Option<&crate::Job> {
        self.apps.get(&id.app)?.app.jobs.get(&id.job)
    }
}

/// Smallest id of the app's tasks.
fn first_task(app: &AppName) -> TaskId {
    let job = JobName::new("0").expect("a label"); // the smallest there is
    TaskId { app: app.clone(), job, index: 0 }
}

/// Whether running tasks of `was` may stay: everything but the count, the order and the re-placing delay is the same.
fn runs_the_same(was: &crate::Job, old: &App, now: &crate::Job, new: &App) -> bool {
    let neutral = |job: &crate::Job| crate::Job {
        count: 0,
        after: vec![],
        reschedule_after: std::time::Duration::ZERO,
        ..job.clone()
    };
    neutral(was) == neutral(now) && now.files.iter().all(|f| old.files.get(f) == new.files.get(f))
}
