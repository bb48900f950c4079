//! Why a task waits, in a shape that programs can match and with words that people can read.

use crate::{mirror::Spec, teams::OverQuota};
use std::{fmt, sync::Arc};
use taffeta_model::{
    Constraint, Cpus, Exit, JobKind, JobName, JobRef, LEASES_MAX, Liveness, NodeName, Operator, Phase, Resources,
    TaskId, TeamName, UnixMillis, VolumeName, rfc3339,
};

/// Most machines that a reason lists one by one: a person reads no longer list, and each waiting task has one.
pub const NODES_LISTED_MAX: usize = 10;

/// Why a task is not where, or what, it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Not one machine is alive.
    NoMachine,
    /// Machines are alive, but none of them can take it. Shared, as all instances of a job wait for the same.
    NoRoom(Arc<NoRoom>),
    /// An earlier job of its app comes first.
    After(Unmet),
    /// Its team may use no more.
    OverQuota {
        /// The team.
        team: TeamName,
        /// What would be exceeded; never empty.
        lacks: Vec<Lack>,
    },
    /// It has just made way for another task, and gets another machine if there is one.
    Preempted {
        /// That task.
        by: TaskId,
    },
    /// Tasks of lower priority would make room, as this one; but no more of its service may be missing.
    Shielded {
        /// That task.
        by: TaskId,
        /// What there is no room for without that.
        otherwise: Box<Self>,
    },
    /// Another instance has to come first, as none may be missing, and it fits nowhere.
    Beside(Box<Self>),
    /// The replacing of its app's older tasks was stopped.
    Paused,
    /// Others get the newer version first, which has not been promoted.
    Unpromoted {
        /// How many.
        first: u32,
        /// Whether somebody has to promote it.
        by_hand: bool,
    },
    /// It is exclusive, and may still run on another machine.
    Leased {
        /// That machine; `None` if it has been removed.
        node: Option<NodeName>,
    },
    /// It is exclusive, and there are as many such tasks as may be.
    Leases,
    /// It is exclusive, and some member is too old to know of that.
    OldMembers,
    /// As many instances of its job run as may at once.
    Parallel {
        /// How many that is.
        most: u32,
    },
    /// No run of its job is under way.
    Idle(Idle),
    /// Its data is on a machine that does not take it.
    Volume {
        /// The task.
        task: TaskId,
        /// The name of its volume.
        name: VolumeName,
        /// The machine and what stands against it; `None` if it was removed from the cluster.
        on: Option<Box<NodeLacks>>,
    },
    /// It runs, but in an older version, as the newer one waits.
    Outdated(Box<Self>),
    /// It runs on a drained machine, as no other one takes it.
    Drained(Box<Self>),
}

/// Why no run of a job is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Idle {
    /// It is not due yet.
    Due(UnixMillis),
    /// Its schedule has no slot left.
    NoSlot,
    /// Its schedule cannot be read: it was deployed by a node with another time zone database.
    Unreadable(String),
    /// Another job has to finish once more.
    After {
        /// That job.
        earlier: JobName,
        /// Its kind.
        kind: JobKind,
    },
    /// Its last run is over, and it does not run again by itself.
    Over,
    /// The next one begins now.
    Begins,
    /// Some member is too old to know of runs.
    OldMembers,
}

/// What each machine lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoRoom {
    /// The machines by name, those alive first; at most [`NODES_LISTED_MAX`].
    pub nodes: Vec<NodeLacks>,
    /// How many machines are not listed.
    pub more: usize,
}

/// What one machine lacks; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLacks {
    /// The machine.
    pub node: NodeName,
    /// All that stands against it.
    pub lacks: Vec<Lack>,
}

