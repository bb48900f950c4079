//! What a node answers to others, and whom it lets in.

use crate::{
    MESSAGE_BYTES_MAX,
    certified::Certified,
    close::Close,
    counts::{self, Direction, Fate, Way},
    endpoint::DIAL_TIMEOUT,
    frame,
    handshakes::{Admission, Handshake},
    key::sha256,
    link::{Link, OpenCall, Terms},
    net::{Net, REPLY_ENDED, REPLY_OK, REPLY_PACKED, REPLY_REFUSED},
    packed,
    peer::{Lane, Peer},
    refusal::RefusedFor,
    sealed::Kind,
    stream::FrameSink,
    talk::{Hears, Talk},
    tls::Chain,
};
use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream};
use rustls::CertificateError;
use std::time::Duration;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

/// Largest message from a stranger: a join request is a few hundred bytes.
pub(crate) const STRANGER_BYTES_MAX: usize = 64 << 10;
/// Connections of strangers at once: machines join by the dozen, and each connection may make us hold its window.
pub(crate) const STRANGERS_MAX: usize = 64;
/// A stranger is served for this long: a join takes less.
const STRANGER_LIFE: Duration = Duration::from_secs(20);

impl Net {
    /// Takes in what comes until the endpoint is closed.
    pub(crate) async fn run(self, sealed: mpsc::Receiver<Bytes>) {
        let opening = tokio::spawn(self.clone().open(sealed));
        self.accept().await;
        opening.abort();
    }

    /// Opens sealed datagrams. One task for all, so that of two equal ones the second is surely seen as such.
    async fn open(self, mut sealed: mpsc::Receiver<Bytes>) {
        let mut work = JoinSet::new(); // ends with the endpoint
        loop {
            let datagram = tokio::select! {
                datagram = sealed.recv() => match datagram {
                    Some(datagram) => datagram,
                    None => return,
                },
                Some(_) = work.join_next() => continue,
            };
            let opened = self.seals().open(&datagram);
            match opened {
                Ok((from, Kind::Packet, packet)) => {
                    self.inner.datagrams.count(Way::Sealed, Direction::In, packet.len());
                    self.inner.service.datagram(from, packet);
                }
                Ok((from, Kind::Call, packet)) => self.take_call(from, packet, &mut work),
                Ok((from, Kind::Reply, packet)) => self.take_sealed_reply(from, packet),
                Err(refused) => {
                    counts::refused(refused.word());
                    tracing::debug!(%refused, "sealed datagram refused");
                }
            }
        }
    }

    async fn accept(self) {
        while let Some(incoming) = self.inner.endpoint.accept().await {
            match self.inner.handshakes.admit(incoming.remote_address_validated()) {
                Admission::Begin(handshake) => {
                    counts::incoming(Fate::Accepted);
                    tokio::spawn(self.clone().welcome(incoming, handshake));
                }
                Admission::Retry => {
                    counts::incoming(Fate::Retried);
                    let _ = incoming.retry(); // fails for a checked address only
                }
                Admission::Ignore => {
                    counts::incoming(Fate::Ignored);
                    incoming.ignore();
                }
            }
        }
    }

