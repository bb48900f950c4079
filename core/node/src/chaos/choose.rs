//! Which back end brings a fault about on this machine, and what it does: decided before anything is done.

use super::{
    fill,
    inside::ways,
    journal::Deed,
    load,
    netfilter::{self, Drops},
};
use std::{net::SocketAddr, path::Path};
use taffeta_chaos_plan::{DnsInstead, Fault, FaultKind};
use taffeta_isolation_linux::harm;

/// The kinds that are known here, each with some fault of it: what a look at the back ends asks about.
const KNOWN: [&str; 19] = [
    "kill-agent",
    "kill-machine",
    "stop",
    "pause",
    "disk-full",
    "partition",
    "loss",
    "delay",
    "duplicate",
    "reorder",
    "clock-offset",
    "clock-drift",
    "task-crash",
    "task-hang",
    "bandwidth",
    "cpu",
    "memory",
    "dns",
    "drain",
];

/// How an agent is undone that was killed or stopped.
const AGAIN: &str = "start it again with its own arguments, unless it is back";

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
                let commands = vec![format!("fallocate {} until 512 KiB are left", file.display()), "remove it".into()];
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
            let commands = vec![format!("{workers} processes that take {percent} % of a core each")];
            Ok(Choice { backend: "process", commands, deed: Deed::Burn { workers: *workers, percent: *percent } })
        }
        Fault::Memory { bytes } => hold(*bytes),
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
        Fault::PowerCut
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
        | Fault::Rotate => Err(format!("no back end brings `{}` about on a real node", fault.kind())),
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
        return Err("the task has no cgroup that can be frozen on this machine".into());
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

fn hold(bytes: u64) -> Result<Choice, String> {
    let most = load::memory_available().map(|available| available.saturating_sub(load::MEMORY_RESERVE));
    if let Some(most) = most.filter(|most| bytes > *most) {
        return Err(format!("the machine can spare {most} bytes of memory, and {bytes} would be taken"));
    }
    let commands = vec![format!("a process that holds {bytes} bytes of memory")];
    Ok(Choice { backend: "process", commands, deed: Deed::Hold { bytes } })
}

fn with(on: &Ground<'_>) -> String {
    if on.everybody {
        return " with everybody".into();
    }
    let ends: Vec<String> = on.ends.iter().map(SocketAddr::to_string).collect();
    format!(" with {}", ends.join(", "))
}

/// Each kind that may be asked for, with an example, for whoever wants to know the back ends beforehand.
pub(crate) fn examples() -> Vec<Fault> {
    let some = |name: &str| {
        let fields = match name {
            "partition" => serde_json::json!({ "shape": "split" }),
            "loss" | "duplicate" | "reorder" | "dns" => serde_json::json!({ "fraction": 0.1 }),
            "delay" | "clock-offset" => serde_json::json!({ "by_ms": 1 }),
            "clock-drift" => serde_json::json!({ "ppm": 1 }),
            "bandwidth" => serde_json::json!({ "kbit_per_s": 1_000 }),
            "cpu" => serde_json::json!({ "workers": 1 }),
            "memory" => serde_json::json!({ "bytes": 1 }),
            _ => return serde_json::from_value(name.into()).ok(),
        };
        serde_json::from_value(serde_json::Value::Object([(name.to_owned(), fields)].into_iter().collect())).ok()
    };
    KNOWN.into_iter().filter_map(some).chain([Fault::Leader]).collect()
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
            serves_dns: true,
            leads: false,
            drained: false,
        }
    }

    #[test]
    fn each_known_kind_has_an_example_and_a_word_for_each_that_has_not() {
        let examples = examples();
        assert_eq!(examples.len(), KNOWN.len() + 1);
        let known: Vec<FaultKind> = examples.iter().map(Fault::kind).collect();
        for kind in FaultKind::REAL_ONLY {
            assert!(known.contains(&kind), "{kind}");
        }
        let refused = choose("0123456789abcdef", &Fault::Rotate, &ground()).unwrap_err();
        assert_eq!(refused, "no back end brings `rotate` about on a real node");
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