/// One thing that keeps a task from a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Too little processor share.
    Cpus {
        /// What the task asks for.
        needed: Cpus,
        /// What is left.
        free: Cpus,
    },
    /// Too little memory.
    Memory {
        /// Bytes that the task asks for.
        needed: u64,
        /// Bytes that are left.
        free: u64,
    },
    /// Too little disk.
    Disk {
        /// Bytes that the task asks for.
        needed: u64,
        /// Bytes that are left.
        free: u64,
    },
    /// Too few ports to allocate.
    Ports {
        /// Number that the task asks for.
        needed: u32,
        /// Number that is left.
        free: u32,
    },
    /// Too little of a countable resource.
    Custom {
        /// Its name.
        name: String,
        /// How much the task asks for.
        needed: u64,
        /// How much is left.
        free: u64,
    },
    /// A fixed port is in use.
    PortTaken {
        /// The port.
        port: u16,
        /// The task that has it.
        by: TaskId,
    },
    /// A constraint of the job refuses the machine.
    Refused {
        /// The constraint.
        constraint: Constraint,
        /// The machine's value of the constraint's field; `None` if it has none.
        value: Option<String>,
        /// How many instances of the job are where the field has this value.
        count: u32,
    },
    /// A job that the task must be with is not there.
    Without(JobRef),
    /// A job that the task must be apart from is there, or wants to be apart from it.
    Beside(JobRef),
    /// The machine is being emptied.
    Draining,
    /// The machine is in a maintenance window, which ends then.
    Maintenance(UnixMillis),
    /// The machine is not alive; `None` if this leader has not heard of it.
    NotAlive(Option<Liveness>),
}

/// An earlier job that is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// The earlier job.
    pub earlier: JobName,
    /// Whether it has to be healthy or to finish.
    pub kind: JobKind,
    /// The first of its instances that is not ready.
    pub task: TaskId,
    /// What that instance does instead.
    pub blocked: Blocked,
}

/// Why an instance of an earlier job is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// It waits for a machine itself.
    Waiting,
    /// It was placed; its machine has not reported it yet.
    Unreported,
    /// It is in this phase.
    Phase(Phase),
    /// Its machine is not alive.
    MachineAway,
    /// It ended, and not with success (batch).
    Failed(Exit),
}

impl Waiting {
    pub(crate) fn over_quota(spec: &Spec, over: OverQuota) -> Self {
        let mut lacks = Lack::short(&spec.resources, &over.free);
        if let Some((name, free)) = over.custom {
            let needed = spec.custom.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count);
            lacks.push(Lack::Custom { name, needed, free });
        }
        Self::OverQuota { team: over.team, lacks }
    }
}

