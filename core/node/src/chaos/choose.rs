//! Which back end brings a fault about on this machine, and what it does: decided before anything is done.

use super::{
    fill,
    inside::ways,
    journal::Deed,
    load,
    netfilter::{self, Drops},
};
use std::{net::SocketAddr, path::Path, time::Duration};
use taffeta_chaos_plan::{CopyUse, DnsInstead, Fault, FaultKind, PartitionShape};
use taffeta_isolation_linux::{LoadGroup, harm};
use taffeta_isolation_plan::Permitted;

/// How an agent is undone that was killed or stopped.
const AGAIN: &str = "start it again with its own arguments, unless it is back";

/// Why a task cannot be made to stand still.
const NO_FREEZER: &str = "tasks have no cgroup that can be frozen on this machine";

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Choice {
    pub(crate) backend: &'static str,
    pub(crate) commands: Vec<String>,
    pub(crate) deed: Deed,
}

/// What is known of the machine and the fault's surroundings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ground<'a> {
    /// Where the node is reached.
    pub(crate) own: SocketAddr,
    /// The other ends of a network fault.
    pub(crate) ends: &'a [SocketAddr],
    /// Whether these are all there are.
    pub(crate) everybody: bool,
    /// Why nftables cannot be used, if so.
    pub(crate) no_nft: Option<&'a str>,
    /// The folder of the run that is to be struck, if a task is.
    pub(crate) run: Option<&'a Path>,
    pub(crate) agent: u32,
    /// Folder of the journal, in the data folder.
    pub(crate) journal: Option<&'a Path>,
    /// What cgroups there may be; `None` where that is not known.
    pub(crate) permitted: Option<&'a Permitted>,
    pub(crate) serves_dns: bool,
    pub(crate) leads: bool,
    pub(crate) drained: bool,
}

/// Decides; `Err` says why nothing can do it.
pub(crate) fn choose(id: &str, fault: &Fault, on: &Ground<'_>) -> Result<Choice, String> {
    if let Some(run) = on.run {
        return choose_for_task(fault, run);
    }
    let inside = |backend, command: String| Ok(Choice { backend, commands: vec![command], deed: Deed::Inside });
    let told = |signal: &str, deed| {
        let back = if deed == Deed::Pause { "kill -CONT it" } else { AGAIN };
        let commands = vec![format!("kill -{signal} {}", on.agent), back.into()];
        Ok(Choice { backend: "signal", commands, deed })
    };
    match fault {
        Fault::KillAgent => told("KILL", Deed::Kill { machine: false }),
        Fault::KillMachine => {
            let commands = vec![
                format!("kill -STOP {}", on.agent),
                "kill -KILL every shim and task of the node".into(),
                format!("kill -KILL {}", on.agent),
                AGAIN.into(),
            ];
            Ok(Choice { backend: "signal", commands, deed: Deed::Kill { machine: true } })
        }
        Fault::Stop => told("TERM", Deed::Stop),
        Fault::Pause => told("STOP", Deed::Pause),
        Fault::Partition { shape } => {
            let (incoming, outgoing) = ways(*shape)
                .ok_or_else(|| format!("the shape `{shape}` is about several machines: cut each of them"))?;
            drops(id, fault, on, Drops { incoming, outgoing, fraction: 1.0 })
        }
        Fault::Loss { fraction } => drops(id, fault, on, Drops { incoming: true, outgoing: true, fraction: *fraction }),
        Fault::Delay { .. } | Fault::Duplicate { .. } | Fault::Reorder { .. } | Fault::Bandwidth { .. } => {
            inside("socket", format!("{fault} on the node's own socket{}", with(on)))
        }
        Fault::ClockOffset { .. } | Fault::ClockDrift { .. } => {
            inside("clock", format!("{fault} of the node's own idea of the date"))
        }
        Fault::DiskFull => match on.journal.and_then(fill::place) {
            Some(file) => {
                let commands = vec![format!("fallocate {} until 128 KiB are left", file.display()), "remove it".into()];
                Ok(Choice { backend: "filesystem", commands, deed: Deed::Fill { file } })
            }
            None => inside("files", "every write of the node to its log and its own files fails: no space left".into()),
        },
        Fault::Dns { .. } if !on.serves_dns => Err("this node serves no DNS".into()),
        Fault::Dns { fraction, instead } => {
            let what = match instead {
                DnsInstead::Drop => "are dropped",
                DnsInstead::Servfail => "are answered with SERVFAIL",
            };
            inside("dns", format!("{} % of the questions to the node's DNS {what}", (fraction * 1e4).round() / 1e2))
        }
        Fault::Cpu { workers, percent } => {
            let (group, place) = load_group(id, on);
            let commands = vec![format!("{workers} processes that take {percent} % of a core each, {place}")];
            let deed = Deed::Burn { workers: *workers, percent: *percent, group };
            Ok(Choice { backend: "process", commands, deed })
        }
        Fault::Memory { bytes } => hold(id, *bytes, on),
        Fault::Drain if on.drained => Err("the node is drained already: ending it would end that, too".into()),
        Fault::Drain => {
            let commands = vec!["taffeta drain".into(), "taffeta drain --off".into()];
            Ok(Choice { backend: "fabric", commands, deed: Deed::Drain })
        }
        Fault::Leader if !on.leads => Err("the node does not lead".into()),
        Fault::Leader => {
            let commands = vec!["hand over the leadership to another voter".into()];
            Ok(Choice { backend: "fabric", commands, deed: Deed::HandOver })
        }
        Fault::TaskCrash | Fault::TaskHang => Err("name the task that is to be struck: `task`".into()),
        Fault::PowerCut => Err("no node can cut its own power, which also loses what was written and not synced; \
                                `kill-machine` ends the node and its tasks, and what was written stays"
            .into()),
        Fault::Wipe | Fault::Remove | Fault::Move | Fault::Copy { .. } => {
            Err("nobody could bring back a disk or an identity that is gone".into())
        }
        Fault::Slow { .. } => Err("the kernel shares its time itself; `cpu` takes some of it away".into()),
        Fault::TaskIgnoreTerm | Fault::TaskFailHealth => {
            Err("a task does what its own program does; it can be killed or frozen: task-crash, task-hang".into())
        }
        Fault::Lie => Err("a node does not lie on purpose".into()),
        Fault::Rolling => Err("this is about several machines, one after the other: `stop` each of them".into()),
        Fault::QuorumLost => Err("it ends with a recovery, which is an operator's decision".into()),
        Fault::Lag => Err("a `partition` that lasts does the same".into()),
        Fault::Upgrade | Fault::Rotate => Err("this is an operator's own work, and no fault".into()),
    }
}

