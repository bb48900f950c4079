//! What may be written to the replicated log, and what comes back.

use crate::{
    App, AppName, Cause, CertificateAuthority, ChaosBlock, ClusterId, Envelope, Fence, Firing, JobName, Life,
    Maintenance, Member, NodeId, Quota, Resources, SecretName, TaskId, TeamName, Token, TokenId, UnixMillis,
    VolumeName,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, net::SocketAddr, sync::Arc};
use thiserror::Error;

/// One entry of the replicated log. Each carries all it needs, dates included, so that applying it gives the same
/// result on every machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// The birth of the cluster: the first entry, written once.
    Init {
        /// The new cluster.
        cluster: ClusterId,
        /// SHA-256 of the CA certificate.
        ca_hash: [u8; 32],
        /// SHA-256 of the administrator's bearer token.
        admin_token_hash: [u8; 32],
        /// The machine that was first.
        member: Member,
        /// What the key that wraps the secrets' keys is known by.
        kek_hash: [u8; 32],
        /// Public half of the recovery key.
        recovery_key: [u8; 32],
    },
    /// All members speak this version, so that commands of it may be written from now on.
    RaiseLevel(u32),
    /// A node that takes part in consensus lives anew: what speaks for an earlier life of it is not believed any more.
    Started {
        /// The node.
        node: NodeId,
        /// Its present life.
        life: Life,
    },
    /// A machine joins by a token.
    Join {
        /// The token.
        token: TokenId,
        /// SHA-256 of the token's secret.
        secret_hash: [u8; 32],
        /// The date by the proposer's clock, compared with the token's expiry.
        now: UnixMillis,
        /// The machine.
        member: Member,
    },
    /// A member came back with another address or size.
    Refresh {
        /// The member.
        node: NodeId,
        /// Where it is reached now.
        address: SocketAddr,
        /// What it offers now.
        capacity: Resources,
        /// Its countable resources now.
        custom: BTreeMap<String, u64>,
        /// Its attributes now.
        attributes: BTreeMap<String, String>,
        /// Its zone now.
        zone: String,
    },
    /// A join token is minted.
    CreateToken {
        /// Public half.
        id: TokenId,
        /// What it allows.
        token: Token,
    },
    /// A join token is good for nothing from now on.
    RevokeToken {
        /// Public half.
        id: TokenId,
    },
    /// A machine is taken out of the cluster for good: its key is refused from now on.
    RemoveMember {
        /// The machine.
        node: NodeId,
        /// The date by the proposer's clock, by which older removals are forgotten.
        now: UnixMillis,
    },
    /// A new CA takes the place of the present one, which is believed until [`Command::FinishRotation`].
    RotateAuthority {
        /// The present CA, with its key as signed by the new one.
        former: CertificateAuthority,
        /// The new CA, with its key as signed by the present one.
        next: CertificateAuthority,
    },
    /// The CA before the present one is believed no more.
    FinishRotation {
        /// Hash of the CA that ends.
        former: [u8; 32],
    },
    /// An app is deployed, or replaced by a new version of itself.
    Deploy {
        /// The app; checked again by [`App::check`].
        app: Arc<App>,
        /// The date, kept for people.
        now: UnixMillis,
    },
    /// Another number of instances.
    Scale {
        /// The app.
        app: AppName,
        /// The service or batch job.
        job: JobName,
        /// The wanted number.
        count: u32,
    },
    /// An app is ended and forgotten.
    Stop {
        /// The app.
        app: AppName,
    },
    /// Instances are started anew, one after the other; a batch job runs again.
    Restart {
        /// The app.
        app: AppName,
        /// The job, or all of the app.
        job: Option<JobName>,
    },
    /// The scheduler's placements; each stands or falls alone.
    Place(Vec<Placement>),
    /// Tasks that lose their place with no new one yet.
    Remove(Vec<Removal>),
    /// A batch or cron task ended for good.
    Finish {
        /// The task.
        task: TaskId,
        /// The placement that ended; another one changes nothing.
        fence: Fence,
        /// How it ended.
        exit: Exit,
    },
    /// A secret is set, or gets a new version.
    SetSecret {
        /// The secret.
        name: SecretName,
        /// [`crate::State::next_secret_version`] as the leader saw it, since the encryption is bound to it.
        version: u64,
        /// Bytes of the value.
        bytes: u32,
        /// The value, encrypted.
        envelope: Envelope,
        /// The date, kept for people.
        now: UnixMillis,
    },
    /// A secret is removed.
    RemoveSecret {
        /// The secret.
        name: SecretName,
        /// Whether also while an app uses it.
        force: bool,
    },
    /// A team gets a quota, or another one.
    SetQuota {
        /// The team.
        team: TeamName,
        /// What it may use.
        quota: Quota,
    },
    /// An app goes back to a version before.
    Rollback {
        /// The app.
        app: AppName,
        /// The version that is given up; if another is present, nothing changes. `None`: whatever is present.
        seen_version: Option<u64>,
        /// The version to go back to; `None`: the newest that was not given up.
        to: Option<u64>,
        /// Why; `None`: somebody wished it.
        reason: Option<String>,
        /// The date, kept for people.
        now: UnixMillis,
    },
    /// The replacing of an app's older tasks stops for now, or goes on.
    Pause {
        /// The app.
        app: AppName,
        /// Whether it stops.
        on: bool,
    },
    /// A newer version may take the place of the one before everywhere.
    Promote {
        /// The app.
        app: AppName,
        /// The job, or all of the app.
        job: Option<JobName>,
        /// The version that is promoted; `None`: whatever is present.
        seen_version: Option<u64>,
    },
    /// All instances of a job have worked in this version.
    Settle {
        /// The app.
        app: AppName,
        /// The job.
        job: JobName,
        /// The version.
        seen_version: u64,
    },
    /// A machine is emptied, or takes tasks again.
    Drain {
        /// The machine.
        node: NodeId,
        /// Whether it is emptied.
        on: bool,
    },
    /// A team may use whatever is there again.
    RemoveQuota {
        /// The team.
        team: TeamName,
    },
    /// The scheduler's decisions about the runs of batch and cron jobs; each stands or falls alone.
    Fire(Vec<Firing>),
    /// The count of a job follows its load.
    Autoscale {
        /// The app.
        app: AppName,
        /// The job.
        job: JobName,
        /// The count that the decision is about; if it is another one, nothing changes.
        seen_count: u32,
        /// The new count.
        count: u32,
        /// Why, for people.
        reason: String,
    },
    /// A person runs a batch or cron job now, once.
    Run {
        /// The app.
        app: AppName,
        /// The job.
        job: JobName,
        /// Arguments that are appended to the job's own; at most [`crate::ARGS_MAX`] of [`crate::ARGS_BYTES_MAX`].
        args: Vec<String>,
        /// The date, kept for people.
        now: UnixMillis,
    },
    /// Nothing runs any more of exclusive tasks under these placements: other machines may have them.
    Release(Vec<(TaskId, Fence)>),
    /// A machine gets a maintenance window more, or has none any more.
    Maintain {
        /// The machine.
        node: NodeId,
        /// The window; `None`: all of them end.
        window: Option<Maintenance>,
    },
    /// The place of a task's data is forgotten: it begins with an empty volume, anywhere.
    ResetVolume {
        /// The task.
        task: TaskId,
    },
    /// Volumes that no task uses are dropped.
    RemoveVolume {
        /// Whose they are.
        task: TaskId,
        /// Which; `None`: all of them.
        name: Option<VolumeName>,
    },
    /// Every node undoes the faults that were brought about on purpose and refuses new ones; `None` lifts it.
    BlockChaos(Option<ChaosBlock>),
    /// A member lets itself be hurt on purpose by whoever has this token, or not any more.
    OptIntoChaos {
        /// The member.
        node: NodeId,
        /// SHA-256 of its token.
        token: Option<[u8; 32]>,
    },
}

