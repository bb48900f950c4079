//! Cuts and losses by nftables: a table of our own for each fault, whose sets forget their elements by themselves.
//!
//! The kernel ends the fault even if nobody is left to take the table away: without an element no rule meets a packet.
//! Rules name both ends, so that of several nodes on one kernel one alone is hit. Nodes on loopback addresses share one
//! kernel with everything else there, and clients have no address of their own: between them only what the nodes say to
//! each other is hit.

use std::{
    io::Write,
    net::{IpAddr, SocketAddr},
    process::{Command, Stdio},
    sync::OnceLock,
};

/// Where programs for administrators are, if the search path of a service does not say so.
const FOLDERS: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";

/// Stands for the time that is left in what a table is made of.
pub(crate) const TIMEOUT: &str = "TIMEOUT";

/// Which packets a rule meets, and how many of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drops {
    pub(crate) incoming: bool,
    pub(crate) outgoing: bool,
    /// 0 to 1.
    pub(crate) fraction: f64,
}

/// Name of the table of a fault.
pub(crate) fn table(id: &str) -> String {
    format!("taffeta_chaos_{id}")
}

/// The table that drops packets between `own` and these ends, as `nft -f` reads it; `Err` says what cannot be.
pub(crate) fn rules(
    name: &str,
    own: SocketAddr,
    ends: &[SocketAddr],
    drops: Drops,
) -> Result<(String, String), String> {
    let (family, kind) = if own.is_ipv4() { ("ip", "ipv4_addr") } else { ("ip6", "ipv6_addr") };
    let mut there: Vec<IpAddr> = ends.iter().map(SocketAddr::ip).filter(|ip| ip.is_ipv4() == own.is_ipv4()).collect();
    there.sort_unstable();
    there.dedup();
    there.retain(|ip| *ip != own.ip());
    if there.is_empty() {
        return Err("there is no other machine at the other end".into());
    }
    let elements: Vec<String> = there.iter().map(|ip| format!("{ip} timeout {TIMEOUT}")).collect();
    let (ip, port) = (own.ip(), own.port());
    let (to, from) = if ip.is_loopback() {
        (format!(" udp dport {port}"), format!(" udp sport {port}"))
    } else {
        Default::default()
    };
    let share = (drops.fraction * 10_000.0).round() as u32;
    let some = if share >= 10_000 { String::new() } else { format!(" numgen random mod 10000 < {share}") };
    let mut rules = format!("table {family} {name} {{\n");
    rules += &format!("  set ends {{ type {kind}; flags timeout; elements = {{ {} }} }}\n", elements.join(", "));
    for (on, chain, rule) in [
        (drops.incoming, "input", format!("{family} saddr @ends {family} daddr {ip}{to}{some} counter drop")),
        (drops.outgoing, "output", format!("{family} saddr {ip}{from} {family} daddr @ends{some} counter drop")),
    ] {
        if on {
            rules += &format!("  chain {chain} {{\n    type filter hook {chain} priority -150;\n    {rule}\n  }}\n");
        }
    }
    Ok((family.into(), rules + "}\n"))
}

/// Makes a table that lasts for so long.
pub(crate) fn make(rules: &str, millis_left: u64) -> Result<(), String> {
    nft(&["-f", "-"], &rules.replace(TIMEOUT, &format!("{}ms", millis_left.max(1))))
}

/// Removes a table, if it is there.
pub(crate) fn remove(family: &str, name: &str) -> Result<(), String> {
    // In one transaction: it is made if it is not there, so that it can be removed in any case.
    nft(&["-f", "-"], &format!("add table {family} {name}\ndelete table {family} {name}\n"))
}

/// Why nftables cannot be used here; tried once in the life of the process, without changing anything.
pub(crate) fn missing() -> Option<&'static str> {
    static TRIED: OnceLock<Option<String>> = OnceLock::new();
    let tried = TRIED.get_or_init(|| {
        let drops = Drops { incoming: true, outgoing: true, fraction: 0.5 };
        let ends = [SocketAddr::from(([192, 0, 2, 2], 1))];
        let (_, rules) = rules(&table("trial"), ([192, 0, 2, 1], 1).into(), &ends, drops).ok()?;
        nft(&["-c", "-f", "-"], &rules.replace(TIMEOUT, "1s")).err()
    });
    tried.as_deref()
}

fn nft(args: &[&str], input: &str) -> Result<(), String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("nft");
    command.args(args).env("PATH", format!("{path}:{FOLDERS}"));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("`nft` cannot be run: {e}"))?;
    if let Some(mut pipe) = child.stdin.take() {
        let _ = pipe.write_all(input.as_bytes()); // one that is gone says so by its status
    }
    let output = child.wait_with_output().map_err(|e| format!("`nft` cannot be waited for: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    Err(format!("`nft` refused ({}): {said}", output.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Drops = Drops { incoming: true, outgoing: true, fraction: 1.0 };

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn on_one_kernel_only_what_the_nodes_say_to_each_other_is_hit() {
        let ends = [at("127.0.0.3:7400"), at("127.0.0.1:7400"), at("127.0.0.2:7400")];
        let (family, rules) = rules("t", at("127.0.0.2:7400"), &ends, BOTH).unwrap();
        assert_eq!(family, "ip");
        assert_eq!(
            rules,
            "table ip t {\n  \
               set ends { type ipv4_addr; flags timeout; elements = { 127.0.0.1 timeout TIMEOUT, 127.0.0.3 timeout TIMEOUT } }\n  \
               chain input {\n    type filter hook input priority -150;\n    \
                 ip saddr @ends ip daddr 127.0.0.2 udp dport 7400 counter drop\n  }\n  \
               chain output {\n    type filter hook output priority -150;\n    \
                 ip saddr 127.0.0.2 udp sport 7400 ip daddr @ends counter drop\n  }\n}\n"
        );
    }

    #[test]
    fn between_machines_everything_is_hit_or_the_share_that_was_asked_for() {
        let drops = Drops { incoming: true, outgoing: false, fraction: 0.25 };
        let (family, rules) = rules("t", at("[fd00::1]:7400"), &[at("[fd00::2]:7400")], drops).unwrap();
        assert_eq!(family, "ip6");
        assert!(
            rules.contains("ip6 saddr @ends ip6 daddr fd00::1 numgen random mod 10000 < 2500 counter drop"),
            "{rules}"
        );
        assert!(!rules.contains("chain output"), "{rules}");
    }

    #[test]
    fn a_node_is_not_cut_off_from_itself_or_nobody() {
        for ends in [vec![], vec![at("10.0.0.1:7400")], vec![at("[fd00::2]:7400")]] {
            assert!(rules("t", at("10.0.0.1:7400"), &ends, BOTH).is_err());
        }
    }
}