fn choose_for_task(fault: &Fault, run: &Path) -> Result<Choice, String> {
    let shown = run.file_name().unwrap_or_default().to_string_lossy();
    let kind = fault.kind();
    if !matches!(kind, FaultKind::KillAgent | FaultKind::TaskCrash | FaultKind::Pause | FaultKind::TaskHang) {
        return Err(format!("`{kind}` does not strike tasks; kill-agent, task-crash, pause and task-hang do"));
    }
    if matches!(kind, FaultKind::KillAgent | FaultKind::TaskCrash) {
        let commands = vec![format!("kill -KILL the main process of run {shown}")];
        return Ok(Choice { backend: "signal", commands, deed: Deed::KillTask { run: run.into() } });
    }
    if !harm::can_freeze(run) {
        return Err(NO_FREEZER.into());
    }
    let commands = vec![format!("freeze the cgroup of run {shown}"), "thaw it".into()];
    Ok(Choice { backend: "freezer", commands, deed: Deed::Freeze { run: run.into() } })
}

/// By the kernel where it can, else by the node's own socket.
fn drops(id: &str, fault: &Fault, on: &Ground<'_>, drops: Drops) -> Result<Choice, String> {
    let Some(why) = on.no_nft else {
        let name = netfilter::table(id);
        let (family, rules) = netfilter::rules(&name, on.own, on.ends, drops)?;
        let commands = vec![format!("nft -f - <<'END'\n{rules}END"), format!("nft delete table {family} {name}")];
        return Ok(Choice { backend: "nftables", commands, deed: Deed::Table { family, name, rules } });
    };
    let command = format!("{fault} on the node's own socket{} (nftables: {why})", with(on));
    Ok(Choice { backend: "socket", commands: vec![command], deed: Deed::Inside })
}

