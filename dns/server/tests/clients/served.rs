//! The server in this process, over a zone that a test can change.

use arc_swap::ArcSwap;
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};
use taffeta_dns_answer::{Instance, Node, Service, ServiceDns, ServiceState, Snapshot, SnapshotInput};
use taffeta_dns_server::{CookieConfig, DnsConfig, DnsServer, ForwardConfig, Responder, Sockets, Upstreams};
use tokio::runtime::Runtime;

/// The zone that is served.
pub(crate) const DOMAIN: &str = "fabric.internal";
/// Instances of `crowd.shop`: more than a set may have, and than fit into a datagram.
pub(crate) const CROWD: u32 = 150;
/// Most addresses of one name.
pub(crate) const GIVEN_MAX: usize = 100;

/// A server with cookies and a name, from which this machine may transfer the zone, and with `web` (two IPv4 addresses), `both` (one of each family), `crowd` and `idle` (nothing) of the app
/// `shop`.
pub(crate) struct Served {
    server: DnsServer,
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// Ends last.
    _runtime: Runtime,
}

impl Served {
    /// At a free port.
    pub(crate) fn start() -> Self {
        Self::at(0)
    }

    pub(crate) fn at(port: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::build(input())));
        let inside = runtime.enter();
        let forward = ForwardConfig::new(Upstreams::Nobody, Vec::new());
        let config = DnsConfig {
            cookies: Some(CookieConfig::new([7; 16])),
            nsid: Some("n1".into()),
            transfer: vec!["127.0.0.0/8".parse().unwrap()],
        };
        let responder = Responder::new(snapshot.clone(), forward, Arc::new(Sockets), 1).configured(config);
        let server = DnsServer::bind((Ipv4Addr::LOCALHOST, port).into(), Arc::new(responder)).unwrap();
        drop(inside);
        Self { server, snapshot, _runtime: runtime }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address().port()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Has a service of `shop` run at these addresses and port, and nowhere else.
    pub(crate) fn set(&self, service: &str, addresses: &[IpAddr], port: u16) {
        let instances = addresses.iter().map(|address| instance(service, *address, port)).collect();
        let state = ServiceState { ports: vec!["http".into()], dns: ServiceDns::default(), instances };
        let before = self.snapshot.load();
        let services = [(("shop".into(), service.into()), Some(state))].into();
        let change = taffeta_dns_answer::Change { serial: before.serial() + 1, services, ..before.no_change() };
        self.snapshot.store(Arc::new(before.changed(change)));
    }
}

/// The name of a service of `shop`.
pub(crate) fn name(service: &str) -> String {
    format!("{service}.shop.{DOMAIN}")
}

/// Addresses of `web`.
pub(crate) fn web() -> [IpAddr; 2] {
    [[10, 1, 0, 1].into(), [10, 1, 0, 2].into()]
}

/// Addresses of `both`.
pub(crate) fn both() -> [IpAddr; 2] {
    [[10, 3, 0, 1].into(), "fd00::4".parse().unwrap()]
}

fn crowd() -> Vec<IpAddr> {
    (1..=CROWD).map(|n| Ipv4Addr::from((10 << 24) + (2 << 16) + n).into()).collect()
}

/// As clients print them, in any order.
pub(crate) fn words(addresses: &[IpAddr]) -> BTreeSet<String> {
    addresses.iter().map(ToString::to_string).collect()
}

/// The instance at an address, whose last byte is its label.
fn instance(service: &str, address: IpAddr, port: u16) -> Instance {
    let last = match address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15],
    };
    Instance {
        app: "shop".into(),
        service: service.into(),
        label: last.to_string().into(),
        node: "n1".into(),
        address,
        ports: vec![("http".into(), port)],
        tags: vec!["blue".into()],
        version: 1,
        weight: 10,
        serving: true,
        suspected: false,
    }
}

fn input() -> SnapshotInput {
    let of = |service: &'static str, addresses: Vec<IpAddr>| {
        addresses.into_iter().map(move |address| instance(service, address, 31000))
    };
    let instances = of("web", web().into()).chain(of("both", both().into())).chain(of("crowd", crowd()));
    let registered = |service: &str| Service {
        app: "shop".into(),
        service: service.into(),
        ports: vec!["http".into()],
        dns: ServiceDns::default(),
    };
    let node = Node {
        name: "n1".into(),
        address: Ipv4Addr::LOCALHOST.into(),
        up: true,
        is_leader: true,
        is_voter: true,
        zone: "a".into(),
        distance: Some(0),
    };
    SnapshotInput {
        serial: 1,
        ready: true,
        services: ["web", "both", "crowd", "idle"].map(registered).into(),
        instances: instances.collect(),
        nodes: vec![node],
        ..SnapshotInput::new(DOMAIN.parse().unwrap(), "n1")
    }
}