    async fn welcome(self, incoming: quinn::Incoming, handshake: Handshake) {
        let from = incoming.remote_address();
        let own_ends = self.inner.credentials.ends();
        let shaken = timeout(DIAL_TIMEOUT, async { incoming.await }).await;
        let connection = match shaken {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                counts::incoming(Fate::Refused);
                return tracing::debug!(%from, %error, "handshake refused");
            }
            Err(_) => return counts::incoming(Fate::Refused),
        };
        let chain = Chain::of(&connection);
        let judged = chain.map(|c| self.inner.credentials.judge(c.own(), c.others(), self.inner.means.date()));
        drop(handshake);
        match judged {
            None => self.serve_stranger(connection).await,
            Some(Ok(peer)) => {
                self.adopt(Terms { peer, own_ends }, connection);
            }
            Some(Err(error)) => {
                counts::incoming(Fate::Refused);
                tracing::debug!(%from, %error, "certificate refused");
                match error {
                    rustls::Error::InvalidCertificate(CertificateError::Revoked) => {
                        self.refuse(&connection, RefusedFor::Removal);
                    }
                    rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                        self.refuse(&connection, RefusedFor::FormerAuthority);
                    }
                    _ => Close::NotANode.connection(&connection), // the library may add to them
                }
            }
        }
    }

    /// Closes a connection whose peer is not believed for good, and tells it why.
    pub(crate) fn refuse(&self, connection: &Connection, why: RefusedFor) {
        let certificate = Chain::of(connection).map(|chain| sha256(chain.own())).unwrap_or_default();
        let statement = why.statement(self.inner.credentials.cluster(), &certificate);
        let grounds = self.inner.service.grounds(&statement);
        connection.close(why.close().code(), &grounds.behind(why.close().reason()));
    }

    async fn serve_stranger(self, connection: Connection) {
        let Ok(_permit) = self.inner.strangers.try_acquire() else {
            counts::incoming(Fate::Refused);
            return Close::TooManyStrangers.connection(&connection);
        };
        let link = self.pool().link(connection, None);
        if timeout(STRANGER_LIFE, self.clone().serve(link.clone())).await.is_err() {
            Close::StrangerTooLong.connection(&link.connection);
        }
    }

    /// Serves streams and datagrams of one connection until it ends.
    pub(crate) async fn serve(self, link: Link) {
        let connection = &link.connection;
        let peer = link.terms.map(|terms| terms.peer);
        let mut work = JoinSet::new(); // ends with the connection; bounded by STREAMS_MAX
        loop {
            tokio::select! {
                stream = connection.accept_bi() => match stream {
                    Ok((send, receive)) => {
                        work.spawn(self.clone().answer(link.clone(), link.begin(), send, receive));
                    }
                    Err(_) => break,
                },
                stream = connection.accept_uni() => match stream {
                    Ok(receive) => { work.spawn(self.clone().take(link.clone(), link.begin(), receive)); }
                    Err(_) => break,
                },
                datagram = connection.read_datagram() => match datagram {
                    Ok(packet) => match self.standing(peer) {
                        Peer::Node(node) | Peer::Expired(node) => {
                            link.mark_used();
                            self.inner.datagrams.count(Way::Quic, Direction::In, packet.len());
                            self.inner.service.datagram(node, packet);
                        }
                        Peer::Lapsed(_) | Peer::Removed(_) | Peer::Stranger => {}
                    },
                    Err(_) => break,
                },
                Some(_) = work.join_next() => {}
            }
        }
        if let Some(Certified { node, .. }) = peer {
            self.pool().drop_ended(node, link.id());
            if let Some(why) = connection.close_reason() {
                self.heed(node, connection, &why);
            }
        }
    }

    async fn answer(self, link: Link, _open: OpenCall, mut send: SendStream, receive: RecvStream) {
        let peer = link.terms.map(|terms| terms.peer);
        let (lane, request) = match read_message(self.standing(peer), receive).await {
            Some(Message::Whole(lane, request)) => (lane, request),
            Some(Message::Begun(lane, receive, begin)) => {
                let peer = self.standing(peer);
                return self.talk_with(peer, lane, send, Hears::begun(receive, &begin)).await;
            }
            None => return,
        };
        let peer = self.standing(peer); // when the whole message is there, which may be later
        if lane.is_streamed() {
            return self.answer_in_frames(peer, lane, request, send).await;
        }
        if !lane.allows(peer) {
            return refuse(peer, send).await;
        }
        let reply = if lane == Lane::Ping {
            Ok(self.inner.means.own_date().0.to_be_bytes().to_vec())
        } else {
            let stopped = send.stopped();
            tokio::select! {
                biased;
                reply = self.inner.service.call(peer, lane, request) => reply,
                _ = stopped => return, // the caller has given up
            }
        };
        let (status, body) = match reply {
            Ok(body) => match packed::pack(link.version, &body) {
                Some(packed) => (REPLY_PACKED, packed),
                None => (REPLY_OK, body),
            },
            Err(why) => (REPLY_REFUSED, why.into_bytes()),
        };
        if send.write_all(&[status]).await.is_ok() && send.write_all(&body).await.is_ok() {
            let _ = send.finish();
        }
    }

    async fn answer_in_frames(self, peer: Peer, lane: Lane, request: Bytes, send: SendStream) {
        let mut sink = FrameSink::new(send);
        let stopped = sink.stopped();
        let result = if lane.allows(peer) {
            tokio::select! {
                biased;
                result = self.inner.service.stream(peer, lane, request, &mut sink) => result,
                () = stopped => return, // the caller has given up
            }
        } else {
            Err(peer.refusal().into())
        };
        sink.end(result).await;
    }

    async fn talk_with(self, peer: Peer, lane: Lane, send: SendStream, hears: Hears) {
        let says = FrameSink::patient(send);
        if lane.allows(peer) {
            self.inner.service.talk(peer, lane, Talk { says, hears }).await;
        } else {
            says.end(Err(peer.refusal().into())).await;
        }
    }

    async fn take(self, link: Link, _open: OpenCall, receive: RecvStream) {
        let peer = link.terms.map(|terms| terms.peer);
        let Some(Message::Whole(lane, message)) = read_message(self.standing(peer), receive).await else { return };
        let standing = self.standing(peer);
        let pushed = match lane {
            Lane::Raft | Lane::Control | Lane::Catalogue => lane.allows(standing),
            Lane::Join | Lane::Ping | Lane::Snapshot | Lane::Renew | Lane::Talk => false,
        };
        if let (Some(Certified { node, .. }), true) = (peer, pushed) {
            self.inner.service.push(node, lane, message);
        }
    }
}

