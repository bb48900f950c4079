//! Which resolvers to ask about names that are not ours.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

/// As many as the C library takes from resolv.conf (MAXNS).
const MAX_UPSTREAMS: usize = 3;
/// systemd-resolved's stub. It may be told to ask us, so what it asks itself is the better list.
const STUB: &str = "127.0.0.53";
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

    /// The list as it is now; empty if the file cannot be read.
    pub(crate) async fn read(&self) -> Vec<SocketAddr> {
        let mut list = match self {
            Self::Nobody => Vec::new(),
            Self::Listed(list) => list.clone(),
            Self::System { resolv_conf, behind_stub } => {
                let list = nameservers(&read_file(resolv_conf).await);
                let stub = list.iter().any(|s| s.ip().to_string() == STUB);
                let behind = if stub { nameservers(&read_file(behind_stub).await) } else { Vec::new() };
                if behind.is_empty() { list } else { behind }
            }
        };
        list.truncate(MAX_UPSTREAMS);
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

/// The `nameserver` lines of resolv.conf(5). An address with a zone (`fe80::1%eth0`) is passed over.
fn nameservers(text: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let ip: IpAddr = (words.next()? == "nameserver").then(|| words.next())??.parse().ok()?;
        Some(SocketAddr::new(ip, 53))
    };
    text.lines().filter_map(address).collect()
}