impl Command {
    /// What kind of command it is, for logs: what is in it is nobody's business there.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Init { .. } => "Init",
            Self::RaiseLevel(_) => "RaiseLevel",
            Self::Started { .. } => "Started",
            Self::Join { .. } => "Join",
            Self::Refresh { .. } => "Refresh",
            Self::CreateToken { .. } => "CreateToken",
            Self::RevokeToken { .. } => "RevokeToken",
            Self::RemoveMember { .. } => "RemoveMember",
            Self::RotateAuthority { .. } => "RotateAuthority",
            Self::FinishRotation { .. } => "FinishRotation",
            Self::Deploy { .. } => "Deploy",
            Self::Scale { .. } => "Scale",
            Self::Stop { .. } => "Stop",
            Self::Restart { .. } => "Restart",
            Self::Place(_) => "Place",
            Self::Remove(_) => "Remove",
            Self::Finish { .. } => "Finish",
            Self::SetSecret { .. } => "SetSecret",
            Self::RemoveSecret { .. } => "RemoveSecret",
            Self::SetQuota { .. } => "SetQuota",
            Self::RemoveQuota { .. } => "RemoveQuota",
            Self::Drain { .. } => "Drain",
            Self::Rollback { .. } => "Rollback",
            Self::Pause { .. } => "Pause",
            Self::Promote { .. } => "Promote",
            Self::Settle { .. } => "Settle",
            Self::Autoscale { .. } => "Autoscale",
            Self::Fire(_) => "Fire",
            Self::Run { .. } => "Run",
            Self::Release(_) => "Release",
            Self::Maintain { .. } => "Maintain",
            Self::ResetVolume { .. } => "ResetVolume",
            Self::RemoveVolume { .. } => "RemoveVolume",
            Self::BlockChaos(_) => "BlockChaos",
            Self::OptIntoChaos { .. } => "OptIntoChaos",
        }
    }
}