async fn refuse(peer: Peer, mut send: SendStream) {
    let status = match peer {
        Peer::Expired(_) | Peer::Lapsed(_) => REPLY_ENDED,
        Peer::Node(_) | Peer::Removed(_) | Peer::Stranger => REPLY_REFUSED,
    };
    if send.write_all(&[&[status], peer.refusal().as_bytes()].concat()).await.is_ok() {
        let _ = send.finish();
    }
}

/// What a stream brings.
enum Message {
    /// All of a message.
    Whole(Lane, Bytes),
    /// A conversation, and what was read of it.
    Begun(Lane, RecvStream, Bytes),
}

/// Read in order from its first byte to its last: quinn's `read_to_end` reads as bytes come, and a stream that was read both
/// ways makes quinn-proto 0.11 miscount, and panic.
async fn read_message(peer: Peer, mut receive: RecvStream) -> Option<Message> {
    let limit = match peer {
        Peer::Node(_) | Peer::Expired(_) => MESSAGE_BYTES_MAX,
        Peer::Lapsed(_) | Peer::Removed(_) | Peer::Stranger => STRANGER_BYTES_MAX,
    };
    let first = receive.read_chunk(limit, true).await.ok()??.bytes;
    let (lane, rest) = frame::split_lane(first)?;
    if lane.is_talk() {
        return Some(Message::Begun(lane, receive, rest));
    }
    let mut message = Vec::new(); // stays empty if the first piece is all, as of most messages
    while let Some(next) = receive.read_chunk(limit, true).await.ok()? {
        if rest.len().max(message.len()) + next.bytes.len() >= limit {
            return None;
        }
        if message.is_empty() {
            message.extend_from_slice(&rest);
        }
        message.extend_from_slice(&next.bytes);
    }
    Some(Message::Whole(lane, if message.is_empty() { rest } else { message.into() }))
}
