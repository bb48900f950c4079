//! Streamed replies: what is too large for one message, in frames, no faster than the caller takes them.

use crate::{
    frame::{self, Frame, FrameDecoder, FrameError},
    link::{Link, OpenCall},
    net::{Net, broken},
    peer::{CallError, Lane},
};
use bytes::Bytes;
use quinn::{RecvStream, SendStream, VarInt};
use std::time::Duration;
use taffeta_model::NodeId;
use tokio::time::{Instant, timeout, timeout_at};

/// A caller that takes nothing for this long is given up: its stream is one of a bounded number.
const STALL_MAX: Duration = Duration::from_secs(30);

/// Bytes read at once.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// Where a service puts the frames of its reply.
pub struct FrameSink {
    send: SendStream,
    /// A frame was begun and not ended: nothing that follows could be told from its rest.
    cut: bool,
    /// How long the other side may take nothing.
    stall_max: Option<Duration>,
}

/// The frames of a reply, as they come. Dropping it tells the callee to stop.
pub struct Frames {
    net: Net,
    node: NodeId,
    link: Link,
    _open: OpenCall,
    receive: RecvStream,
    decoder: FrameDecoder,
    limit: Duration,
    /// How it ended, when it has.
    ended: Option<Result<(), CallError>>,
}

impl FrameSink {
    pub(crate) fn new(send: SendStream) -> Self {
        Self { send, cut: false, stall_max: Some(STALL_MAX) }
    }

    /// One for a conversation, whose other side may have a reason to take nothing for long.
    pub(crate) fn patient(send: SendStream) -> Self {
        Self { send, cut: false, stall_max: None }
    }

    /// Sends a frame of at most [`crate::FRAME_BYTES_MAX`] bytes: returns when the transport has it, which is when the
    /// caller has taken most of what came before. After an error nothing more can be sent.
    pub async fn send(&mut self, frame: &[u8]) -> Result<(), CallError> {
        let head = frame::data_head(frame.len());
        let head = head.ok_or_else(|| CallError::Broken(FrameError::Oversized(frame.len()).to_string()))?;
        let work = async {
            self.send.write_all(&head).await.map_err(broken)?;
            self.send.write_all(frame).await.map_err(broken)
        };
        self.cut = true; // also if the caller drops this future
        let sent = match self.stall_max {
            Some(limit) => timeout(limit, work).await.map_err(|_| CallError::Timeout)?,
            None => work.await,
        };
        self.cut = sent.is_err();
        sent
    }

    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + use<> {
        let stopped = self.send.stopped();
        async { drop(stopped.await) }
    }

    /// Sends the last frame: the end, or the reason why there is no more.
    pub async fn end(mut self, result: Result<(), String>) {
        if self.cut {
            let _ = self.send.reset(VarInt::from_u32(0));
            return;
        }
        let last = frame::last(result);
        if matches!(timeout(STALL_MAX, self.send.write_all(&last)).await, Ok(Ok(()))) {
            let _ = self.send.finish();
        }
    }
}

impl Frames {
    /// The next frame; `None` after the last one. An error is final, and what came before is incomplete.
    pub async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        if let Some(ended) = &self.ended {
            return ended.clone().map(|()| None);
        }
        let next = self.read().await;
        match &next {
            Ok(Some(_)) => {}
            Ok(None) => self.ended = Some(Ok(())),
            Err(error) => self.ended = Some(Err(error.clone())),
        }
        next
    }

    async fn read(&mut self) -> Result<Option<Bytes>, CallError> {
        let deadline = Instant::now() + self.limit;
        loop {
            match self.decoder.take().map_err(broken)? {
                Some(Frame::Data(bytes)) => return Ok(Some(bytes)),
                Some(Frame::End) => return Ok(None),
                Some(Frame::Refused(why)) => return Err(CallError::Refused(why)),
                None => {}
            }
            let receive = &mut self.receive;
            let work = async { receive.read_chunk(PIECE_BYTES_MAX, true).await.map_err(broken) };
            let piece = self.net.watched(self.node, &self.link, deadline, work).await?;
            self.decoder.extend(&piece.ok_or_else(|| broken(FrameError::Truncated))?.bytes);
        }
    }
}

impl Net {
    /// Asks a node for a streamed reply on a lane that gives one. `limit` is for the request to leave, and then for each
    /// frame.
    pub async fn stream(&self, node: NodeId, lane: Lane, request: &[u8], limit: Duration) -> Result<Frames, CallError> {
        if !lane.is_streamed() {
            return Err(CallError::Refused(format!("the lane {lane:?} gives no stream")));
        }
        let deadline = Instant::now() + limit;
        let link = timeout_at(deadline, self.link(node)).await.map_err(|_| CallError::Timeout)??;
        self.check_lane(&link, lane)?;
        let open = link.begin();
        let work = async {
            let (mut send, receive) = link.connection.open_bi().await.map_err(broken)?;
            send.write_all(&[lane.byte()]).await.map_err(broken)?;
            send.write_all(request).await.map_err(broken)?;
            send.finish().map_err(broken)?;
            Ok(receive)
        };
        let receive = self.watched(node, &link, deadline, work).await?;
        let (net, decoder) = (self.clone(), FrameDecoder::default());
        Ok(Frames { net, node, link, _open: open, receive, decoder, limit, ended: None })
    }
}
