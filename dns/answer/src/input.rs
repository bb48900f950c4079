//! What a snapshot is built from, and what changes it.

use crate::Name;
use smol_str::SmolStr;
use std::{collections::BTreeMap, net::IpAddr, num::NonZeroU8};

/// All that DNS is to know at one moment. Plain values; [`crate::Snapshot::build`] indexes them.
///
/// Labels (apps, services, instances, nodes, ports) that DNS cannot carry, or that would shadow a name of the
/// fabric's own (`node`, `leader`, a leading `_`), are passed over: they come from peers and must not break the zone.
/// So are apps and services with a dot in their names, which no app file can give them.
#[derive(Clone, Debug)]
pub struct SnapshotInput {
    /// The zone, as a rule `fabric.internal`.
    pub domain: Name,
    /// This node's name, which NS and SOA point to.
    pub own_node: String,
    /// Version of the view; becomes the SOA's serial.
    pub serial: u32,
    /// Seconds that records may be cached. 1 as a rule: a machine may die at any time.
    pub ttl: u32,
    /// Seconds that "no such name" may be cached. 1 as a rule.
    pub negative_ttl: u32,
    /// Whether the node has had its first view of the ring. Until then names are SERVFAIL, never NXDOMAIN.
    pub ready: bool,
    /// Whether the node is cut off from most of the ring: same answers, marked stale.
    pub stale: bool,
    /// Further zones that the same names are served under, so that a migration need not rename; fixed for the life of
    /// a snapshot and all that follow from it. At most [`crate::MAX_ALIASES`]; the longest domain wins.
    pub aliases: Vec<Alias>,
    /// Services that exist, also those with nothing behind them.
    pub services: Vec<Service>,
    /// Instances, of whatever health. Their service need not be in `services`. Of two with the same service and
    /// label (a slot that has moved) the builder should leave out the one with the older fence.
    pub instances: Vec<Instance>,
    /// Machines of the ring.
    pub nodes: Vec<Node>,
}

impl SnapshotInput {
    /// A snapshot without a view: not ready, TTLs of 1 s, nothing in it.
    pub fn new(domain: Name, own_node: impl Into<String>) -> Self {
        Self {
            domain,
            own_node: own_node.into(),
            serial: 0,
            ttl: 1,
            negative_ttl: 1,
            ready: false,
            stale: false,
            aliases: Vec::new(),
            services: Vec::new(),
            instances: Vec::new(),
            nodes: Vec::new(),
        }
    }
}

/// A further zone, and how names are written in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The zone, such as `svc.cluster.local` or `mesos`.
    pub domain: Name,
    /// How its names are read.
    pub scheme: Scheme,
}

/// How the names of a zone are written. Where an app and a service are one label, as in `web-shop`, it is split at the
/// first hyphen where both exist. Labels for tags, versions, instances and ports stand in front as in our own zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// As in the zone of the fabric's own.
    #[default]
    Fabric,
    /// As Mesos-DNS and Marathon write them: `web-shop.marathon.mesos` (or any framework), `_web-shop._tcp.marathon.mesos`
    /// for the first port, `_http._web-shop._tcp.marathon.mesos`, `leader.mesos`, `master.mesos` for the voters,
    /// `slave.mesos` for all machines. `shop.marathon.mesos` is the app's service of the same name, or its only one. A
    /// domain of several labels that does not begin with `mesos`, such as `marathon.mesos`, is a framework's.
    Mesos,
    /// As Consul writes them: `web.service.consul`, `web-shop.service.consul`, `canary.web.service.consul`,
    /// `_web._tcp.service.consul` and `_web._canary.service.consul` for the first port, `n2.node.consul`; all also with a
    /// data centre, `web.service.dc1.consul`. `web` alone must be the only service of its name, or be of the app `web`.
    /// Below a domain that begins with `service` or `node` that label is left out.
    Consul,
    /// As Kubernetes writes those of headless services, an app for a namespace: `web.shop.svc.cluster.local`,
    /// `_http._tcp.web.shop.svc.cluster.local`, `dns-version.cluster.local`. Below a domain that begins with `svc` that
    /// label is left out.
    Kubernetes,
}

