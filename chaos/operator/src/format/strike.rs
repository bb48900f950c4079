//! Faults as experiments name them: `func` and `arguments` of the provider `taffeta`.

use super::{
    fields::{Field, Fields, nearest},
    func::Func,
};
use crate::text::{Node, Wrong};
use serde_json::{Value as Json, json};
use std::{fmt, time::Duration};
use taffeta_chaos_plan::{DnsInstead, Fault, FaultKind, PartitionShape, Target};

/// Longest stay of a fault on a real node: what a node accepts.
pub const LASTS_MAX: Duration = Duration::from_hours(1);
/// Stay of what is over at once: a node still wants to be told.
const INSTANT: Duration = Duration::from_secs(1);

/// A fault that an experiment wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Strike {
    /// What.
    pub fault: Fault,
    /// Where.
    pub place: Place,
    /// Other ends of a network fault; everybody outside of the target if there is none.
    pub peers: Option<Target>,
    /// For how long.
    pub lasts: Duration,
    /// One node after the other, each only when the one before is ready again.
    pub one_by_one: bool,
}

/// What is struck.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// Nodes.
    Nodes {
        /// Which.
        target: Target,
        /// Nodes that are never drawn or struck.
        except: Option<Target>,
    },
    /// A task alone, on whichever node it runs: `shop/web.2`.
    Task(String),
}

const EVERY: [&str; 3] = ["target", "except", "lasts"];

impl Strike {
    /// A strike as a provider says it.
    pub(super) fn read(func: &Field<'_>, arguments: Option<&Field<'_>>) -> Result<Self, Wrong> {
        let arguments =
            arguments.ok_or_else(|| func.wrong("`arguments` are missing: at least `target` and `lasts`"))?;
        let func = Func::read(func)?;
        let known: Vec<&str> = EVERY.iter().chain(func.arguments()).copied().collect();
        let fields = arguments.fields(&known)?;
        let mut fault = fault(func, &fields, arguments)?;
        if fields.get("task").is_some() {
            // A task alone is struck in its own way.
            fault = if fault == Fault::Pause { Fault::TaskHang } else { Fault::TaskCrash };
        }
        fault.check().map_err(|e| arguments.wrong(e.to_string()))?;
        let target = |key: &str| fields.get(key).map(|field| parse_target(&field)).transpose();
        let lasts = match fields.get("lasts") {
            Some(lasts) => lasts.duration(LASTS_MAX)?,
            None if fault == Fault::Leader => INSTANT,
            None => return Err(arguments.wrong("`lasts` is missing: every fault has an end")),
        };
        if lasts < Duration::from_millis(1) {
            return Err(arguments.wrong("`lasts` is less than a millisecond"));
        }
        let place = match (fields.get("task"), target("target")?, target("except")?) {
            (Some(task), None, None) => Place::Task(parse_task(&task)?),
            (Some(_), _, _) => {
                return Err(arguments.wrong("a `task` has its own machine: leave out `target` and `except`"));
            }
            (None, Some(target), except) => Place::Nodes { target, except },
            // Only the leader hands over.
            (None, None, except) if fault == Fault::Leader => Place::Nodes { target: Target::Leader, except },
            (None, None, _) => return Err(arguments.wrong("`target` is missing")),
        };
        let strike = Self {
            fault,
            place,
            peers: target("peers")?,
            lasts,
            one_by_one: fields.get("one-by-one").map(|on| on.bool()).transpose()?.unwrap_or_default(),
        };
        strike.check(arguments)?;
        Ok(strike)
    }

