//! What the machine is: its name, its address, its size.

use crate::{
    api::ErrorCode,
    config::{FabricConfig, OfferChanges},
    folder::Settings,
    start_error::StartError,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    path::Path,
    sync::OnceLock,
};
use taffeta_model::{Cpus, NodeName, Resources};

/// Memory that is not offered to tasks: for the system and for the fabric itself.
const MEMORY_RESERVE: u64 = 256 << 20;
/// Allocated ports are 20000 to 31999.
const PORTS: u32 = 12_000;

/// The host name as a node's name.
pub(crate) fn host_name() -> Result<NodeName, StartError> {
    let name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let label = name.split('.').next().unwrap_or_default().to_owned();
    NodeName::new(label).map_err(|e| {
        StartError::new(ErrorCode::Invalid, format!("the host name cannot name the machine: {e}"))
            .help("give it a name: --name NAME")
    })
}

/// The address from which the machine would send to the outside. Nothing is sent.
pub(crate) fn own_address() -> Result<IpAddr, StartError> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let found = socket.connect(("192.0.2.1", 9)).and_then(|()| socket.local_addr()); // TEST-NET-1, RFC 5737
    match found {
        Ok(address) if !address.ip().is_unspecified() => Ok(address.ip()),
        Ok(_) | Err(_) => Ok(Ipv4Addr::LOCALHOST.into()), // a machine without a network: a ring of one
    }
}

/// The addresses of this machine, as the kernel lists them; what cannot be read is left out.
pub(crate) fn addresses() -> Vec<IpAddr> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let mut all: Vec<IpAddr> = own_v4(&read("/proc/net/fib_trie")).into_iter().map(IpAddr::V4).collect();
    let v6 = read("/proc/net/if_inet6");
    let v6 = v6.lines().filter_map(|line| u128::from_str_radix(line.split_whitespace().next()?, 16).ok());
    all.extend(v6.map(|bits| IpAddr::V6(bits.into())));
    all.sort_unstable();
    all.dedup();
    all
}

/// The addresses of the routing trie that are the machine's own: each line of a `/32 host LOCAL` follows its address.
fn own_v4(trie: &str) -> Vec<Ipv4Addr> {
    let lines: Vec<&str> = trie.lines().map(str::trim).collect();
    let pairs = lines.windows(2).filter(|pair| pair[1].starts_with("/32 host LOCAL"));
    pairs.filter_map(|pair| pair[0].strip_prefix("|-- ")?.parse().ok()).collect()
}

/// What the node offers to tasks.
#[derive(Clone)]
pub(crate) struct Offer {
    pub(crate) capacity: Resources,
    pub(crate) custom: BTreeMap<String, u64>,
}

impl Offer {
    pub(crate) fn of(config: &FabricConfig, settings: &Settings) -> Self {
        let mut capacity = config.capacity.unwrap_or_else(|| capacity(&config.data));
        let OfferChanges { cpus, memory, disk } = settings.offer;
        capacity.cpus = cpus.unwrap_or(capacity.cpus);
        capacity.memory = memory.unwrap_or(capacity.memory);
        capacity.disk = disk.unwrap_or(capacity.disk);
        Self { capacity, custom: settings.custom.clone() }
    }
}

/// What the machine has, less a reserve.
fn capacity(data: &Path) -> Resources {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = info
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    let memory = total.unwrap_or(0).saturating_mul(1024).saturating_sub(MEMORY_RESERVE);
    let disk = rustix::fs::statvfs(data).map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize));
    // Rounded, so that a few bytes written do not look like another machine.
    let disk = disk >> 30 << 30;
    Resources { cpus: Cpus(cores * 1000), memory, disk, ports: PORTS }
}

/// The process's metrics recorder; one for all nodes in the process.
pub(crate) fn metrics_handle() -> Option<PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    HANDLE.get_or_init(|| PrometheusBuilder::new().install_recorder().ok()).clone()
}