impl Command {
    /// The version of the protocol that began to have it. It is written only when all members speak that version: an
    /// older binary must never meet an entry that it cannot decode.
    pub fn level(&self) -> u32 {
        match self {
            Self::Init { .. }
            | Self::RaiseLevel(_)
            | Self::Join { .. }
            | Self::Refresh { .. }
            | Self::CreateToken { .. }
            | Self::Deploy { .. }
            | Self::Scale { .. }
            | Self::Stop { .. }
            | Self::Restart { .. }
            | Self::Place(_)
            | Self::Remove(_)
            | Self::Finish { .. }
            | Self::RevokeToken { .. }
            | Self::RemoveMember { .. }
            | Self::RotateAuthority { .. }
            | Self::FinishRotation { .. }
            | Self::SetSecret { .. }
            | Self::RemoveSecret { .. } => 1,
            Self::Started { .. }
            | Self::SetQuota { .. }
            | Self::RemoveQuota { .. }
            | Self::Drain { .. }
            | Self::Rollback { .. }
            | Self::Pause { .. }
            | Self::Promote { .. }
            | Self::Settle { .. }
            | Self::Autoscale { .. }
            | Self::Fire(_)
            | Self::Run { .. }
            | Self::Release(_)
            | Self::Maintain { .. }
            | Self::ResetVolume { .. }
            | Self::RemoveVolume { .. }
            | Self::BlockChaos(_)
            | Self::OptIntoChaos { .. } => 2,
        }
    }
}

/// A task goes to a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The task.
    pub task: TaskId,
    /// The attempt that the scheduler saw; if the task has moved on, the placement is void.
    pub seen_attempt: u32,
    /// The machine.
    pub node: NodeId,
    /// Why now.
    pub cause: Cause,
    /// Whether it stays of the version that it is of, though there is a newer one.
    pub older: bool,
}

/// A task loses its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// The task.
    pub task: TaskId,
    /// The attempt that the scheduler saw; if the task has moved on, the removal is void.
    pub seen_attempt: u32,
    /// Why.
    pub cause: Cause,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It returned this status.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
    /// It could not be started.
    NotStarted(String),
    /// The kernel killed it for memory: its own limit was reached, or there was none left.
    OutOfMemory,
    /// Its status was lost with its supervisor or with a reboot.
    Lost,
    /// Its run took longer than the job's deadline.
    Deadline,
    /// It was exclusive, and its lease had run out.
    LeaseEnded,
}

impl Exit {
    /// Whether a batch task has done its work.
    pub fn is_success(&self) -> bool {
        *self == Self::Code(0)
    }

    /// The number a shell would show: the status, or 128 + signal; `None` where there is none.
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Code(code) => Some(*code),
            Self::Signal(signal) => Some(signal.saturating_add(128)),
            Self::OutOfMemory => Some(137),
            Self::NotStarted(_) | Self::Lost | Self::Deadline | Self::LeaseEnded => None,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
            Self::NotStarted(why) => write!(f, "could not be started: {why}"),
            Self::OutOfMemory => f.write_str("killed: out of memory"),
            Self::Lost => f.write_str("its exit status was lost"),
            Self::Deadline => f.write_str("ended at the deadline of its run"),
            Self::LeaseEnded => f.write_str("ended as its lease ran out"),
        }
    }
}

/// What applying a command gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Applied; the number is the position of the entry.
    Done(Fence),
    /// Nothing was changed.
    Refused(Refusal),
}

