//! The resolvers of a machine: how each is found, what it is to be told, and what makes it listen.

use super::{
    Plan,
    files::{Change, Root},
};
use crate::failure::{Failure, Outcome};
use clap::ValueEnum;
use serde::Serialize;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

/// The first line of every file that is ours, after the mark of a comment.
const OURS: &str = "Written by `taffeta dns setup`; `taffeta dns setup --undo` takes it back.";
const RESOLV_CONF: &str = "/etc/resolv.conf";
const BEGIN: &str = "# taffeta dns setup: begin";
const END: &str = "# taffeta dns setup: end";
/// Longest name in text, without the last dot (RFC 1035 section 2.3.4).
const NAME_MAX: usize = 253;
/// As many as the C library reads (MAXNS).
const NAMESERVERS_MAX: usize = 3;

/// What resolves names on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum System {
    /// systemd-resolved
    SystemdResolved,
    /// NetworkManager with its dnsmasq
    NetworkManager,
    /// dnsmasq
    Dnsmasq,
    /// unbound
    Unbound,
    /// The C library alone, by resolv.conf
    #[value(name = "resolv.conf")]
    #[serde(rename = "resolv.conf")]
    ResolvConf,
}

/// Whom to ask for what.
pub(super) struct Target {
    dns: SocketAddr,
    /// Without the last dot.
    zones: Vec<String>,
}

impl Target {
    pub(super) fn new(dns: SocketAddr, zones: Vec<String>) -> Outcome<Self> {
        let plain = |zone: &String| {
            let text = zone.strip_suffix('.').unwrap_or(zone);
            // Nothing else can stand in all of the files without being read as something else.
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            let fits = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(plain);
            if text.len() > NAME_MAX || !text.split('.').all(fits) {
                return Err(Failure::wrong(format!("--zone: `{zone}` is not a zone of letters, digits, `-` and `_`")));
            }
            Ok(text.to_owned())
        };
        // Whoever listens everywhere is asked on loopback.
        let ip = match dns.ip() {
            ip if !ip.is_unspecified() => ip,
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        Ok(Self { dns: SocketAddr::new(ip, dns.port()), zones: zones.iter().map(plain).collect::<Outcome<_>>()? })
    }

    /// A line for each zone.
    fn each(&self, line: impl Fn(&str) -> String) -> String {
        self.zones.iter().map(|zone| line(zone) + "\n").collect()
    }
}

impl System {
    /// The one that this machine uses.
    pub(super) fn find(root: &Root) -> Outcome<Self> {
        let resolved = root.exists("/run/systemd/resolve/resolv.conf")
            || root.read(Path::new(RESOLV_CONF))?.is_some_and(|text| text.contains("127.0.0.53"));
        Ok(if resolved {
            Self::SystemdResolved
        } else if manager_runs_dnsmasq(root)? {
            Self::NetworkManager
        } else if root.exists("/etc/unbound/unbound.conf") {
            Self::Unbound
        } else if root.exists("/etc/dnsmasq.conf") {
            Self::Dnsmasq
        } else {
            Self::ResolvConf
        })
    }

    /// What is to be written and run.
    pub(super) fn plan(self, root: &Root, target: &Target) -> Outcome<Plan> {
        let (files, notes) = match self {
            Self::ResolvConf => return plan_resolv_conf(root, target),
            Self::SystemdResolved => (resolved(target), vec!["systemd-resolved reads a port from version 246 on"]),
            Self::NetworkManager if !manager_runs_dnsmasq(root)? => {
                return Err(Failure::refused("NetworkManager does not run dnsmasq here").help(
                    "install dnsmasq-base and set `dns=dnsmasq` in its [main] section, or choose another --system",
                ));
            }
            Self::NetworkManager => (vec![("/etc/NetworkManager/dnsmasq.d/taffeta.conf", dnsmasq(target))], vec![]),
            Self::Dnsmasq => (vec![("/etc/dnsmasq.d/taffeta.conf", dnsmasq(target))], vec![]),
            Self::Unbound => (vec![("/etc/unbound/unbound.conf.d/taffeta.conf", unbound(target))], vec![]),
        };
        let mut changes = Vec::new();
        for (path, text) in files {
            let path = Path::new(path);
            let before = root.read(path)?;
            if before.as_ref().is_some_and(|text| !is_ours(text)) {
                return Err(Failure::refused(format!("{} is there and not ours", path.display()))
                    .help("move it away, or choose another --system"));
            }
            if before.as_ref() != Some(&text) {
                changes.push(Change { path: path.into(), after: Some(text) });
            }
        }
        let commands = if changes.is_empty() { vec![] } else { self.reload() };
        Ok(Plan { system: Some(self), changes, commands, notes: notes.into_iter().map(String::from).collect() })
    }

    /// What makes it read its files again.
    fn reload(self) -> Vec<Vec<String>> {
        let unit = match self {
            Self::SystemdResolved => "systemd-resolved",
            Self::NetworkManager => "NetworkManager",
            Self::Dnsmasq => "dnsmasq",
            Self::Unbound => "unbound",
            Self::ResolvConf => return vec![],
        };
        vec![["systemctl", "restart", unit].map(String::from).to_vec()]
    }

