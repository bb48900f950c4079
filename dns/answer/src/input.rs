//! What a snapshot is built from.

use crate::Name;
use std::net::IpAddr;

/// All that DNS is to know at one moment. Plain values; [`crate::Snapshot::build`] indexes them.
///
/// Labels (apps, services, instances, nodes, ports) that DNS cannot carry, or that would shadow a name of the
/// fabric's own (`node`, `leader`, a leading `_`), are passed over: they come from peers and must not break the zone.
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
            services: Vec::new(),
            instances: Vec::new(),
            nodes: Vec::new(),
        }
    }
}

/// A service of an app that was accepted.
#[derive(Clone, Debug)]
pub struct Service {
    /// The app.
    pub app: String,
    /// The service.
    pub service: String,
    /// Names of its ports, in the order of the app file: the first answers SRV of the bare name.
    pub ports: Vec<String>,
}

/// One instance of a service.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The app.
    pub app: String,
    /// The service.
    pub service: String,
    /// Its label: the stable index, or a node's name.
    pub label: String,
    /// The machine it runs on.
    pub node: String,
    /// Where it listens.
    pub address: IpAddr,
    /// Its ports by name.
    pub ports: Vec<(String, u16)>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Whether it is healthy and may be given out.
    pub serving: bool,
    /// Whether its machine is suspected or down: hidden while the service has another that serves and is not.
    pub suspected: bool,
}

/// A machine.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// Whether it is neither suspected nor down. The others leave `nodes.`, `voters.` and `leader.` as long as one
    /// that is up remains there; `NAME.node.` keeps its address.
    pub up: bool,
    /// Whether it leads.
    pub is_leader: bool,
    /// Whether it votes.
    pub is_voter: bool,
}