/// How a service wants to be answered for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceDns {
    /// Which instances come first.
    pub order: Order,
    /// Most records in an answer; `None`: all that fit, up to [`crate::MAX_RRSET`]. Texts are not counted.
    pub answers: Option<NonZeroU8>,
    /// What is said while no instance serves.
    pub empty: Empty,
}

/// Which instances of a service come first, and, where not all are given, which are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Any, each as likely.
    #[default]
    Random,
    /// Any, each as likely as its weight says. One of weight 0 is given only if no other has more.
    Weighted,
    /// Those on the client's machine, then those of its zone, then the nearest by measured round trip; among equals at
    /// random. SRV priorities say the same in a few steps: 0, 1, then 2 to 5.
    Near,
}

/// What is said of a service without an instance that serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Empty {
    /// The name exists, without records (NODATA): names below it stay known to caches.
    #[default]
    NoData,
    /// The name does not exist (NXDOMAIN), nor any below it, as Kubernetes says of a headless service.
    NxDomain,
}

/// What is different from one snapshot to the next; see [`crate::Snapshot::changed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// As in [`SnapshotInput::serial`].
    pub serial: u32,
    /// As in [`SnapshotInput::ttl`].
    pub ttl: u32,
    /// As in [`SnapshotInput::negative_ttl`].
    pub negative_ttl: u32,
    /// As in [`SnapshotInput::ready`].
    pub ready: bool,
    /// As in [`SnapshotInput::stale`].
    pub stale: bool,
    /// Services that changed, by app and name: as they are now, or `None` if they are no more. The others stay.
    pub services: BTreeMap<(SmolStr, SmolStr), Option<ServiceState>>,
    /// All machines, if one of them changed.
    pub nodes: Option<Vec<Node>>,
}

/// A service that exists, whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceState {
    /// As in [`Service::ports`]; empty for a service that is not registered.
    pub ports: Vec<SmolStr>,
    /// As in [`Service::dns`]; the default for a service that is not registered.
    pub dns: ServiceDns,
    /// All its instances. Of which app and service they are is said by the key of the change.
    pub instances: Vec<Instance>,
}

/// A service of an app that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The app.
    pub app: SmolStr,
    /// The service.
    pub service: SmolStr,
    /// Names of its ports, in the order of the app file: the first answers SRV of the bare name.
    pub ports: Vec<SmolStr>,
    /// How it wants to be answered for.
    pub dns: ServiceDns,
}

/// One instance of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The app.
    pub app: SmolStr,
    /// The service.
    pub service: SmolStr,
    /// Its label: the stable index, or a node's name.
    pub label: SmolStr,
    /// The machine it runs on.
    pub node: SmolStr,
    /// Where it listens.
    pub address: IpAddr,
    /// Its ports by name.
    pub ports: Vec<(SmolStr, u16)>,
    /// Its tags.
    pub tags: Vec<SmolStr>,
    /// Version of its app; 0 if it has none.
    pub version: u64,
    /// Its share of the clients, relative to the other instances; the weight of its SRV records. 10 as a rule.
    pub weight: u16,
    /// Whether it is healthy and may be given out.
    pub serving: bool,
    /// Whether its machine is suspected or down: hidden while the service has another that serves and is not.
    pub suspected: bool,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: SmolStr,
    /// Its address.
    pub address: IpAddr,
    /// Whether it is neither suspected nor down. The others leave `nodes.`, `voters.` and `leader.` as long as one
    /// that is up remains there; `NAME.node.` keeps its address.
    pub up: bool,
    /// Whether it leads.
    pub is_leader: bool,
    /// Whether it votes.
    pub is_voter: bool,
    /// Its zone; may be empty.
    pub zone: SmolStr,
    /// How far it is from this node: a coarse step of the measured round trip, lower is nearer, 0 for this node itself;
    /// `None` if it was not measured. Coarse, so that it seldom changes.
    pub distance: Option<u8>,
}