    /// The files that a setup of it writes.
    fn files(self) -> &'static [&'static str] {
        match self {
            Self::SystemdResolved => {
                &["/etc/systemd/resolved.conf.d/taffeta.conf", "/etc/dnssec-trust-anchors.d/taffeta.negative"]
            }
            Self::NetworkManager => &["/etc/NetworkManager/dnsmasq.d/taffeta.conf"],
            Self::Dnsmasq => &["/etc/dnsmasq.d/taffeta.conf"],
            Self::Unbound => &["/etc/unbound/unbound.conf.d/taffeta.conf"],
            Self::ResolvConf => &[],
        }
    }
}

/// What takes every earlier setup back, of whichever system it was.
pub(super) fn plan_undo(root: &Root) -> Outcome<Plan> {
    let mut plan = Plan::default();
    for system in System::value_variants() {
        let mut found = false;
        for path in system.files().iter().map(Path::new) {
            if root.read(path)?.is_some_and(|text| is_ours(&text)) {
                plan.changes.push(Change { path: path.into(), after: None });
                found = true;
            }
        }
        if found {
            plan.commands.extend(system.reload());
            plan.system = Some(*system);
        }
    }
    if let Some(text) = root.read(Path::new(RESOLV_CONF))?
        && let Some(without) = without_block(&text)
    {
        plan.changes.push(Change { path: RESOLV_CONF.into(), after: Some(without) });
        plan.system = Some(System::ResolvConf);
    }
    Ok(plan)
}

fn is_ours(text: &str) -> bool {
    text.lines().next().is_some_and(|line| line.contains(OURS))
}

fn manager_runs_dnsmasq(root: &Root) -> Outcome<bool> {
    let mut files = root.list("/etc/NetworkManager/conf.d");
    files.push("/etc/NetworkManager/NetworkManager.conf".into());
    for file in files {
        let text = root.read(&file)?.unwrap_or_default();
        if text.lines().any(|line| line.split_whitespace().collect::<String>() == "dns=dnsmasq") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `~` makes a zone one that is asked for here and nowhere else. The fabric does not sign its zones, and the root zone
/// proves that they do not exist: a validating resolver has to be told not to look.
fn resolved(target: &Target) -> Vec<(&'static str, String)> {
    let zones: Vec<String> = target.zones.iter().map(|zone| format!("~{zone}")).collect();
    let [conf, negative] = System::SystemdResolved.files() else { unreachable!("two files are listed") };
    vec![
        (conf, format!("# {OURS}\n[Resolve]\nDNS={}\nDomains={}\n", target.dns, zones.join(" "))),
        (negative, format!("; {OURS}\n{}", target.each(str::to_owned))),
    ]
}

/// Addresses of the fabric are private ones as a rule, which dnsmasq may be told to suspect (`stop-dns-rebind`).
fn dnsmasq(target: &Target) -> String {
    let (ip, port) = (target.dns.ip(), target.dns.port());
    format!(
        "# {OURS}\n{}{}",
        target.each(|zone| format!("server=/{zone}/{ip}#{port}")),
        target.each(|zone| format!("rebind-domain-ok=/{zone}/"))
    )
}

fn unbound(target: &Target) -> String {
    let (ip, port) = (target.dns.ip(), target.dns.port());
    let server = target.each(|zone| {
        format!(
            "    domain-insecure: \"{zone}\"\n    private-domain: \"{zone}\"\n    local-zone: \"{zone}.\" transparent"
        )
    });
    let zones = target.each(|zone| format!("stub-zone:\n    name: \"{zone}\"\n    stub-addr: {ip}@{port}"));
    let local = if ip.is_loopback() { "    do-not-query-localhost: no\n" } else { "" };
    format!("# {OURS}\nserver:\n{local}{server}{zones}")
}

/// The node comes first, and the others stay for the time in which it does not run. It asks them itself, too.
fn plan_resolv_conf(root: &Root, target: &Target) -> Outcome<Plan> {
    if target.dns.port() != 53 {
        return Err(Failure::refused(format!(
            "resolv.conf names no ports, and the node's DNS listens on {}",
            target.dns
        ))
        .help("let it listen on port 53: `taffeta up --dns 127.0.0.1:53`, and say so here with --dns"));
    }
    if root.is_link(RESOLV_CONF) {
        return Err(Failure::refused("/etc/resolv.conf is a link: another program writes it")
            .help("name that program with --system, or replace the link by a file"));
    }
    let before = root.read(Path::new(RESOLV_CONF))?.unwrap_or_default();
    let rest = without_block(&before).unwrap_or_else(|| before.clone());
    let after = format!("{BEGIN}\nnameserver {}\n{END}\n{rest}", target.dns.ip());
    let servers = rest.lines().filter(|line| line.split_whitespace().next() == Some("nameserver")).count();
    let too_many = servers >= NAMESERVERS_MAX;
    let note = "the C library reads three nameservers: the last one is passed over from now on";
    let changes = if after == before { vec![] } else { vec![Change { path: RESOLV_CONF.into(), after: Some(after) }] };
    let notes = too_many.then(|| note.to_owned()).into_iter().collect();
    Ok(Plan { system: Some(System::ResolvConf), changes, commands: vec![], notes })
}

/// A resolv.conf without our block; `None` if it has none.
fn without_block(text: &str) -> Option<String> {
    let begin = text.find(BEGIN)?;
    let end = begin + text[begin..].find(END)? + END.len();
    let rest = &text[end..];
    let rest = rest.strip_prefix('\n').unwrap_or(rest);
    Some(format!("{}{rest}", &text[..begin]))
}