/// Where a load is bounded, and the same in words.
fn load_group(id: &str, on: &Ground<'_>) -> (Option<LoadGroup>, String) {
    let planned = on.permitted.ok_or_else(|| "none is known".to_owned()).and_then(|have| LoadGroup::plan(have, id));
    match planned {
        Ok(group) => {
            let words = format!("bounded by the cgroup {}", group.path());
            (Some(group), words)
        }
        Err(why) => (None, format!("in no cgroup of its own: {why}")),
    }
}

fn hold(id: &str, bytes: u64, on: &Ground<'_>) -> Result<Choice, String> {
    let (group, place) = load_group(id, on);
    if let Some(most) = load::memory_to_spare(group.as_ref()).filter(|most| bytes > *most) {
        return Err(format!("the machine can spare {most} bytes of memory, and {bytes} would be taken"));
    }
    let commands = vec![format!("a process that holds {bytes} bytes of memory, {place}")];
    Ok(Choice { backend: "process", commands, deed: Deed::Hold { bytes, group } })
}

fn with(on: &Ground<'_>) -> String {
    if on.everybody {
        return " with everybody".into();
    }
    let ends: Vec<String> = on.ends.iter().map(SocketAddr::to_string).collect();
    format!(" with {}", ends.join(", "))
}

/// Some fault of a kind: what a look at the back ends asks about.
pub(crate) fn example(kind: FaultKind) -> Fault {
    let (fraction, by) = (0.1, Duration::from_millis(1));
    match kind {
        FaultKind::KillAgent => Fault::KillAgent,
        FaultKind::KillMachine => Fault::KillMachine,
        FaultKind::PowerCut => Fault::PowerCut,
        FaultKind::Stop => Fault::Stop,
        FaultKind::Wipe => Fault::Wipe,
        FaultKind::Pause => Fault::Pause,
        FaultKind::Slow => Fault::Slow { factor: 2 },
        FaultKind::DiskFull => Fault::DiskFull,
        FaultKind::Partition => Fault::Partition { shape: PartitionShape::Split },
        FaultKind::Loss => Fault::Loss { fraction },
        FaultKind::Delay => Fault::Delay { by, jitter: Duration::ZERO },
        FaultKind::Duplicate => Fault::Duplicate { fraction },
        FaultKind::Reorder => Fault::Reorder { fraction },
        FaultKind::ClockOffset => Fault::ClockOffset { by_ms: 1 },
        FaultKind::ClockDrift => Fault::ClockDrift { ppm: 1 },
        FaultKind::TaskCrash => Fault::TaskCrash,
        FaultKind::TaskHang => Fault::TaskHang,
        FaultKind::TaskIgnoreTerm => Fault::TaskIgnoreTerm,
        FaultKind::TaskFailHealth => Fault::TaskFailHealth,
        FaultKind::Lie => Fault::Lie,
        FaultKind::Move => Fault::Move,
        FaultKind::Rolling => Fault::Rolling,
        FaultKind::Copy => Fault::Copy { used: CopyUse::Beside },
        FaultKind::QuorumLost => Fault::QuorumLost,
        FaultKind::Lag => Fault::Lag,
        FaultKind::Upgrade => Fault::Upgrade,
        FaultKind::Remove => Fault::Remove,
        FaultKind::Rotate => Fault::Rotate,
        FaultKind::Bandwidth => Fault::Bandwidth { kbit_per_s: 1_000 },
        FaultKind::Cpu => Fault::Cpu { workers: 1, percent: 100 },
        FaultKind::Memory => Fault::Memory { bytes: 1 },
        FaultKind::Dns => Fault::Dns { fraction, instead: DnsInstead::Drop },
        FaultKind::Drain => Fault::Drain,
        FaultKind::Leader => Fault::Leader,
    }
}