/// Why a command changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Refusal {
    /// The cluster was born before.
    #[error("the cluster exists already")]
    AlreadyInitialised,
    /// No such app.
    #[error("there is no app `{0}`")]
    UnknownApp(AppName),
    /// No such job in the app.
    #[error("the app `{0}` has no service or batch job `{1}`")]
    UnknownJob(AppName, JobName),
    /// The id stands for no token.
    #[error("the token is unknown to this cluster")]
    UnknownToken,
    /// The token's secret is wrong.
    #[error("the token's secret is wrong")]
    WrongSecret,
    /// The token is over.
    #[error("the token expired {0} s ago")]
    TokenExpired(u64),
    /// The token was minted for fewer joins.
    #[error("the token has been used {0} times, as often as it was minted for")]
    TokenUsedUp(u32),
    /// Another member has this name.
    #[error("the name `{0}` is taken by the member {1}")]
    NameTaken(String, NodeId),
    /// Another member has this address.
    #[error("the address {0} is taken by the member `{1}`")]
    AddressTaken(SocketAddr, String),
    /// The id is bound to another key.
    #[error("the member {0} is known with another key")]
    KeyMismatch(NodeId),
    /// No such member.
    #[error("{0} is not a member")]
    UnknownMember(NodeId),
    /// The machine was taken out of the cluster under this key.
    #[error("this machine was removed from the cluster under its present key; it may come back with a new data folder")]
    RemovedKey(NodeId),
    /// It is the only member.
    #[error("`{0}` is the only member of the cluster, which would end with it")]
    LastMember(String),
    /// Two CAs are believed already.
    #[error("the CA is being rotated already: the one before it is still believed")]
    RotationUnderWay,
    /// There is no former CA, or another one.
    #[error("no rotation of the CA is under way")]
    NoRotation,
    /// The app is not valid.
    #[error("{field}: {message}")]
    Invalid {
        /// The field.
        field: String,
        /// What is wrong.
        message: String,
    },
    /// A table is full.
    #[error("there are {0} {1} already, which is the most that is kept")]
    Full(usize, String),
    /// The task has moved on since the decision.
    #[error("the task has moved on")]
    Outdated,
    /// No such secret; the nearest name.
    #[error("there is no secret `{name}`{}", did_you_mean(nearest.as_deref()))]
    UnknownSecret {
        /// What was named.
        name: SecretName,
        /// The name that is most like it, if there is any secret.
        nearest: Option<String>,
    },
    /// No such version is kept.
    #[error("{}", no_version(app, *wanted, kept))]
    NoSuchVersion {
        /// The app.
        app: AppName,
        /// The version that was asked for; `None` for the one before.
        wanted: Option<u64>,
        /// Those that are kept, the newest first.
        kept: Vec<u64>,
    },
    /// The team has no quota.
    #[error("the team `{0}` has no quota")]
    UnknownQuota(TeamName),
    /// Jobs use the secret.
    #[error("the secret `{name}` is used by {}", users.join(", "))]
    SecretInUse {
        /// The secret.
        name: SecretName,
        /// As `shop/web`.
        users: Vec<String>,
    },
    /// Not written: some member may not be able to read it.
    #[error("this can be done once all members speak version {0}: upgrade those that do not")]
    AboveLevel(u32),
    /// One run at a time.
    #[error("a run of `{0}/{1}` is under way: another can begin when it has ended")]
    RunUnderWay(AppName, JobName),
    /// The task has no such volume.
    #[error("`{task}` has no volume{}", named(name.as_ref()))]
    UnknownVolume {
        /// The task.
        task: TaskId,
        /// The name that was asked for.
        name: Option<VolumeName>,
    },
    /// The volume is needed.
    #[error("`{task}` {why}")]
    VolumeInUse {
        /// The task.
        task: TaskId,
        /// What stands against it, and what can be done.
        why: String,
    },
}

fn named(name: Option<&VolumeName>) -> String {
    name.map(|name| format!(" `{name}`")).unwrap_or_default()
}

fn no_version(app: &AppName, wanted: Option<u64>, kept: &[u64]) -> String {
    let kept: Vec<String> = kept.iter().map(u64::to_string).collect();
    match (wanted, kept.as_slice()) {
        (_, []) => format!("the app `{app}` has no version before the present one"),
        (None, kept) => format!("every version of `{app}` before the present one was given up: {}", kept.join(", ")),
        (Some(wanted), kept) => format!("version {wanted} of `{app}` is not kept; these are: {}", kept.join(", ")),
    }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests;
