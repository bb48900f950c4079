//! Which connection leads to which node: a bounded number of them, the ones used last.

use crate::{
    close::Close,
    link::{Link, Terms, Uses},
    peer::CallError,
};
use bytes::Bytes;
use quinn::Connection;
use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};
use taffeta_model::NodeId;
use tokio::sync::watch;

/// Datagrams that wait for a dial to end; older ones are dropped first, as the ring sends new ones anyway.
const QUEUED_MAX: usize = 16;

pub(crate) type Dialled = Option<Result<Link, CallError>>;

/// Addresses and connections by node. Addresses are bounded by the number of members, which the ring bounds.
pub(crate) struct Pool {
    places: BTreeMap<NodeId, Place>,
    slots: BTreeMap<NodeId, Slot>,
    uses: Uses,
    connections_max: usize,
}

struct Place {
    address: SocketAddr,
    /// As measured on the last connection, after it is gone.
    round_trip: Option<Duration>,
}

/// One node's connections, in whichever direction they were dialled.
#[derive(Default)]
struct Slot {
    /// The newest, since an older one may lead to a process that is no more.
    current: Option<Link>,
    /// The one before, left to end by itself: if two nodes dial each other at once, each may prefer another one of the
    /// two, and whoever closed the other's at once would break what is under way on it.
    former: Option<Link>,
    dialling: Option<watch::Receiver<Dialled>>,
    queued: VecDeque<Bytes>,
}

/// What to do to get a connection.
pub(crate) enum Way {
    /// Here it is.
    Open(Link),
    /// Somebody dials already.
    Wait(watch::Receiver<Dialled>),
    /// Dial this address and report to the sender.
    Dial(SocketAddr, watch::Sender<Dialled>),
    /// No address is known.
    Unknown,
}

impl Pool {
    pub(crate) fn new(connections_max: usize) -> Self {
        let connections_max = connections_max.max(1);
        Self { places: BTreeMap::new(), slots: BTreeMap::new(), uses: Uses::default(), connections_max }
    }

    pub(crate) fn set_address(&mut self, node: NodeId, address: SocketAddr) {
        let place = self.places.entry(node).or_insert(Place { address, round_trip: None });
        if place.address != address {
            *place = Place { address, round_trip: None };
            if let Some(slot) = self.slots.get_mut(&node) {
                slot.set_aside(); // it leads to where the node was
            }
        }
    }

    pub(crate) fn address(&self, node: NodeId) -> Option<SocketAddr> {
        self.places.get(&node).map(|place| place.address)
    }

    /// How many nodes have an address.
    pub(crate) fn addresses(&self) -> usize {
        self.places.len()
    }

    /// Drops a node's address and closes its connections.
    pub(crate) fn forget(&mut self, node: NodeId, why: Close) {
        self.close(node, why);
        self.places.remove(&node);
    }

    /// Closes a node's connections and drops the datagrams that wait for one.
    pub(crate) fn close(&mut self, node: NodeId, why: Close) {
        self.drop_all(node).iter().for_each(|link| why.connection(&link.connection));
    }

    /// Drops a node's address and gives its connections, which are to be closed.
    pub(crate) fn take_out(&mut self, node: NodeId) -> Vec<Link> {
        self.places.remove(&node);
        self.drop_all(node)
    }

    fn drop_all(&mut self, node: NodeId) -> Vec<Link> {
        self.remember_round_trip(node);
        let Some(slot) = self.slots.get_mut(&node) else { return vec![] };
        slot.queued.clear();
        let links = slot.current.take().into_iter().chain(slot.former.take()).collect();
        self.tidy(node);
        links
    }

    /// The live connection to a node, if there is one, to be looked at.
    pub(crate) fn live(&self, node: NodeId) -> Option<&Link> {
        self.slots.get(&node)?.current.as_ref().filter(|link| link.is_live())
    }

    /// The live connection to a node, if there is one, to be used.
    pub(crate) fn take_live(&self, node: NodeId) -> Option<Link> {
        let link = self.live(node)?;
        link.mark_used();
        Some(link.clone())
    }

    pub(crate) fn way(&mut self, node: NodeId) -> Way {
        if let Some(link) = self.take_live(node) {
            return Way::Open(link);
        }
        self.way_anew(node)
    }

