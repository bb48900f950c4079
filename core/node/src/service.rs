//! Where messages of other nodes come in, lane by lane.

use crate::{
    asking::NOT_KNOWN,
    fence::OTHER_GENERATION,
    generation::Marked,
    gossip,
    lives::NotTaken,
    node::{Core, NOT_NOW},
    wire::{Ask, decode, encode},
};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, Weak},
};
use taffeta_model::NodeId;
use taffeta_net::{Bytes, FrameSink, Grounds, Lane, Peer, Refusal, Service, Talk};

/// Hands messages to the node. It holds the node weakly: the endpoint is a part of the node.
#[derive(Default)]
pub(crate) struct Inlet {
    core: OnceLock<Weak<Core>>,
    /// Who refused this node before there was one to judge that: members, which may not be there to say it again.
    early: Mutex<BTreeMap<NodeId, Refusal>>,
}

impl Inlet {
    fn core(&self) -> Option<Arc<Core>> {
        self.core.get()?.upgrade()
    }

    /// From now on messages reach the node.
    pub(crate) fn open(&self, core: &Arc<Core>) {
        let early = {
            let mut early = self.early.lock().expect("no panic while it is held");
            let _ = self.core.set(Arc::downgrade(core));
            std::mem::take(&mut *early)
        };
        early.into_values().for_each(|refusal| core.heed_refusal(refusal));
    }
}

#[async_trait]
impl Service for Inlet {
    async fn call(&self, peer: Peer, lane: Lane, request: Bytes) -> Result<Vec<u8>, String> {
        let core = self.core().ok_or_else(|| format!("{NOT_NOW}this node is starting or ending"))?;
        // The endpoint has checked the lane already; here it is checked what is asked on it, and of whom.
        match (lane, peer) {
            (Lane::Raft, Peer::Node(from)) => answer_raft(&core, from, &request).await,
            (Lane::Control, Peer::Node(from)) => answer_control(&core, from, &request, false).await,
            (Lane::Control, Peer::Expired(from)) => answer_control(&core, from, &request, true).await,
            (Lane::Renew, Peer::Node(from) | Peer::Expired(from) | Peer::Lapsed(from)) => core.answer_renewal(from),
            (Lane::Join, Peer::Node(_) | Peer::Stranger) => Ok(encode(&core.decide_join(decode(&request)?).await?)),
            (
                Lane::Catalogue | Lane::Snapshot | Lane::Ping | Lane::Talk,
                Peer::Node(_) | Peer::Expired(_) | Peer::Lapsed(_),
            ) => Err("nothing is called on this lane".into()),
            (Lane::Raft | Lane::Control | Lane::Join, Peer::Expired(_) | Peer::Lapsed(_))
            | (_, Peer::Removed(_) | Peer::Stranger) => Err("not for this peer".into()),
        }
    }

    async fn stream(&self, _peer: Peer, _lane: Lane, _request: Bytes, sink: &mut FrameSink) -> Result<(), String> {
        let core = self.core().ok_or_else(|| format!("{NOT_NOW}this node is starting or ending"))?;
        core.gossip.give_all(sink).await.map_err(|e| e.to_string())
    }

    async fn talk(&self, peer: Peer, _lane: Lane, talk: Talk) {
        match (self.core(), peer) {
            (Some(core), Peer::Node(from)) => core.talk(from, talk).await,
            (None, _) => talk.says.end(Err(format!("{NOT_NOW}this node is starting or ending"))).await,
            (Some(_), Peer::Expired(_) | Peer::Lapsed(_) | Peer::Removed(_) | Peer::Stranger) => {
                talk.says.end(Err("not for this peer".into())).await;
            }
        }
    }

    fn push(&self, from: NodeId, lane: Lane, message: Bytes) {
        let Some(core) = self.core() else { return };
        match lane {
            Lane::Catalogue => {
                if let Some(unmarked) = core.unmark(from, &message) {
                    core.gossip.take(from, unmarked);
                }
            }
            Lane::Raft | Lane::Control | Lane::Join | Lane::Ping | Lane::Snapshot | Lane::Renew | Lane::Talk => {
                tracing::debug!(%from, ?lane, "nothing is pushed on this lane");
            }
        }
    }

    fn refused(&self, refusal: Refusal) {
        {
            let mut early = self.early.lock().expect("no panic while it is held");
            if self.core.get().is_none() {
                let known = early.entry(refusal.by).or_insert_with(|| refusal.clone());
                if refusal.proven {
                    *known = refusal;
                }
                return;
            }
        }
        if let Some(core) = self.core() {
            core.heed_refusal(refusal);
        }
    }

    fn grounds(&self, statement: &[u8]) -> Grounds {
        self.core().map(|core| core.grounds(statement)).unwrap_or_default()
    }

    fn datagram(&self, from: NodeId, packet: Bytes) {
        if let Some(core) = self.core() {
            let Some(unmarked) = core.unmark(from, &packet) else { return };
            match unmarked.first() {
                Some(&gossip::PACKET) => core.gossip.take(from, &unmarked[1..]),
                Some(_) | None => core.ring.packet(from, packet.slice_ref(unmarked)),
            }
        }
    }
}

/// Nothing is answered across generations, nor to a life that is over.
async fn answer_raft(core: &Arc<Core>, from: NodeId, request: &[u8]) -> Result<Vec<u8>, String> {
    // The mark first: one of the old generation is to learn that it is over, though it takes no part in the new one.
    if let Marked::Other(_) = core.generation.unmark(request) {
        core.note_other_generation(from);
        return Err(NotTaken::OtherGeneration.into());
    }
    if !core.takes_part(from) {
        return Err("only voters and those who follow the log speak here".into());
    }
    let request = core.lives.take_request(from, request)?;
    core.lives.reply(&core.store.answer(request).await?)
}

/// The message, if this node's version knows it.
fn known(core: &Core, message: &[u8]) -> Result<Ask, String> {
    let ask: Ask = decode(message).map_err(|why| format!("{NOT_KNOWN}: {why}"))?;
    if ask.since() > core.info.speaks.max {
        return Err(NOT_KNOWN.into()); // a node that plays an older one knows no more than that does
    }
    Ok(ask)
}

/// Across generations only proofs are compared.
async fn answer_control(core: &Arc<Core>, from: NodeId, request: &[u8], expired: bool) -> Result<Vec<u8>, String> {
    let ask = match core.generation.unmark(request) {
        Marked::Same(ask) => known(core, ask)?,
        Marked::Other(ask) => {
            let ask = known(core, ask)?;
            if !matches!(ask, Ask::Generation(_)) {
                core.note_other_generation(from);
                return Err(OTHER_GENERATION.into());
            }
            ask
        }
        Marked::Malformed => return Err("a message without a generation".into()),
    };
    if expired && !ask.is_for_expired() {
        return Err("the node's certificate has ended: it is to be renewed first".into());
    }
    Ok(encode(&match ask {
        Ask::Chaos(ask) => core.answer_chaos(from, &ask).await,
        ask => core.answer(from, ask).await,
    }))
}