/// By what tasks of this machine are struck, one of which has to be named then; `None` for what strikes no task.
pub(crate) fn choose_some_task(kind: FaultKind, can_freeze: bool) -> Option<Result<&'static str, String>> {
    match kind {
        FaultKind::TaskCrash => Some(Ok("signal")),
        FaultKind::TaskHang if can_freeze => Some(Ok("freezer")),
        FaultKind::TaskHang => Some(Err(NO_FREEZER.into())),
        FaultKind::KillAgent
        | FaultKind::KillMachine
        | FaultKind::PowerCut
        | FaultKind::Stop
        | FaultKind::Wipe
        | FaultKind::Pause
        | FaultKind::Slow
        | FaultKind::DiskFull
        | FaultKind::Partition
        | FaultKind::Loss
        | FaultKind::Delay
        | FaultKind::Duplicate
        | FaultKind::Reorder
        | FaultKind::ClockOffset
        | FaultKind::ClockDrift
        | FaultKind::TaskIgnoreTerm
        | FaultKind::TaskFailHealth
        | FaultKind::Lie
        | FaultKind::Move
        | FaultKind::Rolling
        | FaultKind::Copy
        | FaultKind::QuorumLost
        | FaultKind::Lag
        | FaultKind::Upgrade
        | FaultKind::Remove
        | FaultKind::Rotate
        | FaultKind::Bandwidth
        | FaultKind::Cpu
        | FaultKind::Memory
        | FaultKind::Dns
        | FaultKind::Drain
        | FaultKind::Leader => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ground() -> Ground<'static> {
        Ground {
            own: ([127, 0, 0, 1], 7400).into(),
            ends: &[],
            everybody: true,
            no_nft: None,
            run: None,
            agent: 77,
            journal: None,
            permitted: None,
            serves_dns: true,
            leads: false,
            drained: false,
        }
    }

    #[test]
    fn each_kind_has_an_example_and_is_done_or_refused_with_a_reason() {
        let ends = [([127, 0, 0, 2], 7400).into()];
        let ground = Ground { ends: &ends, leads: true, ..ground() };
        let id = "0123456789abcdef";
        let mut refused = vec![];
        for kind in FaultKind::all() {
            let fault = example(kind);
            assert_eq!(fault.kind(), kind);
            fault.check().unwrap();
            match choose_some_task(kind, true).unwrap_or_else(|| choose(id, &fault, &ground).map(|c| c.backend)) {
                Ok(backend) => assert!(!backend.is_empty(), "{kind}"),
                Err(why) => {
                    assert!(why.len() > 20, "{kind}: {why}");
                    refused.push(kind.as_str());
                }
            }
        }
        let only_simulated = "power-cut wipe slow task-ignore-term task-fail-health lie move rolling copy quorum-lost lag \
                              upgrade remove rotate";
        assert_eq!(refused.join(" "), only_simulated);
        assert!(choose_some_task(FaultKind::TaskHang, false).unwrap().is_err(), "where nothing can be frozen");
    }

    #[test]
    fn the_kernel_does_it_where_it_can_and_the_socket_where_not() {
        let ends = [([127, 0, 0, 2], 7400).into()];
        let loss = Fault::Loss { fraction: 0.2 };
        let by_kernel = choose("0123456789abcdef", &loss, &Ground { ends: &ends, ..ground() }).unwrap();
        assert_eq!(by_kernel.backend, "nftables");
        assert!(by_kernel.commands[0].contains("numgen random mod 10000 < 2000 counter drop"), "{by_kernel:?}");
        let by_node = Ground { ends: &ends, everybody: false, no_nft: Some("not installed"), ..ground() };
        let by_node = choose("0123456789abcdef", &loss, &by_node).unwrap();
        assert_eq!((by_node.backend, by_node.deed), ("socket", Deed::Inside));
        assert_eq!(
            by_node.commands,
            ["loss 20 % on the node's own socket with 127.0.0.2:7400 (nftables: not installed)"]
        );
    }

    #[test]
    fn what_would_be_undone_wrongly_or_not_at_all_is_refused() {
        let id = "0123456789abcdef";
        assert!(choose(id, &Fault::Leader, &ground()).is_err());
        assert!(choose(id, &Fault::Leader, &Ground { leads: true, ..ground() }).is_ok());
        assert!(choose(id, &Fault::Drain, &Ground { drained: true, ..ground() }).is_err());
        assert!(
            choose(
                id,
                &Fault::Dns { fraction: 1.0, instead: DnsInstead::Drop },
                &Ground { serves_dns: false, ..ground() }
            )
            .is_err()
        );
        assert!(choose(id, &Fault::Memory { bytes: 1 << 40 }, &ground()).unwrap_err().contains("can spare"));
        assert!(choose(id, &Fault::TaskCrash, &ground()).unwrap_err().contains("name the task"));
    }
}
