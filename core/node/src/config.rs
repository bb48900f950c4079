//! How a node is to run: what was given, what was given before, and the defaults.

use crate::{
    DnsOptions, TaskOptions,
    api::ErrorCode,
    doors::check_certificate,
    folder::{Folder, Settings, file},
    machine,
    start_error::StartError,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};
use taffeta_isolation_linux::LinuxExecutor;
use taffeta_isolation_plan::Executor;
use taffeta_model::NodeName;
use taffeta_net::{JoinToken, Lives};
use taffeta_store::Timers;
use taffeta_swim::SwimConfig;
use tokio::time::Instant;

/// Default port of everything between nodes.
pub const FABRIC_PORT: u16 = 7400;
/// Default port of the HTTP API.
pub const HTTP_PORT: u16 = 7480;
/// Default port of DNS.
pub const DNS_PORT: u16 = 7453;
/// Default DNS domain.
pub const DOMAIN: &str = "fabric.internal";

/// How quickly the ring judges its members. All of a ring should use the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RingPreset {
    /// Machines within some milliseconds of each other: a dead one is down after about two seconds.
    #[default]
    Lan,
    /// Machines on several continents, or behind links that stall: after about ten.
    Wan,
}

impl RingPreset {
    /// The settings for a ring of about `size` members.
    pub(crate) fn swim(self, size: usize) -> SwimConfig {
        match self {
            Self::Lan => SwimConfig::lan(size),
            Self::Wan => SwimConfig::wan(size),
        }
    }

    /// The time-outs of consensus.
    pub(crate) fn timers(self) -> Timers {
        match self {
            Self::Lan => Timers::LAN,
            Self::Wan => Timers::WAN,
        }
    }
}

impl FromStr for RingPreset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "lan" => Ok(Self::Lan),
            "wan" => Ok(Self::Wan),
            other => Err(format!("`{other}` is not a kind of ring: expected lan or wan")),
        }
    }
}

/// How a node is to run. What is `None` is taken from the data folder, where it was given before, or else the default.
#[derive(Clone, Debug)]
pub struct FabricConfig {
    /// Name of the machine; by default its host name.
    pub name: Option<NodeName>,
    /// Where the fabric listens; by default 0.0.0.0 and port 7400.
    pub address: Option<SocketAddr>,
    /// Where others reach it; by default `address`, or the machine's own address where that is a wildcard.
    pub advertise: Option<SocketAddr>,
    /// Where the HTTP API listens; by default port 7480 of 127.0.0.1, or of `address` if that is a loopback address.
    pub http: Option<SocketAddr>,
    /// Where DNS listens; by default port 7453 likewise.
    pub dns: Option<SocketAddr>,
    /// The data folder.
    pub data: PathBuf,
    /// Zone of the machine.
    pub zone: Option<String>,
    /// Attributes of the machine; empty means: as before.
    pub attributes: BTreeMap<String, String>,
    /// Addresses of nodes to join, `HOST[:PORT]` each; tried in turn until one lets this machine in. A member asks there
    /// too, whenever it sees less than half of the ring.
    pub join: Vec<String>,
    /// How long to try to join before giving up; `None`: for ever.
    pub join_patience: Option<Duration>,
    /// How quickly the ring judges its members; as the machines of a LAN by default.
    pub ring: Option<RingPreset>,
    /// Whether the kernel may not cut large sends into packets (GSO), since the network card fails at it.
    pub no_gso: bool,
    /// Token to join with.
    pub token: Option<JoinToken>,
    /// Whether the HTTP API needs no token; on a loopback address only.
    pub api_open: bool,
    /// Whether tasks run even where isolation is incomplete.
    pub best_effort: bool,
    /// Whether the node lets itself be hurt on purpose by whoever has the token in its data folder's `chaos.token`.
    pub chaos: bool,
    /// DNS domain.
    pub domain: String,
    /// How DNS is served.
    pub dns_options: DnsOptions,
    /// What tasks find around themselves.
    pub task_options: TaskOptions,
    /// Whether to listen for HTTP over TCP and for DNS. An embedding program may do without either.
    pub serve: Serve,
    /// The program whose `shim` verb supervises a task; by default this program. An embedding program that is to run
    /// tasks names the `taffeta` binary, or calls `shim_main` itself.
    pub shim: Option<PathBuf>,
    /// Files that no task may read, wherever they lie, as they hold what only the node is to know: where this comes from. The
    /// data folder is hidden from tasks anyway, and so is the key of the DNS certificate.
    pub masked: Vec<PathBuf>,
    /// Resources offered to tasks; by default what the machine has, less a reserve.
    pub capacity: Option<taffeta_model::Resources>,
    /// Parts of them that are another amount than that.
    pub offer: OfferChanges,
    /// Countable resources that the machine names itself, as `gpu`; empty means: as before. At most
    /// [`taffeta_model::CUSTOM_MAX`]; of one that is 0 it has none any more.
    pub custom: BTreeMap<String, u64>,
    /// How long certificates live. An internal setting, the same on all nodes of a cluster, which tests shorten to seconds.
    pub lives: Lives,
    /// The data folder was moved: it is all that the node had, at its newest, and the original will never start again.
    pub moved: bool,
    /// When the runtime was begun, taken just before, if the node has one for itself: it wakes less often then.
    pub began: Option<Instant>,
    /// Versions of the protocol that are spoken. For tests: others than all make it play an older node.
    #[doc(hidden)]
    pub speaks: taffeta_model::Versions,
}

