//! How a node that has just started gets to know everything: one stream from a member that has been there for longer.

use super::GossipHub;
use crate::wire::{decode, encode};
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, time::Duration};
use taffeta_catalogue::{CHUNK_BYTES, SET_BYTES_MAX, decode_chunk};
use taffeta_model::NodeId;
use taffeta_net::{CallError, FRAME_BYTES_MAX, FrameSink, Lane};
use taffeta_swim::MemberFact;
use tokio::time::{sleep, timeout};

/// First pause after all known members were asked in vain; each is twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest one.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a member may be silent within its stream.
const FRAME_LIMIT: Duration = Duration::from_secs(3);
/// How long the whole stream may take: a full catalogue over a slow link.
const STREAM_LIMIT: Duration = Duration::from_secs(120);
/// Members in one frame: some 40 kB.
const FACTS_PER_FRAME: usize = 1_000;

// The longest chunk is closed by the largest set, and what cannot be compressed grows a little.
const _: () = assert!(CHUNK_BYTES + SET_BYTES_MAX + (16 << 10) <= FRAME_BYTES_MAX);

/// One frame of the stream. Facts come first, for sets of strangers are refused.
#[derive(Serialize, Deserialize)]
enum Frame {
    Facts(Vec<MemberFact>),
    /// See [`decode_chunk`].
    Sets(Vec<u8>),
    End,
}

impl GossipHub {
    /// Gives everything that this node knows, in chunks. Ends early if the newcomer does.
    pub(crate) async fn give_all(&self, sink: &mut FrameSink) -> Result<(), CallError> {
        let facts = self.inner.ring.facts().await;
        for some in facts.chunks(FACTS_PER_FRAME) {
            sink.send(&encode(&Frame::Facts(some.to_vec()))).await?;
        }
        for chunk in self.snapshot() {
            sink.send(&encode(&Frame::Sets(chunk))).await?;
        }
        sink.send(&encode(&Frame::End)).await
    }

    /// Asks one known member after another, for ever and with growing pauses, until one has told everything.
    pub(crate) async fn learn_all(self, known: Vec<(NodeId, SocketAddr)>) {
        let mut pause = PAUSE;
        loop {
            // Members that were met since are as good as those that were known at the start.
            let alive = self.inner.ring.state().alive();
            let mut peers: Vec<NodeId> =
                if alive.is_empty() { known.iter().map(|(id, _)| *id).collect() } else { alive };
            while !peers.is_empty() {
                let pick = usize::try_from(self.inner.entropy.seed() % peers.len() as u64).expect("less than a length");
                let peer = peers.swap_remove(pick);
                let alive = self.inner.ring.state().alive();
                if !alive.is_empty() && !alive.contains(&peer) {
                    continue; // somebody is there now who is better asked
                }
                match self.learn_from(peer).await {
                    Ok(()) => return self.set_complete(),
                    Err(error) => tracing::debug!(%peer, error, "a member did not tell everything"),
                }
            }
            if pause >= PAUSE_MAX {
                tracing::warn!("no member has told this node everything yet; DNS answers from what is known");
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn learn_from(&self, peer: NodeId) -> Result<(), String> {
        let net = self.inner.net.get().ok_or("not joined yet")?;
        let mut frames = net.stream(peer, Lane::Snapshot, &[], STREAM_LIMIT).await.map_err(|e| e.to_string())?;
        loop {
            let frame = timeout(FRAME_LIMIT, frames.next()).await.map_err(|_| "no answer in time")?;
            let frame = frame.map_err(|e| e.to_string())?.ok_or("it ended before its end")?;
            match decode(&frame)? {
                Frame::Facts(facts) if facts.len() > FACTS_PER_FRAME => {
                    return Err("more facts than fit a frame".into());
                }
                Frame::Facts(facts) => self.inner.ring.adopt(facts).await,
                Frame::Sets(chunk) => self.adopt(peer, decode_chunk(&chunk).map_err(|e| e.to_string())?),
                Frame::End => return Ok(()),
            }
        }
    }
}
