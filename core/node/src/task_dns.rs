//! Where the tasks of this machine are answered: port 53 of a loopback address of the node's own, as a resolv.conf names no
//! port. Nobody else's port is taken, and a machine that does not let us have one is served without.

use crate::{
    folder::{Folder, file},
    task_options::TaskDns,
};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};
use taffeta_dns_server::{BindError, DnsSockets, UdpConfig};
use taffeta_model::{AppName, fnv1a};

/// The only port that a resolv.conf means.
const PORT: u16 = 53;
/// Second byte of the addresses: 127.84.0.0/16 is ours by custom alone.
const SUBNET: u8 = 84;
/// Addresses that are tried, if others on this machine have chosen alike.
const TRIES: u64 = 16;
/// Tasks are not many, and each asks seldom.
const THREADS: usize = 1;

/// How tasks' programs find names.
#[derive(Debug, Default)]
pub(crate) struct TaskNames {
    /// Held until the doors open.
    pub(crate) sockets: Option<DnsSockets>,
    /// Where the node's own server answers them instead, as it has port 53 of all addresses.
    by_own_server: Option<IpAddr>,
    /// What is missing, in words.
    pub(crate) gap: Option<String>,
}

/// How the server of tasks takes datagrams.
pub(crate) fn udp_config(own_addresses: Vec<IpAddr>) -> UdpConfig {
    UdpConfig { threads: THREADS, own_addresses, ..UdpConfig::default() }
}

impl TaskNames {
    /// Listens where it was told, or else at an address of its own, which it keeps: tasks that run know it.
    /// `server` is where the node answers everybody.
    pub(crate) fn open(
        folder: &dyn Folder,
        wanted: Option<TaskDns>,
        own: SocketAddr,
        server: Option<SocketAddr>,
    ) -> io::Result<Self> {
        if server.is_some_and(|server| server.port() == PORT && server.ip().is_unspecified())
            && wanted != Some(TaskDns::Off)
        {
            let at = if let Some(TaskDns::At(ip)) = wanted { ip } else { own.ip() };
            return Ok(Self { by_own_server: Some(at), ..Self::default() });
        }
        let known = folder.read(file::TASK_DNS)?.and_then(|text| String::from_utf8(text).ok()?.trim().parse().ok());
        let candidates: Vec<IpAddr> = match wanted {
            Some(TaskDns::Off) => return Ok(Self::default()),
            Some(TaskDns::At(ip)) => vec![ip],
            None => known.into_iter().chain((0..TRIES).map(|at| own_address(own, at).into())).collect(),
        };
        let mut gap = None;
        for ip in candidates {
            match DnsSockets::bind(SocketAddr::new(ip, PORT), &udp_config(vec![])) {
                Ok(sockets) => {
                    folder.write(file::TASK_DNS, ip.to_string().as_bytes())?;
                    return Ok(Self { sockets: Some(sockets), ..Self::default() });
                }
                Err(BindError { source, .. }) => {
                    gap.get_or_insert_with(|| words(ip, &source));
                    if source.kind() == io::ErrorKind::PermissionDenied {
                        break; // nowhere else either
                    }
                }
            }
        }
        Ok(Self { gap, ..Self::default() })
    }

    /// Where they are answered.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.sockets.as_ref().map(|sockets| sockets.local_addr().ip()).or(self.by_own_server)
    }
}

fn words(ip: IpAddr, e: &io::Error) -> String {
    let todo = match e.kind() {
        io::ErrorKind::PermissionDenied => "; it needs root, or CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrInUse => "; choose another address by --task-dns",
        _ => "", // foreign, and the system's own words are all that is known
    };
    format!("names: tasks ask the machine's resolvers, as the node cannot answer on {ip}:53 ({e}{todo})")
}

/// The address that a node of this address tries so late: those of nodes on 127.0.0.1, .2, .3 are 127.84.0.1, .2, .3.
fn own_address(own: SocketAddr, at: u64) -> Ipv4Addr {
    match own.ip() {
        IpAddr::V4(v4) if at == 0 && v4.octets()[..3] == [127, 0, 0] => Ipv4Addr::new(127, SUBNET, 0, v4.octets()[3]),
        _ => {
            let hash = fnv1a(format!("{own} {at}").as_bytes());
            // Not 0 in the middle, which is for the nodes above, nor 0 or 255 at the end.
            Ipv4Addr::new(127, SUBNET, (hash % 255 + 1) as u8, (hash / 255 % 254 + 1) as u8)
        }
    }
}

/// The text of a task's resolv.conf. A bare name is looked for in its own app first; one with a dot is asked as it is, and
/// the node completes it if the fabric has it.
pub(crate) fn resolv_conf(server: IpAddr, app: &AppName, domain: &str) -> String {
    let domain = domain.trim_end_matches('.');
    format!("nameserver {server}\nsearch {app}.{domain} {domain}\noptions ndots:1\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn nodes_of_one_machine_have_different_addresses_of_their_own() {
        let of = |own: &str, at| own_address(own.parse().unwrap(), at);
        assert_eq!(of("127.0.0.1:7400", 0), Ipv4Addr::new(127, 84, 0, 1));
        assert_eq!(of("127.0.0.3:7400", 0), Ipv4Addr::new(127, 84, 0, 3));
        let owns: Vec<String> = (1..=50).map(|i| format!("10.0.0.{i}:7400")).collect();
        let all: BTreeSet<_> = owns.iter().flat_map(|own| (0..2).map(|at| of(own, at))).collect();
        assert!(all.len() > 95, "{}", all.len());
        assert!(all.iter().all(|ip| ip.octets()[1] == 84 && ip.octets()[2] != 0 && ip.octets()[3] != 0));
        assert_eq!(of("[2001:db8::1]:7400", 0).octets()[..2], [127, 84]);
    }

    #[test]
    fn a_task_looks_in_its_app_first() {
        let text = resolv_conf("127.84.0.1".parse().unwrap(), &"shop".parse().unwrap(), "fabric.internal.");
        assert_eq!(text, "nameserver 127.84.0.1\nsearch shop.fabric.internal fabric.internal\noptions ndots:1\n");
    }

    #[test]
    fn what_cannot_be_had_is_told_with_what_to_do() {
        let ip = "127.84.0.1".parse().unwrap();
        let denied = words(ip, &io::ErrorKind::PermissionDenied.into());
        assert!(denied.contains("127.84.0.1:53") && denied.contains("needs root"), "{denied}");
        assert!(words(ip, &io::ErrorKind::AddrInUse.into()).contains("--task-dns"));
    }
}