/// What a machine offers though it has more or less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferChanges {
    /// Processors.
    pub cpus: Option<taffeta_model::Cpus>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of disk.
    pub disk: Option<u64>,
}

impl OfferChanges {
    /// These, and where they say nothing, the other ones.
    pub(crate) fn or(self, before: Self) -> Self {
        let Self { cpus, memory, disk } = self;
        Self { cpus: cpus.or(before.cpus), memory: memory.or(before.memory), disk: disk.or(before.disk) }
    }
}

/// Which listeners a node opens besides the fabric's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serve {
    /// The HTTP API and web page over TCP. The socket in the data folder is always there.
    pub http: bool,
    /// DNS over UDP and TCP.
    pub dns: bool,
}

impl FabricConfig {
    /// Defaults with this data folder.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            name: None,
            address: None,
            advertise: None,
            http: None,
            dns: None,
            data: data.into(),
            zone: None,
            attributes: BTreeMap::new(),
            join: vec![],
            join_patience: None,
            ring: None,
            no_gso: false,
            token: None,
            api_open: false,
            best_effort: false,
            chaos: false,
            domain: DOMAIN.into(),
            dns_options: DnsOptions::default(),
            task_options: TaskOptions::default(),
            serve: Serve { http: true, dns: true },
            shim: None,
            masked: vec![],
            capacity: None,
            offer: OfferChanges::default(),
            custom: BTreeMap::new(),
            lives: Lives::default(),
            moved: false,
            began: None,
            speaks: taffeta_model::Versions::ALL,
        }
    }
}

pub(crate) fn load_settings(folder: &dyn Folder) -> Result<Option<Settings>, StartError> {
    let Some(text) = folder.read(file::SETTINGS)? else { return Ok(None) };
    serde_json::from_slice(&text).map(Some).map_err(|_| StartError::damaged(file::SETTINGS))
}

