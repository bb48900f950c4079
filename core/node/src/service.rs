//! Where messages of other nodes come in, lane by lane.

use crate::{
    gossip,
    node::{Core, NOT_NOW},
    wire::{decode, encode},
};
use async_trait::async_trait;
use std::sync::{Arc, OnceLock, Weak};
use taffeta_model::NodeId;
use taffeta_net::{Bytes, FrameSink, Lane, Peer, Service};

/// Hands messages to the node. It holds the node weakly: the endpoint is a part of the node.
pub(crate) struct Inlet(pub(crate) Arc<OnceLock<Weak<Core>>>);

impl Inlet {
    fn core(&self) -> Option<Arc<Core>> {
        self.0.get()?.upgrade()
    }
}

#[async_trait]
impl Service for Inlet {
    async fn call(&self, peer: Peer, lane: Lane, request: Bytes) -> Result<Vec<u8>, String> {
        let core = self.core().ok_or_else(|| format!("{NOT_NOW}this node is starting or ending"))?;
        match (lane, peer) {
            (Lane::Raft, Peer::Node(from)) if core.takes_part(from) => core.store.answer(&request).await,
            (Lane::Raft, Peer::Node(_)) => Err("only voters and those who follow the log speak here".into()),
            (Lane::Control, Peer::Node(from)) => Ok(encode(&core.answer(from, decode(&request)?).await)),
            (Lane::Catalogue | Lane::Snapshot | Lane::Ping, Peer::Node(_)) => {
                Err("nothing is called on this lane".into())
            }
            (Lane::Join, Peer::Node(_) | Peer::Stranger) => Ok(encode(&core.decide_join(decode(&request)?).await?)),
            (Lane::Raft | Lane::Control | Lane::Catalogue | Lane::Snapshot | Lane::Ping, Peer::Stranger) => {
                Err("not for strangers".into())
            }
        }
    }

    async fn stream(&self, _peer: Peer, _lane: Lane, _request: Bytes, sink: &mut FrameSink) -> Result<(), String> {
        let core = self.core().ok_or_else(|| format!("{NOT_NOW}this node is starting or ending"))?;
        core.gossip.give_all(sink).await.map_err(|e| e.to_string())
    }

    fn push(&self, from: NodeId, lane: Lane, message: Bytes) {
        let Some(core) = self.core() else { return };
        match lane {
            Lane::Catalogue => {
                if let Some(unmarked) = core.generation.unmark(&message) {
                    core.gossip.take(from, unmarked);
                }
            }
            Lane::Raft | Lane::Control | Lane::Join | Lane::Ping | Lane::Snapshot => {
                tracing::debug!(%from, ?lane, "nothing is pushed on this lane");
            }
        }
    }

    fn datagram(&self, from: NodeId, packet: Bytes) {
        if let Some(core) = self.core() {
            let Some(unmarked) = core.generation.unmark(&packet) else { return };
            match unmarked.first() {
                Some(&gossip::PACKET) => core.gossip.take(from, &unmarked[1..]),
                Some(_) | None => core.ring.packet(from, packet.slice_ref(unmarked)),
            }
        }
    }
}