impl Lack {
    /// The key of a job in an app file by which what is short is asked for; `None` if nothing is.
    pub(crate) fn key(&self) -> Option<&'static str> {
        match self {
            Self::Cpus { .. } => Some("cpus"),
            Self::Memory { .. } => Some("memory"),
            Self::Disk { .. } => Some("disk"),
            Self::Ports { .. } | Self::PortTaken { .. } => Some("ports"),
            Self::Custom { .. } => Some("resources"),
            Self::Refused { .. } => Some("constraints"),
            Self::Without(_) => Some("with"),
            Self::Beside(_) => Some("apart"),
            Self::Draining | Self::Maintenance(_) | Self::NotAlive(_) => None,
        }
    }

    /// What of a request is short.
    pub(crate) fn short(needed: &Resources, free: &Resources) -> Vec<Self> {
        let mut lacks = Vec::new();
        if needed.cpus > free.cpus {
            lacks.push(Self::Cpus { needed: needed.cpus, free: free.cpus });
        }
        if needed.memory > free.memory {
            lacks.push(Self::Memory { needed: needed.memory, free: free.memory });
        }
        if needed.disk > free.disk {
            lacks.push(Self::Disk { needed: needed.disk, free: free.disk });
        }
        if needed.ports > free.ports {
            lacks.push(Self::Ports { needed: needed.ports, free: free.ports });
        }
        lacks
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMachine => f.write_str("no machine is alive"),
            Self::NoRoom(room) => room.fmt(f),
            Self::After(unmet) => unmet.fmt(f),
            Self::OverQuota { team, lacks } => {
                write!(f, "the quota of team {team}: ")?;
                join(f, " and ", lacks)
            }
            Self::Preempted { by } => write!(f, "made way for {by}, which is of a higher priority"),
            Self::Shielded { by, otherwise } => {
                write!(f, "{otherwise}; {by} is of a lower priority, but no more of its service may be missing")
            }
            Self::Parallel { most } => write!(f, "at most {most} of its job run at once"),
            Self::Idle(idle) => idle.fmt(f),
            Self::Leased { node: Some(node) } => write!(f, "may still run on {node} until its lease ends"),
            Self::Leased { node: None } => {
                f.write_str("may still run on a machine that was removed, until its lease ends")
            }
            Self::Leases => write!(f, "there are {LEASES_MAX} exclusive tasks already, which is the most that may be"),
            Self::OldMembers => f.write_str("exclusive tasks start once all members speak version 2"),
            Self::Volume { task, name, on } => volume(f, task, name, on.as_deref()),
            Self::Drained(why) if let Self::Volume { name, .. } = &**why => {
                write!(f, "stays on a machine that is drained, as its volume `{name}` is there")
            }
            Self::Drained(why) => write!(f, "still on a machine that is drained, as no other one takes it: {why}"),
            Self::Beside(why) => write!(f, "another one has to come first, as none may be missing: {why}"),
            Self::Paused => f.write_str("the update is paused: `taffeta resume APP` goes on"),
            Self::Unpromoted { first, by_hand: true } => {
                write!(f, "{first} of the newer version come first: `taffeta promote APP` lets it take over")
            }
            Self::Unpromoted { first, by_hand: false } => {
                write!(f, "{first} of the newer version come first, and have to work for a while")
            }
            Self::Outdated(why) if matches!(**why, Self::Paused | Self::Unpromoted { .. }) => {
                write!(f, "still the older version: {why}")
            }
            Self::Outdated(why) if let Self::Volume { name, on: Some(on), .. } = &**why => {
                write!(f, "still the older version, as the newer one finds no room beside its volume `{name}`: {on}")
            }
            Self::Outdated(why) => write!(f, "still the older version, as the newer one cannot start: {why}"),
        }
    }
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Due(slot) => write!(f, "its next run is due {}", rfc3339(*slot)),
            Self::NoSlot => f.write_str("its schedule has no run left"),
            Self::Unreadable(why) => write!(f, "its schedule cannot be read by this leader: {why}"),
            Self::After { earlier, kind } => {
                write!(f, "runs when {} job `{earlier}` has finished once more", kind.table())
            }
            Self::Over => f.write_str("its last run is over, and `taffeta run` begins another"),
            Self::Begins => f.write_str("its run begins"),
            Self::OldMembers => f.write_str("runs begin once all members speak version 2"),
        }
    }
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        join(f, "; ", &self.nodes)?;
        if self.more > 0 { write!(f, "; and {} more", self.more) } else { Ok(()) }
    }
}

impl fmt::Display for NodeLacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.node)?;
        join(f, " and ", &self.lacks)
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = |f: &mut fmt::Formatter<'_>, what: &str, needed: u64, free: u64| {
            write!(f, "needs {} of {what}, {} free", Bytes(needed, Rounding::Up), Bytes(free, Rounding::Down))
        };
        match self {
            Self::Cpus { needed, free } => write!(f, "needs {needed} cpus, {free} free"),
            Self::Memory { needed, free } => bytes(f, "memory", *needed, *free),
            Self::Disk { needed, free } => bytes(f, "disk", *needed, *free),
            Self::Ports { needed, free } => write!(f, "needs {needed} ports, {free} free"),
            Self::Custom { name, needed, free } => write!(f, "needs {needed} {name}, {free} free"),
            Self::Without(job) => write!(f, "has no instance of {job}"),
            Self::Beside(job) => write!(f, "has an instance of {job}, from which it is apart"),
            Self::Draining => f.write_str("is being drained"),
            Self::Maintenance(until) => write!(f, "is under maintenance until {}", rfc3339(*until)),
            Self::PortTaken { port, by } => write!(f, "port {port} is taken by {by}"),
            Self::Refused { constraint, value, count } => refused(f, constraint, value.as_deref(), *count),
            Self::NotAlive(Some(Liveness::Suspect)) => f.write_str("does not answer"),
            Self::NotAlive(Some(Liveness::Down)) => f.write_str("is down"),
            Self::NotAlive(Some(Liveness::Left)) => f.write_str("has left"),
            Self::NotAlive(None | Some(Liveness::Alive)) => f.write_str("has not been heard of yet"),
        }
    }
}