    /// The same as `func` and `arguments` of a provider.
    pub fn said(&self) -> (&'static str, Json) {
        let seconds = |duration: Duration| json!(duration.as_secs_f64());
        let mut arguments = match self.fault {
            Fault::KillAgent => json!({"what": "agent"}),
            Fault::PowerCut => json!({"what": "power"}),
            Fault::Partition { shape } => json!({"shape": shape.as_str()}),
            Fault::Loss { fraction } | Fault::Duplicate { fraction } | Fault::Reorder { fraction } => {
                json!({"fraction": fraction})
            }
            Fault::Delay { by, jitter } => json!({"by": seconds(by), "jitter": seconds(jitter)}),
            Fault::Bandwidth { kbit_per_s } => json!({"kbit-per-s": kbit_per_s}),
            Fault::ClockOffset { by_ms } => json!({"by": by_ms as f64 / 1e3}),
            Fault::ClockDrift { ppm } => json!({"ppm": ppm}),
            Fault::Cpu { workers, percent } => json!({"workers": workers, "percent": percent}),
            Fault::Memory { bytes } => json!({"bytes": bytes}),
            Fault::Dns { fraction, instead } => json!({"fraction": fraction, "instead": instead.as_str()}),
            Fault::KillMachine
            | Fault::Stop
            | Fault::Pause
            | Fault::DiskFull
            | Fault::TaskCrash
            | Fault::TaskHang
            | Fault::Drain
            | Fault::Leader
            | Fault::Wipe
            | Fault::Slow { .. }
            | Fault::TaskIgnoreTerm
            | Fault::TaskFailHealth
            | Fault::Lie
            | Fault::Move
            | Fault::Rolling
            | Fault::Copy { .. }
            | Fault::QuorumLost
            | Fault::Lag
            | Fault::Upgrade
            | Fault::Remove
            | Fault::Rotate => json!({}),
        };
        // No strike has what is only simulated.
        let func = Func::of(&self.fault).map_or("", Func::as_str);
        let mut add = |key: &str, value: Json| arguments.as_object_mut().and_then(|map| map.insert(key.into(), value));
        match &self.place {
            Place::Nodes { target, except } => {
                add("target", target.to_string().into());
                except.iter().for_each(|except| drop(add("except", except.to_string().into())));
            }
            Place::Task(task) => drop(add("task", task.as_str().into())),
        }
        self.peers.iter().for_each(|peers| drop(add("peers", peers.to_string().into())));
        if self.one_by_one {
            add("one-by-one", true.into());
        }
        add("lasts", seconds(self.lasts));
        (func, arguments)
    }

    /// A strike from a command line: a fault and its arguments by name.
    pub fn from_words(func: &str, arguments: &Json) -> Result<Self, Wrong> {
        let (func, arguments) = (Node::of_json(1, &json!(func)), Node::of_json(1, arguments));
        Self::read(&Field::new("", &func), Some(&Field::new("", &arguments)))
    }

    /// What cannot be meant together.
    fn check(&self, arguments: &Field<'_>) -> Result<(), Wrong> {
        let all = matches!(&self.place, Place::Nodes { target: Target::All, except: None });
        if all && self.peers.is_none() && self.fault.kind() == FaultKind::Partition {
            let what = "all nodes leave no rest to be parted from";
            return Err(arguments.wrong(what).help("name a part of them: minority, majority, zone=a, n2"));
        }
        Ok(())
    }

    /// Whether what is struck neither serves nor votes while it lasts.
    pub fn silences(&self) -> bool {
        matches!(self.place, Place::Nodes { .. }) && silences(&self.fault)
    }

    /// Whether it is over as soon as it is done.
    pub fn is_instant(&self) -> bool {
        matches!(self.fault, Fault::Leader | Fault::TaskCrash)
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at ", self.fault)?;
        match &self.place {
            Place::Nodes { target, except: None } => write!(f, "{target}")?,
            Place::Nodes { target, except: Some(except) } => write!(f, "{target} except {except}")?,
            Place::Task(task) => write!(f, "task {task}")?,
        }
        if let Some(peers) = &self.peers {
            write!(f, " towards {peers}")?;
        }
        if self.one_by_one {
            write!(f, " one by one")?;
        }
        if self.is_instant() { Ok(()) } else { write!(f, " for {} s", self.lasts.as_secs_f64()) }
    }
}

/// Whether a node under this fault neither serves nor votes.
pub(crate) fn silences(fault: &Fault) -> bool {
    match fault.kind() {
        FaultKind::KillAgent
        | FaultKind::KillMachine
        | FaultKind::PowerCut
        | FaultKind::Stop
        | FaultKind::Pause
        | FaultKind::Partition
        | FaultKind::Rolling => true,
        FaultKind::DiskFull
        | FaultKind::Loss
        | FaultKind::Delay
        | FaultKind::Duplicate
        | FaultKind::Reorder
        | FaultKind::ClockOffset
        | FaultKind::ClockDrift
        | FaultKind::Bandwidth
        | FaultKind::Cpu
        | FaultKind::Memory
        | FaultKind::Dns
        | FaultKind::Drain
        | FaultKind::Leader
        | FaultKind::Wipe
        | FaultKind::Slow
        | FaultKind::TaskCrash
        | FaultKind::TaskHang
        | FaultKind::TaskIgnoreTerm
        | FaultKind::TaskFailHealth
        | FaultKind::Lie
        | FaultKind::Move
        | FaultKind::Copy
        | FaultKind::QuorumLost
        | FaultKind::Lag
        | FaultKind::Upgrade
        | FaultKind::Remove
        | FaultKind::Rotate => false,
    }
}

