//! The demo's machines: what each is called, where it listens, how one looks at it.

use super::children::Death;
use crate::failure::{Failure, Outcome};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};
use taffeta_node::{
    DNS_PORT, HTTP_PORT,
    client::{ApiClient, ApiTarget},
};

/// How long one look may take, so that a stuck node does not hide the state of the others.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// One machine of the demo.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// `n2`.
    pub(super) name: String,
    /// 127.0.0.2.
    pub(super) ip: IpAddr,
    /// Its data folder, with a slash at its end: so written, one `pkill -f` meets the node and all its shims, and
    /// `n1/` never means `n10/`.
    pub(super) data: String,
    /// What it prints and logs.
    pub(super) log: PathBuf,
}

impl Node {
    pub(super) fn new(number: u8, folder: &Path) -> Self {
        let name = format!("n{number}");
        let (data, log) = (format!("{}/", folder.join(&name).display()), folder.join(format!("{name}.log")));
        Self { name, ip: Ipv4Addr::new(127, 0, 0, number).into(), data, log }
    }

    /// Its API and web page.
    pub(super) fn url(&self) -> String {
        format!("http://{}:{HTTP_PORT}", self.ip)
    }

    pub(super) fn dns(&self) -> SocketAddr {
        SocketAddr::new(self.ip, DNS_PORT)
    }

    pub(super) fn client(&self) -> Outcome<ApiClient> {
        Ok(ApiClient::new(ApiTarget::Http(self.url()), None)?.time_limit(LOOK_LIMIT))
    }

    /// Whether it has joined, can be given tasks, knows a leader, and sees the whole ring.
    pub(super) async fn is_ready(&self, ring: usize) -> bool {
        let Ok(client) = self.client() else { return false };
        client.status().await.is_ok_and(|status| status.ready && status.nodes.alive == ring)
    }

    /// The last lines of its log.
    pub(super) fn last_lines(&self, number: usize) -> Vec<String> {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(number)..].iter().map(|line| (*line).to_owned()).collect()
    }
}

/// The error about a node that ended before all was ready, in its own words.
pub(super) fn early_end(nodes: &[Node], death: &Death) -> Failure {
    let lines = nodes.iter().find(|node| node.name == death.node).map(|node| node.last_lines(2)).unwrap_or_default();
    let said = |kind: &str| lines.iter().find_map(|line| line.strip_prefix(kind).map(String::from));
    let why = said("error: ").unwrap_or_else(|| death.how.clone());
    Failure::failed(format!("{} could not run: {why}", death.node)).maybe_help(said("help: "))
}
