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

/// Bytes of memory that are not offered to tasks: for the system and for the fabric itself. Of a small machine, half of it.
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
        let mut capacity = config.capacity.unwrap_or_else(|| capacity(Measured::here(&config.data)));
        let OfferChanges { cpus, memory, disk } = settings.offer;
        capacity.cpus = cpus.unwrap_or(capacity.cpus);
        capacity.memory = memory.unwrap_or(capacity.memory);
        capacity.disk = disk.unwrap_or(capacity.disk);
        Self { capacity, custom: settings.custom.clone() }
    }
}

/// What was found of the machine's size.
#[derive(Clone, Copy)]
struct Measured {
    cores: u64,
    /// Bytes of memory, of all that the kernel manages.
    memory: u64,
    /// Bytes that may still be written to where the data folder is.
    disk: u64,
}

impl Measured {
    fn here(data: &Path) -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64,
            memory: memory_total(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default()),
            // What the file system keeps for root is not in it.
            disk: rustix::fs::statvfs(data).map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize)),
        }
    }
}

/// Bytes of memory by the text of `/proc/meminfo`; 0 if it does not say.
fn memory_total(info: &str) -> u64 {
    let total = info
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    total.unwrap_or(0).saturating_mul(1024)
}

/// What is offered of that: all but a reserve.
///
/// Of processors all are: they are shared by weight, so that system and fabric get theirs also when tasks take the rest.
fn capacity(found: Measured) -> Resources {
    // A small machine is worth nothing if it offers nothing.
    let reserve = MEMORY_RESERVE.min(found.memory / 2);
    // Rounded, so that a few bytes written do not look like another machine.
    let disk = found.disk >> 30 << 30;
    Resources { cpus: Cpus(found.cores.saturating_mul(1000)), memory: found.memory - reserve, disk, ports: PORTS }
}

/// The process's metrics recorder; one for all nodes in the process.
pub(crate) fn metrics_handle() -> Option<PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    HANDLE.get_or_init(|| PrometheusBuilder::new().install_recorder().ok()).clone()
}

#[cfg(test)]
mod tests {
    use super::{Cpus, Measured, PORTS, Resources, capacity, memory_total};

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    fn offered(cores: u64, memory: u64, disk: u64) -> (u64, u64, u64) {
        let Resources { cpus: Cpus(cpus), memory, disk, ports } = capacity(Measured { cores, memory, disk });
        assert_eq!(ports, PORTS);
        (cpus, memory, disk)
    }

    #[test]
    fn all_is_offered_but_a_reserve_of_memory_and_the_last_part_of_a_gibibyte_of_disk() {
        assert_eq!(offered(4, 8 * GIB, 100 * GIB), (4000, 8 * GIB - 256 * MIB, 100 * GIB));
        assert_eq!(offered(64, 512 * GIB, 2 * GIB - 1), (64_000, 512 * GIB - 256 * MIB, GIB));
    }

    #[test]
    fn a_small_machine_keeps_half_of_its_memory() {
        assert_eq!(offered(1, 512 * MIB, GIB), (1000, 256 * MIB, GIB));
        assert_eq!(offered(1, 513 * MIB, GIB), (1000, 257 * MIB, GIB));
        assert_eq!(offered(1, 128 * MIB, GIB - 1), (1000, 64 * MIB, 0));
        assert_eq!(offered(1, 0, 0), (1000, 0, 0), "of what is not known nothing is offered");
    }

    #[test]
    fn the_total_of_memory_is_read_in_kibibytes() {
        let info = "MemTotal:       16384256 kB\nMemFree:         1234 kB\nMemAvailable:   5678 kB\n";
        assert_eq!(memory_total(info), 16_384_256 * 1024);
        for odd in ["", "MemFree: 1 kB\n", "MemTotal: many kB\n"] {
            assert_eq!(memory_total(odd), 0, "{odd:?}");
        }
    }
}