fn volume(f: &mut fmt::Formatter<'_>, task: &TaskId, name: &VolumeName, on: Option<&NodeLacks>) -> fmt::Result {
    let reset = format!("`taffeta volume reset {task} --yes` starts it empty");
    match on {
        None => write!(f, "its volume `{name}` was on a machine that was removed from the cluster; {reset} elsewhere"),
        Some(NodeLacks { node, lacks }) => match lacks.as_slice() {
            [lack @ (Lack::NotAlive(_) | Lack::Draining | Lack::Maintenance(_))] => {
                write!(f, "its volume `{name}` is on {node}, which {lack}; it waits for it, or {reset} elsewhere")
            }
            lacks => {
                write!(f, "its volume `{name}` is on {node}: ")?;
                join(f, " and ", lacks)?;
                write!(f, "; it waits for that, or {reset} elsewhere")
            }
        },
    }
}

fn refused(f: &mut fmt::Formatter<'_>, constraint: &Constraint, value: Option<&str>, count: u32) -> fmt::Result {
    let Constraint { field, operator } = constraint;
    let Some(value) = value else { return write!(f, "has no {field} ({constraint})") };
    let whole = if constraint.plain_field() == "hostname" { String::new() } else { format!("{field} {value} ") };
    match operator {
        Operator::Unique => write!(f, "{whole}has one already ({constraint})"),
        Operator::MaxPer(_) => write!(f, "{whole}has {count} already ({constraint})"),
        Operator::GroupBy(_) => write!(f, "{whole}has {count} already, more than others ({constraint})"),
        Operator::Cluster(None) => write!(f, "{whole}is not where the others are ({constraint})"),
        Operator::Cluster(Some(_)) | Operator::Is(_) | Operator::Like(_) | Operator::Unlike(_) => {
            write!(f, "its {field} is {value} ({constraint})")
        }
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { earlier, kind, task, blocked } = self;
        let task = task.short();
        match (kind, blocked) {
            (JobKind::Batch { .. } | JobKind::Cron { .. }, Blocked::Failed(exit)) => {
                return write!(f, "waits for batch job `{earlier}`, which failed: {task} ({exit})");
            }
            (JobKind::Batch { .. } | JobKind::Cron { .. }, _) => {
                write!(f, "waits for batch job `{earlier}` to finish: ")?;
            }
            (JobKind::Service | JobKind::Daemon, _) => {
                write!(f, "waits for {} `{earlier}` to be healthy: ", kind.table())?;
            }
        }
        match blocked {
            Blocked::Waiting => write!(f, "{task} is waiting"),
            Blocked::Unreported => write!(f, "{task} has not been reported yet"),
            Blocked::Phase(phase) => write!(f, "{task} is {phase}"),
            Blocked::MachineAway => write!(f, "the machine of {task} does not answer"),
            Blocked::Failed(exit) => write!(f, "{task} ended ({exit})"),
        }
    }
}

/// What is needed is rounded up and what is free is rounded down, so that no reason reads "needs 2 GiB, 2 GiB free".
enum Rounding {
    Up,
    Down,
}

/// Bytes for people, with one decimal where it is not zero.
struct Bytes(u64, Rounding);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = match self.0 {
            0..0x400 => return write!(f, "{} B", self.0),
            0x400..0x10_0000 => (1 << 10, "KiB"),
            0x10_0000..0x4000_0000 => (1 << 20, "MiB"),
            0x4000_0000.. => (1_u128 << 30, "GiB"),
        };
        let tenths = match self.1 {
            Rounding::Up => (u128::from(self.0) * 10).div_ceil(unit),
            Rounding::Down => u128::from(self.0) * 10 / unit,
        };
        match (tenths / 10, tenths % 10) {
            (whole, 0) => write!(f, "{whole} {name}"),
            (whole, tenth) => write!(f, "{whole}.{tenth} {name}"),
        }
    }
}

pub(crate) fn join(f: &mut fmt::Formatter<'_>, between: &str, parts: &[impl fmt::Display]) -> fmt::Result {
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            f.write_str(between)?;
        }
        part.fmt(f)?;
    }
    Ok(())
}
