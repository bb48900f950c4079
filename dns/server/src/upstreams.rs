//! Which resolvers to ask about names that are not ours.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6},
    path::PathBuf,
};

/// systemd-resolved's stubs. They may be told to ask us, so what they ask themselves is the better list.
const STUBS: [IpAddr; 2] =
    [IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 53)), IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 54))];
/// Lines of one resolv.conf that are looked at.
const MAX_LINES: usize = 8;
/// A resolv.conf beyond this is none.
const MAX_FILE: usize = 64 * 1024;

/// Which resolvers to ask about names that are not ours.
#[derive(Clone, Debug)]
pub enum Upstreams {
    /// Nobody: names that are not ours are refused.
    Nobody,
    /// These, in this order of preference; the first 3 count.
    Listed(Vec<SocketAddr>),
    /// Those of the machine.
    System {
        /// As a rule `/etc/resolv.conf`.
        resolv_conf: PathBuf,
        /// Read instead if the former names systemd-resolved's stub 127.0.0.53; as a rule
        /// `/run/systemd/resolve/resolv.conf`.
        behind_stub: PathBuf,
    },
}

impl Upstreams {
    /// Those of the machine, from the usual files.
    pub fn system() -> Self {
        Self::System { resolv_conf: "/etc/resolv.conf".into(), behind_stub: "/run/systemd/resolve/resolv.conf".into() }
    }

    /// Whether another reading may give another list.
    pub(crate) fn may_change(&self) -> bool {
        match self {
            Self::Nobody | Self::Listed(_) => false,
            Self::System { .. } => true,
        }
    }

    /// The list as it is now, without ourselves; empty if the file cannot be read.
    pub(crate) async fn read(&self, is_own: impl Fn(SocketAddr) -> bool) -> Vec<SocketAddr> {
        let mut list = match self {
            Self::Nobody => Vec::new(),
            Self::Listed(list) => list.clone(),
            Self::System { resolv_conf, behind_stub } => {
                let list = nameservers(&read_file(resolv_conf).await).await;
                // The machine may have been told to ask us; whom it asked before is there, too.
                let elsewhere = |s: &SocketAddr| STUBS.contains(&s.ip()) || is_own(*s);
                let behind = if list.iter().any(elsewhere) { read_file(behind_stub).await } else { String::new() };
                let behind = nameservers(&behind).await;
                if behind.is_empty() { list } else { behind }
            }
        };
        list.retain(|u| !is_own(*u));
        list
    }
}

#[expect(clippy::disallowed_methods, reason = "only `System` reads files, which no simulator gives")]
async fn read_file(path: &PathBuf) -> String {
    match tokio::fs::read(path).await {
        Ok(bytes) if bytes.len() <= MAX_FILE => String::from_utf8_lossy(&bytes).into_owned(),
        Ok(_) => {
            tracing::warn!(path = %path.display(), "too long to be a resolv.conf; passed over");
            String::new()
        }
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "no upstream resolvers from this file");
            String::new()
        }
    }
}

/// The `nameserver` lines of resolv.conf(5), as many as the C library takes and a few that may be ourselves.
async fn nameservers(text: &str) -> Vec<SocketAddr> {
    let mut list = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() == Some("nameserver")
            && let Some(address) = words.next()
            && list.len() < MAX_LINES
        {
            list.extend(nameserver(address).await);
        }
    }
    list
}

/// An address, of IPv6 perhaps with a zone (`fe80::1%eth0`, RFC 4007 section 11).
async fn nameserver(text: &str) -> Option<SocketAddr> {
    let Some((address, zone)) = text.split_once('%') else { return Some(SocketAddr::new(text.parse().ok()?, 53)) };
    let address: Ipv6Addr = address.parse().ok()?;
    Some(SocketAddrV6::new(address, 53, 0, interface_index(zone).await?).into())
}

async fn interface_index(zone: &str) -> Option<u32> {
    if let Ok(index) = zone.parse() {
        return Some(index);
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:@".contains(c);
    let is_name = zone.chars().all(plain) && !zone.starts_with('.');
    let path = is_name.then(|| PathBuf::from(format!("/sys/class/net/{zone}/ifindex")))?;
    read_file(&path).await.trim().parse().ok()
}
