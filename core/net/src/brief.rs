//! Small calls that may be made twice: two sealed datagrams and no stream.
//!
//! A call on a connection is four packets, since each end's last one is acknowledged, and each sets timers of QUIC at
//! both ends. A leader's heartbeats, five a second to each follower, would be most of what an idle node does. As sealed
//! datagrams they are two packets. What is lost goes on the connection soon, and so do the next ones at once; to a node
//! of version 1, which does not understand them, all do.
//!
//! A sealed datagram shows no certificate, so it is the connection that vouches: a call is made only to, and answered only
//! for, a peer with a live connection whose certificate allows the lane at that moment.
//!
//! ```text
//! call    number 8 | lane 1 | request          (integers big-endian)
//! reply   number 8 | status 1 | body
//! ```

use crate::{
    DATAGRAM_BYTES_MAX,
    counts::{Direction, Way},
    link::Link,
    net::{Net, REPLY_OK, REPLY_REFUSED},
    peer::{CallError, Lane},
    sealed::Kind,
};
use bytes::{Buf, Bytes};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use taffeta_model::NodeId;
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{Instant, timeout_at},
};

/// A reply is missed after two round trips and this: a node that is busy takes some time.
const PATIENCE: Duration = Duration::from_millis(40);
/// The first version of the protocol that has them.
const SINCE: u32 = 2;
/// A connection on which nothing was heard for so long is asked for a sign of life: the call goes on it.
const TRUST: Duration = Duration::from_secs(1);
/// After a sealed call that was not answered, calls go on the connection for so long.
const PAUSE: Duration = Duration::from_secs(10);
/// Sealed calls of others that are being answered at once, and own ones that wait. More go on connections.
const CALLS_MAX: usize = 256;
/// Before the request or the body.
const HEAD_BYTES: usize = 8 + 1;

/// The sealed calls of a node that wait for their replies.
pub(crate) struct Briefs {
    /// Number of the next call. The first one is drawn, so that a reply to an earlier life's answers no call of this one.
    next: AtomicU64,
    /// At most [`CALLS_MAX`].
    waiting: Mutex<BTreeMap<u64, Waiting>>,
}

struct Waiting {
    on: NodeId,
    reply: oneshot::Sender<Bytes>,
}

/// A call that waits for its reply, for as long as this lives.
struct Begun<'a> {
    briefs: &'a Briefs,
    link: Link,
    number: u64,
    reply: oneshot::Receiver<Bytes>,
    /// Whether something was sent to which nobody has replied.
    missed: bool,
}

impl Begun<'_> {
    async fn reply(&mut self, deadline: Instant) -> Option<Bytes> {
        let reply = timeout_at(deadline, &mut self.reply).await.ok()?.ok();
        self.missed = reply.is_none();
        reply
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if self.missed {
            self.link.mark_briefs_lost(PAUSE);
        }
        self.briefs.waiting.lock().expect("no panic while it is held").remove(&self.number);
    }
}

impl Briefs {
    /// `first` is drawn at random.
    pub(crate) fn new(first: u64) -> Self {
        Self { next: AtomicU64::new(first), waiting: Mutex::default() }
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// `None` if too many wait.
    fn begin(&self, on: NodeId, link: Link, number: u64) -> Option<Begun<'_>> {
        let mut waiting = self.waiting.lock().expect("no panic while it is held");
        if waiting.len() >= CALLS_MAX {
            return None;
        }
        let (sender, reply) = oneshot::channel();
        waiting.insert(number, Waiting { on, reply: sender });
        Some(Begun { briefs: self, link, number, reply, missed: false })
    }

    /// A reply has come. One that nobody waits for, or that another node was asked for, is passed over.
    fn take_reply(&self, from: NodeId, number: u64, reply: Bytes) {
        let mut waiting = self.waiting.lock().expect("no panic while it is held");
        if waiting.get(&number).is_some_and(|call| call.on == from)
            && let Some(call) = waiting.remove(&number)
        {
            let _ = call.reply.send(reply); // whoever waited has just given up
        }
    }
}

