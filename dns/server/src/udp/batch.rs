//! Many datagrams with one system call each way, where the system can, and one by one where it cannot.

#[cfg(target_os = "linux")]
use super::many::{Local, Many, send_many};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
};

/// Datagrams of one system call. More would only make the first of them wait for the last.
pub(crate) const BATCH: usize = 32;
/// Queries are small; one longer than this is cut and so refused as malformed.
const QUERY_MAX: usize = 4096;
/// Longest reply: what is sent by UDP never is longer than 1232 bytes.
pub(crate) const REPLY_MAX: usize = taffeta_dns_answer::DATAGRAM_MAX as usize;

/// A query's room. The lines that follow keep the first bytes of neighbours apart in the processor's cache, which a
/// stride of 4096 would not.
#[derive(Clone)]
pub(crate) struct QueryRoom(pub(crate) [u8; QUERY_MAX + 64]);

/// A reply's room.
#[derive(Clone)]
struct ReplyRoom([u8; REPLY_MAX]);

/// Datagrams that were received together, and the replies to them. All its memory is taken at the beginning.
pub(crate) struct Batch {
    queries: Box<[QueryRoom]>,
    replies: Box<[ReplyRoom]>,
    pub(crate) envelopes: [Envelope; BATCH],
    #[cfg(target_os = "linux")]
    many: Option<Many>,
}

/// All of one datagram but the bytes.
#[derive(Clone, Copy)]
pub(crate) struct Envelope {
    pub(crate) client: SocketAddr,
    pub(crate) query_len: usize,
    /// 0 if there is none.
    pub(crate) reply_len: usize,
    /// The address that was asked, where the socket has several.
    #[cfg(target_os = "linux")]
    pub(crate) local: Option<Local>,
}

/// What came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// Number of datagrams.
    pub(crate) count: usize,
    /// Datagrams that the socket has lost since it was opened because its queue was full, if the system told.
    pub(crate) lost: Option<u32>,
}

impl Batch {
    /// For a socket that is bound to an address.
    pub(crate) fn new(bound: SocketAddr) -> Self {
        let nobody = Envelope {
            client: (Ipv4Addr::UNSPECIFIED, 0).into(),
            query_len: 0,
            reply_len: 0,
            #[cfg(target_os = "linux")]
            local: None,
        };
        Self {
            queries: vec![QueryRoom([0; QUERY_MAX + 64]); BATCH].into(),
            replies: vec![ReplyRoom([0; REPLY_MAX]); BATCH].into(),
            envelopes: [nobody; BATCH],
            #[cfg(target_os = "linux")]
            many: Some(Many::new(bound)),
        }
    }

    /// Waits for datagrams and takes those that are there. Gives none if `stopped` was set, which goes with a shutdown
    /// of the socket.
    pub(crate) fn receive(&mut self, socket: &UdpSocket, stopped: &AtomicBool) -> io::Result<Received> {
        #[cfg(target_os = "linux")]
        if let Some(many) = &mut self.many {
            match many.receive(socket, &mut self.queries, &mut self.envelopes, stopped) {
                Err(error) if is_unsupported(&error) => self.many = None,
                other => return other,
            }
        }
        self.receive_one(socket, stopped)
    }

    fn receive_one(&mut self, socket: &UdpSocket, stopped: &AtomicBool) -> io::Result<Received> {
        let (query_len, client) = socket.recv_from(&mut self.queries[0].0[..QUERY_MAX])?;
        if stopped.load(Ordering::Acquire) {
            return Ok(Received::default());
        }
        let envelope = &mut self.envelopes[0];
        (envelope.client, envelope.query_len, envelope.reply_len) = (client, query_len, 0);
        Ok(Received { count: 1, lost: None })
    }

    /// The first `count` queries.
    pub(crate) fn queries(&self, count: usize) -> impl ExactSizeIterator<Item = &[u8]> {
        self.queries.iter().zip(&self.envelopes[..count]).map(|(room, envelope)| &room.0[..envelope.query_len])
    }

    /// A query, who sent it, and the room for its reply.
    pub(crate) fn exchange(&mut self, position: usize) -> (&[u8], &mut Envelope, &mut [u8; REPLY_MAX]) {
        let envelope = &mut self.envelopes[position];
        (&self.queries[position].0[..envelope.query_len], envelope, &mut self.replies[position].0)
    }

    /// Sends the replies to the first `count` queries, without waiting for room in the socket. Gives the number of
    /// those that could not be sent.
    pub(crate) fn send(&mut self, socket: &UdpSocket, count: usize) -> usize {
        let envelopes = &self.envelopes[..count];
        let replies = self.replies.iter().zip(envelopes).filter(|(_, e)| e.reply_len > 0);
        let mut replies = replies.map(|(room, envelope)| (&room.0[..envelope.reply_len], envelope));
        #[cfg(target_os = "linux")]
        if self.many.is_some() {
            return send_many(socket, replies);
        }
        replies.by_ref().filter(|(reply, envelope)| socket.send_to(reply, envelope.client).is_err()).count()
    }
}

/// Whether the system, or what it is confined by, does not know the call.
#[cfg(target_os = "linux")]
fn is_unsupported(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let code = error.raw_os_error().map(Errno::from_raw);
    matches!(code, Some(Errno::ENOSYS | Errno::EPERM | Errno::EOPNOTSUPP))
}

#[cfg(test)]
impl Batch {
    /// One by one, as on a system that knows nothing else.
    pub(crate) fn plain(bound: SocketAddr) -> Self {
        Self {
            #[cfg(target_os = "linux")]
            many: None,
            ..Self::new(bound)
        }
    }
}