fn fault(func: Func, fields: &Fields<'_>, arguments: &Field<'_>) -> Result<Fault, Wrong> {
    let fraction = || fields.need("fraction")?.number();
    Ok(match func {
        Func::Kill => match fields.get("what") {
            None => Fault::KillMachine,
            Some(what) => killed(&what)?,
        },
        Func::Stop => Fault::Stop,
        Func::Pause => Fault::Pause,
        Func::Partition => Fault::Partition { shape: shape(fields)? },
        Func::Loss => Fault::Loss { fraction: fraction()? },
        Func::Duplicate => Fault::Duplicate { fraction: fraction()? },
        Func::Reorder => Fault::Reorder { fraction: fraction()? },
        Func::Delay => {
            let time = |field: Field<'_>| field.duration(taffeta_chaos_plan::DELAY_MAX).map(whole_millis);
            let jitter = fields.get("jitter").map(time).transpose()?.unwrap_or_default();
            Fault::Delay { by: time(fields.need("by")?)?, jitter }
        }
        Func::Bandwidth => Fault::Bandwidth { kbit_per_s: small(&fields.need("kbit-per-s")?)? },
        Func::Clock => clock(fields, arguments)?,
        Func::DiskFull => Fault::DiskFull,
        Func::Cpu => Fault::Cpu {
            workers: fields.get("workers").map(|n| small(&n)).transpose()?.unwrap_or(1),
            percent: fields.get("percent").map(|n| small(&n)).transpose()?.unwrap_or(100),
        },
        Func::Memory => Fault::Memory { bytes: fields.need("bytes")?.whole(1..=1 << 40)?.unsigned_abs() },
        Func::Dns => Fault::Dns { fraction: fraction()?, instead: instead(fields)? },
        Func::Drain => Fault::Drain,
        Func::Leader => Fault::Leader,
    })
}

fn killed(what: &Field<'_>) -> Result<Fault, Wrong> {
    match what.text()? {
        "machine" => Ok(Fault::KillMachine),
        "agent" => Ok(Fault::KillAgent),
        "power" => Ok(Fault::PowerCut),
        other => Err(what.wrong(format!("unknown `{other}`")).help(nearest(other, &["machine", "agent", "power"]))),
    }
}

fn shape(fields: &Fields<'_>) -> Result<PartitionShape, Wrong> {
    let Some(shape) = fields.get("shape") else { return Ok(PartitionShape::Split) };
    let parsed: PartitionShape =
        shape.text()?.parse().map_err(|e: taffeta_chaos_plan::UnknownWord| shape.wrong(e.to_string()))?;
    match parsed {
        PartitionShape::Split | PartitionShape::OneWayIn | PartitionShape::OneWayOut => Ok(parsed),
        PartitionShape::Bridge | PartitionShape::Swizzle => {
            let what = format!("the shape `{parsed}` is only simulated");
            Err(shape.wrong(what).help("on real nodes: split, one-way-in, one-way-out"))
        }
    }
}

fn clock(fields: &Fields<'_>, arguments: &Field<'_>) -> Result<Fault, Wrong> {
    match (fields.get("by"), fields.get("ppm")) {
        (Some(by), None) => {
            let seconds = by.number().or_else(|e| by.text().ok().and_then(signed_seconds).ok_or(e))?;
            Ok(Fault::ClockOffset { by_ms: (seconds * 1e3).round() as i64 })
        }
        (None, Some(ppm)) => Ok(Fault::ClockDrift { ppm: ppm.whole(-500_000..=500_000)? }),
        (Some(_), Some(_)) | (None, None) => {
            Err(arguments.wrong("a clock jumps `by` so many seconds, or runs wrong by so many `ppm`: name one of them"))
        }
    }
}

/// `-5m`.
fn signed_seconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let (sign, text) = text.strip_prefix('-').map_or((1.0, text), |text| (-1.0, text));
    super::fields::parse_duration(text).map(|duration| sign * duration.as_secs_f64())
}

fn instead(fields: &Fields<'_>) -> Result<DnsInstead, Wrong> {
    let Some(field) = fields.get("instead") else { return Ok(DnsInstead::default()) };
    match field.text()? {
        "drop" => Ok(DnsInstead::Drop),
        "servfail" => Ok(DnsInstead::Servfail),
        other => Err(field.wrong(format!("unknown `{other}`")).help(nearest(other, &["drop", "servfail"]))),
    }
}

fn small(field: &Field<'_>) -> Result<u32, Wrong> {
    let number = field.whole(1..=i64::from(u32::MAX))?;
    u32::try_from(number).map_err(|_| field.wrong("this is too large"))
}

fn whole_millis(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

pub(super) fn parse_target(field: &Field<'_>) -> Result<Target, Wrong> {
    field.text()?.parse().map_err(|e: taffeta_chaos_plan::InvalidTarget| field.wrong(e.to_string()))
}

fn parse_task(field: &Field<'_>) -> Result<String, Wrong> {
    let text = field.text()?;
    let parsed = text.parse::<taffeta_model::TaskId>();
    parsed
        .map(|task| task.to_string())
        .map_err(|_| field.wrong(format!("`{text}` is no task; write APP/SERVICE.INDEX, as shop/web.2")))
}