impl Net {
    /// Calls a node as [`Net::call`] does, with a request that does no harm when it is answered twice. A small one on a lane
    /// for such calls goes as a sealed datagram, and once more on the connection if that is not answered soon.
    pub async fn call_brief(
        &self,
        node: NodeId,
        lane: Lane,
        request: &[u8],
        limit: Duration,
    ) -> Result<Vec<u8>, CallError> {
        let deadline = Instant::now() + limit;
        match self.call_sealed(node, lane, request, deadline).await {
            Some(result) => result,
            None => self.call(node, lane, request, deadline.saturating_duration_since(Instant::now())).await,
        }
    }

    /// `None` if it cannot be done this way, or there was no reply.
    async fn call_sealed(
        &self,
        node: NodeId,
        lane: Lane,
        request: &[u8],
        deadline: Instant,
    ) -> Option<Result<Vec<u8>, CallError>> {
        if !lane.is_brief() || request.len() > DATAGRAM_BYTES_MAX - HEAD_BYTES {
            return None;
        }
        let (link, address) = {
            let pool = self.pool();
            (pool.take_live(node)?, pool.address(node)?)
        };
        self.redial_in_time(node, &link);
        let fit = link.version >= SINCE && !link.are_briefs_lost() && link.silence() < TRUST;
        if !fit || self.is_over(&link) || self.check_lane(&link, lane).is_err() {
            return None;
        }
        let patience = Instant::now() + PATIENCE + 2 * link.connection.rtt();
        let number = self.inner.briefs.number();
        let packet = [&number.to_be_bytes()[..], &[lane.byte()], request].concat();
        let datagram = self.seals().seal(node, Kind::Call, &packet)?;
        let mut begun = self.inner.briefs.begin(node, link, number)?;
        begun.missed = self.send_sealed(Way::Call, address, &datagram, packet.len());
        if !begun.missed {
            return None;
        }
        let mut reply = begun.reply(patience.min(deadline)).await?;
        match reply.try_get_u8() {
            Ok(REPLY_OK) => Some(Ok(reply.into())),
            Ok(REPLY_REFUSED) => Some(Err(CallError::Refused(String::from_utf8_lossy(&reply).into_owned()))),
            Ok(_) | Err(_) => None, // a certificate has ended: the call on the connection sees to that
        }
    }

    /// A sealed call has come, and is answered among `work`. What may not be called so is not answered: its sender calls on the
    /// connection.
    pub(crate) fn take_call(&self, from: NodeId, mut packet: Bytes, work: &mut JoinSet<()>) {
        self.inner.datagrams.count(Way::Call, Direction::In, packet.len());
        let (Ok(number), Ok(lane)) = (packet.try_get_u64(), packet.try_get_u8()) else { return };
        let Some(lane) = Lane::from_byte(lane).filter(|lane| lane.is_brief()) else { return };
        let Some(link) = self.pool().take_live(from) else { return };
        let peer = self.standing(link.terms.map(|terms| terms.peer));
        if !lane.allows(peer) || link.version < SINCE || work.len() >= CALLS_MAX {
            return;
        }
        let net = self.clone();
        work.spawn(async move {
            let (status, body) = match net.inner.service.call(peer, lane, packet).await {
                Ok(body) => (REPLY_OK, body),
                Err(why) => (REPLY_REFUSED, why.into_bytes()),
            };
            let reply = [&number.to_be_bytes()[..], &[status], &body].concat();
            let (address, datagram) = (net.address(from), net.seals().seal(from, Kind::Reply, &reply));
            if let (Some(address), Some(datagram)) = (address, datagram) {
                net.send_sealed(Way::Call, address, &datagram, reply.len());
            }
        });
    }

    /// The reply to a sealed call has come.
    pub(crate) fn take_sealed_reply(&self, from: NodeId, mut packet: Bytes) {
        self.inner.datagrams.count(Way::Call, Direction::In, packet.len());
        if let Ok(number) = packet.try_get_u64() {
            self.inner.briefs.take_reply(from, number, packet);
        }
    }
}
