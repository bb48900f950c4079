//! What version 1 of the data folder stored, as far as it may differ from what is stored now.
//!
//! Stored values are positional: a field more or less makes another encoding. So the shapes of that time stay here, each
//! with its conversion. A type that has not changed since is not repeated; before it is changed, it moves in here.

use crate::{
    AppName, Cause, ClusterId, Constraint, DirectoryJob, DirectoryMember, DnsPolicy, Exit, Fence, HISTORY_MAX, Health,
    JobKind, JobName, NodeId, NodeName, PRIORITY_DEFAULT, Place, PlacementStrategy, PortSpec, Resources, ShippedFile,
    TaskId, TokenId, UnixMillis,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

/// An entry of the log: see [`crate::Command`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the present type tells what they mean")]
pub enum Command {
    Init {
        cluster: ClusterId,
        ca_hash: [u8; 32],
        admin_token_hash: [u8; 32],
        member: Member,
    },
    Join {
        token: TokenId,
        secret_hash: [u8; 32],
        now: UnixMillis,
        member: Member,
    },
    Refresh {
        node: NodeId,
        address: SocketAddr,
        capacity: Resources,
        attributes: BTreeMap<String, String>,
        zone: String,
    },
    CreateToken {
        id: TokenId,
        token: Token,
    },
    Deploy {
        app: App,
        now: UnixMillis,
    },
    Scale {
        app: AppName,
        job: JobName,
        count: u32,
    },
    Stop {
        app: AppName,
    },
    Restart {
        app: AppName,
        job: Option<JobName>,
    },
    Place(Vec<Placement>),
    Remove(Vec<Removal>),
    Finish {
        task: TaskId,
        fence: Fence,
        exit: Exit,
    },
}

/// The replicated state: see [`crate::State`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the present type tells what they mean")]
pub struct State {
    pub cluster: ClusterId,
    pub generation: u64,
    pub ca_hash: [u8; 32],
    pub admin_token_hash: [u8; 32],
    pub members: BTreeMap<NodeId, Member>,
    pub tokens: BTreeMap<TokenId, Token>,
    pub apps: BTreeMap<AppName, AppState>,
    pub tasks: BTreeMap<TaskId, Task>,
    pub applied: Fence,
    pub directory_fence: Fence,
}

/// A member: see [`crate::Member`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the present type tells what they mean")]
pub struct Member {
    pub id: NodeId,
    pub name: NodeName,
    pub address: SocketAddr,
    pub public_key: [u8; 32],
    pub zone: String,
    pub attributes: BTreeMap<String, String>,
    pub capacity: Resources,
    pub joined: Fence,
    pub assigned_fence: Fence,
}

/// A join token: see [`crate::Token`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the present type tells what they mean")]
pub struct Token {
    pub secret_hash: [u8; 32],
    pub expires: UnixMillis,
    pub uses: Option<u32>,
    pub used: u32,
}

/// A deployed app: see [`crate::AppState`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the present type tells what they mean")]
pub struct AppState {
    pub app: App,
    pub version: u64,
    pub deployed_at: UnixMillis,
    pub revisions: BTreeMap<JobName, u64>,
}

/// An app: see [`crate::App`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the present type tells what they mean")]
pub struct App {
    pub name: AppName,
    pub jobs: BTreeMap<JobName, Job>,
    pub files: BTreeMap<String, ShippedFile>,
}

/// A job: see [`crate::Job`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the present type tells what they mean")]
pub struct Job {
    pub kind: JobKind,
    pub count: u32,
    pub run: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub ports: Vec<PortSpec>,
    pub resources: Resources,
    pub cpu_quota: bool,
    pub pids_max: u32,
    pub health: Option<Health>,
    pub constraints: Vec<Constraint>,
    pub after: Vec<JobName>,
    pub files: Vec<String>,
    pub tags: Vec<String>,
    pub dns: DnsPolicy,
    pub grace: Duration,
    pub reschedule_after: Duration,
}

/// A task goes to a machine: see [`crate::Placement`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the present type tells what they mean")]
pub struct Placement {
    pub task: TaskId,
    pub seen_attempt: u32,
    pub node: NodeId,
}

/// A task loses its place: see [`crate::Removal`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the present type tells what they mean")]
pub struct Removal {
    pub task: TaskId,
    pub seen_attempt: u32,
}

/// One instance slot: see [`crate::Task`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the present type tells what they mean")]
pub struct Task {
    pub attempt: u32,
    pub revision: u64,
    pub place: Place,
    pub moved_from: Option<NodeId>,
}

/// What a node has to run: see [`crate::AssignedSet`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the present type tells what they mean")]
pub struct AssignedSet {
    pub fence: Fence,
    pub tasks: BTreeMap<TaskId, Assigned>,
}

/// One task of it: see [`crate::Assigned`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the present type tells what they mean")]
pub struct Assigned {
    pub attempt: u32,
    pub version: u64,
    pub fence: Fence,
    pub job: Job,
    pub files: BTreeMap<String, ShippedFile>,
    pub ended: Option<Exit>,
}

/// Names and members: see [`crate::Directory`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the present type tells what they mean")]
pub struct Directory {
    pub fence: Fence,
    pub apps: BTreeMap<AppName, BTreeMap<JobName, DirectoryJob>>,
    pub members: BTreeMap<NodeId, DirectoryMember>,
    pub admin_token_hash: [u8; 32],
}

impl From<Command> for crate::Command {
    fn from(old: Command) -> Self {
        match old {
            Command::Init { cluster, ca_hash, admin_token_hash, member } => {
                let (kek_hash, recovery_key) = ([0; 32], [0; 32]); // such a cluster has no keys for secrets
                Self::Init { cluster, ca_hash, admin_token_hash, member: member.into(), kek_hash, recovery_key }
            }
            Command::Join { token, secret_hash, now, member } => {
                Self::Join { token, secret_hash, now, member: member.into() }
            }
            Command::Refresh { node, address, capacity, attributes, zone } => {
                Self::Refresh { node, address, capacity, custom: BTreeMap::new(), attributes, zone }
            }
            Command::CreateToken { id, token } => Self::CreateToken { id, token: token.into() },
            Command::Deploy { app, now } => Self::Deploy { app: Arc::new(app.into()), now },
            Command::Scale { app, job, count } => Self::Scale { app, job, count },
            Command::Stop { app } => Self::Stop { app },
            Command::Restart { app, job } => Self::Restart { app, job },
            Command::Place(placements) => Self::Place(placements.into_iter().map(Into::into).collect()),
            Command::Remove(removals) => Self::Remove(removals.into_iter().map(Into::into).collect()),
            Command::Finish { task, fence, exit } => Self::Finish { task, fence, exit },
        }
    }
}

impl From<State> for crate::State {
    fn from(old: State) -> Self {
        Self {
            cluster: old.cluster,
            generation: old.generation,
            recovery: None,
            level: 1,
            lives: BTreeMap::new(),
            ca_hash: old.ca_hash,
            authorities: vec![],
            removed: BTreeMap::new(),
            kek_hash: [0; 32],
            recovery_key: [0; 32],
            quotas: BTreeMap::new(),
            secrets: BTreeMap::new(),
            secrets_removed: Default::default(),
            admin_token_hash: old.admin_token_hash,
            members: converted(old.members),
            tokens: converted(old.tokens),
            apps: converted(old.apps),
            tasks: old.tasks.into_iter().map(|(id, task)| (id, task.into())).collect(),
            leased: BTreeMap::new(),
            applied: old.applied,
            directory_fence: old.directory_fence,
            pool_fence: old.applied,
            volumes: Default::default(),
            chaos: Default::default(),
        }
    }
}

impl From<Placement> for crate::Placement {
    fn from(old: Placement) -> Self {
        let Placement { task, seen_attempt, node } = old;
        Self { task, seen_attempt, node, cause: Cause::Waited, older: false }
    }
}

impl From<Removal> for crate::Removal {
    fn from(old: Removal) -> Self {
        let Removal { task, seen_attempt } = old;
        Self { task, seen_attempt, cause: Cause::Waited }
    }
}

impl From<Task> for crate::Task {
    fn from(old: Task) -> Self {
        let Task { attempt, revision, place, moved_from } = old;
        Self { attempt, revision, place, moved_from, cause: Cause::Waited }
    }
}

impl From<Member> for crate::Member {
    fn from(old: Member) -> Self {
        let Member { id, name, address, public_key, zone, attributes, capacity, joined, assigned_fence } = old;
        let custom = BTreeMap::new();
        Self {
            id,
            name,
            address,
            public_key,
            zone,
            attributes,
            capacity,
            custom,
            draining: false,
            maintenance: vec![],
            joined,
            assigned_fence,
        }
    }
}

impl From<Token> for crate::Token {
    fn from(old: Token) -> Self {
        let Token { secret_hash, expires, uses, used } = old;
        Self { secret_hash, expires, uses, used, role: crate::TokenRole::Node, created: UnixMillis(0) }
    }
}

impl From<AppState> for crate::AppState {
    fn from(old: AppState) -> Self {
        let AppState { app, version, deployed_at, revisions } = old;
        let touched = Fence::default(); // the scheduler reads all anew
        Self {
            app: Arc::new(app.into()),
            version,
            deployed_at,
            revisions,
            secrets: Default::default(),
            rollout: Default::default(),
            kept: vec![],
            runs: Default::default(),
            touched,
        }
    }
}

impl From<App> for crate::App {
    fn from(old: App) -> Self {
        Self { name: old.name, team: None, jobs: converted(old.jobs), files: old.files }
    }
}

impl From<Job> for crate::Job {
    fn from(old: Job) -> Self {
        Self {
            kind: old.kind,
            count: old.count,
            run: old.run,
            env: old.env,
            ports: old.ports,
            resources: old.resources,
            cpu_quota: old.cpu_quota,
            cpuset: None,
            io_weight: None,
            pids_max: old.pids_max,
            health: old.health,
            custom: BTreeMap::new(),
            constraints: old.constraints,
            prefer: vec![],
            strategy: PlacementStrategy::Spread,
            with: vec![],
            apart: vec![],
            priority: PRIORITY_DEFAULT,
            update: Default::default(),
            autoscale: None,
            revocable: false,
            after: old.after,
            files: old.files,
            tags: old.tags,
            dns: old.dns,
            grace: old.grace,
            reschedule_after: old.reschedule_after,
            secrets: Default::default(),
            secret_env: Default::default(),
            cron: None,
            deadline: None,
            parallel: None,
            history: HISTORY_MAX,
            exclusive: false,
            volume: None,
            mounts: vec![],
            tmpfs: vec![],
            fetch: vec![],
            isolation: Default::default(),
            user: None,
            rlimits: BTreeMap::new(),
            logs: Default::default(),
        }
    }
}

impl From<AssignedSet> for crate::AssignedSet {
    fn from(old: AssignedSet) -> Self {
        Self { fence: old.fence, tasks: converted(old.tasks), volumes: None }
    }
}

impl From<Assigned> for crate::Assigned {
    fn from(old: Assigned) -> Self {
        let Assigned { attempt, version, fence, job, files, ended } = old;
        let (args, secrets) = Default::default();
        Self { attempt, version, fence, job: job.into(), files, hidden: false, ended, args, secrets, volume: None }
    }
}

impl From<Directory> for crate::Directory {
    fn from(old: Directory) -> Self {
        let Directory { fence, apps, members, admin_token_hash } = old;
        Self {
            fence,
            apps,
            members,
            admin_token_hash,
            authorities: vec![],
            removed: Default::default(),
            chaos: Default::default(),
        }
    }
}

fn converted<K: Ord, V, W: From<V>>(old: BTreeMap<K, V>) -> BTreeMap<K, W> {
    old.into_iter().map(|(key, value)| (key, value.into())).collect()
}
