//! What a task is told by its environment, checked once.

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Who answers: shown in every reply, so that one sees which instance on which machine it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Instance {
    /// `$TAFFETA_TASK`, or the program's name outside a fabric.
    pub(crate) task: String,
    /// `$TAFFETA_NODE`, or `-` outside a fabric.
    pub(crate) node: String,
}

/// The environment of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Who we are.
    pub(crate) instance: Instance,
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// The fabric's DNS server on this machine; only `web` needs it.
    pub(crate) dns: Option<SocketAddr>,
    /// The app's name, the second label of a service's name.
    pub(crate) app: String,
    /// The fabric's domain, without a dot at its end.
    pub(crate) domain: String,
}

impl Settings {
    /// Reads the variables through `variable`; an empty one counts as unset.
    pub(crate) fn read(program: &str, variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let or = |name: &str, default: &str| set(name).unwrap_or_else(|| default.into());
        let Some(port) = set("PORT_HTTP") else {
            bail!("PORT_HTTP is not set; a task has it by `ports = [\"http\"]`, by hand say PORT_HTTP=8080");
        };
        let port = port.parse().with_context(|| format!("PORT_HTTP is `{port}`, expected a port number"))?;
        let address = match set("TAFFETA_ADDRESS") {
            None => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Some(a) => a.parse().with_context(|| format!("TAFFETA_ADDRESS is `{a}`, expected an IP address"))?,
        };
        Ok(Self {
            instance: Instance { task: or("TAFFETA_TASK", program), node: or("TAFFETA_NODE", "-") },
            listen: SocketAddr::new(address, port),
            dns: set("TAFFETA_DNS").map(|dns| dns_address(&dns)).transpose()?,
            app: or("TAFFETA_APP", "shop"),
            domain: or("TAFFETA_DOMAIN", "fabric.internal").trim_end_matches('.').into(),
        })
    }
}

/// `ADDRESS:PORT`, or an address alone with the usual port.
fn dns_address(text: &str) -> anyhow::Result<SocketAddr> {
    let alone = || text.parse().map(|ip: IpAddr| SocketAddr::new(ip, 53));
    let parsed = text.parse().or_else(|_| alone());
    parsed.with_context(|| format!("TAFFETA_DNS is `{text}`, expected ADDRESS:PORT as in 127.0.0.1:7453"))
}