/// What was given now, else what was given before, else the defaults.
pub(crate) fn settings(config: &FabricConfig, before: Option<Settings>) -> Result<Settings, StartError> {
    let remembered = before.as_ref();
    if let (Some(name), Some(before)) = (&config.name, remembered)
        && *name != before.name
    {
        let message = format!("this machine is a member under the name `{}`; a member keeps its name", before.name);
        return Err(StartError::new(ErrorCode::Invalid, message)
            .help(format!("leave --name out; to become `{name}`, join as a new machine with another --data")));
    }
    let name = match config.name.clone().or_else(|| remembered.map(|b| b.name.clone())) {
        Some(name) => name,
        None => machine::host_name()?,
    };
    let address = config.address.or_else(|| remembered.map(|b| b.address));
    let address = address.unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, FABRIC_PORT).into());
    // Another address moves what depends on it, and port 0 is another one at each start.
    let kept = |b: &&Settings| b.address == address && address.port() != 0;
    let advertise = match config.advertise.or_else(|| remembered.filter(kept).map(|b| b.advertise)) {
        Some(advertise) => advertise,
        None if address.ip().is_unspecified() => SocketAddr::new(machine::own_address()?, address.port()),
        None => address,
    };
    let local = if address.ip().is_loopback() { address.ip() } else { Ipv4Addr::LOCALHOST.into() };
    let http = config.http.or_else(|| remembered.filter(kept).and_then(|b| b.http));
    let dns = config.dns.or_else(|| remembered.filter(kept).and_then(|b| b.dns));
    let attributes = if config.attributes.is_empty() {
        remembered.map(|b| b.attributes.clone()).unwrap_or_default()
    } else {
        config.attributes.clone()
    };
    let mut custom = if config.custom.is_empty() {
        remembered.map(|b| b.custom.clone()).unwrap_or_default()
    } else {
        config.custom.clone()
    };
    custom.retain(|_, count| *count > 0);
    let dns_before = remembered.map(|b| b.dns_options.clone()).unwrap_or_default();
    let dns_options = config.dns_options.clone().or(dns_before);
    dns_options.check().map_err(|(flag, why)| StartError::new(ErrorCode::Invalid, format!("{flag}: {why}")))?;
    let tasks_before = remembered.map(|b| b.task_options.clone()).unwrap_or_default();
    Ok(Settings {
        name,
        address,
        advertise,
        http: Some(http.unwrap_or_else(|| SocketAddr::new(local, HTTP_PORT))),
        dns: Some(dns.unwrap_or_else(|| SocketAddr::new(local, DNS_PORT))),
        zone: config.zone.clone().or_else(|| remembered.map(|b| b.zone.clone())).unwrap_or_default(),
        attributes,
        offer: config.offer.or(remembered.map(|b| b.offer).unwrap_or_default()),
        custom,
        ring: config.ring.or_else(|| remembered.map(|b| b.ring)).unwrap_or_default(),
        dns_options,
        task_options: config.task_options.clone().or(tasks_before),
        no_gso: config.no_gso || remembered.is_some_and(|b| b.no_gso),
        api_open: config.api_open || remembered.is_some_and(|b| b.api_open),
        best_effort: config.best_effort || remembered.is_some_and(|b| b.best_effort),
    })
}

/// Whether the node's listeners will be able to listen: looked at before the machine joins or creates anything.
pub(crate) fn check_listeners(config: &FabricConfig, settings: &Settings) -> Result<(), StartError> {
    use std::net::{TcpListener, UdpSocket};
    let taken = |what: &str, flag: &str, address: SocketAddr, e: &std::io::Error| {
        StartError::new(ErrorCode::Failed, format!("cannot listen on {address} for {what}: {e}"))
            .help(format!("another process may use the port; choose another with {flag} IP:PORT"))
    };
    if let Some(http) = settings.http.filter(|_| config.serve.http) {
        if settings.api_open && !http.ip().is_loopback() {
            let message = format!("--api-open is for loopback addresses only, and the HTTP API is to listen on {http}");
            return Err(StartError::new(ErrorCode::Forbidden, message)
                .help("leave --api-open out and use the token, or let the API listen on loopback"));
        }
        TcpListener::bind(http).map_err(|e| taken("the HTTP API", "--http", http, &e))?;
    }
    if let Some(dns) = settings.dns.filter(|_| config.serve.dns) {
        UdpSocket::bind(dns).map_err(|e| taken("DNS", "--dns", dns, &e))?;
        TcpListener::bind(dns).map_err(|e| taken("DNS", "--dns", dns, &e))?;
        let options = &settings.dns_options;
        check_certificate(options)?;
        for (what, flag, address) in
            [("DNS over TLS", "--dns-tls", options.tls), ("DNS over HTTPS", "--dns-https", options.https)]
        {
            address.map_or(Ok(()), |a| TcpListener::bind(a).map(drop).map_err(|e| taken(what, flag, a, &e)))?;
        }
        if let Some(quic) = options.quic {
            UdpSocket::bind(quic).map_err(|e| taken("DNS over QUIC", "--dns-quic", quic, &e))?;
        }
    }
    Ok(())
}

pub(crate) fn check_isolation(executor: &LinuxExecutor, best_effort: bool) -> Result<(), StartError> {
    let gaps = executor.not_isolated();
    if gaps.is_empty() || best_effort {
        return Ok(());
    }
    let message = format!("tasks cannot be isolated on this machine: {}", gaps.join("; "));
    Err(StartError::new(ErrorCode::Forbidden, message).help("run it as root, or run tasks regardless: --best-effort"))
}

/// Where tasks of this machine reach a listener.
pub(crate) fn reachable(listen: SocketAddr, own: IpAddr) -> SocketAddr {
    if listen.ip().is_unspecified() { SocketAddr::new(own, listen.port()) } else { listen }
}