    /// The same, as if there were no connection: for one that is to take the place of the present one.
    pub(crate) fn way_anew(&mut self, node: NodeId) -> Way {
        let Some(address) = self.address(node) else { return Way::Unknown };
        let slot = self.slots.entry(node).or_default();
        if let Some(waiting) = &slot.dialling {
            return Way::Wait(waiting.clone());
        }
        let (sender, receiver) = watch::channel(None);
        slot.dialling = Some(receiver);
        Way::Dial(address, sender)
    }

    /// Keeps a datagram until the dial has ended.
    pub(crate) fn queue(&mut self, node: NodeId, packet: Bytes) {
        let queued = &mut self.slots.entry(node).or_default().queued;
        if queued.len() >= QUEUED_MAX {
            queued.pop_front();
        }
        queued.push_back(packet);
    }

    /// A connection that is to be kept by somebody else.
    pub(crate) fn link(&self, connection: Connection, terms: Option<Terms>) -> Link {
        Link::new(connection, terms, self.uses.clone())
    }

    /// Takes a new connection in use, and closes the least worthy one if there are too many now.
    /// Gives the datagrams that waited for it.
    pub(crate) fn adopt(&mut self, terms: Terms, connection: Connection) -> (Link, VecDeque<Bytes>) {
        let node = terms.peer.node;
        let link = self.link(connection, Some(terms));
        let slot = self.slots.entry(node).or_default();
        slot.set_aside();
        slot.current = Some(link.clone());
        let queued = std::mem::take(&mut slot.queued);
        while self.links().count() > self.connections_max {
            self.close_least_worthy(link.id());
        }
        (link, queued)
    }

    fn links(&self) -> impl Iterator<Item = (NodeId, &Link)> {
        self.slots.iter().flat_map(|(node, slot)| slot.current.iter().chain(&slot.former).map(|link| (*node, link)))
    }

    fn close_least_worthy(&mut self, spared: usize) {
        let others = self.links().filter(|(_, link)| link.id() != spared);
        let Some((node, link)) = others.min_by_key(|(_, link)| link.worth()) else { return };
        Close::LeastUsed.connection(&link.connection);
        let id = link.id();
        self.drop_ended(node, id);
    }

    /// A dial has ended, with or without success.
    pub(crate) fn end_dial(&mut self, node: NodeId) {
        if let Some(slot) = self.slots.get_mut(&node) {
            slot.dialling = None;
            slot.queued.clear();
        }
        self.tidy(node);
    }

    /// Uses a connection no more that nothing is heard on. Others may yet get their answers on it.
    pub(crate) fn set_aside(&mut self, node: NodeId, id: usize) {
        self.remember_round_trip(node);
        if let Some(slot) = self.slots.get_mut(&node)
            && is(slot.current.as_ref(), id)
        {
            slot.set_aside();
        }
    }

    /// Drops a connection that has ended.
    pub(crate) fn drop_ended(&mut self, node: NodeId, id: usize) {
        if self.slots.get(&node).is_some_and(|slot| is(slot.current.as_ref(), id)) {
            self.remember_round_trip(node);
        }
        if let Some(slot) = self.slots.get_mut(&node) {
            slot.current.take_if(|link| link.id() == id);
            slot.former.take_if(|link| link.id() == id);
        }
        self.tidy(node);
    }

    /// Round-trip time on the live connection, or as it was on the last one.
    pub(crate) fn round_trip(&self, node: NodeId) -> Option<Duration> {
        let remembered = || self.places.get(&node)?.round_trip;
        self.live(node).map(|link| link.connection.rtt()).or_else(remembered)
    }

    fn remember_round_trip(&mut self, node: NodeId) {
        let last = self.slots.get(&node).and_then(|slot| slot.current.as_ref()).map(|link| link.connection.rtt());
        if let (Some(place), Some(_)) = (self.places.get_mut(&node), last) {
            place.round_trip = last;
        }
    }

    fn tidy(&mut self, node: NodeId) {
        if self.slots.get(&node).is_some_and(Slot::is_empty) {
            self.slots.remove(&node);
        }
    }
}

impl Slot {
    /// Closes the former connection and makes the current one the former.
    fn set_aside(&mut self) {
        let Some(current) = self.current.take() else { return };
        if let Some(older) = self.former.replace(current) {
            Close::Replaced.connection(&older.connection);
        }
    }

    fn is_empty(&self) -> bool {
        self.current.is_none() && self.former.is_none() && self.dialling.is_none() && self.queued.is_empty()
    }
}

fn is(link: Option<&Link>, id: usize) -> bool {
    link.is_some_and(|link| link.id() == id)
}
