//! Conversations: frames both ways for as long as both sides like, each no faster than the other takes them.
//!
//! Nothing here measures silence: who is silent may be waiting for a person. Whoever talks says something now and then, so
//! that the connection is not idle, and gives up when nothing is heard for too long.

use crate::{
    frame::{Frame, FrameDecoder, FrameError},
    link::{Link, OpenCall},
    net::{Net, broken},
    peer::{CallError, Lane},
    stream::FrameSink,
};
use bytes::Bytes;
use quinn::{RecvStream, VarInt};
use std::time::Duration;
use taffeta_model::NodeId;
use tokio::time::{Instant, timeout_at};

/// Bytes read at once.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// One end of a conversation. Dropping it ends the conversation.
pub struct Talk {
    /// What this side says.
    pub says: FrameSink,
    /// What the other side says.
    pub hears: Hears,
}

/// What the other side of a conversation says.
pub struct Hears {
    receive: RecvStream,
    decoder: FrameDecoder,
    _held: Option<(Link, OpenCall)>,
}

impl Hears {
    pub(crate) fn new(receive: RecvStream) -> Self {
        Self { receive, decoder: FrameDecoder::default(), _held: None }
    }

    /// The same, of which this was read already.
    pub(crate) fn begun(receive: RecvStream, begin: &[u8]) -> Self {
        let mut hears = Self::new(receive);
        hears.decoder.extend(begin);
        hears
    }

    /// The next frame; `None` when the other side has said its last. Safe to cancel.
    pub async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        loop {
            match self.decoder.take().map_err(broken)? {
                Some(Frame::Data(bytes)) => return Ok(Some(bytes)),
                Some(Frame::End) => return Ok(None),
                Some(Frame::Refused(why)) => return Err(CallError::Refused(why)),
                None => {}
            }
            let piece = self.receive.read_chunk(PIECE_BYTES_MAX, true).await.map_err(broken)?;
            self.decoder.extend(&piece.ok_or_else(|| broken(FrameError::Truncated))?.bytes);
        }
    }
}

impl Drop for Hears {
    fn drop(&mut self) {
        let _ = self.receive.stop(VarInt::from_u32(0)); // fails once all has been read
    }
}

impl Net {
    /// Begins a conversation with a node on a lane that is for that. `limit` is for its beginning to leave.
    pub async fn talk(&self, node: NodeId, lane: Lane, limit: Duration) -> Result<Talk, CallError> {
        if !lane.is_talk() {
            return Err(CallError::Refused(format!("the lane {lane:?} is for no conversation")));
        }
        let deadline = Instant::now() + limit;
        let link = timeout_at(deadline, self.link(node)).await.map_err(|_| CallError::Timeout)??;
        self.check_lane(&link, lane)?;
        let open = link.begin();
        let work = async {
            let (mut send, receive) = link.connection.open_bi().await.map_err(broken)?;
            send.write_all(&[lane.byte()]).await.map_err(broken)?;
            Ok((send, receive))
        };
        let (send, receive) = self.watched(node, &link, deadline, work).await?;
        let mut hears = Hears::new(receive);
        hears._held = Some((link, open));
        Ok(Talk { says: FrameSink::patient(send), hears })
    }
}
