//! What a snapshot is built from, and what changes it.

use crate::Name;
use smol_str::SmolStr;
use std::{collections::BTreeMap, net::IpAddr};

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
}
