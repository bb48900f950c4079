//! Which connection leads to which node. One live connection a peer, in whichever direction it was dialled.

use crate::peer::CallError;
use bytes::Bytes;
use quinn::Connection;
use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
};
use taffeta_model::NodeId;
use tokio::sync::watch;

/// Datagrams that wait for a dial to end; older ones are dropped first, as the ring sends new ones anyway.
const QUEUED_MAX: usize = 16;

pub(crate) type Dialled = Option<Result<Connection, CallError>>;

/// Addresses and connections by node. Bounded by the number of members, which the ring bounds; connections without
/// traffic end by themselves after the idle time-out.
#[derive(Default)]
pub(crate) struct Pool {
    addresses: BTreeMap<NodeId, SocketAddr>,
    slots: BTreeMap<NodeId, Slot>,
}

#[derive(Default)]
struct Slot {
    connection: Option<Connection>,
    dialling: Option<watch::Receiver<Dialled>>,
    queued: VecDeque<Bytes>,
}

/// What to do to get a connection.
pub(crate) enum Way {
    /// Here it is.
    Open(Connection),
    /// Somebody dials already.
    Wait(watch::Receiver<Dialled>),
    /// Dial this address and report to the sender.
    Dial(SocketAddr, watch::Sender<Dialled>),
    /// No address is known.
    Unknown,
}

impl Pool {
    pub(crate) fn set_address(&mut self, node: NodeId, address: SocketAddr) {
        let moved = self.addresses.insert(node, address).is_some_and(|old| old != address);
        if moved && let Some(slot) = self.slots.get_mut(&node) {
            slot.connection = None; // it leads to where the node was
        }
    }

    pub(crate) fn address(&self, node: NodeId) -> Option<SocketAddr> {
        self.addresses.get(&node).copied()
    }

    pub(crate) fn live(&self, node: NodeId) -> Option<Connection> {
        let connection = self.slots.get(&node)?.connection.as_ref()?;
        connection.close_reason().is_none().then(|| connection.clone())
    }

    pub(crate) fn way(&mut self, node: NodeId) -> Way {
        if let Some(connection) = self.live(node) {
            return Way::Open(connection);
        }
        let Some(address) = self.address(node) else { return Way::Unknown };
        let slot = self.slots.entry(node).or_default();
        slot.connection = None;
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

    /// Takes a new connection in use; the newest wins, since an older one may lead to a process that is no more.
    /// Gives the datagrams that waited for it.
    pub(crate) fn adopt(&mut self, node: NodeId, connection: Connection) -> VecDeque<Bytes> {
        let slot = self.slots.entry(node).or_default();
        slot.connection = Some(connection);
        std::mem::take(&mut slot.queued)
    }

    /// A dial has ended, with or without success.
    pub(crate) fn end_dial(&mut self, node: NodeId) {
        if let Some(slot) = self.slots.get_mut(&node) {
            slot.dialling = None;
            slot.queued.clear();
        }
    }

    /// Drops a connection that has ended, if it is still the one in use.
    pub(crate) fn drop_ended(&mut self, node: NodeId, stable_id: usize) {
        if let Some(slot) = self.slots.get_mut(&node)
            && slot.connection.as_ref().is_some_and(|c| c.stable_id() == stable_id)
        {
            slot.connection = None;
        }
        let empty = |s: &Slot| s.connection.is_none() && s.dialling.is_none() && s.queued.is_empty();
        if self.slots.get(&node).is_some_and(empty) {
            self.slots.remove(&node);
        }
    }
}
